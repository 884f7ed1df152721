"""HTTP/1.1 as webhooks need it: a POST, its status, and the connection kept for the next one.

What a general client offers beside (redirects, cookies, proxies, logins, compression) is what a webhook must not have,
and costs twice as much as the request itself. httptools parses the answers.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from socket import socket
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import aiohappyeyeballs
import httptools
from aiohappyeyeballs import AddrInfoType

from chappe.notifier.guard import ForbiddenAddress, GuardedNames

IDLE_SECONDS = 3.0
"""How long an unused connection is kept. Common servers close theirs after five seconds of silence, and a request
that meets the closing is made twice."""
SECOND_ADDRESS_SECONDS = 0.25
"""After this the next address of a host is tried beside the one before (RFC 8305)."""
LONGEST_HEAD = 64 * 1024
"""Octets of an answer before its body; those that come in pieces count twice, as they come and as they are parsed."""

FIXED_HEADERS = (
    b"Content-Type: application/json\r\nUser-Agent: Chappe-Webhooks\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
)


class Unreachable(OSError):
    """No address of the host takes a connection."""


class NotHttp(Exception):
    """What came is no answer."""


class Disconnected(ConnectionError):
    """The connection ended before there was a status."""


class Place(NamedTuple):
    """Where a connection goes."""

    host: str
    port: int
    tls: bool


@dataclass(slots=True, frozen=True)
class Target:
    """A URL, ready to be posted to: `head` is all of the request that is the same each time."""

    place: Place
    head: bytes


@dataclass(slots=True)
class Answer:
    status: int
    retry_after: str | None = None


def target_of(url: str) -> Target:
    """`url` has passed `targets.forbidden_url`: http or https, printable ASCII, no user. It is asked for as written."""
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    shown = f"[{host}]" if ":" in host else host
    named = shown if parts.port is None else f"{shown}:{port}"
    head = f"POST {path} HTTP/1.1\r\nHost: {named}\r\n".encode("ascii") + FIXED_HEADERS
    return Target(Place(host, port, tls), head)


class Connections:
    """Posts, each on a connection of its own or on one that an earlier post has left open."""

    def __init__(self, names: GuardedNames, make_socket: Callable[[AddrInfoType], socket], answer_bytes: int) -> None:
        self._names = names
        self._make_socket = make_socket
        self._answer_bytes = answer_bytes
        self._tls = ssl.create_default_context()
        self._idle: defaultdict[Place, list[_Connection]] = defaultdict(list)
        self._sweeping: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    async def post(self, target: Target, headers: bytes, body: bytes, answer: Answer) -> None:
        """Fills the answer in as it comes, so that a status stands whatever happens after it.

        `headers` are lines, each with its end. Raises NotHttp, and OSError: ForbiddenAddress, UnknownName, Unreachable,
        Disconnected, ssl.SSLError.
        """
        request = b"%b%bContent-Length: %d\r\n\r\n%b" % (target.head, headers, len(body), body)
        kept = self._take(target.place)
        if kept is not None:
            try:
                await self._exchange(kept, target.place, request, answer)
            except Disconnected:
                pass  # it was being closed while we wrote; perhaps a double, and a webhook comes at least once
            else:
                return
        await self._exchange(await self._connect(target.place), target.place, request, answer)

    async def _exchange(self, connection: _Connection, place: Place, request: bytes, answer: Answer) -> None:
        try:
            await connection.exchange(request, answer, self._answer_bytes)
        except BaseException:
            connection.abort()
            raise
        if connection.reusable:
            connection.idle_since = time.monotonic()
            self._idle[place].append(connection)
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(IDLE_SECONDS, self._sweep)
        else:
            connection.abort()

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()

    def _take(self, place: Place) -> _Connection | None:
        """The one used last: the others may grow old."""
        connections = self._idle.get(place)
        while connections:
            connection = connections.pop()
            if connection.reusable and time.monotonic() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    async def _connect(self, place: Place) -> _Connection:
        addresses = await self._names.resolve(place.host, place.port)
        try:
            opened = await aiohappyeyeballs.start_connection(
                addresses,
                happy_eyeballs_delay=SECOND_ADDRESS_SECONDS,
                interleave=1,
                socket_factory=self._make_socket,
            )
        except ForbiddenAddress:
            raise
        except OSError as error:
            raise Unreachable(*error.args) from error
        try:
            _, connection = await self._loop.create_connection(
                _Connection,
                sock=opened,
                ssl=self._tls if place.tls else None,
                server_hostname=place.host.removesuffix(".") if place.tls else None,
            )
        except BaseException:
            opened.close()
            raise
        return connection

    def _sweep(self) -> None:
        oldest = time.monotonic() - IDLE_SECONDS
        for place, connections in list(self._idle.items()):
            young = [connection for connection in connections if connection.idle_since > oldest]
            for connection in connections:
                if connection.idle_since <= oldest:
                    connection.abort()
            if young:
                self._idle[place] = young
            else:
                del self._idle[place]
        self._sweeping = self._loop.call_later(IDLE_SECONDS, self._sweep) if self._idle else None


class _Connection(asyncio.Protocol):
    """One exchange at a time. The methods `on_…` are the parser's."""

    def __init__(self) -> None:
        self.reusable = False
        """The last exchange came to its end, and the other side keeps the connection."""
        self.idle_since = 0.0
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._answer = Answer(0)
        self._head_left = 0
        self._body_left = 0
        self._keeps = False

    async def exchange(self, request: bytes, answer: Answer, answer_bytes: int) -> None:
        self.reusable = False
        if self._transport.is_closing():
            raise Disconnected
        self._answer, self._head_left, self._body_left = answer, LONGEST_HEAD, answer_bytes
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._waiter

    def abort(self) -> None:
        self.reusable = False
        self._transport.abort()

    # --- asyncio's ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._is_over():
            self.abort()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(NotHttp())
        if not self._answer.status:
            self._shorten_head(len(data))

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        if isinstance(error, ssl.SSLError):
            self._end(error)
        else:
            self._end(Disconnected())

    # --- the parser's ---

    def on_message_begin(self) -> None:
        if self._is_over():
            self.reusable = False  # more than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._shorten_head(len(name) + len(value))
        if name.lower() == b"retry-after":
            self._answer.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self._is_over():
            self._answer.status = status
            self._keeps = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._body_left -= len(body)
        if self._body_left < 0:
            self._end(None)  # it is thrown away, and this is enough of it

    def on_message_complete(self) -> None:
        if self._answer.status and not self._is_over():
            self.reusable = self._keeps and not self._transport.is_closing()
            self._end(None)

    def _shorten_head(self, octets: int) -> None:
        self._head_left -= octets
        if self._head_left < 0:
            self._end(NotHttp())

    def _is_over(self) -> bool:
        return self._waiter is None or self._waiter.done()

    def _end(self, error: Exception | None) -> None:
        """Of the exchange. Once there is a status it stands."""
        if self._waiter is None or self._waiter.done():
            return
        if error is None or self._answer.status:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(error)
