"""The transition table, walked; the named rules of the status contract; orders and sequences of facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.lifecycle import (
    DISPROVED_BY_ENGAGEMENT,
    DOUBT_LASTS_MS,
    ENGAGEMENT,
    MAX_TEMPORARY_REFUSALS,
    PUBLIC,
    TRANSITIONS,
    UNDECIDED,
    Effect,
    Happening,
    Journey,
    ListBounce,
    Requeue,
    Unqueue,
    advance,
    back_off_ms,
    expires_at,
    fold,
    fold_part,
    is_engaged,
    next_wake,
    overdue,
    part_statuses,
    public_state,
    receipt_wait_ms,
    times,
)
from chappe.core.message import (
    AccountId,
    Answered,
    Attempt,
    Barred,
    Cancelled,
    Clicked,
    Delivery,
    DoubtBegan,
    DoubtEnded,
    Event,
    Fact,
    Family,
    Held,
    InDoubtPolicy,
    Message,
    MessageId,
    Outcome,
    PartState,
    PartStatus,
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
CLAIMED_AT = 1_000


def a_journey(
    parts: int = 1, *, policy: InDoubtPolicy = InDoubtPolicy.WAIT_THEN_RETRY, claimed: bool = True
) -> Journey:
    """A message accepted and due at 1, valid for 48 h; each part claimed once unless told otherwise."""
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
        accepted_at=1,
        due_at=1,
        validity_ms=48 * HOUR,
        wake_at=48 * HOUR + 1,
    )
    journey = Journey(message, [])
    if claimed:
        for part in range(1, parts + 1):
            claim(journey, part)
    return journey


def claim(journey: Journey, part: int = 1, at: int = CLAIMED_AT) -> Attempt:
    number = 1 + sum(attempt.part == part for attempt in journey.attempts)
    attempt = Attempt(journey.message.id, part, number, "operator", 1, claimed_at=at, reference=number)
    journey.attempts.append(attempt)
    journey.attempts.sort(key=lambda attempt: (attempt.part, attempt.number))
    return attempt


def answered(at: int = 2_000, part: int = 1, attempt: int = 1) -> Answered:
    return Answered(part, attempt, at, f"id-{part}-{attempt}")


def receipt(verdict: Verdict | None, at: int = 3_000, part: int = 1, attempt: int = 1) -> ReceiptRead:
    return ReceiptRead(part, attempt, at, verdict, detail="as told")


def refused(
    treatment: Treatment, at: int = 2_000, part: int = 1, attempt: int = 1, *, uncertain: bool = False
) -> Refused:
    return Refused(part, attempt, at, 0x0B, treatment, uncertain)


def doubted(at: int = 2_000, part: int = 1, attempt: int = 1) -> DoubtBegan:
    return DoubtBegan(part, attempt, at, "link lost")


def run(journey: Journey, *facts: Fact) -> list[Effect]:
    """Advances by all the facts and returns all the effects."""
    return [effect for fact in facts for effect in advance(journey, fact)]


def states(journey: Journey) -> list[PartState]:
    return [status.state for status in part_statuses(journey)]


def events(effects: Iterable[Effect]) -> list[State]:
    return [effect.state for effect in effects if isinstance(effect, Event)]


# --- the table ---------------------------------------------------------------------------------------

MATRIX = """
               SENT  DELIVERED  BOUNCED  FAILED  EXPIRED        TIMED_OUT      CANCELLED
