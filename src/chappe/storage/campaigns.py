"""Campaigns in the store, for every engine: what their account does with them, and how they turn into messages.

A batch of messages is stored in the transaction that moves the campaign's cursor, and only where the cursor is still
where that batch begins. So neither a crash nor a second node can lose a recipient or write to one twice; the lease only
keeps two nodes from doing the same work for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import msgspec

from chappe.core import lifecycle
from chappe.core.campaigns import (
    DELETABLE,
    OVER,
    TRANSITIONS,
    Campaign,
    CampaignId,
    CampaignState,
    Draft,
    SendOrder,
    Taken,
    Wave,
    Wish,
    paused_route,
    public_id,
)
from chappe.core.message import Accepted, AccountId, Cancelled, Delivery, Family, MessageId, Reply, SendMessage
from chappe.core.rules import Entry, Listing
from chappe.storage.engine import Engine
from chappe.storage.steps import Row, Steps, ask, lock, tell
from chappe.storage.work import OPT_OUTS, Workspace, accept, account_of, find_barred, reply_of

_FAMILIES, _STATES = tuple(Family), tuple(CampaignState)
_FLAGS = ("test", "flash", "clean_bounces", "clean_unsubscribers", "keep_list", "simulated", "expanded")
_LEFT_OUT = [field.name for field in fields(Campaign)].index("left_out")


def campaign_of(row: Row) -> Campaign:
    """A row of `campaign`, its columns in the order of the record's fields."""
    campaign = Campaign(*row)
    campaign.family = _FAMILIES[campaign.family]
    campaign.state = _STATES[campaign.state]
    campaign.left_out = msgspec.json.decode(row[_LEFT_OUT], type=dict[int, int])
    for flag in _FLAGS:
        setattr(campaign, flag, bool(getattr(campaign, flag)))
    return campaign


# --- what their account does -------------------------------------------------------------------------


def create_campaign(draft: Draft) -> Steps[CampaignId]:
    row = (
        draft.account,
        draft.test,
        int(draft.family),
        draft.name,
        draft.text,
        draft.list,
        draft.created_at,
        draft.sender,
        draft.category,
        draft.date,
        draft.type,
        draft.flash,
        draft.clean_bounces,
        draft.clean_unsubscribers,
        draft.keep_list,
        draft.external_url,
    )
    [(id_,)] = yield from ask("insert_campaign", [row])
    return CampaignId(id_)


def change_campaign(
    account: AccountId, campaign: CampaignId, wish: Wish, order: SendOrder | None, now: int
) -> Steps[tuple[Campaign | None, bool]]:
    """See `ports.Campaigns.change_campaign`."""
    if wish in (Wish.PAUSE, Wish.CANCEL):
        yield from lock(OPT_OUTS)  # like a STOP: no claim that has not seen it is still to be stored
    found = yield from _lock(account, campaign)
    if found is None:
        return None, False
    target = TRANSITIONS.get((found.state, wish))
    if target is None:
        return found, False
    found.state = target
    if target is CampaignState.SENDING and found.started_at is None:
        found.started_at = now
    if target in OVER:
        found.ended_at = now
    wake_at = now
    if target is CampaignState.SCHEDULED and found.date is not None:
        wake_at = found.date
    if target is CampaignState.CANCELLED and found.first_message is not None:
        found.cancelled_to = MessageId(found.first_message - 1)
    asleep = target is CampaignState.PAUSED or (target in OVER and not _is_cancelling(found))
    row = (int(target), found.started_at, found.ended_at, found.cancelled_to, None if asleep else wake_at)
    yield from tell("update_campaign_state", [(*row, campaign, account)])
    if order is not None:
        fixed = (order.route, order.simulated, order.validity_ms, order.link_base, order.credits)
        found.route, found.simulated, found.validity_ms, found.link_base, found.credits = fixed
        yield from tell("fix_campaign_sending", [(*fixed, campaign, account)])
    return found, True


