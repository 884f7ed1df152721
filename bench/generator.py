"""Load over HTTP from processes of its own, so that its cost is neither the server's nor this program's.

    parent ── a plan, then "go" ──▶ child: N keep-alive connections, one request at a time on each
    parent ◀─ how many are done, at last what came ──

The child is as lean as Python allows (a protocol on uvloop, requests made ahead), because on a small machine what it
costs is taken from the server.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import cast
from urllib.parse import urlsplit

import msgspec

from bench.measure import CONNECTIONS, Progress

ROOT = Path(__file__).parent.parent
REPORT_SECONDS = 0.25
LONGEST_RUN_SECONDS = 300


class Call(msgspec.Struct, frozen=True, array_like=True):
    """A GET, or with a body a POST."""

    path: str
    body: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What one child does: all calls, in this order, over so many connections."""

    base_url: str
    key: str
    connections: int
    calls: Sequence[Call]


class Told(msgspec.Struct, frozen=True):
    """A line from the child; the last one has the CPU time and the statuses."""

    done: int
    cpu_seconds: float | None = None
    statuses: dict[str, int] = {}


class LoadError(Exception):
    """The load did not run as planned; the message says what came instead."""


class Generators:
    """The children, connected and waiting at `async with`; gone after it."""

    def __init__(
        self, base_url: str, key: str, calls: Sequence[Call], *, expect: int = 200, processes: int = 1
    ) -> None:
        self._plans = [
            Plan(base_url, key, CONNECTIONS // processes, calls[index::processes]) for index in range(processes)
        ]
        self._expect = expect
        self._children: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Generators:
        try:
            for plan in self._plans:
                child = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "bench.generator",
                    cwd=ROOT,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
                self._children.append(child)
                await _tell(child, msgspec.json.encode(plan))
            for child in self._children:
                await _hear(child)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._end()

    async def run(self, progress: Progress) -> float:
        """Makes all calls and returns the children's CPU seconds. Raises LoadError."""
        total = sum(len(plan.calls) for plan in self._plans)
        done = [0] * len(self._children)

        async def follow(index: int, child: asyncio.subprocess.Process) -> Told:
            await _tell(child, b"go")
            while True:
                told = await _hear(child)
                done[index] = told.done
                progress(sum(done) / total)
                if told.cpu_seconds is not None:
                    return told

        async with asyncio.timeout(LONGEST_RUN_SECONDS):
            ends = await asyncio.gather(*(follow(*child) for child in enumerate(self._children)))
        statuses = sum((Counter(end.statuses) for end in ends), Counter[str]())
        if statuses != {str(self._expect): total}:
            raise LoadError(f"{total} answers of status {self._expect} were expected, there came {dict(statuses)}")
        return sum(end.cpu_seconds or 0.0 for end in ends)

    async def _end(self) -> None:
        for child in self._children:
            if child.returncode is None:
                child.kill()
            await child.wait()


async def _tell(child: asyncio.subprocess.Process, line: bytes) -> None:
    assert child.stdin is not None
    child.stdin.write(line + b"\n")
    await child.stdin.drain()


async def _hear(child: asyncio.subprocess.Process) -> Told:
    assert child.stdout is not None
    line = await child.stdout.readline()
    if not line:
        raise LoadError("the load generator has ended")
    return msgspec.json.decode(line, type=Told)


# --- in the child ------------------------------------------------------------------------------------


class _Run:
    """The requests that are left, and what has come."""

    def __init__(self, requests: Iterator[bytes], connections: int) -> None:
        self.requests = requests
        self.done = 0
        self.statuses: Counter[str] = Counter()
        self.open = connections
        self.ended = asyncio.Event()


class _Client(asyncio.Protocol):
    """One connection; it closes when no requests are left, or when the server does."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it

    def ask(self) -> None:
        request = next(self._run.requests, None)
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data if self._answer else data
        head = answer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = answer.find(b"content-length:") + 15
        if at < 15:
            at = answer.lower().index(b"content-length:") + 15
        if len(answer) < head + 4 + int(answer[at : answer.index(b"\r\n", at)]):
            return
        self._answer = b""
        self._run.done += 1
        self._run.statuses[answer[9:12].decode()] += 1
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.open -= 1
        if not self._run.open:
            self._run.ended.set()


async def _generate(plan: Plan) -> None:
    address = urlsplit(plan.base_url)
    run = _Run(iter(_requests(plan, address.netloc)), plan.connections)
    loop = asyncio.get_running_loop()
    clients: list[_Client] = []
    for _ in range(plan.connections):
        _, client = await loop.create_connection(
            lambda: _Client(run), address.hostname or "127.0.0.1", address.port or 80
        )
        clients.append(client)
    _say(Told(0))
    sys.stdin.readline()
    before = _cpu_seconds()
    for client in clients:
        client.ask()
    give_up = time.monotonic() + LONGEST_RUN_SECONDS
    while not run.ended.is_set() and time.monotonic() < give_up:
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                await run.ended.wait()
        except TimeoutError:
            _say(Told(run.done))
    _say(Told(run.done, _cpu_seconds() - before, dict(run.statuses)))


def _requests(plan: Plan, host: str) -> list[bytes]:
    head = f"Host: {host}\r\nX-Primotexto-ApiKey: {plan.key}\r\n"
    requests = []
    for call in plan.calls:
        body = call.body.encode()
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        requests.append(f"{'POST' if body else 'GET'} {call.path} HTTP/1.1\r\n{head}{length}\r\n".encode() + body)
    return requests


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _say(told: Told) -> None:
    print(msgspec.json.encode(told).decode(), flush=True)


def main() -> None:
    import uvloop

    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_generate(plan))


if __name__ == "__main__":
    main()
