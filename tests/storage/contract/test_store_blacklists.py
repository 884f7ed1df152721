"""Opt-outs, bounces and replies as their account adds, removes and lists them; START."""

from __future__ import annotations

from typing import Any

import pytest
from store_scene import (
    MAGIC_NUMBER,
    MINUTE,
    NOW,
    NUMBER,
    OTHER_NUMBER,
    SECOND,
    Scene,
    an_inbound,
    answered,
)

from chappe.core.message import Accepted, AccountId, Family, NotAccepted, State
from chappe.core.rules import Entry, Listing

THIRD_NUMBER = "+33611111111"


async def add(scene: Scene, number: str = NUMBER, listing: Listing = Listing.UNSUBSCRIBED, **of: Any) -> int:
    of = {"test": False, "now": NOW} | of
    return await scene.store.add_entry(of.pop("account", scene.account), listing, number, **of)


async def entries(
    scene: Scene, listing: Listing = Listing.UNSUBSCRIBED, account: AccountId | None = None, **of: Any
) -> list[Entry]:
    of = {"test": False, "category": None, "after": 0, "limit": 100} | of
    return await scene.store.list_entries(account or scene.account, listing, **of)


async def numbers(scene: Scene, listing: Listing = Listing.UNSUBSCRIBED, **of: Any) -> list[str]:
    return [entry.number for entry in await entries(scene, listing, **of)]


async def texts(scene: Scene, account: AccountId | None = None, **of: Any) -> list[str]:
    of = {"test": False, "category": None, "after": 0, "limit": 100} | of
    return [reply.text for reply in await scene.store.list_replies(account or scene.account, **of)]


# --- added through the API ---------------------------------------------------------------------------


@pytest.mark.parametrize(("listing", "code"), [(Listing.UNSUBSCRIBED, 12), (Listing.BOUNCED, 13)])
async def test_entry_bars_sends_until_it_is_removed(scene: Scene, listing: Listing, code: int) -> None:
    entry = await add(scene, listing=listing)
    assert await scene.try_to_send() == NotAccepted(code)
    assert await scene.store.remove_entry(scene.account, listing, entry, test=False)
    assert isinstance(await scene.try_to_send(), Accepted)


async def test_entry_is_removed_by_its_number_too(scene: Scene) -> None:
    await add(scene)
    assert await scene.store.remove_entry(scene.account, Listing.UNSUBSCRIBED, NUMBER, test=False)
    assert not await scene.store.remove_entry(scene.account, Listing.UNSUBSCRIBED, NUMBER, test=False)
    assert await entries(scene) == []


async def test_number_added_twice_is_one_entry(scene: Scene) -> None:
    entry = await add(scene)
    assert await add(scene, now=NOW + MINUTE) == entry
    assert await entries(scene) == [Entry(entry, NUMBER, NOW, None, None)]


async def test_id_of_a_removed_entry_is_not_used_again(scene: Scene) -> None:
    entry = await add(scene)
    await scene.store.remove_entry(scene.account, Listing.UNSUBSCRIBED, entry, test=False)
    assert await add(scene) != entry


async def test_entry_is_found_by_its_own_account_list_and_traffic_only(scene: Scene) -> None:
    entry, rival = await add(scene), await scene.another_account()
    for account, listing, test in (
        (rival, Listing.UNSUBSCRIBED, False),
        (scene.account, Listing.BOUNCED, False),
        (scene.account, Listing.UNSUBSCRIBED, True),
    ):
        assert await entries(scene, listing, account, test=test) == []
        for wanted in (entry, NUMBER):
            assert not await scene.store.remove_entry(account, listing, wanted, test=test)
    assert await numbers(scene) == [NUMBER]


async def test_bounce_that_another_account_added_bars_nobody_else(scene: Scene) -> None:
    rival = await scene.another_account()
    await add(scene, listing=Listing.BOUNCED, account=rival)
    assert isinstance(await scene.try_to_send(), Accepted)
    assert await scene.try_to_send(account=rival) == NotAccepted(13)


async def test_entry_that_is_added_bars_a_magic_number_though_a_stop_does_not(scene: Scene) -> None:
    submission = await scene.submit(test=True, number=MAGIC_NUMBER)
    await scene.store.settle([answered(submission)], NOW)
    await scene.stop(MAGIC_NUMBER, connector="simulator")
    assert isinstance(await scene.try_to_send(test=True, number=MAGIC_NUMBER), Accepted)
    await add(scene, MAGIC_NUMBER, test=True)
    assert await scene.try_to_send(test=True, number=MAGIC_NUMBER) == NotAccepted(12)
    assert await numbers(scene, test=True) == [MAGIC_NUMBER]


async def test_queued_message_to_a_number_that_is_opted_out_since_is_barred(scene: Scene) -> None:
    message = await scene.accept(family=Family.MARKETING)
    await add(scene)
    assert await scene.claim() == []
    assert (await scene.read(message)).cause == "unsubscribed"


# --- what lists show ---------------------------------------------------------------------------------


