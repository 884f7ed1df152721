"""Shifting: weights of routes follow what connectors show.

All nodes look and decide alike; the one whose move is stored first has made it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from chappe.core.errors import StoreUnavailable
from chappe.core.ports import Steering
from chappe.core.routing import Route
from chappe.core.shifting import Shift, next_shift, shifted
from chappe.core.steering import fresh

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0


class Shifter:
    """Keeps a node's routes as their last moves left them."""

    def __init__(self, store: Steering, routes: Sequence[Route], now_ms: Callable[[], int]) -> None:
        self._store = store
        self._routes = [route for route in routes if route.shift]
        self._now_ms = now_ms
        self._last: dict[str, Shift] = {}

    def shifted(self, route: Route) -> Route:
        """The route with the weights that it has at the moment."""
        return shifted(route, self._last.get(route.name))

    async def step(self) -> None:
        """Sees what others have moved, and makes the moves that are due. Raises StoreUnavailable."""
        now = self._now_ms()
        shown = await self._store.list_shown() if self._routes else ()
        lately = {one.connector: one.figures.lately for one in shown if fresh(one, now) and one.figures.lately}
        for route in self._routes:
            last = next(iter(await self._store.list_shifts(route.name, 1)), None)
            move = next_shift(route, last, lately, now)
            if move is not None and await self._store.shift(move, None if last is None else last.at):
                log.warning("weights moved", extra={"route": route.name, "weights": move.weights, "why": move.why})
                last = move
            if last is not None:
                self._last[route.name] = last

    async def run(self) -> None:
        """Runs until cancelled; at once over when no route wants it."""
        while self._routes:
            try:
                await self.step()
            except StoreUnavailable:
                log.warning("store unavailable, weights stay")
            await asyncio.sleep(EVERY_SECONDS)
