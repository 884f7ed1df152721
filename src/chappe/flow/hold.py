"""Hold: says loudly when nothing leaves. The store itself keeps claims back; this only looks, so that people know."""

from __future__ import annotations

import logging
from collections.abc import Callable

from chappe.core.ports import Holding
from chappe.flow.waiting import look_every

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0


class Watch:
    """Follows the mark in the store; `held` is what it was when last looked at."""

    def __init__(self, store: Holding, wake: Callable[[], None]) -> None:
        """`wake` is called when the hold has ended: what waited may leave."""
        self._store = store
        self._wake = wake
        self.held = False

    async def look(self) -> None:
        """Raises StoreUnavailable."""
        held = await self._store.held_since() is not None
        if held and not self.held:
            log.warning("ON HOLD: messages are accepted and none leaves, until `chappe hold off`")
        elif self.held and not held:
            log.warning("the hold is over: messages leave")
            self._wake()
        self.held = held

    async def run(self) -> None:
        """Looks until cancelled."""
        await look_every(
            EVERY_SECONDS, self.look, lambda: log.warning("store unavailable, whether this is on hold is not known")
        )
