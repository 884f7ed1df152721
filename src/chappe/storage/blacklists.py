"""Opt-outs, bounces and replies in the store, for every engine: what their account adds, removes and lists.

What messages bring about (STOP, START, a receipt that says "not assigned") is in `work`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chappe.core.message import AccountId, Reply
from chappe.core.rules import Entry, Listing
from chappe.storage.engine import Engine
from chappe.storage.steps import Steps, ask, lock
from chappe.storage.work import OPT_OUTS, reply_of


def add_entry(account: AccountId, listing: Listing, number: str, test: bool, now: int) -> Steps[int]:
    """See `ports.Blacklists.add_entry`."""
    yield from lock(OPT_OUTS)
    [(entry,)] = yield from ask("add_entry", [(number, test, int(listing), account, now)])
    return int(entry)


def import_opt_outs(account: AccountId, opt_outs: Sequence[tuple[str, str, int]], test: bool) -> Steps[int]:
    """See `ports.Blacklists.import_opt_outs`."""
    yield from lock(OPT_OUTS)
    listing = int(Listing.UNSUBSCRIBED)
    rows = sorted({(number, sender): at for number, sender, at in opt_outs}.items())
    added = yield from ask(
        "import_entry", [(number, test, listing, account, at, sender) for (number, sender), at in rows]
    )
    return len(added)


def remove_entry(account: AccountId, listing: Listing, entry: int | str, test: bool) -> Steps[bool]:
    """See `ports.Blacklists.remove_entry`."""
    statement = "remove_number" if isinstance(entry, str) else "remove_entry"
    return bool((yield from ask(statement, [(entry, account, test, int(listing))])))


JOBS: Mapping[str, Callable[..., Steps[Any]]] = {
    "add_entry": add_entry,
    "import_opt_outs": import_opt_outs,
    "remove_entry": remove_entry,
}


class BlacklistCalls(Engine):
    """`Blacklists`."""

    async def add_entry(self, account: AccountId, listing: Listing, number: str, *, test: bool, now: int) -> int:
        entry: int = await self._change("add_entry", (account, listing, number, test, now))
        return entry

    async def import_opt_outs(
        self, account: AccountId, opt_outs: Sequence[tuple[str, str | None, int]], *, test: bool
    ) -> int:
        rows = [(number, sender or "", at) for number, sender, at in opt_outs]
        added: int = await self._change("import_opt_outs", (account, rows, test))
        return added

    async def remove_entry(self, account: AccountId, listing: Listing, entry: int | str, *, test: bool) -> bool:
        removed: bool = await self._change("remove_entry", (account, listing, entry, test))
        return removed

    async def list_entries(
        self, account: AccountId, listing: Listing, *, test: bool, category: str | None, after: int, limit: int
    ) -> list[Entry]:
        of = (account, test, int(listing), after)
        if category is None:
            rows = await self._look_up("read_entries", (*of, limit))
        else:
            rows = await self._look_up("read_entries_of_category", (*of, category, limit))
        return [Entry(*row) for row in rows]

    async def list_replies(
        self, account: AccountId, *, test: bool, category: str | None, after: int, limit: int
    ) -> list[Reply]:
        of = (account, test, after)
        if category is None:
            rows = await self._look_up("read_replies", (*of, limit))
        else:
            rows = await self._look_up("read_replies_of_category", (*of, category, limit))
        return [reply_of(row) for row in rows]
