"""Customers of Net::SMPP (Perl) and node-smpp (JavaScript), bound to the simulator."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from chappe.simulator import Mood, Simulator
from chappe.smpp.pdus import Status
from tests.peers.peer_program import CUSTOMERS, customer

NUMBER = "33612345678"
LATIN = "Ça fait 5 € {[~]} à l'heure où Zoé sera là. "


class Smsc(NamedTuple):
    simulator: Simulator
    port: int


@pytest.fixture
async def smsc() -> AsyncIterator[Smsc]:
    mood = Mood(receipt_seconds=0, reply_seconds=0)
    simulator = Simulator(mood, system_id="chappe", password="secret", ledger=True)
    yield Smsc(simulator, await simulator.start())
    await simulator.stop()


each_customer = pytest.mark.parametrize("file", CUSTOMERS)


@each_customer
@pytest.mark.parametrize("text", [LATIN, LATIN * 8, "Кириллица 😀", "Ваша посылка 😀 прибыла " * 8])
async def test_its_texts_and_receipts(smsc: Smsc, file: str, text: str) -> None:
    async with customer(file, smsc.port, "chappe", "secret") as program:
        assert await program.next("bind") == {"event": "bind", "status": 0, "system_id": "simulator"}
        program.say(do="submit", number=NUMBER, text=text)
        first = await program.next("answer")
        assert first["status"] == 0
        program.say(do="read")
        told = await program.next("deliver")
        assert re.match(f"id:{first['id']} sub:001 dlvrd:001 .* stat:DELIVRD err:000 ", told["text"])
        assert (told["receipt"], told["id"]) == (True, first["id"])
        program.say(do="unbind")
        assert (await program.next("unbound"))["status"] == 0
    assert smsc.simulator.inbox == [(NUMBER, text)]


@each_customer
async def test_it_gets_replies_and_refusals_and_binds_again(smsc: Smsc, file: str) -> None:
    async with customer(file, smsc.port, "chappe", "secret") as program:
        program.say(do="submit", number="33600000007", text="Bonjour")
        assert (await program.next("answer"))["status"] == Status.ESME_RINVDSTADR
        program.say(do="submit", number="33600000004", text="Bonjour")
        assert (await program.next("answer"))["status"] == 0
        for _ in range(2):
            program.say(do="read")
        assert (await program.next("deliver"))["receipt"] is True
        reply = await program.next("deliver")
        assert (reply["source_addr"], reply["destination_addr"], reply["text"]) == ("33600000004", "CHAPPE", "STOP")
        smsc.simulator.unbind()
        program.say(do="read")
        await program.next("unbound")
    smsc.simulator.send_mo(NUMBER, "CHAPPE", LATIN * 4)
    async with customer(file, smsc.port, "chappe", "secret") as program:
        pieces = []
        await program.next("bind")
        for _ in range(2):
            program.say(do="read")
            pieces.append(await program.next("deliver"))
        assert "".join(piece["text"] for piece in pieces) == LATIN * 4
        assert [piece["header"][-4:] for piece in pieces] == ["0201", "0202"]
        program.say(do="unbind")
        await program.next("unbound")


@each_customer
async def test_it_is_not_bound_with_a_wrong_password(smsc: Smsc, file: str) -> None:
    async with customer(file, smsc.port, "chappe", "wrong") as program:
        assert (await program.next("bind"))["status"] == Status.ESME_RINVPASWD
