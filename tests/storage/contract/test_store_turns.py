"""Fairness: of what waits for one operator, among equals, every account has its turn."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from store_scene import DAY, HOUR, NOW, Scene, a_send, keys_of

from chappe.core.message import Accepted, AccountId, Family, MessageId
from chappe.core.routing import Portion


async def accept_all(scene: Scene, count: int, **changes: object) -> list[MessageId]:
    """So many at once, each to a number of its own."""
    sends = [a_send(scene.account, number=f"+336{n:08}", **changes) for n in range(count)]
    outcomes = await asyncio.gather(*map(scene.store.accept, sends))
    return [outcome.id for outcome in outcomes if isinstance(outcome, Accepted)]


async def test_single_message_does_not_wait_for_the_many_of_another_account(scene: Scene) -> None:
    await accept_all(scene, 200)
    alone = await scene.accept(account=await scene.another_account(), accepted_at=NOW + 1, due_at=NOW + 1)
    for room in (10, 2):
        taken = keys_of(await scene.claim(room, now=NOW + 1))
        if (alone, 1, 1) in taken:
            return
    raise AssertionError("not among the next parts that left")


async def test_single_message_is_next_but_one_when_a_window_opens_part_by_part(scene: Scene) -> None:
    await accept_all(scene, 20)
    await scene.claim(1)
    alone = await scene.accept(account=await scene.another_account())
    taken = [keys_of(await scene.claim(1))[0][0] for _ in range(2)]
    assert alone in taken


async def test_accounts_share_a_claim_and_what_one_does_not_use_goes_to_the_others(scene: Scene) -> None:
    many = await accept_all(scene, 30)
    rival, third = await scene.another_account(), await scene.another_account("third")
    few = [await scene.accept(account=rival) for _ in range(2)]
    some = [await scene.accept(account=third) for _ in range(12)]
    taken = Counter(key[0] for key in keys_of(await scene.claim(30)))
    assert [sum(taken[id_] for id_ in ids) for ids in (few, some, many)] == [2, 12, 16]


async def test_accounts_share_two_routes_of_one_connector(scene: Scene) -> None:
    await accept_all(scene, 20)
    other = await scene.accept(account=await scene.another_account(), route="belgium")
    epoch = scene.epochs["operator"]
    taken = await scene.store.claim("operator", epoch, [Portion("live"), Portion("belgium")], 4, NOW)
    assert len(taken) == 4
    assert (other, 1, 1) in keys_of(taken)


async def test_what_is_due_later_takes_no_turn(scene: Scene) -> None:
    await scene.accept(account=await scene.another_account(), due_at=NOW + HOUR)
    now = await accept_all(scene, 5)
    assert {key[0] for key in keys_of(await scene.claim(5))} == set(now)


async def test_turns_come_after_precedence(scene: Scene) -> None:
    notifications = await accept_all(scene, 6)
    await scene.accept(account=await scene.another_account(), family=Family.MARKETING)
    assert {key[0] for key in keys_of(await scene.claim(6))} == set(notifications)


async def test_next_due_and_waiting_see_every_account(scene: Scene) -> None:
    rival, third = await scene.another_account(), await scene.another_account("third")
    for account, due_at, family in (
        (scene.account, NOW + 3 * HOUR, Family.NOTIFICATION),
        (rival, NOW + 2 * HOUR, Family.MARKETING),
        (third, NOW + HOUR, Family.NOTIFICATION),
        (third, NOW + DAY, Family.MARKETING),
    ):
        await scene.accept(account=account, due_at=due_at, family=family)
    assert await scene.store.next_due("live") == NOW + HOUR
    assert [await scene.store.count_waiting("live", NOW + hours * HOUR) for hours in range(4)] == [0, 1, 2, 3]
    assert await scene.store.count_waiting("live", NOW + DAY) == 4


async def test_turns_go_on_after_a_restart(scene: Scene) -> None:
    await accept_all(scene, 4)
    rival = await scene.another_account()
    theirs = {await scene.accept(account=rival) for _ in range(4)}
    await scene.claim(1)
    await scene.restart()
    taken = {key[0] for key in keys_of(await scene.claim(6))}
    assert len(taken & theirs) in (3, 4)


async def test_while_several_accounts_wait_none_gets_two_parts_more_than_another(scene: Scene) -> None:
    """Family by family, whatever waits and whatever room there is: of the accounts that have something left, none has
    been given two parts more than another; and a claim is full as long as there is something to take."""
    chance = random.Random(20260115)
    accounts = [await scene.another_account(f"a{n}") for n in range(4)]
    for _ in range(12):
        owner: dict[MessageId, tuple[Family, AccountId]] = {}
        waiting: Counter[tuple[Family, AccountId]] = Counter()
        for _ in range(chance.randint(1, 20)):
            lane, parts = (
                (chance.choice(list(Family)), chance.choice(accounts[: chance.randint(1, 4)])),
                chance.randint(1, 2),
            )
            owner[await scene.accept(family=lane[0], account=lane[1], parts=parts, test=True)] = lane
            waiting[lane] += parts
        given_to: Counter[tuple[Family, AccountId]] = Counter()
        while waiting.total():
            room = chance.randint(1, 6)
            lanes = [owner[message] for message, *_ in keys_of(await scene.claim(room, route="simulator"))]
            assert len(lanes) == min(room, waiting.total())
            waiting.subtract(lanes)
            given_to.update(lanes)
            notifications = sum(left for (family, _), left in waiting.items() if family is Family.NOTIFICATION)
            assert not notifications or all(family is Family.NOTIFICATION for family, _ in lanes)
            for family in Family:
                still = [given_to[lane] for lane, left in waiting.items() if left and lane[0] is family]
                assert max(still, default=0) - min(still, default=0) <= 1
