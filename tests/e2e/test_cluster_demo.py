"""`chappe cluster-demo` as a newcomer runs it."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's, which only the user who runs the tests may enter: PostgreSQL may have to run as another."""
    with tempfile.TemporaryDirectory(prefix="chappe-test-") as path:
        Path(path).chmod(0o711)
        yield Path(path)


async def start_demo(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chappe", "cluster-demo", "--messages", "100"),
        env={"TMPDIR": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_demonstration_kills_a_node_and_the_primary_and_loses_nothing(folder: Path) -> None:
    demo = await start_demo(folder)
    async with asyncio.timeout(120):
        out, _ = await demo.communicate()
    said = out.decode()
    assert demo.returncode == 0, said
    for fact in ("kill -9 of", "is promoted", "is a standby now", "Every promise was kept."):
        assert fact in said
    assert os.listdir(folder) == []


async def test_demonstration_that_is_stopped_takes_everything_with_it(folder: Path) -> None:
    demo = await start_demo(folder)
    assert demo.stdout is not None
    async with asyncio.timeout(60):
        assert b"primary is pg1" in await demo.stdout.readline()
        demo.terminate()
        out, _ = await demo.communicate()
    assert b"Stopped" in out, out.decode()
    assert demo.returncode == 143
    assert os.listdir(folder) == []
