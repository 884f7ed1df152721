"""Steering: a node learns within a second what its connectors are told, and shows what they do.

It learns as well which of the other nodes' connectors take messages, for routes have members on several nodes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from chappe.core.deliveries import Lately
from chappe.core.errors import StoreUnavailable
from chappe.core.figures import Figures
from chappe.core.ports import Sending, Steering
from chappe.core.steering import MOST_COUNTED, Steered, fresh

log = logging.getLogger(__name__)

EVERY_SECONDS = 0.5
SHOWN_EVERY = 4
"""Every so many looks the figures are shown."""


class Store(Steering, Sending, Protocol):
    """What a helm needs of it."""


class Helm:
    """Between the store and a node's connectors."""

    def __init__(
        self,
        store: Store,
        node: str,
        now_ms: Callable[[], int],
        *,
        on_steered: Callable[[Sequence[Steered]], None],
        on_queued: Callable[[Sequence[str]], None],
        figures: Callable[[], Mapping[str, tuple[Sequence[str], Figures]]],
    ) -> None:
        """`on_steered` is given all that was told whenever some of it is new, `on_queued` the routes on which something
        waits; `figures` are the routes and the figures of each connector that the node has at the moment."""
        self._store = store
        self._node = node
        self._now_ms = now_ms
        self._on_steered = on_steered
        self._on_queued = on_queued
        self._figures = figures
        self._steered: Sequence[Steered] | None = None
        self._waiting: dict[str, int] = {}
        self._lately: Mapping[str, Lately] = {}
        self.able_elsewhere: frozenset[str] = frozenset()
        """Other nodes' connectors that take messages."""

    async def look(self) -> bool:
        """Whether anything new was told. Raises StoreUnavailable."""
        now = self._now_ms()
        self.able_elsewhere = frozenset(
            shown.connector
            for shown in await self._store.list_shown()
            if shown.node != self._node and fresh(shown, now) and shown.figures.window and not shown.figures.held
        )
        steered = await self._store.list_steered()
        if steered == self._steered:
            return False
        self._steered = steered
        self._on_steered(steered)
        return True

    async def show(self) -> None:
        """Raises StoreUnavailable."""
        now = self._now_ms()
        queued = await self._store.list_routes()
        self._on_queued(queued)
        self._lately = await self._store.measure(now)
        self._waiting = {route: await self._store.count_waiting(route, now) for route in queued}
        await self._store.show(self._node, self.current(), now)

    def current(self) -> Mapping[str, Figures]:
        """The figures, with what waited on its routes when it was last counted, and what came of its submits."""
        return {
            name: replace(
                of,
                waiting=min(MOST_COUNTED, sum(self._waiting.get(route, 0) for route in routes)),
                lately=self._lately.get(name),
            )
            for name, (routes, of) in self._figures().items()
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
