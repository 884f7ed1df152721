"""What a STOP does at once, how far it goes, STOPs that an operator tells of, and lists from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from store_scene import (
    DAY,
    HOUR,
    MAGIC_NUMBER,
    MINUTE,
    NOW,
    NUMBER,
    OTHER_NUMBER,
    SECOND,
    OpenStore,
    Scene,
    a_receipt,
    an_inbound,
    answered,
    doubted,
    in_parts,
    keys_of,
    refused,
)

from chappe.core.errors import StoreUnavailable
from chappe.core.message import (
    Accepted,
    Barred,
    Family,
    MessageId,
    NotAccepted,
    OptOutScope,
    Settings,
    State,
    Stopped,
    Treatment,
    Verdict,
)
from chappe.core.routing import Portion
from chappe.core.rules import Entry, Listing

T = TypeVar("T")

AT = NOW + MINUTE
MARKETING = Family.MARKETING


async def by_sender(scene: Scene, **settings: Any) -> Scene:
    await scene.store.save_settings(scene.account, Settings(optout_scope=OptOutScope.SENDER, **settings))
    return scene


async def opt_outs(scene: Scene, *, test: bool = False) -> list[tuple[str, str | None]]:
    entries = await scene.store.list_entries(
        scene.account, Listing.UNSUBSCRIBED, test=test, category=None, after=0, limit=100
    )
    return [(entry.number, entry.sender) for entry in entries]


async def cause(scene: Scene, message: MessageId) -> str | None:
    return (await scene.read(message)).cause


# --- what waits --------------------------------------------------------------------------------------


async def test_stop_bars_what_waits_for_that_person_at_once(scene: Scene) -> None:
    scheduled = await scene.accept(family=MARKETING, due_at=NOW + 30 * DAY)
    waiting = await scene.accept(family=MARKETING, parts=3, due_at=NOW + HOUR)
    answers = await scene.hand_over()
    later = await scene.accept(due_at=NOW + HOUR)  # notifications too: the account has not said otherwise
    await scene.stop()
    for message in (scheduled, waiting, later):
        read = await scene.read(message)
        assert (read.error_at, read.cause, read.wake_at) == (AT, "unsubscribed", None)
        [logged] = await scene.store.list_facts(scene.account, message)
        assert (logged.changed, logged.fact) == (True, Barred(AT, "unsubscribed"))
    assert await scene.state(answers) is State.UNSUBSCRIBED
    assert (await scene.store.count_pending())["queued"] == 0
    assert await scene.store.next_due("live") is None


async def test_stop_leaves_alone_what_it_is_not_about(scene: Scene) -> None:
    rival = await scene.another_account()
    elsewhere = await scene.accept(account=rival, due_at=NOW + HOUR)
    other = await scene.accept(number=OTHER_NUMBER, due_at=NOW + HOUR)
    trial = await scene.accept(test=True, due_at=NOW + HOUR)
    await scene.hand_over("A0")
    await scene.hand_over()
    await scene.stop()
    assert {key[0] for key in keys_of(await scene.claim(now=NOW + HOUR))} == {elsewhere, other}
    assert keys_of(await scene.claim(route="simulator", now=NOW + HOUR)) == [(trial, 1, 1)]


async def test_notification_that_the_account_exempts_is_not_barred(scene: Scene) -> None:
    await scene.store.save_settings(scene.account, Settings(notify_opted_out=True))
    notification = await scene.accept(due_at=NOW + HOUR, exempt_from_optout=True)
    marketing = await scene.accept(due_at=NOW + HOUR, family=MARKETING)
    await scene.hand_over()
    await scene.stop()
    assert [await cause(scene, message) for message in (notification, marketing)] == [None, "unsubscribed"]
    assert keys_of(await scene.claim(now=NOW + HOUR)) == [(notification, 1, 1)]


async def test_what_waits_to_be_tried_again_is_barred_too(scene: Scene) -> None:
    await scene.hand_over("A1")
    again = await scene.submit(family=MARKETING)
    await scene.store.settle([refused(again, Treatment.THROTTLED)], NOW + SECOND)
    await scene.stop()
    assert await cause(scene, again.attempt.message) == "unsubscribed"


async def test_what_is_under_way_is_not_taken_back(scene: Scene) -> None:
    await scene.hand_over("A1")
    pending, in_doubt = await scene.submit(family=MARKETING), await scene.submit(family=MARKETING)
    await scene.store.settle([doubted(in_doubt)], NOW + SECOND)
    await scene.stop()
    states = [await scene.state(submission.attempt.message) for submission in (pending, in_doubt)]
    assert sorted(state.public_name for state in states) == ["submitted", "unsubscribed"]  # the newest is answered
    await scene.store.settle([answered(pending, "A2"), a_receipt("A2")], NOW + HOUR)
    assert await scene.state(pending.attempt.message) is State.DELIVERED


async def test_stop_to_a_magic_number_bars_nothing(scene: Scene) -> None:
    waiting = await scene.accept(test=True, number=MAGIC_NUMBER, due_at=NOW + HOUR)
    submission = await scene.submit(test=True, number=MAGIC_NUMBER)
    await scene.store.settle([answered(submission)], NOW)
    await scene.stop(MAGIC_NUMBER, connector="simulator")
    assert keys_of(await scene.claim(route="simulator", now=NOW + HOUR)) == [(waiting, 1, 1)]


async def test_barred_messages_are_told_to_webhooks_as_errors(scene: Scene) -> None:
    waiting = await scene.accept(family=MARKETING, due_at=NOW + HOUR)
    await scene.hand_over()
    await scene.stop()
    read = await scene.read(waiting)
    assert (read.events, await scene.state(waiting)) == (2, State.ERROR)


async def test_a_hundred_that_wait_are_barred_together(scene: Scene) -> None:
    waiting = [await scene.accept(family=MARKETING, due_at=NOW + HOUR) for _ in range(100)]
    await scene.hand_over()
    await scene.stop()
    assert {await cause(scene, message) for message in waiting} == {"unsubscribed"}


async def test_stop_of_which_a_part_never_came_bars_too(scene: Scene) -> None:
    waiting = await scene.accept(family=MARKETING, due_at=NOW + HOUR)
    await scene.hand_over()
    first, _ = in_parts(7, "STOP", " merci")
    await scene.store.receive([first], AT)
    assert await cause(scene, waiting) is None
    await scene.store.sweep(AT + 10 * MINUTE, 10)
    assert await cause(scene, waiting) == "unsubscribed"


async def test_two_stops_of_one_batch_bar_both(scene: Scene) -> None:
    for place, number in enumerate((NUMBER, OTHER_NUMBER)):
        await scene.accept(family=MARKETING, number=number, due_at=NOW + HOUR)
        await scene.hand_over(f"A{place}", number=number)
    await scene.store.receive([an_inbound("STOP"), an_inbound("STOP", number=OTHER_NUMBER)], AT)
    assert (await scene.store.count_pending())["queued"] == 0


async def stored(call: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """As its callers do: on a busy machine one waits so long for the others' locks that the store gives up."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call(*arguments)
            except StoreUnavailable:
                await asyncio.sleep(0.1)


