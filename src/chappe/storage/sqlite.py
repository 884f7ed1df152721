"""The store on SQLite: one writer thread with group commit, point reads on the loop's own thread.

`work` says what happens inside a transaction; this module opens the file, runs the steps, and reads. WAL with
`synchronous=FULL`: what is answered is on disk. A command beside a running server may open the file too: it is a short
second writer that waits for the lock and leaves checkpoints to the server.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from chappe.core.counts import Counts, Scope
from chappe.core.errors import StoreUnavailable
from chappe.core.lifecycle import DOUBT_LASTS_MS, Journey
from chappe.core.message import (
    Accepted,
    Account,
    AccountId,
    AttemptKey,
    Cancellation,
    Event,
    Holder,
    Inbound,
    InDoubtPolicy,
    Key,
    Message,
    MessageId,
    NotAccepted,
    Reply,
    Report,
    SendMessage,
    Settings,
    Submission,
)
from chappe.storage import blacklists, counters, statements, webhooks, work
from chappe.storage.migrate import migrate, refuse_unfinished_copy
from chappe.storage.searching import SearchCalls
from chappe.storage.work import Row, Steps, Workspace
from chappe.storage.writer import Handler, Writer

log = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_MS = 5_000
"""How long a write waits for another process's lock."""
CHECKPOINT_PAGES = 4_000
"""The writer checkpoints when the WAL has grown by this (16 MB): seldom enough to cost little, often enough to stay
in the disk cache."""

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
) -> SqliteStore:
    """Opens the file, made and migrated where needed; must be called on the loop that uses the store.

    `beside`: a server may be running on the same file, which then keeps the checkpoints to itself. Raises
    StoreUnavailable and NewerSchemaError.
    """
    sql = statements.load("sqlite")
    with contextlib.suppress(OSError):  # it is there already; or cannot be made, and opening it below says why
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))  # texts and numbers are nobody else's to read
    writer = Writer(lambda: _connect_writer(str(path), sql, doubt_lasts_ms, beside=beside))
    try:
        await writer.connected()
        reader = _connect(str(path), apsw.SQLITE_OPEN_READONLY)
    except OUTAGES as error:
        raise StoreUnavailable(f"cannot open {path}: {error}") from error
    except apsw.NotADBError as error:
        raise StoreUnavailable(f"{path} is not a database: name another file") from error
    return SqliteStore(writer, reader, sql, doubt_lasts_ms)


