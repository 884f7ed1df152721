"""Clients in seven languages, written from the contract, against a server with the simulator."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chappe.app import Node
from chappe.core.message import MessageId

StartNode = Callable[..., Awaitable[Node]]
ClientOf = Callable[..., Awaitable[Any]]

CLIENTS = Path(__file__).resolve().parents[1] / "clients"
PROGRAMS = {
    "client.sh": "sh",
    "client.php": "php",
    "client.rb": "ruby",
    "client.mjs": "node",
    "client.py": "python3",
    "client.pl": "perl",
    "Client.java": "java",
}
NEEDED = {"client.sh": ["curl"]}
PATIENCE_SECONDS = 90
TEXTS = {
    11: "Invalid phone number.",
    12: "This number has unsubscribed.",
    16: "No message for this query.",
    30: "The message has no text.",
    72: "Authentication failed: missing or unknown key in the X-Primotexto-ApiKey header.",
}


def test_every_client_is_run() -> None:
    assert {file.name for file in CLIENTS.iterdir()} == {*PROGRAMS, "README.md"}


@pytest.mark.parametrize("file", PROGRAMS)
async def test_a_client_written_from_the_contract_gets_what_it_expects(
    start_node: StartNode, client_of: ClientOf, tmp_path: Path, file: str
) -> None:
    program = interpreter(file)
    node = await start_node()
    key = (await client_of(node)).key
    calls = await run(program, str(CLIENTS / file), node.base_url, key, folder=tmp_path)
    sent, marketing, by_id, by_number = (calls[name][1] for name in ("notification", "marketing", "by id", "by number"))
    assert list(sent) == list(marketing) == ["creditsUsed", "snapshotId"]
    assert sent["creditsUsed"] == marketing["creditsUsed"] == 1.0
    assert {"id": int(sent["snapshotId"]), "state": "delivered", "identifier": "+33600000000"}.items() <= by_id.items()
    assert by_number == by_id
    stored = await (await client_of(node)).status(sent["snapshotId"])
    assert stored == by_id
    [account] = {one.account.id for one in await node.store.list_keys()}
    message = await node.store.find_message(account, MessageId(by_id["id"]))
    assert message is not None
    assert message.text == "Bonjour Zoé €"
    entry = calls["unsubscribe"][1]
    assert (list(entry), len(entry["id"])) == (["id"], 24)
    assert {name: status for name, (status, _) in calls.items()} == {
        "notification": 200,
        "marketing": 200,
        "by id": 200,
        "by number": 200,
        "wrong key": 401,
        "bad number": 400,
        "no message": 400,
        "unknown id": 404,
        "unsubscribe": 200,
        "refused": 400,
        "back again": 204,
    }
    assert calls["back again"][1] is None
    errors = {"wrong key": 72, "bad number": 11, "no message": 30, "unknown id": 16, "refused": 12}
    for name, code in errors.items():
        answer = calls[name][1]
        assert (answer["code"], answer["error"], answer["message"]) == (code, TEXTS[code], TEXTS[code])


def interpreter(file: str) -> str:
    """The program that runs it. Where it is not installed the test is skipped, but never in CI."""
    missing = [program for program in (PROGRAMS[file], *NEEDED.get(file, ())) if shutil.which(program) is None]
    if missing:
        assert not os.environ.get("CI"), f"not installed: {missing}"
        pytest.skip(f"not installed: {missing}")
    return PROGRAMS[file]


async def run(*command: str, folder: Path) -> dict[str, tuple[int, Any]]:
    """What each call was answered: status and body."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, trouble = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, trouble.decode()) == (0, ""), out.decode()
    lines = [json.loads(line) for line in out.decode().splitlines()]
    return {line["call"]: (line["http"], line["answer"]) for line in lines}
