"""Counters: each fact once, in the transaction that reaches it (I13 after random histories: test_store_machine)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from store_scene import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    OTHER_NUMBER,
    SECOND,
    VALIDITY,
    OpenStore,
    Scene,
    a_receipt,
    an_inbound,
    answered,
    doubted,
    keys_of,
    refused,
)

from chappe.core.counts import Count, Scope
from chappe.core.message import Accepted, AccountId, Family, TrackedLink, Treatment, Verdict
from chappe.storage import counters

LINK = TrackedLink("t0ken", "https://a.example")


async def counted(scene: Scene, *, account: AccountId | None = None, test: bool = False, **of: Any) -> dict[Count, int]:
    """What is not zero."""
    counts = await scene.store.read_counts(account or scene.account, test=test, **of)
    assert counts.keys() == set(Count)
    return {count: n for count, n in counts.items() if n}


def sent(n: int = 1, parts: int | None = None, **more: int) -> dict[Count, int]:
    return {Count.SENT: n, Count.CREDITS: parts or n} | {Count[name.upper()]: n for name, n in more.items()}


async def test_message_that_waits_counts_nothing(scene: Scene) -> None:
    await scene.accept()
    assert await counted(scene) == {}


async def test_message_is_sent_at_its_first_attempt_and_costs_its_parts(scene: Scene) -> None:
    await scene.accept(parts=3)
    await scene.claim(1)
    assert await counted(scene) == sent(1, parts=3)
    await scene.claim()
    assert await counted(scene) == sent(1, parts=3)


async def test_release_takes_back_what_nothing_is_left_of(scene: Scene) -> None:
    await scene.accept(parts=2)
    first, second = keys_of(await scene.claim())
    await scene.store.release([first], NOW)
    assert await counted(scene) == sent(1, parts=2)
    await scene.store.release([second], NOW)
    assert await counted(scene) == {}
    await scene.claim()
    assert await counted(scene) == sent(1, parts=2)


async def test_message_submitted_again_is_sent_once(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([refused(submission, Treatment.TEMPORARY)], NOW + SECOND)
    await scene.claim_one(now=NOW + MINUTE)
    assert await counted(scene) == sent(1)


async def test_message_is_submitted_when_every_part_is_in_charge(scene: Scene) -> None:
    await scene.accept(parts=2)
    first, second = await scene.claim()
    await scene.store.settle([answered(first, "A1")], NOW)
    assert await counted(scene) == sent(1, parts=2)
    await scene.store.settle([answered(second, "A2")], NOW)
    assert await counted(scene) == sent(1, parts=2, submitted=1)


async def test_delivered_counts_once_however_many_receipts(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1"), a_receipt("A1")], NOW + MINUTE)
    await scene.store.settle([a_receipt("A1")], NOW + MINUTE)
    assert await counted(scene) == sent(1, submitted=1, delivered=1)


async def test_answer_and_receipt_of_one_batch_count_each(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([a_receipt("A1"), answered(submission, "A1")], NOW + MINUTE)
    assert await counted(scene) == sent(1, submitted=1, delivered=1)


async def test_bounced_is_no_error(scene: Scene) -> None:
    await scene.bounce()
    assert await counted(scene) == sent(1, submitted=1, bounced=1)


async def test_each_doubt_counts_whatever_becomes_known_later_and_each_submit_that_may_double(scene: Scene) -> None:
    submission = await scene.submit(category="orders")
    doubt = doubted(submission)
    await scene.store.settle([doubt, doubt], NOW + SECOND)
    assert await counted(scene) == sent(1, doubts=1)
    await scene.store.sweep(NOW + HOUR, 10)
    again = await scene.claim_one(now=NOW + HOUR)
    assert again.attempt.flagged
    assert await counted(scene) == sent(1, doubts=1, resent=1)
    await scene.store.release([again.key], NOW + HOUR)
    assert await counted(scene) == sent(1, doubts=1)
    await scene.store.settle([answered(submission, "A1")], NOW + HOUR)  # the late answer
    await scene.store.sweep(NOW + HOUR, 10)
    assert await counted(scene) == sent(1, submitted=1, doubts=1)
    assert await scene.store.list_counts(scene.account, test=False) == {
        "orders": await scene.store.read_counts(scene.account, test=False, scope=Scope.CATEGORY, name="orders")
    }


async def test_counts_are_listed_by_category_rolled_up_or_not_and_each_accounts_own(scene: Scene) -> None:
    rival = await scene.another_account()
    await scene.submit(category="b")
    await scene.store.sweep(NOW, 10)
    await scene.submit(category="b")
    await scene.submit()
    await scene.submit(account=rival, category="c")
    await scene.submit(test=True, category="d")
    listed = await scene.store.list_counts(scene.account, test=False)
    assert {name: counts[Count.SENT] for name, counts in listed.items()} == {"": 1, "b": 2}
    assert list(await scene.store.list_counts(scene.account, test=True)) == ["d"]
    assert list(await scene.store.list_counts(rival, test=False)) == ["c"]


async def test_error_turns_into_delivered_with_a_late_receipt(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1", Verdict.EXPIRED)], NOW + HOUR)
    assert await counted(scene) == sent(1, submitted=1, errors=1)
    await scene.store.settle([a_receipt("A1")], NOW + DAY)
    assert await counted(scene) == sent(1, submitted=1, delivered=1)


async def test_message_that_never_left_is_no_error(scene: Scene) -> None:
    await scene.accept()
    await scene.store.sweep(NOW + VALIDITY, 10)
    assert await counted(scene) == {Count.NEVER_LEFT: 1}


async def test_error_goes_with_the_claim_that_is_released_after_it(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.sweep(NOW + 10 * DAY, 10)
    assert await counted(scene) == sent(1, errors=1)
    await scene.store.release([submission.key], NOW + 10 * DAY)
    assert await counted(scene) == {Count.NEVER_LEFT: 1}


async def test_replies_count_messages_and_stop_is_none(scene: Scene) -> None:
    await scene.hand_over()
    await scene.store.receive([an_inbound("Oui"), an_inbound("Non")], NOW + MINUTE)
    assert await counted(scene) == sent(1, submitted=1, replies=1)
    await scene.stop()
    await scene.stop()
    assert await counted(scene) == sent(1, submitted=1, replies=1, unsubscribers=1)


async def test_clicks_of_people_count_each_and_the_message_once(scene: Scene) -> None:
    await scene.hand_over(links=(LINK, TrackedLink("0ther", "https://b.example")))
    for token, human in (("t0ken", False), ("t0ken", True), ("t0ken", True), ("0ther", True)):
        await scene.store.open_link(token, human=human, now=NOW + MINUTE)
    assert await counted(scene) == sent(1, submitted=1, opens=3, openers=1)


async def test_test_traffic_and_other_accounts_count_apart(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.submit(test=True)
    rival = await scene.another_account()
    await scene.submit(account=rival)
    await scene.claim()
    assert await counted(scene) == sent(1, submitted=1)
    assert await counted(scene, test=True) == sent(1)
    assert await counted(scene, account=rival) == sent(1)
    assert await counted(scene, account=rival, test=True) == {}


@pytest.mark.parametrize("swept", [False, True])
async def test_categories_and_campaigns_count_their_own(scene: Scene, swept: bool) -> None:
    await scene.accept(category="rdv", campaign="mai")
    await scene.accept(category="rdv", campaign="juin", family=Family.MARKETING)
    await scene.accept(category="mai", number=OTHER_NUMBER)
    await scene.accept()
    await scene.claim()
    if swept:
        await scene.store.sweep(NOW, 10)
        await scene.store.sweep(NOW, 10)
    assert await counted(scene) == sent(4)
    assert await counted(scene, scope=Scope.CATEGORY, name="rdv") == sent(2)
    assert await counted(scene, scope=Scope.CATEGORY, name="mai") == sent(1)
    assert await counted(scene, scope=Scope.CAMPAIGN, name="mai") == sent(1)
    assert await counted(scene, scope=Scope.CAMPAIGN, name="juin") == sent(1)
    assert await counted(scene, scope=Scope.CATEGORY, name="juin") == {}


async def test_counts_rolled_up_and_not_yet_are_one(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.store.sweep(NOW + MINUTE, 10)
    await scene.hand_over("A2")
    await scene.store.settle([a_receipt("A1")], NOW + MINUTE)
    assert await counted(scene) == sent(2, submitted=2, delivered=1)
    await scene.store.sweep(NOW + MINUTE, 10)
    assert await counted(scene) == sent(2, submitted=2, delivered=1)


async def test_more_than_one_sweep_takes_are_rolled_up_by_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "ROLLED_UP_AT_ONCE", 3)
    for number in range(5):
        await scene.hand_over(f"A{number}")
    for _ in range(5):
        assert await counted(scene) == sent(5, submitted=5)
        await scene.store.sweep(NOW, 10)


async def test_counts_outlive_a_restart(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.restart()
    assert await counted(scene) == sent(1, submitted=1)


async def test_two_nodes_that_settle_and_sweep_at_the_same_moment_count_everything_once(
    open_store: OpenStore, scene: Scene
) -> None:
    other = await open_store()
    messages = 40
    for number in range(messages):
        assert isinstance(await scene.try_to_send(number=f"+336123456{number:02}"), Accepted)
    submissions = await scene.claim()
    reports = [[answered(submission, f"A{number}")] for number, submission in enumerate(submissions)]
    await asyncio.gather(
        *(store.settle(report, NOW) for store, report in zip([scene.store, other] * 20, reports, strict=True)),
        *(store.sweep(NOW, 10) for store in (scene.store, other)),
        *(store.sweep(NOW, 10) for store in (scene.store, other)),
    )
    assert await counted(scene) == sent(messages, submitted=messages)
    await asyncio.gather(*(store.sweep(NOW, 10) for store in (scene.store, other)))
    assert await counted(scene) == sent(messages, submitted=messages)
