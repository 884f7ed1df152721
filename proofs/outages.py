"""The database restarts, or its primary dies and a standby is promoted, again and again under load.

Nothing accepted is lost, the API says 503 and nothing worse, it resumes by itself, and the bind to the operator stays.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from chappe.cluster.cluster import Cluster
from chappe.cluster.postgres import PostgresServer
from chappe.simulator import Mood
from proofs.findings import Findings, Report, silent
from proofs.traffic import Traffic, judge

RESUME_SECONDS = 10.0
BETWEEN_SECONDS = 1.5
"""So long it runs at peace between two outages, at least."""


async def restarts(
    folder: Path, *, count: int, seed: int, nodes: int = 2, rate: float = 50, report: Report = silent
) -> Findings:
    """The server is stopped and started, half the times by a crash."""
    chance = random.Random(seed)

    async def restart(cluster: Cluster) -> None:
        """Returns once it is there again."""
        how = chance.choice((signal.SIGINT, signal.SIGQUIT))
        await asyncio.to_thread(cluster.postgres.primary.stop, how)
        await asyncio.sleep(chance.uniform(0, 1))
        await asyncio.to_thread(cluster.postgres.primary.start)

    return await _prove(folder, "restarts", restart, count, chance, nodes, 0, rate, report)


async def failovers(
    folder: Path, *, count: int, seed: int, nodes: int = 2, rate: float = 50, report: Report = silent
) -> Findings:
    """The primary crashes, a standby is promoted, and the dead one comes back as a standby."""
    chance = random.Random(seed)

    async def fail_over(cluster: Cluster) -> PostgresServer:
        """Returns the one that is dead, once there is another primary."""
        dead = await asyncio.to_thread(cluster.postgres.crash_primary)
        await asyncio.sleep(chance.uniform(0, 0.5))
        await asyncio.to_thread(cluster.postgres.promote)
        return dead

    return await _prove(folder, "promotions", fail_over, count, chance, nodes, 2, rate, report)


async def _prove(
    folder: Path,
    what: str,
    happens: Callable[[Cluster], Awaitable[PostgresServer | None]],
    count: int,
    chance: random.Random,
    nodes: int,
    standbys: int,
    rate: float,
    report: Report,
) -> Findings:
    mood = Mood(answer_seconds=0.05, receipt_seconds=0.3)
    async with Cluster(folder, nodes=nodes, standbys=standbys, mood=mood, report=report) as cluster:
        traffic = Traffic(cluster.base_url, cluster.key, rate=rate)
        traffic.start()
        await traffic.resumed(0.0, RESUME_SECONDS)
        operator = cluster.operator
        binds = operator.counts["binds"]
        slowest = {"accepts": 0.0, "submits": 0.0}
        problems = []
        for number in range(1, count + 1):
            await asyncio.sleep(chance.uniform(BETWEEN_SECONDS, 2 * BETWEEN_SECONDS))
            dead = await happens(cluster)
            back, submits = time.monotonic(), operator.counts["submits"]
            resumed = await traffic.resumed(back, RESUME_SECONDS)
            while operator.counts["submits"] == submits and time.monotonic() < back + RESUME_SECONDS:
                await asyncio.sleep(0.01)
            submitted = time.monotonic() - back
            if resumed is None or submitted >= RESUME_SECONDS:
                problems.append(f"{what} {number}: not resumed after {RESUME_SECONDS:.0f} s")
            slowest["accepts"] = max(slowest["accepts"], resumed or RESUME_SECONDS)
            slowest["submits"] = max(slowest["submits"], submitted)
            if dead is not None:
                await asyncio.to_thread(cluster.postgres.rejoin, dead)
            report(f"{what} {number} of {count}; {len(traffic.ids)} accepted")
        await traffic.stop()
        findings = await judge(traffic, [operator], cluster.base_url, cluster.key, report)
        again = operator.counts["binds"] - binds
        findings.problems += problems
        findings.expect(not again, f"{again} binds were made anew")
        codes = [await asyncio.to_thread(node.stop) for node in cluster.nodes]
        findings.expect(not any(codes), f"exit codes {codes} after SIGTERM")
        findings.counts = {
            what: count,
            **findings.counts,
            "slowest to accept again": f"{slowest['accepts']:.1f} s",
            "to submit again": f"{slowest['submits']:.1f} s",
            "binds made anew": again,
        }
    return findings
