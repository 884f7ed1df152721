"""What whoever runs the server allows an account: how fast, how much, to whom. Pure; nothing is limited by default."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final, NamedTuple

NS: Final = 1_000_000_000
DAY_MS: Final = 24 * 3_600_000

NOT_SERVED, QUOTA_EXCEEDED = 90, 76
"""The contract's codes: a destination that is not allowed is a country not supported, whatever the account's mode."""


@dataclass(slots=True, frozen=True)
class Limits:
    """An account's; None and () mean: not limited."""

    rate: float | None = None
    """Sends a second that each of its keys may ask for."""
    burst: int | None = None
    """How many may come at once after a quiet moment; a second's worth unless given."""
    daily_parts: int | None = None
    """Parts that it may have accepted in a day (UTC)."""
    prefixes: tuple[str, ...] = ()
    """What the numbers it may write to begin with, in E.164: +336."""
    per_number: int | None = None
    """Messages to one number…"""
    per_number_seconds: int = 3600
    """…within so long."""

    def serves(self, number: str) -> bool:
        return not self.prefixes or number.startswith(self.prefixes)


NO_LIMITS: Final = Limits()


class Bucket(NamedTuple):
    """A key's tokens: `size` of them when full, refilled at `rate` a second."""

    rate: float
    size: int

    @property
    def refill_seconds(self) -> int:
        """From empty to full, rounded up."""
        return ceil(self.size / self.rate)


def bucket_of(limits: Limits) -> Bucket | None:
    """That of each key of an account; None when its requests are not counted."""
    if limits.rate is None:
        return None
    return Bucket(limits.rate, limits.burst or ceil(limits.rate))


class Drawn(NamedTuple):
    """What was taken out of a bucket."""

    full_at: int
    """When it will be full again: all there is to remember of it."""
    tokens: int
    left: int
    wait_ns: int
    """Until the next token, if none was taken."""


def draw(bucket: Bucket, full_at: int, now: int, wanted: int) -> Drawn:
    """Takes up to `wanted` tokens. Times are nanoseconds of one clock.

    GCRA, the virtual scheduling of ITU-T I.371: the time at which the bucket will be full says how much is in it, and
    over any period no more than its size and what flows in comes out.
    """
    interval = round(NS / bucket.rate)
    full_at = max(full_at, now)
    left = max(0, (now + bucket.size * interval - full_at) // interval)
    tokens = min(wanted, left)
    full_at += tokens * interval
    wait = 0 if tokens else full_at - (bucket.size - 1) * interval - now
    return Drawn(full_at, tokens, left - tokens, wait)
