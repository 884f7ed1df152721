"""How fast a key may send: a bucket of tokens each, in memory, or in the store where nodes share the keys.

Nodes draw tokens by slices of a tenth of a second and hand them out from memory, so that few requests wait for the
store; while it has little to give, a node refuses by itself. A token that is drawn is gone, used or not: together the
nodes let through no more than the rate allows, and lose a slice each when they have nothing to do. What one has drawn
it may hand out within `KEPT_SECONDS`, on top of a burst.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Final, NamedTuple

from chappe.core.limits import NS, Bucket, bucket_of, draw
from chappe.core.message import Key
from chappe.core.ports import Allowing

SLICE_SECONDS: Final = 0.1
KEPT_SECONDS: Final = 1.0


class Standing(NamedTuple):
    """How a key stands after a request."""

    bucket: Bucket
    left: int
    """Tokens, as far as this node knows."""
    retry_ms: int | None
    """The request is beyond the rate; after this it may come again."""


@dataclass(slots=True)
class _Slice:
    """What this node has drawn for a key."""

    tokens: int = 0
    kept_until: float = 0.0
    barred_until: float = 0.0
    """The store is not asked before."""
    left: int = 0
    """What was left in the store."""
    waiting: int = 0
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_empty(self, now: float) -> bool:
        return self.tokens == 0 or now >= self.kept_until


class Rates:
    """`clock` gives seconds that never go back; without a `store` this process is the only one that counts."""

    def __init__(
        self, clock: Callable[[], float], store: Allowing | None = None, now_ms: Callable[[], int] = lambda: 0
    ) -> None:
        """`now_ms` is for a store that has no clock of its own."""
        self._clock = clock
        self._store = store
        self._now_ms = now_ms
        self._full_at: dict[int, int] = {}
        self._slices: dict[int, _Slice] = {}

    async def spend(self, key: Key) -> Standing | None:
        """Takes a token for a request of this key; None when its requests are not counted. Raises StoreUnavailable."""
        bucket = bucket_of(key.account.limits)
        if bucket is None:
            return None
        if self._store is None:
            return self._spend_here(key.id, bucket)
        return await self._spend_shared(self._store, key.id, bucket)

    def _spend_here(self, key: int, bucket: Bucket) -> Standing:
        drawn = draw(bucket, self._full_at.get(key, 0), round(self._clock() * NS), 1)
        self._full_at[key] = drawn.full_at
        return Standing(bucket, drawn.left, None if drawn.tokens else -(-drawn.wait_ns // 1_000_000))

    async def _spend_shared(self, store: Allowing, key: int, bucket: Bucket) -> Standing:
        piece = self._slices.setdefault(key, _Slice())
        if piece.is_empty(self._clock()):
            piece.waiting += 1
            try:
                async with piece.drawing:
                    await self._draw(store, key, bucket, piece)
            finally:
                piece.waiting -= 1
        if not piece.tokens:
            return Standing(bucket, 0, max(1, ceil(1000 * (piece.barred_until - self._clock()))))
        piece.tokens -= 1
        return Standing(bucket, min(piece.tokens + piece.left, bucket.size), None)

    async def _draw(self, store: Allowing, key: int, bucket: Bucket, piece: _Slice) -> None:
        """Unless somebody did so meanwhile, or it is known that there is nothing."""
        now = self._clock()
        if not piece.is_empty(now):
            return
        piece.tokens = 0
        if now < piece.barred_until:
            return
        wanted = max(piece.waiting, ceil(bucket.rate * SLICE_SECONDS))
        drawn = await store.draw_tokens(key, bucket, wanted, self._now_ms())
        now = self._clock()
        piece.tokens, piece.left, piece.kept_until = drawn.tokens, drawn.left, now + KEPT_SECONDS
        if drawn.tokens < wanted:
            # Half a slice at least flows in first: asked for each token, the store would be asked for each request.
            pause = min(SLICE_SECONDS, bucket.size / bucket.rate) / 2
            piece.barred_until = now + max(pause, drawn.wait_ns / NS)
