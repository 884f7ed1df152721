"""The same work for Chappe and for Kannel, in turn on one machine: HTTP send, submit, answer, receipt, two callbacks.

All of them are started first and then take turns, round after round, so that what else the machine does falls on each.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.gateways import Chappe, Gateway, Kannel, Setting, kannel_is_here
from bench.generator import Generators, LoadError
from bench.measure import Bench, Progress, Round, Row

LONGEST_TAIL_SECONDS = 60
WARM_UP = -1
"""The seed of what is not counted: caches fill, and connections are opened."""


async def with_callbacks(bench: Bench) -> list[Row]:
    """Whole lives with two webhooks, beside Kannel's."""
    with TemporaryDirectory(dir=bench.folder) as name:
        folders = (Path(name) / str(number) for number in range(10))
        gateways: list[Gateway] = [
            Chappe(Setting("Chappe, life and two webhooks"), _made(next(folders))),
            Chappe(Setting("Chappe, peers that delay ACKs", prompt=False), _made(next(folders))),
            Chappe(Setting("Chappe, receipts at once", receipt_seconds=0), _made(next(folders))),
        ]
        if kannel_is_here():
            best = Setting("Kannel at its best")
            gateways.append(Kannel(best, _made(next(folders)), "at_its_best"))
            found = Setting("Kannel as found", prompt=False)
            gateways.append(Kannel(found, _made(next(folders)), "as_found"))
        return await _in_turn(bench, gateways, "versus-callbacks")


async def bare(bench: Bench) -> list[Row]:
    """Whole lives without webhooks, beside Kannel's submits in memory, which have no receipts."""
    with TemporaryDirectory(dir=bench.folder) as name:
        gateways: list[Gateway] = [
            Chappe(Setting("Chappe, life without webhooks", callbacks=False), _made(Path(name) / "c"))
        ]
        if kannel_is_here():
            setting = Setting("Kannel at its best, submits alone", callbacks=False)
            gateways.append(Kannel(setting, _made(Path(name) / "k"), "at_its_best"))
        return await _in_turn(bench, gateways, "versus-bare")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def _in_turn(bench: Bench, gateways: list[Gateway], part: str) -> list[Row]:
    rounds: list[list[Round]] = [[] for _ in gateways]
    async with AsyncExitStack() as running:
        for gateway in gateways:
            running.callback(gateway.stop)
            await gateway.start()
            await _live(gateway, bench.scale.lives // 10, WARM_UP, bench.begin("warming up"))
        for number in range(bench.scale.turns):
            for found, gateway in zip(rounds, gateways, strict=True):
                progress = bench.begin(gateway.setting.what)
                found.append(await _live(gateway, bench.scale.lives, number, progress))
    first = Row(part, gateways[0].setting.what, rounds[0])
    others = zip(gateways[1:], rounds[1:], strict=True)
    return [first, *(Row(part, gateway.setting.what, found, beside=first) for gateway, found in others)]


async def _live(gateway: Gateway, count: int, seed: int, progress: Progress) -> Round:
    before = gateway.over()
    calls = gateway.calls(count, seed)
    async with Generators(gateway.base_url, gateway.key, calls, expect=gateway.accepts_with) as load:
        began, cpu, peers_cpu = time.perf_counter(), gateway.cpu_seconds(), _peers_cpu(gateway)
        load_cpu = await load.run(lambda done: progress(done / 2))
        give_up = time.monotonic() + LONGEST_TAIL_SECONDS
        while (over := gateway.over() - before) < count:
            progress(0.5 + over / count / 2)
            if time.monotonic() > give_up:
                raise LoadError(f"{gateway.setting.what}: {count} lives were to end, and {over} did")
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began
        return Round(count, seconds, gateway.cpu_seconds() - cpu, load_cpu, _peers_cpu(gateway) - peers_cpu)


def _peers_cpu(gateway: Gateway) -> float:
    return gateway.operator.cpu_seconds() + gateway.receiver.cpu_seconds()
