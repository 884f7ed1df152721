"""Webhooks: what is posted, how it is signed, and what follows from the answer.

At least once, unordered; each event has a stable id and its place in the message's sequence. Signed by Standard
Webhooks 1.0. Pure; the requests are made by `notifier`, the journey by `flow.notify`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, NewType, Protocol

from chappe.core.message import AccountId, MessageId, State

EndpointId = NewType("EndpointId", int)
DeliveryId = NewType("DeliveryId", int)
EventId = NewType("EventId", str)

SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins, not one
SECRET_BYTES = range(24, 65)
"""Standard Webhooks: 24 to 64 bytes."""

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000

RETRY_DELAYS_MS = (
    # After the 1st, 2nd, … failed try; 15 tries over 75 h, up to a quarter more with the jitter.
    5 * SECOND,
    30 * SECOND,
    2 * MINUTE,
    10 * MINUTE,
    30 * MINUTE,
    1 * HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    12 * HOUR,
    12 * HOUR,
    12 * HOUR,
    12 * HOUR,
    12 * HOUR,
)
JITTER = 0.25
"""A delay is lengthened by up to this share, never shortened: the sum above is a promise (at least 72 h)."""
LONGEST_RETRY_AFTER_MS = max(RETRY_DELAYS_MS)

PATIENCE_MS = 96 * HOUR
"""Deliveries that waited while their endpoint's circuit was open spend no try. They are given up when both they
and the endpoint's failing are older than this, and the endpoint was tried ten times more in a row."""


# --- what is posted ----------------------------------------------------------------------------------


class Notice(NamedTuple):
    """A public state that was reached, with what a receiver is told of it."""

    message: MessageId
    sequence: int
    """Which of the message's events it is: 1, 2, …"""
    state: State
    at: int
    number: str
    category: str | None
    test: bool
    reply_text: str | None = None


def event_body(notice: Notice) -> bytes:
    """The JSON that is posted: the vendor's keys first, in the vendor's spelling, then ours."""
    return _body(
        notice.message,
        notice.sequence,
        notice.state.public_name,
        notice.at,
        notice.number,
        notice.category,
        notice.test,
        notice.reply_text,
    )


def _body(
    message: MessageId,
    sequence: int,
    state: str,
    at: int,
    number: str,
    category: str | None,
    test: bool,
    reply_text: str | None,
) -> bytes:
    """Put together by hand, in a quarter of the encoder's time: only a category and a reply need its escapes."""
    reply = "" if reply_text is None else f'"replyMessage": {_to_json(reply_text)}, '
    # A lone surrogate has no UTF-8; a reply that holds one is told with "?" in its place rather than not at all.
    return (
        f'{{"event": "{state}", "snapshotId": "{message}", "contact": {{"identifier": "{number}"}}, {reply}'
        f'"date": {at}, "category": {_category_json(category)}, "test": {"true" if test else "false"}, '
        f'"id": "evt_{message}_{sequence}", "sequence": {sequence}}}'
    ).encode("utf-8", "replace")


_to_json = json.JSONEncoder(ensure_ascii=False).encode
_category_json = lru_cache(maxsize=256)(_to_json)


# --- the signature -----------------------------------------------------------------------------------


def make_secret(chance: bytes) -> str:
    """A new endpoint's secret from 24 to 64 random bytes, as it is shown to the receiver."""
    if len(chance) not in SECRET_BYTES:
        raise ValueError("a webhook secret has 24 to 64 bytes")
    return SECRET_PREFIX + base64.b64encode(chance).decode()


