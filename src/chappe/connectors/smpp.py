"""The ESME side: keeps one operator's binds up, writes within its window, hands over what it says in batches.

What things mean is decided in `translation`; that a receipt is stored before it is acknowledged is kept here. It
does not queue: what the window has no room for is the dispatcher's. It does not search for a good rate: told to
slow down, it pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Generic, NamedTuple, TypeVar, assert_never, cast

from chappe.connectors.counts import Counts
from chappe.connectors.kept_bind import BIND, KeptBind
from chappe.connectors.pump import Pump
from chappe.connectors.smpp_settings import SmppSettings
from chappe.connectors.translation import (
    Delivered,
    UnwritableError,
    answer_to,
    doubt_about,
    inbound_in,
    receipt_in,
)
from chappe.core.message import AttemptKey, AttemptReport, Inbound, ReceiptReport, Refused, Submission, Treatment
from chappe.smpp import aio
from chappe.smpp.codec import SubmitBody
from chappe.smpp.pdus import RESPONSE_TO, BindReceiver, BindTransceiver, BindTransmitter, DataSm, DeliverSm, Pdu, Status
from chappe.smpp.session import (
    BindRequested,
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
        self._now_ms = now_ms
        self._on_answers = on_answers
        self._on_room = on_room
        self._answers: Pump[AttemptReport] = Pump(self._settle)
        self._receipts: Pump[_Owed[ReceiptReport]] = Pump(partial(self._store, on_receipts))
        self._inbound: Pump[_Owed[Inbound]] = Pump(partial(self._store, on_inbound))
        self._draining = asyncio.Event()
        kept = partial(KeptBind, settings, chance, self._on_events, self._draining, self.counts)
        kinds = (BindTransceiver,) if settings.bind == "trx" else (BindTransmitter, BindReceiver)
        self._binds = [kept(kind) for kind in kinds]
        self._heard = asyncio.Event()
        self._more_room = False
        self._pause: asyncio.TimerHandle | None = None
        self._pause_seconds = settings.throttle_seconds

    # --- for the dispatcher ---

    def free(self) -> int:
        """How many PDUs may be written now; 0 while unbound, told to slow down, or draining."""
        if self._pause is not None or self._draining.is_set():
            return 0
        return self._binds[0].window_free

    def submit(self, submissions: Sequence[Submission]) -> Sequence[Submission]:
        """Writes what the window has room for and returns the rest, of which no byte left.

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
            self._binds[0].submit_many(submits)
            self.counts.submitted += len(submits)
        return submissions[taken:]

    # --- for the wiring ---

    @property
    def bound(self) -> bool:
        """Whether messages can go out and receipts come in."""
        return all(bind.bound for bind in self._binds)

    @property
    def in_flight(self) -> int:
        """Submits that wait for their answer."""
        return self._binds[0].in_flight

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
            if self._pause is not None:
                self._pause.cancel()
                self._pause = None

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
        for event in events:
            try:
                self._on_event(bind, link, event, now)
            except Exception:
                log.exception("event not understood", extra={"connector": self.name, "kind": type(event).__name__})
                if isinstance(event, RequestReceived) and event.pdu.command_id in RESPONSE_TO:
                    link.reply(event.pdu, Status.ESME_RX_T_APPN)
        bind.after_events(link)
        self._heard.set()
        if self._more_room and self.free() > 0:
            self._on_room()

    def _on_event(self, bind: KeptBind, link: aio.Link, event: Event, now: int) -> None:
        match event:
            case ResponseReceived(token, pdu):
                self._more_room = True
                if isinstance(token, tuple):
                    self._on_answer(bind, token, pdu, now)
                elif token is BIND:
                    bind.answered(pdu.command_status)
            case RequestReceived(pdu):
                self._on_request(link, pdu, now)
            case OutcomeUnknown(token, cause):
                self._more_room = True
                if isinstance(token, tuple):
                    self.counts.doubted += 1
                    self._answers.put(doubt_about(token, cause, now))
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
                # The operator hangs up next; until then, answers that its unbind overtook may still come.
                log.info("operator says goodbye", extra={"connector": self.name})
            case Closed(cause):
                bind.lost(cause.value)
            case BindRequested():
                raise AssertionError("nobody binds to an ESME")
            case _:
                assert_never(event)

    def _on_answer(self, bind: KeptBind, key: AttemptKey, response: Pdu, now: int) -> None:
        report = answer_to(key, response, now, self._treatments)
        self._answers.put(report)
        fact = report.fact
        if not isinstance(fact, Refused):
            self.counts.answered += 1
            bind.proved_useful()
            if self._pause is None:
                self._pause_seconds = self._settings.throttle_seconds
            return
        self.counts.refused += 1
        if fact.treatment is Treatment.THROTTLED:
            self.counts.throttled += 1
            self._slow_down()
        elif fact.treatment is Treatment.SESSION:
            bind.leave(fact.status)

    def _slow_down(self) -> None:
        """Pauses once for all the refusals of one moment; each pause is twice as long, until a submit is taken."""
        if self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(self._pause_seconds, self._speed_up)
            self._pause_seconds = min(2 * self._pause_seconds, self._settings.longest_throttle_seconds)

    def _speed_up(self) -> None:
        self._pause = None
        if self.free() > 0:
            self._on_room()

    def _on_request(self, link: aio.Link, pdu: Pdu, now: int) -> None:
        if not isinstance(pdu, DeliverSm | DataSm):
            # outbind, alert_notification: nothing that we wait for, and mostly nothing to answer.
            log.info("request ignored", extra={"connector": self.name, "request": type(pdu).__name__})
            if pdu.command_id in RESPONSE_TO:
                link.reply(pdu, Status.ESME_RINVCMDID)
            return
        receipt = receipt_in(pdu, self.name, now, self._not_assigned)
        if receipt is not None:
            self.counts.receipts += 1
            self._receipts.put(_Owed(link, pdu, receipt))
        else:
            inbound = inbound_in(pdu, self.name, now)
            self.counts.inbound += 1
            self._inbound.put(_Owed(link, pdu, inbound))

    def _refuse(self, submission: Submission, status: Status, now: int) -> None:
        attempt = submission.attempt
        self.counts.unwritable += 1
        log.error(
            "no PDU can carry this part",
            extra={"connector": self.name, "message_id": attempt.message, "part": attempt.part, "status": status.name},
        )
        fact = Refused(attempt.part, attempt.number, now, int(status), Treatment.PERMANENT)
        self._answers.put(AttemptReport(attempt.message, fact))

    # --- what is done with it, a batch at a time ---

    @property
    def _pumps(self) -> tuple[Pump[AttemptReport], Pump[_Owed[ReceiptReport]], Pump[_Owed[Inbound]]]:
        return self._answers, self._receipts, self._inbound

    async def _settle(self, reports: Sequence[AttemptReport]) -> None:
        try:
            await self._on_answers(reports)
        except Exception:
            # One that the store chokes on must not take the others with it.
            log.exception("answers not settled", extra={"connector": self.name, "count": len(reports)})
            for report in reports if len(reports) > 1 else ():
                await self._settle([report])

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
