"""Leases on a real store: two nodes share connectors, and a silent one loses its own in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chappe.core.errors import StoreUnavailable
from chappe.core.message import Holder
from chappe.flow.lease import LEASE_SECONDS, MARGIN_SECONDS, Leases
from chappe.storage.sqlite import SqliteStore, open_sqlite

CONNECTORS = ["orange", "sfr", "free"]


class Clock:
    """One time for the nodes and the store."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return int(self.seconds * 1000)


class Node:
    """Leases, and what they were told to start and to silence; what drains is silent once `drained` is set."""

    def __init__(self, store: SqliteStore, name: str, clock: Clock) -> None:
        self.running: dict[str, int] = {}
        self.drained = asyncio.Event()
        self.drained.set()
        self.leases = Leases(
            store,
            Holder(name, "1"),
            CONNECTORS,
            own=[f"simulator@{name}"],
            clock=clock,
            now_ms=clock.now_ms,
            on_taken=self.running.__setitem__,
            on_lost=self.silence,
        )

    async def silence(self, connector: str) -> None:
        assert not self.leases.holds(connector)  # nothing may be written from before this call
        await self.drained.wait()
        del self.running[connector]

    @property
    def shared(self) -> set[str]:
        return {name for name in self.running if name in CONNECTORS}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite(tmp_path / "chappe.db")
    yield store
    await store.close()


async def test_node_alone_takes_everything(store: SqliteStore, clock: Clock) -> None:
    anne = Node(store, "anne", clock)
    await anne.leases.beat()
    assert anne.shared == set(CONNECTORS)
    assert all(anne.leases.holds(connector) for connector in [*CONNECTORS, "simulator@anne"])


async def test_nodes_share_and_one_that_comes_gets_its_part(store: SqliteStore, clock: Clock) -> None:
    anne, bea = Node(store, "anne", clock), Node(store, "bea", clock)
    await anne.leases.beat()
    await bea.leases.beat()
    assert bea.shared == set()
    await anne.leases.beat()  # sees that there are two, and gives back what is beyond her part
    await anne.leases.silence()
    await bea.leases.beat()
    assert [len(anne.shared), len(bea.shared)] == [2, 1]
    assert anne.shared | bea.shared == set(CONNECTORS)


async def test_silent_node_stops_by_itself_before_another_may_begin(store: SqliteStore, clock: Clock) -> None:
    anne, bea = Node(store, "anne", clock), Node(store, "bea", clock)
    await anne.leases.beat()
    clock.seconds += LEASE_SECONDS - MARGIN_SECONDS
    assert not any(anne.leases.holds(connector) for connector in CONNECTORS)
    await bea.leases.beat()
    assert bea.shared == set()  # not yet: the margin is for what was under way
    clock.seconds += MARGIN_SECONDS
    await bea.leases.beat()
    assert bea.shared == set(CONNECTORS)


async def test_node_that_wakes_learns_what_it_has_lost(store: SqliteStore, clock: Clock) -> None:
    anne, bea = Node(store, "anne", clock), Node(store, "bea", clock)
    await anne.leases.beat()
    epochs = dict(anne.running)
    clock.seconds += 2 * LEASE_SECONDS
    await bea.leases.beat()
    assert bea.running["orange"] == epochs["orange"] + 1
    await anne.leases.beat()
    await anne.leases.silence()
    assert anne.shared == set()
    assert anne.leases.holds("simulator@anne")


async def test_connector_that_somebody_had_in_between_is_started_anew(store: SqliteStore, clock: Clock) -> None:
    anne, bea = Node(store, "anne", clock), Node(store, "bea", clock)
    await anne.leases.beat()
    epoch = anne.running["orange"]
    clock.seconds += 2 * LEASE_SECONDS
    await bea.leases.beat()
    await bea.leases.close()
    await anne.leases.beat()
    await anne.leases.silence()
    await anne.leases.beat()
    assert anne.running["orange"] == epoch + 2