def delete_campaign(account: AccountId, campaign: CampaignId, now: int) -> Steps[bool | None]:
    """See `ports.Campaigns.delete_campaign`. The row stays: claims ask it about parts that are still on their way."""
    found = yield from _lock(account, campaign)
    if found is None:
        return None
    if found.state not in DELETABLE or _is_cancelling(found):
        return False
    yield from tell("delete_campaign", [(now, campaign, account)])
    return True


# --- how they become messages --------------------------------------------------------------------------


def take_campaign(
    account: AccountId, campaign: CampaignId, holder: str, lease_ms: int, now: int
) -> Steps[Taken | None]:
    """See `ports.Campaigns.take_campaign`."""
    [(clock,)] = yield from ask("clock", [(now,)])
    leased = yield from ask("lease_campaign", [(clock + lease_ms, holder, campaign, account, now, clock)])
    found = (yield from _lock(account, campaign)) if leased else None
    if found is None:
        return None
    [row] = yield from ask("find_account_by_id", [(account,)])
    return Taken(found, account_of(row))


def expand(wave: Wave) -> Steps[Campaign | None]:
    """See `ports.Campaigns.expand`."""
    found = yield from _lock(wave.account, wave.campaign)
    if found is None or found.state is not CampaignState.SENDING or found.expanded or found.cursor != wave.after:
        return None
    outcomes = yield from accept(wave.sends)
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    refused = Counter(outcome.code for outcome in outcomes if not isinstance(outcome, Accepted))
    found.cursor, found.expanded = wave.until, wave.last
    found.recipients += wave.recipients
    found.stored += len(accepted)
    found.credits_stored += sum(one.parts for one in accepted)
    found.left_out = dict(sorted((Counter(found.left_out) + Counter(wave.left_out) + refused).items()))
    if accepted:
        ids = [one.id for one in accepted]
        found.first_message = min(ids) if found.first_message is None else min(found.first_message, *ids)
        found.last_message = max(ids) if found.last_message is None else max(found.last_message, *ids)
    row = (
        found.cursor,
        found.expanded,
        found.recipients,
        found.stored,
        found.credits_stored,
        msgspec.json.encode(found.left_out).decode(),
        found.first_message,
        found.last_message,
    )
    yield from tell("advance_campaign", [(*row, wave.campaign, wave.account)])
    return found


def unshelve(account: AccountId, campaign: CampaignId, limit: int) -> Steps[int]:
    """See `ports.Campaigns.unshelve`."""
    found = yield from _lock(account, campaign)
    if found is None or found.state is not CampaignState.SENDING:
        return 0
    return len((yield from ask("unshelve", [(paused_route(campaign), limit)])))


def finish_campaign(account: AccountId, campaign: CampaignId, now: int) -> Steps[bool]:
    """See `ports.Campaigns.finish_campaign`."""
    found = yield from _lock(account, campaign)
    if found is None or not found.expanded or (yield from ask("any_shelved", [(paused_route(campaign),)])):
        return False
    _, finished = yield from change_campaign(account, campaign, Wish.FINISH, None, now)
    return finished


def cancel_messages(work: Workspace, account: AccountId, campaign: CampaignId, limit: int, now: int) -> Steps[int]:
    """See `ports.Campaigns.cancel_messages`."""
    found = yield from _lock(account, campaign)
    if found is None or not _is_cancelling(found):
        return 0
    after, until = found.cancelled_to or 0, found.last_message or 0
    rows = yield from ask("walk_messages", [(account, found.simulated, after, until, limit)])
    waiting = [
        MessageId(id_) for id_, of, delivery in rows if of == found.public_id and delivery == int(Delivery.SUBMITTED)
    ]
    yield from work.load(waiting)
    for id_ in waiting:
        journey = work.find(id_)
        if journey is not None and lifecycle.is_cancellable(journey):
            work.advance(id_, Cancelled(now))
            found.cancelled += 1
    yield from work.save()
    reached = rows[-1][0] if len(rows) == limit else until
    yield from tell(
        "advance_cancelling",
        [(reached, found.cancelled, now if reached < until else None, campaign, account)],
    )
    return len(rows)


