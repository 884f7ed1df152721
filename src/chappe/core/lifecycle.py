"""The life of a message: one table of transitions, and the pure functions around it.

    facts about attempts ─apply─▶ parts ─fold─▶ Happening ─TRANSITIONS─▶ Delivery, times

`advance` is deterministic: no clock, no I/O, no chance. It takes the journey over from its caller (who has
just read it inside a write transaction and saves it in the same one) and changes it in place, because a
copy of every record for every fact would be the largest cost of settling.
docs/lifecycle.md is printed from the tables below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from chappe.core.message import (
    Answered,
    Attempt,
    Barred,
    Clicked,
    Delivery,
    DoubtBegan,
    DoubtEnded,
    Event,
    Fact,
    InDoubtPolicy,
    Message,
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


class Happening(Enum):
    """What a fact, folded over all parts, means for the whole message."""

    SENT = "every part is in the operator's charge"
    DELIVERED = "every part has a receipt that says delivered"
    BOUNCED = "the number is not assigned"
    FAILED = "refused, rejected, deleted, undeliverable, or barred by an opt-out"
    EXPIRED = "the operator's receipt says expired"
    TIMED_OUT = "our own deadline passed"
    CLICKED = "a person opened a tracked link"
    REPLIED = "the recipient answered"
    STOPPED = "the recipient answered STOP"


TRANSITIONS: Mapping[tuple[Delivery, Happening], Delivery] = {
    # A pair that is not here changes nothing; the fact is logged all the same.
    (Delivery.SUBMITTED, Happening.SENT): Delivery.SENT,
    (Delivery.SUBMITTED, Happening.DELIVERED): Delivery.DELIVERED,
    (Delivery.SUBMITTED, Happening.BOUNCED): Delivery.BOUNCED,
    (Delivery.SUBMITTED, Happening.FAILED): Delivery.ERROR,
    (Delivery.SUBMITTED, Happening.EXPIRED): Delivery.PRESUMED_LOST,
    (Delivery.SUBMITTED, Happening.TIMED_OUT): Delivery.PRESUMED_LOST,
    (Delivery.SENT, Happening.DELIVERED): Delivery.DELIVERED,
    (Delivery.SENT, Happening.BOUNCED): Delivery.BOUNCED,
    (Delivery.SENT, Happening.FAILED): Delivery.ERROR,
    (Delivery.SENT, Happening.EXPIRED): Delivery.PRESUMED_LOST,
    (Delivery.SENT, Happening.TIMED_OUT): Delivery.PRESUMED_LOST,
    # The contract: a time-out of ours and the operator's EXPIRED may become delivered, once, by a late
    # receipt; nothing else leaves delivered, bounced or error downwards or sideways.
    (Delivery.PRESUMED_LOST, Happening.DELIVERED): Delivery.DELIVERED,
}

ENGAGEMENT: Mapping[Happening, State] = {
    # Possible whatever became of delivery: a click or an answer proves that the message arrived, even
    # after an error. It never invents `delivered`, and STOP sets `unsubscribed` only, not `reply`.
    Happening.CLICKED: State.OPENED,
    Happening.REPLIED: State.REPLY,
    Happening.STOPPED: State.UNSUBSCRIBED,
}

DISPROVED_BY_ENGAGEMENT = frozenset({Happening.BOUNCED, Happening.FAILED, Happening.EXPIRED, Happening.TIMED_OUT})
"""Happenings that say "did not arrive": ignored once the recipient has clicked or answered."""

PUBLIC: Mapping[Delivery, State] = {
    Delivery.SUBMITTED: State.SUBMITTED,
    Delivery.SENT: State.SENT,
    Delivery.DELIVERED: State.DELIVERED,
    Delivery.BOUNCED: State.BOUNCED,
    Delivery.ERROR: State.ERROR,
    Delivery.PRESUMED_LOST: State.ERROR,
}
"""How each delivery state shows itself."""

UNDECIDED = frozenset({Delivery.SUBMITTED, Delivery.SENT})
"""Delivery states that still have a deadline."""

MAX_TEMPORARY_REFUSALS = 5
"""A part refused this often "for now" fails. Throttling and session faults do not count."""

DOUBT_LASTS_MS: Mapping[InDoubtPolicy, int | None] = {
    InDoubtPolicy.WAIT_THEN_RETRY: 120_000,
    InDoubtPolicy.AT_LEAST_ONCE: 5_000,
    InDoubtPolicy.AT_MOST_ONCE: None,  # only a receipt, or the receipt deadline, decides
}


@dataclass(slots=True)
class Journey:
    """A message with all its attempts, in order of (part, number)."""

    message: Message
    attempts: list[Attempt]


@dataclass(slots=True, frozen=True)
class Requeue:
    """Send this part again, not before `due_at`."""

    part: int
    due_at: int


@dataclass(slots=True, frozen=True)
class Unqueue:
    """Nothing of this message is to leave any more."""


@dataclass(slots=True, frozen=True)
class ListBounce:
    """The number is not assigned: it joins the account's bounce list."""


