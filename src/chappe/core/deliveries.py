"""What came lately of what each connector submitted: how much was delivered, what failed and why, how long it took.

`Deliveries` measures, where answers and receipts are settled: a message costs it a few additions, and it is asked now
and then. A receipt counts for the minute in which its part was submitted, so that all figures are about the same parts.
Nothing is kept: after a start it begins anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

MINUTE_MS: Final = 60_000
WINDOW_MINUTES: Final = 15
"""How long back "lately" goes."""
IN_TIME_MS: Final = 5 * MINUTE_MS
"""A part with no final receipt after this is late."""
MOST_CODES: Final = 20
"""Of each minute; others are counted as OTHER."""
OTHER: Final = "other"


@dataclass(slots=True, frozen=True)
class Lately:
    """A connector's last quarter of an hour."""

    accepted: int = 0
    """Parts that the operator took charge of."""
    delivered: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    """Receipts that say so, by their word and code."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Answers that are a "no", by `command_status`."""
    answer_ms: tuple[int, int] | None = None
    """From the claim to the operator's answer: the median, and what 95 % of them took at most."""
    receipt_ms: tuple[int, int] | None = None
    """From the submit to the final receipt, likewise."""
    due: int = 0
    """Of the accepted, those that were submitted IN_TIME_MS ago or earlier…"""
    late: int = 0
    """…and had no final receipt within that time."""


class Deliveries:
    """All connectors of a node."""

    def __init__(self) -> None:
        self._minutes: dict[str, dict[int, _Minute]] = {}

    def answered(self, connector: str, claimed_at: int, at: int) -> None:
        """The operator took charge of a part."""
        minute = self._minute(connector, claimed_at)
        minute.accepted += 1
        _count(minute.answers, at - claimed_at)

    def refused(self, connector: str, claimed_at: int, status: int) -> None:
        _count_code(self._minute(connector, claimed_at).refused, f"{status:#04x}")

    def ended(self, connector: str, claimed_at: int, at: int, failure: str | None) -> None:
        """The first final receipt of a part came; `failure` is what it says, None for delivered."""
        minute = self._minutes.get(connector, {}).get(claimed_at // MINUTE_MS)
        if minute is None:  # submitted before the start, or too long ago
            return
        took = at - claimed_at
        minute.in_time += took <= IN_TIME_MS
        _count(minute.receipts, took)
        if failure is None:
            minute.delivered += 1
        else:
            _count_code(minute.failed, failure)

    def lately(self, now: int) -> dict[str, Lately]:
        """By connector, those that had something to do; forgets what is older."""
        first = now // MINUTE_MS - WINDOW_MINUTES
        for connector, minutes in list(self._minutes.items()):
            kept = {number: minute for number, minute in minutes.items() if number > first}
            if kept:
                self._minutes[connector] = kept
            else:
                del self._minutes[connector]
        return {connector: _sum_up(minutes, now) for connector, minutes in self._minutes.items()}

    def _minute(self, connector: str, at: int) -> _Minute:
        minutes = self._minutes.setdefault(connector, {})
        number = at // MINUTE_MS
        minute = minutes.get(number)
        if minute is None:
            minute = minutes[number] = _Minute()
        return minute


class _Minute:
    __slots__ = ("accepted", "answers", "delivered", "failed", "in_time", "receipts", "refused")

    def __init__(self) -> None:
        self.accepted = self.delivered = self.in_time = 0
        self.failed: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.answers: dict[int, int] = {}
        self.receipts: dict[int, int] = {}


def _sum_up(minutes: Mapping[int, _Minute], now: int) -> Lately:
    all_ = minutes.values()
    due = [minute for number, minute in minutes.items() if (number + 1) * MINUTE_MS + IN_TIME_MS <= now]
    accepted_then = sum(minute.accepted for minute in due)
    return Lately(
        accepted=sum(minute.accepted for minute in all_),
        delivered=sum(minute.delivered for minute in all_),
        failed=_most_first(minute.failed for minute in all_),
        refused=_most_first(minute.refused for minute in all_),
        answer_ms=_quantiles(minute.answers for minute in all_),
        receipt_ms=_quantiles(minute.receipts for minute in all_),
        due=accepted_then,
        late=max(0, accepted_then - sum(minute.in_time for minute in due)),
    )


def _most_first(counted: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for counts in counted:
        found.update(counts)
    return dict(found.most_common())


def _count_code(counts: dict[str, int], code: str) -> None:
    code = code if code in counts or len(counts) < MOST_CODES else OTHER
    counts[code] = counts.get(code, 0) + 1


# --- durations, to an eighth of each -----------------------------------------------------------------


def _count(counts: dict[int, int], ms: int) -> None:
    """In the bin of a duration: eight for each doubling."""
    ms = max(ms, 0)
    fine = max(ms.bit_length() - 4, 0)
    key = (fine << 5) + (ms >> fine)
    counts[key] = counts.get(key, 0) + 1


def _ms_of(key: int) -> int:
    """The middle of a bin."""
    fine = key >> 5
    return ((key & 31) << fine) + ((1 << fine) >> 1)


def _quantiles(counted: Iterable[Mapping[int, int]]) -> tuple[int, int] | None:
    found: Counter[int] = Counter()
    for counts in counted:
        found.update(counts)
    total = found.total()
    if not total:
        return None
    reached, ends = 0, []
    for key in sorted(found, key=_ms_of):
        reached += found[key]
        ends.append((reached, _ms_of(key)))
    median, most = (next(ms for upto, ms in ends if upto * 100 >= total * share) for share in (50, 95))
    return median, most
