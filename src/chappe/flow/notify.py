"""Notify: from the outbox to the receivers' servers, by way of a courier that makes the requests.

    store ─claim_deliveries─▶ courier ─outcomes─▶ settle, circuit breakers ─record_outcomes─▶ store

An outcome makes room for the next delivery at once, and is stored a moment later with those that follow it.
Fair between endpoints: each gets the room its circuit breaker allows, an unknown one a single event, and all that are
unknown or being probed together a bounded share, so that any number of dead endpoints leaves the rest to the living.
What is under way when a courier or the server dies is claimed again after its lease: at least once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
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
    Fate,
    Notifying,
    Outcome,
    Settled,
    Trouble,
    asked_pause,
    meaning,
    settle,
)
from chappe.flow.waiting import wait

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 1.0
"""How late a delivery may leave that another process wrote, or whose next try is due."""
RECORD_SECONDS = 0.02
"""How long outcomes wait for others to be stored with. What a crash takes with it is posted again."""
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
        """With the courier."""
        self._heard: dict[DeliveryId, Settled] = {}
        """Not stored yet."""
        self._hopeless: set[EndpointId] = set()
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
        now, limit = self._now_ms(), self._room()
        if not self._up or limit <= 0:
            return 0
        shares = self._share_out(now)
        claimed = await self._store.claim_deliveries(limit, now, LEASE_MS, shares.rooms, shares.unknown)
        rested = min(limit - len(claimed), shares.rested)
        if rested > 0 and shares.rested_rooms:
            claimed += await self._store.claim_deliveries(rested, now, LEASE_MS, shares.rested_rooms, 0)
        # What is claimed while still under way has outlived its lease in a courier that is slow: it is there already.
        fresh = [one for one in claimed if one.id not in self._under_way and one.id not in self._heard]
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

    def _room(self) -> int:
        """How many deliveries may be claimed now."""
        return min(self._limits.batch, self._limits.under_way - len(self._under_way) - len(self._heard))

    def _lane(self, endpoint: EndpointId) -> _Lane:
        lane = self._lanes.get(endpoint)
        if lane is None:
            lane = self._lanes[endpoint] = _Lane()
        return lane

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
                more = await self.step() == self._limits.batch
            except StoreUnavailable:
                log.warning("store unavailable, webhooks wait")
                more = False
            if not more and not self._stopping:
                await wait(self._awake, LONGEST_WAIT_SECONDS)

    # --- what comes back ---

    def hear(self, outcomes: list[Outcome]) -> None:
        """The courier's. Outcomes are decided on here, and stored as many at a time as there are."""
        now, full = self._now_ms(), self._room() <= 0
        for outcome in outcomes:
            delivery = self._under_way.pop(outcome.id, None)
            if delivery is None:
                continue
            lane = self._lane(delivery.endpoint)
            # Where there was room, all that was due has been claimed.
            full = full or not circuit.room(
                lane.breaker, now, under_way=lane.under_way, at_most=self._limits.per_endpoint
            )
            lane.under_way -= 1
            settled = self._heard[delivery.id] = settle(delivery, outcome, now)
            if settled.fate is not Fate.DELIVERED or lane.breaker.circuit is not Circuit.CLOSED:
                self._learn(delivery, outcome, now)
            else:
                circuit.taken(lane.breaker)
        if full:
            self._awake.set()
        self._something_heard.set()

    def courier_changed(self, up: bool) -> None:
        """The courier's: it takes deliveries now, or it has failed."""
        self._up = up
        if not up:
            lost, self._under_way = self._under_way, {}
            for delivery in lost.values():
                self._lane(delivery.endpoint).under_way -= 1
            if lost:
                log.warning("webhooks under way were lost and are tried again", extra={"count": len(lost)})
        self._awake.set()

    async def _record_for_ever(self) -> None:
        while not (self._courier_ended and not self._heard):
            await self._something_heard.wait()
            self._something_heard.clear()
            if not self._stopping:
                await asyncio.sleep(RECORD_SECONDS)
            try:
                await self.record()
            except StoreUnavailable:
                if self._courier_ended:
                    log.warning("store unavailable, webhooks may be repeated", extra={"count": len(self._heard)})
                    return
                log.warning("store unavailable, outcomes of webhooks wait", extra={"count": len(self._heard)})
                await asyncio.sleep(LONGEST_WAIT_SECONDS)
                self._something_heard.set()

    async def record(self) -> None:
        """Stores what was heard. When the store is away nothing is forgotten."""
        now, full = self._now_ms(), self._room() <= 0
        heard, hopeless, self._hopeless = list(self._heard.values()), self._hopeless, set()
        if heard:
            await self._store.record_outcomes(heard, now)
        for settled in heard:
            del self._heard[settled.id]
        if full or any(settled.fate is Fate.RELEASED for settled in heard):
            self._awake.set()
        for endpoint in hopeless:
            count = await self._store.exhaust_waiting(endpoint, now - PATIENCE_MS, now)
            log.warning("webhooks given up", extra={"endpoint": endpoint, "count": count})

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
        if self._is_hopeless(delivery, outcome, now):
            self._hopeless.add(delivery.endpoint)
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
