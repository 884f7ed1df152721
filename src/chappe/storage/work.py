"""What the store does inside a write transaction, for every engine: batch first, and without I/O.

Each function is a generator: it yields the steps it needs (a named statement with the rows it is for), is sent the rows
that come back, and returns its results. An engine runs the steps its own way — a loop of point reads, or one statement
over arrays — in one transaction, so that reading, folding and saving cannot be torn apart, and the rules are written
once. Nothing here commits.

An engine may run several transactions at the same time. What keeps them apart: `journey_messages` locks the rows it
reads, in the order of their ids, before anything is folded; `find_answer` and `find_latest` lock what they find, absent
rows too; the rest is said by `lock`. All of it is held to the end of the transaction, and an engine with one writer has
nothing to do for it.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from chappe.core import hours, lifecycle, replies, rules
from chappe.core.campaigns import CampaignState, paused_route, public_id, read_public_id
from chappe.core.counts import Count, Tally
from chappe.core.deliveries import Deliveries
from chappe.core.lifecycle import Journey, ListBounce, Requeue, Unqueue
from chappe.core.limits import Limits
from chappe.core.message import (
    Accepted,
    Account,
    AccountId,
    Answered,
    Attempt,
    AttemptKey,
    AttemptReport,
    Barred,
    Cancellation,
    Cancelled,
    Delivery,
    DoubtBegan,
    DoubtEnded,
    Event,
    Fact,
    Family,
    Held,
    Holder,
    Inbound,
    InDoubtPolicy,
    Key,
    Message,
    MessageId,
    NotAccepted,
    OptOutScope,
    Outcome,
    PartState,
    ReceiptRead,
    ReceiptReport,
    Refused,
    Replied,
    Reply,
    Report,
    SendMessage,
    Settings,
    State,
    Stopped,
    Submission,
    TimedOut,
    Treatment,
    Verdict,
)
from chappe.core.numbers import PhoneNumber
from chappe.core.receipts import WEEK_MS, IdForm, form_of, id_forms
from chappe.core.routing import LIVE, VIA, Portion
from chappe.core.turns import NOBODY, Lane, Turns
from chappe.storage import allowances
from chappe.storage.live import Live
from chappe.storage.steps import Row, Steps, ask, lock, tell

log = logging.getLogger(__name__)

REPLY_PARTS_WAIT_MS = 600_000
"""After this an incomplete reply is delivered with what there is of it."""
DROPPED_AT_ONCE = 1_000
"""Old rows that one sweep removes from each table at most: its transaction stays short."""
IDEMPOTENCY_CONFLICT = 1006
BEFORE_RESTORE = "@restore"
"""In the place of the connector that may have sent a part after the backup was made; no operator can be called so."""


ROUNDS = 5
"""How often one claim takes again, when nothing of what it took may leave."""
LANES_JOINED_AT_ONCE = 1_000
"""Parts of one route and family that were queued for later and that one claim takes into their accounts' lanes."""
SHELVED_AT_ONCE = 2_000
"""Due parts among which one claim looks for more of a paused campaign."""


PARKING = "parking"
"""Locked by whoever parks a receipt alone, and by those who learn what one may be about together; before OPT_OUTS."""
OPT_OUTS = "opt-outs"
"""Locked by claims together, and alone by whoever adds an opt-out, or pauses or cancels a campaign: once that is
stored, no claim that has not seen it is still to be stored, so that nothing leaves after it."""


# --- records and rows --------------------------------------------------------------------------------

_FAMILIES, _POLICIES, _DELIVERIES = tuple(Family), tuple(InDoubtPolicy), tuple(Delivery)
_OUTCOMES, _TREATMENTS, _VERDICTS = tuple(Outcome), tuple(Treatment), tuple(Verdict)
STATES = tuple(State)
"""A stored state is its place here."""
_SUBMITTED = STATES.index(State.SUBMITTED)


def message_of(row: Row) -> Message:
    """A row of `message`, its columns in the order of the record's fields."""
    message = Message(*row)
    message.family = _FAMILIES[row[3]]
    message.test = bool(row[9])
    message.policy = _POLICIES[row[10]]
    message.delivery = _DELIVERIES[row[16]]
    return message


def attempt_of(row: Row) -> Attempt:
    """A row of `attempt`, likewise."""
    attempt = Attempt(*row)
    attempt.flagged = bool(row[7])
    attempt.outcome = _OUTCOMES[row[8]]
    attempt.treatment = None if row[9] is None else _TREATMENTS[row[9]]
    attempt.verdict = None if row[13] is None else _VERDICTS[row[13]]
    return attempt


def reply_of(row: Row) -> Reply:
    """A row of `reply`, likewise."""
    reply = Reply(*row)
    reply.complete = bool(row[8])
    return reply


def journey_of(rows: Sequence[Row]) -> Journey:
    """The rows of `find_journey`: the message beside each of its attempts, or beside nothing."""
    message = message_of(rows[0][:_MESSAGE_COLUMNS])
    return Journey(message, [attempt_of(row[_MESSAGE_COLUMNS:]) for row in rows if row[_MESSAGE_COLUMNS] is not None])


def account_of(row: Row) -> Account:
    id_, name, blocked, settings, limits = row
    return Account(AccountId(id_), name, bool(blocked), settings_of(settings), limits_of(limits))


@lru_cache(1_000)
def key_of(row: Row) -> Key:
    """A key, made anew only if its row or its account's is another one; nobody changes it in place."""
    id_, test, hint, created_at, revoked_at, *account = row
    return Key(id_, account_of(tuple(account)), bool(test), hint, created_at, revoked_at)


@lru_cache(1_000)
def settings_of(text: str) -> Settings:
    """An account's settings; read at each request, and hardly ever others. Nobody changes them in place."""
    return msgspec.json.decode(text, type=Settings)


@lru_cache(1_000)
def limits_of(text: str) -> Limits:
    """Likewise."""
    return msgspec.json.decode(text, type=Limits)


_MESSAGE_COLUMNS = len(fields(Message))


_ABOUT_ATTEMPTS = (Answered, Refused, DoubtBegan, DoubtEnded, ReceiptRead)


# --- the journeys of one transaction -----------------------------------------------------------------


