"""A receiver that is down for three days, on a moved clock: real store, real notifier, real requests on loopback."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from store_scene import HOUR, NOW, Scene

from chappe.core.circuit import LONGEST_PAUSE_MS
from chappe.core.message import State
from chappe.core.webhooks import Delivery, EventId, Outcome, make_secret
from chappe.flow.notify import Notifier
from chappe.notifier.pipe import Start
from chappe.notifier.poster import Poster
from tests.notifier.notifier_scene import Ear, Receiver, status

SECRET = make_secret(bytes(32))
THREE_DAYS = 72 * HOUR


class Posting:
    """The poster as a courier, in this process: driven step by step, it tells when all it was given is answered."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._ear = Ear()
        self._poster = Poster(Start(("127.0.0.0/8",)), now_ms, self._ear.hear)
        self._given = 0

    def post(self, deliveries: Sequence[Delivery]) -> None:
        self._given += len(deliveries)
        self._poster.take(list(deliveries))

    async def answers(self) -> list[Outcome]:
        outcomes = list(await self._ear.until(self._given))
        self._ear.outcomes.clear()
        self._given = 0
        return outcomes

    async def run(self, hear: Callable[[list[Outcome]], None], changed: Callable[[bool], None]) -> None:
        raise NotImplementedError("it is driven step by step")

    async def stop(self, seconds: float) -> None:
        await self._poster.drain()
        await self._poster.close()


class Days:
    """A clock, and a notifier of the scene's store that works until nothing more is due."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.now = NOW
        self.posting = Posting(lambda: self.now)
        self.start_notifier()

    def start_notifier(self) -> None:
        self.notifier = Notifier(self.scene.store, self.posting, lambda: self.now)
        self.notifier.courier_changed(True)

    async def work(self) -> None:
        for _ in range(1_000):
            if not await self.notifier.step():
                return
            self.notifier.hear(await self.posting.answers())
            await self.notifier.record()
        raise AssertionError("it never rests")


@pytest.fixture
async def days(scene: Scene) -> AsyncIterator[Days]:
    days = Days(scene)
    yield days
    await days.posting.stop(1.0)


async def test_a_receiver_that_was_down_for_three_days_gets_every_event_once_when_it_is_back(days: Days) -> None:
    scene = days.scene
    down = Receiver(status(503))
    await down.start()
    lively = Receiver(status(200))
    await lively.start()
    for receiver in (down, lively):
        await scene.store.add_endpoint(scene.account, receiver.url, SECRET, frozenset({State.SUBMITTED}), NOW - HOUR)
    told: list[EventId] = []
    while days.now < NOW + THREE_DAYS:
        if days.now == NOW + THREE_DAYS // 3:
            await down.stop()  # not even a 503 any more
        if days.now == NOW + THREE_DAYS // 2:
            await scene.restart()
            days.start_notifier()
        message = await scene.accept(number=f"+336{len(told):08}", accepted_at=days.now, due_at=days.now)
        told.append(EventId(f"evt_{message}_1"))
        await days.work()
        assert len(lively.calls) == len(told)  # nobody waits for the one that is down
        days.now += HOUR
    tried = len(down.calls)
    await down.start(down.port)
    down.behave = status(200)
    for _ in range(200):
        days.now += LONGEST_PAUSE_MS
        await days.work()
        if len(down.calls) - tried >= len(told):
            break
    days.now += 24 * HOUR
    await days.work()
    taken = Counter(json.loads(call.body)["id"] for call in down.calls[tried:])
    assert taken == Counter(told)
    assert Counter(json.loads(call.body)["id"] for call in lively.calls) == Counter(told)
    for receiver in (down, lively):
        await receiver.stop()
