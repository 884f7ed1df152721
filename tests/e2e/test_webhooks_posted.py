"""Webhooks from HTTP to a receiver: a real server with its notifier, a real receiver, the public signature library."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from chappe.app import Node
from chappe.notifier.child import Child
from chappe.settings import Settings
from tests.notifier.notifier_scene import Call, Receiver, status

ClientOf = Callable[..., Awaitable[Any]]
StartNode = Callable[..., Awaitable[Node]]
PATIENCE_SECONDS = 30


@pytest.fixture
def start_node(tmp_path: Path, stack: AsyncExitStack) -> StartNode:
    """Starts a server whose webhooks may go to this machine."""

    async def start() -> Node:
        settings = Settings(
            listen="127.0.0.1:0",
            database=f"sqlite:///{tmp_path / 'chappe.db'}",
            webhook_networks=("127.0.0.0/8",),
            simulator_response_seconds=0.5,
        )
        return await stack.enter_async_context(Node(settings))

    return start


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver(status(204))
    await receiver.start()
    yield receiver
    await receiver.stop()


async def subscribe(client: Any, receiver: Receiver, *events: str) -> str:
    """The secret of a new webhook."""
    body = {"url": receiver.url} | ({"events": list(events)} if events else {})
    answer = await client._http.post("/v2/webhooks", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["secret"])


def told(receiver: Receiver) -> set[tuple[str, str]]:
    """(message, event) of each call."""
    bodies = [json.loads(call.body) for call in receiver.calls]
    return {(body["snapshotId"], body["event"]) for body in bodies}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.02)


async def test_each_state_is_posted_in_the_vendor_s_shape_and_signed(
    start_node: StartNode, client_of: ClientOf, receiver: Receiver
) -> None:
    client = await client_of(await start_node())
    secret = await subscribe(client, receiver)
    id_ = await client.send("+33600000003", category="orders")
    states = ["submitted", "sent", "delivered", "reply"]
    await until(lambda: told(receiver) == {(id_, state) for state in states})
    for call in receiver.calls:
        Webhook(secret).verify(call.body, call.headers)
    by_event = {body["event"]: body for body in (json.loads(call.body) for call in receiver.calls)}
    assert sorted(by_event, key=lambda name: by_event[name]["sequence"]) == states
    reached = await client.status(id_)
    assert by_event["reply"] == {
        "event": "reply",
        "snapshotId": id_,
        "contact": {"identifier": "+33600000003"},
        "replyMessage": "Merci",
        "date": reached["reply"],
        "category": "orders",
        "test": True,
        "id": f"evt_{id_}_4",
        "sequence": 4,
    }


async def test_only_what_was_asked_for_is_posted(
    start_node: StartNode, client_of: ClientOf, receiver: Receiver
) -> None:
    client = await client_of(await start_node())
    await subscribe(client, receiver, "delivered")
    ids = [await client.send(f"+336123456{number:02}") for number in range(20)]
    await until(lambda: len(told(receiver)) >= len(ids))
    assert told(receiver) == {(id_, "delivered") for id_ in ids}


async def test_a_receiver_that_was_down_gets_everything_once_it_is_back(
    start_node: StartNode, client_of: ClientOf, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chappe.core.webhooks.RETRY_DELAYS_MS", (50,) * 14)
    monkeypatch.setattr("chappe.core.circuit.FIRST_PAUSE_MS", 50)
    monkeypatch.setattr("chappe.core.circuit.LONGEST_PAUSE_MS", 100)
    receiver.behave = status(503)
    node = await start_node()
    client = await client_of(node)
    await subscribe(client, receiver, "delivered")
    ids = [await client.send(f"+336123456{number:02}") for number in range(10)]
    for id_ in ids:
        await client.status_once(id_, lambda reached: reached["state"] == "delivered")
    await until(lambda: len(receiver.calls) >= 3)
    receiver.calls.clear()
    receiver.behave = status(200)
    await until(lambda: told(receiver) == {(id_, "delivered") for id_ in ids})


async def test_410_disables_the_webhook_and_a_replay_brings_what_it_missed(
    start_node: StartNode, client_of: ClientOf, receiver: Receiver
) -> None:
    client = await client_of(await start_node())
    receiver.behave = status(410)
    await subscribe(client, receiver, "delivered")

    async def shown() -> dict[str, Any]:
        return dict((await client.get("/v2/webhooks")).json()["webhooks"][0])

    id_ = await client.send("+33612345678")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "disabled" not in (webhook := await shown()):
            await asyncio.sleep(0.02)
    assert webhook["lastFailure"] == "410"
    receiver.behave = status(200)
    receiver.calls.clear()
    path = f"/v2/webhooks/{webhook['id']}"
    assert (await client._http.post(f"{path}/enable")).status_code == 200
    assert (await client._http.post(f"{path}/replay")).json() == {"replayed": 1}
    await until(lambda: told(receiver) == {(id_, "delivered")})


async def test_a_notifier_that_is_killed_loses_nothing(
    start_node: StartNode, client_of: ClientOf, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chappe.flow.notify.LEASE_MS", 500)
    node = await start_node()
    client = await client_of(node)
    await subscribe(client, receiver)
    answered = asyncio.Event()

    async def hold(call: Call, writer: asyncio.StreamWriter) -> None:
        await answered.wait()

    receiver.behave = hold
    ids = [await client.send(f"+336123456{number:02}") for number in range(20)]
    await until(lambda: len(receiver.calls) >= 1)
    assert node._notifier is not None
    courier = node._notifier._courier
    assert isinstance(courier, Child)
    assert courier.pid is not None
    os.kill(courier.pid, signal.SIGKILL)
    receiver.behave = status(200)
    receiver.calls.clear()
    wanted = {(id_, state) for id_ in ids for state in ("submitted", "sent", "delivered")}
    await until(lambda: told(receiver) == wanted)
    answered.set()


async def test_what_waits_outlives_a_restart(start_node: StartNode, client_of: ClientOf, receiver: Receiver) -> None:
    node = await start_node()
    client = await client_of(node)
    receiver.behave = status(503, "Retry-After: 1")
    await subscribe(client, receiver, "delivered")
    id_ = await client.send("+33612345678")
    await until(lambda: len(receiver.calls) == 1)
    await client.close()
    await node.__aexit__(None, None, None)
    receiver.calls.clear()
    receiver.behave = status(200)
    await start_node()
    await until(lambda: told(receiver) == {(id_, "delivered")})


async def test_the_stream_shows_events_as_they_come_and_ends_with_the_server(
    start_node: StartNode, client_of: ClientOf
) -> None:
    node = await start_node()
    client = await client_of(node)
    async with client._http.stream("GET", "/v2/events/stream", timeout=PATIENCE_SECONDS) as stream:
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith(":")
        id_ = await client.send("+33600000003")
        shown: list[str] = []
        async for line in lines:
            if line.startswith("data: "):
                told = json.loads(line.removeprefix("data: "))
                assert told["snapshotId"] == id_
                shown.append(told["event"])
            if len(shown) == 4:
                break
        assert shown == ["submitted", "sent", "delivered", "reply"]
        stopping = asyncio.create_task(node.__aexit__(None, None, None))
        assert [line async for line in lines if line.startswith("data:")] == []
        await stopping
