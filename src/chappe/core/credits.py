"""Credits: a part costs one. What an account has left, decided send by send, and the statement of what was booked.

A message pays when it is accepted, and gets back what it paid when it ends without ever having been handed to an
operator (cancelled, expired, or barred before its first attempt): in the end an account has paid for exactly what the
counters call sent. Messages of test keys cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from chappe.core.limits import DAY_MS, NOT_SERVED, QUOTA_EXCEEDED
from chappe.core.message import AccountId, MessageId, NotAccepted, SendMessage

HOUR_MS: Final = 3_600_000
NOT_ENOUGH: Final = 71
"""The contract's code."""


class Booking(IntEnum):
    """What moved a balance."""

    TOPUP = 0
    SEND = 1
    REFUND = 2
    ADJUST = 3


@dataclass(slots=True)
class Credits:
    """What an account has left."""

    balance: int
    alert_below: int | None


@dataclass(slots=True)
class LedgerEntry:
    """A line of an account's statement. Its balance is that of the line before and its own amount."""

    id: int
    at: int
    what: Booking
    amount: int
    messages: int
    """How many it is about: sends that were stored together, or within one hour, share a line."""
    message: MessageId | None
    """The first of them."""
    campaign: str | None
    note: str
    balance: int


@dataclass(slots=True)
class Spent:
    """Sends of one campaign, or of none, that a batch pays together."""

    at: int
    credits: int = 0
    messages: int = 0
    first: int = 0
    """Which of the batch's messages came first."""


@dataclass(slots=True)
class Allowance:
    """An account's row as a batch of sends holds it."""

    account: AccountId
    has_credits: bool
    balance: int
    booked: int
    """The balance after the newest line of the statement; the other one runs ahead of it while sends are decided."""
    alert_below: int | None
    open_entry: int | None
    open_hour: int
    open_campaign: str
    day: int
    used: int
    spent: dict[str, Spent] = field(default_factory=dict)
    """By campaign."""
    touched: bool = False

    def charge(self, send: SendMessage, place: int) -> int:
        """Takes what this send costs: its credits, and its parts of the day. `place`: which it is of the batch's."""
        day = send.accepted_at // DAY_MS
        self.used = send.parts + (self.used if day == self.day else 0)
        self.day = day
        self.touched = True
        if not self.has_credits:
            return 0
        self.balance -= send.parts
        spent = self.spent.setdefault(send.campaign or "", Spent(send.accepted_at, first=place))
        spent.credits += send.parts
        spent.messages += 1
        return send.parts

    def refuses(self, send: SendMessage) -> NotAccepted | None:
        """Whether this send is beyond what is left: of the day first, then of the credits."""
        daily = send.limits.daily_parts
        day = send.accepted_at // DAY_MS
        if daily is not None and send.parts + (self.used if day == self.day else 0) > daily:
            return NotAccepted(QUOTA_EXCEEDED, retry_ms=(day + 1) * DAY_MS - send.accepted_at)
        if self.has_credits and send.parts > self.balance:
            return NotAccepted(NOT_ENOUGH)
        return None

    def fell_below_alert(self) -> bool:
        """Whether this batch made it fall below what its owner wants to be told of."""
        before = self.balance + sum(spent.credits for spent in self.spent.values())
        return self.alert_below is not None and before >= self.alert_below > self.balance


class Allowances:
    """Those of the accounts of one batch; accounts without one are not limited.

    Its verdicts are in the order of the batch: of two sends that only one can be paid for, the first is.
    """

    def __init__(self, held: dict[AccountId, Allowance], written: dict[tuple[AccountId, str], tuple[int, int]]) -> None:
        """`written`: where that is limited, how many messages a number had of late, and until when the first counts."""
        self.held = held
        self.written = written

    def refuses(self, send: SendMessage) -> NotAccepted | None:
        """Why this send is not accepted, if the account's limits or credits do not allow it."""
        limits = send.limits
        if not limits.serves(send.number):
            return NotAccepted(NOT_SERVED)
        if not send.billed:
            return None
        if limits.per_number is not None:
            count, until = self.written.get((send.account, send.number), (0, 0))
            if count >= limits.per_number:
                return NotAccepted(QUOTA_EXCEEDED, retry_ms=until - send.accepted_at)
        allowance = self.held.get(send.account)
        return None if allowance is None else allowance.refuses(send)

    def charge(self, send: SendMessage, place: int) -> int:
        """Takes what an accepted send costs, and returns the credits that it holds from now on."""
        if not send.billed:
            return 0
        if send.limits.per_number is not None:
            of = (send.account, send.number)
            count, until = self.written.get(of, (0, send.accepted_at + send.limits.per_number_seconds * 1000))
            self.written[of] = (count + 1, until)
        allowance = self.held.get(send.account)
        return 0 if allowance is None else allowance.charge(send, place)