def _lock(account: AccountId, campaign: CampaignId) -> Steps[Campaign | None]:
    rows = yield from ask("lock_campaign", [(campaign, account)])
    return campaign_of(rows[0]) if rows else None


def _is_cancelling(campaign: Campaign) -> bool:
    return (
        campaign.state is CampaignState.CANCELLED
        and campaign.last_message is not None
        and (campaign.cancelled_to or 0) < campaign.last_message
    )


# --- as an engine offers it ----------------------------------------------------------------------------


JOBS: Mapping[str, Callable[..., Steps[Any]]] = {
    "create_campaign": create_campaign,
    "change_campaign": change_campaign,
    "delete_campaign": delete_campaign,
    "take_campaign": take_campaign,
    "expand": expand,
    "unshelve": unshelve,
    "finish_campaign": finish_campaign,
    "find_barred": find_barred,
}


class CampaignCalls(Engine):
    """`Campaigns`."""

    async def create_campaign(self, draft: Draft) -> CampaignId:
        id_: CampaignId = await self._change("create_campaign", (draft,))
        return id_

    async def find_campaign(self, account: AccountId, campaign: CampaignId, *, test: bool) -> Campaign | None:
        row = await self._find("find_campaign", (campaign, account, test))
        return None if row is None else campaign_of(row)

    async def list_campaigns(self, account: AccountId, *, test: bool, before: int, limit: int) -> list[Campaign]:
        return [campaign_of(row) for row in await self._look_up("list_campaigns", (account, test, before, limit))]

    async def change_campaign(
        self, account: AccountId, campaign: CampaignId, wish: Wish, now: int, *, order: SendOrder | None = None
    ) -> tuple[Campaign | None, bool]:
        changed: tuple[Campaign | None, bool] = await self._change(
            "change_campaign", (account, campaign, wish, order, now)
        )
        return changed

    async def delete_campaign(self, account: AccountId, campaign: CampaignId, now: int) -> bool | None:
        deleted: bool | None = await self._change("delete_campaign", (account, campaign, now))
        return deleted

    async def due_campaigns(self, now: int, limit: int) -> list[tuple[CampaignId, AccountId]]:
        rows = await self._look_up("due_campaigns", (now, limit))
        return [(CampaignId(id_), AccountId(account)) for id_, account in rows]

    async def take_campaign(
        self, account: AccountId, campaign: CampaignId, holder: str, lease_ms: int, now: int
    ) -> Taken | None:
        taken: Taken | None = await self._change("take_campaign", (account, campaign, holder, lease_ms, now))
        return taken

    async def expand(self, wave: Wave) -> Campaign | None:
        campaign: Campaign | None = await self._change("expand", (wave,))
        return campaign

    async def unshelve(self, account: AccountId, campaign: CampaignId, limit: int) -> int:
        moved: int = await self._change("unshelve", (account, campaign, limit))
        return moved

    async def finish_campaign(self, account: AccountId, campaign: CampaignId, now: int) -> bool:
        finished: bool = await self._change("finish_campaign", (account, campaign, now))
        return finished

    async def cancel_messages(self, account: AccountId, campaign: CampaignId, limit: int, now: int) -> int:
        looked_at: int = await self._change("cancel_messages", (account, campaign, limit, now))
        return looked_at

    async def find_barred(self, sends: Sequence[SendMessage]) -> list[int | None]:
        codes: list[int | None] = await self._change("find_barred", (sends,))
        return codes

    async def list_campaign_entries(
        self, account: AccountId, listing: Listing, campaign: CampaignId, *, test: bool, after: int, limit: int
    ) -> list[Entry]:
        values = (account, test, int(listing), after, public_id(campaign), limit)
        return [Entry(*row) for row in await self._look_up("read_entries_of_campaign", values)]

    async def list_campaign_replies(
        self, account: AccountId, campaign: CampaignId, *, test: bool, after: int, limit: int
    ) -> list[Reply]:
        values = (account, test, after, public_id(campaign), limit)
        return [reply_of(row) for row in await self._look_up("read_replies_of_campaign", values)]
