"""Waiting: for an event, but not for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Returns once it is set, or after so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
