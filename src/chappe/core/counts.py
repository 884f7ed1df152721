"""What is counted about messages, and how a transaction's changes become additions to the counters.

A counter counts messages that have reached something for the first time, however often it comes again. What a message
adds is a function of its journey alone (`reached`), so that counters and rows cannot disagree: a transaction adds the
difference between what it read and what it stores, and takes back what is not so any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from chappe.core.lifecycle import Journey
from chappe.core.limits import DAY_MS
from chappe.core.message import Message, MessageId


class Count(IntEnum):
    """What is counted. The contract, section 5."""

    SENT = 0
    """Handed to an operator: a first attempt was made; not any more when its claim was released."""
    CREDITS = 1
    """Parts of what was sent."""
    SUBMITTED = 2
    """An operator took charge of it."""
    DELIVERED = 3
    BOUNCED = 4
    ERRORS = 5
    """Failed after it was sent; not any more when a late receipt says delivered. What never left is not among them:
    bounced and errors together are what was sent and not delivered."""
    OPENS = 6
    """Clicks of people on tracked links, each of them."""
    OPENERS = 7
    """Messages with such a click."""
    REPLIES = 8
    UNSUBSCRIBERS = 9
    DOUBTS = 10
    """Submits that were in doubt, each of them, whatever became known of them later."""
    RESENT = 11
    """Submits that may have doubled an earlier one, each of them; not any more when their claim was released."""
    NEVER_LEFT = 20
    """Ended before it was handed to an operator: cancelled, barred, or expired while it waited."""


class Scope(IntEnum):
    """What a total is of; by a name, but for the account's own."""

    ACCOUNT = 0
    CATEGORY = 1
    CAMPAIGN = 2


Counts: TypeAlias = Mapping[Count, int]


class CounterKey(NamedTuple):
    """What is counted together; a name is empty where the message has none."""

    account: int
    test: bool
    family: int
    category: str
    campaign: str
    day: int
    """The day in UTC on which the messages were accepted, not that of the fact: so a message's counts stand in one
    place, can be taken back, and are found again by counting the rows."""


def reached(journey: Journey) -> int:
    """What this message adds one to, as bits at the places of `Count`."""
    message = journey.message
    bits = 0
    if journey.attempts:
        bits = _SENT
        if message.sent_at is not None:
            bits |= _SUBMITTED
        if message.delivered_at is not None:
            bits |= _DELIVERED
        if message.bounced_at is not None:
            bits |= _BOUNCED
        if message.error_at is not None:
            bits |= _ERRORS
    elif message.error_at is not None:
        bits = _NEVER_LEFT
    if message.opened_at is not None:
        bits |= _OPENERS
    if message.reply_at is not None:
        bits |= _REPLIES
    if message.unsubscribed_at is not None:
        bits |= _UNSUBSCRIBERS
    return bits


@lru_cache(1_000)
def counts_of(bits: int, parts: int) -> Counts:
    """The same as numbers, with the credits that go with what was sent."""
    counts: dict[Count, int] = {count: 1 for count in _ONCE if bits >> count & 1}
    if Count.SENT in counts:
        counts[Count.CREDITS] = parts
    return counts


class Tally:
    """What one transaction adds to the counters.

    Most messages of a batch go the same step, so steps are counted first and turned into counts afterwards.
    """

    def __init__(self) -> None:
        self._before: dict[MessageId, int] = {}
        self._touched: dict[MessageId, Journey] = {}
        self._added: defaultdict[tuple[CounterKey, Count], int] = defaultdict(int)

    def begin(self, journey: Journey) -> None:
        """Remembers the journey as it is stored."""
        self._before[journey.message.id] = reached(journey)

    def touch(self, journey: Journey) -> None:
        """It may have changed since."""
        self._touched[journey.message.id] = journey

    def add(self, message: Message, count: Count, n: int = 1) -> None:
        """Counts what the journey does not show."""
        self._added[CounterKey(*_columns(message)), count] += n

    def settle(self) -> list[tuple[CounterKey, Count, int]]:
        """What has to be added now, in the order of the keys; what is settled counts as stored."""
        known, steps = self._before, defaultdict[_Step, int](int)
        for id_, journey in self._touched.items():
            before, after = known[id_], reached(journey)
            if before != after:
                known[id_] = after
                steps[_columns(journey.message), before, after, journey.message.parts] += 1
        self._touched.clear()
        for (columns, before, after, parts), messages in steps.items():
            key = CounterKey(*columns)
            for count, n in counts_of(after & ~before, parts).items():
                self._added[key, count] += n * messages
            for count, n in counts_of(before & ~after, parts).items():
                self._added[key, count] -= n * messages
        added = sorted((key, count, n) for (key, count), n in self._added.items() if n)
        self._added.clear()
        return added


_Columns: TypeAlias = tuple[int, bool, int, str, str, int]
_Step: TypeAlias = tuple[_Columns, int, int, int]
"""(columns of the key, bits before, bits after, parts)."""


def _columns(message: Message) -> _Columns:
    return (
        message.account,
        message.test,
        int(message.family),  # a member's hash is slow
        message.category or "",
        message.campaign or "",
        message.accepted_at // DAY_MS,
    )


_SENT, _SUBMITTED, _DELIVERED, _BOUNCED, _ERRORS, _OPENERS, _REPLIES, _UNSUBSCRIBERS, _NEVER_LEFT = (
    1 << count
    for count in (
        Count.SENT,
        Count.SUBMITTED,
        Count.DELIVERED,
        Count.BOUNCED,
        Count.ERRORS,
        Count.OPENERS,
        Count.REPLIES,
        Count.UNSUBSCRIBERS,
        Count.NEVER_LEFT,
    )
)

_EACH = (Count.CREDITS, Count.OPENS, Count.DOUBTS, Count.RESENT)
_ONCE = tuple(count for count in Count if count not in _EACH)
