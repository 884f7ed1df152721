"""Sending a message, and asking what became of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from math import ceil

import msgspec

from chappe.api.auth import authenticate
from chappe.api.http import Answer, Request, decode_json
from chappe.api.listing import json_answer, or_unset
from chappe.api.operations import IDENTIFIER, Operation, Origin, Parameter
from chappe.api.problems import (
    IDEMPOTENCY,
    INVALID_PARAMETER,
    NO_MESSAGE,
    QUOTA_EXCEEDED,
    Header,
    Hint,
    Problem,
    retry_after,
)
from chappe.api.query import read_id, read_number, values, written
from chappe.api.schemas import PartAnswer, SendAnswer, SendBody, StatusAnswer
from chappe.api.services import Services
from chappe.core import lifecycle
from chappe.core.errors import Invalid
from chappe.core.message import Accepted, AccountId, Family, Idempotency, Key, Message, Reply
from chappe.flow.accept import SendRequest, Terms, accept, validate
from chappe.flow.rates import Standing

INVALID_DATE = 61


class Messages:
    """The routes about single messages."""

    def __init__(self, services: Services) -> None:
        self._store = services.store
        self._now_ms = services.now_ms
        self._wake = services.wake
        self._rates = services.rates
        self._terms: Terms = services
        self._running: set[tuple[AccountId, str]] = set()
        """Idempotency keys of requests that are not answered yet."""

    async def send_notification(self, request: Request) -> Answer:
        return await self._send(request, Family.NOTIFICATION)

    async def send_marketing(self, request: Request) -> Answer:
        return await self._send(request, Family.MARKETING)

    async def find_status(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        account, query = key.account.id, request.scope["query_string"]
        identifier, snapshot_id = _one_of_two(values(query, "identifier"), values(query, "snapshotId"))
        if identifier is not None:
            number = read_number(identifier, key.account.settings.country)
            message = await self._store.find_latest(account, number)
        else:
            message = await self._store.find_message(account, read_id(snapshot_id or ""))
        if message is None:
            raise Problem(NO_MESSAGE)
        return json_answer(await self._describe(message))

    async def _send(self, request: Request, family: Family) -> Answer:
        key = await authenticate(self._store, request.headers)
        standing = await self._rates.spend(key)
        if standing is None:
            return await self._send_for(key, request, family)
        limits = rate_headers(standing)
        if standing.retry_ms is not None:
            raise Problem(QUOTA_EXCEEDED, headers=[retry_after(standing.retry_ms), *limits])
        answer = await self._send_for(key, request, family)
        return replace(answer, headers=[*answer.headers, *limits])

    async def _send_for(self, key: Key, request: Request, family: Family) -> Answer:
        body = await request.read_body()
        sending = _send_request(decode_json(body, _send_body, {"date": INVALID_DATE}))
        sending.idempotency = _read_idempotency(request, family, body)
        if sending.idempotency is None:
            return await self._accept(sending, key, family)
        running = (key.account.id, sending.idempotency.key)
        if running in self._running:
            raise Problem(IDEMPOTENCY, "Idempotency-Key", status=409, hint=Hint.STILL_RUNNING)
        self._running.add(running)
        try:
            return await self._accept(sending, key, family)
        finally:
            self._running.remove(running)

    async def _accept(self, sending: SendRequest, key: Key, family: Family) -> Answer:
        try:
            message = validate(sending, key, family, self._terms, self._now_ms())
        except Invalid:
            # What was accepted under this key may have been right then: a date that has passed, a setting that changed.
            accepted = await self._accepted_before(sending, key)
            if accepted is None:
                raise
        else:
            accepted = await accept(self._store, message, self._wake)
        headers = [(b"idempotent-replayed", b"true")] if accepted.repeated else ()
        return Answer(200, b'{"creditsUsed":%d.0,"snapshotId":"%d"}' % (accepted.parts, accepted.id), headers)

    async def _accepted_before(self, sending: SendRequest, key: Key) -> Accepted | None:
        """Raises Problem 1006 when it was another body."""
        if sending.idempotency is None:
            return None
        stored = await self._store.find_answer(key.account.id, sending.idempotency.key, self._now_ms())
        if stored is None:
            return None
        digest, accepted = stored
        if digest != sending.idempotency.digest:
            raise Problem(IDEMPOTENCY, "Idempotency-Key")
        return accepted

    async def _describe(self, message: Message) -> StatusAnswer:
        parts: list[PartAnswer] = []
        if message.submits > 1:
            # One lost receipt among several parts has to be visible.
            journey = await self._store.find_journey(message.account, message.id)
            if journey is not None:
                message = journey.message
                parts = [
                    PartAnswer(part=status.part, state=status.state.value, at=or_unset(status.at))
                    for status in lifecycle.part_statuses(journey)
                ]
        reply = None
        if message.reply_at is not None:
            reply = await self._store.find_reply(message.account, message.id)
        return status_answer(message, self._now_ms(), parts, reply)


def rate_headers(standing: Standing) -> list[Header]:
    """How a key stands, for programs: draft-ietf-httpapi-ratelimit-headers, in its form since the eighth."""
    bucket, left = standing.bucket, standing.left
    full_in = ceil((bucket.size - left) / bucket.rate)
    return [
        (b"ratelimit-policy", b'"sends";q=%d;w=%d' % (bucket.size, bucket.refill_seconds)),
        (b"ratelimit", b'"sends";r=%d;t=%d' % (left, full_in)),
    ]


def status_answer(
    message: Message, now: int, parts: Sequence[PartAnswer] = (), reply: Reply | None = None
) -> StatusAnswer:
    """What became of a message, with what is known of its parts and of its first reply."""
    state = lifecycle.public_state(message)
    waits_until = or_unset(lifecycle.waits_until(message, now))
    is_held = message.held_by is not None
    return StatusAnswer(
        bounced=or_unset(message.bounced_at),
        category=or_unset(message.category),
        cause=or_unset(message.cause),
        delivered=or_unset(message.delivered_at),
        error=or_unset(message.error_at),
        heldBy=or_unset(message.held_by if waits_until else None),
        heldUntil=waits_until if is_held else msgspec.UNSET,
        id=message.id,
        identifier=message.number,
        inDoubt=message.in_doubt or msgspec.UNSET,
        opened=or_unset(message.opened_at),
        parts=list(parts) or msgspec.UNSET,
        reply=or_unset(message.reply_at),
        replyMessage=msgspec.UNSET if reply is None else reply.text,
        resent=message.resent or msgspec.UNSET,
        scheduled=msgspec.UNSET if is_held else waits_until,
        sent=or_unset(message.sent_at),
        state=state.public_name,
        stateDate=lifecycle.time_of(message, state),
        submitted=message.accepted_at,
        test=message.test,
        unsubscribed=or_unset(message.unsubscribed_at),
    )


# --- reading what came ---------------------------------------------------------------------------------

_send_body = msgspec.json.Decoder(SendBody)
_IDEMPOTENCY_KEY = re.compile(b"[\x20-\x7e]{1,255}")


def _send_request(body: SendBody) -> SendRequest:
    return SendRequest(
        number=None if body.number is None else written(body.number),
        message=body.message,
        sender=body.sender or body.from_,
        campaign=body.campaignName,
        category=body.category,
        date=body.date,
        track_links=body.trackLinks,
        validity_seconds=body.validity,
    )


def _read_idempotency(request: Request, family: Family, body: bytes) -> Idempotency | None:
    key = request.headers.get(b"idempotency-key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise Problem(INVALID_PARAMETER, "Idempotency-Key")
    return Idempotency(key.decode("ascii"), sha256(family.name.encode() + b"\n" + body).digest())


def _one_of_two(identifiers: list[str], snapshot_ids: list[str]) -> tuple[str | None, str | None]:
    if len(identifiers) + len(snapshot_ids) != 1:
        raise Problem(INVALID_PARAMETER, "identifier", hint=Hint.ONE_OF_TWO)
    return (identifiers[0], None) if identifiers else (None, snapshot_ids[0])


# --- the description ---------------------------------------------------------------------------------

_SENDING = (10, 11, 12, 13, 14, 19, 20, 21, 22, 23, 30, 31, 32, 40, 45, 61, 62, 71, 76, 90, 91, 1006)
_IDEMPOTENCY_HEADER = Parameter(
    "Idempotency-Key", {"type": "string", "pattern": "^[ -~]{1,255}$"}, header=True, example="order-1234"
)

OPERATIONS: Sequence[Operation[Messages]] = (
    *(
        Operation(
            "POST",
            f"/v2/{family}/messages/send",
            handler,
            summary,
            SendAnswer,
            _SENDING,
            (_IDEMPOTENCY_HEADER,),
            body=SendBody,
            required=("number", "message"),
            example={"number": "+33600000003", "message": "Bonjour", "category": "orders"},
            headers={
                "Idempotent-Replayed": "`true`: the answer is that of an earlier request with this key.",
                "RateLimit-Policy": "For a key with a rate: how many sends may come at once, and in how many seconds.",
                "RateLimit": "How many of them are left, and in how many seconds all will be there again.",
            },
        )
        for family, handler, summary in (
            ("notification", Messages.send_notification, "Send a transactional message"),
            ("marketing", Messages.send_marketing, "Send a promotional message"),
        )
    ),
    Operation(
        "GET",
        "/v2/messages/status",
        Messages.find_status,
        "What became of a message: by its id, or the latest to a number",
        StatusAnswer,
        (11, 16),
        (
            replace(IDENTIFIER, origin=Origin("POST /v2/notification/messages/send")),
            Parameter("snapshotId", {"type": "string", "pattern": "^[0-9]{1,19}$"}),
        ),
    ),
)
