"""Contacts from a file or from JSON: rows in, numbers with typed values and refusals with reasons out.

A file is read as it arrives, in constant memory: encoding and separator are found out from its first rows. Nothing is
stored here, and the same number twice is two contacts: only the caller knows the list.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from chappe.core.errors import Invalid
from chappe.core.numbers import NumberError, PhoneNumber, parse_mobile
from chappe.core.personalise import LINK, FieldType, ValueProblem, name_key, parse_value

MAX_COLUMNS = 100

TEL = "tel"

TEL_TOO: Sequence[str] = (
    # What spreadsheets in French and English call it; the first of these that a file has is the number.
    *("mobile", "portable", "telephonemobile", "telephoneportable", "telmobile", "telportable", "mobilephone", "gsm"),
    *("numeromobile", "numeroportable", "mobilenumber", "cellphone", "cell", "sms"),
    *("telephone", "numerodetelephone", "numerotelephone", "numtel", "numerotel", "phone", "phonenumber", "msisdn"),
    *("numerodetel", "ndetelephone", "ndetel", "numero", "num", "number", "identifier"),
)
"""Also the number's column in a file, when it has no `tel`; without accents and anything but letters."""

NO_TEL, TOO_MANY_COLUMNS, BAD_VALUE, NO_NUMBER, INVALID_NUMBER = 75, 17, 1001, 10, 11


class RowProblem(Enum):
    """Why a row is refused whose cells were not even looked at."""

    NUMBER = "number"
    """The number; the code says what is wrong with it."""
    CELLS = "cells"
    """More cells than columns: mostly a separator inside a cell without quotes."""
    UNCLOSED = "unclosed"
    """A quote opens a cell and nothing closes it within MAX_LINES."""
    TOO_LONG = "tooLong"
    """A line longer than MAX_LINE, or a cell beyond what the csv module takes."""
    NOT_A_ROW = "notARow"
    """In JSON, something else than a list."""


@dataclass(slots=True)
class ContactRow:
    """A contact: `values` in the order of the header's columns, empty for none; `line` is where it began."""

    line: int
    number: PhoneNumber
    values: list[str]


@dataclass(slots=True)
class RefusedRow:
    """What was not taken, where, and why: the contract's code, and ours in a word. Never the cell itself."""

    line: int
    code: int
    reason: RowProblem | ValueProblem
    column: str | None = None


@dataclass(slots=True)
class Batch:
    accepted: list[ContactRow] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)


# --- the header ----------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Column:
    """A column and the type its values must have; STRING when the list has no such field yet."""

    name: str
    type: FieldType = FieldType.STRING
    format: str | None = None


@dataclass(slots=True, frozen=True)
class Header:
    """What the first row says: where the number is, and each other column that has a name."""

    tel: int
    tel_name: str
    width: int
    columns: tuple[Column, ...]
    positions: tuple[int, ...]
    """Of each of `columns` among the cells."""


def read_header(cells: Sequence[object], fields: Iterable[Column], *, synonyms: bool) -> Header:
    """The first row. Raises Invalid: 75 without a number's column, 17 for too many columns, 1001 for a bad name.

    `fields` are the list's; a name matches as `name_key` says. Columns that match none are kept as STRING: the caller
    makes fields of them or drops their values. Columns whose name is blank, or no text, are left out. `synonyms`: a
    file may call the number by one of TEL_TOO; the contract's JSON may not.
    """
    if len(cells) > MAX_COLUMNS:
        raise Invalid(TOO_MANY_COLUMNS)
    names = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
    tel = _find_tel([name_key(name) for name in names], synonyms=synonyms)
    if tel is None:
        raise Invalid(NO_TEL, TEL)
    known = {name_key(column.name): column for column in fields}
    columns: dict[str, tuple[Column, int]] = {}
    for position, name in enumerate(names):
        key = name_key(name)
        if position == tel or not key:
            continue
        column = known.get(key, Column(name))
        if key in columns or key == LINK or parse_value(FieldType.STRING, None, column.name) != column.name:
            raise Invalid(BAD_VALUE, name)
        columns[key] = (column, position)
    return Header(
        tel,
        names[tel],
        len(cells),
        tuple(column for column, _ in columns.values()),
        tuple(position for _, position in columns.values()),
    )


def _find_tel(keys: Sequence[str], *, synonyms: bool) -> int | None:
    if TEL in keys:
        return keys.index(TEL)
    if synonyms:
        letters = [_letters(key) for key in keys]
        for synonym in (TEL, *TEL_TOO):
            if synonym in letters:
                return letters.index(synonym)
    return None


def _letters(key: str) -> str:
    """NUL stays, so that UTF-16 without a mark, read as something else, has no column for the number."""
    return re.sub("[^a-z\0]", "", unicodedata.normalize("NFD", key))


# --- rows ----------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Home:
    """How the account reads numbers: as `parse_mobile` says."""

    country: str = "FR"
    international: bool = False


def read_rows(header: Header, rows: Iterable[object], home: Home, *, first: int = 2) -> Batch:
    """The rows of a JSON import behind its header; `first` is the number of the first of them."""
    batch = Batch()
    for line, row in enumerate(rows, first):
        if isinstance(row, list):
            _read_row(header, line, row, home, batch)
        else:
            batch.refused.append(RefusedRow(line, BAD_VALUE, RowProblem.NOT_A_ROW))
    return batch


def _read_row(header: Header, line: int, cells: Sequence[object], home: Home, batch: Batch) -> None:
    """Appends to one of the batch's lists; a row of nothing but blanks to neither."""
    width = len(cells)
    if width != header.width:
        if any(map(_is_filled, cells[header.width :])):
            batch.refused.append(RefusedRow(line, BAD_VALUE, RowProblem.CELLS))
            return
        cells = [*cells, *[""] * (header.width - width)]
    try:
        number = _read_number(cells[header.tel], home)
    except NumberError as error:
        if error.code != NO_NUMBER or any(map(_is_filled, cells)):
            batch.refused.append(RefusedRow(line, error.code, RowProblem.NUMBER, header.tel_name))
        return
    values = []
    for column, position in zip(header.columns, header.positions, strict=True):
        value = parse_value(column.type, column.format, cells[position])
        if isinstance(value, ValueProblem):
            batch.refused.append(RefusedRow(line, BAD_VALUE, value, column.name))
            return
        values.append(value)
    batch.accepted.append(ContactRow(line, number, values))


def _is_filled(cell: object) -> bool:
    return bool(cell.strip()) if isinstance(cell, str) else cell is not None


_COMPACT = dict.fromkeys(map(ord, " .-/()\u00a0\u202f"))
_SPREADSHEET = "'=\""
"""Around numbers that somebody kept a spreadsheet from calculating with: '0612345678 and ="0612345678"."""

_ZERO_LOST = re.compile("[67][0-9]{8}")
_PLUS_LOST = re.compile("33[67][0-9]{8}")
"""What a spreadsheet leaves of French mobiles. The library reads them too, at twenty times the price."""


def _read_number(cell: object, home: Home) -> PhoneNumber:
    """As `parse_mobile`, from a cell. Raises NumberError."""
    if isinstance(cell, str):
        raw = cell
    elif cell is None:
        raw = ""
    elif isinstance(cell, int) and 0 < cell < 10**15:
        raw = str(cell)
    else:
        raise NumberError(INVALID_NUMBER)
    if not raw.isalnum():
        raw = raw.translate(_COMPACT).strip(_SPREADSHEET)
    if home.country == "FR":
        if _ZERO_LOST.fullmatch(raw):
            raw = "0" + raw
        elif _PLUS_LOST.fullmatch(raw):
            raw = "+" + raw
    return parse_mobile(raw, home.country, international=home.international)


# --- files ---------------------------------------------------------------------------------------------

SEPARATORS = ";,\t|"

BLOCK = 64 * 1024
"""Octets looked at together: enough to tell the encoding and hold the header."""
MAX_LINE = 32 * 1024
MAX_LINES = 32
"""Characters of a line, lines of a row (a cell in quotes may go on over several)."""


