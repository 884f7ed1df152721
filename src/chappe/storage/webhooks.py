"""Webhooks as the store has them: endpoints, deliveries, and the feed of events, for every engine.

The events and their deliveries themselves are written by `work`, in the transaction that reaches a state (statement
`insert_event`). A delivery's row lasts until it is taken. Steps as in `work`; the calls of the ports are the same for
both engines, which say only how they change something and how they look something up, but for claims: where one server
has the database to itself they are in its memory, and cost the store no write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any, TypeAlias

from chappe.core.message import AccountId, MessageId, State
from chappe.core.webhooks import (
    EVENTS_KEPT_MS,
    LIVE_SECRETS,
    Cursor,
    Delivery,
    DeliveryId,
    Endpoint,
    EndpointId,
    Fate,
    Notice,
    Settled,
)
from chappe.storage.engine import Engine
from chappe.storage.steps import Row, Steps, ask, tell
from chappe.storage.work import STATES

EXHAUSTED_AT_ONCE = 10_000
"""Deliveries that one transaction gives up at most: it stays short."""
DROPPED_AT_ONCE = 10_000
"""Old events, and old deliveries, that one call drops at most."""
WAITING, EXHAUSTED = 0, 2
"""How fates are stored; 1 was delivered, of which earlier releases kept rows."""
REPLY = STATES.index(State.REPLY)
NAMES = tuple(state.public_name for state in STATES)


# --- records and rows --------------------------------------------------------------------------------


def endpoint_of(row: Row) -> Endpoint:
    """A row of `endpoint`, its columns in the order of the record's fields."""
    endpoint = Endpoint(*row)
    endpoint.secrets = tuple(row[3].split())
    endpoint.states = frozenset(state for place, state in enumerate(STATES) if row[4] >> place & 1)
    return endpoint


def states_of(states: frozenset[State]) -> int:
    """As they are stored: a set of bits."""
    return sum(1 << STATES.index(state) for state in states)


def notice_of(row: Sequence[Any]) -> Notice:
    """The last columns of `delivery_contents` and of `list_events`."""
    message, sequence, state, at, number, category, test, reply_text = row
    return Notice(MessageId(message), sequence, STATES[state], at, number, category, bool(test), reply_text)


# --- deliveries --------------------------------------------------------------------------------------


Due: TypeAlias = Mapping[EndpointId, tuple[str, str, int | None]]
"""Endpoints with something due, the longest due first: url, secrets, and since when they fail."""
Wanted: TypeAlias = Sequence[tuple[EndpointId, int]]
"""Endpoints, and how many deliveries each may get."""


def due_of(rows: Sequence[Row]) -> Due:
    return {EndpointId(endpoint): (url, secrets, failing_since) for endpoint, url, secrets, failing_since in rows}


def share_out(due: Iterable[EndpointId], limit: int, rooms: Mapping[EndpointId, int], probes: int) -> Wanted:
    """What may be claimed for the endpoints that have something due, the longest due first."""
    wanted: list[tuple[EndpointId, int]] = []
    for endpoint in due:
        room = rooms.get(endpoint)
        if room is None:
            room = int(probes > 0)
            probes -= 1
        if room > 0:
            wanted.append((endpoint, min(room, limit)))
    return wanted


def contents_of(ids: Sequence[int]) -> Row:
    """The values of `delivery_contents`: the ids are a JSON array, since one execution reads them all."""
    return REPLY, str(ids)


def put_together(due: Due, ids: Sequence[int], rows: Iterable[Row]) -> list[Delivery]:
    """From the rows of `delivery_contents`, in the order of the ids. What is not in the rows cannot be told."""
    secrets = {endpoint: tuple(found[1].split()) for endpoint, found in due.items()}
    claimed: dict[int, Delivery] = {}
    for id_, endpoint, tries, message, sequence, state, at, number, category, test, reply_text in rows:
        url, _, failing_since = due[endpoint]
        claimed[id_] = Delivery(
            DeliveryId(id_),
            endpoint,
            url,
            secrets[endpoint],
            tries,
            failing_since,
            MessageId(message),
            sequence,
            NAMES[state],
            at,
            number,
            category,
            bool(test),
            reply_text,
        )
    return [claimed[id_] for id_ in ids if id_ in claimed]


