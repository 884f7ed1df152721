"""The examples of the documentation, run as they are printed but for address, key and ids."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_scene import HOUR, KEY, NOW
from wire_scene import House, open_house

from chappe.api.areas import OPERATIONS
from chappe.api.operations import STREAM, Operation
from chappe.api.server import Limits
from docs.examples import LANGUAGES
from proofs.calls import SEND, Call, Caller

PROGRAMS = {"sh": ["sh", "-c"], "php": ["php", "-r"], "python": [sys.executable, "-c"]}
NEEDED = {"sh": "curl", "php": "php", "python": sys.executable}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, Limits(head_seconds=60, body_seconds=60)) as house:
        yield house


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.answer is not STREAM], ids=lambda one: one.name)
async def test_an_example_does_what_it_says(house: House, operation: Operation[Any], language: str) -> None:
    if shutil.which(NEEDED[language]) is None:
        assert not os.environ.get("CI"), f"not installed: {NEEDED[language]}"
        pytest.skip(f"not installed: {NEEDED[language]}")

    async def ask(call: Call) -> httpx2.Response:
        return await house.scene.client.request(call.method, call.target, content=call.octets)

    call = await Caller(ask, {SEND: {"date": NOW + HOUR}}).prepare(operation)
    example = LANGUAGES[language](call, f"http://127.0.0.1:{house.server.port}", KEY)
    if language == "sh":
        example = example.replace("curl ", "curl -sS -w '%{http_code}' ", 1)
    process = await asyncio.create_subprocess_exec(
        *PROGRAMS[language],
        example.removeprefix("<?php"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    shown = out.decode().strip()
    # PHP and Python say so if the status is not one of success.
    assert process.returncode == 0, shown
    assert "HTTP request failed" not in shown
    if language == "sh":
        assert shown.endswith(str(operation.success))
    elif operation.success == 204:
        assert shown == ""
    else:
        assert shown[0] in "[{"
