"""Customers: what they submit is stored with what they asked to be told, and they are told until they have taken it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from store_scene import (
    DAY,
    MINUTE,
    NOW,
    NUMBER,
    OTHER_NUMBER,
    SECOND,
    SHORT_CODE,
    Scene,
    a_receipt,
    a_send,
    an_inbound,
    answered,
)

from chappe.core.customers import (
    EXPIRED,
    PARTS_WAIT_MS,
    TELLINGS_KEPT_MS,
    Address,
    Again,
    Answer,
    Customer,
    KeptPart,
    Overdue,
    Part,
    Receipt,
    Submit,
    SubmitId,
    Submitted,
    Telling,
)
from chappe.core.message import Accepted, Family, MessageId, NotAccepted, State, Verdict
from chappe.core.rules import OPTED_OUT, Listing
from chappe.storage.customers import LEFT_ALONE_MS

LEASE = MINUTE
SOURCE = Address(5, 0, "SHOP")
DESTINATION = Address(1, 1, NUMBER)
LATER = NOW + 10 * SECOND
"""When what the scene does has been told."""


@pytest.fixture
async def customer(scene: Scene) -> Customer:
    return await a_customer(scene)


async def a_customer(scene: Scene, system_id: str = "shop1", **changes: Any) -> Customer:
    ordinary = {"test": False, "family": Family.NOTIFICATION, "now": NOW, "salt": b"salt", "digest": b"digest"}
    saved = await scene.store.save_customer(**{"account": scene.account, "system_id": system_id, **ordinary, **changes})
    assert saved is not None
    return saved


def a_submit(customer: Customer, **changes: Any) -> Submit:
    return replace(Submit(customer.id, 1, SOURCE, DESTINATION, None, NOW), **changes)


def a_part(customer: Customer, sequence: int, octets: bytes = b"Bonjour", *, total: int = 2, **changes: Any) -> Part:
    return Part(a_submit(customer, **changes), 7, total, sequence, octets, 0, 0, 0, "{}")


def kept(id_: SubmitId, octets: bytes = b"Bonjour") -> KeptPart:
    return KeptPart(id_, octets, 0, 0, 0, "{}")


async def submit(scene: Scene, customer: Customer, **changes: Any) -> MessageId:
    [outcome] = await scene.store.accept_submits([(a_send(scene.account), a_submit(customer, **changes))])
    assert isinstance(outcome, Accepted)
    return outcome.id


async def end(scene: Scene, verdict: Verdict = Verdict.DELIVERED) -> None:
    """Everything that is due leaves, and its receipts come."""
    for number, submission in enumerate(await scene.claim()):
        await scene.store.settle([answered(submission, f"A{number}")], NOW + SECOND)
        await scene.store.settle([a_receipt(f"A{number}", verdict)], NOW + 5 * SECOND)


async def told(scene: Scene, customer: Customer, now: int = LATER) -> list[Telling]:
    return await scene.store.claim_tellings(customer.id, 100, now, LEASE)


async def receipts(scene: Scene, customer: Customer, now: int = LATER) -> list[tuple[int, State, str | None]]:
    tellings = await told(scene, customer, now)
    assert all(isinstance(telling, Receipt) for telling in tellings)
    return [(one.submit, one.state, one.cause) for one in tellings if isinstance(one, Receipt)]


# --- passwords -----------------------------------------------------------------------------------------


async def test_customer_is_found_by_its_system_id_with_its_account(scene: Scene) -> None:
    made = await a_customer(scene, test=True, family=Family.MARKETING)
    assert await scene.store.find_customer("shop1") == made
    assert (made.account.id, made.account.name, made.test, made.family) == (
        scene.account,
        "acme",
        True,
        Family.MARKETING,
    )
    assert (made.salt, made.digest, made.created_at) == (b"salt", b"digest", NOW)
    assert await scene.store.find_customer("SHOP1") is None


async def test_another_password_takes_the_place_of_the_first(scene: Scene, customer: Customer) -> None:
    again = await a_customer(scene, salt=b"other", digest=b"word", now=NOW + DAY)
    assert again == replace(customer, salt=b"other", digest=b"word", created_at=NOW + DAY)
    assert [one for one, _ in await scene.store.list_customers()] == [again]


async def test_system_id_of_another_account_cannot_be_taken(scene: Scene, customer: Customer) -> None:
    rival = await scene.another_account()
    refused = await scene.store.save_customer(rival, "shop1", b"", b"", test=False, family=Family.NOTIFICATION, now=NOW)
    assert refused is None
    assert await scene.store.remove_customer(rival, "shop1") is False
    assert await scene.store.find_customer("shop1") == customer


async def test_removed_customer_is_gone_with_what_it_was_to_be_told(scene: Scene, customer: Customer) -> None:
    await submit(scene, customer)
    await end(scene)
    assert await scene.store.list_customers() == [(customer, 1)]
    assert await scene.store.remove_customer(scene.account, "shop1") is True
    assert await scene.store.list_customers() == []
    assert await told(scene, customer) == []


# --- submits -------------------------------------------------------------------------------------------


async def test_submit_is_a_message_whose_id_it_is_answered_with(scene: Scene, customer: Customer) -> None:
    message = await submit(scene, customer)
    assert (await scene.read(message)).text == "Bonjour"
    assert await scene.store.find_submit(scene.account, SubmitId(message)) == Submitted(
        SubmitId(message), message, None, NOW
    )


async def test_submit_of_another_account_is_not_there(scene: Scene, customer: Customer) -> None:
    message = await submit(scene, customer)
    assert await scene.store.find_submit(await scene.another_account(), SubmitId(message)) is None


async def test_of_many_submits_each_has_its_own_answer(scene: Scene, customer: Customer) -> None:
    await scene.store.add_entry(scene.account, Listing.UNSUBSCRIBED, OTHER_NUMBER, test=False, now=NOW)
    sends = [a_send(scene.account, number=number) for number in (NUMBER, OTHER_NUMBER, "+33612000003")]
    first, refused, last = await scene.store.accept_submits([(send, a_submit(customer)) for send in sends])
    assert isinstance(first, Accepted)
    assert isinstance(last, Accepted)
    assert refused == NotAccepted(OPTED_OUT)
    assert (await scene.read(last.id)).number == "+33612000003"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (0, set()),
        (1, {Verdict.DELIVERED, Verdict.FAILED, Verdict.NOT_ASSIGNED}),
        (2, {Verdict.FAILED, Verdict.NOT_ASSIGNED}),
        (3, {Verdict.DELIVERED}),
    ],
)
@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.DELIVERED, State.DELIVERED),
        (Verdict.FAILED, State.ERROR),
        (Verdict.NOT_ASSIGNED, State.BOUNCED),
    ],
)
async def test_customer_is_told_of_the_ends_that_it_asked_for(
    scene: Scene, customer: Customer, asked: int, wanted: set[Verdict], verdict: Verdict, state: State
) -> None:
    message = await submit(scene, customer, asked=asked)
    assert await told(scene, customer) == []
    await end(scene, verdict)
    found = [(id_, reached) for id_, reached, _ in await receipts(scene, customer)]
    assert found == ([(message, state)] if verdict in wanted else [])


async def test_receipt_has_all_that_is_repeated_in_it(scene: Scene, customer: Customer) -> None:
    message = await submit(scene, customer, reference=4711)
    await end(scene)
    [telling] = await told(scene, customer)
    assert telling == Receipt(
        telling.id,
        0,
        SubmitId(message),
        SOURCE,
        DESTINATION,
        4711,
        NOW,
        State.DELIVERED,
        None,
        NOW + 5 * SECOND,
        "Bonjour",
    )


async def test_what_the_account_sends_otherwise_is_told_to_no_customer(scene: Scene, customer: Customer) -> None:
    await scene.hand_over("A0")
    await scene.store.settle([a_receipt("A0")], NOW + 5 * SECOND)
    assert await told(scene, customer) == []


async def test_cancelled_message_is_told_with_its_cause(scene: Scene, customer: Customer) -> None:
    message = await submit(scene, customer)
    await scene.store.cancel(scene.account, message, NOW + SECOND)
    assert await receipts(scene, customer) == [(message, State.ERROR, "cancelled")]


# --- tellings ------------------------------------------------------------------------------------------


async def test_what_is_claimed_is_nobody_else_s_until_the_lease_is_over(scene: Scene, customer: Customer) -> None:
    await submit(scene, customer)
    await end(scene)
    first = await told(scene, customer)
    assert len(first) == 1
    assert await told(scene, customer, LATER + LEASE - 1) == []
    assert await told(scene, customer, LATER + LEASE) == first


async def test_claims_keep_their_bound_and_go_by_age(scene: Scene, customer: Customer) -> None:
    messages = [await submit(scene, customer) for _ in range(3)]
    await end(scene)
    found: list[int] = []
    for _ in range(3):
        [one] = await scene.store.claim_tellings(customer.id, 1, LATER, LEASE)
        assert isinstance(one, Receipt)
        found.append(one.submit)
    assert found == messages
    assert await scene.store.claim_tellings(customer.id, 0, LATER + DAY, LEASE) == []


async def test_what_was_taken_is_not_told_again(scene: Scene, customer: Customer) -> None:
    await submit(scene, customer)
    await end(scene)
    [one] = await told(scene, customer)
    await scene.store.settle_tellings([one.id], [])
    assert await told(scene, customer, LATER + DAY) == []


async def test_what_was_not_taken_is_due_again_when_it_is_said(scene: Scene, customer: Customer) -> None:
    await submit(scene, customer)
    await end(scene)
    [one] = await told(scene, customer)
    await scene.store.settle_tellings([], [Again(one.id, LATER + 5 * SECOND, 1)])
    assert await told(scene, customer, LATER + 5 * SECOND - 1) == []
    assert await told(scene, customer, LATER + 5 * SECOND) == [replace(one, tries=1)]


async def test_node_that_is_alone_frees_what_it_had_claimed_before_it_died(scene: Scene, customer: Customer) -> None:
    await submit(scene, customer)
    await end(scene)
    first = await told(scene, customer)
    await scene.restart()
    await scene.store.free_tellings(LATER)
    assert await told(scene, customer) == first


async def test_what_nobody_fetches_is_dropped_after_a_month(scene: Scene, customer: Customer) -> None:
    message = await submit(scene, customer)
    await end(scene)
    await scene.store.tidy_customers(NOW + TELLINGS_KEPT_MS - 1)
    assert await scene.store.list_customers() == [(customer, 1)]
    await scene.store.tidy_customers(NOW + TELLINGS_KEPT_MS + MINUTE)
    assert await scene.store.list_customers() == [(customer, 0)]
    assert await scene.store.find_submit(scene.account, SubmitId(message)) is None


# --- replies -------------------------------------------------------------------------------------------


async def test_reply_is_told_to_the_customer_whose_message_it_answers(scene: Scene, customer: Customer) -> None:
    other = await a_customer(scene, "shop2")
    await submit(scene, customer, asked=0)
    await end(scene)
    await scene.store.receive([an_inbound("Merci", at=NOW + SECOND)], NOW + SECOND)
    await scene.store.receive([an_inbound("Encore", at=NOW + SECOND)], NOW + SECOND)
    tellings = await told(scene, customer)
    assert [(one.number, one.recipient, one.text, one.at) for one in tellings if isinstance(one, Answer)] == [
        (NUMBER, SHORT_CODE, "Merci", NOW + SECOND),
        (NUMBER, SHORT_CODE, "Encore", NOW + SECOND),
    ]
    assert await told(scene, other) == []


async def test_reply_to_what_no_customer_submitted_is_told_to_each_of_the_account(scene: Scene) -> None:
    customers = [await a_customer(scene, system_id) for system_id in ("shop1", "shop2")]
    in_tests = await a_customer(scene, "tests", test=True)
    rival = await a_customer(scene, "rival", account=await scene.another_account())
    await scene.hand_over()
    await scene.stop(now=NOW + SECOND)
    for customer in customers:
        assert [one.text for one in await told(scene, customer) if isinstance(one, Answer)] == ["STOP"]
    assert await told(scene, in_tests) == await told(scene, rival) == []


async def test_reply_that_answers_nothing_is_told_to_nobody(scene: Scene, customer: Customer) -> None:
    await scene.store.receive([an_inbound(number=OTHER_NUMBER, at=NOW)], NOW)
    assert await told(scene, customer) == []


# --- parts ---------------------------------------------------------------------------------------------


async def test_last_part_brings_all_of_them_in_their_order(scene: Scene, customer: Customer) -> None:
    [second] = await scene.store.keep_parts([a_part(customer, 2, b"soir")], NOW)
    assert second.whole == ()
    [first] = await scene.store.keep_parts([a_part(customer, 1, b"Bon")], NOW)
    assert first.whole == (kept(first.id, b"Bon"), kept(second.id, b"soir"))
    assert await scene.store.find_submit(scene.account, second.id) == Submitted(second.id, None, None, NOW)


async def test_parts_of_one_read_become_whole_together(scene: Scene, customer: Customer) -> None:
    first, second = await scene.store.keep_parts([a_part(customer, 1), a_part(customer, 2, b"soir")], NOW)
    assert first.whole == ()
    assert [part.id for part in second.whole] == [first.id, second.id]


async def test_joined_parts_are_one_message_and_each_is_told_of_its_end(scene: Scene, customer: Customer) -> None:
    first, second = await scene.store.keep_parts([a_part(customer, 1), a_part(customer, 2, b"soir", asked=0)], NOW)
    ids = [first.id, second.id]
    joined = await scene.store.join_parts(customer.id, ids, a_send(scene.account, text="Bonsoir"), ids[:1], NOW)
    assert isinstance(joined, Accepted)
    assert (await scene.read(joined.id)).text == "Bonsoir"
    assert [await scene.store.find_submit(scene.account, id_) for id_ in ids] == [
        Submitted(id_, joined.id, None, NOW) for id_ in ids
    ]
    await end(scene)
    assert await receipts(scene, customer) == [(first.id, State.DELIVERED, None)]


async def test_parts_are_joined_once(scene: Scene, customer: Customer) -> None:
    kept_parts = await scene.store.keep_parts([a_part(customer, 1), a_part(customer, 2)], NOW)
    ids = [part.id for part in kept_parts]
    assert await scene.store.join_parts(customer.id, ids, a_send(scene.account), [], NOW) is not None
    assert await scene.store.join_parts(customer.id, ids, a_send(scene.account), [], NOW) is None
    assert len(await scene.claim()) == 1


async def test_parts_that_come_to_two_nodes_at_once_are_joined_once(scene: Scene, customer: Customer) -> None:
    nodes = [scene.store, await scene.open_store()]
    for round_ in range(5):
        parts = [a_part(customer, sequence, b"%d" % round_) for sequence in (1, 2)]
        kept_parts = await asyncio.gather(
            *(node.keep_parts([part], NOW) for node, part in zip(nodes, parts, strict=True))
        )
        [whole] = [part.whole for [part] in kept_parts if part.whole]
        ids = [part.id for part in whole]
        joined = await asyncio.gather(
            *(node.join_parts(customer.id, ids, a_send(scene.account), [], NOW) for node in nodes)
        )
        assert sum(one is not None for one in joined) == 1
    assert len(await scene.claim()) == 5


async def test_refused_message_is_told_to_those_parts_that_were_answered(scene: Scene, customer: Customer) -> None:
    await scene.store.add_entry(scene.account, Listing.UNSUBSCRIBED, NUMBER, test=False, now=NOW)
    first, second = await scene.store.keep_parts([a_part(customer, 1), a_part(customer, 2)], NOW)
    ids = [first.id, second.id]
    outcome = await scene.store.join_parts(customer.id, ids, a_send(scene.account), [first.id], NOW)
    assert outcome == NotAccepted(OPTED_OUT)
    assert await receipts(scene, customer) == [(first.id, State.ERROR, "refused:12")]
    assert [await scene.store.find_submit(scene.account, id_) for id_ in ids] == [
        Submitted(id_, None, "refused:12", NOW) for id_ in ids
    ]


async def test_parts_that_are_no_message_are_told_so(scene: Scene, customer: Customer) -> None:
    [first] = await scene.store.keep_parts([a_part(customer, 1)], NOW)
    [silent] = await scene.store.keep_parts([a_part(customer, 1, b"other", total=3, asked=0)], NOW)
    for one in (first, silent):
        assert await scene.store.join_parts(customer.id, [one.id], EXPIRED, [one.id], LATER) is None
    assert await receipts(scene, customer) == [(first.id, State.ERROR, EXPIRED)]


async def test_same_part_again_is_the_same_part(scene: Scene, customer: Customer) -> None:
    [first] = await scene.store.keep_parts([a_part(customer, 1)], NOW)
    [again] = await scene.store.keep_parts([a_part(customer, 1)], NOW + SECOND)
    assert again == first


async def test_other_octets_under_a_reference_begin_another_message(scene: Scene, customer: Customer) -> None:
    [first] = await scene.store.keep_parts([a_part(customer, 1)], NOW)
    [other] = await scene.store.keep_parts([a_part(customer, 1, b"Autre")], NOW + SECOND)
    [last] = await scene.store.keep_parts([a_part(customer, 2, b" chose")], NOW + SECOND)
    assert [part.octets for part in last.whole] == [b"Autre", b" chose"]
    assert other.id != first.id
    assert await receipts(scene, customer) == [(first.id, State.ERROR, EXPIRED)]


async def test_parts_of_different_customers_addresses_and_totals_are_kept_apart(
    scene: Scene, customer: Customer
) -> None:
    other = await a_customer(scene, "shop2")
    elsewhere = Address(1, 1, OTHER_NUMBER)
    parts = [
        a_part(customer, 1),
        a_part(other, 2),
        a_part(customer, 2, destination=elsewhere),
        a_part(customer, 2, source=elsewhere),
        a_part(customer, 2, total=3),
    ]
    assert [one.whole for one in await scene.store.keep_parts(parts, NOW)] == [()] * len(parts)


async def test_parts_are_overdue_when_the_rest_does_not_come(scene: Scene, customer: Customer) -> None:
    [first] = await scene.store.keep_parts([a_part(customer, 1)], NOW)
    assert await scene.store.overdue_parts(NOW + PARTS_WAIT_MS - 1, 10) == []
    assert await scene.store.overdue_parts(NOW + PARTS_WAIT_MS, 10) == [Overdue(customer, 2, (kept(first.id),))]


async def test_whole_message_that_nobody_joined_is_overdue_soon(scene: Scene, customer: Customer) -> None:
    await scene.store.keep_parts([a_part(customer, 1), a_part(customer, 2)], NOW)
    assert await scene.store.overdue_parts(NOW + LEFT_ALONE_MS - 1, 10) == []
    [overdue] = await scene.store.overdue_parts(NOW + LEFT_ALONE_MS, 10)
    assert (overdue.total, len(overdue.parts)) == (2, 2)


async def test_parts_of_a_removed_customer_are_dropped(scene: Scene, customer: Customer) -> None:
    await scene.store.keep_parts([a_part(customer, 1)], NOW)
    await scene.store.remove_customer(scene.account, "shop1")
    assert await scene.store.overdue_parts(NOW + PARTS_WAIT_MS, 10) == []
    again = await a_customer(scene)
    assert again.id != customer.id