class Workspace:
    """The journeys that a transaction has read, and what has changed in them since.

    However many facts a batch brings about one message, it is read once, folded in memory and written once.
    """

    def __init__(self, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None], live: Live | None = None) -> None:
        self.doubt_lasts_ms = doubt_lasts_ms
        self._live = live or Live(0)
        self._journeys: dict[MessageId, Journey] = {}
        self._wakes: dict[MessageId, int | None] = {}
        self._held: dict[MessageId, Message] = {}
        self._messages: dict[MessageId, Message] = {}
        self._attempts: dict[AttemptKey, Attempt] = {}
        self._facts: list[Row] = []
        self._queue: dict[tuple[MessageId, int], Row | None] = {}
        self._unqueue_all: set[MessageId] = set()
        self._listed: list[Row] = []
        self.opted_out: list[tuple[Message, int]] = []
        """Those whose recipient has just opted out, with the time; see `opt_out`."""
        self._refunds: list[Row] = []
        self._events: list[Row] = []
        self._forms: dict[tuple[str, IdForm], tuple[int, int]] = {}
        self._tally = Tally()

    def load(self, ids: Iterable[MessageId]) -> Steps[None]:
        """Reads the journeys that are not here yet; an id without a message stays absent."""
        wanted = []
        for id_ in sorted(set(ids) - self._journeys.keys()):
            known = self._live.find(id_)
            if known is None:
                wanted.append((id_,))
            else:
                self._begin(known)
        read = [Journey(message_of(row), []) for row in (yield from ask("journey_messages", wanted))]
        by_id = {journey.message.id: journey for journey in read}
        for row in (yield from ask("journey_attempts", wanted)):
            by_id[row[0]].attempts.append(attempt_of(row))
        for journey in read:
            self._live.keep(journey)
            self._begin(journey)

    def _begin(self, journey: Journey) -> None:
        message = journey.message
        self._journeys[message.id] = journey
        self._wakes[message.id] = message.wake_at
        self._tally.begin(journey)

    def find(self, id_: MessageId) -> Journey | None:
        return self._journeys.get(id_)

    def attempt(self, key: AttemptKey) -> Attempt | None:
        id_, part, number = key
        journey = self._journeys.get(id_)
        return None if journey is None else journey.attempt(part, number)

    def advance(self, id_: MessageId, fact: Fact) -> list[Event]:
        """Applies a fact to a journey that is here, logs it, and notes what follows from it."""
        journey = self._journeys[id_]
        message = journey.message
        attempt = journey.attempt(fact.part, fact.attempt) if isinstance(fact, _ABOUT_ATTEMPTS) else None
        seq, before = message.facts, _condition(message, attempt)
        effects = lifecycle.advance(journey, fact, self.doubt_lasts_ms)
        self._messages[id_] = message
        self._tally.touch(journey)
        changed = bool(effects) or before != _condition(message, attempt)
        if changed and isinstance(fact, DoubtBegan):
            self.count(message, Count.DOUBTS)
        self._facts.append((id_, seq, fact.at, type(fact).__name__, changed, _to_json(fact).decode()))
        if attempt is not None:
            self._attempts[id_, attempt.part, attempt.number] = attempt
        elif isinstance(fact, Held):
            self._held[id_] = message
        if isinstance(fact, Stopped) or (changed and isinstance(fact, ReceiptRead) and is_stop(fact)):
            self.opted_out.append((message, fact.at))
        if message.charged:
            self._give_credits_back(journey, fact.at)
        events = []
        for effect in effects:
            if isinstance(effect, Event):
                message.events += 1
                events.append(effect)
                self._events.append(_event_row(effect, message.events))
            else:
                self._note(message, effect, fact.at)
        return events

    def take(self, journey: Journey, attempt: Attempt) -> Row:
        """Adds a new attempt to its journey; returns its row, to be inserted by the caller."""
        at = sum((a.part, a.number) < (attempt.part, attempt.number) for a in journey.attempts)
        journey.attempts.insert(at, attempt)
        self._tally.touch(journey)
        if attempt.flagged:
            journey.message.resent += 1
            self._messages[journey.message.id] = journey.message
            self.count(journey.message, Count.RESENT)
        return (
            attempt.message,
            attempt.part,
            attempt.number,
            attempt.connector,
            attempt.epoch,
            attempt.claimed_at,
            attempt.reference,
            attempt.flagged,
        )

    def give_back(self, journey: Journey, attempt: Attempt, now: int) -> None:
        """Undoes `take`; the part goes back to where it was on the queue, if it still belongs there."""
        via = lifecycle.via([one for one in journey.attempts if one.part == attempt.part])
        journey.attempts.remove(attempt)
        self._tally.touch(journey)
        message = journey.message
        if attempt.flagged:
            message.resent -= 1
            self._messages[message.id] = message
            self.count(message, Count.RESENT, -1)
        if is_queued(journey, attempt.part):
            self.requeue(message, attempt.part, message.due_at, VIA + via if via else message.route)
        self._give_credits_back(journey, now)

    def requeue(self, message: Message, part: int, due_at: int, route: str) -> None:
        lane = NOBODY  # its account's once it is due
        self._queue[message.id, part] = (message.id, part, route, int(message.family), lane, due_at)

    def wake(self, message: Message) -> None:
        """Says that `wake_at` was moved by the caller."""
        self._messages[message.id] = message

    def save(self) -> Steps[None]:
        """Writes what has changed since the last save."""
        stay, move = [], []
        for message in self._messages.values():
            if message.wake_at == self._wakes[message.id]:
                stay.append(_update_of(message))
            else:
                move.append((message.wake_at, *_update_of(message)))
                self._wakes[message.id] = message.wake_at
        yield from tell("update_message", stay)
        yield from tell("update_message_and_wake", move)
        yield from tell(
            "update_due", [(message.due_at, message.held_by, message.id) for message in self._held.values()]
        )
        yield from tell("update_attempt", [_attempt_update_of(attempt) for attempt in self._attempts.values()])
        yield from tell("insert_fact", self._facts)
        yield from tell("unqueue_message", [(id_,) for id_ in sorted(self._unqueue_all)])
        yield from tell("unqueue_part", sorted(key for key, row in self._queue.items() if row is None))
        yield from tell("queue_part", [row for row in self._queue.values() if row is not None])
        yield from tell("insert_refund", self._refunds)
        yield from tell("uncharge_message", sorted((row[1],) for row in self._refunds))
        yield from tell("insert_entry", sorted(self._listed, key=lambda row: (*row[:4], row[9])))
        yield from tell("insert_deltas", [(*key, int(what), n) for key, what, n in self._tally.settle()])
        yield from tell("insert_event", self._events)
        for id_ in self._messages:
            self._live.keep(self._journeys[id_])
        lists = (self._facts, self._listed, self._refunds, self._events)
        for kept in (self._messages, self._held, self._attempts, self._queue, self._unqueue_all, *lists):
            kept.clear()

    def count(self, message: Message, what: Count, n: int = 1) -> None:
        """Counts what the journeys do not show."""
        self._tally.add(message, what, n)

    def learn_form(self, connector: str, given: str, reported: str, at: int) -> None:
        """Notes how a receipt wrote the id that an answer gave, unless it wrote it as it was."""
        form = form_of(given, reported)
        if form is not None and form is not IdForm.SAME:
            receipts, last_at = self._forms.get((connector, form), (0, at))
            self._forms[connector, form] = (receipts + 1, max(last_at, at))

    def save_forms(self) -> Steps[None]:
        """Last in a transaction: all those of one connector write the same row."""
        rows = sorted((connector, form.value, *counted) for (connector, form), counted in self._forms.items())
        yield from tell("count_form", rows)
        self._forms.clear()

    def list_number(self, message: Message, listing: rules.Listing, at: int, sender: str = "") -> None:
        """Puts the message's number on the account's list; with `sender` for what comes from that one only."""
        of = (message.id, message.category, message.campaign)
        self._listed.append((message.number, message.test, int(listing), message.account, True, *of, at, sender))

    def _give_credits_back(self, journey: Journey, at: int) -> None:
        """If it is over, and was never handed to an operator: what the counters do not call sent."""
        message = journey.message
        if message.charged and not journey.attempts and message.delivery not in lifecycle.UNDECIDED:
            self._refunds.append((message.account, message.id, message.charged, at))
            message.charged = 0

    def _note(self, message: Message, effect: Requeue | Unqueue | ListBounce, at: int) -> None:
        match effect:
            case Requeue(part, due_at, via):
                self.requeue(message, part, due_at, VIA + via if via else message.route)
            case Unqueue(None):
                self._unqueue_all.add(message.id)
                self._queue = {key: row for key, row in self._queue.items() if key[0] != message.id}
            case Unqueue(int(part)):
                self._queue[message.id, part] = None
            case ListBounce():
                self.list_number(message, rules.Listing.BOUNCED, at)


