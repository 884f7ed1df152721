"""The door for customers, over TCP: who may bind, what is answered when, and that nothing to be told is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chappe.core.customers import PARTS_WAIT_MS
from chappe.core.errors import StoreUnavailable
from chappe.core.limits import Limits as AccountLimits
from chappe.core.message import Family, Verdict
from chappe.core.routing import Portion
from chappe.core.rules import Listing
from chappe.core.text import concatenation_header, encode, segment
from chappe.customers import server as served
from chappe.customers.feed import SEND_WITHIN_MS
from chappe.customers.passwords import FREE_TRIES
from chappe.customers.server import LIMITS
from chappe.customers.times import read_time
from chappe.smpp import pdus
from chappe.smpp.pdus import DeliverSm, MessageState, Status, Tag
from chappe.smpp.session import Limits
from tests.customers.customer_scene import (
    NOW,
    NUMBER,
    PASSWORD,
    SECOND,
    Application,
    Scene,
    a_scene,
    a_submit,
)

LONG = "Bonjour, votre colis est arrivé : il vous attend à l'accueil. " * 5


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with a_scene(tmp_path) as scene:
        yield scene


def stat(receipt: DeliverSm) -> tuple[bytes, int | None]:
    """(id, message_state)."""
    return (receipt.tlv(Tag.RECEIPTED_MESSAGE_ID) or b"").rstrip(b"\0"), receipt.tlv_int(Tag.MESSAGE_STATE)


def parts_of(text: str, reference: int = 7) -> list[bytes]:
    segmented = segment(text)
    total = len(segmented.parts)
    return [
        concatenation_header(reference, total, number) + encode(part, segmented.alphabet)
        for number, part in enumerate(segmented.parts, 1)
    ]


# --- binding -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pdus.BindTransmitter, pdus.BindReceiver, pdus.BindTransceiver])
async def test_customer_binds_as_it_likes(scene: Scene, kind: type[pdus.Bind]) -> None:
    application = await scene.connect()
    response = await application.ask(kind(system_id=b"shop1", password=PASSWORD))
    assert isinstance(response, pdus.BindResp)
    assert (response.command_status, response.system_id) == (0, b"chappe")
    assert response.tlv(Tag.SC_INTERFACE_VERSION) == b"\x34"
    assert scene.server.bound == 1
    assert (await application.ask(pdus.Unbind())).command_status == 0
    await asyncio.wait_for(application.closed.wait(), 20)


@pytest.mark.parametrize(
    ("system_id", "password"),
    [(b"shop1", b"wrong"), (b"shop1", b""), (b"shop2", PASSWORD), (b"", b""), (b"\xff", b"x")],
)
async def test_wrong_password_and_unknown_system_id_look_alike(scene: Scene, system_id: bytes, password: bytes) -> None:
    application = await scene.connect()
    response = await application.ask(pdus.BindTransceiver(system_id=system_id, password=password))
    assert response.command_status == Status.ESME_RINVPASWD
    await asyncio.wait_for(application.closed.wait(), 20)
    assert scene.server.bound == 0


async def test_who_guesses_has_to_wait_even_with_the_right_password(scene: Scene) -> None:
    async def answer(password: bytes) -> int:
        response = await (await scene.connect()).ask(pdus.BindTransceiver(system_id=b"shop1", password=password))
        return response.command_status

    wrong = [await answer(b"wrong") for _ in range(FREE_TRIES)]
    assert wrong == [Status.ESME_RINVPASWD] * FREE_TRIES
    assert await answer(PASSWORD) == Status.ESME_RBINDFAIL
    scene.seconds += 1.0
    assert await answer(PASSWORD) == Status.ESME_ROK


async def test_system_id_has_a_bounded_number_of_binds(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MOST_BINDS", 2)
    first, _ = await scene.bind(), await scene.bind()
    refused = await (await scene.connect()).ask(pdus.BindReceiver(system_id=b"shop1", password=PASSWORD))
    assert refused.command_status == Status.ESME_RALYBND
    await first.ask(pdus.Unbind())
    await scene.bind(pdus.BindReceiver)


async def test_connections_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MOST_LINKS", 1)
    await scene.bind()
    second = await scene.connect()
    await asyncio.wait_for(second.closed.wait(), 20)


async def test_those_who_do_not_bind_make_room_for_those_who_do(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MOST_UNBOUND", 2)
    bound = await scene.bind()
    idle = [await scene.connect() for _ in range(2)]
    await scene.bind()
    await asyncio.wait_for(idle[0].closed.wait(), 20)
    assert not idle[1].closed.is_set()
    assert not bound.closed.is_set()


async def test_new_password_ends_the_links_of_the_old_one(scene: Scene) -> None:
    application = await scene.bind()
    await scene.server.look()
    assert scene.server.bound == 1
    await scene.save_customer(digest=b"another")
    await asyncio.wait_for(application.closed.wait(), 20)
    assert scene.server.bound == 0


async def test_submit_after_a_new_password_is_not_taken(scene: Scene) -> None:
    application = await scene.bind()
    await scene.store.remove_customer(scene.account.id, "shop1")
    response = application.request(a_submit())
    await asyncio.wait_for(application.closed.wait(), 20)
    assert not response.done() or response.result().command_status == Status.ESME_RMSGQFUL
    assert await scene.store.claim("operator", scene.epoch, [Portion("live")], 10, scene.now) == []


# --- submitting ----------------------------------------------------------------------------------------


async def test_submit_is_answered_with_the_id_of_a_stored_message(scene: Scene) -> None:
    application = await scene.bind(pdus.BindTransmitter)
    status, message_id = await application.submit(short_message=b"Ol\x05", service_type=b"OTP")
    assert status == 0
    message = await scene.read(message_id)
    assert (message.text, message.number, message.sender, message.category) == ("Olé", NUMBER, "SHOP", "OTP")
    assert (message.family, message.route, message.test) == (Family.NOTIFICATION, "live", False)
    assert scene.woken == ["live"]


async def test_customer_in_tests_reaches_the_simulator_only(scene: Scene) -> None:
    await scene.save_customer(test=True, family=Family.MARKETING)
    _, message_id = await (await scene.bind()).submit()
    message = await scene.read(message_id)
    assert (message.route, message.test, message.family) == ("simulator", True, Family.MARKETING)


async def test_submits_of_one_read_are_answered_each_with_its_own_id(scene: Scene) -> None:
    application = await scene.bind(limits=Limits(window=500))
    answers = [application.request(a_submit(destination_addr=b"336123%05d" % number)) for number in range(300)]
    responses = await asyncio.gather(*answers)
    assert {response.command_status for response in responses} == {0}
    numbers = []
    for response in responses:
        assert isinstance(response, pdus.SubmitSmResp)
        numbers.append((await scene.read(response.message_id)).number)
    assert numbers == [f"+336123{number:05}" for number in range(300)]


async def test_link_is_not_read_while_it_is_owed_many_answers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "OWED_MOST", 10)
    monkeypatch.setattr(served, "OWED_AGAIN", 5)
    gate, accept, most = asyncio.Event(), scene.store.accept_submits, 0

    async def slowly(submits: Any) -> Any:
        nonlocal most
        most = max(most, len(submits))
        await gate.wait()
        return await accept(submits)

    monkeypatch.setattr(scene.store, "accept_submits", slowly)
    application = await scene.bind(limits=Limits(window=8_000))
    [link] = scene.server._links
    answers = [application.request(a_submit(destination_addr=b"336123%05d" % number)) for number in range(8_000)]

    async def is_full() -> bool:
        return link.session.owed >= 10

    await scene.until(is_full)
    for _ in range(20):
        await asyncio.sleep(0)
    assert link.session.owed < 8_000  # what one read brought, and no more
    assert not link._transport.is_reading()  # type: ignore[union-attr]  # it is open
    gate.set()
    responses = await asyncio.wait_for(asyncio.gather(*answers), 60)
    assert {response.command_status for response in responses} <= {0, Status.ESME_RTHROTTLED}
    assert most <= link.session.limits.max_owed


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"destination_addr": b"33112345678"}, Status.ESME_RINVDSTADR),  # a fixed line
        ({"destination_addr": b"1"}, Status.ESME_RINVDSTADR),
        ({"destination_addr": b"4915112345678"}, Status.ESME_RINVDSTADR),  # abroad
        ({"source_addr": b"36111"}, Status.ESME_RINVSRCADR),
        ({"source_addr": b"ab"}, Status.ESME_RINVSRCADR),
        ({"source_addr": b"Too long for it"}, Status.ESME_RINVSRCADR),
        ({"short_message": b""}, Status.ESME_RINVMSGLEN),
        ({"short_message": b"No\xebl"}, 0x104),
        ({"short_message": "\x07".encode("utf-16-be"), "data_coding": 8}, 0x104),
        ({"short_message": b"", "tlvs": ((Tag.MESSAGE_PAYLOAD, b"a" * 4_000),)}, Status.ESME_RINVMSGLEN),
        ({"schedule_delivery_time": b"010101000000000+"}, Status.ESME_RINVSCHED),
        ({"schedule_delivery_time": b"100000000000000R"}, Status.ESME_RINVSCHED),
        ({"validity_period": b"000000000000000R"}, Status.ESME_RINVEXPIRY),
        ({"service_type": b"\x01"}, Status.ESME_RINVSERTYP),
    ],
)
async def test_refusals_have_their_status_and_the_session_goes_on(
    scene: Scene, fields: dict[str, Any], status: int
) -> None:
    application = await scene.bind()
    assert await application.submit(**fields) == (status, b"")
    assert (await application.submit())[0] == 0


async def test_lists_and_limits_of_the_account_hold(scene: Scene) -> None:
    application = await scene.bind()
    for number, listing in ((NUMBER, Listing.UNSUBSCRIBED), ("+33612345679", Listing.BOUNCED)):
        await scene.store.add_entry(scene.account.id, listing, number, test=False, now=NOW)
    assert (await application.submit())[0] == Status.ESME_RX_R_APPN
    assert (await application.submit(destination_addr=b"33612345679"))[0] == Status.ESME_RINVDSTADR
    await scene.store.save_limits(scene.account.id, AccountLimits(daily_parts=1))
    assert (await application.submit(destination_addr=b"33612345670"))[0] == 0
    assert (await application.submit(destination_addr=b"33612345670"))[0] == Status.ESME_RTHROTTLED


async def test_rate_of_the_account_holds(scene: Scene) -> None:
    await scene.store.save_limits(scene.account.id, AccountLimits(rate=1.0, burst=2))
    application = await scene.bind()
    assert [(await application.submit())[0] for _ in range(3)] == [0, 0, Status.ESME_RTHROTTLED]
    scene.seconds += 1.0
    assert (await application.submit())[0] == 0


async def test_store_that_is_away_is_told_as_later(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    application = await scene.bind()

    async def away(*_: object) -> Any:
        raise StoreUnavailable

    for call in ("accept_submits", "keep_parts", "find_submit"):
        with monkeypatch.context() as patch:
            patch.setattr(scene.store, call, away)
            if call == "find_submit":
                answers = [await application.ask(kind(message_id=b"1")) for kind in (pdus.QuerySm, pdus.CancelSm)]
                assert {answer.command_status for answer in answers} == {Status.ESME_RMSGQFUL}
            else:
                part = {"esm_class": 0x40, "short_message": parts_of(LONG)[0]} if call == "keep_parts" else {}
                assert (await application.submit(**part))[0] == Status.ESME_RMSGQFUL
    assert (await application.submit())[0] == 0


async def test_fault_of_ours_is_a_system_error_and_the_session_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    application = await scene.bind()

    async def fault(*_: object) -> Any:
        raise RuntimeError("ours")

    with monkeypatch.context() as patch:
        patch.setattr(scene.store, "accept_submits", fault)
        assert (await application.submit())[0] == Status.ESME_RSYSERR
    assert (await application.submit())[0] == 0
    assert NUMBER[1:] not in caplog.text


# --- long messages -------------------------------------------------------------------------------------


async def test_parts_are_answered_one_by_one_and_become_one_message(scene: Scene) -> None:
    application = await scene.bind()
    ids = []
    for part in parts_of(LONG):
        status, id_ = await application.submit(esm_class=0x40, short_message=part)
        assert status == 0
        ids.append(id_)
    assert len(set(ids)) == len(ids) > 1
    await scene.end()
    receipts = [await application.next_told() for _ in ids]
    assert [stat(receipt) for receipt in receipts] == [(id_, MessageState.DELIVERED) for id_ in ids]
    [message] = await scene.store.list_messages(scene.account.id, test=False, before=None, limit=10)
    assert (message.text, message.parts) == (LONG, len(ids))


async def test_parts_may_come_in_any_order_over_several_binds(scene: Scene) -> None:
    first, second = await scene.bind(pdus.BindTransmitter), await scene.bind(pdus.BindTransmitter)
    parts = parts_of(LONG)
    for application, part in zip([first, second] * len(parts), reversed(parts), strict=False):
        assert (await application.submit(esm_class=0x40, short_message=part))[0] == 0
    [message] = await scene.store.list_messages(scene.account.id, test=False, before=None, limit=10)
    assert message.text == LONG


async def test_what_is_wrong_with_a_part_is_said_at_once(scene: Scene) -> None:
    application = await scene.bind()
    part = {"esm_class": 0x40, "short_message": parts_of(LONG)[0]}
    assert (await application.submit(**part, destination_addr=b"1"))[0] == Status.ESME_RINVDSTADR
    assert (await application.submit(**part, source_addr=b"36111"))[0] == Status.ESME_RINVSRCADR
    assert (await application.submit(**part, validity_period=b"x"))[0] == Status.ESME_RINVEXPIRY


async def test_long_message_that_is_refused_is_told_to_the_parts_that_were_taken(scene: Scene) -> None:
    application = await scene.bind()
    await scene.store.add_entry(scene.account.id, Listing.UNSUBSCRIBED, NUMBER, test=False, now=NOW)
    *taken, last = parts_of(LONG)
    ids = [(await application.submit(esm_class=0x40, short_message=part))[1] for part in taken]
    assert await application.submit(esm_class=0x40, short_message=last) == (Status.ESME_RX_R_APPN, b"")
    scene.server.wake()
    receipts = [await application.next_told() for _ in ids]
    assert [stat(receipt) for receipt in receipts] == [(id_, MessageState.REJECTED) for id_ in ids]
    assert b" err:012 " in receipts[0].short_message


async def test_text_that_cannot_be_read_once_it_is_whole_is_refused(scene: Scene) -> None:
    application = await scene.bind()
    half = concatenation_header(1, 2, 1) + b"\xd8\x3d"
    status, id_ = await application.submit(esm_class=0x40, data_coding=8, short_message=half)
    assert status == 0
    other = concatenation_header(1, 2, 2) + b"\0a"
    assert (await application.submit(esm_class=0x40, data_coding=8, short_message=other))[0] == 0x104
    scene.server.wake()
    assert stat(await application.next_told()) == (id_, MessageState.REJECTED)


async def test_parts_that_stay_alone_are_told_to_have_expired(scene: Scene) -> None:
    application = await scene.bind()
    _, id_ = await application.submit(esm_class=0x40, short_message=parts_of(LONG)[0])
    answer = await application.ask(pdus.QuerySm(message_id=id_))
    assert isinstance(answer, pdus.QuerySmResp)
    assert answer.message_state == MessageState.ACCEPTED
    scene.now += PARTS_WAIT_MS
    await scene.server.tidy()
    assert stat(await application.next_told()) == (id_, MessageState.EXPIRED)
    answer = await application.ask(pdus.QuerySm(message_id=id_))
    assert isinstance(answer, pdus.QuerySmResp)
    assert answer.message_state == MessageState.EXPIRED


async def test_whole_message_whose_joining_failed_is_joined_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = await scene.bind()

    async def away(*_: object) -> Any:
        raise StoreUnavailable

    ids = []
    with monkeypatch.context() as patch:
        patch.setattr(scene.store, "join_parts", away)
        for part in parts_of(LONG):
            status, id_ = await application.submit(esm_class=0x40, short_message=part)
            assert status == 0
            ids.append(id_)
    assert await scene.store.claim("operator", scene.epoch, [Portion("live")], 10, scene.now) == []
    scene.now += PARTS_WAIT_MS // 2
    await scene.server.tidy()
    await scene.end()
    assert [stat(await application.next_told()) for _ in ids] == [(id_, MessageState.DELIVERED) for id_ in ids]


# --- asking and cancelling -----------------------------------------------------------------------------


async def test_query_says_how_far_a_message_has_come(scene: Scene) -> None:
    application = await scene.bind(pdus.BindTransmitter)

    async def query(id_: bytes) -> tuple[int, int | None, int]:
        answer = await application.ask(pdus.QuerySm(message_id=id_))
        assert isinstance(answer, pdus.QuerySmResp)
        assert answer.message_id == id_
        return answer.message_state, read_time(answer.final_date, 0), answer.error_code

    _, id_ = await application.submit()
    assert await query(id_) == (MessageState.ACCEPTED, None, 0)
    await scene.end(Verdict.NOT_ASSIGNED)
    assert await query(id_) == (MessageState.UNDELIVERABLE, NOW, 1)


@pytest.mark.parametrize("message_id", [b"", b"0", b"999", b"abc", b"-1", b"9" * 40, "١".encode()])
@pytest.mark.parametrize("kind", [pdus.QuerySm, pdus.CancelSm])
async def test_unknown_ids_are_unknown(
    scene: Scene, kind: type[pdus.QuerySm | pdus.CancelSm], message_id: bytes
) -> None:
    application = await scene.bind()
    assert (await application.ask(kind(message_id=message_id))).command_status == Status.ESME_RINVMSGID


async def test_scheduled_message_can_be_cancelled_and_a_part_waits(scene: Scene) -> None:
    application = await scene.bind()
    _, id_ = await application.submit(schedule_delivery_time=b"000001000000000R")
    _, part = await application.submit(esm_class=0x40, short_message=parts_of(LONG)[0])
    assert (await application.ask(pdus.CancelSm(message_id=id_))).command_status == 0
    assert stat(await application.next_told()) == (id_, MessageState.DELETED)
    assert (await application.ask(pdus.CancelSm(message_id=part))).command_status == Status.ESME_RCANCELFAIL


async def test_message_that_has_left_cannot_be_cancelled(scene: Scene) -> None:
    application = await scene.bind()
    _, id_ = await application.submit()
    await scene.end()
    assert (await application.ask(pdus.CancelSm(message_id=id_))).command_status == Status.ESME_RCANCELFAIL


@pytest.mark.parametrize(
    ("pdu", "status"),
    [
        (pdus.ReplaceSm(message_id=b"1"), Status.ESME_RREPLACEFAIL),
        (pdus.SubmitMulti(), Status.ESME_RINVCMDID),
        (pdus.DataSm(), Status.ESME_RINVCMDID),
    ],
)
async def test_what_is_not_offered_is_refused(scene: Scene, pdu: pdus.Pdu, status: Status) -> None:
    kind = pdus.BindTransmitter if isinstance(pdu, pdus.ReplaceSm) else pdus.BindTransceiver
    application = await scene.bind(kind)
    assert (await application.ask(pdu)).command_status == status


# --- being told ----------------------------------------------------------------------------------------


async def told_once(scene: Scene, application: Application) -> DeliverSm:
    """The next thing it is told, once it is forgotten here."""
    told = await application.next_told()

    async def is_forgotten() -> bool:
        return await scene.waiting() == 0

    await scene.until(is_forgotten)
    return told


async def test_receipt_reaches_a_receiver_and_is_then_forgotten(scene: Scene) -> None:
    transmitter, receiver = await scene.bind(pdus.BindTransmitter), await scene.bind(pdus.BindReceiver)
    _, id_ = await transmitter.submit()
    await scene.end()
    assert stat(await told_once(scene, receiver)) == (id_, MessageState.DELIVERED)
    assert transmitter.told.empty()


async def test_customer_of_before_3_4_gets_no_parameters(scene: Scene) -> None:
    application = await scene.bind(interface_version=0x33)
    await application.submit()
    await scene.end()
    receipt = await application.next_told()
    assert receipt.tlvs == ()
    assert b"stat:DELIVRD" in receipt.short_message


async def test_what_happens_while_a_customer_is_away_is_told_when_it_comes_back(scene: Scene) -> None:
    application = await scene.bind()
    _, id_ = await application.submit()
    await application.ask(pdus.Unbind())
    await scene.end()
    await scene.reply("Merci 😀")
    assert await scene.waiting() == 2
    back = await scene.bind(pdus.BindReceiver)
    receipt, reply = await back.next_told(), await back.next_told()
    assert stat(receipt) == (id_, MessageState.DELIVERED)
    assert reply.short_message.decode("utf-16-be") == "Merci 😀"
    assert (reply.source_addr, reply.destination_addr, reply.esm_class) == (b"33612345678", b"36111", 0)


async def test_transmitter_is_told_nothing(scene: Scene) -> None:
    transmitter = await scene.bind(pdus.BindTransmitter)
    await transmitter.submit()
    await scene.end()
    await transmitter.ask(pdus.QuerySm(message_id=b"1"))
    assert transmitter.told.empty()
    assert await scene.waiting() == 1


async def test_what_was_not_acknowledged_is_told_again_after_the_link_was_lost(scene: Scene) -> None:
    application = await scene.bind()
    application.says = None
    _, id_ = await application.submit()
    await scene.end()
    assert stat(await application.next_told())[0] == id_
    application.link.abort()
    back = await scene.bind()
    assert stat(await told_once(scene, back)) == (id_, MessageState.DELIVERED)


async def test_what_was_not_acknowledged_is_told_again_by_the_next_start(scene: Scene) -> None:
    application = await scene.bind()
    application.says = None
    _, id_ = await application.submit()
    await scene.end()
    await application.next_told()
    scene.server._settler.postpone = lambda again: None  # type: ignore[method-assign]  # as if it had been killed
    await scene.stop()
    assert await scene.store.claim_tellings(scene.customer.id, 10, scene.now, 1) == []
    await scene.start()
    back = await scene.bind()
    assert stat(await told_once(scene, back)) == (id_, MessageState.DELIVERED)


async def test_long_reply_comes_in_parts_and_is_one_telling(scene: Scene) -> None:
    application = await scene.bind()
    await application.submit(registered_delivery=0)
    await scene.end()
    await scene.reply("é" * 400)
    total = len(segment("é" * 400).parts)
    parts = [await application.next_told() for _ in range(total)]
    assert [part.short_message[4:6] for part in parts] == [bytes((total, n)) for n in range(1, total + 1)]
    assert {part.esm_class for part in parts} == {0x40}


@pytest.mark.parametrize("status", [Status.ESME_RX_T_APPN, Status.ESME_RMSGQFUL, Status.ESME_RUNKNOWNERR])
async def test_customer_that_says_later_is_asked_later(scene: Scene, status: Status) -> None:
    application = await scene.bind()
    application.says = status
    _, id_ = await application.submit()
    await scene.end()
    await application.next_told()
    await scene.until_tried(1)
    application.says = 0
    assert await scene.store.claim_tellings(scene.customer.id, 1, scene.now + 5 * SECOND - 1, 0) == []
    scene.now += 5 * SECOND
    scene.server.wake()
    assert stat(await told_once(scene, application)) == (id_, MessageState.DELIVERED)


async def test_customer_that_rejects_is_not_asked_again(scene: Scene) -> None:
    application = await scene.bind()
    application.says = Status.ESME_RX_R_APPN
    await application.submit()
    await scene.end()
    await told_once(scene, application)


async def test_customer_that_does_not_know_what_it_wants_is_asked_ten_times(scene: Scene) -> None:
    application = await scene.bind()
    application.says = Status.ESME_RINVMSGID
    await application.submit()
    await scene.end()
    for tried in range(1, 10):
        await application.next_told()
        await scene.until_tried(tried)
        scene.now += 400 * SECOND
        scene.server.wake()
    await told_once(scene, application)


async def test_no_more_is_on_its_way_than_the_window_allows(scene: Scene) -> None:
    application = await scene.bind(limits=Limits(window=100))
    application.says = None
    await asyncio.gather(*(application.request(a_submit(destination_addr=b"336123%05d" % n)) for n in range(30)))
    await scene.end()
    held = [await application.next_told() for _ in range(10)]
    await application.ask(pdus.QuerySm(message_id=b"1"))
    assert application.told.empty()
    application.says = 0
    for pdu in held:
        application.link.reply(pdu)
    for _ in range(20):
        await application.next_told()


async def test_receipts_are_shared_by_the_links_of_a_customer_and_none_is_lost(scene: Scene) -> None:
    one, other = await scene.bind(limits=Limits(window=200)), await scene.bind()
    responses = await asyncio.gather(*(one.request(a_submit(destination_addr=b"336123%05d" % n)) for n in range(100)))
    ids = {response.message_id for response in responses if isinstance(response, pdus.SubmitSmResp)}
    await scene.end()

    async def is_forgotten() -> bool:
        return await scene.waiting() == 0

    await scene.until(is_forgotten)
    told = [
        stat(application.told.get_nowait())[0] for application in (one, other) for _ in range(application.told.qsize())
    ]
    assert set(told) == ids
    assert len(told) == 100


async def test_what_waits_for_too_long_after_its_claim_is_claimed_anew_and_told_once(scene: Scene) -> None:
    application = await scene.bind(limits=Limits(window=200))
    await asyncio.gather(*(application.request(a_submit(destination_addr=b"336123%05d" % n)) for n in range(200)))
    await scene.end()
    told = [await application.next_told() for _ in range(50)]
    application.says = None  # by now it is claimed for ahead of what it has acknowledged
    while True:
        try:
            held = application.told.get_nowait()
        except asyncio.QueueEmpty:
            break
        told.append(held)
    told += [await application.next_told() for _ in range(LIMITS.window)]
    scene.now += SEND_WITHIN_MS + 1
    application.says = 0
    for pdu in told[-LIMITS.window :]:
        application.link.reply(pdu)
    while len(told) < 200:
        told.append(await application.next_told())
    assert len({stat(receipt)[0] for receipt in told}) == 200

    async def is_forgotten() -> bool:
        return await scene.waiting() == 0

    await scene.until(is_forgotten)
    assert application.told.empty()


# --- the end -------------------------------------------------------------------------------------------


async def test_stop_answers_what_is_under_way_and_says_goodbye(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    application = await scene.bind()
    accept, begun = scene.store.accept_submits, asyncio.Event()
    gate = asyncio.Event()

    async def slowly(submits: Any) -> Any:
        begun.set()
        await gate.wait()
        return await accept(submits)

    monkeypatch.setattr(scene.store, "accept_submits", slowly)
    answer = application.request(a_submit())
    await begun.wait()
    stopping = asyncio.create_task(scene.server.stop(20))
    late = application.request(a_submit())
    gate.set()
    assert (await answer).command_status == 0
    assert (await late).command_status == Status.ESME_RMSGQFUL
    await stopping
    assert application.closed.is_set()
    assert scene.server.bound == 0
