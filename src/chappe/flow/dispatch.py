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
from chappe.core.routing import Portion
from chappe.flow.waiting import wait

log = logging.getLogger(__name__)

SHORTEST_WAIT_SECONDS = 0.01
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
    """Keeps one line busy from the queue."""

    def __init__(
        self, store: Sending, line: Line, portions: Callable[[], Sequence[Portion]], now_ms: Callable[[], int]
    ) -> None:
        """`portions` says what the line may take at the moment."""
        self._store = store
        self._line = line
        self._portions = portions
        self._now_ms = now_ms
        self._awake = asyncio.Event()
        self._stopping = False
        self._idle = False

    def wake(self) -> None:
        """There is something on the queue, or room in the window."""
        self._idle = False
        self._awake.set()

    def is_idle(self) -> bool:
        """Whether there was room when it looked last, and nothing to claim."""
        return self._idle

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
        self._idle = False
        free = self._line.free()
        portions = self._portions() if free > 0 else ()
        if not portions:
            return 0
        line = self._line
        submissions = await self._store.claim(line.name, line.epoch, portions, free, self._now_ms())
        self._idle = not submissions and not self._awake.is_set()
        unwritten = line.submit(submissions) if submissions else ()
        if unwritten:
            await self._store.release([submission.key for submission in unwritten], self._now_ms())
        return len(submissions)

    async def _wait(self) -> None:
        seconds = LONGEST_WAIT_SECONDS
        for portion in self._portions() if self._line.free() > 0 else ():
            due_at = await self._store.next_due(portion.route)
            if due_at is not None:
                seconds = min(seconds, max(SHORTEST_WAIT_SECONDS, seconds_until(due_at, portion, self._now_ms())))
        if self._stopping:
            return
        await wait(self._awake, seconds)


def seconds_until(due_at: int, portion: Portion, now: int) -> float:
    """Until there may be something to take; what is due and was not taken is another's for a while."""
    return (due_at - now if due_at > now else due_at + portion.patience_ms - now) / 1000
