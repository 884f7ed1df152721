"""The pace against simulated operators that count in different ways; the clock is a number."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.pace import FIRST, GUARD_SECONDS, SLOWEST, UNLIMITED, Pace

ROUND_TRIP = 0.08


class Operator(Protocol):
    rate: float

    def takes(self, at: float) -> bool: ...


class Bucket:
    """Lets a second's worth pass at once."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._tokens, self._at = max(1.0, rate), 0.0

    def takes(self, at: float) -> bool:
        self._tokens = min(max(1.0, self.rate), self._tokens + self.rate * (at - self._at))
        self._at = at
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ByTheSecond:
    """Counts anew at each full second."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._second, self._count = -1, 0

    def takes(self, at: float) -> bool:
        if int(at) != self._second:
            self._second, self._count = int(at), 0
        if self._count >= self.rate:
            return False
        self._count += 1
        return True


class AnySecond:
    """Never more than its rate in any second, however it is cut."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._lately: deque[float] = deque()

    def takes(self, at: float) -> bool:
        while self._lately and self._lately[0] <= at - 1:
            self._lately.popleft()
        if len(self._lately) >= self.rate:
            return False
        self._lately.append(at)
        return True


class Unlimited:
    rate = 0.0

    def takes(self, at: float) -> bool:
        return True


@dataclass
class Traffic:
    """Every submit: when it was written, and whether it was taken."""

    pace: Pace
    submits: list[tuple[float, bool]]

    def per_second(self, begin: float, end: float) -> float:
        return sum(taken for at, taken in self.submits if begin <= at < end) / (end - begin)

    def throttled(self, begin: float, end: float) -> float:
        seen = [taken for at, taken in self.submits if begin <= at < end]
        return seen.count(False) / len(seen)


def drive(
    operator: Operator,
    pace: Pace,
    seconds: float,
    *,
    window: int = 1_000,
    late: float = 0.0,
    change: tuple[float, float] = (1e9, 0.0),
) -> Traffic:
    """An endless queue: writes whatever pace and window allow, `late` seconds after it could."""
    now, in_flight, count = 0.0, 0, 0
    answers: list[tuple[float, int, bool]] = []
    traffic = Traffic(pace, [])
    while now < seconds:
        if now >= change[0]:
            operator.rate, change = change[1], (1e9, 0.0)
        writing = min(window - in_flight, pace.allowed(now))
        for _ in range(writing):
            count += 1
            taken = operator.takes(now + ROUND_TRIP / 2)
            traffic.submits.append((now, taken))
            heapq.heappush(answers, (now + ROUND_TRIP, count, taken))
        if writing:
            in_flight += writing
            pace.spend(writing, now)
        wait = pace.wait(now)
        due = answers[0][0] if answers else 1e9
        now = due if wait is None or in_flight >= window else min(due, now + max(wait, 1e-4) + late)
        taken_now = throttled_now = 0
        while answers and answers[0][0] <= now:
            taken = heapq.heappop(answers)[2]
            in_flight -= 1
            taken_now += taken
            throttled_now += not taken
        if taken_now or throttled_now:
            pace.hear(now, taken=taken_now, throttled=throttled_now, in_flight=in_flight)
    return traffic


OPERATORS = pytest.mark.parametrize("operator", [Bucket, ByTheSecond, AnySecond])


# --- the promise (reliability: at most 1 % throttled, at least 95 % of what is allowed, within 60 s) ---------


@OPERATORS
@pytest.mark.parametrize("rate", [100, 1_000])
@pytest.mark.parametrize("setting", [0, 2], ids=["no setting", "a setting twice too high"])
def test_it_finds_the_operators_rate_and_stays_there(
    operator: Callable[[float], Operator], rate: int, setting: int
) -> None:
    traffic = drive(operator(rate), Pace(0.0, setting * rate), 120)
    assert traffic.throttled(60, 120) <= 0.01
    assert traffic.per_second(60, 120) >= 0.95 * rate
    assert traffic.throttled(30, 60) <= 0.01
    assert traffic.per_second(30, 60) >= 0.95 * rate


@pytest.mark.parametrize("window", [10, 100])
def test_where_there_is_no_limit_the_window_is_used_up(window: int) -> None:
    traffic = drive(Unlimited(), Pace(0.0), 20, window=window)
    assert traffic.per_second(1, 20) == pytest.approx(window / ROUND_TRIP, rel=0.01)


@OPERATORS
@pytest.mark.parametrize("setting", [0, 40])
def test_a_slow_operator_is_found_too(operator: Callable[[float], Operator], setting: int) -> None:
    """One submit a second more is 5 % here: it takes longer until the share of the last looks so is small."""
    traffic = drive(operator(20), Pace(0.0, setting), 300)
    assert traffic.throttled(60, 300) <= 0.01
    assert traffic.per_second(60, 300) >= 0.95 * 20


