"""Customers: applications that bind to us over SMPP, what they submit, and what they are still to be told.

Records, and the part of the store that keeps them. What is told is a row until the customer has acknowledged it, so
that nothing is lost while it is away; at least once, because an acknowledgement can be lost too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NewType, Protocol, TypeAlias

from chappe.core.message import Accepted, Account, AccountId, Family, MessageId, NotAccepted, SendMessage, State

CustomerId = NewType("CustomerId", int)
SubmitId = NewType("SubmitId", int)
"""What a submit is answered with: its message's id, or for a part of a long one an id from the same numbers."""
TellingId = NewType("TellingId", int)

TELLINGS_KEPT_MS: Final = 30 * 24 * 3_600_000
"""How long a customer may be away, and how long its submits can be asked about."""
PARTS_WAIT_MS: Final = 600_000
"""After this a long message whose parts did not all come is given up, and its parts are told to have expired."""
EXPIRED: Final = "expired"
"""The cause of such a part."""


@dataclass(slots=True)
class Customer:
    """A system_id with its password, of an account. Its repr shows no secret."""

    id: CustomerId
    account: Account
    system_id: str
    test: bool
    """What it submits only ever reaches the simulator."""
    family: Family
    """Of what it submits, unless a service_type says otherwise."""
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    """Of its password."""
    created_at: int
    """The password."""


class Address(NamedTuple):
    """As the customer wrote it: receipts and replies use the same."""

    ton: int
    npi: int
    digits: str


@dataclass(slots=True)
class Submit:
    """What is kept of a submit beside its message."""

    customer: CustomerId
    asked: int
    """registered_delivery's two lowest bits: 0 nothing, 1 any end, 2 failure, 3 success (SMPP 5, 4.7.21)."""
    source: Address
    destination: Address
    reference: int | None
    """Its user_message_reference, which receipts bring back."""
    at: int


@dataclass(slots=True)
class Part:
    """A part of a long message, on its way into the store. `wish` is what it asks for, for whoever joins the text."""

    submit: Submit
    reference: int
    total: int
    sequence: int
    octets: bytes
    data_coding: int
    single: int
    locking: int
    wish: str


@dataclass(slots=True)
class KeptPart:
    """The same as the store has it."""

    id: SubmitId
    octets: bytes
    data_coding: int
    single: int
    locking: int
    wish: str


@dataclass(slots=True)
class Kept:
    """A part is stored. `whole` are all parts of its message in their order, when it was the last to come."""

    id: SubmitId
    whole: tuple[KeptPart, ...] = ()


@dataclass(slots=True)
class Overdue:
    """Parts that wait for too long: whole when a node died before it joined them."""

    customer: Customer
    total: int
    parts: tuple[KeptPart, ...]


@dataclass(slots=True)
class Submitted:
    """A submit that is asked about. Without a message it waits for its other parts, or `cause` says how it ended."""

    id: SubmitId
    message: MessageId | None
    cause: str | None
    at: int


@dataclass(slots=True)
class Receipt:
    """What became of a submit."""

    id: TellingId
    tries: int
    submit: SubmitId
    source: Address
    destination: Address
    reference: int | None
    submitted_at: int
    state: State
    cause: str | None
    at: int
    text: str


@dataclass(slots=True)
class Answer:
    """What a person wrote."""

    id: TellingId
    tries: int
    number: str
    recipient: str
    text: str
    at: int


Telling: TypeAlias = Receipt | Answer


class Again(NamedTuple):
    """A telling that the customer did not take."""

    id: TellingId
    ready_at: int
    tries: int


class Serving(Protocol):
    """Customers as `customers` sees them. Calls may raise `StoreUnavailable`: then nothing of them was stored."""

    async def save_customer(
        self, account: AccountId, system_id: str, salt: bytes, digest: bytes, *, test: bool, family: Family, now: int
    ) -> Customer | None:
        """Makes it, or gives it another password; None when the system_id is another account's."""
        ...

    async def find_customer(self, system_id: str) -> Customer | None:
        """With its account as it is now."""
        ...

    async def list_customers(self) -> list[tuple[Customer, int]]:
        """With how many tellings wait for each."""
        ...

    async def remove_customer(self, account: AccountId, system_id: str) -> bool:
        """With what it was still to be told. False when the account has no such customer."""
        ...

    async def accept_submits(self, submits: Sequence[tuple[SendMessage, Submit]]) -> list[Accepted | NotAccepted]:
        """As `Sending.accept`, all in one transaction, each with what it asked to be told; in their order."""
        ...

    async def keep_parts(self, parts: Sequence[Part], now: int) -> list[Kept]:
        """Stores parts of long messages, by customer, both addresses and reference; in their order.

        The same octets in the same place, while the message waits, are the same part again. Others are another message:
        the one before them is given up, as if its time were over.
        """
        ...

    async def join_parts(
        self,
        customer: CustomerId,
        parts: Sequence[SubmitId],
        outcome: SendMessage | str,
        answered: Sequence[SubmitId],
        now: int,
    ) -> Accepted | NotAccepted | None:
        """Stores the message that these parts are, or, where `outcome` is the cause, that they are none.

        When it is not stored, those parts that were `answered` are told so. None when somebody else has joined them.
        """
        ...

    async def overdue_parts(self, now: int, limit: int) -> list[Overdue]:
        """Of up to `limit` messages."""
        ...

    async def find_submit(self, account: AccountId, submit: SubmitId) -> Submitted | None:
        """One of the account's, whichever of its customers it came from."""
        ...

    async def claim_tellings(self, customer: CustomerId, limit: int, now: int, lease_ms: int) -> list[Telling]:
        """Takes up to `limit` that are due, the longest due first, and makes them due again after `lease_ms`: nobody
        else undoes the claim of a node that died. Writes nothing when nothing is due."""
        ...

    async def settle_tellings(self, taken: Sequence[TellingId], again: Sequence[Again]) -> None:
        """Forgets what was taken, and says when the others are due again."""
        ...

    async def free_tellings(self, now: int) -> None:
        """Makes all claims due now: for a node that has just started and is the only one."""
        ...

    async def tidy_customers(self, now: int) -> None:
        """A bounded share of dropping what is older than `TELLINGS_KEPT_MS`."""
        ...
