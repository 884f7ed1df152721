"""What the tools can do by themselves: each has to be well above what it measures."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from bench.gateways import send_calls
from bench.generator import Generator, LoadError
from bench.measure import CONNECTIONS, Bench, Progress, Round, Row
from bench.peers import Peer, Specification
from bench.servers import cpu_seconds
from chappe.core.text import Alphabet, encode
from chappe.simulator.moods import Mood
from chappe.smpp import codec
from chappe.smpp.pdus import BindTransceiver, SubmitSm

WINDOW = 500
PATIENCE_SECONDS = 120
HEADER = struct.Struct(">IIII")
BIND_RESPONSE, SUBMIT_RESPONSE, DELIVER, DELIVER_RESPONSE = 0x80000009, 0x80000004, 0x00000005, 0x80000005


async def of_the_tools(bench: Bench) -> list[Row]:
    """The load generator at a bare responder, which is the receiver of callbacks; the operator at a bare client."""
    rows = []
    with TemporaryDirectory(dir=bench.folder) as name:
        receiver = Peer(Specification(kind="receiver"), Path(name))
        operator = Peer(Specification(kind="operator", mood=Mood(receipt_seconds=0, window=WINDOW)), Path(name))
        measures = {
            f"load generator and receiver, {CONNECTIONS} connections": (receiver, _post),
            f"operator, answer and receipt, window {WINDOW}": (operator, _submit),
        }
        for what, (peer, measure) in measures.items():
            await peer.start()
            try:
                rounds = await bench.rounds(what, partial(measure, peer, bench.scale.http_sends))
            finally:
                peer.stop()
            rows.append(Row("ceilings", what, rounds))
    return rows


async def _post(receiver: Peer, count: int, seed: int, progress: Progress) -> Round:
    async with Generator(f"http://127.0.0.1:{receiver.port}", "none", send_calls(count, seed)) as load:
        began, cpu = time.perf_counter(), receiver.cpu_seconds()
        told = await load.run(progress)
        return Round(
            count, time.perf_counter() - began, load_cpu=told.cpu_seconds, peers_cpu=receiver.cpu_seconds() - cpu
        )


async def _submit(operator: Peer, count: int, seed: int, progress: Progress) -> Round:
    loop = asyncio.get_running_loop()
    client = _Client(count)
    own, cpu = _own_cpu(operator), operator.cpu_seconds()
    began = time.perf_counter()
    transport, _ = await loop.create_connection(lambda: client, "127.0.0.1", operator.port)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await client.ended
    except TimeoutError:
        raise LoadError(f"of {count} submits {client.receipts} got a receipt") from None
    finally:
        transport.close()
    seconds, cpu = time.perf_counter() - began, operator.cpu_seconds() - cpu
    return Round(count, seconds, load_cpu=_own_cpu(operator) - own, peers_cpu=cpu)


def _own_cpu(operator: Peer) -> float:
    """Of this process, whose child the operator is."""
    return cpu_seconds(os.getpid()) - operator.cpu_seconds()


class _Client(asyncio.Protocol):
    """Binds, keeps the window full of one and the same submit, and acknowledges receipts; knows no more of SMPP."""

    def __init__(self, count: int) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.receipts = 0
        self._count = count
        self._sent = 0
        self._transport: asyncio.Transport
        self._read = b""
        submit = SubmitSm(
            destination_addr=b"33612345678", registered_delivery=1, short_message=encode("Bonjour", Alphabet.GSM7)
        )
        self._submit = codec.encode(submit)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        bind = BindTransceiver(sequence_number=1, system_id=b"bench", interface_version=0x34)
        self._transport.write(codec.encode(bind))

    def data_received(self, data: bytes) -> None:
        read, at, answered, written = self._read + data, 0, 0, b""
        while len(read) - at >= HEADER.size:
            length, command, _, sequence = HEADER.unpack_from(read, at)
            if len(read) - at < length:
                break
            at += length
            if command == BIND_RESPONSE:
                answered += WINDOW
            elif command == SUBMIT_RESPONSE:
                answered += 1
            elif command == DELIVER:
                self.receipts += 1
                written += HEADER.pack(HEADER.size + 1, DELIVER_RESPONSE, 0, sequence) + b"\0"
        self._read = read[at:]
        self._transport.write(written + self._next(answered))
        if self.receipts == self._count and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(LoadError("the operator has closed the connection"))

    def _next(self, most: int) -> bytes:
        numbers = range(self._sent, min(self._sent + most, self._count))
        self._sent = numbers.stop
        head, rest = self._submit[:12], self._submit[16:]
        return b"".join(head + (number + 2).to_bytes(4, "big") + rest for number in numbers)
