"""The store on PostgreSQL: transactions in batches on connections with one owner each, look-ups shared in one query.

`work` says what happens inside a transaction; this module says which lane it takes. Transactions of several lanes, and
of several nodes, run at the same time; what keeps them apart is said in `work` and in `postgres.sql`.

    lane      jobs                                     why apart
    accept    accept                                   waits for nobody; two workers, so that commits overlap
    settle    settle, open_connector                   locks messages, and the parking of receipts before them
    claim     claim, release                           locks parts of the queue, then messages
    notify    webhooks claimed and their outcomes      waits for nobody either, and is as busy as settle
    other     replies, links, sweep, accounts, keys    whatever is rare
    reading   every look-up                            never in a transaction

A number's latest message is the one stored last: its row is locked before ids are taken, so that ids grow along each
chain whatever the clocks of two nodes say. Row-level security is not here: it comes with lists and searches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

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
from chappe.storage import blacklists, counters, postgres_connection, statements, webhooks, work
from chappe.storage.lanes import Lane
from chappe.storage.migrate import migrate_postgres, refuse_unfinished_postgres_copy
from chappe.storage.postgres_connection import ENTANGLED, OUTAGES, Connection, Servers
from chappe.storage.postgres_workers import Bell, Handler, ReadingWorker, WritingWorker
from chappe.storage.searching import SearchCalls
from chappe.storage.work import Row, Steps, Workspace

log = logging.getLogger(__name__)

WORKERS = {"accept": 2, "settle": 2, "claim": 2, "notify": 1, "other": 2, "reading": 2}
"""Connections of each lane; the bell has one more."""
MOST_AT_ONCE = {"accept": 1_000, "settle": 200, "claim": 16, "notify": 16, "other": 100, "reading": 1_000}
"""Jobs in one transaction, or in one look-up."""
LANES = {
    "accept": "accept",
    "settle": "settle",
    "open_connector": "settle",
    "lease": "settle",
    "beat": "settle",
    "claim": "claim",
    "release": "claim",
    "claim_deliveries": "notify",
    "record_outcomes": "notify",
    "cancel": "claim",
}
"""The lane of each kind of job; the others take `other`."""


WALL_TRIES = 10

WALLED: Mapping[str, int] = {
    "list_events": 1,
    "find_feed_end": 0,
    "list_endpoints": 0,
    "find_endpoint": 0,
    "read_entries": 0,
    "read_entries_of_category": 0,
    "read_replies": 0,
    "read_replies_of_category": 0,
    "list_ids": 0,
    "list_ids_to": 1,
    "list_facts": 1,
}
"""Lists, searches and exports → where among their values the account stands."""


async def open_postgres(
    url: str, *, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None] = DOUBT_LASTS_MS
) -> PostgresStore:
    """Connects, migrates where needed and says which promises the server's settings do not allow.

    `url` is libpq's, with several hosts where there are standbys: postgresql://user:password@a,b/chappe. Must be called
    on the loop that uses the store. Raises StoreUnavailable and NewerSchemaError.
    """
    servers = Servers(url)
    connection = await servers.connect(lock_timeout="0", idle_in_transaction_session_timeout="0")
    own = statements.load("postgres_own")
    try:
        applied = await migrate_postgres(connection)
        if applied:
            log.info("database migrated", extra={"steps": applied})
        await refuse_unfinished_postgres_copy(connection)
        await connection.fetch(own["make_partitions"])
        await _build_wall(connection, own)
        walled = bool(await connection.fetchval(own["has_wall"]))
        if not walled:
            log.warning(
                "no second wall between accounts: our database user may not create roles. CREATE ROLE chappe_account "
                "NOLOGIN, GRANT it to that user, and start again"
            )
        await _warn_of_promises(connection, own)
    except OUTAGES as error:
        raise StoreUnavailable(f"cannot open {servers}: {error}") from error
    finally:
        await postgres_connection.close(connection)
    return PostgresStore(servers, own, doubt_lasts_ms, uuid4(), walled=walled)


async def _build_wall(connection: Connection, own: Mapping[str, str]) -> None:
    """Builds what is missing of it, beside nodes that are at work: what entangles with them is tried again."""
    for _ in range(WALL_TRIES):
        try:
            await connection.execute(own["build_wall"])
        except ENTANGLED:
            continue
        return
    log.warning("the second wall between accounts is not whole: the next start goes on with it")


async def _warn_of_promises(connection: Connection, own: Mapping[str, str]) -> None:
    settings = {str(name): str(setting) for name, setting in await connection.fetch(own["durability"])}
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if settings[name] == "off":
            log.warning(f"{name} IS OFF: accepted messages may be lost when the database server fails")
    if not settings["synchronous_standby_names"]:
        log.info("no synchronous standby: what is accepted is on one disk, and a failover may lose the last of it")


class PostgresStore(blacklists.BlacklistCalls, SearchCalls, webhooks.WebhookCalls):
    """`core.ports.Store` on one database, shared with other nodes."""

    def __init__(
        self,
        servers: Servers,
        own: dict[str, str],
        doubt_lasts_ms: Mapping[InDoubtPolicy, int | None],
        instance: UUID,
        *,
        walled: bool,
    ) -> None:
        """`instance`: unique to this store among all processes that use the database. `walled`: lists are read as a
        role that sees one account."""
        self.doubt_lasts_ms = doubt_lasts_ms
        sql = statements.load("postgres") | own
        handlers = self._handlers()
        self._bell = Bell(servers, own)
        names = (str(UUID(int=(instance.int + number) % (1 << 128))) for number in range(sum(WORKERS.values())))
        self._lanes = {
            lane: Lane(
                lane,
                [
                    ReadingWorker(servers, sql, WALLED if walled else {})
                    if lane == "reading"
                    else WritingWorker(servers, next(names), sql, own, handlers, self._bell.ring)
                    for _ in range(workers)
                ],
                MOST_AT_ONCE[lane],
            )
            for lane, workers in WORKERS.items()
        }

    async def close(self) -> None:
        for lane in self._lanes.values():
            await lane.close()
        await self._bell.close()

    async def listen(self, callback: Callable[[str], None]) -> None:
        """Calls back with a route whenever any node has queued something on it; rings may be missed in an outage."""
        await self._bell.listen(callback)

    # --- Keys ---

    async def open_account(self, name: str, now: int) -> Account:
        account: Account = await self._run("open_account", (name, now))
        return account

    async def find_account(self, name: str) -> Account | None:
        row = await self._read_one("find_account", (name,))
        return None if row is None else work.account_of(row)

    async def save_settings(self, account: AccountId, settings: Settings) -> None:
        await self._run("save_settings", (msgspec.json.encode(settings).decode(), account))

    async def create_key(self, account: AccountId, digest: bytes, hint: str, *, test: bool, now: int) -> Key:
        key: Key = await self._run("create_key", (account, digest, test, hint, now))
        return key

    async def list_keys(self) -> list[Key]:
        return [work.key_of(row) for row in await self._read("list_keys", ())]

    async def revoke_key(self, key: int, now: int) -> bool:
        revoked: bool = await self._run("revoke_key", (key, now))
        return revoked

    async def find_key(self, digest: bytes) -> Key | None:
        row = await self._read_one("find_key", (digest,))
        return None if row is None else work.key_of(row)

    # --- Sending ---

    async def accept(self, send: SendMessage) -> Accepted | NotAccepted:
        accepted: Accepted | NotAccepted = await self._run("accept", send)
        return accepted

    async def open_connector(self, connector: str, now: int) -> int:
        epoch: int = await self._run("open_connector", (connector, now))
        return epoch

    async def beat(self, holder: Holder, lease_ms: int, now: int) -> int:
        living: int = await self._run("beat", (holder, lease_ms, now))
        return living

    async def lease(self, connector: str, holder: Holder, lease_ms: int, now: int) -> int | None:
        epoch: int | None = await self._run("lease", (connector, holder, lease_ms, now))
        return epoch

    async def give_back(self, connector: str, holder: Holder) -> None:
        await self._run("give_back", (connector, holder))

    async def claim(self, connector: str, epoch: int, route: str, limit: int, now: int) -> list[Submission]:
        submissions: list[Submission] = await self._run("claim", (connector, epoch, route, limit, now))
        return submissions

    async def release(self, keys: Sequence[AttemptKey], now: int) -> None:
        await self._run("release", keys)

    async def cancel(self, account: AccountId, message: MessageId, now: int) -> Cancellation:
        cancellation: Cancellation = await self._run("cancel", (account, message, now))
        return cancellation

    async def settle(self, reports: Sequence[Report], now: int) -> list[Event]:
        events: list[Event] = await self._run("settle", (reports, now))
        return events

    async def sweep(self, now: int, limit: int) -> tuple[int, list[Event]]:
        await self._run("keep_house", None)  # of its own: making a partition may have to wait
        await self.tidy_events(now)
        swept: tuple[int, list[Event]] = await self._run("sweep", (now, limit))
        return swept

    async def next_due(self, route: str) -> int | None:
        row = await self._read_one("next_due", (route,))
        return None if row is None else row[0]

    async def count_pending(self) -> Mapping[str, int]:
        names = {"queued": "count_queued", "pending": "count_pending", "in_doubt": "count_in_doubt"}
        names["parked"] = "count_parked"
        return {name: int((await self._read(statement, ()))[0][0]) for name, statement in names.items()}

    # --- Holding ---

    async def hold(self, on: bool, now: int) -> None:
        await self._run("hold", (on, now))

    async def held_since(self) -> int | None:
        rows = await self._read("held_since", ())
        return rows[0][0] if rows else None

    async def doubt_queued(self, route: str, limit: int, now: int) -> int:
        doubted: int = await self._run("doubt_queued", (route, limit, now))
        return doubted

    # --- Engaging ---

    async def receive(self, inbound: Sequence[Inbound], now: int) -> list[Reply]:
        replies: list[Reply] = (await self._run("receive", (inbound, now)))[0]
        return replies

    async def open_link(self, token: str, *, human: bool, now: int) -> str | None:
        url: str | None = (await self._run("open_link", (token, human, now)))[0]
        return url

    # --- Reading ---

    async def find_message(self, account: AccountId, message: MessageId) -> Message | None:
        row = await self._read_one("find_message", (message, account))
        return None if row is None else work.message_of(row)

    async def find_latest(self, account: AccountId, number: str) -> Message | None:
        row = await self._read_one("find_latest_message", (number, account))
        return None if row is None else work.message_of(row)

    async def find_journey(self, account: AccountId, message: MessageId) -> Journey | None:
        rows = await self._read("find_journey", (message, account))
        return work.journey_of(rows) if rows else None

    async def find_reply(self, account: AccountId, message: MessageId) -> Reply | None:
        row = await self._read_one("find_reply", (message, account))
        return None if row is None else work.reply_of(row)

    # --- Counting ---

    async def read_counts(
        self, account: AccountId, *, test: bool, scope: Scope = Scope.ACCOUNT, name: str = ""
    ) -> Counts:
        return counters.counts_of(await self._read("read_totals", (account, test, int(scope), name)))

    # --- how ---

    async def _run(self, kind: str, payload: Any) -> Any:
        return await self._lanes[LANES.get(kind, "other")].run(kind, payload)

    async def _change(self, kind: str, payload: Row) -> Any:
        return await self._run(kind, payload)

    async def _look_up(self, statement: str, values: Row) -> list[Row]:
        return await self._read(statement, values)

    async def _read(self, statement: str, values: Row) -> list[Row]:
        rows: list[Row] = await self._lanes["reading"].run(statement, values)
        return rows

    async def _read_one(self, statement: str, values: Row) -> Row | None:
        rows = await self._read(statement, values)
        return rows[0] if rows else None

    def _handlers(self) -> Mapping[str, Handler]:
        """A handler per kind of job; see `ports` for what each does."""
        return {
            "accept": work.accept,
            "settle": self._settle,
            "claim": self._each(lambda space, payload: work.claim(space, *payload)),
            "cancel": self._each(lambda space, payload: work.cancel(space, *payload)),
            **{kind: self._each(blacklists.job(kind)) for kind in blacklists.JOBS},
            "release": self._each(lambda space, keys: work.release(space, keys)),
            "sweep": self._each(lambda space, payload: work.sweep(space, *payload)),
            "keep_house": self._each(lambda _, __: _keep_house()),
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

    def _settle(self, jobs: list[tuple[Sequence[Report], int]]) -> Steps[Sequence[Any]]:
        now = max(now for _, now in jobs)
        return (yield from work.settle(Workspace(self.doubt_lasts_ms), [reports for reports, _ in jobs], now))

    def _each(self, make: Callable[[Workspace, Any], Steps[Any]]) -> Handler:
        """A handler that does one job after the other, each with a fresh view of the rows."""

        def handle(payloads: list[Any]) -> Steps[Sequence[Any]]:
            results = []
            for payload in payloads:
                results.append((yield from make(Workspace(self.doubt_lasts_ms), payload)))  # noqa: PERF401
            return results

        return handle


def _keep_house() -> Steps[None]:
    yield from work.tell("make_partitions", [()])
    yield from counters.roll_up()
    yield from work.tell("forget_connections", [()])
