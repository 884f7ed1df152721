from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chappe.cli import main

pytest_plugins = ("cli_fixtures",)


@pytest.fixture
def shop(cli: CliRunner) -> CliRunner:
    """With an account called shop."""
    assert run(cli, "keys", "create", "--account", "shop").exit_code == 0
    return cli


def run(cli: CliRunner, *arguments: str) -> Result:
    return cli.invoke(main, arguments, catch_exceptions=False)


def answer(cli: CliRunner, *arguments: str) -> Any:
    result = run(cli, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_credits_are_added_taken_off_and_listed(shop: CliRunner) -> None:
    assert "sends as much as it likes" in run(shop, "credits", "show", "shop").stdout
    assert run(shop, "credits", "add", "shop", "500", "--note", "invoice 7").stdout == "shop has 500 credits.\n"
    assert run(shop, "credits", "add", "shop", "--", "-40").stdout == "shop has 460 credits.\n"
    lines = answer(shop, "credits", "ledger", "shop")
    assert [(line["what"], line["amount"], line["balance"], line["note"]) for line in lines] == [
        ("adjust", -40, 460, ""),
        ("topup", 500, 500, "invoice 7"),
    ]
    table = run(shop, "credits", "ledger", "shop", "--most", "1").stdout.splitlines()
    assert table[0].split() == ["FROM", "WHAT", "AMOUNT", "BALANCE", "MESSAGES"]
    assert table[1].split()[2:] == ["adjust", "-40", "460"]
    assert len(table) == 2


def test_alert_is_set_shown_and_taken_away(shop: CliRunner) -> None:
    run(shop, "credits", "add", "shop", "500")
    assert run(shop, "credits", "alert", "shop", "100").stdout == "shop: alert below 100 credits.\n"
    assert run(shop, "credits", "show", "shop").stdout == "shop has 500 credits; alert below 100.\n"
    assert answer(shop, "credits", "alert", "shop", "none") == {"account": "shop", "alertBelow": None}
    assert answer(shop, "credits", "show", "shop") == {"account": "shop", "balance": 500, "alertBelow": None}


def test_credits_are_stopped_and_the_balance_stays(shop: CliRunner) -> None:
    run(shop, "credits", "add", "shop", "500")
    assert run(shop, "credits", "stop", "shop").stdout == "shop sends as much as it likes.\n"
    assert answer(shop, "credits", "show", "shop")["balance"] is None
    assert answer(shop, "credits", "add", "shop", "1") == {"account": "shop", "balance": 501}


def test_limits_are_set_one_by_one_and_taken_away(shop: CliRunner) -> None:
    nothing: dict[str, Any] = {
        "account": "shop",
        "rate": None,
        "burst": None,
        "dailyParts": None,
        "prefixes": [],
        "perNumber": None,
    }
    assert answer(shop, "limits", "show", "shop") == nothing
    limits = answer(shop, "limits", "set", "shop", "--rate", "2.5", "--prefix", "+336", "--prefix", "+32")
    assert limits == nothing | {"rate": 2.5, "prefixes": ["+336", "+32"]}
    limits = answer(shop, "limits", "set", "shop", "--burst", "9", "--daily-parts", "0", "--per-number", "5/3600")
    assert limits == nothing | {
        "rate": 2.5,
        "burst": 9,
        "dailyParts": 0,
        "prefixes": ["+336", "+32"],
        "perNumber": "5/3600",
    }
    assert run(shop, "limits", "show", "shop").stdout.splitlines()[1].split() == [
        "shop",
        "2.5",
        "9",
        "0",
        "+336",
        "+32",
        "5/3600",
    ]
    everything = ("--rate", "--burst", "--daily-parts", "--prefix", "--per-number")
    assert answer(shop, "limits", "set", "shop", *(word for name in everything for word in (name, "none"))) == nothing


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--rate", "0"),
        ("--rate", "fast"),
        ("--rate", "٢"),
        ("--burst", "0"),
        ("--daily-parts", "-1"),
        ("--prefix", "33"),
        ("--per-number", "5"),
        ("--per-number", "0/60"),
        ("--per-number", "5/0"),
    ],
)
def test_limit_that_cannot_be_is_refused_by_name(shop: CliRunner, option: str, given: str) -> None:
    result = run(shop, "limits", "set", "shop", option, given)
    assert result.exit_code == 2
    assert option in result.stderr


def test_unknown_account_is_named(shop: CliRunner) -> None:
    result = run(shop, "credits", "show", "shpo")
    assert result.exit_code == 1
    assert "no account is called shpo" in result.stderr
