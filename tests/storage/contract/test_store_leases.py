"""Leases: who speaks to an operator, and what becomes of what a dead node left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from store_scene import NOW, SECOND, Scene

from chappe.core.message import Holder, Outcome
from chappe.core.ports import Store

LEASE_MS = 6_000
ANNE, BEA = Holder("anne", "1"), Holder("bea", "1")
"""Two nodes."""

Ask = Callable[[Holder], Awaitable[int | None]]


@pytest.fixture
def ask(store: Store) -> Ask:
    """Asks for the connector with a lease so long that the store's own clock does not end it during a test."""
    return lambda holder: store.lease("mine", holder, 600_000, NOW)


async def test_one_node_holds_a_connector_at_a_time(ask: Ask) -> None:
    epoch = await ask(ANNE)
    assert [await ask(BEA), await ask(ANNE), await ask(BEA)] == [None, epoch, None]


async def test_connector_given_back_is_free_at_once_and_gets_a_new_epoch(store: Store, ask: Ask) -> None:
    first = await ask(ANNE)
    assert first is not None
    await store.give_back("mine", BEA)  # not hers
    assert await ask(BEA) is None
    await store.give_back("mine", ANNE)
    assert await ask(BEA) == first + 1
    assert await ask(ANNE) is None


async def test_lease_that_ran_out_is_free_for_another(store: Store) -> None:
    first = await store.lease("mine", ANNE, -1, NOW)
    assert first is not None
    assert await store.lease("mine", BEA, LEASE_MS, NOW) == first + 1


async def test_lease_that_ran_out_is_kept_while_nobody_took_it(store: Store) -> None:
    first = await store.lease("mine", ANNE, -1, NOW)
    assert await store.lease("mine", ANNE, LEASE_MS, NOW) == first


async def test_node_that_starts_again_takes_at_once_what_it_held(ask: Ask) -> None:
    first = await ask(ANNE)
    assert first is not None
    assert await ask(Holder("anne", "2")) == first + 1
    assert await ask(ANNE) == first + 2  # the earlier start would have to take it back, and shows by its epoch


async def test_taking_a_connector_doubts_what_its_holder_left(scene: Scene, store: Store) -> None:
    submission = await scene.submit()
    assert await store.lease("operator", BEA, LEASE_MS, NOW + SECOND) == scene.epochs["operator"] + 1
    journey = await scene.journey(submission.attempt.message)
    assert [attempt.outcome for attempt in journey.attempts] == [Outcome.IN_DOUBT]


async def test_living_nodes_are_counted(store: Store) -> None:
    assert await store.beat(ANNE, LEASE_MS, NOW) == 1
    assert await store.beat(BEA, LEASE_MS, NOW) == 2
    assert await store.beat(BEA, LEASE_MS, NOW) == 2


async def test_what_a_node_left_behind_is_doubted_even_if_nobody_takes_its_connector(
    scene: Scene, store: Store
) -> None:
    epoch = await store.lease("operator", ANNE, -2 * LEASE_MS, NOW)
    assert epoch is not None
    scene.epochs["operator"] = epoch
    submission = await scene.submit()
    await store.beat(BEA, LEASE_MS, NOW)
    journey = await scene.journey(submission.attempt.message)
    assert [attempt.outcome for attempt in journey.attempts] == [Outcome.IN_DOUBT]
    taken_back = await store.lease("operator", ANNE, LEASE_MS, NOW)
    assert taken_back == epoch + 2
