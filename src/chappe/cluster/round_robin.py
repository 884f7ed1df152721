"""A load balancer of the smallest sort: each connection goes to the next node that takes it.

It stands for the one that a real installation has. It does not know HTTP, and asks nobody whether they are well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

CONNECT_SECONDS = 1.0
CHUNK = 65_536


class RoundRobin:
    """Listens on loopback and spreads connections over the ports of nodes on this machine."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._server: asyncio.Server
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._open.add(task)
        to_node: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError):
                node, to_node = await self._connect()
                # Either side's end is the end: half a conversation is of no use over HTTP.
                copies = [asyncio.create_task(_copy(client, to_node)), asyncio.create_task(_copy(node, to_client))]
                try:
                    await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for copy in copies:
                        copy.cancel()
                    await asyncio.gather(*copies, return_exceptions=True)
        except asyncio.CancelledError:
            pass  # `stop`, and nobody waits for us but it
        finally:
            self._open.discard(task)
            for writer in filter(None, (to_client, to_node)):
                writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the first that answers, beginning with the next one. Raises OSError when none does."""
        self._ports.append(self._ports.pop(0))
        for port in list(self._ports):  # others turn it while we wait
            with suppress(OSError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionRefusedError


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while octets := await source.read(CHUNK):
            target.write(octets)
            await target.drain()
