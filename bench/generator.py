"""Load over HTTP from processes of its own, so that its cost is neither the server's nor this program's.

    parent ── a plan, then "go" ──▶ child: N keep-alive connections, one request at a time on each
    parent ◀─ how many are done, at last what came ──

With a rate, each call has its time, whether those before it were answered or not: its latency counts from then, so that
a server that stalls is charged for all who would have come meanwhile.

The child is as lean as Python allows (a protocol on uvloop, requests made ahead), because on a small machine what it
costs is taken from the server.
"""

from __future__ import annotations

import asyncio
import math
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import cast
from urllib.parse import urlsplit

import msgspec

from bench.measure import CONNECTIONS, Progress

ROOT = Path(__file__).parent.parent
REPORT_SECONDS = 0.25
LONGEST_RUN_SECONDS = 300
LONGEST_LINE = 1 << 26
TICK_SECONDS = 0.001
"""How often a generator with a rate looks what is due."""


class Call(msgspec.Struct, frozen=True, array_like=True):
    """A GET, or with a body a POST."""

    path: str
    body: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What the child does: all calls, in this order, over so many connections."""

    base_url: str
    key: str
    connections: int
    calls: Sequence[Call]
    rate: float | None
    """Calls a second; None: on each connection the next when the answer is there."""


class Told(msgspec.Struct, frozen=True):
    """A line from the child; the last one has the rest."""

    done: int
    cpu_seconds: float | None = None
    statuses: dict[str, int] = {}
    began_ns: int = 0
    """When the first call was due, by the machine's monotonic clock."""
    latencies: Sequence[float] = ()
    """Seconds from when a call was due until its answer, shortest first; with a rate alone."""


class LoadError(Exception):
    """The load did not run as planned; the message says what came instead."""


class Generator:
    """The child, connected and waiting at `async with`; gone after it."""

    def __init__(
        self,
        base_url: str,
        key: str,
        calls: Sequence[Call],
        *,
        expect: int = 200,
        connections: int = CONNECTIONS,
        rate: float | None = None,
    ) -> None:
        self._plan = Plan(base_url, key, connections, calls, rate)
        self._expect = expect

    async def __aenter__(self) -> Generator:
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.generator",
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
        )
        try:
            await self._tell(msgspec.json.encode(self._plan))
            await self._hear()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._end()

    async def run(self, progress: Progress) -> Told:
        """Makes all calls, and returns the last word of the child. Raises LoadError."""
        total = len(self._plan.calls)
        async with asyncio.timeout(LONGEST_RUN_SECONDS):
            await self._tell(b"go")
            while (told := await self._hear()).cpu_seconds is None:
                progress(told.done / total)
        if told.statuses != {str(self._expect): total}:
            raise LoadError(f"{total} answers of status {self._expect} were expected, there came {told.statuses}")
        return told

    async def _end(self) -> None:
        if self._child.returncode is None:
            self._child.kill()
        await self._child.wait()

    async def _tell(self, line: bytes) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(line + b"\n")
        await self._child.stdin.drain()

    async def _hear(self) -> Told:
        assert self._child.stdout is not None
        line = await self._child.stdout.readline()
        if not line:
            raise LoadError("the load generator has ended")
        return msgspec.json.decode(line, type=Told)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


# --- in the child ------------------------------------------------------------------------------------


class _Run:
    """Requests that are due and wait for a connection, connections that wait for a request, and what has come."""

    def __init__(self, total: int, connections: int) -> None:
        self.due: deque[tuple[int, bytes]] = deque()
        """With when, in ns."""
        self.done = 0
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.ended = asyncio.Event()
        self._total = total
        self._open = connections
        self._idle: list[_Client] = []

    def take_next(self, client: _Client) -> None:
        if self.due:
            client.ask(*self.due.popleft())
        else:
            self._idle.append(client)

    def wake(self) -> None:
        while self.due and self._idle:
            self._idle.pop().ask(*self.due.popleft())

    def note(self, status: str, due: int) -> None:
        self.done += 1
        self.statuses[status] += 1
        if due:
            self.latencies.append((time.monotonic_ns() - due) / 1e9)
        if self.done == self._total:
            self.ended.set()

    def lose(self) -> None:
        self._open -= 1
        if not self._open:
            self.ended.set()


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport
        self._answer = b""
        self._due = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it

    def ask(self, due: int, request: bytes) -> None:
        self._due = due
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
        self._run.note(answer[9:12].decode(), self._due)
        self._run.take_next(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lose()


async def _generate(plan: Plan) -> None:
    address = urlsplit(plan.base_url)
    requests = _requests(plan, address.netloc)
    run = _Run(len(requests), plan.connections)
    loop = asyncio.get_running_loop()
    clients: list[_Client] = []
    for _ in range(plan.connections):
        _, client = await loop.create_connection(
            lambda: _Client(run), address.hostname or "127.0.0.1", address.port or 80
        )
        clients.append(client)
    _say(Told(0))
    sys.stdin.readline()
    before, began_ns = _cpu_seconds(), time.monotonic_ns()
    if plan.rate is None:
        run.due.extend((0, request) for request in requests)
    for client in clients:
        run.take_next(client)
    reporting = asyncio.create_task(_report(run))
    if plan.rate is not None:
        await _pace(run, requests, began_ns, plan.rate)
    async with asyncio.timeout(LONGEST_RUN_SECONDS):
        await run.ended.wait()
    reporting.cancel()
    _say(Told(run.done, _cpu_seconds() - before, dict(run.statuses), began_ns, sorted(run.latencies)))


async def _pace(run: _Run, requests: Sequence[bytes], began_ns: int, rate: float) -> None:
    for number, request in enumerate(requests):
        due = began_ns + int(number / rate * 1e9)
        while time.monotonic_ns() < due:
            await asyncio.sleep(TICK_SECONDS)
        run.due.append((due, request))
        run.wake()


async def _report(run: _Run) -> None:
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        _say(Told(run.done))


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
