"""What people write back: joined from its parts, tied to the message it answers, recognised as STOP."""

from __future__ import annotations

import asyncio
from dataclasses import replace
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
    SHORT_CODE,
    Scene,
    an_inbound,
    answered,
    in_parts,
    refused,
)

from chappe.core.message import Delivery, NotAccepted, Reply, State, Treatment

SOON = NOW + MINUTE
THREE = ("Je ne ", "suis pas ", "disponible")

# --- whole messages ----------------------------------------------------------------------------------


async def test_reply_is_tied_to_the_message_it_answers(scene: Scene) -> None:
    message = await scene.hand_over()
    sent = await scene.read(message)
    [reply] = await scene.store.receive([an_inbound("Merci", at=SOON)], SOON)
    assert reply == Reply(reply.id, scene.account, NUMBER, SHORT_CODE, "Merci", "", SOON, message, complete=True)
    assert await scene.store.find_reply(scene.account, message) == reply
    assert await scene.read(message) == replace(sent, reply_at=SOON, facts=2, events=3, wake_at=None)


async def test_reply_in_another_alphabet_is_read(scene: Scene) -> None:
    await scene.hand_over()
    inbound = an_inbound(octets="Ça marche 👍".encode("utf-16-be"), data_coding=8)
    [reply] = await scene.store.receive([inbound], SOON)
    assert reply.text == "Ça marche 👍"


async def test_reply_of_binary_octets_is_kept_too(scene: Scene) -> None:
    [reply] = await scene.store.receive([replace(an_inbound(), octets=b"a\0b", data_coding=4)], NOW + MINUTE)
    assert reply.text == "a␀b"


async def test_first_reply_counts_and_later_ones_are_kept(scene: Scene) -> None:
    message = await scene.hand_over()
    [first] = await scene.store.receive([an_inbound("Oui", at=SOON)], SOON)
    [second] = await scene.store.receive([an_inbound("Enfin non", at=SOON + MINUTE)], SOON + MINUTE)
    assert (second.message, second.text) == (message, "Enfin non")
    assert (await scene.read(message)).reply_at == SOON
    assert await scene.store.find_reply(scene.account, message) == first


async def test_replies_of_one_batch_are_returned_each(scene: Scene) -> None:
    mine = await scene.hand_over("A1")
    other = await scene.hand_over("A2", number=OTHER_NUMBER)
    replies = await scene.store.receive([an_inbound("Oui"), an_inbound("Non", number=OTHER_NUMBER)], SOON)
    assert [(reply.message, reply.text) for reply in replies] == [(mine, "Oui"), (other, "Non")]


async def test_reply_to_a_failed_message_proves_that_it_arrived(scene: Scene) -> None:
    message = await scene.hand_over()
    await scene.store.sweep(NOW + 100 * HOUR, 10)
    assert await scene.state(message) is State.ERROR
    await scene.store.receive([an_inbound(at=NOW + 101 * HOUR)], NOW + 101 * HOUR)
    read = await scene.read(message)
    assert (read.delivery, read.reply_at, read.delivered_at) == (Delivery.PRESUMED_LOST, NOW + 101 * HOUR, None)
    assert await scene.state(message) is State.REPLY


# --- which message is answered -----------------------------------------------------------------------


async def test_newest_message_handed_over_is_answered(scene: Scene) -> None:
    await scene.hand_over("A1")
    second = await scene.hand_over("A2", accepted_at=NOW + SECOND, now=NOW + SECOND)
    [reply] = await scene.store.receive([an_inbound()], SOON)
    assert reply.message == second


async def test_message_still_queued_is_not_what_the_person_answers(scene: Scene) -> None:
    handed_over = await scene.hand_over()
    await scene.accept(accepted_at=NOW + SECOND)
    [reply] = await scene.store.receive([an_inbound()], SOON)
    assert reply.message == handed_over


