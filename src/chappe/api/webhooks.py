"""Webhooks: where an account's events are posted, and the same events for who asks: a feed, and a live stream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import StreamingResponse

from chappe.api.auth import authenticate
from chappe.api.http import Answer, Request, decode_json
from chappe.api.listing import json_answer, or_unset
from chappe.api.operations import STREAM, Operation, Origin, Parameter
from chappe.api.problems import INVALID_PARAMETER, QUOTA_EXCEEDED, Hint, Problem
from chappe.api.query import value, whole
from chappe.api.services import Services
from chappe.core.errors import ChappeError, Invalid, StoreUnavailable
from chappe.core.message import AccountId
from chappe.core.webhooks import Cursor, Endpoint, EndpointId, Notice, event_body, read_cursor
from chappe.flow import endpoints
from chappe.flow.live import Watcher

INVALID_DATE = 61
DEFAULT_LIMIT, MOST_EVENTS = 100, 1_000
"""Events in one answer of the feed."""
LOOK_SECONDS = 1.0
"""How often a stream looks for what other nodes stored, and whether its key still lives."""
KEEP_ALIVE_LOOKS = 15
"""After so many in vain it says that it is still there, so that nothing between takes it for dead."""
SECRET_BYTES = 32
MOST_SINCE = 10**15


# --- bodies ------------------------------------------------------------------------------------------


class EndpointBody(msgspec.Struct):
    url: str | None = None
    events: list[str] | None = None


class EndpointAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Members in alphabetical order; the secret only where it is new."""

    created: int
    disabled: int | UnsetType = UNSET
    events: list[str]
    failingSince: int | UnsetType = UNSET  # noqa: N815 - the spelling of the contract's names
    id: int
    lastFailure: str | UnsetType = UNSET  # noqa: N815
    secret: str | UnsetType = UNSET
    url: str


class EndpointsAnswer(msgspec.Struct):
    webhooks: list[EndpointAnswer]


class RemovedAnswer(msgspec.Struct):
    id: int


class ReplayAnswer(msgspec.Struct):
    replayed: int


class Contact(msgspec.Struct):
    identifier: str


class EventAnswer(msgspec.Struct, kw_only=True):
    """What webhooks post, and the feed lists: the vendor's members first, then ours."""

    event: str
    snapshotId: str  # noqa: N815
    contact: Contact
    replyMessage: str | UnsetType = UNSET  # noqa: N815
    date: int
    category: str | None
    test: bool
    id: str
    sequence: int


class EventsAnswer(msgspec.Struct):
    cursor: str
    """Where to go on."""
    events: list[EventAnswer]
    more: bool
    """Whether there may be more already."""


# --- routes ------------------------------------------------------------------------------------------


class Webhooks:
    """The routes about webhooks and events."""

    def __init__(self, services: Services) -> None:
        self._store = services.store
        self._now_ms = services.now_ms
        self._chance = services.chance
        self._allowed = services.webhook_networks
        self._live = services.live

    async def list_endpoints(self, request: Request) -> Answer:
        account = await self._account(request)
        return json_answer(EndpointsAnswer([_describe(one) for one in await self._store.list_endpoints(account)]))

    async def create(self, request: Request) -> Answer:
        account = await self._account(request)
        body = decode_json(await request.read_body(), _body, {})
        if body.url is None:
            raise Problem(INVALID_PARAMETER, "url")
        try:
            endpoint = await endpoints.create(
                self._store,
                account,
                body.url,
                body.events,
                allowed=self._allowed,
                chance=self._chance(SECRET_BYTES),
                now=self._now_ms(),
            )
        except endpoints.ForbiddenUrl as error:
            raise Problem(INVALID_PARAMETER, "url", hint=Hint.FORBIDDEN_URL) from error
        return json_answer(_describe(endpoint, secret=True))

    async def remove(self, request: Request) -> Answer:
        account, endpoint = await self._account(request), _read_id(request)
        await endpoints.remove(self._store, account, endpoint)
        return json_answer(RemovedAnswer(endpoint))

    async def enable(self, request: Request) -> Answer:
        account, endpoint = await self._account(request), _read_id(request)
        return json_answer(_describe(await endpoints.enable(self._store, account, endpoint)))

    async def rotate(self, request: Request) -> Answer:
        account, endpoint = await self._account(request), _read_id(request)
        rotated = await endpoints.rotate(self._store, account, endpoint, self._chance(SECRET_BYTES))
        return json_answer(_describe(rotated, secret=True))

    async def replay(self, request: Request) -> Answer:
        account, endpoint = await self._account(request), _read_id(request)
        since = whole(request, "since", 0, least=0, most=MOST_SINCE, code=INVALID_DATE)
        return json_answer(ReplayAnswer(await endpoints.replay(self._store, account, endpoint, since, self._now_ms())))

    async def list_events(self, request: Request) -> Answer:
        account = await self._account(request)
        after = _cursor(value(request, "after"), "after") or Cursor()
        limit = whole(request, "limit", DEFAULT_LIMIT, least=1, most=MOST_EVENTS)
        found = await self._store.list_events(account, after, limit)
        cursor = found[-1][0] if found else after
        # As they are posted, to the byte.
        bodies = b",".join(event_body(notice) for _, notice in found)
        more = b"true" if len(found) == limit else b"false"
        return Answer(200, b'{"cursor":"%s","events":[%s],"more":%s}' % (str(cursor).encode(), bodies, more))

    async def stream(self, request: Request) -> StreamingResponse:
        """Server-sent events, from now or after `Last-Event-ID`, until the client, the key or the server goes."""
        account = await self._account(request)
        given = request.headers.get(b"last-event-id", b"").decode("latin-1")
        after = _cursor(given or None, "Last-Event-ID") or await self._store.find_feed_end(account)
        if not self._live.has_room(account):
            raise Problem(QUOTA_EXCEEDED)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._watch(request, account, after), media_type="text/event-stream", headers=headers)

    async def _watch(self, request: Request, account: AccountId, after: Cursor) -> AsyncIterator[bytes]:
        with self._live.watch(account) as watcher:
            yield b": chappe\n\n"  # the head leaves with it
            async for piece in self._follow(request, account, after, watcher):
                yield piece

    async def _follow(
        self, request: Request, account: AccountId, after: Cursor, watcher: Watcher
    ) -> AsyncIterator[bytes]:
        in_vain = 0
        while True:
            last_look = self._live.closed
            try:
                await authenticate(self._store, request.headers)
                found = await self._store.list_events(account, after, MOST_EVENTS)
            except StoreUnavailable:
                found = []
            except ChappeError:
                return  # the key was revoked, or its account blocked
            if found:
                after, in_vain = found[-1][0], 0
                yield b"".join(_sent_event(cursor, notice) for cursor, notice in found)
                continue
            in_vain += 1
            if in_vain % KEEP_ALIVE_LOOKS == 0:
                yield b": still here\n\n"
            if last_look:
                return
            await watcher.wait(LOOK_SECONDS)

    async def _account(self, request: Request) -> AccountId:
        return (await authenticate(self._store, request.headers)).account.id


