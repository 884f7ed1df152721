"""Links to operators end in every way, again and again, with anything from nothing to a whole window in flight.

A store, and several connectors with a dispatcher and an operator of their own each, in one process; between connector
and operator stands a network that can be cut (tests/chaos.py). The ledgers are the operators' PDUs.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import msgspec

from chappe.connectors.smpp import SmppConnector, SmppSettings
from chappe.core.lifecycle import UNDECIDED
from chappe.core.message import (
    Accepted,
    AccountId,
    AttemptKey,
    AttemptReport,
    DoubtBegan,
    Inbound,
    InDoubtPolicy,
    Message,
    MessageId,
    Submission,
)
from chappe.core.ports import Store
from chappe.core.routing import Portion
from chappe.flow import sweep
from chappe.flow.dispatch import Dispatcher
from chappe.flow.settle import Settlement
from chappe.simulator import Mood, Simulator
from chappe.storage.sqlite import open_sqlite
from proofs.findings import Findings, Report, silent
from proofs.stores import HOUR_MS, a_send, now_ms
from tests.chaos import Chaos

WINDOW = 10
UNBIND_SECONDS = 0.5
RESPONSE_SECONDS = 1.5
PROBE_SECONDS = 0.5
HELD_SECONDS = 1.0
"""How long a bind lasts at least: one that ends sooner counts as refused, and the pauses before the next one double."""
PATIENCE_SECONDS = 60.0
SHOWN_SECONDS = 1.0
"""How long a doubt may take from when the loss can be known until it is stored."""
BACK_SECONDS = 2.0
"""How long a bind may take from the operator's return."""
DOUBT_LASTS_MS = {
    InDoubtPolicy.WAIT_THEN_RETRY: 4_000,
    InDoubtPolicy.AT_LEAST_ONCE: 1_000,
    InDoubtPolicy.AT_MOST_ONCE: None,
}
"""Shorter than a real installation waits, so that what is sent again meets further losses."""
MOOD = Mood(answer_seconds=0.4, receipt_seconds=0.8, receipts_lost=0.3)
"""Some receipts never come: else hardly a doubt would last until it is sent again."""

TOTALS = ("messages", "lost", "flagged", "doubled", "doubled with at_most_once", "unknown")

KNOWN_AFTER = {"FIN": 0.0, "RST": 0.0, "unbind": UNBIND_SECONDS, "silence": RESPONSE_SECONDS}
"""How a link ends, and the seconds after which the connector can know that an answer will not come: an operator that
unbinds may answer for a while, and one that is silent has until the time for an answer is over."""
GIVEN_UP_AFTER = {"FIN": 0.0, "RST": 0.0, "unbind": UNBIND_SECONDS, "silence": RESPONSE_SECONDS + PROBE_SECONDS}
"""…and that the link is of no use any more."""


async def prove(
    folder: Path, *, losses: int, lines: int, seed: int, timed: bool = True, report: Report = silent
) -> Findings:
    """`timed`: the figures must hold too, which they need not where others use the machine."""
    findings = Findings()
    async with AsyncExitStack() as stack:
        store = await open_sqlite(folder / "chappe.db", doubt_lasts_ms=DOUBT_LASTS_MS)
        stack.push_async_callback(store.close)
        account = (await store.open_account("proof", now_ms())).id
        running = [
            await stack.enter_async_context(_Line(store, account, number, random.Random(seed * 1000 + number)))
            for number in range(lines)
        ]

        def wake(*_: object) -> None:
            for line in running:
                line.dispatcher.wake()

        sweeping = asyncio.create_task(sweep.run(store, now_ms, wake, wake))
        stack.callback(sweeping.cancel)
        left = iter(range(losses))
        await asyncio.gather(*(line.lose_links(left, losses, report) for line in running))
        report("waiting for the last to be sent again")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await _at_rest(store, running):
                await asyncio.sleep(0.5)
            await asyncio.sleep(MOOD.answer_seconds + MOOD.receipt_seconds)
            while any(line.simulator.undelivered for line in running):
                await asyncio.sleep(0.1)
        await store.sweep(now_ms() + 10 * HOUR_MS, 1_000_000)  # what nobody will ever know ends now
        totals = Counter(dict.fromkeys(TOTALS, 0))
        for line in running:
            await line.judge(findings, totals)
    findings.counts = _figures(running, totals, findings, timed=timed)
    return findings


