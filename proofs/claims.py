"""Several nodes claim from one queue: each message is claimed once, by one epoch, and the nodes' shares are fair.

Each node is a process with a store and a connector of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from chappe.cluster.postgres import DATABASE
from chappe.core.message import Answered, AttemptReport, Holder
from chappe.core.routing import Portion
from chappe.storage.postgres import open_postgres
from proofs.findings import Findings, Report, silent
from proofs.stores import a_send, database, now_ms

AT_ONCE = 2_000
"""Messages accepted at once."""
WINDOW = 100
FAIR = 0.2
"""How far a share may be from the mean."""

CLAIMED = """
SELECT connector, count(*), count(DISTINCT epoch), sum(message)
FROM attempt
GROUP BY connector
ORDER BY connector
"""
TWICE = "SELECT count(*) FROM (SELECT FROM attempt GROUP BY message, part HAVING count(*) > 1) twice"


async def prove(folder: Path, *, messages: int, nodes: int, report: Report = silent) -> Findings:
    findings = Findings()
    async with database(folder) as cluster:
        store = await open_postgres(cluster.url)
        account = (await store.open_account("proof", now_ms())).id
        for first in range(0, messages, AT_ONCE):
            upto = min(messages, first + AT_ONCE)
            await asyncio.gather(*(store.accept(a_send(account, number)) for number in range(first, upto)))
            report(f"{upto} accepted")
        began = time.monotonic()
        claimers = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proofs.claims", f"node{number}", str(nodes)),
                env={**os.environ, "CHAPPE_DATABASE": cluster.url},
                stdout=asyncio.subprocess.PIPE,
            )
            for number in range(nodes)
        ]
        finished = asyncio.gather(*(claimer.communicate() for claimer in claimers))
        while not finished.done():
            report(f"{(await store.count_pending())['queued']} left on the queue")
            await asyncio.wait([finished], timeout=2)
        seconds = time.monotonic() - began
        said = sorted(out.decode().strip() for out, _ in await finished)
        ask = cluster.primary.ask
        stored = (await asyncio.to_thread(ask, CLAIMED, DATABASE)).splitlines()
        twice = int(await asyncio.to_thread(ask, TWICE, DATABASE))
        left = (await store.count_pending())["queued"]
        await store.close()
    shares = [int(line.split("|")[1]) for line in stored]
    mean = messages / nodes
    unfair = max(abs(share - mean) / mean for share in shares) if shares else 1.0
    findings.expect(said == stored, f"the nodes' own counts differ from what is stored: {said} {stored}")
    findings.expect(all(line.split("|")[2] == "1" for line in stored), "a connector claimed under two epochs")
    findings.expect(sum(shares) == messages and not left, f"{sum(shares)} claimed, {left} left")
    findings.expect(twice == 0, f"{twice} parts claimed twice")
    findings.expect(len(shares) == nodes and unfair <= FAIR, f"unfair shares: {shares}")
    findings.counts = {
        "messages": messages,
        "nodes": nodes,
        "claimed": sum(shares),
        "claimed twice": twice,
        "furthest share from the mean": f"{unfair:.0%}",
        "claimed and settled a second": round(messages / seconds),
    }
    return findings


async def _claim_all(url: str, name: str, nodes: int) -> None:
    """A node: claims a window, settles it, until nothing is left. Prints what it claimed, as CLAIMED would."""
    store = await open_postgres(url)
    holder = Holder(name, "1")
    while await store.beat(holder, 60_000, now_ms()) < nodes:
        await asyncio.sleep(0.05)
    epoch = await store.lease(name, holder, 600_000, now_ms())
    assert epoch is not None
    count, total = 0, 0
    while claimed := await store.claim(name, epoch, [Portion("live")], WINDOW, now_ms()):
        count += len(claimed)
        total += sum(submission.attempt.message for submission in claimed)
        reports = [
            AttemptReport(message, Answered(part, attempt, now_ms(), f"{name}-{message}"))
            for message, part, attempt in (submission.key for submission in claimed)
        ]
        await store.settle(reports, now_ms())
    await store.close()
    print(f"{name}|{count}|1|{total}")


if __name__ == "__main__":
    asyncio.run(_claim_all(os.environ["CHAPPE_DATABASE"], sys.argv[1], int(sys.argv[2])))
