"""Claim and release: parts leave the queue as committed intents, once, in order, under the current epoch."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from store_scene import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    NUMBER,
    OTHER_NUMBER,
    SECOND,
    VALIDITY,
    NewDatabase,
    Scene,
    a_receipt,
    answered,
    doubted,
    keys_of,
    refused,
)

from chappe.core.counts import Count
from chappe.core.message import (
    Attempt,
    AttemptKey,
    Delivery,
    Family,
    InDoubtPolicy,
    Settings,
    State,
    Submission,
    Treatment,
    Verdict,
)
from chappe.core.routing import Portion
from chappe.core.rules import Listing
from chappe.core.text import WHOLE, WIDE

# --- what is claimed ---------------------------------------------------------------------------------


async def test_submission_carries_all_that_the_pdu_needs(scene: Scene) -> None:
    message = await scene.accept(text="Où êtes-vous ?", parts=2, sender="ACME", due_at=NOW + HOUR, cut=WIDE)
    submissions = await scene.claim(now=NOW + 2 * HOUR)
    assert submissions == [
        Submission(
            attempt=Attempt(
                message,
                part,
                number=1,
                connector="operator",
                epoch=scene.epochs["operator"],
                claimed_at=NOW + 2 * HOUR,
                reference=submission.attempt.reference,
            ),
            number=NUMBER,
            sender="ACME",
            text="Où êtes-vous ?",
            parts=2,
            expires_at=NOW + HOUR + VALIDITY,
            cut=WIDE,
        )
        for part, submission in enumerate(submissions, 1)
    ]
    assert len(submissions) == 2


async def test_claim_is_stored_as_the_attempt_it_returns(scene: Scene) -> None:
    message = await scene.accept(parts=2)
    submissions = await scene.claim()
    assert (await scene.journey(message)).attempts == [submission.attempt for submission in submissions]


async def test_claim_outlives_a_restart(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.restart()
    assert (await scene.journey(submission.attempt.message)).attempts == [submission.attempt]
    assert await scene.claim() == []


async def test_claimed_message_is_still_submitted_and_nothing_more(scene: Scene) -> None:
    message = await scene.accept()
    before = await scene.read(message)
    await scene.claim()
    assert await scene.read(message) == before


async def test_claim_takes_no_more_parts_than_the_limit(scene: Scene) -> None:
    first = await scene.accept(parts=3)
    second = await scene.accept(parts=2)
    taken = [keys_of(await scene.claim(2)) for _ in range(4)]
    assert taken == [
        [(first, 1, 1), (first, 2, 1)],
        [(first, 3, 1), (second, 1, 1)],
        [(second, 2, 1)],
        [],
    ]


async def test_what_the_operator_cuts_is_one_submit_whose_receipt_settles_the_message(scene: Scene) -> None:
    message = await scene.accept(parts=3, cut=WHOLE)
    [submission] = await scene.claim()
    assert (submission.key, submission.parts, submission.cut) == ((message, 1, 1), 3, WHOLE)
    await scene.store.settle([answered(submission)], NOW)
    assert await scene.state(message) is State.SENT
    await scene.store.settle([a_receipt()], NOW)
    assert await scene.state(message) is State.DELIVERED
    assert (await scene.store.read_counts(scene.account, test=False))[Count.CREDITS] == 3


async def test_claim_takes_what_is_due_only(scene: Scene) -> None:
    later = await scene.accept(due_at=NOW + 1)
    due = await scene.accept(due_at=NOW)
    assert keys_of(await scene.claim(now=NOW)) == [(due, 1, 1)]
    assert keys_of(await scene.claim(now=NOW + 1)) == [(later, 1, 1)]


async def test_part_due_first_leaves_first(scene: Scene) -> None:
    second = await scene.accept(due_at=NOW - 1)
    first = await scene.accept(due_at=NOW - 2)
    assert keys_of(await scene.claim()) == [(first, 1, 1), (second, 1, 1)]


async def test_notification_leaves_before_marketing_that_waits_longer(scene: Scene) -> None:
    marketing = await scene.accept(family=Family.MARKETING, due_at=NOW - HOUR)
    notification = await scene.accept(family=Family.NOTIFICATION, due_at=NOW)
    taken = [keys_of(await scene.claim(1)) for _ in range(2)]
    assert taken == [[(notification, 1, 1)], [(marketing, 1, 1)]]


async def test_marketing_fills_what_notification_leaves_of_the_limit(scene: Scene) -> None:
    marketing = await scene.accept(family=Family.MARKETING)
    notification = await scene.accept(family=Family.NOTIFICATION)
    assert sorted(keys_of(await scene.claim(2))) == [(marketing, 1, 1), (notification, 1, 1)]


async def test_claim_takes_one_route_only(scene: Scene) -> None:
    live = await scene.accept()
    test = await scene.accept(test=True)
    assert keys_of(await scene.claim(route="simulator")) == [(test, 1, 1)]
    assert keys_of(await scene.claim(route="live")) == [(live, 1, 1)]


async def test_concurrent_claims_share_out_the_queue(scene: Scene) -> None:
    messages = [await scene.accept() for _ in range(10)]
    taken = await asyncio.gather(*(scene.claim(3) for _ in range(5)))
    assert all(len(submissions) <= 3 for submissions in taken)
    assert sorted(key for submissions in taken for key in keys_of(submissions)) == [
        (message, 1, 1) for message in messages
    ]


# --- epochs ------------------------------------------------------------------------------------------


async def test_each_opening_of_a_connector_has_a_higher_epoch(scene: Scene) -> None:
    epochs = [await scene.store.open_connector("operator", NOW) for _ in range(3)]
    assert epochs == [scene.epochs["operator"] + more for more in (1, 2, 3)]


async def test_epochs_of_two_connectors_are_their_own(scene: Scene) -> None:
    for _ in range(3):
        await scene.store.open_connector("simulator", NOW)
    assert await scene.store.open_connector("operator", NOW) == scene.epochs["operator"] + 1


async def test_epoch_outlives_a_restart(scene: Scene) -> None:
    await scene.restart()
    assert await scene.store.open_connector("operator", NOW) == scene.epochs["operator"] + 1


async def test_stale_epoch_claims_nothing(scene: Scene) -> None:
    message = await scene.accept()
    stale = scene.epochs["operator"]
    epoch = await scene.store.open_connector("operator", NOW)
    assert await scene.store.claim("operator", stale, [Portion("live")], 10, NOW) == []
    assert keys_of(await scene.store.claim("operator", epoch, [Portion("live")], 10, NOW)) == [(message, 1, 1)]


async def test_stale_epoch_leaves_what_is_overdue_or_barred_to_the_new_one(scene: Scene) -> None:
    message = await scene.accept(validity_ms=HOUR)
    stale = scene.epochs["operator"]
    await scene.store.open_connector("operator", NOW)
    before = await scene.journey(message)
    assert await scene.store.claim("operator", stale, [Portion("live")], 10, NOW + 2 * HOUR) == []
    assert await scene.journey(message) == before


async def test_epoch_of_another_connector_claims_nothing(scene: Scene) -> None:
    await scene.store.open_connector("simulator", NOW)
    ahead = await scene.store.open_connector("simulator", NOW)
    await scene.accept()
    assert await scene.store.claim("operator", ahead, [Portion("live")], 10, NOW) == []


async def test_attempt_carries_the_epoch_it_was_claimed_under(scene: Scene) -> None:
    await scene.open_connectors(NOW)
    submission = await scene.submit()
    assert submission.attempt.epoch == scene.epochs["operator"]


# --- attempts ----------------------------------------------------------------------------------------


async def test_attempts_of_a_part_are_numbered(scene: Scene) -> None:
    submission = await scene.submit()
    message, now = submission.attempt.message, NOW
    for number in (1, 2, 3, 4):
        assert submission.key == (message, 1, number)
        now += MINUTE
        await scene.store.settle([refused(submission, Treatment.THROTTLED, now)], now)
        now += MINUTE
        submission = await scene.claim_one(now=now)
    assert [attempt.number for attempt in (await scene.journey(message)).attempts] == [1, 2, 3, 4, 5]


async def test_parts_are_tried_again_on_their_own(scene: Scene) -> None:
    message = await scene.accept(parts=2)
    _, second = await scene.claim()
    await scene.store.settle([refused(second, Treatment.THROTTLED)], NOW + SECOND)
    assert keys_of(await scene.claim(now=NOW + MINUTE)) == [(message, 2, 2)]


async def test_attempt_after_a_plain_refusal_is_not_flagged(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([refused(submission, Treatment.TEMPORARY)], NOW + SECOND)
    again = await scene.claim_one(now=NOW + MINUTE)
    assert again.attempt.flagged is False
    assert (await scene.read(again.attempt.message)).resent == 0


async def test_attempt_after_an_uncertain_refusal_is_flagged_and_counted(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([refused(submission, Treatment.TEMPORARY, uncertain=True)], NOW + SECOND)
    again = await scene.claim_one(now=NOW + MINUTE)
    assert again.attempt.flagged is True
    assert (await scene.read(again.attempt.message)).resent == 1


async def test_attempt_after_a_doubt_is_flagged_and_counted(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_LEAST_ONCE)
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    await scene.store.sweep(NOW + MINUTE, 10)
    again = await scene.claim_one(now=NOW + MINUTE)
    assert (again.key[2], again.attempt.flagged) == (2, True)
    message = await scene.read(again.attempt.message)
    assert (message.in_doubt, message.resent) == (0, 1)


async def test_attempt_after_a_doubt_that_a_late_no_settled_is_not_flagged(scene: Scene) -> None:
    submission = await scene.submit(policy=InDoubtPolicy.AT_LEAST_ONCE)
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    await scene.store.sweep(NOW + MINUTE, 10)
    await scene.store.settle([refused(submission, Treatment.TEMPORARY, NOW + MINUTE)], NOW + MINUTE)
    again = await scene.claim_one(now=NOW + HOUR)
    assert again.attempt.flagged is False
    assert (await scene.read(again.attempt.message)).resent == 0


async def test_part_without_a_doubt_is_not_flagged_for_its_neighbour_s(scene: Scene) -> None:
    message = await scene.accept(parts=2, policy=InDoubtPolicy.AT_LEAST_ONCE)
    first, second = await scene.claim()
    await scene.store.settle([doubted(first), refused(second, Treatment.THROTTLED)], NOW + SECOND)
    await scene.store.sweep(NOW + MINUTE, 10)
    again = await scene.claim(now=NOW + MINUTE)
    assert sorted((s.key, s.attempt.flagged) for s in again) == [((message, 1, 2), True), ((message, 2, 2), False)]


async def test_references_have_sixteen_bits(scene: Scene) -> None:
    for _ in range(50):
        await scene.accept(parts=5)
    references = [submission.attempt.reference for submission in await scene.claim(250)]
    assert len(references) == 250
    assert all(0 <= reference <= 0xFFFF for reference in references)


async def test_references_of_a_busy_moment_differ(scene: Scene) -> None:
    for _ in range(50):
        await scene.accept()
    references = [submission.attempt.reference for submission in await scene.claim(50)]
    assert len(set(references)) == 50


async def test_references_of_one_message_differ(scene: Scene) -> None:
    await scene.accept(parts=5)
    first, *others = await scene.claim()
    await scene.store.settle([refused(first, Treatment.THROTTLED)], NOW + SECOND)
    again = await scene.claim_one(now=NOW + MINUTE)
    assert len({submission.attempt.reference for submission in (first, *others, again)}) == 6


async def test_references_need_no_chance(new_database: NewDatabase) -> None:
    references = []
    for _ in range(2):
        scene = await Scene.begin(new_database())
        await scene.accept(parts=3)
        references.append([submission.attempt.reference for submission in await scene.claim()])
        await scene.store.close()
    assert references[0] == references[1]


# --- what does not leave -----------------------------------------------------------------------------


async def test_message_to_a_person_who_opted_out_since_is_barred(scene: Scene) -> None:
    message = await scene.accept(parts=2)
    await scene.store.add_entry(scene.account, Listing.UNSUBSCRIBED, NUMBER, test=False, now=NOW + MINUTE)
    assert await scene.claim(now=NOW + HOUR) == []
    barred = await scene.journey(message)
    assert barred.attempts == []
    assert (barred.message.delivery, barred.message.error_at, barred.message.facts) == (Delivery.ERROR, NOW + HOUR, 1)
    assert barred.message.cause is not None
    assert barred.message.wake_at is None
    assert await scene.store.next_due("live") is None


async def test_retry_to_a_person_who_opted_out_since_is_barred(scene: Scene) -> None:
    await scene.hand_over()
    submission = await scene.submit()
    await scene.store.settle([refused(submission, Treatment.THROTTLED)], NOW + SECOND)
    # The STOP answers the other message, which reached this person; the one refused did not.
    await scene.stop()
    assert await scene.claim(now=NOW + HOUR) == []
    assert await scene.store.next_due("live") is None


async def test_rest_of_the_queue_leaves_past_a_barred_message(scene: Scene) -> None:
    await scene.hand_over()
    await scene.accept()
    other = await scene.accept(number=OTHER_NUMBER)
    await scene.stop()
    assert keys_of(await scene.claim(now=NOW + HOUR)) == [(other, 1, 1)]


async def test_exempt_notification_leaves_to_a_person_who_wrote_stop(scene: Scene) -> None:
    await scene.store.save_settings(scene.account, Settings(notify_opted_out=True))
    await scene.hand_over()
    await scene.stop()
    message = await scene.accept(exempt_from_optout=True, accepted_at=NOW + HOUR)
    assert keys_of(await scene.claim(now=NOW + HOUR)) == [(message, 1, 1)]


async def test_message_of_another_account_leaves_to_a_person_who_wrote_stop(scene: Scene) -> None:
    await scene.hand_over()
    rival = await scene.another_account()
    await scene.stop()
    message = await scene.accept(account=rival, accepted_at=NOW + HOUR)
    assert keys_of(await scene.claim(now=NOW + HOUR)) == [(message, 1, 1)]


async def test_live_message_leaves_to_a_person_who_stopped_test_traffic(scene: Scene) -> None:
    await scene.hand_over(test=True)
    message = await scene.accept()
    await scene.stop(connector="simulator")
    assert keys_of(await scene.claim()) == [(message, 1, 1)]


async def test_message_whose_validity_is_over_has_expired(scene: Scene) -> None:
    message = await scene.accept(parts=2, validity_ms=HOUR)
    accepted = await scene.read(message)
    assert await scene.claim(now=NOW + HOUR) == []
    expired = await scene.journey(message)
    assert expired.attempts == []
    assert expired.message == replace(
        accepted,
        delivery=Delivery.PRESUMED_LOST,
        error_at=NOW + HOUR,
        cause="expired",
        facts=1,
        events=2,
        wake_at=None,
    )
    assert await scene.store.next_due("live") is None


async def test_message_leaves_up_to_the_end_of_its_validity(scene: Scene) -> None:
    message = await scene.accept(validity_ms=HOUR)
    assert keys_of(await scene.claim(now=NOW + HOUR - 1)) == [(message, 1, 1)]


async def test_validity_of_a_scheduled_message_begins_when_it_is_due(scene: Scene) -> None:
    message = await scene.accept(due_at=NOW + DAY, validity_ms=HOUR)
    assert keys_of(await scene.claim(now=NOW + DAY + HOUR - 1)) == [(message, 1, 1)]


async def test_second_part_does_not_leave_after_validity(scene: Scene) -> None:
    message = await scene.accept(parts=2, validity_ms=HOUR)
    [first] = await scene.claim(1)
    assert first.key == (message, 1, 1)
    assert await scene.claim(now=NOW + HOUR) == []
    assert await scene.state(message) is State.ERROR


# --- release -----------------------------------------------------------------------------------------


async def test_released_part_is_queued_again_as_if_never_claimed(scene: Scene) -> None:
    message = await scene.accept()
    before = await scene.journey(message)
    submission = await scene.claim_one()
    await scene.store.release([submission.key], NOW + 1)
    assert await scene.journey(message) == before
    assert await scene.store.count_pending() == {"queued": 1, "pending": 0, "in_doubt": 0, "parked": 0}


async def test_released_part_is_claimed_again_under_the_same_number_and_unflagged(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.release([submission.key], NOW + 1)
    again = await scene.claim_one(now=NOW + 1)
    assert (again.key, again.attempt.flagged) == (submission.key, False)


async def test_release_keeps_the_other_parts_claimed(scene: Scene) -> None:
    message = await scene.accept(parts=3)
    _, second, _ = await scene.claim()
    await scene.store.release([second.key], NOW + 1)
    assert [attempt.part for attempt in (await scene.journey(message)).attempts] == [1, 3]
    assert keys_of(await scene.claim(now=NOW + 1)) == [(message, 2, 1)]


async def test_released_retry_is_flagged_and_counted_once(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([refused(submission, Treatment.TEMPORARY, uncertain=True)], NOW + SECOND)
    again = await scene.claim_one(now=NOW + MINUTE)
    await scene.store.release([again.key], NOW + MINUTE)
    assert (await scene.read(again.attempt.message)).resent == 0
    retried = await scene.claim_one(now=NOW + MINUTE)
    assert (retried.key, retried.attempt.flagged) == (again.key, True)
    assert (await scene.read(again.attempt.message)).resent == 1


async def test_released_part_of_a_message_decided_meanwhile_does_not_leave(scene: Scene) -> None:
    message = await scene.accept(parts=2)
    first, second = await scene.claim()
    await scene.store.settle([refused(first, Treatment.PERMANENT)], NOW + SECOND)
    await scene.store.release([second.key], NOW + 2 * SECOND)
    assert await scene.store.next_due("live") is None
    assert await scene.claim(now=NOW + MINUTE) == []
    assert await scene.state(message) is State.ERROR


async def test_released_notification_still_leaves_first(scene: Scene) -> None:
    await scene.accept(family=Family.MARKETING, due_at=NOW - HOUR)
    notification = await scene.accept()
    [submission] = await scene.claim(1)
    await scene.store.release([submission.key], NOW + 1)
    assert keys_of(await scene.claim(1, now=NOW + 1)) == [(notification, 1, 1)]


# --- next due and counts -----------------------------------------------------------------------------


async def test_nothing_is_due_on_an_empty_queue(scene: Scene) -> None:
    assert await scene.store.next_due("live") is None


async def test_next_due_is_the_earliest_of_both_families(scene: Scene) -> None:
    await scene.accept(family=Family.NOTIFICATION, due_at=NOW + 3 * HOUR)
    await scene.accept(family=Family.MARKETING, due_at=NOW + 2 * HOUR)
    assert await scene.store.next_due("live") == NOW + 2 * HOUR
    await scene.accept(family=Family.NOTIFICATION, due_at=NOW + HOUR)
    assert await scene.store.next_due("live") == NOW + HOUR


async def test_next_due_is_the_route_s_own(scene: Scene) -> None:
    await scene.accept(due_at=NOW + HOUR)
    assert await scene.store.next_due("simulator") is None


async def test_next_due_forgets_what_was_claimed(scene: Scene) -> None:
    await scene.accept(due_at=NOW)
    await scene.accept(due_at=NOW + HOUR)
    await scene.claim()
    assert await scene.store.next_due("live") == NOW + HOUR


async def test_pending_counts_tell_where_parts_and_receipts_are(scene: Scene) -> None:
    for _ in range(6):
        await scene.accept()
    submissions = await scene.claim(5)
    await scene.store.settle(
        [answered(submissions[0], "A1"), doubted(submissions[1]), a_receipt("unheard of", Verdict.FAILED)],
        NOW + SECOND,
    )
    assert await scene.store.count_pending() == {"queued": 1, "pending": 3, "in_doubt": 1, "parked": 1}


async def test_empty_store_counts_zeros(scene: Scene) -> None:
    assert await scene.store.count_pending() == {"queued": 0, "pending": 0, "in_doubt": 0, "parked": 0}


# --- portions of several routes ------------------------------------------------------------------------


async def claimed(scene: Scene, *portions: Portion, limit: int = 100, now: int = NOW) -> list[AttemptKey]:
    epoch = scene.epochs["operator"]
    return keys_of(await scene.store.claim("operator", epoch, portions, limit, now))


async def test_notification_of_every_route_leaves_before_marketing_of_any(scene: Scene) -> None:
    marketing = await scene.accept(route="first", family=Family.MARKETING, due_at=NOW - HOUR)
    notification = await scene.accept(route="second")
    first, second = Portion("first"), Portion("second")
    assert await claimed(scene, first, second, limit=1) == [(notification, 1, 1)]
    assert await claimed(scene, first, second, limit=1) == [(marketing, 1, 1)]


async def test_only_the_routes_named_are_claimed(scene: Scene) -> None:
    message = await scene.accept(route="first")
    await scene.accept(route="second")
    assert await claimed(scene, Portion("first")) == [(message, 1, 1)]
    assert await scene.store.list_routes() == ["second"]


async def test_messages_fall_into_slots_by_their_ids_with_all_their_parts(scene: Scene) -> None:
    messages = [await scene.accept(number=f"+336123{n:05}", parts=2) for n in range(20)]
    mine, others = Portion("live", 0, 69, HOUR), Portion("live", 70, 99, HOUR)
    slots = {message: message * 37 % 100 for message in messages}
    assert await claimed(scene, mine) == [(m, part, 1) for m in messages if slots[m] < 70 for part in (1, 2)]
    assert await claimed(scene, others) == [(m, part, 1) for m in messages if slots[m] >= 70 for part in (1, 2)]


async def test_what_others_left_for_long_is_anybodys(scene: Scene) -> None:
    message = await scene.accept()
    nothing = Portion("live", 0, -1, 2 * SECOND)
    assert await claimed(scene, nothing, now=NOW + SECOND) == []
    assert await claimed(scene, nothing, now=NOW + 2 * SECOND) == [(message, 1, 1)]


async def test_routes_on_which_something_waits_are_known(scene: Scene) -> None:
    assert await scene.store.list_routes() == []
    for route in ("b", "a", "b", "c"):
        await scene.accept(route=route, due_at=NOW + HOUR)
    assert await scene.store.list_routes() == ["a", "b", "c"]
