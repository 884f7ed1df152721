"""Credits and limits in the store, for every engine: held by a batch of sends, booked, given back, changed and listed.

What is decided is in `core.credits` and `core.limits`. An account's row in `allowance` is held from the first look to
the end of the transaction, by batches of sends, bookings and changes; whoever holds several has them in the order of
the accounts' ids. Whoever settles a message holds that already, and must not wait for its account as well: what a sweep
or a claim gives back goes into `refund`, and is booked by those who hold the account.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from chappe.core.credits import HOUR_MS, Allowance, Allowances, Booking, Credits, LedgerEntry
from chappe.core.limits import Bucket, Drawn, Limits, draw
from chappe.core.message import AccountId, MessageId, SendMessage
from chappe.storage.engine import NO_ID, Engine
from chappe.storage.steps import Row, Steps, ask, tell

log = logging.getLogger(__name__)


# --- accepting ---------------------------------------------------------------------------------------


def hold(sends: Sequence[SendMessage]) -> Steps[Allowances]:
    """Holds what the accounts of these sends may still send."""
    limited: dict[AccountId, bool] = {}
    needed: dict[AccountId, int] = {}
    numbers: dict[tuple[AccountId, str], int] = {}
    for send in sends:
        if send.billed:
            limits = send.limits
            counts = limits.daily_parts is not None or limits.per_number is not None
            limited[send.account] = limited.get(send.account, False) or counts
            needed[send.account] = needed.get(send.account, 0) + send.parts
            if limits.per_number is not None:
                numbers[send.account, send.number] = send.accepted_at
    held = yield from _hold_rows(sorted(limited.items()))
    short = [row for row in held.values() if row.has_credits and row.balance < needed[row.account]]
    yield from _book_refunds(short)
    asked = [(*of, now) for of, now in sorted(numbers.items())]
    written = {
        (AccountId(account), number): (count, until)
        for account, number, count, until in (yield from ask("count_written", asked))
    }
    return Allowances(held, written)


def book(allowances: Allowances, sends: Sequence[SendMessage], ids: Sequence[MessageId]) -> Steps[None]:
    """Books what was charged for these sends, which are stored under these ids."""
    for allowance in allowances.held.values():
        if allowance.fell_below_alert():
            fields = {"account_id": allowance.account, "balance": allowance.balance}
            log.warning("credits of an account fell below what it is to be told of", extra=fields)
        for campaign, spent in allowance.spent.items():
            hour = spent.at // HOUR_MS
            row = (Booking.SEND, -spent.credits, spent.messages, ids[spent.first], campaign, "")
            if (allowance.open_hour, allowance.open_campaign) == (hour, campaign) and allowance.open_entry is not None:
                allowance.booked -= spent.credits
                entry = (-spent.credits, spent.messages, allowance.booked, allowance.open_entry, allowance.account)
                yield from tell("extend_ledger", [entry])
            else:
                yield from _append(allowance, spent.at, *row)
                allowance.open_hour, allowance.open_campaign = hour, campaign
    yield from _save(list(allowances.held.values()))
    written = [
        (send.account, send.number, send.accepted_at + send.limits.per_number_seconds * 1000)
        for send in sends
        if send.billed and send.limits.per_number is not None
    ]
    yield from tell("insert_written", written)


# --- booking -----------------------------------------------------------------------------------------


def book_refunds() -> Steps[None]:
    """Books what was given back of late, account by account."""
    accounts = sorted((yield from ask("accounts_with_refunds", [()])))
    held = yield from _hold_rows([(account, True) for (account,) in accounts])
    yield from _book_refunds(list(held.values()))
    yield from _save(list(held.values()))


def change_credits(account: AccountId, what: Booking, amount: int, note: str, now: int) -> Steps[int]:
    """See `ports.Allowing.change_credits`."""
    allowance = yield from _hold_one(account)
    yield from _book_refunds([allowance])
    allowance.has_credits = True
    allowance.balance += amount
    yield from _append(allowance, now, what, amount, 0, None, "", note)
    yield from _save([allowance])
    yield from tell("switch_credits", [(True, account)])
    return allowance.balance


def stop_credits(account: AccountId) -> Steps[None]:
    """See `ports.Allowing.stop_credits`."""
    yield from tell("switch_credits", [(False, account)])


def set_alert(account: AccountId, below: int | None) -> Steps[None]:
    """See `ports.Allowing.set_alert`."""
    yield from _hold_one(account)
    yield from tell("set_alert", [(below, account)])


def save_limits(account: AccountId, limits: str) -> Steps[None]:
    """See `ports.Allowing.save_limits`."""
    yield from _hold_one(account)
    yield from tell("save_limits", [(limits, account)])


def _hold_rows(accounts: Sequence[tuple[AccountId, bool]]) -> Steps[dict[AccountId, Allowance]]:
    """Those that are there and are asked for: the ones with credits, and where the pair says so the others too."""
    rows = yield from ask("hold_allowances", accounts)
    return {row[0]: _allowance_of(row) for row in rows}


def _hold_one(account: AccountId) -> Steps[Allowance]:
    """Makes the account's row if need be."""
    yield from tell("open_allowance", [(account,)])
    return (yield from _hold_rows([(account, True)]))[account]


