"""Status look-ups, over HTTP and at the store, in a small database and in a large one: random ones in every round."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias
from urllib.parse import quote

from bench.bare import ASGI, HOT
from bench.generator import Call, Generator, LoadError, quantile
from bench.http_load import Connection, read
from bench.measure import Bench, Goal, Progress, Round, Row, Unit
from bench.numbers import Numbers
from bench.peers import Child
from bench.servers import ACCOUNT, cpu_seconds
from bench.stored import Stored, Stores
from chappe.core.message import AccountId, Message, MessageId
from chappe.core.ports import Store
from chappe.storage.sqlite import open_sqlite

STATUS = "/v2/messages/status"
BULK_CALLS = 5
"""How many calls make a round."""
BARE = {"ASGI look-up in a dictionary": ASGI, "hot route, look-up in a dictionary": HOT}
"""What is beside ours: the first is what the goal is for."""
BARE_NUMBERS, BARE_SEED = 100_000, 1
LEAST_TO_BARE = 0.6
MOST_LATE_SECONDS = 0.005
MOST_BULK_SECONDS = 0.1

BY_ID, BY_NUMBER, ABSENT = "by id", "by number", "by absent number"
WAYS = (BY_ID, BY_NUMBER, ABSENT)

Find: TypeAlias = Callable[[], Awaitable[Message | None]]


async def over_http(bench: Bench, stores: Stores) -> list[Row]:
    """GET status in a small and in a large database, beside a bare look-up; how late at half the rate."""
    rows: list[Row] = []
    bare = Child("bench.bare", str(BARE_NUMBERS), str(BARE_SEED))
    await bare.start()
    try:
        for count in (bench.scale.small_store, bench.scale.large_store):
            stored = stores.get(count)
            await stored.server.start()
            try:
                rows += await _ways(bench, stored, bare, f"{count:,} stored")
            finally:
                stored.server.stop()
    finally:
        bare.stop()
    return rows


async def _ways(bench: Bench, stored: Stored, bare: Child, size: str) -> list[Row]:
    how_many = bench.scale.http_lookups
    measures = {f"GET status {way}, {size}": partial(_get, stored, way, how_many, None) for way in WAYS}
    numbers = Numbers(BARE_NUMBERS, BARE_SEED)
    others = {
        f"{what}, beside {size}": partial(_get_bare, bare, path, numbers, how_many) for what, path in BARE.items()
    }
    found = await bench.in_turn(measures | others, bench.scale.turns)
    rows = {what: Row("lookups-http", what, rounds) for what, rounds in found.items()}
    by_number = rows[f"GET status {BY_NUMBER}, {size}"]
    for what in others:
        rows[what].beside = by_number
    rows[next(iter(others))].goals = [Goal(LEAST_TO_BARE, "ratio", at_least=True)]
    what = f"{BY_NUMBER} at half that rate, {size}: 99 of 100 within"
    paced = partial(_get, stored, BY_NUMBER, how_many // 2, by_number.median / 2)
    late = Row("lookups-http", what, await bench.rounds(what, paced, Unit.SECONDS), Unit.SECONDS)
    late.goals = [Goal(MOST_LATE_SECONDS)]
    what = f"bulk status, {bench.scale.bulk:,} numbers in a call, {size}"
    bulk = Row(
        "lookups-http",
        what,
        await bench.rounds(what, partial(_bulk, stored, bench.scale.bulk), Unit.PER_CALL),
        Unit.PER_CALL,
    )
    bulk.goals = [Goal(MOST_BULK_SECONDS)]
    return [*rows.values(), late, bulk]


async def _get(stored: Stored, way: str, count: int, rate: float | None, seed: int, progress: Progress) -> Round:
    parameter = "snapshotId" if way == BY_ID else "identifier"
    calls = [Call(f"{STATUS}?{parameter}={quote(target)}") for target in _targets(stored, way, count, seed)]
    server, expect = stored.server, 404 if way == ABSENT else 200
    async with Generator(server.base_url, stored.key, calls, expect=expect, rate=rate) as load:
        return await _run(load, server.cpu_seconds, count, progress)


async def _get_bare(bare: Child, path: str, numbers: Sequence[str], count: int, seed: int, progress: Progress) -> Round:
    targets = random.Random(seed).choices(numbers, k=count)
    calls = [Call(f"{path}?identifier={quote(target)}") for target in targets]
    async with Generator(f"http://127.0.0.1:{bare.port}", "none", calls) as load:
        return await _run(load, bare.cpu_seconds, count, progress)


async def _run(load: Generator, cpu_seconds: Callable[[], float], count: int, progress: Progress) -> Round:
    began, cpu = time.perf_counter(), cpu_seconds()
    told = await load.run(progress)
    late = quantile(told.latencies, 0.99) if told.latencies else None
    return Round(count, time.perf_counter() - began, cpu_seconds() - cpu, told.cpu_seconds, figure=late)


async def _bulk(stored: Stored, count: int, seed: int, progress: Progress) -> Round:
    server, connection = stored.server, Connection(stored.server.base_url, stored.key)
    body = json.dumps({"identifiers": _targets(stored, BY_NUMBER, count, seed)}).encode()
    try:
        began, cpu = time.perf_counter(), server.cpu_seconds()
        for done in range(BULK_CALLS):
            statuses = read(await connection.post(f"{STATUS}/bulk", body))["statuses"]
            progress(done / BULK_CALLS)
        measured = Round(BULK_CALLS, time.perf_counter() - began, server.cpu_seconds() - cpu)
    finally:
        connection.close()
    if len(statuses) != count or None in statuses:
        raise LoadError(f"{count} statuses were to be found")
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
            measure = partial(_find, store, account.id, stored, way, bench.scale.store_lookups)
            rows.append(Row("lookups-store", what, await bench.rounds(what, measure)))
        await store.close()
    return rows


async def _find(
    store: Store, account: AccountId, stored: Stored, way: str, count: int, seed: int, progress: Progress
) -> Round:
    finds = _finds(store, account, way, _targets(stored, way, count, seed))
    found = 0
    began, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    for index, find in enumerate(finds):
        found += await find() is not None
        if index % 5_000 == 0:
            progress(index / count)
    measured = Round(count, time.perf_counter() - began, cpu_seconds(os.getpid()) - cpu)
    if found != (expect := 0 if way == ABSENT else count):
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
