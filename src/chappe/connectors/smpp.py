"""The ESME side: keeps one operator's binds up, writes within its window, hands over what it says in batches.

What things mean is decided in `translation`, how fast it may go in `core.pace`, what its figures say in
`core.figures`; that a receipt is stored before it is acknowledged is kept here. It does not queue: what the windows
have no room for is the dispatcher's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar, assert_never, cast

from chappe.connectors.counts import Counts
from chappe.connectors.kept_bind import BIND, PROBE, KeptBind, Siblings
from chappe.connectors.pump import Pump
from chappe.connectors.smpp_settings import SmppSettings
from chappe.connectors.translation import (
    Delivered,
    UnwritableError,
    answer_to,
    congestion_in,
    doubt_about,
    inbound_in,
    receipt_in,
    state_in,
    treatment_of,
)
from chappe.core.figures import Figures, Meter, Standing
from chappe.core.message import (
    AttemptKey,
    AttemptReport,
    Inbound,
    Question,
    ReceiptReport,
    Refused,
    Submission,
    Treatment,
)
from chappe.core.pace import Pace
from chappe.smpp import aio
from chappe.smpp.codec import SubmitBody
from chappe.smpp.pdus import (
    RESPONSE_TO,
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    DataSm,
    DeliverSm,
    Pdu,
    QuerySmResp,
    Status,
    status_name,
)
from chappe.smpp.session import (
    BindRequested,
    Cause,
    Closed,
    Discarded,
    Event,
    LateResponse,
    OutcomeUnknown,
    RequestReceived,
    ResponseReceived,
    Unbound,
)

__all__ = ["Counts", "SmppConnector", "SmppSettings"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Owed(NamedTuple, Generic[T]):
    """A request whose answer waits until its report is stored."""

    link: aio.Link
    pdu: Delivered
    report: T


@dataclass(slots=True, eq=False)
class _Asked:
    """The token of a query_sm."""

    question: Question
    over: asyncio.Future[None]

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class SmppConnector:
    """One operator, as the dispatcher's `Line`; use within one event loop.

    `on_answers` returns once stored, however long that takes; `on_receipts` and `on_inbound` say whether they
    stored: the operator gets ROK only then. `on_room` is called when more may be submitted than before. `chance`
    gives numbers from 0 to 1, so that not all clients of an operator return to it together.
    """

    def __init__(
        self,
        settings: SmppSettings,
        *,
        now_ms: Callable[[], int],
        chance: Callable[[], float],
        on_answers: Callable[[Sequence[AttemptReport]], Awaitable[None]],
        on_receipts: Callable[[Sequence[ReceiptReport]], Awaitable[bool]],
        on_inbound: Callable[[Sequence[Inbound]], Awaitable[bool]],
        on_room: Callable[[], None],
    ) -> None:
        self.name = settings.name
        self.epoch = 0
        """Set once the store has given this connector to us."""
        self.counts = Counts()
        self._settings = settings
        self._writer = settings.writer()
        self._treatments = settings.treatments()
        self._not_assigned = settings.not_assigned_codes()
        self._stop_codes = settings.operator_stop_codes()
        self._inbound_in = partial(inbound_in, gsm7=settings.gsm7, gsm7_data_coding=settings.gsm7_data_coding)
        self._now_ms = now_ms
        self._on_answers = on_answers
        self._on_room = on_room
        self._answers: Pump[AttemptReport] = Pump(self._settle)
        self._receipts: Pump[_Owed[ReceiptReport]] = Pump(partial(self._store, on_receipts))
        self._inbound: Pump[_Owed[Inbound]] = Pump(partial(self._store, on_inbound))
        self._on_receipts = on_receipts
        self._told: Pump[ReceiptReport] = Pump(self._settle_told)
        self._asks_in_vain = False
        self._draining = asyncio.Event()
        self._paused = False
        kept = partial(KeptBind, settings, chance, self._on_events, self._draining, self.counts)
        kinds = (BindTransceiver,) if settings.bind == "trx" else (BindTransmitter, BindReceiver)
        siblings = [Siblings() for _ in kinds]
        self._binds = [
            kept(kind, group) for _ in range(settings.binds) for kind, group in zip(kinds, siblings, strict=True)
        ]
        self._senders, self._receivers = siblings[0].binds, siblings[-1].binds
        self._only = self._senders[0] if settings.binds == 1 else None
        """The usual case, which is asked about several times for each batch."""
        self._heard = asyncio.Event()
        self._more_room = False
        self._taken = self._throttled = 0
        """In the batch of events at hand."""
        self._clock = asyncio.get_running_loop().time
        self._pace = Pace(self._clock(), settings.rate, settings.burst)
        self._meter = Meter(self._clock())
        self._due: asyncio.TimerHandle | None = None
        """When the pace allows more."""

    # --- for the dispatcher ---

    def free(self) -> int:
        """How many PDUs may be written now; 0 while unbound, told to slow down, paused or draining."""
        if self._paused or self._draining.is_set():
            return 0
        free = self._window_free
        return min(free, self._pace.allowed(self._clock())) if free else 0

    def submit(self, submissions: Sequence[Submission]) -> Sequence[Submission]:
        """Writes what windows and pace have room for and returns the rest, of which no byte left.

        One that no PDU can carry is refused on the spot, as the operator would refuse it.
        """
        free, now = self.free(), self._now_ms()
        submits: list[tuple[SubmitBody, AttemptKey]] = []
        taken = 0
        for submission in submissions:
            if len(submits) >= free:
                break
            taken += 1
            try:
                submits.append((self._writer.body(submission, now), submission.key))
            except UnwritableError as error:
                self._refuse(submission, error.status, now)
        if submits:
            self._write(submits)
            self.counts.submitted += len(submits)
            clock = self._clock()
            self._pace.spend(len(submits), clock)
            self._note(clock)
        return submissions[taken:]

    # --- for the asker ---

    async def ask(self, question: Question) -> bool:
        """Asks what became of a submit and returns when that is over; what the operator says is handed over like a
        receipt. It takes the place of a submit in window and pace: False when none could be sent now."""
        bind = max(self._senders, key=lambda sender: sender.window_free)
        if not self.free() or not bind.window_free:
            return False
        try:
            query = self._writer.query(question)
        except UnwritableError:  # submitted under other settings
            return True
        asked = _Asked(question, asyncio.get_running_loop().create_future())
        bind.ask(query, asked)
        self.counts.asked += 1
        clock = self._clock()
        self._pace.spend(1, clock)
        self._note(clock)
        await asked.over
        return True

    # --- for the wiring ---

    @property
    def bound(self) -> bool:
        """Whether messages can go out and receipts come in, over some of the binds."""
        return any(bind.bound for bind in self._senders) and any(bind.bound for bind in self._receivers)

    @property
    def in_flight(self) -> int:
        """Submits that wait for their answer."""
        only = self._only
        return sum([bind.in_flight for bind in self._senders]) if only is None else only.in_flight

    @property
    def able(self) -> bool:
        """Whether it takes messages, sooner or later: only a full window or its pace keep it from it."""
        return not self._paused and not self._draining.is_set() and any(bind.bound for bind in self._senders)

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        """Submits no more; the binds stay, answers, receipts and messages come in as before."""
        self._paused = True
        self._note(self._clock())

    def resume(self) -> None:
        """Submits again."""
        self._paused = False
        self._note(self._clock())
        self._tell_room()

    @property
    def settings(self) -> SmppSettings:
        return self._settings

    def adjust(self, settings: SmppSettings) -> None:
        """Goes on with another window, rate and burst (`smpp_settings.LIVE`); the binds stay."""
        self._settings = settings
        for bind in self._binds:
            bind.adjust(settings)
        now = self._clock()
        self._pace.change(now, settings.rate, settings.burst)
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._note(now)
        self._tell_room()

    def figures(self) -> Figures:
        """What it does at the moment; a few divisions, whatever the traffic."""
        now, meter, pace = self._clock(), self._meter, self._pace
        self._note(now)
        return Figures(
            window=self._settings.window * sum(bind.bound for bind in self._senders),
            in_flight=self.in_flight,
            round_trip_ms=meter.round_trip_ms,
            submits_per_second=meter.submits_per_second,
            throttled_share=meter.throttled_share,
            rate_limit=pace.rate,
            rate_setting=self._settings.rate,
            bound=sum(bind.bound for bind in self._binds),
            binds=len(self._binds),
            held=self._paused or self._draining.is_set(),
            full_share=meter.share(Standing.FULL),
            paced_share=meter.share(Standing.PACED),
            open_share=meter.share(Standing.OPEN),
        )

    async def run(self) -> None:
        """Connects, binds and keeps bound, until cancelled or drained.

        Cancelling cuts the connections: what is in flight is in doubt when the connector is opened again.
        """
        if self._settings.tls_insecure:
            log.warning("certificate not verified", extra={"connector": self.name})
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(pump.run()) for pump in self._pumps]
                await asyncio.gather(*(bind.keep() for bind in self._binds))
                for pump in self._pumps:
                    await pump.flush()
                for task in running:
                    task.cancel()
        finally:
            if self._due is not None:
                self._due.cancel()
                self._due = None

    async def drain(self, seconds: float) -> None:
        """Ends in order, and `run` with it: submits no more, waits for answers, settles what came, unbinds.

        What has no answer when most of `seconds` are over is in doubt, and reported as such.
        """
        self._draining.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds * 0.8):
                while self.in_flight:
                    self._heard.clear()
                    await self._heard.wait()
                for pump in self._pumps:
                    await pump.flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds * 0.1):
                await asyncio.gather(*(bind.unbind() for bind in self._binds))
        for bind in self._binds:
            bind.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds * 0.1):
                await self._answers.flush()

    # --- what the operator says ---

    def _on_events(self, bind: KeptBind, link: aio.Link, events: list[Event]) -> None:
        """One read's events, none of which may keep the others from being heard, whatever is in it."""
        now = self._now_ms()
        self._more_room = not events
        self._taken = self._throttled = 0
        for event in events:
            try:
                self._on_event(bind, link, event, now)
            except Exception:
                log.exception("event not understood", extra={"connector": self.name, "kind": type(event).__name__})
                if isinstance(event, RequestReceived) and event.pdu.command_id in RESPONSE_TO:
                    link.reply(event.pdu, Status.ESME_RX_T_APPN)
        bind.after_events(link)
        self._heard.set()
        clock = self._clock()
        if self._taken or self._throttled:
            self._pace.hear(clock, taken=self._taken, throttled=self._throttled, in_flight=self.in_flight)
        self._note(clock)
        if self._more_room:
            self._tell_room()

    def _on_event(self, bind: KeptBind, link: aio.Link, event: Event, now: int) -> None:
        match event:
            case ResponseReceived(token, pdu):
                self._more_room = True
                if isinstance(token, tuple):
                    self._on_answer(bind, token, pdu, now)
                elif token is BIND:
                    bind.answered(pdu.command_status)
                elif token is PROBE:
                    bind.reassured()
                elif isinstance(token, _Asked):
                    bind.told()
                    self._on_told(token, pdu, now)
            case RequestReceived(pdu):
                self._on_request(link, pdu, now)
            case OutcomeUnknown(token, cause):
                self._more_room = True
                if isinstance(token, tuple):
                    self.counts.doubted += 1
                    self._answers.put(doubt_about(token, cause, now))
                    if cause is Cause.RESPONSE_TIMEOUT:
                        bind.suspect(link)
                elif isinstance(token, _Asked):
                    bind.told()
                    self.counts.asked_in_vain += 1
                    token.end()
            case LateResponse(_Asked() as token, pdu):
                self._on_told(token, pdu, now)
            case LateResponse(token, pdu):
                self.counts.late += 1
                self._answers.put(answer_to(cast(AttemptKey, token), pdu, now, self._treatments))
            case Discarded(command_id, _, status):
                self.counts.discarded += 1
                log.info(
                    "PDU discarded",
                    extra={"connector": self.name, "command": f"{command_id:#010x}", "status": status.name},
                )
            case Unbound():
                # Until it hangs up, answers that its unbind overtook may still come.
                bind.let_go(link)
            case Closed(cause):
                bind.lost(cause.value)
            case BindRequested():
                raise AssertionError("nobody binds to an ESME")
            case _:
                assert_never(event)

    def _on_answer(self, bind: KeptBind, key: AttemptKey, response: Pdu, now: int) -> None:
        report = answer_to(key, response, now, self._treatments)
        self._answers.put(report)
        if response.tlvs and (state := congestion_in(response)) is not None:
            self._pace.hear_congestion(self._clock(), state, self.in_flight)
        fact = report.fact
        if not isinstance(fact, Refused):
            self.counts.answered += 1
            self._taken += 1
            bind.proved_useful()
            return
        self.counts.refused += 1
        if fact.treatment is Treatment.THROTTLED:
            self.counts.throttled += 1
            self._throttled += 1
            return
        self._taken += 1  # whatever was wrong with it, it did not come too fast
        if fact.treatment is Treatment.SESSION:
            bind.leave(fact.status)

    def _on_told(self, asked: _Asked, response: Pdu, now: int) -> None:
        asked.end()
        status = response.command_status
        if isinstance(response, QuerySmResp) and not status:
            self._taken += 1
            self._told.put(state_in(response, asked.question, self.name, now, self._not_assigned, self._stop_codes))
            return
        self.counts.asked_in_vain += 1
        if treatment_of(status, self._treatments) is Treatment.THROTTLED:
            self._throttled += 1
        elif not self._asks_in_vain:
            # Once: an operator without query_sm refuses each of them.
            self._asks_in_vain = True
            log.warning("query_sm refused", extra={"connector": self.name, "status": status_name(status)})

    def _on_request(self, link: aio.Link, pdu: Pdu, now: int) -> None:
        if not isinstance(pdu, (DeliverSm, DataSm)):  # a union would be made anew for each
            # outbind, alert_notification: nothing that we wait for, and mostly nothing to answer.
            log.info("request ignored", extra={"connector": self.name, "request": type(pdu).__name__})
            if pdu.command_id in RESPONSE_TO:
                link.reply(pdu, Status.ESME_RINVCMDID)
            return
        receipt = receipt_in(pdu, self.name, now, self._not_assigned, self._stop_codes)
        if receipt is not None:
            self.counts.receipts += 1
            self._receipts.put(_Owed(link, pdu, receipt))
        else:
            inbound = self._inbound_in(pdu, self.name, now)
            self.counts.inbound += 1
            self._inbound.put(_Owed(link, pdu, inbound))

    def _refuse(self, submission: Submission, status: Status, now: int) -> None:
        attempt = submission.attempt
        self.counts.unwritable += 1
        log.error(
            "no PDU can carry this part",
            extra={"connector": self.name, "message_id": attempt.message, "part": attempt.part, "status": status.name},
        )
        # Others have other ways with alphabets and long messages, so one of them may.
        fact = Refused(attempt.part, attempt.number, now, int(status), Treatment.ELSEWHERE)
        self._answers.put(AttemptReport(attempt.message, fact))

    # --- windows and pace ---

    @property
    def _window_free(self) -> int:
        only = self._only
        return sum([bind.window_free for bind in self._senders]) if only is None else only.window_free

    def _write(self, submits: Sequence[tuple[SubmitBody, AttemptKey]]) -> None:
        """Spreads them over the binds, as evenly as their windows allow."""
        if self._only is not None:
            self._only.submit_many(submits)
            return
        at = 0
        # The fullest first: what its window has no room for goes to the others.
        fullest = sorted(self._senders, key=lambda bind: bind.window_free)
        for left, bind in zip(range(len(fullest), 0, -1), fullest, strict=True):
            share = min(bind.window_free, -((at - len(submits)) // left))
            if share:
                bind.submit_many(submits[at : at + share])
                at += share

    def _note(self, now: float) -> None:
        """Measures, and has us called when the pace allows more."""
        if self._paused or self._draining.is_set():
            standing = Standing.HELD
        elif not self._window_free:
            standing = Standing.FULL if any(bind.bound for bind in self._senders) else Standing.AWAY
        elif not self._pace.limited or (seconds := self._pace.wait(now)) is None:
            standing = Standing.OPEN
        else:
            standing = Standing.PACED
            if self._due is None:
                self._due = asyncio.get_running_loop().call_later(seconds, self._on_due)
        if self._meter.note(now, standing, self.in_flight):
            counts = self.counts
            self._meter.fold(counts.submitted, counts.answered + counts.refused + counts.doubted, counts.throttled)

    def _on_due(self) -> None:
        self._due = None
        self._note(self._clock())
        self._tell_room()

    def _tell_room(self) -> None:
        if self.free() > 0:
            self._on_room()

    # --- what is done with it, a batch at a time ---

    @property
    def _pumps(self) -> tuple[Pump[Any], ...]:
        return self._answers, self._receipts, self._inbound, self._told

    async def _settle(self, reports: Sequence[AttemptReport]) -> None:
        try:
            await self._on_answers(reports)
        except Exception:
            # One that the store chokes on must not take the others with it.
            log.exception("answers not settled", extra={"connector": self.name, "count": len(reports)})
            for report in reports if len(reports) > 1 else ():
                await self._settle([report])

    async def _settle_told(self, reports: Sequence[ReceiptReport]) -> None:
        """What is not stored is asked for again."""
        try:
            await self._on_receipts(reports)
        except Exception:
            log.exception("what was asked not settled", extra={"connector": self.name, "count": len(reports)})

    async def _store(self, store: Callable[[Sequence[T]], Awaitable[bool]], owed: Sequence[_Owed[T]]) -> None:
        try:
            stored = await store([request.report for request in owed])
        except Exception:
            log.exception("requests not stored", extra={"connector": self.name, "count": len(owed)})
            if len(owed) > 1:
                for request in owed:
                    await self._store(store, [request])
                return
            stored = False
        self._answer(owed, stored=stored)

    def _answer(self, owed: Sequence[_Owed[T]], *, stored: bool) -> None:
        """At last. On a session that has ended meanwhile it is as if nothing had come: it comes again."""
        status = Status.ESME_ROK if stored else Status.ESME_RX_T_APPN
        for link, pdu, _ in owed:
            link.reply(pdu, status)
        if not stored:
            self.counts.put_off += len(owed)
            return
        self.counts.acknowledged += len(owed)
        links = {request.link for request in owed}
        for bind in self._binds:
            if bind.link in links:
                bind.proved_useful()