Effect: TypeAlias = Requeue | Unqueue | ListBounce | Event


def advance(
    journey: Journey, fact: Fact, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None] = DOUBT_LASTS_MS
) -> list[Effect]:
    """Applies one fact to the journey and returns what else has to be done.

    The fact is counted in `message.facts` whether or not it changes anything: the caller logs it under the
    number that `facts` had before. Unknown attempts raise LookupError: facts are matched before they come
    here.
    """
    message = journey.message
    message.facts += 1
    effects: list[Effect] = []
    match fact:
        case Clicked() | Replied() | Stopped():
            happenings: Iterable[Happening] = (_ENGAGES[type(fact)],)
        case TimedOut():
            message_cause, happenings = fact.cause, (Happening.TIMED_OUT,)
            effects += _happen(message, happenings, fact.at, message_cause)
            happenings = ()
        case Barred():
            effects += _happen(message, (Happening.FAILED,), fact.at, fact.cause)
            happenings = ()
        case _:
            effects += _apply(journey, fact)
            happenings = fold(journey)
    if happenings:
        effects += _happen(message, happenings, fact.at, _cause(fact))
    if any(isinstance(effect, Event) for effect in effects) and message.delivery not in UNDECIDED:
        # Whatever decided the message also ends a resend that has not left yet.
        effects = [effect for effect in effects if not isinstance(effect, Requeue)]
        effects.append(Unqueue())
    _arm(journey, doubt_lasts_ms)
    return effects


def fold(journey: Journey) -> tuple[Happening, ...]:
    """What the parts, taken together, mean for the message; possibly two things, in order.

    All delivered → delivered; one part with every attempt failed → failed (not assigned before failed
    before expired); all in the operator's charge → sent. A receipt without an answer proves `sent` too.
    """
    if journey.message.parts == 1:
        states = [fold_part(journey.attempts)]
        in_charge = _in_charge(journey.attempts)
    else:
        by_part = _by_part(journey)
        states = [fold_part(attempts) for attempts in by_part]
        in_charge = all(_in_charge(attempts) for attempts in by_part)
    journey.message.in_doubt = states.count(PartState.IN_DOUBT)
    happenings: list[Happening] = [Happening.SENT] if in_charge else []
    if all(state is PartState.DELIVERED for state in states):
        happenings.append(Happening.DELIVERED)
    else:
        for state, happening in _FAILURES:
            if state in states:
                happenings.append(happening)
                break
    return tuple(happenings)


