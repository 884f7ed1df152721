"""All 5,040 orders of what can happen to one submit, with each form of the id, end right, by a rule written apart.

The seven: the operator's answer, its four receipts, a link lost, a restart. In three worlds: the answer of a lost link
comes after all, with and without `user_message_reference` in the receipts; or it never comes, as SMPP has it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import pytest
from store_scene import MINUTE, NOW, NewDatabase, OpenStore, a_receipt, a_send, answered, doubted

from chappe.core.message import Event, InDoubtPolicy, Message, Report, State, Submission, Verdict
from chappe.core.ports import Store
from chappe.core.routing import Portion

RECEIPTS = {
    "enroute": None,
    "delivered": Verdict.DELIVERED,
    "delivered again": Verdict.DELIVERED,
    "expired late": Verdict.EXPIRED,
}
SEVEN = ("answer", *RECEIPTS, "link lost", "restart")
ORDERS = list(permutations(SEVEN))
ID_FORMS: Mapping[str, tuple[Callable[[int], str], Callable[[int], str]]] = {
    "the same": (lambda id_: f"{id_:x}", lambda id_: f"{id_:x}"),
    "hex answered, decimal reported": (lambda id_: f"{id_:X}", str),
    "padded capitals answered, bare small letters reported": (lambda id_: f"{id_:08X}", lambda id_: f"{id_:x}"),
}
SAMPLE = random.Random(1).sample(ORDERS, 250)


@dataclass(frozen=True)
class World:
    """How the operator behaves besides."""

    answers_late: bool
    """The answer to a submit whose link was lost, or whose node restarted, comes all the same."""
    refers: bool
    """Its receipts carry the reference of the submit."""


WORLDS = {
    "late answers": World(answers_late=True, refers=False),
    "late answers and references": World(answers_late=True, refers=True),
    "lost answers and references": World(answers_late=False, refers=True),
}


@dataclass(frozen=True)
class Story:
    """One order, and what the store says of its submit."""

    order: tuple[str, ...]
    world: World
    submission: Submission
    id_form: str

    @property
    def lost_at(self) -> int:
        """From when no answer is to be expected."""
        return min(self.order.index("link lost"), self.order.index("restart"))

    @property
    def is_answered(self) -> bool:
        return self.world.answers_late or self.order.index("answer") < self.lost_at

    def tell(self, step: int) -> list[Report]:
        """What a connector reports at this step."""
        happening, at = self.order[step], NOW + step
        id_ = 0x0ABC0000 + self.submission.attempt.message
        give, report = ID_FORMS[self.id_form]
        if happening in RECEIPTS:
            reference = self.submission.attempt.reference if self.world.refers else None
            connector, number = self.submission.attempt.connector, self.submission.number
            verdict = RECEIPTS[happening]
            return [a_receipt(report(id_), verdict, at=at, connector=connector, number=number, reference=reference)]
        if happening == "answer" and self.is_answered:
            return [answered(self.submission, give(id_), at)]
        if happening == "link lost" and step < min(self.order.index("answer"), self.order.index("restart")):
            return [doubted(self.submission, at)]
        return []

    def reached(self) -> list[tuple[State, int]]:
        """By the promises: sent with the answer or with the first receipt that proves it, an error only while nothing
        but EXPIRED has come, delivered once; each told once, with the time of what brought it."""
        at = self.order.index
        delivered_at = min(at("delivered"), at("delivered again"))
        proof_at = min(delivered_at, at("expired late"))
        doubt_at = self.lost_at if self.lost_at < at("answer") else len(self.order)
        found_at = min(
            at("answer") if self.is_answered else len(self.order), doubt_at if self.world.refers else len(self.order)
        )
        proven_at = max(proof_at, found_at)
        sent_at = at("answer") if self.is_answered and at("answer") <= proven_at else proof_at
        states = [(State.SENT, sent_at)]
        if proof_at < delivered_at:
            states.append((State.ERROR, proof_at))
        return [*states, (State.DELIVERED, delivered_at)]

    def ending(self) -> tuple[object, ...]:
        times = dict(self.reached())
        doubts = self.lost_at < self.order.index("answer")
        facts = len(RECEIPTS) + self.is_answered + doubts
        told = 1 + len(times)
        return ("DELIVERED", NOW + times[State.SENT], NOW + times[State.DELIVERED], None, None, 0, 0, facts, told)


def ending_of(message: Message) -> tuple[object, ...]:
    return (
        message.delivery.name,
        message.sent_at,
        message.delivered_at,
        message.error_at,
        message.cause,
        message.in_doubt,
        message.resent,
        message.facts,
        message.events,
    )


class Telling:
    """Many stories told at once, a step of each to a transaction. Those that restart together share a connector."""

    def __init__(self, open_store: OpenStore, store: Store) -> None:
        self.open_store, self.store = open_store, store
        self.events: list[Event] = []

    async def tell_all(self, orders: Sequence[tuple[str, ...]], world: World) -> list[Story]:
        account = (await self.store.open_account("acme", NOW)).id
        wanted: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for form in ID_FORMS:
            for order in orders:
                wanted.setdefault(f"operator-{order.index('restart')}", []).append((order, form))
        stories: list[Story] = []
        for connector, told in wanted.items():
            epoch = await self.store.open_connector(connector, NOW)
            sends = [
                a_send(account, number=f"+336{number:08}", route=connector, policy=InDoubtPolicy.AT_LEAST_ONCE)
                for number in range(len(stories), len(stories) + len(told))
            ]
            await asyncio.gather(*map(self.store.accept, sends))
            submissions = await self.store.claim(connector, epoch, [Portion(connector)], len(told), NOW)
            stories += [
                Story(order, world, submission, form)
                for (order, form), submission in zip(told, submissions, strict=True)
            ]
        for step in range(len(SEVEN)):
            await self.store.close()
            self.store = await self.open_store()
            connector = f"operator-{step}"
            if connector in wanted:
                await self.store.open_connector(connector, NOW + step)
            reports = [report for story in stories for report in story.tell(step)]
            self.events += await self.store.settle(reports, NOW + step)
        self.account = account
        return stories

    async def wrong(self, stories: Sequence[Story]) -> list[tuple[object, ...]]:
        """The first few that ended otherwise than promised."""
        found: list[tuple[object, ...]] = []
        ids = [story.submission.attempt.message for story in stories]
        messages = await asyncio.gather(*(self.store.find_message(self.account, id_) for id_ in ids))
        for story, message in zip(stories, messages, strict=True):
            assert message is not None
            if ending_of(message) != story.ending():
                found.append((story.order, story.id_form, ending_of(message), story.ending()))
        return found[:3]

    async def is_quiet(self) -> bool:
        """Nothing waits, and time brings nothing more: nothing is sent again."""
        later = NOW + 10 * MINUTE
        pending = await self.store.count_pending()
        swept, events = await self.store.sweep(later, 100)
        return not any(pending.values()) and not swept and not events


async def check(new_database: NewDatabase, orders: Sequence[tuple[str, ...]], world: World) -> None:
    open_store = new_database()
    telling = Telling(open_store, await open_store())
    try:
        stories = await telling.tell_all(orders, world)
        assert await telling.wrong(stories) == []
        assert await telling.is_quiet()
    finally:
        await telling.store.close()
    told = [(event.message, event.state, event.at) for event in telling.events]
    promised = {
        (story.submission.attempt.message, state, NOW + at) for story in stories for state, at in story.reached()
    }
    # Those that a restart brings about are stored with it, and counted in the ending.
    assert len(set(told)) == len(told)
    assert set(told) <= promised


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
async def test_every_order_ends_right_and_tells_each_change_once(sqlite: NewDatabase, world: World) -> None:
    await check(sqlite, ORDERS, world)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
async def test_a_sample_of_the_orders_ends_right_on_postgres(postgres: NewDatabase, world: World) -> None:
    await check(postgres, SAMPLE, world)