async def _at_rest(store: Store, lines: Sequence[_Line]) -> bool:
    """Nothing is left to be sent, now or when a doubt ends."""
    counts = await store.count_pending()
    if counts["queued"] or counts["pending"]:
        return False
    for line in lines:
        for message in await line.read():
            if message.in_doubt and message.policy is not InDoubtPolicy.AT_MOST_ONCE:
                return False
    return True


class _Line:
    """A connector, its operator, and the network between them."""

    def __init__(self, store: Store, account: AccountId, number: int, chance: random.Random) -> None:
        self.account = account
        self.messages: list[MessageId] = []
        self.fills: Counter[int] = Counter()
        """How many submits were in flight at each loss."""
        self.shown: dict[str, list[float]] = {kind: [] for kind in KNOWN_AFTER}
        """Seconds from when a loss could be known until all of its doubts were stored."""
        self.back: dict[str, list[float]] = {kind: [] for kind in KNOWN_AFTER}
        """Seconds from the operator's return until the connector was bound."""
        self.simulator = Simulator(msgspec.structs.replace(MOOD, seed=number), ledger=True)
        self.dispatcher: Dispatcher
        self._store, self._number, self._chance = store, number, chance
        self._name = f"operator-{number}"
        self._chaos: Chaos
        self._connector: SmppConnector
        self._settlement = Settlement(store, now_ms, lambda _: None)
        self._unanswered: set[AttemptKey] = set()
        self._stored = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> _Line:
        async with self._stack as stack:
            port = await self.simulator.start()
            stack.push_async_callback(self.simulator.stop)
            self._chaos = await stack.enter_async_context(Chaos("127.0.0.1", port))
            settings = SmppSettings(
                name=self._name,
                host="127.0.0.1",
                port=self._chaos.port,
                system_id="proof",
                window=WINDOW,
                unbind_seconds=UNBIND_SECONDS,
                response_seconds=RESPONSE_SECONDS,
                probe_seconds=PROBE_SECONDS,
                enquire_link_seconds=RESPONSE_SECONDS,
            )
            self._connector = SmppConnector(
                settings,
                now_ms=now_ms,
                chance=self._chance.random,
                on_answers=self._on_answers,
                on_receipts=self._settlement.receipts,
                on_inbound=_nobody_writes,
                on_room=lambda: self.dispatcher.wake(),
            )
            self._connector.epoch = await self._store.open_connector(self._name, now_ms())
            self.dispatcher = Dispatcher(self._store, self, lambda: [Portion(self._name)], now_ms)
            for work in (self._connector.run(), self.dispatcher.run()):
                stack.push_async_callback(_end, asyncio.create_task(work))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.dispatcher.stop()
        await self._stack.aclose()

    # --- for the dispatcher ---

    @property
    def name(self) -> str:
        return self._name

    @property
    def epoch(self) -> int:
        return self._connector.epoch

    def free(self) -> int:
        return self._connector.free()

    def submit(self, submissions: Sequence[Submission]) -> Sequence[Submission]:
        unwritten = self._connector.submit(submissions)
        self._unanswered.update(submission.key for submission in submissions[: len(submissions) - len(unwritten)])
        return unwritten

    async def _on_answers(self, reports: Sequence[AttemptReport]) -> None:
        keys = {(report.message, report.fact.part, report.fact.attempt): report.fact for report in reports}
        # What is answered is in flight no more; what is in doubt counts until it is stored.
        self._unanswered -= {key for key, fact in keys.items() if not isinstance(fact, DoubtBegan)}
        await self._settlement.answers(reports)
        self._unanswered -= keys.keys()
        self._stored.set()

    # --- the story ---

    async def lose_links(self, left: Iterator[int], losses: int, report: Report) -> None:
        await self._until(lambda: self._connector.bound)
        for loss in left:
            kind = list(KNOWN_AFTER)[loss % len(KNOWN_AFTER)]
            fill = loss // len(KNOWN_AFTER) % (WINDOW + 1)
            await asyncio.sleep(HELD_SECONDS)
            await self._fill(fill)
            await self._lose(kind)
            report(f"loss {loss + 1} of {losses}")

    async def _fill(self, fill: int) -> None:
        """Until so many submits are in flight, those that are sent again among them; and then a moment of chance."""
        for _ in range(fill - self._connector.in_flight):
            policy = self._chance.choice(list(InDoubtPolicy))
            send = a_send(self.account, self._number * 100_000 + len(self.messages))
            accepted = await self._store.accept(replace(send, route=self._name, policy=policy, validity_ms=HOUR_MS))
            assert isinstance(accepted, Accepted)
            self.messages.append(accepted.id)
        self.dispatcher.wake()
        await self._until(lambda: self._connector.in_flight >= fill, patience=0.3)
        await asyncio.sleep(self._chance.choice((0.0, 0.0, self._chance.uniform(0, 0.05))))

    async def _lose(self, kind: str) -> None:
        loop = asyncio.get_running_loop()
        binds, lost = self._connector.counts.binds, set(self._unanswered)
        self.fills[self._connector.in_flight] += 1
        away = 0.0 if kind == "silence" else self._chance.choice((0.0, self._chance.uniform(0, 1.5)))
        began = loop.time()
        if away:
            self._chaos.refuse()
        match kind:
            case "FIN":
                self._chaos.close()
            case "RST":
                self._chaos.reset()
            case "unbind":
                self.simulator.unbind()
            case _:
                self.simulator.go_silent()

        async def see_doubts() -> None:
            await self._until(lambda: not lost & self._unanswered)
            self.shown[kind].append(max(0.0, loop.time() - began - KNOWN_AFTER[kind]))

        async def see_return() -> None:
            if away:
                await asyncio.sleep(away)
                await self._chaos.listen()
            returned = max(loop.time(), began + GIVEN_UP_AFTER[kind])
            await self._until(lambda: self._connector.counts.binds > binds)
            self.back[kind].append(max(0.0, loop.time() - returned))

        await asyncio.gather(see_doubts(), see_return())

    async def _until(self, happened: Callable[[], bool], patience: float = PATIENCE_SECONDS) -> bool:
        end = asyncio.get_running_loop().time() + patience
        while not happened() and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.005)
        return happened()

    # --- what became of it ---

    async def read(self) -> list[Message]:
        found = await self._store.find_messages(self.account, self.messages)
        return [message for message in found if message is not None]

    async def judge(self, findings: Findings, totals: Counter[str]) -> None:
        taken = Counter(
            f"+{line.pdu.destination_addr.decode()}" for line in self.simulator.ledger or () if line.message_id
        )
        messages = await self.read()
        totals["lost"] += len(self.messages) - len(messages)
        for message in messages:
            submits, policy = taken[message.number], message.policy
            sent_again = policy is not InDoubtPolicy.AT_MOST_ONCE
            totals["messages"] += 1
            totals["flagged"] += message.resent
            totals["doubled" if sent_again else "doubled with at_most_once"] += max(0, submits - 1)
            totals["unknown"] += message.cause == "unknown"
            ended = message.delivery not in UNDECIDED
            if not ended or (sent_again and not submits):
                totals["lost"] += 1
                findings.problems.append(f"{message.number}: {message.delivery.name} after {submits} submits")
            findings.expect(
                submits <= (1 + message.resent if sent_again else 1),
                f"{message.number} ({policy.name}): {submits} submits, flagged {message.resent}",
            )


