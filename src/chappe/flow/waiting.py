"""Waiting: for an event, but not for ever; for the next time to look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from chappe.core.errors import StoreUnavailable


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Returns once it is set, or after so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def look_every(seconds: float, look: Callable[[], Awaitable[object]], away: Callable[[], None]) -> None:
    """Looks until cancelled, first after so long; says it when the store is away."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await look()
        except StoreUnavailable:
            away()
