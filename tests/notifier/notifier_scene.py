"""Receivers as they are met, and an ear for outcomes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeAlias

from chappe.core.message import MessageId
from chappe.core.webhooks import Delivery, DeliveryId, EndpointId, Outcome, make_secret

PATIENCE_SECONDS = 20.0
"""How long a test waits for what has to come; only a failing one ever waits so long."""

SECRET = make_secret(bytes(range(32)))

_ids = count(1)


def delivery(
    url: str,
    endpoint: int = 1,
    reply: str | None = None,
    secrets: tuple[str, ...] = (SECRET,),
    number: int | None = None,
) -> Delivery:
    """Of the first event of a message whose id is the delivery's."""
    number = next(_ids)
    told = (MessageId(number), 1, "reply", 1_700_000_000_000, "+33612345678", None, False, reply)
    return Delivery(DeliveryId(number), EndpointId(endpoint), url, secrets, 0, None, *told)


@dataclass(slots=True)
class Call:
    """A request as it came in; header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


Behaviour: TypeAlias = Callable[[Call, asyncio.StreamWriter], Awaitable[None]]


def answer(raw: str, *, then_close: bool = False) -> Behaviour:
    """Writes this, with CRLF for the line ends."""

    async def write(call: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(raw.replace("\n", "\r\n").encode())
        if then_close:
            writer.close()

    return write


def status(code: int, *headers: str) -> Behaviour:
    return answer("\n".join([f"HTTP/1.1 {code} Whatever", "Content-Length: 0", *headers, "", ""]))


class Receiver:
    """An HTTP server made of a socket and a behaviour."""

    def __init__(self, behave: Behaviour, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.calls: list[Call] = []
        self.connections = 0
        self.most_at_once = 0
        self.under_way = 0
        self.changed = asyncio.Event()
        self.port = 0
        self._host = host
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}/hook"

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, self._host, port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def until(self, calls: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.calls) < calls:
                self.changed.clear()
                await self.changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while not writer.is_closing():
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other side has gone, or the test is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *rows = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (row.split(":", 1) for row in rows)}
        call = Call(line, headers, await reader.readexactly(int(headers["content-length"])))
        self.calls.append(call)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        self.changed.set()
        try:
            await self.behave(call, writer)
            await writer.drain()
        finally:
            self.under_way -= 1


class Ear:
    """Hears outcomes, and waits for more."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._more = asyncio.Event()

    def hear(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._more.set()

    def hear_all(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.hear(outcome)

    async def until(self, outcomes: int) -> list[Outcome]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.outcomes) < outcomes:
                self._more.clear()
                await self._more.wait()
        return self.outcomes

    def words(self) -> dict[DeliveryId, str]:
        return {outcome.id: outcome.word for outcome in self.outcomes}


def self_signed(folder: Path) -> Path:
    """A certificate with its key, for `hooks.example` and 127.0.0.1, valid for a century; it protects nothing."""
    pem = folder / "receiver.pem"
    pem.write_text(SELF_SIGNED)
    return pem


def server_tls(pem: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgtF39WHrgbIyYOfzA
rU6kTzdwKpFh9myV+/JaroxdevKhRANCAAQZrmaxZxogzXGoJliD0T5QEfaryDYs
MvsC+hRFZn13Y3H6CGLaGbzBqA9DQuEJmlf1grr5hvbSrTDLO4cqfvAD
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBqDCCAU2gAwIBAgIUB7U66CBFq2cSysZhpBaEl2mcDlQwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNaG9va3MuZXhhbXBsZTAgFw0yNjExMjQwOTQxMzRaGA8yMTI2
MTAzMTA5NDEzNFowGDEWMBQGA1UEAwwNaG9va3MuZXhhbXBsZTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABBmuZrFnGiDNcagmWIPRPlAR9qvINiwy+wL6FEVmfXdj
cfoIYtoZvMGoD0NC4QmaV/WCuvmG9tKtMMs7hyp+8AOjczBxMB0GA1UdDgQWBBT3
1UhqHOB5BPHZoyTDowJAt14ucjAfBgNVHSMEGDAWgBT31UhqHOB5BPHZoyTDowJA
t14ucjAPBgNVHRMBAf8EBTADAQH/MB4GA1UdEQQXMBWCDWhvb2tzLmV4YW1wbGWH
BH8AAAEwCgYIKoZIzj0EAwIDSQAwRgIhANlGl1dJCO742PT0OqGfDUCrinb4BQu0
FfGdYBUb9dIwAiEA45P4RZkAqRoBBPRxGqsfmJcJmv3MP7xxOjUIJ34fAJE=
-----END CERTIFICATE-----
"""
