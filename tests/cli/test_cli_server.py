from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from chappe.cli import main

pytest_plugins = ("cli_fixtures",)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_has_help_with_examples_of_itself(cli: CliRunner, path: tuple[str, ...]) -> None:
    result = cli.invoke(main, [*path, "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"Examples:\n\n    {' '.join(('chappe', *path))}" in result.stdout


def test_version_is_the_packages(cli: CliRunner) -> None:
    assert cli.invoke(main, ["--version"]).stdout == f"chappe {version('chappe')}\n"


def test_python_m_chappe_is_chappe() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "chappe", "send", "--help"], check=True, capture_output=True, text=True
    )
    assert result.stdout.startswith("Usage: chappe send")


def test_client_commands_start_without_the_server_stack() -> None:
    heavy = "asyncio, msgspec, apsw, phonenumbers, uvicorn, starlette, rich"
    program = f"import sys, chappe.cli; print([name for name in {heavy.split(', ')} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["serve", "--listen", "8000"], "--listen must be HOST:PORT"),
        (["serve", "--database", "mysql://db/chappe"], "--database must be sqlite:///FILE"),
        (["serve", "--config", "missing.toml"], "missing.toml: No such file"),
        (["demo", "--listen", "8000"], "--listen must be HOST:PORT"),
        (["demo", "--once", "--database", "demo.db"], "--database must be sqlite:///FILE"),
        (["keys", "list", "--database", "x"], "--database must be sqlite:///FILE"),
        (["simulate", "--listen", "x"], "--listen must be HOST:PORT"),
        (["simulate", "--mood", "missing.toml"], "missing.toml: No such file"),
    ],
)
def test_wrong_setting_is_one_line_and_exit_code_2(cli: CliRunner, arguments: list[str], complaint: str) -> None:
    result = cli.invoke(main, arguments, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {complaint}")
    assert result.stderr.count("\n") == 1


def test_wrong_mood_names_its_setting(cli: CliRunner) -> None:
    Path("mood.toml").write_text("receipts_lost = 2")
    result = cli.invoke(main, ["simulate", "--mood", "mood.toml"], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: mood.toml: ")
    assert "receipts_lost" in result.stderr


def test_simulator_runs_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-u", "-m", "chappe", "simulate", "--listen", "127.0.0.1:0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAPPE_")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        try:
            assert simulator.stdout.readline().startswith("A simulated operator listens on 127.0.0.1:")
            simulator.send_signal(signal.SIGTERM)
            rest, _ = simulator.communicate(timeout=30)
        finally:
            simulator.kill()
    assert (simulator.returncode, rest) == (0, "Nobody came.\n")


def test_port_in_use_is_said(cli: CliRunner, server: Any) -> None:
    taken = server.url.removeprefix("http://")
    result = cli.invoke(main, ["simulate", "--listen", taken], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (1, f"Error: cannot listen on {taken}: Address already in use\n")


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`chappe serve` in this folder, as a process of its own, stopped at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAPPE_")}
    command = [sys.executable, "-m", "chappe", "serve", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_serve_on_a_port_in_use_ends_with_one_line_and_no_trace(tmp_path: Path, server: Any) -> None:
    taken = server.url.removeprefix("http://")
    with serving(tmp_path, "--listen", taken) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == f"Error: cannot listen on {taken}: Address already in use"
    assert "Traceback" not in errors


def test_message_is_sent_and_followed_by_commands_alone(
    cli: CliRunner, tmp_path: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> Result:
        return cli.invoke(main, arguments, catch_exceptions=False)

    monkeypatch.setenv("CHAPPE_URL", f"http://127.0.0.1:{unused_port}")
    with serving(tmp_path, "--listen", f"127.0.0.1:{unused_port}") as process:
        assert process.stderr is not None
        assert any(": serving " in line for line in process.stderr)
        key = run("keys", "create", "--account", "shop", "--quiet").stdout.strip()
        monkeypatch.setenv("CHAPPE_API_KEY", key)
        sent = json.loads(run("send", "0600000000", "Bonjour", "--json").stdout)
        followed = run("status", "0600000000", "--watch", "--every", "0.05", "--json").stdout.splitlines()
        assert run("keys", "revoke", key).exit_code == 0
        refused = run("status", "0600000000")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    last = json.loads(followed[-1])
    assert (last["id"], last["state"], last["test"]) == (int(sent["snapshotId"]), "delivered", True)
    assert (refused.exit_code, "(code 72)" in refused.stderr) == (1, True)
    assert process.returncode == 0, errors
