"""Reading queries and paths: numbers, ids, names and limits, each with the code of what is wrong with it."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from chappe.api.http import Request
from chappe.api.problems import INVALID_NUMBER, INVALID_PARAMETER, Hint, Problem
from chappe.core.errors import Invalid
from chappe.core.message import MessageId
from chappe.core.numbers import parse_number

MAX_ID = (1 << 63) - 1
NO_NUMBER = 10
_ID = re.compile("[0-9]{1,19}")


def values(query: bytes, name: str) -> list[str]:
    """The values of a parameter that are not empty; clients send empty ones for what they do not ask."""
    found = []
    text = query.decode("latin-1")
    read = unquote_plus if "%" in text or "+" in text else str  # most have nothing encoded
    for pair in text.split("&"):
        written_name, _, value = pair.partition("=")
        if value and read(written_name) == name:
            # A literal plus sign in front of digits was meant as one, though it is an encoded space.
            plus = "+" if value[0] == "+" and "0" <= value[1:2] <= "9" else ""
            found.append(plus + read(value[len(plus) :]))
    return found


def value(request: Request, name: str) -> str | None:
    """The one value of a parameter, None when it is absent or empty. Raises Problem 1001."""
    found = values(request.scope["query_string"], name)
    if len(found) > 1 or (found and "\0" in found[0]):  # PostgreSQL's text cannot hold NUL
        raise Problem(INVALID_PARAMETER, name)
    return found[0] if found else None


def whole(request: Request, name: str, default: int, *, least: int, most: int, code: int = INVALID_PARAMETER) -> int:
    text = value(request, name)
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,18}", text) or not least <= int(text) <= most:
        raise Problem(code, name)
    return int(text)


def read_number(identifier: str, country: str, field: str = "identifier") -> str:
    try:
        return parse_number(identifier, country)
    except Invalid as error:
        hint = Hint.USE_SNAPSHOT_ID if _ID.fullmatch(identifier) else None
        raise Problem(INVALID_NUMBER, field, hint=hint) from error


def read_id(snapshot_id: str, field: str = "snapshotId") -> MessageId:
    if not _ID.fullmatch(snapshot_id) or int(snapshot_id) > MAX_ID:
        raise Problem(INVALID_PARAMETER, field)
    return MessageId(int(snapshot_id))


def written(number: str | int) -> str:
    """A number that stands in a body; written as JSON number, its digits are what was meant, unless nobody could."""
    if isinstance(number, int):
        return str(number) if 0 <= number < 10**15 else "?"
    return number


def body_identifier(number: str | int | None) -> str:
    """A number that a body has to have. Raises Problem 10."""
    if number is None or number == "":
        raise Problem(NO_NUMBER, "identifier")
    return written(number)
