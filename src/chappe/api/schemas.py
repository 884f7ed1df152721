"""The JSON bodies of the contract, as records; the API description is made from them."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class SendBody(msgspec.Struct):
    """A send. Unknown members are ignored and null is absent: clients send both."""

    number: str | int | None = None
    message: str | None = None
    sender: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    """A synonym of `sender`."""
    campaignName: str | None = None  # noqa: N815 - the contract's name
    category: str | None = None
    date: int | float | str | None = None
    trackLinks: bool | None = None  # noqa: N815
    validity: int | None = None


class SendAnswer(msgspec.Struct):
    creditsUsed: float  # noqa: N815
    snapshotId: str  # noqa: N815


class PartAnswer(msgspec.Struct, kw_only=True):
    """One SMS of a long message."""

    at: int | UnsetType = UNSET
    part: int
    state: str


class StatusAnswer(msgspec.Struct, kw_only=True):
    """What became of a message: a time for each state reached. Members in alphabetical order, as the sample's."""

    bounced: int | UnsetType = UNSET
    category: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    delivered: int | UnsetType = UNSET
    error: int | UnsetType = UNSET
    heldBy: str | UnsetType = UNSET  # noqa: N815
    """The pack of hours and the rule of it that it waits by."""
    heldUntil: int | UnsetType = UNSET  # noqa: N815
    id: int
    identifier: str
    inDoubt: int | UnsetType = UNSET  # noqa: N815
    opened: int | UnsetType = UNSET
    parts: list[PartAnswer] | UnsetType = UNSET
    reply: int | UnsetType = UNSET
    replyMessage: str | UnsetType = UNSET  # noqa: N815
    resent: int | UnsetType = UNSET
    scheduled: int | UnsetType = UNSET
    """It waits for the date that was asked for."""
    sent: int | UnsetType = UNSET
    state: str
    stateDate: int  # noqa: N815
    submitted: int
    test: bool
    unsubscribed: int | UnsetType = UNSET
