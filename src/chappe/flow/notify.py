"""Notify: from the outbox to the receivers' servers, by way of a courier that makes the requests.

    store ─claim_deliveries─▶ courier ─outcomes─▶ settle, circuit breakers ─record_outcomes─▶ store

Fair between endpoints: each gets the room its circuit breaker allows, an unknown one a single event, and all that are
unknown or being probed together a bounded share, so that any number of dead endpoints leaves the rest to the living.
What is under way when a courier or the server dies is claimed again after its lease: at least once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chappe.core import circuit
from chappe.core.circuit import Breaker, Circuit
from chappe.core.errors import StoreUnavailable
from chappe.core.webhooks import (
    PATIENCE_MS,
    Answer,
    Delivery,
    DeliveryId,
    EndpointId,
    Notifying,
    Outcome,
    Trouble,
    asked_pause,
    meaning,
    settle,
)
from chappe.flow.waiting import wait

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 1.0
"""How late a delivery may leave that another process wrote, or whose next try is due."""
LEASE_MS = 120_000
"""Longer than the courier ever holds a delivery: its queue, at 15 s a try, and the try itself."""
FORGET_MS = 600_000
"""An endpoint that has had nothing under way for so long is unknown again."""
PROBES_BEFORE_GIVING_UP = 10
"""In a row and by this process: a server that was itself away for days gives nothing up at its first failure."""


class Courier(Protocol):
    """Makes the requests; `notifier.child.Child` outside tests."""

    def post(self, deliveries: Sequence[Delivery]) -> None:
        """Takes deliveries over, each to be answered by one outcome unless the courier fails meanwhile."""
        ...

    async def run(self, hear: Callable[[list[Outcome]], None], changed: Callable[[bool], None]) -> None:
        """Works until stopped. `changed(True)` when it can take deliveries, `changed(False)` when it has failed:
        outcomes that were not heard until then will never come."""
        ...

    async def stop(self, seconds: float) -> None:
        """Hands back what it has not begun; `run` returns when what is under way has ended, or after the time."""
        ...


@dataclass(slots=True, frozen=True)
class Limits:
    """How many deliveries may be under way."""

    batch: int = 500
    """Claimed at once."""
    under_way: int = 2048
    per_endpoint: int = 64
    """No more than a courier holds for one endpoint (`pipe.Start`: per_endpoint + queue)."""
    probes: int = 64
    """Unknown endpoints tried at once, and as many whose pause is over: what any number of dead ones may hold of the
    courier's connections."""


@dataclass(slots=True)
class _Lane:
    """One endpoint as it is known here."""

    breaker: Breaker = field(default_factory=Breaker)
    under_way: int = 0
    used_at: int = 0


@dataclass(slots=True)
class _Shares:
    """What the next claims may take. The rested ones have a claim of their own: their events are due for longest, and
    would take every probe before any unknown endpoint's."""

    unknown: int
    """How many endpoints that are in no list may be tried."""
    rested: int
    """How many of `rested_rooms`."""
    rooms: dict[EndpointId, int] = field(default_factory=dict)
    rested_rooms: dict[EndpointId, int] = field(default_factory=dict)
    """One each for those whose pause is over."""


