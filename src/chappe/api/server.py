"""The HTTP server: uvicorn inside our loop, with the deadlines and limits that uvicorn has not.

uvicorn waits for ever for a request that comes slowly or a client that does not read, and its parser has no limit
for a head. One sweep over all connections twice a second watches their deadlines: no timer per request. What is
answered here, without the application, has the same JSON body as every other error.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from socket import socket
from typing import Any

import httptools
import uvicorn
from starlette.types import Message
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from chappe.api.app import Api
from chappe.api.exchange import Exchange, begin
from chappe.api.http import JSON, MAX_BODY_BYTES, UPLOAD, WHOLE_ANSWER, Answer, Request
from chappe.api.operations import Handler
from chappe.api.problems import BODY_TOO_LARGE, INVALID_PARAMETER, TOO_SLOW, Hint, Problem, body_of

SWEEP_EVERY_TICKS = 5
"""uvicorn's tick is a tenth of a second."""
PIECE_BYTES = 4 * 1024
FRAMING_FACTOR = 8
"""A body sent in chunks of one byte needs six bytes for each."""


@dataclass(slots=True, frozen=True)
class Limits:
    """What a client may make us wait for, and how much it may send."""

    head_bytes: int = 16 * 1024
    head_seconds: float = 10.0
    """From the connection, or the first byte of a request, to the end of its head."""
    body_seconds: float = 10.0
    """From the end of the head to the end of the body; of an upload, to the next `upload_bytes` of it."""
    upload_bytes: int = 64 * 1024
    read_seconds: float = 30.0
    """How long a client may leave its answer unread."""
    keep_alive_seconds: int = 75
    """Long: a client that sends on a connection we are just closing cannot know whether we took its message."""
    linger_seconds: float = 2.0
    """How long we still listen after a refusal, so that a client busy sending can read it."""
    shutdown_seconds: int = 5


def make_server(
    app: Api, host: str, port: int, *, limits: Limits | None = None, tls: ssl.SSLContext | None = None
) -> Server:
    """A server for `await server.start()` and `stop()`, without signal handlers or a line per request."""
    limits = limits or Limits()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=partial(DeadlineProtocol, limits=limits, api=app),  # type: ignore[arg-type]  # only ever called
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )
    return Server(config, limits, tls)


