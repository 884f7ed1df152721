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
    Cancelled,
    Clicked,
    Delivery,
    DoubtBegan,
    DoubtEnded,
    Event,
    Fact,
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


class Happening(Enum):
    """What a fact, folded over all parts, means for the whole message."""

    SENT = "every part is in the operator's charge"
    DELIVERED = "every part has a receipt that says delivered"
    BOUNCED = "the number is not assigned"
    FAILED = "refused, rejected, deleted, undeliverable, or barred by an opt-out"
    EXPIRED = "the operator's receipt says expired"
    TIMED_OUT = "our own deadline passed"
    CANCELLED = "the sender took it back before anything of it had left"
    CLICKED = "a person opened a tracked link"
    REPLIED = "the recipient answered"
    STOPPED = "the recipient answered STOP"

    __hash__ = object.__hash__  # as in `State`


TRANSITIONS: Mapping[tuple[Delivery, Happening], Delivery] = {
    # A pair that is not here changes nothing; the fact is logged all the same.
    (Delivery.SUBMITTED, Happening.SENT): Delivery.SENT,
    (Delivery.SUBMITTED, Happening.DELIVERED): Delivery.DELIVERED,
    (Delivery.SUBMITTED, Happening.BOUNCED): Delivery.BOUNCED,
    (Delivery.SUBMITTED, Happening.FAILED): Delivery.ERROR,
    (Delivery.SUBMITTED, Happening.EXPIRED): Delivery.PRESUMED_LOST,
    (Delivery.SUBMITTED, Happening.TIMED_OUT): Delivery.PRESUMED_LOST,
    (Delivery.SUBMITTED, Happening.CANCELLED): Delivery.ERROR,
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

DISPROVED_BY_ENGAGEMENT = frozenset(
    {Happening.BOUNCED, Happening.FAILED, Happening.EXPIRED, Happening.TIMED_OUT, Happening.CANCELLED}
)
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

CANCELLED = "cancelled"
"""The cause of what its sender took back."""

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

    def attempt(self, part: int, number: int) -> Attempt | None:
        for attempt in self.attempts:
            if attempt.part == part and attempt.number == number:
                return attempt
        return None


@dataclass(slots=True, frozen=True)
class Requeue:
    """Send this part again, not before `due_at`."""

    part: int
    due_at: int
    via: str | None = None
    """Through this connector only; None: its route says through which."""


@dataclass(slots=True, frozen=True)
class Unqueue:
    """This part is not to leave any more; None: nothing of this message is."""

    part: int | None = None


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
    was_undecided = message.delivery in UNDECIDED
    effects: list[Effect] = []
    happenings: Iterable[Happening] = ()
    match fact:
        case Answered() | ReceiptRead() | Refused() | DoubtBegan() | DoubtEnded():
            effects = _apply(journey, fact)
            message.in_doubt = _count_doubts(journey.attempts)
            happenings = fold(journey)
        case Held():
            if was_undecided:
                message.due_at, message.held_by = fact.until, fact.cause
        case _:
            happenings = (_MEANS[type(fact)],)
    events = _happen(message, happenings, fact)
    if message.delivery not in UNDECIDED:
        # Whatever decided the message also ends the sends that have not left yet.
        ends_sends = was_undecided and any(map(_is_queued, _by_part(journey)))
        effects = [Unqueue()] if ends_sends else [effect for effect in effects if isinstance(effect, Unqueue)]
    _arm(journey, doubt_lasts_ms, requeued=bool(effects))
    if isinstance(fact, Held):
        message.wake_at = next_wake(journey, doubt_lasts_ms)  # validity begins again when the message may leave
    return effects + events


def fold(journey: Journey) -> tuple[Happening, ...]:
    """What the parts, taken together, mean for the message; possibly two things, in order.

    All delivered → delivered; one part with every attempt failed → failed (not assigned before failed
    before expired); all in the operator's charge → sent. A receipt without an answer proves `sent` too.
    """
    attempts = journey.attempts
    if len(attempts) == 1 and journey.message.submits == 1:
        return _FOLDED_ALONE[attempts[0].outcome, attempts[0].verdict]
    return _fold(_by_part(journey))


def _fold(by_part: Sequence[Sequence[Attempt]]) -> tuple[Happening, ...]:
    states = [fold_part(attempts) for attempts in by_part]
    happenings = [Happening.SENT] if all(map(_in_charge, by_part)) else []
    if all(state is PartState.DELIVERED for state in states):
        happenings.append(Happening.DELIVERED)
    else:
        happenings += [happening for state, happening in _FAILURES if state in states][:1]
    return tuple(happenings)


def fold_part(attempts: Sequence[Attempt]) -> PartState:
    """What is known of one part: delivered if any attempt was, failed only if every attempt failed.

    A part is QUEUED exactly while it belongs on the queue: not yet tried, or to be tried again. Once a
    receipt came for one attempt no new one is made; those under way may still deliver.
    """
    if not attempts:
        return PartState.QUEUED
    verdicts = [attempt.verdict for attempt in attempts]
    if Verdict.DELIVERED in verdicts:
        return PartState.DELIVERED
    open_outcomes = [attempt.outcome for attempt in attempts if attempt.verdict is None]
    for outcome, state in _OPEN_OUTCOMES:
        if outcome in open_outcomes:
            return state
    if attempts[-1].outcome in _TRIED_AGAIN and len(open_outcomes) == len(attempts):
        return PartState.QUEUED
    if Verdict.NOT_ASSIGNED in verdicts:
        return PartState.BOUNCED
    if Verdict.EXPIRED in verdicts or Outcome.RESENT in open_outcomes:
        # Nobody proved the failure: an attempt that expired or was doubted may be delivered all the same.
        return PartState.EXPIRED
    return PartState.FAILED


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
    return {state: at for state, name in _TIME_OF.items() if (at := getattr(message, name)) is not None}


def time_of(message: Message, state: State) -> int:
    """When it reached a state that it has reached."""
    at: int = getattr(message, _TIME_OF[state])
    return at


def is_engaged(message: Message) -> bool:
    """Whether the recipient clicked or answered, which proves delivery."""
    return message.opened_at is not None or message.reply_at is not None or message.unsubscribed_at is not None


def is_cancellable(journey: Journey) -> bool:
    """Whether nothing of the message has left, or may have: it waits, or the operator has refused it for now."""
    return journey.message.delivery is Delivery.SUBMITTED and all(
        attempt.outcome is Outcome.POSTPONED and attempt.verdict is None for attempt in journey.attempts
    )


def receipt_wait_ms(message: Message) -> int:
    """How long after a submit a receipt is waited for: half as long again as the validity.

    48 h of validity give the contract's 72 h, and a short validity ends soon after the operator gave up.
    """
    return message.validity_ms + message.validity_ms // 2


def expires_at(message: Message) -> int:
    """End of validity: after it nothing of the message is submitted."""
    return message.due_at + message.validity_ms


def waits_until(message: Message, now: int) -> int | None:
    """When an undecided message may leave, if that is still to come: it is scheduled, or held (`held_by`)."""
    return message.due_at if message.delivery is Delivery.SUBMITTED and now < message.due_at else None


def overdue(
    journey: Journey, now: int, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None] = DOUBT_LASTS_MS
) -> list[Fact]:
    """The facts that the passing of time has made true by `now`; empty when the sweep came too early."""
    facts = [fact for fact in _deadlines(journey, doubt_lasts_ms) if fact.at <= now]
    for fact in facts:
        if isinstance(fact, TimedOut):
            return [TimedOut(now, fact.cause)]
    if facts and now >= expires_at(journey.message):
        # The sweep comes late, and what was to be sent again must not leave any more.
        return [TimedOut(now, "unknown")]
    return [DoubtEnded(fact.part, fact.attempt, now) for fact in facts if isinstance(fact, DoubtEnded)]


def next_wake(journey: Journey, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None] = DOUBT_LASTS_MS) -> int | None:
    """When the next deadline of this journey falls; None when it has none.

    At that time `overdue` gives a fact: a sweep never looks twice at the same message for nothing.
    """
    return min((fact.at for fact in _deadlines(journey, doubt_lasts_ms)), default=None)


def is_final(fact: Refused) -> bool:
    """Whether this refusal ends its part."""
    return fact.treatment is Treatment.PERMANENT or (fact.treatment is Treatment.ELSEWHERE and fact.next is None)


def next_elsewhere(attempts: Sequence[Attempt], connector: str, connectors: Sequence[str]) -> str | None:
    """Of these, best first, the one to try a part through that this connector will not take: none is asked again that
    has said so before. `attempts` are the part's."""
    tried = {connector, *(attempt.connector for attempt in attempts if attempt.treatment is Treatment.ELSEWHERE)}
    return next((other for other in connectors if other not in tried), None)


def via(attempts: Sequence[Attempt]) -> str | None:
    """The connector that a part which is to be sent again stays with, because another one will not take it."""
    refused = [attempt.connector for attempt in attempts if attempt.treatment is Treatment.ELSEWHERE]
    return attempts[-1].connector if refused and attempts[-1].connector not in refused else None


