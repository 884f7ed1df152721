"""Batches: while one is dealt with, the next fills. One task however much comes, and no wait when little does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Pump(Generic[T]):
    """Hands over everything that came while the last batch was being dealt with, in one batch."""

    def __init__(self, handle: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._handle = handle
        self._waiting: list[T] = []
        self._came = asyncio.Event()
        self._put = 0
        self._done = 0
        self._progress = asyncio.Event()

    def put(self, report: T) -> None:
        self._waiting.append(report)
        self._put += 1
        self._came.set()

    async def run(self) -> None:
        """Until cancelled; `handle` does not raise."""
        while True:
            await self._came.wait()
            self._came.clear()
            batch, self._waiting = self._waiting, []
            await self._handle(batch)
            self._done += len(batch)
            self._progress.set()

    async def flush(self) -> None:
        """Waits until all that has come before is dealt with."""
        awaited = self._put
        while self._done < awaited:
            self._progress.clear()
            await self._progress.wait()
