"""The connector bound to an SMSC of node-smpp (JavaScript)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

import pytest

from chappe.core.message import Answered, DoubtBegan, Inbound, Refused, Treatment, Verdict
from chappe.core.text import Alphabet, decode, encode
from chappe.smpp.pdus import EsmClass, Status
from tests.connectors.connector_scene import NOW, Journey, facts, submissions
from tests.peers.peer_program import Program, lacks_node_smpp, need

NUMBER = "33612345678"
LATIN = "Ça fait 5 € {[~]} à l'heure où Zoé sera là. "
LONG = LATIN * 8
CYRILLIC = "Ваша посылка прибыла " * 8


class Smsc(NamedTuple):
    program: Program
    journey: Journey
    port: int


@pytest.fixture(params=["trx", "tx+rx"])
async def smsc(request: pytest.FixtureRequest) -> AsyncIterator[Smsc]:
    need(lacks_node_smpp())
    journey = Journey()
    async with Program("node", "smsc.mjs") as program:
        port = (await program.next("listening"))["port"]
        journey.connect(port, bind=request.param)
        await journey.until(lambda: journey.connector.bound)
        yield Smsc(program, journey, port)
        await journey.close()


def receipt(carrier_id: str, stat: str = "DELIVRD", err: str = "000") -> dict[str, object]:
    text = f"id:{carrier_id} sub:001 dlvrd:001 submit date:2311140000 done date:2311140001 stat:{stat} err:{err} text:"
    return {
        "source_addr": NUMBER,
        "destination_addr": "CHAPPE",
        "esm_class": int(EsmClass.RECEIPT),
        "short_message": text,
        "receipted_message_id": carrier_id,
    }


@pytest.mark.parametrize(("text", "data_coding"), [(LATIN, 0), ("Кириллица 😀", 8)])
async def test_they_read_a_text_as_it_was_written(smsc: Smsc, text: str, data_coding: int) -> None:
    await smsc.journey.submit(*submissions(1, text))
    submit = await smsc.program.next("submit")
    assert submit == {
        "event": "submit",
        "id": "Node-1",
        "source_addr": "CHAPPE",
        "destination_addr": NUMBER,
        "esm_class": 0,
        "data_coding": data_coding,
        "registered_delivery": 1,
        "text": text,
        "udh": [],
        "reference": 1,
    }
    await smsc.journey.until(lambda: smsc.journey.answers)
    assert [report.fact.carrier_id for report in smsc.journey.answers] == ["Node-1"]  # type: ignore[union-attr]  # Answered


@pytest.mark.parametrize("text", [LONG, CYRILLIC])
async def test_they_join_a_long_text(smsc: Smsc, text: str) -> None:
    parts = submissions(1, text)
    assert len(parts) > 1
    await smsc.journey.submit(*parts)
    heard = [await smsc.program.next("submit") for _ in parts]
    assert "".join(submit["text"] for submit in heard) == text
    headers = [bytes.fromhex(submit["udh"][0]) for submit in heard]
    assert [header[:2] + header[3:] for header in headers] == [
        bytes((0, 3, len(parts), n + 1)) for n in range(len(parts))
    ]
    await smsc.journey.until(lambda: len(smsc.journey.answers) == len(parts))
    assert facts(smsc.journey, Answered) == [(1, part + 1) for part in range(len(parts))]


async def test_their_refusal_is_a_fact(smsc: Smsc) -> None:
    await smsc.journey.submit(*submissions(1, number="+33600000007"))
    await smsc.journey.until(lambda: smsc.journey.answers)
    fact = smsc.journey.answers[0].fact
    assert isinstance(fact, Refused)
    assert (fact.status, fact.treatment) == (Status.ESME_RINVDSTADR, Treatment.ELSEWHERE)


async def test_their_receipts_are_taken_once_stored(smsc: Smsc) -> None:
    await smsc.journey.submit(*submissions(1))
    carrier_id = (await smsc.program.next("submit"))["id"]
    smsc.journey.stores = False
    smsc.program.say(do="deliver", pdu=receipt(carrier_id))
    assert (await smsc.program.next("answer"))["status"] == Status.ESME_RX_T_APPN
    smsc.journey.stores = True
    smsc.program.say(do="deliver", pdu=receipt(carrier_id))
    assert (await smsc.program.next("answer"))["status"] == 0
    smsc.program.say(do="deliver", pdu=receipt(carrier_id, "UNDELIV", "001"))
    assert (await smsc.program.next("answer"))["status"] == 0
    assert [(report.carrier_id, report.verdict) for report in smsc.journey.receipts] == [
        ("Node-1", Verdict.DELIVERED),
        ("Node-1", Verdict.NOT_ASSIGNED),
    ]


async def test_what_people_write_arrives_whole(smsc: Smsc) -> None:
    address = {"source_addr": NUMBER, "destination_addr": "36111"}
    for text in ("Merci à 5 €", "Спасибо"):
        smsc.program.say(do="deliver", pdu={**address, "short_message": text})
        assert (await smsc.program.next("answer"))["status"] == 0
    for sequence, text in ((1, "ST"), (2, "OP")):
        header = {"udh": f"0500032a02{sequence:02x}", "esm_class": int(EsmClass.UDHI)}
        smsc.program.say(do="deliver", pdu={**address, **header, "short_message": text})
        assert (await smsc.program.next("answer"))["status"] == 0
    whose = partial(Inbound, "op", f"+{NUMBER}", "36111", NOW)
    assert smsc.journey.inbound == [
        whose(encode("Merci à 5 €", Alphabet.GSM7), 1),
        whose(encode("Спасибо", Alphabet.UCS2), 8),
        whose(b"ST", 1, reference=42, total=2, sequence=1),
        whose(b"OP", 1, reference=42, total=2, sequence=2),
    ]
    assert decode(smsc.journey.inbound[0].octets, 1) == "Merci à 5 €", "they call GSM 03.38 ASCII"


async def test_when_they_unbind_we_bind_again_and_go_on(smsc: Smsc) -> None:
    await smsc.journey.submit(*submissions(1))
    await smsc.journey.until(lambda: smsc.journey.answers)
    binds = smsc.journey.connector.counts.binds
    smsc.program.say(do="unbind")
    await smsc.program.next("unbound")
    await smsc.journey.until(lambda: smsc.journey.connector.counts.binds > binds and smsc.journey.connector.bound)
    await smsc.journey.submit(*submissions(20, LONG, first=2))
    await smsc.journey.until(lambda: len(facts(smsc.journey, Answered)) == 1 + len(submissions(20, LONG)))
    assert facts(smsc.journey, DoubtBegan) == []


async def test_our_goodbye_is_theirs_too(smsc: Smsc) -> None:
    await smsc.journey.submit(*submissions(1))
    await smsc.journey.connector.drain(5)
    for _ in range(smsc.journey.connector.counts.binds):
        await smsc.program.next("unbind")
    assert facts(smsc.journey, Answered) == [(1, 1)]


async def test_they_refuse_a_wrong_password(smsc: Smsc) -> None:
    other = Journey()
    other.connect(smsc.port, password="wrong")
    await other.until(lambda: other.connector.counts.binds_refused)
    assert not other.connector.bound
    await other.close()