def fold_part(attempts: Sequence[Attempt]) -> PartState:
    """What is known of one part: delivered if any attempt was, failed only if every attempt failed."""
    if not attempts:
        return PartState.QUEUED
    if any(attempt.verdict is Verdict.DELIVERED for attempt in attempts):
        return PartState.DELIVERED
    open_ones = [attempt for attempt in attempts if attempt.verdict is None]
    for outcome, state in _OPEN_OUTCOMES:
        if any(attempt.outcome is outcome for attempt in open_ones):
            return state
    last = attempts[-1]
    if last.verdict is None and last.outcome in (Outcome.POSTPONED, Outcome.RESENT):
        return PartState.QUEUED
    if any(attempt.outcome is Outcome.RESENT for attempt in open_ones):
        # An earlier attempt may still be delivered: a failure that a late receipt may correct.
        return PartState.EXPIRED
    for verdict, state in _VERDICTS:
        if last.verdict is verdict:
            return state
    return PartState.FAILED  # refused at submit


def part_statuses(journey: Journey) -> list[PartStatus]:
    """Each part's state and the time of the last thing known of it, for the status answer."""
    return [
        PartStatus(part, fold_part(attempts), _last_known(attempts))
        for part, attempts in enumerate(_by_part(journey), 1)
    ]


def public_state(message: Message) -> State:
    """The state shown: the highest rank reached, never decided by comparing times."""
    if message.unsubscribed_at is not None:
        return State.UNSUBSCRIBED
    if message.reply_at is not None:
        return State.REPLY
    if message.opened_at is not None:
        return State.OPENED
    return PUBLIC[message.delivery]


def times(message: Message) -> dict[State, int]:
    """The time of each public state reached; absent when not reached."""
    reached = {State.SUBMITTED: message.accepted_at}
    for state, name in _TIME_OF.items():
        at = getattr(message, name)
        if at is not None:
            reached[state] = at
    return reached


def is_engaged(message: Message) -> bool:
    """Whether the recipient clicked or answered, which proves delivery."""
    return message.opened_at is not None or message.reply_at is not None or message.unsubscribed_at is not None


def receipt_wait_ms(message: Message) -> int:
    """How long after a submit a receipt is waited for: half as long again as the validity.

    48 h of validity give the contract's 72 h, and a short validity ends soon after the operator gave up.
    """
    return message.validity_ms + message.validity_ms // 2


def expires_at(message: Message) -> int:
    """End of validity: after it nothing of the message is submitted."""
    return message.due_at + message.validity_ms


def overdue(
    journey: Journey, now: int, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None] = DOUBT_LASTS_MS
) -> list[Fact]:
    """The facts that the passing of time has made true by `now`; empty when the sweep came too early."""
    message = journey.message
    if message.delivery not in UNDECIDED or is_engaged(message):
        return []
    facts: list[Fact] = []
    lasts = doubt_lasts_ms[message.policy]
    expired = now >= expires_at(message)
    handed_over = 0
    for attempts in _by_part(journey):
        state = fold_part(attempts)
        if state is PartState.QUEUED and expired:
            return [TimedOut(now, "expired")]
        if state in (PartState.SENT, PartState.IN_DOUBT):
            handed_over = max(handed_over, attempts[-1].answered_at or attempts[-1].claimed_at)
        if state is PartState.IN_DOUBT and lasts is not None and not expired:
            facts += [
                DoubtEnded(attempt.part, attempt.number, now)
                for attempt in attempts
                if _doubtful(attempt) and now >= (attempt.answered_at or attempt.claimed_at) + lasts
            ]
    if handed_over and now >= handed_over + receipt_wait_ms(message):
        return [TimedOut(now, "unknown")]
    return facts


def back_off_ms(attempt: Attempt) -> int:
    """How long a part waits after a temporary refusal: 1 s doubling to 60 s, spread by ±25 %.

    The spread comes from the attempt's own key, so that a thousand parts refused together do not return
    together, and a test gets the same figure twice.
    """
    base = min(60_000, 1_000 << min(attempt.number - 1, 6))
    spread = (attempt.message * 2654435761 + attempt.part * 40503) % 512 / 1024
    return int(base * (0.75 + spread))


