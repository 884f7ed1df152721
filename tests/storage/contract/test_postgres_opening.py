"""Opening a PostgreSQL database, what it is made of, and what its statements cost."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import fields
from pathlib import Path
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # it brings no types
import pytest
from postgres_server import PostgresServer
from store_scene import NOW, OTHER_NUMBER, Scene

from chappe.core.errors import ChappeError
from chappe.core.message import Attempt, Message
from chappe.storage import statements
from chappe.storage.migrate import NewerSchemaError, migrate_postgres, migrations
from chappe.storage.opening import open_store
from chappe.storage.postgres import PostgresStore, open_postgres
from chappe.storage.postgres_connection import SETTINGS, Connection, Servers, split_hosts
from chappe.storage.postgres_workers import ReadingWorker
from chappe.storage.sqlite import SqliteStore


@pytest.fixture
async def url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A migrated database."""
    url = await postgres_server.create_database()
    yield url
    await postgres_server.drop_database(url)


@pytest.fixture
async def empty_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A database with nothing in it."""
    url = await postgres_server.create_database("template0")
    yield url
    await postgres_server.drop_database(url)


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    connection = await Servers(url).connect()
    yield connection
    await connection.close(timeout=5)


# --- opening -----------------------------------------------------------------------------------------


async def test_nodes_that_start_at_once_on_an_empty_database_migrate_it_once(empty_url: str) -> None:
    stores = await asyncio.gather(*(open_postgres(empty_url) for _ in range(5)))
    accounts = await asyncio.gather(*(store.open_account("acme", NOW) for store in stores))
    assert len({account.id for account in accounts}) == 1
    for store in stores:
        await store.close()


async def test_fresh_database_has_every_migration(empty_url: str) -> None:
    connection = await Servers(empty_url).connect()
    assert await migrate_postgres(connection) == len(migrations("postgres"))
    assert await migrate_postgres(connection) == 0
    await connection.close(timeout=5)


async def test_a_database_that_has_every_migration_is_opened_without_their_lock(
    url: str, connection: Connection
) -> None:
    await connection.execute("SELECT pg_advisory_lock(hashtextextended('chappe migrations', 0))")
    async with asyncio.timeout(30):
        await (await open_postgres(url)).close()


async def test_migration_that_fails_leaves_nothing_behind(empty_url: str) -> None:
    connection = await Servers(empty_url).connect()
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await migrate_postgres(connection, [(1, "CREATE TABLE a (x integer); CREATE TABEL b (x integer)")])
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close(timeout=5)


async def test_newer_database_is_refused_and_left_alone(url: str, connection: Connection) -> None:
    await connection.execute("INSERT INTO schema_version (number) VALUES (9999)")
    with pytest.raises(NewerSchemaError, match="newer Chappe"):
        await open_postgres(url)


async def test_settings_that_break_promises_are_told_loudly(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chappe.storage.postgres")
    name = url.rpartition("/")[2]
    connection = await Servers(url).connect()
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await connection.close(timeout=5)
    await (await open_postgres(url)).close()
    told = [record.getMessage().partition(":")[0] for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["fsync IS OFF", "synchronous_commit IS OFF", "full_page_writes IS OFF"]  # the tests' own server
    assert any("no synchronous standby" in message for message in caplog.messages)


async def test_url_says_which_engine(url: str, tmp_path: Path) -> None:
    on_file = await open_store(f"sqlite:///{tmp_path / 'chappe.db'}")
    on_server = await open_store(url)
    assert (type(on_file), type(on_server)) == (SqliteStore, PostgresStore)
    await on_file.close()
    await on_server.close()
    with pytest.raises(ChappeError, match="sqlite:///FILE or postgresql://"):
        await open_store("mysql://root@localhost/chappe")


def test_each_host_is_tried_on_its_own_and_asked_for_writes() -> None:
    assert split_hosts("postgresql://me:p%40ss@a:1,b,[::1]:3/chappe?sslmode=require") == [
        "postgresql://me:p%40ss@a:1/chappe?target_session_attrs=read-write&sslmode=require",
        "postgresql://me:p%40ss@b/chappe?target_session_attrs=read-write&sslmode=require",
        "postgresql://me:p%40ss@[::1]:3/chappe?target_session_attrs=read-write&sslmode=require",
    ]
    assert split_hosts("postgresql://a/chappe?target_session_attrs=any") == [
        "postgresql://a/chappe?target_session_attrs=any"
    ]


# --- tables and statements ---------------------------------------------------------------------------


def test_both_engines_have_statements_of_the_same_names() -> None:
    assert statements.load("postgres").keys() == statements.load("sqlite").keys()


async def test_records_have_the_columns_of_their_tables_in_the_same_order(connection: Connection) -> None:
    for table, record in (("message", Message), ("attempt", Attempt)):
        columns = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position", table
        )
        assert [str(column) for (column,) in columns] == [field.name for field in fields(record)]


async def test_no_statement_reads_a_whole_table(connection: Connection) -> None:
    """Whatever the planner believes: on the empty tables that a new server makes its plans on."""
    counts = {"count_nodes", "count_queued", "count_pending", "count_in_doubt", "count_parked"}
    wanted = {"any_parked", "list_keys", "hide_connectors", *counts}  # the last: a row for each connector
    guilty = []
    for name, sql in statements.load("postgres").items():
        parameters = len(set(re.findall(r"\$([0-9]+)", sql)))
        await connection.execute(f"PREPARE {name} AS {sql}")
        values = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
        plan = "\n".join(str(line) for (line,) in await connection.fetch(f"EXPLAIN EXECUTE {name}{values}"))
        if name not in wanted and re.search("Seq Scan|Hash Join|Hashed SubPlan|Merge Join", plan):
            guilty.append(plan)
    assert guilty == []


async def test_partitions_are_made_ahead(url: str, connection: Connection) -> None:
    store = await open_postgres(url)

    async def open_again() -> PostgresStore:
        return store

    scene = await Scene.begin(open_again)
    first = await scene.accept()
    # Before 75 million ids were used up somebody has swept; each sweep looks three partitions ahead.
    for last in (24_999_999, 60_000_000, 99_999_999):
        await connection.execute(f"SELECT setval('message_id', {last})")
        await store.sweep(NOW, 1)
        assert await scene.accept(number=OTHER_NUMBER) == last + 1
    partitions = await connection.fetchval(
        "SELECT count(*) FROM pg_class WHERE relname ~ '^(message|attempt|fact)_[0-9]+$'"
    )
    assert partitions == 3 * 6  # the last accept is in the fifth
    last_message = await scene.store.find_latest(scene.account, OTHER_NUMBER)
    assert last_message is not None
    assert last_message.id == 100_000_000
    assert await scene.read(first)
    await store.close()


async def test_look_ups_descend_the_key_of_partitions_that_were_empty_when_the_plan_was_made(
    connection: Connection,
) -> None:
    sql = statements.load("postgres")
    for name, values in (
        ("find_message", "ARRAY[1::bigint], ARRAY[1::bigint]"),
        ("find_latest_message", "ARRAY['+33600000000'], ARRAY[1::bigint]"),
    ):
        await connection.execute(f"PREPARE {name} AS {sql[name]}")
        plan = "\n".join(str(line) for (line,) in await connection.fetch(f"EXPLAIN EXECUTE {name} ({values})"))
        assert re.findall(r"using (message_\S+)", plan) == [f"message_{n}_pkey" for n in range(3)]


async def test_lost_commit_is_kept_from_taking_place_once_it_was_asked_after(connection: Connection, url: str) -> None:
    own = statements.load("postgres_own")
    name = str(UUID(int=17))
    slow = await Servers(url).connect()
    for batch, asked in ((1, False), (2, True), (3, False)):
        await slow.execute(f"BEGIN; INSERT INTO connector VALUES ('{batch}', 1)")
        if asked:
            assert await connection.fetch(own["was_committed"], name, batch) == [(False,)]
            with pytest.raises(asyncpg.UniqueViolationError):
                await slow.execute(own["commit"].format(connection=name, batch=batch))
            await slow.execute("ROLLBACK")
        else:
            await slow.execute(own["commit"].format(connection=name, batch=batch))
    answers = [await connection.fetch(own["was_committed"], name, batch) for batch in (2, 3, 3, 4, 4)]
    # 2 was fenced; 3 is the last one committed, however often one asks; 4 never came.
    assert answers[1:] == [[(True,)], [(True,)], [(False,)], [(False,)]]
    stored = [str(number) for (number,) in await connection.fetch("SELECT name FROM connector ORDER BY name")]
    assert stored == ["1", "3"]
    await slow.close(timeout=5)


async def test_transaction_that_wrote_nothing_leaves_no_trace(connection: Connection) -> None:
    await connection.execute("BEGIN; SELECT 1")
    await connection.execute(statements.load("postgres_own")["commit"].format(connection=UUID(int=1), batch=1))
    assert await connection.fetchval("SELECT count(*) FROM committed") == 0


# --- look-ups ----------------------------------------------------------------------------------------


async def test_look_ups_of_one_turn_share_a_query(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncExitStack() as stack:
        store = await open_postgres(url)
        stack.push_async_callback(store.close)

        async def open_again() -> PostgresStore:
            return store

        scene = await Scene.begin(open_again)
        rival = await scene.another_account()
        messages = [await scene.accept(number=f"+336123{number:05}") for number in range(50)]
        queries: list[tuple[str, int]] = []
        look_up = ReadingWorker._look_up

        async def counted(worker: ReadingWorker, statement: str, payloads: list[tuple[object, ...]]) -> object:
            queries.append((statement, len(payloads)))
            return await look_up(worker, statement, payloads)

        monkeypatch.setattr(ReadingWorker, "_look_up", counted)
        found = await asyncio.gather(
            *(store.find_message(scene.account, message) for message in messages),
            *(store.find_latest(scene.account, f"+336123{number:05}") for number in range(50)),
            *(store.find_message(rival, message) for message in messages),
            *(store.find_latest(scene.account, f"+336999{number:05}") for number in range(50)),
        )
    assert [message.id if message else None for message in found] == [*messages, *messages, *[None] * 100]
    assert queries == [("find_message", 100), ("find_latest_message", 100)]


def test_settings_of_a_session_are_all_known_to_the_server(postgres_server: PostgresServer) -> None:
    async def ask() -> dict[str, str]:
        connection = await Servers(postgres_server.url("postgres")).connect()
        rows = await connection.fetch("SELECT name, setting FROM pg_settings WHERE source = 'client'")
        await connection.close(timeout=5)
        return {str(name): str(setting) for name, setting in rows}

    assert SETTINGS.keys() - {"application_name"} <= asyncio.run(ask()).keys()
