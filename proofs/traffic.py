"""Clients that send on while things die: each message with an idempotency key, asked again until it is accepted.

The ledger is theirs and the operator's. A status that should never be (500) is kept, not raised.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench.http_load import Connection, send_body
from chappe.simulator import Simulator
from proofs.findings import Findings, Report

FINAL = {"delivered", "bounced", "error", "opened", "reply", "unsubscribed"}
ALLOWED = {200, 503, 409}
"""409: the first request with this key is not answered yet."""
AGAIN_SECONDS = 0.05
PATIENCE_SECONDS = 90
"""After each message was asked about once: a long proof has very many."""


class Traffic:
    """One-time codes (sent again 5 s after a doubt) from several clients, to a new number each."""

    def __init__(self, base_url: str, key: str, *, clients: int = 8, rate: float = 50) -> None:
        """`rate`: messages a second, of all clients together."""
        self.ids: dict[str, str] = {}
        self.answers: Counter[int] = Counter()
        self.unanswered = 0
        self.slowest = 0.0
        """Seconds that the slowest answer took."""
        self.accepted_from = 0.0
        """When the request was begun that was accepted last (monotonic)."""
        self._base_url, self._key = base_url, key
        self._clients = clients
        self._pause = clients / rate
        self._number = 0
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._send_on()) for _ in range(self._clients)]

    async def stop(self) -> None:
        """Returns once each message is accepted that was begun."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def resumed(self, since: float, seconds: float) -> float | None:
        """How long after `since` a request was begun that was accepted; None if it takes longer than `seconds`."""
        while self.accepted_from <= since:
            if time.monotonic() > since + seconds:
                return None
            await asyncio.sleep(0.01)
        return time.monotonic() - since

    async def _send_on(self) -> None:
        connection = Connection(self._base_url, self._key)
        while not self._stopping.is_set():
            number = f"+3361{self._number:07}"
            self._number += 1
            began = time.monotonic()
            while not await self._try(connection, number):
                await asyncio.sleep(AGAIN_SECONDS)
            await asyncio.sleep(max(0.0, began + self._pause - time.monotonic()))
        connection.close()

    async def _try(self, connection: Connection, number: str) -> bool:
        began = time.monotonic()
        path = "/v2/notification/messages/send"
        try:
            status, body = await connection.post(path, send_body(number, category="otp"), idempotency_key=number)
        except OSError:
            self.unanswered += 1
            return False
        self.answers[status] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        if status == 200:
            self.ids[number] = json.loads(body)["snapshotId"]
            self.accepted_from = max(self.accepted_from, began)
        return status == 200 or status not in ALLOWED


async def follow(base_url: str, key: str, ids: dict[str, str], report: Report) -> dict[str, dict[str, Any]]:
    """Asks until every message is final, or patience ends."""
    connection = Connection(base_url, key)
    statuses: dict[str, dict[str, Any]] = {}
    end: float | None = None
    while True:
        for number, id_ in ids.items():
            if statuses.get(number, {}).get("state") not in FINAL:
                try:
                    status, body = await connection.get(f"/v2/messages/status?snapshotId={id_}")
                except OSError:
                    continue
                statuses[number] = json.loads(body) if status == 200 else {"state": f"HTTP {status}"}
        left = sum(statuses.get(number, {}).get("state") not in FINAL for number in ids)
        end = end or time.monotonic() + PATIENCE_SECONDS
        if not left or time.monotonic() > end:
            break
        report(f"{left} not final yet")
        await asyncio.sleep(1)
    connection.close()
    return statuses


async def judge(traffic: Traffic, operators: Sequence[Simulator], base_url: str, key: str, report: Report) -> Findings:
    """Follows every accepted message to its end: what was lost, doubled, flagged, or answered as it never should be."""
    report(f"{len(traffic.ids)} accepted, waiting for their ends")
    statuses = await follow(base_url, key, traffic.ids, report)
    lines = (line for operator in operators for line in operator.ledger or () if line.message_id)
    submits = Counter(f"+{line.pdu.destination_addr.decode()}" for line in lines)
    findings = Findings()
    lost, flagged, doubled = 0, 0, 0
    for number in traffic.ids:
        status = statuses.get(number, {"state": "no answer"})
        resent = status.get("resent", 0)
        flagged += resent
        doubled += submits[number] > 1
        if status["state"] not in FINAL:
            lost += 1
            findings.problems.append(f"{number} has not ended: {status['state']}")
        findings.expect(submits[number] <= 1 + resent, f"{number}: {submits[number]} submits, flagged {resent}")
    wrong = {status: count for status, count in traffic.answers.items() if status not in ALLOWED}
    findings.expect(not wrong, f"answers that should never be: {wrong}")
    findings.counts = {
        "accepted": len(traffic.ids),
        "lost": lost,
        "flagged": flagged,
        "of these doubled": doubled,
        "503": traffic.answers[503],
        "other errors": sum(wrong.values()),
        "unanswered": traffic.unanswered,
        "slowest answer": f"{traffic.slowest:.1f} s",
    }
    return findings
