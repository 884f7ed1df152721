"""Connectors that are paused, drained, resumed and cut off while messages leave, and routes with several members:
nothing is lost, nothing leaves twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from chappe.app import Node
from chappe.connectors.smpp import SmppSettings
from chappe.core import routing
from chappe.core.steering import Condition, Told, condition_of
from chappe.routes import RouteSettings, Through
from chappe.simulator import Mood, Simulator

ClientOf = Callable[..., Awaitable[Any]]
StartNode = Callable[..., Awaitable[Node]]

PATIENCE_SECONDS = 30
MESSAGES = 120


@pytest.fixture
async def orange() -> AsyncIterator[Simulator]:
    simulator = Simulator(Mood(receipt_seconds=0.05), ledger=True)
    yield simulator
    await simulator.stop()


@pytest.fixture
async def sfr() -> AsyncIterator[Simulator]:
    simulator = Simulator(Mood(receipt_seconds=0.05), ledger=True)
    yield simulator
    await simulator.stop()


async def an_operator(name: str, simulator: Simulator) -> SmppSettings:
    return SmppSettings(name=name, host="127.0.0.1", port=await simulator.start(), window=2, retry_seconds=0.05)


async def until(node: Node, connector: str, condition: Condition) -> None:
    """The server shows it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            told = {one.connector: one.told for one in await node.store.list_steered()}
            shown = {one.connector: one for one in await node.store.list_shown()}
            now = max((one.at for one in shown.values()), default=0)
            if condition_of(told.get(connector, Told.RUN), shown.get(connector), now) is condition:
                return
            await asyncio.sleep(0.02)


async def send_many(client: Any) -> list[str]:
    """More at a time than one operator has room for, so that both are given some."""
    return list(await asyncio.gather(*(client.send(f"+336123{n:05}") for n in range(MESSAGES))))


async def test_operator_that_is_paused_stays_bound_and_gets_nothing(
    start_node: StartNode, client_of: ClientOf, orange: Simulator, sfr: Simulator
) -> None:
    node = await start_node(await an_operator("orange", orange), await an_operator("sfr", sfr))
    client = await client_of(node)
    await until(node, "orange", Condition.BOUND)
    await until(node, "sfr", Condition.BOUND)
    await node.store.tell_connector("orange", Told.PAUSE, 1)
    await until(node, "orange", Condition.PAUSED)
    ids = await send_many(client)
    for id_ in ids:
        await client.status_once(id_, lambda status: status["state"] == "delivered")
    assert (len(orange.inbox), len(sfr.inbox)) == (0, MESSAGES)
    ready = (await client.get("/ready")).json()
    assert (ready["connectors"]["orange"], ready["limits"]["orange"]) == ("bound", "paused, or draining")
    await node.store.tell_connector("sfr", Told.PAUSE, 1)
    await until(node, "sfr", Condition.PAUSED)
    id_ = await client.send("+33612399999")
    await node.store.tell_connector("orange", Told.RUN, 2)
    await client.status_once(id_, lambda status: status["state"] == "delivered")
    assert orange.inbox == [("33612399999", "Bonjour")]


async def test_operator_that_is_drained_under_load_loses_nothing_and_comes_back(
    start_node: StartNode, client_of: ClientOf, orange: Simulator, sfr: Simulator
) -> None:
    node = await start_node(await an_operator("orange", orange), await an_operator("sfr", sfr))
    client = await client_of(node)
    await until(node, "orange", Condition.BOUND)
    sending = asyncio.create_task(send_many(client))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(orange.inbox) < 5:
            await asyncio.sleep(0.01)
    await node.store.tell_connector("orange", Told.DRAIN, 1)
    await until(node, "orange", Condition.DRAINED)
    assert orange.bound == 0
    ids = await sending
    for id_ in ids:
        await client.status_once(id_, lambda status: status["state"] in ("sent", "delivered"))
    assert set(Counter(number for number, _ in [*orange.inbox, *sfr.inbox]).values()) == {1}
    await node.store.tell_connector("orange", Told.RUN, 2)
    for id_ in ids:  # some receipts were for orange to bring
        status = await client.status_once(id_, lambda status: status["state"] == "delivered")
        assert "resent" not in status
    await until(node, "orange", Condition.BOUND)
    assert orange.counts["binds"] == 2


async def test_what_a_connector_was_told_outlives_the_server(
    start_node: StartNode, client_of: ClientOf, orange: Simulator, sfr: Simulator
) -> None:
    operators = await an_operator("orange", orange), await an_operator("sfr", sfr)
    node = await start_node(*operators)
    await node.store.tell_connector("orange", Told.PAUSE, 1)
    await node.store.tell_connector("sfr", Told.DRAIN, 1)
    await until(node, "orange", Condition.PAUSED)
    await until(node, "sfr", Condition.DRAINED)
    await node.__aexit__(None, None, None)
    node = await start_node(*operators)
    client = await client_of(node)
    id_ = await client.send("+33612345678")
    await until(node, "orange", Condition.PAUSED)
    assert (await client.status(id_))["state"] == "submitted"
    assert (orange.inbox, sfr.counts["binds"]) == ([], 1)


