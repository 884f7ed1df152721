"""An operator is added, changed, drained and removed by command, again and again, while messages leave.

One node with a file of SQLite, or several that share a PostgreSQL. Beside the operator of the settings file, which
stays, there is one by command, at either of two places. The commands are those that a person would type. The ledgers
are the operators' PDUs, of all places together.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from chappe.cluster.nodes import ChildNode
from chappe.simulator import Mood, Simulator
from proofs.findings import Findings, Report, silent
from proofs.stores import database_for
from proofs.traffic import Traffic, judge

NAME = "extra"
PATIENCE_SECONDS = 30.0
IDS_APART_SECONDS = 10.0
"""A simulator's ids begin with the microsecond in which it was made."""
UNDISTURBED_SECONDS = 1.2
"""By then every node has seen a change."""
MOOD = Mood(answer_seconds=0.05, receipt_seconds=0.1)
OPERATOR = """
[operators.op]
host = "127.0.0.1"
port = {port}
window = 5
retry_seconds = 0.2
"""


async def prove(
    folder: Path, *, changes: int, seed: int, nodes: int = 0, rate: float = 60, report: Report = silent
) -> Findings:
    """`nodes`: how many on a PostgreSQL; with 0 there is one, on SQLite."""
    async with AsyncExitStack() as stack:
        simulators = [
            # It is one operator at two places: the ids that it gives at the one are not those of the other.
            Simulator(MOOD, ledger=True, wall_clock=partial(_clock, slow_seconds=IDS_APART_SECONDS * number))
            for number in range(3)
        ]
        ports = [await simulator.start() for simulator in simulators]
        for simulator in simulators:
            stack.push_async_callback(simulator.stop)
        config = folder / "chappe.toml"
        config.write_text(OPERATOR.format(port=ports[0]))
        database = await stack.enter_async_context(database_for(nodes, folder))
        running = [ChildNode(folder, f"node{number}", database, config) for number in range(max(1, nodes))]
        for node in running:
            stack.push_async_callback(asyncio.to_thread, node.stop)
            await asyncio.to_thread(node.start)
        key = await asyncio.to_thread(running[0].create_key, "proof")
        traffic = Traffic(running[0].base_url, key, rate=rate)
        traffic.start()
        person = _Person(running[-1], folder, list(zip(simulators, ports, strict=True))[1:], random.Random(seed))
        for number in range(1, changes + 1):
            report(f"change {number} of {changes}: {await person.change()}")
        await traffic.stop()
        report("fetching the receipts that are still to come")
        await person.fetch_receipts()
        findings = await judge(traffic, simulators, running[0].base_url, key, report)
    _judge(findings, person, simulators)
    return findings


class _Person:
    """Types commands at a node, and sees that they have come about."""

    def __init__(
        self, node: ChildNode, folder: Path, places: list[tuple[Simulator, int]], chance: random.Random
    ) -> None:
        self.changes: Counter[str] = Counter()
        self.rebound = 0
        """How often a bind ended although window and rate alone were changed."""
        self._node = node
        self._password = folder / "password"
        self._places = places
        self._chance = chance
        self._at: int | None = None
        """The place of the operator; None: there is none."""

    async def change(self) -> str:
        """One that is possible now; returns what it was."""
        if self._at is None:
            kind = "add"
        else:
            kind = self._chance.choice(["window", "window", "move", "password", "pause", "drain", "remove"])
        match kind:
            case "add":
                await self._add(self._chance.randrange(len(self._places)))
            case "window":
                await self._widen()
            case "move":
                await self._move()
            case "password":
                await self._see(self._binds_anew(), "set", NAME, *self._new_password())
            case "remove":
                simulator, _ = self._here
                self._at = None
                await self._see(lambda: not simulator.bound, "remove", NAME)
            case _:
                await self._leave_and_return(kind)
        self.changes[kind] += 1
        if self._at is not None:  # it takes messages, or nothing is shown by what follows
            simulator, _ = self._here
            accepted = simulator.counts["accepted"]
            await self._until(lambda: simulator.counts["accepted"] > accepted)
        return kind

    async def fetch_receipts(self) -> None:
        """Receipts come over an operator's own binds: it is at each place once more."""
        for at, (simulator, _) in enumerate(self._places):
            if self._at is None:
                await self._add(at)
            elif self._at != at:
                await self._move()
            await self._until(partial(_has_delivered, simulator))

    @property
    def _here(self) -> tuple[Simulator, int]:
        assert self._at is not None
        return self._places[self._at]

    async def _add(self, at: int) -> None:
        self._at = at
        simulator, port = self._here
        where = ("--host", "127.0.0.1", "--port", str(port), "--window", "5", "--retry-seconds", "0.2")
        await self._see(lambda: simulator.bound == 1, "add", NAME, *where, *self._new_password())

    async def _widen(self) -> None:
        simulator, _ = self._here
        binds = simulator.counts["binds"]
        window, rate = self._chance.randint(1, 20), self._chance.choice([0, 50, 500])
        await self._say("set", NAME, "--window", str(window), "--rate", str(rate))
        await asyncio.sleep(UNDISTURBED_SECONDS)
        self.rebound += simulator.counts["binds"] - binds

    async def _move(self) -> None:
        assert self._at is not None
        (before, _), self._at = self._here, 1 - self._at
        after, port = self._here
        await self._see(lambda: after.bound == 1 and not before.bound, "set", NAME, "--port", str(port))

    async def _leave_and_return(self, kind: str) -> None:
        simulator, _ = self._here
        binds = simulator.counts["binds"]
        if kind == "drain":
            await self._see(lambda: not simulator.bound, kind, NAME)
        else:
            await self._say(kind, NAME)
        await self._see(lambda: simulator.bound == 1, "resume", NAME)
        if kind == "pause":
            self.rebound += simulator.counts["binds"] - binds

    def _binds_anew(self) -> Callable[[], bool]:
        simulator, _ = self._here
        binds = simulator.counts["binds"]
        return lambda: simulator.bound == 1 and simulator.counts["binds"] > binds

    def _new_password(self) -> tuple[str, str]:
        self._password.write_text(f"{self._chance.randrange(10**8):08}\n")
        return "--password-file", str(self._password)

    async def _say(self, *command: str) -> None:
        await asyncio.to_thread(self._node.command, "connectors", *command)

    async def _see(self, happened: Callable[[], bool], *command: str) -> None:
        await self._say(*command)
        await self._until(happened)

    async def _until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not happened():
                await asyncio.sleep(0.01)


def _clock(slow_seconds: float) -> float:
    return time.time() - slow_seconds


def _has_delivered(simulator: Simulator) -> bool:
    return simulator.counts["delivered"] >= simulator.counts["accepted"]


def _judge(findings: Findings, person: _Person, simulators: list[Simulator]) -> None:
    accepted = sum(simulator.counts["accepted"] for simulator in simulators)
    flagged = findings.counts["flagged"]
    findings.expect(flagged == 0, f"{flagged} in doubt, although every operator answers")
    findings.expect(person.rebound == 0, f"{person.rebound} binds ended although only window or rate were changed")
    findings.counts = {
        "changes": person.changes.total(),
        "of these": " ".join(f"{kind} {count}" for kind, count in sorted(person.changes.items())),
        "submits by operator": " ".join(str(simulator.counts["accepted"]) for simulator in simulators),
        "more submits than messages": accepted - int(str(findings.counts["accepted"])),
        **findings.counts,
    }
