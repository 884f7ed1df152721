"""Receipts find their attempt by id, by another form of the id, or by reference; else they are parked."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, permutations

import pytest
from store_scene import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    NUMBER,
    OTHER_NUMBER,
    SECOND,
    Scene,
    a_receipt,
    answered,
    doubted,
)

from chappe.core.lifecycle import Journey, part_statuses
from chappe.core.message import Delivery, InDoubtPolicy, Outcome, PartState, State, Submission, Verdict

SOON = NOW + MINUTE
HEXADECIMAL, DECIMAL = "1A2B3C4D", str(0x1A2B3C4D)


async def parked(scene: Scene) -> int:
    return (await scene.store.count_pending())["parked"]


# --- by id -------------------------------------------------------------------------------------------


async def test_receipt_finds_its_message_by_the_operator_s_id(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    before = await scene.journey(message)
    events = await scene.store.settle([a_receipt("A1", at=NOW + 5 * SECOND)], SOON)
    assert events == scene.events(message, (State.DELIVERED, NOW + 5 * SECOND))
    assert await scene.journey(message) == Journey(
        replace(
            before.message,
            delivery=Delivery.DELIVERED,
            delivered_at=NOW + 5 * SECOND,
            facts=2,
            events=3,
            wake_at=None,
        ),
        [replace(before.attempts[0], verdict=Verdict.DELIVERED, verdict_at=NOW + 5 * SECOND)],
    )
    assert await parked(scene) == 0


async def test_receipt_needs_no_number_when_the_id_is_as_given(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1", number=None)], SOON)
    assert await scene.state(message) is State.DELIVERED


async def test_failure_is_told_in_the_receipt_s_words(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1", Verdict.FAILED, detail="rejected:11")], SOON)
    assert ((await scene.read(message)).delivery, (await scene.read(message)).cause) == (Delivery.ERROR, "rejected:11")


@pytest.mark.parametrize(
    ("verdict", "delivery"),
    [
        (None, Delivery.SENT),
        (Verdict.DELIVERED, Delivery.DELIVERED),
        (Verdict.NOT_ASSIGNED, Delivery.BOUNCED),
        (Verdict.EXPIRED, Delivery.PRESUMED_LOST),
        (Verdict.FAILED, Delivery.ERROR),
    ],
)
async def test_receipt_decides_by_its_verdict(scene: Scene, verdict: Verdict | None, delivery: Delivery) -> None:
    message = await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1", verdict)], SOON)
    assert (await scene.read(message)).delivery is delivery


async def test_same_id_at_another_operator_is_another_id(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    assert await scene.store.settle([a_receipt("A1", connector="simulator")], SOON) == []
    assert await scene.state(message) is State.SENT
    assert await parked(scene) == 1


async def test_two_operators_may_give_the_same_id(scene: Scene) -> None:
    live = await scene.hand_over("A1")
    submission = await scene.submit(test=True)
    await scene.store.settle([answered(submission, "A1")], NOW + SECOND)
    await scene.store.settle([a_receipt("A1", connector="simulator")], SOON)
    states = [await scene.state(message) for message in (live, submission.attempt.message)]
    assert states == [State.SENT, State.DELIVERED]


async def test_receipt_of_a_connector_never_opened_is_parked(scene: Scene) -> None:
    assert await scene.store.settle([a_receipt("A1", connector="unknown")], SOON) == []
    assert await parked(scene) == 1


async def test_receipt_that_answers_nothing_harms_nobody_in_its_batch(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    events = await scene.store.settle([a_receipt("unheard of"), a_receipt("A1"), a_receipt("")], SOON)
    assert events == scene.events(message, (State.DELIVERED, NOW + 5 * SECOND))
    assert await parked(scene) == 2


async def test_id_used_again_means_the_newest_attempt(scene: Scene) -> None:
    older = await scene.hand_over("A1", now=NOW)
    newer = await scene.hand_over("A1", now=NOW + HOUR, accepted_at=NOW + HOUR)
    receipt = a_receipt("A1", at=NOW + 2 * HOUR)
    assert await scene.store.settle([receipt], NOW + 2 * HOUR) == scene.events(newer, (State.DELIVERED, NOW + 2 * HOUR))
    assert await scene.state(older) is State.SENT


async def test_id_given_within_seven_days_is_known(scene: Scene) -> None:
    message = await scene.hand_over("A1", validity_ms=30 * DAY)
    at = NOW + 7 * DAY - MINUTE
    assert await scene.store.settle([a_receipt("A1", at=at)], at) == scene.events(message, (State.DELIVERED, at))


async def test_id_older_than_seven_days_is_forgotten_without_any_sweep(scene: Scene) -> None:
    message = await scene.hand_over("A1", validity_ms=30 * DAY)
    at = NOW + 7 * DAY + MINUTE
    assert await scene.store.settle([a_receipt("A1", at=at)], at) == []
    assert await scene.state(message) is State.SENT
    assert await parked(scene) == 1


async def test_each_attempt_keeps_its_own_id(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_LEAST_ONCE)
    message = submission.attempt.message
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    await scene.store.sweep(SOON, 10)
    again = await scene.claim_one(now=SOON)
    await scene.store.settle([answered(submission, "A1", SOON + 1), answered(again, "A2", SOON + 2)], SOON + 2)
    await scene.store.settle([a_receipt("A2", Verdict.FAILED), a_receipt("A1", Verdict.DELIVERED)], SOON + 3)
    attempts = (await scene.journey(message)).attempts
    assert [attempt.verdict for attempt in attempts] == [Verdict.DELIVERED, Verdict.FAILED]
    assert await scene.state(message) is State.DELIVERED


# --- by another form of the id -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "received"),
    [(HEXADECIMAL, DECIMAL), (DECIMAL, HEXADECIMAL), (HEXADECIMAL, HEXADECIMAL.lower()), ("0000012345", "12345")],
)
async def test_receipt_may_write_the_id_otherwise_when_the_number_agrees(
    scene: Scene, given: str, received: str
) -> None:
    message = await scene.hand_over(given)
    await scene.store.settle([a_receipt(received, number=NUMBER)], SOON)
    assert await scene.state(message) is State.DELIVERED


@pytest.mark.parametrize("number", [OTHER_NUMBER, None])
async def test_id_written_otherwise_is_not_believed_unless_the_number_agrees(scene: Scene, number: str | None) -> None:
    message = await scene.hand_over(HEXADECIMAL)
    assert await scene.store.settle([a_receipt(DECIMAL, number=number)], SOON) == []
    assert await scene.state(message) is State.SENT
    assert await parked(scene) == 1


async def test_id_written_otherwise_and_used_again_means_the_newest_attempt(scene: Scene) -> None:
    older = await scene.hand_over(HEXADECIMAL, now=NOW)
    newer = await scene.hand_over(HEXADECIMAL, now=NOW + HOUR, accepted_at=NOW + HOUR)
    await scene.store.settle([a_receipt(DECIMAL)], NOW + 2 * HOUR)
    assert [await scene.state(message) for message in (older, newer)] == [State.SENT, State.DELIVERED]


async def test_id_as_received_wins_over_one_written_otherwise(scene: Scene) -> None:
    exact = await scene.hand_over(DECIMAL)
    lookalike = await scene.hand_over(HEXADECIMAL)
    await scene.store.settle([a_receipt(DECIMAL)], SOON)
    assert [await scene.state(message) for message in (exact, lookalike)] == [State.DELIVERED, State.SENT]


async def test_early_receipt_with_the_id_written_otherwise_is_matched_too(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([a_receipt(DECIMAL, at=NOW + 1)], NOW + 1)
    await scene.store.settle([answered(submission, HEXADECIMAL)], SOON)
    assert await scene.state(submission.attempt.message) is State.DELIVERED
    assert await parked(scene) == 0


async def test_early_receipt_with_the_id_written_otherwise_is_left_when_the_number_differs(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([a_receipt(DECIMAL, at=NOW + 1, number=OTHER_NUMBER)], NOW + 1)
    await scene.store.settle([answered(submission, HEXADECIMAL)], SOON)
    assert await scene.state(submission.attempt.message) is State.SENT
    assert await parked(scene) == 1


# --- early -------------------------------------------------------------------------------------------


async def test_receipt_overtakes_submit_answer(scene: Scene) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    assert await scene.store.settle([a_receipt("A1", at=NOW + 1)], NOW + 1) == []
    assert await parked(scene) == 1
    events = await scene.store.settle([answered(submission, "A1", NOW + SECOND)], SOON)
    assert events == scene.events(message, (State.SENT, NOW + SECOND), (State.DELIVERED, NOW + 1))
    assert await parked(scene) == 0
    assert (await scene.read(message)).facts == 2


async def test_receipt_stands_before_its_answer_in_one_batch(scene: Scene) -> None:
    submission = await scene.submit()
    events = await scene.store.settle([a_receipt("A1", at=NOW + 1), answered(submission, "A1", NOW + SECOND)], SOON)
    assert events == scene.events(submission.attempt.message, (State.SENT, NOW + SECOND), (State.DELIVERED, NOW + 1))
    assert await parked(scene) == 0


async def test_several_early_receipts_are_applied_in_the_order_they_came(scene: Scene) -> None:
    submission = await scene.submit()
    early = [(None, NOW + 1), (Verdict.FAILED, NOW + 2), (Verdict.DELIVERED, NOW + 3)]
    for verdict, at in early:
        await scene.store.settle([a_receipt("A1", verdict, at=at)], at)
    assert await parked(scene) == 3
    await scene.store.settle([answered(submission, "A1")], SOON)
    message = await scene.read(submission.attempt.message)
    assert (message.delivery, message.error_at, message.facts) == (Delivery.ERROR, NOW + 2, 4)
    assert await parked(scene) == 0


async def test_early_receipt_outlives_a_restart(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([a_receipt("A1", at=NOW + 1)], NOW + 1)
    await scene.restart()
    assert await parked(scene) == 1
    await scene.store.settle([answered(submission, "A1")], SOON)
    assert await scene.state(submission.attempt.message) is State.DELIVERED


async def test_early_receipt_of_another_operator_stays_parked(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([a_receipt("A1", at=NOW + 1, connector="simulator")], NOW + 1)
    await scene.store.settle([answered(submission, "A1")], SOON)
    assert await scene.state(submission.attempt.message) is State.SENT
    assert await parked(scene) == 1


async def test_early_receipt_is_used_once(scene: Scene) -> None:
    first, second = await scene.submit(), await scene.submit()
    await scene.store.settle([a_receipt("A1", at=NOW + 1)], NOW + 1)
    await scene.store.settle([answered(first, "A1")], NOW + SECOND)
    await scene.store.settle([answered(second, "A1")], SOON)
    states = [await scene.state(submission.attempt.message) for submission in (first, second)]
    assert states == [State.DELIVERED, State.SENT]


async def test_early_bounce_lists_the_number_once_its_message_is_known(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([a_receipt("A1", Verdict.NOT_ASSIGNED, at=NOW + 1)], NOW + 1)
    await scene.store.settle([answered(submission, "A1")], SOON)
    assert await scene.state(submission.attempt.message) is State.BOUNCED
    assert await scene.try_to_send() != await scene.try_to_send(number=OTHER_NUMBER)


# --- late and twice ----------------------------------------------------------------------------------


async def test_second_receipt_of_a_delivered_message_changes_only_the_count(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1", at=NOW + 5 * SECOND)], SOON)
    delivered = await scene.read(message)
    for verdict in (Verdict.DELIVERED, Verdict.EXPIRED, Verdict.FAILED, Verdict.NOT_ASSIGNED, None):
        assert await scene.store.settle([a_receipt("A1", verdict, at=SOON)], SOON) == []
    assert await scene.read(message) == replace(delivered, facts=delivered.facts + 5)


async def test_late_receipt_turns_our_time_out_into_delivered_once(scene: Scene) -> None:
    message = await scene.hand_over("A1", validity_ms=HOUR)
    await scene.store.sweep(NOW + HOUR, 10)
    await scene.store.sweep(NOW + 2 * HOUR, 10)
    assert await scene.state(message) is State.ERROR
    at = NOW + DAY
    assert await scene.store.settle([a_receipt("A1", at=at)], at) == scene.events(message, (State.DELIVERED, at))
    assert await scene.store.settle([a_receipt("A1", Verdict.EXPIRED, at=at + 1)], at + 1) == []
    read = await scene.read(message)
    assert (read.delivery, read.delivered_at, read.error_at, read.cause) == (Delivery.DELIVERED, at, None, None)


async def test_late_receipt_does_not_undo_a_proven_failure(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1", Verdict.FAILED)], SOON)
    assert await scene.store.settle([a_receipt("A1", Verdict.DELIVERED)], SOON) == []
    assert await scene.state(message) is State.ERROR


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "all at once"])
async def test_of_receipts_that_contradict_each_other_the_first_proof_stands(scene: Scene, together: bool) -> None:
    ends = {
        Verdict.DELIVERED: Delivery.DELIVERED,
        Verdict.NOT_ASSIGNED: Delivery.BOUNCED,
        Verdict.EXPIRED: Delivery.PRESUMED_LOST,
        Verdict.FAILED: Delivery.ERROR,
    }
    pairs = list(permutations(ends, 2))
    messages = [await scene.hand_over(f"A{n}", number=f"+336120{n:05}") for n in range(len(pairs))]
    receipts = [
        [a_receipt(f"A{n}", verdict, at=SOON + later, number=f"+336120{n:05}") for later, verdict in enumerate(pair)]
        for n, pair in enumerate(pairs)
    ]
    for batch in [list(chain(*receipts))] if together else zip(*receipts, strict=True):
        await scene.store.settle(batch, SOON + 1)
    found = {pair: (await scene.read(id_)).delivery for pair, id_ in zip(pairs, messages, strict=True)}
    mended = {(Verdict.EXPIRED, Verdict.DELIVERED): Delivery.DELIVERED}  # EXPIRED proves nothing
    assert found == {pair: mended.get(pair, ends[pair[0]]) for pair in pairs}


# --- parts -------------------------------------------------------------------------------------------


async def test_long_message_is_delivered_once_every_part_is(scene: Scene) -> None:
    message = await scene.accept(parts=3)
    submissions = await scene.claim()
    await scene.store.settle([answered(s, f"A{s.attempt.part}") for s in submissions], NOW + SECOND)
    assert await scene.store.settle([a_receipt("A3"), a_receipt("A1")], SOON) == []
    states = [status.state for status in part_statuses(await scene.journey(message))]
    assert states == [PartState.DELIVERED, PartState.SENT, PartState.DELIVERED]
    events = await scene.store.settle([a_receipt("A2", at=SOON)], SOON)
    assert events == scene.events(message, (State.DELIVERED, SOON))


async def test_long_message_fails_with_its_first_failed_part(scene: Scene) -> None:
    message = await scene.accept(parts=2)
    submissions = await scene.claim()
    await scene.store.settle([answered(s, f"A{s.attempt.part}") for s in submissions], NOW + SECOND)
    events = await scene.store.settle([a_receipt("A1"), a_receipt("A2", Verdict.FAILED)], SOON)
    assert events == scene.events(message, (State.ERROR, NOW + 5 * SECOND))


# --- by reference ------------------------------------------------------------------------------------


async def test_receipt_settles_a_doubt_by_its_reference(scene: Scene) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    receipt = a_receipt("never seen", at=NOW + 5 * SECOND, reference=submission.attempt.reference)
    events = await scene.store.settle([receipt], SOON)
    assert events == scene.events(message, (State.SENT, NOW + 5 * SECOND), (State.DELIVERED, NOW + 5 * SECOND))
    read = await scene.read(message)
    assert (read.in_doubt, read.wake_at) == (0, None)
    assert await scene.store.count_pending() == {"queued": 0, "pending": 0, "in_doubt": 0, "parked": 0}


async def test_receipt_that_expired_settles_the_doubt_as_an_error(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    receipt = a_receipt("never seen", Verdict.EXPIRED, reference=submission.attempt.reference)
    await scene.store.settle([receipt], SOON)
    assert (await scene.read(submission.attempt.message)).delivery is Delivery.PRESUMED_LOST
    assert await scene.store.next_due("live") is None


async def test_id_counts_before_the_reference(scene: Scene) -> None:
    sent = await scene.hand_over("A1")
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    await scene.store.settle([a_receipt("A1", reference=submission.attempt.reference)], SOON)
    states = [await scene.state(message) for message in (sent, submission.attempt.message)]
    assert states == [State.DELIVERED, State.SUBMITTED]


async def test_reference_with_another_number_settles_nothing(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    receipt = a_receipt("never seen", reference=submission.attempt.reference, number=OTHER_NUMBER)
    assert await scene.store.settle([receipt], SOON) == []
    assert await parked(scene) == 1


async def test_reference_without_a_number_settles_nothing(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    receipt = a_receipt("never seen", reference=submission.attempt.reference, number=None)
    assert await scene.store.settle([receipt], SOON) == []
    assert await parked(scene) == 1


async def test_reference_from_another_operator_settles_nothing(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    receipt = a_receipt("never seen", reference=submission.attempt.reference, connector="simulator")
    assert await scene.store.settle([receipt], SOON) == []
    assert await parked(scene) == 1


async def test_reference_nobody_used_settles_nothing(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    receipt = a_receipt("never seen", reference=submission.attempt.reference ^ 1)
    assert await scene.store.settle([receipt], SOON) == []
    assert await parked(scene) == 1


async def test_reference_that_two_doubts_share_settles_neither(scene: Scene) -> None:
    for _ in range(8):
        await scene.accept(parts=32)
    by_reference: dict[int, list[Submission]] = {}
    for submission in await scene.claim(8 * 32):
        by_reference.setdefault(submission.attempt.reference, []).append(submission)
    one, other = next(submissions for submissions in by_reference.values() if len(submissions) == 2)
    await scene.store.settle([doubted(one), doubted(other)], NOW + SECOND)
    before = [await scene.journey(submission.attempt.message) for submission in (one, other)]
    receipt = a_receipt("never seen", reference=one.attempt.reference)
    assert await scene.store.settle([receipt], SOON) == []
    assert [await scene.journey(submission.attempt.message) for submission in (one, other)] == before
    assert await parked(scene) == 1


async def test_receipt_waits_for_a_submit_that_is_not_in_doubt_yet(scene: Scene) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    receipt = a_receipt("never seen", at=NOW + 1, reference=submission.attempt.reference)
    assert await scene.store.settle([receipt], NOW + 1) == []
    assert await parked(scene) == 1
    events = await scene.store.settle([doubted(submission)], SOON)
    assert events == scene.events(message, (State.SENT, NOW + 1), (State.DELIVERED, NOW + 1))
    assert await parked(scene) == 0


async def test_doubt_and_its_receipt_may_come_in_one_batch_in_either_order(scene: Scene) -> None:
    first, second = await scene.submit(), await scene.submit()
    await scene.store.settle(
        [
            a_receipt("never seen", reference=first.attempt.reference),
            doubted(first),
            doubted(second),
            a_receipt("nor this", reference=second.attempt.reference),
        ],
        SOON,
    )
    states = [await scene.state(submission.attempt.message) for submission in (first, second)]
    assert states == [State.DELIVERED, State.DELIVERED]
    assert await parked(scene) == 0


async def test_receipt_parked_before_a_crash_settles_the_doubt_that_the_crash_left(scene: Scene) -> None:
    submission = await scene.submit()
    receipt = a_receipt("never seen", at=NOW + 1, reference=submission.attempt.reference)
    await scene.store.settle([receipt], NOW + 1)
    await scene.restart()
    await scene.open_connectors(SOON)
    [attempt] = (await scene.journey(submission.attempt.message)).attempts
    assert (attempt.outcome, attempt.verdict) == (Outcome.IN_DOUBT, Verdict.DELIVERED)
    assert await scene.state(submission.attempt.message) is State.DELIVERED
    assert await parked(scene) == 0


async def test_reference_of_an_answered_submit_settles_nothing(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([answered(submission, "A1")], NOW + SECOND)
    receipt = a_receipt("never seen", reference=submission.attempt.reference)
    assert await scene.store.settle([receipt], SOON) == []
    assert await scene.state(submission.attempt.message) is State.SENT
    assert await parked(scene) == 1


async def test_second_receipt_of_a_doubt_finds_it_too(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    reference = submission.attempt.reference
    await scene.store.settle([a_receipt("never seen", None, reference=reference)], NOW + 2 * SECOND)
    assert await scene.state(submission.attempt.message) is State.SUBMITTED
    await scene.store.settle([a_receipt("never seen", reference=reference)], SOON)
    assert await scene.state(submission.attempt.message) is State.DELIVERED


async def test_late_delivery_mends_an_expiry_that_came_by_reference(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    reference = submission.attempt.reference
    await scene.store.settle([a_receipt("never seen", Verdict.EXPIRED, reference=reference)], NOW + 5 * SECOND)
    assert await scene.state(submission.attempt.message) is State.ERROR
    await scene.store.settle([a_receipt("never seen", at=SOON, reference=reference)], SOON)
    read = await scene.read(submission.attempt.message)
    assert (read.delivery, read.delivered_at, read.error_at) == (Delivery.DELIVERED, SOON, None)
