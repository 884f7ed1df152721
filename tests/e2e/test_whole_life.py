"""From HTTP to an operator and back: a real server, a real simulator, everything seen through the public API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chappe.app import Node
from chappe.connectors.smpp import SmppSettings
from chappe.core import hours
from chappe.core.errors import ChappeError
from chappe.simulator import Mood, Simulator

StartNode = Callable[..., Awaitable[Node]]
ClientOf = Callable[..., Awaitable[Any]]

STATES = ["submitted", "sent", "delivered", "bounced", "error", "opened", "reply", "unsubscribed"]

ENDS = {
    "+33600000000": ("delivered", ["submitted", "sent", "delivered"]),
    "+33600000001": ("bounced", ["submitted", "sent", "bounced"]),
    "+33600000002": ("error", ["submitted", "sent", "error"]),
    "+33600000003": ("reply", ["submitted", "sent", "delivered", "reply"]),
    "+33600000004": ("unsubscribed", ["submitted", "sent", "delivered", "unsubscribed"]),
    "+33600000005": ("opened", ["submitted", "sent", "delivered", "opened"]),
    "+33600000006": ("error", ["submitted", "sent", "error"]),
    "+33600000007": ("error", ["submitted", "error"]),
    "+33600000008": ("delivered", ["submitted", "sent", "delivered"]),
    "+33600000009": ("delivered", ["submitted", "sent", "delivered"]),
}


def ended_as(state: str, reached: list[str]) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["state"] == state and set(reached) <= status.keys()


async def an_operator(stack: AsyncExitStack, mood: Mood | None = None) -> tuple[Simulator, SmppSettings]:
    simulator = Simulator(mood or Mood(receipt_seconds=0.05, reply_seconds=0.05), ledger=True)
    port = await simulator.start()
    stack.push_async_callback(simulator.stop)
    return simulator, SmppSettings(name="op", host="127.0.0.1", port=port, retry_seconds=0.05)


async def test_each_number_of_the_simulator_ends_as_documented(start_node: StartNode, client_of: ClientOf) -> None:
    client = await client_of(await start_node(validity_seconds=5))
    text = "Bonjour, lire https://example.org/bienvenue"
    ids = {number: await client.send(number, text, trackLinks=number.endswith("5")) for number in ENDS}
    for number, (state, reached) in ENDS.items():
        status = await client.status_once(ids[number], ended_as(state, reached))
        assert [name for name in STATES if name in status] == reached, (number, status)
        assert status["stateDate"] == status[state]
        assert status["test"] is True
        by_number = (await client.get("/v2/messages/status", identifier=number)).json()
        assert by_number == await client.status(ids[number])


async def test_the_sample_s_seven_keys_come_in_its_order(start_node: StartNode, client_of: ClientOf) -> None:
    client = await client_of(await start_node())
    id_ = await client.send("06 00 00 00 00")
    await client.status_once(id_, ended_as("delivered", []))
    body = (await client.get("/v2/messages/status", snapshotId=id_)).text
    keys = ["delivered", "id", "sent", "state", "stateDate", "submitted", "test"]
    places = [body.index(f'"{key}":') for key in keys]
    assert places == sorted(places)


async def test_long_text_arrives_as_parts_that_a_phone_joins(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    operator, settings = await an_operator(stack)
    client = await client_of(await start_node(settings))
    text = ("Prix : 12 € 👍🏽 famille 👨‍👩‍👧‍👦, à bientôt ! " * 20)[:600]
    id_ = await client.send("+33612345678", text)
    status = await client.status_once(id_, ended_as("delivered", []))
    assert operator.inbox == [("33612345678", text)]
    assert [part["state"] for part in status["parts"]] == ["delivered"] * len(operator.ledger or [])
    assert len(status["parts"]) > 8
    assert status["test"] is False


async def test_lost_receipt_of_one_part_is_visible(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    _, settings = await an_operator(stack, Mood(receipt_seconds=0.05, receipt_parts=(1, 3)))
    client = await client_of(await start_node(settings))
    id_ = await client.send("+33612345678", "Bonjour " * 50)

    def two_delivered(status: dict[str, Any]) -> bool:
        return [part["state"] for part in status["parts"]] == ["delivered", "sent", "delivered"]

    status = await client.status_once(id_, two_delivered)
    assert status["state"] == "sent"


@pytest.mark.parametrize("order", [(3, 1, 2), (1, 2, 3)])
async def test_reply_in_three_parts_is_one_reply_in_any_order(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack, order: tuple[int, ...]
) -> None:
    operator, settings = await an_operator(stack)
    client = await client_of(await start_node(settings))
    id_ = await client.send("+33612345678")
    await client.status_once(id_, ended_as("delivered", []))
    operator.send_mo("+33612345678", "36111", ["Oui, c'est ", "parfait pour ", "moi 👍"], order)
    status = await client.status_once(id_, ended_as("reply", ["reply"]))
    assert status["replyMessage"] == "Oui, c'est parfait pour moi 👍"


async def test_message_waits_on_disk_while_the_operator_is_away(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    operator, settings = await an_operator(stack)
    port = settings.port
    await operator.stop()
    client = await client_of(await start_node(settings))
    id_ = await client.send("+33612345678")
    assert (await client.status(id_))["state"] == "submitted"
    await operator.start(port=port)
    await client.status_once(id_, ended_as("delivered", []))


async def test_receipts_while_we_are_away_are_taken_at_the_next_start(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    operator, settings = await an_operator(stack, Mood(receipt_seconds=0.3))
    node = await start_node(settings)
    client = await client_of(node)
    id_ = await client.send("+33612345678")
    await client.status_once(id_, ended_as("sent", []))
    await node.__aexit__(None, None, None)
    async with asyncio.timeout(10):
        while not operator.undelivered:
            await asyncio.sleep(0.02)
    client = await client_of(await start_node(settings))
    await client.status_once(id_, ended_as("delivered", []))


async def test_stopping_leaves_nothing_in_doubt(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    operator, settings = await an_operator(stack, Mood(answer_seconds=0.2, receipt_seconds=0.3))
    node = await start_node(settings)
    client = await client_of(node)
    ids = [await client.send(f"+336123456{index:02}") for index in range(30)]
    await client.close()
    await node.__aexit__(None, None, None)
    submitted = len(operator.ledger or [])
    assert submitted > 0
    node = await start_node(settings)
    assert (await node.store.count_pending())["in_doubt"] == 0
    client = await client_of(node)
    for id_ in ids:
        status = await client.status_once(id_, ended_as("delivered", []))
        assert "resent" not in status
    assert len(operator.ledger or []) == 30


async def test_another_account_s_message_does_not_exist(start_node: StartNode, client_of: ClientOf) -> None:
    node = await start_node()
    owner, other = await client_of(node, "owner"), await client_of(node, "other")
    id_ = await owner.send("+33600000000")
    absent = await other.get("/v2/messages/status", snapshotId="999999")
    foreign = await other.get("/v2/messages/status", snapshotId=id_)
    assert (foreign.status_code, foreign.content) == (absent.status_code, absent.content)
    by_number = await other.get("/v2/messages/status", identifier="+33600000000")
    assert (by_number.status_code, by_number.content) == (absent.status_code, absent.content)


async def test_bounced_number_is_refused_from_then_on(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    _, settings = await an_operator(stack)
    node = await start_node(settings)
    client, other = await client_of(node), await client_of(node, "other")
    await client.status_once(await client.send("+33600000001"), ended_as("bounced", []))
    for sender, code in ((client, 13), (other, 14)):
        with pytest.raises(AssertionError, match=f'"code":{code}'):
            await sender.send("+33600000001")


async def test_test_keys_always_meet_the_simulator(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    operator, settings = await an_operator(stack)
    client = await client_of(await start_node(settings), test=True)
    status = await client.status_once(await client.send("+33600000000"), ended_as("delivered", []))
    assert status["test"] is True
    assert operator.ledger == []


async def test_scheduled_message_leaves_when_it_is_due(start_node: StartNode, client_of: ClientOf) -> None:
    client = await client_of(await start_node())
    first = await client.status_once(await client.send("+33600000000"), ended_as("delivered", []))
    due = first["delivered"] + 1_500
    id_ = await client.send("+33612345678", date=due)
    status = await client.status_once(id_, ended_as("delivered", []))
    assert status["submitted"] < due <= status["sent"]


async def test_system_on_hold_accepts_and_sends_once_it_is_let_go(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    operator, settings = await an_operator(stack)
    node = await start_node(settings)
    await node.store.hold(True, 1)
    client = await client_of(node)
    sent = await client.send("+33600000000")
    async with asyncio.timeout(30):
        while not (ready := (await client.get("/ready")).json())["held"]:
            await asyncio.sleep(0.02)
    assert (ready["ready"], (await client.status(sent))["state"]) == (True, "submitted")
    await node.store.hold(False, 2)
    await client.status_once(sent, ended_as("delivered", ["sent"]))
    assert len(operator.ledger or []) == 1


async def test_marketing_reaches_a_phone_with_the_operator_s_short_code_to_stop_it(
    start_node: StartNode, client_of: ClientOf, stack: AsyncExitStack
) -> None:
    operator, settings = await an_operator(stack)
    settings = msgspec.structs.replace(settings, sender="36111")
    node = await start_node(settings)
    client = await client_of(node)
    account = await node.store.find_account("shop")
    assert account is not None
    await node.store.save_settings(account.id, replace(account.settings, hours="none"))  # whenever this runs
    id_ = await client.send("+33612345678", "Soldes !", family="marketing")
    await client.status_once(id_, ended_as("delivered", []))
    assert operator.inbox == [("33612345678", "Soldes ! STOP au 36111")]


async def test_server_without_a_mention_for_its_operators_says_so(
    start_node: StartNode, stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    _, settings = await an_operator(stack)
    await start_node(settings)
    assert "NO STOP MENTION" in caplog.text


async def test_server_does_not_start_without_time_zones(start_node: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise ChappeError("no time zone 'Europe/Paris' on this machine")

    monkeypatch.setattr(hours, "prepare", absent)
    with pytest.raises(ChappeError, match="time zone"):
        await start_node()