# --- below: how it is done ---------------------------------------------------------------------------

_ENGAGES: Mapping[type, Happening] = {
    Clicked: Happening.CLICKED,
    Replied: Happening.REPLIED,
    Stopped: Happening.STOPPED,
}

_TIME_OF: Mapping[State, str] = {
    State.SENT: "sent_at",
    State.DELIVERED: "delivered_at",
    State.BOUNCED: "bounced_at",
    State.ERROR: "error_at",
    State.OPENED: "opened_at",
    State.REPLY: "reply_at",
    State.UNSUBSCRIBED: "unsubscribed_at",
}

_FAILURES = (
    (PartState.BOUNCED, Happening.BOUNCED),
    (PartState.FAILED, Happening.FAILED),
    (PartState.EXPIRED, Happening.EXPIRED),
)

_OPEN_OUTCOMES = (
    (Outcome.PENDING, PartState.IN_FLIGHT),
    (Outcome.ACCEPTED, PartState.SENT),
    (Outcome.IN_DOUBT, PartState.IN_DOUBT),
)

_VERDICTS = (
    (Verdict.NOT_ASSIGNED, PartState.BOUNCED),
    (Verdict.EXPIRED, PartState.EXPIRED),
    (Verdict.FAILED, PartState.FAILED),
)


def _apply(journey: Journey, fact: Answered | Refused | DoubtBegan | DoubtEnded | ReceiptRead) -> list[Effect]:
    """Writes a fact about one attempt into that attempt."""
    attempt = _find(journey, fact.part, fact.attempt)
    match fact:
        case Answered():
            if attempt.outcome in (Outcome.PENDING, Outcome.IN_DOUBT, Outcome.RESENT):
                attempt.outcome = Outcome.ACCEPTED
                attempt.status = 0
                attempt.carrier_id = fact.carrier_id
                attempt.answered_at = fact.at
        case Refused():
            return _refuse(journey, attempt, fact)
        case DoubtBegan():
            if attempt.outcome is Outcome.PENDING:
                attempt.outcome = Outcome.IN_DOUBT
                attempt.answered_at = fact.at
        case DoubtEnded():
            if _doubtful(attempt):
                attempt.outcome = Outcome.RESENT
                return [Requeue(attempt.part, fact.at)]
        case ReceiptRead():
            if fact.verdict is not None and attempt.verdict in (None, Verdict.EXPIRED):
                attempt.verdict = fact.verdict
                attempt.verdict_at = fact.at
    return []


def _refuse(journey: Journey, attempt: Attempt, fact: Refused) -> list[Effect]:
    if attempt.outcome not in (Outcome.PENDING, Outcome.IN_DOUBT):
        if attempt.outcome is Outcome.RESENT:
            # The late "no" settles the old doubt; its part is queued or sent again already.
            attempt.outcome = Outcome.POSTPONED
            attempt.status = fact.status
        return []
    attempt.status = fact.status
    attempt.answered_at = fact.at
    attempt.treatment = fact.treatment
    if fact.treatment is Treatment.PERMANENT or _refusals(journey, attempt.part) >= MAX_TEMPORARY_REFUSALS:
        attempt.outcome = Outcome.REFUSED
        return []
    # RESENT, not POSTPONED, where the operator's "no" does not prove that the message did not go out:
    # the next attempt is flagged, and a late receipt still counts.
    attempt.outcome = Outcome.RESENT if fact.uncertain else Outcome.POSTPONED
    return [Requeue(attempt.part, fact.at + back_off_ms(attempt))]


def _refusals(journey: Journey, part: int) -> int:
    return sum(attempt.part == part and attempt.treatment is Treatment.TEMPORARY for attempt in journey.attempts)