async def test_messages_still_queued_are_passed_over(scene: Scene) -> None:
    # A month of daily reminders, scheduled in advance.
    handed_over = await scene.hand_over()
    for day in range(1, 31):
        await scene.accept(due_at=NOW + day * DAY)
    [reply] = await scene.store.receive([an_inbound()], SOON)
    assert reply.message == handed_over


async def test_message_handed_over_last_is_answered_though_it_was_accepted_first(scene: Scene) -> None:
    scheduled = await scene.accept(due_at=NOW + HOUR)
    await scene.hand_over("A1")
    submission = await scene.claim_one(now=NOW + HOUR)
    await scene.store.settle([answered(submission, "A2", NOW + HOUR)], NOW + HOUR)
    [reply] = await scene.store.receive([an_inbound(at=NOW + 2 * HOUR)], NOW + 2 * HOUR)
    assert reply.message == scheduled


async def test_refused_message_is_not_what_the_person_answers(scene: Scene) -> None:
    handed_over = await scene.hand_over("A1")
    submission = await scene.submit(accepted_at=NOW + SECOND, now=NOW + SECOND)
    await scene.store.settle([refused(submission, Treatment.PERMANENT, NOW + 2 * SECOND)], SOON)
    [reply] = await scene.store.receive([an_inbound()], SOON)
    assert reply.message == handed_over


async def test_account_that_wrote_last_gets_the_answer(scene: Scene) -> None:
    rival = await scene.another_account()
    await scene.hand_over("A1")
    theirs = await scene.hand_over("A2", account=rival, accepted_at=NOW + SECOND, now=NOW + SECOND)
    [reply] = await scene.store.receive([an_inbound()], SOON)
    assert (reply.account, reply.message) == (rival, theirs)
    mine = await scene.hand_over("A3", accepted_at=NOW + 2 * MINUTE, now=NOW + 2 * MINUTE)
    [reply] = await scene.store.receive([an_inbound()], NOW + 3 * MINUTE)
    assert (reply.account, reply.message) == (scene.account, mine)


async def test_account_whose_message_is_still_queued_has_not_written(scene: Scene) -> None:
    mine = await scene.hand_over()
    await scene.accept(account=await scene.another_account(), accepted_at=NOW + SECOND)
    [reply] = await scene.store.receive([an_inbound()], SOON)
    assert (reply.account, reply.message) == (scene.account, mine)


async def test_answer_comes_through_the_connector_it_was_written_through(scene: Scene) -> None:
    live = await scene.hand_over("A1")
    submission = await scene.submit(test=True, accepted_at=NOW + SECOND, now=NOW + SECOND)
    await scene.store.settle([answered(submission, "A2")], NOW + 2 * SECOND)
    replies = [
        reply
        for connector in ("operator", "simulator")
        for reply in await scene.store.receive([an_inbound(connector=connector)], SOON)
    ]
    assert [reply.message for reply in replies] == [live, submission.attempt.message]


async def test_reply_through_another_connector_answers_nothing(scene: Scene) -> None:
    message = await scene.hand_over()
    [reply] = await scene.store.receive([an_inbound(connector="simulator", at=SOON)], SOON)
    assert reply == Reply(reply.id, None, NUMBER, SHORT_CODE, "Merci", "", SOON, None, complete=True)
    assert await scene.state(message) is State.SENT


async def test_reply_of_a_stranger_is_kept_without_an_account(scene: Scene) -> None:
    message = await scene.hand_over()
    [reply] = await scene.store.receive([an_inbound("Qui êtes-vous ?".replace("ê", "e"), number=OTHER_NUMBER)], SOON)
    assert (reply.account, reply.message, reply.text) == (None, None, "Qui etes-vous ?")
    assert await scene.state(message) is State.SENT


async def test_stop_of_a_stranger_lists_nobody(scene: Scene) -> None:
    [reply] = await scene.store.receive([an_inbound("STOP")], SOON)
    assert (reply.account, reply.keyword) == (None, "STOP")
    assert not isinstance(await scene.try_to_send(), NotAccepted)