def _event_row(event: Event, sequence: int) -> Row:
    """`insert_event` writes with it what is to be delivered to the account's endpoints: see `webhooks`."""
    return (event.account, event.message, sequence, STATES.index(event.state), event.at)


def is_stop(report: ReceiptRead | ReceiptReport) -> bool:
    return report.verdict is Verdict.OPTED_OUT


def is_queued(journey: Journey, part: int) -> bool:
    """Whether this part is to be sent: not tried yet or to be tried again, and nothing has decided the message."""
    attempts = [attempt for attempt in journey.attempts if attempt.part == part]
    undecided = journey.message.delivery in lifecycle.UNDECIDED
    return undecided and lifecycle.fold_part(attempts) is PartState.QUEUED


def _condition(message: Message, attempt: Attempt | None) -> tuple[object, ...]:
    """What a fact can change without any effect: compared before and after, for the log."""
    of = () if attempt is None else (attempt.outcome, attempt.verdict)
    return (message.delivery, message.in_doubt, message.due_at, *of)


_to_json = msgspec.json.Encoder().encode


def _row_of(message: Message) -> Row:
    return (
        message.id,
        message.account,
        message.number,
        int(message.family),
        message.category,
        message.campaign,
        message.sender,
        message.text,
        message.parts,
        message.test,
        int(message.policy),
        message.route,
        message.accepted_at,
        message.due_at,
        message.validity_ms,
        message.previous,
        message.wake_at,
        message.held_by,
        message.charged,
        message.cut,
    )


def _update_of(message: Message) -> Row:
    return (
        int(message.delivery),
        message.sent_at,
        message.delivered_at,
        message.bounced_at,
        message.error_at,
        message.opened_at,
        message.reply_at,
        message.unsubscribed_at,
        message.cause,
        message.in_doubt,
        message.resent,
        message.facts,
        message.events,
        message.id,
    )


def _attempt_update_of(attempt: Attempt) -> Row:
    return (
        int(attempt.outcome),
        None if attempt.treatment is None else int(attempt.treatment),
        attempt.status,
        attempt.carrier_id,
        attempt.answered_at,
        None if attempt.verdict is None else int(attempt.verdict),
        attempt.verdict_at,
        attempt.message,
        attempt.part,
        attempt.number,
    )


# --- accept ------------------------------------------------------------------------------------------


def accept(sends: Sequence[SendMessage], live: Live | None = None) -> Steps[list[Accepted | NotAccepted]]:
    """See `ports.Sending.accept`. What is to leave at once, and not in its turn among thousands, is given `live`."""
    earlier = yield from _earlier_answers(sends)
    entries = yield from _list_entries({(send.number, send.test) for send in sends})
    allowed = yield from allowances.hold(sends)
    results: list[Accepted | NotAccepted | None] = [None] * len(sends)
    stored: list[tuple[int, SendMessage, int]] = []
    first_of: dict[tuple[AccountId, str], int] = {}
    for index, send in enumerate(sends):
        known = send.idempotency
        key = (send.account, known.key) if known else None
        if key in first_of:  # the same key twice in one batch: the second gets the first one's answer
            continue
        answer = earlier.get(key) if key else None
        if answer is not None and answer[2] > send.accepted_at - WEEK_MS:
            results[index] = _repeat(send, *answer[:2])
            continue
        code = _barred(entries[send.number, send.test], send)
        refusal = allowed.refuses(send) if code is None else NotAccepted(code)
        if refusal is not None:
            results[index] = refusal
            continue
        if key:
            first_of[key] = index
        stored.append((index, send, allowed.charge(send, len(stored))))
    ids = yield from _insert_messages([(send, charged) for _, send, charged in stored], live or Live(0))
    yield from allowances.book(allowed, [send for _, send, _ in stored], ids)
    for (index, send, _), id_ in zip(stored, ids, strict=True):
        results[index] = Accepted(id_, send.parts)
    for index, send in enumerate(sends):
        if results[index] is None and send.idempotency:
            first = first_of[send.account, send.idempotency.key]
            accepted = results[first]
            digest = sends[first].idempotency
            if isinstance(accepted, Accepted) and digest:
                results[index] = _repeat(send, digest.digest, accepted)
    return [result for result in results if result is not None]


_Answer: TypeAlias = tuple[bytes, Accepted, int]
"""A stored answer: the digest of the body it was for, what was answered, when."""


def _earlier_answers(sends: Sequence[SendMessage]) -> Steps[dict[tuple[AccountId, str] | None, _Answer]]:
    keys = sorted({(send.account, send.idempotency.key) for send in sends if send.idempotency})
    rows = yield from ask("find_answer", keys)
    return {(account, key): (digest, Accepted(id_, parts), at) for account, key, digest, id_, parts, at in rows}


def _repeat(send: SendMessage, digest: bytes, accepted: Accepted) -> Accepted | NotAccepted:
    same = send.idempotency is not None and send.idempotency.digest == digest
    return Accepted(accepted.id, accepted.parts, repeated=True) if same else NotAccepted(IDEMPOTENCY_CONFLICT)


def _list_entries(keys: Collection[tuple[str, bool]]) -> Steps[defaultdict[tuple[str, bool], list[rules.ListEntry]]]:
    entries: defaultdict[tuple[str, bool], list[rules.ListEntry]] = defaultdict(list)
    for number, test, account, listing, by_message, sender in (yield from ask("list_entries", sorted(keys))):
        entry = rules.ListEntry(account, rules.Listing(listing), bool(by_message), sender)
        entries[number, bool(test)].append(entry)
    return entries


def find_barred(sends: Sequence[SendMessage]) -> Steps[list[int | None]]:
    """See `ports.Campaigns.find_barred`."""
    entries = yield from _list_entries({(send.number, send.test) for send in sends})
    return [_barred(entries[send.number, send.test], send) for send in sends]


def _barred(entries: Sequence[rules.ListEntry], send: SendMessage) -> int | None:
    return rules.barred(
        entries,
        send.account,
        send.number,
        send.sender,
        test=send.test,
        exempt_from_optout=send.exempt_from_optout,
    )


