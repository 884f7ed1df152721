"""The asyncio shell over real loopback TCP: what is read, written and timed, in order, until the connection is gone."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from chappe.smpp import aio, codec, pdus
from chappe.smpp.aio import Link, connect, serve
from chappe.smpp.codec import SubmitTemplate
from chappe.smpp.session import (
    BindRequested,
    Cause,
    Closed,
    Event,
    Limits,
    MisuseError,
    OutcomeUnknown,
    RequestReceived,
    ResponseReceived,
    Role,
)


class Ear:
    """An application that keeps what it hears, and does one thing about each event."""

    def __init__(self, act: Callable[[Link, Event], object] = lambda link, event: None) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.resumed = asyncio.Event()
        self.counts: list[int] = []
        """How many events came at a time."""
        self._act = act

    def __call__(self, link: Link, events: list[Event]) -> None:
        self.counts.append(len(events))
        if not events:
            self.resumed.set()
        for event in events:
            self.events.put_nowait(event)
            self._act(link, event)

    async def hear(self) -> Event:
        return await self.events.get()

    async def hear_all(self) -> list[Event]:
        """Up to the end, and nothing may come after it."""
        heard = [await self.hear()]
        while not isinstance(heard[-1], Closed):
            heard.append(await self.hear())
        return heard


def willing(link: Link, event: Event) -> None:
    """An operator that accepts everything, with the recipient's number as its id."""
    match event:
        case BindRequested(pdu=pdu):
            link.reply(pdu)
        case RequestReceived(pdu=pdu) if isinstance(pdu, pdus.SubmitSm):
            link.reply(pdu, 0, pdu.destination_addr)


class Operator:
    """A listening SMSC."""

    def __init__(self, ear: Ear, server: asyncio.Server, links: list[Link]) -> None:
        self.ear = ear
        self.server = server
        self.links = links
        self.port: int = server.sockets[0].getsockname()[1]


@asynccontextmanager
async def operator(ear: Ear | None = None, limits: Limits | None = None) -> AsyncIterator[Operator]:
    ear = ear or Ear(willing)
    links: list[Link] = []
    server = await serve("127.0.0.1", 0, links.append, ear, limits=limits)
    try:
        async with asyncio.timeout(20):
            yield Operator(ear, server, links)
    finally:
        server.close()
        for link in links:
            link.abort()
            await link.lost
        await server.wait_closed()


async def bound(smsc: Operator, ear: Ear, limits: Limits | None = None) -> Link:
    link = await connect("127.0.0.1", smsc.port, ear, limits=limits)
    link.request(pdus.BindTransceiver(system_id=b"chappe"), "bind")
    answer = await ear.hear()
    assert isinstance(answer, ResponseReceived)
    assert answer.token == "bind"
    return link


async def test_submits_are_answered_and_the_link_ends_in_order() -> None:
    async with operator() as smsc:
        link = await bound(smsc, ear := Ear())
        assert link.peer == f"127.0.0.1:{smsc.port}"
        template = SubmitTemplate(pdus.SubmitSm(source_addr=b"Chappe"))
        link.submit_many([(template.body(b"3360000000%d" % number, b"Bonjour"), number) for number in range(5)])
        assert link.window_free == link.session.limits.window - 5
        answers = [
            (event.token, event.pdu.message_id)
            for event in [await ear.hear() for _ in range(5)]
            if isinstance(event, ResponseReceived) and isinstance(event.pdu, pdus.SubmitSmResp)
        ]
        assert answers == [(number, b"3360000000%d" % number) for number in range(5)]
        link.request(pdus.Unbind(), "unbind")
        answer, closed = await ear.hear_all()
        assert isinstance(answer, ResponseReceived)
        assert answer.token == "unbind"
        assert closed == Closed(Cause.UNBOUND)
        await link.lost
        assert link.peer == "?"
        assert ear.events.empty()
        assert (await smsc.ear.hear_all())[-1] == Closed(Cause.UNBOUND)


