"""Clients that others wrote, against the simulator over loopback TCP: what they need of an operator, it has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import smpp34
import smpplib.client  # type: ignore[import-untyped]  # it has no types
import smpplib.consts  # type: ignore[import-untyped]  # it has no types
import smpplib.exceptions  # type: ignore[import-untyped]  # it has no types

from chappe.core.text import Alphabet, concatenation_header, encode, segment
from chappe.simulator import Mood, Simulator
from chappe.smpp.pdus import EsmClass, MessageState, Status, Tag

PATIENCE = 10.0
LONG = "Bonjour, votre colis est arrivé : il vous attend à l'accueil. " * 5


class Operator(NamedTuple):
    simulator: Simulator
    port: int


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    mood = Mood(receipt_seconds=0, reply_seconds=0)
    simulator = Simulator(mood, system_id="chappe", password="secret", ledger=True)
    yield Operator(simulator, await simulator.start())
    await simulator.stop()


def read(receipt: bytes) -> tuple[str, str, str]:
    """(id, stat, err)."""
    found = re.match(rb"id:(\S+) sub:001 .* stat:(\S+) err:(\d+) ", receipt)
    assert found is not None
    return found[1].decode(), found[2].decode(), found[3].decode()


def parts_of(text: str) -> list[bytes]:
    segmented = segment(text)
    assert segmented.alphabet is Alphabet.GSM7
    total = len(segmented.parts)
    return [
        concatenation_header(9, total, sequence) + encode(part, Alphabet.GSM7)
        for sequence, part in enumerate(segmented.parts, 1)
    ]


# --- python-smpplib: blocking, so in a thread ----------------------------------------------------------


class Smpplib:
    """A transceiver that keeps what it reads. It raises at a TLV that it does not know."""

    def __init__(self, port: int) -> None:
        self.client: Any = smpplib.client.Client("127.0.0.1", port, timeout=PATIENCE, allow_unknown_opt_params=False)
        self.answers: list[Any] = []
        self.delivered: list[Any] = []
        self.client.set_message_sent_handler(lambda pdu: self.answers.append(pdu))
        self.client.set_message_received_handler(lambda pdu: self.delivered.append(pdu))
        self.client.set_error_pdu_handler(lambda pdu: self.answers.append(pdu))

    @contextmanager
    def bound(self, password: str = "secret") -> Iterator[Any]:
        self.client.connect()
        try:
            yield self.client.bind_transceiver(system_id="chappe", password=password)
            self.client.unbind()
        finally:
            self.client.disconnect()

    def submit(self, number: str, octets: bytes = b"Bonjour", esm_class: int = 0) -> None:
        self.client.send_message(
            source_addr_ton=smpplib.consts.SMPP_TON_ALNUM,
            source_addr="CHAPPE",
            dest_addr_ton=smpplib.consts.SMPP_TON_INTL,
            dest_addr_npi=smpplib.consts.SMPP_NPI_ISDN,
            destination_addr=number,
            short_message=octets,
            esm_class=esm_class,
            registered_delivery=True,
        )

    def read_until(self, answers: int, delivered: int) -> None:
        """Each read ends with a PDU, or raises after PATIENCE."""
        while len(self.answers) < answers or len(self.delivered) < delivered:
            self.client.read_once(auto_send_enquire_link=False)


async def test_smpplib_submits_and_gets_its_receipts(operator: Operator) -> None:
    def converse() -> None:
        peer = Smpplib(operator.port)
        with peer.bound() as bind:
            assert (bind.system_id, bind.sc_interface_version) == (b"simulator", 0x34)
            peer.submit("33600000000")
            peer.read_until(answers=1, delivered=1)
            peer.submit("33600000001")
            peer.read_until(answers=2, delivered=2)
        ids = [answer.message_id.decode() for answer in peer.answers]
        assert [read(receipt.short_message) for receipt in peer.delivered] == [
            (ids[0], "DELIVRD", "000"),
            (ids[1], "UNDELIV", "001"),
        ]
        assert [receipt.receipted_message_id.decode() for receipt in peer.delivered] == ids
        assert [receipt.message_state for receipt in peer.delivered] == [
            MessageState.DELIVERED,
            MessageState.UNDELIVERABLE,
        ]
        assert peer.delivered[1].network_error_code == b"\x03\x00\x01"
        assert {receipt.esm_class for receipt in peer.delivered} == {EsmClass.RECEIPT}

    await asyncio.to_thread(converse)
    assert operator.simulator.counts["delivered"] == 2


async def test_smpplib_gets_a_reply_and_a_refusal(operator: Operator) -> None:
    def converse() -> None:
        peer = Smpplib(operator.port)
        with peer.bound():
            peer.submit("33600000004")
            peer.read_until(answers=1, delivered=2)
            peer.submit("33600000007")
            peer.read_until(answers=2, delivered=2)
        reply = peer.delivered[1]
        assert (reply.source_addr, reply.destination_addr, reply.short_message) == (b"33600000004", b"CHAPPE", b"STOP")
        assert (peer.answers[1].command, peer.answers[1].status) == ("submit_sm_resp", Status.ESME_RINVDSTADR)

    await asyncio.to_thread(converse)


async def test_smpplib_sends_a_long_message(operator: Operator) -> None:
    parts = parts_of(LONG)

    def converse() -> None:
        peer = Smpplib(operator.port)
        with peer.bound():
            for part in parts:
                peer.submit("33612345678", part, EsmClass.UDHI)
            peer.read_until(answers=len(parts), delivered=len(parts))

    await asyncio.to_thread(converse)
    assert operator.simulator.inbox == [("33612345678", LONG)]


async def test_smpplib_is_not_bound_with_a_wrong_password(operator: Operator) -> None:
    def converse() -> None:
        with Smpplib(operator.port).bound(password="wrong"):
            pytest.fail("bound")

    with pytest.raises(smpplib.exceptions.PDUError, match=r"\(14\)"):
        await asyncio.to_thread(converse)
    assert operator.simulator.counts["binds_refused"] == 1


# --- smpp34: asyncio over a core in Rust --------------------------------------------------------------


async def bound(port: int) -> tuple[smpp34.Client, smpp34.Smsc]:
    client = smpp34.Client("127.0.0.1", port, "chappe", "secret", bind_type="TRX")
    return client, await asyncio.wait_for(client.connect(), PATIENCE)


async def submit(
    smsc: smpp34.Smsc,
    number: str,
    octets: bytes = b"Bonjour",
    *,
    esm_class: int = 0,
    tlvs: list[smpp34.Tlv] | None = None,
) -> smpp34.SubmitSmResp:
    submitting = smsc.submit_sm(
        number,
        octets,
        source_addr="CHAPPE",
        source_addr_ton=5,
        dest_addr_ton=1,
        dest_addr_npi=1,
        esm_class=esm_class,
        registered_delivery=1,
        tlvs=tlvs or [],
    )
    return await asyncio.wait_for(submitting, PATIENCE)


async def receive(smsc: smpp34.Smsc) -> smpp34.DeliverSmEvent:
    event = await asyncio.wait_for(smsc.next(), PATIENCE)
    assert isinstance(event, smpp34.DeliverSmEvent)
    return event


@pytest.mark.parametrize(
    ("number", "stat", "err", "network_error"),
    [
        ("33600000000", "DELIVRD", "000", {}),
        ("33600000001", "UNDELIV", "001", {Tag.NETWORK_ERROR_CODE: b"\x03\x00\x01"}),
    ],
)
async def test_smpp34_submits_and_gets_its_receipt(
    operator: Operator, number: str, stat: str, err: str, network_error: dict[int, bytes]
) -> None:
    client, smsc = await bound(operator.port)
    answer = await submit(smsc, number, tlvs=[smpp34.Tlv(Tag.USER_MESSAGE_REFERENCE, b"\x01\x02")])
    assert answer.is_success
    assert answer.message_id is not None
    receipt = await receive(smsc)
    assert (receipt.source_addr, receipt.destination_addr, receipt.esm_class) == (number, "CHAPPE", EsmClass.RECEIPT)
    assert read(receipt.short_message) == (answer.message_id, stat, err)
    tlvs = {tlv.tag: tlv.value for tlv in receipt.tlvs}
    assert tlvs.pop(Tag.MESSAGE_STATE) == (b"\x02" if stat == "DELIVRD" else b"\x05")
    assert tlvs == {
        Tag.RECEIPTED_MESSAGE_ID: answer.message_id.encode() + b"\0",
        Tag.USER_MESSAGE_REFERENCE: b"\x01\x02",
        **network_error,
    }
    await smsc.unbind()
    await client.stop()


async def test_smpp34_gets_a_reply_and_a_refusal(operator: Operator) -> None:
    client, smsc = await bound(operator.port)
    await submit(smsc, "33600000003")
    assert read((await receive(smsc)).short_message)[1] == "DELIVRD"
    assert (await receive(smsc)).short_message == b"Merci"
    assert (await submit(smsc, "33600000007")).command_status == Status.ESME_RINVDSTADR
    await smsc.unbind()
    await client.stop()


async def test_smpp34_sends_a_long_message(operator: Operator) -> None:
    client, smsc = await bound(operator.port)
    for part in parts_of(LONG):
        assert (await submit(smsc, "33612345678", part, esm_class=EsmClass.UDHI)).is_success
    assert operator.simulator.inbox == [("33612345678", LONG)]
    await smsc.unbind()
    await client.stop()


async def test_smpp34_hears_that_the_operator_unbinds(operator: Operator) -> None:
    client, smsc = await bound(operator.port)
    operator.simulator.unbind()
    assert isinstance(await asyncio.wait_for(smsc.next(), PATIENCE), smpp34.Disconnected)
    await client.stop()
