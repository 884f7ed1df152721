"""How fast one operator may be written to: a token bucket whose rate the operator's own answers find.

    refused for pace ─▶ × 0.9 of what it took ─▶ up to there again ─▶ slowly past it ─▶ faster the longer it is taken
                     └▶ × 0.5 when it took nothing

Additive increase, multiplicative decrease; the increase follows the curve of CUBIC (RFC 9438), because a straight line
is either too steep at the operator's limit (refusals) or too flat far below it (hours of crawling after a bad minute).
Without a limit and without a refusal it costs nothing and holds nothing back.

Pure: all times are seconds of one monotonic clock. It knows no messages and no connection.
"""

from __future__ import annotations

from math import inf
from typing import Final

SHRINK: Final = 0.9
"""What is kept of the rate that the operator proved to take."""
SHRINK_BLIND: Final = 0.5
"""…and of ours while it takes nothing at all."""
TOLERATED: Final = 1 / 200
"""A share of refusals that says nothing about the pace: a queue that is full may be one recipient's."""
GUARD_SECONDS: Final = 1.0
"""Operators count by the second: all refusals of one are one reason to slow down."""
SLOWEST: Final = 0.2
"""Submits a second: how often an operator that takes nothing is asked."""
FIRST: Final = 5.0
"""Submits a second after a refusal, when too little was taken to know better."""
FASTEST: Final = 1_000_000.0
CURVE_SECONDS: Final = 30.0
"""From a refusal, about half of it leads back to the rate that was refused; 1.5 of it to twice that rate."""
SUBMITS_PER_CURVE: Final = 300
"""The curve is longer at low rates, so that the refusals that finding the limit costs stay a small share…"""
LONGEST_CURVE_SECONDS: Final = 300.0
"""…up to this."""
QUANTUM_SECONDS: Final = 0.02
"""What may leave within this leaves together: a claim of one message costs as much as one of twenty."""
SLACK_SECONDS: Final = 0.1
"""How much of the rate is kept for a sender that comes late, whatever `burst` says."""
UNLIMITED: Final = 1 << 30

_BACK_AT_PEAK: Final = (1 - SHRINK) ** (1 / 3)
"""The share of the curve after which the rate is again what it was before the refusal."""
_STEADY, _CONGESTED = 80, 100
"""`congestion_state` (SMPP 5, §4.8.4.18): 0 idle, up to 79 high, 80 to 89 optimum, 90 to 99 nearly congested, 100
congested."""