# --- STOP --------------------------------------------------------------------------------------------


async def test_stop_unsubscribes_and_is_no_reply(scene: Scene) -> None:
    message = await scene.hand_over()
    sent = await scene.read(message)
    reply = await scene.stop(now=SOON)
    assert reply == Reply(reply.id, scene.account, NUMBER, SHORT_CODE, "STOP", "STOP", SOON, message, complete=True)
    assert await scene.read(message) == replace(sent, unsubscribed_at=SOON, facts=2, events=3, wake_at=None)
    assert await scene.store.find_reply(scene.account, message) is None


async def test_stop_bars_the_next_send(scene: Scene) -> None:
    await scene.hand_over()
    await scene.stop()
    assert await scene.try_to_send() == NotAccepted(12)


async def test_stop_written_twice_is_one_opt_out(scene: Scene) -> None:
    message = await scene.hand_over()
    await scene.stop(now=SOON)
    await scene.stop(now=SOON + MINUTE)
    assert (await scene.read(message)).unsubscribed_at == SOON
    assert await scene.try_to_send() == NotAccepted(12)


async def test_reply_that_is_not_stop_is_found_behind_one_that_is(scene: Scene) -> None:
    message = await scene.hand_over()
    await scene.stop(now=SOON)
    [reply] = await scene.store.receive([an_inbound("Pardon, j'arrive", at=SOON + 1)], SOON + 1)
    assert await scene.store.find_reply(scene.account, message) == reply
    assert await scene.state(message) is State.UNSUBSCRIBED


async def test_stop_takes_effect_on_a_claim_made_at_the_same_moment_or_not_at_all(scene: Scene) -> None:
    await scene.hand_over()
    message = await scene.accept()
    _, claimed = await asyncio.gather(scene.store.receive([an_inbound("STOP")], SOON), scene.claim(now=SOON))
    left = [submission.attempt.message for submission in claimed]
    barred = await scene.state(message) is State.ERROR
    assert (left, barred) in (([message], False), ([], True))
    assert await scene.try_to_send() == NotAccepted(12)


async def test_stop_cut_in_parts_is_a_stop(scene: Scene) -> None:
    message = await scene.hand_over()
    parts = in_parts(7, "ST", "O", "P")
    [reply] = await scene.store.receive(parts, SOON)
    assert reply.keyword == "STOP"
    assert await scene.state(message) is State.UNSUBSCRIBED


# --- parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(3, 1, 2), (1, 2, 3), (3, 2, 1), (2, 3, 1)])
async def test_parts_are_joined_in_whatever_order_they_come(scene: Scene, order: tuple[int, ...]) -> None:
    message = await scene.hand_over()
    parts = in_parts(7, *THREE, at=SOON)
    received = [await scene.store.receive([parts[sequence - 1]], SOON) for sequence in order]
    assert received[:2] == [[], []]
    [reply] = received[2]
    assert reply == Reply(
        reply.id, scene.account, NUMBER, SHORT_CODE, "Je ne suis pas disponible", "", SOON, message, complete=True
    )
    assert await scene.store.find_reply(scene.account, message) == reply


async def test_parts_of_one_batch_are_joined(scene: Scene) -> None:
    await scene.hand_over()
    third, second, first = reversed(in_parts(7, *THREE))
    [reply] = await scene.store.receive([third, first, second], SOON)
    assert (reply.text, reply.complete) == ("Je ne suis pas disponible", True)


async def test_letter_cut_between_two_parts_is_read_whole(scene: Scene) -> None:
    await scene.hand_over()
    octets = "👍 d'accord".encode("utf-16-be")
    parts = [
        an_inbound(octets=octets[:2], data_coding=8, reference=7, total=2, sequence=1),
        an_inbound(octets=octets[2:], data_coding=8, reference=7, total=2, sequence=2),
    ]
    [reply] = await scene.store.receive(parts, SOON)
    assert reply.text == "👍 d'accord"


