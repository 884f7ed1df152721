"""The simulator over loopback TCP, with our own asyncio shell as the ESME."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from chappe.core.rules import MAGIC_NUMBERS
from chappe.core.text import Alphabet, concatenation_header, decode, encode, segment
from chappe.simulator import MAGIC, Fate, IdForm, Mood, Script, Simulator, load_mood, run
from chappe.simulator.memory import Recent
from chappe.smpp import aio
from chappe.smpp.pdus import (
    Bind,
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    BindTransmitterResp,
    CancelSm,
    DataSm,
    DeliverSm,
    EsmClass,
    GenericNack,
    IdResp,
    MessageState,
    Npi,
    Pdu,
    QuerySm,
    QuerySmResp,
    ReplaceSm,
    Status,
    SubmitMulti,
    SubmitSm,
    SubmitSmResp,
    Tag,
    Ton,
)
from chappe.smpp.session import Cause, Closed, Event, OutcomeUnknown, RequestReceived, ResponseReceived, Role, Unbound
from chappe.smpp.udh import concatenation

AT_ONCE = Mood(receipt_seconds=0.0, reply_seconds=0.0)
NOON = 1_790_000_000.0
LONG = "Bonjour, votre colis est arrivé. " * 10
PATIENCE = 10.0


class Clock:
    """The loop's clock, which a test can move."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._time = loop.time
        self._ahead = 0.0

    def move(self, seconds: float) -> None:
        self._ahead += seconds

    def __call__(self) -> float:
        return self._time() + self._ahead


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    monkeypatch.setattr(loop, "time", clock)
    return clock


class Esme:
    """A client that answers each deliver_sm with `status`, or not at all."""

    def __init__(self) -> None:
        self.link: aio.Link
        self.delivered: asyncio.Queue[DeliverSm] = asyncio.Queue()
        self.order: list[type[Pdu]] = []
        """All that came, in order."""
        self.status: int | None = 0
        self.unbound = asyncio.Event()
        self.closed = asyncio.Event()

    def on_events(self, link: aio.Link, events: list[Event]) -> None:
        for event in events:
            match event:
                case RequestReceived(DeliverSm() as pdu):
                    self.order.append(DeliverSm)
                    self.delivered.put_nowait(pdu)
                    if self.status is not None:
                        link.reply(pdu, self.status)
                case ResponseReceived(asyncio.Future() as answer, pdu):
                    self.order.append(type(pdu))
                    answer.set_result(pdu)
                case OutcomeUnknown(asyncio.Future() as answer, cause):
                    answer.set_result(cause)
                case Unbound():
                    self.unbound.set()
                case Closed():
                    self.closed.set()
                case _:
                    pass

    def send(self, request: Pdu) -> asyncio.Future[Pdu | Cause]:
        """Its answer, or why there is none."""
        answer: asyncio.Future[Pdu | Cause] = asyncio.get_running_loop().create_future()
        self.link.request(request, answer)
        return answer

    async def ask(self, request: Pdu) -> Pdu:
        return self.answered(await asyncio.wait_for(self.send(request), PATIENCE))

    @staticmethod
    def answered(answer: Pdu | Cause) -> Pdu:
        assert not isinstance(answer, Cause)
        return answer

    async def submit(self, request: Pdu) -> bytes:
        """The message id."""
        answer = await self.ask(request)
        assert isinstance(answer, IdResp)
        assert answer.command_status == 0
        return answer.message_id

    async def round_trip(self) -> None:
        """Whatever either side has sent before is dealt with after this."""
        await self.ask(QuerySm(message_id=b"1"))

    async def receive(self) -> DeliverSm:
        return await asyncio.wait_for(self.delivered.get(), PATIENCE)


class Operator(NamedTuple):
    simulator: Simulator
    port: int
    esme: Esme


async def connected(port: int, bind: Bind | None = None) -> Esme:
    """Binds (as a transceiver, when nothing else is said)."""
    esme = Esme()
    esme.link = await aio.connect("127.0.0.1", port, esme.on_events)
    answer = await esme.ask(bind or BindTransceiver(system_id=b"chappe", password=b"secret"))
    assert answer.command_status == 0
    return esme


@asynccontextmanager
async def operating(
    mood: Mood | None = None, *, system_id: str | None = None, password: str | None = None, links: str | None = None
) -> AsyncIterator[Operator]:
    simulator = Simulator(
        mood or AT_ONCE,
        system_id=system_id,
        password=password,
        links=links,
        ledger=True,
        wall_clock=lambda: NOON,
    )
    port = await simulator.start()
    try:
        esme = await connected(port)
        yield Operator(simulator, port, esme)
        esme.link.close()
        await esme.link.lost
    finally:
        await simulator.stop()


def sms(number: str, text: str = "Bonjour", **fields: object) -> SubmitSm:
    """A submit that wants a receipt."""
    pdu = SubmitSm(
        source_addr_ton=Ton.ALPHANUMERIC,
        source_addr=b"CHAPPE",
        dest_addr_ton=Ton.INTERNATIONAL,
        dest_addr_npi=Npi.ISDN,
        destination_addr=number.encode(),
        registered_delivery=1,
        short_message=encode(text, Alphabet.GSM7),
    )
    for name, value in fields.items():
        setattr(pdu, name, value)
    return pdu