class SqliteStore(blacklists.BlacklistCalls, SearchCalls, webhooks.WebhookCalls):
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

    async def close(self) -> None:
        self._reader.close()  # first: the last connection moves the WAL into the file, and this one may not write
        await self._writer.close()

    async def listen(self, callback: Callable[[str], None]) -> None:
        """There is no other node."""

    # --- Keys ---

    async def open_account(self, name: str, now: int) -> Account:
        account: Account = await self._writer.run("open_account", (name, now))
        return account

    async def find_account(self, name: str) -> Account | None:
        row = self._read_one("find_account", (name,))
        return None if row is None else work.account_of(row)

    async def save_settings(self, account: AccountId, settings: Settings) -> None:
        await self._writer.run("save_settings", (msgspec.json.encode(settings).decode(), account))

    async def create_key(self, account: AccountId, digest: bytes, hint: str, *, test: bool, now: int) -> Key:
        key: Key = await self._writer.run("create_key", (account, digest, test, hint, now))
        return key

    async def list_keys(self) -> list[Key]:
        return [work.key_of(row) for row in self._read("list_keys", ())]

    async def revoke_key(self, key: int, now: int) -> bool:
        revoked: bool = await self._writer.run("revoke_key", (key, now))
        return revoked

    async def find_key(self, digest: bytes) -> Key | None:
        row = self._read_one("find_key", (digest,))
        return None if row is None else work.key_of(row)

    # --- Sending ---

    async def accept(self, send: SendMessage) -> Accepted | NotAccepted:
        accepted: Accepted | NotAccepted = await self._writer.run("accept", send)
        return accepted

    async def open_connector(self, connector: str, now: int) -> int:
        epoch: int = await self._writer.run("open_connector", (connector, now))
        return epoch

    async def beat(self, holder: Holder, lease_ms: int, now: int) -> int:
        living: int = await self._writer.run("beat", (holder, lease_ms, now))
        return living

    async def lease(self, connector: str, holder: Holder, lease_ms: int, now: int) -> int | None:
        epoch: int | None = await self._writer.run("lease", (connector, holder, lease_ms, now))
        return epoch

    async def give_back(self, connector: str, holder: Holder) -> None:
        await self._writer.run("give_back", (connector, holder))

    async def claim(self, connector: str, epoch: int, route: str, limit: int, now: int) -> list[Submission]:
        submissions: list[Submission] = await self._writer.run("claim", (connector, epoch, route, limit, now))
        return submissions

    async def release(self, keys: Sequence[AttemptKey], now: int) -> None:
        await self._writer.run("release", keys)

    async def cancel(self, account: AccountId, message: MessageId, now: int) -> Cancellation:
        cancellation: Cancellation = await self._writer.run("cancel", (account, message, now))
        return cancellation

    async def settle(self, reports: Sequence[Report], now: int) -> list[Event]:
        events: list[Event] = await self._writer.run("settle", (reports, now))
        return events

    async def sweep(self, now: int, limit: int) -> tuple[int, list[Event]]:
        await self.tidy_events(now)
        await self._writer.run("keep_house", None)
        swept: tuple[int, list[Event]] = await self._writer.run("sweep", (now, limit))
        return swept

    async def next_due(self, route: str) -> int | None:
        row = self._read_one("next_due", (route,))
        return None if row is None else row[0]

    async def count_pending(self) -> Mapping[str, int]:
        names = {"queued": "count_queued", "pending": "count_pending", "in_doubt": "count_in_doubt"}
        names["parked"] = "count_parked"
        return {name: int(self._read(statement, ())[0][0]) for name, statement in names.items()}

    # --- Holding ---

    async def hold(self, on: bool, now: int) -> None:
        await self._writer.run("hold", (on, now))

    async def held_since(self) -> int | None:
        rows = self._read("held_since", ())
        return rows[0][0] if rows else None

    async def doubt_queued(self, route: str, limit: int, now: int) -> int:
        doubted: int = await self._writer.run("doubt_queued", (route, limit, now))
        return doubted

    # --- Engaging ---

    async def receive(self, inbound: Sequence[Inbound], now: int) -> list[Reply]:
        replies: list[Reply] = (await self._writer.run("receive", (inbound, now)))[0]
        return replies

    async def open_link(self, token: str, *, human: bool, now: int) -> str | None:
        url: str | None = (await self._writer.run("open_link", (token, human, now)))[0]
        return url

    # --- Reading ---

    async def find_message(self, account: AccountId, message: MessageId) -> Message | None:
        row = self._read_one("find_message", (message, account))
        return None if row is None else work.message_of(row)

    async def find_latest(self, account: AccountId, number: str) -> Message | None:
        row = self._read_one("find_latest_message", (number, account))
        return None if row is None else work.message_of(row)

    async def find_journey(self, account: AccountId, message: MessageId) -> Journey | None:
        rows = self._read("find_journey", (message, account))
        return work.journey_of(rows) if rows else None

    async def find_reply(self, account: AccountId, message: MessageId) -> Reply | None:
        row = self._read_one("find_reply", (message, account))
        return None if row is None else work.reply_of(row)

    async def _change(self, kind: str, payload: Row) -> Any:
        return await self._writer.run(kind, payload)

    async def _look_up(self, statement: str, values: Row) -> list[Row]:
        return self._read(statement, values)

    # --- Counting ---

    async def read_counts(
        self, account: AccountId, *, test: bool, scope: Scope = Scope.ACCOUNT, name: str = ""
    ) -> Counts:
        return counters.counts_of(self._read("read_totals", (account, test, int(scope), name)))

    def _read(self, statement: str, values: Row) -> list[Row]:
        """Runs on the loop's thread: a point read costs less than handing it over to another would."""
        try:
            return self._reader.execute(self._sql[statement], values).fetchall()
        except OUTAGES as error:
            raise StoreUnavailable("the store cannot be read now: try again") from error

    def _read_one(self, statement: str, values: Row) -> Row | None:
        rows = self._read(statement, values)
        return rows[0] if rows else None


