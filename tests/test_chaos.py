"""The bad network itself: what it does to octets must be known before anything is proved with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos import Chaos


@pytest.fixture
async def chaos() -> AsyncIterator[Chaos]:
    """In front of a server that sends everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while octets := await reader.read(1_000):
                writer.write(octets)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Chaos("127.0.0.1", server.sockets[0].getsockname()[1]) as chaos:
        yield chaos


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(chaos: Chaos) -> Ends:
    return await asyncio.open_connection("127.0.0.1", chaos.port)


async def comes(reader: asyncio.StreamReader, octets: bytes) -> None:
    async with asyncio.timeout(10):
        assert await reader.readexactly(len(octets)) == octets


async def passed(chaos: Chaos, octets: int) -> None:
    async with asyncio.timeout(10):
        while chaos.up.octets < octets:
            await asyncio.sleep(0.001)


async def test_by_default_it_is_a_wire(chaos: Chaos) -> None:
    reader, writer = await connect(chaos)
    writer.write(b"hello")
    await comes(reader, b"hello")
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()


async def test_octets_that_are_split_arrive_all_the_same(chaos: Chaos) -> None:
    chaos.down.split = chaos.up.split = 1
    reader, writer = await connect(chaos)
    writer.write(bytes(range(256)))
    await comes(reader, bytes(range(256)))
    writer.close()


async def test_a_delay_holds_octets_back_and_keeps_their_order(chaos: Chaos) -> None:
    chaos.up.delay_seconds = 0.05
    reader, writer = await connect(chaos)
    began = asyncio.get_running_loop().time()
    writer.write(b"one ")
    await writer.drain()
    writer.write(b"two")
    await comes(reader, b"one two")
    assert asyncio.get_running_loop().time() - began >= 0.05
    writer.close()


async def test_what_is_stalled_comes_later(chaos: Chaos) -> None:
    chaos.down.stalled = True
    reader, writer = await connect(chaos)
    writer.write(b"hello")
    await passed(chaos, 5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await reader.read(1)
    chaos.down.stalled = False
    await comes(reader, b"hello")
    writer.close()


async def test_what_is_dropped_never_comes_and_nor_does_the_end(chaos: Chaos) -> None:
    reader, writer = await connect(chaos)
    chaos.down.dropping = True
    writer.write(b"hello")
    await passed(chaos, 5)
    writer.write_eof()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await reader.read(1)
    writer.close()


async def test_a_reset_is_one(chaos: Chaos) -> None:
    reader, writer = await connect(chaos)
    writer.write(b"hello")
    await comes(reader, b"hello")
    chaos.reset()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_close_is_an_end_in_order(chaos: Chaos) -> None:
    reader, writer = await connect(chaos)
    writer.write(b"hello")
    await comes(reader, b"hello")
    chaos.close()
    assert await reader.read() == b""
    writer.close()


async def test_it_refuses_and_takes_connections_again_at_the_same_port(chaos: Chaos) -> None:
    reader, writer = await connect(chaos)
    writer.write(b"hello")
    await comes(reader, b"hello")
    chaos.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(chaos)
    writer.write(b"still here")
    await comes(reader, b"still here")
    await chaos.listen()
    _, again = await connect(chaos)
    writer.close()
    again.close()
