"""A whole server in the test's own loop, and a client that speaks to it over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chappe.app import Node
from chappe.connectors.smpp import SmppSettings
from chappe.routes import RouteSettings
from chappe.settings import Settings

PATIENCE_SECONDS = 30


class Client:
    """An application with an API key."""

    def __init__(self, node: Node, key: str) -> None:
        self.key = key
        self._http = httpx2.AsyncClient(base_url=node.base_url, headers={"X-Primotexto-ApiKey": key})

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, number: str, text: str = "Bonjour", *, family: str = "notification", **options: Any) -> str:
        """Sends and returns the snapshotId."""
        body = {"number": number, "message": text, **options}
        answer = await self._http.post(f"/v2/{family}/messages/send", json=body)
        assert answer.status_code == 200, answer.text
        snapshot_id: str = answer.json()["snapshotId"]
        return snapshot_id

    async def get(self, path: str, **query: str) -> httpx2.Response:
        return await self._http.get(path, params=query)

    async def status(self, snapshot_id: str) -> dict[str, Any]:
        answer = await self.get("/v2/messages/status", snapshotId=snapshot_id)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def status_once(self, snapshot_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The status as soon as it is as wanted."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reached(status := await self.status(snapshot_id)):
                await asyncio.sleep(0.02)
        return status


StartNode = Callable[..., Awaitable[Node]]
ClientOf = Callable[..., Awaitable[Client]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start_node(tmp_path: Path, stack: AsyncExitStack) -> StartNode:
    """Starts a server on the test's database; without operators everything goes to the simulator."""

    async def start(
        *operators: SmppSettings, validity_seconds: int = 600, routes: tuple[RouteSettings, ...] = ()
    ) -> Node:
        settings = Settings(
            listen="127.0.0.1:0",
            database=f"sqlite:///{tmp_path / 'chappe.db'}",
            default_validity_seconds=validity_seconds,
            simulator_response_seconds=0.5,
            operators=operators,
            routes=routes,
        )
        return await stack.enter_async_context(Node(settings))

    return start


@pytest.fixture
def client_of(stack: AsyncExitStack) -> ClientOf:
    """A client of an account, with a key of its own."""

    async def make(node: Node, account: str = "shop", *, test: bool = False) -> Client:
        number = len(await node.store.list_keys())
        key = sha256(f"{account} {number}".encode()).hexdigest()[:32]
        owner = await node.store.open_account(account, now=1)
        await node.store.create_key(owner.id, sha256(key.encode()).digest(), key[:4], test=test, now=1)
        client = Client(node, key)
        stack.push_async_callback(client.close)
        return client

    return make