def _insert_messages(sends: Sequence[tuple[SendMessage, int]], live: Live) -> Steps[list[MessageId]]:
    """Each with the credits that it holds."""
    if not sends:
        return []
    numbers = sorted({(send.number, send.account) for send, _ in sends})
    latest = {(number, account): id_ for number, account, id_ in (yield from ask("find_latest", numbers))}
    # Only now, with the numbers locked: so ids grow along each chain, whichever of two senders came first.
    blocks = yield from ask("take_ids", [(len(sends),)])
    ids = [MessageId(id_) for first, count in blocks for id_ in range(first, first + count)]
    messages, queue, links, answers, events = [], [], [], [], []
    for id_, (send, charged) in zip(ids, sends, strict=True):
        message = Message(
            id_,
            send.account,
            send.number,
            send.family,
            send.category,
            send.campaign,
            send.sender,
            send.text,
            send.parts,
            send.test,
            send.policy,
            send.route,
            send.accepted_at,
            send.due_at,
            send.validity_ms,
            latest.get((send.number, send.account)),
            wake_at=send.due_at + send.validity_ms,
            held_by=send.held_by,
            charged=charged,
            cut=send.cut,
        )
        messages.append(_row_of(message))
        if live.has_room:
            live.keep(Journey(message, []))
        latest[send.number, send.account] = id_
        lane = send.account if send.due_at <= send.accepted_at else NOBODY
        of = (send.route, int(send.family), lane, send.due_at)
        queue += [(id_, part, *of) for part in range(1, send.submits + 1)]
        links += [(link.token, id_, link.url, link.expires_at) for link in send.links]
        events.append((send.account, id_, 1, _SUBMITTED, send.accepted_at))
        if send.idempotency:
            known = send.idempotency
            answers.append((send.account, known.key, known.digest, id_, send.parts, send.accepted_at))
    yield from tell("insert_message", messages)
    yield from tell("queue_part", queue)
    yield from tell("upsert_latest", sorted((*key, id_) for key, id_ in latest.items()))
    yield from tell("insert_link", links)
    yield from tell("upsert_answer", answers)
    yield from tell("insert_event", events)
    return ids


# --- claim and release -------------------------------------------------------------------------------


def open_connector(work: Workspace, connector: str, now: int) -> Steps[int]:
    """See `ports.Sending.open_connector`."""
    yield from lock(f"connector {connector}")  # claims under way are stored before it is asked what is pending
    [(epoch,)] = yield from ask("next_epoch", [(connector,)])
    left = yield from ask("pending_attempts", [(connector,)])
    doubts = [AttemptReport(id_, DoubtBegan(part, number, now, "restart")) for id_, part, number in left]
    yield from settle(work, [doubts], now)
    return int(epoch)


def lease(work: Workspace, connector: str, holder: Holder, lease_ms: int, now: int) -> Steps[int | None]:
    """See `ports.Leasing.lease`. A lease that ran out is kept as well, as long as nobody has taken it."""
    [(now,)] = yield from ask("clock", [(now,)])
    kept = yield from ask("renew_lease", [(now + lease_ms, connector, holder.node, holder.start)])
    if kept:
        return int(kept[0][0])
    if (yield from _is_held(connector, holder, now)):
        return None  # without a lock: its holder may be asleep, and hold that as well
    yield from lock(f"connector {connector}")
    if (yield from _is_held(connector, holder, now)):
        return None
    epoch = yield from open_connector(work, connector, now)
    yield from tell("set_lease", [(holder.node, holder.start, now + lease_ms, connector)])
    return epoch


def _is_held(connector: str, holder: Holder, now: int) -> Steps[bool]:
    """Whether another node has a lease that lasts."""
    rows = yield from ask("find_lease", [(connector,)])
    return any(until > now and node != holder.node for node, until in rows)


def give_back(connector: str, holder: Holder) -> Steps[None]:
    """See `ports.Leasing.give_back`."""
    yield from tell("end_lease", [(connector, holder.node, holder.start)])


def beat(work: Workspace, holder: Holder, lease_ms: int, now: int) -> Steps[int]:
    """See `ports.Leasing.beat`."""
    [(now,)] = yield from ask("clock", [(now,)])
    yield from tell("upsert_node", [(holder.node, now)])
    for (connector,) in (yield from ask("abandoned_connectors", [(now - lease_ms,)])):
        yield from open_connector(work, connector, now)
    [(living,)] = yield from ask("count_nodes", [(now - lease_ms,)])
    return int(living)


def claim(
    work: Workspace, turns: Turns, connector: str, epoch: int, portions: Sequence[Portion], limit: int, now: int
) -> Steps[list[Submission]]:
    """See `ports.Sending.claim`."""
    yield from lock(f"connector {connector}", OPT_OUTS, alone=False)
    if (yield from ask("find_epoch", [(connector,)])) != [(epoch,)]:
        return []
    submissions: list[Submission] = []
    for _ in range(ROUNDS):
        taken = yield from _take_due(turns, connector, portions, limit, now)
        submissions = yield from _let_leave(work, connector, epoch, taken, now, may_hold=True)
        if submissions or not taken:
            break
    return submissions


_Taken: TypeAlias = tuple[int, MessageId, int, str]
"""(due_at, message, part, route) of a part that was on the queue."""


def _take_due(turns: Turns, connector: str, portions: Sequence[Portion], limit: int, now: int) -> Steps[list[_Taken]]:
    """Up to so many parts off the queue.

    A family at a time, in their order of precedence; of each, the accounts that wait have their turns. What one of them
    does not use of its turn is dealt among those who have used theirs.
    """
    taken: list[_Taken] = []
    portion_of = {of.route: of for of in portions}
    asked = [
        (route, int(family), turns.last(connector, family, route), now, limit + 1)
        for family in Family
        for route in portion_of
    ]
    waiting = yield from ask("find_waiting", asked)
    due = [(route, family, now, LANES_JOINED_AT_ONCE) for route, family, account in waiting if account == NOBODY]
    if due:
        yield from tell("join_lanes", due)
        waiting = yield from ask("find_waiting", asked)
    for family in Family:
        accounts: defaultdict[str, list[AccountId]] = defaultdict(list)
        for route, of_family, account in waiting:
            if of_family == family and account != NOBODY:
                accounts[route].append(AccountId(account))
        lanes = turns.lanes(connector, family, accounts)[:limit]
        while lanes and len(taken) < limit:
            rows, dealt = [], turns.deal(connector, family, lanes, limit - len(taken))
            for lane, most in dealt:
                of = portion_of[lane.route]
                rows.append((of.route, int(family), lane.account, now, now - of.patience_ms, of.first, of.last, most))
            parts = sorted((yield from ask("take_due", rows)))
            taken += [(due_at, MessageId(id_), part, route) for due_at, id_, part, route, _ in parts]
            used = Counter(Lane(route, AccountId(account)) for *_, route, account in parts)
            empty = {lane for lane, most in dealt if used[lane] < most}
            lanes = [lane for lane in lanes if lane not in empty]
    return taken


