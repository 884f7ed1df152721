"""The SMSC itself: takes submits, gives receipts and replies to whoever binds, as its mood says."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from chappe.core.replies import recognise
from chappe.simulator.agenda import Agenda
from chappe.simulator.corruption import misstate, overrun, sm_length
from chappe.simulator.memory import Recent
from chappe.simulator.moods import MAGIC, Fate, Mood, Script
from chappe.simulator.phones import Phones, compose, link_in, open_submit, visit
from chappe.simulator.receipts import WANTED, query_answer, receipt
from chappe.smpp import aio, codec, pdus
from chappe.smpp.pdus import DataSm, DeliverSm, Npi, Pdu, Status, SubmitSm, SubmitSmResp, Tag, Ton
from chappe.smpp.session import (
    BindRequested,
    Closed,
    Event,
    Limits,
    MisuseError,
    OutcomeUnknown,
    RequestReceived,
    ResponseReceived,
    Unbound,
)
from chappe.smpp.udh import Segment

log = logging.getLogger(__name__)

Submit: TypeAlias = SubmitSm | DataSm


@dataclass(slots=True, frozen=True)
class Submitted:
    """A line of the ledger: every submit, and how it was taken. `message_id` is None when it was refused."""

    pdu: Submit
    status: int
    message_id: bytes | None


@dataclass(slots=True)
class _Accepted:
    pdu: Submit
    place: Segment
    data_coding: int
    script: Script
    number: int
    """The message id, before it is written in one of its forms."""
    system_id: bytes
    at: float
    """Unix seconds."""


@dataclass(slots=True)
class _Known:
    """What the operator knows of a submit; `fate` None: it is on its way."""

    system_id: bytes
    source_addr: bytes
    fate: Fate | None = None
    error: int | None = None
    at: float = 0.0
    """When it ended, Unix seconds."""


@dataclass(slots=True)
class _Delivery:
    """A deliver_sm until a client has taken it. `system_id` is whom it is for, or empty: anybody."""

    pdu: DeliverSm
    system_id: bytes
    since: float | None = None
    """When it was tried first."""


@dataclass(slots=True)
class _Client:
    system_id: bytes
    receives: bool
    submits: int = 0
    waiting: int = 0
    """Submits that are still to be answered."""


@dataclass(slots=True, frozen=True)
class _Owner:
    """The client that last sent from an address, and how it described the address."""

    system_id: bytes = b""
    ton: int = Ton.UNKNOWN
    npi: int = Npi.UNKNOWN


class Simulator:
    """An SMSC for tests, demonstrations and development. Use within one event loop."""

    def __init__(
        self,
        mood: Mood | None = None,
        *,
        system_id: str | None = None,
        password: str | None = None,
        links: str | None = None,
        ledger: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`system_id` and `password` are what a bind must show (None: anything). `links` is the one host, or
        host:port, whose links …05 opens (None: this machine's), for whoever may send tests chooses the link.
        `ledger` keeps every submit in memory. `wall_clock` (Unix seconds) dates the receipts."""
        self.mood = mood or Mood()
        self.counts: Counter[str] = Counter()
        """submits, accepted, refused, throttled, unanswered, delivered (deliver_sm answered with ROK), redelivered,
        given_up, clicks, queries, binds, binds_refused."""
        self.ledger: list[Submitted] | None = [] if ledger else None
        self.inbox: list[tuple[str, str]] = []
        """(number, text) of each whole message as its phone shows it; filled when `ledger` is on."""
        self._credentials = (system_id, password)
        self.links_host = links
        self._wall_clock = wall_clock
        self._chance = random.Random(self.mood.seed)  # noqa: S311 - dice, not a secret
        self._next_id = int(wall_clock() * 1_000_000)  # unlike those of the last run
        self._loop: asyncio.AbstractEventLoop
        self._server: asyncio.Server | None = None
        self._links: dict[aio.Link, _Client | None] = {}
        self._agenda = Agenda(self._pump)
        self._outboxes: defaultdict[bytes, deque[_Delivery]] = defaultdict(deque)
        self._owners: Recent[bytes, _Owner] = Recent()
        self._throttled: Recent[tuple[bytes, bytes], int] = Recent()
        self._phones = Phones()
        self._states: Recent[bytes, _Known] = Recent()
        """By the id that was answered, what query_sm is told."""
        self._stopped: Recent[tuple[bytes, bytes], bool] = Recent()
        """(number, sender) of those who wrote STOP."""
        self._silent: list[asyncio.Transport] = []
        self._began: float | None = None
        self._allowance = 0.0
        self._allowance_at = float("-inf")
        self._clicks: set[asyncio.Task[None]] = set()

    @property
    def mood(self) -> Mood:
        """May be set at any time, for what comes next."""
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._mood = mood
        self._scripts = {**MAGIC, **mood.numbers}
        self._lengths = sorted({len(digits) for digits in self._scripts}, reverse=True)

    # --- running ---

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> int:
        """Listens and returns the port. Raises OSError. May be called again after `stop`: what was undelivered
        is still there."""
        limits = Limits(window=self.mood.window, max_owed=100_000)
        self._loop = asyncio.get_running_loop()
        self._server = await aio.serve(host, port, self._on_link, self._on_events, limits=limits, tls=tls)
        self._agenda.resume()
        if self._began is None:
            self._began = self._agenda.now()
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._agenda.pause()
        links, clicks = list(self._links), list(self._clicks)
        self._links = dict.fromkeys(links)  # nobody's client any more, or what one link gives back goes to the next
        for link in links:
            link.close()
        for transport in self._silent:
            transport.abort()
        self._silent.clear()
        for click in clicks:
            click.cancel()
        await asyncio.gather(*(link.lost for link in links), *clicks, return_exceptions=True)

    @property
    def bound(self) -> int:
        """Binds at the moment."""
        return sum(client is not None for client in self._links.values())

    @property
    def undelivered(self) -> int:
        """Receipts and replies that wait for a client (not those in flight)."""
        return sum(len(outbox) for outbox in self._outboxes.values())

    def cut(self) -> None:
        """Cuts every connection, as a broken network does."""
        for link in list(self._links):
            link.abort()

    def pass_time(self, seconds: float) -> None:
        """As if so much time had passed for this operator: what is due by then happens soon, with its dates."""
        self._agenda.put_forward(seconds)

    def go_silent(self) -> None:
        """Neither reads nor writes on any connection any more, and closes none."""
        for link in list(self._links):
            self._go_silent(link)

    def unbind(self) -> None:
        """Says goodbye to every client."""
        for link in list(self._links):
            self._unbind(link)

    def send_mo(self, number: str, to: str, text: str | Sequence[str], order: Iterable[int] | None = None) -> None:
        """A person at `number` (digits, with or without +) writes to the address `to`.

        A long text travels in parts; a sequence is these parts. `order` is that of their arrival (from 1; default:
        as written). They go to the client that last sent from `to`, else to the first that can receive. Raises
        ValueError when a part is too long.
        """
        self._heed_stop(number, to, text if isinstance(text, str) else "".join(text))
        contents = compose(text, self.mood, self._chance.randrange(256))
        address = to.encode("latin-1")
        owner = self._owners.get(address, _Owner())
        deliveries = []
        for sequence in order or range(1, len(contents) + 1):
            content = contents[sequence - 1]
            pdu = DeliverSm(
                source_addr_ton=Ton.INTERNATIONAL,
                source_addr_npi=Npi.ISDN,
                source_addr=number.removeprefix("+").encode("latin-1"),
                dest_addr_ton=owner.ton,
                dest_addr_npi=owner.npi,
                destination_addr=address,
                esm_class=content.esm_class,
                data_coding=content.data_coding,
                short_message=content.octets,
                tlvs=content.tlvs,
            )
            codec.encode(pdu)  # raises here rather than when its turn comes
            deliveries.append(_Delivery(pdu, owner.system_id))
        self._outboxes[owner.system_id].extend(deliveries)
        self._pump()

    # --- events ---

    def _on_link(self, link: aio.Link) -> None:
        self._links[link] = None
        if self._server is None:  # accepted while we stopped
            link.close()

    def _on_events(self, link: aio.Link, events: list[Event]) -> None:
        for event in events:
            match event:
                case RequestReceived(pdu):
                    self._on_request(link, pdu)
                case ResponseReceived(_Delivery() as delivery, pdu):
                    self._on_delivered(delivery, pdu.command_status)
                case OutcomeUnknown(_Delivery() as delivery, _):
                    self._deliver_again(delivery)
                case BindRequested(bind):
                    self._on_bind(link, bind)
                case Unbound():
                    self._links[link] = None
                case Closed():
                    self._links.pop(link, None)
                case _:
                    pass
        self._pump()

    def _on_bind(self, link: aio.Link, bind: pdus.Bind) -> None:
        system_id, password = self._credentials
        if system_id is not None and bind.system_id != system_id.encode():
            status = Status.ESME_RINVSYSID
        elif password is not None and bind.password != password.encode():
            status = Status.ESME_RINVPASWD
        else:
            self.counts["binds"] += 1
            version = ((Tag.SC_INTERFACE_VERSION, b"\x34"),)
            link.reply(bind, _BIND_RESPONSES[type(bind)](tlvs=version, system_id=b"simulator"))
            self._links[link] = _Client(bind.system_id, not isinstance(bind, pdus.BindTransmitter))
            if self.mood.unbind_after_seconds:
                due = self._agenda.now() + self.mood.unbind_after_seconds
                self._agenda.add(due, partial(self._unbind, link))
            return
        self.counts["binds_refused"] += 1
        link.reply(bind, status)

    def _on_request(self, link: aio.Link, pdu: Pdu) -> None:
        client = self._links[link]
        if client is None:  # it unbound, or we cut it, within the same read
            return
        if isinstance(pdu, pdus.QuerySm):
            self.counts["queries"] += 1
            link.reply(pdu, self._state(client, pdu))
            return
        if not isinstance(pdu, SubmitSm | DataSm):
            link.reply(pdu, _NOT_OFFERED.get(type(pdu), Status.ESME_RINVCMDID))
            return
        mood = self.mood
        client.submits += 1
        if client.submits == mood.drop_after:
            self._links[link] = None  # so that it is not answered
            self._on_submit(link, client, pdu)
            link.abort()
            return
        self._on_submit(link, client, pdu)
        if client.submits == mood.silent_after:
            self._go_silent(link)
            return
        if mood.unbind_every and client.submits % mood.unbind_every == 0:
            self._unbind(link)

    def _on_submit(self, link: aio.Link, client: _Client, pdu: Submit) -> None:
        mood = self.mood
        script = self._script(pdu.destination_addr)
        now = self._agenda.now()
        answer_at = now + mood.answer_seconds
        if mood.answer_jitter_seconds:
            answer_at += self._chance.uniform(0, mood.answer_jitter_seconds)
        self.counts["submits"] += 1
        client.waiting += 1
        status = self._refusal(pdu, client, script, now)
        if status:
            self.counts["throttled" if status == mood.throttled_status else "refused"] += 1
            self._note(pdu, status, None)
            self._agenda.add(answer_at, partial(self._answer, link, pdu, status))
            return
        self.counts["accepted"] += 1
        self._next_id += 1
        message_id = mood.answer_ids.show(self._next_id)
        self._note(pdu, 0, message_id)
        self._owners[pdu.source_addr] = _Owner(client.system_id, pdu.source_addr_ton, pdu.source_addr_npi)
        self._states[message_id] = _Known(client.system_id, pdu.source_addr)
        handset_at = now + mood.receipt_seconds
        if mood.receipt_first:
            answer_at = max(answer_at, handset_at)
        else:
            handset_at = max(handset_at, answer_at)
        if self._happens(mood.receipts_late):
            handset_at += mood.late_seconds
        accepted = _Accepted(pdu, *open_submit(pdu, mood), script, self._next_id, client.system_id, self._date())
        self._agenda.add(handset_at, partial(self._at_handset, accepted))
        if script.answered and not self._happens(mood.answers_lost):
            self._agenda.add(answer_at, partial(self._answer, link, pdu, 0, message_id))
        else:
            self.counts["unanswered"] += 1
            client.waiting -= 1
            link.session.leave_unanswered(pdu)

    def _state(self, client: _Client, query: pdus.QuerySm) -> pdus.QuerySmResp | Status:
        """§4.8: of a submit of the same client, from the same address."""
        known = self._states.get(query.message_id)
        theirs = known is not None and (known.system_id, known.source_addr) == (client.system_id, query.source_addr)
        if known is None or not theirs or self._happens(self.mood.queries_refused):
            return Status.ESME_RQUERYFAIL
        return query_answer(query.message_id, known.fate, known.at, known.error)

    def _refusal(self, pdu: Submit, client: _Client, script: Script, now: float) -> int:
        if not 0 < len(pdu.destination_addr) <= 20:
            return Status.ESME_RINVDSTADR
        if len(pdu.source_addr) > 20:
            return Status.ESME_RINVSRCADR
        mood = self.mood
        if self._over_rate(now) or self._is_busy(now) or 0 < mood.max_waiting < client.waiting:
            return mood.throttled_status
        if script.status:
            return script.status
        if script.throttled and self._still_throttled(pdu):
            return mood.throttled_status
        return mood.refused_status if self._happens(mood.refused) else 0

    def _over_rate(self, now: float) -> bool:
        rate = self.mood.throttle_above
        if not rate:
            return False
        self._allowance = min(max(rate, 1.0), self._allowance + rate * (now - self._allowance_at))
        self._allowance_at = now
        if self._allowance < 1:
            return True
        self._allowance -= 1
        return False

    def _is_busy(self, now: float) -> bool:
        every = self.mood.busy_every_seconds
        return every > 0 and (now - (self._began or 0.0)) % every >= every - self.mood.busy_seconds

    def _still_throttled(self, pdu: Submit) -> bool:
        """Once or twice for each part, told apart by its number and octets."""
        key = (pdu.destination_addr, pdu.user_data)
        left = self._throttled.pop(key, None)
        if left is None:
            left = self._chance.randint(1, 2)
        if left:
            self._throttled[key] = left - 1
        return left > 0

    def _answer(self, link: aio.Link, pdu: Submit, status: int, message_id: bytes = b"") -> None:
        if self.mood.receipt_first:
            self._pump()
        client = self._links.get(link)
        if client is None:
            return
        client.waiting -= 1
        if not self.mood.tells_congestion:
            link.reply(pdu, status, message_id)
            return
        answer = SubmitSmResp if isinstance(pdu, SubmitSm) else pdus.DataSmResp
        tlvs = ((pdus.CONGESTION_STATE, bytes((self._congestion(),))),)
        link.reply(pdu, answer(status, tlvs=tlvs, message_id=message_id))

    def _congestion(self) -> int:
        """0 to 100: how much of what it allows is used up."""
        most = self.mood.throttle_above
        if self._is_busy(self._agenda.now()) or (most and self._allowance < 1):
            return 100
        return int(99 * (1 - self._allowance / max(most, 1.0))) if most else 0

    def _at_handset(self, accepted: _Accepted) -> None:
        """The operator knows what became of this part: the receipt, and what the person does then."""
        mood, pdu, script, place = self.mood, accepted.pdu, accepted.script, accepted.place
        if mood.stop_error and (pdu.destination_addr.removeprefix(b"+"), pdu.source_addr) in self._stopped:
            script = Script(fate=Fate.REJECTED, error=mood.stop_error)
        known = self._states.get(mood.answer_ids.show(accepted.number))
        if known is not None:
            known.fate, known.error, known.at = script.fate, script.error, self._date()
        if (
            script.receipt
            and script.fate in WANTED[pdu.registered_delivery & 3]
            and (mood.receipt_parts is None or place.sequence in mood.receipt_parts)
            and not self._happens(mood.receipts_lost)
        ):
            told = receipt(
                pdu,
                script.fate,
                message_id=mood.receipt_ids.show(accepted.number),
                text=place.rest,
                submitted_at=accepted.at,
                done_at=self._date(),
                error=script.error,
            )
            for _ in range(2 if self._happens(mood.receipts_doubled) else 1):
                self._outboxes[accepted.system_id].append(_Delivery(told, accepted.system_id))
        if script.fate is Fate.DELIVERED and (script.reply or script.opens_link or self.ledger is not None):
            text = self._phones.show(pdu, place, accepted.data_coding)
            if text is not None:
                self._at_person(pdu, script, text)

    def _at_person(self, pdu: Submit, script: Script, text: str) -> None:
        number, sender = pdu.destination_addr.decode("latin-1"), pdu.source_addr.decode("latin-1")
        if self.ledger is not None:
            self.inbox.append((number, text))
        at = self._agenda.now() + self.mood.reply_seconds
        if script.reply:
            self._agenda.add(at, partial(self.send_mo, number, sender, script.reply))
        if script.opens_link and (link := link_in(text)):
            self._agenda.add(at, partial(self._click, link))

    def _click(self, link: str) -> None:
        click = self._loop.create_task(self._open(link))
        self._clicks.add(click)
        click.add_done_callback(self._clicks.discard)

    async def _open(self, link: str) -> None:
        try:
            self.counts["clicks"] += await visit(link, self.links_host)
        except (OSError, ValueError) as error:
            log.warning("link not opened: %s", type(error).__name__)

    # --- what goes to clients ---

    def _pump(self) -> None:
        """Gives each client what waits for it, as far as its window goes; what has no owner goes to any."""
        if not any(self._outboxes.values()):
            return
        for link, client in self._links.items():
            if client is None or not client.receives:
                continue
            for system_id in (client.system_id, b""):
                outbox = self._outboxes[system_id]
                while outbox and link.window_free:
                    delivery = outbox.popleft()
                    if delivery.since is None:
                        delivery.since = self._agenda.now()
                    link.request(delivery.pdu, delivery, self._spoil())

    def _on_delivered(self, delivery: _Delivery, status: int) -> None:
        if status == Status.ESME_ROK:
            self.counts["delivered"] += 1
        elif status in _GIVEN_UP or self._is_too_old(delivery):
            self.counts["given_up"] += 1
        else:
            self._agenda.add(self._agenda.now() + self.mood.retry_seconds, partial(self._deliver_again, delivery))

    def _is_too_old(self, delivery: _Delivery) -> bool:
        patience, since = self.mood.retry_for_seconds, delivery.since
        return patience > 0 and since is not None and self._agenda.now() + self.mood.retry_seconds > since + patience

    def _deliver_again(self, delivery: _Delivery) -> None:
        self.counts["redelivered"] += 1
        self._outboxes[delivery.system_id].append(delivery)

    def _unbind(self, link: aio.Link) -> None:
        with suppress(MisuseError):  # not bound, or goodbye is already said
            link.request(pdus.Unbind())

    def _go_silent(self, link: aio.Link) -> None:
        self._links[link] = None  # so that nothing more of this read is taken
        transport = link.detach()
        if transport is not None:
            self._silent.append(transport)

    # --- habits ---

    def _date(self) -> float:
        """Unix seconds."""
        return self._wall_clock() + self._agenda.ahead

    def _heed_stop(self, number: str, to: str, text: str) -> None:
        key = (number.removeprefix("+").encode("latin-1"), to.encode("latin-1"))
        keyword = recognise(text)
        if keyword == "STOP":
            self._stopped[key] = True
        elif keyword == "START":
            self._stopped.pop(key, None)

    def _spoil(self) -> Callable[[bytes], bytes] | None:
        if self._happens(self.mood.corrupt_tlvs):
            return overrun
        if self._happens(self.mood.corrupt_lengths):
            share = self._chance.choice((0.0, 0.5, 2.0))
            return lambda octets: misstate(octets, min(255, int(sm_length(octets) * share)))
        return None

    def _happens(self, share: float) -> bool:
        return share > 0 and self._chance.random() < share

    def _script(self, destination: bytes) -> Script:
        digits = destination.decode("latin-1").removeprefix("+")
        for length in self._lengths:
            script = self._scripts.get(digits[:length])
            if script is not None:
                return script
        return _ORDINARY

    def _note(self, pdu: Submit, status: int, message_id: bytes | None) -> None:
        if self.ledger is not None:
            self.ledger.append(Submitted(pdu, status, message_id))


