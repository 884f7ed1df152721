"""Fixtures of this folder, a plugin because mypy takes one conftest.py a project: a server that answers as the test
says and keeps what it was asked, and a runner of commands."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from chappe.loopback import free_port


@dataclass
class ScriptedServer:
    url: str = ""
    answers: list[tuple[int, object]] = field(default_factory=list)
    """Status and JSON (or bytes as they are; None: hangs up); the last one is repeated."""
    asked: list[tuple[str, str, dict[str, str], object]] = field(default_factory=list)
    """Method, path, headers with lower-case names, JSON body."""

    def next_answer(self) -> tuple[int, object]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.asked.append((self.command, self.path, headers, json.loads(body) if body else None))
            status, answer = script.next_answer()
            if answer is None:
                self.close_connection = True
                return
            octets = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{script.url}/elsewhere")
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

        do_GET = do_POST = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        script.url = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield script
        listener.shutdown()
        thread.join()


@pytest.fixture
def unused_port() -> int:
    """A port of the loopback address where nobody listens."""
    return free_port()


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands in an empty folder, without settings in the environment, in English."""
    monkeypatch.chdir(tmp_path)
    for name in ("CHAPPE_CONFIG", "CHAPPE_DATABASE", "CHAPPE_URL", "CHAPPE_API_KEY", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    return CliRunner()