class Notifier:
    """Claims what is due, hands it over, and stores what became of it."""

    def __init__(
        self,
        store: Notifying,
        courier: Courier,
        now_ms: Callable[[], int],
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._courier = courier
        self._now_ms = now_ms
        self._limits = limits or Limits()
        self._lanes: dict[EndpointId, _Lane] = {}
        self._under_way: dict[DeliveryId, Delivery] = {}
        self._heard: list[Outcome] = []
        self._up = False
        self._awake = asyncio.Event()
        self._something_heard = asyncio.Event()
        self._stopping = False
        self._courier_ended = False
        self._drain_seconds = 0.0
        self._ended = asyncio.Event()
        self._ended.set()

    def wake(self) -> None:
        """There may be something due: events were committed."""
        self._awake.set()

    async def run(self) -> None:
        """Runs until stopped; a store that is away is tried again."""
        self._ended.clear()
        try:
            async with asyncio.TaskGroup() as group:
                courier = group.create_task(self._courier.run(self.hear, self.courier_changed))
                group.create_task(self._record_for_ever())
                await self._claim_for_ever()
                await self._courier.stop(self._drain_seconds)
                await courier
                self._courier_ended = True
                self._something_heard.set()
        finally:
            self._ended.set()

    async def stop(self, seconds: float) -> None:
        """Claims nothing more, lets requests under way end for so long at most, and stores their outcomes."""
        self._drain_seconds = seconds
        self._stopping = True
        self._awake.set()
        await self._ended.wait()

    # --- claiming ---

    async def step(self) -> int:
        """Claims once and hands over; returns how many deliveries were claimed."""
        limits, now = self._limits, self._now_ms()
        limit = min(limits.batch, limits.under_way - len(self._under_way))
        if not self._up or limit <= 0:
            return 0
        shares = self._share_out(now)
        claimed = await self._store.claim_deliveries(limit, now, LEASE_MS, shares.rooms, shares.unknown)
        rested = min(limit - len(claimed), shares.rested)
        if rested > 0 and shares.rested_rooms:
            claimed += await self._store.claim_deliveries(rested, now, LEASE_MS, shares.rested_rooms, 0)
        # What is claimed while still under way has outlived its lease in a courier that is slow: it is there already.
        fresh = [delivery for delivery in claimed if delivery.id not in self._under_way]
        for delivery in fresh:
            self._under_way[delivery.id] = delivery
            lane = self._lane(delivery.endpoint)
            lane.under_way += 1
            lane.used_at = now
        if fresh and self._up:
            self._courier.post(fresh)
        elif fresh:  # the courier failed while we claimed
            self.hear([Outcome(delivery.id, trouble=Trouble.NOT_TRIED) for delivery in fresh])
        return len(fresh)

    def _lane(self, endpoint: EndpointId) -> _Lane:
        return self._lanes.setdefault(endpoint, _Lane())

    def _share_out(self, now: int) -> _Shares:
        limits = self._limits
        self._lanes = {
            endpoint: lane
            for endpoint, lane in self._lanes.items()
            if lane.under_way or now - lane.used_at < FORGET_MS or now < lane.breaker.resumes_at
        }
        shares = _Shares(unknown=limits.probes, rested=limits.probes)
        for endpoint, lane in self._lanes.items():
            breaker = lane.breaker
            room = circuit.room(breaker, now, under_way=lane.under_way, at_most=limits.per_endpoint)
            if breaker.circuit is Circuit.CLOSED:
                shares.rooms[endpoint] = room
            elif breaker.openings:
                shares.rooms[endpoint] = 0
                shares.rested -= lane.under_way > 0
                if room:
                    shares.rested_rooms[endpoint] = room
            elif lane.under_way:
                shares.rooms[endpoint] = 0
                shares.unknown -= 1
        shares.unknown = max(0, shares.unknown)
        return shares

    async def _claim_for_ever(self) -> None:
        while not self._stopping:
            self._awake.clear()
            try:
                claimed = await self.step()
            except StoreUnavailable:
                log.warning("store unavailable, webhooks wait")
                claimed = 0
            if not claimed and not self._stopping:
                await wait(self._awake, LONGEST_WAIT_SECONDS)

    # --- what comes back ---

    def hear(self, outcomes: list[Outcome]) -> None:
        """The courier's: they are stored in the order of their coming, as many at a time as there are."""
        self._heard += outcomes
        self._something_heard.set()

    def courier_changed(self, up: bool) -> None:
        """The courier's: it takes deliveries now, or it has failed."""
        self._up = up
        if not up:
            heard = {outcome.id for outcome in self._heard}
            lost = [delivery for delivery in self._under_way.values() if delivery.id not in heard]
            self._forget(lost)
            if lost:
                log.warning("webhooks under way were lost and are tried again", extra={"count": len(lost)})
        self._awake.set()

    async def _record_for_ever(self) -> None:
        while True:
            await self._something_heard.wait()
            self._something_heard.clear()
            try:
                await self.record()
            except StoreUnavailable:
                if self._courier_ended:
                    log.warning("store unavailable, webhooks may be repeated", extra={"count": len(self._heard)})
                    return
                log.warning("store unavailable, outcomes of webhooks wait", extra={"count": len(self._heard)})
                await asyncio.sleep(LONGEST_WAIT_SECONDS)
                self._something_heard.set()
            if self._courier_ended and not self._heard:
                return

    async def record(self) -> None:
        """Stores what was heard, and lets the breakers know. When the store is away nothing is forgotten."""
        now, heard = self._now_ms(), self._heard
        pairs = [(self._under_way[outcome.id], outcome) for outcome in heard if outcome.id in self._under_way]
        self._heard = []
        try:
            settled = [settle(delivery, outcome, now) for delivery, outcome in pairs]
            if settled:
                await self._store.record_outcomes(settled, now)
        except StoreUnavailable:
            self._heard = heard + self._heard
            raise
        self._forget([delivery for delivery, _ in pairs])
        for delivery, outcome in pairs:
            self._learn(delivery, outcome, now)
        self._awake.set()
        for endpoint in {delivery.endpoint for delivery, outcome in pairs if self._is_hopeless(delivery, outcome, now)}:
            count = await self._store.exhaust_waiting(endpoint, now - PATIENCE_MS, now)
            log.warning("webhooks given up", extra={"endpoint": endpoint, "count": count})

    def _forget(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            if self._under_way.pop(delivery.id, None) is not None:
                self._lane(delivery.endpoint).under_way -= 1

    def _learn(self, delivery: Delivery, outcome: Outcome, now: int) -> None:
        breaker = self._lane(delivery.endpoint).breaker
        before, rested = breaker.circuit, breaker.openings
        match meaning(outcome):
            case Answer.TAKEN:
                circuit.taken(breaker)
            case Answer.FAILED | Answer.GONE:
                circuit.failed(breaker, now, asked_ms=asked_pause(outcome))
            case Answer.NONE:
                return
        fields = {"endpoint": delivery.endpoint, "outcome": outcome.word}
        if meaning(outcome) is Answer.GONE:
            log.warning("a webhook endpoint is gone: disabled", extra=fields)
        elif breaker.circuit is Circuit.OPEN and not rested:
            log.warning("a webhook endpoint fails, its events wait", extra=fields)
        elif before is not Circuit.CLOSED and breaker.circuit is Circuit.CLOSED and rested:
            log.info("a webhook endpoint takes events again", extra=fields)

    def _is_hopeless(self, delivery: Delivery, outcome: Outcome, now: int) -> bool:
        """The endpoint has taken nothing for so long, and was tried so often by this very process, that what waits
        for it since then is given up: events that a breaker held back spend no tries of their own."""
        since = delivery.failing_since
        return (
            meaning(outcome) is Answer.FAILED
            and since is not None
            and now - since >= PATIENCE_MS
            and self._lane(delivery.endpoint).breaker.openings >= PROBES_BEFORE_GIVING_UP
        )
