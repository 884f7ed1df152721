"""A TCP proxy with a bad network in it: between any client and any server, each direction by itself.

    async with Chaos("127.0.0.1", port) as chaos:
        client connects to chaos.port
        chaos.down.stalled = True

Everything takes effect at once, for what is on its way too. It knows no protocol.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import cast


class Way:
    """One direction of all connections."""

    def __init__(self) -> None:
        self.delay_seconds = 0.0
        """From an octet's arrival to its departure."""
        self.split = 0
        """The octets that leave in one write, each write in a turn of the loop of its own; 0: as they came."""
        self.dropping = False
        """What comes is thrown away, and so is the end of the stream: half open for whoever waits at the other end."""
        self.octets = 0
        """How many have passed."""
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def stalled(self) -> bool:
        """Nothing passes, and nothing is lost: it leaves when this ends."""
        return not self._flowing.is_set()

    @stalled.setter
    def stalled(self, stalled: bool) -> None:
        if stalled:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the end of the stream, which it passes on."""
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def depart() -> None:
            while True:
                arrived, octets = await on_the_way.get()
                await asyncio.sleep(max(0.0, arrived + self.delay_seconds - loop.time()))
                await self._flowing.wait()
                if self.dropping:
                    continue
                if not octets:
                    writer.write_eof()
                    return
                step = self.split or len(octets)
                for at in range(0, len(octets), step):
                    writer.write(octets[at : at + step])
                    await writer.drain()
                    await asyncio.sleep(0)
                self.octets += len(octets)

        departing = asyncio.ensure_future(depart())
        try:
            octets = b"-"
            while octets:
                octets = await reader.read(65_536)
                on_the_way.put_nowait((loop.time(), octets))
            await departing
        finally:
            departing.cancel()


class Chaos:
    """Forwards `port` of this machine to `target`."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        self.up = Way()
        """From clients to the server."""
        self.down = Way()
        self.connections = 0
        """How many were ever accepted."""
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    async def __aenter__(self) -> Chaos:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        tasks = list(self._open)
        self.reset()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def listen(self) -> None:
        """From the start, and again after `refuse`: the same port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """New connections are refused; those there are stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def reset(self) -> None:
        """RST on every connection, to both ends."""
        for task, writers in list(self._open.items()):
            for writer in writers:
                sock = cast(socket.socket, writer.get_extra_info("socket"))
                if sock.fileno() >= 0:  # not closed meanwhile
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            task.cancel()

    def close(self) -> None:
        """FIN on every connection, to both ends."""
        for writers in self._open.values():
            for writer in writers:
                writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._open[task] = (writer,)
        try:
            there, back = await asyncio.open_connection(*self.target)
            self._open[task] = (writer, back)
            await asyncio.gather(self.up.carry(reader, back), self.down.carry(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in self._open.pop(task):
                end.transport.abort()
