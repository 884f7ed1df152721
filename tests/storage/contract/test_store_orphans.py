"""Orphans: why receipts match nothing, their repair, and the forms of ids that are learnt on the way."""

from __future__ import annotations

import pytest
from store_scene import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    OTHER_NUMBER,
    SECOND,
    Scene,
    a_receipt,
    answered,
    doubted,
)

from chappe.core.message import Event, MessageId, State, Verdict
from chappe.core.orphans import LearntForm, Search, Why
from chappe.core.receipts import IdForm

SOON = NOW + MINUTE
LATER = NOW + HOUR
HEXADECIMAL, DECIMAL = "1A2B3C4D", str(0x1A2B3C4D)


async def whys(scene: Scene, **search: object) -> list[tuple[Why | None, str | None, MessageId | None]]:
    orphans = await scene.store.list_orphans(Search(LATER, **search), LATER)  # type: ignore[arg-type] # each its field
    return [(orphan.why, orphan.near, orphan.message) for orphan in orphans]


async def repair(scene: Scene, **search: object) -> list[Event]:
    _, events = await scene.store.repair_orphans(Search(LATER, **search), LATER)  # type: ignore[arg-type]
    return events


async def parked(scene: Scene) -> int:
    return (await scene.store.count_pending())["parked"]


# --- why ---------------------------------------------------------------------------------------------


async def test_each_orphan_says_what_it_nearly_matched(scene: Scene) -> None:
    await scene.hand_over(HEXADECIMAL)
    await scene.store.settle(
        [
            a_receipt("", None),
            a_receipt(DECIMAL, number=OTHER_NUMBER),
            a_receipt(DECIMAL, number=None),
            a_receipt(HEXADECIMAL, connector="simulator"),
            a_receipt("unheard of"),
            a_receipt("unheard of", number=OTHER_NUMBER),
            a_receipt("unheard of", number=None),
        ],
        SOON,
    )
    assert await whys(scene) == [
        (Why.UNREADABLE, None, None),
        (Why.OTHER_NUMBER, HEXADECIMAL, None),
        (Why.NO_NUMBER, HEXADECIMAL, None),
        (Why.OTHER_CONNECTOR, "operator", None),
        (Why.ONE_WAITS, None, None),
        (Why.NOTHING_SENT, None, None),
        (Why.UNKNOWN, None, None),
    ]


