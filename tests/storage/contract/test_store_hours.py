"""Claims at night: marketing that has not left by closing time waits for the morning, and nothing else does."""

from __future__ import annotations

import pytest
from store_scene import HOUR, MINUTE, NOW, OTHER_NUMBER, SECOND, VALIDITY, Scene, answered, keys_of, refused

from chappe.core.message import Delivery, Family, Held, LoggedFact, MessageId, Settings, Treatment

REUNION = "+262692123456"

CLOSING = NOW + 12 * HOUR + 30 * MINUTE
"""NOW is a Friday, 09:00 in Paris; marketing closes at 21:30."""
OPENING = NOW + 23 * HOUR
"""Saturday, 08:00."""
CLOSED_IN_REUNION = CLOSING - 3 * HOUR
RULE = "fr-af2m-2026:hours"


async def market(scene: Scene, **changes: object) -> MessageId:
    return await scene.accept(family=Family.MARKETING, **changes)


async def waiting(scene: Scene, message: MessageId) -> tuple[int, str | None, int | None]:
    read = await scene.read(message)
    return read.due_at, read.held_by, read.wake_at


UNTIL_MORNING = (OPENING, RULE, OPENING + VALIDITY)


async def test_marketing_that_meets_closed_hours_waits_for_the_next_open_ones(scene: Scene) -> None:
    message = await market(scene)
    before = await scene.journey(message)
    assert await scene.claim(now=CLOSING) == []
    held = await scene.journey(message)
    assert held.attempts == []
    assert held.message.delivery is Delivery.SUBMITTED
    assert await waiting(scene, message) == UNTIL_MORNING
    assert await scene.store.list_facts(scene.account, message) == [
        LoggedFact(before.message.facts, True, Held(CLOSING, OPENING, RULE))
    ]
    assert await scene.store.next_due("live") == OPENING
    assert await scene.claim(now=OPENING - 1) == []
    assert keys_of(await scene.claim(now=OPENING)) == [(message, 1, 1)]


async def test_marketing_leaves_until_the_hours_close(scene: Scene) -> None:
    message = await market(scene)
    assert keys_of(await scene.claim(now=CLOSING - 1)) == [(message, 1, 1)]
    assert await waiting(scene, message) == (NOW, None, NOW + VALIDITY)


async def test_validity_begins_when_a_held_message_may_leave(scene: Scene) -> None:
    message = await market(scene, validity_ms=13 * HOUR)
    await scene.claim(now=CLOSING)
    assert await scene.store.sweep(OPENING + 13 * HOUR - 1, 100) == (0, [])
    submission = await scene.claim_one(now=OPENING + HOUR)
    assert (submission.attempt.message, submission.expires_at) == (message, OPENING + 13 * HOUR)


async def test_held_message_expires_when_nothing_takes_it_in_open_hours(scene: Scene) -> None:
    message = await market(scene, validity_ms=13 * HOUR)
    await scene.claim(now=CLOSING)
    looked_at, _ = await scene.store.sweep(OPENING + 13 * HOUR, 100)
    assert looked_at == 1
    assert (await scene.read(message)).cause == "expired"


async def test_message_past_its_validity_expires_and_is_not_held(scene: Scene) -> None:
    message = await market(scene, validity_ms=HOUR)
    assert await scene.claim(now=CLOSING) == []
    assert ((await scene.read(message)).cause, (await scene.read(message)).held_by) == ("expired", None)


@pytest.mark.parametrize(
    ("family", "test"), [(Family.NOTIFICATION, False), (Family.MARKETING, True), (Family.NOTIFICATION, True)]
)
async def test_notifications_and_tests_leave_at_night(scene: Scene, family: Family, test: bool) -> None:
    message = await scene.accept(family=family, test=test)
    route = "simulator" if test else "live"
    assert keys_of(await scene.claim(route=route, now=CLOSING)) == [(message, 1, 1)]


async def test_marketing_of_an_account_that_answers_for_its_hours_leaves_at_night(scene: Scene) -> None:
    await scene.store.save_settings(scene.account, Settings(hours="none"))
    own = await market(scene)
    rival = await scene.another_account()
    await market(scene, account=rival)
    assert keys_of(await scene.claim(now=CLOSING)) == [(own, 1, 1)]


