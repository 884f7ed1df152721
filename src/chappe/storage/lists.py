"""Lists of contacts in the store, for every engine: fields, contacts, imports, and the removal of what was emptied.

Steps as in `work`. Whoever changes what a list holds takes the list first (`take_list`): so its number of contacts is
exact, and nothing is added to an edition that has been emptied meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from chappe.core.contacts import Batch, Column
from chappe.core.lists import (
    ALREADY_THERE,
    LIST_NOT_FOUND,
    MAX_FIELDS,
    OPERATION_LOST_MS,
    OPERATIONS_KEPT_MS,
    REFUSED_KEPT,
    TOO_MANY_FIELDS,
    Contact,
    ContactId,
    ContactList,
    FieldId,
    ListField,
    ListId,
    Operation,
    OperationId,
    OperationState,
    Refusal,
)
from chappe.core.message import AccountId, NotAccepted
from chappe.core.personalise import FieldType, name_key
from chappe.storage.engine import Engine
from chappe.storage.steps import Row, Steps, ask, lock, tell

DROPPED_AT_ONCE = 2_000
"""Contacts of an emptied list that one sweep removes at most; its transaction stays short."""
NAME_TAKEN = 1001

_TYPES = tuple(FieldType)
"""A stored type is its place here."""
_attributes = msgspec.json.Decoder(dict[int, str])
_encode = msgspec.json.Encoder().encode


def field_of(row: Row) -> ListField:
    """A row of `list_field`, its columns in the order of the record's fields."""
    field = ListField(*row)
    field.type = _TYPES[row[3]]
    return field


def operation_of(row: Row) -> Operation:
    """A row of `operation`, likewise."""
    operation = Operation(*row)
    operation.state = OperationState(row[3])
    return operation


# --- lists and fields --------------------------------------------------------------------------------


def create_list(account: AccountId, name: str, now: int) -> Steps[ListId]:
    [(list_,)] = yield from ask("insert_list", [(account, name, now)])
    return ListId(list_)


def delete_list(account: AccountId, list_: ListId) -> Steps[bool]:
    """See `ports.Contacts.delete_list`."""
    edition = yield from _take(account, list_)
    if edition is None:
        return False
    yield from ask("delete_list", [(list_,)])
    yield from tell("remove_fields", [(list_,)])
    yield from tell("discard", [(list_, edition)])
    return True


def empty_list(account: AccountId, list_: ListId) -> Steps[bool]:
    """See `ports.Contacts.empty_list`."""
    edition = yield from _take(account, list_)
    if edition is None:
        return False
    yield from tell("next_edition", [(list_,)])
    yield from tell("discard", [(list_, edition)])
    return True


def add_field(
    account: AccountId, list_: ListId, name: str, type_: FieldType, format_: str | None
) -> Steps[FieldId | NotAccepted]:
    """See `ports.Contacts.add_field`."""
    if (yield from _take(account, list_)) is None:
        return NotAccepted(LIST_NOT_FOUND)
    known = yield from _known_fields(list_)
    if name_key(name) in known:
        return NotAccepted(NAME_TAKEN)
    if len(known) >= MAX_FIELDS:
        return NotAccepted(TOO_MANY_FIELDS)
    made = yield from _make_fields(account, list_, [Column(name, type_, format_)])
    return made[name_key(name)]


def remove_field(account: AccountId, list_: ListId, field: FieldId) -> Steps[bool]:
    """See `ports.Contacts.remove_field`: the values stay in the rows, and nobody reads them any more."""
    return bool((yield from ask("remove_field", [(account, list_, field)])))


def _take(account: AccountId, list_: ListId) -> Steps[int | None]:
    """The list's edition, held to the end of the transaction; None when the account has no such list."""
    rows = yield from ask("take_list", [(account, list_)])
    return rows[0][0] if rows else None


def _known_fields(list_: ListId) -> Steps[dict[str, FieldId]]:
    return {key: FieldId(field) for key, field in (yield from ask("fields_of_list", [(list_,)]))}


def _make_fields(account: AccountId, list_: ListId, columns: Sequence[Column]) -> Steps[dict[str, FieldId]]:
    rows = [
        (account, list_, column.name, name_key(column.name), _TYPES.index(column.type), column.format)
        for column in columns
    ]
    return {key: FieldId(field) for key, field in (yield from ask("insert_field", rows))}


# --- contacts ----------------------------------------------------------------------------------------


def add_contact(
    account: AccountId, list_: ListId, number: str, values: Mapping[FieldId, str]
) -> Steps[ContactId | NotAccepted]:
    """See `ports.Contacts.add_contact`."""
    edition = yield from _take(account, list_)
    if edition is None:
        return NotAccepted(LIST_NOT_FOUND)
    if (yield from ask("contacts_of_numbers", [(list_, edition, number)])):
        return NotAccepted(ALREADY_THERE)
    [(contact,)] = yield from ask("insert_contact", [(account, list_, edition, number, _text_of(values))])
    yield from tell("count_list", [(1, list_)])
    return ContactId(contact)