async def test_stops_and_claims_at_the_same_moment_let_nothing_leave_afterwards(
    open_store: OpenStore, scene: Scene
) -> None:
    other = await open_store()
    numbers = [f"+336123456{place:02}" for place in range(20)]
    for place, number in enumerate(numbers):
        await scene.hand_over(f"A{place}", number=number)
    for number in numbers:
        await scene.accept(family=MARKETING, number=number, accepted_at=NOW + SECOND)
    epoch = scene.epochs["operator"]
    stops = [stored(scene.store.receive, [an_inbound("STOP", number=number)], AT) for number in numbers]
    claims = [stored(other.claim, "operator", epoch, [Portion("live")], 3, AT) for _ in range(10)]
    claimed = (await asyncio.gather(asyncio.gather(*stops), asyncio.gather(*claims)))[1]
    left = sum(map(len, claimed))
    assert await scene.claim(now=AT) == []
    pending = await scene.store.count_pending()
    assert (pending["queued"], pending["pending"]) == (0, left)


# --- how far it goes ---------------------------------------------------------------------------------


async def test_stop_to_one_sender_bars_that_sender_alone(scene: Scene) -> None:
    await by_sender(scene)
    theirs = await scene.accept(family=MARKETING, sender="Shop", due_at=NOW + HOUR)
    others = await scene.accept(family=MARKETING, sender="Garage", due_at=NOW + HOUR)
    await scene.hand_over(sender="Shop")
    await scene.stop()
    assert await opt_outs(scene) == [(NUMBER, "Shop")]
    assert await cause(scene, theirs) == "unsubscribed"
    assert keys_of(await scene.claim(now=NOW + HOUR)) == [(others, 1, 1)]
    assert await scene.try_to_send(sender="Shop") == NotAccepted(12)
    assert await scene.try_to_send(sender="SHOP", family=MARKETING) == NotAccepted(12)
    assert isinstance(await scene.try_to_send(sender="Garage", family=MARKETING), Accepted)