def long_sms(number: str, text: str = LONG, reference: int = 7) -> list[SubmitSm]:
    parts = segment(text).parts
    return [
        sms(
            number,
            esm_class=int(EsmClass.UDHI),
            short_message=concatenation_header(reference, len(parts), sequence) + encode(part, Alphabet.GSM7),
        )
        for sequence, part in enumerate(parts, 1)
    ]


def said(receipt: DeliverSm) -> tuple[str, str, str]:
    """(id, stat, err) of a receipt's text."""
    found = re.match(rb"id:(\S+) sub:001 .* stat:(\S+) err:(\d+) ", receipt.short_message)
    assert found is not None
    assert receipt.esm_class == EsmClass.RECEIPT
    return found[1].decode(), found[2].decode(), found[3].decode()


# --- the magic numbers -------------------------------------------------------------------------------


def test_the_rules_exempt_exactly_the_magic_numbers() -> None:
    assert {f"+{digits}" for digits in MAGIC} == MAGIC_NUMBERS


@pytest.mark.parametrize(
    ("number", "stat", "err", "state", "network_error"),
    [
        ("33600000000", "DELIVRD", "000", MessageState.DELIVERED, None),
        ("33600000001", "UNDELIV", "001", MessageState.UNDELIVERABLE, b"\x03\x00\x01"),
        ("33600000002", "EXPIRED", "027", MessageState.EXPIRED, b"\x03\x00\x1b"),
        ("33612345678", "DELIVRD", "000", MessageState.DELIVERED, None),
        ("+33600000001", "UNDELIV", "001", MessageState.UNDELIVERABLE, b"\x03\x00\x01"),
    ],
)
async def test_a_number_ends_as_told(
    number: str, stat: str, err: str, state: MessageState, network_error: bytes | None
) -> None:
    async with operating() as (_, _, esme):
        message_id = await esme.submit(sms(number))
        receipt = await esme.receive()
        assert said(receipt) == (message_id.decode(), stat, err)
        assert receipt.tlv(Tag.RECEIPTED_MESSAGE_ID) == message_id + b"\0"
        assert receipt.tlv_int(Tag.MESSAGE_STATE) == state
        assert receipt.tlv(Tag.NETWORK_ERROR_CODE) == network_error


@pytest.mark.parametrize(
    ("number", "state", "error"),
    [
        ("33600000000", MessageState.DELIVERED, 0),
        ("33600000001", MessageState.UNDELIVERABLE, 1),
        ("33600000002", MessageState.EXPIRED, 27),
        ("33600000006", MessageState.DELIVERED, 0),  # of which no receipt comes
    ],
)
async def test_query_sm_says_what_became_of_a_submit(
    number: str, state: MessageState, error: int, clock: Clock
) -> None:
    async with operating(Mood(receipt_seconds=60)) as (_, _, esme):
        message_id = await esme.submit(sms(number))
        query = QuerySm(message_id=message_id, source_addr_ton=Ton.ALPHANUMERIC, source_addr=b"CHAPPE")
        answer = await esme.ask(query)
        assert isinstance(answer, QuerySmResp)
        assert (answer.message_id, answer.message_state, answer.final_date) == (message_id, MessageState.ENROUTE, b"")
        clock.move(61)
        await esme.submit(sms("33600000000"))  # so that it looks at its clock
        answer = await esme.ask(query)
        assert isinstance(answer, QuerySmResp)
        assert (answer.message_state, answer.error_code) == (state, error)
        assert answer.final_date == b"260921141320000+"


@pytest.mark.parametrize(("refused", "source"), [(0.0, b"OTHER"), (1.0, b"CHAPPE")])
async def test_query_sm_is_refused_to_another_address_and_by_an_operator_that_has_none(
    refused: float, source: bytes
) -> None:
    async with operating(Mood(queries_refused=refused)) as (_, _, esme):
        message_id = await esme.submit(sms("33600000000"))
        answer = await esme.ask(QuerySm(message_id=message_id, source_addr=source))
        assert answer.command_status == Status.ESME_RQUERYFAIL


async def test_a_receipt_goes_back_where_its_message_came_from() -> None:
    async with operating() as (_, _, esme):
        message_id = await esme.submit(sms("33600000000", "Été {1}", tlvs=((Tag.USER_MESSAGE_REFERENCE, b"\x12\x34"),)))
        receipt = await esme.receive()
        assert receipt == DeliverSm(
            sequence_number=receipt.sequence_number,
            tlvs=(
                (Tag.RECEIPTED_MESSAGE_ID, message_id + b"\0"),
                (Tag.MESSAGE_STATE, b"\x02"),
                (Tag.USER_MESSAGE_REFERENCE, b"\x12\x34"),
            ),
            source_addr_ton=Ton.INTERNATIONAL,
            source_addr_npi=Npi.ISDN,
            source_addr=b"33600000000",
            dest_addr_ton=Ton.ALPHANUMERIC,
            destination_addr=b"CHAPPE",
            esm_class=EsmClass.RECEIPT,
            short_message=b"id:%b sub:001 dlvrd:001 submit date:2609211413 done date:2609211413 stat:DELIVRD err:000 "
            b"text:\x1ft\x05 \x1b(1\x1b)" % message_id,
        )


