"""The ports' calls, written once for both engines, and the jobs that they run.

An engine says how a job is run and how something is looked up; what an area brings besides is in its own module, whose
`…Calls` are a base of `StoreCalls` and whose jobs are in `EACH`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

import msgspec

from chappe.core.counts import Counts, Scope
from chappe.core.deliveries import Deliveries, Lately
from chappe.core.lifecycle import Journey
from chappe.core.message import (
    Accepted,
    Account,
    AccountId,
    AttemptKey,
    Cancellation,
    Event,
    Gone,
    Holder,
    Inbound,
    InDoubtPolicy,
    Key,
    Message,
    MessageId,
    NotAccepted,
    Reply,
    Report,
    SendMessage,
    Settings,
    Submission,
)
from chappe.core.routing import Portion
from chappe.core.turns import Turns
from chappe.storage import (
    allowances,
    asking,
    blacklists,
    campaigns,
    connectors,
    counters,
    customers,
    links,
    lists,
    orphans,
    steering,
    webhooks,
    work,
)
from chappe.storage.engine import Engine
from chappe.storage.live import Live
from chappe.storage.searching import SearchCalls
from chappe.storage.steps import Steps, tell
from chappe.storage.work import Workspace

Job: TypeAlias = Callable[[Workspace, Any], Steps[Any]]
"""The steps for one payload."""
Handler: TypeAlias = Callable[[list[Any]], Steps[Sequence[Any]]]
"""The steps for the payloads of one kind, in the order they came; they end in a result for each."""


def _with_journeys(steps: Callable[..., Steps[Any]]) -> Job:
    """A payload is the arguments behind the view of the rows."""
    return lambda space, payload: steps(space, *payload)


def _without(steps: Callable[..., Steps[Any]]) -> Job:
    """A payload is the arguments."""
    return lambda _, payload: steps(*payload)


_WITH_JOURNEYS: Mapping[str, Callable[..., Steps[Any]]] = {
    "cancel": work.cancel,
    "release": work.release,
    "sweep": work.sweep,
    "receive": work.receive,
    "open_link": links.open_link,
    "beat": work.beat,
    "lease": work.lease,
    "open_connector": work.open_connector,
    "doubt_queued": work.doubt_queued,
    "cancel_messages": campaigns.cancel_messages,
    **orphans.JOBS,
}
_APART: Mapping[str, Callable[..., Steps[Any]]] = {
    "give_back": work.give_back,
    "hold": work.hold,
    "open_account": work.open_account,
    "save_settings": lambda *row: tell("save_settings", [row]),
    "create_key": work.create_key,
    "revoke_key": work.revoke_key,
    **allowances.JOBS,
    **asking.JOBS,
    **blacklists.JOBS,
    **campaigns.JOBS,
    **connectors.JOBS,
    **customers.JOBS,
    **links.JOBS,
    **lists.JOBS,
    **steering.JOBS,
    **webhooks.JOBS,
}
"""Journeys have no part in them."""

EACH: Mapping[str, Job] = {
    "keep_house": lambda _, __: keep_house(),
    **{kind: _with_journeys(steps) for kind, steps in _WITH_JOURNEYS.items()},
    **{kind: _without(steps) for kind, steps in _APART.items()},
}
"""The kinds of job that are done one after the other, each with a fresh view of the rows; `accept`, `settle` and
`draw_tokens` are done together, and `claim` remembers whose turn it is."""

PENDING = {
    "queued": "count_queued",
    "pending": "count_pending",
    "in_doubt": "count_in_doubt",
    "parked": "count_parked",
}
"""What `count_pending` tells, and the statements that count it."""


def handlers(
    doubt_lasts_ms: Mapping[InDoubtPolicy, int | None],
    own: Mapping[str, Job] | None = None,
    live: Live | None = None,
) -> Mapping[str, Handler]:
    """A handler per kind of job; `own` are the engine's, in the place of the usual ones, and `live` its journeys."""

    def accept(sends: list[SendMessage]) -> Steps[Sequence[Accepted | NotAccepted]]:
        return work.accept(sends, live)

    def settle(jobs: list[tuple[Sequence[Report], int]]) -> Steps[Sequence[list[Event]]]:
        now = max(now for _, now in jobs)
        return work.settle(Workspace(doubt_lasts_ms, live), [reports for reports, _ in jobs], now, deliveries)

    def each(job: Job) -> Handler:
        def handle(payloads: list[Any]) -> Steps[Sequence[Any]]:
            results = []
            for payload in payloads:
                results.append((yield from job(Workspace(doubt_lasts_ms, live), payload)))  # noqa: PERF401
            return results

        return handle

    turns, deliveries = Turns(), Deliveries()

    def claim(space: Workspace, payload: Any) -> Steps[list[Submission]]:
        return work.claim(space, turns, *payload)

    def measure(payloads: list[tuple[int]]) -> Steps[Sequence[Mapping[str, Lately]]]:
        yield from ()
        return [deliveries.lately(now) for (now,) in payloads]

    together: dict[str, Handler] = {
        "accept": accept,
        "settle": settle,
        "draw_tokens": allowances.draw_tokens,
        "measure": measure,
    }
    return together | {kind: each(job) for kind, job in ({"claim": claim} | dict(EACH) | dict(own or {})).items()}


