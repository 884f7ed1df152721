"""Those who are compared: a Chappe and a Kannel, each between an operator and a receiver of its own.

Kannel comes from Debian's package (`apt-get install kannel`); where its programs are absent its rows are left out.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Protocol
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import apsw

from bench.accepts import TEXT, random_numbers, send_calls
from bench.generator import Call
from bench.peers import Peer
from bench.servers import ACCOUNT, ChildServer, cpu_seconds
from chappe.loopback import free_port

DECIDED = "SELECT count(*) FROM message WHERE delivered_at IS NOT NULL"
CONFIGURATIONS = Path(__file__).parent / "kannel"
BOXES = ("bearerbox", "smsbox")
DLR_MASK = 1 | 2 | 8 | 16
"""Delivered, not delivered, accepted by the operator, refused: two callbacks for each life."""


@dataclass(slots=True, frozen=True)
class Setting:
    """What is around a gateway."""

    what: str
    callbacks: bool = True
    """The operator is asked for receipts, and two callbacks follow. For Kannel without: neither, see `Kannel`."""
    prompt: bool = True
    """Operator and receiver acknowledge TCP at once."""
    receipt_seconds: float = 0.3

    @property
    def mood(self) -> str:
        return f"receipt_seconds = {self.receipt_seconds}\nwindow = 500\n"


class Gateway(Protocol):
    """Runs between `start` and `stop`."""

    setting: Setting
    operator: Peer
    receiver: Peer
    base_url: str
    key: str
    accepts_with: int
    """The status of an accepted send."""

    async def start(self) -> None: ...

    def stop(self) -> None: ...

    def calls(self, count: int, seed: int) -> Sequence[Call]: ...

    def over(self) -> int:
        """How many lives have come to their end since it was started."""
        ...

    def cpu_seconds(self) -> float: ...


class Chappe:
    """A life is over when it is delivered on disk and, with webhooks, both have been taken."""

    accepts_with = 200

    def __init__(self, setting: Setting, folder: Path) -> None:
        self.setting = setting
        self.operator = Peer("operator", folder, prompt=setting.prompt, mood=setting.mood)
        self.receiver = Peer("receiver", folder, prompt=setting.prompt)
        self._folder = folder

    async def start(self) -> None:
        await self.operator.start()
        await self.receiver.start()
        config = self._folder / "chappe.toml"
        config.write_text(
            'webhook_networks = ["127.0.0.0/8"]\n'
            f'[operators.op]\nhost = "127.0.0.1"\nport = {self.operator.port}\nwindow = 100\nretry_seconds = 0.1\n'
        )
        self._server = ChildServer(self._folder, {}, config)
        self.base_url, self.key = self._server.base_url, self._server.create_key()
        if self.setting.callbacks:
            url = f"http://127.0.0.1:{self.receiver.port}/hooks"
            events = ("--event", "sent", "--event", "delivered")
            self._server.run("webhooks", "add", url, "--account", ACCOUNT, *events, "--config", str(config))
        await self._server.start()
        self._beside = apsw.Connection(str(self._folder / "chappe.db"), flags=apsw.SQLITE_OPEN_READONLY)

    def stop(self) -> None:
        self._beside.close()
        self._server.stop()
        self.operator.stop()
        self.receiver.stop()

    def calls(self, count: int, seed: int) -> Sequence[Call]:
        return send_calls(count, seed)

    def over(self) -> int:
        if self.setting.callbacks and (taken := self.receiver.count // 2) == 0:
            return taken
        decided = self._beside.execute(DECIDED).get
        assert isinstance(decided, int)
        return min(decided, self.receiver.count // 2) if self.setting.callbacks else decided

    def cpu_seconds(self) -> float:
        return self._server.cpu_seconds()


class Kannel:
    """A life is over when both callbacks were taken; without callbacks, when the operator has the message: Kannel asks
    for no receipt then, and keeps nothing."""

    accepts_with = 202
    key = ""

    def __init__(self, setting: Setting, folder: Path, configuration: str) -> None:
        self.setting = setting
        self.operator = Peer("operator", folder, prompt=setting.prompt, mood=setting.mood)
        self.receiver = Peer("receiver", folder, prompt=setting.prompt)
        self._folder = folder
        self._template = Template((CONFIGURATIONS / f"{configuration}.conf").read_text())
        self._boxes: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
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
            await self._wait_for(
                f"http://127.0.0.1:{admin}/status.txt?password=bench", b"(online" if box == BOXES[0] else b"smsbox"
            )
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

    def stop(self) -> None:
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

    def over(self) -> int:
        return self.receiver.count // 2 if self.setting.callbacks else self.operator.count

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(box.pid) for box in self._boxes)


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
