"""A release at work on a schema that the next one has taken a step further: nodes are replaced one after the other."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import apsw
import pytest
from postgres_server import PostgresServer
from store_scene import NOW, SECOND, Scene, a_receipt, answered

from chappe.core.errors import StoreUnavailable
from chappe.core.message import MessageId, State
from chappe.core.ports import Store
from chappe.storage import statements
from chappe.storage.migrate import migrate, migrate_postgres, migrations
from chappe.storage.postgres import open_postgres
from chappe.storage.postgres_connection import Connection, Servers
from chappe.storage.sqlite import open_sqlite

T = TypeVar("T")

NEXT = migrations("postgres")[-1][0] + 1
TABLES = """
SELECT relname
FROM pg_class
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
ORDER BY relname
"""
MIGRATED = """
SELECT count(*)
FROM information_schema.columns
WHERE table_name = 'message' AND column_name = 'of_the_next_release'
"""


async def next_steps(connection: Connection) -> list[tuple[int, str]]:
    """What a careful release does to tables in use: here it adds a column to each, a table in each step."""
    tables = [str(name) for (name,) in await connection.fetch(TABLES)]
    assert {"message", "attempt", "fact", "queue", "event"} <= set(tables)
    return [(NEXT + place, _added(table)) for place, table in enumerate(tables)]


def _added(table: str) -> str:
    return f"ALTER TABLE {table} ADD COLUMN of_the_next_release text"


class Lives:
    """Messages that live on a store of this release; what says "try again" is tried again, and nothing else is said."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.messages: list[MessageId] = []

    async def lead(self, *, until: asyncio.Event) -> None:
        """One after the other, and a few more afterwards."""
        left = 5
        while left:
            left -= until.is_set()
            await self.live()

    async def live(self) -> None:
        """Claims whatever is next, which may be another's: as many are claimed as are accepted."""
        scene = self.scene
        number = f"+336{len(self.messages):08}"
        self.messages.append(await again(lambda: scene.accept(number=number)))
        while not (submissions := await again(lambda: scene.claim(1))):
            pass
        [submission] = submissions
        operator_id = f"A{submission.attempt.message}"
        await again(lambda: scene.store.settle([answered(submission, operator_id)], NOW + SECOND))
        await again(lambda: scene.store.settle([a_receipt(operator_id, number=submission.number)], NOW + SECOND))
        assert await again(lambda: scene.state(submission.attempt.message)) is State.DELIVERED
        assert await again(lambda: scene.store.find_latest(scene.account, submission.number))
        assert await again(lambda: scene.store.list_facts(scene.account, submission.attempt.message))


async def again(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(0.01)


@pytest.fixture
async def url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    url = await postgres_server.create_database()
    yield url
    await postgres_server.drop_database(url)


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    connection = await Servers(url).connect(lock_timeout="0")
    yield connection
    await connection.close(timeout=5)


@pytest.fixture
async def lives(url: str) -> AsyncIterator[Lives]:
    store = await open_postgres(url)

    async def open_again() -> Store:
        return store

    yield Lives(await Scene.begin(open_again))
    await store.close()


async def test_prepared_statements_survive_a_step_that_adds_columns(connection: Connection) -> None:
    prepared = statements.load("postgres")
    calls = {}
    for name, sql in prepared.items():
        parameters = len(set(re.findall(r"\$([0-9]+)", sql)))
        await connection.execute(f"PREPARE {name} AS {sql}")
        calls[name] = f"EXECUTE {name}" + (f"({', '.join(['NULL'] * parameters)})" if parameters else "")
    for call in calls.values():
        await connection.execute(call)
    await migrate_postgres(connection, await next_steps(connection))
    for call in calls.values():
        await connection.execute(call)


async def test_nodes_at_work_notice_nothing_of_a_step_that_adds_columns(lives: Lives, connection: Connection) -> None:
    migrated = asyncio.Event()
    await asyncio.gather(*(lives.live() for _ in range(20)))  # all statements are prepared, on all connections
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(lives.lead(until=migrated))
        steps = await next_steps(connection)
        assert await migrate_postgres(connection, steps) == len(steps)
        migrated.set()
    for message in lives.messages:
        assert await lives.scene.state(message) is State.DELIVERED


async def test_step_that_waits_for_a_long_transaction_lets_the_traffic_pass(
    lives: Lives, connection: Connection, url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("chappe.storage.migrate.STEP_LOCK_MS", 50)
    monkeypatch.setattr("chappe.storage.migrate.STEP_PAUSE_SECONDS", 0.05)
    backup = await Servers(url).connect(idle_in_transaction_session_timeout="0")
    await backup.execute("BEGIN")
    await backup.fetch("SELECT count(*) FROM message")
    migrating = asyncio.create_task(migrate_postgres(connection, [(NEXT, _added("message"))]))
    while caplog.messages.count("migration waits for a transaction") < 3:
        await lives.live()
    assert not migrating.done()
    await backup.execute("COMMIT")
    await backup.close(timeout=5)
    assert await migrating == 1
    await lives.live()


async def test_step_that_never_gets_what_it_needs_gives_up_and_changes_nothing(
    connection: Connection, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("STEP_LOCK_MS", 10), ("STEP_PAUSE_SECONDS", 0.0), ("STEP_TRIES", 3)):
        monkeypatch.setattr(f"chappe.storage.migrate.{name}", value)
    backup = await Servers(url).connect(idle_in_transaction_session_timeout="0")
    await backup.execute("BEGIN")
    await backup.fetch("SELECT count(*) FROM message")
    with pytest.raises(StoreUnavailable, match=f"migration {NEXT} waits for a transaction"):
        await migrate_postgres(connection, [(NEXT, _added("message"))])
    assert await connection.fetchval(MIGRATED) == 0
    await backup.close(timeout=5)


async def test_server_at_work_on_a_file_notices_nothing_of_a_step_that_adds_columns(tmp_path: Path) -> None:
    path = tmp_path / "chappe.db"
    store = await open_sqlite(path)

    async def open_again() -> Store:
        return store

    lives = Lives(await Scene.begin(open_again))
    await lives.live()
    beside = apsw.Connection(str(path))
    beside.set_busy_timeout(5_000)
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    steps = [(NEXT + place, _added(str(name))) for place, (name,) in enumerate(beside.execute(tables).fetchall())]
    assert migrate(beside, steps) == len(steps)
    await lives.live()
    await store.close()
    beside.close()