class ContactFile:
    """A CSV file, read block by block. Every batch must be taken, then those of `finish`.

    UTF-8 with or without a byte order mark, UTF-16 with one, else Windows-1252; separated by one of SEPARATORS, the
    one that gives the header the most columns with a number among them, or by what a spreadsheet's `sep=` line says.
    `header`, `encoding` and `separator` are known once the first batch has come.
    """

    def __init__(self, fields: Iterable[Column] = (), home: Home | None = None) -> None:
        self.header: Header | None = None
        self.separator = SEPARATORS[0]
        self._fields = tuple(fields)
        self._home = home or Home()
        self._octets = bytearray()
        self._decoder = _Decoder()
        self._ends = io.IncrementalNewlineDecoder(None, translate=True)
        self._tail = ""
        self._lines: list[str] = []
        self._line = 1
        """The number of the first of `_lines`."""
        self._row = self._next = 0
        """Where in `_lines` the row being read begins, and the line to be read next."""
        self._is_cut = False
        """The lines, or a row's share of them, ended inside quotes."""

    @property
    def encoding(self) -> str | None:
        """As Python names it; None as long as everything was ASCII."""
        return self._decoder.encoding

    def feed(self, octets: bytes) -> Iterator[Batch]:
        """What can be said with these octets. Raises Invalid for the header, as `read_header` does."""
        self._octets += octets
        while len(self._octets) >= BLOCK:
            block = bytes(self._octets[:BLOCK])
            del self._octets[:BLOCK]
            yield self._read(block, final=False)

    def finish(self) -> Iterator[Batch]:
        """What was kept back until the end of the file was known. Raises Invalid as `feed` does."""
        yield self._read(bytes(self._octets), final=True)

    def _read(self, block: bytes, *, final: bool) -> Batch:
        text = self._tail + self._ends.decode(self._decoder.decode(block, final=final), final)
        self._lines += io.StringIO(text, newline="\n")
        self._tail = ""
        if self._lines and not final and not self._lines[-1].endswith("\n"):
            self._tail = self._lines.pop()[: MAX_LINE + 1]
        batch = Batch()
        self.header = self.header or self._read_header(final=final)
        if self.header is not None:
            self._read_rows(self.header, batch, final=final)
        self._line += self._row
        del self._lines[: self._row]
        self._row = 0
        return batch

    # --- the header

    def _read_header(self, *, final: bool) -> Header | None:
        """None while it has not come; lines of nothing in front of it do not count."""
        while self._row < len(self._lines) and not self._lines[self._row].strip():
            self._row += 1
        if self._row == len(self._lines):
            if final or len(self._tail) > MAX_LINE:
                raise Invalid(NO_TEL, TEL)
            return None
        separators = SEPARATORS
        if said := re.fullmatch("sep=(.)\n?", self._lines[self._row], re.IGNORECASE):
            separators = said[1]
            self._row += 1
        readings = [self._read_first(separator) for separator in separators]
        self.separator, cells, taken = max(readings, key=lambda reading: _columns_beside_tel(reading[1]))
        self._row += taken
        return read_header(cells, self._fields, synonyms=True)

    def _read_first(self, separator: str) -> tuple[str, list[str], int]:
        reader = csv.reader(self._lines[self._row : self._row + MAX_LINES], delimiter=separator)
        return separator, next(reader, []), reader.line_num

    # --- the rows

    def _read_rows(self, header: Header, batch: Batch, *, final: bool) -> None:
        """All whole rows there are; leaves `_row` at the first line of one that may go on in the next block."""
        has_long = max(map(len, self._lines), default=0) > MAX_LINE
        home, line = self._home, self._line
        while self._row < len(self._lines):
            self._next, self._is_cut = self._row, False
            try:
                for cells in csv.reader(self._pull(), delimiter=self.separator):
                    if self._is_cut:
                        break
                    if has_long and max(map(len, self._lines[self._row : self._next])) > MAX_LINE:
                        batch.refused.append(RefusedRow(line + self._row, BAD_VALUE, RowProblem.TOO_LONG))
                    else:
                        _read_row(header, line + self._row, cells, home, batch)
                    self._row = self._next
            except csv.Error:
                self._refuse(batch, RowProblem.TOO_LONG)
                continue
            if self._row < len(self._lines):
                if not final and self._next - self._row < MAX_LINES:
                    return
                self._refuse(batch, RowProblem.UNCLOSED)

    def _pull(self) -> Iterator[str]:
        """The lines as the csv module asks for them; the caller moves `_row`."""
        while self._next < len(self._lines) and self._next - self._row < MAX_LINES:
            self._next += 1
            yield self._lines[self._next - 1]
        self._is_cut = True

    def _refuse(self, batch: Batch, problem: RowProblem) -> None:
        """Only the row's first line: those behind it may well be rows of their own."""
        batch.refused.append(RefusedRow(self._line + self._row, BAD_VALUE, problem))
        self._row += 1


def _columns_beside_tel(cells: Sequence[str]) -> int:
    return 0 if _find_tel([name_key(cell) for cell in cells], synonyms=True) is None else len(cells)


class _Decoder:
    """Octets to text. ASCII says nothing: the first block that has more decides between UTF-8 and Windows-1252."""

    def __init__(self) -> None:
        self.encoding: str | None = None
        self._kept = b""
        self._has_begun = False
        self._decoder: codecs.IncrementalDecoder | None = None

    def decode(self, octets: bytes, *, final: bool) -> str:
        """Octets without a meaning come as U+FFFD, which `parse_value` refuses."""
        octets = self._kept + octets
        self._kept = b""
        if not self._has_begun:
            self._has_begun = True
            self.encoding = next((name for mark, name in _MARKS.items() if octets.startswith(mark)), None)
        if self._decoder is None:
            if self.encoding is None:
                attempt = codecs.getincrementaldecoder("utf-8")("replace")
                text = attempt.decode(octets, final)
                if text.isascii():
                    self._kept = attempt.getstate()[0]
                    return text
                self.encoding = "utf-8" if _is_utf_8(octets, text) else "cp1252"
            self._decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        return self._decoder.decode(octets, final)


_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def _is_utf_8(octets: bytes, text: str) -> bool:
    """Whether there are more characters that UTF-8 explains than octets it does not: one bad octet spoils no file."""
    unexplained = text.count("\ufffd") - octets.count("\ufffd".encode())
    return len(text) - len(text.encode("ascii", "ignore")) > 2 * unexplained
