"""Durable accepts: over HTTP into a real server whose operator is away, and directly at the store.

Nothing is submitted, so what is measured is accepting alone: reading the request, the key, the checks, the commit.
Kannel beside it keeps what it accepts in memory.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.gateways import Chappe, Gateway, Kannel, Setting, kannel_is_here
from bench.generator import Generator, quantile
from bench.measure import CONNECTIONS, Bench, Goal, Progress, Round, Row, Unit
from bench.numbers import random_numbers
from bench.servers import TEXT, cpu_seconds
from chappe.core.message import Accepted, AccountId, Family, InDoubtPolicy, SendMessage
from chappe.core.ports import Store
from chappe.storage.sqlite import open_sqlite

AWAY = Setting(callbacks=False, operator=False)
TO_KANNEL = {CONNECTIONS: 1.0, 16: 0.75}
"""What share of Kannel's rate is the goal, by connections."""
MOST_LATE_SECONDS = 0.010
CALLERS = (1, CONNECTIONS, 1_024)


async def over_http(bench: Bench) -> list[Row]:
    """POST send over 64 and 16 connections, beside Kannel's accepts in memory; and how late at half that rate."""
    with TemporaryDirectory(dir=bench.folder) as name:
        async with AsyncExitStack() as stack:
            chappe: Gateway = Chappe(AWAY, _made(Path(name) / "c"))
            gateways = {"POST send": chappe}
            if kannel_is_here():
                gateways["Kannel at its best, in memory"] = Kannel(AWAY, _made(Path(name) / "k"), "at_its_best")
            for gateway in gateways.values():
                stack.push_async_callback(gateway.stop)
                await gateway.start()
            rows: list[Row] = []
            for connections, share in TO_KANNEL.items():
                measures = {
                    f"{what}, {connections} connections": partial(
                        send, gateway, bench.scale.http_sends, connections, None
                    )
                    for what, gateway in gateways.items()
                }
                found = await bench.in_turn(measures, bench.scale.turns)
                first, *others = (Row("accepts-http", what, rounds) for what, rounds in found.items())
                for other in others:
                    other.beside, other.goals = first, [Goal(share, "ratio", at_least=True)]
                rows += [first, *others]
            what = "POST send at half that rate: 99 of 100 within"
            paced = partial(send, chappe, bench.scale.http_sends // 2, CONNECTIONS, rows[0].median / 2)
            late = await bench.rounds(what, paced, Unit.SECONDS)
            return [*rows, Row("accepts-http", what, late, Unit.SECONDS, goals=[Goal(MOST_LATE_SECONDS)])]


async def send(
    gateway: Gateway, count: int, connections: int, rate: float | None, seed: int, progress: Progress
) -> Round:
    """`count` sends, on each connection the next when the answer is there, or so many a second: then the figure is how
    late 99 of 100 were answered at most."""
    calls, expect = gateway.calls(count, seed), gateway.accepts_with
    async with Generator(
        gateway.base_url, gateway.key, calls, expect=expect, connections=connections, rate=rate
    ) as load:
        began, cpu = time.perf_counter(), gateway.cpu_seconds()
        told = await load.run(progress)
        seconds, cpu = time.perf_counter() - began, gateway.cpu_seconds() - cpu
    late = quantile(told.latencies, 0.99) if told.latencies else None
    return Round(count, seconds, cpu, told.cpu_seconds, figure=late)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def at_the_store(bench: Bench) -> list[Row]:
    """`store.accept` in this process: what group commit gives to one caller, and to many at once."""
    rows = []
    for callers in CALLERS:
        what = f"store.accept, {callers} caller{'s'[: callers - 1]}"
        count = bench.scale.store_accepts if callers > 1 else max(100, bench.scale.store_accepts // 25)
        with TemporaryDirectory(dir=bench.folder) as folder:
            store = await open_sqlite(Path(folder) / "chappe.db")
            account = await store.open_account("bench", 0)
            rounds = await bench.rounds(what, partial(_accept, store, account.id, count, callers))
            await store.close()
        rows.append(Row("accepts-store", what, rounds))
    return rows


async def _accept(store: Store, account: AccountId, count: int, callers: int, seed: int, progress: Progress) -> Round:
    left = enumerate(_sends(account, count, seed))

    async def call(left: Iterator[tuple[int, SendMessage]]) -> None:
        for index, send in left:
            accepted = await store.accept(send)
            assert isinstance(accepted, Accepted)
            if index % 1_000 == 0:
                progress(index / count)

    began, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    await asyncio.gather(*(call(left) for _ in range(callers)))
    return Round(count, time.perf_counter() - began, cpu_seconds(os.getpid()) - cpu)


def _sends(account: AccountId, count: int, seed: int) -> Sequence[SendMessage]:
    now = time.time_ns() // 1_000_000
    return [
        SendMessage(
            account,
            number,
            Family.NOTIFICATION,
            TEXT,
            1,
            "live",
            False,
            InDoubtPolicy.WAIT_THEN_RETRY,
            accepted_at=now,
            due_at=now,
            validity_ms=172_800_000,
        )
        for number in random_numbers(count, seed)
    ]
