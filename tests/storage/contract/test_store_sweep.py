"""The sweep: what time alone decides, once, and in batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_scene import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    VALIDITY,
    Scene,
    a_receipt,
    an_inbound,
    answered,
    doubted,
    in_parts,
    keys_of,
)

from chappe.core.lifecycle import Journey, next_wake, receipt_wait_ms
from chappe.core.message import Accepted, Delivery, Idempotency, InDoubtPolicy, Outcome, Reply, State, Verdict

# --- deadlines ---------------------------------------------------------------------------------------


async def test_message_still_queued_at_the_end_of_its_validity_has_expired(scene: Scene) -> None:
    message = await scene.accept(parts=2)
    accepted = await scene.read(message)
    at = NOW + VALIDITY
    assert await scene.store.sweep(at, 10) == (1, scene.events(message, (State.ERROR, at)))
    assert await scene.journey(message) == Journey(
        replace(
            accepted, delivery=Delivery.PRESUMED_LOST, error_at=at, cause="expired", facts=1, events=2, wake_at=None
        ),
        [],
    )
    assert await scene.store.next_due("live") is None


async def test_sweep_that_comes_too_early_looks_at_nothing(scene: Scene) -> None:
    message = await scene.accept()
    before = await scene.read(message)
    assert await scene.store.sweep(NOW + VALIDITY - 1, 10) == (0, [])
    assert await scene.read(message) == before


async def test_expired_message_is_swept_once(scene: Scene) -> None:
    await scene.accept()
    await scene.store.sweep(NOW + VALIDITY, 10)
    assert await scene.store.sweep(NOW + VALIDITY + DAY, 10) == (0, [])


async def test_sent_message_is_looked_at_after_its_validity_and_armed_for_its_receipt(scene: Scene) -> None:
    message = await scene.hand_over()
    sent = await scene.read(message)
    assert await scene.store.sweep(NOW + VALIDITY, 10) == (1, [])
    assert await scene.read(message) == replace(sent, wake_at=NOW + SECOND + receipt_wait_ms(sent))
    assert await scene.store.sweep(NOW + VALIDITY, 10) == (0, [])


async def test_receipt_that_never_comes_ends_in_an_unknown_error(scene: Scene) -> None:
    message = await scene.hand_over()
    sent = await scene.read(message)
    await scene.store.sweep(NOW + VALIDITY, 10)
    at = NOW + SECOND + receipt_wait_ms(sent)
    assert await scene.store.sweep(at - 1, 10) == (0, [])
    assert await scene.store.sweep(at, 10) == (1, scene.events(message, (State.ERROR, at)))
    assert await scene.read(message) == replace(
        sent, delivery=Delivery.PRESUMED_LOST, error_at=at, cause="unknown", facts=2, events=3, wake_at=None
    )


async def test_48_hours_of_validity_wait_72_hours_for_a_receipt(scene: Scene) -> None:
    message = await scene.hand_over()
    await scene.store.sweep(NOW + VALIDITY, 10)
    await scene.store.sweep(NOW + 72 * HOUR, 10)
    assert await scene.state(message) is State.SENT
    await scene.store.sweep(NOW + SECOND + 72 * HOUR, 10)
    assert await scene.state(message) is State.ERROR


async def test_late_sweep_decides_at_once(scene: Scene) -> None:
    message = await scene.hand_over()
    assert await scene.store.sweep(NOW + 30 * DAY, 10) == (1, scene.events(message, (State.ERROR, NOW + 30 * DAY)))


async def test_decided_messages_are_never_looked_at(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1")], NOW + MINUTE)
    assert await scene.store.sweep(NOW + 30 * DAY, 10) == (0, [])


async def test_message_that_was_answered_to_is_never_timed_out(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    await scene.store.receive([an_inbound()], NOW + MINUTE)
    assert await scene.store.sweep(NOW + 30 * DAY, 10) == (0, [])
    assert await scene.state(message) is State.REPLY


async def test_submit_without_any_answer_ends_too(scene: Scene) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    await scene.store.sweep(NOW + VALIDITY, 10)
    at = NOW + receipt_wait_ms(await scene.read(message))
    assert await scene.store.sweep(at, 10) == (1, scene.events(message, (State.ERROR, at)))
    assert (await scene.read(message)).cause == "unknown"


# --- doubts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "lasts_ms"), [(InDoubtPolicy.WAIT_THEN_RETRY, 2 * MINUTE), (InDoubtPolicy.AT_LEAST_ONCE, 5 * SECOND)]
)
async def test_doubt_ends_in_another_submit_that_is_flagged(scene: Scene, policy: InDoubtPolicy, lasts_ms: int) -> None:
    submission = await scene.submit(policy=policy)
    message = submission.attempt.message
    await scene.store.settle([doubted(submission, NOW)], NOW)
    assert await scene.store.sweep(NOW + lasts_ms - 1, 10) == (0, [])
    assert await scene.store.next_due("live") is None
    assert await scene.store.sweep(NOW + lasts_ms, 10) == (1, [])
    [attempt] = (await scene.journey(message)).attempts
    assert attempt.outcome is Outcome.RESENT
    again = await scene.claim_one(now=NOW + lasts_ms)
    assert (again.key, again.attempt.flagged) == ((message, 1, 2), True)
    read = await scene.read(message)
    assert (read.in_doubt, read.resent, read.facts) == (0, 1, 2)


async def test_doubt_of_at_most_once_is_never_resent_and_ends_unknown(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_MOST_ONCE)
    message = submission.attempt.message
    await scene.store.settle([doubted(submission, NOW)], NOW)
    at = NOW + receipt_wait_ms(await scene.read(message))
    swept = [
        await scene.store.sweep(now, 10)
        for now in (NOW + 5 * SECOND, NOW + 2 * MINUTE, NOW + DAY, NOW + VALIDITY, at - 1, at)
    ]
    assert swept == [(0, []), (0, []), (0, []), (1, []), (0, []), (1, scene.events(message, (State.ERROR, at)))]
    assert (await scene.read(message)).cause == "unknown"
    assert await scene.claim(now=at) == []
    assert len((await scene.journey(message)).attempts) == 1


async def test_doubt_that_ends_after_validity_is_not_resent(scene: Scene) -> None:
    submission = await scene.submit(validity_ms=MINUTE)
    message = submission.attempt.message
    await scene.store.settle([doubted(submission, NOW)], NOW)
    await scene.store.sweep(NOW + 2 * MINUTE, 10)
    assert await scene.claim(now=NOW + 2 * MINUTE) == []
    assert ((await scene.read(message)).delivery, (await scene.read(message)).cause) == (
        Delivery.PRESUMED_LOST,
        "unknown",
    )


async def test_every_doubt_of_a_message_ends_in_one_look(scene: Scene) -> None:
    message = await scene.accept(parts=3, policy=InDoubtPolicy.AT_LEAST_ONCE)
    first, second, third = await scene.claim()
    await scene.store.settle([doubted(first, NOW), answered(second), doubted(third, NOW)], NOW)
    assert await scene.store.sweep(NOW + 5 * SECOND, 10) == (1, [])
    assert keys_of(await scene.claim(now=NOW + 5 * SECOND)) == [(message, 1, 2), (message, 3, 2)]
    assert (await scene.read(message)).resent == 2


async def test_message_resent_is_armed_for_its_next_deadline(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_LEAST_ONCE)
    await scene.store.settle([doubted(submission, NOW)], NOW)
    await scene.store.sweep(NOW + 5 * SECOND, 10)
    journey = await scene.journey(submission.attempt.message)
    assert journey.message.wake_at == next_wake(journey) == NOW + VALIDITY


async def test_person_who_answered_a_message_in_doubt_is_not_written_to_again(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_LEAST_ONCE)
    await scene.store.settle([doubted(submission, NOW)], NOW)
    [reply] = await scene.store.receive([an_inbound(at=NOW + SECOND)], NOW + SECOND)
    assert reply.message == submission.attempt.message
    await scene.store.sweep(NOW + MINUTE, 10)
    assert await scene.claim(now=NOW + MINUTE) == []


# --- batches -----------------------------------------------------------------------------------------


async def test_sweep_looks_at_no_more_messages_than_the_limit(scene: Scene) -> None:
    messages = [await scene.accept() for _ in range(5)]
    at = NOW + VALIDITY
    swept = [await scene.store.sweep(at, 2) for _ in range(4)]
    assert [looked_at for looked_at, _ in swept] == [2, 2, 1, 0]
    ended = [event.message for _, events in swept for event in events]
    assert sorted(ended) == messages


async def test_message_longest_overdue_is_swept_first(scene: Scene) -> None:
    later = await scene.accept(validity_ms=2 * HOUR)
    sooner = await scene.accept(validity_ms=HOUR)
    at = NOW + 3 * HOUR
    assert await scene.store.sweep(at, 1) == (1, scene.events(sooner, (State.ERROR, at)))
    assert await scene.store.sweep(at, 1) == (1, scene.events(later, (State.ERROR, at)))


async def test_deadlines_outlive_a_restart(scene: Scene) -> None:
    message = await scene.accept()
    await scene.restart()
    at = NOW + VALIDITY
    assert await scene.store.sweep(at, 10) == (1, scene.events(message, (State.ERROR, at)))


# --- what is dropped ---------------------------------------------------------------------------------


async def test_parked_receipt_is_kept_for_seven_days(scene: Scene) -> None:
    await scene.store.settle([a_receipt("unheard of", at=NOW)], NOW)
    await scene.store.sweep(NOW + 7 * DAY - MINUTE, 10)
    assert (await scene.store.count_pending())["parked"] == 1
    await scene.store.sweep(NOW + 7 * DAY + MINUTE, 10)
    assert (await scene.store.count_pending())["parked"] == 0


async def test_ids_still_known_outlive_a_sweep(scene: Scene) -> None:
    message = await scene.hand_over("A1", validity_ms=30 * DAY)
    at = NOW + 7 * DAY - MINUTE
    await scene.store.sweep(at, 10)
    await scene.store.settle([a_receipt("A1", Verdict.DELIVERED, at=at)], at)
    assert await scene.state(message) is State.DELIVERED


async def test_idempotency_answers_still_known_outlive_a_sweep(scene: Scene) -> None:
    once = Idempotency("order-17", b"digest")
    message = await scene.accept(idempotency=once)
    at = NOW + 7 * DAY - MINUTE
    await scene.store.sweep(at, 10)
    again = await scene.try_to_send(idempotency=once, accepted_at=at)
    assert again == Accepted(message, parts=1, repeated=True)


async def test_idempotency_key_is_new_after_the_sweep_dropped_it(scene: Scene) -> None:
    once = Idempotency("order-17", b"digest")
    await scene.accept(idempotency=once)
    at = NOW + 7 * DAY + MINUTE
    await scene.store.sweep(at, 10)
    again = await scene.try_to_send(idempotency=once, accepted_at=at)
    assert isinstance(again, Accepted)
    assert again.repeated is False


# --- incomplete replies ------------------------------------------------------------------------------


async def test_incomplete_reply_is_joined_after_ten_minutes(scene: Scene) -> None:
    message = await scene.hand_over()
    first, _, third = in_parts(7, "Je ne ", "suis pas ", "ici", at=NOW + MINUTE)
    assert await scene.store.receive([third, first], NOW + MINUTE) == []
    assert await scene.store.sweep(NOW + 10 * MINUTE, 10) == (0, [])
    assert await scene.state(message) is State.SENT
    _, events = await scene.store.sweep(NOW + 12 * MINUTE, 10)
    assert [(event.message, event.state) for event in events] == [(message, State.REPLY)]
    reply = await scene.store.find_reply(scene.account, message)
    assert reply is not None
    assert "Je ne " in reply.text
    assert "ici" in reply.text
    assert reply == Reply(
        reply.id,
        scene.account,
        first.number,
        first.recipient,
        reply.text,
        "",
        reply.at,
        message,
        complete=False,
    )


async def test_incomplete_reply_is_joined_once(scene: Scene) -> None:
    message = await scene.hand_over()
    first, _, _ = in_parts(7, "Je ne ", "suis pas ", "ici", at=NOW + MINUTE)
    await scene.store.receive([first], NOW + MINUTE)
    await scene.store.sweep(NOW + 12 * MINUTE, 10)
    facts = (await scene.read(message)).facts
    assert await scene.store.sweep(NOW + 24 * MINUTE, 10) == (0, [])
    assert (await scene.read(message)).facts == facts


async def test_incomplete_reply_outlives_a_restart(scene: Scene) -> None:
    message = await scene.hand_over()
    first, second, third = in_parts(7, "Je ne ", "suis pas ", "ici", at=NOW + MINUTE)
    await scene.store.receive([second], NOW + MINUTE)
    await scene.restart()
    [reply] = await scene.store.receive([third, first], NOW + MINUTE)
    assert (reply.text, reply.message, reply.complete) == ("Je ne suis pas ici", message, True)
