"""What came lately of what connectors submitted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.deliveries import IN_TIME_MS, MINUTE_MS, MOST_CODES, OTHER, WINDOW_MINUTES, Deliveries, Lately

NOW = 30_000_000 * MINUTE_MS


def test_connector_that_did_nothing_is_not_there() -> None:
    assert Deliveries().lately(NOW) == {}


def test_answers_receipts_and_refusals_are_counted_by_connector() -> None:
    deliveries = Deliveries()
    for n in range(4):
        deliveries.answered("orange", NOW, NOW + 10 + n)
    deliveries.ended("orange", NOW, NOW + 3_000, None)
    deliveries.ended("orange", NOW, NOW + 3_000, "UNDELIV:27")
    deliveries.refused("sfr", NOW, 0x0B)
    assert deliveries.lately(NOW + 5_000) == {
        "orange": Lately(4, 1, {"UNDELIV:27": 1}, {}, (11, 13), (2_944, 2_944)),
        "sfr": Lately(refused={"0x0b": 1}),
    }


def test_what_has_no_receipt_in_time_is_late_and_what_was_submitted_just_now_is_not_asked_about() -> None:
    deliveries = Deliveries()
    for _ in range(10):
        deliveries.answered("orange", NOW, NOW)
        deliveries.answered("orange", NOW + IN_TIME_MS, NOW + IN_TIME_MS)
    for took in (1_000, IN_TIME_MS, IN_TIME_MS + 1):
        deliveries.ended("orange", NOW, NOW + took, None)
    before, after = NOW + IN_TIME_MS, NOW + IN_TIME_MS + MINUTE_MS
    assert [(seen.due, seen.late) for at in (before, after) if (seen := deliveries.lately(at)["orange"])] == [
        (0, 0),
        (10, 8),
    ]


def test_what_is_older_than_the_window_is_forgotten() -> None:
    deliveries = Deliveries()
    deliveries.answered("orange", NOW, NOW)
    assert "orange" in deliveries.lately(NOW + (WINDOW_MINUTES - 1) * MINUTE_MS)
    assert deliveries.lately(NOW + WINDOW_MINUTES * MINUTE_MS) == {}


def test_receipt_of_what_was_submitted_before_the_start_counts_nowhere() -> None:
    deliveries = Deliveries()
    deliveries.ended("orange", NOW, NOW + 1, None)
    assert deliveries.lately(NOW) == {}


def test_codes_without_end_are_counted_together() -> None:
    deliveries = Deliveries()
    for status in range(MOST_CODES + 5):
        deliveries.refused("orange", NOW, 0x400 + status)
    assert deliveries.lately(NOW)["orange"].refused[OTHER] == 5


@given(st.lists(st.integers(0, 80_000_000), min_size=1, max_size=200))
def test_quantiles_are_true_to_a_sixteenth(durations: list[int]) -> None:
    deliveries = Deliveries()
    deliveries.answered("orange", NOW, NOW)
    for took in durations:
        deliveries.ended("orange", NOW, NOW + took, None)
    found = deliveries.lately(NOW)["orange"].receipt_ms
    assert found is not None
    ordered = sorted(durations)
    for share, shown in zip((50, 95), found, strict=True):
        true = ordered[-(-len(ordered) * share // 100) - 1]
        assert shown == pytest.approx(true, rel=1 / 15, abs=1)
