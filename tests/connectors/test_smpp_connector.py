"""The connector against operators over loopback TCP: one that does what the test says, and the simulator."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chappe.connectors.smpp import SmppSettings
from chappe.connectors.translation import Delivered, receipt_in
from chappe.core.figures import Limit, limit_of, limit_sentence
from chappe.core.message import (
    Answered,
    AttemptReport,
    DoubtBegan,
    Inbound,
    MessageId,
    ReceiptReport,
    Refused,
    Submission,
    Treatment,
    Verdict,
)
from chappe.core.pace import FIRST
from chappe.core.text import count_parts
from chappe.simulator import Mood
from chappe.smpp import codec, pdus
from chappe.smpp.pdus import CONGESTION_STATE, DeliverSm, Pdu, Status, SubmitSmResp
from tests.connectors.connector_scene import NOW, Journey, Operator, Start, a_receipt, facts, self_signed, submissions

# --- submits and their answers -----------------------------------------------------------------------


async def test_it_binds_as_it_was_told(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, system_type="SMS", address_ton=1, address_npi=1, address_range="^3361")
    assert (connector.name, connector.bound, connector.free()) == ("op", False, 0)
    assert connector.submit(submissions(1)) == submissions(1)
    await journey.until(lambda: connector.bound)
    bind = pdus.BindTransceiver(
        sequence_number=1,
        system_id=b"chappe",
        password=b"secret",
        system_type=b"SMS",
        addr_ton=1,
        addr_npi=1,
        address_range=b"^3361",
    )
    assert operator.binds == [bind]


async def test_no_more_is_in_flight_than_the_window_holds(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, window=10)
    await journey.until(lambda: connector.free() == 10)
    unwritten = connector.submit(submissions(25))
    assert unwritten == submissions(25)[10:]
    assert (connector.free(), connector.in_flight) == (0, 10)
    assert connector.submit(unwritten) == unwritten
    await journey.until(lambda: len(operator.submits) == 10)
    for index in range(4):
        operator.reply(index)
    await journey.until(lambda: connector.free() == 4)
    assert connector.submit(unwritten) == unwritten[4:]
    await journey.until(lambda: len(operator.submits) == 14)
    assert connector.in_flight == 10


async def test_room_in_the_window_is_made_known(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, window=1)
    operator.answer = lambda submit: 0
    async with asyncio.timeout(10):
        for submission in submissions(5):
            while not connector.free():
                journey.room.clear()
                await journey.room.wait()
            connector.submit([submission])
    await journey.until(lambda: len(journey.answers) == 5)


async def test_a_peer_that_reads_again_is_written_to_again(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)
    link = connector._binds[0].link
    assert link is not None
    link.pause_writing()
    assert connector.free() == 0
    journey.room.clear()
    link.resume_writing()
    assert journey.room.is_set()
    assert connector.free() == 10


async def test_each_answer_becomes_the_fact_of_its_own_attempt(journey: Journey, operator: Operator) -> None:
    answers: list[Pdu | int] = [SubmitSmResp(message_id=b"A\xe9"), 0x0B, 0x45, 0x64, 0x03]
    operator.answer = lambda submit: answers[len(operator.submits) - 1]
    journey.connect(operator.port, statuses={"0x64": "permanent"})
    await journey.submit(*submissions(5))
    await journey.until(lambda: len(journey.answers) == 5)
    assert journey.answers == [
        AttemptReport(MessageId(1), Answered(1, 1, NOW, "A\xe9")),
        AttemptReport(MessageId(2), Refused(1, 1, NOW, 0x0B, Treatment.ELSEWHERE)),
        AttemptReport(MessageId(3), Refused(1, 1, NOW, 0x45, Treatment.TEMPORARY, uncertain=True)),
        AttemptReport(MessageId(4), Refused(1, 1, NOW, 0x64, Treatment.PERMANENT)),
        AttemptReport(MessageId(5), Refused(1, 1, NOW, 0x03, Treatment.PERMANENT)),
    ]


async def test_what_no_pdu_can_carry_is_refused_and_the_others_leave(journey: Journey, operator: Operator) -> None:
    operator.answer = lambda submit: 0
    first, second, third = submissions(3)
    second.number = "+" + "3" * 30
    await_bound = journey.connect(operator.port)
    await journey.until(await_bound.free)
    assert await_bound.submit([first, second, third]) == []
    await journey.until(lambda: len(journey.answers) == 3)
    assert facts(journey, Answered) == [(1, 1), (3, 1)]
    assert AttemptReport(MessageId(2), Refused(1, 1, NOW, 0x0B, Treatment.ELSEWHERE)) in journey.answers
    assert await_bound.counts.unwritable == 1


async def test_an_answer_that_the_store_chokes_on_does_not_take_the_others_with_it(
    journey: Journey, operator: Operator
) -> None:
    operator.answer = lambda submit: 0
    journey.poison = "id-2"
    journey.may_settle.clear()
    journey.connect(operator.port)
    await journey.submit(*submissions(3))
    await journey.until(lambda: journey.connector.counts.answered == 3)
    journey.may_settle.set()
    await journey.until(lambda: len(journey.answers) == 2)
    assert facts(journey, Answered) == [(1, 1), (3, 1)]


async def test_the_parts_of_a_long_text_are_joined_by_the_phone(journey: Journey, simulate: Start) -> None:
    simulator, port = await simulate(Mood(receipt_seconds=0))
    text = "Où est passé l'été ? " * 30
    journey.connect(port)
    await journey.submit(*reversed(submissions(1, text)))
    parts = count_parts(text)
    await journey.until(lambda: len(journey.receipts) == parts)
    assert parts > 1
    assert simulator.inbox == [("33612345678", text)]
    ids = {report.fact.carrier_id for report in journey.answers if isinstance(report.fact, Answered)}
    assert {receipt.carrier_id for receipt in journey.receipts} == ids
    assert [receipt.reference for receipt in journey.receipts] == [1] * parts


async def test_a_late_answer_still_counts(journey: Journey, operator: Operator) -> None:
    journey.connect(operator.port, response_seconds=0.02)
    await journey.submit(*submissions(2))
    await journey.until(lambda: len(journey.answers) == 2)
    doubts = [AttemptReport(MessageId(message), DoubtBegan(1, 1, NOW, "timeout")) for message in (1, 2)]
    assert journey.answers == doubts
    operator.reply(0, message_id=b"late")
    operator.reply(1, 0x0B)
    await journey.until(lambda: len(journey.answers) == 4)
    assert journey.answers[2:] == [
        AttemptReport(MessageId(1), Answered(1, 1, NOW, "late")),
        AttemptReport(MessageId(2), Refused(1, 1, NOW, 0x0B, Treatment.ELSEWHERE)),
    ]
    assert journey.connector.free() == 10


# --- told to slow down -------------------------------------------------------------------------------


async def test_throttling_slows_down_and_uses_no_try_up(journey: Journey, operator: Operator) -> None:
    refusals = [0x58, 0x14]
    operator.answer = lambda submit: refusals.pop() if refusals else 0
    connector = journey.connect(operator.port)
    await journey.submit(*submissions(3))
    await journey.until(lambda: len(journey.answers) == 3)
    assert facts(journey, Answered) == [(3, 1)]
    refused = [report.fact for report in journey.answers if isinstance(report.fact, Refused)]
    assert [(fact.status, fact.treatment) for fact in refused] == [
        (0x14, Treatment.THROTTLED),
        (0x58, Treatment.THROTTLED),
    ]
    assert connector.counts.throttled == 2
    assert connector.figures().rate_limit == pytest.approx(FIRST)
    assert connector.free() == 0, "nothing more, for now"


async def test_room_in_the_rate_is_made_known(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, rate=200, window=100)
    await journey.until(connector.free)
    waiting: Sequence[Submission] = submissions(40)
    async with asyncio.timeout(10):
        while waiting:  # no answer comes: only the passing of time makes room
            journey.room.clear()
            waiting = connector.submit(waiting)
            if waiting:
                await journey.room.wait()
    assert connector.in_flight == 40


async def test_the_contracts_rate_holds_for_all_binds_together(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, rate=0.5, binds=3, burst=4)
    await journey.until(lambda: connector.figures().bound == 3)
    assert connector.submit(submissions(9)) == submissions(9)[4:]
    assert (connector.free(), connector.in_flight) == (0, 4)
    figures = connector.figures()
    assert (figures.rate_limit, figures.rate_setting) == (0.5, 0.5)


async def test_what_an_operator_says_of_its_congestion_is_heeded(journey: Journey, operator: Operator) -> None:
    answers = [
        SubmitSmResp(message_id=b"1", tlvs=((CONGESTION_STATE, state),)) for state in (b"\x5a", b"", b"\xff", b"\x64")
    ]
    operator.answer = lambda submit: answers[len(operator.submits) - 1]
    connector = journey.connect(operator.port)
    await journey.submit(*submissions(3))
    await journey.until(lambda: connector.counts.answered == 3)
    assert connector.figures().rate_limit is None, "no limit follows from being busy, nor from nonsense"
    await journey.submit(*submissions(1, first=4))
    await journey.until(lambda: connector.counts.answered == 4)
    assert connector.figures().rate_limit == pytest.approx(FIRST)
    assert connector.counts.throttled == 0


@pytest.mark.parametrize("rate_set", [0, 400])
async def test_a_limited_operator_is_used_up_and_loses_nothing(
    journey: Journey, simulate: Start, rate_set: float
) -> None:
    """How well is measured with a clock that can be moved, in test_pace; here it is that it all works together."""
    simulator, port = await simulate(Mood(throttle_above=100, answer_seconds=0.01))
    connector = journey.connect(port, rate=rate_set, window=50)
    waiting: Sequence[Submission] = submissions(250)
    settled = 0
    async with asyncio.timeout(60):
        while len(facts(journey, Answered)) < 250:
            journey.room.clear()
            waiting = connector.submit(waiting)
            new, settled = journey.answers[settled:], len(journey.answers)
            # What was throttled is queued again, as the store would do.
            waiting = [*waiting, *(submissions(1, first=r.message)[0] for r in new if isinstance(r.fact, Refused))]
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await journey.room.wait()
    assert facts(journey, Answered) == [(message, 1) for message in range(1, 251)]
    assert simulator.counts["throttled"] == connector.counts.throttled > 0
    assert connector.figures().rate_limit is not None


# --- changed while it goes on ---


async def test_window_and_rate_change_without_a_new_bind(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, window=2)
    before = connector.settings
    await journey.until(connector.free)
    waiting = connector.submit(submissions(20))
    assert (connector.in_flight, connector.free()) == (2, 0)
    journey.room.clear()
    connector.adjust(msgspec.structs.replace(before, window=6))
    assert (journey.room.is_set(), connector.free(), connector.figures().window) == (True, 4, 6)
    waiting = connector.submit(waiting)
    connector.adjust(msgspec.structs.replace(before, window=3))
    assert (connector.in_flight, connector.free()) == (6, 0)
    await journey.until(lambda: len(operator.submits) == 6)
    for index in range(5):
        operator.reply(index)
    await journey.until(lambda: connector.free() == 2)
    connector.adjust(msgspec.structs.replace(before, window=100, rate=0.5, burst=3))
    assert len(waiting) - len(connector.submit(waiting)) == 1, "a token that was there, and none at a rate of 0.5"
    assert connector.figures().rate_setting == 0.5
    connector.adjust(before)
    operator.reply(5)
    await journey.until(lambda: connector.free() == 1)
    assert (len(operator.binds), operator.ends) == (1, [])


async def test_a_changed_window_holds_for_the_next_bind_too(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, window=2)
    await journey.until(lambda: connector.bound)
    connector.adjust(msgspec.structs.replace(connector.settings, window=7))
    operator.links[0].close()
    await journey.until(lambda: len(operator.binds) == 2 and connector.bound)
    assert connector.free() == 7


# --- held ---


async def test_a_paused_connector_keeps_its_bind_and_submits_nothing(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.submit(*submissions(1))
    await journey.until(lambda: operator.submits)
    connector.pause()
    assert (connector.paused, connector.bound, connector.free()) == (True, True, 0)
    assert connector.submit(submissions(1, first=2)) == submissions(1, first=2)
    assert limit_sentence(connector.figures()) == "paused, or draining"
    journey.room.clear()
    operator.reply(0, message_id=b"1")
    operator.deliver(a_receipt(), "receipt")
    await journey.until(lambda: operator.answered and journey.answers)
    assert facts(journey, Answered) == [(1, 1)]
    assert not journey.room.is_set()
    connector.resume()
    assert journey.room.is_set()
    assert (connector.paused, connector.free()) == (False, 10)


async def test_a_paused_connector_stays_so_over_a_new_bind_and_can_be_drained(
    journey: Journey, operator: Operator
) -> None:
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)
    connector.pause()
    operator.links[0].abort()
    await journey.until(lambda: connector.counts.binds == 2)
    assert connector.free() == 0
    await connector.drain(5)
    await journey.ended()
    assert operator.ends == ["unbind"]


# --- figures ---


async def test_its_figures_say_what_it_does(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, binds=2, window=3, rate=1_000)
    assert limit_sentence(connector.figures()) == "not bound"
    await journey.until(lambda: connector.figures().bound == 2)
    connector.submit(submissions(6))
    figures = connector.figures()
    assert (figures.window, figures.in_flight, figures.binds, figures.held) == (6, 6, 2, False)
    assert (figures.rate_limit, figures.rate_setting, figures.throttled_share) == (1_000, 1_000, 0.0)
    await journey.until(lambda: len(operator.submits) == 6)
    operator.links[0].abort()
    await journey.until(lambda: connector.counts.doubted == 3)
    assert connector.figures().window == 3 * connector.figures().bound


async def test_a_full_window_is_named_with_its_round_trip(
    journey: Journey, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    connector = journey.connect(operator.port, enquire_link_seconds=1_000, response_seconds=1_000)
    await journey.until(connector.free)
    for batch in range(20):
        connector.submit(submissions(10, first=1 + 10 * batch))
        await journey.until(lambda so_far=batch: len(operator.submits) == 10 * so_far + 10)  # type: ignore[misc]
        ahead += 2.0
        for index in range(10 * batch, 10 * batch + 10):
            operator.reply(index, message_id=b"1")
        await journey.until(lambda: connector.in_flight == 0)
    figures = connector.figures()
    assert limit_of(figures) is Limit.WINDOW
    assert figures.round_trip_ms == pytest.approx(2_000, rel=0.2)
    assert figures.submits_per_second == pytest.approx(5, rel=0.2)


# --- receipts and messages ---------------------------------------------------------------------------


async def test_a_receipt_is_not_acknowledged_before_it_is_stored(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)
    journey.may_settle.clear()
    operator.deliver(a_receipt(), "receipt")
    operator.deliver(DeliverSm(source_addr=b"33612345678", short_message=b"STOP"), "message")
    operator.deliver(pdus.EnquireLink(), "probe")
    await journey.until(lambda: connector.counts.receipts == 1 and connector.counts.inbound == 1 and operator.answered)
    assert operator.answered == [("probe", 0)]
    journey.may_settle.set()
    await journey.until(lambda: len(operator.answered) == 3)
    assert sorted(operator.answered[1:], key=str) == [("message", 0), ("receipt", 0)]
    assert journey.receipts == [
        ReceiptReport("op", "42", NOW, Verdict.DELIVERED, "delivered", None, "+33612345678", a_receipt().short_message)
    ]
    assert journey.inbound == [Inbound("op", "+33612345678", "", NOW, b"STOP", 0)]


async def test_what_could_not_be_stored_is_refused_for_now_and_comes_again(journey: Journey, simulate: Start) -> None:
    simulator, port = await simulate(Mood(receipt_seconds=0, reply_seconds=0, retry_seconds=0.01))
    journey.stores = False
    connector = journey.connect(port)
    await journey.submit(*submissions(1, number="+33600000003"))
    await journey.until(lambda: connector.counts.put_off >= 4)
    assert (journey.receipts, journey.inbound, simulator.counts["given_up"]) == ([], [], 0)
    journey.stores = True
    await journey.until(lambda: journey.receipts and journey.inbound and simulator.counts["delivered"] == 2)
    assert [receipt.verdict for receipt in journey.receipts] == [Verdict.DELIVERED]
    assert [message.octets for message in journey.inbound] == [b"Merci"]
    assert simulator.undelivered == 0


async def test_everything_that_waits_is_stored_in_one_batch(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)
    journey.may_settle.clear()
    for carrier_id in (b"1", b"2", b"3", b"4"):
        operator.deliver(a_receipt(carrier_id))
    await journey.until(lambda: connector.counts.receipts == 4)
    journey.may_settle.set()
    await journey.until(lambda: len(operator.answered) == 4)
    assert len(journey.batches) <= 2  # what the first read brought, and all that came while it was being stored
    assert sum(journey.batches) == 4


async def test_a_receipt_that_the_store_chokes_on_costs_only_itself(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)
    journey.poison = "2"
    journey.may_settle.clear()
    for carrier_id in (b"1", b"2", b"3"):
        operator.deliver(a_receipt(carrier_id), carrier_id)
    await journey.until(lambda: connector.counts.receipts == 3)
    journey.may_settle.set()
    await journey.until(lambda: len(operator.answered) == 3)
    assert sorted(operator.answered, key=str) == [(b"1", 0), (b"2", Status.ESME_RX_T_APPN), (b"3", 0)]
    assert sorted(receipt.carrier_id for receipt in journey.receipts) == ["1", "3"]


async def test_a_session_that_ends_before_the_acknowledgement_costs_a_repetition(
    journey: Journey, operator: Operator
) -> None:
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)
    journey.may_settle.clear()
    operator.deliver(a_receipt(), "first")
    await journey.until(lambda: connector.counts.receipts == 1)
    operator.links[0].abort()
    await journey.until(lambda: connector.counts.binds == 2)
    journey.may_settle.set()
    operator.deliver(a_receipt(), "again")
    await journey.until(lambda: ("again", 0) in operator.answered)
    assert [receipt.carrier_id for receipt in journey.receipts] == ["42", "42"]
    assert operator.answered == [("again", 0)]


async def test_the_parts_of_a_reply_keep_their_place(journey: Journey, simulate: Start) -> None:
    simulator, port = await simulate(Mood())
    connector = journey.connect(port)
    await journey.until(lambda: connector.bound)
    simulator.send_mo("+33612345678", "36111", ["Je ", "viens ", "demain"], order=[3, 1, 2])
    await journey.until(lambda: len(journey.inbound) == 3)
    assert [(message.total, message.sequence, message.octets) for message in journey.inbound] == [
        (3, 3, b"demain"),
        (3, 1, b"Je "),
        (3, 2, b"viens "),
    ]
    assert len({message.reference for message in journey.inbound}) == 1
    assert {(message.number, message.recipient) for message in journey.inbound} == {("+33612345678", "36111")}


async def test_what_nobody_waits_for_is_ignored(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)
    operator.deliver(pdus.AlertNotification(source_addr=b"33612345678"))
    operator.deliver(a_receipt(), "receipt")
    await journey.until(lambda: operator.answered)
    assert operator.answered == [("receipt", 0)]


async def test_what_we_trip_over_comes_again_and_the_rest_is_heard(
    journey: Journey, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)

    def tripping(pdu: Delivered, name: str, at: int, *codes: Collection[str]) -> ReceiptReport | None:
        if b"id:2" in pdu.user_data:
            raise RuntimeError("a mistake of ours")
        return receipt_in(pdu, name, at, *codes)

    monkeypatch.setattr("chappe.connectors.smpp.receipt_in", tripping)
    for carrier_id in (b"1", b"2", b"3"):
        operator.deliver(a_receipt(carrier_id), carrier_id)
    await journey.until(lambda: len(operator.answered) == 3)
    assert sorted(operator.answered, key=str) == [(b"1", 0), (b"2", Status.ESME_RX_T_APPN), (b"3", 0)]


async def test_a_malformed_delivery_costs_nothing(journey: Journey) -> None:
    """Byte by byte, because our own session does not write such PDUs."""
    came: list[Pdu] = []

    async def malformed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await _read_pdu(reader))
        writer.write(codec.encode(pdus.BindTransceiverResp(), came[0].sequence_number))
        writer.write(codec.HEADER.pack(19, DeliverSm.command_id, 0, 7) + b"abc")
        writer.write(codec.HEADER.pack(16, 0x00000999, 0, 8))
        writer.write(codec.encode(a_receipt(), 9))
        came.extend([await _read_pdu(reader), await _read_pdu(reader), await _read_pdu(reader)])
        writer.close()

    server = await asyncio.start_server(malformed, "127.0.0.1", 0)
    async with server:
        connector = journey.connect(server.sockets[0].getsockname()[1], retry_seconds=60, longest_retry_seconds=60)
        await journey.until(lambda: len(came) == 4 and not connector.bound)
    answers = {(type(pdu), pdu.sequence_number, pdu.command_status) for pdu in came[1:]}
    assert answers == {
        (pdus.DeliverSmResp, 7, Status.ESME_RINVCMDLEN),
        (pdus.GenericNack, 8, Status.ESME_RINVCMDID),
        (pdus.DeliverSmResp, 9, 0),
    }
    assert connector.counts.discarded == 2


async def _read_pdu(reader: asyncio.StreamReader) -> Pdu:
    length = await reader.readexactly(4)
    return codec.decode(length + await reader.readexactly(int.from_bytes(length, "big") - 4))


# --- lost and found ----------------------------------------------------------------------------------


async def test_a_cut_link_leaves_each_submit_in_doubt_exactly_once(journey: Journey, operator: Operator) -> None:
    operator.answer = lambda submit: 0 if submit.tlv_int(0x0204) in (2, 5) else None
    connector = journey.connect(operator.port)
    await journey.submit(*submissions(8))
    await journey.until(lambda: len(operator.submits) == 8 and len(journey.answers) == 2)
    operator.links[0].abort()
    await journey.until(lambda: connector.counts.binds == 2 and len(journey.answers) == 8)
    assert facts(journey, Answered) == [(2, 1), (5, 1)]
    assert facts(journey, DoubtBegan) == [(message, 1) for message in (1, 3, 4, 6, 7, 8)]
    assert {report.fact.cause for report in journey.answers if isinstance(report.fact, DoubtBegan)} == {"disconnected"}
    await journey.until(lambda: connector.free() == 10)


async def test_it_returns_when_the_operator_does(journey: Journey, operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    connector = journey.connect(port)
    returned = Operator()
    await journey.until(lambda: connector.counts.unreachable >= 2)
    try:
        await returned.start(port)
        await journey.until(lambda: connector.bound)
    finally:
        await returned.close()
    await journey.until(lambda: not connector.bound)


async def test_an_operator_that_says_goodbye_is_bound_to_again(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.submit(*submissions(2))
    await journey.until(lambda: len(operator.submits) == 2)
    operator.links[0].request(pdus.Unbind())
    await journey.until(lambda: connector.counts.binds == 2)
    assert [report.fact for report in journey.answers] == [DoubtBegan(1, 1, NOW, "unbound")] * 2


async def test_a_goodbye_is_answered_once_the_answers_are_here(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, unbind_seconds=30)
    await journey.submit(*submissions(2))
    await journey.until(lambda: len(operator.submits) == 2)
    first = operator.links[0]
    first.request(pdus.Unbind())
    operator.reply(1, message_id=b"b")
    await journey.until(lambda: journey.answers)
    assert (connector.free(), first.session.state.name) == (0, "BOUND_TRX")
    operator.reply(0, message_id=b"a")
    await journey.until(lambda: connector.counts.binds == 2)
    assert [report.fact for report in journey.answers] == [Answered(1, 1, NOW, "b"), Answered(1, 1, NOW, "a")]


async def test_an_answer_that_comes_after_we_agreed_to_the_goodbye_still_counts(
    journey: Journey, operator: Operator
) -> None:
    connector = journey.connect(operator.port, unbind_seconds=0.01)
    await journey.submit(*submissions(1))
    await journey.until(lambda: operator.submits)
    late = codec.encode(SubmitSmResp(message_id=b"late"), operator.submits[0][1].sequence_number)
    link = operator.links[0]
    link.request(pdus.Unbind())
    transport = link._transport
    assert transport is not None
    monkey = transport.close
    transport.close = lambda: None  # type: ignore[method-assign]  # an operator that is slow to hang up
    await journey.until(lambda: journey.answers)
    transport.write(late)
    await journey.until(lambda: len(journey.answers) == 2)
    transport.close = monkey  # type: ignore[method-assign]
    transport.close()
    assert [report.fact for report in journey.answers] == [
        DoubtBegan(1, 1, NOW, "unbound"),
        Answered(1, 1, NOW, "late"),
    ]
    await journey.until(lambda: connector.counts.binds == 2)


async def test_an_operator_that_says_goodbye_and_does_not_hang_up_is_hung_up_on(
    journey: Journey, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chappe.connectors.kept_bind.HANG_UP_SECONDS", 0.01)
    connector = journey.connect(operator.port, bind_seconds=60)
    await journey.until(lambda: connector.bound)
    transport = operator.links[0]._transport
    assert transport is not None
    monkeypatch.setattr(transport, "close", lambda: None)
    operator.links[0].request(pdus.Unbind())
    await journey.until(lambda: connector.counts.binds == 2)


async def test_restless_operators_lose_nothing(journey: Journey, simulate: Start) -> None:
    simulator, port = await simulate(Mood(receipt_seconds=0, unbind_every=7, drop_after=20, retry_seconds=0.01))
    journey.connect(port)
    await journey.submit(*submissions(100))
    await journey.until(lambda: {report.message for report in journey.answers} == set(range(1, 101)))
    await journey.until(lambda: len({receipt.carrier_id for receipt in journey.receipts}) == 100)
    for kind in (Answered, DoubtBegan):
        assert len(facts(journey, kind)) == len(set(facts(journey, kind)))
    assert simulator.counts["accepted"] == 100


async def test_a_session_at_fault_is_left_in_order_and_made_again(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.submit(*submissions(2))
    await journey.until(lambda: len(operator.submits) == 2)
    operator.reply(0, Status.ESME_RINVBNDSTS)
    await journey.until(lambda: len(journey.answers) == 1)
    assert (connector.free(), connector.in_flight, operator.ends) == (0, 1, [])
    operator.reply(1, message_id=b"fine")
    await journey.until(lambda: connector.counts.binds == 2)
    assert operator.ends == ["unbind"]
    assert journey.answers == [
        AttemptReport(MessageId(1), Refused(1, 1, NOW, 0x04, Treatment.SESSION)),
        AttemptReport(MessageId(2), Answered(1, 1, NOW, "fine")),
    ]
    await journey.until(lambda: connector.free() == 10)


async def test_an_operator_that_stays_away_is_an_error_once(
    journey: Journey, operator: Operator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chappe.connectors.kept_bind.ALARM_SECONDS", 0)
    operator.bind_status = lambda bind: Status.ESME_RBINDFAIL if len(operator.binds) < 4 else 0
    with caplog.at_level(logging.ERROR):
        connector = journey.connect(operator.port)
        await journey.until(lambda: connector.bound)
    assert len(caplog.records) == 1


async def test_a_taken_bind_is_tried_again(journey: Journey, operator: Operator) -> None:
    operator.bind_status = lambda bind: Status.ESME_RALYBND if len(operator.binds) < 3 else 0
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)
    assert (connector.counts.binds_refused, connector.counts.binds) == (2, 1)


@pytest.mark.parametrize("status", [Status.ESME_RINVPASWD, Status.ESME_RINVSYSID])
async def test_a_wrong_password_is_said_loudly_once_and_tried_slowly(
    journey: Journey, operator: Operator, caplog: pytest.LogCaptureFixture, status: Status
) -> None:
    operator.bind_status = lambda bind: status if len(operator.binds) < 4 else 0
    connector = journey.connect(operator.port, retry_seconds=0.001)
    with caplog.at_level(logging.WARNING):
        await journey.until(lambda: connector.bound)
    alarms = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(alarms) == 1
    assert "secret" not in caplog.text
    assert connector.counts.binds_refused == 3


async def test_the_pauses_grow_up_to_the_longest(
    journey: Journey, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    operator.bind_status = lambda bind: Status.ESME_RBINDFAIL if len(operator.binds) < 7 else 0
    with caplog.at_level(logging.INFO):
        connector = journey.connect(operator.port, retry_seconds=0.001, longest_retry_seconds=0.01)
        await journey.until(lambda: connector.bound)
    assert pauses(caplog) == [0.001, 0.002, 0.004, 0.008, 0.01, 0.01]


async def test_the_pauses_begin_again_once_something_went_well(
    journey: Journey, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    operator.bind_status = lambda bind: Status.ESME_RBINDFAIL if len(operator.binds) < 3 else 0
    operator.answer = lambda submit: 0
    with caplog.at_level(logging.INFO):
        connector = journey.connect(operator.port, retry_seconds=0.01, longest_retry_seconds=60)
        await journey.submit(*submissions(1))
        await journey.until(lambda: journey.answers)
        operator.links[0].abort()
        await journey.until(lambda: connector.counts.binds == 2)
    assert pauses(caplog) == [0.01, 0.02, 0.01]


async def test_after_a_wrong_password_the_pause_is_the_longest(
    journey: Journey, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    operator.bind_status = lambda bind: Status.ESME_RINVPASWD
    with caplog.at_level(logging.INFO):
        journey.connect(operator.port, retry_seconds=0.001, longest_retry_seconds=600)
        await journey.until(lambda: pauses(caplog))
    assert pauses(caplog) == [600]


def pauses(caplog: pytest.LogCaptureFixture) -> list[float]:
    return [vars(record)["pause_seconds"] for record in caplog.records if "pause_seconds" in vars(record)]


async def test_an_operator_that_never_answers_the_bind_is_left(journey: Journey, operator: Operator) -> None:
    operator.bind_status = lambda bind: None
    connector = journey.connect(operator.port, bind_seconds=0.02)
    await journey.until(lambda: len(operator.binds) == 2)
    assert (connector.bound, connector.counts.binds) == (False, 0)


async def test_cancelling_cuts_the_connection(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.submit(*submissions(1))
    await journey.close()
    await journey.until(lambda: not operator.links)
    assert (connector.bound, connector.free(), operator.ends) == (False, 0, [])


async def test_a_certificate_that_nobody_vouches_for_is_refused_unless_told_otherwise(
    journey: Journey, tmp_path: Path
) -> None:
    operator = Operator()
    port = await operator.start(tls=self_signed(tmp_path))
    connector = journey.connect(port, tls=True)
    await journey.until(lambda: connector.counts.unreachable == 2)
    assert operator.binds == []
    await journey.close()
    connector = journey.connect(port, tls=True, tls_insecure=True)
    await journey.until(lambda: connector.bound)
    await connector.drain(5)
    await journey.ended()
    await operator.close()


async def test_an_authority_of_its_own_and_a_certificate_of_ours(
    journey: Journey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    operator, trusting = Operator(), self_signed(tmp_path)
    pem = str(tmp_path / "operator.pem")
    trusting.verify_mode = ssl.CERT_REQUIRED
    trusting.load_verify_locations(pem)
    port = await operator.start(tls=trusting)
    connector = journey.connect(port, host="localhost", tls=True, tls_ca=pem, tls_cert=pem, tls_key=pem)
    await journey.until(lambda: connector.bound)
    await journey.close()
    connector = journey.connect(port, host="localhost", tls=True, tls_ca=pem)
    # With TLS 1.3 a client learns only after its handshake that it was not let in.
    await journey.until(lambda: "link ended" in caplog.text or connector.counts.unreachable)
    assert (connector.bound, len(operator.binds)) == (False, 1)
    await operator.close()


LOCKED = Path(__file__).parents[1] / "api/certificates/locked.key"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"tls_ca": "none.pem"}, "tls_ca: none.pem: No such file or directory"),
        ({"tls_ca": str(LOCKED)}, f"tls_ca: {LOCKED}: "),
        ({"tls_cert": "none.pem", "tls_key": "none.pem"}, "tls_cert, tls_key: none.pem, none.pem: No such file"),
        ({"tls_cert": str(LOCKED.with_name("first.pem")), "tls_key": str(LOCKED)}, "is protected by a password"),
    ],
)
async def test_a_certificate_that_cannot_be_used_is_named_and_tried_again(
    journey: Journey, caplog: pytest.LogCaptureFixture, files: dict[str, str], complaint: str
) -> None:
    journey.connect(1, tls=True, **files)
    await journey.until(lambda: caplog.text.count("certificate cannot be used") >= 2)
    assert complaint in str(vars(caplog.records[-1]).get("reason", "")) + str(vars(caplog.records[-2]).get("reason"))


# --- a pair of binds ---------------------------------------------------------------------------------


async def test_a_pair_submits_over_one_bind_and_receives_over_the_other(journey: Journey, operator: Operator) -> None:
    operator.answer = lambda submit: 0
    connector = journey.connect(operator.port, bind="tx+rx")
    await journey.until(lambda: connector.bound)
    assert {type(bind) for bind in operator.binds} == {pdus.BindTransmitter, pdus.BindReceiver}
    await journey.submit(*submissions(3))
    operator.deliver(a_receipt(), "receipt")
    await journey.until(lambda: len(journey.answers) == 3 and operator.answered)
    assert operator.answered == [("receipt", 0)]
    assert len(journey.receipts) == 1
    await connector.drain(5)
    await journey.ended()
    assert operator.ends == ["unbind", "unbind"]


@pytest.mark.parametrize(("refused", "free"), [(pdus.BindTransmitter, 0), (pdus.BindReceiver, 10)])
async def test_half_a_pair_is_not_bound(
    journey: Journey, operator: Operator, refused: type[pdus.Bind], free: int
) -> None:
    operator.bind_status = lambda bind: Status.ESME_RBINDFAIL if isinstance(bind, refused) else 0
    connector = journey.connect(operator.port, bind="tx+rx")
    await journey.until(lambda: connector.counts.binds == 1 and connector.counts.binds_refused >= 1)
    assert (connector.bound, connector.free()) == (False, free)


# --- the end -----------------------------------------------------------------------------------------


async def test_a_drain_leaves_nothing_in_doubt(journey: Journey, simulate: Start) -> None:
    simulator, port = await simulate(Mood(answer_seconds=0.05, receipt_seconds=0.05))
    connector = journey.connect(port)
    await journey.submit(*submissions(10))
    draining = asyncio.create_task(connector.drain(10))
    await journey.until(lambda: connector.free() == 0)
    assert connector.submit(submissions(1, first=11)) == submissions(1, first=11)
    await draining
    await journey.ended()
    assert facts(journey, Answered) == [(message, 1) for message in range(1, 11)]
    assert len(journey.answers) == 10
    assert simulator.counts["accepted"] == 10
    assert not connector.bound


async def test_a_drain_settles_and_acknowledges_what_came(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.submit(*submissions(1))
    await journey.until(lambda: operator.submits)
    journey.may_settle.clear()
    operator.deliver(a_receipt(), "receipt")
    await journey.until(lambda: connector.counts.receipts == 1)
    draining = asyncio.create_task(connector.drain(10))
    operator.reply(0, message_id=b"last")
    await journey.until(lambda: connector.in_flight == 0)
    assert operator.ends == []
    journey.may_settle.set()
    await draining
    await journey.ended()
    assert operator.answered == [("receipt", 0)]
    assert operator.ends == ["unbind"]
    assert journey.answers == [AttemptReport(MessageId(1), Answered(1, 1, NOW, "last"))]


async def test_a_drain_does_not_wait_for_ever(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.submit(*submissions(2))
    await journey.until(lambda: len(operator.submits) == 2)
    await connector.drain(0.1)
    await journey.ended()
    assert facts(journey, DoubtBegan) == [(1, 1), (2, 1)]
    assert operator.ends == ["unbind"]


async def test_a_drain_ends_a_connector_that_was_never_bound(journey: Journey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    connector = journey.connect(port, retry_seconds=60, longest_retry_seconds=60)
    await journey.until(lambda: connector.counts.unreachable)
    await connector.drain(5)
    await journey.ended()
    assert journey.answers == []


# --- settings ----------------------------------------------------------------------------------------


def settings(**values: Any) -> SmppSettings:
    return msgspec.convert({"name": "op", "host": "127.0.0.1", "port": 2775, **values}, SmppSettings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "ninechars"},
        {"system_id": "x" * 16},
        {"system_type": "é"},
        {"port": 0},
        {"window": 0},
        {"bind": "rx"},
        {"retry_seconds": 0},
        {"tls_insecure": True},
        {"tls_ca": "ca.pem"},
        {"tls": True, "tls_cert": "our.pem"},
        {"tls": True, "tls_key": "our.key"},
        {"address_range": "1" * 41},
        {"address_ton": 7},
        {"destination_npi": 19},
        {"sender": "Привет"},
        {"sender": "x" * 21},
        {"statuses": {"0x45": "final"}},
        {"statuses": {"throttled": "throttled"}},
        {"statuses": {"0": "permanent"}},
        {"not_assigned": [""]},
        {"stop_codes": ["53;"]},
        {"unknown": 1},
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        settings(**wrong)


def test_settings_are_read_as_operators_write_them() -> None:
    read = settings(statuses={"0x45": "permanent", "88": "temporary"}, not_assigned=["045", "7"], stop_codes=["053"])
    assert read.treatments() == {0x45: Treatment.PERMANENT, 0x58: Treatment.TEMPORARY}
    assert read.not_assigned_codes() == {"45", "7"}
    assert settings().not_assigned_codes() == {"1", "9"}
    assert read.operator_stop_codes() == {"53"}
    assert settings().operator_stop_codes() == frozenset()


def test_only_window_rate_and_burst_change_without_a_new_bind() -> None:
    assert settings(window=2, rate=3, burst=4).differs_live(settings())
    assert not settings().differs_live(settings())
    for other in ({"host": "127.0.0.2"}, {"window": 2, "password": "new"}, {"sender": "36111"}, {"binds": 2}):
        assert not settings(**other).differs_live(settings())


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(settings(password="secret"))
