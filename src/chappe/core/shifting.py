"""Shifting: weight moves from an operator whose receipts come late to those whose receipts do not.

The rules are those of GOV.UK Notify: ten points of a hundred at a time, nothing while all are slow or none is, and
slowly back to what was set. Pure: every node decides alike, and the store takes the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from chappe.core.deliveries import IN_TIME_MS, MINUTE_MS, Lately
from chappe.core.routing import SLOTS, Member, Route

STEP: Final = 10
"""Points of a hundred that one move takes."""
FLOOR: Final = 10
"""Nobody is taken below this, or below what was set if that is less: what gets nothing is not measured any more."""
LATE_SHARE: Final = 0.10
"""An operator is slow if more of its parts than this have no final receipt in time…"""
LEAST_DUE: Final = 20
"""…of at least so many; of fewer nothing is said."""
BETWEEN_MS: Final = MINUTE_MS
"""From one move to the next."""
BACK_AFTER_MS: Final = 60 * MINUTE_MS
"""Without a move for so long, one step is taken back to what was set."""
SHIFTS_KEPT_MS: Final = 90 * 24 * 60 * MINUTE_MS


@dataclass(slots=True, frozen=True)
class Shift:
    """One move of a route's weights, and with that how they are from then on."""

    route: str
    at: int
    set_weights: Mapping[str, int]
    """What the settings said then: once they say something else, the move means nothing any more."""
    weights: Mapping[str, int]
    """Of each of the connectors, points of the hundred that those of one priority share."""
    why: str
    """One sentence."""


def shifted(route: Route, last: Shift | None) -> Route:
    """The route as its last move left it."""
    if last is None or not route.shift or dict(last.set_weights) != _set_weights(route):
        return route
    return replace(
        route, members=tuple(replace(one, weight=last.weights.get(one.connector, one.weight)) for one in route.members)
    )


def next_shift(route: Route, last: Shift | None, lately: Mapping[str, Lately], now: int) -> Shift | None:
    """The move that is due, if one is."""
    if not route.shift or (last is not None and now - last.at < BETWEEN_MS):
        return None
    wanted = {name: points for group in _groups(route) for name, points in _points(group).items()}
    is_shifted = last is not None and dict(last.set_weights) == _set_weights(route)
    points = {**wanted, **(last.weights if last is not None and is_shifted else {})}
    for group in _groups(route):
        names = [member.connector for member in group]
        moved = _away(names, points, wanted, lately)
        if moved is None and last is not None and is_shifted and now - last.at >= BACK_AFTER_MS:
            moved = _back(names, points, wanted, lately)
        if moved is not None:
            return Shift(route.name, now, _set_weights(route), {**points, **moved[0]}, moved[1])
    return None


_Move = tuple[Mapping[str, int], str]


def _away(
    names: Sequence[str], points: Mapping[str, int], wanted: Mapping[str, int], lately: Mapping[str, Lately]
) -> _Move | None:
    shares = {name: share for name in names if (share := _late_share(lately.get(name))) is not None}
    quick = [name for name, share in shares.items() if share <= LATE_SHARE]
    slow = [name for name in shares if name not in quick and points[name] > min(FLOOR, wanted[name])]
    if not quick or not slow:
        return None
    worst = max(slow, key=lambda name: (shares[name], name))
    step = min(STEP, points[worst] - min(FLOOR, wanted[worst]))
    seen = lately[worst]
    why = (
        f"{worst} is slow: {shares[worst]:.0%} of {seen.due} parts had no receipt within {IN_TIME_MS // MINUTE_MS} "
        f"minutes; {step} points go to {' and '.join(quick)}"
    )
    return _give(points, {worst: step}, quick), why


def _back(
    names: Sequence[str], points: Mapping[str, int], wanted: Mapping[str, int], lately: Mapping[str, Lately]
) -> _Move | None:
    below = [name for name in names if points[name] < wanted[name]]
    if not below or any((_late_share(lately.get(name)) or 0) > LATE_SHARE for name in below):
        return None
    room = STEP
    moved = dict(points)
    for name in sorted(below, key=lambda name: (points[name] - wanted[name], name)):
        for other in sorted(names, key=lambda other: (wanted[other] - moved[other], other)):
            step = max(0, min(room, wanted[name] - moved[name], moved[other] - wanted[other]))
            moved[name] += step
            moved[other] -= step
            room -= step
    why = f"no move for {BACK_AFTER_MS // MINUTE_MS} minutes; {STEP - room} points go back to {' and '.join(below)}"
    return {name: moved[name] for name in names}, why


def _give(points: Mapping[str, int], taken: Mapping[str, int], to: Sequence[str]) -> dict[str, int]:
    moved = {name: points[name] - step for name, step in taken.items()}
    each, more = divmod(sum(taken.values()), len(to))
    return moved | {name: points[name] + each + (at < more) for at, name in enumerate(to)}


def _late_share(lately: Lately | None) -> float | None:
    return lately.late / lately.due if lately is not None and lately.due >= LEAST_DUE else None


def _groups(route: Route) -> list[list[Member]]:
    """The members that share something out: those of one priority that have weights, if they are several."""
    by_priority: dict[int, list[Member]] = {}
    for member in route.members:
        if member.weight:
            by_priority.setdefault(member.priority, []).append(member)
    return [group for _, group in sorted(by_priority.items()) if len(group) > 1]


def _points(group: Sequence[Member]) -> dict[str, int]:
    """Their weights as points of a hundred."""
    ends = [0, *accumulate(member.weight for member in group)]
    bounds = [end * SLOTS // ends[-1] for end in ends]
    return {member.connector: bounds[at + 1] - bounds[at] for at, member in enumerate(group)}


def _set_weights(route: Route) -> dict[str, int]:
    return {member.connector: member.weight for member in route.members}