async def test_messages_leave_through_the_operators_of_their_route(
    start_node: StartNode, client_of: ClientOf, orange: Simulator, sfr: Simulator
) -> None:
    routes = (
        RouteSettings(name="otp", through=("sfr",), categories=("otp",)),
        RouteSettings(name="live", through=("orange",)),
    )
    node = await start_node(await an_operator("orange", orange), await an_operator("sfr", sfr), routes=routes)
    client = await client_of(node)
    ids = [await client.send(f"+336123000{n:02}", category="otp" if n % 2 else "news") for n in range(20)]
    for id_ in ids:
        await client.status_once(id_, lambda status: status["state"] == "delivered")
    assert sorted(number for number, _ in sfr.inbox) == [f"336123000{n:02}" for n in range(1, 20, 2)]
    assert len(orange.inbox) == 10


async def test_messages_are_shared_by_weight(
    start_node: StartNode, client_of: ClientOf, orange: Simulator, sfr: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "PATIENCE_MS", 3_600_000)  # on a slow machine too, none takes what is the other's
    routes = (RouteSettings(name="live", through=(Through("orange", weight=3), Through("sfr", weight=1))),)
    node = await start_node(await an_operator("orange", orange), await an_operator("sfr", sfr), routes=routes)
    client = await client_of(node)
    await until(node, "orange", Condition.BOUND)
    await until(node, "sfr", Condition.BOUND)
    for n in range(100):
        id_ = await client.send(f"+336123{n:05}")
        await client.status_once(id_, lambda status: status["state"] == "delivered")
    assert (len(orange.inbox), len(sfr.inbox)) == (75, 25)


async def test_next_priority_takes_over_when_the_link_is_lost_and_gives_back(
    start_node: StartNode, client_of: ClientOf, orange: Simulator, sfr: Simulator
) -> None:
    routes = (RouteSettings(name="live", through=(Through("orange"), Through("sfr", priority=2))),)
    settings = await an_operator("orange", orange), await an_operator("sfr", sfr)
    node = await start_node(*settings, routes=routes)
    client = await client_of(node)
    await until(node, "orange", Condition.BOUND)
    await until(node, "sfr", Condition.BOUND)
    for n in range(5):
        await client.status_once(await client.send(f"+3361230000{n}"), lambda status: status["state"] == "delivered")
    assert (len(orange.inbox), len(sfr.inbox)) == (5, 0)
    await orange.stop()
    await until(node, "orange", Condition.UNBOUND)
    for n in range(5):
        await client.status_once(await client.send(f"+3361230001{n}"), lambda status: status["state"] == "delivered")
    assert len(sfr.inbox) == 5
    await orange.start(port=settings[0].port)
    await until(node, "orange", Condition.BOUND)
    await client.status_once(await client.send("+33612300020"), lambda status: status["state"] == "delivered")
    assert (len(orange.inbox), len(sfr.inbox)) == (6, 5)


async def test_what_waits_on_a_route_that_is_gone_still_leaves(
    start_node: StartNode, client_of: ClientOf, orange: Simulator, sfr: Simulator
) -> None:
    operators = await an_operator("orange", orange), await an_operator("sfr", sfr)
    routes = (RouteSettings(name="otp", through=("sfr",), categories=("otp",)),)
    node = await start_node(*operators, routes=routes)
    await node.store.tell_connector("sfr", Told.PAUSE, 1)
    await until(node, "sfr", Condition.PAUSED)
    id_ = await (await client_of(node)).send("+33612345678", category="otp")
    await node.__aexit__(None, None, None)
    node = await start_node(*operators)
    await (await client_of(node)).status_once(id_, lambda status: status["state"] == "delivered")
    assert orange.inbox == [("33612345678", "Bonjour")]


async def test_what_one_operator_will_not_take_leaves_through_the_next_and_nothing_is_asked_twice(
    start_node: StartNode, client_of: ClientOf, orange: Simulator, sfr: Simulator
) -> None:
    orange.mood = Mood(refused=1.0, refused_status=0x0B)
    members = (Through("orange"), Through("sfr", priority=2))
    routes = (RouteSettings(name="live", through=members),)
    node = await start_node(await an_operator("orange", orange), await an_operator("sfr", sfr), routes=routes)
    client = await client_of(node)
    await until(node, "orange", Condition.BOUND)
    await until(node, "sfr", Condition.BOUND)
    ids = [await client.send(f"+336123000{n:02}") for n in range(20)]
    for id_ in ids:
        await client.status_once(id_, lambda status: status["state"] == "delivered")
    assert (orange.counts["refused"], len(sfr.inbox)) == (20, 20)
    sfr.mood = orange.mood
    id_ = await client.send("+33612399999")
    status = await client.status_once(id_, lambda status: status["state"] == "error")
    assert (status["cause"], orange.counts["refused"], sfr.counts["refused"]) == ("refused:11", 21, 1)
