"""Dispatch: from the queue to the operator, as many parts at a time as the window has room for.

The claim is the committed intent: `store.claim` returns after its commit, and only then are bytes written.
What the line could not write is released, not doubted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from chappe.core.errors import StoreUnavailable
from chappe.core.message import Submission
from chappe.core.ports import Sending

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 1.0
"""How late a part may leave that another process put on the queue."""


class Line(Protocol):
    """A connector as the journey sees it."""

    @property
    def name(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    def free(self) -> int:
        """How many PDUs may be written now; 0 while unbound, throttled or draining."""
        ...

    def submit(self, submissions: Sequence[Submission]) -> Sequence[Submission]:
        """Writes what it can and returns those of which no byte left."""
        ...


class Dispatcher:
    """Keeps one line busy from one route of the queue."""

    def __init__(self, store: Sending, line: Line, route: str, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._line = line
        self._route = route
        self._now_ms = now_ms
        self._awake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """There is something on the queue, or room in the window."""
        self._awake.set()

    def stop(self) -> None:
        """`run` returns after the claim under way: cancelling it could leave a claim that nobody writes, a doubt."""
        self._stopping = True
        self._awake.set()

    async def run(self) -> None:
        """Runs until stopped; a store that is away is tried again."""
        while not self._stopping:
            self._awake.clear()
            try:
                if not await self.step():
                    await self._wait()
            except StoreUnavailable:
                log.warning("store unavailable, claims wait", extra={"connector": self._line.name})
                await asyncio.sleep(LONGEST_WAIT_SECONDS)

    async def step(self) -> int:
        """Claims once and writes; returns how many parts were claimed."""
        free = self._line.free()
        if free <= 0:
            return 0
        line = self._line
        submissions = await self._store.claim(line.name, line.epoch, self._route, free, self._now_ms())
        unwritten = line.submit(submissions) if submissions else ()
        if unwritten:
            await self._store.release([submission.key for submission in unwritten], self._now_ms())
        return len(submissions)

    async def _wait(self) -> None:
        due_at = await self._store.next_due(self._route) if self._line.free() > 0 else None
        if self._stopping:
            return
        seconds = LONGEST_WAIT_SECONDS
        if due_at is not None:
            seconds = min(seconds, max(0.01, (due_at - self._now_ms()) / 1000))
        try:
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        except TimeoutError:
            pass
