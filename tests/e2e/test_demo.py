"""`chappe demo` as a newcomer runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from chappe.loopback import free_port


async def start_demo(*arguments: str, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chappe", "demo", *arguments),
        env={"TMPDIR": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_demo_tells_every_story_then_serves_until_it_is_stopped(tmp_path: Path) -> None:
    demo = await start_demo("--listen", f"127.0.0.1:{free_port()}", folder=tmp_path)
    assert demo.stdout is not None
    seen = b""
    async with asyncio.timeout(90):
        while b"curl" not in seen:
            line = await demo.stdout.readline()
            assert line, seen.decode()
            seen += line
    assert seen.count(b" yes ") == 10
    demo.send_signal(signal.SIGTERM)
    async with asyncio.timeout(40):
        rest, _ = await demo.communicate()
    assert b"stopped" in rest  # the server's last line
    assert os.listdir(tmp_path) == []


async def test_demo_says_that_its_address_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        demo = await start_demo("--listen", f"127.0.0.1:{other.getsockname()[1]}", folder=tmp_path)
        out, _ = await demo.communicate()
    assert demo.returncode == 1
    assert b"is in use" in out
