"""SQLite and PostgreSQL as the two sides of a copy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from chappe.core.errors import ChappeError, StoreUnavailable
from chappe.storage.copying import Row, Side, Table
from chappe.storage.migrate import UNFINISHED_COPY, migrate, migrate_postgres
from chappe.storage.opening import NEEDS_ASYNCPG, hold

if TYPE_CHECKING:
    from chappe.storage.postgres_connection import Connection

IDS_AT_ONCE = 1_000_000
"""Below what a partition holds, so that none is stepped over."""

LEAVING_TRIES, LEAVING_SECONDS = 10, 0.2

_MARK = f"CREATE TABLE {UNFINISHED_COPY} (source text NOT NULL)"


@asynccontextmanager
async def open_side(url: str, *, may_create: bool) -> AsyncIterator[Side]:
    """Opens a database and brings its schema up to date; keeps servers from an SQLite file as long as it is open.

    Raises StoreUnavailable, NewerSchemaError, ChappeError.
    """
    if url.startswith("sqlite:///"):
        with _sqlite_side(url, may_create=may_create) as side:
            yield side
        return
    try:
        from chappe.storage import postgres_connection
    except ImportError as error:
        raise ChappeError(NEEDS_ASYNCPG) from error
    servers = postgres_connection.Servers(url)
    # Batches that a crash of the server takes back are copied again; the last commit, of `unmark`, waits for the disk.
    connection = await servers.connect(application_name="chappe copy", synchronous_commit="off", lock_timeout="0")
    try:
        await migrate_postgres(connection)
        yield PostgresSide(connection, str(servers))
    except postgres_connection.OUTAGES as error:
        if postgres_connection.is_outage(error):
            raise StoreUnavailable(f"{servers}: {error}; run the same command again to go on") from error
        raise
    finally:
        await postgres_connection.close(connection)


@contextmanager
def _sqlite_side(url: str, *, may_create: bool) -> Iterator[SqliteSide]:
    path = Path(url.removeprefix("sqlite:///")).absolute()
    if not may_create and not path.exists():
        raise ChappeError(f"there is no database {path}")
    with hold(url):
        try:
            connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            connection.set_busy_timeout(5_000)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
            connection.pragma("cache_size", -262_144)
            migrate(connection)
        except apsw.Error as error:
            raise StoreUnavailable(f"cannot open {path}: {error}") from error
        try:
            yield SqliteSide(connection, f"sqlite:///{path}")
        finally:
            connection.close()


class SqliteSide:
    """A file, which no server has open."""

    def __init__(self, connection: apsw.Connection, name: str) -> None:
        self._connection = connection
        self.name = name

    async def tables(self) -> list[Table]:
        named = self._fetch(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
            "AND name NOT IN ('sequence', $1)",
            UNFINISHED_COPY,
        )
        found = []
        for (name,) in named:
            columns = self._fetch("SELECT name, pk FROM pragma_table_info($1) ORDER BY name", name)
            key = [column for place, column in sorted((place, column) for column, place in columns) if place]
            found.append(Table(name, tuple(column for column, _ in columns), tuple(key)))
        return found

    async def others(self) -> str | None:
        return None  # whoever holds the file has kept us from opening it

    async def count(self, table: Table) -> int:
        [(count,)] = await asyncio.to_thread(self._fetch, f"SELECT count(*) FROM {table.name}")  # noqa: S608
        return int(count)

    async def is_empty(self, table: Table) -> bool:
        return not self._fetch(f"SELECT 1 FROM {table.name} LIMIT 1")  # noqa: S608

    async def last_key(self, table: Table) -> Row | None:
        return next(iter(self._fetch(_last_key(table))), None)

    async def read(self, table: Table, after: Row | None, limit: int) -> list[Row]:
        return await asyncio.to_thread(self._fetch, _page(table, after, limit), *(after or ()))

    async def write(self, table: Table, rows: list[Row]) -> None:
        places = ", ".join("?" * len(table.columns))
        statement = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({places})"  # noqa: S608

        def insert() -> None:
            with self._connection:
                self._connection.executemany(statement, rows)

        await asyncio.to_thread(insert)

    async def next_ids(self) -> Mapping[str, int]:
        following: dict[str, int] = dict(self._fetch("SELECT name, next FROM sequence"))
        return following | {f"{table}.id": last + 1 for table, last in self._own_ids().items()}

    async def set_next_ids(self, next_ids: Mapping[str, int]) -> None:
        shared = [(name, following) for name, following in next_ids.items() if "." not in name]
        own = [(next_ids.get(f"{table}.id", last + 1) - 1, table) for table, last in self._own_ids().items()]
        with self._connection:
            self._connection.executemany(
                "INSERT INTO sequence VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET next = excluded.next", shared
            )
            self._connection.executemany("DELETE FROM sqlite_sequence WHERE name = $1", [(table,) for _, table in own])
            self._connection.executemany("INSERT INTO sqlite_sequence (seq, name) VALUES ($1, $2)", own)

    def _own_ids(self) -> dict[str, int]:
        """Table → the last id it gave, of those that never give one twice. The others go on after their last row."""
        tables = self._fetch("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'")
        given: dict[str, int] = dict(self._fetch("SELECT name, seq FROM sqlite_sequence")) if tables else {}
        return {table: given.get(table, 0) for (table,) in tables}

    async def copied_from(self) -> str | None:
        marked = self._fetch("SELECT 1 FROM sqlite_schema WHERE name = $1", UNFINISHED_COPY)
        return str(self._fetch(f"SELECT source FROM {UNFINISHED_COPY}")[0][0]) if marked else None  # noqa: S608

    async def mark(self, source: str) -> None:
        with self._connection:
            self._connection.execute(_MARK)
            self._connection.execute(f"INSERT INTO {UNFINISHED_COPY} VALUES ($1)", (source,))  # noqa: S608

    async def unmark(self) -> None:
        self._connection.execute(f"DROP TABLE {UNFINISHED_COPY}")
        self._connection.pragma("wal_checkpoint(TRUNCATE)")

    def _fetch(self, statement: str, *values: Any) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()


class PostgresSide:
    """A database, through one connection. PostgreSQL keeps nobody else out: `others` says who is there."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = name
        self._turn = asyncio.Lock()
        self._truths: dict[str, set[str]] = {}

    async def tables(self) -> list[Table]:
        rows = await self._fetch(_COLUMNS, ["schema_version", "committed", UNFINISHED_COPY])
        columns: dict[str, list[str]] = {}
        keys: dict[str, list[tuple[int, str]]] = {}
        for table, column, kind, place in rows:
            columns.setdefault(table, []).append(column)
            keys.setdefault(table, []).extend([(place, column)] if place else [])
            self._truths.setdefault(table, set()).update({column} if kind == "boolean" else ())
        return [
            Table(name, tuple(sorted(found)), tuple(column for _, column in sorted(keys[name])))
            for name, found in columns.items()
        ]

    async def others(self) -> str | None:
        for _ in range(LEAVING_TRIES):  # the server may not have noticed yet that a copy was interrupted
            [(count,)] = await self._fetch(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND application_name LIKE 'chappe%'"
            )
            if not count:
                return None
            await asyncio.sleep(LEAVING_SECONDS)
        return f"a server or another command ({count} connections)"

    async def count(self, table: Table) -> int:
        [(count,)] = await self._fetch(f"SELECT count(*) FROM {table.name}")  # noqa: S608
        return int(count)

    async def is_empty(self, table: Table) -> bool:
        return not await self._fetch(f"SELECT 1 FROM {table.name} LIMIT 1")  # noqa: S608

    async def last_key(self, table: Table) -> Row | None:
        return next(iter(await self._fetch(_last_key(table, self._truths[table.name]))), None)

    async def read(self, table: Table, after: Row | None, limit: int) -> list[Row]:
        return await self._fetch(_page(table, after, limit, self._truths[table.name]), *(after or ()))

    async def write(self, table: Table, rows: list[Row]) -> None:
        truths = [table.columns.index(column) for column in self._truths[table.name]]
        if truths:
            records = [list(row) for row in rows]
            for record in records:
                for index in truths:
                    record[index] = bool(record[index])
        async with self._turn:
            await self._connection.copy_records_to_table(
                table.name, records=records if truths else rows, columns=table.columns
            )

    async def next_ids(self) -> Mapping[str, int]:
        shared = {str(name).removesuffix("_id"): str(name) for (name,) in await self._fetch(_SEQUENCES)}
        own = {f"{table}.{column}": sequence for table, column, sequence in await self._fetch(_OWN_IDS)}
        found = {}
        for name, sequence in (shared | own).items():
            [(following,)] = await self._fetch(f"SELECT last_value + is_called::integer FROM {sequence}")  # noqa: S608
            found[name] = int(following)
        return found

    async def set_next_ids(self, next_ids: Mapping[str, int]) -> None:
        for name, following in next_ids.items():
            # make_partitions looks at where the sequence stands, and three partitions ahead.
            steps = [*range(1, following, IDS_AT_ONCE), following] if name == "message" else [following]
            for step in steps if "." not in name else ():
                await self._fetch("SELECT setval($1::text::regclass, $2, false)", f"{name}_id", step)
                if name == "message":
                    await self._fetch("SELECT make_partitions()")
        for table, column, sequence in await self._fetch(_OWN_IDS):
            [(last,)] = await self._fetch(f"SELECT coalesce(max({column}), 0) FROM {table}")  # noqa: S608
            following = max(next_ids.get(f"{table}.{column}", 1), last + 1)
            await self._fetch("SELECT setval($1::text::regclass, $2, false)", sequence, following)

    async def copied_from(self) -> str | None:
        [(marked,)] = await self._fetch("SELECT to_regclass($1::text) IS NOT NULL", UNFINISHED_COPY)
        return str((await self._fetch(f"SELECT source FROM {UNFINISHED_COPY}"))[0][0]) if marked else None  # noqa: S608

    async def mark(self, source: str) -> None:
        async with self._turn:
            await self._connection.execute(f"BEGIN; {_MARK}")
            await self._connection.fetch(f"INSERT INTO {UNFINISHED_COPY} VALUES ($1)", source)  # noqa: S608
            await self._connection.execute("COMMIT")

    async def unmark(self) -> None:
        async with self._turn:
            await self._connection.execute("SET synchronous_commit = on")
            await self._connection.execute(f"DROP TABLE {UNFINISHED_COPY}")
            await self._connection.execute("ANALYZE")

    async def _fetch(self, statement: str, *values: Any) -> list[Row]:
        async with self._turn:
            return [tuple(row) for row in await self._connection.fetch(statement, *values)]


