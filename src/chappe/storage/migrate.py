"""Migrations: numbered files for each engine, applied in order, each with its number in one transaction.

Safe when several processes open the same database at once: each file that is missing is applied under a lock (SQLite's
write lock, an advisory one on PostgreSQL), and the version is read again once the lock is held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from importlib import resources
from typing import Protocol

import apsw

from chappe.core.errors import ChappeError, StoreUnavailable

log = logging.getLogger(__name__)


class NewerSchemaError(ChappeError):
    """The database was written by a newer Chappe; start that release, or restore a backup from before it."""


class UnfinishedCopyError(ChappeError):
    """This database is a copy that was not finished: run the same `chappe copy` again, which goes on where it was."""


UNFINISHED_COPY = "unfinished_copy"
"""The table that marks such a database."""


def migrations(engine: str) -> list[tuple[int, str]]:
    """(number, SQL) of each migration of this engine, in order; their files are NNNN_name.ENGINE.sql."""
    folder = resources.files("chappe.storage") / "migrations"
    found = [
        (int(file.name[:4]), file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(f".{engine}.sql")
    ]
    return sorted(found)


def version_before(applied: int, engine: str) -> int:
    """What the schema was at when so many steps were missing."""
    numbers = [0, *(number for number, _ in migrations(engine))]
    return numbers[-1 - applied]


def refuse_unfinished_copy(connection: apsw.Connection) -> None:
    """Raises UnfinishedCopyError."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = $1", (UNFINISHED_COPY,)).fetchall():
        raise UnfinishedCopyError(UnfinishedCopyError.__doc__)


async def refuse_unfinished_postgres_copy(connection: PostgresConnection) -> None:
    """Raises UnfinishedCopyError."""
    if await connection.fetchval(f"SELECT to_regclass('{UNFINISHED_COPY}') IS NOT NULL"):
        raise UnfinishedCopyError(UnfinishedCopyError.__doc__)


class PostgresConnection(Protocol):
    """What migrations need of an asyncpg connection."""

    async def execute(self, query: str) -> str: ...

    async def fetchval(self, query: str) -> object: ...


def migrate(connection: apsw.Connection, steps: Sequence[tuple[int, str]] | None = None) -> int:
    """Brings the schema up to the last step and returns how many were applied.

    Raises NewerSchemaError when the file is ahead of this release.
    """
    steps = migrations("sqlite") if steps is None else steps
    applied = 0
    for number, sql in _after(_version(connection), steps):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if number > _version(connection):
                connection.execute(sql)
                connection.pragma("user_version", number)
                applied += 1
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    if _version(connection) > steps[-1][0]:
        raise NewerSchemaError(NewerSchemaError.__doc__)
    return applied


async def migrate_postgres(connection: PostgresConnection, steps: Sequence[tuple[int, str]] | None = None) -> int:
    """The same for PostgreSQL, beside nodes at work; a second node that starts meanwhile waits, and finds nothing left
    to do.

    All traffic waits behind a step that waits for a table. So a step waits only for a moment, lets go, and tries again.
    Raises StoreUnavailable when it never got what it needs.
    """
    steps = migrations("postgres") if steps is None else steps
    applied = 0
    version = await _postgres_version(connection)
    for step in _after(version, steps):
        for tried in range(1, STEP_TRIES + 1):
            try:
                before, version = await _apply(connection, *step)
            except Exception as error:
                if getattr(error, "sqlstate", None) not in MEANWHILE_HELD:
                    raise
                log.info("migration waits for a transaction", extra={"step": step[0], "tried": tried})
                await asyncio.sleep(STEP_PAUSE_SECONDS)
            else:
                applied += version > before
                break
        else:
            raise StoreUnavailable(
                f"migration {step[0]} waits for a transaction that does not end, perhaps a backup: see "
                "pg_stat_activity, and start again"
            )
    if version > steps[-1][0]:
        raise NewerSchemaError(NewerSchemaError.__doc__)
    return applied


async def _apply(connection: PostgresConnection, number: int, sql: str) -> tuple[int, int]:
    """The schema's version before, and after."""
    await connection.execute("BEGIN")
    try:
        # For as long as it takes: whoever has it is applying a step.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('chappe migrations', 0))")
        await connection.execute(f"SET LOCAL lock_timeout = '{STEP_LOCK_MS:d}ms'")
        await connection.execute(_VERSIONS)
        before = await _postgres_version(connection)
        if number > before:
            await connection.execute(sql)
            await connection.execute(f"INSERT INTO schema_version (number) VALUES ({number:d})")  # noqa: S608
        await connection.execute("COMMIT")
    except BaseException:
        await connection.execute("ROLLBACK")
        raise
    return before, max(before, number)


STEP_LOCK_MS = 500
"""Less than it takes the server to look for a deadlock: of a step and a node's transaction it is the step that gives
in."""
STEP_PAUSE_SECONDS = 1.0
STEP_TRIES = 600
MEANWHILE_HELD = {"55P03", "40P01"}
"""SQLSTATE: lock not available, deadlock detected."""

_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    number integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def _after(version: int, steps: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    return [step for step in steps if step[0] > version]


async def _postgres_version(connection: PostgresConnection) -> int:
    if not await connection.fetchval("SELECT to_regclass('schema_version') IS NOT NULL"):
        return 0
    version = await connection.fetchval("SELECT coalesce(max(number), 0) FROM schema_version")
    return int(str(version))


def _version(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))