async def test_stop_and_bounce_are_listed_with_their_message_s_category_and_campaign(scene: Scene) -> None:
    await scene.hand_over("A1", category="rdv", campaign="mai")
    await scene.stop()
    await scene.bounce("B1", number=OTHER_NUMBER)
    [opt_out] = await entries(scene)
    assert opt_out == Entry(opt_out.id, NUMBER, NOW + MINUTE, "rdv", "mai")
    [bounce] = await entries(scene, Listing.BOUNCED)
    assert bounce == Entry(bounce.id, OTHER_NUMBER, NOW + 5 * SECOND, None, None)


async def test_lists_are_read_by_category(scene: Scene) -> None:
    await scene.hand_over("A1", category="rdv")
    await scene.stop()
    await scene.hand_over("A2", number=OTHER_NUMBER, category="promo")
    await scene.stop(OTHER_NUMBER)
    await add(scene, THIRD_NUMBER)
    assert await numbers(scene, category="rdv") == [NUMBER]
    assert await numbers(scene, category="absent") == []
    assert sorted(await numbers(scene)) == sorted([NUMBER, OTHER_NUMBER, THIRD_NUMBER])


async def test_lists_are_read_page_by_page(scene: Scene) -> None:
    added = [f"+336123456{place:02}" for place in range(7)]
    for number in added:
        await add(scene, number)
    read: list[str] = []
    after = 0
    while page := await entries(scene, after=after, limit=3):
        assert len(page) <= 3
        read += [entry.number for entry in page]
        after = page[-1].id
    assert read == added


# --- replies -----------------------------------------------------------------------------------------


async def test_replies_are_listed_without_stop(scene: Scene) -> None:
    message = await scene.hand_over()
    for text in ("Oui", "STOP", "CONTACT", "Non"):
        await scene.store.receive([an_inbound(text)], NOW + MINUTE)
    replies = await scene.store.list_replies(scene.account, test=False, category=None, after=0, limit=100)
    assert [(reply.text, reply.message, reply.number) for reply in replies] == [
        (text, message, NUMBER) for text in ("Oui", "CONTACT", "Non")
    ]
    assert await texts(scene, after=replies[0].id, limit=1) == ["CONTACT"]


async def test_replies_are_read_by_category_account_and_traffic(scene: Scene) -> None:
    await scene.hand_over("A1", category="rdv")
    await scene.hand_over("A2", number=OTHER_NUMBER)
    submission = await scene.submit(test=True, number=THIRD_NUMBER, category="rdv")
    await scene.store.settle([answered(submission)], NOW)
    for text, number, connector in (
        ("Un", NUMBER, "operator"),
        ("Deux", OTHER_NUMBER, "operator"),
        ("Essai", THIRD_NUMBER, "simulator"),
        ("Qui ?", "+33622222222", "operator"),
    ):
        await scene.store.receive([an_inbound(text, number=number, connector=connector)], NOW + MINUTE)
    assert await texts(scene) == ["Un", "Deux"]
    assert await texts(scene, category="rdv") == ["Un"]
    assert await texts(scene, category="absent") == []
    assert await texts(scene, test=True) == ["Essai"]
    assert await texts(scene, await scene.another_account()) == []


# --- START -------------------------------------------------------------------------------------------


async def test_start_takes_back_the_person_s_stop(scene: Scene) -> None:
    message = await scene.hand_over()
    await scene.stop()
    assert await scene.try_to_send() == NotAccepted(12)
    [reply] = await scene.store.receive([an_inbound("Start", at=NOW + 2 * MINUTE)], NOW + 2 * MINUTE)
    assert (reply.keyword, reply.message) == ("START", message)
    assert isinstance(await scene.try_to_send(), Accepted)
    assert await entries(scene) == []
    assert await scene.state(message) is State.UNSUBSCRIBED  # what happened, happened


async def test_stop_and_start_of_one_batch_count_in_their_order(scene: Scene) -> None:
    await scene.hand_over()
    await scene.store.receive([an_inbound("STOP"), an_inbound("START")], NOW + MINUTE)
    assert await entries(scene) == []
    await scene.store.receive([an_inbound("START"), an_inbound("STOP")], NOW + MINUTE)
    assert await numbers(scene) == [NUMBER]


async def test_start_does_not_undo_what_the_account_decided(scene: Scene) -> None:
    await scene.hand_over()
    await add(scene)
    await scene.store.receive([an_inbound("START")], NOW + MINUTE)
    assert await scene.try_to_send() == NotAccepted(12)


async def test_start_of_somebody_else_changes_nothing(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.stop()
    await scene.hand_over("A2", number=OTHER_NUMBER)
    for number, connector in ((OTHER_NUMBER, "operator"), (NUMBER, "simulator"), (THIRD_NUMBER, "operator")):
        await scene.store.receive([an_inbound("START", number=number, connector=connector)], NOW + 2 * MINUTE)
    assert await numbers(scene) == [NUMBER]


async def test_start_does_not_end_a_bounce(scene: Scene) -> None:
    await scene.hand_over("A1")
    await add(scene, listing=Listing.BOUNCED)
    await scene.store.receive([an_inbound("START")], NOW + MINUTE)
    assert await scene.try_to_send() == NotAccepted(13)