def remove_contact(account: AccountId, list_: ListId, contact: ContactId | str) -> Steps[bool]:
    """See `ports.Contacts.remove_contact`."""
    edition = yield from _take(account, list_)
    if edition is None:
        return False
    statement = "remove_contact_of_number" if isinstance(contact, str) else "remove_contact"
    removed = yield from ask(statement, [(list_, edition, contact)])
    yield from tell("count_list", [(-1, list_) for _ in removed])
    return bool(removed)


def _text_of(values: Mapping[FieldId, str]) -> str:
    return _encode(values).decode()


def _values_of(text: str) -> dict[FieldId, str]:
    return {FieldId(field): value for field, value in _attributes.decode(text).items()}


# --- imports -----------------------------------------------------------------------------------------


def begin_import(
    account: AccountId, list_: ListId, columns: Sequence[Column], total: int | None, now: int
) -> Steps[tuple[Operation, list[FieldId]] | NotAccepted]:
    """See `ports.Contacts.begin_import`."""
    if (yield from _take(account, list_)) is None:
        return NotAccepted(LIST_NOT_FOUND)
    known = yield from _known_fields(list_)
    new = [column for column in columns if name_key(column.name) not in known]
    if new and len(known) + len(new) > MAX_FIELDS:
        return NotAccepted(TOO_MANY_FIELDS)
    known |= yield from _make_fields(account, list_, new)
    [row] = yield from ask("insert_operation", [(account, list_, now, now, total)])
    return operation_of(row), [known[name_key(column.name)] for column in columns]


def import_contacts(
    account: AccountId, operation: OperationId, fields: Sequence[FieldId], batch: Batch, done: int, now: int
) -> Steps[Operation | None]:
    """See `ports.Contacts.import_contacts`."""
    rows = yield from ask("take_operation", [(account, operation)])
    running = operation_of(rows[0]) if rows else None
    if running is None or running.state is not OperationState.RUNNING:
        return None
    edition = yield from _take(account, running.list)
    if edition is None:
        return None
    numbers = sorted({row.number for row in batch.accepted})
    there = {
        number: (id_, attributes)
        for number, id_, attributes in (
            yield from ask("contacts_of_numbers", [(running.list, edition, number) for number in numbers])
        )
    }
    values: dict[str, dict[FieldId, str]] = {}
    for row in batch.accepted:
        given = {field: value for field, value in zip(fields, row.values, strict=True) if value}
        earlier = values.get(row.number)
        values[row.number] = given if earlier is None else earlier | given
    new = [
        (account, running.list, edition, number, _text_of(given))
        for number, given in values.items()
        if number not in there
    ]
    changed = [
        (text, id_)
        for number, (id_, attributes) in there.items()
        if (text := _text_of(_values_of(attributes) | values[number])) != attributes
    ]
    yield from ask("insert_contact", new)
    yield from tell("update_contact", sorted(changed, key=lambda row: row[1]))
    yield from tell("count_list", [(len(new), running.list)] if new else [])
    yield from tell(
        "insert_refused",
        [
            (operation, seq, account, row.line, row.code, row.reason.value, row.column)
            for seq, row in enumerate(batch.refused, running.refused + 1)
            if seq <= REFUSED_KEPT
        ],
    )
    running.touched_at = now
    running.done += done
    running.imported += len(new)
    running.updated += len(batch.accepted) - len(new)
    running.refused += len(batch.refused)
    yield from _update_operation(running)
    return running


def end_import(account: AccountId, operation: OperationId, state: OperationState, now: int) -> Steps[Operation | None]:
    """See `ports.Contacts.end_import`."""
    rows = yield from ask("take_operation", [(account, operation)])
    if not rows:
        return None
    found = operation_of(rows[0])
    if found.state is OperationState.RUNNING:
        found.state, found.touched_at = state, now
        yield from _update_operation(found)
    return found


def _update_operation(one: Operation) -> Steps[None]:
    row = (int(one.state), one.touched_at, one.done, one.imported, one.updated, one.refused, one.id)
    yield from tell("update_operation", [row])


# --- the passing of time -----------------------------------------------------------------------------


def tidy_lists(now: int) -> Steps[None]:
    """Removes some of what was emptied or deleted; ends operations that nobody carries on, and drops an old one."""
    yield from lock("lists")  # one node at a time: what is not found any more must be gone, not held by another
    for list_, edition in (yield from ask("next_discarded", [()])):
        dropped = yield from ask("drop_contacts", [(list_, edition, DROPPED_AT_ONCE)])
        if len(dropped) < DROPPED_AT_ONCE:
            yield from tell("end_discarded", [(list_, edition)])
    yield from tell("end_lost_operations", [(now - OPERATION_LOST_MS,)])
    gone = yield from ask("drop_operation", [(now - OPERATIONS_KEPT_MS,)])
    yield from tell("drop_refused", gone)