async def test_what_is_written_in_one_turn_travels_together() -> None:
    async with operator() as smsc:
        link = await bound(smsc, ear := Ear())
        for number in range(9):
            link.request(pdus.SubmitSm(), number)
        for _ in range(9):
            await ear.hear()
        assert smsc.ear.counts == [1, 9]
        assert ear.counts == [1, 9]
        link.abort()
        await link.lost


async def test_a_handler_that_closes_hears_the_end_last() -> None:
    def close_at_the_first(link: Link, event: Event) -> None:
        willing(link, event)
        if isinstance(event, RequestReceived):
            link.close()

    async with operator(Ear(close_at_the_first)) as smsc:
        link = await bound(smsc, ear := Ear())
        for number in range(3):
            link.request(pdus.SubmitSm(), number)
        kinds = [type(event) for event in await smsc.ear.hear_all()]
        assert kinds == [BindRequested, RequestReceived, RequestReceived, RequestReceived, Closed]
        answered, *unknown, closed = await ear.hear_all()
        assert isinstance(answered, ResponseReceived)
        assert unknown == [OutcomeUnknown(1, Cause.CONNECTION_LOST), OutcomeUnknown(2, Cause.CONNECTION_LOST)]
        assert closed == Closed(Cause.CONNECTION_LOST)


async def test_closing_tells_the_end_at_once_and_flushes() -> None:
    async with operator() as smsc:
        link = await bound(smsc, ear := Ear())
        link.request(pdus.SubmitSm(), "submit")
        link.close()
        assert ear.events.get_nowait() == OutcomeUnknown("submit", Cause.CLOSED_HERE)
        assert ear.events.get_nowait() == Closed(Cause.CLOSED_HERE)
        link.close()
        await link.lost
        assert ear.events.empty()
        kinds = [type(event) for event in await smsc.ear.hear_all()]
        assert kinds == [BindRequested, RequestReceived, Closed]


async def test_a_cut_connection_ends_both_sessions() -> None:
    async with operator(Ear(lambda link, event: isinstance(event, BindRequested) and link.reply(event.pdu))) as smsc:
        link = await bound(smsc, ear := Ear())
        link.request(pdus.SubmitSm(), "submit")
        await smsc.ear.hear()
        await smsc.ear.hear()
        smsc.links[0].abort()
        lost = [OutcomeUnknown("submit", Cause.CONNECTION_LOST), Closed(Cause.CONNECTION_LOST)]
        assert await ear.hear_all() == lost
        assert await smsc.ear.hear_all() == [Closed(Cause.CONNECTION_LOST)]
        await link.lost
        link.abort()
        with pytest.raises(MisuseError):
            link.request(pdus.SubmitSm())


async def test_a_peer_that_only_stops_sending_is_done_with() -> None:
    async with operator() as smsc:
        _, writer = await asyncio.open_connection("127.0.0.1", smsc.port)
        writer.write(codec.encode(pdus.BindTransceiver(), 1))
        writer.write_eof()
        assert [type(event) for event in await smsc.ear.hear_all()] == [BindRequested, Closed]
        await smsc.links[0].lost
        writer.close()


async def test_an_esme_that_never_binds_is_cut() -> None:
    async with operator(limits=Limits(bind_seconds=0.01)) as smsc:
        link = await connect("127.0.0.1", smsc.port, ear := Ear())
        assert await smsc.ear.hear_all() == [Closed(Cause.BIND_TIMEOUT)]
        assert await ear.hear_all() == [Closed(Cause.CONNECTION_LOST)]
        await link.lost


async def test_a_sooner_deadline_replaces_a_later_one() -> None:
    def bind_only(link: Link, event: Event) -> None:
        if isinstance(event, BindRequested):
            link.reply(event.pdu)

    async with operator(Ear(bind_only)) as smsc:
        link = await bound(smsc, ear := Ear(), Limits(idle_seconds=3_600, response_seconds=0.01))
        link.request(pdus.SubmitSm(), "submit")
        assert await ear.hear() == OutcomeUnknown("submit", Cause.RESPONSE_TIMEOUT)
        link.abort()
        await link.lost


