"""Webhooks: an event for every state reached, a delivery for each endpoint that wants it, and what becomes of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from store_scene import (
    DAY,
    HOUR,
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
    refused,
)

from chappe.core.message import AccountId, MessageId, State, TrackedLink, Treatment, Verdict
from chappe.core.webhooks import (
    EVENTS_KEPT_MS,
    Cursor,
    Delivery,
    DeliveryId,
    Endpoint,
    EndpointId,
    Fate,
    Notice,
    Outcome,
    Settled,
    Trouble,
    make_secret,
    settle,
)
from chappe.storage.sqlite import open_sqlite

SOON = NOW + MINUTE
LEASE = 2 * MINUTE
EVERY_STATE = frozenset(State)
SECRET, OTHER_SECRET, THIRD_SECRET = (make_secret(bytes([number] * 32)) for number in (1, 2, 3))
URL = "https://shop.example/hooks?token=a%20b"


async def listen(scene: Scene, *states: State, account: AccountId | None = None, url: str = URL) -> Endpoint:
    """A new endpoint; without states it wants them all."""
    wanted = frozenset(states) or EVERY_STATE
    return await scene.store.add_endpoint(account or scene.account, url, SECRET, wanted, NOW - HOUR)


async def claim(
    scene: Scene,
    limit: int = 100,
    *,
    now: int = SOON,
    rooms: Mapping[EndpointId, int] | None = None,
    probes: int = 100,
) -> list[Delivery]:
    return await scene.store.claim_deliveries(limit, now, LEASE, rooms or {}, probes)


async def claim_all(scene: Scene, endpoint: Endpoint, *, now: int = SOON) -> list[Delivery]:
    return await claim(scene, now=now, rooms={endpoint.id: 100})


async def record(scene: Scene, *pairs: tuple[Delivery, Outcome], now: int = SOON) -> list[Settled]:
    settled = [settle(delivery, outcome, now) for delivery, outcome in pairs]
    await scene.store.record_outcomes(settled, now)
    return settled


def status(delivery: Delivery, code: int) -> tuple[Delivery, Outcome]:
    return delivery, Outcome(delivery.id, code, took_ms=7)


async def find(scene: Scene, endpoint: Endpoint) -> Endpoint:
    found = await scene.store.find_endpoint(scene.account, endpoint.id)
    assert found is not None
    return found


async def feed(scene: Scene, after: Cursor | None = None, limit: int = 100) -> list[Notice]:
    return [notice for _, notice in await scene.store.list_events(scene.account, after or Cursor(), limit)]


async def states_told(scene: Scene, message: MessageId) -> list[tuple[int, State]]:
    return [(notice.sequence, notice.state) for notice in await feed(scene) if notice.message == message]


# --- events ------------------------------------------------------------------------------------------


async def test_every_state_reached_is_an_event_in_the_order_of_reaching_it(scene: Scene) -> None:
    message = await scene.hand_over(category="orders")
    await scene.store.settle([a_receipt(at=NOW + 5 * SECOND)], NOW + 5 * SECOND)
    await scene.store.receive([an_inbound("Oui, merci", at=SOON)], SOON)
    base: dict[str, Any] = {"message": message, "number": NUMBER, "category": "orders", "test": False}
    assert await feed(scene) == [
        Notice(sequence=1, state=State.SUBMITTED, at=NOW, **base),
        Notice(sequence=2, state=State.SENT, at=NOW + SECOND, **base),
        Notice(sequence=3, state=State.DELIVERED, at=NOW + 5 * SECOND, **base),
        Notice(sequence=4, state=State.REPLY, at=SOON, reply_text="Oui, merci", **base),
    ]


async def test_an_error_that_turns_out_to_be_none_keeps_its_place(scene: Scene) -> None:
    message = await scene.hand_over()
    await scene.store.sweep(NOW + 100 * HOUR, 10)
    await scene.store.settle([a_receipt(at=NOW + 101 * HOUR)], NOW + 101 * HOUR)
    told = [State.SUBMITTED, State.SENT, State.ERROR, State.DELIVERED]
    assert await states_told(scene, message) == list(enumerate(told, 1))


async def test_a_claim_that_lets_nothing_leave_tells_why(scene: Scene) -> None:
    await scene.hand_over(carrier_id="first")
    barred = await scene.accept(due_at=NOW + HOUR, exempt_from_optout=True)
    expired = await scene.accept(number=OTHER_NUMBER, validity_ms=MINUTE)
    await scene.stop(now=SOON)
    assert await scene.claim(now=NOW + HOUR) == []
    for message in (barred, expired):
        assert await states_told(scene, message) == [(1, State.SUBMITTED), (2, State.ERROR)]


async def test_a_stop_and_a_click_are_events(scene: Scene) -> None:
    message = await scene.hand_over(links=(TrackedLink("Zb3kP0aQ9x", "https://example.org/"),))
    await scene.store.open_link("Zb3kP0aQ9x", human=True, now=SOON)
    await scene.stop(now=SOON)
    told = [State.SUBMITTED, State.SENT, State.OPENED, State.UNSUBSCRIBED]
    assert await states_told(scene, message) == list(enumerate(told, 1))


async def test_a_refusal_is_an_event_and_what_changes_nothing_is_none(scene: Scene) -> None:
    submission = await scene.submit()
    await scene.store.settle([refused(submission, Treatment.PERMANENT)], SOON)
    await scene.store.settle([answered(submission)], SOON)
    assert await states_told(scene, submission.attempt.message) == [(1, State.SUBMITTED), (2, State.ERROR)]


async def test_an_idempotency_key_used_again_tells_nothing_new(scene: Scene, open_store: OpenStore) -> None:
    await scene.accept()
    [first] = await feed(scene)
    await scene.restart()
    assert await feed(scene) == [first]


# --- the feed ----------------------------------------------------------------------------------------


async def test_the_feed_goes_on_after_a_cursor_and_shows_no_other_account(scene: Scene) -> None:
    rival = await scene.another_account()
    ids = [await scene.accept(number=f"+3361234{number:04}") for number in range(5)]
    await scene.accept(account=rival)
    first = await scene.store.list_events(scene.account, Cursor(), 3)
    assert [notice.message for _, notice in first] == ids[:3]
    rest = await scene.store.list_events(scene.account, first[-1][0], 3)
    assert [notice.message for _, notice in rest] == ids[3:]
    assert await scene.store.list_events(scene.account, rest[-1][0], 3) == []
    assert await scene.store.find_feed_end(scene.account) == rest[-1][0]
    assert len(await scene.store.list_events(rival, Cursor(), 10)) == 1


async def test_a_feed_without_events_begins_at_the_beginning(scene: Scene) -> None:
    assert await scene.store.find_feed_end(scene.account) == Cursor()
    assert await feed(scene) == []


async def test_old_events_are_dropped_and_their_places_are_not_used_again(scene: Scene) -> None:
    endpoint = await listen(scene)
    for number in range(3):
        await scene.accept(number=f"+3361234{number:04}")
    await record(scene, *(status(delivery, 200) for delivery in await claim_all(scene, endpoint)))
    end = await scene.store.find_feed_end(scene.account)
    await scene.store.tidy_events(NOW + EVENTS_KEPT_MS - 1)
    assert len(await feed(scene)) == 3
    await scene.store.tidy_events(NOW + EVENTS_KEPT_MS)
    assert len(await feed(scene)) <= 1
    later = await scene.accept(accepted_at=NOW + EVENTS_KEPT_MS)
    assert [notice.message for notice in await feed(scene, end)] == [later]


# --- deliveries --------------------------------------------------------------------------------------


async def test_an_event_is_claimed_with_all_that_is_needed_to_post_it(scene: Scene) -> None:
    endpoint = await listen(scene, State.REPLY)
    message = await scene.hand_over(category="orders")
    await scene.store.receive([an_inbound("Merci", at=SOON)], SOON)
    [delivery] = await claim(scene)
    assert (delivery.endpoint, delivery.event, delivery.url) == (endpoint.id, f"evt_{message}_3", URL)
    assert (delivery.secrets, delivery.tries, delivery.failing_since) == ((SECRET,), 0, None)
    assert json.loads(delivery.body) == {
        "event": "reply",
        "snapshotId": str(message),
        "contact": {"identifier": NUMBER},
        "replyMessage": "Merci",
        "date": SOON,
        "category": "orders",
        "test": False,
        "id": f"evt_{message}_3",
        "sequence": 3,
    }


async def test_each_endpoint_gets_what_it_wants(scene: Scene) -> None:
    everything, ends = await listen(scene), await listen(scene, State.DELIVERED, State.BOUNCED)
    await listen(scene, account=await scene.another_account())
    await scene.bounce()
    claimed = await claim(scene, rooms={everything.id: 100, ends.id: 100})
    told = [(delivery.endpoint, json.loads(delivery.body)["event"]) for delivery in claimed]
    assert sorted(told) == sorted(
        [(everything.id, name) for name in ("submitted", "sent", "bounced")] + [(ends.id, "bounced")]
    )


async def test_a_new_endpoint_gets_nothing_of_before(scene: Scene) -> None:
    await scene.hand_over()
    endpoint = await listen(scene)
    await scene.store.settle([a_receipt()], SOON)
    assert [json.loads(delivery.body)["event"] for delivery in await claim_all(scene, endpoint)] == ["delivered"]


async def test_a_claimed_delivery_is_claimed_again_once_its_lease_is_over(scene: Scene) -> None:
    await listen(scene, State.SUBMITTED)
    await scene.accept()
    [first] = await claim(scene)
    assert await claim(scene, now=SOON + LEASE - 1) == []
    assert await claim(scene, now=SOON + LEASE) == [first]


async def test_nothing_is_claimed_before_it_is_due(scene: Scene) -> None:
    await listen(scene, State.SUBMITTED)
    await scene.accept()
    assert await claim(scene, now=NOW - 1) == []
    assert len(await claim(scene, now=NOW)) == 1


async def test_an_endpoint_gets_its_room_and_unknown_ones_a_probe_each(scene: Scene) -> None:
    known, full, *unknown = [await listen(scene, State.SUBMITTED) for _ in range(5)]
    for number in range(4):
        await scene.accept(number=f"+3361234{number:04}", accepted_at=NOW + number)
    claimed = await claim(scene, rooms={known.id: 3, full.id: 0}, probes=2)
    assert [delivery.endpoint for delivery in claimed].count(known.id) == 3
    probed = [delivery.endpoint for delivery in claimed if delivery.endpoint != known.id]
    assert probed == [endpoint.id for endpoint in unknown[:2]]


async def test_the_longest_due_go_first_within_the_limit(scene: Scene) -> None:
    first, second = await listen(scene, State.SUBMITTED), await listen(scene, State.SUBMITTED)
    ids = [await scene.accept(number=f"+3361234{n:04}", accepted_at=NOW + n, due_at=NOW + HOUR) for n in range(3)]
    rooms = {first.id: 10, second.id: 10}
    claimed = await claim(scene, 4, rooms=rooms)
    assert [delivery.event for delivery in claimed] == [f"evt_{id_}_1" for id_ in ids[:2] for _ in range(2)]
    assert [delivery.event for delivery in await claim(scene, rooms=rooms)] == [f"evt_{ids[2]}_1"] * 2


async def test_what_was_taken_is_over(scene: Scene) -> None:
    endpoint = await listen(scene, State.SUBMITTED)
    await scene.accept()
    [delivery] = await claim(scene)
    await record(scene, status(delivery, 204))
    assert await claim(scene, now=NOW + 90 * DAY) == []
    assert (await find(scene, endpoint)).failing_since is None


async def test_what_failed_waits_for_its_next_try_and_the_endpoint_is_failing(scene: Scene) -> None:
    endpoint = await listen(scene, State.SUBMITTED)
    await scene.accept()
    [delivery] = await claim(scene)
    [settled] = await record(scene, status(delivery, 503))
    assert settled.next_try_at is not None
    assert await claim(scene, now=settled.next_try_at - 1) == []
    [again] = await claim(scene, now=settled.next_try_at)
    assert (again.id, again.tries, again.failing_since) == (delivery.id, 1, SOON)
    failing = await find(scene, endpoint)
    assert (failing.failing_since, failing.word) == (SOON, "503")
    await record(scene, status(again, 500), now=SOON + HOUR)
    assert (await find(scene, endpoint)).failing_since == SOON
    [third] = await claim(scene, now=SOON + DAY)
    await record(scene, status(third, 200), now=SOON + DAY)
    assert (await find(scene, endpoint)).failing_since is None


async def test_one_call_that_brings_both_leaves_the_endpoint_not_failing(scene: Scene) -> None:
    endpoint = await listen(scene, State.SUBMITTED, State.SENT)
    await scene.hand_over()
    taken, failed = await claim_all(scene, endpoint)
    await record(scene, status(failed, 500), status(taken, 200))
    assert (await find(scene, endpoint)).failing_since is None


async def test_what_was_not_tried_is_due_as_before(scene: Scene) -> None:
    await listen(scene, State.SUBMITTED)
    await scene.accept()
    [delivery] = await claim(scene)
    await record(scene, (delivery, Outcome(delivery.id, trouble=Trouble.NOT_TRIED)))
    assert await claim(scene) == [delivery]


async def test_an_outcome_from_before_another_claim_changes_nothing_but_a_delivery(scene: Scene) -> None:
    await listen(scene, State.SUBMITTED)
    await scene.accept()
    [stale] = await claim(scene)
    [fresh] = await claim(scene, now=SOON + LEASE)
    [settled] = await record(scene, status(fresh, 500), now=SOON + LEASE)
    assert settled.next_try_at is not None
    for late in (status(stale, 500), (stale, Outcome(stale.id, trouble=Trouble.NOT_TRIED))):
        await record(scene, late, now=SOON + LEASE)
    assert await claim(scene, now=settled.next_try_at - 1) == []
    [third] = await claim(scene, now=settled.next_try_at)
    assert third.tries == 1
    await record(scene, status(stale, 200), now=NOW + DAY)
    await record(scene, status(third, 500), now=NOW + DAY)
    assert await claim(scene, now=NOW + 10 * DAY) == []


async def test_outcomes_of_deliveries_that_do_not_exist_do_no_harm(scene: Scene) -> None:
    await scene.store.record_outcomes(
        [Settled(DeliveryId(77), EndpointId(77), fate, 1, 0, SOON, "500", 1) for fate in Fate], SOON
    )
    assert await claim(scene) == []


async def test_deliveries_outlive_a_restart(scene: Scene) -> None:
    await listen(scene, State.SUBMITTED)
    await scene.accept()
    await scene.restart()
    assert len(await claim(scene)) == 1


async def test_claims_in_memory_end_with_their_server(tmp_path: Path) -> None:
    """On SQLite, where nobody else can have claimed; on PostgreSQL the other servers wait for the lease."""
    scene = await Scene.begin(lambda: open_sqlite(tmp_path / "chappe.db"))
    await listen(scene, State.SUBMITTED)
    await scene.accept()
    [first] = await claim(scene)
    assert await claim(scene) == []
    await scene.restart()
    assert await claim(scene) == [first]
    await scene.store.close()


# --- exhausted, disabled, replayed -------------------------------------------------------------------


async def exhausted(scene: Scene, *accepted_at: int) -> list[Delivery]:
    """Messages whose deliveries to the one endpoint are given up."""
    for number, at in enumerate(accepted_at):
        await scene.accept(number=f"+3361234{number:04}", accepted_at=at, due_at=NOW + DAY)
    [endpoint] = await scene.store.list_endpoints(scene.account)
    claimed = await claim_all(scene, endpoint)
    settled = [Settled(d.id, d.endpoint, Fate.EXHAUSTED, 15, 0, None, "timeout", 15_000) for d in claimed]
    await scene.store.record_outcomes(settled, SOON)
    return claimed


async def test_exhausted_deliveries_are_kept_and_can_be_replayed(scene: Scene) -> None:
    endpoint = await listen(scene, State.SUBMITTED)
    first, second = await exhausted(scene, NOW, NOW + 1)
    assert await claim(scene, now=NOW + 10 * DAY) == []
    assert await scene.store.replay(scene.account, endpoint.id, NOW + 1, 100, NOW + DAY) == 1
    assert await scene.store.replay(scene.account, endpoint.id, 0, 100, NOW + DAY + 1) == 1
    claimed = await claim_all(scene, endpoint, now=NOW + DAY + 1)
    assert [(delivery.id, delivery.tries) for delivery in claimed] == [(second.id, 0), (first.id, 0)]
    assert await scene.store.replay(scene.account, endpoint.id, 0, 100, NOW + DAY) == 0


async def test_a_replay_takes_as_many_as_asked_for(scene: Scene) -> None:
    endpoint = await listen(scene, State.SUBMITTED)
    await exhausted(scene, *range(NOW, NOW + 5))
    assert await scene.store.replay(scene.account, endpoint.id, 0, 3, SOON) == 3
    assert await scene.store.replay(scene.account, endpoint.id, 0, 3, SOON) == 2


async def test_410_disables_the_endpoint_and_exhausts_what_waits_for_it(scene: Scene) -> None:
    endpoint, other = await listen(scene), await listen(scene, State.SENT)
    await scene.hand_over()
    gone, *_ = await claim(scene, 1)
    assert gone.endpoint == endpoint.id
    await record(scene, status(gone, 410))
    disabled = await find(scene, endpoint)
    assert (disabled.disabled_at, disabled.failing_since, disabled.word) == (SOON, SOON, "410")
    await scene.store.settle([a_receipt()], SOON)
    assert [delivery.endpoint for delivery in await claim(scene, now=NOW + DAY)] == [other.id]
    assert await scene.store.replay(scene.account, endpoint.id, 0, 100, NOW + DAY) is None
    assert await scene.store.enable_endpoint(scene.account, endpoint.id)
    assert await claim_all(scene, endpoint, now=NOW + DAY) == []
    assert await scene.store.replay(scene.account, endpoint.id, 0, 100, NOW + DAY) == 2
    assert len(await claim_all(scene, endpoint, now=NOW + DAY)) == 2


async def test_what_waits_since_before_a_time_is_given_up_unless_it_is_claimed(scene: Scene) -> None:
    endpoint = await listen(scene, State.SUBMITTED)
    for number in range(4):
        await scene.accept(number=f"+3361234{number:04}", accepted_at=NOW + number)
    [claimed] = await claim(scene, 1)
    assert await scene.store.exhaust_waiting(endpoint.id, NOW + 3, SOON) == 2
    await record(scene, (claimed, Outcome(claimed.id, trouble=Trouble.NOT_TRIED)))
    left = [delivery.event for delivery in await claim_all(scene, endpoint)]
    assert left == ["evt_1_1", "evt_4_1"]


# --- endpoints ---------------------------------------------------------------------------------------


async def test_endpoints_are_listed_in_the_order_of_their_making(scene: Scene) -> None:
    first = await listen(scene, State.DELIVERED)
    second = await listen(scene, url="http://other.example/")
    assert await scene.store.list_endpoints(scene.account) == [first, second]
    assert first == Endpoint(first.id, scene.account, URL, (SECRET,), frozenset({State.DELIVERED}), NOW - HOUR)
    assert second.states == EVERY_STATE


async def test_a_new_secret_is_live_beside_the_one_before(scene: Scene) -> None:
    endpoint = await listen(scene, State.SUBMITTED)
    await scene.accept()
    renewed = await scene.store.add_secret(scene.account, endpoint.id, OTHER_SECRET)
    assert renewed is not None
    assert renewed.secrets == (OTHER_SECRET, SECRET)
    [delivery] = await claim(scene)
    assert delivery.secrets == (OTHER_SECRET, SECRET)
    await scene.store.add_secret(scene.account, endpoint.id, THIRD_SECRET)
    assert (await find(scene, endpoint)).secrets == (THIRD_SECRET, OTHER_SECRET)


async def test_what_waits_for_a_removed_endpoint_is_not_posted(scene: Scene) -> None:
    endpoint, other = await listen(scene, State.SUBMITTED), await listen(scene, State.SUBMITTED)
    await scene.accept()
    assert await scene.store.remove_endpoint(scene.account, endpoint.id)
    assert not await scene.store.remove_endpoint(scene.account, endpoint.id)
    await scene.store.tidy_events(SOON)
    assert [delivery.endpoint for delivery in await claim(scene)] == [other.id]
    await scene.store.remove_endpoint(scene.account, other.id)
    assert (await listen(scene)).id not in (endpoint.id, other.id)


async def test_another_account_s_endpoint_does_not_exist(scene: Scene) -> None:
    endpoint, rival = await listen(scene, State.SUBMITTED), await scene.another_account()
    await exhausted(scene, NOW)
    store = scene.store
    assert await store.list_endpoints(rival) == []
    assert await store.find_endpoint(rival, endpoint.id) is None
    assert await store.add_secret(rival, endpoint.id, OTHER_SECRET) is None
    assert await store.replay(rival, endpoint.id, 0, 100, SOON) is None
    assert not await store.enable_endpoint(rival, endpoint.id)
    assert not await store.remove_endpoint(rival, endpoint.id)
    assert await find(scene, endpoint) == endpoint or (await find(scene, endpoint)).secrets == (SECRET,)


@pytest.mark.parametrize("verdict", [Verdict.DELIVERED, Verdict.FAILED])
async def test_an_event_of_a_test_message_says_so(scene: Scene, verdict: Verdict) -> None:
    await listen(scene, State.DELIVERED, State.ERROR)
    await scene.hand_over("T1", test=True)
    await scene.store.settle([a_receipt("T1", verdict, connector="simulator")], SOON)
    [delivery] = await claim(scene)
    assert json.loads(delivery.body)["test"] is True
