"""Campaigns: one text to a whole list, and the states between a draft and its end.

A campaign's messages carry its public id in `Message.campaign`: counters, opt-outs, bounces and replies of a campaign
are those of its messages. What is kept here is what messages cannot tell: what was asked, how far the list has been
turned into messages, and who was left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NewType

from chappe.core.ids import Kind, hex_id, read_hex_id
from chappe.core.message import Account, AccountId, Family, MessageId, SendMessage

CampaignId = NewType("CampaignId", int)


class CampaignState(IntEnum):
    """The contract's states, section 7."""

    DRAFT = 0
    SCHEDULED = 1
    SENDING = 2
    """Its list is being turned into messages, or some of them have not left."""
    PAUSED = 3
    SENT = 4
    """Every message was handed to an operator, or has ended before that."""
    CANCELLED = 5


class Wish(Enum):
    """What may be asked of a campaign, by its account or by the passing of time."""

    SEND = "send"
    SCHEDULE = "send at a later date"
    START = "its date has come"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    FINISH = "nothing waits any more"


TRANSITIONS: Mapping[tuple[CampaignState, Wish], CampaignState] = {
    # A pair that is not here is refused.
    (CampaignState.DRAFT, Wish.SEND): CampaignState.SENDING,
    (CampaignState.DRAFT, Wish.SCHEDULE): CampaignState.SCHEDULED,
    (CampaignState.SCHEDULED, Wish.START): CampaignState.SENDING,
    (CampaignState.SENDING, Wish.PAUSE): CampaignState.PAUSED,
    (CampaignState.PAUSED, Wish.RESUME): CampaignState.SENDING,
    (CampaignState.SENDING, Wish.FINISH): CampaignState.SENT,
    (CampaignState.DRAFT, Wish.CANCEL): CampaignState.CANCELLED,
    (CampaignState.SCHEDULED, Wish.CANCEL): CampaignState.CANCELLED,
    (CampaignState.SENDING, Wish.CANCEL): CampaignState.CANCELLED,
    (CampaignState.PAUSED, Wish.CANCEL): CampaignState.CANCELLED,
}

OVER = frozenset({CampaignState.SENT, CampaignState.CANCELLED})

DELETABLE = OVER | {CampaignState.DRAFT}


@dataclass(slots=True, frozen=True)
class Draft:
    """What was asked, checked: everything but what comes with sending."""

    account: AccountId
    test: bool
    """Made with a test key: it reaches the simulator only, and test keys only see it."""
    family: Family
    name: str
    text: str
    """With its placeholders."""
    list: int
    created_at: int
    sender: str | None = None
    category: str | None = None
    date: int | None = None
    """When it is to be sent; None: when told to."""
    type: str | None = None
    flash: bool = False
    clean_bounces: bool = False
    clean_unsubscribers: bool = False
    keep_list: bool = True
    external_url: str | None = None
    """Where `${rich_message}` leads."""


@dataclass(slots=True, frozen=True)
class SendOrder:
    """What is fixed when a campaign is told to be sent."""

    route: str
    simulated: bool
    """On that route its messages are test traffic."""
    validity_ms: int
    link_base: str | None
    """What its tracked links begin with."""
    credits: int
    """What it will cost, as it was answered."""


@dataclass(slots=True)
class Campaign:
    """A campaign as it is stored, its fields in the order of the columns."""

    id: CampaignId
    account: AccountId
    test: bool
    family: Family
    name: str
    text: str
    list: int
    created_at: int
    sender: str | None
    category: str | None
    date: int | None
    type: str | None
    flash: bool
    clean_bounces: bool
    clean_unsubscribers: bool
    keep_list: bool
    external_url: str | None
    state: CampaignState = CampaignState.DRAFT
    route: str | None = None
    simulated: bool = False
    validity_ms: int = 0
    link_base: str | None = None
    credits: int = 0
    """What was answered when it was sent."""
    started_at: int | None = None
    ended_at: int | None = None
    cursor: int = 0
    """The last contact that has been turned into a message, or left out: whoever goes on has to begin here."""
    expanded: bool = False
    """The whole list has been."""
    recipients: int = 0
    """Contacts looked at."""
    stored: int = 0
    """Messages made of them."""
    credits_stored: int = 0
    left_out: dict[int, int] = field(default_factory=dict)
    """The contract's code → how many recipients got no message because of it."""
    first_message: MessageId | None = None
    last_message: MessageId | None = None
    cancelled_to: MessageId | None = None
    """Once cancelled: how far its messages were taken back."""
    cancelled: int = 0

    @property
    def public_id(self) -> str:
        return public_id(self.id)


@dataclass(slots=True, frozen=True)
class Taken:
    """A campaign with something to do, leased to one node."""

    campaign: Campaign
    account: Account


@dataclass(slots=True, frozen=True)
class Wave:
    """Some contacts of a campaign's list, turned into messages: stored in one transaction with how far they reach."""

    campaign: CampaignId
    account: AccountId
    after: int
    """Where the campaign's cursor has to be: a batch that another node has stored already is not stored again."""
    until: int
    recipients: int
    sends: Sequence[SendMessage]
    left_out: Mapping[int, int]
    """Those who were left out before the store was asked."""
    last: bool


def public_id(campaign: CampaignId) -> str:
    return hex_id(Kind.CAMPAIGN, campaign)


def read_public_id(text: str) -> CampaignId | None:
    """None when it is no id; 0, which no campaign has, when it is that of something else."""
    found = read_hex_id(Kind.CAMPAIGN, text)
    return None if found is None else CampaignId(found)


PAUSED = "paused:"


def paused_route(campaign: CampaignId) -> str:
    """The route of the queue on which parts of a paused campaign wait; no connector serves it."""
    return f"{PAUSED}{public_id(campaign)}"