def claim_deliveries(wanted: Wanted, limit: int, now: int, lease_ms: int) -> Steps[tuple[list[int], list[Row]]]:
    """See `Notifying.claim_deliveries`; the ids, and the rows for `put_together`."""
    found = yield from ask("due_deliveries", [(endpoint, now, most) for endpoint, most in wanted])
    ids = [id_ for _, id_ in sorted(found)[:limit]]
    if not ids:
        return [], []
    yield from tell("lease_delivery", [(now + lease_ms, id_) for id_ in sorted(ids)])
    rows = yield from ask("delivery_contents", [contents_of(ids)])
    yield from exhaust_untold(sorted(set(ids) - {row[0] for row in rows}), now)
    return ids, rows


def exhaust_untold(ids: Sequence[int], now: int) -> Steps[None]:
    """Whatever cannot be told any more, because its message was erased, would be claimed for ever."""
    yield from tell("exhaust_delivery", [("erased", now, id_) for id_ in ids])


Outcomes: TypeAlias = tuple[Mapping[str, list[Row]], Sequence[EndpointId]]
"""Statements with their rows, and the endpoints that are gone."""


def outcomes_of(settled: Sequence[Settled], now: int) -> Outcomes:
    """In the order of ids, so that two nodes wait for each other and do not entangle."""
    delivered: list[Row] = []
    failed: list[Row] = []
    released: list[Row] = []
    words: dict[EndpointId, str] = {}
    takes: set[EndpointId] = set()
    gone: set[EndpointId] = set()
    for one in sorted(settled, key=itemgetter(0)):
        match one.fate:
            case Fate.DELIVERED:
                delivered.append((one.id,))
                takes.add(one.endpoint)
            case Fate.RELEASED:
                released.append((one.id, one.tries_before))
            case Fate.WAITING | Fate.EXHAUSTED | Fate.DISABLED:
                failed.append(_failure(one, now))
                words[one.endpoint] = one.word
                if one.fate is Fate.DISABLED:
                    gone.add(one.endpoint)
    rows: dict[str, list[Row]] = {
        "deliver": delivered,
        "fail_delivery": failed,
        "release_delivery": released,
        "endpoint_fails": [(now, word, endpoint) for endpoint, word in sorted(words.items())],
        "endpoint_takes": [(endpoint,) for endpoint in sorted(takes)],
        "disable_endpoint": [(now, endpoint) for endpoint in sorted(gone)],
    }
    return rows, sorted(gone)


def record_outcomes(rows: Mapping[str, Sequence[Row]], gone: Sequence[EndpointId]) -> Steps[None]:
    """See `Notifying.record_outcomes`."""
    for statement, each in rows.items():
        yield from tell(statement, each)
    for endpoint in gone:
        yield from exhaust_waiting(endpoint, _EVER, _EVER)


def _failure(one: Settled, now: int) -> Row:
    waits = one.fate is Fate.WAITING
    return (
        WAITING if waits else EXHAUSTED,
        one.next_try_at,
        one.tries,
        one.word,
        one.took_ms,
        None if waits else now,
        one.id,
        one.tries_before,
    )


def exhaust_waiting(
    endpoint: EndpointId, made_before: int, now: int, claimed: Sequence[tuple[int, DeliveryId]] = ()
) -> Steps[int]:
    """See `Notifying.exhaust_waiting`; what is left over the bound `tidy` gives up, or the next call.

    `claimed`: until when what is claimed, where only memory knows it.
    """
    yield from tell("lease_delivery", claimed)
    rows = yield from ask("exhaust_waiting", [(now, endpoint, made_before, now, EXHAUSTED_AT_ONCE)])
    return len(rows)


