"""Those who are measured: a Chappe and a Kannel, each between an operator and a receiver of its own.

Kannel comes from Debian's package (`apt-get install kannel`); where its programs are absent its rows are left out.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Protocol
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import apsw
import asyncpg  # type: ignore[import-untyped]

from bench.generator import Call
from bench.http_load import send_body
from bench.numbers import random_numbers
from bench.peers import Peer, Specification
from bench.servers import ACCOUNT, TEXT, ChildServer, cpu_seconds
from chappe.cluster.postgres import PostgresCluster
from chappe.loopback import free_port
from chappe.simulator.moods import Mood

SEND = "/v2/notification/messages/send"
NEWEST = "SELECT coalesce(max(id), 0) FROM message"
DELIVERED = "SELECT count(*) FROM message WHERE id > $1 AND delivered_at IS NOT NULL"
CONFIGURATIONS = Path(__file__).parent / "kannel"
BOXES = ("bearerbox", "smsbox")
DLR_MASK = 1 | 2 | 8 | 16
"""Delivered, not delivered, accepted by the operator, refused: two callbacks for each life."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Setting:
    """What is around a gateway."""

    callbacks: bool = True
    """The operator is asked for receipts, and two callbacks follow. For Kannel without: neither, see `Kannel`."""
    operator: bool = True
    """It is there; else what is accepted waits."""
    prompt: bool = True
    """Operator and receiver acknowledge TCP at once."""
    receipt_seconds: float = 0.3
    window: int = 100
    """Submits in flight, and receipts the other way five times as many."""
    watched: str = ""
    random_ids: bool = False

    def make_operator(self, folder: Path) -> Peer:
        return Peer(
            Specification(
                kind="operator",
                prompt=self.prompt,
                port=free_port(),
                mood=Mood(receipt_seconds=self.receipt_seconds, window=5 * self.window),
                watched=self.watched,
                random_ids=self.random_ids,
            ),
            folder,
        )

    def make_receiver(self, folder: Path) -> Peer:
        return Peer(Specification(kind="receiver", prompt=self.prompt), folder)


