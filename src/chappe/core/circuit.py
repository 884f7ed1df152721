"""The circuit breaker of one webhook endpoint: how much may be under way to it now.

    HALF_OPEN ──taken──▶ CLOSED ──5 failures in a row──▶ OPEN ──pause over──▶ HALF_OPEN ──failed──▶ OPEN, longer

An endpoint nobody knows yet begins half-open: the first delivery proves it. So a dead one never holds more than
one connection, whether it has just died or the server has just started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Circuit(Enum):
    CLOSED = "takes events"
    OPEN = "rests"
    HALF_OPEN = "is tried with one event"


class Happening(Enum):
    TAKEN = "an event was taken"
    FAILED = "a try failed"
    FAILED_AGAIN = "a try failed, and FAILURES_TO_OPEN in a row have"
    ASKED_TO_WAIT = "the receiver said when to come again (429 or 503 with Retry-After)"
    PAUSE_OVER = "the pause is over"


TRANSITIONS: Mapping[tuple[Circuit, Happening], Circuit] = {
    # A pair that is not here changes nothing: failures of what was under way when it opened are no news.
    (Circuit.CLOSED, Happening.FAILED_AGAIN): Circuit.OPEN,
    (Circuit.CLOSED, Happening.ASKED_TO_WAIT): Circuit.OPEN,
    (Circuit.HALF_OPEN, Happening.TAKEN): Circuit.CLOSED,
    (Circuit.HALF_OPEN, Happening.FAILED): Circuit.OPEN,
    (Circuit.HALF_OPEN, Happening.FAILED_AGAIN): Circuit.OPEN,
    (Circuit.HALF_OPEN, Happening.ASKED_TO_WAIT): Circuit.OPEN,
    (Circuit.OPEN, Happening.PAUSE_OVER): Circuit.HALF_OPEN,
    (Circuit.OPEN, Happening.TAKEN): Circuit.CLOSED,
}

FAILURES_TO_OPEN = 5
FIRST_PAUSE_MS = 5_000
LONGEST_PAUSE_MS = 300_000
"""Pauses double from the first to the longest: a dead endpoint is tried once in five minutes."""
LONGEST_ASKED_MS = 3_600_000
"""As long as a receiver may keep all its events waiting by one Retry-After."""


@dataclass(slots=True)
class Breaker:
    """One endpoint's; kept in memory, since what it forgets is learnt again at the cost of one try."""

    circuit: Circuit = Circuit.HALF_OPEN
    failures: int = 0
    """In a row."""
    openings: int = 0
    """How many pauses since an event was last taken."""
    resumes_at: int = 0


def taken(breaker: Breaker) -> None:
    breaker.circuit = TRANSITIONS.get((breaker.circuit, Happening.TAKEN), breaker.circuit)
    breaker.failures = breaker.openings = 0


def failed(breaker: Breaker, now: int, *, asked_ms: int | None = None) -> None:
    """`asked_ms` is how long the receiver asks to be left alone, where it does."""
    breaker.failures += 1
    happening = (
        Happening.ASKED_TO_WAIT
        if asked_ms is not None
        else Happening.FAILED_AGAIN
        if breaker.failures >= FAILURES_TO_OPEN
        else Happening.FAILED
    )
    after = TRANSITIONS.get((breaker.circuit, happening), breaker.circuit)
    if after is Circuit.OPEN and breaker.circuit is not Circuit.OPEN:
        pause = min(FIRST_PAUSE_MS << min(breaker.openings, 20), LONGEST_PAUSE_MS)
        breaker.openings += 1
        breaker.resumes_at = now + max(pause, min(asked_ms or 0, LONGEST_ASKED_MS))
    breaker.circuit = after


def room(breaker: Breaker, now: int, *, under_way: int, at_most: int) -> int:
    """How many more deliveries may be handed over now; ends a pause that is over."""
    if breaker.circuit is Circuit.OPEN and now >= breaker.resumes_at:
        breaker.circuit = TRANSITIONS[breaker.circuit, Happening.PAUSE_OVER]
    match breaker.circuit:
        case Circuit.CLOSED:
            return max(0, at_most - under_way)
        case Circuit.HALF_OPEN:
            return max(0, 1 - under_way)
        case Circuit.OPEN:
            return 0