def _let_leave(
    work: Workspace,
    connector: str,
    epoch: int,
    taken: Sequence[_Taken],
    now: int,
    *,
    may_hold: bool,
) -> Steps[list[Submission]]:
    """Those of the parts that are to leave, each with its attempt."""
    yield from work.load(id_ for _, id_, *_ in taken)
    journeys = [(journey, part) for _, id_, part, _ in taken if (journey := work.find(id_)) is not None]
    messages = [journey.message for journey, _ in journeys]
    barred = yield from _opted_out(messages)
    held = (yield from _out_of_hours(messages, now)) if may_hold else {}
    withheld = (yield from _withheld(messages)) if may_hold else {}
    due_of = {(id_, part): due_at for due_at, id_, part, _ in taken}
    route_of = {(id_, part): route for _, id_, part, route in taken}
    submissions, rows, shelved = [], [], []
    for journey, part in journeys:
        message = journey.message
        if not is_queued(journey, part):
            continue
        state = withheld.get((message.account, message.campaign or ""))
        if state is not None and lifecycle.is_cancellable(journey):  # what has begun to leave goes on
            if state is CampaignState.PAUSED:
                shelved.append((journey, part))
            else:
                work.advance(message.id, Cancelled(now))
        elif message.id in barred:
            work.advance(message.id, Barred(now, "unsubscribed"))
        elif now >= lifecycle.expires_at(message):
            work.advance(message.id, TimedOut(now, "expired"))
        elif message.id in held:
            if message.due_at < held[message.id].until:  # else another part of it was met before
                work.advance(message.id, held[message.id])
            work.requeue(message, part, held[message.id].until, route_of[message.id, part])
        else:
            attempt = _next_attempt(journey, part, connector, epoch, now)
            rows.append(work.take(journey, attempt))
            submissions.append(
                Submission(
                    attempt,
                    message.number,
                    message.sender,
                    message.text,
                    message.parts,
                    lifecycle.expires_at(message),
                    message.cut,
                )
            )
    yield from tell("insert_attempt", rows)
    yield from work.save()
    yield from _shelve(shelved, due_of, now)
    return submissions


def _withheld(messages: Sequence[Message]) -> Steps[dict[tuple[AccountId, str], CampaignState]]:
    """The campaigns of these messages that are paused or cancelled."""
    named = {message.campaign for message in messages if message.campaign}
    ids = sorted({(id_,) for name in named if (id_ := read_public_id(name))})
    rows = yield from ask("find_withheld", ids)
    return {(AccountId(account), public_id(id_)): CampaignState(state) for id_, account, state in rows}


def _shelve(parts: Sequence[tuple[Journey, int]], due_of: Mapping[tuple[MessageId, int], int], now: int) -> Steps[None]:
    """Takes parts of paused campaigns out of the way of others, and with them what is due next of those campaigns."""
    rows, campaigns = [], set()
    for journey, part in parts:
        message = journey.message
        id_ = read_public_id(message.campaign or "")
        if id_:
            shelf = paused_route(id_)
            of = (int(message.family), message.account)
            rows.append((message.id, part, shelf, *of, due_of[message.id, part]))
            campaigns.add((shelf, message.route, *of, now, SHELVED_AT_ONCE, message.campaign))
    yield from tell("shelve_part", sorted(rows))
    yield from ask("shelve_due", sorted(campaigns))


def doubt_queued(work: Workspace, route: str, limit: int, now: int) -> Steps[int]:
    """See `ports.Holding.doubt_queued`. A campaign that was paused may have been resumed after the backup."""
    unshelved = yield from ask("unshelve_all", [(limit,)])
    taken = yield from _take_due(Turns(), BEFORE_RESTORE, [Portion(route)], limit, now)
    submissions = yield from _let_leave(work, BEFORE_RESTORE, 0, taken, now, may_hold=False)
    keys = [submission.key for submission in submissions]
    doubts = [AttemptReport(id_, DoubtBegan(part, number, now, "restore")) for id_, part, number in keys]
    yield from settle(work, [doubts], now)
    return max(len(taken), len(unshelved))


def hold(on: bool, now: int) -> Steps[None]:
    """See `ports.Holding.hold`."""
    yield from tell(*(("set_hold", [(now,)]) if on else ("end_hold", [()])))


def release(work: Workspace, keys: Sequence[AttemptKey], now: int) -> Steps[None]:
    """See `ports.Sending.release`."""
    yield from work.load(key[0] for key in keys)
    gone = []
    for key in keys:
        journey, attempt = work.find(key[0]), work.attempt(key)
        if journey is not None and attempt is not None and attempt.outcome is Outcome.PENDING:
            work.give_back(journey, attempt, now)
            gone.append(key)
    yield from tell("delete_attempt", gone)
    yield from work.save()


def cancel(work: Workspace, account: AccountId, message: MessageId, now: int) -> Steps[Cancellation]:
    """See `ports.Sending.cancel`."""
    yield from work.load([message])
    journey = work.find(message)
    if journey is None or journey.message.account != account:
        return Cancellation.ABSENT
    if journey.message.cause == lifecycle.CANCELLED:
        return Cancellation.DONE
    if not lifecycle.is_cancellable(journey):
        return Cancellation.TOO_LATE
    work.advance(message, Cancelled(now))
    yield from work.save()
    return Cancellation.DONE


def _next_attempt(journey: Journey, part: int, connector: str, epoch: int, now: int) -> Attempt:
    before = [attempt for attempt in journey.attempts if attempt.part == part]
    message, number = journey.message.id, len(before) + 1
    return Attempt(
        message,
        part,
        number,
        connector,
        epoch,
        now,
        # Spread over the 16 bits of user_message_reference; the same again for the same attempt.
        reference=(message * 31 + part * 7 + number) & 0xFFFF,
        flagged=any(attempt.outcome is Outcome.RESENT for attempt in before),
    )


def _opted_out(messages: Sequence[Message]) -> Steps[set[MessageId]]:
    """Those whose recipient has written STOP to the account since they were accepted."""
    entries = yield from _list_entries({(message.number, message.test) for message in messages})
    listed = [message for message in messages if entries[message.number, message.test]]
    accounts = sorted({(message.account,) for message in listed if message.family is Family.NOTIFICATION})
    settings = {id_: settings_of(text) for id_, text in (yield from ask("account_settings", accounts))}
    return {
        message.id
        for message in listed
        if rules.barred(
            entries[message.number, message.test],
            message.account,
            message.number,
            message.sender,
            test=message.test,
            exempt_from_optout=message.account in settings
            and message.family is Family.NOTIFICATION
            and settings[message.account].notify_opted_out,
        )
        == rules.OPTED_OUT
    }


def _out_of_hours(messages: Sequence[Message], now: int) -> Steps[dict[MessageId, Held]]:
    """Live marketing whose hours have closed since it was due: an operator was away, or the queue is long."""
    closed = [
        message
        for message in messages
        if message.family is Family.MARKETING
        and not message.test
        and not hours.open_for_all(now, PhoneNumber(message.number))
    ]
    accounts = sorted({(message.account,) for message in closed})
    settings = {id_: settings_of(text) for id_, text in (yield from ask("account_settings", accounts))}
    held = {}
    for message in closed:
        chosen, number = settings[message.account], PhoneNumber(message.number)
        until, by = hours.release(chosen, message.family, number, now, test=message.test)
        if by is not None:
            held[message.id] = Held(now, until, by)
    return held


# --- settle ------------------------------------------------------------------------------------------