# --- the calls ---------------------------------------------------------------------------------------

JOBS: Mapping[str, Callable[..., Steps[Any]]] = {
    "create_list": create_list,
    "delete_list": delete_list,
    "empty_list": empty_list,
    "add_field": add_field,
    "remove_field": remove_field,
    "add_contact": add_contact,
    "remove_contact": remove_contact,
    "begin_import": begin_import,
    "import_contacts": import_contacts,
    "end_import": end_import,
    "tidy_lists": tidy_lists,
}
"""The kinds of job; a payload is the arguments."""


class ListCalls(Engine):
    """`Contacts`."""

    async def create_list(self, account: AccountId, name: str, now: int) -> ListId:
        list_: ListId = await self._change("create_list", (account, name, now))
        return list_

    async def list_lists(self, account: AccountId, *, after: int, limit: int) -> list[ContactList]:
        return [ContactList(*row) for row in await self._look_up("read_lists", (account, after, limit))]

    async def find_list(self, account: AccountId, list_: ListId) -> ContactList | None:
        row = await self._find("find_list", (account, list_))
        return None if row is None else ContactList(*row)

    async def delete_list(self, account: AccountId, list_: ListId) -> bool:
        deleted: bool = await self._change("delete_list", (account, list_))
        return deleted

    async def empty_list(self, account: AccountId, list_: ListId) -> bool:
        emptied: bool = await self._change("empty_list", (account, list_))
        return emptied

    async def add_field(
        self, account: AccountId, list_: ListId, name: str, type_: FieldType, format_: str | None
    ) -> FieldId | NotAccepted:
        added: FieldId | NotAccepted = await self._change("add_field", (account, list_, name, type_, format_))
        return added

    async def list_fields(self, account: AccountId, list_: ListId, last: ListId | None = None) -> list[ListField]:
        rows = await self._look_up("read_fields", (account, list_, list_ if last is None else last))
        return [field_of(row) for row in rows]

    async def remove_field(self, account: AccountId, list_: ListId, field: FieldId) -> bool:
        removed: bool = await self._change("remove_field", (account, list_, field))
        return removed

    async def add_contact(
        self, account: AccountId, list_: ListId, number: str, values: Mapping[FieldId, str]
    ) -> ContactId | NotAccepted:
        added: ContactId | NotAccepted = await self._change("add_contact", (account, list_, number, values))
        return added

    async def find_contact(self, account: AccountId, list_: ListId, number: str) -> Contact | None:
        found = await self._contacts(account, list_, await self._look_up("find_contact", (account, list_, number)))
        return found[0] if found else None

    async def read_contacts(self, account: AccountId, list_: ListId, *, after: int, limit: int) -> list[Contact]:
        rows = await self._look_up("read_contacts", (account, list_, after, limit))
        return await self._contacts(account, list_, rows)

    async def count_contacts(self, account: AccountId, list_: ListId) -> int:
        found = await self.find_list(account, list_)
        return 0 if found is None else found.contacts

    async def remove_contact(self, account: AccountId, list_: ListId, contact: ContactId | str) -> bool:
        removed: bool = await self._change("remove_contact", (account, list_, contact))
        return removed

    async def begin_import(
        self, account: AccountId, list_: ListId, columns: Sequence[Column], total: int | None, now: int
    ) -> tuple[Operation, list[FieldId]] | NotAccepted:
        begun: tuple[Operation, list[FieldId]] | NotAccepted = await self._change(
            "begin_import", (account, list_, columns, total, now)
        )
        return begun

    async def import_contacts(
        self, account: AccountId, operation: OperationId, fields: Sequence[FieldId], batch: Batch, done: int, now: int
    ) -> Operation | None:
        running: Operation | None = await self._change(
            "import_contacts", (account, operation, fields, batch, done, now)
        )
        return running

    async def end_import(
        self, account: AccountId, operation: OperationId, state: OperationState, now: int
    ) -> Operation | None:
        ended: Operation | None = await self._change("end_import", (account, operation, state, now))
        return ended

    async def find_operation(self, account: AccountId, operation: OperationId) -> Operation | None:
        row = await self._find("find_operation", (account, operation))
        return None if row is None else operation_of(row)

    async def list_refused(
        self, account: AccountId, operation: OperationId, *, after: int, limit: int
    ) -> list[Refusal]:
        rows = await self._look_up("read_refused", (account, operation, after, limit))
        return [Refusal(*row) for row in rows]

    async def _contacts(self, account: AccountId, list_: ListId, rows: Sequence[Row]) -> list[Contact]:
        if not rows:
            return []
        fields = {field.id for field in await self.list_fields(account, list_)}
        return [
            Contact(
                ContactId(id_),
                ListId(of),
                number,
                {field: value for field, value in _values_of(attributes).items() if field in fields},
            )
            for id_, of, number, attributes in rows
        ]
