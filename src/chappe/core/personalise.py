"""Texts with `${field}` in them, and the typed values that go there.

A template is cut once per campaign and joined once per recipient. Nothing is evaluated, and a value that looks like a
placeholder is text. Whether a recipient without a value is written to or left out is the campaign's decision;
`Template.missing` names what it needs to know.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum

from chappe.core.errors import Invalid
from chappe.core.text import uncodable

LINK = "rich_message"
"""The placeholder of the campaign's tracked link; no field can take its name."""

LONGEST_VALUE = 500
"""Characters; a value is part of an SMS."""


# --- templates -----------------------------------------------------------------------------------------


class UnknownField(Invalid):
    """The text names a field that the list does not have (1001, `message`); `name` is as it was written."""

    def __init__(self, name: str) -> None:
        super().__init__(1001, "message")
        self.name = name

    def __str__(self) -> str:
        return f"code {self.code}: {self.field} has no field ${{{self.name}}}"


@dataclass(slots=True, frozen=True)
class Template:
    """A text ready to be filled in: `texts` around and between `keys`, one more text than keys.

    A key is what the values are looked up by; None stands for the tracked link.
    """

    texts: tuple[str, ...]
    keys: tuple[str | None, ...]
    names: tuple[str, ...]
    """The placeholders as they were written, for people."""

    @property
    def wants_link(self) -> bool:
        return None in self.keys

    @property
    def is_constant(self) -> bool:
        """Every recipient gets the same text."""
        return not self.keys

    def render(self, values: Mapping[str, str], link: str = "") -> str:
        """The text for one recipient; what has no value is empty. One pass: values are never read as placeholders."""
        if not self.keys:
            return self.texts[0]
        pieces = [self.texts[0]]
        for key, text in zip(self.keys, self.texts[1:], strict=True):
            pieces += (link if key is None else values.get(key, ""), text)
        return "".join(pieces)

    def missing(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """The placeholders that stay empty for this recipient, each once, as they were written."""
        return tuple(
            dict.fromkeys(
                name
                for key, name in zip(self.keys, self.names, strict=True)
                if key is not None and not values.get(key, "").strip()
            )
        )


def compile_template(text: str, fields: Mapping[str, str], *, link: bool = False) -> Template:
    """The text as a template. Raises UnknownField for the first placeholder that is none of the fields.

    `fields` maps the names of the list's fields to the keys their values are stored under. Names are the same when
    `name_key` says so. `link`: the campaign has an address for `${rich_message}`. A `${` that nothing closes, or that
    holds a brace, is ordinary text.
    """
    keys_by_name = {name_key(name): key for name, key in fields.items()}
    texts, names = _split(text)
    keys: list[str | None] = []
    for name in names:
        plain = name_key(name)
        if plain == LINK and link:
            keys.append(None)
        elif plain != LINK and plain in keys_by_name:
            keys.append(keys_by_name[plain])
        else:
            raise UnknownField(name)
    return Template(tuple(texts), tuple(keys), tuple(names))


def name_key(name: str) -> str:
    """What makes two names of a field or a column the same: all but case, spaces around, and Unicode's spellings.

    Accents count: a list may well have `prenom` and `prénom`, and `${prenom}` must not guess.
    """
    folded = unicodedata.normalize("NFD", name).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")


def _split(text: str) -> tuple[list[str], list[str]]:
    pieces = _PLACEHOLDER.split(text)
    return pieces[::2], [name.strip() for name in pieces[1::2]]


# --- typed values --------------------------------------------------------------------------------------


class FieldType(Enum):
    STRING = "STRING"
    NUMBER = "NUMBER"
    DATE = "DATE"


class ValueProblem(Enum):
    """Why a value does not fit its field."""

    NOT_TEXT = "notText"
    """A JSON object, list, true or false."""
    NOT_A_NUMBER = "notANumber"
    NOT_A_DATE = "notADate"
    TOO_LONG = "tooLong"
    CHARACTERS = "characters"
    """One that no SMS can carry, or that an earlier program could not read and replaced."""


DATE_FORMATS: Sequence[str] = ("dd/MM/yyyy", "dd/MM", "MM/yyyy")
"""The contract's, §6; a DATE field without one has the first."""


def check_field(type_name: str, format_name: str | None) -> tuple[FieldType, str | None]:
    """The type and format of a new field. Raises Invalid 1001 for `type` or `format`; only a DATE has a format."""
    try:
        field_type = FieldType(type_name)
    except ValueError:
        raise Invalid(1001, "type") from None
    if field_type is not FieldType.DATE:
        if format_name:
            raise Invalid(1001, "format")
        return field_type, None
    if not format_name:
        return field_type, DATE_FORMATS[0]
    if format_name not in DATE_FORMATS:
        raise Invalid(1001, "format")
    return field_type, format_name


def parse_value(field_type: FieldType, format_name: str | None, raw: object) -> str | ValueProblem:
    """The value as a message will show it, or why it cannot be one. Empty, blank and null are no value: empty.

    `raw` comes from JSON or is a cell of a file.
    STRING: as it is, without spaces around; tabs are spaces.
    NUMBER: the sign, the digits and the comma or point as written; spaces between thousands go.
    DATE: in the field's format, with zeros; the day comes first, or the year in front of two dashes (what spreadsheets
    export, a time behind it is left out); a day that a format does not show need not be given, and must exist if it is.
    """
    if raw is None or raw == "":
        return ""
    if isinstance(raw, str):
        text = raw
    elif isinstance(raw, int | float) and not isinstance(raw, bool):
        plain = _plain_number(raw)
        if plain is None:
            return ValueProblem.NOT_A_NUMBER
        text = plain
    else:
        return ValueProblem.NOT_TEXT
    text = text.strip()
    if len(text) > LONGEST_VALUE:
        return ValueProblem.TOO_LONG
    return _PARSERS[field_type](text, format_name) if text else ""


_LONGEST_NUMBER = 30


def _plain_number(number: float) -> str | None:
    """Without an exponent, and 12.0 as 12; None for what is infinite, none, or absurdly long."""
    if isinstance(number, int):
        return str(number) if abs(number) < 10**_LONGEST_NUMBER else None
    exact = Decimal(repr(number))
    if not exact.is_finite() or not -_LONGEST_NUMBER < exact.adjusted() < _LONGEST_NUMBER:
        return None
    plain = f"{exact:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _parse_string(text: str, _format: str | None) -> str | ValueProblem:
    if text.isprintable() and "\ufffd" not in text:
        return text
    text = text.replace("\t", " ")
    return ValueProblem.CHARACTERS if "\ufffd" in text or uncodable(text) is not None else text


_SPACES = dict.fromkeys(map(ord, " \u00a0\u2009\u202f"))
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?")


def _parse_number(text: str, _format: str | None) -> str | ValueProblem:
    number = text.translate(_SPACES).replace("\u2212", "-")
    if len(number) > _LONGEST_NUMBER or not _NUMBER.fullmatch(number):
        return ValueProblem.NOT_A_NUMBER
    return number


_SEPARATED = "[ ]*[/.-][ ]*"
_DAY_FIRST = re.compile(f"([0-9]{{1,2}}){_SEPARATED}([0-9]{{1,2}})(?:{_SEPARATED}([0-9]{{4}}))?")
_MONTH_FIRST = re.compile(f"([0-9]{{1,2}}){_SEPARATED}([0-9]{{4}})")
_YEAR_FIRST = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[ T][0-9:.+Z-]*)?")

