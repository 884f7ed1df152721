"""Imports: the rows of a file, or of JSON, into a list, batch by batch as they come.

Each transaction is whole or not at all. However an import ends before its last row — the client gone, the server
stopped, the list deleted —, it ends as INTERRUPTED, with what is stored counted; done again it counts what is there as
updated.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence

from chappe.core.contacts import NO_TEL, TEL, Batch, Column, ContactFile, Header, Home, read_header, read_rows
from chappe.core.errors import Invalid, StoreUnavailable
from chappe.core.lists import LIST_NOT_FOUND, FieldId, ListId, Operation, OperationId, OperationState, check_field_name
from chappe.core.message import Account, AccountId, NotAccepted
from chappe.core.ports import Contacts

AT_ONCE = 1_000
"""Rows in one transaction at most: others are let through between two."""
WINDOW = 50_000
"""Rows of a large file that are put in the order of their numbers before they are stored: so a transaction touches one
part of the index and not nearly all of it, which is eight times less to write."""
STORED_EVERY_MS = 10_000
"""However few rows there are, so that an import that comes slowly is not taken for one that nobody carries on."""
MOST_ROWS = 10_000
"""Contacts in one import that comes as JSON, code 74 beyond; a file may have as many as it likes."""
TOO_MANY = 74

Clock = Callable[[], int]


async def import_rows(
    store: Contacts, account: Account, list_: ListId, rows: Sequence[object], now_ms: Clock
) -> Operation:
    """The contract's: the first row names the columns. Raises Invalid (17, 60, 74, 75, 1001)."""
    columns = await _columns(store, account.id, list_)
    if not rows or not isinstance(rows[0], list):
        raise Invalid(NO_TEL, TEL)
    if len(rows) - 1 > MOST_ROWS:
        raise Invalid(TOO_MANY)
    header = read_header(rows[0], columns, synonyms=False)
    async with _import(store, account.id, list_, len(rows) - 1, now_ms) as one:
        for start in range(1, len(rows), AT_ONCE):
            piece = rows[start : start + AT_ONCE]
            await one.take(header, read_rows(header, piece, _home(account), first=start + 1), len(piece))
            await asyncio.sleep(0)
        return await one.finish(header)


async def import_file(
    store: Contacts,
    account: Account,
    list_: ListId,
    pieces: AsyncIterable[bytes],
    total: int | None,
    now_ms: Clock,
) -> Operation:
    """A CSV file as it comes, of `total` octets if that is known. Raises Invalid (17, 60, 75, 1001)."""
    file = ContactFile(await _columns(store, account.id, list_), _home(account))
    unread = 0
    async with _import(store, account.id, list_, total, now_ms) as one:
        async for piece in pieces:
            unread += len(piece)
            for batch in file.feed(piece):
                if file.header is not None:
                    await one.take(file.header, batch, unread)
                    unread = 0
        for batch in file.finish():
            if file.header is not None:
                await one.take(file.header, batch, unread)
        if file.header is None:
            raise Invalid(NO_TEL, TEL)
        return await one.finish(file.header)


def _home(account: Account) -> Home:
    return Home(account.settings.country, account.settings.international)


async def _columns(store: Contacts, account: AccountId, list_: ListId) -> list[Column]:
    if await store.find_list(account, list_) is None:
        raise Invalid(LIST_NOT_FOUND)
    return [Column(field.name, field.type, field.format) for field in await store.list_fields(account, list_)]


@contextlib.asynccontextmanager
async def _import(
    store: Contacts, account: AccountId, list_: ListId, total: int | None, now_ms: Clock
) -> AsyncIterator[_Import]:
    """Ends it whatever happens; where that cannot be stored now, the sweep does it later."""
    one = _Import(store, account, list_, total, now_ms)
    try:
        yield one
    except BaseException:
        with contextlib.suppress(StoreUnavailable):
            await one.interrupt()
        raise


class _Import:
    """One under way; it begins with the first batch, when the header is known to be good."""

    def __init__(self, store: Contacts, account: AccountId, list_: ListId, total: int | None, now_ms: Clock) -> None:
        self._store = store
        self._account = account
        self._list = list_
        self._total = total
        self._now_ms = now_ms
        self._id: OperationId | None = None
        self._fields: list[FieldId] = []
        self._window = Batch()
        self._done = 0
        """What has come since the last transaction."""
        self._stored_at = 0
        self._is_large = False

    async def take(self, header: Header, batch: Batch, done: int) -> None:
        """Has a batch stored before long, `done` octets or rows further."""
        id_ = await self._begin(header)
        self._window.accepted += batch.accepted
        self._window.refused += batch.refused
        self._done += done
        if len(self._window.accepted) + len(self._window.refused) >= WINDOW:
            self._is_large = True
            await self._save(id_)
        elif self._now_ms() - self._stored_at >= STORED_EVERY_MS:
            await self._save(id_)

    async def finish(self, header: Header) -> Operation:
        id_ = await self._begin(header)
        await self._save(id_)
        return await self._end(id_, OperationState.DONE)

    async def interrupt(self) -> None:
        if self._id is not None:
            await self._end(self._id, OperationState.INTERRUPTED)

    async def _save(self, id_: OperationId) -> None:
        """Small imports keep their order."""
        window, done = self._window, self._done
        self._window, self._done = Batch(), 0
        if self._is_large:
            window.accepted.sort(key=lambda row: row.number)  # of the same number the later row stays the later one
        for piece in _cut(window):
            fields, self._stored_at = self._fields, self._now_ms()
            running = await self._store.import_contacts(self._account, id_, fields, piece, done, self._stored_at)
            if running is None:
                if await self._store.find_list(self._account, self._list) is None:
                    raise Invalid(LIST_NOT_FOUND)
                raise StoreUnavailable("the import was given up, because it had stood still")
            done = 0

    async def _begin(self, header: Header) -> OperationId:
        if self._id is None:
            for column in header.columns:
                _check_column(column.name)
            self._stored_at = self._now_ms()
            begun = await self._store.begin_import(
                self._account, self._list, header.columns, self._total, self._stored_at
            )
            if isinstance(begun, NotAccepted):
                raise Invalid(begun.code)
            self._id, self._fields = begun[0].id, begun[1]
        return self._id

    async def _end(self, id_: OperationId, state: OperationState) -> Operation:
        ended = await self._store.end_import(self._account, id_, state, self._now_ms())
        if ended is None:
            raise StoreUnavailable("the import is not known any more")
        return ended


def _check_column(name: str) -> None:
    try:
        check_field_name(name)
    except Invalid as error:
        raise Invalid(error.code, name) from error


def _cut(batch: Batch) -> Iterator[Batch]:
    """In pieces of AT_ONCE rows; one piece at least."""
    longest = max(len(batch.accepted), len(batch.refused))
    if longest <= AT_ONCE:
        yield batch
        return
    for start in range(0, longest, AT_ONCE):
        end = start + AT_ONCE
        yield Batch(batch.accepted[start:end], batch.refused[start:end])