# --- the writer's side -------------------------------------------------------------------------------


class _Connection:
    """The writer's connection: transactions, and the steps of `work` run one after the other."""

    def __init__(
        self, connection: apsw.Connection, sql: Mapping[str, str], doubt_lasts_ms: Mapping[InDoubtPolicy, int | None]
    ) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._sql = sql
        self._doubt_lasts_ms = doubt_lasts_ms

    def begin(self) -> None:
        self._cursor.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._cursor.execute("COMMIT")

    def roll_back(self) -> None:
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
                statement = sql[step.statement]
                found: list[Row] = []
                if step.asks:
                    for values in step.rows:
                        found += cursor.execute(statement, values).fetchall()
                else:
                    cursor.executemany(statement, step.rows)
                step = steps.send(found)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def handlers(self) -> Mapping[str, Handler]:
        """A handler per kind of job; see `ports` for what each does."""
        return {
            "accept": self._accept,
            "settle": self._settle,
            "claim": self._each(lambda space, payload: work.claim(space, *payload)),
            "cancel": self._each(lambda space, payload: work.cancel(space, *payload)),
            **{kind: self._each(blacklists.job(kind)) for kind in blacklists.JOBS},
            "release": self._each(lambda space, keys: work.release(space, keys)),
            "sweep": self._each(lambda space, payload: work.sweep(space, *payload)),
            "keep_house": self._each(lambda _, __: counters.roll_up()),
            "receive": self._each(lambda space, payload: work.receive(space, *payload)),
            "open_link": self._each(lambda space, payload: work.open_link(space, *payload)),
            "beat": self._each(lambda space, payload: work.beat(space, *payload)),
            "lease": self._each(lambda space, payload: work.lease(space, *payload)),
            "hold": self._each(lambda _, payload: work.hold(*payload)),
            "doubt_queued": self._each(lambda space, payload: work.doubt_queued(space, *payload)),
            "give_back": self._each(lambda _, payload: work.give_back(*payload)),
            "open_connector": self._each(lambda space, payload: work.open_connector(space, *payload)),
            "open_account": self._each(lambda _, payload: work.open_account(*payload)),
            "save_settings": self._each(lambda _, payload: work.tell("save_settings", [payload])),
            "create_key": self._each(lambda _, payload: work.create_key(*payload)),
            "revoke_key": self._each(lambda _, payload: work.revoke_key(*payload)),
            **{kind: self._each(webhooks.job(kind)) for kind in webhooks.JOBS},
        }

    def _accept(self, sends: list[SendMessage]) -> Sequence[Accepted | NotAccepted]:
        return self.run(work.accept(sends))

    def _settle(self, jobs: list[tuple[Sequence[Report], int]]) -> Sequence[list[Event]]:
        now = max(now for _, now in jobs)
        return self.run(work.settle(Workspace(self._doubt_lasts_ms), [reports for reports, _ in jobs], now))

    def _each(self, make: Callable[[Workspace, Any], Steps[Any]]) -> Handler:
        """A handler that does one job after the other, each with a fresh view of the rows."""
        return lambda payloads: [self.run(make(Workspace(self._doubt_lasts_ms), payload)) for payload in payloads]


# --- opening -----------------------------------------------------------------------------------------


def _connect_writer(
    path: str, sql: Mapping[str, str], doubt_lasts_ms: Mapping[InDoubtPolicy, int | None], *, beside: bool
) -> tuple[_Connection, Mapping[str, Handler]]:
    connection = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("journal_size_limit", 64 * 1024 * 1024)
    connection.pragma("foreign_keys", 1)
    connection.wal_autocheckpoint(0 if beside else CHECKPOINT_PAGES)
    migrate(connection)
    refuse_unfinished_copy(connection)
    opened = _Connection(connection, sql, doubt_lasts_ms)
    return opened, opened.handlers()


def _connect(path: str, flags: int) -> apsw.Connection:
    connection = apsw.Connection(path, flags=flags)
    connection.set_busy_timeout(BUSY_MS)
    connection.pragma("cache_size", -65_536)
    connection.pragma("temp_store", "memory")
    # Plans do not depend on the values bound: else joins and sorts are prepared anew at each run, ten times the cost.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection
