"""Many messages at once, everything about one, and taking one back."""

from __future__ import annotations

import asyncio

import pytest
from store_scene import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    NUMBER,
    OTHER_NUMBER,
    SECOND,
    Scene,
    a_receipt,
    answered,
    doubted,
    refused,
)

from chappe.core.message import (
    Accepted,
    Answered,
    Cancellation,
    Cancelled,
    Clicked,
    DoubtBegan,
    Idempotency,
    LoggedFact,
    MessageId,
    ReceiptRead,
    State,
    TrackedLink,
    Treatment,
    Verdict,
)

ABSENT = MessageId(999_999)


# --- many at once ------------------------------------------------------------------------------------


async def test_messages_are_found_in_the_order_asked(scene: Scene) -> None:
    first, second = await scene.accept(), await scene.accept()
    theirs = await scene.accept(account=await scene.another_account())
    found = await scene.store.find_messages(scene.account, [second, ABSENT, first, theirs, second])
    assert [message and message.id for message in found] == [second, None, first, None, second]
    assert await scene.store.find_messages(scene.account, []) == []


async def test_latest_messages_are_found_in_the_order_asked(scene: Scene) -> None:
    await scene.accept()
    latest = await scene.accept()
    other = await scene.accept(number=OTHER_NUMBER)
    found = await scene.store.find_latest_of(scene.account, [OTHER_NUMBER, "+33600000000", NUMBER])
    assert [message and message.id for message in found] == [other, None, latest]


async def test_more_are_found_than_one_turn_asks_for(scene: Scene) -> None:
    message = await scene.accept()
    wanted = [message if place % 3 else ABSENT for place in range(1_000)]
    found = await scene.store.find_messages(scene.account, wanted)
    assert [message and message.id for message in found] == [message if place % 3 else None for place in range(1_000)]


async def test_an_account_s_messages_are_listed_newest_first(scene: Scene) -> None:
    mine = [await scene.accept() for _ in range(5)]
    await scene.accept(account=await scene.another_account())
    trial = await scene.accept(test=True)
    page = await scene.store.list_messages(scene.account, test=False, before=None, limit=2)
    assert [message.id for message in page] == [mine[4], mine[3]]
    page = await scene.store.list_messages(scene.account, test=False, before=mine[3], limit=10)
    assert [message.id for message in page] == [mine[2], mine[1], mine[0]]
    page = await scene.store.list_messages(scene.account, test=True, before=None, limit=10)
    assert page == [await scene.read(trial)]


async def test_messages_to_a_number_are_listed_newest_first(scene: Scene) -> None:
    mine = [await scene.accept() for _ in range(4)]
    other = await scene.accept(number=OTHER_NUMBER)
    theirs = await scene.accept(account=await scene.another_account())

    async def list_to(before: MessageId | None, limit: int = 10) -> list[MessageId]:
        found = await scene.store.list_messages_to(scene.account, NUMBER, before=before, limit=limit)
        return [message.id for message in found]

    assert await list_to(None, 2) == [mine[3], mine[2]]
    assert await list_to(mine[2]) == [mine[1], mine[0]]
    for nowhere in (mine[0], other, theirs, ABSENT):
        assert await list_to(nowhere) == []
    assert await scene.store.list_messages_to(scene.account, "+33611111111", before=None, limit=10) == []


# --- everything about one ----------------------------------------------------------------------------


async def test_facts_are_listed_in_their_order_those_that_changed_nothing_too(scene: Scene) -> None:
    submission = await scene.submit(links=(TrackedLink("t0ken", "https://a.example"),))
    message = submission.attempt.message
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    await scene.store.settle([answered(submission, "A1", NOW + 2 * SECOND)], NOW + 2 * SECOND)
    await scene.store.settle([a_receipt("A1")], NOW + MINUTE)
    await scene.store.settle([a_receipt("A1", Verdict.FAILED)], NOW + MINUTE)
    await scene.store.open_link("t0ken", human=True, now=NOW + HOUR)
    assert await scene.store.list_facts(scene.account, message) == [
        LoggedFact(0, True, DoubtBegan(1, 1, NOW + SECOND, "link lost")),
        LoggedFact(1, True, Answered(1, 1, NOW + 2 * SECOND, "A1")),
        LoggedFact(2, True, ReceiptRead(1, 1, NOW + 5 * SECOND, Verdict.DELIVERED, "DELIVERED")),
        LoggedFact(3, False, ReceiptRead(1, 1, NOW + 5 * SECOND, Verdict.FAILED, "FAILED")),
        LoggedFact(4, True, Clicked(NOW + HOUR)),
    ]
    assert await scene.store.list_facts(await scene.another_account(), message) == []


