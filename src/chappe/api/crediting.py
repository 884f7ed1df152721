"""Credits as their account sees them; who runs the server changes them, by command."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from chappe.api.auth import authenticate
from chappe.api.http import Answer, Request
from chappe.api.listing import json_answer, or_unset
from chappe.api.operations import Operation, Parameter
from chappe.api.query import read_id, value
from chappe.api.services import Services
from chappe.core.credits import LedgerEntry

PAGE = 100


class CreditsAnswer(msgspec.Struct, kw_only=True):
    limited: bool
    """Whether sends are paid for at all; without it there is no balance."""
    balance: int | UnsetType = UNSET
    alertBelow: int | UnsetType = UNSET  # noqa: N815 - spelt as the rest of the API, here and below
    low: bool | UnsetType = UNSET
    """Whether the balance is below that."""


class LedgerAnswer(msgspec.Struct, kw_only=True):
    """A line of the statement; one about sends may be about all those of an hour."""

    id: int
    date: int
    what: str
    amount: int
    balance: int
    messages: int | UnsetType = UNSET
    snapshotId: str | UnsetType = UNSET  # noqa: N815
    campaignName: str | UnsetType = UNSET  # noqa: N815
    note: str | UnsetType = UNSET


class AccountCredits:
    def __init__(self, services: Services) -> None:
        self._store = services.store

    async def read(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        found = await self._store.read_credits(key.account.id)
        if found is None:
            return json_answer(CreditsAnswer(limited=False))
        below = found.alert_below
        answer = CreditsAnswer(limited=True, balance=found.balance)
        if below is not None:
            answer.alertBelow, answer.low = below, found.balance < below
        return json_answer(answer)

    async def list_ledger(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        text = value(request, "before")
        before = None if text is None else read_id(text, "before")
        lines = await self._store.list_ledger(key.account.id, before=before, limit=PAGE)
        return json_answer([describe(line) for line in lines])


def describe(line: LedgerEntry) -> LedgerAnswer:
    return LedgerAnswer(
        id=line.id,
        date=line.at,
        what=line.what.name.lower(),
        amount=line.amount,
        balance=line.balance,
        messages=line.messages or UNSET,
        snapshotId=UNSET if line.message is None else str(line.message),
        campaignName=or_unset(line.campaign),
        note=line.note or UNSET,
    )


OPERATIONS: Sequence[Operation[AccountCredits]] = (
    Operation("GET", "/v2/account/credits", AccountCredits.read, "What the account has left", CreditsAnswer),
    Operation(
        "GET",
        "/v2/account/credits/ledger",
        AccountCredits.list_ledger,
        "What its credits were spent on, the newest first",
        list[LedgerAnswer],
        parameters=(Parameter("before", {"type": "string", "pattern": "^[0-9]{1,19}$"}),),
    ),
)
