"""A session on asyncio: feeds it octets and the time, hands its events over a read at a time, and writes.

Decides nothing. One callback per read with all its events, one `transport.write` per turn of the loop, one timer
per connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from chappe.smpp.codec import SubmitBody
from chappe.smpp.pdus import Pdu
from chappe.smpp.session import Event, Limits, Role, Session, State

OnEvents: TypeAlias = Callable[["Link", list[Event]], None]
"""Called on the loop with the events of one read, timer or loss, in order; the last one ever is Closed. An empty
list says that the peer reads again (see `Link.window_free`)."""

HANDSHAKE_SECONDS = 10.0
"""How long a client may take to agree on TLS."""
ABORT_SECONDS = 5.0
"""How long a closing connection may take to flush (or TLS to say goodbye) before it is cut."""


class Link(asyncio.Protocol):
    """A session and its connection. Its commands are the session's; what they produce is written by itself."""

    def __init__(
        self,
        role: Role,
        on_events: OnEvents,
        limits: Limits | None = None,
        on_connected: Callable[[Link], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.session = Session(role, self._loop.time(), limits)
        self.on_events = on_events
        self._on_connected = on_connected
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection is gone."""
        self._transport: asyncio.Transport | None = None
        self._can_write = True
        self._reading_held = False
        self._peer_deaf = False
        """It asks and does not read what we answer."""
        self._delivering = False
        self._flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._cut: asyncio.TimerHandle | None = None

    # --- commands ---

    @property
    def window_free(self) -> int:
        """How many messages may be sent now; 0 also while the peer does not read."""
        return self.session.window_free if self._can_write else 0

    def request(self, pdu: Pdu, token: object = None, spoil: Callable[[bytes], bytes] | None = None) -> int:
        """See `Session.request`."""
        sequence_number = self.session.request(pdu, self._loop.time(), token, spoil)
        self._changed()
        return sequence_number

    def submit_many(self, submits: Sequence[tuple[SubmitBody, object]]) -> None:
        """See `Session.submit_many`."""
        self.session.submit_many(submits, self._loop.time())
        self._changed()

    def reply(self, request: Pdu, answer: Pdu | int = 0, message_id: bytes = b"") -> bool:
        """See `Session.reply`."""
        replied = self.session.reply(request, answer, message_id)
        self._changed()
        return replied

    def hold_reading(self, held: bool) -> None:
        """Reads no more, or goes on: for whoever owes more answers than it can give at the moment."""
        self._reading_held = held
        self._read_or_not()

    def close(self) -> None:
        """Flushes and closes without an unbind; `lost` is done within ABORT_SECONDS."""
        self.session.close()
        self._deliver()

    def abort(self) -> None:
        """Cuts the connection at once, as a crash would."""
        if self._transport is not None:
            self._transport.abort()

    def detach(self) -> asyncio.Transport | None:
        """Ends the session and leaves the connection as it is, open and silent: half open, as the peer will find out.

        The caller aborts what is returned when it has been silent for long enough.
        """
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.pause_reading()
            transport.set_protocol(asyncio.Protocol())
        self.connection_lost(None)
        return transport

    @property
    def peer(self) -> str:
        """`host:port` of the other side, for people."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return f"{name[0]}:{name[1]}" if name else "?"

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # Small PDUs must not wait for delayed acknowledgements.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._on_connected is not None:
            self._on_connected(self)
        self._changed()

    def data_received(self, data: bytes) -> None:
        self.session.receive_data(data, self._loop.time())
        self._deliver()

    def eof_received(self) -> bool:
        # A peer that sends no more can be told nothing worth keeping the connection for.
        self.session.receive_eof()
        self._deliver()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.session.receive_eof()
        for handle in (self._timer, self._cut):
            if handle is not None:
                handle.cancel()
        self._timer = self._cut = None
        if not self.lost.done():
            self.lost.set_result(None)
        self._deliver()

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._peer_deaf = False
        self._read_or_not()
        self._changed()
        if self.session.state is not State.CLOSED:
            self.on_events(self, [])

    # --- inside ---

    def _deliver(self) -> None:
        if self._delivering:
            # A handler closes the link: Closed comes after the events that it has in hand.
            return
        self._delivering = True
        try:
            while events := self.session.events():
                self.on_events(self, events)
        finally:
            # Also when a handler raises, or the connection would stay open and its timer unset.
            self._delivering = False
            if self.session.state is State.CLOSED:
                self._flush()
                self._close_transport()
            self._changed()

    def _changed(self) -> None:
        if not self._flush_due and self._transport is not None:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _on_timer(self) -> None:
        self._timer = None
        self.session.handle_timer(self._loop.time())
        self._deliver()

    def _flush(self) -> None:
        self._flush_due = False
        if self._transport is None:
            return
        if self._can_write or self.session.state is State.CLOSED:
            octets = self.session.data_to_send()
            if octets:
                self._transport.write(octets)
        elif self.session.unsent > self.session.limits.max_owed:
            # Without this its answers would fill the memory.
            self._peer_deaf = True
            self._read_or_not()
        deadline = self.session.timer()
        # An earlier timer is left to fire: it finds nothing due and sets the next. Moving it each time costs.
        if deadline is not None and (self._timer is None or self._timer.when() > deadline):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _read_or_not(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        wanted = not (self._reading_held or self._peer_deaf)
        if wanted and not transport.is_reading():
            transport.resume_reading()
        elif not wanted and transport.is_reading():
            transport.pause_reading()

    def _close_transport(self) -> None:
        if self._transport is not None and self._cut is None:
            self._transport.close()
            self._cut = self._loop.call_later(ABORT_SECONDS, self.abort)


async def connect(
    host: str,
    port: int,
    on_events: OnEvents,
    *,
    limits: Limits | None = None,
    tls: ssl.SSLContext | bool = False,
    timeout_seconds: float = 10.0,
) -> Link:
    """Connects as an ESME; the caller then binds with `link.request`. Raises OSError (TimeoutError included).

    `tls=True` verifies the server's certificate and name against the system's authorities.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_seconds):
        _, link = await loop.create_connection(lambda: Link(Role.ESME, on_events, limits), host, port, ssl=tls or None)
    return link


async def serve(
    host: str,
    port: int,
    on_link: Callable[[Link], None],
    on_events: OnEvents,
    *,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
) -> asyncio.Server:
    """Listens as an SMSC; `on_link` sees each connection, once TLS is agreed, before its first event. Raises OSError.

    The caller closes the server and the links it still knows.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: Link(Role.SMSC, on_events, limits, on_link),
        host,
        port,
        ssl=tls,
        ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
    )