async def test_same_reference_of_two_senders_is_kept_apart(scene: Scene) -> None:
    mine = await scene.hand_over("A1")
    other = await scene.hand_over("A2", number=OTHER_NUMBER)
    ours = in_parts(7, *THREE)
    theirs = in_parts(7, "Nous ", "sommes ", "en route", number=OTHER_NUMBER)
    assert await scene.store.receive([ours[0], theirs[1], ours[2], theirs[0]], SOON) == []
    replies = await scene.store.receive([theirs[2], ours[1]], SOON)
    assert sorted((reply.message, reply.text) for reply in replies if reply.message is not None) == [
        (mine, "Je ne suis pas disponible"),
        (other, "Nous sommes en route"),
    ]


@pytest.mark.parametrize("elsewhere", [{"recipient": "36222"}, {"connector": "simulator"}, {"reference": 8}])
async def test_parts_for_another_address_operator_or_reference_are_kept_apart(
    scene: Scene, elsewhere: dict[str, Any]
) -> None:
    first, second, third = in_parts(7, *THREE)
    assert await scene.store.receive([first, second, replace(third, **elsewhere)], SOON) == []
    [reply] = await scene.store.receive([third], SOON)
    assert reply.text == "Je ne suis pas disponible"


async def test_part_received_again_after_a_crash_counts_once(scene: Scene) -> None:
    message = await scene.hand_over()
    first, second, third = in_parts(7, *THREE)
    await scene.store.receive([first, third], SOON)
    await scene.restart()
    # The operator did not see our ROK and sends it again.
    assert await scene.store.receive([third], SOON) == []
    [reply] = await scene.store.receive([first, second], SOON)
    assert (reply.text, reply.message) == ("Je ne suis pas disponible", message)


async def test_same_part_twice_in_one_batch_counts_once(scene: Scene) -> None:
    await scene.hand_over()
    first, second, third = in_parts(7, *THREE)
    [reply] = await scene.store.receive([first, first, second, third], SOON)
    assert reply.text == "Je ne suis pas disponible"


async def test_reference_used_again_begins_another_message(scene: Scene) -> None:
    # Some phones number all their messages 0; others wrap after 256.
    await scene.hand_over()
    replies = []
    for minutes, text in enumerate(("Je suis ", "Je reste ", "Je pars ")):
        at = SOON + minutes * MINUTE
        for part in in_parts(0, text, "ici", at=at):
            replies += await scene.store.receive([part], at)
    assert [reply.text for reply in replies] == ["Je suis ici", "Je reste ici", "Je pars ici"]


async def test_reference_used_again_much_later_begins_another_message_even_of_the_same_text(scene: Scene) -> None:
    await scene.hand_over()
    await scene.store.receive(in_parts(7, *THREE), SOON)
    later = in_parts(7, *THREE, at=SOON + HOUR)
    [reply] = await scene.store.receive(later, SOON + HOUR)
    assert (reply.text, reply.at) == ("Je ne suis pas disponible", SOON + HOUR)


async def test_reference_used_again_before_the_message_was_whole_loses_neither(scene: Scene) -> None:
    message = await scene.hand_over()
    first, _ = in_parts(0, "Je ", "reste")
    *_, lone = await scene.store.receive([first, *in_parts(0, "Je pars", " demain", at=SOON)], SOON)
    assert (lone.text, lone.complete) == ("Je pars demain", True)
    earlier = await scene.store.find_reply(scene.account, message)
    assert earlier is not None
    assert (earlier.text.startswith("Je"), earlier.complete) == (True, False)


async def test_whole_message_received_again_after_a_crash_counts_once(scene: Scene) -> None:
    message = await scene.hand_over()
    parts = in_parts(7, *THREE)
    await scene.store.receive(parts, SOON)
    await scene.restart()
    assert await scene.store.receive(parts, SOON + SECOND) == []
    assert (await scene.read(message)).facts == 2
