"""The node that speaks to the operator is killed, or put to sleep for longer than its lease lasts, under load.

Another takes over in time. A sleeper that wakes claims nothing, for its epoch is over; but the answers that lay in its
socket are told, and are truth.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from statistics import median

from chappe.cluster.cluster import Cluster
from chappe.cluster.nodes import ChildNode
from chappe.cluster.postgres import DATABASE
from chappe.simulator import Mood
from proofs.findings import Findings, Report, silent
from proofs.traffic import Traffic, judge

TAKEOVER_SECONDS = 15.0
GIVE_UP_SECONDS = 40.0
ASLEEP_SECONDS = 8.0
"""Longer than a lease."""

STALE = """
WITH ordered AS (
    SELECT epoch, max(epoch) OVER (ORDER BY claimed_at, epoch ROWS UNBOUNDED PRECEDING) AS newest
    FROM attempt
    WHERE connector = 'op'
)
SELECT count(*)
FROM ordered
WHERE epoch < newest
"""
"""Claims by an epoch after a newer one had claimed."""

DOUBTS = "SELECT count(*) FROM fact WHERE kind = 'DoubtBegan'"

UNANSWERED = """
SELECT m.number, (SELECT count(*) FROM attempt a WHERE a.message = m.id)
FROM fact d
JOIN message m ON m.id = d.message
WHERE d.kind = 'DoubtBegan' AND NOT EXISTS (
    SELECT
    FROM fact f
    WHERE f.message = d.message AND f.kind = 'Answered' AND f.data::json ->> 'attempt' = d.data::json ->> 'attempt'
)
"""
"""Numbers with a doubt whose answer was never told, and how many attempts there were."""


async def prove(
    folder: Path, *, kills: int, pauses: int, nodes: int = 3, rate: float = 40, report: Report = silent
) -> Findings:
    """Pauses come first: all their doubts are to be answered, those of kills cannot be."""
    mood = Mood(answer_seconds=0.25, receipt_seconds=0.5)
    async with Cluster(folder, nodes=nodes, standbys=0, mood=mood, window=50, report=report) as cluster:
        traffic = Traffic(cluster.base_url, cluster.key, rate=rate)
        traffic.start()
        takeovers: list[float] = []
        for number in range(1, pauses + 1):
            await asyncio.sleep(2)
            sleeper = await _holder(cluster)
            sleeper.pause()
            asleep = time.monotonic()
            takeovers.append(await _taken_over(cluster, sleeper, asleep))
            await asyncio.sleep(max(0.0, asleep + ASLEEP_SECONDS - time.monotonic()))
            sleeper.resume()
            report(f"paused {number} of {pauses}: taken over after {takeovers[-1]:.1f} s")
        await asyncio.sleep(2)
        ask = cluster.postgres.primary.ask
        doubts = int(await asyncio.to_thread(ask, DOUBTS, DATABASE))
        silent_ones = (await asyncio.to_thread(ask, UNANSWERED, DATABASE)).splitlines()
        submits = Counter(f"+{line.pdu.destination_addr.decode()}" for line in cluster.operator.ledger or ())
        # One that had been claimed and not written yet when its node fell asleep has no answer.
        never_left = sum(
            submits[number] < int(count) for number, _, count in (row.partition("|") for row in silent_ones)
        )
        thrown_away = len(silent_ones) - never_left
        for number in range(1, kills + 1):
            await asyncio.sleep(2)
            victim = await _holder(cluster)
            victim.kill()
            takeovers.append(await _taken_over(cluster, victim, time.monotonic()))
            await asyncio.to_thread(victim.start)
            report(f"killed {number} of {kills}: taken over after {takeovers[-1]:.1f} s")
        await traffic.stop()
        findings = await judge(traffic, [cluster.operator], cluster.base_url, cluster.key, report)
        stale = int(await asyncio.to_thread(ask, STALE, DATABASE))
    slowest = max(takeovers, default=0.0)
    findings.expect(slowest <= TAKEOVER_SECONDS, f"a take-over took {slowest:.1f} s")
    findings.expect(stale == 0, f"{stale} stale claims")
    findings.expect(thrown_away == 0, f"{thrown_away} answers of nodes that woke were thrown away")
    findings.expect(doubts > 0 or not pauses, "nothing was in flight when a node was paused: nothing is shown")
    findings.counts = {
        "kills": kills,
        "pauses": pauses,
        "slowest take-over": f"{slowest:.1f} s",
        "median": f"{median(takeovers or [0.0]):.1f} s",
        "stale claims": stale,
        "in doubt at pauses": doubts,
        "of these never written": never_left,
        "late answers thrown away": thrown_away,
        **findings.counts,
    }
    return findings


async def _holder(cluster: Cluster) -> ChildNode:
    node = await cluster.holder()
    assert node is not None, "nobody holds the operator"
    return node


async def _taken_over(cluster: Cluster, before: ChildNode, since: float) -> float:
    """Seconds until another node has the lease and a message leaves."""
    while await _holder(cluster) is before and time.monotonic() < since + GIVE_UP_SECONDS:
        await asyncio.sleep(0.05)
    submits = cluster.operator.counts["submits"]
    while cluster.operator.counts["submits"] == submits and time.monotonic() < since + GIVE_UP_SECONDS:
        await asyncio.sleep(0.01)
    return time.monotonic() - since
