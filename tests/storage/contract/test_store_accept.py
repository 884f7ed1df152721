"""Accept: stored, queued, the number's latest; idempotency and the lists, inside the same transaction."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

from store_scene import (
    DAY,
    HOUR,
    MAGIC_NUMBER,
    MINUTE,
    NOW,
    NUMBER,
    OTHER_NUMBER,
    SECOND,
    VALIDITY,
    Scene,
    a_receipt,
    a_send,
    an_inbound,
    answered,
    keys_of,
)

from chappe.core.gsm import Language
from chappe.core.message import (
    Accepted,
    Family,
    Idempotency,
    InDoubtPolicy,
    Message,
    NotAccepted,
    State,
    TrackedLink,
    Verdict,
)
from chappe.core.text import WHOLE, WIDE, Cut

ONCE = Idempotency("order-17", b"digest of the body")

# --- what is stored ----------------------------------------------------------------------------------


async def test_accepted_message_is_found_as_it_was_sent(scene: Scene) -> None:
    message = await scene.accept(
        family=Family.MARKETING,
        text="Soldes ! Ça commence à 8 h €",
        parts=2,
        test=True,
        policy=InDoubtPolicy.AT_MOST_ONCE,
        due_at=NOW + HOUR,
        category="soldes",
        campaign="hiver",
        sender="ACME",
        held_by="fr-af2m-2026:sunday",
        cut=Cut(WIDE | Language.PORTUGUESE),
    )
    assert await scene.read(message) == Message(
        id=message,
        account=scene.account,
        number=NUMBER,
        family=Family.MARKETING,
        category="soldes",
        campaign="hiver",
        sender="ACME",
        text="Soldes ! Ça commence à 8 h €",
        parts=2,
        test=True,
        policy=InDoubtPolicy.AT_MOST_ONCE,
        route="simulator",
        accepted_at=NOW,
        due_at=NOW + HOUR,
        validity_ms=VALIDITY,
        wake_at=NOW + HOUR + VALIDITY,
        held_by="fr-af2m-2026:sunday",
        cut=Cut(WIDE | Language.PORTUGUESE),
    )


async def test_answer_names_the_message_and_its_parts(scene: Scene) -> None:
    accepted = await scene.store.accept(a_send(scene.account, parts=3))
    assert isinstance(accepted, Accepted)
    assert accepted == Accepted(accepted.id, parts=3, repeated=False)


async def test_ids_increase(scene: Scene) -> None:
    ids = [await scene.accept() for _ in range(20)]
    assert all(earlier < later for earlier, later in pairwise(ids))


async def test_ids_increase_across_a_restart(scene: Scene) -> None:
    before = [await scene.accept() for _ in range(3)]
    await scene.restart()
    assert await scene.accept() > max(before)


async def test_every_part_is_queued(scene: Scene) -> None:
    await scene.accept(parts=3)
    assert await scene.store.count_pending() == {"queued": 3, "pending": 0, "in_doubt": 0, "parked": 0}


async def test_what_the_operator_cuts_is_queued_once_and_costs_its_parts(scene: Scene) -> None:
    accepted = await scene.store.accept(a_send(scene.account, parts=3, cut=WHOLE))
    assert isinstance(accepted, Accepted)
    assert accepted.parts == 3
    assert (await scene.store.count_pending())["queued"] == 1


async def test_concurrent_accepts_are_all_stored_each_under_its_own_id(scene: Scene) -> None:
    texts = [f"Bonjour {number}" for number in range(200)]
    outcomes = await asyncio.gather(*(scene.store.accept(a_send(scene.account, text=text)) for text in texts))
    ids = [outcome.id for outcome in outcomes if isinstance(outcome, Accepted)]
    assert len(set(ids)) == 200
    assert [(await scene.read(message)).text for message in ids] == texts


async def test_accepted_message_outlives_a_restart(scene: Scene) -> None:
    message = await scene.accept(parts=2)
    before = await scene.journey(message)
    await scene.restart()
    assert await scene.journey(message) == before
    assert keys_of(await scene.claim()) == [(message, 1, 1), (message, 2, 1)]


# --- the number's latest -----------------------------------------------------------------------------


async def test_message_accepted_last_is_the_number_s_latest(scene: Scene) -> None:
    await scene.accept()
    last = await scene.accept(accepted_at=NOW + SECOND)
    assert await scene.store.find_latest(scene.account, NUMBER) == await scene.read(last)


async def test_scheduled_message_is_the_latest_as_soon_as_it_is_accepted(scene: Scene) -> None:
    await scene.accept()
    scheduled = await scene.accept(due_at=NOW + DAY)
    assert await scene.store.find_latest(scene.account, NUMBER) == await scene.read(scheduled)


async def test_each_message_leads_to_the_one_before_it_to_the_same_number(scene: Scene) -> None:
    first = await scene.accept()
    elsewhere = await scene.accept(number=OTHER_NUMBER)
    second = await scene.accept()
    third = await scene.accept()
    chain = [(await scene.read(message)).previous for message in (first, elsewhere, second, third)]
    assert chain == [None, None, first, second]


async def test_messages_of_one_commit_form_a_chain_too(scene: Scene) -> None:
    await asyncio.gather(*(scene.store.accept(a_send(scene.account)) for _ in range(10)))
    latest = await scene.store.find_latest(scene.account, NUMBER)
    assert latest is not None
    chain = [latest.id]
    while latest.previous is not None:
        latest = await scene.read(latest.previous)
        chain.append(latest.id)
    assert len(chain) == 10
    assert chain == sorted(chain, reverse=True)


async def test_chain_is_the_account_s_own(scene: Scene) -> None:
    mine = await scene.accept()
    rival = await scene.another_account()
    theirs = await scene.accept(account=rival)
    latest = await scene.store.find_latest(rival, NUMBER)
    assert latest is not None
    assert (latest.id, latest.previous) == (theirs, None)
    assert await scene.store.find_latest(scene.account, NUMBER) == await scene.read(mine)


# --- idempotency -------------------------------------------------------------------------------------


async def test_same_key_and_body_give_the_first_answer(scene: Scene) -> None:
    first = await scene.accept(idempotency=ONCE, parts=2)
    again = await scene.try_to_send(idempotency=ONCE, parts=2, accepted_at=NOW + MINUTE)
    assert again == Accepted(first, parts=2, repeated=True)


async def test_repeated_send_stores_nothing(scene: Scene) -> None:
    first = await scene.accept(idempotency=ONCE)
    await scene.try_to_send(idempotency=ONCE, accepted_at=NOW + MINUTE)
    latest = await scene.store.find_latest(scene.account, NUMBER)
    assert latest is not None
    assert (latest.id, latest.previous) == (first, None)
    assert keys_of(await scene.claim(now=NOW + HOUR)) == [(first, 1, 1)]


async def test_concurrent_sends_with_one_key_make_one_message(scene: Scene) -> None:
    sends = [a_send(scene.account, idempotency=ONCE) for _ in range(10)]
    outcomes = await asyncio.gather(*(scene.store.accept(send) for send in sends))
    message = await scene.store.find_latest(scene.account, NUMBER)
    assert message is not None
    assert message.previous is None
    once = Accepted(message.id, parts=1)
    assert sorted(map(repr, outcomes)) == sorted(map(repr, [once] + [replace(once, repeated=True)] * 9))


async def test_same_key_with_another_body_is_refused(scene: Scene) -> None:
    await scene.accept(idempotency=ONCE)
    assert await scene.try_to_send(idempotency=replace(ONCE, digest=b"another")) == NotAccepted(1006)


async def test_concurrent_sends_with_one_key_and_two_bodies_make_one_message(scene: Scene) -> None:
    bodies = [ONCE, replace(ONCE, digest=b"another")]
    outcomes = await asyncio.gather(*(scene.store.accept(a_send(scene.account, idempotency=body)) for body in bodies))
    latest = await scene.store.find_latest(scene.account, NUMBER)
    assert latest is not None
    assert outcomes == [Accepted(latest.id, parts=1), NotAccepted(1006)]
    assert latest.previous is None


async def test_key_refused_for_its_body_still_gives_the_first_answer(scene: Scene) -> None:
    first = await scene.accept(idempotency=ONCE)
    await scene.try_to_send(idempotency=replace(ONCE, digest=b"another"))
    assert await scene.try_to_send(idempotency=ONCE) == Accepted(first, parts=1, repeated=True)


async def test_key_is_remembered_for_seven_days(scene: Scene) -> None:
    first = await scene.accept(idempotency=ONCE)
    again = await scene.try_to_send(idempotency=ONCE, accepted_at=NOW + 7 * DAY - SECOND)
    assert again == Accepted(first, parts=1, repeated=True)


async def test_key_is_new_after_seven_days_without_any_sweep(scene: Scene) -> None:
    first = await scene.accept(idempotency=ONCE)
    body = replace(ONCE, digest=b"another")
    second = await scene.try_to_send(idempotency=body, accepted_at=NOW + 7 * DAY + SECOND)
    assert isinstance(second, Accepted)
    assert second == Accepted(second.id, parts=1)
    assert second.id > first
    again = await scene.try_to_send(idempotency=body, accepted_at=NOW + 8 * DAY)
    assert again == Accepted(second.id, parts=1, repeated=True)


async def test_same_key_of_another_account_is_another_key(scene: Scene) -> None:
    await scene.accept(idempotency=ONCE)
    rival = await scene.another_account()
    theirs = await scene.try_to_send(account=rival, idempotency=replace(ONCE, digest=b"another"))
    assert isinstance(theirs, Accepted)
    assert theirs.repeated is False


async def test_key_outlives_a_restart(scene: Scene) -> None:
    first = await scene.accept(idempotency=ONCE)
    await scene.restart()
    assert await scene.try_to_send(idempotency=ONCE) == Accepted(first, parts=1, repeated=True)


async def test_key_gives_its_first_answer_though_the_number_opted_out_since(scene: Scene) -> None:
    first = await scene.hand_over(idempotency=ONCE)
    await scene.stop()
    again = await scene.try_to_send(idempotency=ONCE, accepted_at=NOW + HOUR)
    assert again == Accepted(first, parts=1, repeated=True)


async def test_refused_send_does_not_use_its_key_up(scene: Scene) -> None:
    await scene.hand_over()
    await scene.stop()
    assert await scene.try_to_send(idempotency=ONCE) == NotAccepted(12)
    accepted = await scene.try_to_send(idempotency=ONCE, number=OTHER_NUMBER)
    assert isinstance(accepted, Accepted)
    assert accepted.repeated is False


# --- the lists ---------------------------------------------------------------------------------------


async def test_number_that_wrote_stop_is_refused_as_unsubscribed(scene: Scene) -> None:
    await scene.hand_over()
    await scene.stop()
    assert await scene.try_to_send(family=Family.MARKETING) == NotAccepted(12)
    assert await scene.try_to_send(family=Family.NOTIFICATION) == NotAccepted(12)


async def test_refused_send_stores_nothing(scene: Scene) -> None:
    handed_over = await scene.hand_over()
    await scene.stop()
    link = TrackedLink("Zb3kP0aQ9x", "https://example.org/")
    await scene.try_to_send(links=(link,))
    latest = await scene.store.find_latest(scene.account, NUMBER)
    assert latest == await scene.read(handed_over)
    assert await scene.store.next_due("live") is None
    assert await scene.store.open_link(link.token, human=True, now=NOW + HOUR) is None


async def test_exempt_notification_reaches_a_person_who_wrote_stop(scene: Scene) -> None:
    await scene.hand_over()
    await scene.stop()
    assert isinstance(await scene.try_to_send(exempt_from_optout=True), Accepted)


async def test_stop_to_one_account_does_not_silence_another(scene: Scene) -> None:
    await scene.hand_over()
    await scene.stop()
    rival = await scene.another_account()
    assert isinstance(await scene.try_to_send(account=rival), Accepted)


async def test_stop_silences_one_number_only(scene: Scene) -> None:
    await scene.hand_over()
    await scene.stop()
    assert isinstance(await scene.try_to_send(number=OTHER_NUMBER), Accepted)


async def test_bounced_number_is_refused_to_its_own_account_with_13(scene: Scene) -> None:
    await scene.bounce()
    assert await scene.try_to_send() == NotAccepted(13)


async def test_bounced_number_is_refused_to_another_account_with_14(scene: Scene) -> None:
    await scene.bounce()
    assert await scene.try_to_send(account=await scene.another_account()) == NotAccepted(14)


async def test_exemption_from_opt_outs_is_none_from_bounces(scene: Scene) -> None:
    await scene.bounce()
    assert await scene.try_to_send(exempt_from_optout=True) == NotAccepted(13)


async def test_own_bounce_counts_before_another_account_s(scene: Scene) -> None:
    rival = await scene.another_account()
    mine, theirs = await scene.submit(), await scene.submit(account=rival)
    for submission, carrier_id in ((mine, "B1"), (theirs, "B2")):
        await scene.store.settle(
            [answered(submission, carrier_id), a_receipt(carrier_id, Verdict.NOT_ASSIGNED)], NOW + MINUTE
        )
    assert await scene.try_to_send() == NotAccepted(13)
    assert await scene.try_to_send(account=rival) == NotAccepted(13)


async def test_opt_out_counts_before_a_bounce(scene: Scene) -> None:
    stopped, bounced = await scene.submit(), await scene.submit()
    await scene.store.settle([answered(stopped, "A1"), answered(bounced, "A2")], NOW + SECOND)
    await scene.store.settle([a_receipt("A1", Verdict.NOT_ASSIGNED)], NOW + MINUTE)
    await scene.stop()
    assert await scene.try_to_send() == NotAccepted(12)


async def test_lists_outlive_a_restart(scene: Scene) -> None:
    await scene.hand_over()
    await scene.stop()
    await scene.bounce(number=OTHER_NUMBER)
    await scene.restart()
    assert await scene.try_to_send() == NotAccepted(12)
    assert await scene.try_to_send(number=OTHER_NUMBER) == NotAccepted(13)


async def test_stop_to_a_test_message_silences_test_traffic_only(scene: Scene) -> None:
    await scene.hand_over(test=True)
    await scene.stop(connector="simulator")
    assert await scene.try_to_send(test=True) == NotAccepted(12)
    assert isinstance(await scene.try_to_send(), Accepted)


async def test_stop_to_a_live_message_does_not_silence_test_traffic(scene: Scene) -> None:
    await scene.hand_over()
    await scene.stop()
    assert isinstance(await scene.try_to_send(test=True), Accepted)


async def test_bounce_of_a_test_message_bars_test_traffic_only(scene: Scene) -> None:
    await scene.bounce(test=True)
    assert await scene.try_to_send(test=True) == NotAccepted(13)
    assert isinstance(await scene.try_to_send(), Accepted)


async def test_magic_number_answers_stop_to_every_demo(scene: Scene) -> None:
    await scene.hand_over(test=True, number=MAGIC_NUMBER)
    await scene.stop(MAGIC_NUMBER, connector="simulator")
    again = await scene.hand_over("A2", test=True, number=MAGIC_NUMBER, accepted_at=NOW + HOUR, now=NOW + HOUR)
    await scene.stop(MAGIC_NUMBER, connector="simulator", now=NOW + 2 * HOUR)
    assert await scene.state(again) is State.UNSUBSCRIBED


async def test_magic_number_bounces_in_every_demo_for_every_account(scene: Scene) -> None:
    await scene.bounce(test=True, number=MAGIC_NUMBER)
    assert isinstance(await scene.try_to_send(test=True, number=MAGIC_NUMBER), Accepted)
    rival = await scene.another_account()
    assert isinstance(await scene.try_to_send(account=rival, test=True, number=MAGIC_NUMBER), Accepted)


async def test_number_of_the_simulator_is_not_magic_for_live_traffic(scene: Scene) -> None:
    await scene.hand_over(number=MAGIC_NUMBER)
    await scene.stop(MAGIC_NUMBER)
    assert await scene.try_to_send(number=MAGIC_NUMBER) == NotAccepted(12)


# --- scheduled and tracked ---------------------------------------------------------------------------


async def test_links_are_stored_with_their_message(scene: Scene) -> None:
    links = (
        TrackedLink("Zb3kP0aQ9x", "https://example.org/soldes?a=1&b=é"),
        TrackedLink("Ym4lQ1bR8w", "https://example.org/plan"),
    )
    await scene.accept(links=links)
    opened = [await scene.store.open_link(link.token, human=False, now=NOW) for link in links]
    assert opened == [link.url for link in links]


async def test_scheduled_message_leaves_when_it_is_due(scene: Scene) -> None:
    message = await scene.accept(due_at=NOW + DAY)
    assert await scene.store.next_due("live") == NOW + DAY
    assert await scene.claim(now=NOW + DAY - 1) == []
    assert keys_of(await scene.claim(now=NOW + DAY)) == [(message, 1, 1)]


async def test_reply_does_not_stop_anything(scene: Scene) -> None:
    await scene.hand_over()
    await scene.store.receive([an_inbound("Ne STOP pas")], NOW + MINUTE)
    assert isinstance(await scene.try_to_send(), Accepted)
