"""Many messages at once, everything about one, a look at a text before it is sent, and taking a message back."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from enum import IntEnum
from functools import partial
from typing import Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from chappe.api.auth import authenticate
from chappe.api.http import Answer, Request, decode_json
from chappe.api.listing import json_answer, or_unset
from chappe.api.messages import status_answer
from chappe.api.operations import Operation, Origin, Parameter
from chappe.api.problems import INVALID_PARAMETER, NO_MESSAGE, Hint, Problem
from chappe.api.query import MAX_ID, read_id, read_number, value, whole, written
from chappe.api.schemas import StatusAnswer
from chappe.api.services import Services, is_test
from chappe.core.lifecycle import public_state
from chappe.core.message import Attempt, Cancellation, Family, LinkClicks, LoggedFact, Message, MessageId, State
from chappe.core.optout import mention_for
from chappe.core.preview import Preview, preview
from chappe.core.text import with_language

MOST_AT_ONCE = 10_000
"""Messages in one bulk status."""
SLICE = 500
"""Of those that are looked up and put together at once."""
DEFAULT_LIMIT, MOST_IN_A_PAGE = 100, 500
MOST_LOOKED_AT = 5_000
"""Messages that one request looks through for those it wants; the next request goes on there."""
CLOCKS_DIFFER_MS = 10 * 60_000
"""Messages are listed in the order of their ids; nodes' clocks may disagree by this."""
LONGEST_PREVIEW = 10_000
NO_TEXT, TOO_LONG, INVALID_DATE, TOO_MANY, NOT_CANCELLABLE = 30, 32, 61, 74, 43

T = TypeVar("T")


# --- bodies ------------------------------------------------------------------------------------------


class BulkBody(msgspec.Struct):
    """One of the two."""

    identifiers: list[str | int] | None = None
    snapshotIds: list[str | int] | None = None  # noqa: N815 - like the contract's names


class BulkAnswer(msgspec.Struct):
    statuses: list[StatusAnswer | None]
    """In the order asked; null where there is no message."""


class MessagesAnswer(msgspec.Struct):
    messages: list[StatusAnswer]
    next: str | UnsetType = UNSET
    """Where to go on: the value of `before`. Absent at the end."""


class AttemptAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One submit of one part."""

    part: int
    attempt: int
    connector: str
    claimed: int
    outcome: str
    mayDouble: bool = False  # noqa: N815
    """It was made although an earlier one may have arrived."""
    answered: int | UnsetType = UNSET
    carrierId: str | UnsetType = UNSET  # noqa: N815
    status: int | UnsetType = UNSET
    """The operator's `command_status`."""
    verdict: str | UnsetType = UNSET
    verdictDate: int | UnsetType = UNSET  # noqa: N815


class FactAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something learnt about the message."""

    at: int
    fact: str
    changed: bool
    """False for what came too late, or again."""
    part: int | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    asked: bool = False
    """The operator said so because it was asked (query_sm)."""
    carrierId: str | UnsetType = UNSET  # noqa: N815
    cause: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    next: str | UnsetType = UNSET
    """The connector that is tried instead."""
    status: int | UnsetType = UNSET
    treatment: str | UnsetType = UNSET
    uncertain: bool | UnsetType = UNSET
    until: int | UnsetType = UNSET
    verdict: str | UnsetType = UNSET


class LinkAnswer(msgspec.Struct, kw_only=True):
    """A tracked link of the message."""

    url: str
    clicks: int
    robotClicks: int  # noqa: N815
    firstClick: int | UnsetType = UNSET  # noqa: N815
    lastClick: int | UnsetType = UNSET  # noqa: N815
    expires: int | UnsetType = UNSET


class TimelineAnswer(msgspec.Struct, kw_only=True):
    status: StatusAnswer
    due: int
    """When it may leave, or might."""
    heldBy: str | UnsetType = UNSET  # noqa: N815
    """Why that is not when it was asked for; here it stays."""
    attempts: list[AttemptAnswer]
    facts: list[FactAnswer]
    links: list[LinkAnswer]


class PreviewBody(msgspec.Struct):
    message: str | None = None
    family: Literal["notification", "marketing"] | None = None
    """Marketing carries the account's STOP mention."""


# --- routes ------------------------------------------------------------------------------------------