async def test_answer_of_an_idempotency_key_is_found_for_a_week(scene: Scene) -> None:
    message = await scene.accept(idempotency=Idempotency("k", b"digest"), parts=2)
    stored = (b"digest", Accepted(message, 2, repeated=True))
    assert await scene.store.find_answer(scene.account, "k", NOW + 7 * DAY - 1) == stored
    assert await scene.store.find_answer(scene.account, "k", NOW + 7 * DAY) is None
    assert await scene.store.find_answer(scene.account, "other", NOW) is None
    assert await scene.store.find_answer(await scene.another_account(), "k", NOW) is None


# --- taking one back ---------------------------------------------------------------------------------


async def test_message_that_waits_is_cancelled(scene: Scene) -> None:
    message = await scene.accept(due_at=NOW + DAY, parts=3)
    assert await scene.store.cancel(scene.account, message, NOW + HOUR) is Cancellation.DONE
    read = await scene.read(message)
    assert (await scene.state(message), read.error_at, read.cause) == (State.ERROR, NOW + HOUR, "cancelled")
    assert await scene.claim(now=NOW + DAY) == []
    assert (await scene.store.count_pending())["queued"] == 0
    assert await scene.store.list_facts(scene.account, message) == [LoggedFact(0, True, Cancelled(NOW + HOUR))]


async def test_cancelled_twice_is_cancelled_once(scene: Scene) -> None:
    message = await scene.accept()
    for at in (NOW, NOW + HOUR):
        assert await scene.store.cancel(scene.account, message, at) is Cancellation.DONE
    assert (await scene.read(message)).facts == 1


async def test_message_that_the_operator_refused_for_now_is_cancelled(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([refused(submission, Treatment.THROTTLED)], NOW)
    assert await scene.store.cancel(scene.account, submission.attempt.message, NOW) is Cancellation.DONE
    assert await scene.claim(now=NOW + HOUR) == []


@pytest.mark.parametrize("outcome", ["claimed", "in doubt", "to be sent again", "sent", "delivered", "expired"])
async def test_message_that_may_have_left_is_not_cancelled(scene: Scene, outcome: str) -> None:
    submission = await scene.submit()
    message = submission.attempt.message
    if outcome == "in doubt":
        await scene.store.settle([doubted(submission)], NOW)
    if outcome == "to be sent again":
        await scene.store.settle([refused(submission, Treatment.TEMPORARY, uncertain=True)], NOW)
    if outcome in ("sent", "delivered"):
        await scene.store.settle([answered(submission)], NOW)
    if outcome == "delivered":
        await scene.store.settle([a_receipt()], NOW)
    if outcome == "expired":
        await scene.store.sweep(NOW + 30 * DAY, 10)
    before = await scene.read(message)
    assert await scene.store.cancel(scene.account, message, NOW) is Cancellation.TOO_LATE
    assert await scene.read(message) == before


async def test_one_part_that_left_keeps_the_message(scene: Scene) -> None:
    message = await scene.accept(parts=3)
    await scene.claim(1)
    assert await scene.store.cancel(scene.account, message, NOW) is Cancellation.TOO_LATE
    assert len(await scene.claim()) == 2


async def test_message_of_another_account_cannot_be_cancelled(scene: Scene) -> None:
    message = await scene.accept()
    rival = await scene.another_account()
    assert await scene.store.cancel(rival, message, NOW) is Cancellation.ABSENT
    assert await scene.store.cancel(scene.account, ABSENT, NOW) is Cancellation.ABSENT
    assert len(await scene.claim()) == 1


async def test_cancelled_and_claimed_at_the_same_moment_is_one_of_them(scene: Scene) -> None:
    for _ in range(10):
        message = await scene.accept(parts=2)
        cancelled, claimed = await asyncio.gather(scene.store.cancel(scene.account, message, NOW), scene.claim(now=NOW))
        assert (cancelled is Cancellation.DONE) == (claimed == [])
