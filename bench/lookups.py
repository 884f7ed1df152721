"""Status look-ups, over HTTP and at the store, in a small database and in a large one: random ones in every round."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias
from urllib.parse import quote

from bench.generator import Call, Generators, LoadError
from bench.http_load import Connection, read
from bench.measure import CONNECTIONS, Bench, Progress, Round, Row
from bench.servers import ACCOUNT
from bench.stored import Stored, Stores
from chappe.core.message import AccountId, Message, MessageId
from chappe.core.ports import Store
from chappe.storage.sqlite import open_sqlite

STATUS = "/v2/messages/status"
BULK, BULK_CALLS = 10_000, 5
"""The most that one call may ask for; and how many calls make a round."""

BY_ID, BY_NUMBER, ABSENT = "by id", "by number", "by absent number"
WAYS = (BY_ID, BY_NUMBER, ABSENT)

Find: TypeAlias = Callable[[], Awaitable[Message | None]]


async def over_http(bench: Bench, stores: Stores) -> list[Row]:
    """GET status at a real server on that database."""
    rows = []
    for count in (bench.scale.small_store, bench.scale.large_store):
        stored = stores.get(count)
        await stored.server.start()
        try:
            for way in WAYS:
                what = f"GET status {way}, {count:,} stored, {CONNECTIONS} connections"
                rounds = [
                    await _get(stored, way, _targets(stored, way, bench.scale.http_lookups, seed), bench.begin(what))
                    for seed in range(bench.scale.rounds)
                ]
                rows.append(Row("lookups-http", what, rounds))
            what = f"bulk status, {BULK:,} numbers in a call, {count:,} stored"
            bulk = [await _bulk(stored, seed, bench.begin(what)) for seed in range(bench.scale.rounds)]
            rows.append(Row("lookups-http", what, bulk, per_call=True))
        finally:
            stored.server.stop()
    return rows


async def _get(stored: Stored, way: str, targets: Sequence[str], progress: Progress) -> Round:
    server, parameter = stored.server, "snapshotId" if way == BY_ID else "identifier"
    calls = [Call(f"{STATUS}?{parameter}={quote(target)}") for target in targets]
    async with Generators(server.base_url, stored.key, calls, expect=404 if way == ABSENT else 200) as load:
        began, cpu = time.perf_counter(), server.cpu_seconds()
        load_cpu = await load.run(progress)
        return Round(len(calls), time.perf_counter() - began, server.cpu_seconds() - cpu, load_cpu)


async def _bulk(stored: Stored, seed: int, progress: Progress) -> Round:
    server, connection = stored.server, Connection(stored.server.base_url, stored.key)
    body = json.dumps({"identifiers": _targets(stored, BY_NUMBER, BULK, seed)}).encode()
    try:
        began, cpu = time.perf_counter(), server.cpu_seconds()
        for done in range(BULK_CALLS):
            statuses = read(await connection.post(f"{STATUS}/bulk", body))["statuses"]
            progress(done / BULK_CALLS)
        measured = Round(BULK_CALLS, time.perf_counter() - began, server.cpu_seconds() - cpu)
    finally:
        connection.close()
    if len(statuses) != BULK or None in statuses:
        raise LoadError(f"{BULK} statuses were to be found")
    return measured


async def at_the_store(bench: Bench, stores: Stores) -> list[Row]:
    """The store's own methods, one call after the other on one thread, as the server makes them."""
    rows = []
    for count in (bench.scale.small_store, bench.scale.large_store):
        stored = stores.get(count)
        store = await open_sqlite(stored.path)
        account = await store.find_account(ACCOUNT)
        assert account is not None
        for way in WAYS:
            what = f"store.find {way}, {count:,} stored"
            rounds = []
            for seed in range(bench.scale.rounds):
                targets = _targets(stored, way, bench.scale.store_lookups, seed)
                finds = _finds(store, account.id, way, targets)
                rounds.append(await _find(finds, 0 if way == ABSENT else len(finds), bench.begin(what)))
            rows.append(Row("lookups-store", what, rounds))
        await store.close()
    return rows


async def _find(finds: Sequence[Find], expect: int, progress: Progress) -> Round:
    found = 0
    began, cpu = time.perf_counter(), time.process_time()
    for index, find in enumerate(finds):
        found += await find() is not None
        if index % 5_000 == 0:
            progress(index / len(finds))
    measured = Round(len(finds), time.perf_counter() - began, time.process_time() - cpu)
    if found != expect:
        raise LoadError(f"{expect} messages were to be found, and {found} were")
    return measured


def _finds(store: Store, account: AccountId, way: str, targets: Sequence[str]) -> list[Find]:
    if way == BY_ID:
        return [partial(store.find_message, account, MessageId(int(target))) for target in targets]
    return [partial(store.find_latest, account, target) for target in targets]


def _targets(stored: Stored, way: str, count: int, seed: int) -> list[str]:
    """Ids or numbers to ask for."""
    chance = random.Random(seed)
    if way == BY_ID:
        return [str(chance.randint(1, len(stored.numbers))) for _ in range(count)]
    return chance.choices(stored.absent if way == ABSENT else stored.numbers, k=count)