def _happen(message: Message, happenings: Iterable[Happening], at: int, cause: str | None) -> list[Effect]:
    """Runs the table and stamps the times; returns an event for every public state newly reached."""
    effects: list[Effect] = []
    for happening in happenings:
        state = ENGAGEMENT.get(happening)
        if state is not None:
            if getattr(message, _TIME_OF[state]) is None:
                setattr(message, _TIME_OF[state], at)
                effects.append(Event(message.id, message.account, state, at))
            continue
        if happening in DISPROVED_BY_ENGAGEMENT and is_engaged(message):
            continue
        target = TRANSITIONS.get((message.delivery, happening))
        if target is None:
            continue
        if message.delivery is Delivery.PRESUMED_LOST:
            # The error turned out not to be one: the fact log keeps it, the status does not.
            message.error_at = message.cause = None
        message.delivery = target
        state = PUBLIC[target]
        setattr(message, _TIME_OF[state], at)
        effects.append(Event(message.id, message.account, state, at))
        if state in (State.BOUNCED, State.ERROR):
            message.cause = cause
        if target is Delivery.BOUNCED:
            effects.append(ListBounce())
        if target is Delivery.DELIVERED and message.sent_at is None:
            # Reached when a receipt follows a time-out that came before any answer.
            message.sent_at = at
    return effects


def _arm(journey: Journey, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None]) -> None:
    """Sets the next time the sweep has to look; only ever earlier than now set, so that a life that goes
    well costs one index entry and no update of it (the sweep itself moves it later, see `next_wake`)."""
    message = journey.message
    if message.delivery not in UNDECIDED or is_engaged(message):
        message.wake_at = None
    elif message.in_doubt:
        message.wake_at = min(message.wake_at or 1 << 62, next_wake(journey, doubt_lasts_ms) or 1 << 62)


def next_wake(journey: Journey, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None] = DOUBT_LASTS_MS) -> int | None:
    """When the next deadline of this journey falls; None when it has none."""
    message = journey.message
    if message.delivery not in UNDECIDED or is_engaged(message):
        return None
    lasts = doubt_lasts_ms[message.policy]
    deadlines: list[int] = []
    handed_over: list[int] = []
    for attempts in _by_part(journey):
        state = fold_part(attempts)
        if state in (PartState.QUEUED, PartState.IN_FLIGHT):
            deadlines.append(expires_at(message))
        elif state in (PartState.SENT, PartState.IN_DOUBT):
            handed_over.append(attempts[-1].answered_at or attempts[-1].claimed_at)
        if state is PartState.IN_DOUBT and lasts is not None:
            doubts = [a.answered_at or a.claimed_at for a in attempts if _doubtful(a)]
            if min(doubts) + lasts < expires_at(message):
                deadlines.append(min(doubts) + lasts)
    if handed_over:
        deadlines.append(max(handed_over) + receipt_wait_ms(message))
    return min(deadlines, default=None)


def _cause(fact: Fact) -> str | None:
    match fact:
        case Refused():
            return f"refused:{fact.status}"
        case ReceiptRead():
            return fact.detail
        case _:
            return None


def _find(journey: Journey, part: int, number: int) -> Attempt:
    for attempt in journey.attempts:
        if attempt.part == part and attempt.number == number:
            return attempt
    raise LookupError((journey.message.id, part, number))


def _by_part(journey: Journey) -> list[list[Attempt]]:
    by_part: list[list[Attempt]] = [[] for _ in range(journey.message.parts)]
    for attempt in journey.attempts:
        by_part[attempt.part - 1].append(attempt)
    return by_part


def _in_charge(attempts: Sequence[Attempt]) -> bool:
    return any(attempt.outcome is Outcome.ACCEPTED or attempt.verdict is not None for attempt in attempts)


def _doubtful(attempt: Attempt) -> bool:
    return attempt.outcome is Outcome.IN_DOUBT and attempt.verdict is None


def _last_known(attempts: Sequence[Attempt]) -> int | None:
    known = (attempt.verdict_at or attempt.answered_at or attempt.claimed_at for attempt in attempts)
    return max(known, default=None)
