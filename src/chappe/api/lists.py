"""Lists of contacts, their fields, contacts and imports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from chappe.api.auth import authenticate
from chappe.api.http import Answer, Request, decode_json
from chappe.api.listing import AFTER, HEX_ID, json_answer, list_answer, or_unset, pages, read_after
from chappe.api.operations import IDENTIFIER, Operation, Origin, Parameter
from chappe.api.problems import ABSENT, INVALID_PARAMETER, Hint, Problem
from chappe.api.query import body_identifier, read_number, value, whole
from chappe.api.services import Services
from chappe.core import lists
from chappe.core.ids import Kind, hex_id, read_hex_id
from chappe.core.lists import (
    LIST_NOT_FOUND,
    Contact,
    ContactId,
    ContactList,
    FieldId,
    ListField,
    ListId,
    OperationId,
    OperationState,
    Refusal,
    check_field_name,
    check_name,
)
from chappe.core.message import Key, NotAccepted
from chappe.core.numbers import NumberError, parse_mobile
from chappe.core.personalise import DATE_FORMATS, FieldType, ValueProblem, check_field, parse_value
from chappe.flow import imports

MOST_JSON_BYTES = 4 << 20
MOST_FILE_BYTES = 256 << 20
"""Of one import, unpacked; code 18 beyond."""
FILE_TOO_LARGE = 18
DEFAULT_LIMIT, MOST_REFUSED = 100, 1_000
"""Refused rows in one answer."""


# --- bodies ------------------------------------------------------------------------------------------


class ListBody(msgspec.Struct):
    name: str | None = None


class FieldBody(msgspec.Struct):
    name: str | None = None
    type: str | None = None
    """STRING unless given."""
    format: str | None = None


class ContactBody(msgspec.Struct):
    identifier: str | int | None = None
    attributes: dict[str, Any] | list[Any] | None = None
    """By the ids of fields. An empty list is what some languages write for an empty object."""


class IdAnswer(msgspec.Struct):
    id: str


class FieldAnswer(msgspec.Struct, omit_defaults=True):
    id: str
    name: str
    type: str
    format: str | UnsetType = UNSET
    """Of a DATE."""


class ListAnswer(msgspec.Struct):
    id: str
    name: str
    fields: list[FieldAnswer]
    contacts: int
    """How many it has."""
    created: int


class ContactAnswer(msgspec.Struct):
    """Exactly these members: a strict client refuses others."""

    id: str
    identifier: str
    attributes: dict[str, str]
    listId: str  # noqa: N815 - the contract's spelling, here and below


class OperationAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How far an import has come."""

    id: str
    listId: str  # noqa: N815
    state: str
    """`RUNNING`, `DONE`, or `INTERRUPTED`: ended before its last row, with what is counted here stored."""
    percent: int | UnsetType = UNSET
    """Absent where nobody knows how much is to come."""
    rows: int
    """Read so far: those below."""
    imported: int
    """Numbers that are new on the list."""
    updated: int
    """Rows whose number was on the list already, or in an earlier row."""
    refused: int
    began: int
    ended: int | UnsetType = UNSET


class RefusalAnswer(msgspec.Struct, omit_defaults=True):
    row: int
    """The line of the file, or the place in the JSON, where it begins; the header is 1."""
    code: int
    reason: str
    column: str | UnsetType = UNSET


class RefusedAnswer(msgspec.Struct):
    refused: list[RefusalAnswer]
    next: str | UnsetType = UNSET
    """Where to go on: the value of `after`. Absent at the end."""


# --- routes ------------------------------------------------------------------------------------------


