"""The store on SQLite: one writer with group commit, point reads on the loop's own thread.

`work` says what happens inside a transaction; this module opens the file, runs the steps, and reads. WAL with
`synchronous=FULL`: what is answered is on disk. A command beside a running server may open the file too: it is a short
second writer that waits for the lock and leaves checkpoints to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import apsw

from chappe.core.errors import StoreUnavailable
from chappe.core.lifecycle import DOUBT_LASTS_MS
from chappe.core.message import InDoubtPolicy
from chappe.storage import calls, statements
from chappe.storage.calls import StoreCalls
from chappe.storage.live import Live
from chappe.storage.migrate import migrate, refuse_unfinished_copy
from chappe.storage.steps import LOCK, Row, Steps
from chappe.storage.webhooks import ClaimsInMemory
from chappe.storage.writer import Handler, Writer
from chappe.storage.writer_process import Apart, ProcessWriter
from chappe.storage.writer_thread import ThreadWriter

log = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_MS = 5_000
"""How long a write waits for another process's lock."""
CHECKPOINT_PAGES = 4_000
"""The writer checkpoints when the WAL has grown by this (16 MB): seldom enough to cost little, often enough to stay
in the disk cache."""

STATEMENTS_KEPT = 512
"""The most that APSW takes. Each execution, not each statement, uses up a place: with 100 places a transaction of a
few messages prepared its statements anew, a fifth of its cost."""

FIRST = frozenset({"claim"})
"""An operator's window stands open until the claim is committed; settling what filled it takes ten times as long."""

OUTAGES = (
    apsw.FullError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.NoMemError,
)
"""What says that the store is away, not that a job is wrong."""


async def open_sqlite(
    path: str | Path,
    *,
    doubt_lasts_ms: Mapping[InDoubtPolicy, int | None] = DOUBT_LASTS_MS,
    beside: bool = False,
    apart: Apart | None = None,
) -> SqliteStore:
    """Opens the file, made and migrated where needed; must be called on the loop that uses the store.

    `beside`: a server may be running on the same file, which then keeps the checkpoints to itself. `apart`: with the
    writer in a process of its own, else on a thread of this one. Raises StoreUnavailable and NewerSchemaError.
    """
    writer: Writer
    if apart is not None:
        writer = await ProcessWriter.start(str(path), doubt_lasts_ms, apart)
    else:
        writer = ThreadWriter(lambda: connect_writer(str(path), doubt_lasts_ms, beside=beside), first=FIRST)
    try:
        await writer.connected()
        with _said_clearly(path):
            reader = _connect(str(path), apsw.SQLITE_OPEN_READONLY)
    except BaseException:
        await writer.close()
        raise
    return SqliteStore(writer, reader, statements.load("sqlite"), doubt_lasts_ms)


class SqliteStore(ClaimsInMemory, StoreCalls):
    """`core.ports.Store` on one file."""

    def __init__(
        self,
        writer: Writer,
        reader: apsw.Connection,
        sql: Mapping[str, str],
        doubt_lasts_ms: Mapping[InDoubtPolicy, int | None],
    ) -> None:
        self.doubt_lasts_ms = doubt_lasts_ms
        self._writer = writer
        self._reader = reader
        self._sql = sql
        self._together = False

    async def close(self) -> None:
        self._together = False
        self._reader.close()  # first: the last connection moves the WAL into the file, and this one may not write
        await self._writer.close()

    async def listen(self, callback: Callable[[str], None]) -> None:
        """There is no other node."""

    async def _change(self, kind: str, payload: Any) -> Any:
        return await self._writer.run(kind, payload)

    def read_together(self) -> None:
        """In one transaction: each of its own takes and gives back a lock of the file, which costs as much as the read.

        It ends before anything that is read later: callbacks run in order, and those that tell of a later commit are
        behind its end.
        """
        if not self._together:
            self._together = True
            self._reader.execute("BEGIN")
            asyncio.get_running_loop().call_soon(self._read_apart)

    def _read_apart(self) -> None:
        if self._together and not self._reader.get_autocommit():  # an error may have ended it
            self._reader.execute("COMMIT")
        self._together = False

    async def _look_up(self, statement: str, values: Row) -> list[Row]:
        """Runs on the loop's thread: a point read costs less than handing it over to another would."""
        return self._read(self._sql[statement], values)

    async def _look_up_all(self, statement: str, wanted: Sequence[Row]) -> list[Row]:
        executions = statements.executions(self._sql[statement], wanted)
        return list(chain.from_iterable(self._read(sql, values) for sql, values in executions))

    def _read(self, sql: str, values: Row) -> list[Row]:
        try:
            return self._reader.execute(sql, values).fetchall()
        except OUTAGES as error:
            raise StoreUnavailable("the store cannot be read now: try again") from error


