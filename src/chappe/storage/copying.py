"""Moving a database to another one, of either engine: table by table, resumable, verified.

A copy goes in batches in the order of each table's key, a transaction for each, so where it was interrupted is the last
key in the target. From before the first row until both sides were read again and found equal the target is marked, and
no store opens it.

The two databases have the same tables and columns. How each is read and written is a `Side`; nothing here is SQL.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgspec

from chappe.core.errors import ChappeError

Row: TypeAlias = tuple[Any, ...]

BATCH = 10_000
FIRST = ("account",)
"""Tables that others refer to."""


class CopyError(ChappeError):
    """The copy cannot begin, or its result is wrong; the message says why."""


@dataclass(slots=True, frozen=True)
class Table:
    """Columns in an order that both sides share; the key's are some of them."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    def key_of(self, row: Row) -> Row:
        return tuple(row[self.columns.index(column)] for column in self.key)


@dataclass(slots=True, frozen=True)
class Copied:
    """A table, equal on both sides."""

    table: str
    rows: int
    digest: str


class Side(Protocol):
    """A database, open and migrated. Values are int, str, bytes and None; truths are 1 and 0."""

    @property
    def name(self) -> str:
        """Its URL, without a password."""
        ...

    async def tables(self) -> list[Table]:
        """All that belongs to the system, and nothing of the engine's own; columns in alphabetical order."""
        ...

    async def others(self) -> str | None:
        """Who else is working in it, if anybody."""
        ...

    async def count(self, table: Table) -> int: ...

    async def is_empty(self, table: Table) -> bool: ...

    async def last_key(self, table: Table) -> Row | None: ...

    async def read(self, table: Table, after: Row | None, limit: int) -> list[Row]:
        """The next rows in the order of the key."""
        ...

    async def write(self, table: Table, rows: list[Row]) -> None:
        """Inserts them, in one transaction."""
        ...

    async def next_ids(self) -> Mapping[str, int]:
        """The next id of each sequence by the name of what it counts."""
        ...

    async def set_next_ids(self, next_ids: Mapping[str, int]) -> None:
        """Also makes room for the rows with all ids below, and lets the tables' own ids go on after what they hold."""
        ...

    async def copied_from(self) -> str | None:
        """The mark of a copy that is not finished: the source's name."""
        ...

    async def mark(self, source: str) -> None: ...

    async def unmark(self) -> None:
        """Returns once everything written is on disk."""
        ...


Progress = Callable[[str, int], None]
"""Told what is being done, and how many rows of it are done since the last call."""


class Copy:
    """One copy, from the first row or from where an earlier one was interrupted."""

    def __init__(self, source: Side, target: Side, batch: int = BATCH) -> None:
        self._source = source
        self._target = target
        self._batch = batch
        self._tables: list[Table] = []
        self.resumed = False

    async def prepare(self) -> int:
        """Checks that it may begin, marks the target, and returns how many rows there are. Raises CopyError."""
        source, target = self._source, self._target
        for side in (source, target):
            if others := await side.others():
                raise CopyError(f"{side.name} is in use by {others}: stop it first")
        if (unfinished := await source.copied_from()) is not None:
            raise CopyError(f"{source.name} is itself an unfinished copy, of {unfinished}")
        self._tables = sorted(await source.tables(), key=lambda table: (table.name not in FIRST, table.name))
        if different := {table.name for table in {*self._tables} ^ {*await target.tables()}}:
            raise CopyError(f"not the same on both sides: the tables {', '.join(sorted(different))}")
        begun = await target.copied_from()
        if begun is None:
            for table in self._tables:
                if not await target.is_empty(table):
                    raise CopyError(f"{target.name} has other data, in the table {table.name}: copy into an empty one")
            await target.mark(source.name)
        elif begun != source.name:
            raise CopyError(f"{target.name} is an unfinished copy of {begun}, not of {source.name}")
        self.resumed = begun is not None
        await target.set_next_ids(await source.next_ids())
        return sum([await source.count(table) for table in self._tables])

    async def copy(self, progress: Progress) -> None:
        """Copies what is missing."""
        for table in self._tables:
            after = await self._target.last_key(table)
            if after is not None:
                progress(table.name, await self._target.count(table))
            rows = await self._source.read(table, after, self._batch)
            while rows:
                # The next ones are read while these are written.
                reading = asyncio.ensure_future(self._source.read(table, table.key_of(rows[-1]), self._batch))
                try:
                    await self._target.write(table, rows)
                finally:
                    if not reading.done():
                        await asyncio.wait([reading])
                progress(table.name, len(rows))
                rows = await reading

    async def verify(self, progress: Progress) -> list[Copied]:
        """Reads both sides anew, and takes the mark away if they are equal. Raises CopyError."""
        copied = []
        for table in self._tables:
            ours, theirs = await asyncio.gather(
                self._read_through(self._source, table, progress), self._read_through(self._target, table, progress)
            )
            if ours != theirs:
                raise CopyError(
                    f"the table {table.name} differs: {ours.rows} rows with the checksum {ours.digest} in "
                    f"{self._source.name}, {theirs.rows} with {theirs.digest} in {self._target.name}. Was the source "
                    "used meanwhile? Empty the target and copy again"
                )
            copied.append(ours)
        if others := await self._source.others():
            raise CopyError(f"{self._source.name} is in use by {others}: what it does now is not in the copy")
        await self._target.set_next_ids(await self._source.next_ids())
        await self._target.unmark()
        return copied

    async def _read_through(self, side: Side, table: Table, progress: Progress) -> Copied:
        """Both engines give rows in the same order: keys are numbers, or texts compared by bytes."""
        digest, count = hashlib.blake2b(digest_size=8), 0
        after = None
        while rows := await side.read(table, after, self._batch):
            digest.update(_LINES.encode_lines(rows))
            count += len(rows)
            after = table.key_of(rows[-1])
            progress(table.name, len(rows))
        return Copied(table.name, count, digest.hexdigest())


_LINES = msgspec.json.Encoder()