class Pace:
    """One connector's. `rate` is the contract's (submits a second, 0: none is known) and never exceeded; `burst` is how
    many may leave at once after a quiet moment."""

    def __init__(self, now: float, rate: float = 0.0, burst: int = 1) -> None:
        self.setting = rate or inf
        self._burst = burst
        self._rate = self.setting
        self._peak = inf
        """The rate at which the operator last refused while it took others; infinite while none is known."""
        self._grown = 0.0
        """Seconds on the curve."""
        self._tokens = float(burst)
        self._at = now
        self._spent_at = now
        self._dry = False
        """Whether the last submits took all there was: only then is the rate what holds us back."""
        self._trusted = False
        """Whether something was taken since the rate last shrank."""
        self._steady_until = -inf
        self._shrunk_at = -inf
        self._deaf = 0
        """How many answers are still to come to what was written before the rate shrank."""
        self._taken = _LastSecond(now)
        self._refused = _LastSecond(now)

    def change(self, now: float, rate: float, burst: int) -> None:
        """Another contract: a rate that was the last one's follows it, one that refusals have found stays below it."""
        slowed = self.slowed
        if self.limited:
            self._refill(now)
        self.setting, self._burst = rate or inf, burst
        self._rate = min(self._rate, self.setting) if slowed else self.setting
        self._tokens = min(self._tokens, float(burst))
        self._at = self._spent_at = now

    @property
    def rate(self) -> float | None:
        """Submits a second, as they are allowed now; None: as many as the window takes."""
        return None if self._rate == inf else self._rate

    @property
    def limited(self) -> bool:
        return self._rate != inf

    @property
    def slowed(self) -> bool:
        """Whether it is the operator's refusals that set the rate, and not the contract."""
        return self._rate < self.setting

    def allowed(self, now: float) -> int:
        """How many submits may be written now."""
        if self._rate == inf:
            return UNLIMITED
        self._refill(now)
        return int(self._tokens)

    def spend(self, count: int, now: float) -> None:
        """So many, at most what is allowed, were written."""
        if self._rate == inf:
            return
        self._refill(now)
        since = now - self._spent_at
        self._spent_at = now
        if self._dry and self._trusted and since * self._rate <= self._quantum + max(1.0, SLACK_SECONDS * self._rate):
            self._grow(min(since, GUARD_SECONDS), now)
        self._tokens -= count
        self._dry = self._tokens < 1

    def wait(self, now: float) -> float | None:
        """In how many seconds it is worth asking again; None while something is allowed."""
        if self.allowed(now) >= 1:
            return None
        return (self._quantum - self._tokens) / self._rate

    def hear(self, now: float, *, taken: int, throttled: int, in_flight: int) -> None:
        """So many were taken, and so many refused for their pace; `in_flight` are still to be answered."""
        if taken:
            self._taken.add(taken, now)
            self._trusted = True
        self._deaf = max(0, min(self._deaf - taken - throttled, in_flight))
        if not throttled:
            return
        self._refused.add(throttled, now)
        if self._deaf or now - self._shrunk_at < GUARD_SECONDS:
            return
        refused, took = self._refused.count(now), self._taken.count(now)
        if refused > TOLERATED * (refused + took):
            self._shrink(now, took, in_flight)

    def hear_congestion(self, now: float, state: int, in_flight: int) -> None:
        """The operator said how busy it is: `congestion_state`, 0 to 100."""
        if state < _STEADY:
            return
        self._steady_until = now + GUARD_SECONDS
        if state == _CONGESTED and not self._deaf and now - self._shrunk_at >= GUARD_SECONDS:
            self._shrink(now, self._taken.count(now), in_flight)

    # --- inside ---

    @property
    def _quantum(self) -> float:
        return max(1.0, QUANTUM_SECONDS * self._rate)

    def _refill(self, now: float) -> None:
        most = max(self._burst, self._quantum, SLACK_SECONDS * self._rate)
        self._tokens = min(most, self._tokens + self._rate * (now - self._at))
        self._at = now

    def _grow(self, seconds: float, now: float) -> None:
        if now < self._steady_until:
            return
        peak = self._peak
        if self._rate < SHRINK * peak:
            # It took nothing for a while, or was never seen to take much: back to what is known, quickly.
            rate = min(self._rate * 2**seconds, SHRINK * peak)
        else:
            self._grown += seconds
            length = min(max(CURVE_SECONDS, SUBMITS_PER_CURVE / peak), LONGEST_CURVE_SECONDS)
            rate = peak * (1 + (self._grown / length - _BACK_AT_PEAK) ** 3)
        self._rate = min(rate, self.setting, FASTEST)

    def _shrink(self, now: float, took: float, in_flight: int) -> None:
        """From what was really taken, not from a rate that nothing reached; but not below half of that at once."""
        if self._rate == inf:
            rate = max(FIRST, SHRINK * took)
        elif not self._trusted:
            rate = self._rate * SHRINK_BLIND
        else:
            self._peak = min(self._rate, max(took + 1, self._rate / 2))  # + 1: a second cuts one in two
            rate = SHRINK * self._peak
        self._rate = min(max(rate, SLOWEST), self.setting)
        self._tokens = min(self._tokens, 0.0)
        self._at = self._spent_at = now
        self._dry, self._trusted = True, False
        self._grown = 0.0
        self._taken, self._refused = _LastSecond(now), _LastSecond(now)
        self._shrunk_at = now
        self._deaf = in_flight


class _LastSecond:
    """How many in the last second: this second's, and the fitting share of the one before."""

    __slots__ = ("_before", "_now", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._now = 0
        self._before = 0

    def add(self, count: int, now: float) -> None:
        self._roll(now)
        self._now += count

    def count(self, now: float) -> float:
        self._roll(now)
        return self._now + self._before * (1 - (now - self._since))

    def _roll(self, now: float) -> None:
        passed = int(now - self._since)
        if passed > 0:
            self._before = self._now if passed == 1 else 0
            self._now = 0
            self._since += passed