# --- the writer's side -------------------------------------------------------------------------------


class _Connection:
    """The writer's connection: transactions, and the steps of `work` run one after the other."""

    def __init__(self, connection: apsw.Connection, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._sql = sql
        self.live = Live()

    def begin(self) -> None:
        self._cursor.execute("BEGIN IMMEDIATE")
        self.live.begin(self._cursor.execute("PRAGMA data_version").get)

    def commit(self) -> None:
        self._cursor.execute("COMMIT")

    def roll_back(self) -> None:
        self.live.forget()
        if not self._connection.get_autocommit():  # a full disk may have rolled back already
            self._cursor.execute("ROLLBACK")

    def is_outage(self, error: BaseException) -> bool:
        return isinstance(error, OUTAGES)

    def close(self) -> None:
        self._connection.close()

    def run(self, steps: Steps[T]) -> T:
        """Runs the steps to their end and returns their result."""
        cursor, sql = self._cursor, self._sql
        try:
            step = next(steps)
            while True:
                rows: list[Row] = []
                if step.statement != LOCK:
                    for statement, values in statements.executions(sql[step.statement], step.rows):
                        rows += cursor.execute(statement, values)
                step = steps.send(rows)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def handler(self, steps: calls.Handler) -> Handler:
        return lambda payloads: self.run(steps(payloads))


# --- opening -----------------------------------------------------------------------------------------


def connect_writer(
    path: str, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None], *, beside: bool
) -> tuple[_Connection, Mapping[str, Handler]]:
    """Opens the file for writing, made and migrated where needed. Raises StoreUnavailable and NewerSchemaError."""
    with contextlib.suppress(OSError):  # it is there already; or cannot be made, and opening it below says why
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))  # texts and numbers are nobody else's to read
    with _said_clearly(path):
        connection = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("journal_size_limit", 64 * 1024 * 1024)
        connection.pragma("foreign_keys", 1)
        connection.wal_autocheckpoint(0 if beside else CHECKPOINT_PAGES)
        migrate(connection)
        refuse_unfinished_copy(connection)
    opened = _Connection(connection, statements.load("sqlite"))
    handlers = calls.handlers(doubt_lasts_ms, live=opened.live)
    return opened, {kind: opened.handler(steps) for kind, steps in handlers.items()}


@contextlib.contextmanager
def _said_clearly(path: str | Path) -> Iterator[None]:
    """Says why a file cannot be opened."""
    try:
        yield
    except OUTAGES as error:
        raise StoreUnavailable(f"cannot open {path}: {error}") from error
    except apsw.NotADBError as error:
        raise StoreUnavailable(f"{path} is not a database: name another file") from error


def _connect(path: str, flags: int) -> apsw.Connection:
    connection = apsw.Connection(path, flags=flags, statementcachesize=STATEMENTS_KEPT)
    connection.set_busy_timeout(BUSY_MS)
    connection.pragma("cache_size", -65_536)
    connection.pragma("temp_store", "memory")
    # Plans do not depend on the values bound: else joins and sorts are prepared anew at each run, ten times the cost.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection
