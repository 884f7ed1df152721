"""What a connector's figures are measured as, and which of them is named as the limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chappe.core.figures import SENTENCES, Figures, Limit, Meter, Standing, limit_of, limit_sentence

IDLE = Figures(
    window=10,
    in_flight=0,
    round_trip_ms=80.0,
    submits_per_second=0.0,
    throttled_share=0.0,
    rate_limit=None,
    rate_setting=0.0,
    bound=1,
    binds=1,
    held=False,
    full_share=0.0,
    paced_share=0.0,
    open_share=1.0,
)
FULL = replace(IDLE, in_flight=10, full_share=0.9, open_share=0.1)
PACED = replace(IDLE, rate_limit=20.4, paced_share=0.8, full_share=0.1, open_share=0.1)

SAID = [
    (IDLE, Limit.NOTHING, "nothing to send", "rien à envoyer"),
    (replace(IDLE, waiting=0), Limit.NOTHING, "nothing to send", "rien à envoyer"),
    (
        replace(IDLE, waiting=12_345),
        Limit.STORE,
        "12,345 parts wait and the window has room: the store is slower than the operator",
        "12\u202f345 parties attendent et la fenêtre a de la place : la base est plus lente que l'opérateur",
    ),
    (FULL, Limit.WINDOW, "window 10 ÷ 80 ms = 125/s", "fenêtre 10 ÷ 80 ms = 125/s"),
    (
        replace(FULL, window=100, round_trip_ms=12.5),
        Limit.WINDOW,
        "window 100 ÷ 12.5 ms = 8,000/s",
        "fenêtre 100 ÷ 12,5 ms = 8\u202f000/s",
    ),
    (replace(FULL, round_trip_ms=None), Limit.WINDOW, "window 10 ÷ ? ms = ?/s", "fenêtre 10 ÷ ? ms = ?/s"),
    (
        replace(FULL, window=10, binds=2),
        Limit.WINDOW,
        "window 10 ÷ 80 ms = 125/s (1 of 2 binds)",
        "fenêtre 10 ÷ 80 ms = 125/s (sessions : 1 sur 2)",
    ),
    (PACED, Limit.OPERATOR, "the operator throttles at about 20.4/s", "l'opérateur freine vers 20,4/s"),
    (
        replace(PACED, rate_setting=50.0),
        Limit.OPERATOR,
        "the operator throttles at about 20.4/s",
        "l'opérateur freine vers 20,4/s",
    ),
    (replace(PACED, rate_setting=50.0, rate_limit=50.0), Limit.RATE, "rate setting 50/s", "réglage rate : 50/s"),
    (replace(PACED, rate_setting=0.25, rate_limit=0.25), Limit.RATE, "rate setting 0.25/s", "réglage rate : 0,25/s"),
    (replace(IDLE, window=0, bound=0), Limit.NOT_BOUND, "not bound", "pas de session avec l'opérateur"),
    (replace(FULL, held=True), Limit.HELD, "paused, or draining", "en pause, ou en train de finir"),
    (
        replace(IDLE, window=0, bound=0, held=True),
        Limit.HELD,
        "paused, or draining (0 of 1 binds)",
        "en pause, ou en train de finir (sessions : 0 sur 1)",
    ),
]


@pytest.mark.parametrize(("figures", "limit", "english", "french"), SAID)
def test_the_limit_is_said_in_two_languages(figures: Figures, limit: Limit, english: str, french: str) -> None:
    assert (limit_of(figures), limit_sentence(figures), limit_sentence(figures, "fr")) == (limit, english, french)


def test_every_limit_has_its_sentence_and_its_case() -> None:
    assert set(SENTENCES) == set(Limit) == {limit for _, limit, _, _ in SAID}


# --- the meter ---------------------------------------------------------------------------------------


def test_it_knows_nothing_before_something_was_measured() -> None:
    meter = Meter(100.0)
    assert (meter.round_trip_ms, meter.submits_per_second, meter.throttled_share) == (None, 0.0, 0.0)
    assert meter.share(Standing.AWAY) == 0.0


def run(meter: Meter, begin: float, seconds: int, *, in_flight: int, per_second: int, throttled: int = 0) -> None:
    """A steady flow, noted ten times a second."""
    for tenth in range(1, seconds * 10 + 1):
        now = begin + tenth / 10
        if meter.note(now, Standing.FULL, in_flight):
            meter.fold(int(per_second * (now + 1e-6)), int(per_second * (now + 1e-6)), int(throttled * (now + 1e-6)))


def test_the_round_trip_is_what_is_in_flight_by_what_is_answered() -> None:
    meter = Meter(0.0)
    run(meter, 0.0, 30, in_flight=10, per_second=125, throttled=5)
    assert meter.round_trip_ms == pytest.approx(80, rel=0.02)
    assert meter.submits_per_second == pytest.approx(125, rel=0.02)
    assert meter.throttled_share == pytest.approx(0.04, rel=0.02)
    assert meter.share(Standing.FULL) > 0.99


def test_what_was_fades() -> None:
    meter = Meter(0.0)
    run(meter, 0.0, 60, in_flight=10, per_second=100)
    meter.note(60.0, Standing.OPEN, 0)
    for second in range(61, 81):
        assert meter.note(float(second), Standing.OPEN, 0)
        meter.fold(6_000, 6_000, 0)
    assert meter.submits_per_second == pytest.approx(100 * 0.5**4, rel=0.1)
    assert meter.share(Standing.OPEN) > 0.9
    assert meter.round_trip_ms == pytest.approx(100, rel=0.02), "the last that is known"
    meter.note(1_000.0, Standing.OPEN, 0)
    meter.fold(6_000, 6_000, 0)
    assert meter.round_trip_ms is None


def test_it_folds_once_a_second() -> None:
    meter = Meter(0.0)
    assert not meter.note(0.5, Standing.OPEN, 1)
    assert meter.note(1.0, Standing.OPEN, 1)
    meter.fold(10, 10, 0)
    assert not meter.note(1.9, Standing.OPEN, 1)
