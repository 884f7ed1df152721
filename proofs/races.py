"""An operator's answer on one node races its receipt on another: every one is settled right, and none stays parked."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chappe.core.lifecycle import public_state
from chappe.core.message import Answered, AttemptReport, ReceiptReport, Report, Submission, Verdict
from chappe.core.routing import Portion
from chappe.storage.postgres import PostgresStore, open_postgres
from proofs import findings as found
from proofs.stores import a_send, database, now_ms

AT_ONCE = 500
LARGEST_BATCH = 4
"""Reports in one call."""
RUNNERS = 6
LATE_SECONDS = 0.004
"""How much earlier one may be than the other: about as long as a transaction takes."""
CONNECTOR = "op"


async def prove(folder: Path, *, races: int, seed: int, report: found.Report = found.silent) -> found.Findings:
    chance = random.Random(seed)
    states: Counter[str] = Counter()
    async with database(folder) as cluster:
        here, there = [await open_postgres(cluster.url) for _ in range(2)]
        account = (await here.open_account("proof", now_ms())).id
        epoch = await here.open_connector(CONNECTOR, now_ms())
        for first in range(0, races, AT_ONCE):
            upto = min(races, first + AT_ONCE)
            await asyncio.gather(*(here.accept(a_send(account, number)) for number in range(first, upto)))
            claimed = await here.claim(CONNECTOR, epoch, [Portion("live")], AT_ONCE, now_ms())
            await _race(here, there, claimed, chance)
            read = await asyncio.gather(*(here.find_message(account, sub.attempt.message) for sub in claimed))
            states.update(public_state(message).name.lower() for message in read if message is not None)
            report(f"{upto} raced")
        left = (await here.count_pending())["parked"]
        for store in (here, there):
            await store.close()
    findings = found.Findings({"races": races, "delivered": states["delivered"], "left parked": left})
    findings.expect(states == {"delivered": races}, f"ends: {dict(states)}")
    findings.expect(left == 0, f"{left} receipts are parked for ever")
    return findings


async def _race(
    here: PostgresStore, there: PostgresStore, claimed: Sequence[Submission], chance: random.Random
) -> None:
    """A few at a time: what waits together is settled in one transaction, and here transactions have to meet."""
    waiting = list(claimed)
    chance.shuffle(waiting)

    async def run() -> None:
        while waiting:
            size = chance.randint(1, LARGEST_BATCH)
            batch, waiting[:] = waiting[:size], waiting[size:]
            now = now_ms()
            calls = [
                _after(chance.uniform(0, LATE_SECONDS), here, [_answer(sub, now) for sub in batch], now),
                _after(chance.uniform(0, LATE_SECONDS), there, [_receipt(sub, now, chance) for sub in batch], now),
            ]
            await asyncio.gather(*calls)

    await asyncio.gather(*(run() for _ in range(RUNNERS)))


async def _after(seconds: float, store: PostgresStore, reports: Sequence[Report], now: int) -> None:
    await asyncio.sleep(seconds)
    await store.settle(reports, now)


def _answer(submission: Submission, now: int) -> AttemptReport:
    message, part, attempt = submission.key
    return AttemptReport(message, Answered(part, attempt, now, _carrier_id(submission)))


def _receipt(submission: Submission, now: int, chance: random.Random) -> ReceiptReport:
    """Every third one spells the id otherwise: its form leads to the attempt, not the id itself."""
    spelt = _carrier_id(submission).lower() if chance.random() < 1 / 3 else _carrier_id(submission)
    return ReceiptReport(CONNECTOR, spelt, now, Verdict.DELIVERED, "DELIVRD", None, submission.number, b"id:")


def _carrier_id(submission: Submission) -> str:
    return f"{0xABC00000 + submission.attempt.message:X}"
