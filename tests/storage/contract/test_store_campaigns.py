"""Campaigns: their states, the waves they become, and what a pause or a cancellation keeps from leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from store_scene import NOW, SECOND, Scene, a_send, answered, refused

from chappe.core.campaigns import Campaign, CampaignId, CampaignState, Draft, SendOrder, Wave, Wish, public_id
from chappe.core.counts import Count, Scope
from chappe.core.message import Accepted, Family, MessageId, Submission, Treatment
from chappe.core.rules import Listing

ORDER = SendOrder("live", simulated=False, validity_ms=48 * 3600 * SECOND, link_base=None, credits=3)
LEASE = 6 * SECOND


def a_draft(scene: Scene, **changes: Any) -> Draft:
    ordinary: dict[str, Any] = {
        "account": scene.account,
        "test": False,
        "family": Family.MARKETING,
        "name": "Soldes",
        "text": "Bonjour ${prenom}",
        "list": 7,
        "created_at": NOW,
    }
    return Draft(**ordinary | changes)


def number(index: int) -> str:
    return f"+336{10_000_000 + index}"


async def sending(scene: Scene, **changes: Any) -> CampaignId:
    campaign = await scene.store.create_campaign(a_draft(scene, **changes))
    _, granted = await scene.store.change_campaign(scene.account, campaign, Wish.SEND, NOW, order=ORDER)
    assert granted
    return campaign


def a_wave(scene: Scene, campaign: CampaignId, first: int, count: int, *, last: bool = False, **changes: Any) -> Wave:
    """Contacts first+1 … first+count, one message each."""
    contacts = range(first + 1, first + count + 1)
    ordinary: dict[str, Any] = {"family": Family.MARKETING, "campaign": public_id(campaign)}
    sends = [a_send(scene.account, number=number(contact), **ordinary | changes) for contact in contacts]
    return Wave(campaign, scene.account, first, first + count, count, sends, {}, last)


async def expanded(scene: Scene, count: int) -> CampaignId:
    campaign = await sending(scene)
    assert await scene.store.expand(a_wave(scene, campaign, 0, count, last=True)) is not None
    return campaign


async def find(scene: Scene, campaign: CampaignId) -> Campaign:
    found = await scene.store.find_campaign(scene.account, campaign, test=False)
    assert found is not None
    return found


async def change(scene: Scene, campaign: CampaignId, wish: Wish) -> bool:
    return (await scene.store.change_campaign(scene.account, campaign, wish, NOW))[1]


async def counts(scene: Scene, campaign: CampaignId) -> dict[Count, int]:
    read = await scene.store.read_counts(scene.account, test=False, scope=Scope.CAMPAIGN, name=public_id(campaign))
    return {count: n for count, n in read.items() if n}


async def claim_all(scene: Scene, limit: int = 100) -> list[Submission]:
    """Until nothing due is left."""
    found: list[Submission] = []
    while (due_at := await scene.store.next_due("live")) is not None and due_at <= NOW:
        found += await scene.claim(limit)
    return found


async def cancel_all(scene: Scene, campaign: CampaignId, limit: int = 2) -> None:
    while await scene.store.cancel_messages(scene.account, campaign, limit, NOW):
        pass


def numbers(submissions: Sequence[Submission]) -> list[str]:
    return sorted(submission.number for submission in submissions)


async def test_draft_is_kept_as_it_was_asked(scene: Scene) -> None:
    draft = a_draft(
        scene,
        sender="ACME",
        category="soldes",
        date=NOW + SECOND,
        type="SMS",
        flash=True,
        clean_bounces=True,
        clean_unsubscribers=True,
        keep_list=False,
        external_url="https://example.org/",
    )
    campaign = await find(scene, await scene.store.create_campaign(draft))
    assert Draft(**{name: getattr(campaign, name) for name in Draft.__dataclass_fields__}) == draft
    assert (campaign.state, campaign.left_out, campaign.cursor) == (CampaignState.DRAFT, {}, 0)


async def test_campaigns_are_listed_the_newest_first_and_for_their_account_only(scene: Scene) -> None:
    first, second = [await scene.store.create_campaign(a_draft(scene, name=name)) for name in ("one", "two")]
    other = await scene.another_account()
    tested = await scene.store.create_campaign(a_draft(scene, test=True))
    await scene.store.create_campaign(a_draft(scene, account=other))

    async def listed(before: int, limit: int = 10, *, test: bool = False) -> list[CampaignId]:
        found = await scene.store.list_campaigns(scene.account, test=test, before=before, limit=limit)
        return [campaign.id for campaign in found]

    assert await listed(1 << 60) == [second, first]
    assert await listed(second) == [first]
    assert await listed(1 << 60, 1) == [second]
    assert await listed(1 << 60, test=True) == [tested]
    assert await scene.store.find_campaign(other, first, test=False) is None
    assert await scene.store.find_campaign(scene.account, first, test=True) is None


async def test_another_account_changes_nothing(scene: Scene) -> None:
    campaign = await sending(scene)
    other = await scene.another_account()
    assert await scene.store.change_campaign(other, campaign, Wish.PAUSE, NOW) == (None, False)
    assert await scene.store.delete_campaign(other, campaign, NOW) is None
    assert await scene.store.take_campaign(other, campaign, "a", LEASE, NOW) is None
    assert (await find(scene, campaign)).state is CampaignState.SENDING


async def test_a_wish_that_the_table_does_not_know_changes_nothing(scene: Scene) -> None:
    campaign = await scene.store.create_campaign(a_draft(scene))
    found, granted = await scene.store.change_campaign(scene.account, campaign, Wish.PAUSE, NOW)
    assert found is not None
    assert (found.state, granted) == (CampaignState.DRAFT, False)
    assert (await find(scene, campaign)).state is CampaignState.DRAFT


async def test_scheduled_campaign_is_due_at_its_date(scene: Scene) -> None:
    campaign = await scene.store.create_campaign(a_draft(scene, date=NOW + SECOND))
    await scene.store.change_campaign(scene.account, campaign, Wish.SCHEDULE, NOW, order=ORDER)
    assert await scene.store.due_campaigns(NOW + SECOND - 1, 10) == []
    assert await scene.store.due_campaigns(NOW + SECOND, 10) == [(campaign, scene.account)]
    started = await asyncio.gather(
        *(scene.store.change_campaign(scene.account, campaign, Wish.START, NOW + SECOND) for _ in range(3))
    )
    assert sorted(granted for _, granted in started) == [False, False, True]
    assert (await find(scene, campaign)).started_at == NOW + SECOND


async def test_wave_and_cursor_are_stored_together(scene: Scene) -> None:
    campaign = await sending(scene)
    wave = a_wave(scene, campaign, 0, 3)
    found = await scene.store.expand(wave)
    assert found == await find(scene, campaign)
    assert (found.cursor, found.recipients, found.stored, found.credits_stored) == (3, 3, 3, 3)
    assert found.last_message is not None
    assert found.last_message - (found.first_message or 0) == 2
    assert await scene.store.expand(wave) is None, "it is there already"
    assert len(await claim_all(scene)) == 3


async def test_two_nodes_with_the_same_wave_store_it_once(scene: Scene) -> None:
    campaign = await sending(scene)
    other = await scene.open_store()
    wave = a_wave(scene, campaign, 0, 20, last=True)
    outcomes = await asyncio.gather(*(store.expand(wave) for store in (scene.store, other) for _ in range(2)))
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert len(await claim_all(scene)) == 20


async def test_who_opted_out_or_bounced_is_left_out_and_counted(scene: Scene) -> None:
    await scene.store.add_entry(scene.account, Listing.UNSUBSCRIBED, number(1), test=False, now=NOW)
    await scene.store.add_entry(scene.account, Listing.BOUNCED, number(2), test=False, now=NOW)
    sends = [a_send(scene.account, number=number(index)) for index in range(1, 4)]
    assert await scene.store.find_barred(sends) == [12, 13, None]
    campaign = await sending(scene)
    await scene.store.expand(a_wave(scene, campaign, 0, 3))
    found = await scene.store.expand(a_wave(scene, campaign, 3, 2, last=True))
    assert found is not None
    assert (found.recipients, found.stored, found.left_out, found.expanded) == (5, 3, {12: 1, 13: 1}, True)


async def test_nothing_is_stored_once_it_is_not_being_sent(scene: Scene) -> None:
    campaign = await sending(scene)
    await change(scene, campaign, Wish.PAUSE)
    assert await scene.store.expand(a_wave(scene, campaign, 0, 3)) is None
    assert await scene.store.due_campaigns(NOW, 10) == []
    await change(scene, campaign, Wish.RESUME)
    assert await scene.store.expand(a_wave(scene, campaign, 0, 3, last=True)) is not None
    assert await scene.store.expand(a_wave(scene, campaign, 3, 3)) is None


async def test_lease_keeps_a_campaign_with_one_node_until_it_is_over(scene: Scene) -> None:
    campaign = await sending(scene)
    take = scene.store.take_campaign
    taken = await take(scene.account, campaign, "a", 0, NOW)
    assert taken is not None
    assert (taken.campaign.id, taken.account.name) == (campaign, "acme")
    assert await take(scene.account, campaign, "b", 600 * SECOND, NOW + SECOND) is not None, "that lease is over"
    assert await take(scene.account, campaign, "a", LEASE, NOW + SECOND) is None
    assert await take(scene.account, campaign, "b", 600 * SECOND, NOW + SECOND) is not None, "it is its own"


async def test_nothing_leaves_while_it_is_paused_and_all_once_resumed(scene: Scene) -> None:
    campaign = await expanded(scene, 12)
    left = await scene.claim(5)
    assert await change(scene, campaign, Wish.PAUSE)
    ordinary = await scene.accept(number=number(99), family=Family.MARKETING)
    assert [one.attempt.message for one in await claim_all(scene, 2)] == [ordinary]
    assert await scene.store.next_due("live") is None, "they are out of the way"
    assert not await scene.store.unshelve(scene.account, campaign, 10), "it is paused"
    assert await change(scene, campaign, Wish.RESUME)
    assert await scene.store.unshelve(scene.account, campaign, 4) == 4
    assert await scene.store.unshelve(scene.account, campaign, 10) == 3
    assert await scene.store.unshelve(scene.account, campaign, 10) == 0
    left += await claim_all(scene)
    assert numbers(left) == [number(index) for index in range(1, 13)]


async def test_paused_campaign_does_not_hold_another_back(scene: Scene) -> None:
    held, other = await expanded(scene, 3), await sending(scene)
    await change(scene, held, Wish.PAUSE)
    await scene.store.expand(replace(a_wave(scene, other, 3, 3, last=True), after=0))
    assert numbers(await claim_all(scene)) == [number(index) for index in range(4, 7)]


async def test_rest_of_a_message_follows_what_has_left_of_it(scene: Scene) -> None:
    campaign = await sending(scene)
    await scene.store.expand(a_wave(scene, campaign, 0, 1, last=True, parts=2, text="x" * 200))
    await scene.claim(1)
    await change(scene, campaign, Wish.PAUSE)
    assert [one.attempt.part for one in await claim_all(scene)] == [2]


async def test_what_the_operator_postponed_waits_with_the_others(scene: Scene) -> None:
    campaign = await expanded(scene, 1)
    [submission] = await scene.claim()
    await scene.store.settle([refused(submission, Treatment.THROTTLED, NOW - 10 * SECOND)], NOW)
    await change(scene, campaign, Wish.PAUSE)
    assert await claim_all(scene) == []
    await change(scene, campaign, Wish.RESUME)
    assert not await scene.store.finish_campaign(scene.account, campaign, NOW), "a part of it is still on the shelf"
    await scene.store.unshelve(scene.account, campaign, 10)
    assert len(await claim_all(scene)) == 1


async def test_cancelled_campaign_takes_back_what_has_not_left_and_counts_it(scene: Scene) -> None:
    campaign = await expanded(scene, 9)
    left = await scene.claim(4)
    other = await scene.accept(number=number(99))
    await change(scene, campaign, Wish.CANCEL)
    assert await scene.store.delete_campaign(scene.account, campaign, NOW) is False
    await cancel_all(scene, campaign)
    found = await find(scene, campaign)
    assert (found.cancelled, found.state, found.ended_at) == (5, CampaignState.CANCELLED, NOW)
    assert [one.attempt.message for one in await claim_all(scene)] == [other]
    assert await counts(scene, campaign) == {Count.SENT: len(left), Count.CREDITS: 4, Count.NEVER_LEFT: 5}
    assert await scene.store.due_campaigns(NOW, 10) == []
    assert not await change(scene, campaign, Wish.CANCEL)


async def test_claim_cancels_what_the_cancellation_has_not_come_to(scene: Scene) -> None:
    campaign = await expanded(scene, 3)
    await change(scene, campaign, Wish.CANCEL)
    assert await claim_all(scene) == []
    assert await counts(scene, campaign) == {Count.NEVER_LEFT: 3}


async def test_part_that_was_released_after_a_cancellation_does_not_leave(scene: Scene) -> None:
    campaign = await expanded(scene, 1)
    [submission] = await scene.claim()
    await change(scene, campaign, Wish.CANCEL)
    await cancel_all(scene, campaign)
    assert await scene.store.delete_campaign(scene.account, campaign, NOW)
    await scene.store.release([submission.key], NOW)
    assert await claim_all(scene) == []


async def test_restored_parts_of_a_paused_campaign_are_in_doubt_like_the_others(scene: Scene) -> None:
    campaign = await expanded(scene, 5)
    await change(scene, campaign, Wish.PAUSE)
    await scene.claim(2)
    await scene.store.hold(True, NOW)
    while await scene.store.doubt_queued("live", 2, NOW):
        pass
    assert (await scene.store.count_pending())["in_doubt"] == 5
    assert (await scene.store.count_pending())["queued"] == 0


async def test_finished_once_its_list_is_through(scene: Scene) -> None:
    campaign = await sending(scene)
    await scene.store.expand(a_wave(scene, campaign, 0, 2))
    assert not await scene.store.finish_campaign(scene.account, campaign, NOW)
    await scene.store.expand(a_wave(scene, campaign, 2, 2, last=True))
    assert await scene.store.finish_campaign(scene.account, campaign, NOW)
    assert (await find(scene, campaign)).state is CampaignState.SENT
    assert await scene.store.due_campaigns(NOW, 10) == []


@pytest.mark.parametrize("wish", [None, Wish.SEND, Wish.PAUSE])
async def test_draft_can_be_deleted_and_what_is_being_sent_cannot(scene: Scene, wish: Wish | None) -> None:
    campaign = await scene.store.create_campaign(a_draft(scene))
    if wish is not None:
        await scene.store.change_campaign(scene.account, campaign, Wish.SEND, NOW, order=ORDER)
        await change(scene, campaign, wish)
    assert await scene.store.delete_campaign(scene.account, campaign, NOW) is (wish is None)
    found = await scene.store.find_campaign(scene.account, campaign, test=False)
    assert (found is None) is (wish is None)


async def test_its_replies_and_opt_outs_are_those_of_its_messages(scene: Scene) -> None:
    campaign = await expanded(scene, 2)
    for index, submission in enumerate(await claim_all(scene)):
        await scene.store.settle([answered(submission, f"C{index}")], NOW + SECOND)
    await scene.stop(number(1))
    account = scene.account
    entries = await scene.store.list_campaign_entries(
        account, Listing.UNSUBSCRIBED, campaign, test=False, after=0, limit=10
    )
    assert [entry.number for entry in entries] == [number(1)]
    assert not await scene.store.list_campaign_entries(
        account, Listing.BOUNCED, campaign, test=False, after=0, limit=10
    )
    assert not await scene.store.list_campaign_replies(account, campaign, test=False, after=0, limit=10)


async def test_accept_of_others_and_waves_do_not_entangle(scene: Scene) -> None:
    campaign = await sending(scene)
    sends = [a_send(scene.account, number=number(index), family=Family.MARKETING) for index in range(20, 0, -1)]
    waves = [a_wave(scene, campaign, first, 10) for first in (0, 10)]
    expanding = asyncio.gather(*(scene.store.expand(wave) for wave in waves))
    accepted = await asyncio.gather(*map(scene.store.accept, sends))
    assert all(isinstance(one, Accepted) for one in accepted)
    assert (await expanding)[0] is not None
    assert len({one.id for one in accepted if isinstance(one, Accepted)} | {MessageId(0)}) == 21
