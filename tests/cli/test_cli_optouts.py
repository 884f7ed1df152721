"""Opt-outs in and out by command, each against a real file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chappe.cli import main

pytest_plugins = ("cli_fixtures",)


def run(cli: CliRunner, *arguments: str, stdin: str | None = None) -> Result:
    return cli.invoke(main, arguments, input=stdin, catch_exceptions=False)


@pytest.fixture
def cli(cli: CliRunner) -> CliRunner:
    """With an account."""
    assert run(cli, "keys", "create", "--account", "shop", "--quiet").exit_code == 0
    return cli


def test_what_is_imported_is_exported(cli: CliRunner) -> None:
    text = (
        "number,date,scope\n"
        "+33612345678,2026-11-24T08:00:00.000Z,account\n"
        "+33612345678,2026-11-24T08:00:00.000Z,sender:MyShop\n"
    )
    Path("stops.csv").write_text(text)
    assert run(cli, "optouts", "import", "stops.csv", "--account", "shop").stdout == "2 added, 0 there before.\n"
    assert run(cli, "optouts", "import", "-", "--account", "shop", stdin=text).stdout == "0 added, 2 there before.\n"
    assert run(cli, "optouts", "export", "--account", "shop").stdout == text
    run(cli, "optouts", "export", "out.csv", "--account", "shop")
    assert Path("out.csv").read_text() == text
    assert run(cli, "optouts", "export", "--account", "shop", "--test").stdout == "number,date,scope\n"


def test_more_than_a_page_is_imported_and_exported(cli: CliRunner) -> None:
    numbers = [f"+336{12_000_000 + place}" for place in range(2_500)]
    imported = run(
        cli, "optouts", "import", "-", "--account", "shop", "--json", stdin="\n".join(["tel", *numbers, *numbers])
    )
    assert json.loads(imported.stdout) == {"added": 2_500, "known": 2_500, "refused": []}
    lines = run(cli, "optouts", "export", "--account", "shop").stdout.splitlines()
    assert sorted(line.split(",")[0] for line in lines[1:]) == numbers


def test_rows_that_cannot_be_read_are_told_without_their_numbers(cli: CliRunner) -> None:
    text = "number\n0612345678\n0112345678\nx\n"
    result = run(cli, "optouts", "import", "-", "--account", "shop", stdin=text)
    assert (result.exit_code, result.stdout) == (1, "1 added, 0 there before.\n")
    assert result.stderr == "line 3: number (code 19)\nline 4: number (code 11)\n"
    refused = run(cli, "optouts", "import", "-", "--account", "shop", "--json", stdin=text)
    assert json.loads(refused.stdout)["refused"][0] == {"line": 3, "code": 19, "reason": "number"}


def test_what_is_wrong_is_said(cli: CliRunner) -> None:
    headless = run(cli, "optouts", "import", "-", "--account", "shop", stdin="0612345678\n")
    assert (headless.exit_code, "first row" in headless.stderr) == (1, True)
    for command in ("import", "export"):
        unknown = run(cli, "optouts", command, "-", "--account", "nobody", stdin="number\n")
        assert (unknown.exit_code, "no account is called nobody" in unknown.stderr) == (1, True)
