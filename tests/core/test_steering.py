"""A connector in a word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chappe.core.figures import Figures
from chappe.core.steering import SILENT_MS, Condition, Shown, Told, condition_of, fresh

NOW = 1_800_000_000_000
BOUND = Figures(
    window=10,
    in_flight=3,
    round_trip_ms=80.0,
    submits_per_second=12.0,
    throttled_share=0.0,
    rate_limit=None,
    rate_setting=0.0,
    bound=1,
    binds=1,
    held=False,
    full_share=0.5,
    paced_share=0.0,
    open_share=0.5,
)


def shown(figures: Figures, at: int = NOW) -> Shown:
    return Shown("orange", "anne", at, figures)


@pytest.mark.parametrize(
    ("told", "said", "condition"),
    [
        (Told.RUN, shown(BOUND), Condition.BOUND),
        (Told.RUN, shown(replace(BOUND, window=0, bound=0)), Condition.UNBOUND),
        (Told.RUN, shown(BOUND, NOW - SILENT_MS), Condition.SILENT),
        (Told.RUN, None, Condition.SILENT),
        (Told.PAUSE, shown(replace(BOUND, held=True)), Condition.PAUSED),
        (Told.PAUSE, shown(BOUND), Condition.BOUND),  # its node has yet to notice
        (Told.RUN, shown(replace(BOUND, held=True)), Condition.PAUSED),  # likewise
        (Told.PAUSE, None, Condition.SILENT),
        (Told.DRAIN, shown(replace(BOUND, held=True)), Condition.DRAINING),
        (Told.DRAIN, shown(BOUND, NOW - SILENT_MS), Condition.DRAINED),
        (Told.DRAIN, None, Condition.DRAINED),
    ],
)
def test_condition_is_what_it_shows_in_the_light_of_what_it_was_told(
    told: Told, said: Shown | None, condition: Condition
) -> None:
    assert condition_of(told, said, NOW) is condition


def test_figures_are_fresh_for_ten_seconds() -> None:
    assert fresh(shown(BOUND, NOW - SILENT_MS + 1), NOW) == shown(BOUND, NOW - SILENT_MS + 1)
    assert fresh(shown(BOUND, NOW - SILENT_MS), NOW) is None
