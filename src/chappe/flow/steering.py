"""Steering: a node learns within a second what its connectors are told, and shows what they do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from chappe.core.errors import StoreUnavailable
from chappe.core.figures import Figures
from chappe.core.ports import Steering
from chappe.core.steering import Steered

log = logging.getLogger(__name__)

EVERY_SECONDS = 0.5
SHOWN_EVERY = 4
"""Every so many looks the figures are shown."""


class Helm:
    """Between the store and a node's connectors."""

    def __init__(
        self,
        store: Steering,
        node: str,
        now_ms: Callable[[], int],
        *,
        on_steered: Callable[[Sequence[Steered]], None],
        figures: Callable[[], Mapping[str, tuple[str, Figures]]],
    ) -> None:
        """`on_steered` is given all that was told whenever some of it is new; `figures` are the route and the figures
        of each connector that the node has at the moment."""
        self._store = store
        self._node = node
        self._now_ms = now_ms
        self._on_steered = on_steered
        self._figures = figures
        self._steered: Sequence[Steered] | None = None
        self._waiting: dict[str, int] = {}

    async def look(self) -> bool:
        """Whether there was anything new. Raises StoreUnavailable."""
        steered = await self._store.list_steered()
        if steered == self._steered:
            return False
        self._steered = steered
        self._on_steered(steered)
        return True

    async def show(self) -> None:
        """Raises StoreUnavailable."""
        figures, now = self._figures(), self._now_ms()
        for route in sorted({route for route, _ in figures.values()}):
            self._waiting[route] = await self._store.count_waiting(route, now)
        await self._store.show(self._node, {name: of for name, (_, of) in self.current().items()}, now)

    def current(self) -> Mapping[str, tuple[str, Figures]]:
        """The figures, with what waited when it was last counted."""
        return {
            name: (route, replace(of, waiting=self._waiting.get(route)))
            for name, (route, of) in self._figures().items()
        }

    async def run(self) -> None:
        """Looks and shows until cancelled."""
        looks = 0
        while True:
            try:
                if await self.look() or looks % SHOWN_EVERY == 0:
                    await self.show()
            except StoreUnavailable:
                log.warning("store unavailable, connectors go on as they were told")
            looks += 1
            await asyncio.sleep(EVERY_SECONDS)

    async def close(self) -> None:
        """Shows nothing any more."""
        try:
            await self._store.show(self._node, {}, self._now_ms())
        except StoreUnavailable:
            log.warning("store unavailable, the last figures stay until they are old")