def keep_house() -> Steps[None]:
    """What the sweep does for the store itself."""
    yield from counters.roll_up()
    yield from allowances.book_refunds()


class KeyCalls(Engine):
    """`Keys`."""

    async def open_account(self, name: str, now: int) -> Account:
        account: Account = await self._change("open_account", (name, now))
        return account

    async def find_account(self, name: str) -> Account | None:
        row = await self._find("find_account", (name,))
        return None if row is None else work.account_of(row)

    async def save_settings(self, account: AccountId, settings: Settings) -> None:
        await self._change("save_settings", (msgspec.json.encode(settings).decode(), account))

    async def create_key(self, account: AccountId, digest: bytes, hint: str, *, test: bool, now: int) -> Key:
        key: Key = await self._change("create_key", (account, digest, test, hint, now))
        return key

    async def list_keys(self) -> list[Key]:
        return [work.key_of(row) for row in await self._look_up("list_keys", ())]

    async def revoke_key(self, key: int, now: int) -> bool:
        revoked: bool = await self._change("revoke_key", (key, now))
        return revoked

    async def find_key(self, digest: bytes) -> Key | None:
        row = await self._find("find_key", (digest,))
        return None if row is None else work.key_of(row)


class SendingCalls(Engine):
    """`Sending`."""

    async def accept(self, send: SendMessage) -> Accepted | NotAccepted:
        accepted: Accepted | NotAccepted = await self._change("accept", send)
        return accepted

    async def open_connector(self, connector: str, now: int) -> int:
        epoch: int = await self._change("open_connector", (connector, now))
        return epoch

    async def claim(
        self, connector: str, epoch: int, portions: Sequence[Portion], limit: int, now: int
    ) -> list[Submission]:
        submissions: list[Submission] = await self._change("claim", (connector, epoch, portions, limit, now))
        return submissions

    async def release(self, keys: Sequence[AttemptKey], now: int) -> None:
        await self._change("release", (keys, now))

    async def cancel(self, account: AccountId, message: MessageId, now: int) -> Cancellation:
        cancellation: Cancellation = await self._change("cancel", (account, message, now))
        return cancellation

    async def settle(self, reports: Sequence[Report], now: int) -> list[Event]:
        events: list[Event] = await self._change("settle", (reports, now))
        return events

    async def sweep(self, now: int, limit: int) -> tuple[int, list[Event]]:
        await self._change("keep_house", None)  # of its own: an engine may have to wait for others in it
        await self._change("tidy_events", (now,))
        await self._change("tidy_lists", (now,))
        swept: tuple[int, list[Event]] = await self._change("sweep", (now, limit))
        return swept

    async def next_due(self, route: str) -> int | None:
        row = await self._find("next_due", (route,))
        return None if row is None else row[0]

    async def list_routes(self) -> list[str]:
        return [route for (route,) in await self._look_up("list_routes", ())]

    async def count_pending(self) -> Mapping[str, int]:
        return {name: int((await self._look_up(statement, ()))[0][0]) for name, statement in PENDING.items()}