class Searching:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def find_statuses(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        body = decode_json(await request.read_body(), _bulk_body, {})
        account = key.account
        match body.identifiers, body.snapshotIds:
            case None, list(ids):
                _check_size(ids, "snapshotIds")
                wanted = [read_id(str(id_), "snapshotIds") for id_ in ids]
                statuses = await self._statuses(wanted, partial(self._store.find_messages, account.id))
            case list(identifiers), None:
                _check_size(identifiers, "identifiers")
                country = account.settings.country
                numbers = [read_number(written(one), country, "identifiers") for one in identifiers]
                statuses = await self._statuses(numbers, partial(self._store.find_latest_of, account.id))
            case _:
                raise Problem(INVALID_PARAMETER, "snapshotIds")
        return json_answer(BulkAnswer(statuses))

    async def _statuses(
        self, wanted: Sequence[T], find: Callable[[Sequence[T]], Awaitable[Sequence[Message | None]]]
    ) -> list[StatusAnswer | None]:
        """In slices, so that others get their turn."""
        now, statuses = self._services.now_ms(), list[StatusAnswer | None]()
        for start in range(0, len(wanted), SLICE):
            found = await find(wanted[start : start + SLICE])
            statuses += [None if message is None else status_answer(message, now) for message in found]
        return statuses

    async def list_messages(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        account, test = key.account.id, is_test(key, self._services)
        limit = whole(request, "limit", DEFAULT_LIMIT, least=1, most=MOST_IN_A_PAGE)
        since = whole(request, "since", 0, least=0, most=MAX_ID // 10, code=INVALID_DATE)
        before = value(request, "before")
        number = value(request, "number")
        wanted = _filter(request, test=test, since=since)
        if number is None:

            async def read(before: MessageId | None, limit: int) -> list[Message]:
                return await self._store.list_messages(account, test=test, before=before, limit=limit)
        else:
            to = read_number(number, key.account.settings.country, "number")

            async def read(before: MessageId | None, limit: int) -> list[Message]:
                return await self._store.list_messages_to(account, to, before=before, limit=limit)

        start = None if before is None else read_id(before, "before")
        found, next_ = await _look_through(read, start, wanted, since, limit)
        now = self._services.now_ms()
        messages = [status_answer(message, now) for message in found]
        return json_answer(MessagesAnswer(messages, UNSET if next_ is None else str(next_)))

    async def show_timeline(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        message = _path_id(request)
        journey = await self._store.find_journey(key.account.id, message)
        if journey is None:
            raise Problem(NO_MESSAGE)
        facts = await self._store.list_facts(key.account.id, message)
        links = await self._store.list_links(key.account.id, message)
        return json_answer(
            TimelineAnswer(
                status=status_answer(journey.message, self._services.now_ms()),
                due=journey.message.due_at,
                heldBy=or_unset(journey.message.held_by),
                attempts=[_attempt_answer(attempt) for attempt in journey.attempts],
                facts=[_fact_answer(logged) for logged in facts],
                links=[_link_answer(link) for link in links],
            )
        )

    async def preview(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        body = decode_json(await request.read_body(), _preview_body, {})
        text = body.message
        if not text:
            raise Problem(NO_TEXT, "message")
        if len(text) > LONGEST_PREVIEW:
            raise Problem(TOO_LONG, "message")
        cut = with_language(self._services.cut, key.account.settings.national_shift)
        family = Family[(body.family or "notification").upper()]
        mention = mention_for(key.account.settings, family, self._services.stop_mention)
        return json_answer(preview(text, mention, cut))

    async def cancel(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        account, id_ = key.account.id, _path_id(request)
        outcome = await self._store.cancel(account, id_, self._services.now_ms())
        if outcome is Cancellation.TOO_LATE:
            raise Problem(NOT_CANCELLABLE, hint=Hint.LEFT_ALREADY)
        message = await self._store.find_message(account, id_)
        if outcome is Cancellation.ABSENT or message is None:
            raise Problem(NO_MESSAGE)
        return json_answer(status_answer(message, self._services.now_ms()))


async def _look_through(
    read: Callable[[MessageId | None, int], Awaitable[list[Message]]],
    before: MessageId | None,
    wanted: Callable[[Message], bool],
    since: int,
    limit: int,
) -> tuple[list[Message], MessageId | None]:
    """The first `limit` that are wanted, and where to go on; fewer when they are rare."""
    found: list[Message] = []
    size = limit
    for _ in range(0, MOST_LOOKED_AT, MOST_IN_A_PAGE):
        page = await read(before, size)
        for message in page:
            if message.accepted_at < since - CLOCKS_DIFFER_MS:
                return found, None
            before = message.id
            if wanted(message):
                found.append(message)
                if len(found) == limit:
                    return found, before
        if len(page) < size:
            return found, None
        size = MOST_IN_A_PAGE  # those that are wanted are rarer
    return found, before


def _filter(request: Request, *, test: bool, since: int) -> Callable[[Message], bool]:
    category, name = value(request, "category"), value(request, "state")
    state = _STATES.get(name or "")
    if name is not None and state is None:
        raise Problem(INVALID_PARAMETER, "state")

    def wanted(message: Message) -> bool:
        return (
            message.test == test
            and message.accepted_at >= since
            and (category is None or message.category == category)
            and (state is None or public_state(message) is state)
        )

    return wanted


def _path_id(request: Request) -> MessageId:
    """What is no id names no message."""
    text = request.scope["path_params"]["id"]
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Problem(NO_MESSAGE)
    return MessageId(int(text))


def _check_size(wanted: Sequence[object], field: str) -> None:
    if len(wanted) > MOST_AT_ONCE:
        raise Problem(TOO_MANY, field)


def _attempt_answer(attempt: Attempt) -> AttemptAnswer:
    return AttemptAnswer(
        part=attempt.part,
        attempt=attempt.number,
        connector=attempt.connector,
        claimed=attempt.claimed_at,
        outcome=_camel(attempt.outcome.name),
        mayDouble=attempt.flagged,
        answered=or_unset(attempt.answered_at),
        carrierId=or_unset(attempt.carrier_id),
        status=or_unset(attempt.status),
        verdict=UNSET if attempt.verdict is None else _camel(attempt.verdict.name),
        verdictDate=or_unset(attempt.verdict_at),
    )


def _link_answer(link: LinkClicks) -> LinkAnswer:
    return LinkAnswer(
        url=link.url,
        clicks=link.clicks,
        robotClicks=link.robot_clicks,
        firstClick=or_unset(link.first_click_at),
        lastClick=or_unset(link.last_click_at),
        expires=or_unset(link.expires_at),
    )


def _fact_answer(logged: LoggedFact) -> FactAnswer:
    fact = logged.fact
    name = type(fact).__name__
    told = {_camel(field.name): getattr(fact, field.name) for field in fields(fact)}
    members = {
        member: _camel(known.name) if isinstance(known, IntEnum) else known
        for member, known in told.items()
        if known is not None
    }
    members |= {"fact": name[0].lower() + name[1:], "changed": logged.changed}
    return msgspec.convert(members, FactAnswer)


def _camel(name: str) -> str:
    first, *others = name.lower().split("_")
    return first + "".join(map(str.capitalize, others))


_STATES = {state.public_name: state for state in State}
_bulk_body = msgspec.json.Decoder(BulkBody)
_preview_body = msgspec.json.Decoder(PreviewBody)
_WHOLE = {"type": "integer", "minimum": 0}
_ID = Parameter(
    "id",
    {"type": "string", "pattern": "^[0-9]{1,18}$"},
    "386479",
    Origin("POST /v2/notification/messages/send", "snapshotId"),
)

OPERATIONS: Sequence[Operation[Searching]] = (
    Operation(
        "POST",
        "/v2/messages/status/bulk",
        Searching.find_statuses,
        "What became of many messages: by their ids, or the latest to each number",
        BulkAnswer,
        (11, 74),
        body=BulkBody,
        example={"identifiers": ["+33600000003", "+33600000004"]},
    ),
    Operation(
        "GET",
        "/v2/messages",
        Searching.list_messages,
        "The account's messages, newest first",
        MessagesAnswer,
        (11, 61),
        (
            Parameter("state", {"type": "string", "enum": list(_STATES)}, "delivered"),
            Parameter("category", {"type": "string"}),
            Parameter("number", {"type": "string"}),
            Parameter("since", _WHOLE),
            Parameter("before", {"type": "string", "pattern": "^[0-9]{1,19}$"}),
            Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST_IN_A_PAGE}, "50"),
        ),
    ),
    Operation(
        "GET",
        "/v2/messages/{id}/timeline",
        Searching.show_timeline,
        "Everything that was learnt about a message",
        TimelineAnswer,
        (16,),
        (_ID,),
    ),
    Operation(
        "POST",
        "/v2/messages/{id}/cancel",
        Searching.cancel,
        "Take back a message that has not left",
        StatusAnswer,
        (16, 43),
        (_ID,),
    ),
    Operation(
        "POST",
        "/v2/messages/preview",
        Searching.preview,
        "What a text will be as an SMS",
        Preview,
        (30, 32),
        body=PreviewBody,
        required=("message",),
        example={"message": "L’été à la mer ☀"},
    ),
)
