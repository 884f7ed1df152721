"""Live: whoever watches an account's events is woken when there are some. What they are, the feed says.

A wake-up may be missed, and is for what another node stores: whoever waits also looks from time to time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chappe.core.message import AccountId, Event
from chappe.flow.waiting import wait

MOST_WATCHERS = 100
"""Of one account at the same time."""


class Live:
    """The watchers of this process."""

    def __init__(self) -> None:
        self.closed = False
        self._watching: defaultdict[AccountId, set[asyncio.Event]] = defaultdict(set)

    def publish(self, events: Sequence[Event]) -> None:
        """These were committed."""
        if self._watching:
            for account in {event.account for event in events}:
                for awake in self._watching.get(account, ()):
                    awake.set()

    def close(self) -> None:
        """Nobody waits any longer, or will again."""
        self.closed = True
        for watchers in self._watching.values():
            for awake in watchers:
                awake.set()

    def has_room(self, account: AccountId) -> bool:
        return len(self._watching.get(account, ())) < MOST_WATCHERS

    @contextmanager
    def watch(self, account: AccountId) -> Iterator[Watcher]:
        watchers = self._watching[account]
        awake = asyncio.Event()
        watchers.add(awake)
        try:
            yield Watcher(awake)
        finally:
            watchers.remove(awake)
            if not watchers:
                self._watching.pop(account, None)


class Watcher:
    """One who watches."""

    def __init__(self, awake: asyncio.Event) -> None:
        self._awake = awake

    async def wait(self, seconds: float) -> None:
        """Until there may be something new, for so long at most."""
        await wait(self._awake, seconds)
        self._awake.clear()
