"""What the promises to customers are told with: a server over a real store in a file, and applications that bind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chappe.core.customers import Customer
from chappe.core.message import (
    Account,
    Answered,
    AttemptReport,
    Family,
    Inbound,
    Message,
    MessageId,
    ReceiptReport,
    Verdict,
)
from chappe.core.optout import Mention
from chappe.core.routing import Portion, Route
from chappe.core.text import PLAIN, Cut
from chappe.customers.passwords import digest_of
from chappe.customers.server import CustomerServer
from chappe.flow.rates import Rates
from chappe.smpp import aio, codec, pdus
from chappe.smpp.aio import Link
from chappe.smpp.pdus import DeliverSm, Pdu, SubmitSm
from chappe.smpp.session import Closed, Event, Limits, RequestReceived, ResponseReceived
from chappe.storage.sqlite import SqliteStore, open_sqlite

NOW = 1_800_000_000_000
SECOND = 1_000
NUMBER = "+33612345678"
PATIENCE_SECONDS = 20.0
PASSWORD = b"a1B2c3D4"
SALT = b"s" * 16
DIGEST = digest_of(PASSWORD, SALT)


@dataclass
class OurTerms:
    live_route: str = "live"
    routes: Sequence[Route] = ()
    links_base: str | None = None
    default_validity_ms: int = 48 * 3_600_000
    stop_mention: Mention | None = None
    cut: Cut = PLAIN
    token: Callable[[], str] = str


@dataclass
class Scene:
    store: SqliteStore
    account: Account
    customer: Customer
    stack: AsyncExitStack
    server: CustomerServer = field(init=False)
    port: int = 0
    now: int = NOW
    seconds: float = 0.0
    """The clock of those who try passwords, and of rates."""
    woken: list[str] = field(default_factory=list)
    epoch: int = 0
    carriers: int = 0
    _running: asyncio.Task[None] = field(init=False)

    async def start(self) -> None:
        clock = lambda: self.seconds  # noqa: E731 - the one the server is given twice
        self.server = CustomerServer(
            self.store,
            OurTerms(),
            Rates(clock),
            now_ms=lambda: self.now,
            clock=clock,
            wake=self.woken.append,
            alone=True,
        )
        self._running = asyncio.create_task(self.server.run())
        self.port = await self.server.start("127.0.0.1", 0)

    async def stop(self) -> None:
        await self.server.stop(PATIENCE_SECONDS)
        self._running.cancel()
        await asyncio.wait([self._running])

    async def save_customer(self, system_id: str = "shop1", **changes: Any) -> Customer:
        ordinary = {"salt": SALT, "digest": DIGEST, "test": False, "family": Family.NOTIFICATION, "now": NOW}
        saved = await self.store.save_customer(self.account.id, system_id, **{**ordinary, **changes})
        assert saved is not None
        return saved

    async def connect(self, limits: Limits | None = None) -> Application:
        application = Application()
        application.link = await aio.connect("127.0.0.1", self.port, application.on_events, limits=limits)
        self.stack.callback(application.link.abort)
        return application

    async def bind(
        self, kind: type[pdus.Bind] = pdus.BindTransceiver, *, limits: Limits | None = None, **fields: Any
    ) -> Application:
        application = await self.connect(limits)
        response = await application.ask(kind(**{"system_id": b"shop1", "password": PASSWORD, **fields}))
        assert response.command_status == 0
        return application

    async def end(self, verdict: Verdict = Verdict.DELIVERED) -> None:
        """Everything that is due leaves, and its receipts come."""
        for submission in await self.store.claim("operator", self.epoch, [Portion("live")], 1_000, self.now):
            self.carriers += 1
            message, part, attempt = submission.key
            fact = Answered(part, attempt, self.now, f"A{self.carriers}")
            await self.store.settle([AttemptReport(message, fact)], self.now)
            receipt = ReceiptReport(
                "operator", fact.carrier_id, self.now, verdict, verdict.name.lower(), None, submission.number
            )
            await self.store.settle([receipt], self.now)
        self.server.wake()

    async def reply(self, text: str, number: str = NUMBER) -> None:
        """A person writes."""
        inbound = Inbound("operator", number, "36111", self.now, text.encode("utf-16-be"), 8)
        await self.store.receive([inbound], self.now)
        self.server.wake()

    async def read(self, message_id: bytes) -> Message:
        found = await self.store.find_message(self.account.id, MessageId(int(message_id)))
        assert found is not None
        return found

    async def waiting(self) -> int:
        """How many tellings are stored."""
        return sum(waiting for _, waiting in await self.store.list_customers())

    async def until_tried(self, times: int) -> None:
        """Until it is stored that the one telling there is was not taken so often."""

        async def is_stored() -> bool:
            return self.store._reader.execute("SELECT tries FROM customer_telling").fetchall() == [(times,)]

        await self.until(is_stored)

    async def until(self, reached: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await reached():
                await asyncio.sleep(0.005)


class Application:
    """A customer with our own session; it acknowledges what it is told with `says`."""

    def __init__(self) -> None:
        self.link: Link
        self.says: int | None = 0
        """None: nothing at all."""
        self.told: asyncio.Queue[DeliverSm] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.events: list[Event] = []
        self._answers: dict[object, asyncio.Future[Pdu]] = {}

    def on_events(self, link: Link, events: list[Event]) -> None:
        for event in events:
            match event:
                case ResponseReceived(token, pdu):
                    self._answers.pop(token).set_result(pdu)
                case RequestReceived(DeliverSm() as pdu):
                    if self.says is not None:
                        link.reply(pdu, self.says)
                    self.told.put_nowait(pdu)
                case Closed():
                    self.closed.set()
                case _:
                    self.events.append(event)

    def request(self, pdu: Pdu) -> asyncio.Future[Pdu]:
        """Its answer."""
        answer: asyncio.Future[Pdu] = asyncio.get_running_loop().create_future()
        token = object()
        self._answers[token] = answer
        self.link.request(pdu, token)
        return answer

    async def ask(self, pdu: Pdu) -> Pdu:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.request(pdu)

    async def submit(self, **fields: Any) -> tuple[int, bytes]:
        """The status and the id of the answer."""
        response = await self.ask(a_submit(**fields))
        assert isinstance(response, pdus.SubmitSmResp)
        return response.command_status, response.message_id

    async def next_told(self) -> DeliverSm:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.told.get()


def a_submit(**fields: Any) -> SubmitSm:
    ordinary: dict[str, Any] = {
        "source_addr_ton": 5,
        "source_addr": b"SHOP",
        "dest_addr_ton": 1,
        "dest_addr_npi": 1,
        "destination_addr": b"33612345678",
        "registered_delivery": 1,
        "short_message": b"Bonjour",
    }
    return SubmitSm(**{**ordinary, **fields})


class Raw:
    """A connection that sends any octets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, octets: bytes) -> None:
        self._writer.write(octets)

    async def drain(self) -> None:
        await self._writer.drain()

    async def receive(self) -> Pdu | None:
        """The next PDU; None at the end of the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                head = await self._reader.readexactly(4)
                return codec.decode(head + await self._reader.readexactly(int.from_bytes(head, "big") - 4))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None

    async def bind(self) -> None:
        self.send(codec.encode(pdus.BindTransceiver(system_id=b"shop1", password=PASSWORD), 1))
        response = await self.receive()
        assert response is not None
        assert response.command_status == 0

    def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def a_scene(folder: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        store = await open_sqlite(folder / "chappe.db")
        stack.push_async_callback(store.close)
        account = await store.open_account("acme", NOW)
        customer = await store.save_customer(
            account.id, "shop1", SALT, DIGEST, test=False, family=Family.NOTIFICATION, now=NOW
        )
        assert customer is not None
        scene = Scene(store, account, customer, stack)
        scene.epoch = await store.open_connector("operator", NOW)
        await scene.start()
        stack.push_async_callback(lambda: scene.stop())
        yield scene


async def connect_raw(scene: Scene) -> Raw:
    raw = Raw(*await asyncio.open_connection("127.0.0.1", scene.port))
    scene.stack.callback(raw.close)
    return raw
