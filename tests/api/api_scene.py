"""What the API's promises are told with: an account with keys, a real store in a file, and a clock to move."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2

from chappe.api.app import Api, create_app
from chappe.api.services import Services
from chappe.core.message import (
    Account,
    Answered,
    AttemptReport,
    Inbound,
    Message,
    MessageId,
    ReceiptReport,
    Settings,
    Submission,
    Verdict,
)
from chappe.core.ports import Store
from chappe.core.routing import Portion
from chappe.flow.live import Live
from chappe.flow.rates import Rates
from chappe.storage.sqlite import open_sqlite

NOW = 1_800_000_000_000
SECOND = 1_000
HOUR = 3_600_000
NUMBER = "+33612345678"
KEY = "0123456789abcdef0123456789abcdef"
TEST_KEY = "11111111111111111111111111111111"
STRANGER_KEY = "22222222222222222222222222222222"
SEND = "/v2/notification/messages/send"
SEND_MARKETING = "/v2/marketing/messages/send"
STATUS = "/v2/messages/status"
PUBLIC_URL = "https://s.example"


@dataclass
class Scene:
    """The API in process, with what it is made of."""

    store: Store
    account: Account
    services: Services
    app: Api
    client: httpx2.AsyncClient
    """Carries the account's live key and asks for English."""
    now: int = NOW
    woken: list[str] = field(default_factory=list)
    readiness: dict[str, object] = field(default_factory=lambda: {"ready": True})
    epoch: int = 0

    async def send(
        self, path: str = SEND, /, *, key: str = KEY, headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx2.Response:
        """An ordinary send; members given as keywords replace or add to its own."""
        ordinary = {"number": NUMBER, "message": "Bonjour"}
        return await self.client.post(
            path, json={**ordinary, **body}, headers={"X-Primotexto-ApiKey": key, **(headers or {})}
        )

    async def sent(self, path: str = SEND, /, **options: Any) -> int:
        """The id of a send that has to succeed."""
        answer = await self.send(path, **options)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["snapshotId"])

    async def status(self, query: str, /, *, key: str = KEY, language: str = "en") -> httpx2.Response:
        headers = {"X-Primotexto-ApiKey": key, "Accept-Language": language}
        return await self.client.get(f"{STATUS}?{query}", headers=headers)

    async def status_of(self, message: int) -> dict[str, Any]:
        answer = await self.status(f"snapshotId={message}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def stored(self, message: int) -> Message:
        """The account's message as the store has it."""
        found = await self.store.find_message(self.account.id, MessageId(message))
        assert found is not None
        return found

    async def save_settings(self, **settings: Any) -> None:
        await self.store.save_settings(self.account.id, Settings(**settings))

    async def claim(self) -> list[Submission]:
        """Everything due on the live route."""
        self.epoch = self.epoch or await self.store.open_connector("operator", self.now)
        return await self.store.claim("operator", self.epoch, [Portion("live")], 100, self.now)

    async def answer(self, submission: Submission, carrier_id: str) -> None:
        """The operator takes charge of a part."""
        message, part, attempt = submission.key
        await self.store.settle([AttemptReport(message, Answered(part, attempt, self.now, carrier_id))], self.now)

    async def deliver(self, carrier_id: str, verdict: Verdict = Verdict.DELIVERED) -> None:
        """The operator's receipt."""
        receipt = ReceiptReport("operator", carrier_id, self.now, verdict, verdict.name, None, NUMBER)
        await self.store.settle([receipt], self.now)

    async def reply(self, text: str) -> None:
        inbound = Inbound("operator", NUMBER, "36111", self.now, text.encode("latin-1"), 3)
        await self.store.receive([inbound], self.now)


@asynccontextmanager
async def open_scene(path: Path, *, public_url: str | None = PUBLIC_URL) -> AsyncIterator[Scene]:
    """A scene on a new database in this folder."""
    store = await open_sqlite(path / "chappe.db")
    try:
        account = await store.open_account("acme", NOW - HOUR)
        stranger = await store.open_account("rival", NOW - HOUR)
        for secret, owner, test in (
            (KEY, account, False),
            (TEST_KEY, account, True),
            (STRANGER_KEY, stranger, False),
        ):
            digest = sha256(secret.encode()).digest()
            await store.create_key(owner.id, digest, secret[:4], test=test, now=NOW - HOUR)
        counter = itertools.count()
        services = Services(
            store=store,
            now_ms=lambda: scene.now,
            live_route="live",
            public_url=public_url,
            default_validity_ms=48 * HOUR,
            wake=lambda route: scene.woken.append(route),
            readiness=lambda: scene.readiness,
            token=lambda: f"Token{next(counter):07}",
            chance=lambda count: bytes([next(counter) % 256] * count),
            rates=Rates(lambda: scene.now / 1000),
            live=Live(),
        )
        app = create_app(services)
        headers = {"X-Primotexto-ApiKey": KEY, "Accept-Language": "en"}
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as client:
            scene = Scene(store, account, services, app, client)
            yield scene
    finally:
        await store.close()