@OPERATORS
@pytest.mark.parametrize("rate", [1, 2, 5])
def test_the_slowest_operators_are_not_starved(operator: Callable[[float], Operator], rate: int) -> None:
    traffic = drive(operator(rate), Pace(0.0), 600)
    assert traffic.throttled(60, 600) <= 0.02
    assert traffic.per_second(60, 600) >= 0.8 * rate


@OPERATORS
def test_a_sender_that_is_a_little_late_loses_nothing(operator: Callable[[float], Operator]) -> None:
    traffic = drive(operator(100), Pace(0.0, 200), 120, late=0.03)
    assert traffic.throttled(60, 120) <= 0.01
    assert traffic.per_second(60, 120) >= 92  # the strictest counts what comes in threes as if it came at once


# --- the contract's rate -----------------------------------------------------------------------------


@given(
    rate=st.floats(0.5, 2_000),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 100), st.booleans()), max_size=60),
)
def test_the_contracts_rate_and_burst_are_never_exceeded(
    rate: float, burst: int, steps: list[tuple[float, int, bool]]
) -> None:
    pace, now, written = Pace(0.0, rate, burst), 0.0, 0
    for seconds, wanted, taken in steps:
        now += seconds
        count = min(wanted, pace.allowed(now))
        pace.spend(count, now)
        written += count
        pace.hear(now, taken=count if taken else 0, throttled=0 if taken else count, in_flight=0)
        assert written <= rate * now + max(burst, 0.1 * rate, 1) + 1e-6
        assert SLOWEST <= (pace.rate or 0) <= max(rate, SLOWEST)


def test_the_contracts_rate_is_used_up() -> None:
    traffic = drive(Bucket(1_000), Pace(0.0, 50), 60)
    assert traffic.per_second(1, 60) == pytest.approx(50, rel=0.02)
    assert traffic.pace.rate == 50
    assert not traffic.pace.slowed


def test_a_burst_leaves_at_once_after_a_quiet_moment() -> None:
    pace = Pace(0.0, 10, burst=30)
    assert pace.allowed(0.0) == 30
    pace.spend(30, 0.0)
    assert pace.allowed(0.0) == 0
    assert pace.allowed(1.0) == 10
    assert pace.allowed(60.0) == 30


def test_waiting_is_as_long_as_the_next_submits_take_to_be_allowed() -> None:
    slow, fast = Pace(0.0, 4), Pace(0.0, 1_000)
    assert slow.wait(0.0) is None
    slow.spend(1, 0.0)
    assert slow.wait(0.0) == pytest.approx(0.25)
    assert slow.allowed(0.24) == 0
    assert slow.allowed(0.26) == 1
    fast.spend(fast.allowed(0.5), 0.5)
    wait = fast.wait(0.5)
    assert wait is not None
    assert wait == pytest.approx(0.02), "twenty together, not one by one"
    assert fast.allowed(0.5 + wait + 1e-9) == 20


# --- what refusals say -------------------------------------------------------------------------------


def test_without_a_limit_and_without_a_refusal_nothing_is_held_back() -> None:
    pace = Pace(0.0)
    pace.spend(100_000, 0.0)
    pace.hear(0.1, taken=100_000, throttled=0, in_flight=0)
    assert (pace.allowed(0.1), pace.wait(0.1), pace.rate, pace.limited, pace.slowed) == (
        UNLIMITED,
        None,
        None,
        False,
        False,
    )


def test_the_first_refusal_holds_to_what_was_taken_in_the_last_second() -> None:
    pace = Pace(0.0)
    pace.hear(0.9, taken=100, throttled=10, in_flight=5)
    assert pace.rate == pytest.approx(90)
    assert (pace.slowed, pace.allowed(0.9)) == (True, 0)


def test_a_first_refusal_out_of_nothing_is_no_standstill() -> None:
    pace = Pace(0.0)
    pace.hear(0.1, taken=0, throttled=1, in_flight=0)
    assert pace.rate == FIRST


def test_the_refusals_of_one_moment_are_one_reason_to_slow_down() -> None:
    pace = Pace(0.0, 100)
    for at in (0.5, 0.6, 0.7):
        pace.hear(at, taken=0, throttled=10, in_flight=0)
    assert pace.rate == 50


def test_refusals_of_what_was_written_before_are_no_new_reason() -> None:
    pace = Pace(0.0, 100)
    pace.hear(0.5, taken=0, throttled=1, in_flight=20)
    pace.hear(5.0, taken=0, throttled=19, in_flight=1)
    assert pace.rate == 50
    pace.hear(5.1, taken=0, throttled=1, in_flight=0)
    assert pace.rate == 25


def test_a_lost_connection_takes_the_answers_that_were_still_to_come_with_it() -> None:
    pace = Pace(0.0, 100)
    pace.hear(0.5, taken=0, throttled=1, in_flight=20)
    pace.hear(5.0, taken=0, throttled=1, in_flight=0)  # a new bind: the twenty ended otherwise
    assert pace.rate == 25


