"""Several nodes on one PostgreSQL: the roles, a lease that moves, a fraction of `scripts/prove` with a fixed seed."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from chappe.app import Node
from chappe.cluster.postgres import PostgresCluster
from chappe.connectors.smpp import SmppSettings
from chappe.settings import Settings
from chappe.simulator import Mood, Simulator
from proofs import claims, kill, outages, races, takeover

ClientOf = Callable[..., Awaitable[Any]]
StartNode = Callable[..., Awaitable[Node]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's, which only the user who runs the tests may enter: PostgreSQL may have to run as another."""
    with tempfile.TemporaryDirectory(prefix="chappe-test-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="chappe-test-") as path:
        cluster = PostgresCluster(Path(path), standbys=0, settings={"fsync": "off"})
        try:
            cluster.start()
            yield cluster.url
        finally:
            cluster.stop()


@pytest.fixture
async def operator() -> AsyncIterator[Simulator]:
    simulator = Simulator(Mood(receipt_seconds=0.05), ledger=True)
    yield simulator
    await simulator.stop()


@pytest.fixture
async def start_on_postgres(database: str, operator: Simulator, stack: AsyncExitStack) -> StartNode:
    settings = SmppSettings(name="op", host="127.0.0.1", port=await operator.start(), retry_seconds=0.05)

    async def start(name: str, role: Any = "all") -> Node:
        node = Node(Settings(listen="127.0.0.1:0", database=database, node=name, role=role, operators=(settings,)))
        return await stack.enter_async_context(node)

    return start


def delivered(status: dict[str, Any]) -> bool:
    return bool(status["state"] == "delivered")


async def test_what_an_api_node_accepts_leaves_through_a_worker(
    start_on_postgres: StartNode, client_of: ClientOf, operator: Simulator
) -> None:
    api = await start_on_postgres("front", "api")
    client = await client_of(api)
    id_ = await client.send("+33612345678")
    assert operator.counts["binds"] == 0
    worker = await start_on_postgres("back", "worker")
    await client.status_once(id_, delivered)
    assert operator.inbox == [("33612345678", "Bonjour")]
    assert (worker.base_url, operator.counts["binds"]) == ("", 1)


async def test_operator_moves_to_the_other_node_when_its_node_stops_and_is_bound_once_at_a_time(
    start_on_postgres: StartNode, client_of: ClientOf, operator: Simulator
) -> None:
    first, second = await start_on_postgres("first"), await start_on_postgres("second")
    client = await client_of(second)
    await client.status_once(await client.send("+33612345601"), delivered)
    assert operator.counts["binds"] == 1  # the first node's, who was there before
    await first.__aexit__(None, None, None)
    status = await client.status_once(await client.send("+33612345602"), delivered)
    assert "resent" not in status
    assert operator.counts["binds"] == 2


async def test_sleeper_s_operator_is_taken_over_and_it_claims_nothing_when_it_wakes(folder: Path) -> None:
    findings = await takeover.prove(folder, kills=0, pauses=1, nodes=2)
    assert findings.problems == []


async def test_database_restarts_under_load_and_nothing_accepted_is_lost(folder: Path) -> None:
    findings = await outages.restarts(folder, count=1, seed=1)
    assert findings.problems == []
    assert findings.counts["503"] != 0


async def test_nodes_that_are_killed_in_turn_lose_nothing(folder: Path) -> None:
    findings = await kill.prove(folder, sends=300, kills=2, seed=2, nodes=2)
    assert findings.problems == []
    assert findings.accepted > 200


async def test_nodes_claim_each_message_once(folder: Path) -> None:
    findings = await claims.prove(folder, messages=3_000, nodes=2)
    shares = [problem for problem in findings.problems if problem.startswith("unfair")]
    assert findings.problems == shares  # so few messages are gone before both nodes have found their pace


async def test_answers_and_receipts_that_race_on_two_nodes_are_all_settled(folder: Path) -> None:
    findings = await races.prove(folder, races=500, seed=1)
    assert findings.problems == []
