"""Whole lives: HTTP send, durable accept, submit, the operator's answer, its receipt, the final state stored, and with
webhooks both of them taken.

Gateway, operator, receiver and load are processes apart. A round begins with the first request and ends when all of it
is over: what is only under way does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.gateways import Chappe, Gateway, Setting
from bench.generator import Generator, LoadError
from bench.measure import CONNECTIONS, Bench, Measure, Progress, Round, Row

WINDOW = 500
"""Operators give 10 to 1,000."""
LONGEST_TAIL_SECONDS = 120
POLL_SECONDS = 0.02
WARM_UP = -1
"""The seed of what is not counted: caches fill, and connections are opened."""


async def whole(bench: Bench) -> list[Row]:
    """Whole lives without webhooks, receipts at once, window 500."""
    what = f"send to delivered, {CONNECTIONS} connections, window {WINDOW}"
    with TemporaryDirectory(dir=bench.folder) as name:
        setting = Setting(callbacks=False, receipt_seconds=0, window=WINDOW)
        async with running(bench, [Chappe(setting, Path(name))]) as [measure]:
            return [Row("lives", what, await bench.rounds(what, measure))]


@asynccontextmanager
async def running(bench: Bench, gateways: Sequence[Gateway]) -> AsyncIterator[list[Measure]]:
    """All of them started and warm; what measures a round of lives in each."""
    async with AsyncExitStack() as stack:
        for gateway in gateways:
            stack.push_async_callback(gateway.stop)
            await gateway.start()
            await live(gateway, max(1, bench.scale.lives // 10), WARM_UP, bench.begin("warming up"))
        yield [partial(live, gateway, bench.scale.lives) for gateway in gateways]


async def live(gateway: Gateway, count: int, seed: int, progress: Progress) -> Round:
    """Raises LoadError when not all come to their end."""
    await gateway.begin()
    async with Generator(
        gateway.base_url, gateway.key, gateway.calls(count, seed), expect=gateway.accepts_with
    ) as load:
        began, cpu, peers_cpu = time.perf_counter(), gateway.cpu_seconds(), gateway.peers_cpu_seconds()
        told = await load.run(lambda done: progress(done / 2))
        give_up = time.monotonic() + LONGEST_TAIL_SECONDS
        while (over := await gateway.over()) < count:
            progress(0.5 + over / count / 2)
            if time.monotonic() > give_up:
                raise LoadError(f"{count} lives were to end, and {over} did")
            await asyncio.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - began
        peers_cpu = gateway.peers_cpu_seconds() - peers_cpu
        return Round(count, seconds, gateway.cpu_seconds() - cpu, told.cpu_seconds, peers_cpu)