def _book_refunds(allowances: Sequence[Allowance]) -> Steps[None]:
    amounts: dict[AccountId, list[tuple[int, int, int]]] = {}
    for account, message, amount, at in (
        yield from ask("take_refunds", [(allowance.account,) for allowance in allowances])
    ):
        amounts.setdefault(account, []).append((message, amount, at))
    for allowance in allowances:
        refunds = sorted(amounts.get(allowance.account, ()))
        if refunds:
            total, at = sum(amount for _, amount, _ in refunds), max(at for *_, at in refunds)
            allowance.balance += total
            yield from _append(allowance, at, Booking.REFUND, total, len(refunds), MessageId(refunds[0][0]), "", "")


def _append(
    allowance: Allowance,
    at: int,
    what: Booking,
    amount: int,
    messages: int,
    message: MessageId | None,
    campaign: str,
    note: str,
) -> Steps[None]:
    """Adds a line to the account's statement; only sends may be added to it later."""
    allowance.touched = True
    allowance.booked += amount
    row = (allowance.account, at, int(what), amount, messages, message, campaign, note, allowance.booked)
    [(entry,)] = yield from ask("insert_ledger", [row])
    allowance.open_entry = entry if what is Booking.SEND else None


def _save(allowances: Iterable[Allowance]) -> Steps[None]:
    rows = [
        (row.balance, row.open_entry, row.open_hour, row.open_campaign, row.day, row.used, row.account)
        for row in allowances
        if row.touched
    ]
    yield from tell("update_allowance", rows)


def _allowance_of(row: Row) -> Allowance:
    account, has_credits, balance, *rest = row
    return Allowance(AccountId(account), bool(has_credits), balance, balance, *rest)


# --- rates -------------------------------------------------------------------------------------------


def draw_tokens(draws: Sequence[tuple[int, Bucket, int, int]]) -> Steps[list[Drawn]]:
    """See `ports.Allowing.draw_tokens`; in the order of the keys, whoever asks for several."""
    keys = sorted({key for key, *_ in draws})
    full_at: dict[int, int] = dict((yield from ask("hold_buckets", [(key,) for key in keys])))
    [(now_ms,)] = yield from ask("clock", [(max(now for *_, now in draws),)])
    drawn = []
    for key, bucket, wanted, _ in draws:
        taken = draw(bucket, full_at.get(key, 0), now_ms * 1_000_000, wanted)
        full_at[key] = taken.full_at
        drawn.append(taken)
    yield from tell("save_buckets", [(key, full_at[key]) for key in keys])
    return drawn


# --- the calls ---------------------------------------------------------------------------------------

JOBS: Mapping[str, Callable[..., Steps[Any]]] = {
    "change_credits": change_credits,
    "stop_credits": stop_credits,
    "set_alert": set_alert,
    "save_limits": save_limits,
}


class AllowanceCalls(Engine):
    """`Allowing`, for an engine that says how."""

    async def read_credits(self, account: AccountId) -> Credits | None:
        row = await self._find("read_credits", (account,))
        return None if row is None else Credits(*row)

    async def change_credits(self, account: AccountId, what: Booking, amount: int, note: str, now: int) -> int:
        balance: int = await self._change("change_credits", (account, what, amount, note, now))
        return balance

    async def stop_credits(self, account: AccountId) -> None:
        await self._change("stop_credits", (account,))

    async def set_alert(self, account: AccountId, below: int | None) -> None:
        await self._change("set_alert", (account, below))

    async def list_ledger(self, account: AccountId, *, before: int | None, limit: int) -> list[LedgerEntry]:
        rows = await self._look_up("list_ledger", (account, NO_ID if before is None else before, limit))
        return [_entry_of(row) for row in rows]

    async def save_limits(self, account: AccountId, limits: Limits) -> None:
        await self._change("save_limits", (account, msgspec.json.encode(limits).decode()))

    async def draw_tokens(self, key: int, bucket: Bucket, wanted: int, now: int) -> Drawn:
        drawn: Drawn = await self._change("draw_tokens", (key, bucket, wanted, now))
        return drawn


def _entry_of(row: Sequence[Any]) -> LedgerEntry:
    """A row of `ledger` in the order of the record's fields."""
    entry = LedgerEntry(*row)
    entry.what = Booking(row[2])
    entry.campaign = row[6] or None
    return entry