class LeaseCalls(Engine):
    """`Leasing`."""

    async def beat(self, holder: Holder, lease_ms: int, now: int) -> int:
        living: int = await self._change("beat", (holder, lease_ms, now))
        return living

    async def lease(self, connector: str, holder: Holder, lease_ms: int, now: int) -> int | None:
        epoch: int | None = await self._change("lease", (connector, holder, lease_ms, now))
        return epoch

    async def give_back(self, connector: str, holder: Holder) -> None:
        await self._change("give_back", (connector, holder))


class HoldCalls(Engine):
    """`Holding`."""

    async def hold(self, on: bool, now: int) -> None:
        await self._change("hold", (on, now))

    async def held_since(self) -> int | None:
        row = await self._find("held_since", ())
        return None if row is None else row[0]

    async def doubt_queued(self, route: str, limit: int, now: int) -> int:
        doubted: int = await self._change("doubt_queued", (route, limit, now))
        return doubted


class EngagingCalls(Engine):
    """`Engaging`."""

    async def receive(self, inbound: Sequence[Inbound], now: int) -> list[Reply]:
        replies: list[Reply] = (await self._change("receive", (inbound, now)))[0]
        return replies

    async def open_link(self, token: str, *, human: bool, now: int) -> str | Gone | None:
        url: str | Gone | None = (await self._change("open_link", (token, human, now)))[0]
        return url


class ReadingCalls(Engine):
    """`Reading`."""

    async def find_message(self, account: AccountId, message: MessageId) -> Message | None:
        row = await self._find("find_message", (message, account))
        return None if row is None else work.message_of(row)

    async def find_latest(self, account: AccountId, number: str) -> Message | None:
        row = await self._find("find_latest_message", (number, account))
        return None if row is None else work.message_of(row)

    async def find_journey(self, account: AccountId, message: MessageId) -> Journey | None:
        rows = await self._look_up("find_journey", (message, account))
        return work.journey_of(rows) if rows else None

    async def find_reply(self, account: AccountId, message: MessageId) -> Reply | None:
        row = await self._find("find_reply", (message, account))
        return None if row is None else work.reply_of(row)


class CountCalls(Engine):
    """`Counting`."""

    async def read_counts(
        self, account: AccountId, *, test: bool, scope: Scope = Scope.ACCOUNT, name: str = ""
    ) -> Counts:
        return counters.counts_of(await self._look_up("read_totals", (account, test, int(scope), name)))

    async def list_counts(self, account: AccountId, *, test: bool) -> Mapping[str, Counts]:
        rows = await self._look_up("list_categories", (account, test))
        return {name: counters.counts_of(row[1:] for row in of) for name, of in groupby(rows, key=itemgetter(0))}


class StoreCalls(
    KeyCalls,
    SendingCalls,
    LeaseCalls,
    HoldCalls,
    EngagingCalls,
    ReadingCalls,
    CountCalls,
    allowances.AllowanceCalls,
    asking.AskCalls,
    blacklists.BlacklistCalls,
    SearchCalls,
    links.LinkCalls,
    lists.ListCalls,
    orphans.OrphanCalls,
    campaigns.CampaignCalls,
    steering.SteeringCalls,
    connectors.ConnectorCalls,
    customers.CustomerCalls,
    webhooks.WebhookCalls,
):
    """`core.ports.Store`, for an engine that says how, and how it is listened to and closed."""
