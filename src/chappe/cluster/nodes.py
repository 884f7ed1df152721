"""A `chappe serve` as a child process that can be killed, paused and started again, as `python -m chappe` would be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from chappe.core.errors import ChappeError
from chappe.http_client import call
from chappe.loopback import free_port

READY_SECONDS = 30.0
STOP_SECONDS = 35.0
POLL_SECONDS = 0.05


class ChildNode:
    """One node; it keeps its name and address when it is started again. Methods block."""

    def __init__(
        self,
        folder: Path,
        name: str,
        database: str,
        config: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are variables, such as CHAPPE_ROLE, beside those given here."""
        self.name = name
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{name}.log"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("CHAPPE_")}
        self._environment = {
            **inherited,
            "CHAPPE_DATABASE": database,  # not an argument: it has a password, and others may list processes
            "CHAPPE_LISTEN": f"127.0.0.1:{self.port}",
            "CHAPPE_NODE": name,
            **({"CHAPPE_CONFIG": str(config)} if config else {}),
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._started().pid

    def create_key(self, account: str, *, test: bool = False) -> str:
        """Works whether or not the node runs. Raises ChappeError."""
        return self.command("keys", "create", "--account", account, "--quiet", *(["--test"] if test else []))

    def command(self, *arguments: str) -> str:
        """What a command beside the node prints. Raises ChappeError when it fails."""
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            [sys.executable, "-m", "chappe", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=self._environment,
        )
        if done.returncode:
            raise ChappeError(f"chappe {' '.join(arguments[:2])}: {done.stderr.strip()}")
        return done.stdout.strip()

    def begin(self) -> None:
        """Starts it and does not wait."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chappe", "serve"],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us, who then stop it
            )

    def wait_until_ready(self) -> None:
        """Raises ChappeError when it ends instead, or takes too long."""
        end = time.monotonic() + READY_SECONDS
        while self.running and time.monotonic() < end:
            with suppress(ChappeError):
                call(self.base_url, None, "GET", "/ready", timeout_seconds=2)
                return
            time.sleep(POLL_SECONDS)
        raise ChappeError(f"the node {self.name} does not start:\n{self.log.read_text()[-2000:]}")

    def start(self) -> None:
        self.begin()
        self.wait_until_ready()

    def kill(self) -> None:
        """kill -9."""
        process = self._started()
        process.kill()
        process.wait()

    def pause(self) -> None:
        """SIGSTOP: it sleeps in the middle of whatever it does."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM; the exit code. 0 as well if it was not running."""
        if not self.running:
            return 0
        process = self._started()
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ChappeError(f"the node {self.name} was not started")
        return self._process
