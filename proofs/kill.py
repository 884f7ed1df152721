"""kill -9 in the middle of sends, again and again: what was answered 200 ends, and nothing is doubled in silence.

One node with a file of SQLite, or several that share a PostgreSQL, of which one dies at a time. The ledgers are outside
the process that is killed: the client's 200s here, the operator's PDUs in a simulator that lives through it all.
Numbers are invariants I1 to I4 of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.http_load import Connection, read, send_body
from chappe.cluster.nodes import ChildNode
from chappe.simulator import Mood, Simulator
from proofs.findings import Report, silent
from proofs.stores import database_for

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
    folder: Path, *, sends: int, kills: int, seed: int, nodes: int = 0, report: Report = silent
) -> Findings:
    """Sends with concurrent clients, kills a node `kills` times on the way, and follows every accepted message.

    `nodes`: how many on a PostgreSQL; with 0 there is one, on SQLite.
    """
    chance = random.Random(seed)
    findings = Findings(sends=sends, kills=kills)
    async with AsyncExitStack() as stack:
        simulator = Simulator(Mood(receipt_seconds=0.2), ledger=True)
        port = await simulator.start()
        stack.push_async_callback(simulator.stop)
        config = folder / "chappe.toml"
        config.write_text(OPERATOR.format(port=port))
        database = await stack.enter_async_context(database_for(nodes, folder))
        servers = [_Server(folder, f"node{number}", database, config) for number in range(max(1, nodes))]
        for server in servers:
            stack.push_async_callback(asyncio.to_thread, server.node.stop)
            await server.start()
        key = await asyncio.to_thread(servers[0].node.create_key, "proof")
        await asyncio.to_thread(servers[0].node.command, "accounts", "set", "proof", "--hours", "none")  # at night, too
        ids: dict[str, str] = {}
        moments = sorted(chance.sample(range(sends // 20, sends), kills))
        numbers = iter(range(sends))
        clients = [_client(servers[index % len(servers)], key, numbers, ids, findings) for index in range(CLIENTS)]
        await asyncio.gather(_killer(servers, moments, chance, ids, findings, report), *clients)
        report(f"{len(ids)} accepted, waiting for their ends")
        statuses = await _follow(servers[0].node.base_url, key, ids, report)
        _judge(findings, simulator, ids, statuses)
        for server in servers:
            code = await asyncio.to_thread(server.node.stop)
            if code:
                findings.problems.append(f"exit code {code} of {server.node.name} after SIGTERM")
    return findings


class _Server:
    """A node, and whether it is up."""

    def __init__(self, folder: Path, name: str, database: str, config: Path) -> None:
        self.node = ChildNode(folder, name, database, config, SETTINGS)
        self.up = asyncio.Event()

    async def start(self) -> None:
        await asyncio.to_thread(self.node.start)
        self.up.set()

    def kill(self) -> None:
        self.up.clear()
        self.node.kill()


async def _client(server: _Server, key: str, numbers: Iterator[int], ids: dict[str, str], findings: Findings) -> None:
    connection = Connection(server.node.base_url, key)
    for index in numbers:
        await server.up.wait()
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
    servers: list[_Server],
    moments: list[int],
    chance: random.Random,
    ids: dict[str, str],
    findings: Findings,
    report: Report,
) -> None:
    for moment in moments:
        while len(ids) + findings.unanswered < moment:
            await asyncio.sleep(0.002)
        server = chance.choice(servers)
        server.kill()
        report(f"{server.node.name} killed after {len(ids)} accepted")
        await server.start()


async def _follow(base_url: str, key: str, ids: dict[str, str], report: Report) -> dict[str, dict[str, Any]]:
    """Asks until every message is final; gives up after validity, the wait for receipts, and a minute."""
    connection = Connection(base_url, key)
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
