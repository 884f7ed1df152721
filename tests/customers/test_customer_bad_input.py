"""Whatever comes in at the customers' port: the session survives all but a bad length, the server everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chappe.customers.server import LIMITS
from chappe.smpp import codec, pdus
from chappe.smpp.pdus import BY_COMMAND_ID, RESPONSE_BIT, RESPONSE_TO, Pdu, Status, Tag
from tests.customers.customer_scene import PASSWORD, Raw, Scene, a_scene, a_submit, connect_raw

SUBMIT = codec.encode(a_submit(), 99)
BIND = codec.encode(pdus.BindTransceiver(system_id=b"shop1", password=PASSWORD), 1)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with a_scene(tmp_path) as scene:
        yield scene


@pytest.fixture
async def raw(scene: Scene) -> Raw:
    return await connect_raw(scene)


def framed(command_id: int, body: bytes, sequence_number: int = 7) -> bytes:
    return codec.HEADER.pack(16 + len(body), command_id, 0, sequence_number) + body


def changed(octets: bytes, instead: bytes) -> bytes:
    """The submit with these octets in the place of those; its command_length is right again."""
    body = codec.encode(a_submit())[16:]
    assert body.count(octets) == 1
    return framed(pdus.SubmitSm.command_id, body.replace(octets, instead))


async def is_refused(raw: Raw, status: int, response: type[Pdu] = pdus.SubmitSmResp, number: int = 7) -> None:
    answer = await raw.receive()
    assert isinstance(answer, response)
    assert (answer.command_status, answer.sequence_number) == (status, number)


async def goes_on(raw: Raw) -> None:
    """The same connection still takes a message."""
    raw.send(SUBMIT)
    answer = await raw.receive()
    assert isinstance(answer, pdus.SubmitSmResp)
    assert (answer.command_status, answer.sequence_number) == (0, 99)
    assert answer.message_id.isdigit()


async def is_over(raw: Raw) -> None:
    nack = await raw.receive()
    assert isinstance(nack, pdus.GenericNack)
    assert nack.command_status == Status.ESME_RINVCMDLEN
    assert await raw.receive() is None


LENGTHS = [*range(16), LIMITS.max_pdu + 1, 0x7FFFFFFF, 0xFFFFFFFF]


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
async def test_bad_length_ends_the_connection_and_no_other(scene: Scene, raw: Raw, length: int, bound: bool) -> None:
    if bound:
        await raw.bind()
    raw.send(length.to_bytes(4, "big") + SUBMIT[4:])
    await is_over(raw)
    other = await connect_raw(scene)
    await other.bind()
    await goes_on(other)


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: sms.example.org\r\n\r\n",
        b"POST /v2/notification/messages/send HTTP/1.1\r\n\r\n",
        bytes.fromhex("16030100c8010000c40303") + bytes(194),  # a TLS ClientHello
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\r\n\r\n",
        b"\x80\x80\x01\x03\x01",
    ],
)
async def test_another_protocol_is_shown_the_door(raw: Raw, octets: bytes) -> None:
    raw.send(octets)
    await is_over(raw)


@pytest.mark.parametrize(
    ("octets", "instead", "status"),
    [
        (b"\7Bonjour", b"\x08Bonjour", Status.ESME_RINVMSGLEN),
        (b"\7Bonjour", b"\xffBonjour", Status.ESME_RINVMSGLEN),
        (b"\7Bonjour", b"\6Bonjour", Status.ESME_RINVOPTPARSTREAM),
        (b"\7Bonjour", b"\1Bonjour", Status.ESME_RINVOPTPARSTREAM),
        (b"\7Bonjour", b"\0Bonjour", Status.ESME_RINVOPTPARSTREAM),
        (b"\7Bonjour", b"\7Bonjour\x14\0\0\5ab", Status.ESME_RINVOPTPARSTREAM),
        (b"\7Bonjour", b"\7Bonjour\x14\0\xff\xff", Status.ESME_RINVOPTPARSTREAM),
        (b"\7Bonjour", b"\7Bonjour\x14\0\0", Status.ESME_RINVOPTPARSTREAM),
        (b"\7Bonjour", b"\7Bonjour\0", Status.ESME_RINVOPTPARSTREAM),
        (b"\7Bonjour", b"\0", Status.ESME_RINVMSGLEN),
    ],
)
async def test_inner_length_that_lies_is_refused(raw: Raw, octets: bytes, instead: bytes, status: Status) -> None:
    await raw.bind()
    raw.send(changed(octets, instead))
    await is_refused(raw, status)
    await goes_on(raw)


@pytest.mark.parametrize("there", range(0, len(SUBMIT) - 16 - len(b"\7Bonjour"), 5))
async def test_submit_that_ends_too_early_is_refused(raw: Raw, there: int) -> None:
    await raw.bind()
    raw.send(framed(pdus.SubmitSm.command_id, SUBMIT[16 : 16 + there]))
    await is_refused(raw, Status.ESME_RINVCMDLEN)
    await goes_on(raw)


@pytest.mark.parametrize("command_id", [0x0, 0xA, 0x100, 0x112, 0x7FFFFFFF])
async def test_unknown_command_is_refused(raw: Raw, command_id: int) -> None:
    await raw.bind()
    raw.send(framed(command_id, b"anything"))
    await is_refused(raw, Status.ESME_RINVCMDID, pdus.GenericNack)
    await goes_on(raw)


@pytest.mark.parametrize(
    "command_id", [*sorted(id_ for id_ in BY_COMMAND_ID if id_ & RESPONSE_BIT), 0x80007FFF, 0xFFFFFFFF]
)
async def test_answer_to_nothing_is_ignored(raw: Raw, command_id: int) -> None:
    await raw.bind()
    raw.send(framed(command_id, b"1\0"))
    await goes_on(raw)


@pytest.mark.parametrize(
    "kind",
    [kind for kind in BY_COMMAND_ID.values() if kind.command_id in RESPONSE_TO and not issubclass(kind, pdus.Bind)],
)
async def test_nothing_is_done_for_who_is_not_bound(scene: Scene, raw: Raw, kind: type[Pdu]) -> None:
    raw.send(codec.encode(a_submit() if kind is pdus.SubmitSm else kind(), 7))
    if kind in (pdus.EnquireLink, pdus.Unbind):
        await is_refused(raw, 0, RESPONSE_TO[kind.command_id])
    else:
        await is_refused(raw, Status.ESME_RINVBNDSTS, RESPONSE_TO[kind.command_id])
        await raw.bind()
        await goes_on(raw)


@pytest.mark.parametrize("kind", [pdus.BindTransmitter, pdus.BindReceiver, pdus.BindTransceiver])
async def test_second_bind_on_a_connection_is_refused(raw: Raw, kind: type[pdus.Bind]) -> None:
    await raw.bind()
    raw.send(codec.encode(kind(system_id=b"shop1", password=PASSWORD), 7))
    await is_refused(raw, Status.ESME_RALYBND, RESPONSE_TO[kind.command_id])
    await goes_on(raw)


async def test_receiver_may_not_submit_nor_a_customer_deliver(scene: Scene, raw: Raw) -> None:
    raw.send(codec.encode(pdus.BindReceiver(system_id=b"shop1", password=PASSWORD), 1))
    assert (await raw.receive()) is not None
    raw.send(SUBMIT)
    await is_refused(raw, Status.ESME_RINVBNDSTS, number=99)
    other = await connect_raw(scene)
    await other.bind()
    other.send(codec.encode(pdus.DeliverSm(), 7))
    await is_refused(other, Status.ESME_RINVBNDSTS, pdus.DeliverSmResp)
    await goes_on(other)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 17])
async def test_octets_may_come_in_pieces_of_any_size(raw: Raw, size: int) -> None:
    for stream, numbers in ((BIND, [1]), (SUBMIT + codec.encode(a_submit(), 100), [99, 100])):
        for at in range(0, len(stream), size):
            raw.send(stream[at : at + size])
            await raw.drain()
        answers = [await raw.receive() for _ in numbers]
        assert [(one.sequence_number, one.command_status) for one in answers if one] == [(n, 0) for n in numbers]


async def test_pdu_just_below_the_cap_is_read_and_its_text_refused(raw: Raw) -> None:
    await raw.bind()
    room = LIMITS.max_pdu - len(codec.encode(a_submit(short_message=b""))) - 4
    raw.send(codec.encode(a_submit(short_message=b"", tlvs=((Tag.MESSAGE_PAYLOAD, b"a" * room),)), 7))
    await is_refused(raw, Status.ESME_RINVMSGLEN)
    await goes_on(raw)


async def test_sequence_number_that_is_used_twice_is_answered_twice(raw: Raw) -> None:
    await raw.bind()
    raw.send(codec.encode(a_submit(), 7) * 2 + codec.encode(a_submit(), 0) + codec.encode(a_submit(), 0xFFFFFFFF))
    answers = [await raw.receive() for _ in range(4)]
    assert [(answer.sequence_number, answer.command_status) for answer in answers if answer is not None] == [
        (7, 0),
        (7, 0),
        (0, 0),
        (0xFFFFFFFF, 0),
    ]
