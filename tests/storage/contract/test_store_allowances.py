"""Credits and limits: what an account may still send, decided in the transaction that stores (after random histories:
test_store_machine)."""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import pairwise
from typing import cast

import pytest
from store_scene import DAY, HOUR, MINUTE, NOW, NUMBER, OTHER_NUMBER, SECOND, VALIDITY, OpenStore, Scene, a_send

from chappe.core.credits import Booking, Credits
from chappe.core.limits import NS, Bucket, Drawn, Limits
from chappe.core.message import (
    Accepted,
    Account,
    AccountId,
    Cancellation,
    Idempotency,
    Key,
    NotAccepted,
    Settings,
)
from chappe.core.ports import Store
from chappe.flow.rates import Rates

NOT_ENOUGH = NotAccepted(71)
WINDOW = 10 * MINUTE


async def top_up(scene: Scene, amount: int, *, account: AccountId | None = None, note: str = "") -> int:
    return await scene.store.change_credits(account or scene.account, Booking.TOPUP, amount, note, NOW - HOUR)


async def balance(scene: Scene, account: AccountId | None = None) -> int:
    left = await scene.store.read_credits(account or scene.account)
    assert left is not None
    return left.balance


async def statement(scene: Scene) -> list[tuple[Booking, int, int, int]]:
    """(what, amount, messages, balance), the oldest first; checked to add up."""
    lines = (await scene.store.list_ledger(scene.account, before=None, limit=1_000))[::-1]
    assert lines[0].balance == lines[0].amount
    assert all(after.balance == before.balance + after.amount for before, after in pairwise(lines))
    return [(line.what, line.amount, line.messages, line.balance) for line in lines]


async def charged(scene: Scene, accepted: Accepted | NotAccepted) -> int:
    assert isinstance(accepted, Accepted)
    return (await scene.read(accepted.id)).charged


# --- credits -----------------------------------------------------------------------------------------


async def test_account_without_credits_sends_as_much_as_it_likes(scene: Scene) -> None:
    accepted = await scene.try_to_send(parts=20)
    assert await charged(scene, accepted) == 0
    assert await scene.store.read_credits(scene.account) is None
    assert await scene.store.list_ledger(scene.account, before=None, limit=10) == []


async def test_part_costs_a_credit_and_nothing_is_sent_that_cannot_be_paid(scene: Scene) -> None:
    assert await top_up(scene, 5) == 5
    accepted = await scene.try_to_send(parts=3)
    assert await charged(scene, accepted) == 3
    assert await scene.try_to_send(parts=3) == NOT_ENOUGH
    assert await balance(scene) == 2
    assert isinstance(await scene.try_to_send(parts=2), Accepted)
    assert await scene.try_to_send() == NOT_ENOUGH
    assert await balance(scene) == 0
    assert len(await scene.claim()) == 5


async def test_accounts_pay_each_for_themselves(scene: Scene) -> None:
    rival = await scene.another_account()
    await top_up(scene, 1)
    await top_up(scene, 1, account=rival)
    await scene.accept()
    assert await scene.try_to_send() == NOT_ENOUGH
    assert (await balance(scene), await balance(scene, rival)) == (0, 1)


async def test_test_keys_and_repeated_and_barred_sends_cost_nothing(scene: Scene) -> None:
    await top_up(scene, 2)
    await scene.bounce(number=OTHER_NUMBER)
    await scene.accept(test=True, billed=False)
    await scene.accept(idempotency=Idempotency("key", b"digest"))
    repeated = await scene.try_to_send(idempotency=Idempotency("key", b"digest"))
    assert isinstance(repeated, Accepted)
    assert repeated.repeated
    assert await scene.try_to_send(number=OTHER_NUMBER) == NotAccepted(13)
    assert await balance(scene) == 0


async def test_idempotency_key_is_free_for_another_try_once_there_are_credits(scene: Scene) -> None:
    await top_up(scene, 0)
    known = Idempotency("key", b"digest")
    assert await scene.try_to_send(idempotency=known) == NOT_ENOUGH
    await top_up(scene, 1)
    accepted = await scene.try_to_send(idempotency=known)
    assert isinstance(accepted, Accepted)
    assert not accepted.repeated


