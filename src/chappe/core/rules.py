"""Who must not be written to: the opt-out and bounce lists, as a pure decision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from chappe.core.message import AccountId

MAGIC_NUMBERS = frozenset(f"+3360000000{digit}" for digit in range(10))
"""The simulator's ten numbers; magic on the simulator's route only."""


OPTED_OUT, BOUNCED_HERE, BOUNCED_ELSEWHERE = 12, 13, 14
"""The contract's codes: unsubscribed, on the account's own bounce list, on that of another account."""


class Listing(IntEnum):
    UNSUBSCRIBED = 0
    BOUNCED = 1


@dataclass(slots=True)
class ListEntry:
    """One line of an account's opt-out or bounce list; test traffic has a scope of its own."""

    account: AccountId
    listing: Listing
    by_message: bool
    """Made by a message's receipt or STOP, not added through the API."""
    sender: str = ""
    """An opt-out from this sender only; empty: from the account."""


@dataclass(slots=True)
class Entry:
    """The same as its account sees it; category and campaign are those of the message that made it."""

    id: int
    number: str
    at: int
    category: str | None
    campaign: str | None
    sender: str | None = None
    """An opt-out from this sender only."""


def barred(
    entries: Iterable[ListEntry],
    account: AccountId,
    number: str,
    sender: str | None,
    *,
    test: bool,
    exempt_from_optout: bool,
) -> int | None:
    """The contract's code why this number must not be written to, or None.

    `entries` are those of the number in the scope (live or test) of the message. 12 own opt-out, from all or from
    this `sender` (a message that names none may come from any), 13 own bounce, 14 another account's bounce that a
    receipt told of: what accounts add themselves concerns nobody else. Test traffic to a magic number is not stopped by
    what test traffic did, or the second demo would fail.
    """
    magic = test and number in MAGIC_NUMBERS
    codes: list[int] = []
    for entry in entries:
        if magic and entry.by_message:
            continue
        if entry.listing is Listing.UNSUBSCRIBED:
            if entry.account == account and not exempt_from_optout and _concerns(entry, sender):
                codes.append(OPTED_OUT)
        elif entry.account == account:
            codes.append(BOUNCED_HERE)
        elif entry.by_message:
            codes.append(BOUNCED_ELSEWHERE)
    return min(codes, default=None)


def _concerns(entry: ListEntry, sender: str | None) -> bool:
    """Phones show senders as they are written, but people do not tell Shop from SHOP."""
    return not entry.sender or sender is None or entry.sender.lower() == sender.lower()
