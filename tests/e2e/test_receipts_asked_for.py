"""An operator that sends no receipts is asked what became of its submits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chappe import app
from chappe.app import Node
from chappe.connectors.smpp import SmppSettings
from chappe.flow import asking
from chappe.simulator import Mood, Simulator

ClientOf = Callable[..., Awaitable[Any]]
StartNode = Callable[..., Awaitable[Node]]


async def test_message_whose_receipt_is_lost_is_delivered_because_the_operator_is_asked(
    start_node: StartNode, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, now_ms = 0, app._now_ms
    monkeypatch.setattr(app, "_now_ms", lambda: now_ms() + ahead)
    monkeypatch.setattr(asking, "EVERY_SECONDS", 0.01)
    simulator = Simulator(Mood(receipt_seconds=0, receipts_lost=1))
    operator = SmppSettings(name="orange", host="127.0.0.1", port=await simulator.start(), query_after_seconds=60)
    node = await start_node(operator)
    client = await client_of(node)
    id_ = await client.send("+33612345678")
    await client.status_once(id_, lambda status: status["state"] == "sent")
    assert simulator.counts["queries"] == 0
    ahead = 61_000
    await client.status_once(id_, lambda status: status["state"] == "delivered")
    timeline = (await client.get(f"/v2/messages/{id_}/timeline")).json()
    [told] = [fact for fact in timeline["facts"] if fact["fact"] == "receiptRead"]
    assert (told["asked"], told["verdict"]) == (True, "delivered")
    assert simulator.counts["queries"] == 1
    await simulator.stop()
