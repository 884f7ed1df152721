"""The door for customers: they bind with a system_id and a password, submit, ask, and are told.

A submit is answered once it is stored: those of one read share a transaction. How many answers a link is owed is
bounded by not reading on. Passwords, accounts and limits are looked up anew for each batch, and each second for those
who are bound: what is taken back ends at once.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from chappe.core.customers import Customer, CustomerId, SubmitId
from chappe.core.errors import StoreUnavailable
from chappe.core.message import Cancellation, MessageId, State
from chappe.core.ports import Store
from chappe.customers.feed import Feed, Flight, Settler
from chappe.customers.intake import Intake, Outcome
from chappe.customers.passwords import Tries, is_password
from chappe.customers.reading import STORE_AWAY
from chappe.customers.times import write_time
from chappe.customers.writing import asked_state, error_number, message_state
from chappe.flow.accept import Terms
from chappe.flow.rates import Rates
from chappe.smpp import aio, pdus
from chappe.smpp.aio import Link
from chappe.smpp.pdus import MessageState, Pdu, Status, SubmitSm, Tag
from chappe.smpp.session import (
    BindRequested,
    Closed,
    Event,
    Limits,
    OutcomeUnknown,
    RequestReceived,
    ResponseReceived,
    Unbound,
)

log = logging.getLogger(__name__)

LIMITS: Final = Limits(window=10, max_pdu=16 * 1024, strict=True, response_seconds=30.0)
"""No text that we take is longer than 20 parts; what we tell is not claimed again before an answer is overdue."""
MOST_LINKS: Final = 1_000
MOST_UNBOUND: Final = 200
"""Links on which nobody is bound (yet): the oldest makes room for the next one, so that they shut nobody out."""
MOST_BINDS: Final = 10
"""Of one system_id, at each node."""
MOST_CHECKS: Final = 20
"""Passwords that wait to be checked; one is at a time."""
OWED_MOST, OWED_AGAIN = 200, 100
"""Submits without an answer at which a link is not read any more, and is read again."""
LOOK_EVERY_SECONDS: Final = 1.0
TIDY_EVERY: Final = 10
"""Looks."""
UNBIND_SECONDS: Final = 5.0
SYSTEM_ID: Final = b"chappe"
TLVS_SINCE: Final = 0x34
"""interface_version: before 3.4 there are no optional parameters."""


@dataclass(slots=True, frozen=True)
class _Client:
    """Who is bound on a link."""

    customer: CustomerId
    system_id: str
    digest: bytes
    receives: bool

    def is_still(self, customer: Customer | None) -> bool:
        return customer is not None and not customer.account.blocked and customer.digest == self.digest


class CustomerServer:
    """Use within one event loop: `run` in the background, then `start`; at the end `stop`, and cancel `run`."""

    def __init__(
        self,
        store: Store,
        terms: Terms,
        rates: Rates,
        *,
        now_ms: Callable[[], int],
        clock: Callable[[], float],
        wake: Callable[[str], None],
        alone: bool = False,
    ) -> None:
        """`clock` gives seconds that never go back; `wake` is told of a route that something was queued on. `alone`: no
        other node uses this store."""
        self._store = store
        self._now_ms = now_ms
        self._clock = clock
        self._alone = alone
        self._intake = Intake(store, terms, rates, now_ms=now_ms, wake=wake)
        self._settler = Settler(store)
        self._links: dict[Link, _Client | None] = {}
        self._feeds: dict[CustomerId, Feed] = {}
        self._tries = Tries()
        self._checking = asyncio.Semaphore(1)
        self._checks = 0
        self._server: asyncio.Server | None = None
        self._group: asyncio.TaskGroup | None = None
        self._running = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run(self) -> None:
        """What goes on in the background, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._running.set()
            group.create_task(self._settler.run())
            await self._look_for_ever()

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Listens and returns the port. Raises OSError, StoreUnavailable."""
        await self._running.wait()
        if self._alone:
            await self._store.free_tellings(self._now_ms())
        self._server = await aio.serve(host, port, self._on_link, self._on_events, limits=LIMITS, tls=tls)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, seconds: float) -> None:
        """Answers what is under way within so long, says goodbye, and stores what was acknowledged."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for feed in self._feeds.values():
            feed.stop()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        for link in list(self._links):
            _say_goodbye(link)
        for end, patience in ((lambda _: None, UNBIND_SECONDS), (Link.close, 2 * aio.ABORT_SECONDS)):
            links = list(self._links)
            for link in links:
                end(link)
            if links:
                await asyncio.wait([link.lost for link in links], timeout=patience)
        with suppress(StoreUnavailable):
            await self._settler.flush()

    def wake(self) -> None:
        """There may be something to tell: events or replies were stored."""
        for feed in self._feeds.values():
            feed.wake()

    @property
    def bound(self) -> int:
        """Links on which a customer is bound."""
        return sum(client is not None for client in self._links.values())

    # --- events ---

    def _on_link(self, link: Link) -> None:
        if self._stopping or len(self._links) >= MOST_LINKS:
            link.close()
            return
        unbound = [other for other, client in self._links.items() if client is None]
        if len(unbound) >= MOST_UNBOUND:
            unbound[0].close()
        self._links[link] = None

    def _on_events(self, link: Link, events: list[Event]) -> None:
        submits: list[SubmitSm] = []
        for event in events:
            match event:
                case RequestReceived(SubmitSm() as submit):
                    submits.append(submit)
                case RequestReceived(pdu):
                    self._on_request(link, pdu)
                case ResponseReceived(Flight() as flight) | OutcomeUnknown(Flight() as flight):
                    flight.feed.heard(event, flight)
                case BindRequested(bind):
                    self._spawn(self._bind(link, bind))
                case Unbound():
                    self._leave(link, self._links.get(link))
                    self._links[link] = None
                case Closed():
                    self._leave(link, self._links.pop(link, None))
                case _:
                    pass
        if submits:
            self._spawn(self._take(link, submits))
            if link.session.owed >= OWED_MOST:
                link.hold_reading(True)
        if not events and (client := self._links.get(link)) is not None and client.customer in self._feeds:
            self._feeds[client.customer].wake()  # it reads again

    def _on_request(self, link: Link, pdu: Pdu) -> None:
        match pdu:
            case pdus.QuerySm():
                self._spawn(self._query(link, pdu))
            case pdus.CancelSm():
                self._spawn(self._cancel(link, pdu))
            case pdus.ReplaceSm():
                link.reply(pdu, Status.ESME_RREPLACEFAIL)
            case _:
                link.reply(pdu, Status.ESME_RINVCMDID)

    def _leave(self, link: Link, client: _Client | None) -> None:
        if client is None:
            return
        log.info("customer unbound", extra={"system_id": client.system_id})
        feed = self._feeds.get(client.customer)
        if feed is not None:
            feed.drop(link)
            if feed.is_idle:
                feed.stop()
                del self._feeds[client.customer]

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    # --- binding ---

    async def _bind(self, link: Link, bind: pdus.Bind) -> None:
        try:
            customer = await self._admit(link, bind)
        except Exception:
            log.exception("bind failed")
            customer = Status.ESME_RSYSERR
        if isinstance(customer, Customer):
            binds = sum(client is not None and client.customer == customer.id for client in self._links.values())
            if binds >= MOST_BINDS:
                customer = Status.ESME_RALYBND
        if not isinstance(customer, Customer) or link not in self._links or self._stopping:
            link.reply(bind, Status.ESME_RBINDFAIL if isinstance(customer, Customer) else customer)
            link.close()
            return
        speaks_tlvs = bind.interface_version >= TLVS_SINCE
        version = ((Tag.SC_INTERFACE_VERSION, b"\x34"),) if speaks_tlvs else ()
        response = pdus.RESPONSE_TO[bind.command_id]
        if not link.reply(bind, response(tlvs=version, system_id=SYSTEM_ID)):  # type: ignore[call-arg]  # a BindResp
            return
        receives = not isinstance(bind, pdus.BindTransmitter)
        self._links[link] = _Client(customer.id, customer.system_id, customer.digest, receives)
        log.info("customer bound", extra={"system_id": customer.system_id, "bind": type(bind).__name__})
        if receives:
            self._feed_of(customer).add(link, tlvs=speaks_tlvs)

    async def _admit(self, link: Link, bind: pdus.Bind) -> Customer | Status:
        """The customer, or why not: an unknown system_id is told as a wrong password is."""
        system_id = bind.system_id.decode("latin-1")
        caller = (link.peer.rpartition(":")[0], system_id)
        if self._tries.is_barred(caller, self._clock()):
            return Status.ESME_RBINDFAIL
        if self._checks >= MOST_CHECKS:
            return Status.ESME_RSYSERR
        try:
            customer = await self._store.find_customer(system_id)
        except StoreUnavailable:
            return Status.ESME_RSYSERR
        self._checks += 1
        try:
            async with self._checking:
                right = await asyncio.to_thread(is_password, bind.password, customer)
        finally:
            self._checks -= 1
        if customer is None or not right:
            self._tries.failed(caller, self._clock())
            log.warning("wrong password", extra={"system_id": customer.system_id if customer else "unknown"})
            return Status.ESME_RINVPASWD
        self._tries.succeeded(caller)
        return Status.ESME_RBINDFAIL if customer.account.blocked else customer

    def _feed_of(self, customer: Customer) -> Feed:
        feed = self._feeds.get(customer.id)
        if feed is None:
            feed = Feed(customer.id, customer.system_id, self._store, self._settler, self._now_ms)
            self._feeds[customer.id] = feed
            assert self._group is not None  # noqa: S101 - `start` has waited for it
            self._group.create_task(feed.run())
        return feed

    # --- requests ---

    async def _take(self, link: Link, submits: Sequence[SubmitSm]) -> None:
        outcomes = [Outcome(STORE_AWAY)] * len(submits)
        try:
            customer = await self._still_bound(link)
            if customer is not None and not self._stopping:
                outcomes = await self._intake.take(customer, submits)
        except StoreUnavailable:
            pass
        except Exception:
            log.exception("submits failed")
            outcomes = [Outcome(Status.ESME_RSYSERR)] * len(submits)
        for submit, outcome in zip(submits, outcomes, strict=True):
            link.reply(submit, outcome.status, outcome.message_id)
        if link.session.owed <= OWED_AGAIN:
            link.hold_reading(False)

    async def _query(self, link: Link, query: pdus.QuerySm) -> None:
        answer: Pdu | Status
        try:
            answer = await self._find_state(link, query.message_id) or Status.ESME_RINVMSGID
        except StoreUnavailable:
            answer = STORE_AWAY
        except Exception:
            log.exception("query failed")
            answer = Status.ESME_RQUERYFAIL
        link.reply(query, answer)

    async def _cancel(self, link: Link, cancel: pdus.CancelSm) -> None:
        try:
            status = await self._take_back(link, cancel.message_id)
        except StoreUnavailable:
            status = STORE_AWAY
        except Exception:
            log.exception("cancel failed")
            status = Status.ESME_RCANCELFAIL
        link.reply(cancel, status)

    async def _find_state(self, link: Link, message_id: bytes) -> pdus.QuerySmResp | None:
        customer, submit = await self._still_bound(link), _read_id(message_id)
        found = (
            None if customer is None or submit is None else await self._store.find_submit(customer.account.id, submit)
        )
        if customer is None or found is None:
            return None
        state, since, error = MessageState.ACCEPTED, None, 0
        if found.cause is not None:
            state, since, error = message_state(State.ERROR, found.cause), found.at, error_number(found.cause)
        elif found.message is not None:
            message = await self._store.find_message(customer.account.id, found.message)
            if message is None:
                return None
            state, since, error = asked_state(message)
        return pdus.QuerySmResp(
            message_id=message_id,
            final_date=b"" if since is None else write_time(since),
            message_state=state,
            error_code=min(error, 255),
        )

    async def _take_back(self, link: Link, message_id: bytes) -> Status:
        customer, submit = await self._still_bound(link), _read_id(message_id)
        if customer is None or submit is None:
            return Status.ESME_RINVMSGID
        found = await self._store.find_submit(customer.account.id, submit)
        if found is None:
            return Status.ESME_RINVMSGID
        if found.message is None:
            return Status.ESME_RCANCELFAIL
        match await self._store.cancel(customer.account.id, MessageId(found.message), self._now_ms()):
            case Cancellation.DONE:
                self.wake()
                return Status.ESME_ROK
            case Cancellation.TOO_LATE:
                return Status.ESME_RCANCELFAIL
            case Cancellation.ABSENT:
                return Status.ESME_RINVMSGID

    async def _still_bound(self, link: Link) -> Customer | None:
        """Who is bound there, with its account as it is now; None, and the link ends, when that was taken back."""
        client = self._links.get(link)
        if client is None:
            return None
        customer = await self._store.find_customer(client.system_id)
        if client.is_still(customer):
            return customer
        _say_goodbye(link)
        return None

    # --- the passing of time ---

    async def _look_for_ever(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            looks += 1
            try:
                await self.look()
                if looks % TIDY_EVERY == 0:
                    await self.tidy()
            except StoreUnavailable:
                log.warning("store unavailable, customers are looked after later")

    async def look(self) -> None:
        """Ends the links of those who may not be bound any more."""
        for link in list(self._links):
            await self._still_bound(link)

    async def tidy(self) -> None:
        """Finishes long messages that are overdue, and drops what is old."""
        await self._intake.finish_overdue()
        await self._store.tidy_customers(self._now_ms())
        self.wake()


def _say_goodbye(link: Link) -> None:
    if link.session.may_send(pdus.Unbind):
        link.request(pdus.Unbind())
    else:
        link.close()


def _read_id(message_id: bytes) -> SubmitId | None:
    return SubmitId(int(message_id)) if message_id.isdigit() and len(message_id) <= 18 else None
