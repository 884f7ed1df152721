"""Weights follow what is measured: ten points at a time, with a reason, and back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.deliveries import Lately
from chappe.core.routing import SLOTS, Member, Route
from chappe.core.shifting import (
    BACK_AFTER_MS,
    BETWEEN_MS,
    FLOOR,
    LEAST_DUE,
    STEP,
    Shift,
    next_shift,
    shifted,
)

NOW = 1_800_000_000_000
ROUTE = Route("live", (Member("orange", 1, 70), Member("sfr", 1, 30), Member("free", 2)), shift=True)
SET = {"orange": 70, "sfr": 30, "free": 0}


def seen(late: int, due: int = 100) -> Lately:
    return Lately(accepted=due, due=due, late=late)


SLOW, QUICK = seen(14), seen(10)


def a_shift(at: int, orange: int, **changes: dict[str, int]) -> Shift:
    weights = {"orange": orange, "sfr": SLOTS - orange}
    return Shift("live", at, changes.get("set_weights", SET), weights, "because")


def test_ten_points_go_from_the_slow_to_the_quick_and_the_sentence_says_why() -> None:
    move = next_shift(ROUTE, None, {"orange": SLOW, "sfr": QUICK}, NOW)
    assert move == Shift(
        "live",
        NOW,
        SET,
        {"orange": 60, "sfr": 40},
        "orange is slow: 14% of 100 parts had no receipt within 5 minutes; 10 points go to sfr",
    )
    assert [member.weight for member in shifted(ROUTE, move).members] == [60, 40, 0]


@pytest.mark.parametrize(
    "lately",
    [
        {},
        {"orange": SLOW},  # of the other nothing is known
        {"orange": SLOW, "sfr": SLOW},
        {"orange": QUICK, "sfr": QUICK},
        {"orange": seen(19, LEAST_DUE - 1), "sfr": QUICK},
        {"orange": SLOW, "free": QUICK},  # not of its priority
    ],
)
def test_nothing_moves_without_one_that_is_slow_and_one_that_is_not(lately: dict[str, Lately]) -> None:
    assert next_shift(ROUTE, None, lately, NOW) is None


def test_next_move_is_a_minute_later() -> None:
    lately, last = {"orange": SLOW, "sfr": QUICK}, a_shift(NOW, 60)
    assert next_shift(ROUTE, last, lately, NOW + BETWEEN_MS - 1) is None
    move = next_shift(ROUTE, last, lately, NOW + BETWEEN_MS)
    assert move is not None
    assert move.weights == {"orange": 50, "sfr": 50}


def test_slow_one_keeps_what_it_takes_to_see_that_it_is_well_again() -> None:
    lately = {"orange": SLOW, "sfr": QUICK}
    move = next_shift(ROUTE, a_shift(NOW, FLOOR + 3), lately, NOW + BETWEEN_MS)
    assert move is not None
    assert move.weights == {"orange": FLOOR, "sfr": SLOTS - FLOOR}
    assert next_shift(ROUTE, move, lately, NOW + 3 * BETWEEN_MS) is None


def test_an_hour_without_a_move_takes_one_step_back_to_what_was_set() -> None:
    last = a_shift(NOW, 55)
    assert next_shift(ROUTE, last, {}, NOW + BACK_AFTER_MS - 1) is None
    assert next_shift(ROUTE, last, {"orange": SLOW}, NOW + BACK_AFTER_MS) is None
    move = next_shift(ROUTE, last, {"orange": QUICK}, NOW + BACK_AFTER_MS)
    assert move is not None
    assert (move.weights, move.why) == (
        {"orange": 65, "sfr": 35},
        "no move for 60 minutes; 10 points go back to orange",
    )
    again = next_shift(ROUTE, move, {}, NOW + 2 * BACK_AFTER_MS)
    assert again is not None
    assert again.weights == {"orange": 70, "sfr": 30}
    assert next_shift(ROUTE, again, {}, NOW + 3 * BACK_AFTER_MS) is None


def test_moves_mean_nothing_once_the_settings_say_something_else() -> None:
    last = a_shift(NOW, 20, set_weights={"orange": 50, "sfr": 50, "free": 0})
    assert shifted(ROUTE, last) is ROUTE
    assert next_shift(ROUTE, last, {}, NOW + BACK_AFTER_MS) is None
    move = next_shift(ROUTE, last, {"orange": SLOW, "sfr": QUICK}, NOW + BETWEEN_MS)
    assert move is not None
    assert move.weights == {"orange": 60, "sfr": 40}


def test_route_that_does_not_want_it_is_left_alone() -> None:
    fixed = Route("live", ROUTE.members)
    assert next_shift(fixed, None, {"orange": SLOW, "sfr": QUICK}, NOW) is None
    assert shifted(fixed, a_shift(NOW, 20)) is fixed


def test_weights_are_points_of_a_hundred_whatever_they_were_set_as() -> None:
    route = Route("live", (Member("a", 1, 1), Member("b", 1, 1), Member("c", 1, 1)), shift=True)
    move = next_shift(route, None, {"a": SLOW, "b": QUICK, "c": QUICK}, NOW)
    assert move is not None
    assert move.weights == {"a": 23, "b": 38, "c": 39}


@given(
    st.lists(st.integers(1, 100), min_size=2, max_size=5),
    st.lists(st.lists(st.integers(0, 100), min_size=5, max_size=5), max_size=40),
)
def test_whatever_is_measured_the_points_stay_a_hundred_and_end_as_they_were_set(
    weights: list[int], measured: list[list[int]]
) -> None:
    names = "abcde"[: len(weights)]
    route = Route("live", tuple(map(Member, names, [1] * 5, weights)), shift=True)
    last: Shift | None = None
    now = NOW
    for late in measured:
        now += BETWEEN_MS
        before = last
        last = next_shift(route, last, dict(zip(names, map(seen, late), strict=False)), now) or last
        if last is not None:
            assert sum(last.weights.values()) == SLOTS
            assert min(last.weights.values()) >= 0
        if last is not None and before is not None:
            moved = sum(abs(last.weights[name] - before.weights[name]) for name in names)
            assert moved <= 2 * STEP
    for _ in range(60):
        now += BACK_AFTER_MS
        last = next_shift(route, last, {}, now) or last
    assert next_shift(route, last, {}, now + BACK_AFTER_MS) is None
    if last is not None:
        ends = [sum(weights[:count]) * SLOTS // sum(weights) for count in range(len(weights) + 1)]
        assert [last.weights[name] for name in names] == [end - begin for begin, end in pairwise(ends)]
