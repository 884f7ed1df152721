"""Copying a database: whole, resumable at every batch, verified, and never onto what is in use."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import apsw
import pytest
from postgres_server import PostgresServer
from store_scene import DAY, NOW, OTHER_NUMBER, Scene, a_receipt, doubted, in_parts

from chappe.core.errors import ChappeError, StoreUnavailable
from chappe.core.message import Idempotency, Settings, TrackedLink
from chappe.core.ports import Store
from chappe.storage.copying import Copied, Copy, CopyError, Table
from chappe.storage.copying_sides import open_side
from chappe.storage.migrate import UnfinishedCopyError, migrate, migrations
from chappe.storage.opening import hold, migrate_database, open_store

MakeUrl = Callable[[str], Awaitable[str]]
BATCH = 2


def unheard(_: str, __: int) -> None:
    pass


@pytest.fixture
async def make_url(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[MakeUrl]:
    """The URL of a new, empty database of an engine."""
    made: list[str] = []

    async def make(engine: str) -> str:
        if engine == "sqlite":
            made.append(f"sqlite:///{tmp_path / f'copied-{len(made)}.db'}")
        else:
            made.append(await postgres_server.create_database("template0"))
        return made[-1]

    yield make
    for url in made:
        if url.startswith("postgresql"):
            await postgres_server.drop_database(url)


async def fill(url: str) -> None:
    """Leaves something in every table that the program writes to."""
    store = await open_store(url)

    scene = await Scene.begin(lambda: as_it_is(store))
    await store.create_key(scene.account, bytes(range(32)), "9f2c", test=True, now=NOW)
    await scene.hand_over("A1", text="Ça va ? \U0001f600 \N{SYMBOL FOR NULL}")
    await scene.hand_over(
        "A2", links=(TrackedLink("token123", "https://example.org/"),), idempotency=Idempotency("k", b"\0\xff")
    )
    await store.settle([a_receipt("A1"), a_receipt("unknown", raw=b"\0\x80")], NOW + DAY)
    await store.open_link("token123", human=True, now=NOW)
    doubt = await scene.submit(number=OTHER_NUMBER)
    await store.settle([doubted(doubt)], NOW)
    for number in range(3):
        await scene.submit(number=f"+3361234000{number}")
    await scene.accept(due_at=NOW + DAY)
    await scene.stop()
    await store.receive(in_parts(7, "one", "two")[:1], NOW)
    await store.hold(True, NOW)
    await store.close()
    await fill_the_rest(url)


async def fill_the_rest(url: str) -> None:
    """Three rows of anything in each table that is empty still: so that a new one needs nothing here."""
    schema = apsw.Connection(":memory:")
    migrate(schema)
    async with open_side(url, may_create=False) as side:
        for table in await side.tables():
            if await side.is_empty(table):
                columns = schema.execute("SELECT name, type FROM pragma_table_info($1)", (table.name,))
                types = {str(name): str(type_) for name, type_ in columns}
                await side.write(table, [tuple(a_value(types, table, c, n) for c in table.columns) for n in (1, 2, 3)])


TRUTHS = {name for _, sql in migrations("postgres") for name in re.findall(r"(\w+) boolean", sql)}


def a_value(types: Mapping[str, str], table: Table, column: str, number: int) -> int | str | bytes:
    match types[column]:
        case "INTEGER" if column in TRUTHS:
            return number % 2
        case "INTEGER":
            return number if column in table.key else 1
        case "TEXT":
            return f"text {number}"
        case _:
            return bytes([0, 0x80, number])


async def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    async with open_side(url, may_create=False) as side:
        return {table.name: await side.read(table, None, 1_000) for table in await side.tables()}


async def copy(source: str, target: str, batch: int = BATCH) -> list[Copied]:
    async with open_side(source, may_create=False) as ours, open_side(target, may_create=True) as theirs:
        a_copy = Copy(ours, theirs, batch)
        await a_copy.prepare()
        await a_copy.copy(unheard)
        return await a_copy.verify(unheard)


class Interrupted(Exception):
    pass


async def interrupt(source: str, target: str, writes: int) -> bool:
    """Copies until so many batches are written and ends there; False when the copy was over before."""
    async with open_side(source, may_create=False) as ours, open_side(target, may_create=True) as theirs:
        left = iter(range(writes))
        write = theirs.write

        async def write_some(*arguments: Any) -> None:
            if next(left, None) is None:
                raise Interrupted
            await write(*arguments)

        theirs.write = write_some  # type: ignore[method-assign, assignment]  # a process that is killed stops here
        a_copy = Copy(ours, theirs, BATCH)
        await a_copy.prepare()
        try:
            await a_copy.copy(unheard)
        except Interrupted:
            return True
        return False


directions = pytest.mark.parametrize(
    ("from_engine", "to_engine"),
    [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite"), ("postgres", "postgres")],
)


@directions
async def test_copy_has_every_row(make_url: MakeUrl, from_engine: str, to_engine: str) -> None:
    source, target = await make_url(from_engine), await make_url(to_engine)
    await fill(source)
    copied = await copy(source, target)
    ours = await contents(source)
    assert await contents(target) == ours
    assert {table.table: table.rows for table in copied} == {name: len(rows) for name, rows in ours.items()}
    assert min(len(rows) for rows in ours.values()) > 0


@directions
async def test_life_goes_on_in_the_copy_with_ids_of_its_own(
    make_url: MakeUrl, from_engine: str, to_engine: str
) -> None:
    source, target = await make_url(from_engine), await make_url(to_engine)
    await fill(source)
    await copy(source, target)
    ids = {table: {row[0] for row in await ids_in(source, table)} for table in WITH_IDS}
    store = await open_store(target)
    await store.hold(False, NOW)
    scene = await Scene.begin(lambda: as_it_is(store))
    await scene.another_account()
    await store.create_key(scene.account, bytes(32), "0000", test=False, now=NOW)
    await scene.hand_over("A9", number="+33611111111")
    await scene.stop("+33611111111")
    await store.settle([a_receipt("stray")], NOW)
    await store.close()
    for table in WITH_IDS:
        new = {row[0] for row in await ids_in(target, table)} - ids[table]
        assert len(new) == 1, table
        assert min(new) > max(ids[table]), table


@directions
async def test_copy_interrupted_at_each_batch_goes_on(make_url: MakeUrl, from_engine: str, to_engine: str) -> None:
    source, target = await make_url(from_engine), await make_url(to_engine)
    await fill(source)
    # Between two servers it would take as long as a thousand tests: each side has every batch in the other directions.
    writes = 5 if from_engine == to_engine == "postgres" else 1
    interruptions = 0
    while await interrupt(source, target, writes):
        interruptions += 1
        with pytest.raises(UnfinishedCopyError):
            await open_store(target)
    ours = await contents(source)
    batches = sum((len(rows) + BATCH - 1) // BATCH for rows in ours.values())
    assert interruptions == (batches - 1) // writes
    await copy(source, target)
    assert await contents(target) == ours
    await (await open_store(target)).close()


@directions
async def test_copy_interrupted_at_any_batch_is_ended_by_one_run(
    make_url: MakeUrl, from_engine: str, to_engine: str
) -> None:
    source = await make_url(from_engine)
    await fill(source)
    for writes in (0, 3, 7, 11):
        target = await make_url(to_engine)
        assert await interrupt(source, target, writes)
        await copy(source, target)
        assert await contents(target) == await contents(source)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_source_that_changed_meanwhile_is_noticed(make_url: MakeUrl, engine: str) -> None:
    source, target = await make_url(engine), await make_url("sqlite")
    await fill(source)
    await interrupt(source, target, writes=12)
    store = await open_store(source)
    await store.save_settings((await store.open_account("acme", NOW)).id, Settings(country="BE"))
    await store.close()
    with pytest.raises(CopyError, match="the table account differs: 1 rows"):
        await copy(source, target)
    with pytest.raises(UnfinishedCopyError):
        await open_store(target)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_target_with_other_data_is_refused(make_url: MakeUrl, engine: str) -> None:
    source, target = await make_url("sqlite"), await make_url(engine)
    await fill(source)
    await fill(target)
    before = await contents(target)
    with pytest.raises(CopyError, match="has other data, in the table account"):
        await copy(source, target)
    assert await contents(target) == before
    await (await open_store(target)).close()


async def test_copy_is_not_mixed_with_one_of_another_source(make_url: MakeUrl) -> None:
    source, another, target = [await make_url("sqlite") for _ in range(3)]
    await fill(source)
    await fill(another)
    await interrupt(source, target, writes=3)
    with pytest.raises(CopyError, match=r"is an unfinished copy of .*copied-0\.db, not of .*copied-1\.db"):
        await copy(another, target)
    with pytest.raises(CopyError, match="is itself an unfinished copy"):
        await copy(target, await make_url("sqlite"))


async def test_file_that_a_server_holds_is_refused(make_url: MakeUrl) -> None:
    source, target = await make_url("sqlite"), await make_url("sqlite")
    await fill(source)
    await fill(target)
    for held in (source, target):
        with hold(held), pytest.raises(StoreUnavailable, match="another server is running on"):
            await copy(source, target)


@pytest.mark.parametrize("other", ["sqlite", "postgres"])
async def test_database_that_a_node_uses_is_refused(make_url: MakeUrl, other: str) -> None:
    used, free = await make_url("postgres"), await make_url(other)
    store = await open_store(used)
    await store.open_account("acme", NOW)
    if other == "sqlite":
        await fill(free)
    for source, target in ((used, free), (free, used)):
        with pytest.raises(CopyError, match="is in use by a server or another command"):
            await copy(source, target)
    await store.close()


async def test_absent_source_is_not_made(make_url: MakeUrl, tmp_path: Path) -> None:
    with pytest.raises(ChappeError, match="there is no database"):
        await copy(f"sqlite:///{tmp_path / 'absent.db'}", await make_url("sqlite"))
    assert not (tmp_path / "absent.db").exists()


async def test_partitions_are_made_for_all_ids(make_url: MakeUrl) -> None:
    source, target = await make_url("sqlite"), await make_url("postgres")
    await fill(source)
    connection = apsw.Connection(source.removeprefix("sqlite:///"))
    for table, column in (("message", "id"), ("attempt", "message"), ("fact", "message"), ("queue", "message")):
        connection.execute(f"UPDATE {table} SET {column} = {column} * 7000000")
    connection.execute("UPDATE sequence SET next = 80000000 WHERE name = 'message'")
    connection.close()
    await copy(source, target)
    assert await contents(target) == await contents(source)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_each_step_of_a_migration_is_taken_once_whoever_takes_it(make_url: MakeUrl, engine: str) -> None:
    url = await make_url(engine)
    numbers = [0, *(number for number, _ in migrations(engine))]
    steps = await asyncio.gather(*(migrate_database(url) for _ in range(4)))
    assert {after for _, after in steps} == {numbers[-1]}
    assert sum(numbers.index(after) - numbers.index(before) for before, after in steps) == len(numbers) - 1
    await (await open_store(url)).close()


# --- helpers -----------------------------------------------------------------------------------------

WITH_IDS = ("account", "api_key", "message", "parked", "carrier", "reply")


async def ids_in(url: str, name: str) -> list[tuple[int, ...]]:
    async with open_side(url, may_create=False) as side:
        [table] = [table for table in await side.tables() if table.name == name]
        return [table.key_of(row) for row in await side.read(table, None, 1_000)]


async def as_it_is(store: Store) -> Store:
    return store
