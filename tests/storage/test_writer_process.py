"""A writer in a process of its own: what crosses, and what becomes of jobs when either end is killed."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import apsw
import pytest

from chappe.core.errors import Invalid, StoreUnavailable, TooMuch
from chappe.core.lifecycle import DOUBT_LASTS_MS
from chappe.core.message import AccountId, Event, Family, MessageId, State
from chappe.core.routing import Portion
from chappe.storage import opening
from chappe.storage.migrate import NewerSchemaError
from chappe.storage.opening import hold
from chappe.storage.sqlite import connect_writer, open_sqlite
from chappe.storage.writer_frames import Failure, Told, frame_of, frames_in
from chappe.storage.writer_process import Apart, ProcessWriter

NOW = 1_790_000_000_000


class World:
    """Servers on one file, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self._stack = AsyncExitStack()

    async def open(self) -> ProcessWriter:
        lock = self._stack.enter_context(hold(f"sqlite:///{self.path}"))
        assert lock is not None
        writer = await ProcessWriter.start(str(self.path), DOUBT_LASTS_MS, Apart(lock, self._lose))
        self._stack.push_async_callback(writer.close)
        await writer.connected()
        return writer

    async def close(self) -> None:
        await self._stack.aclose()

    def _lose(self) -> None:
        self.lost += 1

    def accounts(self) -> list[str]:
        """As another process finds them on disk."""
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return [name for (name,) in connection.execute("SELECT name FROM account ORDER BY id")]
        finally:
            connection.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "chappe.db")
    yield world
    await world.close()


async def test_result_comes_once_it_is_on_disk(world: World) -> None:
    writer = await world.open()
    names = [f"account {number}" for number in range(50)]
    accounts = await asyncio.gather(*(writer.run("open_account", (name, NOW)) for name in names))
    assert [account.name for account in accounts] == names
    assert sorted(world.accounts()) == sorted(names)


async def test_wrong_job_fails_alone_with_its_own_error(world: World) -> None:
    writer = await world.open()
    jobs: list[Any] = [
        writer.run("open_account", ("one", NOW)),
        writer.run("open_account", (object, NOW)),  # no column takes a class
        writer.run("open_account", ("two", NOW)),
    ]
    one, wrong, two = await asyncio.gather(*jobs, return_exceptions=True)
    assert [getattr(account, "name", None) for account in (one, two)] == ["one", "two"]
    assert isinstance(wrong, TypeError)


async def test_payload_that_cannot_cross_fails_and_the_next_one_does_not(world: World) -> None:
    writer = await world.open()
    with pytest.raises((AttributeError, TypeError)):
        await writer.run("open_account", (lambda: None, NOW))
    assert (await writer.run("open_account", ("one", NOW))).name == "one"


async def test_closing_finishes_what_is_queued(world: World) -> None:
    writer = await world.open()
    jobs = [writer.run("open_account", (f"{number:02}", NOW)) for number in range(20)]
    await writer.close()
    assert len(await asyncio.gather(*jobs)) == 20
    assert world.accounts() == [f"{number:02}" for number in range(20)]
    with pytest.raises(StoreUnavailable):
        await writer.run("open_account", ("late", NOW))
    assert world.lost == 0


async def test_killed_writer_is_told_once_and_waiting_jobs_fail(world: World) -> None:
    writer = await world.open()
    os.kill(writer.pid, signal.SIGSTOP)
    waiting = writer.run("open_account", ("one", NOW))
    await asyncio.sleep(0)
    os.kill(writer.pid, signal.SIGKILL)
    with pytest.raises(StoreUnavailable):
        await waiting
    assert world.lost == 1
    with pytest.raises(StoreUnavailable):
        await writer.run("open_account", ("two", NOW))


