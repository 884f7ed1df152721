"""Customers that others wrote, bound to a whole server whose operator is the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import smpp34
import smpplib.client  # type: ignore[import-untyped]  # it has no types
import smpplib.gsm  # type: ignore[import-untyped]  # it has no types

from chappe.app import Node
from chappe.core.message import Family
from chappe.customers.passwords import digest_of
from chappe.loopback import free_port
from chappe.settings import Settings
from chappe.simulator import Mood
from chappe.smpp.pdus import EsmClass, Status
from tests.peers.kannel_boxes import ACCEPTED, DELIVERED, FAILED, REFUSED, SENDER, running
from tests.peers.peer_program import CUSTOMERS, PATIENCE_SECONDS, Program, customer, lacks_command, need

NUMBER = "33612345678"
UNKNOWN = "33600000001"
LATIN = "Ça fait 5 € {[~]} à l'heure où Zoé sera là. "
CYRILLIC = "Ваша посылка 😀 прибыла. "
PASSWORD = "a1B2c3D4"
SALT = b"s" * 16

StartServer = Callable[[], Awaitable[Node]]
each_customer = pytest.mark.parametrize("file", CUSTOMERS)


@pytest.fixture
async def start_server(tmp_path: Path) -> AsyncIterator[StartServer]:
    """On the same database and port each time; the one before it stops first."""
    settings = Settings(
        listen="127.0.0.1:0",
        smpp_listen=f"127.0.0.1:{free_port()}",
        database=f"sqlite:///{tmp_path / 'chappe.db'}",
        simulator_response_seconds=0.5,
    )
    async with AsyncExitStack() as stack:

        async def start() -> Node:
            await stack.aclose()
            node = await stack.enter_async_context(Node(settings))
            node.simulator.mood = Mood(receipt_seconds=0, reply_seconds=0)
            node.simulator.ledger = []
            account = await node.store.open_account("shop", now=1)
            digest = digest_of(PASSWORD.encode(), SALT)
            await node.store.save_customer(
                account.id, "shop1", SALT, digest, test=False, family=Family.NOTIFICATION, now=1
            )
            return node

        yield start


def port_of(node: Node) -> int:
    assert node.smpp_port is not None
    return node.smpp_port


async def told(program: Program) -> dict[str, Any]:
    program.say(do="read")
    return await program.next("deliver")


@each_customer
@pytest.mark.parametrize("text", [LATIN, LATIN * 8, CYRILLIC, CYRILLIC * 8])
async def test_texts_and_receipts_of_a_customer(start_server: StartServer, file: str, text: str) -> None:
    node = await start_server()
    async with customer(file, port_of(node), "shop1", PASSWORD) as program:
        assert (await program.next("bind"))["status"] == 0
        program.say(do="submit", number=NUMBER, text=text)
        first = await program.next("answer")
        assert first["status"] == 0
        receipt = await told(program)
        assert (receipt["receipt"], receipt["source_addr"], receipt["destination_addr"]) == (True, NUMBER, "CHAPPE")
        assert receipt["text"].startswith(f"id:{receipt['id']} sub:001 dlvrd:001 ")
        assert " stat:DELIVRD err:000 " in receipt["text"]
        program.say(do="unbind")
        assert (await program.next("unbound"))["status"] == 0
    assert node.simulator.inbox == [(NUMBER, text)]


@each_customer
async def test_a_customer_hears_of_failures_and_gets_replies(start_server: StartServer, file: str) -> None:
    node = await start_server()
    async with customer(file, port_of(node), "shop1", PASSWORD) as program:
        program.say(do="submit", number="12", text="Bonjour")
        assert (await program.next("answer"))["status"] == Status.ESME_RINVDSTADR
        program.say(do="submit", number=UNKNOWN, text="Bonjour")
        assert (await program.next("answer"))["status"] == 0
        assert " stat:UNDELIV err:001 " in (await told(program))["text"]
        program.say(do="submit", number=NUMBER, text="Bonjour")
        await told(program)
        node.simulator.send_mo(NUMBER, "CHAPPE", LATIN * 4)
        pieces = [await told(program) for _ in range(2)]
        assert "".join(piece["text"] for piece in pieces) == LATIN * 4
        assert [piece["header"][-4:] for piece in pieces] == ["0201", "0202"]
        assert {(piece["source_addr"], piece["destination_addr"]) for piece in pieces} == {(NUMBER, "CHAPPE")}


@each_customer
async def test_a_customer_binds_again_and_hears_what_it_missed(start_server: StartServer, file: str) -> None:
    node = await start_server()
    async with customer(file, port_of(node), "shop1", PASSWORD) as program:
        program.say(do="submit", number=NUMBER, text="Bonjour")
        await told(program)
        program.say(do="read")
        node = await start_server()
        await program.next("unbound")
    node.simulator.send_mo(NUMBER, "CHAPPE", "Merci")
    async with customer(file, port_of(node), "shop1", PASSWORD) as program:
        assert (await told(program))["text"] == "Merci"


@each_customer
async def test_a_customer_is_not_bound_with_a_wrong_password(start_server: StartServer, file: str) -> None:
    node = await start_server()
    async with customer(file, port_of(node), "shop1", "wrong") as program:
        assert (await program.next("bind"))["status"] == Status.ESME_RINVPASWD


async def test_kannel_is_served(start_server: StartServer, tmp_path: Path) -> None:
    need(lacks_command("bearerbox"), lacks_command("smsbox"))
    node = await start_server()
    async with running(tmp_path, port_of(node), "shop1", PASSWORD) as kannel:
        texts = [LATIN, LATIN * 8, CYRILLIC, CYRILLIC * 8]
        for text in texts:
            await kannel.send(NUMBER, text)
            receipts = await kannel.receipts(2)
            assert sorted(receipts) == [DELIVERED, ACCEPTED]
            assert " stat:DELIVRD err:000 " in receipts[DELIVERED]
        assert node.simulator.inbox == [(NUMBER, text) for text in texts]
        await kannel.send(UNKNOWN, "Bonjour")
        assert sorted(await kannel.receipts(2)) == [FAILED, ACCEPTED]
        await kannel.send("12", "Bonjour")
        assert sorted(await kannel.receipts(1)) == [REFUSED]
        for text in ("Merci", (LATIN * 4).strip(), (CYRILLIC * 8).strip()):
            node.simulator.send_mo(NUMBER, SENDER, text)
            assert await kannel.reply() == (f"+{NUMBER}", SENDER, text)
        node = await start_server()
        await kannel.until("(online")
        await kannel.send(NUMBER, "Bonjour")
        assert sorted(await kannel.receipts(2)) == [DELIVERED, ACCEPTED]


async def test_smpplib_is_served(start_server: StartServer) -> None:
    node = await start_server()

    def converse() -> list[Any]:
        client = smpplib.client.Client(
            "127.0.0.1", port_of(node), timeout=PATIENCE_SECONDS, allow_unknown_opt_params=False
        )
        answers: list[Any] = []
        receipts: list[Any] = []
        client.set_message_sent_handler(lambda pdu: answers.append(pdu))
        client.set_message_received_handler(lambda pdu: receipts.append(pdu))
        client.connect()
        client.bind_transceiver(system_id="shop1", password=PASSWORD)
        parts, data_coding, esm_class = smpplib.gsm.make_parts(LATIN * 8)
        for part in parts:
            client.send_message(
                dest_addr_ton=1,
                destination_addr=NUMBER,
                source_addr_ton=5,
                source_addr=SENDER,
                short_message=part,
                data_coding=data_coding,
                esm_class=esm_class,
                registered_delivery=True,
            )
        while len(receipts) < len(parts):
            client.read_once()
        client.unbind()
        client.disconnect()
        assert sorted(pdu.receipted_message_id for pdu in receipts) == sorted(pdu.message_id for pdu in answers)
        return receipts

    receipts = await asyncio.to_thread(converse)
    assert {pdu.short_message.split(b"stat:")[1][:7] for pdu in receipts} == {b"DELIVRD"}
    assert node.simulator.inbox == [(NUMBER, LATIN * 8)]


async def test_smpp34_is_served(start_server: StartServer) -> None:
    node = await start_server()
    patiently = partial(asyncio.wait_for, timeout=PATIENCE_SECONDS)
    client = smpp34.Client("127.0.0.1", port_of(node), "shop1", PASSWORD, bind_type="TRX")
    smsc = await patiently(client.connect())
    octets = CYRILLIC.encode("utf-16-be")
    answer = await patiently(
        smsc.submit_sm(
            NUMBER,
            octets,
            source_addr=SENDER,
            source_addr_ton=5,
            dest_addr_ton=1,
            data_coding=8,
            registered_delivery=1,
        )
    )
    receipt = await patiently(smsc.next())
    assert isinstance(receipt, smpp34.DeliverSmEvent)
    assert receipt.esm_class == EsmClass.RECEIPT
    assert receipt.short_message.startswith(f"id:{answer.message_id} ".encode())
    node.simulator.send_mo(NUMBER, SENDER, "Merci")
    reply = await patiently(smsc.next())
    assert isinstance(reply, smpp34.DeliverSmEvent)
    assert (reply.source_addr, reply.short_message) == (NUMBER, b"Merci")
    await start_server()
    assert isinstance(await patiently(smsc.next()), smpp34.Disconnected)
    await client.stop()
