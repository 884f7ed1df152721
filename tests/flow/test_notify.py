"""Notify over an outbox in memory that keeps the port's contract; the courier is scripted, or the real child."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from chappe.core.circuit import FAILURES_TO_OPEN, FIRST_PAUSE_MS, LONGEST_PAUSE_MS
from chappe.core.errors import StoreUnavailable
from chappe.core.message import MessageId
from chappe.core.webhooks import (
    HOUR,
    MINUTE,
    PATIENCE_MS,
    RETRY_DELAYS_MS,
    Delivery,
    DeliveryId,
    EndpointId,
    Fate,
    Notifying,
    Outcome,
    Settled,
    Trouble,
)
from chappe.flow.notify import FORGET_MS, LEASE_MS, Courier, Limits, Notifier
from chappe.notifier.child import Child
from chappe.notifier.pipe import Start
from tests.notifier.notifier_scene import Call, Receiver, status

NOW = 1_700_000_000_000
PATIENCE_SECONDS = 20.0


@dataclass(slots=True)
class Row:
    id: DeliveryId
    endpoint: EndpointId
    made_at: int
    due_at: int
    claimed_until: int = 0
    tries: int = 0
    fate: Fate = Fate.WAITING
    word: str = ""


@dataclass(slots=True)
class Endpoint:
    url: str
    disabled: bool = False
    failing_since: int | None = None


class Outbox:
    """`Notifying` over dicts."""

    def __init__(self) -> None:
        self.rows: dict[DeliveryId, Row] = {}
        self.endpoints: dict[EndpointId, Endpoint] = {}
        self.away = False
        self.recorded: list[list[Settled]] = []
        self.changed = asyncio.Event()

    def add(self, endpoint: int, now: int, number: int = 1) -> list[DeliveryId]:
        self.endpoints.setdefault(EndpointId(endpoint), Endpoint(f"http://receiver-{endpoint}.example/"))
        made = [DeliveryId(len(self.rows) + 1 + more) for more in range(number)]
        self.rows |= {each: Row(each, EndpointId(endpoint), now, now) for each in made}
        return made

    def count(self, fate: Fate, endpoint: int | None = None) -> int:
        return sum(row.fate is fate and endpoint in (None, row.endpoint) for row in self.rows.values())

    async def claim_deliveries(
        self, limit: int, now: int, lease_ms: int, rooms: Mapping[EndpointId, int], probes: int
    ) -> list[Delivery]:
        self._reach()
        claimed: list[Delivery] = []
        left = dict(rooms)
        for row in sorted(self.rows.values(), key=lambda row: row.due_at):
            endpoint = self.endpoints[row.endpoint]
            if row.fate is not Fate.WAITING or max(row.due_at, row.claimed_until) > now or endpoint.disabled:
                continue
            if row.endpoint not in left:
                left[row.endpoint] = 1 if probes > 0 else 0
                probes -= 1
            if len(claimed) == limit or not left[row.endpoint]:
                continue
            left[row.endpoint] -= 1
            row.claimed_until = now + lease_ms
            told = (MessageId(row.id), 1, "sent", row.made_at, "+33612345678", None, False)
            claimed.append(Delivery(row.id, row.endpoint, endpoint.url, (), row.tries, endpoint.failing_since, *told))
        return claimed

    async def record_outcomes(self, settled: Sequence[Settled], now: int) -> None:
        self._reach()
        self.recorded.append(list(settled))
        for one in settled:
            row, endpoint = self.rows[one.id], self.endpoints[one.endpoint]
            if one.fate in (Fate.WAITING, Fate.EXHAUSTED, Fate.DISABLED) and endpoint.failing_since is None:
                endpoint.failing_since = now
            if one.fate is Fate.DELIVERED:
                row.fate, row.word = Fate.DELIVERED, one.word
            elif one.fate is Fate.DISABLED:
                endpoint.disabled = True
                for other in self.rows.values():
                    if other.endpoint == one.endpoint and other.fate is Fate.WAITING:
                        other.fate = Fate.EXHAUSTED
            elif row.fate is Fate.WAITING and row.tries == one.tries_before:
                row.claimed_until, row.tries, row.word = 0, one.tries, one.word
                if one.fate is Fate.EXHAUSTED:
                    row.fate = Fate.EXHAUSTED
                elif one.fate is Fate.WAITING:
                    assert one.next_try_at is not None
                    row.due_at = one.next_try_at
        for one in settled:
            if one.fate is Fate.DELIVERED:
                self.endpoints[one.endpoint].failing_since = None
        self.changed.set()

    async def exhaust_waiting(self, endpoint: EndpointId, made_before: int, now: int) -> int:
        self._reach()
        old = [
            row
            for row in self.rows.values()
            if row.endpoint == endpoint
            and row.fate is Fate.WAITING
            and row.made_at < made_before
            and row.claimed_until <= now
        ]
        for row in old:
            row.fate = Fate.EXHAUSTED
        return len(old)

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


Answers = Callable[[Delivery], "Outcome | None"]


def says(code: int, retry_after_ms: int | None = None) -> Answers:
    return lambda delivery: Outcome(delivery.id, code, retry_after_ms=retry_after_ms)


def hangs(delivery: Delivery) -> Outcome | None:
    return None


def refuses(delivery: Delivery) -> Outcome | None:
    return Outcome(delivery.id, trouble=Trouble.UNREACHABLE)


class Script:
    """A courier whose receivers are functions; hanging ones keep what they were given."""

    def __init__(self) -> None:
        self.receivers: dict[int, Answers] = {}
        self.posted: list[Delivery] = []
        self.held: list[Delivery] = []
        self.batches: list[int] = []
        self._outcomes: list[Outcome] = []
        self._hear: Callable[[list[Outcome]], None] | None = None
        self._stopping = asyncio.Event()

    def post(self, deliveries: Sequence[Delivery]) -> None:
        self.batches.append(len(deliveries))
        for delivery in deliveries:
            self.posted.append(delivery)
            outcome = self.receivers.get(delivery.endpoint, says(200))(delivery)
            if outcome is None:
                self.held.append(delivery)
            else:
                self._outcomes.append(outcome)
        if self._hear is not None:
            self._hear(self.outcomes())

    def outcomes(self) -> list[Outcome]:
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    async def run(self, hear: Callable[[list[Outcome]], None], changed: Callable[[bool], None]) -> None:
        self._hear = hear
        changed(True)
        await self._stopping.wait()
        hear([Outcome(delivery.id, trouble=Trouble.NOT_TRIED) for delivery in self.held])
        changed(False)

    async def stop(self, seconds: float) -> None:
        self._stopping.set()


@dataclass
class Scene:
    """A notifier that is driven step by step, with a clock that is moved."""

    limits: Limits = field(default_factory=Limits)
    now: int = NOW
    outbox: Outbox = field(default_factory=Outbox)
    script: Script = field(default_factory=Script)

    def __post_init__(self) -> None:
        self.notifier = Notifier(self.outbox, self.script, lambda: self.now, self.limits)
        self.notifier.courier_changed(True)

    def add(self, endpoint: int, number: int = 1) -> list[DeliveryId]:
        return self.outbox.add(endpoint, self.now, number)

    async def turn(self) -> int:
        """Claims once, lets the receivers answer, and stores what they said."""
        claimed = await self.notifier.step()
        await self.answered(self.script.outcomes())
        return claimed

    async def turns(self) -> int:
        """Until nothing more is claimed."""
        total = 0
        for _ in range(10_000):
            claimed = await self.turn()
            if not claimed:
                return total
            total += claimed
        raise AssertionError("it never rests")

    async def answered(self, outcomes: list[Outcome]) -> None:
        if outcomes:
            self.notifier.hear(outcomes)
            await self.notifier.record()

    def posted_to(self, endpoint: int) -> int:
        return sum(delivery.endpoint == endpoint for delivery in self.script.posted)


def kept_to_the_letter() -> tuple[Notifying, Courier, Courier]:
    """For the type checker."""
    return Outbox(), Script(), Child(Start())


# --- one endpoint ------------------------------------------------------------------------------------


async def test_what_is_due_is_posted_and_stored_as_delivered() -> None:
    scene = Scene()
    made = scene.add(1, 3)
    assert await scene.turns() == 3
    assert [delivery.id for delivery in scene.script.posted] == made
    assert scene.outbox.count(Fate.DELIVERED) == 3
    assert await scene.turn() == 0


async def test_a_new_endpoint_is_tried_with_one_event_and_then_gets_its_room() -> None:
    scene = Scene(Limits(per_endpoint=8))
    scene.add(1, 20)
    assert [await scene.turn() for _ in range(5)] == [1, 8, 8, 3, 0]


async def test_a_failed_try_is_made_again_when_it_is_due() -> None:
    scene = Scene()
    scene.script.receivers[1] = says(500)
    (made,) = scene.add(1)
    await scene.turns()
    row = scene.outbox.rows[made]
    assert (row.tries, row.word, row.fate) == (1, "500", Fate.WAITING)
    scene.script.receivers[1] = says(200)
    scene.now = row.due_at - 1
    assert await scene.turns() == 0
    scene.now = row.due_at
    assert await scene.turns() == 1
    assert row.fate is Fate.DELIVERED


async def test_one_event_alone_is_tried_fifteen_times_over_75_hours_and_then_kept_as_exhausted() -> None:
    scene = Scene()
    scene.script.receivers[1] = refuses
    (made,) = scene.add(1)
    row = scene.outbox.rows[made]
    for _ in RETRY_DELAYS_MS:
        await scene.turns()
        assert row.fate is Fate.WAITING
        scene.now = row.due_at
        scene.now = max(scene.now, NOW)
        # the circuit's pause may be longer than the event's
        while row.due_at <= scene.now and not await scene.turn():
            scene.now += FIRST_PAUSE_MS
    assert row.fate is Fate.EXHAUSTED
    assert (row.tries, scene.posted_to(1)) == (15, 15)
    assert 72 * HOUR <= scene.now - NOW <= 96 * HOUR


async def test_gone_disables_the_endpoint_and_nothing_more_is_posted(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.script.receivers[1] = says(410)
    scene.add(1, 5)
    assert await scene.turns() == 1
    assert scene.outbox.endpoints[EndpointId(1)].disabled
    assert scene.outbox.count(Fate.EXHAUSTED) == 5
    scene.now += HOUR
    assert await scene.turns() == 0
    assert "a webhook endpoint is gone: disabled" in caplog.messages


async def test_a_receiver_that_asks_to_wait_is_left_alone_with_all_its_events() -> None:
    scene = Scene()
    scene.add(1, 1)
    await scene.turns()
    scene.script.receivers[1] = says(429, retry_after_ms=30 * MINUTE)
    scene.add(1, 1)
    await scene.turns()
    scene.script.receivers[1] = says(200)
    scene.add(1, 10)
    scene.now += 30 * MINUTE - 1
    assert await scene.turns() == 0
    scene.now += 1
    assert await scene.turns() == 11
    assert scene.outbox.count(Fate.DELIVERED) == 12


async def test_what_was_not_tried_costs_no_try_and_is_claimed_again() -> None:
    scene = Scene()
    scene.script.receivers[1] = lambda delivery: Outcome(delivery.id, trouble=Trouble.NOT_TRIED)
    (made,) = scene.add(1)
    assert await scene.turn() == 1
    scene.script.receivers[1] = says(200)
    assert await scene.turn() == 1
    assert (scene.outbox.rows[made].tries, scene.outbox.rows[made].fate) == (0, Fate.DELIVERED)


# --- the circuit -------------------------------------------------------------------------------------


async def test_a_dead_endpoint_is_tried_with_one_event_after_each_pause(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(Limits(per_endpoint=8))
    scene.add(1)
    await scene.turns()
    scene.script.receivers[1] = refuses
    scene.add(1, 100)
    assert await scene.turns() == 8
    claimed = []
    for _ in range(600):
        scene.now += 1000
        claimed.append(await scene.turns())
    assert max(claimed) == 1
    assert sum(claimed) == 6  # after 5, 10, 20, 40, 80 and 160 s
    scene.script.receivers[1] = says(200)
    scene.now += LONGEST_PAUSE_MS
    await scene.turns()
    assert scene.outbox.count(Fate.DELIVERED, 1) >= 80
    assert caplog.messages.count("a webhook endpoint fails, its events wait") == 1


async def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    scene = Scene()
    scene.add(1)
    await scene.turns()
    scene.script.receivers[1] = says(500)
    scene.add(1, FAILURES_TO_OPEN - 1)
    await scene.turns()
    scene.add(1)
    assert await scene.turn() == 1
    scene.add(1)
    assert await scene.turn() == 0


async def test_a_receiver_that_was_down_for_three_days_gets_every_event_once_it_is_back() -> None:
    scene = Scene(Limits(per_endpoint=4))
    scene.script.receivers[1] = refuses
    lively = 0
    while scene.now < NOW + 72 * HOUR:
        scene.add(1)
        scene.add(2)
        lively += 1
        await scene.turns()
        assert scene.outbox.count(Fate.DELIVERED, 2) == lively
        scene.now += 20 * MINUTE
    tried_while_down = scene.posted_to(1)
    assert scene.outbox.count(Fate.WAITING, 1) == lively
    assert tried_while_down <= 72 * HOUR / LONGEST_PAUSE_MS + 10
    scene.script.receivers[1] = says(200)
    for _ in range(100):
        scene.now += 20 * MINUTE
        await scene.turns()
    assert scene.outbox.count(Fate.DELIVERED, 1) == lively
    assert scene.outbox.endpoints[EndpointId(1)].failing_since is None


async def test_what_waits_for_an_endpoint_dead_for_days_is_given_up_in_its_turn() -> None:
    scene = Scene()
    scene.script.receivers[1] = refuses
    old = scene.add(1, 500)
    while scene.now < NOW + PATIENCE_MS - HOUR:
        await scene.turns()
        scene.now += HOUR // 2
    assert scene.outbox.count(Fate.EXHAUSTED) == 0
    young = scene.add(1, 500)
    while scene.now < NOW + PATIENCE_MS + 2 * HOUR:
        await scene.turns()
        scene.now += MINUTE
    assert {scene.outbox.rows[one].fate for one in old} == {Fate.EXHAUSTED}
    assert {scene.outbox.rows[one].fate for one in young} == {Fate.WAITING}


async def test_a_server_that_was_away_for_days_gives_nothing_up_at_its_first_failure() -> None:
    first = Scene()
    first.script.receivers[1] = refuses
    first.add(1, 50)
    await first.turns()
    second = Scene(now=NOW + 2 * PATIENCE_MS, outbox=first.outbox)
    second.script.receivers[1] = refuses
    await second.turns()
    assert second.outbox.count(Fate.WAITING) == 50
    second.script.receivers[1] = says(200)
    second.now += LONGEST_PAUSE_MS
    await second.turns()
    assert second.outbox.count(Fate.DELIVERED) + second.outbox.count(Fate.WAITING) == 50
    assert second.outbox.count(Fate.DELIVERED) >= 48


# --- one endpoint and the others ---------------------------------------------------------------------


async def test_an_endpoint_with_one_event_does_not_wait_behind_one_with_ten_thousand() -> None:
    scene = Scene(Limits(batch=10, per_endpoint=5))
    scene.add(1, 10_000)
    scene.add(2)
    await scene.turn()
    assert scene.outbox.count(Fate.DELIVERED, 2) == 1


async def test_a_busy_endpoint_holds_its_room_and_no_more() -> None:
    scene = Scene(Limits(batch=100, under_way=100, per_endpoint=10))
    scene.add(1)
    scene.add(2)
    await scene.turns()
    scene.script.receivers[1] = hangs
    scene.add(1, 1000)
    scene.add(2, 1000)
    assert await scene.turns() == 1010
    assert (len(scene.script.held), scene.outbox.count(Fate.DELIVERED, 2)) == (10, 1001)


async def test_any_number_of_hanging_endpoints_holds_the_probes_share_and_the_living_go_on() -> None:
    scene = Scene(Limits(batch=50, under_way=40, per_endpoint=8, probes=10))
    scene.add(999)
    await scene.turns()
    for dead in range(300):
        scene.script.receivers[dead] = hangs
        scene.add(dead, 20)
    scene.add(999, 500)
    assert await scene.turns() == 510
    assert scene.outbox.count(Fate.DELIVERED, 999) == 501
    assert len(scene.script.held) == len({delivery.endpoint for delivery in scene.script.held}) == 10
    # They time out: unknown ones have their turn, and those again whose pause is over.
    for _ in range(40):
        held, scene.script.held = scene.script.held, []
        await scene.answered([Outcome(delivery.id, trouble=Trouble.TIMEOUT) for delivery in held])
        scene.add(999, 5)
        scene.now += 15_000
        await scene.turns()
        assert len(scene.script.held) <= 20
    assert scene.outbox.count(Fate.DELIVERED, 999) == 701
    assert len({delivery.endpoint for delivery in scene.script.posted}) == 301


async def test_dead_endpoints_without_events_keep_no_probe_from_a_new_one() -> None:
    scene = Scene(Limits(probes=3))
    for dead in range(10):
        scene.script.receivers[dead] = refuses
        scene.add(dead)
    for _ in range(4):
        await scene.turn()
    scene.now += FIRST_PAUSE_MS - 1  # all rest or may be probed, none is due
    scene.add(50)
    assert await scene.turn() == 1
    assert scene.outbox.count(Fate.DELIVERED, 50) == 1


async def test_an_endpoint_that_had_nothing_for_long_is_unknown_again() -> None:
    scene = Scene()
    scene.add(1)
    await scene.turns()
    scene.add(1, 5)
    scene.now += FORGET_MS
    assert await scene.turn() == 1
    assert await scene.turn() == 4


# --- at least once -----------------------------------------------------------------------------------


async def test_what_a_courier_took_with_it_is_claimed_again_after_its_lease(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.script.receivers[1] = hangs
    (made,) = scene.add(1)
    await scene.turn()
    scene.notifier.courier_changed(False)
    assert "webhooks under way were lost and are tried again" in caplog.messages
    scene.script.receivers[1] = says(200)
    scene.now += LEASE_MS
    assert await scene.turn() == 0  # nobody to give it to
    scene.notifier.courier_changed(True)
    scene.now -= 1
    assert await scene.turn() == 0
    scene.now += 1
    assert await scene.turn() == 1
    assert [delivery.id for delivery in scene.script.posted] == [made, made]
    assert scene.outbox.rows[made].fate is Fate.DELIVERED


async def test_what_outlives_its_lease_in_a_slow_courier_is_not_posted_twice_by_us() -> None:
    scene = Scene()
    scene.script.receivers[1] = hangs
    (made,) = scene.add(1)
    await scene.turn()
    scene.now += LEASE_MS
    assert await scene.turn() == 0
    await scene.answered([Outcome(made, 200)])
    assert (scene.posted_to(1), scene.outbox.rows[made].fate) == (1, Fate.DELIVERED)


async def test_an_outcome_nobody_waits_for_changes_nothing() -> None:
    scene = Scene()
    await scene.answered([Outcome(DeliveryId(77), 200)])
    assert scene.outbox.recorded == []


async def test_outcomes_heard_before_the_courier_failed_count() -> None:
    scene = Scene()
    scene.add(1)
    await scene.turns()
    made = scene.add(1, 3)
    scene.script.receivers[1] = hangs
    await scene.turn()
    scene.notifier.hear([Outcome(made[0], 200)])
    scene.notifier.courier_changed(False)
    await scene.notifier.record()
    assert [scene.outbox.rows[one].fate for one in made] == [Fate.DELIVERED, Fate.WAITING, Fate.WAITING]


async def test_what_is_claimed_while_the_courier_fails_is_released() -> None:
    scene = Scene()
    (made,) = scene.add(1)
    claim = scene.outbox.claim_deliveries

    async def claim_slowly(*asked: Any) -> list[Delivery]:
        claimed = await claim(*asked)
        scene.notifier.courier_changed(False)
        return claimed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene.outbox, "claim_deliveries", claim_slowly)
        await scene.turn()
    await scene.notifier.record()
    assert (scene.script.posted, scene.outbox.rows[made].claimed_until) == ([], 0)
    scene.notifier.courier_changed(True)
    assert await scene.turns() == 1


async def test_an_outcome_makes_room_before_it_is_stored() -> None:
    scene = Scene(Limits(per_endpoint=2))
    scene.add(1)
    await scene.turns()
    made = scene.add(1, 4)
    assert await scene.notifier.step() == 2
    scene.notifier.hear(scene.script.outcomes())
    assert await scene.notifier.step() == 2
    assert [delivery.id for delivery in scene.script.posted[-4:]] == made
    assert scene.outbox.count(Fate.WAITING) == 4


async def test_what_waits_to_be_stored_is_not_posted_again_when_its_lease_is_over() -> None:
    scene = Scene()
    (made,) = scene.add(1)
    await scene.notifier.step()
    scene.notifier.hear(scene.script.outcomes())
    scene.now += LEASE_MS
    assert await scene.notifier.step() == 0
    await scene.notifier.record()
    assert (scene.posted_to(1), scene.outbox.rows[made].fate) == (1, Fate.DELIVERED)


async def test_outcomes_are_kept_while_the_store_is_away() -> None:
    scene = Scene()
    scene.add(1, 2)
    await scene.notifier.step()
    scene.outbox.away = True
    scene.notifier.hear(scene.script.outcomes())
    with pytest.raises(StoreUnavailable):
        await scene.notifier.record()
    scene.outbox.away = False
    await scene.notifier.record()
    assert scene.outbox.count(Fate.DELIVERED) == 1
    assert await scene.turns() == 1


# --- the whole ---------------------------------------------------------------------------------------


class Running:
    """A notifier that runs; the clock stands unless it is moved."""

    def __init__(self, courier: Courier) -> None:
        self.now = NOW
        self.outbox = Outbox()
        self.notifier = Notifier(self.outbox, courier, lambda: self.now)
        self.task = asyncio.create_task(self.notifier.run())

    def add(self, receiver: Receiver | None, endpoint: int, number: int) -> None:
        self.outbox.add(endpoint, self.now, number)
        if receiver is not None:
            self.outbox.endpoints[EndpointId(endpoint)].url = receiver.url
        self.notifier.wake()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                self.outbox.changed.clear()
                await self.outbox.changed.wait()

    async def stop(self, seconds: float = 5) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.notifier.stop(seconds)
            await self.task


@pytest.fixture
async def receivers() -> AsyncIterator[list[Receiver]]:
    release, made = asyncio.Event(), []

    async def hold(call: Call, writer: asyncio.StreamWriter) -> None:
        await release.wait()

    for behave in (status(204), hold):
        receiver = Receiver(behave)
        await receiver.start()
        made.append(receiver)
    yield made
    for receiver in made:
        await receiver.stop()


async def test_it_runs_until_stopped_and_stores_what_is_handed_back() -> None:
    script = Script()
    running = Running(script)
    running.add(None, 1, 100)
    await running.until(lambda: running.outbox.count(Fate.DELIVERED) == 100)
    script.receivers[1] = hangs
    running.add(None, 1, 3)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(script.held) < 3:
            await asyncio.sleep(0)
    await running.stop()
    assert running.outbox.count(Fate.DELIVERED) == 100
    assert [row.claimed_until for row in running.outbox.rows.values() if row.fate is Fate.WAITING] == [0, 0, 0]


async def test_a_store_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chappe.flow.notify.LONGEST_WAIT_SECONDS", 0.001)
    script = Script()
    running = Running(script)
    running.outbox.away = True
    running.add(None, 1, 5)
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert script.posted == []
    running.outbox.away = False
    await running.until(lambda: running.outbox.count(Fate.DELIVERED) == 5)
    await running.stop()


async def test_it_stops_though_the_store_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chappe.flow.notify.LONGEST_WAIT_SECONDS", 0.001)
    script = Script()
    script.receivers[1] = hangs
    running = Running(script)
    running.add(None, 1, 5)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not script.held:
            await asyncio.sleep(0)
    running.outbox.away = True
    await running.stop()
    assert running.outbox.recorded == []


async def test_stopped_before_it_runs_it_ends_at_once() -> None:
    notifier = Notifier(Outbox(), Child(Start()), lambda: NOW)
    await notifier.stop(5)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await notifier.run()


async def test_with_the_real_child_one_hanging_endpoint_does_not_hold_up_another(receivers: list[Receiver]) -> None:
    healthy, hanging = receivers
    running = Running(Child(Start(("127.0.0.0/8",))))
    running.add(hanging, 1, 300)
    await hanging.until(1)
    running.add(healthy, 2, 300)
    await running.until(lambda: running.outbox.count(Fate.DELIVERED, 2) == 300)
    assert (len(healthy.calls), len(hanging.calls)) == (300, 1)
    await running.stop(0)
    assert running.outbox.count(Fate.WAITING, 1) == 300


async def test_with_the_real_child_killed_every_event_arrives_at_least_once(receivers: list[Receiver]) -> None:
    healthy, hanging = receivers
    child = Child(Start(("127.0.0.0/8",)))
    running = Running(child)
    running.add(hanging, 1, 1)
    running.add(healthy, 2, 300)
    await healthy.until(100)
    await hanging.until(1)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    hanging.behave = status(200)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while running.outbox.count(Fate.WAITING):
            # The lease of what the first child took with it has to pass.
            running.now += LEASE_MS
            running.notifier.wake()
            await asyncio.sleep(0.05)
    await running.stop()
    arrived = {call.headers["webhook-id"] for receiver in receivers for call in receiver.calls}
    assert arrived == {f"evt_{number}_1" for number in running.outbox.rows}
