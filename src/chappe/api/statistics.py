"""What an account has sent and what came of it: by category, and altogether; and what its recipients wrote."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from chappe.api.auth import authenticate
from chappe.api.http import Answer, Request
from chappe.api.listing import AFTER, json_answer, list_answer, pages, read_after
from chappe.api.operations import Operation, Parameter
from chappe.api.query import value
from chappe.api.services import Services, is_test
from chappe.core.counts import Count, Scope
from chappe.core.ids import Kind, hex_id
from chappe.core.message import AccountId, Reply
from chappe.core.rules import Entry, Listing

# --- bodies ------------------------------------------------------------------------------------------


class ReplyAnswer(msgspec.Struct, kw_only=True):
    id: str
    identifier: str
    message: str
    date: int
    snapshotId: str | UnsetType = UNSET  # noqa: N815 - the contract's spelling, here and below
    keyword: str | UnsetType = UNSET
    """Ours: `CONTACT` or `START`, where it is one."""


class StatsAnswer(msgspec.Struct, kw_only=True):
    """The contract's, for a category or for all of them."""

    sent: int
    submitted: int
    delivered: int
    openers: int
    clickers: int
    clicks: int
    opens: int
    replies: int
    unsubscribers: int
    errors: int
    bounced: int
    complaint: int = 0
    timespent: int = 0
    """Neither is measured: a complaint and the time on a page do not come back over SMPP."""
    doubts: int
    """Ours, as is `resent`: submits whose answer never came, or came too late…"""
    resent: int
    """…and those that may have doubled an earlier one."""


class NumbersAnswer(msgspec.Struct):
    number: int
    identifiers: list[str]


class BlacklistsAnswer(msgspec.Struct):
    bounces: NumbersAnswer
    unsubscribers: NumbersAnswer


class AccountStatsAnswer(msgspec.Struct, kw_only=True):
    """Exactly these members, and never one called `error`: a strict client refuses others."""

    bounces: int
    credits: int
    delivered: int
    sent: int
    submitted: int
    undelivered: int
    unsubscribers: int


# --- routes ------------------------------------------------------------------------------------------


class Statistics:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def list_replies(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        category, test = value(request, "category"), is_test(key, self._services)
        account = key.account.id

        async def read(after: int, limit: int) -> list[Reply]:
            return await self._store.list_replies(account, test=test, category=category, after=after, limit=limit)

        return await list_answer(pages(read, read_after(request, Kind.REPLY)), reply_answer)

    async def count_category(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        category = value(request, "category")
        counts = await self._store.read_counts(
            key.account.id,
            test=is_test(key, self._services),
            scope=Scope.ACCOUNT if category is None else Scope.CATEGORY,
            name=category or "",
        )
        answer = StatsAnswer(
            sent=counts[Count.SENT],
            submitted=counts[Count.SUBMITTED],
            delivered=counts[Count.DELIVERED],
            # A short link is opened by a click on it: the two are one thing here.
            openers=counts[Count.OPENERS],
            clickers=counts[Count.OPENERS],
            clicks=counts[Count.OPENS],
            opens=counts[Count.OPENS],
            replies=counts[Count.REPLIES],
            unsubscribers=counts[Count.UNSUBSCRIBERS],
            errors=counts[Count.ERRORS],
            bounced=counts[Count.BOUNCED],
            doubts=counts[Count.DOUBTS],
            resent=counts[Count.RESENT],
        )
        return json_answer(answer)

    async def count_account(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        counts = await self._store.read_counts(key.account.id, test=is_test(key, self._services))
        left = await self._store.read_credits(key.account.id)
        answer = AccountStatsAnswer(
            bounces=counts[Count.BOUNCED],
            credits=counts[Count.CREDITS] if left is None else left.balance,
            delivered=counts[Count.DELIVERED],
            sent=counts[Count.SENT],
            submitted=counts[Count.SUBMITTED],
            undelivered=counts[Count.BOUNCED] + counts[Count.ERRORS],
            unsubscribers=counts[Count.UNSUBSCRIBERS],
        )
        return json_answer(answer)

    async def list_blacklists(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        category, test = value(request, "category"), is_test(key, self._services)
        bounces = await self._numbers(key.account.id, Listing.BOUNCED, category, test=test)
        unsubscribers = await self._numbers(key.account.id, Listing.UNSUBSCRIBED, category, test=test)
        return json_answer(BlacklistsAnswer(bounces, unsubscribers))

    async def _numbers(
        self, account: AccountId, listing: Listing, category: str | None, *, test: bool
    ) -> NumbersAnswer:
        async def read(after: int, limit: int) -> list[Entry]:
            return await self._store.list_entries(
                account, listing, test=test, category=category, after=after, limit=limit
            )

        # A number may have an opt-out for each of several senders.
        numbers = list(dict.fromkeys([entry.number async for page in pages(read, 0) for entry in page]))
        return NumbersAnswer(len(numbers), numbers)


def reply_answer(reply: Reply) -> ReplyAnswer:
    return ReplyAnswer(
        id=hex_id(Kind.REPLY, reply.id),
        identifier=reply.number,
        message=reply.text,
        date=reply.at,
        snapshotId=UNSET if reply.message is None else str(reply.message),
        keyword=reply.keyword or UNSET,
    )


_CATEGORY = Parameter("category", {"type": "string"}, "orders")

OPERATIONS: Sequence[Operation[Statistics]] = (
    Operation(
        "GET",
        "/v2/messages/replies",
        Statistics.list_replies,
        "What recipients wrote back, of one category or all",
        list[ReplyAnswer],
        parameters=(_CATEGORY, AFTER),
    ),
    Operation(
        "GET",
        "/v2/messages/stats",
        Statistics.count_category,
        "Counters of one category or all",
        StatsAnswer,
        parameters=(_CATEGORY,),
    ),
    Operation(
        "GET",
        "/v2/messages/blacklists",
        Statistics.list_blacklists,
        "Numbers that opted out or bounced because of messages of one category; or all that are listed",
        BlacklistsAnswer,
        parameters=(_CATEGORY,),
    ),
    Operation("GET", "/v2/account/stats", Statistics.count_account, "The account's counters", AccountStatsAnswer),
)
