"""`chappe demo`: a real server with the built-in simulator, a campaign to a thousand, a message to each magic number.

The server is a child process started exactly as `chappe serve` would be, and everything goes over HTTP: what
the demo shows is what an application sees. Only the deadlines are short, so that even the message whose
receipt never comes ends while one watches.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chappe.core.errors import ChappeError
from chappe.http_client import call
from chappe.loopback import free_port

STORIES: Mapping[str, tuple[str, str]] = {
    # last digit → (what the simulator does, the state it has to end in)
    "0": ("delivered after a moment", "delivered"),
    "1": ("the number is not assigned", "bounced"),
    "2": ("the operator says expired", "error"),
    "3": ('answers "Merci"', "reply"),
    "4": ("answers STOP", "unsubscribed"),
    "5": ("opens the tracked link", "opened"),
    "6": ("the receipt never comes", "error"),
    "7": ("refused at submit", "error"),
    "8": ("throttled, then delivered", "delivered"),
    "9": ("the operator's answer is lost, the receipt follows", "delivered"),
}

SHORT_DEADLINES = {
    "CHAPPE_DEFAULT_VALIDITY_SECONDS": "20",
    "CHAPPE_SIMULATOR_RESPONSE_SECONDS": "3",
    "CHAPPE_SIMULATOR_MOOD": "crowd",
}

CROWD = 1_000
EXPECTED: Mapping[str, int] = {
    # What the people of the mood `crowd` do.
    "sent": CROWD,
    "submitted": CROWD,
    "delivered": 800,
    "bounces": 100,
    "errors": 100,
    "undelivered": 200,
    "openers": 100,
    "clickers": 100,
    "replies": 10,
    "unsubscribers": 10,
}

GIVE_UP_SECONDS = 55.0


def run(*, once: bool, listen: str | None = None, database: str | None = None) -> int:
    """Runs the demo; 0 when every message ended as its story says, 1 otherwise.

    Without `database` a new file in a temporary folder is used and removed at the end; without `listen` a
    free port of the loopback address (`once`) or 127.0.0.1:8000.
    """
    console = Console()
    signal.signal(signal.SIGTERM, _end)
    listen = listen or (f"127.0.0.1:{free_port()}" if once else "127.0.0.1:8000")
    base_url = f"http://{listen}"
    if not _is_free(listen):
        console.print(f"[red]{listen} is in use.[/] Choose another address with --listen HOST:PORT.")
        return 1
    with tempfile.TemporaryDirectory(prefix="chappe-demo-") as folder:
        database = database or f"sqlite:///{Path(folder) / 'demo.db'}"
        with _server(listen, database) as server:
            if not _wait_until_ready(base_url, server):
                console.print(f"[red]The server did not start on {listen}.[/] Its last lines above say why.")
                return 1
            key = _create_key(database)
            console.print(
                f"Chappe listens on [bold]{base_url}[/] with SQLite. "
                "[yellow]No operator is configured: everything goes to the built-in simulator.[/]\n"
            )
            ended_well = _run_campaign(console, base_url, key)  # first: the stories teach the connector to be slow
            ended_well &= _tell_stories(console, base_url, key)
            if once:
                return 0 if ended_well else 1
            _keep_serving(console, base_url, key, server)
    return 0 if ended_well else 1


def _tell_stories(console: Console, base_url: str, key: str) -> bool:
    sent: dict[str, str] = {}
    for digit, (story, _) in STORIES.items():
        text = f"Chappe demo {digit}: {story}."
        if digit == "5":
            text += " Lire https://example.org/bienvenue"
        answer = call(
            base_url,
            key,
            "POST",
            "/v2/notification/messages/send",
            {"number": _number(digit), "message": text, "trackLinks": digit == "5"},
        )
        sent[digit] = answer["snapshotId"]
    statuses = _follow(console, base_url, key, sent)
    table = Table(title="What became of each message", title_justify="left")
    for column in ("number", "id", "the simulator…", "state", "as told"):
        table.add_column(column)
    ended_well = True
    for digit, (story, expected) in STORIES.items():
        state = statuses[digit]["state"]
        ended_well &= state == expected
        mark = "[green]yes[/]" if state == expected else f"[red]no: {expected}[/]"
        table.add_row(_number(digit), sent[digit], story, state, mark)
    console.print(table)
    identifier = quote(_number("0"), safe="")
    for query in (f"identifier={identifier}", f"snapshotId={sent['0']}"):
        path = f"/v2/messages/status?{query}"
        console.print(f"\n[bold]GET {path}[/]")
        console.print_json(json.dumps(call(base_url, key, "GET", path)))
    return ended_well


def _run_campaign(console: Console, base_url: str, key: str) -> bool:
    """A list imported, looked at, sent to and followed until its counters stand still; whether they agree."""
    contacts = [[f"+33610000{index:03}", f"Prénom {index}"] for index in range(CROWD)]
    list_ = call(base_url, key, "POST", "/v2/lists", {"name": "Demo"})["id"]
    call(base_url, key, "POST", f"/v2/lists/{list_}/import", [["tel", "prénom"], *contacts])
    body = {
        "name": "Soldes",
        "message": "Bonjour ${prénom}, -20 % samedi : ${rich_message}",
        "sendList": list_,
        "landingPageType": "EXTERNAL",
        "externalUrl": "https://example.org/soldes",
    }
    campaign = call(base_url, key, "POST", "/v2/marketing/campaigns", body)["id"]
    ahead = call(base_url, key, "POST", f"/v2/campaigns/{campaign}/dry-run")
    console.print(
        f"A campaign to a list of {ahead['contacts']}: the dry run says {ahead['recipients']} recipients, "
        f"{ahead['creditsUsed']:.0f} credits, the longest text in {ahead['longestParts']} part."
    )
    console.print(f"  {ahead['longest']}", highlight=False, markup=False)
    began = time.monotonic()
    used = call(base_url, key, "POST", f"/v2/campaigns/{campaign}/send")["creditsUsed"]
    status = _follow_campaign(base_url, key, campaign)
    table = Table(title=f"What came of it, after {time.monotonic() - began:.1f} s", title_justify="left")
    for column in ("messages", "counted", "as this crowd does"):
        table.add_column(column)
    for name, n in EXPECTED.items():
        table.add_row(name, str(status[name]), "[green]so[/]" if status[name] == n else f"[red]no: {n}[/]")
    console.print(table)
    promises = {
        "it cost what was answered": used == ahead["creditsUsed"] == status["creditsUsed"],
        "sent >= submitted >= delivered": status["sent"] >= status["submitted"] >= status["delivered"],
        "undelivered = bounces + errors = sent - delivered": status["undelivered"]
        == status["bounces"] + status["errors"]
        == status["sent"] - status["delivered"],
        "openers <= opens, clickers <= clicks": status["openers"] <= status["opens"]
        and status["clickers"] <= status["clicks"],
        "the campaign is over": status["state"] == "SENT",
    }
    for promise, kept in promises.items():
        console.print(f"  {'[green]holds[/]' if kept else '[red]BROKEN[/]'}  {promise}", highlight=False)
    console.print()
    return all(promises.values()) and all(status[name] == n for name, n in EXPECTED.items())


def _follow_campaign(base_url: str, key: str, campaign: str) -> dict[str, Any]:
    """Its status once it is as expected, or when time is up."""
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while True:
        status = call(base_url, key, "GET", f"/v2/campaigns/{campaign}/status")
        over = status["state"] == "SENT" and all(status[name] >= n for name, n in EXPECTED.items())
        if over or time.monotonic() > give_up:
            return status
        time.sleep(0.1)


def _follow(console: Console, base_url: str, key: str, sent: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Asks for every message's status until each is as its story says, or time is up."""
    statuses: dict[str, dict[str, Any]] = {}
    give_up = time.monotonic() + GIVE_UP_SECONDS
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("waiting for final states", total=len(sent))
        while True:
            for digit, snapshot_id in sent.items():
                path = f"/v2/messages/status?snapshotId={snapshot_id}"
                statuses[digit] = call(base_url, key, "GET", path)
            done = sum(statuses[digit]["state"] == STORIES[digit][1] for digit in sent)
            progress.update(task, completed=done)
            if done == len(sent) or time.monotonic() > give_up:
                return statuses
            time.sleep(0.25)


