"""The records on a message's journey: what is stored, and the facts that move it.

Records only; what happens to them is decided in `lifecycle`. All times are integer Unix epoch
milliseconds (`…_at`), durations carry their unit in the name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NewType, TypeAlias

from chappe.core.limits import NO_LIMITS, Limits
from chappe.core.text import PLAIN, WHOLE, Cut

AccountId = NewType("AccountId", int)
MessageId = NewType("MessageId", int)


class State(Enum):
    """The eight public states with their ranks; `state` is the highest rank reached.

    Source: the contract's status table. Delivered, bounced and error share a rank because a message
    reaches one of them.
    """

    SUBMITTED = ("submitted", 0)
    SENT = ("sent", 1)
    DELIVERED = ("delivered", 2)
    BOUNCED = ("bounced", 2)
    ERROR = ("error", 2)
    OPENED = ("opened", 3)
    REPLY = ("reply", 4)
    UNSUBSCRIBED = ("unsubscribed", 5)

    __hash__ = object.__hash__  # members are equal only to themselves, and Enum's own hashes their names, in Python

    def __init__(self, public_name: str, rank: int) -> None:
        self.public_name = public_name
        self.rank = rank


class Delivery(IntEnum):
    """How far delivery has come: the half of the state that receipts decide.

    PRESUMED_LOST shows as `error`; it is an error nobody proved (our time-out, the operator's EXPIRED) and
    so the only one that a late receipt may still turn into DELIVERED.
    """

    __hash__ = int.__hash__  # Enum's own hashes the name, in Python

    SUBMITTED = 0
    SENT = 1
    DELIVERED = 2
    BOUNCED = 3
    ERROR = 4
    PRESUMED_LOST = 5


class Family(IntEnum):
    """Transactional or promotional: opt-outs, hours and the default in-doubt policy depend on it."""

    NOTIFICATION = 0
    MARKETING = 1


class InDoubtPolicy(IntEnum):
    """What is done with a submit whose answer never came."""

    WAIT_THEN_RETRY = 0
    AT_LEAST_ONCE = 1
    AT_MOST_ONCE = 2

    @classmethod
    def named(cls, name: str) -> InDoubtPolicy | None:
        """By the name in settings; None for one that this release does not know."""
        return cls.__members__.get(name.upper())


class Outcome(IntEnum):
    """What became of one attempt at the operator's door, before any receipt.

    PENDING is the committed intent: the bytes may or may not have left. POSTPONED and RESENT attempts are
    closed and their part is queued again; RESENT means that nobody knows whether the operator has it.
    """

    __hash__ = int.__hash__  # as in `Delivery`

    PENDING = 0
    ACCEPTED = 1
    IN_DOUBT = 2
    POSTPONED = 3
    RESENT = 4
    REFUSED = 5


class Treatment(IntEnum):
    """What a non-zero answer asks for; each connector has its own table from command_status to this."""

    PERMANENT = 0
    TEMPORARY = 1
    THROTTLED = 2
    SESSION = 3
    ELSEWHERE = 4
    """Not through this operator: another one of the route is asked, or it is final if none is left."""


class Verdict(IntEnum):
    """What a final receipt says of one attempt."""

    __hash__ = int.__hash__  # as in `Delivery`

    DELIVERED = 0
    NOT_ASSIGNED = 1
    EXPIRED = 2
    FAILED = 3
    OPTED_OUT = 4
    """Not delivered, because this person has written STOP and the operator took it."""


class PartState(Enum):
    """What is known of one part, folded over its attempts."""

    QUEUED = "queued"
    IN_FLIGHT = "inFlight"
    IN_DOUBT = "inDoubt"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    FAILED = "failed"


@dataclass(slots=True)
class Message:
    """One stored message: what was asked (up to `previous`) and what became of it.

    Kept unfrozen because thousands are built each second; only `lifecycle.advance` changes one.
    """

    id: MessageId
    account: AccountId
    number: str
    family: Family
    category: str | None
    campaign: str | None
    sender: str | None
    text: str
    parts: int
    test: bool
    policy: InDoubtPolicy
    route: str
    accepted_at: int
    due_at: int
    validity_ms: int
    previous: MessageId | None = None
    """The account's message before this one to the same number: history by number without an index."""
    delivery: Delivery = Delivery.SUBMITTED
    sent_at: int | None = None
    delivered_at: int | None = None
    bounced_at: int | None = None
    error_at: int | None = None
    opened_at: int | None = None
    reply_at: int | None = None
    unsubscribed_at: int | None = None
    cause: str | None = None
    """Why it failed, in one word for programs: `expired`, `unknown`, `refused:11`, …"""
    in_doubt: int = 0
    """How many parts are in doubt now."""
    resent: int = 0
    """How many submits may have doubled an earlier one."""
    facts: int = 0
    """How many facts are logged: the next one's sequence number."""
    events: int = 1
    """How many public states it has reached, `submitted` among them: the latest event's sequence number."""
    wake_at: int | None = None
    """When the sweep looks at it next; None once nothing can time out any more."""
    held_by: str | None = None
    """Which rule moved `due_at` last: a pack and its rule, `fr-af2m-2026:sunday`. None: due as it was asked for."""
    charged: int = 0
    """The credits it holds; given back when it ends without having left."""
    cut: Cut = PLAIN
    """How its text is cut into parts."""

    @property
    def submits(self) -> int:
        """In how many pieces it leaves: a part each, or one that the operator cuts."""
        return 1 if self.cut & WHOLE else self.parts


@dataclass(slots=True)
class Attempt:
    """One submit of one part to one connector, committed before its bytes leave."""

    message: MessageId
    part: int
    number: int
    connector: str
    epoch: int
    claimed_at: int
    reference: int
    """The 16-bit `user_message_reference` it carries."""
    flagged: bool = False
    """It may double an earlier attempt."""
    outcome: Outcome = Outcome.PENDING
    treatment: Treatment | None = None
    status: int | None = None
    carrier_id: str | None = None
    answered_at: int | None = None
    verdict: Verdict | None = None
    verdict_at: int | None = None


AttemptKey: TypeAlias = tuple[MessageId, int, int]
"""(message, part, attempt number)."""


# --- facts -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Answered:
    """The operator took charge of the part (`submit_sm_resp`, status 0)."""

    part: int
    attempt: int
    at: int
    carrier_id: str


@dataclass(slots=True)
class Refused:
    """The operator said no (`submit_sm_resp`, status not 0).

    `uncertain` marks the statuses after which the message may have gone out all the same.
    """

    part: int
    attempt: int
    at: int
    status: int
    treatment: Treatment
    uncertain: bool = False
    next: str | None = None
    """The connector that is tried instead, for ELSEWHERE; None: there is none."""


@dataclass(slots=True)
class DoubtBegan:
    """No answer came and none is to be expected: link lost, response time-out, or a crash."""

    part: int
    attempt: int
    at: int
    cause: str


@dataclass(slots=True)
class DoubtEnded:
    """The in-doubt policy's time is over: the part is to be sent again."""

    part: int
    attempt: int
    at: int


@dataclass(slots=True)
class ReceiptRead:
    """A receipt for one attempt; `verdict` None is an intermediate or unintelligible one, only logged."""

    part: int
    attempt: int
    at: int
    verdict: Verdict | None
    detail: str
    asked: bool = False
    """The operator said so because it was asked (query_sm)."""


@dataclass(slots=True)
class TimedOut:
    """Validity ended before a submit, or no receipt came in time after one."""

    at: int
    cause: str


@dataclass(slots=True)
class Held:
    """The hours in which it may leave are over: it waits until the next ones. `cause` as `Message.held_by`."""

    at: int
    until: int
    cause: str


@dataclass(slots=True)
class Barred:
    """The recipient opted out after the message was accepted: it does not leave."""

    at: int
    cause: str


@dataclass(slots=True)
class Clicked:
    """A person opened a tracked link."""

    at: int


@dataclass(slots=True)
class Replied:
    """The recipient answered, with anything but STOP."""

    at: int


@dataclass(slots=True)
class Stopped:
    """The recipient answered STOP."""

    at: int


@dataclass(slots=True)
class Cancelled:
    """The sender took it back before anything of it had left."""

    at: int


Fact: TypeAlias = (
    Answered
    | Refused
    | DoubtBegan
    | DoubtEnded
    | ReceiptRead
    | TimedOut
    | Held
    | Barred
    | Cancelled
    | Clicked
    | Replied
    | Stopped
)


@dataclass(slots=True)
class LoggedFact:
    """A fact as it was logged; `changed` is False for one that came too late, or again."""

    seq: int
    changed: bool
    fact: Fact


# --- what goes in and out of the store ---------------------------------------------------------------


@dataclass(slots=True)
class TrackedLink:
    """A short link put in the place of a URL; the token is the secret of this one recipient."""

    token: str
    url: str
    expires_at: int | None = None
    """When it leads nowhere any more; None: never."""


class Gone(Enum):
    """Why a link leads nowhere any more."""

    EXPIRED = "expired"
    DISABLED = "disabled"


class Banned(Enum):
    """What the kill switch may name: one link, a message's or a campaign's links, or all that lead to a host."""

    TOKEN = "token"  # noqa: S105 - no secret
    MESSAGE = "message"
    CAMPAIGN = "campaign"
    HOST = "host"
    """And the hosts below it."""


@dataclass(slots=True)
class Ban:
    """What leads nowhere since when. A campaign is called by its id, or by its account's name for it: ACCOUNT/NAME."""

    what: Banned
    name: str
    since: int


@dataclass(slots=True)
class LinkClicks:
    """A link of a message, and who followed it."""

    url: str
    clicks: int
    """Of people."""
    robot_clicks: int
    """Of previews, scanners and the like."""
    first_click_at: int | None
    last_click_at: int | None
    expires_at: int | None


@dataclass(slots=True)
class Idempotency:
    """The caller's `Idempotency-Key` with a digest of the body it came with."""

    key: str
    digest: bytes


@dataclass(slots=True)
class SendMessage:
    """A validated send, ready to be stored: everything but what only the store can know."""

    account: AccountId
    number: str
    family: Family
    text: str
    parts: int
    route: str
    test: bool
    policy: InDoubtPolicy
    accepted_at: int
    due_at: int
    validity_ms: int
    category: str | None = None
    campaign: str | None = None
    sender: str | None = None
    links: tuple[TrackedLink, ...] = ()
    idempotency: Idempotency | None = None
    exempt_from_optout: bool = False
    """The account lets notifications reach people who wrote STOP."""
    held_by: str | None = None
    """As in `Message`."""
    billed: bool = True
    """It costs credits and counts against the account's limits; what test keys send does not."""
    limits: Limits = NO_LIMITS
    """The account's."""
    cut: Cut = PLAIN
    """What `parts` was counted by."""

    @property
    def submits(self) -> int:
        """As of a `Message`."""
        return 1 if self.cut & WHOLE else self.parts


@dataclass(slots=True)
class Accepted:
    """Stored and durable; `repeated` when an idempotency key brought back an earlier answer."""

    id: MessageId
    parts: int
    repeated: bool = False


@dataclass(slots=True)
class NotAccepted:
    """Refused inside the accepting transaction, with the contract's code; nothing was stored."""

    code: int
    retry_ms: int | None = None
    """After which the same may be accepted, for 76."""


class Cancellation(Enum):
    """What became of the wish to take a message back."""

    DONE = "done"
    """Now, or earlier."""
    TOO_LATE = "too late"
    ABSENT = "absent"


@dataclass(slots=True)
class Submission:
    """A claimed part, committed as an intent: what the connector needs to write the PDU."""

    attempt: Attempt
    number: str
    sender: str | None
    text: str
    parts: int
    expires_at: int
    """End of validity."""
    cut: Cut = PLAIN

    @property
    def key(self) -> AttemptKey:
        return (self.attempt.message, self.attempt.part, self.attempt.number)


@dataclass(slots=True)
class AttemptReport:
    """A fact whose attempt is known: what came back for a submit of ours."""

    message: MessageId
    fact: Answered | Refused | DoubtBegan
    elsewhere: Mapping[str, Sequence[str]] | None = None
    """Route → the connectors that could take its messages, best first; with refusals that are treated so."""


@dataclass(slots=True)
class ReceiptReport:
    """A receipt as an operator sent it, still to be matched with its attempt.

    `number` is the recipient in E.164 when the receipt names one, `raw` the octets kept for repair.
    """

    connector: str
    carrier_id: str
    at: int
    verdict: Verdict | None
    detail: str
    reference: int | None
    number: str | None
    raw: bytes = b""
    asked: bool = False
    """As in `ReceiptRead`; not kept while it is parked."""


@dataclass(slots=True, frozen=True)
class Question:
    """A submit whose receipt has not come in time: what an operator needs to be told to be asked about it."""

    carrier_id: str
    number: str
    sender: str | None


Report: TypeAlias = AttemptReport | ReceiptReport


@dataclass(slots=True)
class Inbound:
    """A message from a person, or one part of it (`total` > 1), as the connector received it."""

    connector: str
    number: str
    """Who wrote, E.164."""
    recipient: str
    """The address it was written to: short code, number or sender."""
    at: int
    octets: bytes
    data_coding: int
    reference: int = 0
    total: int = 1
    sequence: int = 1


@dataclass(slots=True)
class Reply:
    """A whole incoming message; `message` is the one it answers, None when nobody wrote to that person."""

    id: int
    account: AccountId | None
    number: str
    recipient: str
    text: str
    keyword: str
    at: int
    message: MessageId | None
    complete: bool


@dataclass(slots=True, frozen=True)
class Holder:
    """Who holds a lease: a node by its name, and one start of it, for a node that starts again is another holder."""

    node: str
    start: str


@dataclass(slots=True)
class Event:
    """A public state was reached: what webhooks and live views are told."""

    message: MessageId
    account: AccountId
    state: State
    at: int


class OptOutScope(Enum):
    """How far a STOP goes."""

    ACCOUNT = "account"
    """Nothing of the account reaches that person any more."""
    SENDER = "sender"
    """Nothing of the sender that was answered does."""


@dataclass(slots=True)
class Settings:
    """What an account decided for itself."""

    track_links: bool = False
    link_lifetime_seconds: int = 31_536_000
    """How long tracked links lead on, from the date of the message."""
    notify_opted_out: bool = False
    optout_scope: OptOutScope = OptOutScope.ACCOUNT
    default_sender: str | None = None
    country: str = "FR"
    international: bool = False
    """May write to numbers outside its country."""
    national_shift: str | None = None
    """`turkish`, `spanish` or `portuguese`: a table in the place of UCS-2 where that saves parts."""
    policies: dict[str, str] = field(default_factory=dict)
    """category → in-doubt policy name. One that is none (`InDoubtPolicy.named`), such as a newer release may have
    stored, is as if nothing were said."""
    hours: str | None = None
    """Which of `hours.PACKS` says when marketing may leave; None: the default one."""
    region: str | None = None
    """Which of `hours.REGIONS` its recipients live in."""
    stop_mention: str | None = None
    """What stands behind marketing texts (an `optout.Mention`). None: the installation's. Empty: nothing, the account
    writes it itself, or its operator appends it."""


@dataclass(slots=True)
class Account:
    id: AccountId
    name: str
    blocked: bool
    settings: Settings
    limits: Limits = NO_LIMITS


@dataclass(slots=True)
class Key:
    """An API key without its secret; `hint` is its first four characters, to tell keys apart in lists."""

    id: int
    account: Account
    test: bool
    hint: str
    created_at: int
    revoked_at: int | None


@dataclass(slots=True)
class PartStatus:
    part: int
    state: PartState
    at: int | None