def back_off_ms(attempt: Attempt, refusals: int) -> int:
    """How long a part waits after a refusal "for now": 1 s doubling to 60 s, spread by ±25 %.

    `refusals` counts the part's temporary refusals so far, this one included; throttling and session
    faults are none, so that a throttled part is not held back longer each time: the connector slows down.
    The spread comes from the attempt's own key, so that a thousand parts refused together do not return
    together, and a test gets the same figure twice.
    """
    base = min(60_000, 1_000 << min(max(refusals - 1, 0), 6))
    spread = (attempt.message * 2654435761 + attempt.part * 40503) % 512 / 1024
    return int(base * (0.75 + spread))


# --- below: how it is done ---------------------------------------------------------------------------

_MEANS: Mapping[type[Fact], Happening] = {
    # What is not about one attempt, but for `Held`.
    TimedOut: Happening.TIMED_OUT,
    Barred: Happening.FAILED,
    Cancelled: Happening.CANCELLED,
    Clicked: Happening.CLICKED,
    Replied: Happening.REPLIED,
    Stopped: Happening.STOPPED,
}

_TIME_OF: Mapping[State, str] = {
    State.SUBMITTED: "accepted_at",
    State.SENT: "sent_at",
    State.DELIVERED: "delivered_at",
    State.BOUNCED: "bounced_at",
    State.ERROR: "error_at",
    State.OPENED: "opened_at",
    State.REPLY: "reply_at",
    State.UNSUBSCRIBED: "unsubscribed_at",
}

_REACHES: Mapping[Delivery, tuple[State, ...]] = {
    **{delivery: (state,) for delivery, state in PUBLIC.items()},
    # Sent is reached on the way when a receipt follows a time-out that came before any answer.
    Delivery.DELIVERED: (State.SENT, State.DELIVERED),
}

_FAILED = (Delivery.BOUNCED, Delivery.ERROR, Delivery.PRESUMED_LOST)

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

# By name, since Python 3.11 takes 180 ns to find a member of an Enum: what every life asks for.
_ACCEPTED, _IN_DOUBT, _PRESUMED_LOST = Outcome.ACCEPTED, Outcome.IN_DOUBT, Delivery.PRESUMED_LOST

_ANSWERABLE = (Outcome.PENDING, Outcome.IN_DOUBT, Outcome.RESENT)

_REVISABLE = (None, Verdict.EXPIRED)
"""A late receipt counts after none, and after one that proved nothing."""

_TRIED_AGAIN = (Outcome.POSTPONED, Outcome.RESENT)

_HANDED_OVER = (PartState.IN_FLIGHT, PartState.SENT, PartState.IN_DOUBT)