async def test_message_without_a_sender_may_come_from_any(scene: Scene) -> None:
    await by_sender(scene)
    await scene.hand_over(sender="Shop")
    await scene.stop()
    assert await scene.try_to_send(family=MARKETING) == NotAccepted(12)


async def test_stop_to_a_message_without_a_sender_is_for_the_account(scene: Scene) -> None:
    await by_sender(scene)
    await scene.hand_over()
    await scene.stop()
    assert await opt_outs(scene) == [(NUMBER, None)]
    assert await scene.try_to_send(sender="Garage") == NotAccepted(12)


async def test_stop_to_each_sender_is_an_entry_each_and_removed_by_the_number(scene: Scene) -> None:
    await by_sender(scene)
    for sender in ("Shop", "Garage"):
        await scene.hand_over(sender, sender=sender)
        await scene.stop()
        await scene.stop()
    assert await opt_outs(scene) == [(NUMBER, "Shop"), (NUMBER, "Garage")]
    assert await scene.store.remove_entry(scene.account, Listing.UNSUBSCRIBED, NUMBER, test=False)
    assert await opt_outs(scene) == []


async def test_start_takes_back_the_stop_to_that_sender(scene: Scene) -> None:
    await by_sender(scene)
    for place, sender in enumerate(("Shop", "Garage")):
        await scene.hand_over(f"A{place}", sender=sender, now=NOW + place * SECOND, accepted_at=NOW + place * SECOND)
        await scene.stop()
    await scene.store.receive([an_inbound("START", recipient="Shop")], AT)
    assert await opt_outs(scene) == [(NUMBER, "Garage")]


async def test_start_takes_back_every_stop_of_an_account_that_knows_no_senders(scene: Scene) -> None:
    await by_sender(scene)
    await scene.hand_over(sender="Shop")
    await scene.stop()
    await scene.store.save_settings(scene.account, Settings())
    await scene.store.receive([an_inbound("START")], AT)
    assert await opt_outs(scene) == []


async def test_bounce_is_never_about_a_sender(scene: Scene) -> None:
    await by_sender(scene)
    await scene.bounce(sender="Shop")
    assert await scene.try_to_send(sender="Garage") == NotAccepted(13)


# --- what an operator tells --------------------------------------------------------------------------