def settle(
    work: Workspace, jobs: Sequence[Sequence[Report]], now: int, deliveries: Deliveries | None = None
) -> Steps[list[list[Event]]]:
    """See `ports.Sending.settle`; returns each job's events. `deliveries` are told what it learns.

    Answers and doubts come first, so that a receipt of the same batch finds the id that it is about.
    """
    events: list[list[Event]] = [[] for _ in jobs]
    answers = [
        (job, report) for job, reports in enumerate(jobs) for report in reports if isinstance(report, AttemptReport)
    ]
    receipts = [
        (job, report) for job, reports in enumerate(jobs) for report in reports if isinstance(report, ReceiptReport)
    ]
    known = yield from known_ids([report for _, report in receipts], now)
    unknown = any((report.connector, report.carrier_id) not in known for _, report in receipts)
    if answers or unknown:
        # A receipt may be parked while nobody else learns an id or a doubt, so that none is left behind.
        yield from lock(PARKING, alone=unknown)
    parked = (yield from ask("any_parked", [()])) if answers else []
    if any(is_stop(report) for _, report in receipts) or any(has_stop for (has_stop,) in parked):
        yield from lock(OPT_OUTS)  # before any row is, as in `receive`
    # All at once, and so in the order of their ids, those that receipts are about too.
    yield from work.load([report.message for _, report in answers] + [key[0] for key in known.values()])
    learnt: list[tuple[int, AttemptKey, Attempt]] = []
    for job, report in answers:
        fact = report.fact
        key = (report.message, fact.part, fact.attempt)
        attempt = work.attempt(key)
        if attempt is None:
            log.warning("answer for an attempt that is not stored", extra={"message_id": report.message})
            continue
        if isinstance(fact, Refused) and report.elsewhere:
            _send_elsewhere(work, report.message, fact, attempt.connector, report.elsewhere)
        events[job] += work.advance(report.message, fact)
        learnt.append((job, key, attempt))
        if deliveries is not None:
            if isinstance(fact, Answered):
                deliveries.answered(attempt.connector, attempt.claimed_at, fact.at)
            elif isinstance(fact, Refused):
                deliveries.refused(attempt.connector, attempt.claimed_at, fact.status)
    matched = (yield from _unpark(work, learnt, now)) if parked else []
    matched += yield from _match(work, receipts, known, learnt, now)
    yield from work.load(key[0] for _, key, _ in matched)
    for job, key, receipt in matched:
        message, part, number = key
        attempt = work.attempt(key)
        if attempt is None:
            log.warning("receipt for a message that is not stored any more", extra={"message_id": message})
            continue
        was_open = attempt.verdict is None
        events[job] += work.advance(message, _read(receipt, part, number))
        if deliveries is not None and was_open and attempt.verdict is not None:
            failure = None if attempt.verdict is Verdict.DELIVERED else receipt.detail
            deliveries.ended(attempt.connector, attempt.claimed_at, receipt.at, failure)
        if work.opted_out:
            events[job] += yield from opt_out(work)
    yield from work.save()
    yield from tell(
        "insert_carrier",
        [
            (attempt.connector, attempt.carrier_id, attempt.answered_at, *key)
            for _, key, attempt in learnt
            if attempt.outcome is Outcome.ACCEPTED and attempt.carrier_id
        ],
    )
    yield from work.save_forms()
    return events


def _read(receipt: ReceiptReport, part: int, number: int) -> ReceiptRead:
    return ReceiptRead(part, number, receipt.at, receipt.verdict, receipt.detail, receipt.asked)


def _send_elsewhere(
    work: Workspace, id_: MessageId, fact: Refused, connector: str, elsewhere: Mapping[str, Sequence[str]]
) -> None:
    """Says in the fact which connector is to be tried instead, if one of the route is left. What takes a route that has
    no table any more takes it as LIVE's."""
    journey = work.find(id_)
    if journey is not None and fact.treatment is Treatment.ELSEWHERE:
        attempts = [attempt for attempt in journey.attempts if attempt.part == fact.part]
        others = elsewhere.get(journey.message.route, elsewhere.get(LIVE, ()))
        fact.next = lifecycle.next_elsewhere(attempts, connector, others)


_Match: TypeAlias = tuple[int, AttemptKey, ReceiptReport]
"""(job, the attempt it is about, receipt)."""

_Ids: TypeAlias = dict[tuple[str, str], AttemptKey]
"""(connector, operator's id) → the attempt."""


def known_ids(reports: Sequence[ReceiptReport], now: int) -> Steps[_Ids]:
    wanted = sorted({(report.connector, report.carrier_id, now - WEEK_MS) for report in reports})
    rows = yield from ask("find_carrier", wanted)
    return {(connector, carrier_id): key_of_attempt(columns) for connector, carrier_id, *columns in rows}


def _match(
    work: Workspace,
    receipts: Sequence[tuple[int, ReceiptReport]],
    known: _Ids,
    learnt: Sequence[tuple[int, AttemptKey, Attempt]],
    now: int,
) -> Steps[list[_Match]]:
    """Finds each receipt's attempt: by its id, by another form of it, by its reference. The rest is parked."""
    ids = known | {(attempt.connector, attempt.carrier_id): key for _, key, attempt in learnt if attempt.carrier_id}
    left = [report for _, report in receipts if (report.connector, report.carrier_id) not in ids]
    if not left:
        return [(job, ids[report.connector, report.carrier_id], report) for job, report in receipts]
    ids |= yield from known_ids(left, now)  # learnt by others before we had the lock
    left = [report for report in left if (report.connector, report.carrier_id) not in ids]
    by_form = yield from _match_forms(work, left, learnt, now - WEEK_MS)
    left = [report for report in left if id(report) not in by_form]
    by_reference = yield from _match_references(work, left)
    yield from learn_ids([(by_reference[id(report)], report) for report in left if id(report) in by_reference], now)
    matched: list[_Match] = []
    parked: list[Row] = []
    for job, report in receipts:
        key = ids.get((report.connector, report.carrier_id)) or by_form.get(id(report)) or by_reference.get(id(report))
        if key is not None:
            matched.append((job, key, report))
        else:
            parked.append(_parked_row(report))
    yield from tell("insert_parked", parked)
    return matched


def _match_forms(
    work: Workspace,
    reports: Sequence[ReceiptReport],
    learnt: Sequence[tuple[int, AttemptKey, Attempt]],
    since: int,
) -> Steps[dict[int, AttemptKey]]:
    """By another spelling of the id, when the number agrees: an operator that answers in hex and reports in decimal."""
    forms = {
        (report.connector, form, report.number)
        for report in reports
        if report.number is not None
        for form in id_forms(report.carrier_id)
    }
    rows = yield from ask("find_carrier_of_number", sorted((*form, since) for form in forms))
    found = {(connector, form, number): key_of_attempt(columns) for connector, form, number, *columns in rows}
    for _, key, attempt in learnt:
        journey = work.find(key[0])
        if attempt.carrier_id is not None and journey is not None:
            found[attempt.connector, attempt.carrier_id, journey.message.number] = key
    usual = yield from learnt_forms({report.connector for report in reports if found})
    matches: dict[int, AttemptKey] = {}
    for report in reports:
        forms_of_it = id_forms(report.carrier_id) if report.number is not None else ()
        of_number = [form for form in forms_of_it if (report.connector, form, report.number) in found]
        learnt_form = usual.get(report.connector)
        # The form that its receipts have mostly come in before, then the likeliest: `sort` leaves equals in order.
        of_number.sort(key=lambda form: form_of(form, report.carrier_id) is not learnt_form)
        if of_number:
            matches[id(report)] = found[report.connector, of_number[0], report.number or ""]
            work.learn_form(report.connector, of_number[0], report.carrier_id, report.at)
    return matches


