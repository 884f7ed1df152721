"""The kill switch by command, each against a real file."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from chappe.cli import main

pytest_plugins = ("cli_fixtures",)

CAMPAIGN = "5c0000090000000000000001"


def run(cli: CliRunner, *arguments: str) -> Result:
    return cli.invoke(main, ["links", *arguments], catch_exceptions=False)


@pytest.fixture
def cli(cli: CliRunner) -> CliRunner:
    """With an account."""
    assert cli.invoke(main, ["keys", "create", "--account", "shop", "--quiet"]).exit_code == 0
    return cli


def listed(cli: CliRunner) -> list[tuple[str, str]]:
    return [(ban["what"], ban["name"]) for ban in json.loads(run(cli, "list", "--json").stdout)]


@pytest.mark.parametrize(
    ("which", "ban"),
    [
        (["Zb3kP0aQ9xWm"], ("token", "Zb3kP0aQ9xWm")),
        (["https://s.example/l/Zb3kP0aQ9xWm/"], ("token", "Zb3kP0aQ9xWm")),
        (["--message", "386479"], ("message", "386479")),
        (["--campaign", CAMPAIGN], ("campaign", CAMPAIGN)),
        (["--campaign", "mai", "--account", "shop"], ("campaign", "1/mai")),
        (["--domain", "Phishing.Example."], ("host", "phishing.example")),
        (["--domain", "café.example"], ("host", "xn--caf-dma.example")),
    ],
)
def test_what_is_disabled_is_listed_until_it_is_enabled(cli: CliRunner, which: list[str], ban: tuple[str, str]) -> None:
    assert run(cli, "disable", *which).stdout == f"Disabled: {ban[0]} {ban[1]}\n"
    assert listed(cli) == [ban]
    assert ban[1] in run(cli, "list").stdout
    assert run(cli, "enable", *which).stdout == f"Enabled: {ban[0]} {ban[1]}\n"
    assert listed(cli) == []
    again = run(cli, "enable", *which)
    assert (again.exit_code, "is not disabled" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("which", "code"),
    [
        ([], 2),
        (["Zb3kP0aQ9xWm", "--message", "1"], 2),
        (["short"], 2),
        (["--message", "one"], 2),
        (["--campaign", "mai"], 2),
        (["--campaign", "0123456789abcdef01234567"], 2),
        (["--campaign", "mai", "--account", "nobody"], 1),
        (["--domain", ""], 2),
        (["--domain", "https://x.example/"], 2),
    ],
)
def test_what_names_nothing_is_refused(cli: CliRunner, which: list[str], code: int) -> None:
    assert run(cli, "disable", *which).exit_code == code
    assert listed(cli) == []
