"""The two at the ends of a life, each a process of its own: an operator, and a receiver of callbacks.

    parent ── python -m bench.peers SPECIFICATION ──▶ child
    parent ◀─ its port, once it listens ──

`prompt` ones acknowledge TCP at once. Patient ones do as Linux does by itself: a peer that writes twice without
TCP_NODELAY then waits up to 40 ms for the acknowledgement of the first. How much has come is in eight octets of a
mapped file, so that asking for it costs the child nothing.
"""

from __future__ import annotations

import asyncio
import mmap
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, cast

import msgspec

from bench.servers import cpu_seconds
from chappe.simulator.moods import Mood
from chappe.simulator.smsc import Simulator, Submit, _Client
from chappe.smpp import aio
from chappe.smpp.session import Event

ROOT = Path(__file__).parent.parent
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Child:
    """A process of ours that says on which port it listens, and ends when it is told to."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    async def start(self) -> None:
        """Returns once it listens. Raises RuntimeError when it ends instead."""
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        with self._process.stdout as said:
            line = await asyncio.to_thread(said.readline)
        if not line:
            raise RuntimeError(f"{self._command[2]} has ended")
        self.port = int(line)

    def cpu_seconds(self) -> float:
        return 0.0 if self._process is None else cpu_seconds(self._process.pid)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)


class Specification(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is."""

    kind: Literal["operator", "receiver"]
    prompt: bool = True
    port: int = 0
    """Where it listens; 0: anywhere."""
    mood: Mood = Mood()
    watched: str = ""
    """What the numbers begin with whose submits are noted with their time."""
    random_ids: bool = False
    """The operator's ids come in no order."""
    counter: str = ""
    sightings: str = ""


class Peer(Child):
    """Holds one, whose files are in this folder."""

    def __init__(self, specification: Specification, folder: Path) -> None:
        self._counter = folder / f"{specification.kind}.count"
        self._sightings = folder / f"{specification.kind}.sightings"
        self._counter.write_bytes(bytes(8))
        self._sightings.touch()
        told = msgspec.structs.replace(specification, counter=str(self._counter), sightings=str(self._sightings))
        super().__init__("bench.peers", msgspec.json.encode(told).decode())
        self.port = specification.port

    @property
    def count(self) -> int:
        """Submits, or callbacks, since it was started."""
        return int.from_bytes(self._counter.read_bytes(), sys.byteorder)

    def sightings(self) -> dict[str, int]:
        """When each watched number was first submitted to, by the machine's monotonic clock in ns."""
        lines = (line.split() for line in self._sightings.read_text().splitlines())
        return {number: int(at) for number, at in reversed(list(lines))}


# --- in the child ------------------------------------------------------------------------------------


class _Counter:
    """Eight octets that the parent reads."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._octets = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
        self.set(0)

    def set(self, count: int) -> None:
        self._octets[0] = count

    def add(self) -> None:
        self._octets[0] += 1


class _Receiver(asyncio.Protocol):
    """One connection: an empty 200 for every request, whatever it says."""

    def __init__(self, came: Callable[[], None], *, prompt: bool) -> None:
        self._came = came
        self._prompt = prompt
        self._request = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._socket: socket.socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        if self._prompt:
            _acknowledge_at_once(self._socket)
        request = self._request + data if self._request else data
        while (head := request.find(b"\r\n\r\n") + 4) >= 4:
            at = request.lower().find(b"content-length:", 0, head)
            length = int(request[at + 15 : request.index(b"\r\n", at)]) if at >= 0 else 0
            if len(request) < head + length:
                break
            request = request[head + length :]
            self._came()
            self._transport.write(ANSWER)
        self._request = request


class _Operator(Simulator):
    """Counts submits where the parent sees them."""

    def __init__(self, told: Specification) -> None:
        super().__init__(told.mood)
        self._counter = _Counter(told.counter)
        self._prompt = told.prompt
        self._watched = told.watched.encode()
        self._sightings = open(told.sightings, "a", buffering=1)  # noqa: SIM115 - until the process ends
        self._ids = random.Random(1) if told.random_ids else None

    def _on_events(self, link: aio.Link, events: list[Event]) -> None:
        if self._prompt and link._transport is not None:
            _acknowledge_at_once(link._transport.get_extra_info("socket"))
        super()._on_events(link, events)
        self._counter.set(self.counts["submits"])

    def _on_submit(self, link: aio.Link, client: _Client, pdu: Submit) -> None:
        if self._watched and pdu.destination_addr.startswith(self._watched):
            self._sightings.write(f"{pdu.destination_addr.decode()} {time.monotonic_ns()}\n")
        if self._ids is not None:
            self._next_id = self._ids.randrange(10**15, 10**16)
        super()._on_submit(link, client, pdu)


def _acknowledge_at_once(connection: socket.socket) -> None:
    """Linux forgets it after a while, so it is said at each read."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def _serve(told: Specification) -> None:
    if told.kind == "operator":
        port = await _Operator(told).start(port=told.port)
    else:
        make = partial(_Receiver, _Counter(told.counter).add, prompt=told.prompt)
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", told.port)
        port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(msgspec.json.decode(sys.argv[1], type=Specification)))


if __name__ == "__main__":
    main()
