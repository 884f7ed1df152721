"""The two at the ends of a life, each a process of its own: an operator, and a receiver of callbacks.

    parent ── python -m bench.peers KIND prompt|patient COUNTER [MOOD] ──▶ child
    parent ◀─ its port, once it listens ──

`prompt` ones acknowledge TCP at once. Patient ones do as Linux does by itself: a peer that writes twice without
TCP_NODELAY then waits up to 40 ms for the acknowledgement of the first. How much has come is in eight octets of a
mapped file, so that asking for it costs the child nothing.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from bench.servers import cpu_seconds
from chappe.simulator.moods import load_mood
from chappe.simulator.smsc import Simulator
from chappe.smpp import aio
from chappe.smpp.session import Event

ROOT = Path(__file__).parent.parent
PROMPT, PATIENT = "prompt", "patient"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Peer:
    """Holds one. `kind` is `operator` or `receiver`; `mood` is the operator's, in TOML."""

    def __init__(self, kind: str, folder: Path, *, prompt: bool, mood: str = "") -> None:
        self._counter = folder / f"{kind}.count"
        self._mood = folder / f"{kind}.toml"
        self._arguments = [kind, PROMPT if prompt else PATIENT, str(self._counter), str(self._mood)]
        self._mood.write_text(mood)
        self._counter.write_bytes(bytes(8))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    async def start(self) -> None:
        """Returns once it listens. Raises RuntimeError when it ends instead."""
        command = [sys.executable, "-m", "bench.peers", *self._arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        with self._process.stdout as said:
            line = await asyncio.to_thread(said.readline)
        if not line:
            raise RuntimeError("the operator or receiver has ended")
        self.port = int(line)

    @property
    def count(self) -> int:
        """Submits, or callbacks, since it was started."""
        return int.from_bytes(self._counter.read_bytes(), sys.byteorder)

    def cpu_seconds(self) -> float:
        assert self._process is not None, "start it first"
        return cpu_seconds(self._process.pid)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)


# --- in the child ------------------------------------------------------------------------------------


class _Counter:
    """Eight octets that the parent reads."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._octets = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")

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

    def __init__(self, mood: Path, counter: _Counter, *, prompt: bool) -> None:
        super().__init__(load_mood(mood))
        self._counter = counter
        self._prompt = prompt

    def _on_events(self, link: aio.Link, events: list[Event]) -> None:
        if self._prompt and link._transport is not None:
            _acknowledge_at_once(link._transport.get_extra_info("socket"))
        super()._on_events(link, events)
        self._counter.set(self.counts["submits"])


def _acknowledge_at_once(connection: socket.socket) -> None:
    """Linux forgets it after a while, so it is said at each read."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def _serve(kind: str, manner: str, counter_file: str, mood_file: str) -> None:
    counter, prompt = _Counter(counter_file), manner == PROMPT
    if kind == "operator":
        port = await _Operator(Path(mood_file), counter, prompt=prompt).start()
    else:
        make = partial(_Receiver, counter.add, prompt=prompt)
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(*sys.argv[1:]))


if __name__ == "__main__":
    main()