_EVER = (1 << 62) - 1


# --- endpoints ---------------------------------------------------------------------------------------


def add_endpoint(account: AccountId, url: str, secret: str, states: frozenset[State], now: int) -> Steps[Endpoint]:
    [row] = yield from ask("insert_endpoint", [(account, url, secret, states_of(states), now)])
    return endpoint_of(row)


def remove_endpoint(account: AccountId, endpoint: EndpointId) -> Steps[bool]:
    return bool((yield from ask("remove_endpoint", [(account, endpoint)])))


def enable_endpoint(account: AccountId, endpoint: EndpointId) -> Steps[bool]:
    return bool((yield from ask("enable_endpoint", [(account, endpoint)])))


def add_secret(account: AccountId, endpoint: EndpointId, secret: str) -> Steps[Endpoint | None]:
    rows = yield from ask("take_endpoint", [(account, endpoint)])
    if not rows:
        return None
    found = endpoint_of(rows[0])
    found.secrets = (secret, *found.secrets)[:LIVE_SECRETS]
    yield from tell("set_secrets", [(" ".join(found.secrets), endpoint)])
    return found


def replay(account: AccountId, endpoint: EndpointId, since: int, limit: int, now: int) -> Steps[int | None]:
    rows = yield from ask("take_endpoint", [(account, endpoint)])
    if not rows or endpoint_of(rows[0]).disabled_at is not None:
        return None
    return len((yield from ask("replay", [(now, endpoint, since, limit)])))


# --- the passing of time -----------------------------------------------------------------------------


def tidy(now: int) -> Steps[None]:
    """See `Telling.tidy_events`."""
    for (endpoint,) in (yield from ask("unwanted_endpoints", [()])):
        yield from exhaust_waiting(endpoint, _EVER, now)
    yield from tell("drop_events", [(DROPPED_AT_ONCE, now - EVENTS_KEPT_MS)])
    yield from tell("drop_deliveries", [(DROPPED_AT_ONCE, now - EVENTS_KEPT_MS)])


# --- the calls ---------------------------------------------------------------------------------------

JOBS: Mapping[str, Callable[..., Steps[Any]]] = {
    "claim_deliveries": claim_deliveries,
    "record_outcomes": record_outcomes,
    "exhaust_waiting": exhaust_waiting,
    "exhaust_untold": exhaust_untold,
    "add_endpoint": add_endpoint,
    "remove_endpoint": remove_endpoint,
    "enable_endpoint": enable_endpoint,
    "add_secret": add_secret,
    "replay": replay,
    "tidy_events": tidy,
}
"""The kinds of job; a payload is the arguments."""


