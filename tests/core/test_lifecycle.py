"""The transition table, walked; the named rules of the status contract."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from chappe.core import lifecycle
from chappe.core.lifecycle import Happening, Journey, ListBounce, Requeue, Unqueue, advance
from chappe.core.message import (
    AccountId,
    Answered,
    Attempt,
    Clicked,
    Delivery,
    DoubtBegan,
    DoubtEnded,
    Event,
    Fact,
    Family,
    InDoubtPolicy,
    Message,
    MessageId,
    Outcome,
    PartState,
    ReceiptRead,
    Refused,
    Replied,
    State,
    Stopped,
    TimedOut,
    Treatment,
    Verdict,
)

HOUR = 3_600_000


def journey(parts: int = 1, policy: InDoubtPolicy = InDoubtPolicy.WAIT_THEN_RETRY, attempts: int = 1) -> Journey:
    message = Message(
        id=MessageId(7),
        account=AccountId(1),
        number="+33612345678",
        family=Family.NOTIFICATION,
        category=None,
        campaign=None,
        sender=None,
        text="Bonjour",
        parts=parts,
        test=False,
        policy=policy,
        route="live",
        accepted_at=0,
        due_at=0,
        validity_ms=48 * HOUR,
        wake_at=48 * HOUR,
    )
    return Journey(
        message,
        [
            Attempt(message.id, part, number, "operator", 1, claimed_at=1, reference=part)
            for part in range(1, parts + 1)
            for number in range(1, attempts + 1)
        ],
    )


def receipt(verdict: Verdict, at: int = 20, part: int = 1, attempt: int = 1) -> ReceiptRead:
    return ReceiptRead(part, attempt, at, verdict, detail=verdict.name.lower())


def run(journey: Journey, *facts: Fact) -> State:
    for fact in facts:
        advance(journey, fact)
    return lifecycle.public_state(journey.message)


ENGAGEMENTS = list(product((None, 5), repeat=3))


@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize("happening", Happening)
@pytest.mark.parametrize("engaged", ENGAGEMENTS)
def test_every_happening_in_every_state_follows_the_table(
    delivery: Delivery, happening: Happening, engaged: tuple[int | None, int | None, int | None]
) -> None:
    message = journey().message
    message.delivery = delivery
    message.opened_at, message.reply_at, message.unsubscribed_at = engaged
    disproved = any(engaged) and happening in lifecycle.DISPROVED_BY_ENGAGEMENT
    expected = lifecycle.TRANSITIONS.get((delivery, happening), delivery)
    lifecycle._happen(message, (happening,), 50, "cause")
    assert message.delivery is (delivery if disproved else expected)
    engagement = lifecycle.ENGAGEMENT.get(happening)
    if engagement is not None:
        assert lifecycle.times(message)[engagement] in (5, 50)


FIVE: tuple[Fact, ...] = (
    Answered(1, 1, 10, "abc"),
    receipt(Verdict.DELIVERED),
    receipt(Verdict.EXPIRED, at=15),
    TimedOut(90, "unknown"),
    Clicked(30),
)
OTHER_FIVE: tuple[Fact, ...] = (
    DoubtBegan(1, 1, 5, "link lost"),
    Answered(1, 1, 10, "abc"),
    receipt(Verdict.NOT_ASSIGNED),
    Replied(40),
    Stopped(41),
)


@pytest.mark.parametrize("facts", [*permutations(FIVE), *permutations(OTHER_FIVE)])
def test_every_order_of_five_facts_keeps_the_invariants(facts: tuple[Fact, ...]) -> None:
    one = journey()
    seen: list[Delivery] = []
    events: list[State] = []
    for fact in facts:
        effects = advance(one, fact)
        events += [effect.state for effect in effects if isinstance(effect, Event)]
        seen.append(one.message.delivery)
        reached = lifecycle.times(one.message)
        state = lifecycle.public_state(one.message)
        assert state.rank == max(reached_state.rank for reached_state in reached)
    assert one.message.facts == len(facts)
    assert len(events) == len(set(events))
    settled = [d for d in seen if d in (Delivery.DELIVERED, Delivery.BOUNCED, Delivery.ERROR)]
    assert len(set(settled)) <= 1
    if settled:
        assert seen[-1] is settled[0]


def test_receipt_without_an_answer_proves_sent() -> None:
    one = journey()
    assert run(one, receipt(Verdict.DELIVERED)) is State.DELIVERED
    assert one.message.sent_at == one.message.delivered_at == 20


def test_not_assigned_number_bounces_and_is_listed() -> None:
    one = journey()
    run(one, Answered(1, 1, 10, "abc"))
    assert ListBounce() in advance(one, receipt(Verdict.NOT_ASSIGNED))
    assert lifecycle.public_state(one.message) is State.BOUNCED


def test_expired_may_become_delivered_by_a_late_receipt() -> None:
    one = journey()
    facts = (Answered(1, 1, 10, "abc"), receipt(Verdict.EXPIRED), receipt(Verdict.DELIVERED, at=30))
    assert run(one, *facts) is State.DELIVERED
    assert one.message.error_at is None


def test_failed_never_becomes_delivered() -> None:
    one = journey()
    facts = (Answered(1, 1, 10, "abc"), receipt(Verdict.FAILED), receipt(Verdict.DELIVERED, at=30))
    assert run(one, *facts) is State.ERROR


def test_click_after_an_error_shows_opened_and_invents_no_delivery() -> None:
    one = journey()
    assert run(one, Answered(1, 1, 10, "abc"), receipt(Verdict.FAILED), Clicked(30)) is State.OPENED
    assert one.message.delivered_at is None


def test_stop_sets_unsubscribed_only() -> None:
    one = journey()
    assert run(one, Answered(1, 1, 10, "abc"), Stopped(30)) is State.UNSUBSCRIBED
    assert one.message.reply_at is None


def test_message_is_delivered_when_every_part_is() -> None:
    one = journey(parts=2)
    first = (Answered(1, 1, 10, "a"), Answered(2, 1, 11, "b"), receipt(Verdict.DELIVERED, part=1))
    assert run(one, *first) is State.SENT
    assert [status.state for status in lifecycle.part_statuses(one)] == [PartState.DELIVERED, PartState.SENT]
    assert run(one, receipt(Verdict.DELIVERED, part=2)) is State.DELIVERED


def test_doubt_is_resent_after_the_policy_allows_it_and_not_before() -> None:
    one = journey()
    run(one, DoubtBegan(1, 1, 1_000, "link lost"))
    assert one.message.in_doubt == 1
    assert one.message.wake_at == 121_000
    assert lifecycle.overdue(one, 120_999) == []
    assert lifecycle.overdue(one, 121_000) == [DoubtEnded(1, 1, 121_000)]
    assert advance(one, DoubtEnded(1, 1, 121_000)) == [Requeue(1, 121_000)]


def test_at_most_once_is_never_resent_and_ends_with_cause_unknown() -> None:
    one = journey(policy=InDoubtPolicy.AT_MOST_ONCE)
    run(one, DoubtBegan(1, 1, 1_000, "link lost"))
    assert lifecycle.overdue(one, 72 * HOUR) == []
    assert lifecycle.overdue(one, 72 * HOUR + 1_000) == [TimedOut(72 * HOUR + 1_000, "unknown")]


def test_receipt_for_a_doubted_part_takes_its_resend_off_the_queue() -> None:
    one = journey()
    run(one, DoubtBegan(1, 1, 1_000, "link lost"), DoubtEnded(1, 1, 121_000))
    assert Unqueue(1) in advance(one, receipt(Verdict.DELIVERED, at=122_000))


def test_throttling_uses_up_no_attempt_and_five_temporary_refusals_do() -> None:
    one = journey(attempts=20)
    for number in range(1, 11):
        advance(one, Refused(1, number, 10, 0x58, Treatment.THROTTLED))
    assert one.attempts[9].outcome is Outcome.POSTPONED
    for number in range(11, 16):
        advance(one, Refused(1, number, 10, 0x64, Treatment.TEMPORARY))
    assert one.attempts[14].outcome is Outcome.REFUSED