def _apply(journey: Journey, fact: Answered | Refused | DoubtBegan | DoubtEnded | ReceiptRead) -> list[Effect]:
    """Writes a fact about one attempt into that attempt; puts its part on the queue, or takes it off."""
    attempt = journey.attempt(fact.part, fact.attempt)
    if attempt is None:
        raise LookupError((journey.message.id, fact.part, fact.attempt))
    attempts = _attempts_of(journey, fact.part)
    was_queued = _is_queued(attempts)
    due_at = _write(attempt, attempts, fact)
    if _is_queued(attempts) == was_queued:
        return []
    if was_queued:
        return [Unqueue(fact.part)]
    if is_engaged(journey.message) and any(a.outcome is not Outcome.POSTPONED for a in attempts):
        # The recipient has shown that the message arrived, and this part may be what arrived.
        return []
    return [Requeue(fact.part, due_at, fact.next if isinstance(fact, Refused) and fact.next else via(attempts))]


def _write(
    attempt: Attempt,
    attempts: Sequence[Attempt],
    fact: Answered | Refused | DoubtBegan | DoubtEnded | ReceiptRead,
) -> int:
    """Changes the attempt as the fact says, and returns when its part may be sent again if it has to be."""
    match fact:
        case Answered():
            if attempt.outcome in _ANSWERABLE:
                attempt.outcome = _ACCEPTED
                attempt.status = 0
                attempt.carrier_id = fact.carrier_id
                attempt.answered_at = fact.at
        case Refused():
            return _refuse(attempt, attempts, fact)
        case DoubtBegan():
            if attempt.outcome is Outcome.PENDING:
                attempt.outcome = Outcome.IN_DOUBT
                attempt.answered_at = fact.at
        case DoubtEnded():
            if _doubtful(attempt):
                attempt.outcome = Outcome.RESENT
        case ReceiptRead():
            if fact.verdict is not None and attempt.verdict in _REVISABLE:
                attempt.verdict = fact.verdict
                attempt.verdict_at = fact.at
    return fact.at


def _refuse(attempt: Attempt, attempts: Sequence[Attempt], fact: Refused) -> int:
    if attempt.outcome is Outcome.RESENT and not fact.uncertain:
        # The late "no" settles the old doubt; its part is queued or sent again already.
        attempt.outcome = Outcome.POSTPONED
        attempt.status = fact.status
    if attempt.outcome not in (Outcome.PENDING, Outcome.IN_DOUBT):
        return fact.at
    attempt.status = fact.status
    attempt.answered_at = fact.at
    attempt.treatment = fact.treatment
    refusals = sum(a.treatment is Treatment.TEMPORARY for a in attempts)
    if is_final(fact) or refusals >= MAX_TEMPORARY_REFUSALS:
        attempt.outcome = Outcome.REFUSED
    else:
        # RESENT, not POSTPONED, where the operator's "no" does not prove that the message did not go out:
        # the next attempt is flagged, and a late receipt still counts.
        attempt.outcome = Outcome.RESENT if fact.uncertain else Outcome.POSTPONED
    return fact.at if fact.next else fact.at + back_off_ms(attempt, refusals)


def _happen(message: Message, happenings: Iterable[Happening], fact: Fact) -> list[Effect]:
    """Runs the table and stamps the times; returns an event for every public state newly reached."""
    effects: list[Effect] = []
    for happening in happenings:
        engagement = ENGAGEMENT.get(happening)
        if engagement is not None:
            effects += _reach(message, engagement, fact.at)
        elif not (happening in DISPROVED_BY_ENGAGEMENT and is_engaged(message)):
            target = TRANSITIONS.get((message.delivery, happening))
            if target is not None:
                effects += _enter(message, target, fact)
    return effects


def _enter(message: Message, target: Delivery, fact: Fact) -> list[Effect]:
    if message.delivery is _PRESUMED_LOST:
        # The error turned out not to be one: the fact log keeps it, the status does not.
        message.error_at = message.cause = None
    message.delivery = target
    effects: list[Effect] = []
    for state in _REACHES[target]:
        effects += _reach(message, state, fact.at)
    if target in _FAILED:
        message.cause = _cause(fact)
        if target is Delivery.BOUNCED:
            effects.append(ListBounce())
    return effects