async def test_sends_at_the_same_moment_never_spend_more_than_there_is(open_store: OpenStore, scene: Scene) -> None:
    rival = await scene.another_account()
    other = await open_store()
    await top_up(scene, 30)
    await top_up(scene, 30, account=rival)
    outcomes = await asyncio.gather(
        *(
            (scene.store, other)[number % 2].accept(
                a_send((scene.account, rival)[number // 2 % 2], number=f"+336123456{number % 50:02}")
            )
            for number in range(200)
        )
    )
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    assert len(accepted) == 60
    assert [outcome for outcome in outcomes if not isinstance(outcome, Accepted)] == [NOT_ENOUGH] * 140
    assert (await balance(scene), await balance(scene, rival)) == (0, 0)
    assert sum(amount for _, amount, _, _ in await statement(scene)) == 0


async def test_what_never_left_is_given_back(scene: Scene) -> None:
    await top_up(scene, 10)
    cancelled = await scene.accept(parts=2)
    assert await scene.store.cancel(scene.account, cancelled, NOW) is Cancellation.DONE
    assert await scene.store.cancel(scene.account, cancelled, NOW) is Cancellation.DONE
    assert await balance(scene) == 10
    await scene.accept(parts=3)
    await scene.store.sweep(NOW + VALIDITY, 10)
    assert await balance(scene) == 10
    await scene.hand_over(number=OTHER_NUMBER)
    await scene.accept(number=OTHER_NUMBER, parts=4)
    await scene.stop(OTHER_NUMBER)
    assert await scene.claim(now=NOW + MINUTE) == []  # barred
    assert await balance(scene) == 9


async def test_what_may_have_left_is_not_given_back(scene: Scene) -> None:
    await top_up(scene, 10)
    await scene.accept(parts=2)
    await scene.claim(1)
    await scene.store.sweep(NOW + 10 * DAY, 10)
    assert await balance(scene) == 8


async def test_claim_that_is_released_after_the_end_is_given_back(scene: Scene) -> None:
    await top_up(scene, 10)
    submission = await scene.submit()
    await scene.store.sweep(NOW + 10 * DAY, 10)
    assert await balance(scene) == 9
    await scene.store.release([submission.key], NOW + 10 * DAY)
    assert await balance(scene) == 10


async def test_what_was_given_back_can_be_spent_at_once(scene: Scene) -> None:
    await top_up(scene, 1)
    await scene.store.cancel(scene.account, await scene.accept(), NOW)
    await scene.accept()
    assert await statement(scene) == [
        (Booking.TOPUP, 1, 0, 1),
        (Booking.SEND, -1, 1, 0),
        (Booking.REFUND, 1, 1, 1),
        (Booking.SEND, -1, 1, 0),
    ]


async def test_message_of_before_there_were_credits_gives_nothing_back(scene: Scene) -> None:
    message = await scene.accept()
    await top_up(scene, 5)
    await scene.store.cancel(scene.account, message, NOW)
    assert await balance(scene) == 5


async def test_statement_has_a_line_for_the_sends_of_an_hour_and_each_of_the_rest(scene: Scene) -> None:
    await top_up(scene, 100, note="invoice 7")
    first = await scene.accept()
    await scene.accept(parts=2)
    await scene.accept(campaign="may")
    await scene.accept(accepted_at=NOW + HOUR)
    await scene.store.change_credits(scene.account, Booking.ADJUST, -4, "a mistake", NOW + HOUR)
    await scene.accept(accepted_at=NOW + HOUR)
    assert await statement(scene) == [
        (Booking.TOPUP, 100, 0, 100),
        (Booking.SEND, -3, 2, 97),
        (Booking.SEND, -1, 1, 96),
        (Booking.SEND, -1, 1, 95),
        (Booking.ADJUST, -4, 0, 91),
        (Booking.SEND, -1, 1, 90),
    ]
    lines = await scene.store.list_ledger(scene.account, before=None, limit=10)
    assert [line.note for line in lines] == ["", "a mistake", "", "", "", "invoice 7"]
    assert [line.campaign for line in lines] == [None, None, None, "may", None, None]
    assert (lines[-2].message, lines[-2].at) == (first, NOW)
    assert await scene.store.list_ledger(scene.account, before=lines[1].id, limit=2) == lines[2:4]


async def test_sweep_books_what_was_given_back_in_one_line(scene: Scene) -> None:
    await top_up(scene, 10)
    messages = [await scene.accept(number=number) for number in (NUMBER, OTHER_NUMBER)]
    for message in messages:
        await scene.store.cancel(scene.account, message, NOW)
    assert await balance(scene) == 10
    for _ in range(2):
        await scene.store.sweep(NOW, 10)
        assert (await statement(scene))[2:] == [(Booking.REFUND, 2, 2, 10)]
        assert await balance(scene) == 10


async def test_balance_outlives_a_restart_and_credits_that_are_stopped(scene: Scene) -> None:
    await top_up(scene, 1)
    message = await scene.accept()
    await scene.restart()
    assert await scene.try_to_send() == NOT_ENOUGH
    await scene.store.stop_credits(scene.account)
    assert await scene.store.read_credits(scene.account) is None
    assert await charged(scene, await scene.try_to_send()) == 0
    await scene.store.cancel(scene.account, message, NOW)
    assert await top_up(scene, 5) == 6


async def test_alert_is_logged_once_each_time_the_balance_falls_below_it(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await top_up(scene, 12)
    await scene.store.set_alert(scene.account, 10)
    assert await scene.store.read_credits(scene.account) == Credits(12, 10)
    for parts, alerts in ((2, 0), (1, 1), (1, 1)):
        await scene.accept(parts=parts)
        assert len(caplog.records) == alerts
    assert caplog.records[0].balance == 9  # type: ignore[attr-defined]  # an extra field
    assert NUMBER not in caplog.text
    await top_up(scene, 2)
    await scene.accept()
    assert len(caplog.records) == 2
    await scene.store.set_alert(scene.account, None)
    assert await scene.store.read_credits(scene.account) == Credits(9, None)


# --- limits ------------------------------------------------------------------------------------------


async def limited(scene: Scene, limits: Limits) -> Limits:
    await scene.store.save_limits(scene.account, limits)
    account = await scene.store.find_account("acme")
    assert account is not None
    assert account.limits == limits
    return account.limits


async def test_parts_of_a_day_are_limited_and_the_next_day_is_another(scene: Scene) -> None:
    limits = await limited(scene, Limits(daily_parts=5))
    midnight = NOW - NOW % DAY + DAY
    await scene.accept(parts=3, limits=limits)
    refusal = await scene.try_to_send(parts=3, limits=limits)
    assert refusal == NotAccepted(76, retry_ms=midnight - NOW)
    await scene.accept(parts=2, limits=limits)
    await scene.accept(parts=20, billed=False, test=True, limits=limits)
    assert await scene.try_to_send(limits=limits, accepted_at=midnight - 1) == NotAccepted(76, retry_ms=1)
    await scene.accept(parts=5, limits=limits, accepted_at=midnight)
    assert await scene.store.read_credits(scene.account) is None


async def test_limit_of_a_day_holds_for_sends_at_the_same_moment(open_store: OpenStore, scene: Scene) -> None:
    limits = await limited(scene, Limits(daily_parts=25))
    stores: list[Store] = [scene.store, await open_store()]
    outcomes = await asyncio.gather(
        *(
            stores[number % 2].accept(a_send(scene.account, number=f"+336123456{number:02}", limits=limits))
            for number in range(60)
        )
    )
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 25


async def test_number_is_written_to_so_often_within_the_window(scene: Scene) -> None:
    limits = await limited(scene, Limits(per_number=2, per_number_seconds=WINDOW // SECOND))
    await scene.accept(limits=limits)
    await scene.accept(limits=limits, accepted_at=NOW + MINUTE)
    await scene.accept(limits=limits, number=OTHER_NUMBER)
    await scene.accept(limits=limits, test=True, billed=False)
    assert await scene.try_to_send(limits=limits, accepted_at=NOW + 2 * MINUTE) == NotAccepted(76, 8 * MINUTE)
    assert await scene.try_to_send(limits=limits, accepted_at=NOW + WINDOW - 1) == NotAccepted(76, 1)
    await scene.accept(limits=limits, accepted_at=NOW + WINDOW)
    assert await scene.try_to_send(limits=limits, accepted_at=NOW + WINDOW) == NotAccepted(76, MINUTE)


async def test_number_is_counted_over_nodes_and_batches(open_store: OpenStore, scene: Scene) -> None:
    limits = await limited(scene, Limits(per_number=3))
    stores: list[Store] = [scene.store, await open_store()]
    outcomes = await asyncio.gather(*(stores[n % 2].accept(a_send(scene.account, limits=limits)) for n in range(30)))
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 3


async def test_sweep_forgets_what_no_window_holds_any_more(scene: Scene) -> None:
    limits = await limited(scene, Limits(per_number=1, per_number_seconds=60))
    await scene.accept(limits=limits)
    await scene.store.sweep(NOW + MINUTE - 1, 10)
    assert await scene.try_to_send(limits=limits, accepted_at=NOW + MINUTE - 1) == NotAccepted(76, 1)
    await scene.store.sweep(NOW + MINUTE, 10)
    await scene.accept(limits=limits, accepted_at=NOW + MINUTE - 1)  # a clock that goes back does not find it


async def test_only_prefixes_that_are_allowed_are_written_to(scene: Scene) -> None:
    limits = await limited(scene, Limits(prefixes=("+336", "+32")))
    await scene.accept(limits=limits)
    assert await scene.try_to_send(number="+33712345678", limits=limits) == NotAccepted(90)
    assert await scene.try_to_send(number="+33712345678", limits=limits, billed=False) == NotAccepted(90)


async def test_limits_go_with_the_key(scene: Scene) -> None:
    limits = await limited(scene, Limits(rate=2.5, burst=7, daily_parts=3, prefixes=("+33",), per_number=1))
    await scene.store.create_key(scene.account, b"digest", "abcd", test=False, now=NOW)
    key = await scene.store.find_key(b"digest")
    assert key is not None
    assert key.account.limits == limits
    await limited(scene, Limits())


# --- rates -------------------------------------------------------------------------------------------


async def test_bucket_is_shared_by_the_nodes_and_each_key_has_its_own(open_store: OpenStore, scene: Scene) -> None:
    other = await open_store()
    bucket = Bucket(rate=1, size=10)

    async def draw(store: Store, key: int, wanted: int) -> Drawn:
        return await store.draw_tokens(key, bucket, wanted, NOW)

    assert (await draw(scene.store, 1, 4)).tokens == 4
    drawn = await draw(other, 1, 9)
    assert 6 <= drawn.tokens <= 7  # PostgreSQL's clock goes on
    assert (await draw(other, 2, 9)).tokens == 9
    drawn = await draw(scene.store, 1, 9)
    assert drawn.tokens == 0
    assert 0 < drawn.wait_ns <= 1_000_000_000


async def test_nodes_that_draw_at_the_same_moment_get_what_there_is(open_store: OpenStore, scene: Scene) -> None:
    stores: list[Store] = [scene.store, await open_store()]
    bucket = Bucket(rate=0.001, size=100)
    drawn = await asyncio.gather(
        *(stores[n % 2].draw_tokens(key, bucket, 7, NOW) for n in range(40) for key in ((1, 2), (2, 1))[n % 2])
    )
    assert sum(each.tokens for each in drawn) == 200


class Witness:
    """A store that remembers when, by its own clock, its buckets were drawn from."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.times: list[int] = []

    async def draw_tokens(self, key: int, bucket: Bucket, wanted: int, now: int) -> Drawn:
        drawn = await self._store.draw_tokens(key, bucket, wanted, now)
        self.times.append(drawn.full_at - round((bucket.size - drawn.left) * NS / bucket.rate))
        return drawn


async def test_two_nodes_keep_to_the_rate_within_two_percent(open_store: OpenStore, scene: Scene) -> None:
    """By the store's clock, whatever ours says and however slow the machine is."""
    witnesses = [Witness(scene.store), Witness(await open_store())]
    limits = Limits(rate=500, burst=2500)  # large: nothing flows over while the machine is busy elsewhere
    key = Key(1, Account(scene.account, "acme", False, Settings(), limits), False, "0123", NOW, None)

    async def hammer(witness: Witness) -> int:
        """For a second and a half of the store's, and then until nothing that was drawn is left."""
        node, taken = Rates(time.monotonic, cast(Store, witness), lambda: time.time_ns() // 1_000_000), 0
        while True:
            standing = await node.spend(key)
            assert standing is not None
            if standing.retry_ms is None:
                taken += 1
            elif witness.times[-1] >= witness.times[0] + 1.5 * NS:
                return taken
            await asyncio.sleep(0 if standing.retry_ms is None else 0.001)

    taken = sum(await asyncio.gather(*map(hammer, witnesses)))
    times = [at for witness in witnesses for at in witness.times]
    flowed_in = 500 * (max(times) - min(times)) / NS
    assert abs(taken - 2500 - flowed_in) <= 0.02 * flowed_in
    assert len(times) < taken / 5
