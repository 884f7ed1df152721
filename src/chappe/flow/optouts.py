"""Opt-out lists as CSV files: a number, since when, and how far it goes.

    number,date,scope
    +33600000000,2026-11-24T08:00:00Z,account
    +33600000001,2026-11-24T08:00:00Z,sender:MyShop

A date may also be in milliseconds, a scope left out: then it is for the account. Nothing is stored here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from chappe.core.contacts import BAD_VALUE, Batch, Column, ContactFile, ContactRow, Header, Home, RefusedRow
from chappe.core.numbers import SenderError, parse_sender
from chappe.core.personalise import ValueProblem, name_key
from chappe.core.rules import Entry

COLUMNS = ("number", "date", "scope")
_DATE, _SCOPE = "date", "scope"
_SENDER = "sender:"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 253_402_300_799_999
"""The end of the year 9999."""


@dataclass(slots=True)
class OptOuts:
    """What a piece of a file says: (number, the one sender it is about, since when), as the store takes it."""

    read: list[tuple[str, str | None, int]] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)


class OptOutFile:
    """A file read as it arrives, in constant memory: see `ContactFile` for encodings and separators."""

    def __init__(self, country: str, now: int) -> None:
        """`now` stands where no date does."""
        # Any country: whoever may not be written to may as well be listed.
        self._file = ContactFile([Column(_DATE), Column(_SCOPE)], Home(country, international=True))
        self._now = now

    def feed(self, octets: bytes) -> Iterator[OptOuts]:
        """Raises Invalid when the first row names no column for the number."""
        for batch in self._file.feed(octets):
            yield self._read(batch)

    def finish(self) -> Iterator[OptOuts]:
        for batch in self._file.finish():
            yield self._read(batch)

    def _read(self, batch: Batch) -> OptOuts:
        found = OptOuts(refused=batch.refused)
        header = self._file.header
        if header is None:
            return found
        places = {name_key(column.name): place for place, column in enumerate(header.columns)}
        for row in batch.accepted:
            read = self._read_row(row, places, header)
            if isinstance(read, RefusedRow):
                found.refused.append(read)
            else:
                found.read.append(read)
        return found

    def _read_row(
        self, row: ContactRow, places: dict[str, int], header: Header
    ) -> tuple[str, str | None, int] | RefusedRow:
        date, scope = (row.values[places[name]] if name in places else "" for name in (_DATE, _SCOPE))
        try:
            at = read_date(date) if date else self._now
        except ValueError:
            return RefusedRow(row.line, BAD_VALUE, ValueProblem.NOT_A_DATE, header.columns[places[_DATE]].name)
        try:
            sender = read_scope(scope)
        except SenderError as error:
            return RefusedRow(row.line, error.code, ValueProblem.CHARACTERS, header.columns[places[_SCOPE]].name)
        return row.number, sender, at


def read_date(text: str) -> int:
    """ISO 8601, in local time without a zone, or milliseconds. Raises ValueError."""
    if re.fullmatch("[0-9]{12,15}", text):
        at = int(text)
    else:
        try:
            at = (datetime.fromisoformat(text).astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
        except (OverflowError, OSError) as error:  # the year 1, in some time zones
            raise ValueError(text) from error
    if not 0 <= at <= _LATEST_MS:
        raise ValueError(text)
    return at


def read_scope(text: str) -> str | None:
    """The sender that an opt-out is about, None for the account. Raises SenderError."""
    if text.lower() in ("", "account"):
        return None
    return parse_sender(text.removeprefix(_SENDER))


def row_of(entry: Entry) -> tuple[str, str, str]:
    """An entry as a row of the file."""
    at = (_EPOCH + timedelta(milliseconds=entry.at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return entry.number, at, "account" if entry.sender is None else _SENDER + entry.sender
