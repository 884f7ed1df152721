"""What the store's writer does for a life, transaction by transaction: CPU time of its thread, kernel and all.

The transactions of a server under load are run one after the other on this thread, on a file that is synced: so many
messages are accepted, claimed, answered and reported delivered, and each of their two webhooks is taken; that it is due
is read beside the writer. Of each kind of transaction a round's figure is the lower tenth, because only what is added
by others varies upwards.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw

from bench.measure import Bench, Round, Row, Unit
from bench.micro import NOW
from bench.servers import TEXT
from chappe.core import webhooks
from chappe.core.lifecycle import DOUBT_LASTS_MS
from chappe.core.message import (
    Answered,
    AttemptReport,
    Family,
    InDoubtPolicy,
    ReceiptReport,
    SendMessage,
    State,
    Submission,
    Verdict,
)
from chappe.core.routing import Portion
from chappe.storage import statements
from chappe.storage.sqlite import connect_writer
from chappe.storage.webhooks import contents_of, due_of, outcomes_of, put_together

SQL = statements.load("sqlite")
SIZES = (10, 30, 60, 200)
LIFE = ("accept", "claim", "answers", "receipts")
WEBHOOKS = ("record_outcomes",)
TOGETHER = {"a life": LIFE, "its two webhooks": WEBHOOKS}
JOBS = 8
"""Answers come in so many jobs: a read of each bind's."""


async def each(bench: Bench) -> list[Row]:
    """What the store's writer does for a life, in transactions of 10 to 200."""
    return [row for size in SIZES for row in _rows(bench, size)]


def _rows(bench: Bench, size: int) -> Iterator[Row]:
    progress = bench.begin(f"transactions of {size}")
    rounds = []
    for number in range(bench.scale.rounds):
        with TemporaryDirectory(dir=bench.folder) as folder:
            rounds.append(_lives(Path(folder), size, bench.scale.writer_lives, seed=number))
        progress((number + 1) / bench.scale.rounds)
    for what, kinds in (TOGETHER | {kind: (kind,) for kind in LIFE}).items():
        found = [Round(1, sum(costs[kind] for kind in kinds)) for costs in rounds]
        yield Row("writer", f"{what}, transactions of {size}, CPU of the writer", found, Unit.PER_CALL)


def _lives(folder: Path, size: int, count: int, seed: int) -> dict[str, float]:
    """Seconds a life, by kind of transaction; a webhook's two are summed."""
    writer = _Writer(folder, seed)
    for _ in range(max(3, 200 // size)):  # fills caches
        writer.live(size)
    writer.spent.clear()
    for _ in range(max(10, count // size)):
        writer.live(size)
    writer.close()
    return {
        kind: sorted(spent)[len(spent) // 10] / size * (2 if kind in WEBHOOKS else 1)
        for kind, spent in writer.spent.items()
    }


class _Writer:
    """The writer's side of a store, on this thread."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.connection, self._handlers = connect_writer(str(folder / "chappe.db"), DOUBT_LASTS_MS, beside=False)
        self._reader = apsw.Connection(str(folder / "chappe.db"), flags=apsw.SQLITE_OPEN_READONLY)
        self.spent: defaultdict[str, list[float]] = defaultdict(list)
        self._chance = random.Random(seed)
        self._now = NOW
        [account] = self._run("open_account", [("bench", NOW)])
        self._account = account.id
        [self._epoch] = self._run("open_connector", [("op", NOW)])
        told = frozenset({State.SENT, State.DELIVERED})
        [endpoint] = self._run("add_endpoint", [(self._account, "http://127.0.0.1/", "whsec_", told, NOW)])
        self._endpoint = endpoint.id

    def close(self) -> None:
        self._reader.close()
        self.connection.close()

    def live(self, size: int) -> None:
        self._now += 1_000
        now = self._now
        self._run("accept", [self._send() for _ in range(size)])
        claim = ("op", self._epoch, [Portion("live")], size, now)
        submissions: list[Submission] = self._run("claim", [claim])[0]
        assert len(submissions) == size
        ids = [f"{self._chance.randrange(10**12):012d}" for _ in submissions]
        answers = [
            AttemptReport(of.attempt.message, Answered(of.attempt.part, of.attempt.number, now + 20, id_))
            for of, id_ in zip(submissions, ids, strict=True)
        ]
        self._run("settle", _cut(answers, now + 20), "answers")
        self._tell(size, now + 30)
        receipts = [
            ReceiptReport("op", id_, now + 40, Verdict.DELIVERED, "DELIVRD", None, of.number)
            for of, id_ in zip(submissions, ids, strict=True)
        ]
        self._chance.shuffle(receipts)
        self._run("settle", _cut(receipts, now + 40), "receipts")
        self._tell(size, now + 50)

    def _tell(self, size: int, now: int) -> None:
        due = due_of(self._read("due_endpoints", now))
        ids = [id_ for _, id_ in self._read("due_deliveries", self._endpoint, now, size)]
        deliveries = put_together(due, ids, self._read("delivery_contents", *contents_of(ids)))
        assert len(deliveries) == size
        outcomes = [webhooks.settle(one, webhooks.Outcome(one.id, 200, took_ms=3), now) for one in deliveries]
        self._run("record_outcomes", [outcomes_of(outcomes, now)])

    def _send(self) -> SendMessage:
        return SendMessage(
            self._account,
            f"+336{self._chance.randrange(10**8):08d}",
            Family.NOTIFICATION,
            TEXT,
            1,
            "live",
            False,
            InDoubtPolicy.WAIT_THEN_RETRY,
            accepted_at=self._now,
            due_at=self._now,
            validity_ms=172_800_000,
        )

    def _read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._reader.execute(SQL[statement], values).fetchall()

    def _run(self, kind: str, payloads: list[Any], name: str | None = None) -> Sequence[Any]:
        began = time.thread_time()
        self.connection.begin()
        results = self._handlers[kind](payloads)
        self.connection.commit()
        self.spent[name or kind].append(time.thread_time() - began)
        return results


def _cut(reports: Sequence[Any], now: int) -> list[Any]:
    step = -(-len(reports) // JOBS)
    return [(reports[at : at + step], now) for at in range(0, len(reports), step)]
