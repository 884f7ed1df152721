"""The store on PostgreSQL: transactions in batches on connections with one owner each, look-ups shared in one query.

`work` says what happens inside a transaction; this module says which lane it takes. Transactions of several lanes, and
of several nodes, run at the same time; what keeps them apart is said in `work` and in `postgres.sql`.

    lane      jobs                                     why apart
    accept    accept                                   waits for nobody; two workers, so that commits overlap
    settle    settle, open_connector                   locks messages, and the parking of receipts before them
    claim     claim, release                           locks parts of the queue, then messages
    notify    webhooks claimed and their outcomes      waits for nobody either, and is as busy as settle
    lists     contacts, imports                        holds a list, one job at a time: batches of imports are long
    limits    tokens of keys with a rate               requests wait for it; not even connected without one
    expand    campaigns turned into messages           a thousand at a time: no single send waits for them
    other     replies, links, sweep, accounts, keys    whatever is rare
    reading   every look-up                            never in a transaction

A number's latest message is the one stored last: its row is locked before ids are taken, so that ids grow along each
chain whatever the clocks of two nodes say. Row-level security is not here: it comes with lists and searches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

from chappe.core.errors import StoreUnavailable
from chappe.core.lifecycle import DOUBT_LASTS_MS
from chappe.core.message import InDoubtPolicy
from chappe.storage import calls, postgres_connection, statements
from chappe.storage.calls import StoreCalls
from chappe.storage.lanes import Lane
from chappe.storage.migrate import migrate_postgres, refuse_unfinished_postgres_copy
from chappe.storage.postgres_connection import ENTANGLED, OUTAGES, Connection, Servers
from chappe.storage.postgres_workers import Bell, ReadingWorker, WritingWorker
from chappe.storage.steps import Row, Steps, tell

log = logging.getLogger(__name__)

WORKERS = {
    "accept": 2,
    "settle": 2,
    "claim": 2,
    "notify": 1,
    "lists": 1,
    "limits": 1,
    "expand": 1,
    "other": 2,
    "reading": 2,
}
"""Connections of each lane; the bell has one more."""
MOST_AT_ONCE = {
    "accept": 1_000,
    "settle": 200,
    "claim": 16,
    "notify": 16,
    "lists": 1,
    "limits": 200,
    "expand": 1,
    "other": 100,
    "reading": 1_000,
}
"""Jobs in one transaction, or in one look-up."""
LANES = {
    "accept": "accept",
    "accept_submits": "accept",
    "keep_parts": "accept",
    "join_parts": "accept",
    "settle": "settle",
    "open_connector": "settle",
    "lease": "settle",
    "beat": "settle",
    "claim": "claim",
    "release": "claim",
    "claim_deliveries": "notify",
    "record_outcomes": "notify",
    "claim_tellings": "notify",
    "settle_tellings": "notify",
    "cancel": "claim",
    "delete_list": "lists",
    "empty_list": "lists",
    "add_field": "lists",
    "add_contact": "lists",
    "remove_contact": "lists",
    "begin_import": "lists",
    "import_contacts": "lists",
    "draw_tokens": "limits",
    "expand": "expand",
    "unshelve": "expand",
    "cancel_messages": "expand",
    "find_barred": "expand",
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
    "read_links": 1,
    "read_lists": 0,
    "read_fields": 0,
    "read_contacts": 0,
    "read_refused": 0,
    "list_ledger": 0,
    "find_campaign": 1,
    "list_campaigns": 0,
    "read_entries_of_campaign": 0,
    "read_replies_of_campaign": 0,
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


class PostgresStore(StoreCalls):
    """`core.ports.Store` on one database, shared with other nodes."""

    def __init__(
        self,
        servers: Servers,
        own: Mapping[str, str],
        doubt_lasts_ms: Mapping[InDoubtPolicy, int | None],
        instance: UUID,
        *,
        walled: bool,
    ) -> None:
        """`instance`: unique to this store among all processes that use the database. `walled`: lists are read as a
        role that sees one account."""
        self.doubt_lasts_ms = doubt_lasts_ms
        sql = {**statements.load("postgres"), **own}
        handlers = calls.handlers(doubt_lasts_ms, {"keep_house": lambda _, __: _keep_house()})
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

    async def _change(self, kind: str, payload: Any) -> Any:
        return await self._lanes[LANES.get(kind, "other")].run(kind, payload)

    async def _look_up(self, statement: str, values: Row) -> list[Row]:
        rows: list[Row] = await self._lanes["reading"].run(statement, values)
        return rows


def _keep_house() -> Steps[None]:
    yield from tell("make_partitions", [()])
    yield from calls.keep_house()
    yield from tell("forget_connections", [()])