def learnt_forms(connectors: Collection[str]) -> Steps[dict[str, IdForm]]:
    """The form that most of a connector's receipts were in which did not write the id as it was given."""
    rows = yield from ask("find_form", [(connector,) for connector in sorted(connectors)])
    return {connector: IdForm(form) for connector, form in rows}


def _match_references(work: Workspace, reports: Sequence[ReceiptReport]) -> Steps[dict[int, AttemptKey]]:
    """By user_message_reference, among the doubts of that connector with that number, when exactly one fits."""
    wanted = {
        id(report): (report.connector, report.reference, report.number)
        for report in reports
        if report.reference is not None and report.number is not None
    }
    if not wanted:
        return {}
    yield from work.save()  # doubts that began or ended in this batch count
    doubts = yield from _doubts(set(wanted.values()))
    return {report: doubts[by][0] for report, by in wanted.items() if len(doubts[by]) == 1}


def learn_ids(matches: Iterable[tuple[AttemptKey, ReceiptReport]], now: int) -> Steps[None]:
    """A receipt that found its attempt by reference tells the id that the lost answer carried.

    The doubt is over with the first verdict, so what else the operator says is found by that id.
    """
    rows = {(report.connector, report.carrier_id, now, *key) for key, report in matches if report.carrier_id}
    yield from tell("insert_carrier", sorted(rows))


_DoubtKey: TypeAlias = tuple[str, int, str]
"""(connector, user_message_reference, number)."""


def _doubts(wanted: Collection[_DoubtKey]) -> Steps[defaultdict[_DoubtKey, list[AttemptKey]]]:
    """The attempts in doubt that fit."""
    doubts: defaultdict[_DoubtKey, list[AttemptKey]] = defaultdict(list)
    for connector, reference, number, *key in (yield from ask("find_doubts", sorted(wanted))):
        doubts[connector, reference, number].append(key_of_attempt(key))
    return doubts


def _unpark(work: Workspace, learnt: Sequence[tuple[int, AttemptKey, Attempt]], now: int) -> Steps[list[_Match]]:
    """The receipts that came before what this batch has learnt: an operator's id, or that an answer will not come."""
    if not learnt:
        return []
    since = now - WEEK_MS
    answered = [entry for entry in learnt if entry[2].outcome is Outcome.ACCEPTED and entry[2].carrier_id]
    doubted = [entry for entry in learnt if entry[2].outcome is Outcome.IN_DOUBT]
    wanted: dict[tuple[str, str], tuple[int, AttemptKey, Attempt, bool]] = {}
    for job, key, attempt in answered:
        carrier_id = attempt.carrier_id or ""
        for form in id_forms(carrier_id):
            wanted.setdefault((attempt.connector, form), (job, key, attempt, False))
        wanted[attempt.connector, carrier_id] = (job, key, attempt, True)
    rows = yield from ask("find_parked", sorted((*by, since) for by in wanted))
    matched: dict[int, _Match] = {}
    for row in rows:
        job, key, attempt, exact = wanted[row[1], row[2]]
        report = parked_report(row)
        journey = work.find(key[0])
        if exact or (journey is not None and journey.message.number == report.number):
            matched[row[0]] = (job, key, report)
            work.learn_form(report.connector, attempt.carrier_id or "", report.carrier_id, report.at)
    if doubted:
        yield from _unpark_doubted(work, doubted, now, matched)
    yield from tell("delete_parked", [(row_id,) for row_id in sorted(matched)])
    return [matched[row_id] for row_id in sorted(matched)]


def _unpark_doubted(
    work: Workspace,
    doubted: Sequence[tuple[int, AttemptKey, Attempt]],
    now: int,
    matched: dict[int, _Match],
) -> Steps[None]:
    yield from work.save()
    by: dict[AttemptKey, _DoubtKey] = {
        key: (attempt.connector, attempt.reference, journey.message.number)
        for _, key, attempt in doubted
        if (journey := work.find(key[0])) is not None
    }
    doubts = yield from _doubts(set(by.values()))
    alone = {by[key]: (job, key) for job, key, _ in doubted if doubts[by[key]] == [key]}
    rows = yield from ask("find_parked_by_reference", sorted((*wanted, now - WEEK_MS) for wanted in alone))
    found: list[tuple[AttemptKey, ReceiptReport]] = []
    for row in rows:
        report = parked_report(row)
        job, key = alone[report.connector, report.reference or 0, report.number or ""]
        matched[row[0]] = (job, key, report)
        found.append((key, report))
    yield from learn_ids(found, now)


def _parked_row(report: ReceiptReport) -> Row:
    verdict = None if report.verdict is None else int(report.verdict)
    return (
        report.connector,
        report.carrier_id,
        report.at,
        verdict,
        report.detail,
        report.reference,
        report.number,
        report.raw,
    )


def parked_report(row: Row) -> ReceiptReport:
    """A row of `parked`, its columns in the order of the record's fields after the row's id."""
    report = ReceiptReport(*row[1:])
    report.verdict = None if row[4] is None else _VERDICTS[row[4]]
    return report


def key_of_attempt(columns: Sequence[Any]) -> AttemptKey:
    message, part, number = columns
    return (MessageId(message), part, number)


# --- sweep -------------------------------------------------------------------------------------------


def sweep(work: Workspace, now: int, limit: int) -> Steps[tuple[int, list[Event]]]:
    """See `ports.Sending.sweep`."""
    events: list[Event] = []
    groups = yield from ask("overdue_replies", [(now - REPLY_PARTS_WAIT_MS, limit)])
    if groups:
        yield from lock(OPT_OUTS)  # one may be a STOP; before any message is locked, as in `receive`
    for group in groups:
        _, told = yield from _finish(work, _Group(*group), now, complete=False)
        events += told
    overdue = [MessageId(id_) for (id_,) in (yield from ask("overdue_messages", [(now, limit)]))]
    yield from work.load(overdue)
    for id_ in overdue:
        journey = work.find(id_)
        if journey is None:
            continue
        for fact in lifecycle.overdue(journey, now, work.doubt_lasts_ms):
            events += work.advance(id_, fact)
        journey.message.wake_at = lifecycle.next_wake(journey, work.doubt_lasts_ms)
        work.wake(journey.message)
    yield from work.save()
    yield from tell("drop_carriers", [(DROPPED_AT_ONCE, now - WEEK_MS)])
    yield from tell("drop_parked", [(DROPPED_AT_ONCE, now - WEEK_MS)])
    yield from tell("drop_answers", [(now - WEEK_MS, DROPPED_AT_ONCE)])
    yield from tell("drop_written", [(now, DROPPED_AT_ONCE)])
    yield from tell("drop_reply_parts", [(now - REPLY_PARTS_WAIT_MS, DROPPED_AT_ONCE)])
    return len(overdue), events


