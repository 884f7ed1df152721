"""Long texts and alphabets in each operator's way: a phone shows what was sent, and what it writes comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Literal

import pytest

from chappe.app import Node
from chappe.connectors.smpp import SmppSettings
from chappe.connectors.smpp_settings import LongMessages
from chappe.connectors.translation import Gsm7
from chappe.simulator import Mood, Simulator
from chappe.smpp.pdus import Tag

StartNode = Callable[..., Awaitable[Node]]
ClientOf = Callable[..., Awaitable[Any]]
Shift = Literal["turkish", "spanish", "portuguese"]

LONG = ("Prix : 12 [EUR] {à vie}, réservez vite ! " * 12)[:470]
UCS2 = ("Été 漢字 👍🏽 famille 👨‍👩‍👧‍👦, bientôt ! " * 6)[:190]
PORTUGUESE = ("Ça va être prêt, não às dez. " * 12)[:330]
SPANISH = "¿Está aquí la ración, José? Según tú, sí. " * 8
TURKISH = "İyi akşamlar, nasılsınız? Güneş doğdu. " * 8

WAYS: list[tuple[LongMessages, Gsm7, int]] = [
    ("udh8", "unpacked", 0),
    ("udh16", "unpacked", 0),
    ("sar", "unpacked", 0),
    ("payload", "unpacked", 0),
    ("udh8", "packed", 0),
    ("udh16", "packed", 0xF1),
    ("sar", "packed", 0),
    ("payload", "packed", 1),
    ("udh8", "latin1", 3),
    ("payload", "latin1", 0),
]


async def an_operator(
    stack: AsyncExitStack,
    long_messages: LongMessages = "udh8",
    gsm7: Gsm7 = "unpacked",
    data_coding: int = 0,
    shift: Shift | None = None,
) -> tuple[Simulator, SmppSettings]:
    mood = Mood(
        receipt_seconds=0.02,
        long_messages=long_messages,
        gsm7=gsm7,
        gsm7_data_coding=data_coding,
        national_shift=shift,
    )
    simulator = Simulator(mood, ledger=True)
    port = await simulator.start()
    stack.push_async_callback(simulator.stop)
    settings = SmppSettings(
        name="op",
        host="127.0.0.1",
        port=port,
        retry_seconds=0.05,
        long_messages=long_messages,
        gsm7=gsm7,
        gsm7_data_coding=data_coding,
    )
    return simulator, settings


def is_delivered(status: dict[str, Any]) -> bool:
    return bool(status["state"] == "delivered")


def is_answered(status: dict[str, Any]) -> bool:
    return "reply" in status


@pytest.mark.parametrize(("long_messages", "gsm7", "data_coding"), WAYS)
async def test_a_phone_shows_what_was_sent_and_we_read_what_it_writes(
    start_node: StartNode,
    client_of: ClientOf,
    stack: AsyncExitStack,
    long_messages: LongMessages,
    gsm7: Gsm7,
    data_coding: int,
) -> None:
    operator, settings = await an_operator(stack, long_messages, gsm7, data_coding)
    client = await client_of(await start_node(settings))
    for place, text in enumerate((LONG, UCS2, "Ça va ? 5 [ok]")):
        number = f"3361234567{place}"
        id_ = await client.send(f"+{number}", text)
        status = await client.status_once(id_, is_delivered)
        assert operator.inbox[-1] == (number, text)
        one = long_messages == "payload" or place == 2
        assert ("parts" in status) != one
        operator.send_mo(f"+{number}", "36111", text)
        status = await client.status_once(id_, is_answered)
        assert status["replyMessage"] == text


@pytest.mark.parametrize(
    ("shift", "text"),
    [("portuguese", PORTUGUESE), ("spanish", SPANISH), ("turkish", TURKISH), ("portuguese", "ê" * 73)],
)
@pytest.mark.parametrize("gsm7", ["unpacked", "packed"])
async def test_a_national_table_saves_parts_and_every_letter_arrives(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack, shift: Shift, text: str, gsm7: Gsm7
) -> None:
    operator, settings = await an_operator(stack, gsm7=gsm7, shift=shift)
    node = await start_node(settings)
    client = await client_of(node)
    account = await node.store.open_account("shop", now=1)
    before = await client.send("+33612345678", text)
    await node.store.save_settings(account.id, replace(account.settings, national_shift=shift))
    after = await client.send("+33612345679", text)
    for id_ in (before, after):
        await client.status_once(id_, is_delivered)
    assert dict(operator.inbox) == {"33612345678": text, "33612345679": text}
    codings: dict[bytes, list[int]] = {b"33612345678": [], b"33612345679": []}
    for submitted in operator.ledger or []:
        codings[submitted.pdu.destination_addr].append(submitted.pdu.data_coding)
    assert set(codings[b"33612345678"]) == {8}
    assert set(codings[b"33612345679"]) == {0}
    assert len(codings[b"33612345679"]) < len(codings[b"33612345678"])
    operator.send_mo("+33612345679", "36111", text)
    status = await client.status_once(after, is_answered)
    assert status["replyMessage"] == text


async def test_what_was_accepted_for_one_way_leaves_as_it_was_counted_after_a_change(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    operator, settings = await an_operator(stack)
    port = settings.port
    await operator.stop()
    text = "é" * 305  # three parts of 152 septets, two of 153
    ids = []
    for long_messages in ("udh16", "udh8", "payload"):
        settings = SmppSettings(name="op", host="127.0.0.1", port=port, long_messages=long_messages)
        node = await start_node(settings)
        ids.append(await (await client_of(node)).send("+33612345678", text))
        await node.__aexit__(None, None, None)
    client = await client_of(
        await start_node(SmppSettings(name="op", host="127.0.0.1", port=port, long_messages="sar"))
    )
    await operator.start(port=port)
    for id_ in ids:
        await client.status_once(id_, is_delivered)
    assert operator.inbox == [("33612345678", text)] * 3
    pdus = [submitted.pdu for submitted in operator.ledger or []]
    assert len(pdus) == 3 + 2 + 1
    assert sum(pdu.tlv(Tag.MESSAGE_PAYLOAD) is not None for pdu in pdus) == 1
