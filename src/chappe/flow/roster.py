"""Roster: every node learns within a second which operators were added, changed and removed by command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from chappe.core.ports import Connecting
from chappe.core.steering import StoredConnector
from chappe.flow.waiting import look_every

log = logging.getLogger(__name__)

EVERY_SECONDS = 0.5


class Roster:
    """Between the store and a node."""

    def __init__(
        self,
        store: Connecting,
        now_ms: Callable[[], int],
        *,
        on_changed: Callable[[Sequence[StoredConnector]], None],
        has_ended: Callable[[str], bool],
    ) -> None:
        """`on_changed` is given them all whenever something is new. `has_ended`: this node has the lease of that
        connector, knows that it was removed, and does nothing more with it, so that nobody does."""
        self._store = store
        self._now_ms = now_ms
        self._on_changed = on_changed
        self._has_ended = has_ended
        self._stored: Sequence[StoredConnector] | None = None

    async def look(self) -> None:
        """Raises StoreUnavailable."""
        for one in self._stored or ():
            if one.removed and not one.ended and self._has_ended(one.name):
                await self._store.end_connector(one.name, self._now_ms())
        stored = await self._store.list_connectors()
        if stored != self._stored:
            self._stored = stored
            self._on_changed(stored)

    async def run(self) -> None:
        """Looks until cancelled."""
        await look_every(EVERY_SECONDS, self.look, lambda: log.warning("store unavailable, operators stay as they are"))
