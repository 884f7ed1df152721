"""Which submits an operator may be asked about, and what its answers do."""

from __future__ import annotations

import pytest
from store_scene import HOUR, MINUTE, NOW, NUMBER, SECOND, Scene, a_receipt, answered, doubted

from chappe.core.message import Question, ReceiptRead, State, Verdict

LATER = NOW + HOUR


async def unreceipted(scene: Scene, turn: int = 0, limit: int = 100, **times: int) -> tuple[list[str], int]:
    questions, through = await scene.store.list_unreceipted(
        "operator", turn, **{"since": 0, "until": LATER, **times}, limit=limit
    )
    return [question.carrier_id for question in questions], through


async def test_a_submit_without_its_receipt_is_asked_about_with_its_own_sender(scene: Scene) -> None:
    await scene.hand_over("A1", sender="SHOP")
    questions, through = await scene.store.list_unreceipted("operator", 0, since=0, until=LATER, limit=10)
    assert questions == [Question("A1", NUMBER, "SHOP")]
    assert through > 0


async def test_what_has_a_verdict_or_is_decided_is_not(scene: Scene) -> None:
    for carrier_id in ("A1", "A2", "A3"):
        await scene.hand_over(carrier_id)
    await scene.store.settle([a_receipt("A1"), a_receipt("A2", Verdict.EXPIRED), a_receipt("A3", None)], NOW + MINUTE)
    assert (await unreceipted(scene))[0] == ["A3"]
    await scene.store.sweep(NOW + 100 * HOUR, 10)
    assert (await unreceipted(scene))[0] == []


async def test_only_of_this_connector_and_of_the_time_that_is_meant(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.hand_over("S1", test=True)
    await scene.hand_over("A2", now=NOW + MINUTE)
    await scene.hand_over("A3", now=NOW + 2 * MINUTE)
    found = await unreceipted(scene, since=NOW + SECOND, until=NOW + MINUTE + SECOND)
    assert found[0] == ["A2"]


async def test_each_turn_goes_on_behind_what_it_has_marked(scene: Scene) -> None:
    for carrier_id in ("A1", "A2", "A3"):
        await scene.hand_over(carrier_id)
    first, through = await unreceipted(scene, limit=2)
    assert first == ["A1", "A2"]
    await scene.store.mark_asked("operator", 0, through)
    rest, through = await unreceipted(scene)
    assert rest == ["A3"]
    await scene.store.mark_asked("operator", 0, through)
    assert await unreceipted(scene) == ([], 0)
    assert (await unreceipted(scene, turn=1))[0] == ["A1", "A2", "A3"]


async def test_what_was_answered_too_lately_ends_a_page_so_that_nothing_is_passed_over(scene: Scene) -> None:
    young, old = await scene.submit(), await scene.submit()
    await scene.store.settle([answered(young, "YOUNG", LATER)], LATER)
    await scene.store.settle([answered(old, "OLD", NOW)], LATER)
    assert await unreceipted(scene, until=LATER - 1) == ([], 0)
    assert (await unreceipted(scene, until=LATER))[0] == ["YOUNG", "OLD"]


async def test_a_doubt_is_asked_about_once_a_receipt_has_told_its_id(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    assert await unreceipted(scene) == ([], 0)
    on_its_way = a_receipt("A1", None, reference=submission.attempt.reference)
    await scene.store.settle([on_its_way], NOW + MINUTE)
    assert (await unreceipted(scene))[0] == ["A1"]


async def test_an_id_that_only_a_receipt_told_is_not_asked_about_beside_the_submits_own(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    await scene.store.settle([a_receipt("B1", None, reference=submission.attempt.reference)], NOW + MINUTE)
    await scene.store.settle([answered(submission, "A1")], NOW + MINUTE)  # the late answer
    assert (await unreceipted(scene))[0] == ["A1"]


@pytest.mark.parametrize("first", ["asked", "received"])
async def test_what_was_asked_and_the_receipt_that_comes_after_all_make_one_event(scene: Scene, first: str) -> None:
    message = await scene.hand_over("A1")
    told = a_receipt("A1", asked=True)
    came = a_receipt("A1")
    one, other = (told, came) if first == "asked" else (came, told)
    assert await scene.store.settle([one], NOW + MINUTE) == scene.events(message, (State.DELIVERED, one.at))
    assert await scene.store.settle([other], NOW + HOUR) == []
    facts = [logged.fact for logged in await scene.store.list_facts(scene.account, message)]
    read = [fact for fact in facts if isinstance(fact, ReceiptRead)]
    assert [fact.asked for fact in read] == [first == "asked", first != "asked"]


async def test_a_late_receipt_corrects_what_the_operator_said_was_expired(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1", Verdict.EXPIRED, asked=True)], NOW + HOUR)
    assert await scene.state(message) is State.ERROR
    await scene.store.settle([a_receipt("A1")], NOW + 2 * HOUR)
    assert await scene.state(message) is State.DELIVERED
