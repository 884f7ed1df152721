"""Lease: which node speaks to which operator. All nodes are equal; a connector belongs to one of them at a time.

The store is the arbiter. A lease is asked for again every BEAT_SECONDS and ends by our own clock before it ends in the
store, so that a node that sleeps, or that cannot reach the store, has stopped writing before another may begin. Nodes
share by counting each other: each takes its part and gives back what is beyond it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from chappe.core.errors import StoreUnavailable
from chappe.core.message import Holder
from chappe.core.ports import Leasing
from chappe.flow.waiting import wait

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
LEASE_SECONDS = 6.0
MARGIN_SECONDS = 1.0
"""How much earlier our lease ends here than in the store: a write under way must be out by then."""


class Leases:
    """This node's part of the connectors, and those that are its `own`.

    `on_taken` starts one, `on_lost` returns once it is silent.
    """

    def __init__(
        self,
        store: Leasing,
        holder: Holder,
        connectors: Sequence[str],
        *,
        own: Sequence[str] = (),
        clock: Callable[[], float],
        now_ms: Callable[[], int],
        on_taken: Callable[[str, int], None],
        on_lost: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._holder = holder
        self._connectors = tuple(connectors)
        self._own = own
        self._clock = clock
        self._now_ms = now_ms
        self._on_taken = on_taken
        self._on_lost = on_lost
        self._until: dict[str, float] = {}
        """Connector → when, by our clock, we stop using it."""
        self._epochs: dict[str, int] = {}
        self._taking: asyncio.Task[None] | None = None
        self._ending: dict[str, asyncio.Task[None]] = {}
        """Connectors that are not ours to use any more, until they are silent."""
        self._early = asyncio.Event()
        """The next beat need not wait."""

    def holds(self, connector: str) -> bool:
        """Whether we may write to this operator now; asked before each write."""
        return self._clock() < self._until.get(connector, 0.0)

    def assign(self, connectors: Sequence[str]) -> None:
        """From the next beat on, which is soon, the nodes share these; what we hold beside them is given back."""
        if self._connectors != tuple(connectors):
            self._connectors = tuple(connectors)
            self._early.set()

    async def run(self) -> None:
        """Beats until cancelled."""
        try:
            while True:
                next_at = self._clock() + BEAT_SECONDS
                self._early.clear()
                await self.beat()
                await wait(self._early, max(0.0, next_at - self._clock()))
        finally:
            if self._taking is not None:
                self._taking.cancel()

    async def beat(self) -> None:
        """Says that we live and keeps what we hold; then gives back what is beyond our part, and takes what is free.

        Neither a connector that is slow to take nor one that still waits for answers keeps the next beat waiting.
        """
        self._forget_ended()
        held = list(self._until)
        # All at once: one that has to wait costs the others nothing.
        living, *_ = await asyncio.gather(self._count_living(), *(self._ask(connector) for connector in held))
        if living is None:
            return
        part = -(-len(self._connectors) // max(living, 1))
        for connector in self._shared()[part:]:
            log.info("connector given to another node", extra={"connector": connector})
            self._end(connector, give_back=True)
        for connector in [name for name in self._until if name not in self._own and name not in self._connectors]:
            log.info("connector given back", extra={"connector": connector})
            self._end(connector, give_back=True)
        if self._taking is None:
            self._taking = asyncio.create_task(self._take_free(part), name="leases-taking")
        await asyncio.wait([self._taking], timeout=BEAT_SECONDS)
        if self._taking.done():
            taking, self._taking = self._taking, None
            taking.result()

    async def silence(self) -> None:
        """Returns once all that we lost or gave up is silent."""
        await asyncio.gather(*self._ending.values())
        self._forget_ended()

    async def close(self) -> None:
        """Gives everything back, so that another node need not wait for it; the connectors are silent already."""
        await self.silence()
        for connector in list(self._until):
            del self._until[connector]
            await self._give_back(connector)

    def _shared(self) -> list[str]:
        """What we hold of what all may hold."""
        return [connector for connector in self._connectors if connector in self._until]

    async def _count_living(self) -> int | None:
        try:
            return await self._store.beat(self._holder, round(LEASE_SECONDS * 1000), self._now_ms())
        except StoreUnavailable:
            log.warning("store unavailable, leases run out", extra={"held": len(self._until)})
            return None

    async def _take_free(self, part: int) -> None:
        for connector in (*self._own, *self._connectors):
            if connector in self._until or connector in self._ending:
                continue
            if connector in self._own or len(self._shared()) < part:
                await self._ask(connector)

    async def _ask(self, connector: str) -> None:
        asked_at = self._clock()
        try:
            epoch = await self._store.lease(connector, self._holder, round(LEASE_SECONDS * 1000), self._now_ms())
        except StoreUnavailable:
            log.warning("lease not asked for, the store is unavailable", extra={"connector": connector})
            return
        if connector in self._until and epoch != self._epochs[connector]:
            # Somebody had it in between, if only to doubt what we left there while we slept. If it is ours again, it
            # is begun anew when what we had is silent.
            log.warning("connector lost", extra={"connector": connector})
            self._end(connector, give_back=False)
        elif epoch is not None:
            taken = connector not in self._until
            self._until[connector] = asked_at + LEASE_SECONDS - MARGIN_SECONDS
            self._epochs[connector] = epoch
            if taken:
                log.info("connector taken", extra={"connector": connector, "epoch": epoch})
                self._on_taken(connector, epoch)

    def _end(self, connector: str, *, give_back: bool) -> None:
        """Stops using it at once, and lets it become silent in the background."""
        del self._until[connector]

        async def end() -> None:
            await self._on_lost(connector)
            if give_back:
                await self._give_back(connector)

        self._ending[connector] = asyncio.create_task(end(), name=f"leases-ending {connector}")

    def _forget_ended(self) -> None:
        for connector, task in list(self._ending.items()):
            if task.done():
                del self._ending[connector]
                task.result()

    async def _give_back(self, connector: str) -> None:
        try:
            await self._store.give_back(connector, self._holder)
        except StoreUnavailable:
            log.warning("lease not given back: it runs out", extra={"connector": connector})
