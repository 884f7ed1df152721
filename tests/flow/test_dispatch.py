"""Dispatch, settle and sweep around a real store, with a line whose window the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from chappe.core.errors import StoreUnavailable
from chappe.core.message import (
    AccountId,
    Answered,
    AttemptReport,
    Event,
    Family,
    InDoubtPolicy,
    ReceiptReport,
    SendMessage,
    State,
    Submission,
    Verdict,
)
from chappe.core.ports import Sending
from chappe.core.routing import Portion
from chappe.flow import dispatch, settle, sweep
from chappe.flow.dispatch import Dispatcher, seconds_until
from chappe.flow.settle import Settlement
from chappe.storage.sqlite import SqliteStore, open_sqlite

NOW = 1_000_000


class Line:
    """A connector that keeps what it is given."""

    name = "op"

    def __init__(self, epoch: int, window: int) -> None:
        self.epoch = epoch
        self.window = window
        self.writes = 1_000
        """How many parts can be written before the line breaks."""
        self.written: list[Submission] = []

    def free(self) -> int:
        return self.window - len(self.written)

    def submit(self, submissions: Sequence[Submission]) -> Sequence[Submission]:
        fits = submissions[: self.writes]
        self.written += fits
        return submissions[len(fits) :]


class Outage:
    """A store that is away as often as it is told to be."""

    def __init__(self, store: Sending, times: int) -> None:
        self.left = times
        self._store = store

    def __getattr__(self, name: str) -> object:
        if self.left and name in ("claim", "settle", "sweep", "next_due"):
            self.left -= 1
            raise StoreUnavailable("away")
        return getattr(self._store, name)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite(tmp_path / "chappe.db")
    await store.open_account("shop", NOW)
    yield store
    await store.close()


async def accept(store: SqliteStore, count: int = 1, *, due_at: int = NOW, validity_ms: int = 60_000) -> None:
    for index in range(count):
        send = SendMessage(
            AccountId(1),
            f"+336123456{index:02}",
            Family.NOTIFICATION,
            "Bonjour",
            parts=1,
            route="live",
            test=False,
            policy=InDoubtPolicy.WAIT_THEN_RETRY,
            accepted_at=NOW,
            due_at=due_at,
            validity_ms=validity_ms,
        )
        await store.accept(send)


async def a_line(store: SqliteStore, window: int = 10) -> Line:
    return Line(await store.open_connector("op", NOW), window)


async def test_claims_only_what_the_window_has_room_for(store: SqliteStore) -> None:
    await accept(store, 5)
    line = await a_line(store, window=3)
    dispatcher = Dispatcher(store, line, lambda: [Portion("live")], lambda: NOW)
    assert [await dispatcher.step(), await dispatcher.step()] == [3, 0]
    assert (await store.count_pending())["queued"] == 2


async def test_what_could_not_be_written_is_queued_again_and_in_no_doubt(store: SqliteStore) -> None:
    await accept(store, 5)
    line = await a_line(store)
    line.writes = 2
    await Dispatcher(store, line, lambda: [Portion("live")], lambda: NOW).step()
    pending = await store.count_pending()
    assert (pending["queued"], pending["pending"], pending["in_doubt"]) == (3, 2, 0)


async def test_runs_through_outages_of_the_store_and_stops_when_told(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LONGEST_WAIT_SECONDS", 0.01)
    await accept(store, 5)
    line = await a_line(store, window=100)
    away = Outage(store, times=3)
    dispatcher = Dispatcher(away, line, lambda: [Portion("live")], lambda: NOW)  # type: ignore[arg-type]  # the store, with outages
    running = asyncio.create_task(dispatcher.run())
    async with asyncio.timeout(10):
        while len(line.written) < 5:
            await asyncio.sleep(0)
        away.left = 2
        while away.left:
            dispatcher.wake()
            await asyncio.sleep(0.001)
        dispatcher.stop()
        await running


async def test_scheduled_part_is_claimed_when_it_is_due(store: SqliteStore) -> None:
    await accept(store, due_at=NOW + 20)
    line = await a_line(store)
    clock = iter(range(NOW, NOW + 1_000, 10))
    dispatcher = Dispatcher(store, line, lambda: [Portion("live")], lambda: next(clock))
    running = asyncio.create_task(dispatcher.run())
    async with asyncio.timeout(10):
        while not line.written:
            await asyncio.sleep(0.001)
    assert line.written[0].attempt.claimed_at >= NOW + 20
    dispatcher.stop()
    await running


async def test_answers_are_kept_until_stored_and_receipts_are_refused_meanwhile(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "RETRY_SECONDS", 0.01)
    await accept(store)
    line = await a_line(store)
    await Dispatcher(store, line, lambda: [Portion("live")], lambda: NOW).step()
    told: list[Event] = []
    away = Outage(store, times=3)
    settlement = Settlement(away, lambda: NOW, told.extend)  # type: ignore[arg-type]  # the store, with outages
    receipt = ReceiptReport("op", "id-1", NOW + 2, Verdict.DELIVERED, "delivered", None, "+33612345600")
    assert await settlement.receipts([receipt]) is False
    key = line.written[0].key
    await settlement.answers([AttemptReport(key[0], Answered(key[1], key[2], NOW + 1, "id-1"))])
    assert away.left == 0
    assert await settlement.receipts([receipt]) is True
    assert [event.state for event in told] == [State.SENT, State.DELIVERED]


async def test_sweep_ends_what_time_has_ended_in_batches(store: SqliteStore) -> None:
    await accept(store, 3, validity_ms=10)
    told: list[Event] = []
    woken: list[bool] = []
    looked_at = await sweep.sweep_once(store, NOW + 10, told.extend, lambda: woken.append(True))
    assert looked_at == 3
    assert [event.state for event in told] == [State.ERROR] * 3
    assert woken == [True]


async def test_dispatcher_that_may_take_nothing_claims_nothing_and_waits_to_be_woken(store: SqliteStore) -> None:
    await accept(store, 2)
    line = await a_line(store)
    mine: list[Portion] = []
    dispatcher = Dispatcher(store, line, lambda: mine, lambda: NOW)
    assert await dispatcher.step() == 0
    mine.append(Portion("live"))
    assert await dispatcher.step() == 2


@pytest.mark.parametrize(
    ("due_in_ms", "patience_ms", "seconds"),
    [(300, 0, 0.3), (300, 2_000, 0.3), (-500, 2_000, 1.5), (-500, 0, -0.5), (0, 2_000, 2.0)],
)
def test_there_may_be_something_to_take_once_a_part_is_due_or_anybodys(
    due_in_ms: int, patience_ms: int, seconds: float
) -> None:
    assert seconds_until(NOW + due_in_ms, Portion("live", patience_ms=patience_ms), NOW) == seconds


async def test_a_dispatcher_is_idle_only_while_there_is_room_and_nothing_to_claim(store: SqliteStore) -> None:
    line = Line(await store.open_connector("op", NOW), window=1)
    dispatcher = Dispatcher(store, line, lambda: [Portion("live")], lambda: NOW)
    assert not dispatcher.is_idle()
    await dispatcher.step()
    assert dispatcher.is_idle()
    await accept(store, 2)
    dispatcher.wake()
    assert not dispatcher.is_idle()
    for _ in range(2):  # the second finds the window full
        await dispatcher.step()
        assert not dispatcher.is_idle()