async def test_several_or_none_that_wait_are_told_apart(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.hand_over("A2")
    await scene.store.settle([a_receipt("unheard of")], SOON)
    assert await whys(scene) == [(Why.SEVERAL_WAIT, None, None)]
    await scene.store.settle([a_receipt("A1"), a_receipt("A2", Verdict.FAILED)], SOON)
    assert await whys(scene) == [(Why.NONE_WAITS, None, None)]


async def test_early_and_foreign_receipts_are_not_looked_at(scene: Scene) -> None:
    await scene.store.settle([a_receipt("one"), a_receipt("other", connector="simulator")], SOON)
    assert len(await whys(scene, connector="simulator")) == 1
    assert len(await whys(scene, limit=1)) == 1
    assert await scene.store.list_orphans(Search(NOW), LATER) == []
    assert await scene.store.list_orphans(Search(NOW + 8 * DAY), NOW + 8 * DAY) == []


# --- repair ------------------------------------------------------------------------------------------


async def test_form_that_the_operator_vouches_for_needs_no_number(scene: Scene) -> None:
    message = await scene.hand_over(HEXADECIMAL)
    await scene.store.settle([a_receipt(DECIMAL, number=None)], SOON)
    assert await repair(scene) == []
    assert await whys(scene, form=IdForm.DECIMAL) == [(None, None, message)]
    assert await scene.state(message) is State.SENT
    events = await repair(scene, form=IdForm.DECIMAL)
    assert events == scene.events(message, (State.DELIVERED, NOW + 5 * SECOND))
    assert await parked(scene) == 0
    assert await repair(scene, form=IdForm.DECIMAL) == []


async def test_repaired_form_is_learnt_and_repairs_the_next(scene: Scene) -> None:
    await scene.hand_over(HEXADECIMAL)
    await scene.store.settle([a_receipt(DECIMAL)], SOON)
    other = await scene.hand_over("2B")
    await scene.store.settle([a_receipt("43", number=None)], SOON)
    assert await scene.store.list_forms() == [LearntForm("operator", IdForm.DECIMAL, 1, NOW + 5 * SECOND)]
    assert len(await repair(scene)) == 1
    assert await scene.state(other) is State.DELIVERED
    assert await scene.store.list_forms() == [LearntForm("operator", IdForm.DECIMAL, 2, NOW + 5 * SECOND)]


async def test_zeros_of_an_unusual_width_are_found_with_the_form(scene: Scene) -> None:
    message = await scene.hand_over("00000000000123ab")
    await scene.store.settle([a_receipt("123AB")], SOON)
    assert await parked(scene) == 1
    await repair(scene, form=IdForm.ZEROS)
    assert await scene.state(message) is State.DELIVERED


async def test_no_form_makes_another_number_agree(scene: Scene) -> None:
    message = await scene.hand_over(HEXADECIMAL)
    await scene.store.settle([a_receipt(DECIMAL, number=OTHER_NUMBER)], SOON)
    assert await repair(scene, form=IdForm.DECIMAL, within_ms=DAY) == []
    assert await scene.state(message) is State.SENT


async def test_by_number_if_one_submit_alone_waits(scene: Scene) -> None:
    message = await scene.hand_over("A1")
    await scene.store.settle([a_receipt("Z9", None), a_receipt("Z9", at=NOW + 6 * SECOND)], SOON)
    events = await repair(scene, within_ms=HOUR)
    assert events == scene.events(message, (State.DELIVERED, NOW + 6 * SECOND))
    assert await parked(scene) == 0
    # What it said besides comes by the id that was learnt.
    facts = (await scene.read(message)).facts
    await scene.store.settle([a_receipt("Z9")], LATER)
    assert (await parked(scene), (await scene.read(message)).facts) == (0, facts + 1)


async def test_by_number_in_doubt_too(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([doubted(submission), a_receipt("Z9")], SOON)
    await repair(scene, within_ms=HOUR)
    assert await scene.state(submission.attempt.message) is State.DELIVERED


@pytest.mark.parametrize(
    "receipts",
    [
        [a_receipt("Y8"), a_receipt("Z9")],
        [a_receipt("Z9", at=NOW + 2 * HOUR)],
        [a_receipt("Z9", number=OTHER_NUMBER)],
    ],
    ids=["two ids", "long after", "another number"],
)
async def test_by_number_nothing_matches_that_is_not_alone_and_near(scene: Scene, receipts: list[object]) -> None:
    message = await scene.hand_over("A1")
    await scene.store.settle(receipts, NOW + 2 * HOUR)  # type: ignore[arg-type] # receipts, all of them
    before = await parked(scene)
    search = Search(NOW + 3 * HOUR, within_ms=HOUR)
    assert (await scene.store.repair_orphans(search, NOW + 3 * HOUR))[1] == []
    assert (await scene.state(message), await parked(scene)) == (State.SENT, before)


async def test_by_number_nothing_matches_in_a_list_that_was_cut_off(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.store.settle([a_receipt("Y8"), a_receipt("Z9")], SOON)
    assert await repair(scene, within_ms=HOUR, limit=1) == []


async def test_repaired_stop_of_the_operator_lists_the_number(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.store.settle([a_receipt("Z9", Verdict.OPTED_OUT)], SOON)
    await repair(scene, within_ms=HOUR)
    assert await scene.try_to_send() != await scene.try_to_send(number=OTHER_NUMBER)


# --- what is learnt ----------------------------------------------------------------------------------


async def test_forms_are_learnt_from_early_receipts_too_and_exact_ones_teach_nothing(scene: Scene) -> None:
    await scene.hand_over("A1")
    await scene.store.settle([a_receipt("A1")], SOON)
    submission = await scene.submit()
    await scene.store.settle([a_receipt(HEXADECIMAL.lower(), at=NOW + 1)], NOW + 1)
    await scene.store.settle([answered(submission, HEXADECIMAL)], SOON)
    assert await scene.store.list_forms() == [LearntForm("operator", IdForm.CASE, 1, NOW + 1)]


async def test_the_form_that_was_learnt_is_tried_before_the_likelier(scene: Scene) -> None:
    await scene.hand_over("47")
    await scene.store.settle([a_receipt("2f")], SOON)
    assert [form.form for form in await scene.store.list_forms()] == [IdForm.HEXADECIMAL]
    # 10 is decimal for a, or hexadecimal for 16: ids without letters are rarely hexadecimal.
    as_hexadecimal, as_decimal = await scene.hand_over("16"), await scene.hand_over("a")
    await scene.store.settle([a_receipt("10")], SOON)
    assert [await scene.state(one) for one in (as_hexadecimal, as_decimal)] == [State.DELIVERED, State.SENT]
