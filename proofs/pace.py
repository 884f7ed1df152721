"""How fast one operator is written to: a whole server with a backlog, an operator 80 ms away, and a clock.

The window and the way there are all that should hold it back; where the operator has a limit, that limit, after a
minute at most.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import apsw

from bench.gateways import send_calls
from bench.generator import Generator
from bench.servers import ChildServer
from chappe.loopback import free_port
from chappe.simulator import Mood, Simulator
from proofs.findings import Findings, Report, silent

ANSWER_SECONDS = 0.08
RECEIPT_SECONDS = 0.5
LEAST = 0.95
"""Of what window, way and limit allow."""
MOST_THROTTLED = 0.01
WARM_SECONDS = 3.0
SPARE = 1.2
"""How much longer than the measuring the backlog must last."""
PATIENCE_SECONDS = 300
UNDECIDED = "SELECT count(*) FROM message WHERE wake_at IS NOT NULL"
DELIVERED = "SELECT count(*) FROM message WHERE delivered_at IS NOT NULL"
OPERATOR = """
[operators.op]
host = "127.0.0.1"
port = {port}
window = {window}
rate = {rate}
retry_seconds = 0.2
"""


class Case(NamedTuple):
    window: int
    limit: int = 0
    """Submits a second above which the operator throttles; 0: none."""
    rate: int = 0
    """What the settings say that it takes."""

    @property
    def possible(self) -> float:
        """Submits a second, in theory."""
        by_window = self.window / ANSWER_SECONDS
        return min(by_window, self.limit) if self.limit else by_window

    @property
    def name(self) -> str:
        return f"window {self.window}" + (f", limit {self.limit}/s, set {self.rate}/s" if self.limit else "")


CASES = (Case(10), Case(100), Case(100, limit=100, rate=200))


async def prove(folder: Path, *, seconds: float = 30, settle: float = 60, report: Report = silent) -> Findings:
    """`seconds` is how long each rate is measured; a limit is measured after `settle`."""
    findings = Findings()
    for number, case in enumerate(CASES):
        place = folder / str(number)
        place.mkdir()
        await _measure(place, case, seconds, settle if case.limit else WARM_SECONDS, findings, report)
    return findings


async def _measure(folder: Path, case: Case, seconds: float, lead: float, findings: Findings, report: Report) -> None:
    port = free_port()
    config = folder / "chappe.toml"
    config.write_text(OPERATOR.format(port=port, window=case.window, rate=case.rate))
    mood = Mood(answer_seconds=ANSWER_SECONDS, receipt_seconds=RECEIPT_SECONDS, throttle_above=case.limit)
    server, operator = ChildServer(folder, {}, config), Simulator(mood)
    count = int(case.possible * (lead + seconds) * SPARE)
    key = server.create_key()
    await server.start()
    try:
        report(f"{case.name}: queueing {count} messages")
        async with Generator(server.base_url, key, send_calls(count, seed=1)) as load:
            await load.run(lambda done: None)
        await operator.start(port=port)
        while not operator.counts["accepted"]:
            await asyncio.sleep(0.01)
        await asyncio.sleep(lead)
        report(f"{case.name}: measuring")
        began, before = time.monotonic(), operator.counts.copy()
        await asyncio.sleep(seconds)
        took = time.monotonic() - began
        seen = operator.counts.copy()
        seen.subtract(before)
        report(f"{case.name}: waiting for every message's end")
        delivered = await _delivered(folder / "chappe.db")
        _judge(case, seen, took, findings)
        findings.expect(delivered == count, f"{case.name}: of {count} messages {delivered} were delivered")
    finally:
        await asyncio.to_thread(server.stop)
        await operator.stop()


def _judge(case: Case, seen: Counter[str], seconds: float, findings: Findings) -> None:
    rate = seen["accepted"] / seconds
    share = rate / case.possible
    findings.counts[case.name] = f"{rate:.1f}/s of {case.possible:.0f}/s ({share:.1%})"
    findings.expect(share >= LEAST, f"{case.name}: {share:.1%} of what is possible")
    if case.limit:
        throttled = seen["throttled"] / max(1, seen["submits"])
        findings.counts["throttled"] = f"{throttled:.2%}"
        findings.expect(throttled <= MOST_THROTTLED, f"{case.name}: {throttled:.2%} throttled")


async def _delivered(path: Path) -> int:
    """How many, once nothing is undecided any more or patience has ended."""
    database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while _count(database, UNDECIDED) and time.monotonic() < end:
            await asyncio.sleep(0.5)
        return _count(database, DELIVERED)
    finally:
        database.close()


def _count(database: apsw.Connection, sql: str) -> int:
    count = database.execute(sql).get
    assert isinstance(count, int)
    return count