class Gateway(Protocol):
    """Runs between `start` and `stop`."""

    operator: Peer
    receiver: Peer
    base_url: str
    key: str
    accepts_with: int
    """The status of an accepted send."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def calls(self, count: int, seed: int) -> Sequence[Call]: ...

    async def begin(self) -> None:
        """What is over from now on counts."""
        ...

    async def over(self) -> int:
        """How many lives have come to their end since `begin`."""
        ...

    def cpu_seconds(self) -> float: ...

    def peers_cpu_seconds(self) -> float: ...


class Chappe:
    """A life is over when it is delivered on disk and, with webhooks, both have been taken."""

    accepts_with = 200

    def __init__(self, setting: Setting, folder: Path) -> None:
        """What the folder has as `chappe.db` is its database already."""
        self.setting = setting
        self.operator = setting.make_operator(folder)
        self.receiver = setting.make_receiver(folder)
        self.folder = folder
        self._running = AsyncExitStack()

    async def start(self) -> None:
        self._running.callback(self.operator.stop)
        self._running.callback(self.receiver.stop)
        await self.receiver.start()
        config = self.folder / "chappe.toml"
        config.write_text(
            'webhook_networks = ["127.0.0.0/8"]\n'
            f'[operators.op]\nhost = "127.0.0.1"\nport = {self.operator.port}\nwindow = {self.setting.window}\n'
            "retry_seconds = 0.1\n"
        )
        self.server = ChildServer(self.folder, {}, config, await self._database())
        self.base_url, self.key = self.server.base_url, self.server.create_key()
        if self.setting.callbacks:
            url = f"http://127.0.0.1:{self.receiver.port}/hooks"
            events = ("--event", "sent", "--event", "delivered")
            self.server.run("webhooks", "add", url, "--account", ACCOUNT, *events, "--config", str(config))
        if self.setting.operator:
            await self.operator.start()
        await self.server.start()
        self._running.callback(self.server.stop)
        await self._look_beside()

    async def stop(self) -> None:
        await self._running.aclose()

    def calls(self, count: int, seed: int) -> Sequence[Call]:
        return send_calls(count, seed)

    async def begin(self) -> None:
        self._newest = await self.ask(NEWEST)
        self._taken = self.receiver.count

    async def stored(self) -> int:
        """Since `begin`."""
        return await self.ask(NEWEST) - self._newest

    async def over(self) -> int:
        taken = (self.receiver.count - self._taken) // 2
        if self.setting.callbacks and not taken:
            return 0
        delivered = await self.ask(DELIVERED, self._newest)
        return min(delivered, taken) if self.setting.callbacks else delivered

    async def ask(self, sql: str, *values: int) -> int:
        """A number, read beside the server."""
        found = self._beside.execute(sql, values).get
        assert isinstance(found, int)
        return found

    def cpu_seconds(self) -> float:
        return self.server.cpu_seconds()

    def peers_cpu_seconds(self) -> float:
        return self.operator.cpu_seconds() + self.receiver.cpu_seconds()

    async def _database(self) -> str | None:
        return None

    async def _look_beside(self) -> None:
        self._beside = apsw.Connection(str(self.folder / "chappe.db"), flags=apsw.SQLITE_OPEN_READONLY)
        self._running.callback(self._beside.close)


class ChappeOnPostgres(Chappe):
    """One node, and a PostgreSQL of its own without standbys whose CPU time is counted too."""

    async def ask(self, sql: str, *values: int) -> int:
        return int(await self._connection.fetchval(sql, *values))

    def cpu_seconds(self) -> float:
        return super().cpu_seconds() + cpu_seconds(self._postgres.primary.pid)

    async def _database(self) -> str:
        folder = self.folder / "postgres"
        folder.mkdir()
        self._postgres = PostgresCluster(folder, standbys=0)
        self._running.callback(self._postgres.stop)
        await asyncio.to_thread(self._postgres.start)
        return self._postgres.url

    async def _look_beside(self) -> None:
        self._connection = await asyncpg.connect(self._postgres.url)
        self._running.push_async_callback(self._connection.close)


def send_calls(count: int, seed: int) -> list[Call]:
    return [Call(SEND, send_body(number, TEXT).decode()) for number in random_numbers(count, seed)]


class Kannel:
    """A life is over when both callbacks were taken; without callbacks, when the operator has the message: Kannel asks
    for no receipt then, and keeps nothing."""

    accepts_with = 202
    key = ""

    def __init__(self, setting: Setting, folder: Path, configuration: str) -> None:
        self.setting = setting
        self.operator = setting.make_operator(folder)
        self.receiver = setting.make_receiver(folder)
        self._folder = folder
        self._template = Template((CONFIGURATIONS / f"{configuration}.conf").read_text())
        self._boxes: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        if self.setting.operator:
            await self.operator.start()
        await self.receiver.start()
        admin, sendsms = free_port(), free_port()
        self.base_url = f"http://127.0.0.1:{sendsms}"
        config = self._folder / "kannel.conf"
        config.write_text(
            self._template.substitute(
                admin=admin, box=free_port(), sendsms=sendsms, folder=self._folder, operator=self.operator.port
            )
        )
        for box in BOXES:
            with (self._folder / f"{box}.out").open("wb") as out:
                self._boxes.append(subprocess.Popen([_program(box), "-v", "4", str(config)], stdout=out, stderr=out))
            ready = {"bearerbox": b"(online" if self.setting.operator else b"Kannel", "smsbox": b"smsbox"}[box]
            await self._wait_for(f"http://127.0.0.1:{admin}/status.txt?password=bench", ready)
        await self._wait_for(self.base_url, b"")

    async def _wait_for(self, url: str, word: bytes) -> None:
        for _ in range(200):
            if any(box.poll() is not None for box in self._boxes):
                raise RuntimeError(f"Kannel has ended, see {self._folder}")
            try:
                if word in await asyncio.to_thread(_read, url):
                    return
            except OSError:
                pass
            await asyncio.sleep(0.1)
        raise RuntimeError(f"Kannel is not ready: {url}")

    async def stop(self) -> None:
        for box in reversed(self._boxes):
            box.kill()
            box.wait()
        self.operator.stop()
        self.receiver.stop()

    def calls(self, count: int, seed: int) -> Sequence[Call]:
        told = {}
        if self.setting.callbacks:
            url = f"http://127.0.0.1:{self.receiver.port}/dlr?id=%I&type=%d"
            told = {"dlr-mask": str(DLR_MASK), "dlr-url": url}
        return [
            Call(
                "/cgi-bin/sendsms?"
                + urlencode(
                    {"username": "bench", "password": "bench", "from": "BENCH", "to": number, "text": TEXT, **told}
                )
            )
            for number in random_numbers(count, seed)
        ]

    async def begin(self) -> None:
        self._before = self._ended

    async def over(self) -> int:
        return self._ended - self._before

    @property
    def _ended(self) -> int:
        return self.receiver.count // 2 if self.setting.callbacks else self.operator.count

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(box.pid) for box in self._boxes)

    def peers_cpu_seconds(self) -> float:
        return self.operator.cpu_seconds() + self.receiver.cpu_seconds()


def kannel_is_here() -> bool:
    return all(_find(box) for box in BOXES)


def _find(box: str) -> str | None:
    return shutil.which(box) or shutil.which(box, path="/usr/sbin")


def _program(box: str) -> str:
    found = _find(box)
    assert found is not None, "ask kannel_is_here first"
    return found


def _read(url: str) -> bytes:
    try:
        with urlopen(url, timeout=2) as answer:
            return bytes(answer.read())
    except URLError as error:
        if getattr(error, "code", None):  # an answer all the same
            return b""
        raise