def read_secret(secret: str) -> bytes:
    """The key inside "whsec_…"; raises ValueError, which never quotes it."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError("not a webhook secret: whsec_ and 24 to 64 bytes in base 64")
    return key


def signed_lines(event: EventId, body: bytes, secrets: Sequence[str], now: int) -> bytes:
    """The Standard Webhooks headers, as lines of HTTP; each live secret adds a signature, so that a receiver can change
    over.

    An endpoint without secrets (the vendor's one URL) gets the id and the time only.
    """
    timestamp = now // 1000
    lines = f"webhook-id: {event}\r\nwebhook-timestamp: {timestamp}\r\n"
    if secrets:
        signed = f"{event}.{timestamp}.".encode() + body
        signatures = " ".join([_sign(secret, signed) for secret in secrets])
        lines += f"webhook-signature: {signatures}\r\n"
    return lines.encode()


def _sign(secret: str, signed: bytes) -> str:
    keyed = _keyed(secret).copy()
    keyed.update(signed)
    return f"v1,{base64.b64encode(keyed.digest()).decode()}"


@lru_cache(maxsize=1024)
def _keyed(secret: str) -> hmac.HMAC:
    """Ready to be copied: taking up the key costs as much as signing."""
    return hmac.new(read_secret(secret), digestmod="sha256")


# --- a try and its outcome ---------------------------------------------------------------------------


class Delivery(NamedTuple):
    """One event to one endpoint, claimed: all that is needed to post it. Its repr shows no secret and no number."""

    id: DeliveryId
    endpoint: EndpointId
    url: str
    secrets: tuple[str, ...]
    """The endpoint's live ones, newest first."""
    tries: int
    """How many have failed."""
    failing_since: int | None
    """Since when the endpoint has taken nothing at all; None while it does."""
    message: MessageId
    sequence: int
    state: str
    """Its public name."""
    at: int
    number: str
    category: str | None
    test: bool
    reply_text: str | None = None

    def __repr__(self) -> str:
        return f"Delivery(id={self.id}, endpoint={self.endpoint}, event={self.event!r}, tries={self.tries})"

    @property
    def event(self) -> EventId:
        """The same at each endpoint and each try, so that receivers can tell a repetition."""
        return EventId(f"evt_{self.message}_{self.sequence}")

    @property
    def body(self) -> bytes:
        """See `event_body`."""
        return _body(*self[6:])


class Trouble(Enum):
    """Why a try brought no status."""

    TIMEOUT = "timeout"
    NAME = "name"
    """The host has no address."""
    UNREACHABLE = "unreachable"
    TLS = "tls"
    DISCONNECTED = "disconnected"
    PROTOCOL = "protocol"
    """What came back is not HTTP."""
    FORBIDDEN = "forbidden"
    """By `targets`; `detail` is its word."""
    FAULT = "fault"
    """Ours; `detail` is the exception's class."""
    NOT_TRIED = "notTried"
    """Handed back: no room at the endpoint, or the notifier is stopping."""


class Outcome(NamedTuple):
    """What became of one try: a status, or a trouble."""

    id: DeliveryId
    status: int | None = None
    trouble: Trouble | None = None
    detail: str = ""
    retry_after_ms: int | None = None
    took_ms: int = 0

    @property
    def word(self) -> str:
        """For people and programs: `200`, `timeout`, `forbidden: private`."""
        said = str(self.status) if self.trouble is None else self.trouble.value
        return f"{said}: {self.detail}" if self.detail else said


class Answer(Enum):
    """What a try means for its delivery."""

    TAKEN = "2xx"
    FAILED = "any other status or trouble: tried again, 3xx and 4xx too, since receivers are mended"
    GONE = "410: the receiver wants nothing more, the endpoint is disabled"
    NONE = "not tried"


def meaning(outcome: Outcome) -> Answer:
    if outcome.trouble is Trouble.NOT_TRIED:
        return Answer.NONE
    match outcome.status:
        case 410:
            return Answer.GONE
        case int(status) if 200 <= status < 300:
            return Answer.TAKEN
        case _:
            return Answer.FAILED


def asked_pause(outcome: Outcome) -> int | None:
    """How long the receiver, not the one event, asks to be left alone (429 or 503 with Retry-After), in ms."""
    return outcome.retry_after_ms if outcome.status in (429, 503) else None


def read_retry_after(header: str | None, now: int) -> int | None:
    """`Retry-After` in ms from now, as seconds or as a date (RFC 9110, 10.2.3); None when it makes no sense."""
    if header is None:
        return None
    header = header.strip()
    if re.fullmatch("[0-9]{1,9}", header):
        asked = int(header) * 1000
    else:
        try:
            date = parsedate_to_datetime(header)
            asked = int(date.replace(tzinfo=date.tzinfo or UTC).timestamp() * 1000) - now
        except (ValueError, OverflowError):
            return None
    return min(max(0, asked), LONGEST_RETRY_AFTER_MS)


def next_try_at(tries: int, now: int, event: EventId, retry_after_ms: int | None = None) -> int | None:
    """When to try again after `tries` failed ones, not before the receiver asked for; None when there were enough.

    The jitter is drawn from the event and the number of the try: the same everywhere, without chance.
    """
    if tries > len(RETRY_DELAYS_MS):
        return None
    delay = RETRY_DELAYS_MS[tries - 1]
    drawn = int.from_bytes(blake2b(f"{event}:{tries}".encode(), digest_size=4).digest()) / 2**32
    return now + max(int(delay * (1 + JITTER * drawn)), min(retry_after_ms or 0, LONGEST_RETRY_AFTER_MS))


class Fate(Enum):
    """What is stored of a delivery after a try."""

    DELIVERED = "delivered"
    WAITING = "waiting"
    """For its next try."""
    EXHAUSTED = "exhausted"
    """Kept, and tried again only when somebody asks for it."""
    DISABLED = "disabled"
    """Exhausted, and its endpoint with all that waits for it."""
    RELEASED = "released"
    """Waiting as before the claim: it was not tried."""


class Settled(NamedTuple):
    """The decision on one claimed delivery, ready to be stored."""

    id: DeliveryId
    endpoint: EndpointId
    fate: Fate
    tries: int
    """Failed ones, this one included. Before it there were `tries_before`."""
    tries_before: int
    next_try_at: int | None
    word: str
    took_ms: int


def settle(delivery: Delivery, outcome: Outcome, now: int) -> Settled:
    """What follows from the outcome of a try."""
    tries, again_at = delivery.tries, None
    match meaning(outcome):
        case Answer.TAKEN:
            fate = Fate.DELIVERED
        case Answer.NONE:
            fate = Fate.RELEASED
        case Answer.GONE:
            fate, tries = Fate.DISABLED, tries + 1
        case Answer.FAILED:
            tries += 1
            again_at = next_try_at(tries, now, delivery.event, outcome.retry_after_ms)
            fate = Fate.EXHAUSTED if again_at is None else Fate.WAITING
    return Settled(
        id=delivery.id,
        endpoint=delivery.endpoint,
        fate=fate,
        tries=tries,
        tries_before=delivery.tries,
        next_try_at=again_at,
        word=outcome.word,
        took_ms=outcome.took_ms,
    )


# --- the store's side --------------------------------------------------------------------------------


class Notifying(Protocol):
    """Deliveries as `flow.notify` sees them. They are written by the transaction that reaches the state, one per
    endpoint that wants the event, due at once. Calls may raise `StoreUnavailable`: then nothing of them was stored.
    """

    async def claim_deliveries(
        self, limit: int, now: int, lease_ms: int, rooms: Mapping[EndpointId, int], probes: int
    ) -> list[Delivery]:
        """Takes up to `limit` waiting deliveries that are due, the longest due first.

        An endpoint in `rooms` gets at most so many (0: none), and up to `probes` endpoints that are not in it get one
        each. A claimed delivery is not claimed again before `now + lease_ms`, then it is: nobody else undoes the
        claim of a process that died. (Where one server has the database to itself, its claims die with it.) Disabled
        endpoints get nothing. Url, secrets and `failing_since` are the endpoint's of this moment. Writes nothing when
        nothing is due.
        """
        ...

    async def record_outcomes(self, settled: Sequence[Settled], now: int) -> None:
        """Stores decisions, all in one transaction; each ends its delivery's claim.

        DELIVERED ends the delivery whatever happened meanwhile, without a trace, and clears the endpoint's
        `failing_since`. WAITING, EXHAUSTED and RELEASED change a delivery only while it still waits with
        `tries_before` failed tries: another claim may have got further after the lease. WAITING, EXHAUSTED and
        DISABLED set the endpoint's `failing_since` to `now` where it is None, unless the same call clears it. RELEASED
        is due as before.
        DISABLED also disables the endpoint and exhausts whatever waits for it; it stays so until somebody enables it.
        Exhausted deliveries are kept and can be replayed: waiting again, due at once, with no tries. `word` and
        `took_ms` are kept as the last failed try's.
        """
        ...

    async def exhaust_waiting(self, endpoint: EndpointId, made_before: int, now: int) -> int:
        """Exhausts the endpoint's waiting, unclaimed deliveries whose event was stored before then; how many.

        It may stop at a bound of its own: the next failed try asks again.
        """
        ...


@dataclass(slots=True)
class Endpoint:
    """Where an account wants its events posted. Its repr shows no secret."""

    id: EndpointId
    account: AccountId
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """The live ones, newest first."""
    states: frozenset[State]
    """What it wants to be told of."""
    created_at: int
    disabled_at: int | None = None
    failing_since: int | None = None
    """Since when it has taken nothing at all; None while it does."""
    word: str = ""
    """What became of the last try that failed."""


LIVE_SECRETS = 2


@dataclass(slots=True, frozen=True)
class Cursor:
    """A place in an account's feed of events; what follows it comes later, whatever was committed meanwhile."""

    transaction: int = 0
    """0 where transactions are committed in the order of their events."""
    event: int = 0

    def __str__(self) -> str:
        return f"{self.transaction}-{self.event}"


def read_cursor(text: str) -> Cursor | None:
    """From how it is shown; None when it is none."""
    parts = re.fullmatch("([0-9]{1,18})-([0-9]{1,18})", text)
    return None if parts is None else Cursor(int(parts[1]), int(parts[2]))


class Telling(Protocol):
    """Who is told of an account's events, and the events themselves. Every call names the account: what another one
    has does not exist. Calls may raise `StoreUnavailable`."""

    async def add_endpoint(
        self, account: AccountId, url: str, secret: str, states: frozenset[State], now: int
    ) -> Endpoint:
        """It gets the events that are stored from now on."""
        ...

    async def list_endpoints(self, account: AccountId) -> list[Endpoint]:
        """In the order of their making."""
        ...

    async def find_endpoint(self, account: AccountId, endpoint: EndpointId) -> Endpoint | None: ...

    async def remove_endpoint(self, account: AccountId, endpoint: EndpointId) -> bool:
        """What still waits for it is not posted any more. False when there is no such endpoint."""
        ...

    async def enable_endpoint(self, account: AccountId, endpoint: EndpointId) -> bool:
        """Undoes what a 410 did; events of the meantime were not kept for it. False when there is no such endpoint."""
        ...

    async def add_secret(self, account: AccountId, endpoint: EndpointId, secret: str) -> Endpoint | None:
        """The newest live secret from now on, beside the one that was the newest before."""
        ...

    async def replay(self, account: AccountId, endpoint: EndpointId, since: int, limit: int, now: int) -> int | None:
        """Up to `limit` exhausted deliveries, of events since then, wait again: due at once, with no tries. How many;
        None when there is no such endpoint, or it is disabled."""
        ...

    async def list_events(self, account: AccountId, after: Cursor, limit: int) -> list[tuple[Cursor, Notice]]:
        """The next events after this place, each with its own. What is committed late comes late: nothing is ever
        stored before a place that was given out. Events are kept for `EVENTS_KEPT_MS`."""
        ...

    async def find_feed_end(self, account: AccountId) -> Cursor:
        """The place of the account's newest event."""
        ...

    async def tidy_events(self, now: int) -> None:
        """A bounded share of: dropping old events with their deliveries, and exhausting what waits for endpoints that
        are disabled or removed."""
        ...


EVENTS_KEPT_MS = 30 * 24 * HOUR