class Server(uvicorn.Server):
    """uvicorn's server without signal handlers, whose failure to listen is an OSError."""

    servers: list[asyncio.Server]

    def __init__(self, config: uvicorn.Config, limits: Limits, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._limits = limits
        self._tls = tls

    async def start(self) -> None:
        """Listens, and serves in the background until `stop`. Raises OSError."""
        await self.startup()
        self._serving = asyncio.create_task(self.serve(), name="http")

    async def stop(self) -> None:
        """Takes no new request, answers those it has, and returns."""
        self.should_exit = True
        await self._serving

    @property
    def port(self) -> int:
        """The one it listens on."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    async def startup(self, sockets: list[socket] | None = None) -> None:
        if self.started:
            return
        if not self.config.loaded:
            self.config.load()
        config = self.config
        # A handshake comes before the connection is a DeadlineProtocol: its deadline is the loop's.
        seconds = (self._limits.head_seconds, self._limits.linger_seconds) if self._tls else (None, None)
        listener = await asyncio.get_running_loop().create_server(
            self._connect,
            config.host,
            config.port,
            ssl=self._tls,
            ssl_handshake_timeout=seconds[0],
            ssl_shutdown_timeout=seconds[1],
            backlog=config.backlog,
        )
        self.servers = [listener]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        if counter % SWEEP_EVERY_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, DeadlineProtocol):
                    connection.check_deadlines(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=1)  # cancelled, they say so to their clients
        for connection in list(self.server_state.connections):
            # What is left has not sent its request or not read its answer in time.
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def _connect(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state={}
        )
        return protocol


class _Flow(FlowControl):
    """Reading does not go on while something read is held back, whoever asks for it."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class _Phase(Enum):
    """What the client is sending."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    REFUSED = auto()
    """Nothing that we still listen to."""


_IDLE, _HEAD, _BODY, _REFUSED = _Phase
"""A member of an enumeration costs ten times as much by its full name, in CPython 3.11."""


class DeadlineProtocol(HttpToolsProtocol):
    """uvicorn's connection with deadlines, a limit for the head, and JSON bodies for its own answers.

    A request to a hot route that came whole, in one read with nothing before it, is an `Exchange`; all others are
    uvicorn's.
    """

    cycle: RequestResponseCycle | Exchange | None  # type: ignore[assignment]  # as uvicorn's says of its own

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], *, limits: Limits, api: Api
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._limits = limits
        self._api = api
        self._phase = _IDLE
        self._read = 0
        """Bytes of the piece being parsed."""
        self._began_in = 0
        """Bytes of the piece in which the message being sent began: how many of them are its own is not known."""
        self._received = 0
        """Bytes of that message after that piece."""
        self._bodiless = 0
        """Bytes since the last piece with something of the body in it: framing and trailers."""
        self._most_body = MAX_BODY_BYTES
        self._upload_seen: int | None = None
        """Of `_received`, when its deadline was last moved; None for a body that is no upload."""
        self._hot: Handler | None = None
        """Who answers the request being sent, if it comes whole…"""
        self._query = b""
        """…its query…"""
        self._body = b""
        """…and what has come of its body."""
        self._whole: tuple[Handler, Request, Exchange] | None = None
        """One that did, to be answered once the piece is parsed that it came with."""
        self._held = b""
        """Read, but not parsed before the requests ahead of it are answered."""
        self._due = math.inf
        """When the client must have sent what it is sending."""
        self._unread_due = math.inf
        """When it must have read what we have sent."""
        self._kept_until = math.inf
        """When it must have asked something again."""
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._standing_lines = b""
        """What stands in each answer while uvicorn's headers are these: they change every second."""

    # --- what arrives ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it to a Transport
        self.flow: _Flow = _Flow(self.transport)
        self._due = self.loop.time() + self._limits.head_seconds

    def data_received(self, data: bytes) -> None:
        if self._phase is _REFUSED:
            self._received += len(data)
            if self._received > MAX_BODY_BYTES:
                self.transport.abort()
        elif self._held or self.pipeline:
            self._hold(self._held + data)
        else:
            self._take(data)

    def on_response_complete(self) -> None:
        """As uvicorn's, whose timer for the next request is one of our deadlines."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._kept_until = self.loop.time() + self._limits.keep_alive_seconds
        if self._upload_seen is not None and self._phase is _BODY:
            self._received = 0  # so that the client can send on a little, and read its answer
        if self._held and not self.pipeline:
            held, self._held, self.flow.held = self._held, b"", False
            self.flow.resume_reading()
            self._take(held)

    def _hold(self, data: bytes) -> None:
        """uvicorn would parse on, and keep a hundred times the memory for each small request in the queue."""
        self._held = data
        self.flow.pause_reading()
        self.flow.held = True

    def _take(self, data: bytes) -> None:
        """Parses piece by piece until a request has to wait for the one before it."""
        self._kept_until = math.inf
        if self._due == math.inf:
            self._due = self.loop.time() + self._limits.head_seconds
        for start in range(0, len(data), PIECE_BYTES):
            if self.pipeline:
                self._hold(data[start:])
                return
            piece = data[start : start + PIECE_BYTES]
            self._read = len(piece)
            self._received += len(piece)
            self._bodiless += len(piece)
            try:
                self._parse(piece)
            except httptools.HttpParserError as error:
                oversized = isinstance(error.__context__, _Oversized)
                self._hot = None
                self._refuse(Problem(BODY_TOO_LARGE) if oversized else Problem(INVALID_PARAMETER, hint=Hint.MALFORMED))
                self._begin_whole()
                return
            if self._hot is not None:
                self._leave_to_uvicorn()
            self._begin_whole()
            self._check_size()
            if self._phase is _REFUSED or self.transport.is_closing():
                return

    def _parse(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            # A client may offer to change the protocol (Java's does, to h2c). The parser then takes the body for
            # the other protocol; we decline by reading the request again as if nothing had been offered.
            head = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
            for name, value in self.headers:
                if name not in (b"connection", b"upgrade", b"http2-settings"):
                    head += [name, b": ", value, b"\r\n"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self._parse(b"".join([*head, b"\r\n", piece[upgrade.args[0] :]]))

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._phase = _HEAD
        self._began_in, self._received = self._read, 0
        self._most_body, self._upload_seen = MAX_BODY_BYTES, None
        self._due = self.loop.time() + self._limits.head_seconds

    def _allow_upload(self, cycle: RequestResponseCycle, most: int) -> None:
        """The application takes so much of this request, if it is still the one being sent."""
        if self.cycle is cycle and self._phase is _BODY:
            self._most_body, self._upload_seen = most, self._received

    def on_headers_complete(self) -> None:
        if self._began_in + self._received > self._limits.head_bytes:
            lines = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if lines + len(self.url) > self._limits.head_bytes:
                raise _Oversized
        if self._offers_upgrade():
            return
        self._phase = _BODY
        self._bodiless = 0
        self._due = self.loop.time() + self._limits.body_seconds
        self._hot = self._find_hot()
        if self._hot is None:
            self._leave_to_uvicorn()

    def _find_hot(self) -> Handler | None:
        path, mark, _ = self.url.partition(b"?")
        found = self._api.hot.get((self.parser.get_method(), path))
        if found is None or self.expect_100_continue or not self._is_answered:
            return None
        self._query = (httptools.parse_url(self.url).query or b"") if mark else b""
        self._body = b""
        return found

    def _leave_to_uvicorn(self) -> None:
        """With what has come of the request."""
        self._hot = None
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        cycle = self.cycle
        assert isinstance(cycle, RequestResponseCycle)  # noqa: S101 - uvicorn has just made it
        is_head = cycle.scope["method"] == "HEAD"
        cycle.scope[WHOLE_ANSWER] = partial(self._answer, cycle, is_head)  # type: ignore[literal-required]
        cycle.scope[UPLOAD] = partial(self._allow_upload, cycle)  # type: ignore[literal-required]
        if expects:
            # The client may or may not send the body after a refusal: the connection cannot be used again.
            cycle.keep_alive = False
        if self._body:
            body, self._body = self._body, b""
            super().on_body(body)

    def on_body(self, body: bytes) -> None:
        self._bodiless = 0
        if self._hot is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._hot is not None:
            self._end_whole(self._hot)
        elif self._offers_upgrade():
            return
        else:
            super().on_message_complete()
            if self._is_answered:  # before its end, which has stopped the clock for the next request
                self._kept_until = self.loop.time() + self._limits.keep_alive_seconds
        self._phase = _IDLE
        self._began_in = self._received = 0
        self._due = math.inf

    def _end_whole(self, handler: Handler) -> None:
        method = self.parser.get_method()
        scope = {
            "type": "http",
            "method": method.decode("ascii"),
            "query_string": self._query,
            "headers": self.headers,
        }
        request = Request(scope, _nothing_more, dict(self.headers), self._body)
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"  # as uvicorn has it
        self.cycle = Exchange(keep_alive=keep_alive)
        self._whole = (handler, request, self.cycle)
        self._hot, self._body = None, b""

    def _begin_whole(self) -> None:
        if self._whole is not None:
            whole, self._whole = self._whole, None
            self._api.read_together()
            begin(self._serve(*whole), self.tasks)

    async def _serve(self, handler: Handler, request: Request, exchange: Exchange) -> None:
        request_id = self._api.request_ids()
        answer = await self._api.answer(handler, request, request_id)
        if answer is not None:
            await self._answer(exchange, request.scope["method"] == "HEAD", answer, request_id)

    @property
    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _offers_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _check_size(self) -> None:
        """Ends what grows without limit: a head, trailers, framing, or a body whose answer is given already."""
        if self._phase is not _BODY:
            if self._received > self._limits.head_bytes:
                self._refuse(Problem(BODY_TOO_LARGE))
        elif self._is_answered:
            if self._received > self._limits.head_bytes + MAX_BODY_BYTES:
                self.transport.close()
        elif self._bodiless > self._limits.head_bytes or self._received > FRAMING_FACTOR * self._most_body:
            self._refuse(Problem(BODY_TOO_LARGE))

    # --- what does not arrive ---

    def check_deadlines(self, now: float) -> None:
        """Ends the connection if its client has let a deadline pass."""
        if self.transport.is_closing():
            # Closed by us with an answer still unsent: it waits for the client to read.
            self._unread_due = min(self._unread_due, now + self._limits.read_seconds)
        if now >= self._unread_due:
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif now >= self._kept_until:
            self.transport.close()
        elif now >= self._due:
            self._end_late(now)

    def _end_late(self, now: float) -> None:
        answering = not self._is_answered
        if self._phase is _REFUSED:
            self.transport.abort()
        elif self.flow.read_paused:
            self._due = now + self._limits.body_seconds  # it is we who do not read
        elif self._flows() and answering:
            self._due, self._upload_seen = now + self._limits.body_seconds, self._received
        elif self._phase is _IDLE and answering:
            self._due = math.inf
        elif (self._phase is _IDLE and not self._received) or (self._phase is _BODY and not answering):
            self.transport.close()  # it has asked nothing, or has its answer
        else:
            self._refuse(Problem(TOO_SLOW))

    def _flows(self) -> bool:
        """Whether enough of an upload has come since its deadline was set."""
        seen = self._upload_seen
        return self._phase is _BODY and seen is not None and self._received - seen >= self._limits.upload_bytes

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_due = self.loop.time() + self._limits.read_seconds

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_due = math.inf

    # --- answers ---

    async def _answer(
        self, cycle: RequestResponseCycle | Exchange, is_head: bool, answer: Answer, request_id: bytes
    ) -> None:
        """A whole answer in one write. As uvicorn's `send` of its two messages, but that it trusts our headers."""
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected:
            return
        if self._default_headers is not self.server_state.default_headers:
            self._default_headers = self.server_state.default_headers
            lines = [*self._default_headers, (b"content-type", JSON)]
            self._standing_lines = b"".join([b"%b: %b\r\n" % line for line in lines])
        body = answer.body
        octets = b"%b%bcontent-length: %d\r\nx-request-id: %b\r\n%b%b\r\n%b" % (
            STATUS_LINE[answer.status],
            self._standing_lines,
            len(body),
            request_id,
            b"".join([b"%b: %b\r\n" % line for line in answer.headers]) if answer.headers else b"",
            b"" if cycle.keep_alive else b"connection: close\r\n",
            b"" if is_head else body,
        )
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(octets)
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _refuse(self, problem: Problem) -> None:
        """Answers without the application and listens no more; the connection ends once the client has read."""
        if self.transport.is_closing():
            return
        cycle = None if self._is_answered else self.cycle
        unfinished = self._phase is _BODY
        if self.pipeline or (cycle is not None and unfinished and cycle.response_started):
            self.transport.close()  # an answer here would be taken for that to an earlier request
            return
        if cycle is not None and not unfinished:
            # The request before this one was whole: it gets its answer, and the connection ends with it.
            cycle.keep_alive = False
            self._stop_listening()
            self._due = math.inf
            return
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(self._write_out(problem))
        self._stop_listening()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _stop_listening(self) -> None:
        self._phase = _REFUSED
        self._received = 0
        self._held, self.flow.held = b"", False
        self._due = self.loop.time() + self._limits.linger_seconds
        self.flow.resume_reading()

    def _write_out(self, problem: Problem) -> bytes:
        language = next((value for name, value in self.headers or () if name == b"accept-language"), b"")
        body = body_of(problem, language)
        lines = [
            b"HTTP/1.1 %d %s" % (problem.status, HTTPStatus(problem.status).phrase.encode("ascii")),
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: application/json;charset=UTF-8",
            b"content-length: %d" % len(body),
            b"x-request-id: " + self._api.request_ids(),
            b"connection: close",
            b"",
            body,
        ]
        return b"\r\n".join(lines)


class _Oversized(Exception):
    """A head that arrived whole in one read is too large."""


async def _nothing_more() -> Message:
    raise AssertionError("the request came whole")
