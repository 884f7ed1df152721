"""Programs that others' libraries are written for: each says what it sees as lines of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

PEERS = Path(__file__).parent
PATIENCE_SECONDS = 30


def need(*missing: str | None) -> None:
    """Without these the test is skipped, but never in CI."""
    lacking = [what for what in missing if what]
    if lacking:
        assert not os.environ.get("CI"), f"not installed: {lacking}"
        pytest.skip(f"not installed: {', '.join(lacking)}")


def lacks_command(command: str) -> str | None:
    return None if shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin") else command


def lacks_node_smpp() -> str | None:
    found = (PEERS / "node_modules" / "smpp" / "package.json").exists()
    return lacks_command("node") or (None if found else "smpp (`npm ci --ignore-scripts` in tests/peers)")


def lacks_net_smpp() -> str | None:
    if lacks_command("perl"):
        return "perl"
    there = subprocess.run(["perl", "-MNet::SMPP", "-MJSON::PP", "-e", "1"], capture_output=True, check=False)
    return "Net::SMPP (libnet-smpp-perl)" if there.returncode else None


CUSTOMERS: Mapping[str, tuple[str, Callable[[], str | None]]] = {
    "customer.pl": ("perl", lacks_net_smpp),
    "customer.mjs": ("node", lacks_node_smpp),
}
"""Customer → its interpreter, and what may be missing for it."""


def customer(file: str, port: int, system_id: str, password: str) -> Program:
    """Skips the test where it cannot run."""
    program, lacks = CUSTOMERS[file]
    need(lacks())
    return Program(program, file, str(port), system_id, password)


class Program:
    """A running one; `async with`. What it writes to stderr fails the test."""

    def __init__(self, *command: str) -> None:
        self._unasked: list[dict[str, Any]] = []
        self._command = command
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Program:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=PEERS, stdin=pipe, stdout=pipe, stderr=pipe
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.close()
        if kind is not None and process.returncode is None:
            process.kill()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                trouble = await process.stderr.read()
                await process.wait()
        except TimeoutError:
            process.kill()
            raise
        if kind is None and (process.returncode or trouble):
            pytest.fail(f"it ended with {process.returncode}: {trouble.decode()}")
        print(trouble.decode())  # beside what else went wrong

    def say(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def next(self, event: str) -> dict[str, Any]:
        """The next event of this kind; what comes before it waits until it is asked for."""
        for place, said in enumerate(self._unasked):
            if said["event"] == event:
                return self._unasked.pop(place)
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while line := await self._process.stdout.readline():
                heard: dict[str, Any] = json.loads(line)
                if heard["event"] == event:
                    return heard
                self._unasked.append(heard)
        pytest.fail(f"it ended without {event!r}, after {self._unasked}")
