"""What is due when, on the loop's clock, which can be put forward."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable


class Agenda:
    """Acts when the time has come. One timer serves all: one per message would cost as much as the message."""

    def __init__(self, after: Callable[[], None]) -> None:
        """`after` is called whenever all that was due is done."""
        self._after = after
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._added = 0
        self.ahead = 0.0
        """By how many seconds its clock is."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead

    def resume(self) -> None:
        """Starts, in the running loop; what has become due meanwhile is done soon."""
        self._loop = asyncio.get_running_loop()
        self._arm()

    def pause(self) -> None:
        """Does nothing more until `resume`."""
        self._loop = None
        self._arm()

    def put_forward(self, seconds: float) -> None:
        """As if so much time had passed; what is due by then is done soon."""
        self.ahead += seconds
        self._arm()

    def add(self, at: float, act: Callable[[], None]) -> None:
        """Does it at once when its time has come already."""
        if self._loop is not None and at <= self.now():
            act()
            return
        self._added += 1  # ties are done in the order they were added
        heapq.heappush(self._due, (at, self._added, act))
        if self._due[0][1] == self._added:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop, due = self._loop, self._due
        self._timer = loop.call_at(due[0][0] - self.ahead, self._on_timer) if loop and due else None

    def _on_timer(self) -> None:
        # The loop calls up to its clock's resolution too early: what the timer was set for is due all the same.
        now = max(self.now(), self._due[0][0])
        try:
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
        finally:
            self._arm()
        self._after()
