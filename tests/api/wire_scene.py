"""A real server on the loopback address, and clients whose every byte is the test's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from api_scene import Scene, open_scene

from chappe.api.server import Limits, Server, make_server


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> int:
        """The integer that the JSON body of every error has."""
        code = json.loads(self.body)["code"]
        assert isinstance(code, int)
        return code


class Client:
    """A connection on which bytes are written as the test likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, *octets: bytes) -> None:
        self.writer.write(b"".join(octets))

    async def read_answer(self) -> Answer:
        async with asyncio.timeout(30):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(status_line.split(" ")[1]), headers, body)

    async def ask(self, *octets: bytes) -> Answer:
        self.write(*octets)
        return await self.read_answer()

    async def is_closed(self) -> bool:
        """Waits for the server to end the connection; False if it says something instead."""
        async with asyncio.timeout(30):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True

    async def flood(self, octets: bytes, most: int) -> int:
        """Writes until the server ends the connection, or `most` bytes are gone; returns how many."""
        written = 0
        async with asyncio.timeout(30):
            try:
                while written < most:
                    self.write(octets)
                    await self.writer.drain()
                    written += len(octets)
            except ConnectionError:
                pass
        return written


@dataclass
class House:
    """A server with its clients."""

    scene: Scene
    server: Server
    clients: list[Client]

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self.clients.append(client)
        return client


@asynccontextmanager
async def open_house(path: Path, limits: Limits) -> AsyncIterator[House]:
    async with open_scene(path) as scene:
        server = make_server(scene.app, "127.0.0.1", 0, limits=limits)
        await server.start()
        house = House(scene, server, [])
        try:
            yield house
        finally:
            for client in house.clients:
                client.writer.transport.abort()
            await server.stop()
