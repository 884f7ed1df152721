"""Webhooks by command, each against a real file, as it is used beside a running server."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner, Result

from chappe.cli import main
from chappe.core.webhooks import read_secret
from chappe.storage.sqlite import open_sqlite

pytest_plugins = ("cli_fixtures",)

URL = "https://shop.example/hooks?token=1"


def run(cli: CliRunner, *arguments: str) -> Result:
    return cli.invoke(main, arguments, catch_exceptions=False)


@pytest.fixture
def cli(cli: CliRunner) -> CliRunner:
    """With an account."""
    assert run(cli, "keys", "create", "--account", "shop", "--quiet").exit_code == 0
    return cli


def test_added_it_prints_its_secret_and_is_listed_without(cli: CliRunner) -> None:
    added = run(cli, "webhooks", "add", URL, "--account", "shop", "--event", "reply", "--event", "delivered")
    assert added.exit_code == 0
    assert len(read_secret(added.stdout.strip())) == 32
    listed = run(cli, "webhooks", "list", "--account", "shop")
    assert URL in listed.stdout
    assert "delivered, reply" in listed.stdout
    assert added.stdout.strip() not in listed.stdout
    [row] = json.loads(run(cli, "webhooks", "list", "--account", "shop", "--json").stdout)
    assert (row["id"], row["url"], row["events"], row["disabledAt"]) == (1, URL, ["delivered", "reply"], None)


def test_removed_it_is_gone(cli: CliRunner) -> None:
    run(cli, "webhooks", "add", URL, "--account", "shop")
    assert run(cli, "webhooks", "remove", "1", "--account", "shop").exit_code == 0
    assert json.loads(run(cli, "webhooks", "list", "--account", "shop", "--json").stdout) == []
    again = run(cli, "webhooks", "remove", "1", "--account", "shop")
    assert (again.exit_code, "no such webhook" in again.stderr) == (1, True)


def test_a_replay_enables_what_was_disabled(cli: CliRunner) -> None:
    run(cli, "webhooks", "add", URL, "--account", "shop")

    async def disable() -> None:
        from chappe.core.webhooks import DeliveryId, EndpointId, Fate, Settled

        store = await open_sqlite("chappe.db")
        gone = Settled(DeliveryId(1), EndpointId(1), Fate.DISABLED, 1, 0, None, "410", 5)
        await store.record_outcomes([gone], 1_800_000_000_000)
        await store.close()

    asyncio.run(disable())
    assert "disabled since" in run(cli, "webhooks", "list", "--account", "shop").stdout
    assert run(cli, "webhooks", "replay", "1", "--account", "shop", "--json").stdout == '{"id": 1, "replayed": 0}\n'
    assert "disabled" not in run(cli, "webhooks", "list", "--account", "shop").stdout
    since = run(cli, "webhooks", "replay", "1", "--account", "shop", "--since", "2026-11-24T08:00:00")
    assert since.stdout == "0 events are posted again.\n"


def test_what_is_wrong_is_said(cli: CliRunner) -> None:
    inside = run(cli, "webhooks", "add", "http://127.0.0.1:8080/", "--account", "shop")
    assert (inside.exit_code, "no webhook may go to this URL: loopback" in inside.stderr) == (1, True)
    event = run(cli, "webhooks", "add", URL, "--account", "shop", "--event", "read")
    assert (event.exit_code, "one of submitted, sent, delivered" in event.stderr) == (2, True)
    stranger = run(cli, "webhooks", "add", URL, "--account", "nobody")
    assert (stranger.exit_code, "no account is called nobody" in stranger.stderr) == (1, True)
    absent = run(cli, "webhooks", "replay", "7", "--account", "shop")
    assert (absent.exit_code, "no such webhook" in absent.stderr) == (1, True)


def test_networks_on_the_premises_may_be_opened(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAPPE_WEBHOOK_NETWORKS", "10.0.0.0/8")
    assert run(cli, "webhooks", "add", "http://10.1.2.3:8080/", "--account", "shop").exit_code == 0
