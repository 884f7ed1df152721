"""The small load balancer: connections in turn, and never to a node that does not listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from chappe.cluster.round_robin import RoundRobin
from chappe.loopback import free_port

Listen = Callable[[bytes], Awaitable[int]]
Ask = Callable[[], Awaitable[bytes]]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """A node that answers each line with its name before the line; its port."""
    servers: list[asyncio.Server] = []

    async def listen(name: bytes) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(name + b" " + line)
            writer.close()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        port: int = servers[-1].sockets[0].getsockname()[1]
        return port

    yield listen
    for server in servers:
        server.close()


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_connections_go_to_each_node_in_turn(listen: Listen) -> None:
    proxy = RoundRobin([await listen(b"a"), await listen(b"b")])
    port = await proxy.start()
    assert sorted([await ask(port), await ask(port)]) == [b"a hello\n", b"b hello\n"]
    await proxy.stop()


async def test_node_that_does_not_listen_is_passed_over_by_many_at_once(listen: Listen) -> None:
    proxy = RoundRobin([free_port(), await listen(b"a"), free_port()])
    port = await proxy.start()
    assert await asyncio.gather(*(ask(port) for _ in range(20))) == [b"a hello\n"] * 20
    await proxy.stop()


async def test_connection_ends_at_once_when_no_node_listens() -> None:
    proxy = RoundRobin([free_port(), free_port()])
    port = await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    writer.close()
    await proxy.stop()


async def test_stopping_ends_what_is_open(listen: Listen) -> None:
    proxy = RoundRobin([await listen(b"a")])
    reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.start())
    writer.write(b"hello\n")
    assert await reader.readline() == b"a hello\n"
    await proxy.stop()
    assert await reader.read() == b""
    writer.close()
