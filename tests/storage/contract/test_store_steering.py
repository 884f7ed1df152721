"""What connectors are told, and what they show."""

from __future__ import annotations

import asyncio

import pytest
from store_scene import HOUR, MINUTE, NOW, OTHER_NUMBER, SECOND, Scene, a_receipt, refused

from chappe.core.deliveries import Lately
from chappe.core.figures import Figures
from chappe.core.message import Treatment, Verdict
from chappe.core.ports import Store
from chappe.core.shifting import SHIFTS_KEPT_MS, Shift
from chappe.core.steering import Shown, Steered, Told
from chappe.storage import steering

FIGURES = Figures(
    window=10,
    in_flight=3,
    round_trip_ms=80.5,
    submits_per_second=12.25,
    throttled_share=0.0,
    rate_limit=None,
    rate_setting=0.0,
    bound=1,
    binds=2,
    held=False,
    full_share=0.5,
    paced_share=0.0,
    open_share=0.5,
    waiting=7,
    lately=Lately(10, 8, {"EXPIRED": 1}, {"0x0b": 2}, (80, 90), (2_000, 9_000), 5, 1),
)


async def test_connector_is_told_and_it_outlives_the_node(scene: Scene) -> None:
    await scene.store.tell_connector("orange", Told.PAUSE, NOW)
    await scene.store.tell_connector("free", Told.DRAIN, NOW)
    await scene.restart()
    told = [Steered("free", Told.DRAIN, NOW), Steered("orange", Told.PAUSE, NOW)]
    assert await scene.store.list_steered() == told


async def test_connector_that_is_told_the_same_again_keeps_its_time(store: Store) -> None:
    await store.tell_connector("orange", Told.PAUSE, NOW)
    await store.tell_connector("orange", Told.PAUSE, NOW + HOUR)
    assert await store.list_steered() == [Steered("orange", Told.PAUSE, NOW)]
    await store.tell_connector("orange", Told.RUN, NOW + HOUR)
    assert await store.list_steered() == [Steered("orange", Told.RUN, NOW + HOUR)]


async def test_figures_are_those_of_the_moment(store: Store) -> None:
    await store.show("anne", {"orange": FIGURES, "free": FIGURES}, NOW)
    await store.show("bea", {"sfr": FIGURES}, NOW)
    assert await store.list_shown() == [
        Shown("free", "anne", NOW, FIGURES),
        Shown("orange", "anne", NOW, FIGURES),
        Shown("sfr", "bea", NOW, FIGURES),
    ]
    await store.show("anne", {"orange": FIGURES}, NOW + SECOND)
    assert await store.list_shown() == [
        Shown("orange", "anne", NOW + SECOND, FIGURES),
        Shown("sfr", "bea", NOW, FIGURES),
    ]


async def test_connector_that_moved_is_shown_by_its_new_node_only(store: Store) -> None:
    await store.show("anne", {"orange": FIGURES}, NOW)
    await store.show("bea", {"orange": FIGURES}, NOW + SECOND)
    await store.show("anne", {}, NOW + SECOND)
    assert await store.list_shown() == [Shown("orange", "bea", NOW + SECOND, FIGURES)]


async def test_waiting_parts_are_the_route_s_that_are_due(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await scene.store.count_waiting("live", NOW) == 0
    await scene.accept(parts=3)
    await scene.accept(test=True)
    await scene.accept(due_at=NOW + HOUR)
    assert await scene.store.count_waiting("live", NOW) == 3
    assert await scene.store.count_waiting("live", NOW + HOUR) == 4
    monkeypatch.setattr(steering, "MOST_COUNTED", 2)
    assert await scene.store.count_waiting("live", NOW + HOUR) == 2


# --- what is measured ----------------------------------------------------------------------------------


async def test_what_came_of_submits_is_measured_where_it_is_settled(scene: Scene) -> None:
    good, bad = await scene.hand_over("A1"), await scene.hand_over("A2", number=OTHER_NUMBER)
    assert good != bad
    refusal = refused(await scene.submit(), Treatment.PERMANENT)
    receipts = [a_receipt("A1"), a_receipt("A2", Verdict.FAILED, number=OTHER_NUMBER)]
    await scene.store.settle([refusal, *receipts, *receipts], NOW + 5 * SECOND)
    measured = await scene.store.measure(NOW + MINUTE)
    assert measured == {
        "operator": Lately(2, 1, {"FAILED": 1}, {"0x0b": 1}, (992, 992), (4_864, 4_864)),
    }


# --- moves of weights ----------------------------------------------------------------------------------


def a_shift(at: int, route: str = "live") -> Shift:
    return Shift(route, at, {"orange": 70, "sfr": 30}, {"orange": 60, "sfr": 40}, "orange is slow")


async def test_moves_are_kept_with_their_reasons_the_newest_first(store: Store) -> None:
    assert await store.list_shifts("live", 5) == []
    assert await store.shift(a_shift(NOW), None)
    assert await store.shift(a_shift(NOW + MINUTE), NOW)
    assert await store.shift(a_shift(NOW, "otp"), None)
    assert await store.list_shifts("live", 5) == [a_shift(NOW + MINUTE), a_shift(NOW)]
    assert await store.list_shifts("live", 1) == [a_shift(NOW + MINUTE)]


async def test_of_two_nodes_that_decide_at_once_one_makes_the_move(store: Store) -> None:
    made = await asyncio.gather(*(store.shift(a_shift(NOW + n), None) for n in range(4)))
    assert sorted(made) == [False, False, False, True]
    assert len(await store.list_shifts("live", 5)) == 1
    assert not await store.shift(a_shift(NOW + MINUTE), NOW + MINUTE)


async def test_old_moves_are_dropped_when_another_is_made(store: Store) -> None:
    await store.shift(a_shift(NOW), None)
    later = NOW + SHIFTS_KEPT_MS + 1
    assert await store.shift(a_shift(later), NOW)
    assert await store.list_shifts("live", 5) == [a_shift(later)]
