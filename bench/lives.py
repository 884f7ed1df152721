"""Whole lives: HTTP send, durable accept, submit, the operator's answer, its receipt, the final state stored.

Server, operator and load are three processes. A round begins with the first request and ends when no message of it is
undecided on disk: what is only under way does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw

from bench.accepts import send_calls
from bench.generator import Generators, LoadError
from bench.measure import CONNECTIONS, Bench, Progress, Round, Row
from bench.servers import ChildServer, ChildSimulator

WINDOW = 500
"""Submits in flight, and receipts in flight the other way; operators give 10 to 1,000."""
LONGEST_TAIL_SECONDS = 120
UNDECIDED = "SELECT count(*) FROM message WHERE wake_at IS NOT NULL"
DELIVERED = "SELECT count(*) FROM message WHERE delivered_at IS NOT NULL"


async def whole(bench: Bench) -> list[Row]:
    what = f"send to delivered, {CONNECTIONS} connections, window {WINDOW}"
    rounds: list[Round] = []
    with TemporaryDirectory(dir=bench.folder) as name:
        folder = Path(name)
        simulator = ChildSimulator(folder, f"receipt_seconds = 0\nwindow = {WINDOW}\n")
        await simulator.start()
        try:
            config = folder / "chappe.toml"
            config.write_text(
                f'[operators.op]\nhost = "127.0.0.1"\nport = {simulator.port}\nwindow = {WINDOW}\nretry_seconds = 0.1\n'
            )
            server = ChildServer(folder, {}, config)
            key = server.create_key()
            await server.start()
            try:
                with _beside(folder / "chappe.db") as database:
                    for number in range(bench.scale.rounds):
                        progress = bench.begin(what)
                        rounds.append(
                            await _live(bench.scale.lives, number, server, simulator, key, database, progress)
                        )
            finally:
                server.stop()
        finally:
            simulator.stop()
    return [Row("lives", what, rounds)]


async def _live(
    count: int,
    seed: int,
    server: ChildServer,
    simulator: ChildSimulator,
    key: str,
    database: apsw.Connection,
    progress: Progress,
) -> Round:
    before = _count(database, DELIVERED)
    async with Generators(server.base_url, key, send_calls(count, seed)) as load:
        began, cpu, operator_cpu = time.perf_counter(), server.cpu_seconds(), simulator.cpu_seconds()
        load_cpu = await load.run(lambda done: progress(done / 2))
        async with asyncio.timeout(LONGEST_TAIL_SECONDS):
            while undecided := _count(database, UNDECIDED):
                progress(1 - undecided / count / 2)
                await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began
        found = Round(count, seconds, server.cpu_seconds() - cpu, load_cpu, simulator.cpu_seconds() - operator_cpu)
    delivered = _count(database, DELIVERED) - before
    if delivered != count:
        raise LoadError(f"{count} lives were to end delivered, and {delivered} did")
    return found


def _count(database: apsw.Connection, sql: str) -> int:
    count = database.execute(sql).get
    assert isinstance(count, int)
    return count


@contextmanager
def _beside(path: Path) -> Iterator[apsw.Connection]:
    """A reader of its own, which does not cost the server anything but the disk cache's attention."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        yield connection
    finally:
        connection.close()