async def test_silence_is_probed_until_the_peer_is_dead() -> None:
    async def answers_one_probe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bind = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(bind - 4)
        writer.write(codec.encode(pdus.BindTransceiverResp(), 1))
        probe = codec.decode(await reader.readexactly(16))
        writer.write(codec.encode(pdus.EnquireLinkResp(), probe.sequence_number))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answers_one_probe, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        limits = Limits(idle_seconds=0.01, probe_seconds=0.01)
        link = await connect("127.0.0.1", server.sockets[0].getsockname()[1], ear := Ear(), limits=limits)
        link.request(pdus.BindTransceiver())
        answered, closed = await ear.hear_all()
        assert isinstance(answered, ResponseReceived)
        assert closed == Closed(Cause.LINK_DEAD)
        await link.lost


async def test_a_handler_that_raises_costs_its_connection_alone() -> None:
    def fall(link: Link, event: Event) -> None:
        willing(link, event)
        if isinstance(event, RequestReceived):
            raise RuntimeError("a bug")

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    async with operator(Ear(fall)) as smsc:
        first = await bound(smsc, ear := Ear())
        second = await bound(smsc, other := Ear())
        first.request(pdus.SubmitSm(), "submit")
        assert (await ear.hear_all())[-1] == Closed(Cause.CONNECTION_LOST)
        second.request(pdus.EnquireLink(), "probe")
        assert isinstance(await other.hear(), ResponseReceived)
        assert [str(error) for error in reported] == ["a bug"]
        second.abort()
        await second.lost


async def test_a_handler_that_raises_at_a_deadline_leaves_the_next_one_set() -> None:
    def fall(link: Link, event: Event) -> None:
        if isinstance(event, OutcomeUnknown) and event.token == "first":
            raise RuntimeError("a bug")

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    async with operator(Ear(lambda link, event: isinstance(event, BindRequested) and link.reply(event.pdu))) as smsc:
        link = await bound(smsc, ear := Ear(fall), Limits(response_seconds=0.01))
        link.request(pdus.SubmitSm(), "first")
        assert await ear.hear() == OutcomeUnknown("first", Cause.RESPONSE_TIMEOUT)
        link.request(pdus.SubmitSm(), "second")
        assert await ear.hear() == OutcomeUnknown("second", Cause.RESPONSE_TIMEOUT)
        assert [str(error) for error in reported] == ["a bug"]
        link.abort()
        await link.lost


# --- a peer that does not read -----------------------------------------------------------------------


@asynccontextmanager
async def unread(limits: Limits) -> AsyncIterator[tuple[Operator, Link, socket.socket]]:
    """A bound ESME whose socket is read by hand, and the operator's side of it, with small buffers between them."""
    async with operator(limits=limits) as smsc:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            smsc.server.sockets[0].setsockopt(socket.SOL_SOCKET, option, 4096)
        with socket.socket() as esme:
            esme.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            esme.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(esme, ("127.0.0.1", smsc.port))
            await loop.sock_sendall(esme, codec.encode(pdus.BindTransceiver(), 1))
            await loop.sock_recv(esme, 4096)
            yield smsc, smsc.links[0], esme


def transport_of(link: Link) -> asyncio.Transport:
    assert link._transport is not None
    return link._transport


async def flood(link: Link, esme: socket.socket) -> None:
    """Asks without reading until the operator reads no more."""
    probes = codec.encode(pdus.EnquireLink(), 1) * 100
    for _ in range(100_000):
        try:
            esme.send(probes[0:1600])
        except BlockingIOError:
            if not transport_of(link).is_reading():
                return
        await asyncio.sleep(0)
    raise AssertionError("the operator still reads")


async def drain(link: Link, esme: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while not transport_of(link).is_reading():
        await loop.sock_recv(esme, 65_536)


async def test_a_peer_that_does_not_read_is_read_no_more_until_it_does() -> None:
    async with unread(Limits(max_owed=50)) as (smsc, link, esme):
        assert link.window_free == link.session.limits.window
        await flood(link, esme)
        assert link.window_free == 0
        # One more read may have been under way: 64 KiB of probes at most.
        assert link.session.unsent <= 50 + 65_536
        await drain(link, esme)
        await smsc.ear.resumed.wait()
        assert link.window_free == link.session.limits.window


async def test_a_closing_link_that_cannot_flush_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "ABORT_SECONDS", 0.01)
    async with unread(Limits(max_owed=50)) as (smsc, link, esme):
        await flood(link, esme)
        link.close()
        await link.lost
        assert (await smsc.ear.hear_all())[-1] == Closed(Cause.CLOSED_HERE)


