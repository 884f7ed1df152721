"""Operators that are added, changed and removed while messages leave: nothing is lost, nothing leaves twice."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chappe.app import Node
from chappe.connectors.smpp import SmppSettings
from chappe.core.message import Holder
from chappe.core.ports import Store
from chappe.core.routing import Portion
from chappe.core.steering import Condition, Told, condition_of
from chappe.routes import RouteSettings
from chappe.settings import SettingsError, read_operator
from chappe.simulator import Mood, Simulator
from proofs import connectors

ClientOf = Callable[..., Awaitable[Any]]
StartNode = Callable[..., Awaitable[Node]]

PATIENCE_SECONDS = 30


class Operator:
    """A simulator, and the settings that lead to it."""

    def __init__(self, slow_seconds: float = 0.0) -> None:
        """`slow_seconds`: by its clock, which its ids begin with."""
        mood = Mood(receipt_seconds=0.05, answer_seconds=0.01)
        self.simulator = Simulator(mood, ledger=True, wall_clock=lambda: time.time() - slow_seconds)
        self.port = 0

    @property
    def settings(self) -> dict[str, str]:
        return {"host": "127.0.0.1", "port": str(self.port), "window": "2", "retry_seconds": "0.05"}


@pytest.fixture
async def orange() -> AsyncIterator[Operator]:
    async with an_operator() as operator:
        yield operator


@pytest.fixture
async def sfr() -> AsyncIterator[Operator]:
    async with an_operator() as operator:
        yield operator


@pytest.fixture
async def elsewhere() -> AsyncIterator[Operator]:
    """Another place of the operator that is at `sfr`, whose ids there are not those here."""
    async with an_operator(slow_seconds=10.0) as operator:
        yield operator


@contextlib.asynccontextmanager
async def an_operator(slow_seconds: float = 0.0) -> AsyncIterator[Operator]:
    operator = Operator(slow_seconds)
    operator.port = await operator.simulator.start()
    yield operator
    await operator.simulator.stop()


async def put(store: Store, name: str, **options: str) -> None:
    """As `chappe connectors add` and `set` do."""
    stored = {one.name: one for one in await store.list_connectors() if not one.removed}
    before = stored.get(name)
    _, kept = read_operator(name, {} if before is None else before.settings, options)
    assert await store.put_connector(name, kept, replaces=0 if before is None else before.revision, now=1)


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await happened():
            await asyncio.sleep(0.02)


async def until_it_is(store: Store, connector: str, condition: Condition) -> None:
    """A server shows it."""

    async def is_so() -> bool:
        told = {one.connector: one.told for one in await store.list_steered()}
        shown = {one.connector: one for one in await store.list_shown()}
        now = max((one.at for one in shown.values()), default=0)
        return condition_of(told.get(connector, Told.RUN), shown.get(connector), now) is condition

    await until(is_so)


async def until_ended(store: Store, name: str) -> None:
    async def ended() -> bool:
        return any(one.name == name and one.ended for one in await store.list_connectors())

    await until(ended)


async def until_counted(operator: Operator, count: str, value: int) -> None:
    async def reached() -> bool:
        return operator.simulator.counts[count] >= value

    await until(reached)


class Load:
    """Sends on, each message to a new number."""

    def __init__(self, client: Any) -> None:
        self.ids: list[str] = []
        self._client = client
        self._stopping = asyncio.Event()
        self._tasks = [asyncio.create_task(self._send_on(n)) for n in range(4)]

    async def _send_on(self, sender: int) -> None:
        number = 0
        while not self._stopping.is_set():
            self.ids.append(await self._client.send(f"+3361{sender}{number:06}"))
            number += 1
            await asyncio.sleep(0.02)

    async def stop(self) -> list[str]:
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        return self.ids


async def test_operator_that_comes_changes_and_goes_under_load_loses_and_doubles_nothing(
    start_node: StartNode, client_of: ClientOf, orange: Operator, sfr: Operator, elsewhere: Operator
) -> None:
    file = SmppSettings(name="orange", host="127.0.0.1", port=orange.port, window=2, retry_seconds=0.05)
    node = await start_node(file)
    client = await client_of(node)
    store, load = node.store, Load(client)
    await put(store, "sfr", **sfr.settings)
    await until_counted(sfr, "accepted", 5)

    await put(store, "sfr", window="7", rate="500")

    async def is_wider() -> bool:
        return any(one.connector == "sfr" and one.figures.window == 7 for one in await store.list_shown())

    await until(is_wider)
    assert sfr.simulator.counts["binds"] == 1

    await put(store, "sfr", port=str(elsewhere.port))
    await until_counted(elsewhere, "accepted", 5)
    assert (sfr.simulator.bound, elsewhere.simulator.counts["binds"]) == (0, 1)

    await store.tell_connector("sfr", Told.DRAIN, 1)
    await until_it_is(store, "sfr", Condition.DRAINED)
    await put(store, "sfr", password="secret")
    taken = elsewhere.simulator.counts["accepted"]
    await store.tell_connector("sfr", Told.RUN, 2)
    await until_counted(elsewhere, "accepted", taken + 5)

    assert await store.remove_connector("sfr", 1)
    await until_ended(store, "sfr")
    assert elsewhere.simulator.bound == 0
    taken = orange.simulator.counts["accepted"]
    await until_counted(orange, "accepted", taken + 5)

    # Receipts come over an operator's own binds: those that were still to come are fetched by coming back.
    ids = await load.stop()
    for place in (sfr, elsewhere):
        await put(store, "sfr", **place.settings)
        await until_counted(place, "delivered", place.simulator.counts["accepted"])
    for id_ in ids:
        status = await client.status_once(id_, lambda status: status["state"] == "delivered")
        assert "resent" not in status
    taken_by = Counter(number for place in (orange, sfr, elsewhere) for number, _ in place.simulator.inbox)
    assert (len(taken_by), set(taken_by.values())) == (len(ids), {1})


async def test_first_operator_takes_live_messages_off_the_simulator_and_the_last_one_does_not_give_them_back(
    start_node: StartNode, client_of: ClientOf, sfr: Operator
) -> None:
    node = await start_node()
    client = await client_of(node)
    await client.status_once(await client.send("+33612345601"), lambda status: status["state"] == "delivered")
    assert (await client.get("/ready")).json()["unserved"] == []

    await put(node.store, "sfr", **sfr.settings)
    await until_counted(sfr, "binds", 1)
    await client.status_once(await client.send("+33612345602"), lambda status: status["state"] == "delivered")
    test = await client_of(node, test=True)
    await test.status_once(await test.send("+33612345603"), lambda status: status["state"] == "delivered")
    assert sfr.simulator.inbox == [("33612345602", "Bonjour")]

    await node.store.remove_connector("sfr", 1)
    await until_ended(node.store, "sfr")
    id_ = await client.send("+33612345604")
    assert (await client.get("/ready")).json()["unserved"] == ["live"]
    await node.__aexit__(None, None, None)
    node = await start_node()
    client = await client_of(node)
    assert (await client.get("/ready")).json()["unserved"] == ["live"]
    assert (await client.status(id_))["state"] == "submitted"

    await put(node.store, "free", **sfr.settings)
    await client.status_once(id_, lambda status: status["state"] == "delivered")
    assert (await client.get("/ready")).json()["unserved"] == []


async def test_added_operator_takes_the_messages_of_the_routes_that_name_it(
    start_node: StartNode, client_of: ClientOf, orange: Operator, sfr: Operator
) -> None:
    routes = (
        RouteSettings(name="otp", through=("sfr",), categories=("otp",)),
        RouteSettings(name="live", through=("orange",)),
    )
    with pytest.raises(SettingsError, match="there is no operator"):
        await start_node(routes=routes)
    file = SmppSettings(name="orange", host="127.0.0.1", port=orange.port, retry_seconds=0.05)
    node = await start_node(file)
    await put(node.store, "sfr", **sfr.settings)
    await node.__aexit__(None, None, None)
    node = await start_node(file, routes=routes)
    client = await client_of(node)
    ids = [await client.send(f"+336123456{n:02}", category="otp" if n % 2 else "news") for n in range(10)]
    for id_ in ids:
        await client.status_once(id_, lambda status: status["state"] == "delivered")
    assert (len(orange.simulator.inbox), len(sfr.simulator.inbox)) == (5, 5)


async def test_what_a_dead_server_left_with_an_operator_that_was_removed_is_in_doubt_and_goes_on(
    start_node: StartNode, client_of: ClientOf, orange: Operator, sfr: Operator
) -> None:
    file = SmppSettings(name="orange", host="127.0.0.1", port=orange.port, retry_seconds=0.05)
    node = await start_node(file)
    store, client = node.store, await client_of(node)
    await until_it_is(store, "orange", Condition.BOUND)
    await store.tell_connector("orange", Told.DRAIN, 1)
    await until_it_is(store, "orange", Condition.DRAINED)
    await store.tell_connector("sfr", Told.DRAIN, 1)
    id_ = await client.send("+33612345601", category="otp")
    dead = await store.lease("sfr", Holder("dead", "1"), -1, 1)
    assert dead is not None
    assert len(await store.claim("sfr", dead, [Portion("live")], 10, time.time_ns() // 1_000_000)) == 1
    await put(store, "sfr", **sfr.settings)
    assert await store.remove_connector("sfr", 1)
    await until_ended(store, "sfr")
    assert sfr.simulator.counts["binds"] == 0
    await store.tell_connector("orange", Told.RUN, 2)
    status = await client.status_once(id_, lambda status: status["state"] == "delivered")
    assert status["resent"] == 1


async def test_what_one_operator_left_to_another_leaves_although_either_is_removed(
    start_node: StartNode, client_of: ClientOf, orange: Operator, sfr: Operator
) -> None:
    file = SmppSettings(name="orange", host="127.0.0.1", port=orange.port, retry_seconds=0.05)
    node = await start_node(file)
    store, client = node.store, await client_of(node)
    await put(store, "sfr", **sfr.settings)
    await until_it_is(store, "orange", Condition.BOUND)
    await until_it_is(store, "sfr", Condition.BOUND)
    refusing = Mood(refused=1.0, refused_status=0x0B)

    async def waits_alone(name: str) -> bool:
        return await store.count_waiting(f"via:{name}", 2**50) == 1

    # Each is refused by one, and meant for the other, which is paused until the one is gone.
    for other, simulator in (("orange", sfr.simulator), ("sfr", orange.simulator)):
        simulator.mood = refusing
        await store.tell_connector(other, Told.PAUSE, 1)
        await until_it_is(store, other, Condition.PAUSED)
        id_ = await client.send("+33612345601", category="otp")
        await until(partial(waits_alone, other))
        assert await store.remove_connector("sfr", 1)
        await until_ended(store, "sfr")
        simulator.mood = Mood(receipt_seconds=0.05)
        await store.tell_connector("orange", Told.RUN, 2)
        await client.status_once(id_, lambda status: status["state"] == "delivered")
        await put(store, "sfr", **sfr.settings)
        await until_it_is(store, "sfr", Condition.BOUND)
    assert len(orange.simulator.inbox) == 2


async def test_operator_that_this_release_does_not_understand_is_left_out_and_the_others_go_on(
    start_node: StartNode, client_of: ClientOf, orange: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    node = await start_node()
    await node.store.put_connector("later", {"host": "127.0.0.1", "port": 1, "new": 1}, replaces=0, now=1)
    await put(node.store, "orange", **orange.settings)
    await until_counted(orange, "binds", 1)
    client = await client_of(node)
    await client.status_once(await client.send("+33612345601"), lambda status: status["state"] == "delivered")
    assert caplog.text.count("added operator is left out") == 1


async def test_operators_that_two_nodes_share_come_change_and_go_by_command_under_load() -> None:
    # Not pytest's folder, which only the user who runs the tests may enter: PostgreSQL may have to run as another.
    with tempfile.TemporaryDirectory(prefix="chappe-test-") as folder:
        findings = await connectors.prove(Path(folder), changes=6, seed=3, nodes=2)
    assert findings.problems == []
    assert findings.counts["changes"] == 6
