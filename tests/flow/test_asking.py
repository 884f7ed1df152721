"""Asking about receipts that did not come, around a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chappe.core.message import (
    AccountId,
    Answered,
    AttemptReport,
    Family,
    InDoubtPolicy,
    Question,
    ReceiptReport,
    SendMessage,
    Verdict,
)
from chappe.core.routing import Portion
from chappe.flow import asking
from chappe.flow.asking import TURNS, Asker
from chappe.storage.sqlite import SqliteStore, open_sqlite

NOW, HOUR = 1_000_000, 3_600_000


class Line:
    """A connector that notes what it is asked."""

    name = "op"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusals = 0
        """How often it has no room yet."""

    async def ask(self, question: Question) -> bool:
        if self.refusals:
            self.refusals -= 1
            return False
        self.asked.append(question.carrier_id)
        return True


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite(tmp_path / "chappe.db")
    yield store
    await store.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE_SECONDS", 0)


async def hand_over(store: SqliteStore, *carrier_ids: str, at: int = NOW) -> None:
    account = AccountId((await store.open_account("shop", NOW)).id)
    epoch = await store.open_connector("op", at)
    policy = InDoubtPolicy.WAIT_THEN_RETRY
    for carrier_id in carrier_ids:
        send = SendMessage(
            account, "+33612345678", Family.NOTIFICATION, "x", 1, "live", False, policy, at, at, 48 * HOUR
        )
        await store.accept(send)
        [submission] = await store.claim("op", epoch, [Portion("live")], 1, at)
        message, part, attempt = submission.key
        await store.settle([AttemptReport(message, Answered(part, attempt, at, carrier_id))], at)


async def all_steps(store: SqliteStore, line: Line, now: int, *, quiet: bool = True) -> list[str]:
    """What is asked when it is `now`."""
    line.asked = []
    asker = Asker(store, line, HOUR, lambda: quiet, lambda: now)
    while await asker.step():
        pass
    return line.asked


async def test_each_submit_is_asked_about_in_three_turns_and_never_twice_in_one(store: SqliteStore) -> None:
    await hand_over(store, "A1")
    line = Line()
    assert await all_steps(store, line, NOW + HOUR - 1) == []
    for turn in TURNS:
        assert await all_steps(store, line, NOW + turn * HOUR) == ["A1"]
        assert await all_steps(store, line, NOW + turn * HOUR + 1) == []
    assert await all_steps(store, line, NOW + 60 * HOUR) == []


async def test_after_a_long_absence_a_submit_is_asked_about_once(store: SqliteStore) -> None:
    await hand_over(store, "A1")
    await hand_over(store, "A2", at=NOW + 18 * HOUR)
    assert sorted(await all_steps(store, Line(), NOW + 20 * HOUR)) == ["A1", "A2"]
    assert await all_steps(store, Line(), NOW + 20 * HOUR) == []


async def test_a_receipt_that_came_meanwhile_needs_no_question(store: SqliteStore) -> None:
    await hand_over(store, "A1", "A2")
    receipt = ReceiptReport("op", "A1", NOW, Verdict.DELIVERED, "delivered", None, None)
    await store.settle([receipt], NOW)
    assert await all_steps(store, Line(), NOW + HOUR) == ["A2"]


async def test_a_question_waits_for_room(store: SqliteStore) -> None:
    await hand_over(store, "A1")
    line = Line()
    line.refusals = 3
    assert await all_steps(store, line, NOW + HOUR) == ["A1"]


async def test_nothing_is_asked_while_something_waits_to_leave_and_what_is_not_asked_is_not_lost(
    store: SqliteStore,
) -> None:
    await hand_over(store, "A1")
    line, looked = Line(), asyncio.Event()

    def busy() -> bool:
        looked.set()
        return False

    step = asyncio.create_task(Asker(store, line, HOUR, busy, lambda: NOW + HOUR).step())
    async with asyncio.timeout(10):
        await looked.wait()
    step.cancel()
    await asyncio.wait([step])
    assert line.asked == []
    assert await all_steps(store, line, NOW + HOUR) == ["A1"]