async def test_nothing_is_heard_after_the_end_though_the_peer_reads_again() -> None:
    async with unread(Limits(max_owed=50)) as (smsc, link, esme):
        await flood(link, esme)
        link.close()
        smsc.ear.resumed.clear()
        loop = asyncio.get_running_loop()
        while not link.lost.done():
            if not await loop.sock_recv(esme, 65_536):
                break
        await link.lost
        assert (await smsc.ear.hear_all())[-1] == Closed(Cause.CLOSED_HERE)
        assert smsc.ear.events.empty()
        assert not smsc.ear.resumed.is_set()


# --- reading that is held ------------------------------------------------------------------------------


async def test_reading_that_is_held_goes_on_when_it_is_let_go() -> None:
    async with operator() as smsc:
        link = await bound(smsc, ear := Ear())
        [held] = smsc.links
        for _ in range(2):
            held.hold_reading(True)
            assert not transport_of(held).is_reading()
        link.request(pdus.SubmitSm(destination_addr=b"33600000000"), "submit")
        for _ in range(2):
            held.hold_reading(False)
            assert transport_of(held).is_reading()
        answer = await ear.hear()
        assert isinstance(answer, ResponseReceived)
        assert answer.token == "submit"
        link.close()
        await held.lost
        held.hold_reading(True)  # too late, and harmless


async def test_held_reading_stays_held_when_the_peer_reads_again() -> None:
    async with unread(Limits(max_owed=50)) as (smsc, link, esme):
        await flood(link, esme)
        link.hold_reading(True)
        loop = asyncio.get_running_loop()
        while not smsc.ear.resumed.is_set():
            await loop.sock_recv(esme, 65_536)
        assert not transport_of(link).is_reading()
        link.hold_reading(False)
        assert transport_of(link).is_reading()


# --- connecting --------------------------------------------------------------------------------------


async def test_nobody_listening_is_an_os_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Connect"):
            await connect("127.0.0.1", unused.getsockname()[1], Ear())


async def test_no_time_to_connect_is_a_time_out() -> None:
    async with operator() as smsc:
        with pytest.raises(TimeoutError):
            await connect("127.0.0.1", smsc.port, Ear(), timeout_seconds=0)
        assert await smsc.ear.hear_all() == [Closed(Cause.CONNECTION_LOST)]


async def test_tls_is_not_spoken_to_a_peer_without_it() -> None:
    async with operator() as smsc:
        with pytest.raises(ssl.SSLError):
            await connect("127.0.0.1", smsc.port, Ear(), tls=True)
        assert await smsc.ear.hear_all() == [Closed(Cause.BAD_LENGTH)]


async def test_a_link_without_a_connection_has_no_peer_and_cannot_be_cut() -> None:
    link = Link(Role.ESME, Ear())
    link.abort()
    assert link.peer == "?"
    assert not link.lost.done()


async def test_a_detached_connection_is_silent_and_open() -> None:
    ear = Ear()
    async with operator() as smsc:
        link = await connect("127.0.0.1", smsc.port, ear)
        link.request(pdus.BindTransceiver(), "bind")
        await ear.hear()
        (theirs,) = smsc.links
        transport = theirs.detach()
        assert transport is not None
        assert theirs.lost.done()
        assert theirs.detach() is None
        assert [type(event) for event in iter_now(smsc.ear.events)] == [BindRequested, Closed]
        link.request(pdus.EnquireLink(), "probe")
        await asyncio.sleep(0.02)  # nothing can be awaited that is to stay away
        assert ear.events.empty()
        assert not link.lost.done()
        transport.abort()
        assert await ear.hear_all() == [OutcomeUnknown("probe", Cause.CONNECTION_LOST), Closed(Cause.CONNECTION_LOST)]


def iter_now(events: asyncio.Queue[Event]) -> Iterator[Event]:
    while not events.empty():
        yield events.get_nowait()
