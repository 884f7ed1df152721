"""Durable accepts: over HTTP into a real server whose operator is away, and directly at the store.

Nothing is submitted, so what is measured is accepting alone: reading the request, the key, the checks, the commit.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.generator import Call, Generators
from bench.http_load import send_body
from bench.measure import CONNECTIONS, Bench, Progress, Round, Row
from bench.servers import ChildServer
from chappe.core.message import Accepted, AccountId, Family, InDoubtPolicy, SendMessage
from chappe.core.ports import Store
from chappe.loopback import free_port
from chappe.storage.sqlite import open_sqlite

SEND = "/v2/notification/messages/send"
TEXT = "Bonjour, votre commande est en route."
CALLERS = (1, CONNECTIONS, 1_024)


def random_numbers(count: int, seed: int) -> list[str]:
    """Different French mobiles in random order, as they come in life."""
    return [f"+3361{number:07d}" for number in random.Random(seed).sample(range(10_000_000), count)]


def send_calls(count: int, seed: int) -> list[Call]:
    return [Call(SEND, send_body(number, TEXT).decode()) for number in random_numbers(count, seed)]


async def over_http(bench: Bench) -> list[Row]:
    """POST send, 64 connections; with one generator process, and with two to see whether one is the limit."""
    rows = []
    with TemporaryDirectory(dir=bench.folder) as folder:
        server = _with_nobody_to_send_to(Path(folder))
        key = server.create_key()
        await server.start()
        try:
            for processes in (1, 2):
                what = f"POST send, {CONNECTIONS} connections, {processes} generator{'s'[: processes - 1]}"
                rounds = []
                for number in range(bench.scale.rounds):
                    calls = send_calls(bench.scale.http_sends, seed=processes * 100 + number)
                    rounds.append(await _send(server, key, calls, processes, bench.begin(what)))
                rows.append(Row("accepts-http", what, rounds))
        finally:
            server.stop()
    return rows


async def _send(server: ChildServer, key: str, calls: Sequence[Call], processes: int, progress: Progress) -> Round:
    async with Generators(server.base_url, key, calls, processes=processes) as load:
        began, cpu = time.perf_counter(), server.cpu_seconds()
        load_cpu = await load.run(progress)
        return Round(len(calls), time.perf_counter() - began, server.cpu_seconds() - cpu, load_cpu)


def _with_nobody_to_send_to(folder: Path) -> ChildServer:
    config = folder / "chappe.toml"
    config.write_text(f'[operators.away]\nhost = "127.0.0.1"\nport = {free_port()}\nretry_seconds = 60\n')
    return ChildServer(folder, {}, config)


async def at_the_store(bench: Bench) -> list[Row]:
    """`store.accept` in this process: what group commit gives to one caller, and to many at once."""
    rows = []
    for callers in CALLERS:
        what = f"store.accept, {callers} caller{'s'[: callers - 1]}"
        count = bench.scale.store_accepts if callers > 1 else max(100, bench.scale.store_accepts // 25)
        with TemporaryDirectory(dir=bench.folder) as folder:
            store = await open_sqlite(Path(folder) / "chappe.db")
            account = await store.open_account("bench", 0)
            rounds = [
                await _accept(store, _sends(account.id, count, number), callers, bench.begin(what))
                for number in range(bench.scale.rounds)
            ]
            await store.close()
        rows.append(Row("accepts-store", what, rounds))
    return rows


async def _accept(store: Store, sends: Sequence[SendMessage], callers: int, progress: Progress) -> Round:
    left = enumerate(sends)

    async def call(left: Iterator[tuple[int, SendMessage]]) -> None:
        for index, send in left:
            accepted = await store.accept(send)
            assert isinstance(accepted, Accepted)
            if index % 1_000 == 0:
                progress(index / len(sends))

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(call(left) for _ in range(callers)))
    return Round(len(sends), time.perf_counter() - began, time.process_time() - cpu)


def _sends(account: AccountId, count: int, seed: int) -> list[SendMessage]:
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
