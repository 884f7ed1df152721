"""The circuit breaker: every pair of its table, and how long it rests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.circuit import (
    FAILURES_TO_OPEN,
    FIRST_PAUSE_MS,
    LONGEST_ASKED_MS,
    LONGEST_PAUSE_MS,
    TRANSITIONS,
    Breaker,
    Circuit,
    Happening,
    failed,
    room,
    taken,
)

NOW = 1_700_000_000_000


def free(breaker: Breaker, now: int = NOW, under_way: int = 0) -> int:
    return room(breaker, now, under_way=under_way, at_most=8)


def happen(breaker: Breaker, happening: Happening) -> None:
    match happening:
        case Happening.TAKEN:
            taken(breaker)
        case Happening.FAILED:
            breaker.failures = 0
            failed(breaker, NOW)
        case Happening.FAILED_AGAIN:
            breaker.failures = FAILURES_TO_OPEN - 1
            failed(breaker, NOW)
        case Happening.ASKED_TO_WAIT:
            failed(breaker, NOW, asked_ms=60_000)
        case Happening.PAUSE_OVER:
            breaker.resumes_at = NOW
            free(breaker)


@pytest.mark.parametrize("happening", Happening)
@pytest.mark.parametrize("before", Circuit)
def test_every_pair_goes_where_the_table_says(before: Circuit, happening: Happening) -> None:
    breaker = Breaker(before, resumes_at=NOW + 1)
    happen(breaker, happening)
    assert breaker.circuit is TRANSITIONS.get((before, happening), before)


def test_an_unknown_endpoint_is_tried_with_one_event_and_then_gets_all_its_room() -> None:
    breaker = Breaker()
    assert (free(breaker), free(breaker, under_way=1)) == (1, 0)
    taken(breaker)
    assert (free(breaker), free(breaker, under_way=3), free(breaker, under_way=9)) == (8, 5, 0)


def test_only_failures_in_a_row_open_it() -> None:
    breaker = Breaker(Circuit.CLOSED)
    for _ in range(3):
        for _ in range(FAILURES_TO_OPEN - 1):
            failed(breaker, NOW)
        assert free(breaker) == 8
        taken(breaker)
    for _ in range(FAILURES_TO_OPEN):
        failed(breaker, NOW)
    assert free(breaker) == 0


def test_an_open_one_is_probed_once_after_each_pause_and_the_pauses_double() -> None:
    breaker, now, pauses = Breaker(), NOW, []
    for _ in range(9):
        failed(breaker, now)
        pauses.append(breaker.resumes_at - now)
        assert free(breaker, breaker.resumes_at - 1) == 0
        now = breaker.resumes_at
        assert (free(breaker, now), free(breaker, now, under_way=1)) == (1, 0)
    doubled = [FIRST_PAUSE_MS * 2**times for times in range(6)]
    assert pauses == [*doubled, *[LONGEST_PAUSE_MS] * 3]
    taken(breaker)
    assert breaker == Breaker(Circuit.CLOSED, resumes_at=now)


def test_what_was_under_way_when_it_opened_does_not_lengthen_the_pause() -> None:
    breaker = Breaker()
    failed(breaker, NOW)
    for later in range(20):
        failed(breaker, NOW + later)
    assert breaker.resumes_at == NOW + FIRST_PAUSE_MS


@pytest.mark.parametrize(
    ("asked", "pause"),
    [(0, FIRST_PAUSE_MS), (120_000, 120_000), (LONGEST_ASKED_MS, LONGEST_ASKED_MS), (86_400_000, LONGEST_ASKED_MS)],
)
def test_a_receiver_that_asks_to_wait_is_left_alone_within_bounds(asked: int, pause: int) -> None:
    breaker = Breaker(Circuit.CLOSED)
    failed(breaker, NOW, asked_ms=asked)
    assert (breaker.circuit, breaker.resumes_at) == (Circuit.OPEN, NOW + pause)


@given(st.lists(st.sampled_from([True, False]), max_size=80), st.integers(0, 400_000))
def test_whatever_happened_one_event_taken_brings_it_all_back(history: list[bool], step: int) -> None:
    breaker, now = Breaker(), NOW
    for good in history:
        now += step
        if good:
            taken(breaker)
        else:
            failed(breaker, now)
        assert breaker.resumes_at <= now + LONGEST_PAUSE_MS
    taken(breaker)
    assert free(breaker, now) == 8