def _reach(message: Message, state: State, at: int) -> list[Event]:
    if getattr(message, _TIME_OF[state]) is not None:
        return []
    setattr(message, _TIME_OF[state], at)
    return [Event(message.id, message.account, state, at)]


def _arm(journey: Journey, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None], *, requeued: bool) -> None:
    """Sets the next time the sweep has to look; only ever earlier than now set, so that a life that goes
    well costs one index entry and no update of it (the sweep itself moves it later, see `next_wake`)."""
    message = journey.message
    if message.delivery not in UNDECIDED or is_engaged(message):
        message.wake_at = None
    elif message.in_doubt or requeued:
        wakes = (message.wake_at, next_wake(journey, doubt_lasts_ms))
        message.wake_at = min((at for at in wakes if at is not None), default=None)


def _deadlines(journey: Journey, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None]) -> list[TimedOut | DoubtEnded]:
    """What time alone will bring if nothing happens before, each dated when it falls due."""
    message = journey.message
    if message.delivery not in UNDECIDED or is_engaged(message):
        return []
    deadlines: list[TimedOut | DoubtEnded] = []
    expires, lasts, handed_over = expires_at(message), doubt_lasts_ms[message.policy], 0
    for attempts in _by_part(journey):
        state = fold_part(attempts)
        if state is PartState.QUEUED:
            deadlines.append(TimedOut(expires, "expired"))
        elif state in _HANDED_OVER:
            handed_over = max(handed_over, _answered_or_claimed(attempts[-1]))
        for attempt in attempts:
            ends = _answered_or_claimed(attempt) + (lasts or 0)
            if lasts is not None and _doubtful(attempt) and ends < expires:
                deadlines.append(DoubtEnded(attempt.part, attempt.number, ends))
    if handed_over:
        deadlines.append(TimedOut(handed_over + receipt_wait_ms(message), "unknown"))
    return deadlines


def _cause(fact: Fact) -> str | None:
    match fact:
        case TimedOut() | Barred():
            return fact.cause
        case Cancelled():
            return CANCELLED
        case DoubtEnded():
            return "unknown"
        case Refused():
            return f"refused:{fact.status}"
        case ReceiptRead():
            return fact.detail
        case _:
            return None


def _attempts_of(journey: Journey, part: int) -> list[Attempt]:
    if journey.message.submits == 1:
        return journey.attempts
    return [attempt for attempt in journey.attempts if attempt.part == part]


def _by_part(journey: Journey) -> list[list[Attempt]]:
    if journey.message.submits == 1:
        return [journey.attempts]
    by_part: list[list[Attempt]] = [[] for _ in range(journey.message.submits)]
    for attempt in journey.attempts:
        by_part[attempt.part - 1].append(attempt)
    return by_part


def _in_charge(attempts: Sequence[Attempt]) -> bool:
    return any(attempt.outcome is Outcome.ACCEPTED or attempt.verdict is not None for attempt in attempts)


def _is_queued(attempts: Sequence[Attempt]) -> bool:
    return not attempts or (attempts[-1].outcome in _TRIED_AGAIN and fold_part(attempts) is PartState.QUEUED)


def _count_doubts(attempts: Sequence[Attempt]) -> int:
    count = 0
    for attempt in attempts:  # a loop: a generator costs three times as much, for what is nearly always one
        if attempt.outcome is _IN_DOUBT and attempt.verdict is None:
            count += 1
    return count


def _doubtful(attempt: Attempt) -> bool:
    return attempt.outcome is Outcome.IN_DOUBT and attempt.verdict is None


def _answered_or_claimed(attempt: Attempt) -> int:
    return attempt.answered_at or attempt.claimed_at


def _last_known(attempts: Sequence[Attempt]) -> int | None:
    return max((attempt.verdict_at or _answered_or_claimed(attempt) for attempt in attempts), default=None)


_FOLDED_ALONE = {
    (outcome, verdict): _fold([[Attempt(MessageId(0), 1, 1, "", 0, 0, 0, outcome=outcome, verdict=verdict)]])
    for outcome in Outcome
    for verdict in (None, *Verdict)
}
"""What nearly every message is, one part with one attempt, looked up."""
