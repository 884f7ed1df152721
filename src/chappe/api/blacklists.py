"""The account's opt-outs and bounces: add, list and remove; and what can be said of a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from chappe.api.auth import authenticate
from chappe.api.http import Answer, Request, decode_json
from chappe.api.listing import AFTER, HEX_ID, json_answer, list_answer, or_unset, pages, read_after
from chappe.api.operations import IDENTIFIER, Operation, Origin, Parameter
from chappe.api.problems import INVALID_PARAMETER, NO_MESSAGE, Problem
from chappe.api.query import body_identifier, read_number, value
from chappe.api.services import Services, is_test
from chappe.core.errors import Invalid
from chappe.core.ids import Kind, hex_id, read_hex_id
from chappe.core.message import AccountId
from chappe.core.numbers import is_international, parse_mobile, parse_number
from chappe.core.rules import Entry, Listing

# --- bodies ------------------------------------------------------------------------------------------


class EntryBody(msgspec.Struct):
    identifier: str | int | None = None


class EntryIdAnswer(msgspec.Struct):
    id: str


class EntryEventAnswer(msgspec.Struct):
    date: int
    campaignId: str | None = None  # noqa: N815 - the contract's spelling


class EntryAnswer(msgspec.Struct):
    id: str
    identifier: str
    deleted: bool
    """Always false: what was removed is not listed."""
    blacklistId: str  # noqa: N815
    history: list[EntryEventAnswer]
    sender: str | UnsetType = UNSET
    """Ours: an opt-out from this sender only."""


class CheckAnswer(msgspec.Struct):
    """Exactly these members: a strict client refuses others."""

    international: bool
    rawIdentifier: str  # noqa: N815
    formattedIdentifier: str  # noqa: N815
    status: str
    """`VALID` when an SMS can be sent to it, otherwise `INVALID`: a fixed line, say."""


# --- routes ------------------------------------------------------------------------------------------


class Blacklist(NamedTuple):
    """One of the two lists, as it is called in addresses."""

    listing: Listing
    name: str
    kind: Kind


UNSUBSCRIBERS = Blacklist(Listing.UNSUBSCRIBED, "unsubscribers", Kind.UNSUBSCRIBED)
BOUNCES = Blacklist(Listing.BOUNCED, "bounces", Kind.BOUNCED)


class Blacklists:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def add(self, request: Request, of: Blacklist) -> Answer:
        key = await authenticate(self._store, request.headers)
        body = decode_json(await request.read_body(), _body, {})
        number = read_number(body_identifier(body.identifier), key.account.settings.country)
        entry = await self._store.add_entry(
            key.account.id, of.listing, number, test=is_test(key, self._services), now=self._services.now_ms()
        )
        return json_answer(EntryIdAnswer(hex_id(of.kind, entry)))

    async def list_entries(self, request: Request, of: Blacklist) -> Answer:
        key = await authenticate(self._store, request.headers)
        account, test = key.account.id, is_test(key, self._services)

        async def read(after: int, limit: int) -> list[Entry]:
            return await self._store.list_entries(
                account, of.listing, test=test, category=None, after=after, limit=limit
            )

        return await list_answer(pages(read, read_after(request, of.kind)), partial(_entry_answer, of, account))

    async def remove(self, request: Request, of: Blacklist) -> Answer:
        """By the id in the path, whatever the query repeats; or by the number in the query."""
        key = await authenticate(self._store, request.headers)
        entry: int | str | None
        id_ = request.scope["path_params"].get("id")
        if id_ is not None:
            entry = read_hex_id(of.kind, id_)
            if entry is None:
                raise Problem(INVALID_PARAMETER, "id")
        else:
            identifier = value(request, "identifier")
            if identifier is None:
                raise Problem(INVALID_PARAMETER, "identifier")
            entry = read_number(identifier, key.account.settings.country)
        removed = await self._store.remove_entry(key.account.id, of.listing, entry, test=is_test(key, self._services))
        if not removed:
            raise Problem(NO_MESSAGE)
        return Answer(204, b"")

    async def check(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        identifier, country = value(request, "identifier"), key.account.settings.country
        if identifier is None:
            raise Problem(INVALID_PARAMETER, "identifier")
        number = parse_number(read_number(identifier, country), country)
        try:
            parse_mobile(number, country, international=True)
        except Invalid:
            status = "INVALID"
        else:
            status = "VALID"
        return json_answer(CheckAnswer(is_international(number, country), identifier, number, status))

    # What the table below names: an operation is a method.

    async def add_opt_out(self, request: Request) -> Answer:
        return await self.add(request, UNSUBSCRIBERS)

    async def list_opt_outs(self, request: Request) -> Answer:
        return await self.list_entries(request, UNSUBSCRIBERS)

    async def remove_opt_out(self, request: Request) -> Answer:
        return await self.remove(request, UNSUBSCRIBERS)

    async def add_bounce(self, request: Request) -> Answer:
        return await self.add(request, BOUNCES)

    async def list_bounces(self, request: Request) -> Answer:
        return await self.list_entries(request, BOUNCES)

    async def remove_bounce(self, request: Request) -> Answer:
        return await self.remove(request, BOUNCES)


def _entry_answer(of: Blacklist, account: AccountId, entry: Entry) -> EntryAnswer:
    return EntryAnswer(
        id=hex_id(of.kind, entry.id),
        identifier=entry.number,
        deleted=False,
        # Each account has two, which nobody makes or removes.
        blacklistId=hex_id(Kind.BLACKLIST, account * len(Listing) + of.listing),
        history=[EntryEventAnswer(entry.at)],
        sender=or_unset(entry.sender),
    )


_body = msgspec.json.Decoder(EntryBody)

OPERATIONS: Sequence[Operation[Blacklists]] = (
    *(
        operation
        for (_, name, kind), what, add, list_, remove in (
            (UNSUBSCRIBERS, "opt-out", Blacklists.add_opt_out, Blacklists.list_opt_outs, Blacklists.remove_opt_out),
            (BOUNCES, "bounce", Blacklists.add_bounce, Blacklists.list_bounces, Blacklists.remove_bounce),
        )
        for path, other in ((f"/v2/{name}/default/contacts", f"/v2/{name}/defaults/contacts"),)
        for operation in (
            Operation(
                "POST",
                path,
                add,
                f"Add a number to the {what} list",
                EntryIdAnswer,
                (10, 11),
                body=EntryBody,
                required=("identifier",),
                example={"identifier": "+33600000009"},
                aliases=(other,),
            ),
            Operation(
                "GET",
                path,
                list_,
                f"The {what} list",
                list[EntryAnswer],
                parameters=(AFTER,),
                aliases=(other,),
            ),
            Operation(
                "DELETE",
                path,
                remove,
                f"Take a number off the {what} list",
                None,
                (11, 16),
                (replace(IDENTIFIER, example="+33600000009", origin=Origin(f"POST {path}")),),
                aliases=(other,),
            ),
            Operation(
                "DELETE",
                f"{path}/{{id}}",
                remove,
                f"Take an entry off the {what} list",
                None,
                (16,),
                (
                    Parameter(
                        "id",
                        HEX_ID,
                        hex_id(kind, 1),
                        Origin(f"POST {path}", "id"),
                    ),
                ),
                aliases=(f"{other}/{{id}}",),
            ),
        )
    ),
    Operation("GET", "/v2/check", Blacklists.check, "What can be said of a number", CheckAnswer, (11,), (IDENTIFIER,)),
)
