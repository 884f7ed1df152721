"""Hold: nothing leaves until somebody has looked, and what may have left already is doubted."""

from __future__ import annotations

from store_scene import DAY, HOUR, NOW, OTHER_NUMBER, SECOND, Scene

from chappe.core.message import InDoubtPolicy, Outcome, State
from chappe.core.ports import Store

LATER = NOW + HOUR


async def test_nothing_is_claimed_while_held(scene: Scene, store: Store) -> None:
    message = await scene.accept()
    await store.hold(True, NOW)
    assert await store.held_since() == NOW
    assert (await scene.claim(), await store.next_due("live")) == ([], None)
    await store.hold(False, LATER)
    assert await store.held_since() is None
    assert await store.next_due("live") == NOW
    assert [submission.attempt.message for submission in await scene.claim()] == [message]


async def test_hold_is_seen_by_other_nodes_and_outlives_them(scene: Scene) -> None:
    await scene.accept()
    other = await scene.open_store()
    await other.hold(True, NOW)
    assert await scene.claim() == []
    await scene.restart()
    await scene.open_connectors(NOW)
    assert (await scene.store.held_since(), await scene.claim()) == (NOW, [])


async def test_hold_begins_once(store: Store) -> None:
    await store.hold(True, NOW)
    await store.hold(True, LATER)
    assert await store.held_since() == NOW
    for _ in range(2):
        await store.hold(False, LATER)
        assert await store.held_since() is None


async def test_everything_but_claims_goes_on_while_held(scene: Scene) -> None:
    sent = await scene.hand_over()
    await scene.store.hold(True, NOW)
    waiting = await scene.accept(number=OTHER_NUMBER)
    await scene.stop()
    assert [await scene.state(message) for message in (sent, waiting)] == [State.UNSUBSCRIBED, State.SUBMITTED]


async def test_queued_parts_may_have_left_after_the_backup_and_are_doubted(scene: Scene, store: Store) -> None:
    message = await scene.accept(parts=2, text="long")
    await store.hold(True, NOW)
    assert await store.doubt_queued("live", 100, LATER) == 2
    doubts = [(attempt.outcome, attempt.epoch) for attempt in (await scene.journey(message)).attempts]
    assert doubts == [(Outcome.IN_DOUBT, 0)] * 2
    assert (await scene.read(message)).in_doubt == 2
    assert await store.doubt_queued("live", 100, LATER) == 0


async def test_doubted_part_is_sent_again_flagged_as_its_policy_says(scene: Scene, store: Store) -> None:
    again = await scene.accept(policy=InDoubtPolicy.AT_LEAST_ONCE)
    never = await scene.accept(number=OTHER_NUMBER, policy=InDoubtPolicy.AT_MOST_ONCE)
    await store.doubt_queued("live", 100, NOW)
    await store.sweep(NOW + 10 * SECOND, 100)
    [submission] = await scene.claim(now=NOW + 10 * SECOND)
    assert (submission.attempt.message, submission.attempt.flagged) == (again, True)
    await store.sweep(NOW + 9 * DAY, 100)
    assert [(await scene.read(message)).resent for message in (again, never)] == [1, 0]
    assert await scene.state(never) is State.ERROR


async def test_only_due_parts_of_the_route_are_doubted_a_batch_at_a_time(scene: Scene, store: Store) -> None:
    for number in range(3):
        await scene.accept(number=f"+3361234000{number}")
    await scene.accept(due_at=LATER)
    await scene.accept(test=True)
    taken = [await store.doubt_queued("live", 2, NOW) for _ in range(3)]
    assert taken == [2, 1, 0]
    assert dict(await store.count_pending()) | {"parked": 0} == {"queued": 2, "pending": 0, "in_doubt": 3, "parked": 0}


async def test_what_would_not_have_left_is_not_doubted(scene: Scene, store: Store) -> None:
    message = await scene.accept(validity_ms=HOUR)
    assert await store.doubt_queued("live", 100, LATER) == 1
    assert await scene.state(message) is State.ERROR
    assert (await scene.journey(message)).attempts == []