# --- reading and writing -----------------------------------------------------------------------------

_body = msgspec.json.Decoder(EndpointBody)


def _describe(endpoint: Endpoint, *, secret: bool = False) -> EndpointAnswer:
    failing = endpoint.failing_since is not None
    return EndpointAnswer(
        created=endpoint.created_at,
        disabled=or_unset(endpoint.disabled_at),
        events=[state.public_name for state in endpoints.STATES if state in endpoint.states],
        failingSince=or_unset(endpoint.failing_since),
        id=endpoint.id,
        lastFailure=endpoint.word if failing else UNSET,
        secret=endpoint.secrets[0] if secret else UNSET,
        url=endpoint.url,
    )


def _sent_event(cursor: Cursor, notice: Notice) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        str(cursor).encode(),
        notice.state.public_name.encode(),
        event_body(notice),
    )


def _read_id(request: Request) -> EndpointId:
    """From the path. What is no id names no endpoint."""
    text = request.scope["path_params"]["id"]
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Invalid(endpoints.NO_ENDPOINT)
    return EndpointId(int(text))


def _cursor(text: str | None, name: str) -> Cursor | None:
    if text is None:
        return None
    cursor = read_cursor(text)
    if cursor is None:
        raise Problem(INVALID_PARAMETER, name)
    return cursor


# --- the description ---------------------------------------------------------------------------------

_ID = Parameter("id", {"type": "string", "pattern": "^[0-9]{1,18}$"}, "1", Origin("POST /v2/webhooks", "id"))
_AFTER = Parameter("after", {"type": "string", "pattern": "^[0-9]{1,18}-[0-9]{1,18}$"})

OPERATIONS: Sequence[Operation[Webhooks]] = (
    Operation("GET", "/v2/webhooks", Webhooks.list_endpoints, "The account's webhooks", EndpointsAnswer),
    Operation(
        "POST",
        "/v2/webhooks",
        Webhooks.create,
        "Have events posted to a URL; the secret is shown once",
        EndpointAnswer,
        body=EndpointBody,
        required=("url",),
        example={"url": "https://shop.example/hooks", "events": ["delivered", "bounced", "error", "reply"]},
    ),
    Operation("DELETE", "/v2/webhooks/{id}", Webhooks.remove, "Remove a webhook", RemovedAnswer, (1008,), (_ID,)),
    Operation(
        "POST",
        "/v2/webhooks/{id}/enable",
        Webhooks.enable,
        "Enable a webhook that was disabled by a 410",
        EndpointAnswer,
        (1008,),
        (_ID,),
    ),
    Operation(
        "POST",
        "/v2/webhooks/{id}/rotate",
        Webhooks.rotate,
        "A new secret, live beside the one before; it is shown once",
        EndpointAnswer,
        (1008,),
        (_ID,),
    ),
    Operation(
        "POST",
        "/v2/webhooks/{id}/replay",
        Webhooks.replay,
        "Post exhausted events again",
        ReplayAnswer,
        (61, 1008, 1009),
        (_ID, Parameter("since", {"type": "integer", "minimum": 0, "maximum": MOST_SINCE}, "1795511616324")),
    ),
    Operation(
        "GET",
        "/v2/events",
        Webhooks.list_events,
        "The events after a place, for receivers that were away",
        EventsAnswer,
        parameters=(
            _AFTER,
            Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST_EVENTS}, "100"),
        ),
    ),
    Operation(
        "GET",
        "/v2/events/stream",
        Webhooks.stream,
        "Events as they come",
        STREAM,
        (QUOTA_EXCEEDED,),
        (replace(_AFTER, name="Last-Event-ID", header=True),),
    ),
)