def _page(table: Table, after: Row | None, limit: int, truths: Collection[str] = ()) -> str:
    """The next rows after this key; `truths` are columns that are shown as 1 and 0."""
    where = ""
    if after is not None:
        given = (
            f"${number}::integer::boolean" if column in truths else f"${number}"
            for number, column in enumerate(table.key, 1)
        )
        where = f" WHERE ({', '.join(table.key)}) > ({', '.join(given)})"
    return f"SELECT {_shown(table.columns, truths)} FROM {table.name}{where} ORDER BY {_order(table)} LIMIT {limit:d}"  # noqa: S608


def _last_key(table: Table, truths: Collection[str] = ()) -> str:
    return f"SELECT {_shown(table.key, truths)} FROM {table.name} ORDER BY {_order(table, ' DESC')} LIMIT 1"  # noqa: S608


def _shown(columns: Sequence[str], truths: Collection[str]) -> str:
    return ", ".join(f"{column}::integer" if column in truths else column for column in columns)


def _order(table: Table, direction: str = "") -> str:
    """By the table's columns, which the index is on, and not by those shown."""
    return ", ".join(f"{table.name}.{column}{direction}" for column in table.key)


# Generated columns are not written, and stamps of the engine's own transactions mean nothing in another database.
_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), coalesce(array_position(i.indkey::int2[], a.attnum) + 1, 0)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND NOT c.relname = ANY ($1::text[])
    AND coalesce(pg_get_expr(d.adbin, d.adrelid), '') NOT LIKE '%pg_current_xact_id%'
ORDER BY c.relname, a.attname
"""
_SEQUENCES = """
SELECT c.relname
FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'S'
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i')
"""
_OWN_IDS = """
SELECT c.relname, a.attname, pg_get_serial_sequence(c.relname, a.attname)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attidentity <> ''
WHERE c.relnamespace = current_schema()::regnamespace AND NOT c.relispartition
"""
