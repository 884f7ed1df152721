"""What one operator will not take is tried through another one of the route, once each, and ends when none is left."""

from __future__ import annotations

from collections.abc import Sequence

from store_scene import MINUTE, NOW, SECOND, Scene, answered, doubted, keys_of, refused

from chappe.core.message import (
    AttemptReport,
    InDoubtPolicy,
    Outcome,
    Refused,
    State,
    Submission,
    Treatment,
)
from chappe.core.routing import VIA, Portion

OTHERS = ["sfr", "free"]


async def open_all(scene: Scene) -> None:
    for name in OTHERS:
        scene.epochs[name] = await scene.store.open_connector(name, NOW)


def refused_here(submission: Submission, at: int = NOW + SECOND, others: Sequence[str] = OTHERS) -> AttemptReport:
    report = refused(submission, Treatment.ELSEWHERE, at)
    mine = submission.attempt.connector
    report.elsewhere = {"live": [name for name in ("operator", *others) if name != mine]}
    return report


async def claim_via(scene: Scene, name: str, now: int = NOW + SECOND) -> list[Submission]:
    return await scene.store.claim(name, scene.epochs[name], [Portion(VIA + name), Portion("live")], 10, now)


async def test_part_is_tried_through_the_next_connector_at_once_and_not_through_the_first_again(scene: Scene) -> None:
    await open_all(scene)
    first = await scene.submit()
    await scene.store.settle([refused_here(first)], NOW + SECOND)
    assert await scene.claim(now=NOW + SECOND) == []
    assert await claim_via(scene, "free") == []
    [again] = await claim_via(scene, "sfr")
    assert (again.attempt.number, again.attempt.connector, again.attempt.flagged) == (2, "sfr", False)
    await scene.store.settle([answered(again)], NOW + 2 * SECOND)
    assert await scene.state(again.attempt.message) is State.SENT


async def test_each_is_asked_once_and_the_last_refusal_ends_it(scene: Scene) -> None:
    await open_all(scene)
    submission = await scene.submit()
    message = submission.attempt.message
    for name in OTHERS:
        await scene.store.settle([refused_here(submission)], NOW + SECOND)
        [submission] = await claim_via(scene, name)
    events = await scene.store.settle([refused_here(submission)], NOW + 2 * SECOND)
    assert [event.state for event in events] == [State.ERROR]
    assert (await scene.read(message)).cause == "refused:11"
    attempts = (await scene.journey(message)).attempts
    assert [(attempt.connector, attempt.outcome) for attempt in attempts] == [
        ("operator", Outcome.POSTPONED),
        ("sfr", Outcome.POSTPONED),
        ("free", Outcome.REFUSED),
    ]
    assert await scene.store.list_routes() == []


async def test_log_says_where_it_went(scene: Scene) -> None:
    await open_all(scene)
    submission = await scene.submit()
    await scene.store.settle([refused_here(submission, others=["free"])], NOW + SECOND)
    [logged] = await scene.store.list_facts(scene.account, submission.attempt.message)
    assert logged.fact == Refused(1, 1, NOW + SECOND, 11, Treatment.ELSEWHERE, next="free")


async def test_without_another_connector_it_ends_as_any_final_refusal(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([refused(submission, Treatment.ELSEWHERE)], NOW + SECOND)
    assert await scene.state(submission.attempt.message) is State.ERROR


async def test_route_without_a_table_any_more_is_for_those_of_live(scene: Scene) -> None:
    await open_all(scene)
    message = await scene.accept(route="gone")
    [submission] = await scene.claim(route="live") or await scene.store.claim(
        "operator", scene.epochs["operator"], [Portion("gone")], 1, NOW
    )
    await scene.store.settle([refused_here(submission)], NOW + SECOND)
    assert keys_of(await claim_via(scene, "sfr")) == [(message, 1, 2)]


async def test_refusal_for_now_by_the_next_connector_keeps_the_part_there(scene: Scene) -> None:
    await open_all(scene)
    await scene.store.settle([refused_here(await scene.submit())], NOW + SECOND)
    [again] = await claim_via(scene, "sfr")
    await scene.store.settle([refused(again, Treatment.THROTTLED, NOW + 2 * SECOND)], NOW + 2 * SECOND)
    assert await scene.claim(now=NOW + MINUTE) == []
    [third] = await claim_via(scene, "sfr", NOW + MINUTE)
    assert third.attempt.number == 3


async def test_released_part_waits_for_the_same_connector(scene: Scene) -> None:
    await open_all(scene)
    await scene.store.settle([refused_here(await scene.submit())], NOW + SECOND)
    [again] = await claim_via(scene, "sfr")
    await scene.store.release([again.key], NOW + SECOND)
    assert await scene.claim(now=NOW + SECOND) == []
    assert keys_of(await claim_via(scene, "sfr")) == [again.key]


async def test_doubt_is_not_taken_elsewhere(scene: Scene) -> None:
    await open_all(scene)
    submission = await scene.submit(policy=InDoubtPolicy.AT_MOST_ONCE)
    await scene.store.settle([doubted(submission)], NOW + SECOND)
    for name in OTHERS:
        assert await claim_via(scene, name, NOW + MINUTE) == []


async def test_one_part_goes_elsewhere_and_the_others_stay(scene: Scene) -> None:
    await open_all(scene)
    message = await scene.accept(parts=2)
    first, second = await scene.claim()
    await scene.store.settle([refused_here(first), answered(second)], NOW + SECOND)
    assert keys_of(await claim_via(scene, "sfr")) == [(message, 1, 2)]


async def test_credits_are_taken_once_and_given_back_only_if_nobody_had_it(scene: Scene) -> None:
    """A refusal, like any, keeps what the message cost; the second operator costs nothing more."""
    await open_all(scene)
    message = await scene.accept()
    before = (await scene.read(message)).charged
    await scene.store.settle([refused_here(await scene.claim_one())], NOW + SECOND)
    [again] = await claim_via(scene, "sfr")
    await scene.store.settle([answered(again)], NOW + 2 * SECOND)
    assert (await scene.read(message)).charged == before