class WebhookCalls(Engine):
    """`Notifying` and `Telling`."""

    async def claim_deliveries(
        self, limit: int, now: int, lease_ms: int, rooms: Mapping[EndpointId, int], probes: int
    ) -> list[Delivery]:
        due = due_of(await self._look_up("due_endpoints", (now,)))
        wanted = share_out(due, limit, rooms, probes)
        if not wanted or limit <= 0:
            return []
        ids, rows = await self._change("claim_deliveries", (wanted, limit, now, lease_ms))
        return put_together(due, ids, rows)

    async def record_outcomes(self, settled: Sequence[Settled], now: int) -> None:
        await self._change("record_outcomes", outcomes_of(settled, now))

    async def exhaust_waiting(self, endpoint: EndpointId, made_before: int, now: int) -> int:
        count: int = await self._change("exhaust_waiting", (endpoint, made_before, now))
        return count

    async def add_endpoint(
        self, account: AccountId, url: str, secret: str, states: frozenset[State], now: int
    ) -> Endpoint:
        endpoint: Endpoint = await self._change("add_endpoint", (account, url, secret, states, now))
        return endpoint

    async def list_endpoints(self, account: AccountId) -> list[Endpoint]:
        return [endpoint_of(row) for row in await self._look_up("list_endpoints", (account,))]

    async def find_endpoint(self, account: AccountId, endpoint: EndpointId) -> Endpoint | None:
        row = await self._find("find_endpoint", (account, endpoint))
        return None if row is None else endpoint_of(row)

    async def remove_endpoint(self, account: AccountId, endpoint: EndpointId) -> bool:
        removed: bool = await self._change("remove_endpoint", (account, endpoint))
        return removed

    async def enable_endpoint(self, account: AccountId, endpoint: EndpointId) -> bool:
        enabled: bool = await self._change("enable_endpoint", (account, endpoint))
        return enabled

    async def add_secret(self, account: AccountId, endpoint: EndpointId, secret: str) -> Endpoint | None:
        found: Endpoint | None = await self._change("add_secret", (account, endpoint, secret))
        return found

    async def replay(self, account: AccountId, endpoint: EndpointId, since: int, limit: int, now: int) -> int | None:
        count: int | None = await self._change("replay", (account, endpoint, since, limit, now))
        return count

    async def list_events(self, account: AccountId, after: Cursor, limit: int) -> list[tuple[Cursor, Notice]]:
        rows = await self._look_up("list_events", (REPLY, account, after.transaction, after.event, limit))
        return [(Cursor(transaction, event), notice_of(told)) for transaction, event, *told in rows]

    async def find_feed_end(self, account: AccountId) -> Cursor:
        rows = await self._look_up("find_feed_end", (account,))
        return Cursor(rows[0][0], rows[0][1] or 0) if rows else Cursor()

    async def tidy_events(self, now: int) -> None:
        await self._change("tidy_events", (now,))


class ClaimsInMemory(WebhookCalls):
    """`Notifying` where one server has the database to itself: what it has claimed it knows, and a server that has died
    has claimed nothing.

    A delivery's id may be given to another once it is taken: its claim ends after that, and by nobody else's outcome.
    """

    @cached_property
    def _claims(self) -> dict[EndpointId, dict[DeliveryId, int]]:
        """What is claimed, and until when."""
        return defaultdict(dict)

    async def claim_deliveries(
        self, limit: int, now: int, lease_ms: int, rooms: Mapping[EndpointId, int], probes: int
    ) -> list[Delivery]:
        due = due_of(await self._look_up("due_endpoints", (now,)))
        found: list[tuple[int, int, EndpointId]] = []
        for endpoint, most in share_out(due, limit, rooms, probes) if limit > 0 else ():
            claims = self._unexpired(endpoint, now)
            rows = await self._look_up("due_deliveries", (endpoint, now, most + len(claims)))
            found += [(ready_at, id_, endpoint) for ready_at, id_ in rows if id_ not in claims][:most]
        found = sorted(found)[:limit]
        if not found:
            return []
        ids = [id_ for _, id_, _ in found]
        claimed = put_together(due, ids, await self._look_up("delivery_contents", contents_of(ids)))
        for _, id_, endpoint in found:
            self._claims[endpoint][DeliveryId(id_)] = now + lease_ms
        if len(claimed) < len(ids):
            await self._change("exhaust_untold", (sorted(set(ids).difference(one.id for one in claimed)), now))
        return claimed

    async def record_outcomes(self, settled: Sequence[Settled], now: int) -> None:
        await super().record_outcomes(settled, now)
        for one in settled:
            self._claims[one.endpoint].pop(one.id, None)

    async def exhaust_waiting(self, endpoint: EndpointId, made_before: int, now: int) -> int:
        claimed = [(until, id_) for id_, until in self._unexpired(endpoint, now).items()]
        count: int = await self._change("exhaust_waiting", (endpoint, made_before, now, claimed))
        return count

    def _unexpired(self, endpoint: EndpointId, now: int) -> Mapping[DeliveryId, int]:
        claims = self._claims[endpoint]
        for id_ in [id_ for id_, until in claims.items() if until <= now]:
            del claims[id_]
        return claims