async def test_jobs_of_a_killed_server_that_have_not_begun_are_dropped(world: World) -> None:
    writer = await world.open()
    await writer.run("open_account", ("kept", NOW))
    os.kill(writer.pid, signal.SIGSTOP)
    job = writer.run("open_account", ("dropped", NOW))
    await asyncio.sleep(0)  # it is on its way
    transport: asyncio.Transport = writer._transport  # what a kill closes
    transport.close()
    with pytest.raises(StoreUnavailable):
        await job
    os.kill(writer.pid, signal.SIGCONT)
    await writer.close()
    assert world.accounts() == ["kept"]


async def test_next_server_waits_for_the_last_ones_writer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{world.path}"
    with hold(url) as lock:
        assert lock is not None
        writer = await ProcessWriter.start(str(world.path), DOUBT_LASTS_MS, Apart(lock, lambda: None))
        await writer.connected()
    # The server is gone, its writer is not.
    monkeypatch.setattr(opening, "LAST_SERVER_SECONDS", 0.0)
    with pytest.raises(StoreUnavailable, match="another server is running"), hold(url):
        pass
    await writer.close()
    with hold(url):
        pass


async def test_file_that_is_no_database_is_said_so(world: World) -> None:
    world.path.write_bytes(b"GIF89a" * 1000)
    with pytest.raises(StoreUnavailable, match="is not a database"):
        await world.open()


async def test_store_that_cannot_be_opened_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chappe.db"
    path.write_bytes(b"GIF89a" * 1000)
    start, started = ProcessWriter.start, []

    async def start_and_tell(*arguments: Any) -> ProcessWriter:
        started.append(await start(*arguments))
        return started[0]

    monkeypatch.setattr(ProcessWriter, "start", start_and_tell)
    with hold(f"sqlite:///{path}") as lock:
        assert lock is not None
        with pytest.raises(StoreUnavailable, match="is not a database"):
            await open_sqlite(path, apart=Apart(lock, lambda: None))
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)


async def test_newer_schema_is_left_alone(world: World) -> None:
    transactions, _ = connect_writer(str(world.path), DOUBT_LASTS_MS, beside=False)
    transactions.close()
    connection = apsw.Connection(str(world.path))
    connection.pragma("user_version", 9_999)
    connection.close()
    with pytest.raises(NewerSchemaError):
        await world.open()


async def test_what_the_writer_logs_is_said_by_the_server(world: World, caplog: pytest.LogCaptureFixture) -> None:
    writer = await world.open()
    record = logging.LogRecord("chappe.storage.work", logging.WARNING, "work.py", 1, "by %s", ("the writer",), None)
    writer.data_received(frame_of(Told([], [record])))
    assert [line.getMessage() for line in caplog.records] == ["by the writer"]


@pytest.mark.parametrize(
    "error", [ValueError("wrong", 5), Invalid(76, "number"), TooMuch(5_000, "number"), StoreUnavailable("away")]
)
def test_errors_cross_as_they_are(error: Exception) -> None:
    [failure] = frames_in(bytearray(frame_of(Failure.of(error))))
    crossed = failure.error()
    assert type(crossed) is type(error)
    assert (crossed.args, vars(crossed)) == (error.args, vars(error))


def test_error_that_cannot_cross_is_described() -> None:
    failure = Failure.of(ValueError(lambda: None))
    assert isinstance(failure.error(), RuntimeError)
    assert "ValueError" in str(failure.error())


@pytest.mark.parametrize("step", [1, 3, 1_000])
def test_frames_are_found_however_they_are_cut(step: int) -> None:
    contents = [Event(MessageId(1), AccountId(2), State.SENT, NOW), [Family.MARKETING, None, Portion("live", 1)], "end"]
    octets = b"".join(frame_of(content) for content in contents)
    buffer, found = bytearray(), []
    for start in range(0, len(octets), step):
        buffer += octets[start : start + step]
        found += frames_in(buffer)
    assert found == contents
    assert not buffer


async def test_store_with_a_writer_apart_reads_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "chappe.db"
    with hold(f"sqlite:///{path}") as lock:
        assert lock is not None
        store = await open_sqlite(path, apart=Apart(lock, lambda: None))
        account = await store.open_account("one", NOW)
        assert await store.find_account("one") == account
        await store.close()