def _keep_serving(console: Console, base_url: str, key: str, server: subprocess.Popen[bytes]) -> None:
    console.print("\nStill serving; stop with Ctrl-C. Send one yourself, then ask what became of it:\n")
    body = '{"number": "+33600000003", "message": "Bonjour"}'
    console.print(
        f"curl -s {base_url}/v2/notification/messages/send -H 'X-Primotexto-ApiKey: {key}' -d '{body}'\n"
        f"curl -s '{base_url}/v2/messages/status?identifier=%2B33600000003' "
        f"-H 'X-Primotexto-ApiKey: {key}'",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    try:
        server.wait()
    except KeyboardInterrupt:
        console.print("\nStopping.")


@contextmanager
def _server(listen: str, database: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "chappe", "serve", "--listen", listen, "--database", database]
    server = subprocess.Popen(  # noqa: S603 - our own program, no shell
        command, env={**_environment(), **SHORT_DEADLINES}, start_new_session=True
    )
    try:
        yield server
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=35)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_ready(base_url: str, server: subprocess.Popen[bytes]) -> bool:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up and server.poll() is None:
        try:
            call(base_url, None, "GET", "/ready", timeout_seconds=2)
        except ChappeError:
            time.sleep(0.05)
        else:
            return True
    return False


def _create_key(database: str) -> str:
    name = f"demo-{secrets.token_hex(3)}"
    command = [sys.executable, "-m", "chappe", "keys", "create", "--account", name, "--quiet"]
    return subprocess.check_output([*command, "--database", database], env=_environment(), text=True).strip()  # noqa: S603


def _environment() -> dict[str, str]:
    """Without settings of ours: the demo must not write to an operator that is configured there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CHAPPE_")}


def _number(digit: str) -> str:
    return f"+3360000000{digit}"


def _end(*_: object) -> None:
    """SIGTERM ends the demo as Ctrl-C does: its server and its folder go with it."""
    raise SystemExit(143)


def _is_free(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError:
            return False
    return True