def _figures(lines: Sequence[_Line], totals: Counter[str], findings: Findings, *, timed: bool) -> dict[str, object]:
    fills = sum((line.fills for line in lines), Counter[int]())
    in_flight = sum(fill * times for fill, times in fills.items())
    findings.expect(not totals["lost"], f"{totals['lost']} lost")
    findings.expect(totals["doubled"] <= in_flight, f"{totals['doubled']} doubled of {in_flight} in flight")
    shown = {kind: [seconds for line in lines for seconds in line.shown[kind]] for kind in KNOWN_AFTER}
    back = {kind: [seconds for line in lines for seconds in line.back[kind]] for kind in KNOWN_AFTER}
    for kind in KNOWN_AFTER if timed else ():
        late = sum(seconds > SHOWN_SECONDS for seconds in shown[kind])
        findings.expect(not late, f"{kind}: {late} losses whose doubts were shown after {SHOWN_SECONDS:.0f} s")
        late = sum(seconds > BACK_SECONDS for seconds in back[kind])
        findings.expect(not late, f"{kind}: {late} binds after {BACK_SECONDS:.0f} s")
    return {
        "losses": fills.total(),
        "with 0 to 10 in flight": " ".join(str(fills[fill]) for fill in range(WINDOW + 1)),
        **totals,
        "in flight at losses": in_flight,
        "slowest doubt shown": _slowest(shown),
        "slowest bind after the return": _slowest(back),
    }


def _slowest(seconds: Mapping[str, Sequence[float]]) -> str:
    return " ".join(f"{kind} {max(each, default=0):.2f} s" for kind, each in seconds.items())


async def _nobody_writes(_: Sequence[Inbound]) -> bool:
    return True


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
