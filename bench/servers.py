"""A real `chappe serve` as a child process: for benchmarks and proofs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from chappe.loopback import free_port

ACCOUNT = "proof"
"""The account of the keys that are created here."""
TEXT = "Bonjour, votre commande est en route."


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all that it started, ended ones included, so far (Linux), to 10 ms."""
    return _sum(pid, _cpu_seconds)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """What a process and its children take (Linux), pages that they share counted once (PSS)."""
    return _sum_mib(pid, "smaps_rollup", "Pss")


def peak_mib(pid: int) -> float:
    """The most that a process and its children ever took, each by itself (Linux)."""
    return _sum_mib(pid, "status", "VmHWM")


def _sum_mib(pid: int, file: str, field: str) -> float:
    def mib(pid: int) -> float:
        found = re.search(rf"{field}:\s+([0-9]+) kB", Path(f"/proc/{pid}/{file}").read_text())
        assert found is not None
        return int(found[1]) / 1024

    return _sum(pid, mib)


def _sum(pid: int, of: Callable[[int], float]) -> float:
    """Of a process and its children, without those that end between two looks, as a database's come and go."""
    total = of(pid)
    for child in children(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            total += _sum(child, of)
    return total


def children(pid: int) -> list[int]:
    """The processes that it has started and that run (Linux)."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            found += map(int, path.read_text().split())
    return found


class ChildServer:
    """Starts, kills and starts again a server on the same database and address."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], config: Path | None = None, database: str | None = None
    ) -> None:
        """`database` is a file in the folder unless given."""
        self.folder = folder
        self.base_url = f"http://127.0.0.1:{free_port()}"
        self.database = database or f"sqlite:///{folder / 'chappe.db'}"
        self.log = folder / "server.log"
        self._settings = settings
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def create_key(self, *, test: bool = False) -> str:
        """A key of a new account; works beside the running server."""
        return self.run("keys", "create", "--account", ACCOUNT, "--quiet", *(["--test"] if test else []))

    def run(self, *command: str) -> str:
        """What a command prints that works on the same database."""
        return self._chappe(*command, "--database", self.database)

    async def start(self) -> None:
        """Returns once it is ready. Raises RuntimeError when it ends instead."""
        listen = self.base_url.removeprefix("http://")
        config = ["--config", str(self._config)] if self._config else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chappe", "serve", "--listen", listen, "--database", self.database, *config],
                env={**os.environ, **self._settings},
                stderr=log,
            )
        for _ in range(600):
            if self._process.poll() is not None:
                raise RuntimeError(f"the server has ended, see {self.log}:\n{self.log.read_text()[-2000:]}")
            try:
                with await asyncio.to_thread(urlopen, f"{self.base_url}/ready", timeout=2):
                    return
            except (URLError, OSError):
                await asyncio.sleep(0.05)
        raise RuntimeError("the server is not ready after 30 s")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def writer_pid(self) -> int:
        """The process that has the file of SQLite open for writing."""
        return next(
            child
            for child in children(self.pid)
            if b"chappe.storage.writer_child" in Path(f"/proc/{child}/cmdline").read_bytes()
        )

    def wait(self, seconds: float = 35) -> int:
        """Until it ends by itself; returns the exit code."""
        return self._running().wait(seconds)

    def kill(self) -> None:
        """kill -9."""
        process = self._running()
        process.kill()
        process.wait()

    def stop(self, seconds: float = 35) -> int:
        """SIGTERM; returns the exit code."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        return process.wait(seconds)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start it first"
        return self._process

    def _chappe(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "chappe", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