async def test_each_recipient_has_a_clock(scene: Scene) -> None:
    reunion = await market(scene, number=REUNION)
    paris = await market(scene)
    assert keys_of(await scene.claim(now=CLOSED_IN_REUNION)) == [(paris, 1, 1)]
    assert (await scene.read(reunion)).due_at == OPENING - 3 * HOUR


async def test_parts_met_one_after_the_other_wait_for_one_moment(scene: Scene) -> None:
    message = await market(scene, parts=3)
    assert [await scene.claim(1, now=CLOSING + n * SECOND) for n in range(3)] == [[], [], []]
    assert [logged.fact for logged in await scene.store.list_facts(scene.account, message)] == [
        Held(CLOSING, OPENING, RULE)
    ]
    assert await scene.store.next_due("live") == OPENING
    assert len(await scene.claim(now=OPENING)) == 3


async def test_rest_of_a_message_is_held_when_a_part_of_it_has_left(scene: Scene) -> None:
    message = await market(scene, parts=2)
    [first] = await scene.claim(1, now=CLOSING - 1)
    assert await scene.claim(now=CLOSING) == []
    await scene.store.settle([answered(first, at=CLOSING + SECOND)], CLOSING + SECOND)
    assert keys_of(await scene.claim(now=OPENING)) == [(message, 2, 1)]


async def test_retry_is_held_too(scene: Scene) -> None:
    submission = await scene.submit(family=Family.MARKETING, now=CLOSING - 1)
    await scene.store.settle([refused(submission, Treatment.THROTTLED, at=CLOSING)], CLOSING)
    assert await scene.claim(now=CLOSING + HOUR) == []
    assert await waiting(scene, submission.attempt.message) == UNTIL_MORNING
    assert keys_of(await scene.claim(now=OPENING)) == [(submission.attempt.message, 1, 2)]


async def test_held_message_can_be_taken_back(scene: Scene) -> None:
    message = await market(scene)
    await scene.claim(now=CLOSING)
    await scene.store.cancel(scene.account, message, CLOSING + HOUR)
    assert await scene.claim(now=OPENING) == []
    assert (await scene.read(message)).cause == "cancelled"


async def test_message_to_a_person_who_opted_out_is_barred_not_held(scene: Scene) -> None:
    await scene.hand_over()
    message = await market(scene)
    await scene.stop()
    assert await scene.claim(now=CLOSING) == []
    assert (await scene.read(message)).cause == "unsubscribed"


async def test_notifications_leave_past_marketing_that_is_held(scene: Scene) -> None:
    await market(scene)
    notification = await scene.accept(number=OTHER_NUMBER, due_at=NOW + HOUR)
    assert keys_of(await scene.claim(now=CLOSING)) == [(notification, 1, 1)]


async def test_each_night_is_held_by_its_own_rule(scene: Scene) -> None:
    message = await market(scene)
    await scene.claim(now=CLOSING)
    assert await scene.claim(now=CLOSING + 24 * HOUR) == []  # Saturday evening
    due_at, held_by, _ = await waiting(scene, message)
    assert (due_at, held_by) == (OPENING + 48 * HOUR, RULE)
    other = await market(scene, number=OTHER_NUMBER, due_at=CLOSING + 36 * HOUR)
    assert await scene.claim(now=CLOSING + 36 * HOUR) == []  # Sunday
    assert (await scene.read(other)).held_by == "fr-af2m-2026:sunday"


async def test_what_may_have_left_before_a_restore_is_doubted_at_night_too(scene: Scene) -> None:
    message = await market(scene)
    assert await scene.store.doubt_queued("live", 10, CLOSING) == 1
    assert (await scene.read(message)).held_by is None
    assert (await scene.read(message)).in_doubt == 1


async def test_many_are_held_together(scene: Scene) -> None:
    numbers = [f"+336123456{n:02}" for n in range(50)]
    messages = [await market(scene, number=number) for number in numbers]
    assert await scene.claim(50, now=CLOSING) == []
    assert {await waiting(scene, message) for message in messages} == {UNTIL_MORNING}
    assert sorted(s.number for s in await scene.claim(now=OPENING)) == numbers