async def run(
    simulator: Simulator,
    host: str,
    port: int,
    on_started: Callable[[int], None],
    on_counts: Callable[[Mapping[str, int]], None] | None = None,
    *,
    every_seconds: float = 60.0,
) -> None:
    """Runs until cancelled. Tells the port once, and the counts at these intervals when they have changed.

    Raises OSError when it cannot listen.
    """
    bound = await simulator.start(host, port)
    try:
        on_started(bound)
        told = simulator.counts.copy()
        while True:
            await asyncio.sleep(every_seconds)
            if on_counts is not None and simulator.counts != told:
                told = simulator.counts.copy()
                on_counts(told)
    finally:
        await simulator.stop()


_ORDINARY = Script()
_BIND_RESPONSES: Mapping[type[pdus.Bind], type[pdus.BindResp]] = {
    pdus.BindTransmitter: pdus.BindTransmitterResp,
    pdus.BindReceiver: pdus.BindReceiverResp,
    pdus.BindTransceiver: pdus.BindTransceiverResp,
}
_NOT_OFFERED: Mapping[type[Pdu], Status] = {
    pdus.CancelSm: Status.ESME_RCANCELFAIL,
    pdus.ReplaceSm: Status.ESME_RREPLACEFAIL,
}
_GIVEN_UP = frozenset({Status.ESME_RX_P_APPN, Status.ESME_RX_R_APPN})
"""The answers to a deliver_sm after which it is not tried again."""
