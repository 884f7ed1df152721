"""Campaigns: a list becomes messages on disk, they drain, and one-time codes go past them.

While a campaign is stored its operator is away, so that storing is measured by itself; then the operator comes, and the
time runs from its first submit until every message is delivered on disk.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.gateways import SEND, Chappe, Setting
from bench.generator import Call, Generator, LoadError, quantile
from bench.http_load import send_body
from bench.imports import ask, make_list
from bench.lives import WINDOW
from bench.measure import Bench, Goal, Progress, Round, Row, Unit
from bench.servers import ACCOUNT, TEXT, memory_mib

QUEUED = "SELECT EXISTS (SELECT 1 FROM queue WHERE class = 1)"
CODES_A_SECOND = 20
CODE_NUMBERS = "3378"
"""What the numbers begin with that codes go to."""
PATIENCE_SECONDS = 600
POLL_SECONDS = 0.05
MOST_STORED_SECONDS, LEAST_DRAINED = 3.0, 8_000
MOST_MIB = 150
MOST_LATE_SECONDS = 0.050


async def of_a_list(bench: Bench) -> list[Row]:
    """A campaign is stored; then it drains to receipts, without webhooks."""
    count = bench.scale.campaign
    stored_what, drained_what = f"campaign of {count:,}: stored", f"campaign of {count:,}: drained to receipts"
    async with _with_a_list(bench, count) as (chappe, list_):

        async def store(seed: int, progress: Progress) -> Round:
            chappe.operator.stop()
            return await _store(chappe, list_, count, progress)

        async def drain(seed: int, progress: Progress) -> Round:
            return await _drain(chappe, count, progress)

        found = await bench.in_turn({stored_what: store, drained_what: drain}, bench.scale.rounds)
    stored = Row("campaign", stored_what, found[stored_what], Unit.SECONDS, goals=[Goal(MOST_STORED_SECONDS)])
    drained = Row("campaign", drained_what, found[drained_what], goals=[Goal(LEAST_DRAINED, at_least=True)])
    return [stored, drained]


async def with_a_backlog(bench: Bench) -> list[Row]:
    """Memory while a large campaign waits and drains; one-time codes sent meanwhile, from request to operator."""
    count = bench.scale.backlog
    async with _with_a_list(bench, count) as (chappe, list_):
        what = f"campaign of {count:,}: stored"
        stored = Row("backlog", what, [await _store(chappe, list_, count, bench.begin(what))], Unit.SECONDS)
        queued = _memory(chappe, f"memory, {count:,} queued")
        await _open(chappe)
        drains = await _codes(bench, chappe, f"code while {count:,} drain")
        await chappe.begin()
        await _begin(chappe, list_)
        await _until(chappe.stored, 1, lambda done: None)
        both = await _codes(bench, chappe, f"code while {count:,} drain and as many are stored")
        return [stored, queued, drains, both, _memory(chappe, "memory after that")]


def _memory(chappe: Chappe, what: str) -> Row:
    found = Round(1, 1, figure=memory_mib(chappe.server.pid))
    return Row("backlog", what, [found], Unit.MIB, goals=[Goal(MOST_MIB)])


async def _codes(bench: Bench, chappe: Chappe, what: str) -> Row:
    """Raises LoadError when the campaign is over before its codes."""
    what += ": 99 of 100 are with the operator within"
    before = len(chappe.operator.sightings())

    async def measure(round_: int, progress: Progress) -> Round:
        return await _send_codes(chappe, before + round_ * bench.scale.codes, bench.scale.codes, progress)

    rounds = await bench.rounds(what, measure, Unit.SECONDS)
    if not await chappe.ask(QUEUED):
        raise LoadError("the campaign was over before the codes were: a larger one is needed")
    return Row("backlog", what, rounds, Unit.SECONDS, goals=[Goal(MOST_LATE_SECONDS)])


async def _send_codes(chappe: Chappe, first: int, count: int, progress: Progress) -> Round:
    numbers = [f"+{CODE_NUMBERS}{first + index:07d}" for index in range(count)]
    calls = [Call(SEND, send_body(number, "Votre code est 123456.").decode()) for number in numbers]
    async with Generator(chappe.base_url, chappe.key, calls, rate=CODES_A_SECOND) as load:
        began = time.perf_counter()
        told = await load.run(progress)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not (seen := chappe.operator.sightings()).keys() >= {number[1:] for number in numbers}:
        if time.monotonic() > give_up:
            raise LoadError("codes did not reach the operator")
        await asyncio.sleep(POLL_SECONDS)
    due = [told.began_ns + int(index / CODES_A_SECOND * 1e9) for index in range(count)]
    late = sorted((seen[number[1:]] - at) / 1e9 for number, at in zip(numbers, due, strict=True))
    return Round(count, time.perf_counter() - began, figure=quantile(late, 0.99))


@asynccontextmanager
async def _with_a_list(bench: Bench, count: int) -> AsyncIterator[tuple[Chappe, str]]:
    """A server whose operator is away, and the list of so many contacts that its account has."""
    with TemporaryDirectory(dir=bench.folder) as name:
        setting = Setting(callbacks=False, operator=False, receipt_seconds=0, window=WINDOW, watched=CODE_NUMBERS)
        chappe = Chappe(setting, Path(name))
        try:
            await chappe.start()
            chappe.server.run("accounts", "set", ACCOUNT, "--hours", "none", "--stop-mention", "none")
            bench.begin(f"importing {count:,} contacts")
            yield chappe, await asyncio.to_thread(make_list, chappe.server, chappe.key, Path(name), count)
        finally:
            await chappe.stop()


async def _begin(chappe: Chappe, list_: str) -> None:
    campaign = {"name": "Bench", "message": TEXT, "sendList": list_}
    made = await asyncio.to_thread(ask, chappe.server, chappe.key, "/v2/marketing/campaigns", json.dumps(campaign))
    await asyncio.to_thread(ask, chappe.server, chappe.key, f"/v2/campaigns/{made['id']}/send", "{}")


async def _store(chappe: Chappe, list_: str, count: int, progress: Progress) -> Round:
    """From the request to send it until the last message is on disk."""
    await chappe.begin()
    began, cpu = time.perf_counter(), chappe.cpu_seconds()
    await _begin(chappe, list_)
    await _until(chappe.stored, count, progress)
    return Round(count, time.perf_counter() - began, chappe.cpu_seconds() - cpu)


async def _open(chappe: Chappe) -> None:
    """The operator comes; returns at its first submit."""
    await chappe.operator.start()
    while not chappe.operator.count:
        await asyncio.sleep(0.005)


async def _drain(chappe: Chappe, count: int, progress: Progress) -> Round:
    await _open(chappe)
    began, cpu, peers_cpu = time.perf_counter(), chappe.cpu_seconds(), chappe.peers_cpu_seconds()
    await _until(chappe.over, count, progress)
    seconds, peers_cpu = time.perf_counter() - began, chappe.peers_cpu_seconds() - peers_cpu
    return Round(count, seconds, chappe.cpu_seconds() - cpu, peers_cpu=peers_cpu)


async def _until(ask: Callable[[], Awaitable[int]], count: int, progress: Progress) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (found := await ask()) < count:
        progress(found / count)
        if time.monotonic() > give_up:
            raise LoadError(f"of {count:,} messages of a campaign there are {found:,}")
        await asyncio.sleep(POLL_SECONDS)