def test_an_odd_refusal_among_many_says_nothing_about_the_pace() -> None:
    pace = Pace(0.0)
    for second in range(1, 20):
        pace.hear(second + 0.5, taken=1_000, throttled=3, in_flight=100)
    assert pace.rate is None


def test_an_operator_that_takes_nothing_is_asked_ever_more_seldom() -> None:
    traffic = drive(Bucket(100), Pace(0.0, 100), 180, change=(60, 1e-9))
    assert traffic.pace.rate == SLOWEST
    assert len([at for at, _ in traffic.submits if 90 <= at < 180]) <= 90 * SLOWEST + 1


def test_after_a_bad_minute_it_is_soon_as_fast_as_before() -> None:
    class Closed(Bucket):
        def takes(self, at: float) -> bool:
            return not 60 <= at < 120 and super().takes(at)

    traffic = drive(Closed(100), Pace(0.0), 180)
    assert traffic.per_second(65, 120) == 0
    assert traffic.per_second(150, 180) >= 95


def test_a_rate_that_rises_is_found() -> None:
    traffic = drive(Bucket(20), Pace(0.0), 200, change=(60, 100.0))
    assert traffic.per_second(160, 200) >= 95


def test_a_rate_that_falls_is_found_within_seconds() -> None:
    traffic = drive(Bucket(1_000), Pace(0.0), 120, change=(60, 50.0))
    assert traffic.per_second(65, 120) == pytest.approx(50, rel=0.05)
    assert traffic.throttled(65, 120) <= 0.01


def test_a_rate_that_nobody_uses_does_not_grow() -> None:
    pace = Pace(0.0)
    pace.hear(1.0, taken=100, throttled=10, in_flight=0)
    rate = pace.rate
    for second in range(2, 300):
        assert pace.allowed(second) >= 1
        pace.spend(1, second)
        pace.hear(second + 0.1, taken=1, throttled=0, in_flight=0)
    assert pace.rate == rate


# --- congestion_state --------------------------------------------------------------------------------


def test_a_congested_operator_is_spared_without_a_refusal() -> None:
    pace = Pace(0.0)
    pace.hear(0.9, taken=100, throttled=0, in_flight=0)
    pace.hear_congestion(0.9, 100, in_flight=5)
    assert pace.rate == pytest.approx(90)
    pace.hear_congestion(1.0, 100, in_flight=5)
    assert pace.rate == pytest.approx(90), "once a second"


@pytest.mark.parametrize(("state", "grows"), [(0, True), (79, True), (80, False), (99, False)])
def test_a_busy_operator_is_not_asked_for_more(state: int, grows: bool) -> None:
    pace, now = Pace(0.0), 1.0
    pace.hear(1.0, taken=100, throttled=10, in_flight=0)
    before = pace.rate
    assert before is not None
    for _ in range(600):
        wait = pace.wait(now)
        assert wait is not None
        now += wait + 1e-6
        count = pace.allowed(now)
        pace.spend(count, now)
        pace.hear_congestion(now, state, 0)
        pace.hear(now, taken=count, throttled=0, in_flight=0)
    assert now > 1.0 + GUARD_SECONDS
    assert pace.rate is not None
    assert (pace.rate > before) is grows


def test_what_congestion_says_is_soon_forgotten() -> None:
    pace, now = Pace(0.0), 1.0
    pace.hear(1.0, taken=100, throttled=10, in_flight=0)
    pace.hear_congestion(1.0, 90, 0)
    for _ in range(400):
        now += (pace.wait(now) or 0) + 1e-6
        count = pace.allowed(now)
        pace.spend(count, now)
        pace.hear(now, taken=count, throttled=0, in_flight=0)
    assert pace.rate is not None
    assert pace.rate > 90


def test_another_contract_is_followed_at_once() -> None:
    pace = Pace(0.0, 10, 1)
    pace.spend(pace.allowed(0.0), 0.0)
    pace.change(0.0, 100, 50)
    assert (pace.rate, pace.slowed, pace.allowed(1.0)) == (100, False, 50)
    pace.change(1.0, 5, 1)
    assert (pace.rate, pace.allowed(1.0)) == (5, 1)
    pace.change(1.0, 0, 1)
    assert (pace.limited, pace.allowed(1.0)) == (False, UNLIMITED)
    pace.change(1.0, 4, 2)
    pace.spend(pace.allowed(1.0), 1.0)
    assert (pace.allowed(1.2), pace.allowed(1.25)) == (0, 1)


def test_what_refusals_have_found_outlives_another_contract() -> None:
    pace = Pace(0.0, 100)
    for n in range(20):
        pace.hear(n / 20, taken=2, throttled=1, in_flight=0)
    found = pace.rate
    assert found is not None
    assert pace.slowed
    pace.change(1.0, 1_000, 1)
    assert (pace.rate, pace.slowed) == (found, True)
    pace.change(1.0, 1, 1)
    assert pace.rate == 1