_LEAP_YEAR = 2000
"""Makes 29/02 a day when no year is given."""


def _parse_date(text: str, format_name: str | None) -> str | ValueProblem:
    if found := _YEAR_FIRST.fullmatch(text):
        year, month, day = found.groups()
    elif found := _DAY_FIRST.fullmatch(text):
        day, month, year = found.groups()
    elif format_name == "MM/yyyy" and (found := _MONTH_FIRST.fullmatch(text)):
        day, (month, year) = "1", found.groups()
    else:
        return ValueProblem.NOT_A_DATE
    if year is None and format_name != "dd/MM":
        return ValueProblem.NOT_A_DATE
    try:
        read = date(int(year or _LEAP_YEAR), int(month), int(day))
    except ValueError:
        return ValueProblem.NOT_A_DATE
    match format_name:
        case "dd/MM":
            return f"{read.day:02}/{read.month:02}"
        case "MM/yyyy":
            return f"{read.month:02}/{read.year:04}"
        case _:
            return f"{read.day:02}/{read.month:02}/{read.year:04}"


_PARSERS: Mapping[FieldType, Callable[[str, str | None], str | ValueProblem]] = {
    FieldType.STRING: _parse_string,
    FieldType.NUMBER: _parse_number,
    FieldType.DATE: _parse_date,
}