async def test_stop_that_the_operator_kept_lists_the_person_and_is_an_error(scene: Scene) -> None:
    waiting = await scene.accept(family=MARKETING, due_at=NOW + HOUR)
    message = await scene.hand_over(category="promo", family=MARKETING)
    events = await scene.store.settle([a_receipt("A1", Verdict.OPTED_OUT, detail="operatorStop:053")], AT)
    assert [(event.message, event.state) for event in events] == [(message, State.ERROR), (waiting, State.ERROR)]
    read = await scene.read(message)
    assert (read.error_at, read.unsubscribed_at, read.cause) == (NOW + 5 * SECOND, None, "operatorStop:053")
    assert await cause(scene, waiting) == "unsubscribed"
    assert await scene.try_to_send(family=MARKETING) == NotAccepted(12)
    [entry] = await scene.store.list_entries(
        scene.account, Listing.UNSUBSCRIBED, test=False, category="promo", after=0, limit=10
    )
    assert entry == Entry(entry.id, NUMBER, NOW + 5 * SECOND, "promo", None)


async def test_stop_that_the_operator_tells_again_changes_nothing(scene: Scene) -> None:
    await scene.hand_over()
    receipt = a_receipt("A1", Verdict.OPTED_OUT)
    await scene.store.settle([receipt], AT)
    await scene.store.remove_entry(scene.account, Listing.UNSUBSCRIBED, NUMBER, test=False)
    await scene.store.settle([receipt], AT)
    assert await opt_outs(scene) == []


async def test_stop_that_the_operator_told_before_its_answer_counts(scene: Scene) -> None:
    submission = await scene.submit(sender="Shop")
    await by_sender(scene)
    await scene.store.settle([a_receipt("A1", Verdict.OPTED_OUT)], AT)
    await scene.store.settle([answered(submission, "A1")], AT)
    assert await opt_outs(scene) == [(NUMBER, "Shop")]


async def test_person_who_writes_stop_again_is_listed_again(scene: Scene) -> None:
    message = await scene.hand_over()
    await scene.stop()
    await scene.store.remove_entry(scene.account, Listing.UNSUBSCRIBED, NUMBER, test=False)
    await scene.stop(now=AT + MINUTE)
    assert await opt_outs(scene) == [(NUMBER, None)]
    facts = await scene.store.list_facts(scene.account, message)
    assert [logged.changed for logged in facts if isinstance(logged.fact, Stopped)] == [True, False]


# --- from elsewhere ----------------------------------------------------------------------------------


async def test_imported_opt_outs_bar_like_others(scene: Scene) -> None:
    rows = [(NUMBER, None, NOW - DAY), (OTHER_NUMBER, "Shop", NOW - HOUR), (NUMBER, None, NOW)]
    assert await scene.store.import_opt_outs(scene.account, rows, test=False) == 2
    assert await opt_outs(scene) == [(NUMBER, None), (OTHER_NUMBER, "Shop")]
    assert await scene.try_to_send() == NotAccepted(12)
    assert await scene.try_to_send(number=OTHER_NUMBER, sender="Shop") == NotAccepted(12)
    assert isinstance(await scene.try_to_send(number=OTHER_NUMBER, sender="Garage"), Accepted)
    assert isinstance(await scene.try_to_send(account=await scene.another_account()), Accepted)


async def test_importing_again_leaves_what_is_there(scene: Scene) -> None:
    await scene.hand_over(campaign="mai")
    await scene.stop()
    rows = [(NUMBER, None, NOW), (OTHER_NUMBER, None, NOW)]
    assert [await scene.store.import_opt_outs(scene.account, rows, test=False) for _ in range(2)] == [1, 0]
    await scene.store.receive([an_inbound("START")], AT)  # the person's own, which START takes back
    assert await opt_outs(scene) == [(OTHER_NUMBER, None)]


@pytest.mark.parametrize("test", [False, True])
async def test_importing_keeps_test_and_live_traffic_apart(scene: Scene, test: bool) -> None:
    await scene.store.import_opt_outs(scene.account, [(NUMBER, None, NOW)], test=test)
    assert (await opt_outs(scene, test=test), await opt_outs(scene, test=not test)) == ([(NUMBER, None)], [])


async def test_importing_nothing_adds_nothing(scene: Scene) -> None:
    assert await scene.store.import_opt_outs(scene.account, [], test=False) == 0
