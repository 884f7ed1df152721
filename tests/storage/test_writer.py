"""Group commit, on a connection that only remembers what was committed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from chappe.core.errors import StoreUnavailable
from chappe.storage.writer import Handler
from chappe.storage.writer_thread import ThreadWriter


class DiskFullError(Exception):
    pass


class Memory:
    """Transactions over a list; the gate holds the writer in `begin` while jobs gather."""

    def __init__(self) -> None:
        self.stored: list[Any] = []
        self.pending: list[Any] = []
        self.commits = 0
        self.full = False
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def begin(self) -> None:
        self.gate.wait(10)

    def commit(self) -> None:
        if self.full:
            raise DiskFullError
        self.stored += self.pending
        self.pending = []
        self.commits += 1

    def roll_back(self) -> None:
        self.pending = []

    def is_outage(self, error: BaseException) -> bool:
        return isinstance(error, DiskFullError)

    def close(self) -> None:
        self.closed = True

    def add(self, payloads: list[Any]) -> Sequence[Any]:
        if "wrong" in payloads:
            raise ValueError("wrong")
        self.pending += payloads
        return [payload * 2 for payload in payloads]

    def connect(self) -> tuple[Memory, Mapping[str, Handler]]:
        return self, {"add": self.add, "hurry": self.add}


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
async def writer(memory: Memory) -> AsyncIterator[ThreadWriter]:
    writer = ThreadWriter(memory.connect, first={"hurry"})
    await writer.connected()
    yield writer
    memory.gate.set()
    await writer.close()


async def test_jobs_that_wait_together_share_a_commit(memory: Memory, writer: ThreadWriter) -> None:
    memory.gate.clear()
    first = writer.run("add", 1)
    rest = [writer.run("add", number) for number in range(2, 100)]
    memory.gate.set()
    assert await first == 2
    assert await asyncio.gather(*rest) == [number * 2 for number in range(2, 100)]
    assert memory.stored == list(range(1, 100))
    assert memory.commits <= 3


async def test_what_is_in_a_hurry_is_committed_before_what_came_with_it(memory: Memory, writer: ThreadWriter) -> None:
    memory.gate.clear()
    opening = writer.run("add", 0)
    rest = [writer.run("add", number) for number in (1, 2)]
    hurried = [writer.run("hurry", number) for number in (3, 4)]
    memory.gate.set()
    await asyncio.gather(opening, *rest, *hurried)
    hurry = memory.stored.index(3)
    assert memory.stored[hurry : hurry + 2] == [3, 4]
    assert hurry < memory.stored.index(2)
    assert memory.commits >= 2


async def test_wrong_job_fails_alone(memory: Memory, writer: ThreadWriter) -> None:
    memory.gate.clear()
    jobs = [writer.run("add", payload) for payload in ("a", "b", "wrong", "c")]
    memory.gate.set()
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [result for result in results if isinstance(result, str)] == ["aa", "bb", "cc"]
    assert isinstance(results[2], ValueError)
    assert memory.stored == ["a", "b", "c"]


async def test_full_disk_stores_nothing_and_service_returns_by_itself(memory: Memory, writer: ThreadWriter) -> None:
    memory.full = True
    with pytest.raises(StoreUnavailable):
        await writer.run("add", 1)
    assert memory.stored == []
    memory.full = False
    assert await writer.run("add", 2) == 4
    assert memory.stored == [2]


async def test_cancelled_caller_harms_nobody(memory: Memory, writer: ThreadWriter) -> None:
    memory.gate.clear()
    gone, kept = writer.run("add", 1), writer.run("add", 2)
    gone.cancel()
    memory.gate.set()
    assert await kept == 4
    assert memory.stored == [1, 2]


async def test_closing_finishes_what_is_queued(memory: Memory, writer: ThreadWriter) -> None:
    jobs = [writer.run("add", number) for number in range(10)]
    await writer.close()
    assert memory.closed
    assert await asyncio.gather(*jobs) == [number * 2 for number in range(10)]
    with pytest.raises(StoreUnavailable):
        await writer.run("add", 11)


async def test_connection_that_cannot_open_says_so() -> None:
    def connect() -> tuple[Memory, Mapping[str, Handler]]:
        raise DiskFullError

    with pytest.raises(DiskFullError):
        await ThreadWriter(connect).connected()
