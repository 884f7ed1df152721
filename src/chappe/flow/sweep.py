"""Sweep: what the passing of time does to messages. Expiry, receipts that never came, doubts to end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from chappe.core.errors import StoreUnavailable
from chappe.core.message import Event
from chappe.core.ports import Sending

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
BATCH = 500


async def run(
    store: Sending,
    now_ms: Callable[[], int],
    publish: Callable[[Sequence[Event]], None],
    wake: Callable[[], None],
) -> None:
    """Sweeps until cancelled; `wake` is called when something may have been queued again."""
    while True:
        try:
            while await sweep_once(store, now_ms(), publish, wake) == BATCH:
                pass
        except StoreUnavailable:
            log.warning("store unavailable, sweep waits")
        await asyncio.sleep(EVERY_SECONDS)


async def sweep_once(
    store: Sending, now: int, publish: Callable[[Sequence[Event]], None], wake: Callable[[], None]
) -> int:
    """Looks at up to BATCH overdue messages and returns how many there were."""
    looked_at, events = await store.sweep(now, BATCH)
    if events:
        publish(events)
    if looked_at:
        wake()
    return looked_at
