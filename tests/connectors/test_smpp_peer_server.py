"""The connector against an SMSC that others wrote (smpp34: Rust, tokio)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest
import smpp34

from chappe.connectors.smpp import SmppConnector, SmppSettings
from chappe.core.message import (
    Answered,
    Attempt,
    AttemptReport,
    Inbound,
    MessageId,
    ReceiptReport,
    Refused,
    Submission,
    Treatment,
    Verdict,
)
from chappe.core.text import Alphabet, count_parts, encode
from chappe.smpp.pdus import Status, Tag
from chappe.smpp.udh import concatenation

NOW = 1_700_000_000_000


class Peer:
    """Their server, our connector, and what the connector reports."""

    def __init__(self, server: smpp34.Server, port: int, bind: str) -> None:
        self.server = server
        self.answers: asyncio.Queue[AttemptReport] = asyncio.Queue()
        self.receipts: list[ReceiptReport] = []
        self.inbound: list[Inbound] = []
        self.stores = True
        self.room = asyncio.Event()
        self.connector = SmppConnector(
            SmppSettings(
                name="smpp34",
                host="127.0.0.1",
                port=port,
                system_id="chappe",
                password="secret",
                bind=bind,  # type: ignore[arg-type]  # from BOTH
                retry_seconds=0.01,
            ),
            now_ms=lambda: NOW,
            chance=lambda: 0.5,
            on_answers=self._on_answers,
            on_receipts=self._on_receipts,
            on_inbound=self._on_inbound,
            on_room=self.room.set,
        )

    async def next(self, kind: type) -> object:
        async with asyncio.timeout(10):
            while True:
                event = await self.server.next()
                if isinstance(event, kind):
                    return event

    async def esme(self) -> smpp34.Esme:
        esme = await self.next(smpp34.Esme)
        assert isinstance(esme, smpp34.Esme)
        return esme

    async def submit(self, text: str) -> None:
        while not self.connector.free():
            self.room.clear()
            async with asyncio.timeout(10):
                await self.room.wait()
        parts = count_parts(text)
        unwritten = self.connector.submit(
            [
                Submission(
                    Attempt(MessageId(7), part, 1, "smpp34", 1, NOW, 0x0100 + part),
                    "+33612345678",
                    "CHAPPE",
                    text,
                    parts,
                    NOW + 60_000,
                )
                for part in range(1, parts + 1)
            ]
        )
        assert unwritten == []

    async def submitted(self) -> smpp34.SubmitSmEvent:
        event = await self.next(smpp34.SubmitSmEvent)
        assert isinstance(event, smpp34.SubmitSmEvent)
        return event

    async def answer(self) -> AttemptReport:
        async with asyncio.timeout(10):
            return await self.answers.get()

    async def _on_answers(self, reports: Sequence[AttemptReport]) -> None:
        for report in reports:
            self.answers.put_nowait(report)

    async def _on_receipts(self, reports: Sequence[ReceiptReport]) -> bool:
        self.receipts += reports if self.stores else ()
        return self.stores

    async def _on_inbound(self, messages: Sequence[Inbound]) -> bool:
        self.inbound += messages
        return True


BOTH = pytest.mark.parametrize("peer", ["trx", "tx+rx"], indirect=True)


@pytest.fixture
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    server = smpp34.Server("127.0.0.1", port, system_id="peer")
    await server.start()
    peer = Peer(server, port, getattr(request, "param", "trx"))
    running = asyncio.create_task(peer.connector.run())
    yield peer
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await server.stop()


@BOTH
async def test_their_server_takes_our_submits(peer: Peer) -> None:
    await peer.submit("Ça marche")
    event = await peer.submitted()
    assert (event.source_addr, event.source_addr_ton, event.source_addr_npi) == ("CHAPPE", 5, 0)
    assert (event.destination_addr, event.dest_addr_ton, event.dest_addr_npi) == ("33612345678", 1, 1)
    assert (event.registered_delivery, event.esm_class, event.data_coding) == (1, 0, 0)
    assert event.short_message == b"\x09a marche"
    assert [(tlv.tag, tlv.value) for tlv in event.tlvs] == [(Tag.USER_MESSAGE_REFERENCE, b"\x01\x01")]
    event.accept("abc-1")
    assert await peer.answer() == AttemptReport(MessageId(7), Answered(1, 1, NOW, "abc-1"))


@BOTH
async def test_their_refusal_is_a_fact(peer: Peer) -> None:
    await peer.submit("Bonjour")
    (await peer.submitted()).reject(Status.ESME_RINVDSTADR)
    assert await peer.answer() == AttemptReport(MessageId(7), Refused(1, 1, NOW, 0x0B, Treatment.ELSEWHERE))


@BOTH
async def test_they_read_our_long_texts(peer: Peer) -> None:
    text = "Ж" * 150
    await peer.submit(text)
    places = []
    for _ in range(3):
        event = await peer.submitted()
        assert (event.esm_class, event.data_coding) == (0x40, 8)
        place = concatenation(event.short_message)
        assert place is not None
        places.append(place)
        event.accept(f"part-{place.sequence}")
    places.sort()  # they hand events over in any order
    assert [place[:3] for place in places] == [(7, 3, 1), (7, 3, 2), (7, 3, 3)]
    assert b"".join(place.rest for place in places) == encode(text, Alphabet.UCS2)
    facts = [(await peer.answer()).fact for _ in range(3)]
    assert sorted(facts, key=lambda fact: fact.part) == [Answered(part, 1, NOW, f"part-{part}") for part in (1, 2, 3)]


# Over a transceiver only: to a receiver's deliver_sm_resp smpp34 1.5 answers with a generic_nack.


async def test_their_receipts_are_acknowledged_once_stored(peer: Peer) -> None:
    esme = await peer.esme()
    text = b"id:abc-1 sub:001 dlvrd:001 submit date:2311140000 done date:2311140001 stat:DELIVRD err:000 text:"
    tlvs = [
        smpp34.Tlv(Tag.RECEIPTED_MESSAGE_ID, b"abc-1\0"),
        smpp34.Tlv(Tag.USER_MESSAGE_REFERENCE, b"\x01\x01"),
    ]
    peer.stores = False
    refused = await esme.deliver_sm("CHAPPE", text, source_addr="33612345678", esm_class=0x04, tlvs=tlvs)
    assert (refused.command_status, peer.receipts) == (0x64, [])
    peer.stores = True
    taken = await esme.deliver_sm("CHAPPE", text, source_addr="33612345678", esm_class=0x04, tlvs=tlvs)
    assert taken.is_success
    assert peer.receipts == [
        ReceiptReport("smpp34", "abc-1", NOW, Verdict.DELIVERED, "delivered", 0x0101, "+33612345678", text)
    ]


async def test_their_messages_from_people_arrive(peer: Peer) -> None:
    esme = await peer.esme()
    taken = await esme.deliver_sm("36111", b"STOP", source_addr="33612345678")
    assert taken.is_success
    assert peer.inbound == [Inbound("smpp34", "+33612345678", "36111", NOW, b"STOP", 0)]


@BOTH
async def test_our_goodbye_is_theirs_too(peer: Peer) -> None:
    await peer.submit("Bonjour")
    (await peer.submitted()).accept("abc-1")
    await peer.connector.drain(5)
    for _ in range(peer.connector.counts.binds):
        await peer.next(smpp34.Unbound)
    assert await peer.answer() == AttemptReport(MessageId(7), Answered(1, 1, NOW, "abc-1"))
    assert not peer.connector.bound
