"""Whatever order an operator tells its story in, and however the store is fed with it, it ends delivered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, permutations

import pytest
from store_scene import NOW, SECOND, Scene, a_receipt, answered, doubted

from chappe.core.message import InDoubtPolicy, Message, Report, State, Submission, Verdict

STORY = ("answered", "enroute", "delivered", "delivered again", "expired late")
VERDICTS = {
    "enroute": None,
    "delivered": Verdict.DELIVERED,
    "delivered again": Verdict.DELIVERED,
    "expired late": Verdict.EXPIRED,
}
ORDERS = list(permutations(STORY))
ID_FORMS: Mapping[str, Callable[[str], str]] = {
    "as given": lambda carrier_id: carrier_id,
    "lower case": lambda carrier_id: carrier_id.lower(),
    "decimal": lambda carrier_id: str(int(carrier_id, 16)),
}


def told(submission: Submission, order: tuple[str, ...], id_form: str) -> list[Report]:
    """The story in this order, a second to a fact."""
    given = f"{0xABC00000 + submission.attempt.message:X}"
    received = ID_FORMS[id_form](given)
    return [
        answered(submission, given, at)
        if step == "answered"
        else a_receipt(received, VERDICTS[step], at=at, number=submission.number)
        for at, step in enumerate(order, NOW)
    ]


def ending(message: Message) -> tuple[object, ...]:
    return (
        message.delivery.name,
        message.sent_at,
        message.delivered_at,
        message.error_at,
        message.cause,
        message.facts,
    )


def expected(order: tuple[str, ...]) -> tuple[object, ...]:
    delivered_at = NOW + min(order.index("delivered"), order.index("delivered again"))
    return ("DELIVERED", NOW + order.index("answered"), delivered_at, None, None, len(STORY))


@pytest.mark.parametrize("id_form", ID_FORMS)
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "all at once"])
async def test_every_order_ends_delivered(scene: Scene, together: bool, id_form: str) -> None:
    # One message per order, all to numbers of their own, so that 120 stories cost a few transactions.
    for number in range(len(ORDERS)):
        await scene.accept(number=f"+336120{number:05}")
    submissions = await scene.claim(len(ORDERS))
    stories = [told(*story, id_form) for story in zip(submissions, ORDERS, strict=True)]
    steps = [list(chain.from_iterable(stories))] if together else [list(step) for step in zip(*stories, strict=True)]
    for step in steps:
        await scene.store.settle(step, NOW + SECOND)
    endings = {
        order: ending(await scene.read(submission.attempt.message))
        for order, submission in zip(ORDERS, submissions, strict=True)
    }
    assert endings == {order: expected(order) for order in ORDERS}
    assert await scene.store.count_pending() == {"queued": 0, "pending": 0, "in_doubt": 0, "parked": 0}


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "all at once"])
async def test_every_order_with_a_lost_answer_ends_delivered_and_is_not_sent_twice(
    scene: Scene, together: bool
) -> None:
    orders = list(permutations(("doubted", "enroute", "delivered", "delivered again", "expired late")))
    for number in range(len(orders)):
        await scene.accept(number=f"+336120{number:05}", policy=InDoubtPolicy.AT_LEAST_ONCE)
    submissions = await scene.claim(len(orders))
    stories: list[list[Report]] = [
        [
            doubted(submission, at)
            if step == "doubted"
            else a_receipt(
                f"unheard of {submission.attempt.message}",
                VERDICTS[step],
                at=at,
                number=submission.number,
                reference=submission.attempt.reference,
            )
            for at, step in enumerate(order, NOW)
        ]
        for submission, order in zip(submissions, orders, strict=True)
    ]
    steps = [list(chain.from_iterable(stories))] if together else [list(step) for step in zip(*stories, strict=True)]
    for step in steps:
        await scene.store.settle(step, NOW + SECOND)
    states = {
        order: await scene.state(submission.attempt.message)
        for order, submission in zip(orders, submissions, strict=True)
    }
    assert states == dict.fromkeys(orders, State.DELIVERED)
    await scene.store.sweep(NOW + 60 * SECOND, 1000)
    assert await scene.claim(now=NOW + 60 * SECOND) == []
