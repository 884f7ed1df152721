"""What the loop's thread does for a message, part by part: CPU time of the thread, without the kernel's sockets.

Requests go through the server's own connection objects, submits and receipts through a connector and its session; the
store looks up for real and commits nothing. What comes in comes in batches, as it does under load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest.mock import patch

import apsw

from bench.gateways import send_calls
from bench.lookups import STATUS
from bench.measure import CONNECTIONS, Bench, Progress, Round, Row, Unit
from bench.micro import NOW
from bench.numbers import random_numbers
from bench.servers import TEXT
from chappe.api.app import create_app
from chappe.api.server import make_server
from chappe.api.services import Services
from chappe.connectors.smpp import SmppConnector, SmppSettings
from chappe.core.message import Accepted, Attempt, MessageId, SendMessage, Submission
from chappe.core.ports import Store
from chappe.flow.live import Live
from chappe.flow.rates import Rates
from chappe.simulator.moods import Fate
from chappe.simulator.receipts import receipt
from chappe.smpp import aio, codec
from chappe.smpp.pdus import BindTransceiverResp, SubmitSm, SubmitSmResp
from chappe.smpp.session import Limits, Role
from chappe.storage.sqlite import open_sqlite

KEY = "0" * 32
BATCH = 20
"""PDUs in one read."""


async def each(bench: Bench) -> list[Row]:
    """What the loop's thread does for a message, part by part."""
    count = bench.scale.loop_calls
    rows: list[Row] = []
    with TemporaryDirectory(dir=bench.folder) as name:
        async with _served(Path(name)) as connections:
            sends = [
                f"POST {call.path} HTTP/1.1\r\n{_HEAD}Content-Length: {len(call.body)}\r\n\r\n{call.body}".encode()
                for call in send_calls(count, 1)
            ]
            asks = [f"GET {STATUS}?snapshotId=1 HTTP/1.1\r\n{_HEAD}\r\n".encode()] * count
            rows.append(await _row(bench, "POST send, commit left out", partial(_ask, connections, sends), count))
            rows.append(await _row(bench, "GET status by id", partial(_ask, connections, asks), count))
    rows.append(await _row(bench, f"submit, answer, receipt, {BATCH} at once", partial(_converse, count), count))
    return rows


async def _row(bench: Bench, what: str, run: Callable[[], Awaitable[float]], count: int) -> Row:
    async def measure(number: int, progress: Progress) -> Round:
        return Round(count, await run())

    await run()  # fills caches
    what = f"{what}, CPU of the loop's thread"
    return Row("loop", what, await bench.rounds(what, measure, Unit.PER_CALL), Unit.PER_CALL)


class _Transport(asyncio.Transport):
    """A connection whose other end reads at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, octets: Any) -> None:
        self.written.append(octets)

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


# --- requests ----------------------------------------------------------------------------------------

_HEAD = f"Host: 127.0.0.1:8080\r\nX-Primotexto-ApiKey: {KEY}\r\n"


class _Accepting:
    """Accepts a loop's turn later what it is asked to accept, with all that came meanwhile, as a commit does."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[Accepted]] = []

    async def accept(self, send: SendMessage) -> Accepted:
        if not self._waiting:
            self._loop.call_soon(self._commit)
        future: asyncio.Future[Accepted] = self._loop.create_future()
        self._waiting.append(future)
        return await future

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.set_result(Accepted(MessageId(1), 1))


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[list[asyncio.Protocol]]:
    """Connections of the server on a store in which the message 1 is."""
    store = await open_sqlite(folder / "chappe.db")
    account = await store.open_account("bench", NOW)
    await store.create_key(account.id, sha256(KEY.encode()).digest(), KEY[:4], test=False, now=NOW)
    connection = apsw.Connection(str(folder / "chappe.db"))
    connection.execute(
        "INSERT INTO message (id, account, number, family, text, parts, test, policy, route, accepted_at, due_at, "
        "validity_ms, delivery, sent_at, delivered_at, facts) "
        "VALUES (1, $1, '+33612345678', 0, 'Bonjour', 1, 0, 0, 'live', $2, $2, 172800000, 2, $2, $2, 2)",
        (account.id, NOW),
    )
    connection.close()
    with patch.object(store, "accept", _Accepting().accept):
        server = make_server(create_app(_services(store)), "127.0.0.1", 0)
        await server.start()
        connections = [server._connect() for _ in range(CONNECTIONS)]
        for made in connections:
            made.connection_made(_Transport())
        yield connections
        for made in connections:
            made.connection_lost(None)
        await server.stop()
    await store.close()