# --- what recipients do ------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class _Group:
    """The parts of one incoming long message."""

    connector: str
    number: str
    recipient: str
    reference: int
    total: int


def receive(work: Workspace, inbound: Sequence[Inbound], now: int) -> Steps[tuple[list[Reply], list[Event]]]:
    """See `ports.Engaging.receive`; with it the public states that the replies brought about."""
    whole: list[Reply] = []
    events: list[Event] = []
    if any(message.total > 1 or replies.recognise(replies.join([message])) == "STOP" for message in inbound):
        yield from lock(OPT_OUTS)  # before any row is: claims wait for this, too
    for message in inbound:
        if message.total <= 1:
            reply, told = yield from _conclude(work, [message], complete=True)
        else:
            group = _Group(message.connector, message.number, message.recipient, message.reference, message.total)
            yield from lock("reply " + "|".join(map(str, _columns(group))))
            cut_short = yield from _make_room(work, group, message, now)
            if cut_short is not None:
                whole.append(cut_short[0])
                events += cut_short[1]
            yield from tell(
                "insert_reply_part",
                [(*_columns(group), message.sequence, message.octets, message.data_coding, message.at)],
            )
            [(arrived, joined)] = yield from ask("count_reply_parts", [_columns(group)])
            if arrived < message.total or joined:
                continue
            reply, told = yield from _finish(work, group, now, complete=True)
        whole.append(reply)
        events += told
    return whole, events


def _make_room(work: Workspace, group: _Group, part: Inbound, now: int) -> Steps[tuple[Reply, list[Event]] | None]:
    """Lets a part begin another message under a reference that was used before: phones count to 255, or not at all.

    The same octets again are a part that the operator sends twice. Others, or the same long afterwards, are another
    message: the one before them, if it never became whole, ends with what there is of it.
    """
    rows = yield from ask("find_reply_part", [(*_columns(group), part.sequence)])
    if not rows:
        return None
    octets, joined_at = rows[0]
    if octets == part.octets and (joined_at is None or now < joined_at + REPLY_PARTS_WAIT_MS):
        return None
    cut_short = None
    if joined_at is None:
        cut_short = yield from _finish(work, group, now, complete=False)
    yield from tell("forget_reply_parts", [_columns(group)])
    return cut_short


def _finish(work: Workspace, group: _Group, now: int, *, complete: bool) -> Steps[tuple[Reply, list[Event]]]:
    """Joins a long message from its parts. They stay, marked, until the sweep: the operator may send one again."""
    rows = yield from ask("reply_parts", [_columns(group)])
    parts = [
        Inbound(
            group.connector, group.number, group.recipient, at, octets, coding, group.reference, group.total, sequence
        )
        for sequence, octets, coding, at in rows
    ]
    yield from tell("mark_reply_parts", [(now, *_columns(group))])
    return (yield from _conclude(work, parts, complete=complete))


def _conclude(work: Workspace, parts: Sequence[Inbound], *, complete: bool) -> Steps[tuple[Reply, list[Event]]]:
    """Stores a whole incoming message, ties it to what it answers and lets it take effect."""
    first, at = parts[0], max(part.at for part in parts)
    text = replies.join(parts).replace("\0", "\N{SYMBOL FOR NULL}")  # PostgreSQL's text cannot hold NUL
    keyword = replies.recognise(text)
    rows = yield from ask("find_answered", [(first.number, first.connector, first.recipient)])
    message_id, account = (rows[0][0], rows[0][1]) if rows else (None, None)
    journey: Journey | None = None
    if message_id is not None:
        queued = (yield from ask("find_queued", [(first.number, account)])) if keyword == "STOP" else []
        yield from work.load([message_id, *(id_ for (id_,) in queued)])  # at once, and so in the order of their ids
        journey = work.find(message_id)
    of: Row = (False, None, None)
    if journey is not None:
        of = (journey.message.test, journey.message.category, journey.message.campaign)
    row = (account, first.number, first.recipient, text, keyword, at, message_id, complete, first.connector, *of)
    [(reply_id,)] = yield from ask("insert_reply", [row])
    if account is not None:
        yield from tell("tell_reply", [(reply_id, at, account, message_id, of[0])])
    events: list[Event] = []
    if journey is not None:
        message = journey.message
        events = work.advance(message.id, Stopped(at) if keyword == "STOP" else Replied(at))
        if keyword == "STOP":
            events += yield from opt_out(work)
        elif keyword == "START":
            sender = yield from _scope(message)
            yield from tell("end_opt_out", [(message.number, message.account, message.test, sender)])
        yield from work.save()
    return Reply(reply_id, account, first.number, first.recipient, text, keyword, at, message_id, complete), events


def opt_out(work: Workspace) -> Steps[list[Event]]:
    """Lists those who have just opted out, and bars what waits for them, so that its status says so at once.

    What is accepted at this very moment, or lies deeper than `find_queued` looks, is barred by the claim.
    """
    events: list[Event] = []
    opted_out, work.opted_out = work.opted_out, []
    for message, at in opted_out:
        sender = yield from _scope(message)
        work.list_number(message, rules.Listing.UNSUBSCRIBED, at, sender or "")
        yield from work.save()
        queued = yield from ask("find_queued", [(message.number, message.account)])
        yield from work.load(id_ for (id_,) in queued)
        waiting = [journey.message for (id_,) in queued if (journey := work.find(id_)) is not None]
        barred = yield from _opted_out([one for one in waiting if not lifecycle.is_engaged(one)])
        for id_ in sorted(barred):
            events += work.advance(id_, Barred(at, "unsubscribed"))
    return events


def _scope(message: Message) -> Steps[str | None]:
    """What a STOP or START that answers this message is about: a sender, or with None the account's messages."""
    [(_, settings)] = yield from ask("account_settings", [(message.account,)])
    of_sender = settings_of(settings).optout_scope is OptOutScope.SENDER
    return message.sender or "" if of_sender else None


def _columns(group: _Group) -> tuple[str, str, str, int, int]:
    return (group.connector, group.number, group.recipient, group.reference, group.total)


# --- accounts and keys -------------------------------------------------------------------------------


def open_account(name: str, now: int) -> Steps[Account]:
    """See `ports.Keys.open_account`."""
    [row] = yield from ask("open_account", [(name, now)])
    return account_of(row)


def create_key(account: AccountId, digest: bytes, test: bool, hint: str, now: int) -> Steps[Key]:
    """See `ports.Keys.create_key`."""
    [(id_,)] = yield from ask("insert_key", [(account, digest, test, hint, now)])
    [row] = yield from ask("find_account_by_id", [(account,)])
    return Key(id_, account_of(row), test, hint, now, None)


def revoke_key(key: int, now: int) -> Steps[bool]:
    """See `ports.Keys.revoke_key`."""
    return bool((yield from ask("revoke_key", [(now, key)])))
