"""The asyncio shell over real loopback TCP: bind, submit, answer later, unbind."""

from __future__ import annotations

import asyncio

from chappe.smpp import pdus
from chappe.smpp.aio import Link, connect, serve
from chappe.smpp.session import BindRequested, Closed, Event, RequestReceived, ResponseReceived


async def test_submits_are_answered_and_the_link_ends_in_order() -> None:
    answered: asyncio.Queue[ResponseReceived] = asyncio.Queue()
    closed: asyncio.Queue[Closed] = asyncio.Queue()

    def operator(link: Link, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, BindRequested):
                link.reply(event.pdu, 0)
            elif isinstance(event, RequestReceived) and isinstance(event.pdu, pdus.SubmitSm):
                link.reply(event.pdu, 0, event.pdu.destination_addr)

    def application(link: Link, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, ResponseReceived):
                answered.put_nowait(event)
            elif isinstance(event, Closed):
                closed.put_nowait(event)

    server = await serve("127.0.0.1", 0, lambda link: None, operator)
    try:
        async with asyncio.timeout(10):
            link = await connect("127.0.0.1", server.sockets[0].getsockname()[1], application)
            link.request(pdus.BindTransceiver(system_id=b"chappe"), "bind")
            assert (await answered.get()).token == "bind"
            for number in range(5):
                link.request(pdus.SubmitSm(destination_addr=b"3360000000%d" % number), number)
            answers = [await answered.get() for _ in range(5)]
            ids = [answer.pdu.message_id for answer in answers if isinstance(answer.pdu, pdus.SubmitSmResp)]
            assert ids == [b"3360000000%d" % number for number in range(5)]
            assert [answer.token for answer in answers] == [0, 1, 2, 3, 4]
            link.request(pdus.Unbind(), "unbind")
            assert (await answered.get()).token == "unbind"
            await closed.get()
            await link.lost
    finally:
        server.close()
        await server.wait_closed()
