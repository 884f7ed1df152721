"""Lists of contacts, their fields, and imports: the records, and what a name may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

from chappe.core.contacts import BAD_VALUE, MAX_COLUMNS, TEL
from chappe.core.errors import Invalid
from chappe.core.message import AccountId
from chappe.core.personalise import LINK, FieldType, ValueProblem, name_key, parse_value

ListId = NewType("ListId", int)
FieldId = NewType("FieldId", int)
ContactId = NewType("ContactId", int)
OperationId = NewType("OperationId", int)

MAX_FIELDS = MAX_COLUMNS
"""Of one list; code 17 beyond."""
LONGEST_NAME = 100
"""Characters of a list's or a field's name."""

REFUSED_KEPT = 10_000
"""Refused rows of one import that can be read again; all of them are counted."""
OPERATION_LOST_MS = 60_000
OPERATIONS_KEPT_MS = 30 * 24 * 3_600_000

LIST_NOT_FOUND, ALREADY_THERE, TOO_MANY_FIELDS = 60, 15, 17


@dataclass(slots=True)
class ContactList:
    id: ListId
    account: AccountId
    name: str
    created_at: int
    contacts: int = 0
    """How many it has now."""


@dataclass(slots=True)
class ListField:
    """What contacts of a list may have a value for; texts name it as `${name}`."""

    id: FieldId
    list: ListId
    name: str
    type: FieldType
    format: str | None = None


@dataclass(slots=True)
class Contact:
    """A number on a list, with a value as a message will show it for each field that has one."""

    id: ContactId
    list: ListId
    number: str
    values: dict[FieldId, str] = field(default_factory=dict)


class OperationState(IntEnum):
    RUNNING = 0
    DONE = 1
    INTERRUPTED = 2
    """Ended before its last row: what was counted is stored, the rest is not."""


@dataclass(slots=True)
class Operation:
    """An import. `done` of `total` are octets of a file (no total when nobody said it), or rows."""

    id: OperationId
    account: AccountId
    list: ListId
    state: OperationState
    began_at: int
    touched_at: int
    """When it last got further, or ended."""
    total: int | None
    done: int
    imported: int
    """Numbers that are new on the list."""
    updated: int
    """Rows whose number was there already, from before or from an earlier row."""
    refused: int


@dataclass(slots=True)
class Refusal:
    """A row that was not taken: `seq` counts them within their operation, from 1; the rest as in `RefusedRow`."""

    seq: int
    line: int
    code: int
    reason: str
    column: str | None


def check_name(name: str) -> str:
    """The name of a list or a field, without spaces around. Raises Invalid 1001 `name`."""
    plain = parse_value(FieldType.STRING, None, name)
    if isinstance(plain, ValueProblem) or not plain or len(plain) > LONGEST_NAME:
        raise Invalid(BAD_VALUE, "name")
    return plain


def check_field_name(name: str) -> str:
    """As `check_name`; a field must also be nameable in a text, and not be what imports and texts call otherwise."""
    plain = check_name(name)
    if name_key(plain) in (LINK, TEL) or set(plain) & set("{}"):
        raise Invalid(BAD_VALUE, "name")
    return plain