@pytest.mark.parametrize(("number", "text"), [("33600000003", "Merci"), ("33600000004", "STOP")])
async def test_a_person_answers_once_the_message_is_there(number: str, text: str) -> None:
    async with operating() as (_, _, esme):
        await esme.submit(sms(number))
        assert said(await esme.receive())[1] == "DELIVRD"
        reply = await esme.receive()
        assert reply == DeliverSm(
            sequence_number=reply.sequence_number,
            source_addr_ton=Ton.INTERNATIONAL,
            source_addr_npi=Npi.ISDN,
            source_addr=number.encode(),
            dest_addr_ton=Ton.ALPHANUMERIC,
            destination_addr=b"CHAPPE",
            short_message=text.encode(),
        )


async def test_a_person_answers_a_long_message_once() -> None:
    async with operating() as (simulator, _, esme):
        for part in long_sms("33600000003"):
            await esme.submit(part)
        kinds = [(await esme.receive()).esm_class for _ in range(4)]
        assert sorted(kinds) == [0, EsmClass.RECEIPT, EsmClass.RECEIPT, EsmClass.RECEIPT]
        assert simulator.inbox == [("33600000003", LONG)]


async def test_the_receipt_of_06_never_comes() -> None:
    async with operating() as (simulator, _, esme):
        await esme.submit(sms("33600000006"))
        other = await esme.submit(sms("33600000000"))
        assert said(await esme.receive())[0] == other.decode()
        assert simulator.undelivered == 0
        assert simulator.inbox == [("33600000006", "Bonjour"), ("33600000000", "Bonjour")]


async def test_07_is_refused_at_submit() -> None:
    async with operating() as (simulator, _, esme):
        answer = await esme.ask(sms("33600000007"))
        assert (answer.command_status, simulator.counts["refused"]) == (Status.ESME_RINVDSTADR, 1)
        assert simulator.inbox == []


async def test_each_part_to_08_is_throttled_once_or_twice_and_then_delivered() -> None:
    async with operating() as (simulator, _, esme):
        for part in long_sms("33600000008"):
            statuses = [(await esme.ask(part)).command_status]
            while statuses[-1] == Status.ESME_RTHROTTLED and len(statuses) < 4:
                statuses.append((await esme.ask(part)).command_status)
            assert statuses in ([Status.ESME_RTHROTTLED, 0], [Status.ESME_RTHROTTLED] * 2 + [0])
            assert said(await esme.receive())[1] == "DELIVRD"
        assert simulator.counts["accepted"] == 3
        assert simulator.inbox == [("33600000008", LONG)]


async def test_the_answers_for_09_are_lost_and_the_receipts_follow() -> None:
    async with operating() as (simulator, _, esme):
        answers = [esme.send(part) for part in long_sms("33600000009")]
        receipts = [said(await esme.receive()) for _ in answers]
        await esme.submit(sms("33600000000"))  # whatever was on its way has come before this
        assert not any(answer.done() for answer in answers)
        assert simulator.ledger is not None
        assert receipts == [
            ((line.message_id or b"").decode(), "DELIVRD", "000") for line in simulator.ledger if line.pdu.esm_class
        ]


async def test_what_is_never_answered_does_not_fill_the_session() -> None:
    async with operating(Mood(answers_lost=1.0)) as (simulator, _, esme):
        esme.send(sms("33612345678"))
        await esme.round_trip()
        (link,) = simulator._links
        assert not link.session._owed


# --- the tracked link --------------------------------------------------------------------------------


class Site(NamedTuple):
    port: int
    visits: asyncio.Queue[bytes]


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """Answers every GET with a redirect that nobody must follow."""
    visits: asyncio.Queue[bytes] = asyncio.Queue()

    async def on_visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(on_visit, "127.0.0.1", 0)
    try:
        yield Site(server.sockets[0].getsockname()[1], visits)
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("allowed", [None, "127.0.0.1", "127.0.0.1:{port}"])
async def test_05_opens_the_first_link_like_a_phone(allowed: str | None) -> None:
    async with site() as (port, visits):
        links = allowed and allowed.format(port=port)
        async with operating(links=links) as (simulator, _, esme):
            await esme.submit(sms("33600000005", f"Lire (http://127.0.0.1:{port}/x7?a=1). Ou http://192.0.2.1/"))
            head = await asyncio.wait_for(visits.get(), PATIENCE)
            assert head.startswith(b"GET /x7?a=1 HTTP/1.1\r\n")
            assert b"\r\nHost: 127.0.0.1:%d\r\n" % port in head
            assert b"iPhone" in head
            await asyncio.gather(*simulator._clicks)
            assert simulator.counts["clicks"] == 1


