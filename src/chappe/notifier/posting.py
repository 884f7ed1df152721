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
from typing import Any, Generic, NamedTuple, TypeVar, cast
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
RETRY_AFTER = b"retry-after"
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


class Exchange:
    """A request, and what comes of it: a status, or an error. Once there is a status it stands."""

    __slots__ = (
        "began_at",
        "connection",
        "error",
        "is_over",
        "on_kept",
        "opening",
        "place",
        "request",
        "retry_after",
        "status",
    )

    def __init__(self, place: Place, request: bytes) -> None:
        self.place = place
        self.request = request
        self.began_at = time.monotonic()
        self.status = 0
        self.retry_after: str | None = None
        self.error: Exception | None = None
        self.is_over = False
        self.on_kept = False
        """The connection was used before: its end may have nothing to do with this request."""
        self.connection: _Connection[Any] | None = None
        self.opening: asyncio.Task[None] | None = None


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


E = TypeVar("E", bound="Exchange")


class Connections(Generic[E]):
    """Makes exchanges, each on a connection of its own or on one that an earlier exchange has left open.

    `over` is told of every exchange that was begun, exactly once and never before `begin` has returned. Its error is
    NotHttp, what it was given up with, or an OSError: ForbiddenAddress, UnknownName, Unreachable, Disconnected,
    ssl.SSLError.
    """

    def __init__(
        self,
        names: GuardedNames,
        make_socket: Callable[[AddrInfoType], socket],
        answer_bytes: int,
        over: Callable[[E], None],
    ) -> None:
        self._names = names
        self._make_socket = make_socket
        self._answer_bytes = answer_bytes
        self._over = over
        self._tls = ssl.create_default_context()
        self._idle: defaultdict[Place, list[_Connection[E]]] = defaultdict(list)
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def begin(self, exchange: E) -> None:
        kept = self._take(exchange.place)
        if kept is None:
            self._open(exchange)
        else:
            exchange.on_kept = True
            kept.carry(exchange, self._answer_bytes)

    def give_up(self, exchange: E, error: Exception) -> None:
        """Ends it with what there is of it."""
        if exchange.connection is not None:
            exchange.connection.abort()
        if exchange.opening is not None:
            exchange.opening.cancel()
        self._end(exchange, error)

    def ended(self, connection: _Connection[E], exchange: E, error: Exception | None) -> None:
        """A connection's: it carries nothing any more, and is aborted unless it can be used again."""
        if connection.reusable:
            connection.idle_since = time.monotonic()
            self._idle[exchange.place].append(connection)
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(IDLE_SECONDS, self._sweep)
        else:
            connection.abort()
        if exchange.on_kept and not exchange.status and isinstance(error, Disconnected):
            # It was being closed while we wrote; perhaps a double, and a webhook comes at least once.
            exchange.on_kept, exchange.connection = False, None
            self._open(exchange)
        else:
            self._end(exchange, error)

    def _end(self, exchange: E, error: Exception | None) -> None:
        if not exchange.is_over:
            exchange.is_over = True
            exchange.connection = None
            exchange.error = None if exchange.status else error
            self._over(exchange)

    def _open(self, exchange: E) -> None:
        exchange.opening = self._loop.create_task(self._carry_on_new(exchange))
        self._opening.add(exchange.opening)
        exchange.opening.add_done_callback(self._opening.discard)

    async def _carry_on_new(self, exchange: E) -> None:
        try:
            connection = await self._connect(exchange.place)
        except Exception as error:
            self._end(exchange, error)
        else:
            exchange.opening = None
            connection.carry(exchange, self._answer_bytes)

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        for task in self._opening:
            task.cancel()
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()

    def _take(self, place: Place) -> _Connection[E] | None:
        """The one used last: the others may grow old."""
        connections = self._idle.get(place)
        while connections:
            connection = connections.pop()
            if connection.is_usable and time.monotonic() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    async def _connect(self, place: Place) -> _Connection[E]:
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
                lambda: _Connection[E](self.ended),
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


class _Connection(asyncio.Protocol, Generic[E]):
    """Carries one exchange at a time. The methods `on_…` are the parser's: what they note is acted on when all that has
    come is parsed, lest an answer nobody asked for be taken for the next exchange's."""

    def __init__(self, ended: Callable[[_Connection[E], E, Exception | None], None]) -> None:
        self.reusable = False
        """The last exchange came to its end, and the other side keeps the connection."""
        self.idle_since = 0.0
        self._ended = ended
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: E | None = None
        self._head_left = 0
        self._body_left = 0
        self._keeps = False
        self._complete = False

    @property
    def is_usable(self) -> bool:
        return self.reusable and not self._transport.is_closing()

    def carry(self, exchange: E, answer_bytes: int) -> None:
        self.reusable = self._complete = False
        self._exchange, exchange.connection = exchange, self
        self._head_left, self._body_left = LONGEST_HEAD, answer_bytes
        self._transport.write(exchange.request)

    def abort(self) -> None:
        self.reusable = False
        self._exchange = None
        self._transport.abort()

    # --- asyncio's ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.abort()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(NotHttp())
            return
        if self._complete:
            self.reusable = self._keeps and not self._transport.is_closing()
            self._end(None)
            return
        if not exchange.status:
            self._head_left -= len(data)
        if self._head_left < 0:
            self._end(NotHttp())
        elif self._body_left < 0:
            self._end(None)  # it is thrown away, and this is enough of it

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        self._end(error if isinstance(error, ssl.SSLError) else Disconnected())

    # --- the parser's ---

    def on_message_begin(self) -> None:
        if self._complete:
            self._keeps = False  # more than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_left -= len(name) + len(value)
        if len(name) == len(RETRY_AFTER) and name.lower() == RETRY_AFTER and self._exchange is not None:
            self._exchange.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and self._exchange is not None and not self._complete and self._head_left >= 0:
            self._exchange.status = status
            self._keeps = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._body_left -= len(body)

    def on_message_complete(self) -> None:
        if self._exchange is not None and self._exchange.status:
            self._complete = True

    def _end(self, error: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._ended(self, exchange, error)
