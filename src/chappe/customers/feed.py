"""What one customer is told on this node: receipts and replies, to any of its links that receives.

A telling is claimed from the store, sent, and forgotten once each of its PDUs was acknowledged; nodes compete by claims
alone. What is not taken is due again: at once when the link was lost, later when the customer said no.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chappe.core.customers import Again, CustomerId, Receipt, Serving, Telling, TellingId
from chappe.core.errors import StoreUnavailable
from chappe.customers.writing import answer, receipt
from chappe.flow.waiting import wait
from chappe.smpp.aio import Link
from chappe.smpp.pdus import DeliverSm, Status, status_name
from chappe.smpp.session import Cause, OutcomeUnknown, ResponseReceived

log = logging.getLogger(__name__)

LEASE_MS = 60_000
"""After it another node, or this one started again, tells the same again."""
SEND_WITHIN_MS = 25_000
"""What could not be sent for so long after its claim is given back: its answer may come after the lease."""
LONGEST_WAIT_SECONDS = 1.0
"""Other nodes settle messages of our customers, too, and do not tell us."""
BATCH = 100
FAST_MS = 500
"""A customer that empties its window faster is claimed for ahead: a commit for each window would be its pace."""
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 5_000, 300_000

LATER = frozenset(
    {
        Status.ESME_RX_T_APPN,
        Status.ESME_RMSGQFUL,
        Status.ESME_RTHROTTLED,
        Status.ESME_RSYSERR,
    }
)
"""A customer that says so is asked again for as long as tellings are kept."""
NEVER = frozenset({Status.ESME_RX_P_APPN, Status.ESME_RX_R_APPN})
"""It does not want this one. After any other status it is asked MOST_TRIES times."""
MOST_TRIES = 10


@dataclass(slots=True, eq=False)
class Flight:
    """A telling on its way; `left` are its PDUs that are not acknowledged yet."""

    feed: Feed
    telling: Telling
    left: int
    send_until: int
    over: bool = False


class Settler:
    """Stores what became of tellings, as many at a time as there are."""

    def __init__(self, store: Serving) -> None:
        self._store = store
        self._taken: list[TellingId] = []
        self._again: list[Again] = []
        self._something = asyncio.Event()

    def took(self, telling: TellingId) -> None:
        self._taken.append(telling)
        self._something.set()

    def postpone(self, again: Again) -> None:
        self._again.append(again)
        self._something.set()

    async def run(self) -> None:
        """Until cancelled; a store that is away is tried again."""
        while True:
            await self._something.wait()
            self._something.clear()
            try:
                await self.flush()
            except StoreUnavailable:
                log.warning("store unavailable, acknowledgements of customers wait")
                await asyncio.sleep(LONGEST_WAIT_SECONDS)
                self._something.set()

    async def flush(self) -> None:
        """Raises StoreUnavailable, and has forgotten nothing then."""
        taken, again = self._taken, self._again
        self._taken, self._again = [], []
        try:
            if taken or again:
                await self._store.settle_tellings(taken, again)
        except StoreUnavailable:
            self._taken, self._again = taken + self._taken, again + self._again
            raise


class Feed:
    """One customer's."""

    def __init__(
        self, customer: CustomerId, system_id: str, store: Serving, settler: Settler, now_ms: Callable[[], int]
    ) -> None:
        self._customer = customer
        self._system_id = system_id
        self._store = store
        self._settler = settler
        self._now_ms = now_ms
        self._links: dict[Link, bool] = {}
        """Those that receive → whether they speak 3.4."""
        self._waiting: deque[tuple[Flight, int]] = deque()
        """PDUs that are claimed and not sent yet: a telling's, and which of them."""
        self._ahead = 0
        """How many more than its links have room for it is claimed for."""
        self._claimed_at = 0
        self._awake = asyncio.Event()
        self._stopping = False

    @property
    def is_idle(self) -> bool:
        """Nobody receives any more."""
        return not self._links

    def add(self, link: Link, *, tlvs: bool) -> None:
        self._links[link] = tlvs
        self.wake()

    def drop(self, link: Link) -> None:
        """What was on its way there has been heard of as `OutcomeUnknown` before."""
        self._links.pop(link, None)
        if not self._links:
            for flight, _ in self._waiting:
                self._give_back(flight)
            self._waiting.clear()

    def wake(self) -> None:
        """There may be something to tell, or room for it."""
        self._awake.set()

    def stop(self) -> None:
        """Claims nothing more, and sends nothing more."""
        self._stopping = True
        for flight, _ in self._waiting:
            self._give_back(flight)
        self._waiting.clear()
        self._awake.set()

    async def run(self) -> None:
        """Until it is stopped."""
        while not self._stopping:
            self._awake.clear()
            try:
                claimed = await self.step()
            except StoreUnavailable:
                log.warning("store unavailable, customers are told later")
                claimed = 0
            if not claimed and not self._stopping:
                await wait(self._awake, LONGEST_WAIT_SECONDS)

    async def step(self) -> int:
        """Claims once and sends; returns how many tellings were claimed."""
        room = sum(link.window_free for link in self._links) + self._ahead - len(self._waiting)
        if room <= self._ahead // 2 or self._stopping:
            return 0
        limit, now = min(room, BATCH), self._now_ms()
        tellings = await self._store.claim_tellings(self._customer, limit, now, LEASE_MS)
        if len(tellings) == limit:
            self._ahead = min(2 * self._ahead + limit, BATCH) if now - self._claimed_at < FAST_MS else self._ahead // 2
            self._claimed_at = now
        for telling in tellings:
            flight = Flight(self, telling, len(_pdus_of(telling, tlvs=True)), now + SEND_WITHIN_MS)
            if self._stopping or not self._links:  # meanwhile
                self._give_back(flight)
            else:
                self._waiting.extend((flight, number) for number in range(flight.left))
        self._send()
        return len(tellings)

    # --- what the links say ---

    def heard(self, event: ResponseReceived | OutcomeUnknown, flight: Flight) -> None:
        """The end of one of its PDUs."""
        if not flight.over:
            match event:
                case ResponseReceived(_, pdu):
                    self._answered(flight, pdu.command_status)
                case OutcomeUnknown(_, Cause.RESPONSE_TIMEOUT):
                    self._postpone(flight)
                case _:
                    self._give_back(flight)
        self._send()
        self.wake()

    def _answered(self, flight: Flight, status: int) -> None:
        telling = flight.telling
        if status == 0:
            flight.left -= 1
            if not flight.left:
                flight.over = True
                self._settler.took(telling.id)
        elif status in NEVER or (status not in LATER and telling.tries + 1 >= MOST_TRIES):
            flight.over = True
            self._settler.took(telling.id)
            fields = {"system_id": self._system_id, "status": status_name(status), "tries": telling.tries + 1}
            log.warning("a customer does not take what it is told", extra=fields)
        else:
            self._postpone(flight)

    def _postpone(self, flight: Flight) -> None:
        flight.over = True
        telling = flight.telling
        pause = min(FIRST_PAUSE_MS << min(telling.tries, 10), LONGEST_PAUSE_MS)
        self._settler.postpone(Again(telling.id, self._now_ms() + pause, telling.tries + 1))

    def _give_back(self, flight: Flight) -> None:
        """It is not the customer's doing that it was not taken."""
        if not flight.over:
            flight.over = True
            self._settler.postpone(Again(flight.telling.id, self._now_ms(), flight.telling.tries))

    # --- sending ---

    def _send(self) -> None:
        now = self._now_ms()
        for link, tlvs in self._links.items():
            free = link.window_free
            while free > 0 and self._waiting:
                flight, number = self._waiting.popleft()
                if now > flight.send_until:
                    self._give_back(flight)
                if not flight.over:
                    link.request(_pdus_of(flight.telling, tlvs=tlvs)[number], flight)
                    free -= 1


def _pdus_of(telling: Telling, *, tlvs: bool) -> Sequence[DeliverSm]:
    return [receipt(telling, tlvs=tlvs)] if isinstance(telling, Receipt) else answer(telling)