@pytest.mark.parametrize(
    ("link", "allowed"),
    [
        ("http://192.0.2.1/x", None),
        ("http://127.0.0.1.example.org/x", None),
        ("http://127.0.0.1@192.0.2.1/x", None),
        ("http://127.0.0.1:{port}/x", "sms.example.org"),
        ("http://127.0.0.1:{port}/x", "127.0.0.1:1"),
        ("http://[", None),
        ("http://127.0.0.1:99999/", None),
        ("http://127.0.0.1:{port}/é", None),
    ],
)
async def test_05_opens_no_other_link(link: str, allowed: str | None, caplog: pytest.LogCaptureFixture) -> None:
    async with site() as (port, visits), operating(links=allowed) as (simulator, _, esme):
        await esme.submit(sms("33600000005", link.format(port=port)))
        assert said(await esme.receive())[1] == "DELIVRD"
        await asyncio.gather(*simulator._clicks)
        assert (visits.qsize(), simulator.counts["clicks"]) == (0, 0)
        assert [record.getMessage().split(":")[0] for record in caplog.records] == ["link not opened"]


async def test_stopping_ends_a_visit_that_hangs() -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with operating() as (simulator, _, esme):
        await esme.submit(sms("33600000005", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        await asyncio.wait_for(asked.wait(), PATIENCE)
        await asyncio.wait_for(simulator.stop(), PATIENCE)
        assert simulator.counts["clicks"] == 0
    server.close()
    await server.wait_closed()


# --- binds and foreign PDUs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system_id", "password", "status"),
    [
        (b"chappe", b"secret", 0),
        (b"other", b"secret", Status.ESME_RINVSYSID),
        (b"chappe", b"Secret", Status.ESME_RINVPASWD),
        (b"chappe", b"", Status.ESME_RINVPASWD),
    ],
)
async def test_a_bind_needs_the_right_name_and_password(system_id: bytes, password: bytes, status: int) -> None:
    async with operating(system_id="chappe", password="secret") as (simulator, port, _):
        esme = Esme()
        esme.link = await aio.connect("127.0.0.1", port, esme.on_events)
        answer = await esme.ask(BindTransmitter(system_id=system_id, password=password))
        assert answer.command_status == status
        assert simulator.counts["binds_refused"] == (status != 0)
        if status == 0:
            version = ((Tag.SC_INTERFACE_VERSION, b"\x34"),)
            assert answer == BindTransmitterResp(0, answer.sequence_number, version, b"simulator")
        esme.link.close()
        await esme.link.lost


async def test_receipts_go_to_the_receiver_of_the_transmitter_that_submitted() -> None:
    async with operating() as (_, port, stranger):
        transmitter = await connected(port, BindTransmitter(system_id=b"two"))
        message_id = await transmitter.submit(sms("33600000000"))
        receiver = await connected(port, BindReceiver(system_id=b"two"))
        assert said(await receiver.receive())[0] == message_id.decode()
        assert transmitter.delivered.empty()
        assert stranger.delivered.empty()
        for esme in (transmitter, receiver):
            esme.link.close()
            await esme.link.lost


@pytest.mark.parametrize(
    ("octets", "nack"),
    [
        (b"\x00\x00\x00\x0f\x00\x00\x00\x15", Status.ESME_RINVCMDLEN),
        (b"GET / HTTP/1.1\r\n\r\n", Status.ESME_RINVCMDLEN),
    ],
)
async def test_a_broken_stream_costs_its_own_session_only(octets: bytes, nack: Status) -> None:
    async with operating() as (_, port, esme):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(octets)
        answer = await asyncio.wait_for(reader.read(), PATIENCE)  # to the end: it is closed
        assert answer == b"\x00\x00\x00\x10%b\x00\x00\x00%c\x00\x00\x00\x00" % (
            GenericNack.command_id.to_bytes(4, "big"),
            nack,
        )
        writer.close()
        await writer.wait_closed()
        await esme.submit(sms("33600000000"))


async def test_a_pdu_without_its_end_is_refused_and_the_session_goes_on() -> None:
    async with operating() as (_, _, esme):
        assert esme.link._transport is not None
        esme.link._transport.write(
            b"\x00\x00\x00\x12" + SubmitSm.command_id.to_bytes(4, "big") + bytes(4) + b"\x7f\0\0\1" + b"\0\0"
        )
        await esme.submit(sms("33600000000"))


@pytest.mark.parametrize(
    ("request_pdu", "status"),
    [
        (QuerySm(message_id=b"1"), Status.ESME_RQUERYFAIL),
        (CancelSm(message_id=b"1"), Status.ESME_RCANCELFAIL),
        (SubmitMulti(), Status.ESME_RINVCMDID),
        (sms(""), Status.ESME_RINVDSTADR),
        (DataSm(destination_addr=b"3" * 21), Status.ESME_RINVDSTADR),
        (DataSm(source_addr=b"3" * 21, destination_addr=b"33600000000"), Status.ESME_RINVSRCADR),
    ],
)
async def test_what_the_operator_does_not_offer_is_refused(request_pdu: Pdu, status: Status) -> None:
    async with operating() as (_, _, esme):
        assert (await esme.ask(request_pdu)).command_status == status


async def test_replace_sm_is_refused_to_a_transmitter() -> None:
    async with operating() as (_, port, _):
        esme = await connected(port, BindTransmitter(system_id=b"two"))
        assert (await esme.ask(ReplaceSm(message_id=b"1"))).command_status == Status.ESME_RREPLACEFAIL
        esme.link.close()
        await esme.link.lost


async def test_data_sm_is_delivered_too() -> None:
    async with operating() as (simulator, _, esme):
        payload = ((Tag.MESSAGE_PAYLOAD, encode(LONG, Alphabet.GSM7)),)
        message_id = await esme.submit(DataSm(tlvs=payload, destination_addr=b"33600000000", registered_delivery=1))
        assert said(await esme.receive())[0] == message_id.decode()
        assert simulator.inbox == [("33600000000", LONG)]


@pytest.mark.parametrize(
    ("registered", "number", "wanted"),
    [
        (0, "33600000000", False),
        (2, "33600000000", False),
        (2, "33600000001", True),
        (3, "33600000000", True),
        (3, "33600000001", False),
        (0x11, "33600000001", True),
    ],
)
async def test_a_receipt_comes_only_when_it_was_asked_for(registered: int, number: str, wanted: bool) -> None:
    async with operating() as (_, _, esme):
        message_id = await esme.submit(sms(number, registered_delivery=registered))
        marker = await esme.submit(sms("33600000002"))
        first = said(await esme.receive())[0].encode()
        assert first == (message_id if wanted else marker)


# --- what phones show, and people write --------------------------------------------------------------


async def test_the_phone_joins_parts_in_any_order_and_twice() -> None:
    async with operating() as (simulator, _, esme):
        first, second, third = long_sms("33612345678")
        for part in (third, first, third, second):
            await esme.submit(part)
        assert simulator.inbox == [("33612345678", LONG)]


async def test_the_phone_keeps_two_long_messages_apart() -> None:
    async with operating() as (simulator, _, esme):
        other = "x" * 200
        parts = zip(long_sms("33612345678", "y" * 200, 1), long_sms("33612345678", other, 2), strict=True)
        for pair in parts:
            for part in pair:
                await esme.submit(part)
        assert [text for _, text in simulator.inbox] == ["y" * 200, other]


async def test_the_phone_reads_ucs2_and_sar() -> None:
    async with operating() as (simulator, _, esme):
        for sequence, text in ((2, "là 🙂"), (1, "Voi")):
            sar = (
                (Tag.SAR_MSG_REF_NUM, b"\x01\x02"),
                (Tag.SAR_TOTAL_SEGMENTS, b"\x02"),
                (Tag.SAR_SEGMENT_SEQNUM, bytes((sequence,))),
            )
            await esme.submit(sms("33612345678", data_coding=8, tlvs=sar, short_message=text.encode("utf-16-be")))
        assert simulator.inbox == [("33612345678", "Voilà 🙂")]


@pytest.mark.parametrize(
    "header", [b"\x05\x00\x03\x01\x02\x00", b"\x05\x00\x03\x01\x02\x03", b"\x05\x00\x03\x01\x00\x00"]
)
async def test_a_part_that_cannot_be_is_a_message_of_its_own(header: bytes) -> None:
    async with operating() as (simulator, _, esme):
        await esme.submit(sms("33612345678", esm_class=int(EsmClass.UDHI), short_message=header + b"abc"))
        assert simulator.inbox == [("33612345678", "abc")]


async def test_a_header_longer_than_its_message_is_text() -> None:
    async with operating() as (simulator, _, esme):
        await esme.submit(sms("33612345678", esm_class=int(EsmClass.UDHI), short_message=b"abc"))
        assert simulator.inbox == [("33612345678", "abc")]


async def test_a_persons_parts_arrive_in_the_order_3_1_2() -> None:
    async with operating() as (simulator, _, esme):
        simulator.send_mo("+33612345678", "36123", ["Je ", "réponds ", "€n trois"], order=(3, 1, 2))
        parts = []
        for _ in range(3):
            pdu = await esme.receive()
            assert (pdu.source_addr, pdu.destination_addr, pdu.esm_class) == (b"33612345678", b"36123", EsmClass.UDHI)
            place = concatenation(pdu.short_message)
            assert place is not None
            parts.append((place.total, place.sequence, decode(place.rest, pdu.data_coding)))
        assert parts == [(3, 3, "€n trois"), (3, 1, "Je "), (3, 2, "réponds ")]


async def test_a_persons_long_text_is_cut_into_parts() -> None:
    async with operating() as (simulator, _, esme):
        text = "Ça alors 🙂 " * 12
        simulator.send_mo("33612345678", "36123", text)
        parts = [await esme.receive() for _ in segment(text).parts]
        assert len(parts) == 3
        assert "".join(decode(pdu.short_message[6:], pdu.data_coding) for pdu in parts) == text


async def test_a_persons_part_that_fits_no_sms_is_the_callers_mistake() -> None:
    async with operating() as (simulator, _, _):
        with pytest.raises(ValueError, match="short_message"):
            simulator.send_mo("33612345678", "36123", ["x" * 250, "y"])
        assert simulator.undelivered == 0


async def test_a_person_reaches_the_client_that_last_sent_from_this_address() -> None:
    async with operating() as (simulator, port, first):
        second = await connected(port, BindTransceiver(system_id=b"two"))
        await second.submit(sms("33612345678", source_addr=b"36123", source_addr_ton=3, registered_delivery=0))
        await first.submit(sms("33612345678", source_addr=b"36456", source_addr_ton=3, registered_delivery=0))
        simulator.send_mo("33612345678", "36123", "un")
        simulator.send_mo("33612345678", "36456", "deux")
        got = [(pdu.short_message, pdu.dest_addr_ton) for pdu in (await second.receive(), await first.receive())]
        assert got == [(b"un", 3), (b"deux", 3)]
        second.link.close()
        await second.link.lost


# --- moods -------------------------------------------------------------------------------------------


async def test_answers_can_be_lost_by_chance_and_alike_each_time() -> None:
    async def answered() -> list[bool]:
        async with operating(Mood(answers_lost=0.5, seed=3)) as (_, _, esme):
            answers = [esme.send(sms("33612345678")) for _ in range(10)]
            await esme.round_trip()  # answered after all of them
            return [answer.done() for answer in answers]

    once = await answered()
    assert once == await answered()
    assert 0 < sum(once) < 10


async def test_receipts_can_be_lost() -> None:
    async with operating(replace(AT_ONCE, receipts_lost=1.0)) as (simulator, _, esme):
        await esme.submit(sms("33612345678"))
        assert simulator.inbox == [("33612345678", "Bonjour")]
        assert (simulator.undelivered, simulator.counts["delivered"]) == (0, 0)


@pytest.mark.parametrize(
    ("form", "read"),
    [
        (IdForm.DECIMAL, lambda shown: int(shown)),
        (IdForm.HEX, lambda shown: int(shown, 16) if shown == shown.lower() else None),
        (IdForm.UPPER_HEX, lambda shown: int(shown, 16) if shown == shown.upper() else None),
        (IdForm.PADDED, lambda shown: int(shown) if len(shown) == 20 else None),
    ],
)
async def test_the_same_id_is_written_otherwise_in_the_receipt(form: IdForm, read: Callable[[str], int | None]) -> None:
    async with operating(replace(AT_ONCE, receipt_ids=form)) as (_, _, esme):
        message_id = await esme.submit(sms("33612345678"))
        receipt = await esme.receive()
        shown = said(receipt)[0]
        assert read(shown) == int(message_id)
        assert receipt.tlv(Tag.RECEIPTED_MESSAGE_ID) == shown.encode() + b"\0"


async def test_answers_can_have_hexadecimal_ids() -> None:
    async with operating(replace(AT_ONCE, answer_ids=IdForm.HEX)) as (_, _, esme):
        message_id = await esme.submit(sms("33612345678"))
        assert int(message_id, 16) == int(said(await esme.receive())[0])


@pytest.mark.parametrize(
    ("mood", "order"),
    [
        (Mood(receipt_first=True), [DeliverSm, SubmitSmResp]),
        (Mood(receipt_first=True, answer_seconds=1.0), [DeliverSm, SubmitSmResp]),
        (Mood(receipt_first=True, receipt_seconds=0), [DeliverSm, SubmitSmResp]),
        (Mood(), [SubmitSmResp, DeliverSm]),
        (Mood(receipt_seconds=0), [SubmitSmResp, DeliverSm]),
        (Mood(answer_seconds=1.0), [SubmitSmResp, DeliverSm]),
    ],
)
async def test_a_receipt_overtakes_its_answer_only_when_told_to(
    mood: Mood, order: list[type[Pdu]], clock: Clock
) -> None:
    async with operating(mood) as (_, _, esme):
        esme.order.clear()
        answer = esme.send(sms("33612345678"))
        await esme.round_trip()
        clock.move(1.0)
        await esme.receive()
        await asyncio.wait_for(answer, PATIENCE)
        assert [kind for kind in esme.order if kind is not QuerySmResp] == order


async def test_only_some_parts_get_a_receipt() -> None:
    async with operating(replace(AT_ONCE, receipt_parts=(2,))) as (simulator, _, esme):
        ids = [await esme.submit(part) for part in long_sms("33612345678")]
        assert said(await esme.receive())[0] == ids[1].decode()
        assert simulator.undelivered == 0


async def test_submits_above_the_rate_are_throttled_until_time_has_passed(clock: Clock) -> None:
    async with operating(Mood(throttle_above=2.0)) as (simulator, _, esme):
        answers = [esme.send(sms("33612345678")) for _ in range(3)]
        statuses = [esme.answered(await asyncio.wait_for(answer, PATIENCE)).command_status for answer in answers]
        assert statuses == [0, 0, Status.ESME_RTHROTTLED]
        clock.move(0.5)
        await esme.submit(sms("33612345678"))
        assert simulator.counts["throttled"] == 1


async def test_less_than_one_submit_a_second_can_be_allowed(clock: Clock) -> None:
    async with operating(Mood(throttle_above=0.01)) as (_, _, esme):
        await esme.submit(sms("33612345678"))
        assert (await esme.ask(sms("33612345678"))).command_status == Status.ESME_RTHROTTLED


async def test_it_unbinds_after_so_many_submits_and_takes_the_client_back() -> None:
    async with operating(replace(AT_ONCE, unbind_every=2)) as (_, port, esme):
        ids = [await esme.submit(sms("33612345678")) for _ in range(2)]
        await asyncio.wait_for(esme.unbound.wait(), PATIENCE)
        await asyncio.wait_for(esme.closed.wait(), PATIENCE)
        again = await connected(port)
        ids.append(await again.submit(sms("33612345678")))
        receipts = [*iter_now(esme.delivered)]
        receipts += [await again.receive() for _ in range(3 - len(receipts))]
        assert [said(receipt)[0].encode() for receipt in receipts] == ids
        again.link.close()
        await again.link.lost


async def test_it_cuts_the_connection_before_the_answer_and_delivers_all_the_same(clock: Clock) -> None:
    async with operating(Mood(drop_after=2)) as (simulator, port, esme):
        await esme.submit(sms("33612345678"))
        assert await asyncio.wait_for(esme.send(sms("33600000000")), PATIENCE) is Cause.CONNECTION_LOST
        clock.move(1.0)
        again = await connected(port)
        assert {(await again.receive()).source_addr for _ in range(2)} == {b"33612345678", b"33600000000"}
        assert simulator.counts["accepted"] == 2
        again.link.close()
        await again.link.lost


async def test_what_follows_the_cut_in_the_same_write_is_not_taken() -> None:
    async with operating(Mood(drop_after=1)) as (simulator, _, esme):
        answers = [esme.send(sms("33612345678")) for _ in range(3)]
        assert await asyncio.wait_for(asyncio.gather(*answers), PATIENCE) == [Cause.CONNECTION_LOST] * 3
        assert simulator.counts["submits"] == 1


async def test_submits_can_be_refused_by_chance() -> None:
    async with operating(Mood(refused=1.0, refused_status=0x412)) as (simulator, _, esme):
        assert (await esme.ask(sms("33612345678"))).command_status == 0x412
        assert (simulator.counts["refused"], simulator.counts["accepted"]) == (1, 0)


async def test_the_longest_beginning_decides() -> None:
    numbers = {
        "336": Script(fate=Fate.REJECTED),
        "33612": Script(fate=Fate.DELETED),
        "33600000000": Script(status=0x45),
    }
    async with operating(replace(AT_ONCE, numbers=numbers)) as (_, _, esme):
        seen = []
        for number in ("33699999999", "33612345678", "33600000001", "33700000000"):
            await esme.submit(sms(number))
            seen.append(said(await esme.receive())[1])
        assert seen == ["REJECTD", "DELETED", "UNDELIV", "DELIVRD"]
        assert (await esme.ask(sms("33600000000"))).command_status == 0x45


@pytest.mark.parametrize(
    ("status", "count"),
    [(Status.ESME_RX_T_APPN, "redelivered"), (Status.ESME_RMSGQFUL, "redelivered")],
)
async def test_a_receipt_that_the_client_cannot_take_now_comes_again(status: int, count: str, clock: Clock) -> None:
    async with operating(Mood(receipt_seconds=0)) as (simulator, _, esme):
        esme.status = status
        await esme.submit(sms("33612345678"))
        first = await esme.receive()
        await esme.round_trip()  # the refusal has arrived
        esme.status = 0
        clock.move(1.0)
        assert said(await esme.receive()) == said(first)
        await esme.round_trip()
        assert (simulator.counts[count], simulator.counts["delivered"]) == (1, 1)


@pytest.mark.parametrize("status", [Status.ESME_RX_P_APPN, Status.ESME_RX_R_APPN])
async def test_a_receipt_that_the_client_refuses_for_good_is_given_up(status: int, clock: Clock) -> None:
    async with operating(Mood(receipt_seconds=0)) as (simulator, _, esme):
        esme.status = status
        await esme.submit(sms("33612345678"))
        await esme.receive()
        await esme.round_trip()
        clock.move(5.0)
        await esme.round_trip()
        assert (simulator.counts["given_up"], simulator.undelivered, esme.delivered.qsize()) == (1, 0, 0)


async def test_what_was_not_acknowledged_comes_again_after_a_reconnection() -> None:
    async with operating() as (simulator, port, esme):
        esme.status = None
        await esme.submit(sms("33612345678"))
        await esme.receive()
        simulator.cut()
        await asyncio.wait_for(esme.link.lost, PATIENCE)
        again = await connected(port)
        assert said(await again.receive())[1] == "DELIVRD"
        again.link.close()
        await again.link.lost


async def test_what_happens_while_nobody_is_bound_waits() -> None:
    async with operating() as (simulator, port, esme):
        await esme.submit(sms("33612345678", source_addr=b"36123", registered_delivery=0))
        simulator.unbind()
        simulator.unbind()
        await asyncio.wait_for(esme.closed.wait(), PATIENCE)
        simulator.send_mo("33612345678", "36123", "Été")
        assert simulator.undelivered == 1
        again = await connected(port)
        assert decode((await again.receive()).short_message, 0) == "Été"
        assert simulator.undelivered == 0
        again.link.close()
        await again.link.lost


async def test_no_more_than_the_window_is_in_flight() -> None:
    async with operating(replace(AT_ONCE, window=2)) as (simulator, _, esme):
        esme.status = None
        for text in ("un", "deux", "trois"):
            simulator.send_mo("33612345678", "36123", text)
        await esme.round_trip()
        held = [*iter_now(esme.delivered)]
        assert [pdu.short_message for pdu in held] == [b"un", b"deux"]
        assert simulator.undelivered == 1
        esme.link.reply(held[0])
        assert (await esme.receive()).short_message == b"trois"


def test_what_clients_make_it_remember_is_bounded() -> None:
    recent: Recent[int, str] = Recent(2)
    for key in (1, 2, 1, 3):
        recent[key] = str(key)
    assert recent == {2: "2", 3: "3"}


# --- running -----------------------------------------------------------------------------------------


async def test_it_starts_again_with_what_was_undelivered(clock: Clock) -> None:
    simulator = Simulator()
    esme = await connected(await simulator.start())
    await esme.submit(sms("33600000000"))
    await simulator.stop()
    await asyncio.wait_for(esme.closed.wait(), PATIENCE)
    clock.move(1.0)
    again = await connected(await simulator.start())
    assert said(await again.receive())[1] == "DELIVRD"
    again.link.close()
    await again.link.lost
    await simulator.stop()


async def test_a_client_that_was_being_accepted_while_it_stopped_is_let_go() -> None:
    simulator = Simulator()
    await simulator.start()
    await simulator.stop()
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client:
        client.setblocking(False)
        late = aio.Link(Role.SMSC, simulator._on_events, None, simulator._on_link)
        await loop.connect_accepted_socket(lambda: late, server)
        assert await asyncio.wait_for(loop.sock_recv(client, 1), PATIENCE) == b""
    await asyncio.wait_for(late.lost, PATIENCE)


async def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    simulator = Simulator()
    await simulator.stop()
    await simulator.start()
    await simulator.stop()
    await simulator.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for `localhost`, in one file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        [*command.split(), "-keyout", path, "-out", path.with_suffix(".crt")], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


async def test_it_speaks_tls_and_does_not_wait_for_whoever_does_not(certificate: Path) -> None:
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(certificate)
    simulator = Simulator(AT_ONCE)
    port = await simulator.start("localhost", tls=ours)
    _, mute = await asyncio.open_connection("localhost", port)
    esme = Esme()
    theirs = ssl.create_default_context(cafile=certificate)
    esme.link = await aio.connect("localhost", port, esme.on_events, tls=theirs)
    await esme.ask(BindTransceiver(system_id=b"chappe"))
    await esme.submit(sms("33600000000"))
    assert said(await esme.receive())[1] == "DELIVRD"
    await asyncio.wait_for(simulator.stop(), PATIENCE)
    await asyncio.wait_for(esme.closed.wait(), PATIENCE)
    mute.close()
    await mute.wait_closed()
    await esme.link.lost


async def test_run_tells_the_port_and_changed_counts_until_it_is_cancelled() -> None:
    started: asyncio.Queue[int] = asyncio.Queue()
    counts: asyncio.Queue[dict[str, int]] = asyncio.Queue()
    running = asyncio.create_task(
        run(
            Simulator(),
            "127.0.0.1",
            0,
            started.put_nowait,
            lambda told: counts.put_nowait(dict(told)),
            every_seconds=0.001,
        )
    )
    port = await asyncio.wait_for(started.get(), PATIENCE)
    esme = await connected(port)
    assert await asyncio.wait_for(counts.get(), PATIENCE) == {"binds": 1}
    esme.link.request(sms("33600000007"))
    assert await asyncio.wait_for(counts.get(), PATIENCE) == {"binds": 1, "submits": 1, "refused": 1}
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(esme.closed.wait(), PATIENCE)
    assert counts.empty()
    with pytest.raises(ConnectionRefusedError):
        await aio.connect("127.0.0.1", port, esme.on_events)


# --- mood files --------------------------------------------------------------------------------------


@pytest.fixture
def mood_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "mood.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_mood_is_read_from_toml(mood_file: Callable[[str], Path]) -> None:
    path = mood_file(
        """
        receipt_seconds = 2
        receipt_ids = "HEX"
        receipt_parts = [1]
        [numbers.336]
        fate = "undeliverable"
        [numbers.33612345678]
        reply = "À demain"
        """
    )
    assert load_mood(path) == Mood(
        receipt_seconds=2.0,
        receipt_ids=IdForm.UPPER_HEX,
        receipt_parts=(1,),
        numbers={"336": Script(fate=Fate.UNDELIVERABLE), "33612345678": Script(reply="À demain")},
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("answers_lst = 0.1", "answers_lst"),
        ("answers_lost = 1.1", "answers_lost"),
        ("receipt_seconds = -1", "receipt_seconds"),
        ("receipt_seconds = nan", "receipt_seconds"),
        ('receipt_ids = "octal"', "receipt_ids"),
        ("window = 0", "window"),
        ("unbind_every = 1.5", "unbind_every"),
        ('numbers."+336" = {}', "numbers"),
        ('numbers.336.fate = "lost"', "fate"),
        ("numbers.336.fait = 1", "fait"),
        ("window = \nseed = 1", "line 1"),
    ],
)
def test_a_wrong_setting_is_named(text: str, named: str, mood_file: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=named):
        load_mood(mood_file(text))


def iter_now(queue: asyncio.Queue[DeliverSm]) -> Iterator[DeliverSm]:
    while not queue.empty():
        yield queue.get_nowait()
