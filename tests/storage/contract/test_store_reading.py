"""Point reads: an account sees its own messages, whole; what is not its own does not exist."""

from __future__ import annotations

from store_scene import HOUR, MINUTE, NOW, NUMBER, OTHER_NUMBER, SECOND, Scene, an_inbound, doubted, refused

from chappe.core.message import InDoubtPolicy, MessageId, Treatment


async def test_message_of_another_account_does_not_exist(scene: Scene) -> None:
    message = await scene.hand_over()
    await scene.store.receive([an_inbound()], NOW + MINUTE)
    rival = await scene.another_account()
    assert [
        await scene.store.find_message(rival, message),
        await scene.store.find_latest(rival, NUMBER),
        await scene.store.find_journey(rival, message),
        await scene.store.find_reply(rival, message),
    ] == [None, None, None, None]


async def test_look_ups_made_together_see_all_that_was_committed_before(scene: Scene) -> None:
    for _ in range(3):
        message = await scene.accept()
        scene.store.read_together()
        assert await scene.store.find_message(scene.account, message) == await scene.read(message)
        scene.store.read_together()  # another request of the same turn


async def test_store_that_is_closed_within_a_turn_ends_its_look_ups(scene: Scene) -> None:
    scene.store.read_together()
    await scene.store.find_message(scene.account, await scene.accept())
    scene.store.read_together()
    await scene.store.close()


async def test_absent_message_is_none(scene: Scene) -> None:
    absent = MessageId(await scene.accept() + 1)
    assert [
        await scene.store.find_message(scene.account, absent),
        await scene.store.find_journey(scene.account, absent),
        await scene.store.find_reply(scene.account, absent),
    ] == [None, None, None]


async def test_ids_beyond_all_that_were_issued_are_none(scene: Scene) -> None:
    assert await scene.store.find_message(scene.account, MessageId(2**62)) is None
    assert await scene.store.find_message(scene.account, MessageId(-1)) is None


async def test_absent_number_is_none(scene: Scene) -> None:
    await scene.accept()
    assert await scene.store.find_latest(scene.account, OTHER_NUMBER) is None


async def test_message_without_a_reply_has_none(scene: Scene) -> None:
    assert await scene.store.find_reply(scene.account, await scene.hand_over()) is None


async def test_latest_is_the_account_s_own_whoever_wrote_later(scene: Scene) -> None:
    mine = await scene.accept()
    await scene.accept(account=await scene.another_account(), accepted_at=NOW + HOUR)
    latest = await scene.store.find_latest(scene.account, NUMBER)
    assert latest == await scene.read(mine)


async def test_latest_shows_the_message_as_it_is_now(scene: Scene) -> None:
    message = await scene.hand_over()
    latest = await scene.store.find_latest(scene.account, NUMBER)
    assert latest == await scene.read(message)
    assert latest is not None
    assert latest.sent_at == NOW + SECOND


async def test_journey_shows_attempts_in_order_of_part_and_number(scene: Scene) -> None:
    message = await scene.accept(parts=3)
    first, second, third = await scene.claim()
    await scene.store.settle([refused(third, Treatment.THROTTLED), refused(first, Treatment.THROTTLED)], NOW + SECOND)
    again = {submission.attempt.part: submission for submission in await scene.claim(now=NOW + MINUTE)}
    await scene.store.settle([refused(again[1], Treatment.THROTTLED, NOW + MINUTE)], NOW + MINUTE)
    await scene.claim(now=NOW + HOUR)
    attempts = (await scene.journey(message)).attempts
    assert [(attempt.part, attempt.number) for attempt in attempts] == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2)]
    assert attempts[3] == second.attempt


async def test_journey_shows_the_message_that_is_read_alone(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_LEAST_ONCE)
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    message = submission.attempt.message
    assert (await scene.journey(message)).message == await scene.read(message)


async def test_journey_of_a_queued_message_has_no_attempts(scene: Scene) -> None:
    assert (await scene.journey(await scene.accept(parts=2))).attempts == []


async def test_store_closed_twice_is_closed(scene: Scene) -> None:
    await scene.store.close()
    await scene.store.close()