def _services(store: Store) -> Services:
    return Services(
        store=store,
        now_ms=lambda: time.time_ns() // 1_000_000,
        live_route="live",
        public_url=None,
        default_validity_ms=172_800_000,
        wake=lambda route: None,
        readiness=lambda: {"ready": True},
        token=lambda: "a" * 12,
        chance=bytes,
        rates=Rates(time.monotonic),
        live=Live(),
    )


async def _ask(connections: Sequence[Any], requests: Sequence[bytes]) -> float:
    """Each connection asks when all have their answer."""
    began = time.thread_time()
    for first in range(0, len(requests), len(connections)):
        asking = list(zip(connections, requests[first : first + len(connections)], strict=False))
        for connection, request in asking:
            connection.data_received(request)
        while not all(connection.transport.written for connection, _ in asking):
            await asyncio.sleep(0)
        for connection, _ in asking:
            assert connection.transport.written.pop().startswith(b"HTTP/1.1 200 ")
    return time.thread_time() - began


# --- submits -----------------------------------------------------------------------------------------


async def _converse(count: int) -> float:
    """An operator that answers each batch, and reports on it in the next read."""
    made: list[aio.Link] = []

    async def connect(host: str, port: int, on_events: aio.OnEvents, *, limits: Limits, **_: object) -> aio.Link:
        link = aio.Link(Role.ESME, on_events, limits)
        link.connection_made(_Transport())
        made.append(link)
        return link

    async def settled(reports: Sequence[object]) -> bool:
        await asyncio.sleep(0)
        return True

    async def answered(reports: Sequence[object]) -> None:
        await asyncio.sleep(0)

    with patch.object(aio, "connect", connect):
        connector = SmppConnector(
            SmppSettings(name="op", host="127.0.0.1", port=1, window=BATCH),
            now_ms=lambda: NOW,
            chance=lambda: 0.5,
            on_answers=answered,
            on_receipts=settled,
            on_inbound=settled,
            on_room=lambda: None,
        )
        running = asyncio.create_task(connector.run())
        while not (made and (transport := cast(_Transport, made[0]._transport)).written):
            await asyncio.sleep(0)  # until it has asked to be bound
        link = made[0]
        link.data_received(codec.encode(BindTransceiverResp(), 1))
        seconds = await _submit(connector, link, transport, count)
        running.cancel()
        await asyncio.wait([running])
    return seconds


async def _submit(connector: SmppConnector, link: aio.Link, transport: _Transport, count: int) -> float:
    batches = [
        _batch(range(first, first + BATCH), numbers)
        for first, numbers in ((number * BATCH + 1, random_numbers(BATCH, number)) for number in range(count // BATCH))
    ]
    transport.written.clear()
    began = time.thread_time()
    for submissions, answers, receipts in batches:
        assert not connector.submit(submissions)
        await asyncio.sleep(0)
        link.data_received(answers)
        await asyncio.sleep(0)
        link.data_received(receipts)
        while len(transport.written) < 2:
            await asyncio.sleep(0)
        transport.written.clear()
    seconds = time.thread_time() - began
    assert connector.counts.acknowledged == connector.counts.answered == len(batches) * BATCH
    return seconds


def _batch(ids: range, numbers: Sequence[str]) -> tuple[list[Submission], bytes, bytes]:
    submissions = [
        Submission(Attempt(MessageId(id_), 1, 1, "op", 1, NOW, id_), number, "CHAPPE", TEXT, 1, NOW + 172_800_000)
        for id_, number in zip(ids, numbers, strict=True)
    ]
    answers = [codec.encode(SubmitSmResp(message_id=b"%010d" % id_), id_ + 1) for id_ in ids]
    receipts = [
        codec.encode(
            receipt(
                SubmitSm(source_addr=b"CHAPPE", destination_addr=submission.number[1:].encode()),
                Fate.DELIVERED,
                message_id=b"%010d" % submission.attempt.message,
                text=TEXT.encode(),
                submitted_at=1.8e9,
                done_at=1.8e9,
            ),
            submission.attempt.message,
        )
        for submission in submissions
    ]
    return submissions, b"".join(answers), b"".join(receipts)
