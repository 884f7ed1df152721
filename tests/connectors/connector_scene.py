"""A connector between an operator that does what the test says, or the simulator, and lists in a store's place."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chappe.connectors.smpp import SmppConnector, SmppSettings
from chappe.core.message import (
    Answered,
    Attempt,
    AttemptReport,
    Inbound,
    MessageId,
    ReceiptReport,
    Submission,
)
from chappe.core.text import count_parts
from chappe.simulator import Mood, Simulator
from chappe.smpp import aio, pdus
from chappe.smpp.pdus import DeliverSm, Pdu, QuerySm, SubmitSm
from chappe.smpp.session import BindRequested, Closed, Event, RequestReceived, ResponseReceived, Unbound

NOW = 1_700_000_000_000


def submissions(count: int, text: str = "Bonjour", first: int = 1, number: str = "+33612345678") -> list[Submission]:
    """Every part of `count` messages."""
    parts = count_parts(text)
    return [
        Submission(
            Attempt(MessageId(message), part, 1, "op", 1, NOW, message), number, "CHAPPE", text, parts, NOW + 60_000
        )
        for message in range(first, first + count)
        for part in range(1, parts + 1)
    ]


class Journey:
    """What the connector hands over, kept in lists; and what the store says to it."""

    def __init__(self) -> None:
        self.answers: list[AttemptReport] = []
        self.receipts: list[ReceiptReport] = []
        self.inbound: list[Inbound] = []
        self.batches: list[int] = []
        """How many receipts each call brought."""
        self.stores = True
        self.may_settle = asyncio.Event()
        self.may_settle.set()
        self.poison: str | None = None
        """A carrier id that the store chokes on."""
        self.room = asyncio.Event()
        self.connector: SmppConnector
        self._running: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def connect(self, port: int, **settings: Any) -> SmppConnector:
        """Starts a connector whose pauses are short."""
        values = {
            "name": "op",
            "host": "127.0.0.1",
            "system_id": "chappe",
            "password": "secret",
            "retry_seconds": 0.01,
            "longest_retry_seconds": 0.05,
            "unbind_seconds": 0.05,
            **settings,
        }
        self.connector = SmppConnector(
            SmppSettings(port=port, **values),
            now_ms=lambda: NOW,
            chance=lambda: 0.5,
            on_answers=self._on_answers,
            on_receipts=self._on_receipts,
            on_inbound=self._on_inbound,
            on_room=self.room.set,
        )
        self._running = asyncio.create_task(self.connector.run())
        return self.connector

    async def until(self, happened: Callable[[], object]) -> None:
        """Looks whenever something was handed over, and now and then, because operators do not call us."""
        async with asyncio.timeout(10):
            while not happened():
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await self._changed.wait()

    async def submit(self, *batch: Submission) -> None:
        """As the dispatcher does, as room allows."""
        waiting: Sequence[Submission] = batch
        while waiting:
            await self.until(self.connector.free)
            waiting = self.connector.submit(waiting)

    async def ended(self) -> None:
        """The connector's `run` has returned by itself."""
        assert self._running is not None
        async with asyncio.timeout(10):
            await self._running

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def _on_answers(self, reports: Sequence[AttemptReport]) -> None:
        await self.may_settle.wait()
        if any(isinstance(r.fact, Answered) and r.fact.carrier_id == self.poison for r in reports):
            raise LookupError(self.poison)
        self.answers += reports
        self._changed.set()

    async def _on_receipts(self, reports: Sequence[ReceiptReport]) -> bool:
        await self.may_settle.wait()
        if any(report.carrier_id == self.poison for report in reports):
            raise LookupError(self.poison)
        self.batches.append(len(reports))
        if self.stores:
            self.receipts += reports
        self._changed.set()
        return self.stores

    async def _on_inbound(self, messages: Sequence[Inbound]) -> bool:
        await self.may_settle.wait()
        if self.stores:
            self.inbound += messages
        self._changed.set()
        return self.stores