async def test_outage_of_the_store_lets_leases_run_out_and_return(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    anne = Node(store, "anne", clock)
    await anne.leases.beat()

    async def away(*_: object) -> int:
        raise StoreUnavailable("away")

    with monkeypatch.context() as outage:
        outage.setattr(store, "beat", away)
        outage.setattr(store, "lease", away)
        clock.seconds += LEASE_SECONDS
        await anne.leases.beat()
        assert not anne.leases.holds("orange")
        assert anne.shared == set(CONNECTORS)  # the binds stay up: they may still be ours
    await anne.leases.beat()
    assert anne.leases.holds("orange")


async def test_closing_gives_everything_back(store: SqliteStore, clock: Clock) -> None:
    anne, bea = Node(store, "anne", clock), Node(store, "bea", clock)
    await anne.leases.beat()
    await anne.leases.close()
    await bea.leases.beat()
    await bea.leases.beat()
    assert len(bea.shared) == 2  # of anne, who was here a moment ago, one part is expected still


async def test_connector_that_waits_for_answers_keeps_no_other_from_being_renewed(
    store: SqliteStore, clock: Clock
) -> None:
    anne, bea = Node(store, "anne", clock), Node(store, "bea", clock)
    await anne.leases.beat()
    await bea.leases.beat()
    anne.drained.clear()
    await anne.leases.beat()  # gives one back, which still has answers to wait for
    clock.seconds += LEASE_SECONDS - MARGIN_SECONDS
    await anne.leases.beat()
    assert [connector for connector in CONNECTORS if anne.leases.holds(connector)] == ["orange", "sfr"]
    assert await store.lease("free", Holder("bea", "1"), 6_000, clock.now_ms()) is None  # not before it is silent
    anne.drained.set()
    await anne.leases.silence()
    await bea.leases.beat()
    assert bea.shared == {"free"}


async def test_connector_that_was_lost_and_is_ours_again_begins_only_when_it_is_silent(
    store: SqliteStore, clock: Clock
) -> None:
    anne, bea = Node(store, "anne", clock), Node(store, "bea", clock)
    await anne.leases.beat()
    epoch = anne.running["orange"]
    clock.seconds += 2 * LEASE_SECONDS
    await bea.leases.beat()
    await bea.leases.close()
    anne.drained.clear()
    for _ in range(2):
        await anne.leases.beat()
        assert anne.running["orange"] == epoch
        assert not anne.leases.holds("orange")
    anne.drained.set()
    await anne.leases.silence()
    await anne.leases.beat()
    assert anne.running["orange"] == epoch + 2
    assert anne.leases.holds("orange")


async def test_connector_that_is_slow_to_take_keeps_no_other_from_being_renewed(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    anne = Node(store, "anne", clock)
    await anne.leases.beat()
    await store.give_back("orange", Holder("anne", "1"))
    lease, stuck = store.lease, asyncio.Event()

    async def lease_of_one_waits(connector: str, holder: Holder, lease_ms: int, now: int) -> int | None:
        if connector == "orange" and connector not in anne.running:
            await stuck.wait()
        return await lease(connector, holder, lease_ms, now)

    monkeypatch.setattr(store, "lease", lease_of_one_waits)
    monkeypatch.setattr("chappe.flow.lease.BEAT_SECONDS", 0.0)
    await anne.leases.beat()
    await anne.leases.silence()
    for _ in range(5):
        clock.seconds += LEASE_SECONDS - MARGIN_SECONDS
        await anne.leases.beat()
        assert [connector for connector in CONNECTORS if anne.leases.holds(connector)] == ["sfr", "free"]
    monkeypatch.undo()
    stuck.set()
    await anne.leases.beat()
    assert "orange" in anne.running
    assert not anne.leases.holds("orange")  # it was asked for too long ago
    await anne.leases.beat()
    assert anne.leases.holds("orange")


async def test_connector_that_is_shared_no_more_is_given_back_once_silent(store: SqliteStore, clock: Clock) -> None:
    anne, bea = Node(store, "anne", clock), Node(store, "bea", clock)
    await anne.leases.beat()
    anne.drained.clear()
    anne.leases.assign(["orange", "sfr"])
    await anne.leases.beat()
    assert not anne.leases.holds("free")
    assert await store.lease("free", Holder("bea", "1"), 6_000, clock.now_ms()) is None  # it still drains
    anne.drained.set()
    await anne.leases.silence()
    assert anne.shared == {"orange", "sfr"}
    await bea.leases.beat()
    assert bea.shared == {"free"}


async def test_connector_that_is_new_is_taken_before_the_next_beat_is_due(store: SqliteStore, clock: Clock) -> None:
    anne = Node(store, "anne", clock)
    anne.leases.assign(["orange"])
    running = asyncio.create_task(anne.leases.run())
    async with asyncio.timeout(30):
        while anne.shared != {"orange"}:
            await asyncio.sleep(0)
        anne.leases.assign(["orange", "sfr"])  # the clock stands still
        while anne.shared != {"orange", "sfr"}:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
