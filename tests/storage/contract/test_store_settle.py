"""Settle: what operators answer is written into attempts, folded and saved, many facts to one message at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from store_scene import (
    HOUR,
    MINUTE,
    NOW,
    OTHER_NUMBER,
    SECOND,
    VALIDITY,
    Scene,
    a_receipt,
    answered,
    doubted,
    keys_of,
    refused,
)

from chappe.core.lifecycle import DOUBT_LASTS_MS, MAX_TEMPORARY_REFUSALS, Journey, back_off_ms, part_statuses
from chappe.core.message import (
    Delivery,
    Event,
    InDoubtPolicy,
    NotAccepted,
    Outcome,
    PartState,
    State,
    Treatment,
    Verdict,
)

SOON = NOW + MINUTE

# --- answers -----------------------------------------------------------------------------------------


async def test_answer_makes_the_message_sent(scene: Scene) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    accepted = await scene.read(message)
    events = await scene.store.settle([answered(submission, "A1", NOW + SECOND)], SOON)
    assert events == scene.events(message, (State.SENT, NOW + SECOND))
    assert await scene.journey(message) == Journey(
        replace(accepted, delivery=Delivery.SENT, sent_at=NOW + SECOND, facts=1, events=2),
        [replace(submission.attempt, outcome=Outcome.ACCEPTED, status=0, carrier_id="A1", answered_at=NOW + SECOND)],
    )


async def test_long_message_is_sent_once_every_part_is_answered(scene: Scene) -> None:
    message = await scene.accept(parts=3)
    first, second, third = await scene.claim()
    assert await scene.store.settle([answered(third, "A3"), answered(first, "A1")], SOON) == []
    assert await scene.state(message) is State.SUBMITTED
    events = await scene.store.settle([answered(second, "A2", NOW + 2 * SECOND)], SOON)
    assert events == scene.events(message, (State.SENT, NOW + 2 * SECOND))


async def test_empty_batch_settles_nothing(scene: Scene) -> None:
    assert await scene.store.settle([], SOON) == []


async def test_events_name_the_account_of_their_message(scene: Scene) -> None:
    rival = await scene.another_account()
    mine, theirs = await scene.submit(), await scene.submit(account=rival)
    events = await scene.store.settle([answered(mine, "A1"), answered(theirs, "A2")], SOON)
    assert sorted(events, key=lambda event: event.message) == [
        Event(mine.attempt.message, scene.account, State.SENT, NOW + SECOND),
        Event(theirs.attempt.message, rival, State.SENT, NOW + SECOND),
    ]


async def test_concurrent_batches_are_all_settled(scene: Scene) -> None:
    messages = [await scene.accept() for _ in range(40)]
    submissions = await scene.claim(40)
    batches = [submissions[start : start + 4] for start in range(0, 40, 4)]
    settled = await asyncio.gather(
        *(scene.store.settle([answered(s, f"A{s.attempt.message}") for s in batch], SOON) for batch in batches)
    )
    assert [sorted(event.message for event in events) for events in settled] == [
        sorted(s.attempt.message for s in batch) for batch in batches
    ]
    assert {await scene.state(message) for message in messages} == {State.SENT}


async def test_what_was_settled_outlives_a_restart(scene: Scene) -> None:
    message = await scene.hand_over()
    before = await scene.journey(message)
    await scene.restart()
    assert await scene.journey(message) == before
    events = await scene.store.settle([a_receipt("A1", at=NOW + 5 * SECOND)], SOON)
    assert events == scene.events(message, (State.DELIVERED, NOW + 5 * SECOND))


# --- refusals ----------------------------------------------------------------------------------------


async def test_permanent_refusal_is_an_error_that_names_the_status(scene: Scene) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    accepted = await scene.read(message)
    events = await scene.store.settle([refused(submission, Treatment.PERMANENT, status=11)], SOON)
    assert events == scene.events(message, (State.ERROR, NOW + SECOND))
    assert await scene.journey(message) == Journey(
        replace(
            accepted,
            delivery=Delivery.ERROR,
            error_at=NOW + SECOND,
            cause="refused:11",
            facts=1,
            events=2,
            wake_at=None,
        ),
        [
            replace(
                submission.attempt,
                outcome=Outcome.REFUSED,
                treatment=Treatment.PERMANENT,
                status=11,
                answered_at=NOW + SECOND,
            )
        ],
    )
    assert await scene.store.next_due("live") is None


@pytest.mark.parametrize(
    ("treatment", "refusals"), [(Treatment.TEMPORARY, 1), (Treatment.THROTTLED, 0), (Treatment.SESSION, 0)]
)
async def test_refusal_for_now_postpones_the_part_by_its_back_off(
    scene: Scene, treatment: Treatment, refusals: int
) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    accepted = await scene.read(message)
    assert await scene.store.settle([refused(submission, treatment, status=88)], SOON) == []
    [attempt] = (await scene.journey(message)).attempts
    assert attempt == replace(
        submission.attempt, outcome=Outcome.POSTPONED, treatment=treatment, status=88, answered_at=NOW + SECOND
    )
    assert await scene.read(message) == replace(accepted, facts=1)
    due_at = NOW + SECOND + back_off_ms(attempt, refusals)
    assert await scene.store.next_due("live") == due_at
    assert await scene.claim(now=due_at - 1) == []
    assert keys_of(await scene.claim(now=due_at)) == [(message, 1, 2)]


async def test_uncertain_refusal_counts_as_a_send_that_may_have_gone_out(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([refused(submission, Treatment.TEMPORARY, uncertain=True)], SOON)
    [attempt] = (await scene.journey(submission.attempt.message)).attempts
    assert attempt.outcome is Outcome.RESENT
    assert await scene.store.next_due("live") == NOW + SECOND + back_off_ms(attempt, 1)


async def test_back_off_grows_with_each_temporary_refusal(scene: Scene) -> None:
    submission, now, waits = await scene.submit(), NOW, []
    for refusals in (1, 2, 3, 4):
        await scene.store.settle([refused(submission, Treatment.TEMPORARY, now)], now)
        due_at = await scene.store.next_due("live")
        assert due_at == now + back_off_ms(submission.attempt, refusals)
        waits.append(due_at - now)
        now = due_at
        submission = await scene.claim_one(now=now)
    assert waits == sorted(waits)


async def test_part_refused_too_often_fails(scene: Scene) -> None:
    submission, now = await scene.submit(), NOW
    for _ in range(MAX_TEMPORARY_REFUSALS - 1):
        now += MINUTE
        assert await scene.store.settle([refused(submission, Treatment.TEMPORARY, now, status=69)], now) == []
        now += MINUTE
        submission = await scene.claim_one(now=now)
    events = await scene.store.settle([refused(submission, Treatment.TEMPORARY, now, status=69)], now)
    message = submission.attempt.message
    assert events == scene.events(message, (State.ERROR, now))
    assert (await scene.read(message)).cause == "refused:69"
    assert await scene.store.next_due("live") is None


async def test_throttling_uses_no_attempt_up(scene: Scene) -> None:
    submission, now = await scene.submit(), NOW
    for _ in range(3 * MAX_TEMPORARY_REFUSALS):
        now += MINUTE
        assert await scene.store.settle([refused(submission, Treatment.THROTTLED, now)], now) == []
        now += MINUTE
        submission = await scene.claim_one(now=now)
    assert await scene.state(submission.attempt.message) is State.SUBMITTED


async def test_refused_part_takes_the_others_off_the_queue(scene: Scene) -> None:
    message = await scene.accept(parts=3)
    [first] = await scene.claim(1)
    await scene.store.settle([refused(first, Treatment.PERMANENT)], SOON)
    assert await scene.claim(now=SOON) == []
    assert await scene.store.count_pending() == {"queued": 0, "pending": 0, "in_doubt": 0, "parked": 0}
    assert await scene.state(message) is State.ERROR


async def test_postponed_part_leaves_the_queue_when_another_part_fails(scene: Scene) -> None:
    await scene.accept(parts=2)
    first, second = await scene.claim()
    await scene.store.settle([refused(first, Treatment.THROTTLED)], NOW + SECOND)
    await scene.store.settle([refused(second, Treatment.PERMANENT, NOW + 2 * SECOND)], SOON)
    assert await scene.store.next_due("live") is None


async def test_postponed_and_failed_in_one_batch_leaves_nothing_queued(scene: Scene) -> None:
    await scene.accept(parts=2)
    first, second = await scene.claim()
    await scene.store.settle([refused(first, Treatment.THROTTLED), refused(second, Treatment.PERMANENT)], SOON)
    assert await scene.store.next_due("live") is None


# --- doubts ------------------------------------------------------------------------------------------


async def test_doubt_shows_in_the_message_and_changes_no_state(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_LEAST_ONCE)
    message = submission.attempt.message
    accepted = await scene.read(message)
    assert await scene.store.settle([doubted(submission)], SOON) == []
    lasts = DOUBT_LASTS_MS[InDoubtPolicy.AT_LEAST_ONCE]
    assert lasts is not None
    assert await scene.journey(message) == Journey(
        replace(accepted, in_doubt=1, facts=1, wake_at=NOW + SECOND + lasts),
        [replace(submission.attempt, outcome=Outcome.IN_DOUBT, answered_at=NOW + SECOND)],
    )
    assert await scene.store.next_due("live") is None


async def test_late_answer_settles_the_doubt(scene: Scene) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    await scene.store.settle([doubted(submission)], SOON)
    events = await scene.store.settle([answered(submission, "A1", SOON)], SOON)
    assert events == scene.events(message, (State.SENT, SOON))
    assert (await scene.read(message)).in_doubt == 0


async def test_late_answer_takes_the_part_off_the_queue_again(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_LEAST_ONCE)
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    await scene.store.sweep(SOON, 10)
    assert await scene.store.next_due("live") == SOON
    await scene.store.settle([answered(submission, "A1", SOON + 1)], SOON + 1)
    assert await scene.claim(now=SOON + HOUR) == []
    assert await scene.state(submission.attempt.message) is State.SENT


async def test_answer_from_a_stale_epoch_is_the_truth_all_the_same(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.open_connectors(NOW + SECOND)
    events = await scene.store.settle([answered(submission, "A1", SOON)], SOON)
    assert events == scene.events(submission.attempt.message, (State.SENT, SOON))


async def test_doubt_told_twice_begins_once(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission, NOW + SECOND)], SOON)
    await scene.store.settle([doubted(submission, NOW + 2 * SECOND)], SOON)
    [attempt] = (await scene.journey(submission.attempt.message)).attempts
    assert (attempt.outcome, attempt.answered_at) == (Outcome.IN_DOUBT, NOW + SECOND)
    assert (await scene.read(submission.attempt.message)).in_doubt == 1


# --- opening a connector after a crash ---------------------------------------------------------------


async def test_claim_without_an_answer_is_in_doubt_after_a_restart(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_LEAST_ONCE)
    message = submission.attempt.message
    accepted = await scene.read(message)
    await scene.restart()
    await scene.open_connectors(SOON)
    assert await scene.journey(message) == Journey(
        replace(accepted, in_doubt=1, facts=1, wake_at=SOON + 5 * SECOND),
        [replace(submission.attempt, outcome=Outcome.IN_DOUBT, answered_at=SOON)],
    )
    assert await scene.store.count_pending() == {"queued": 0, "pending": 0, "in_doubt": 1, "parked": 0}


@pytest.mark.parametrize(
    ("policy", "wake_at"),
    [
        (InDoubtPolicy.WAIT_THEN_RETRY, SOON + 2 * MINUTE),
        (InDoubtPolicy.AT_LEAST_ONCE, SOON + 5 * SECOND),
        # Nothing to do before the message's own deadline, which was set when it was accepted.
        (InDoubtPolicy.AT_MOST_ONCE, NOW + VALIDITY),
    ],
)
async def test_doubt_after_a_restart_lasts_as_its_policy_says(
    scene: Scene, policy: InDoubtPolicy, wake_at: int
) -> None:
    submission = await scene.submit(policy=policy)
    await scene.open_connectors(SOON)
    assert (await scene.read(submission.attempt.message)).wake_at == wake_at


async def test_opening_a_connector_doubts_its_own_claims_only(scene: Scene) -> None:
    live = await scene.submit()
    test = await scene.submit(test=True)
    await scene.store.open_connector("simulator", SOON)
    outcomes = [
        attempt.outcome
        for submission in (live, test)
        for attempt in (await scene.journey(submission.attempt.message)).attempts
    ]
    assert outcomes == [Outcome.PENDING, Outcome.IN_DOUBT]


async def test_opening_a_connector_leaves_answered_attempts_and_the_queue_alone(scene: Scene) -> None:
    sent = await scene.hand_over()
    queued = await scene.accept()
    before = [await scene.journey(message) for message in (sent, queued)]
    await scene.open_connectors(SOON)
    assert [await scene.journey(message) for message in (sent, queued)] == before


async def test_every_part_in_flight_is_doubted_once(scene: Scene) -> None:
    message = await scene.accept(parts=3)
    _, second, _ = await scene.claim()
    await scene.store.settle([answered(second)], NOW + SECOND)
    await scene.open_connectors(SOON)
    await scene.open_connectors(SOON + SECOND)
    journey = await scene.journey(message)
    assert [attempt.outcome for attempt in journey.attempts] == [
        Outcome.IN_DOUBT,
        Outcome.ACCEPTED,
        Outcome.IN_DOUBT,
    ]
    assert (journey.message.in_doubt, journey.message.facts) == (2, 3)


# --- grouping ----------------------------------------------------------------------------------------


async def test_facts_of_one_batch_are_applied_in_their_order(scene: Scene) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    events = await scene.store.settle(
        [
            doubted(submission, NOW + 1),
            answered(submission, "A1", NOW + 2),
            a_receipt("A1", None, at=NOW + 3),
            a_receipt("A1", Verdict.EXPIRED, at=NOW + 4),
            a_receipt("A1", Verdict.DELIVERED, at=NOW + 5),
            a_receipt("A1", Verdict.DELIVERED, at=NOW + 6),
            a_receipt("A1", Verdict.FAILED, at=NOW + 7),
        ],
        SOON,
    )
    assert events == scene.events(message, (State.SENT, NOW + 2), (State.ERROR, NOW + 4), (State.DELIVERED, NOW + 5))
    read = await scene.read(message)
    assert (read.delivery, read.sent_at, read.delivered_at) == (Delivery.DELIVERED, NOW + 2, NOW + 5)
    assert (read.error_at, read.cause, read.facts, read.in_doubt) == (None, None, 7, 0)


async def test_facts_of_many_messages_mixed_in_one_batch_reach_their_own(scene: Scene) -> None:
    for _ in range(3):
        await scene.accept(parts=2)
    submissions = await scene.claim()
    ids = {submission.key: f"A{number}" for number, submission in enumerate(submissions)}
    odd, even = submissions[::2], submissions[1::2]
    reports = [answered(submission, ids[submission.key]) for submission in (*odd, *reversed(even))]
    receipts = [
        a_receipt(ids[submission.key], Verdict.FAILED if submission.key == odd[1].key else Verdict.DELIVERED)
        for submission in (*reversed(odd), *even)
    ]
    await scene.store.settle([*reports, *receipts], SOON)
    states = [await scene.state(submission.attempt.message) for submission in odd]
    assert states == [State.DELIVERED, State.ERROR, State.DELIVERED]


async def test_ignored_facts_are_counted_too(scene: Scene) -> None:
    message = await scene.hand_over()
    for verdict in (None, Verdict.DELIVERED, Verdict.DELIVERED, Verdict.EXPIRED, None):
        await scene.store.settle([a_receipt("A1", verdict)], SOON)
    assert (await scene.read(message)).facts == 6


async def test_refused_doubted_and_answered_parts_of_one_batch_fold_together(scene: Scene) -> None:
    message = await scene.accept(parts=3, policy=InDoubtPolicy.AT_LEAST_ONCE)
    first, second, third = await scene.claim()
    await scene.store.settle([refused(first, Treatment.THROTTLED), doubted(second), answered(third)], SOON)
    journey = await scene.journey(message)
    assert [status.state for status in part_statuses(journey)] == [
        PartState.QUEUED,
        PartState.IN_DOUBT,
        PartState.SENT,
    ]
    assert (journey.message.delivery, journey.message.in_doubt) == (Delivery.SUBMITTED, 1)


# --- bounces -----------------------------------------------------------------------------------------


async def test_bounce_enters_the_list_in_the_transaction_that_reads_it(scene: Scene) -> None:
    submission = await scene.submit()
    events = await scene.store.settle(
        [answered(submission), a_receipt("A1", Verdict.NOT_ASSIGNED, at=NOW + 5 * SECOND)], SOON
    )
    assert events == scene.events(
        submission.attempt.message, (State.SENT, NOW + SECOND), (State.BOUNCED, NOW + 5 * SECOND)
    )
    assert await scene.try_to_send() == NotAccepted(13)


async def test_bounce_lists_its_own_number_only(scene: Scene) -> None:
    await scene.bounce()
    assert not isinstance(await scene.try_to_send(number=OTHER_NUMBER), NotAccepted)


async def test_other_failures_list_nobody(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.hand_over("A2")
    await scene.store.settle([a_receipt("A1", Verdict.FAILED), a_receipt("A2", Verdict.EXPIRED)], SOON)
    assert not isinstance(await scene.try_to_send(), NotAccepted)


async def test_number_that_bounces_twice_is_listed_all_the_same(scene: Scene) -> None:
    first, second = await scene.submit(), await scene.submit()
    await scene.store.settle([answered(first, "A1"), answered(second, "A2")], SOON)
    bounces = [a_receipt(carrier_id, Verdict.NOT_ASSIGNED) for carrier_id in ("A1", "A2")]
    assert len(await scene.store.settle(bounces, SOON)) == 2
    assert await scene.try_to_send() == NotAccepted(13)
