"""Rates: one node in memory, two nodes on one store, on a clock that is moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chappe.core.limits import Bucket, Drawn, Limits
from chappe.core.message import Account, AccountId, Key, Settings
from chappe.flow.rates import KEPT_SECONDS, Rates, Standing
from chappe.storage.sqlite import SqliteStore, open_sqlite

SLOW = Bucket(rate=2, size=3)


class Clock:
    """One time for the nodes and the store."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> float:
        return self.ms / 1000

    def now_ms(self) -> int:
        return self.ms


class CountedStore:
    """The store, and how often it was asked."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.draws = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def draw_tokens(self, key: int, bucket: Bucket, wanted: int, now: int) -> Drawn:
        self.draws += 1
        return await self._store.draw_tokens(key, bucket, wanted, now)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountedStore]:
    opened = await open_sqlite(tmp_path / "chappe.db")
    yield CountedStore(opened)
    await opened.close()


def key(number: int = 1, limits: Limits | None = None) -> Key:
    limits = limits or Limits(rate=SLOW.rate, burst=SLOW.size)
    return Key(number, Account(AccountId(7), "acme", False, Settings(), limits), False, "0123", 1, None)


async def test_key_without_a_rate_is_not_counted() -> None:
    assert await Rates(Clock()).spend(key(limits=Limits(daily_parts=1))) is None


async def test_burst_then_the_rate_and_full_again_after_a_pause() -> None:
    clock = Clock()
    rates = Rates(clock)
    assert [await rates.spend(key()) for _ in range(4)] == [
        Standing(SLOW, 2, None),
        Standing(SLOW, 1, None),
        Standing(SLOW, 0, None),
        Standing(SLOW, 0, 500),
    ]
    clock.ms += 499
    assert await rates.spend(key()) == Standing(SLOW, 0, 1)
    clock.ms += 1
    assert await rates.spend(key()) == Standing(SLOW, 0, None)
    clock.ms += 60_000
    assert await rates.spend(key()) == Standing(SLOW, 2, None)


async def test_keys_are_counted_apart_and_a_burst_is_a_seconds_worth_by_default() -> None:
    rates = Rates(Clock())
    for number in (1, 2):
        limits = Limits(rate=2.5)
        standings = [await rates.spend(key(number, limits)) for _ in range(4)]
        assert [standing is not None and standing.retry_ms for standing in standings] == [None, None, None, 400]


@pytest.mark.parametrize("shared", [False, True])
async def test_nodes_together_let_through_what_the_rate_allows(store: CountedStore, shared: bool) -> None:
    """Ten seconds, three times as many requests as the rate allows, on two nodes that do not know of each other."""
    clock = Clock()
    bucket = Bucket(rate=300, size=60)
    limits = Limits(rate=bucket.rate, burst=bucket.size)
    nodes = [Rates(clock, store if shared else None, clock.now_ms) for _ in range(2)]  # type: ignore[arg-type]
    taken = 0
    for turn in range(10_000):
        clock.ms += 1
        if turn % 10 != 9:
            standing = await nodes[turn % 2 if shared else 0].spend(key(limits=limits))
            taken += standing is not None and standing.retry_ms is None
    most = bucket.size + bucket.rate * 10
    assert 0.98 * most <= taken <= most
    if shared:
        assert store.draws < taken / 6


async def test_requests_that_wait_for_the_store_share_what_it_gives(store: CountedStore) -> None:
    clock = Clock()
    rates = Rates(clock, store, clock.now_ms)  # type: ignore[arg-type]  # asked for tokens only
    limits = Limits(rate=10, burst=50)
    standings = await asyncio.gather(*(rates.spend(key(limits=limits)) for _ in range(60)))
    assert sum(standing is not None and standing.retry_ms is None for standing in standings) == 50
    assert store.draws <= 4


async def test_node_that_was_refused_does_not_ask_again_before_there_is_something(store: CountedStore) -> None:
    clock = Clock()
    rates = Rates(clock, store, clock.now_ms)  # type: ignore[arg-type]
    standings = [await rates.spend(key()) for _ in range(50)]
    assert [standing is not None and standing.retry_ms for standing in standings[3:]] == [500] * 47
    assert store.draws == 4
    clock.ms += 500
    standing = await rates.spend(key())
    assert standing is not None
    assert standing.retry_ms is None


async def test_what_a_node_has_drawn_is_not_kept_for_long(store: CountedStore) -> None:
    clock = Clock()
    rates = Rates(clock, store, clock.now_ms)  # type: ignore[arg-type]
    limits = Limits(rate=100, burst=100)
    await rates.spend(key(limits=limits))
    await rates.spend(key(limits=limits))
    assert store.draws == 1
    clock.ms += round(KEPT_SECONDS * 1000)
    await rates.spend(key(limits=limits))
    assert store.draws == 2