class Operator:
    """An SMSC that keeps what it is sent, and answers when and what the test says."""

    def __init__(self) -> None:
        self.port = 0
        self.binds: list[pdus.Bind] = []
        self.submits: list[tuple[aio.Link, SubmitSm]] = []
        self.queries: list[tuple[aio.Link, QuerySm]] = []
        """Not answered."""
        self.answered: list[tuple[object, int]] = []
        """(token, status) of each answer to us."""
        self.ends: list[str] = []
        """`unbind` for each goodbye."""
        self.answer: Callable[[SubmitSm], Pdu | int | None] = lambda submit: None
        """The answer to a submit, given at once; None: later."""
        self.bind_status: Callable[[pdus.Bind], int | None] = lambda bind: 0
        """None: no answer."""
        self.links: list[aio.Link] = []
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        self._server = await aio.serve("127.0.0.1", port, self.links.append, self._on_events, tls=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in list(self.links):
            link.close()
            await link.lost

    def deliver(self, pdu: Pdu, token: object = None) -> None:
        """To the newest bind that receives."""
        link = next(link for link in reversed(self.links) if link.session.state.name in ("BOUND_RX", "BOUND_TRX"))
        link.request(pdu, token)

    def reply(self, index: int, answer: Pdu | int = 0, message_id: bytes = b"") -> None:
        link, submit = self.submits[index]
        link.reply(submit, answer, message_id)

    def _on_events(self, link: aio.Link, events: list[Event]) -> None:
        for event in events:
            match event:
                case BindRequested(bind):
                    self.binds.append(bind)
                    status = self.bind_status(bind)
                    if status is not None:
                        link.reply(bind, status)
                case RequestReceived(SubmitSm() as submit):
                    self.submits.append((link, submit))
                    answer = self.answer(submit)
                    if answer is not None:
                        link.reply(submit, answer, b"id-%d" % len(self.submits))
                case RequestReceived(QuerySm() as query):
                    self.queries.append((link, query))
                case ResponseReceived(token, pdu):
                    self.answered.append((token, pdu.command_status))
                case Unbound():
                    self.ends.append("unbind")
                case Closed():
                    self.links.remove(link)
                case _:
                    pass


Start = Callable[[Mood], Awaitable[tuple[Simulator, int]]]
"""Starts a simulator; returns it and its port."""


def a_receipt(carrier_id: bytes = b"42") -> DeliverSm:
    return DeliverSm(source_addr=b"33612345678", esm_class=4, short_message=b"id:%b stat:DELIVRD err:000" % carrier_id)


def facts(journey: Journey, kind: type) -> list[tuple[int, int]]:
    return sorted((report.message, report.fact.part) for report in journey.answers if isinstance(report.fact, kind))


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's, with a certificate that nobody vouches for."""
    pem = folder / "operator.pem"
    pem.write_text(SELF_SIGNED)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9n3ci0bTzBEhXb5G
VEeqiqxUpkrLe00jkx8OcN7l2XKhRANCAATMZoPs3nE7EANKYG68pCCzhLmmjqep
54PC9kLoRmHBOYnUU5j3MPsJapnHTq64L8nBCK7qY4JchSbPG3V8/Uiw
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIURMO5JroCB+ycYiYdU2cz2ycZGnowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDA4NTgyMloYDzIxMjYxMDMx
MDg1ODIyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATMZoPs3nE7EANKYG68pCCzhLmmjqep54PC9kLoRmHBOYnUU5j3MPsJ
apnHTq64L8nBCK7qY4JchSbPG3V8/Uiwo2kwZzAdBgNVHQ4EFgQUfy09PzQ0tnG3
w+2GlSITwLrzF0UwHwYDVR0jBBgwFoAUfy09PzQ0tnG3w+2GlSITwLrzF0UwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgKSyZxkgefEDqY2A/GbKXXTHyEjxlDtg4o8fUn+ye83kCIQDjGIpr7Cb5
Znb79Xpz4Rbyj7Dolbn94qOf/o80A4g9FQ==
-----END CERTIFICATE-----
"""
"""For `localhost`, valid for a century; its key protects nothing."""