SUBMITTED      SENT  DELIVERED  BOUNCED  ERROR   PRESUMED_LOST  PRESUMED_LOST  ERROR
SENT           -     DELIVERED  BOUNCED  ERROR   PRESUMED_LOST  PRESUMED_LOST  -
DELIVERED      -     -          -        -       -              -              -
BOUNCED        -     -          -        -       -              -              -
ERROR          -     -          -        -       -              -              -
PRESUMED_LOST  -     DELIVERED  -        -       -              -              -
"""


def test_table_is_the_contract_s() -> None:
    header, *rows = (line.split() for line in MATRIX.strip().splitlines())
    expected = {
        (Delivery[name], Happening[happening]): Delivery[target]
        for name, *targets in rows
        for happening, target in zip(header, targets, strict=True)
        if target != "-"
    }
    assert expected == TRANSITIONS
    assert {Happening[name] for name in header} | set(ENGAGEMENT) == set(Happening)


def test_ranks_are_the_contract_s() -> None:
    by_rank = sorted(State, key=lambda state: state.rank)
    assert [(state.public_name, state.rank) for state in by_rank] == [
        ("submitted", 0),
        ("sent", 1),
        ("delivered", 2),
        ("bounced", 2),
        ("error", 2),
        ("opened", 3),
        ("reply", 4),
        ("unsubscribed", 5),
    ]


Story = tuple[tuple[Happening, ...], Fact]

STORIES: Sequence[Story] = (
    # what a fact about a message of one part, claimed once, must mean
    ((Happening.SENT,), answered()),
    ((), refused(Treatment.TEMPORARY)),
    ((), refused(Treatment.THROTTLED)),
    ((), refused(Treatment.SESSION)),
    ((Happening.FAILED,), refused(Treatment.PERMANENT)),
    ((), doubted()),
    ((), DoubtEnded(1, 1, 2_000)),
    ((), receipt(None)),
    ((Happening.SENT, Happening.DELIVERED), receipt(Verdict.DELIVERED)),
    ((Happening.SENT, Happening.BOUNCED), receipt(Verdict.NOT_ASSIGNED)),
    ((Happening.SENT, Happening.EXPIRED), receipt(Verdict.EXPIRED)),
    ((Happening.SENT, Happening.FAILED), receipt(Verdict.FAILED)),
    ((Happening.TIMED_OUT,), TimedOut(2_000, "unknown")),
    ((Happening.FAILED,), Barred(2_000, "unsubscribed")),
    ((Happening.CANCELLED,), Cancelled(2_000)),
    ((Happening.CLICKED,), Clicked(2_000)),
    ((Happening.REPLIED,), Replied(2_000)),
    ((Happening.STOPPED,), Stopped(2_000)),
)

ENGAGEMENTS = tuple(
    (opened, reply, unsubscribed) for opened in (None, 50) for reply in (None, 60) for unsubscribed in (None, 70)
)


def in_state(delivery: Delivery, engagement: tuple[int | None, int | None, int | None]) -> Journey:
    journey = a_journey()
    message = journey.message
    message.delivery = delivery
    message.opened_at, message.reply_at, message.unsubscribed_at = engagement
    if delivery is not Delivery.SUBMITTED:
        message.sent_at = 40
    match PUBLIC[delivery]:
        case State.DELIVERED:
            message.delivered_at = 45
        case State.BOUNCED:
            message.bounced_at, message.cause = 45, "before"
        case State.ERROR:
            message.error_at, message.cause = 45, "before"
        case _:
            pass
    return journey


@pytest.mark.parametrize("delivery", Delivery)
def test_every_fact_in_every_state_follows_the_table(delivery: Delivery) -> None:
    for engagement in ENGAGEMENTS:
        for happenings, fact in STORIES:
            journey = in_state(delivery, engagement)
            before = Snapshot(journey)
            effects = advance(journey, fact)
            expected = delivery
            for happening in happenings:
                if not (any(engagement) and happening in DISPROVED_BY_ENGAGEMENT):
                    expected = TRANSITIONS.get((expected, happening), expected)
            assert journey.message.delivery is expected, (delivery, engagement, fact)
            for happening, state in ENGAGEMENT.items():
                reached = before.times.get(state, fact.at if happening in happenings else None)
                assert times(journey.message).get(state) == reached
            before.check(journey, effects)


# --- what holds after any fact -----------------------------------------------------------------------


class Snapshot:
    """The journey before a fact, to judge what the fact did."""

    def __init__(self, journey: Journey) -> None:
        self.delivery = journey.message.delivery
        self.engaged = is_engaged(journey.message)
        self.facts = journey.message.facts
        self.times = times(journey.message)

    def check(self, journey: Journey, effects: Sequence[Effect]) -> None:
        """The invariants of the contract, for whichever fact it was."""
        message = journey.message
        now = times(message)
        found_again = self.delivery is Delivery.PRESUMED_LOST and message.delivery is Delivery.DELIVERED
        assert message.facts == self.facts + 1
        assert message.delivery is self.delivery or self.delivery in UNDECIDED or found_again
        assert public_state(message).rank == max(state.rank for state in now)
        assert sum(state in now for state in (State.DELIVERED, State.BOUNCED, State.ERROR)) == (
            message.delivery not in UNDECIDED
        )
        assert PUBLIC[message.delivery] in now
        assert (message.cause is not None) == (State.BOUNCED in now or State.ERROR in now)
        kept = {state: at for state, at in self.times.items() if not (found_again and state is State.ERROR)}
        assert kept.items() <= now.items()
        assert sorted(map(str, events(effects))) == sorted(str(state) for state in now if state not in kept)
        assert (ListBounce() in effects) == (State.BOUNCED in now and State.BOUNCED not in kept)
        if self.engaged:
            assert message.delivery in (self.delivery, Delivery.SENT, Delivery.DELIVERED)
        over = message.delivery not in UNDECIDED or is_engaged(message)
        assert (message.wake_at is None) == over
        self.check_deadlines(journey, over=over)

    def check_deadlines(self, journey: Journey, *, over: bool) -> None:
        wake = next_wake(journey)
        assert (wake is None) == over
        if wake is not None:
            assert overdue(journey, wake - 1) == []
            assert overdue(journey, wake) != []
            assert journey.message.wake_at is not None
            if journey.message.in_doubt:
                assert journey.message.wake_at <= wake


POOL: Sequence[Fact] = (
    answered(at=10_000),
    receipt(Verdict.DELIVERED, at=11_000),
    receipt(Verdict.DELIVERED, at=12_000),
    receipt(Verdict.EXPIRED, at=13_000),
    receipt(Verdict.FAILED, at=14_000),
    receipt(Verdict.NOT_ASSIGNED, at=15_000),
    doubted(at=16_000),
    Clicked(17_000),
    Replied(18_000),
    Stopped(19_000),
    TimedOut(20_000, "unknown"),
)


def copy(journey: Journey) -> Journey:
    return Journey(replace(journey.message), [replace(attempt) for attempt in journey.attempts])


def test_every_order_of_five_facts_keeps_the_invariants() -> None:
    """All 55,440 orders of five of the eleven facts above, walked as a tree."""
    walked = 0

    def walk(journey: Journey, left: Sequence[Fact], depth: int) -> None:
        nonlocal walked
        walked += depth == 0
        for index, fact in enumerate(left if depth else ()):
            branch = copy(journey)
            before = Snapshot(branch)
            before.check(branch, advance(branch, fact))
            walk(branch, (*left[:index], *left[index + 1 :]), depth - 1)

    walk(a_journey(), POOL, 5)
    assert walked == 55_440


Step = Callable[[Journey, set[int]], Fact | None]


def a_claim(part: int) -> Step:
    """The dispatcher takes a part off the queue."""

    def step(journey: Journey, queue: set[int]) -> None:
        if part in queue:
            queue.remove(part)
            claim(journey, part)

    return step


def about(part: int, number: int, fact: Callable[[int, int], Fact]) -> Step:
    """A fact about an attempt, if that attempt was made."""

    def step(journey: Journey, queue: set[int]) -> Fact | None:
        made = any((attempt.part, attempt.number) == (part, number) for attempt in journey.attempts)
        return fact(part, number) if made else None

    return step


FACTS_ABOUT_ATTEMPTS: Sequence[Callable[[int, int], Fact]] = (
    lambda part, number: answered(part=part, attempt=number),
    lambda part, number: doubted(part=part, attempt=number),
    lambda part, number: DoubtEnded(part, number, 122_000),
    *(
        lambda part, number, treatment=treatment, uncertain=uncertain: refused(
            treatment, part=part, attempt=number, uncertain=uncertain
        )
        for treatment in Treatment
        for uncertain in (False, True)
    ),
    *(
        lambda part, number, verdict=verdict: receipt(verdict, part=part, attempt=number)
        for verdict in (None, *Verdict)
    ),
)

FACTS_ABOUT_MESSAGES = st.sampled_from(
    (
        TimedOut(9_000, "unknown"),
        Barred(9_000, "unsubscribed"),
        Cancelled(9_000),
        Held(9_000, 50_000_000, "fr-af2m-2026:hours"),
        Clicked(9_000),
        Replied(9_000),
        Stopped(9_000),
    )
).map(lambda fact: lambda journey, queue: fact)

PARTS = 3
STEPS = st.lists(
    st.one_of(
        st.integers(1, PARTS).map(a_claim),
        st.builds(about, st.integers(1, PARTS), st.integers(1, 3), st.sampled_from(FACTS_ABOUT_ATTEMPTS)),
        st.builds(about, st.integers(1, PARTS), st.integers(1, 3), st.sampled_from(FACTS_ABOUT_ATTEMPTS)),
        FACTS_ABOUT_MESSAGES,
    ),
    max_size=40,
)


@given(steps=STEPS, parts=st.integers(1, PARTS), policy=st.sampled_from(InDoubtPolicy))
def test_any_life_keeps_the_invariants_and_ends(steps: Sequence[Step], parts: int, policy: InDoubtPolicy) -> None:
    journey = a_journey(parts, policy=policy, claimed=False)
    queue = set(range(1, parts + 1))
    for step in steps:
        fact = step(journey, queue)
        if fact is not None:
            before = Snapshot(journey)
            effects = advance(journey, fact)
            before.check(journey, effects)
            keep_queue(queue, effects)
            check_queue(journey, queue)
    let_time_pass(journey)
    assert journey.message.delivery not in UNDECIDED or is_engaged(journey.message)


def keep_queue(queue: set[int], effects: Iterable[Effect]) -> None:
    for effect in effects:
        match effect:
            case Requeue(part, due_at):
                assert part not in queue
                assert due_at > 0
                queue.add(part)
            case Unqueue(None):
                queue.clear()
            case Unqueue(part):
                queue.discard(part)
            case _:
                pass


def check_queue(journey: Journey, queue: set[int]) -> None:
    """A part is on the queue exactly while it folds to QUEUED; nothing of a decided message is."""
    queued = {part for part, state in enumerate(states(journey), 1) if state is PartState.QUEUED}
    if journey.message.delivery not in UNDECIDED:
        assert queue == set()
    elif is_engaged(journey.message):
        assert queue <= queued
    else:
        assert queue == queued


def let_time_pass(journey: Journey) -> None:
    """Follows the deadlines; each must bring something, so that a sweep never spins."""
    for _ in range(20):
        now = next_wake(journey)
        if now is None:
            return
        run(journey, *overdue(journey, now))
    pytest.fail("deadlines without end")


# --- the rules of the status contract, one by one ----------------------------------------------------


def test_accepted_message_is_submitted() -> None:
    journey = a_journey(claimed=False)
    assert public_state(journey.message) is State.SUBMITTED
    assert times(journey.message) == {State.SUBMITTED: 1}


def test_message_in_doubt_is_still_submitted() -> None:
    journey = a_journey()
    assert run(journey, doubted()) == []
    assert public_state(journey.message) is State.SUBMITTED
    assert journey.message.in_doubt == 1


def test_answer_for_every_part_makes_it_sent() -> None:
    journey = a_journey(2)
    assert run(journey, answered(part=2)) == []
    assert run(journey, answered(at=2_500, part=1)) == [Event(MessageId(7), AccountId(1), State.SENT, 2_500)]
    assert times(journey.message) == {State.SUBMITTED: 1, State.SENT: 2_500}


def test_receipt_for_every_part_makes_it_delivered() -> None:
    journey = a_journey(2)
    run(journey, answered(part=1), answered(part=2))
    assert run(journey, receipt(Verdict.DELIVERED, part=2)) == []
    assert events(run(journey, receipt(Verdict.DELIVERED, at=4_000))) == [State.DELIVERED]
    assert times(journey.message)[State.DELIVERED] == 4_000


def test_number_not_assigned_is_bounced_and_listed() -> None:
    journey = a_journey()
    effects = run(journey, answered(), receipt(Verdict.NOT_ASSIGNED))
    assert events(effects) == [State.SENT, State.BOUNCED]
    assert effects[-1] == ListBounce()
    assert journey.message.cause == "as told"


@pytest.mark.parametrize(
    ("fact", "cause"),
    [
        (refused(Treatment.PERMANENT), "refused:11"),
        (receipt(Verdict.FAILED), "as told"),
        (receipt(Verdict.EXPIRED), "as told"),
        (TimedOut(9_000, "expired"), "expired"),
        (Barred(9_000, "unsubscribed"), "unsubscribed"),
        (Cancelled(9_000), "cancelled"),
    ],
)
def test_any_other_final_failure_is_error_with_its_cause(fact: Fact, cause: str) -> None:
    journey = a_journey()
    run(journey, fact)
    assert public_state(journey.message) is State.ERROR
    assert journey.message.cause == cause


@pytest.mark.parametrize(
    ("fact", "state"),
    [(Clicked(9_000), State.OPENED), (Replied(9_000), State.REPLY), (Stopped(9_000), State.UNSUBSCRIBED)],
)
def test_first_engagement_counts_and_the_second_changes_nothing(fact: Fact, state: State) -> None:
    journey = a_journey()
    run(journey, answered())
    assert events(run(journey, fact, replace(fact, at=9_999))) == [state]
    assert times(journey.message)[state] == 9_000
    assert journey.message.facts == 3


def test_state_is_the_highest_rank_and_not_the_latest_time() -> None:
    journey = a_journey()
    run(journey, Stopped(5_000), Replied(6_000), Clicked(7_000), receipt(Verdict.DELIVERED, at=8_000))
    assert public_state(journey.message) is State.UNSUBSCRIBED


def test_receipt_without_an_answer_proves_sent() -> None:
    journey = a_journey()
    assert events(run(journey, receipt(Verdict.DELIVERED))) == [State.SENT, State.DELIVERED]
    assert journey.message.sent_at == journey.message.delivered_at == 3_000


def test_receipt_overtakes_the_answer() -> None:
    journey = a_journey()
    effects = run(journey, receipt(Verdict.DELIVERED, at=1_500), answered(at=2_000))
    assert events(effects) == [State.SENT, State.DELIVERED]
    assert journey.attempts[0].carrier_id == "id-1-1"


@pytest.mark.parametrize("unproven", [receipt(Verdict.EXPIRED), TimedOut(3_000, "unknown")])
def test_unproven_error_may_become_delivered_once(unproven: Fact) -> None:
    journey = a_journey()
    run(journey, answered(), unproven)
    assert events(run(journey, receipt(Verdict.DELIVERED, at=9_000))) == [State.DELIVERED]
    assert times(journey.message) == {State.SUBMITTED: 1, State.SENT: 2_000, State.DELIVERED: 9_000}
    assert journey.message.cause is None
    assert run(journey, unproven, receipt(Verdict.EXPIRED, at=9_500)) == []
    assert public_state(journey.message) is State.DELIVERED


def test_late_receipt_after_a_time_out_before_any_answer_reports_sent_too() -> None:
    journey = a_journey()
    run(journey, TimedOut(2_000, "unknown"))
    assert events(run(journey, receipt(Verdict.DELIVERED))) == [State.SENT, State.DELIVERED]


@pytest.mark.parametrize("later", [receipt(Verdict.NOT_ASSIGNED, at=9_000), receipt(Verdict.FAILED, at=9_000)])
def test_unproven_error_does_not_move_sideways(later: Fact) -> None:
    journey = a_journey()
    run(journey, answered(), TimedOut(3_000, "unknown"))
    assert run(journey, later) == []
    assert journey.message.cause == "unknown"


@pytest.mark.parametrize("first", [Verdict.DELIVERED, Verdict.NOT_ASSIGNED, Verdict.FAILED])
@pytest.mark.parametrize("second", Verdict)
def test_proven_end_is_left_by_no_receipt(first: Verdict, second: Verdict) -> None:
    journey = a_journey()
    run(journey, answered(), receipt(first))
    state = public_state(journey.message)
    assert run(journey, receipt(second, at=9_000)) == []
    assert public_state(journey.message) is state


@pytest.mark.parametrize(("fact", "state"), [(Clicked(9_000), State.OPENED), (Replied(9_000), State.REPLY)])
def test_click_or_reply_after_an_error_is_the_state_and_invents_no_delivery(fact: Fact, state: State) -> None:
    journey = a_journey()
    run(journey, answered(), receipt(Verdict.FAILED), fact)
    assert public_state(journey.message) is state
    assert set(times(journey.message)) == {State.SUBMITTED, State.SENT, State.ERROR, state}


@pytest.mark.parametrize("no", [receipt(Verdict.FAILED), receipt(Verdict.NOT_ASSIGNED), TimedOut(9_000, "unknown")])
def test_recipient_who_answered_disproves_a_later_failure(no: Fact) -> None:
    journey = a_journey()
    run(journey, answered(), Replied(2_500))
    assert run(journey, no) == []
    assert journey.message.delivery is Delivery.SENT


def test_stop_sets_unsubscribed_only() -> None:
    journey = a_journey()
    run(journey, answered(), Stopped(9_000))
    assert set(times(journey.message)) == {State.SUBMITTED, State.SENT, State.UNSUBSCRIBED}


def test_no_receipt_within_72_hours_of_sent_is_error_unknown() -> None:
    journey = a_journey()
    run(journey, answered(at=2_000))
    deadline = 2_000 + 72 * HOUR
    assert receipt_wait_ms(journey.message) == 72 * HOUR
    assert overdue(journey, deadline - 1) == []
    assert overdue(journey, deadline) == [TimedOut(deadline, "unknown")]


def test_validity_ends_what_never_left() -> None:
    journey = a_journey(claimed=False)
    deadline = expires_at(journey.message)
    assert overdue(journey, deadline - 1) == []
    assert overdue(journey, deadline) == [TimedOut(deadline, "expired")]


def test_every_fact_is_counted_even_when_ignored() -> None:
    journey = a_journey()
    run(journey, answered(), answered(), receipt(None), receipt(Verdict.DELIVERED), receipt(Verdict.FAILED))
    assert journey.message.facts == 5


def test_fact_about_an_unknown_attempt_is_the_caller_s_mistake() -> None:
    with pytest.raises(LookupError):
        advance(a_journey(), answered(attempt=2))


# --- parts -------------------------------------------------------------------------------------------


def test_parts_are_visible_with_their_times() -> None:
    journey = a_journey(3, claimed=False)
    claim(journey, 1)
    claim(journey, 2, at=1_100)
    run(journey, answered(), receipt(Verdict.DELIVERED))
    assert part_statuses(journey) == [
        PartStatus(1, PartState.DELIVERED, 3_000),
        PartStatus(2, PartState.IN_FLIGHT, 1_100),
        PartStatus(3, PartState.QUEUED, None),
    ]


def test_one_failed_part_fails_the_message_at_once_and_takes_the_others_off_the_queue() -> None:
    journey = a_journey(3, claimed=False)
    claim(journey, 1)
    effects = run(journey, refused(Treatment.PERMANENT))
    assert effects[0] == Unqueue()
    assert public_state(journey.message) is State.ERROR


def test_decided_message_queues_nothing_again() -> None:
    journey = a_journey(2)
    run(journey, refused(Treatment.PERMANENT, part=1))
    assert run(journey, refused(Treatment.TEMPORARY, part=2)) == []


@pytest.mark.parametrize(
    ("verdicts", "happening"),
    [
        ((Verdict.DELIVERED, Verdict.NOT_ASSIGNED), Happening.BOUNCED),
        ((Verdict.FAILED, Verdict.NOT_ASSIGNED), Happening.BOUNCED),
        ((Verdict.EXPIRED, Verdict.FAILED), Happening.FAILED),
        ((Verdict.DELIVERED, Verdict.EXPIRED), Happening.EXPIRED),
    ],
)
def test_worst_part_names_the_failure(verdicts: tuple[Verdict, ...], happening: Happening) -> None:
    journey = a_journey(2)
    for attempt, verdict in zip(journey.attempts, verdicts, strict=True):
        attempt.outcome, attempt.verdict = Outcome.ACCEPTED, verdict
    assert fold(journey) == (Happening.SENT, happening)


def an_attempt(number: int, outcome: Outcome, verdict: Verdict | None = None) -> Attempt:
    return Attempt(MessageId(7), 1, number, "operator", 1, 1_000, number, outcome=outcome, verdict=verdict)


@pytest.mark.parametrize(
    ("attempts", "state"),
    [
        ([], PartState.QUEUED),
        ([(Outcome.PENDING, None)], PartState.IN_FLIGHT),
        ([(Outcome.IN_DOUBT, None)], PartState.IN_DOUBT),
        ([(Outcome.ACCEPTED, None)], PartState.SENT),
        ([(Outcome.POSTPONED, None)], PartState.QUEUED),
        ([(Outcome.RESENT, None)], PartState.QUEUED),
        ([(Outcome.REFUSED, None)], PartState.FAILED),
        ([(Outcome.REFUSED, Verdict.DELIVERED)], PartState.DELIVERED),
        # any attempt delivered is enough, whatever the others say
        ([(Outcome.RESENT, Verdict.DELIVERED), (Outcome.REFUSED, None)], PartState.DELIVERED),
        # one that may still be delivered keeps the part open, or the failure unproven
        ([(Outcome.RESENT, None), (Outcome.PENDING, None)], PartState.IN_FLIGHT),
        ([(Outcome.ACCEPTED, None), (Outcome.ACCEPTED, Verdict.FAILED)], PartState.SENT),
        ([(Outcome.RESENT, None), (Outcome.REFUSED, None)], PartState.EXPIRED),
        ([(Outcome.RESENT, None), (Outcome.ACCEPTED, Verdict.FAILED)], PartState.EXPIRED),
        ([(Outcome.ACCEPTED, Verdict.EXPIRED), (Outcome.REFUSED, None)], PartState.EXPIRED),
        # a number that is not assigned is not assigned for the other attempts either
        ([(Outcome.RESENT, None), (Outcome.ACCEPTED, Verdict.NOT_ASSIGNED)], PartState.BOUNCED),
        ([(Outcome.RESENT, Verdict.NOT_ASSIGNED), (Outcome.REFUSED, None)], PartState.BOUNCED),
        # after a receipt no new attempt is made
        ([(Outcome.RESENT, Verdict.FAILED)], PartState.FAILED),
        ([(Outcome.RESENT, Verdict.FAILED), (Outcome.POSTPONED, None)], PartState.FAILED),
    ],
)
def test_attempts_of_a_part_fold(attempts: list[tuple[Outcome, Verdict | None]], state: PartState) -> None:
    assert fold_part([an_attempt(n, outcome, verdict) for n, (outcome, verdict) in enumerate(attempts, 1)]) is state


def test_receipt_for_a_resent_part_takes_only_that_part_off_the_queue() -> None:
    journey = a_journey(2)
    run(journey, answered(part=1), doubted(part=2), DoubtEnded(2, 1, 122_000))
    assert run(journey, receipt(Verdict.DELIVERED, part=2)) == [
        Unqueue(2),
        Event(MessageId(7), AccountId(1), State.SENT, 3_000),
    ]


# --- doubt, refusals and time ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "lasts"), [(InDoubtPolicy.WAIT_THEN_RETRY, 120_000), (InDoubtPolicy.AT_LEAST_ONCE, 5_000)]
)
def test_doubt_is_resent_when_the_policy_s_time_is_over_and_not_before(policy: InDoubtPolicy, lasts: int) -> None:
    journey = a_journey(policy=policy)
    run(journey, doubted(at=2_000))
    ends = 2_000 + lasts
    assert journey.message.wake_at == ends
    assert overdue(journey, ends - 1) == []
    assert overdue(journey, ends) == [DoubtEnded(1, 1, ends)]
    assert run(journey, DoubtEnded(1, 1, ends)) == [Requeue(1, ends)]
    assert journey.message.in_doubt == 0


def test_held_message_begins_its_validity_when_it_may_leave() -> None:
    journey = a_journey(claimed=False)
    assert run(journey, Held(9 * HOUR, 20 * HOUR, "fr-af2m-2026:hours")) == []
    message = journey.message
    assert (message.due_at, message.held_by) == (20 * HOUR, "fr-af2m-2026:hours")
    assert message.wake_at == next_wake(journey) == expires_at(message) == 68 * HOUR
    assert overdue(journey, 49 * HOUR) == []


def test_message_whose_delivery_is_decided_is_not_held() -> None:
    journey = a_journey(claimed=False)
    run(journey, Cancelled(2_000), Held(3_000, 20 * HOUR, "fr-af2m-2026:hours"))
    assert (journey.message.due_at, journey.message.held_by, journey.message.wake_at) == (1, None, None)


def test_at_most_once_is_never_resent_and_ends_unknown() -> None:
    journey = a_journey(policy=InDoubtPolicy.AT_MOST_ONCE)
    run(journey, doubted(at=2_000))
    deadline = 2_000 + 72 * HOUR
    assert next_wake(journey) == deadline
    assert overdue(journey, deadline) == [TimedOut(deadline, "unknown")]


def test_waiting_times_may_be_set() -> None:
    journey = a_journey()
    lasts = {**DOUBT_LASTS_MS, InDoubtPolicy.WAIT_THEN_RETRY: 300}
    advance(journey, doubted(at=2_000), lasts)
    assert journey.message.wake_at == next_wake(journey, lasts) == 2_300
    assert overdue(journey, 2_300, lasts) == [DoubtEnded(1, 1, 2_300)]


def test_late_answer_ends_the_doubt() -> None:
    journey = a_journey()
    assert events(run(journey, doubted(), answered(at=3_000))) == [State.SENT]
    assert overdue(journey, 200_000) == []


def test_late_answer_takes_the_resend_off_the_queue() -> None:
    journey = a_journey()
    run(journey, doubted(), DoubtEnded(1, 1, 122_000))
    assert run(journey, answered(at=122_500))[0] == Unqueue(1)


def test_receipt_takes_the_resend_off_the_queue() -> None:
    journey = a_journey()
    run(journey, doubted(), DoubtEnded(1, 1, 122_000))
    effects = run(journey, receipt(Verdict.DELIVERED, at=122_500))
    assert effects[0] == Unqueue(1)
    assert public_state(journey.message) is State.DELIVERED


def test_doubt_that_would_end_after_the_validity_waits_for_the_receipt_deadline() -> None:
    journey = a_journey()
    begins = expires_at(journey.message) - 1_000
    run(journey, doubted(at=begins))
    assert next_wake(journey) == begins + 72 * HOUR


def test_sweep_that_comes_after_the_validity_ends_the_doubt_as_unknown() -> None:
    journey = a_journey()
    run(journey, doubted(at=2_000))
    late = expires_at(journey.message) + HOUR
    assert overdue(journey, late) == [TimedOut(late, "unknown")]


def test_submit_without_any_answer_has_a_deadline_too() -> None:
    journey = a_journey()
    deadline = CLAIMED_AT + 72 * HOUR
    assert overdue(journey, expires_at(journey.message)) == []
    assert overdue(journey, deadline) == [TimedOut(deadline, "unknown")]


def test_recipient_who_answered_gets_no_second_copy() -> None:
    journey = a_journey()
    run(journey, doubted(), Replied(3_000))
    assert next_wake(journey) is None
    assert run(journey, DoubtEnded(1, 1, 122_000)) == []


def test_recipient_who_answered_still_gets_the_part_that_certainly_did_not_leave() -> None:
    journey = a_journey(2)
    run(journey, answered(part=1), Replied(3_000))
    assert run(journey, refused(Treatment.TEMPORARY, at=3_500, part=2)) == [
        Requeue(2, 3_500 + back_off_ms(journey.attempts[1], 1))
    ]


def test_temporary_refusal_is_sent_again_after_the_back_off() -> None:
    journey = a_journey()
    effects = run(journey, refused(Treatment.TEMPORARY, at=2_000))
    assert effects == [Requeue(1, 2_000 + back_off_ms(journey.attempts[0], 1))]
    assert journey.attempts[0].outcome is Outcome.POSTPONED


def test_refusal_that_may_have_gone_out_counts_as_resent_and_its_receipt_decides() -> None:
    journey = a_journey()
    run(journey, refused(Treatment.TEMPORARY, uncertain=True))
    assert journey.attempts[0].outcome is Outcome.RESENT
    assert events(run(journey, receipt(Verdict.DELIVERED))) == [State.SENT, State.DELIVERED]


def test_late_no_settles_an_old_doubt_without_queueing_twice() -> None:
    journey = a_journey()
    run(journey, doubted(), DoubtEnded(1, 1, 122_000))
    assert run(journey, refused(Treatment.TEMPORARY, at=123_000)) == []
    assert journey.attempts[0].outcome is Outcome.POSTPONED


def test_late_no_that_proves_nothing_leaves_the_doubt() -> None:
    journey = a_journey()
    run(journey, doubted(), DoubtEnded(1, 1, 122_000))
    run(journey, refused(Treatment.TEMPORARY, at=123_000, uncertain=True))
    assert journey.attempts[0].outcome is Outcome.RESENT


def test_part_refused_after_the_validity_is_looked_at_again_at_once() -> None:
    journey = a_journey()
    journey.message.wake_at = next_wake(journey)  # as the sweep does, while the submit has no answer
    run(journey, refused(Treatment.TEMPORARY, at=expires_at(journey.message) + 1))
    assert journey.message.wake_at == expires_at(journey.message)


def test_receipts_are_waited_for_from_the_last_part_on() -> None:
    journey = a_journey(2)
    run(journey, answered(at=9_000, part=1), answered(at=2_000, part=2))
    assert next_wake(journey) == 9_000 + 72 * HOUR


def refuse_again_and_again(journey: Journey, treatment: Treatment, times: int) -> None:
    for _ in range(times):
        attempt = claim(journey)
        run(journey, refused(treatment, attempt=attempt.number))


@pytest.mark.parametrize("treatment", [Treatment.THROTTLED, Treatment.SESSION])
def test_throttling_and_session_faults_use_up_no_attempt(treatment: Treatment) -> None:
    journey = a_journey(claimed=False)
    refuse_again_and_again(journey, treatment, 50)
    assert states(journey) == [PartState.QUEUED]


def test_temporary_refusals_are_used_up() -> None:
    journey = a_journey(claimed=False)
    refuse_again_and_again(journey, Treatment.TEMPORARY, MAX_TEMPORARY_REFUSALS - 1)
    assert public_state(journey.message) is State.SUBMITTED
    refuse_again_and_again(journey, Treatment.TEMPORARY, 1)
    assert public_state(journey.message) is State.ERROR
    assert journey.message.cause == "refused:11"


@given(message=st.integers(1, 1 << 62), part=st.integers(1, 255), refusals=st.integers(0, 10_000))
def test_back_off_grows_from_one_second_to_sixty_within_a_quarter(message: int, part: int, refusals: int) -> None:
    attempt = Attempt(MessageId(message), part, 1, "operator", 1, 1_000, 1)
    base = min(60_000, 1_000 * 2 ** min(max(refusals, 1) - 1, 10))
    assert 0.75 * base <= back_off_ms(attempt, refusals) <= 1.25 * base


def test_back_off_spreads_messages_refused_together() -> None:
    waits = {back_off_ms(Attempt(MessageId(n), 1, 1, "operator", 1, 1_000, 1), 1) for n in range(1, 513)}
    assert len(waits) > 250
