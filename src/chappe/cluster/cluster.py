"""A whole installation on this machine: the database, an operator, nodes, and what spreads requests over them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from chappe.cluster.nodes import ChildNode
from chappe.cluster.postgres import DATABASE, PostgresCluster
from chappe.cluster.round_robin import RoundRobin
from chappe.simulator import Mood, Simulator

OPERATOR = "op"
"""The connector that all nodes may lease."""
HOLDER = "SELECT coalesce(max(node), '') FROM connector WHERE name = 'op' AND held_until > 0"
"""Who took it last, and has not given it back."""


class Cluster:
    """`async with` starts and stops it. The operator lives in our loop, so that its ledger outlives every node."""

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 3,
        standbys: int = 2,
        mood: Mood | None = None,
        window: int = 20,
        postgres: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        report: Callable[[str], None] = lambda step: None,
    ) -> None:
        """`postgres` are settings of PostgreSQL, `settings` variables of the nodes; `report` is told each step.

        Raises MissingPrograms.
        """
        self.postgres = PostgresCluster(folder, standbys=standbys, settings=dict(postgres or {}))
        self.operator = Simulator(mood, ledger=True)
        self.nodes: list[ChildNode] = []
        self.base_url = ""
        """Where requests go, to be spread over the nodes."""
        self.key = ""
        self._folder = folder
        self._count = nodes
        self._window = window
        self._settings = settings
        self._report = report
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Cluster:
        async with self._stack:
            await self._start()
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def holder(self) -> ChildNode | None:
        """The node that speaks to the operator."""
        name = await asyncio.to_thread(self.postgres.primary.ask, HOLDER, DATABASE)
        return next((node for node in self.nodes if node.name == name), None)

    async def _start(self) -> None:
        stack, postgres = self._stack, self.postgres
        self._report("starting PostgreSQL")
        stack.push_async_callback(asyncio.to_thread, postgres.stop)
        await asyncio.to_thread(postgres.start)
        port = await self.operator.start()
        stack.push_async_callback(self.operator.stop)
        config = self._folder / "chappe.toml"
        config.write_text(
            f'[operators.{OPERATOR}]\nhost = "127.0.0.1"\nport = {port}\nwindow = {self._window}\n'
            "retry_seconds = 0.2\nresponse_seconds = 5\n"
        )
        self.nodes = [
            ChildNode(self._folder, f"node{number}", postgres.url, config, self._settings)
            for number in range(1, self._count + 1)
        ]
        self._report("starting the nodes")
        stack.push_async_callback(self._stop_nodes)
        self.key = await asyncio.to_thread(self.nodes[0].create_key, "cluster")
        await asyncio.gather(*(asyncio.to_thread(node.start) for node in self.nodes))
        proxy = RoundRobin([node.port for node in self.nodes])
        self.base_url = f"http://127.0.0.1:{await proxy.start()}"
        stack.push_async_callback(proxy.stop)

    async def _stop_nodes(self) -> None:
        self._report("stopping")
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in self.nodes))