class Lists:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    # Lists

    async def create(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        body = decode_json(await request.read_body(), _list_body, {})
        list_ = await self._store.create_list(key.account.id, check_name(body.name or ""), self._services.now_ms())
        return json_answer(IdAnswer(hex_id(Kind.LIST, list_)))

    async def list_lists(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        account = key.account.id
        fields: dict[ListId, list[ListField]] = {}

        async def read(after: int, limit: int) -> list[ContactList]:
            page = await self._store.list_lists(account, after=after, limit=limit)
            if page:
                for field in await self._store.list_fields(account, page[0].id, page[-1].id):
                    fields.setdefault(field.list, []).append(field)
            return page

        return await list_answer(
            pages(read, read_after(request, Kind.LIST)), lambda one: _list_answer(one, fields.pop(one.id, []))
        )

    async def find(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        found = await self._get(key, request)
        return json_answer(_list_answer(found, await self._store.list_fields(key.account.id, found.id)))

    async def delete(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        if not await self._store.delete_list(key.account.id, _list_id(request)):
            raise Problem(LIST_NOT_FOUND)
        return Answer(204, b"")

    async def empty(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        if not await self._store.empty_list(key.account.id, _list_id(request)):
            raise Problem(LIST_NOT_FOUND)
        return Answer(204, b"")

    # Fields

    async def add_field(self, request: Request) -> Answer:
        key, list_ = await authenticate(self._store, request.headers), _list_id(request)
        body = decode_json(await request.read_body(), _field_body, {})
        name = check_field_name(body.name or "")
        type_, format_ = check_field(body.type or FieldType.STRING.value, body.format)
        added = await self._store.add_field(key.account.id, list_, name, type_, format_)
        if isinstance(added, NotAccepted):
            if added.code == INVALID_PARAMETER:
                raise Problem(added.code, "name", hint=Hint.NAME_TAKEN)
            raise Problem(added.code)
        return json_answer(IdAnswer(hex_id(Kind.FIELD, added)))

    async def list_fields(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        found = await self._get(key, request)
        fields = await self._store.list_fields(key.account.id, found.id)
        return json_answer([_field_answer(field) for field in fields])

    async def remove_field(self, request: Request) -> Answer:
        key, list_ = await authenticate(self._store, request.headers), _list_id(request)
        field = FieldId(_id(request, "field", Kind.FIELD))
        if not await self._store.remove_field(key.account.id, list_, field):
            await self._get(key, request)
            raise Problem(ABSENT)
        return Answer(204, b"")

    # Contacts

    async def add_contact(self, request: Request) -> Answer:
        key, list_ = await authenticate(self._store, request.headers), _list_id(request)
        body = decode_json(await request.read_body(), _contact_body, {})
        await self._get(key, request)
        raw, settings = body_identifier(body.identifier), key.account.settings
        try:
            number = parse_mobile(raw, settings.country, international=settings.international)
        except NumberError as error:
            raise Problem(error.code, "identifier") from error
        fields = await self._store.list_fields(key.account.id, list_)
        values = _read_attributes(body.attributes or {}, fields)
        added = await self._store.add_contact(key.account.id, list_, number, values)
        if isinstance(added, NotAccepted):
            raise Problem(added.code, "identifier" if added.code == lists.ALREADY_THERE else None)
        return json_answer(IdAnswer(hex_id(Kind.CONTACT, added)))

    async def list_contacts(self, request: Request) -> Answer:
        """All of them, or the one with this number."""
        key = await authenticate(self._store, request.headers)
        account, list_ = key.account.id, (await self._get(key, request)).id
        identifier = value(request, "identifier")
        if identifier is not None:
            found = await self._store.find_contact(
                account, list_, read_number(identifier, key.account.settings.country)
            )
            return json_answer([] if found is None else [_contact_answer(found)])

        async def read(after: int, limit: int) -> list[Contact]:
            return await self._store.read_contacts(account, list_, after=after, limit=limit)

        return await list_answer(pages(read, read_after(request, Kind.CONTACT)), _contact_answer)

    async def remove_contact(self, request: Request) -> Answer:
        """By the id in the path, whatever the query repeats; or by the number in the query."""
        key, list_ = await authenticate(self._store, request.headers), _list_id(request)
        contact: ContactId | str
        if "contact" in request.scope["path_params"]:
            contact = ContactId(_id(request, "contact", Kind.CONTACT))
        else:
            identifier = value(request, "identifier")
            if identifier is None:
                raise Problem(INVALID_PARAMETER, "identifier")
            contact = read_number(identifier, key.account.settings.country)
        if not await self._store.remove_contact(key.account.id, list_, contact):
            await self._get(key, request)
            raise Problem(ABSENT)
        return Answer(204, b"")

    # Imports

    async def import_contacts(self, request: Request) -> Answer:
        """Rows in JSON; or a file as it comes, when it says that it is one."""
        key, list_ = await authenticate(self._store, request.headers), _list_id(request)
        if _CSV.match(request.headers.get(b"content-type", b"")):
            length = request.headers.get(b"content-length", b"")
            total = int(length) if re.fullmatch(b"[0-9]{1,18}", length) and not request.is_packed() else None
            pieces = request.read_pieces(MOST_FILE_BYTES, FILE_TOO_LARGE)
            operation = await imports.import_file(self._store, key.account, list_, pieces, total, self._services.now_ms)
        else:
            body = b"".join([piece async for piece in request.read_pieces(MOST_JSON_BYTES, FILE_TOO_LARGE)])
            rows = decode_json(body, _rows, {})
            operation = await imports.import_rows(self._store, key.account, list_, rows, self._services.now_ms)
        location = b"/operations/" + hex_id(Kind.OPERATION, operation.id).encode("ascii")
        answer = json_answer(_operation_answer(operation))
        return Answer(201, answer.body, [(b"location", location)])

    async def find_operation(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        return json_answer(_operation_answer(await self._get_operation(key, request)))

    async def list_refused(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        operation = await self._get_operation(key, request)
        after = whole(request, "after", 0, least=0, most=lists.REFUSED_KEPT)
        limit = whole(request, "limit", DEFAULT_LIMIT, least=1, most=MOST_REFUSED)
        page = await self._store.list_refused(key.account.id, operation.id, after=after, limit=limit)
        more = bool(page) and page[-1].seq < min(operation.refused, lists.REFUSED_KEPT)
        return json_answer(RefusedAnswer([_refusal_answer(one) for one in page], str(page[-1].seq) if more else UNSET))

    async def _get(self, key: Key, request: Request) -> ContactList:
        found = await self._store.find_list(key.account.id, _list_id(request))
        if found is None:
            raise Problem(LIST_NOT_FOUND)
        return found

    async def _get_operation(self, key: Key, request: Request) -> lists.Operation:
        id_ = OperationId(_id(request, "id", Kind.OPERATION))
        found = await self._store.find_operation(key.account.id, id_)
        if found is None:
            raise Problem(ABSENT)
        return found


_CSV = re.compile(rb"[ \t]*(?:text|application)/csv[ \t]*(?:;|\Z)", re.IGNORECASE)


def _list_id(request: Request) -> ListId:
    return ListId(_id(request, "id", Kind.LIST))


def _id(request: Request, name: str, kind: Kind) -> int:
    """What has the form of an id and is none of this kind is as one that is not there."""
    number = read_hex_id(kind, request.scope["path_params"][name])
    if number is None:
        raise Problem(INVALID_PARAMETER, name)
    return number


def _read_attributes(
    attributes: Mapping[str, object] | Sequence[object], fields: Sequence[ListField]
) -> dict[FieldId, str]:
    """The values that are not empty. Raises Problem 1001, which names the attribute only where its name is ours."""
    if not isinstance(attributes, Mapping):
        raise Problem(INVALID_PARAMETER, "attributes")
    by_id = {hex_id(Kind.FIELD, field.id): field for field in fields}
    values: dict[FieldId, str] = {}
    for id_, raw in attributes.items():
        field = by_id.get(id_)
        if field is None:
            raise Problem(INVALID_PARAMETER, "attributes")
        text = parse_value(field.type, field.format, raw)
        if isinstance(text, ValueProblem):
            raise Problem(INVALID_PARAMETER, f"attributes.{id_}")
        if text:
            values[field.id] = text
    return values


def _list_answer(one: ContactList, fields: Sequence[ListField]) -> ListAnswer:
    return ListAnswer(
        hex_id(Kind.LIST, one.id), one.name, [_field_answer(field) for field in fields], one.contacts, one.created_at
    )


def _field_answer(field: ListField) -> FieldAnswer:
    return FieldAnswer(hex_id(Kind.FIELD, field.id), field.name, field.type.value, field.format or UNSET)


def _contact_answer(contact: Contact) -> ContactAnswer:
    return ContactAnswer(
        hex_id(Kind.CONTACT, contact.id),
        contact.number,
        {hex_id(Kind.FIELD, field): text for field, text in contact.values.items()},
        hex_id(Kind.LIST, contact.list),
    )


def _operation_answer(one: lists.Operation) -> OperationAnswer:
    percent: int | UnsetType = UNSET
    if one.state is OperationState.DONE:
        percent = 100
    elif one.total:
        percent = min(99, one.done * 100 // one.total)
    return OperationAnswer(
        id=hex_id(Kind.OPERATION, one.id),
        listId=hex_id(Kind.LIST, one.list),
        state=one.state.name,
        percent=percent,
        rows=one.imported + one.updated + one.refused,
        imported=one.imported,
        updated=one.updated,
        refused=one.refused,
        began=one.began_at,
        ended=UNSET if one.state is OperationState.RUNNING else one.touched_at,
    )


def _refusal_answer(one: Refusal) -> RefusalAnswer:
    return RefusalAnswer(one.line, one.code, one.reason, or_unset(one.column))


_list_body = msgspec.json.Decoder(ListBody)
_field_body = msgspec.json.Decoder(FieldBody)
_contact_body = msgspec.json.Decoder(ContactBody)
_rows = msgspec.json.Decoder(list[Any])

_ID = Parameter("id", HEX_ID, hex_id(Kind.LIST, 1), Origin("POST /v2/lists", "id"))
_FIELD = Parameter("field", HEX_ID, hex_id(Kind.FIELD, 1), Origin("POST /v2/lists/{id}/fields", "id"))
_CONTACT = Parameter("contact", HEX_ID, hex_id(Kind.CONTACT, 1), Origin("POST /v2/lists/{id}/contacts", "id"))
_OPERATION = Parameter("id", HEX_ID, hex_id(Kind.OPERATION, 1), Origin("POST /v2/lists/{id}/import", "id"))
_THEIRS = replace(IDENTIFIER, example="+33600000009", origin=Origin("POST /v2/lists/{id}/contacts"))

OPERATIONS: Sequence[Operation[Lists]] = (
    Operation(
        "POST",
        "/v2/lists",
        Lists.create,
        "Create a list of contacts",
        IdAnswer,
        body=ListBody,
        required=("name",),
        example={"name": "Clients"},
    ),
    Operation("GET", "/v2/lists", Lists.list_lists, "The account's lists", list[ListAnswer], parameters=(AFTER,)),
    Operation("GET", "/v2/lists/{id}", Lists.find, "One list", ListAnswer, (60,), (_ID,)),
    Operation(
        "POST",
        "/v2/lists/{id}/fields",
        Lists.add_field,
        "Add a field to a list",
        IdAnswer,
        (17, 60),
        (_ID,),
        body=FieldBody,
        required=("name",),
        example={"name": "naissance", "type": "DATE", "format": DATE_FORMATS[0]},
    ),
    Operation(
        "GET", "/v2/lists/{id}/fields", Lists.list_fields, "The fields of a list", list[FieldAnswer], (60,), (_ID,)
    ),
    Operation(
        "POST",
        "/v2/lists/{id}/contacts",
        Lists.add_contact,
        "Add a contact to a list",
        IdAnswer,
        (10, 11, 15, 19, 60, 90, 91),
        (_ID,),
        body=ContactBody,
        required=("identifier",),
        example={"identifier": "+33600000009"},
        aliases=("/v2/lists/{id}",),
    ),
    Operation(
        "GET",
        "/v2/lists/{id}/contacts",
        Lists.list_contacts,
        "The contacts of a list; or the one with this number",
        list[ContactAnswer],
        (11, 60),
        (_ID, AFTER, replace(IDENTIFIER, example=None)),
    ),
    Operation(
        "POST",
        "/v2/lists/{id}/import",
        Lists.import_contacts,
        "Add many contacts: rows in JSON, the first of which names the columns; or a CSV file, as text/csv",
        OperationAnswer,
        (17, 18, 60, 74, 75),
        (_ID,),
        body=list[list[Any]],
        example=[["tel", "prénom"], ["+33600000007", "Zoé"], ["+33600000008", "Léo"]],
        status=201,
        headers={"Location": "The operation, relative to /v2."},
    ),
    Operation(
        "GET",
        "/v2/operations/{id}",
        Lists.find_operation,
        "How far an import has come",
        OperationAnswer,
        (1010,),
        (_OPERATION,),
    ),
    Operation(
        "GET",
        "/v2/operations/{id}/refused",
        Lists.list_refused,
        "The rows that an import did not take, and why",
        RefusedAnswer,
        (1010,),
        (
            _OPERATION,
            Parameter("after", {"type": "integer", "minimum": 0}),
            Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST_REFUSED}, "50"),
        ),
    ),
    Operation(
        "DELETE",
        "/v2/lists/{id}/contacts",
        Lists.remove_contact,
        "Take a number off a list",
        None,
        (11, 60, 1010),
        (_ID, _THEIRS),
    ),
    Operation(
        "DELETE",
        "/v2/lists/{id}/contacts/{contact}",
        Lists.remove_contact,
        "Take a contact off a list",
        None,
        (60, 1010),
        (_ID, _CONTACT),
    ),
    Operation(
        "DELETE",
        "/v2/lists/{id}/fields/{field}",
        Lists.remove_field,
        "Remove a field, with the values that contacts have for it",
        None,
        (60, 1010),
        (_ID, _FIELD),
    ),
    Operation("POST", "/v2/lists/{id}/empty", Lists.empty, "Remove all contacts of a list", None, (60,), (_ID,)),
    Operation("DELETE", "/v2/lists/{id}", Lists.delete, "Delete a list with its contacts", None, (60,), (_ID,)),
)
