"""kill -9 in the middle of sends, again and again: what was answered 200 ends, and nothing is doubled in silence.

The ledgers are outside the process that is killed: the client's 200s here, the operator's PDUs in a simulator that
lives through it all. Numbers are invariants I1 to I4 of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.http_load import Connection, read, send_body
from bench.servers import ChildServer
from chappe.simulator import Mood, Simulator

FINAL = {"delivered", "bounced", "error", "opened", "reply", "unsubscribed"}
CLIENTS = 32
SETTINGS = {
    # One-time codes are resent 5 s after a doubt; marketing never, and its error comes 1.5 validities after the send.
    "CHAPPE_DEFAULT_VALIDITY_SECONDS": "8",
}
OPERATOR = """
[operators.op]
host = "127.0.0.1"
port = {port}
window = 50
retry_seconds = 0.2
response_seconds = 3
"""


@dataclass
class Findings:
    """What was counted; `problems` is empty when the promise was kept."""

    sends: int = 0
    kills: int = 0
    accepted: int = 0
    unanswered: int = 0
    """Requests cut off by a kill: whether they were stored, the client cannot know."""
    states: Counter[str] = field(default_factory=Counter)
    in_doubt_ended_unknown: int = 0
    submits: int = 0
    flagged: int = 0
    """Submits that the status calls a possible double."""
    doubled: int = 0
    """Messages that the operator accepted twice."""
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        states = ", ".join(f"{state} {count}" for state, count in sorted(self.states.items()))
        return (
            f"sends {self.sends}, kills {self.kills}, accepted {self.accepted}, unanswered {self.unanswered}; "
            f"final: {states}; lost {len(self.problems)}; submits {self.submits}, "
            f"possibly doubled and flagged {self.flagged}, of these really doubled {self.doubled}"
        )


async def prove(
    folder: Path, *, sends: int, kills: int, seed: int, report: Callable[[str], None] = lambda line: None
) -> Findings:
    """Sends with concurrent clients, kills the server `kills` times on the way, and follows every accepted message."""
    chance = random.Random(seed)
    findings = Findings(sends=sends, kills=kills)
    simulator = Simulator(Mood(receipt_seconds=0.2), ledger=True)
    port = await simulator.start()
    config = folder / "chappe.toml"
    config.write_text(
        f'[operators.op]\nhost = "127.0.0.1"\nport = {port}\nwindow = 50\nretry_seconds = 0.2\nresponse_seconds = 3\n'
    )
    server = ChildServer(folder, SETTINGS, config)
    await server.start()
    key = server.create_key()
    ids: dict[str, str] = {}
    moments = sorted(chance.sample(range(sends // 20, sends), kills))
    up = asyncio.Event()
    up.set()
    numbers = iter(range(sends))
    clients = [_client(server, key, numbers, up, ids, findings) for _ in range(CLIENTS)]
    try:
        await asyncio.gather(_killer(server, moments, ids, findings, up, report), *clients)
        report(f"{len(ids)} accepted, waiting for their ends")
        statuses = await _follow(server, key, ids, report)
        _judge(findings, simulator, ids, statuses)
        code = server.stop()
        if code:
            findings.problems.append(f"exit code {code} after SIGTERM")
    finally:
        if server.running:
            server.kill()
        await simulator.stop()
    return findings


async def _client(
    server: ChildServer,
    key: str,
    numbers: Iterator[int],
    up: asyncio.Event,
    ids: dict[str, str],
    findings: Findings,
) -> None:
    connection = Connection(server.base_url, key)
    for index in numbers:
        await up.wait()
        marketing = index % 2 == 0
        path = f"/v2/{'marketing' if marketing else 'notification'}/messages/send"
        number = f"+3361{index:07d}"
        try:
            answer = read(await connection.post(path, send_body(number, category="otp")))
        except OSError:
            findings.unanswered += 1
        else:
            ids[number] = answer["snapshotId"]
    connection.close()


async def _killer(
    server: ChildServer,
    moments: list[int],
    ids: dict[str, str],
    findings: Findings,
    up: asyncio.Event,
    report: Callable[[str], None],
) -> None:
    for moment in moments:
        while len(ids) + findings.unanswered < moment:
            await asyncio.sleep(0.002)
        up.clear()
        server.kill()
        report(f"killed after {len(ids)} accepted")
        await server.start()
        up.set()


async def _follow(
    server: ChildServer, key: str, ids: dict[str, str], report: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Asks until every message is final; gives up after validity, the wait for receipts, and a minute."""
    connection = Connection(server.base_url, key)
    statuses: dict[str, dict[str, Any]] = {}
    for _ in range(45):
        for number, id_ in ids.items():
            if statuses.get(number, {}).get("state") not in FINAL:
                status, body = await connection.get(f"/v2/messages/status?snapshotId={id_}")
                statuses[number] = json.loads(body) if status == 200 else {"state": f"HTTP {status}"}
        left = sum(status["state"] not in FINAL for status in statuses.values())
        if not left:
            break
        report(f"{left} not final yet")
        await asyncio.sleep(2)
    connection.close()
    return statuses


def _judge(findings: Findings, simulator: Simulator, ids: dict[str, str], statuses: dict[str, dict[str, Any]]) -> None:
    submits = Counter(f"+{line.pdu.destination_addr.decode()}" for line in simulator.ledger or ())
    findings.accepted = len(ids)
    findings.submits = submits.total()
    for number in ids:
        status = statuses[number]
        findings.states[status["state"]] += 1
        resent = status.get("resent", 0)
        findings.flagged += resent
        findings.doubled += submits[number] > 1
        if status["state"] not in FINAL:
            findings.problems.append(f"{number} has not ended: {status['state']}")
        if submits[number] > 1 + resent:
            findings.problems.append(f"{number} was submitted {submits[number]} times, flagged {resent}")
        at_most_once = int(number[5:]) % 2 == 0
        if at_most_once and submits[number] > 1:
            findings.problems.append(f"{number} was submitted twice against its policy")
