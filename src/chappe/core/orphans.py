"""Orphans: receipts that have matched nothing for a while, why they have not, and how they may be matched after all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from chappe.core.message import AttemptKey, MessageId, ReceiptReport
from chappe.core.receipts import IdForm


class Why(Enum):
    """Why a receipt matches nothing, the nearest miss first."""

    UNREADABLE = "no id could be read in it"
    OTHER_NUMBER = "its id was given to a message to another number"
    NO_NUMBER = "its id written otherwise is known, but it names no number: repair with the form"
    OTHER_CONNECTOR = "its id was given by another connector"
    ONE_WAITS = "its id is unknown; one submit to its number waits for a receipt: repair by number"
    SEVERAL_WAIT = "its id is unknown; several submits to its number wait for a receipt"
    NONE_WAITS = "its id is unknown; what was submitted to its number has its receipts"
    NOTHING_SENT = "its id is unknown; nothing was submitted to its number"
    UNKNOWN = "its id is unknown, and it names no number"


@dataclass(slots=True, frozen=True)
class Orphan:
    """A parked receipt; what it would be matched with, or why it is not."""

    id: int
    receipt: ReceiptReport
    why: Why | None
    near: str | None = None
    """The connector, or the spelling of the id, that `why` is about."""
    match: AttemptKey | None = None

    @property
    def message(self) -> MessageId | None:
        return None if self.match is None else self.match[0]


@dataclass(slots=True, frozen=True)
class Search:
    """Which orphans, and what may match them."""

    before: int
    """They came no later than this."""
    connector: str | None = None
    form: IdForm | None = None
    """How their connector's receipts write ids, which is believed without a number too; None: as it was learnt."""
    within_ms: int | None = None
    """Matches by the number as well, if one submit alone waits that left so long before the receipt at most."""
    after: int = 0
    """Only those whose id is larger."""
    limit: int = 10_000
    """By number nothing matches if there are as many or more, for the rest may be about the same submits."""


@dataclass(slots=True, frozen=True)
class LearntForm:
    """In which form receipts of a connector have come that did not write the id as it was given."""

    connector: str
    form: IdForm
    receipts: int
    last_at: int


def masked(number: str | None) -> str:
    """Enough of a number to know it again: +336…78."""
    return "" if number is None else f"{number[:4]}…{number[-2:]}"
