"""Connectors by command, each against a real file."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chappe.cli import main
from chappe.core.deliveries import Lately
from chappe.core.figures import Figures
from chappe.core.shifting import Shift
from chappe.storage.opening import open_store

pytest_plugins = ("cli_fixtures",)

FIGURES = Figures(
    window=10,
    in_flight=10,
    round_trip_ms=80.0,
    submits_per_second=125.0,
    throttled_share=0.015,
    rate_limit=200.0,
    rate_setting=200.0,
    bound=1,
    binds=1,
    held=False,
    full_share=1.0,
    paced_share=0.0,
    open_share=0.0,
    waiting=10_000,
)


def run(cli: CliRunner, *arguments: str) -> Result:
    return cli.invoke(main, ["connectors", *arguments], catch_exceptions=False)


@pytest.fixture
def cli(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """With an account and two operators."""
    Path("chappe.toml").write_text(
        '[operators.orange]\nhost = "127.0.0.1"\nport = 2775\n[operators.sfr]\nhost = "127.0.0.1"\nport = 2776\n'
    )
    assert cli.invoke(main, ["keys", "create", "--account", "shop", "--quiet"]).exit_code == 0
    monkeypatch.setenv("CHAPPE_CONFIG", "chappe.toml")
    return cli


def show(**figures: Figures) -> None:
    """As a server does."""

    async def show() -> None:
        store = await open_store("sqlite:///chappe.db", beside=True)
        await store.show("anne", figures, int(time.time() * 1000))
        await store.close()

    asyncio.run(show())


def test_table_says_what_each_does_and_what_holds_it_back(cli: CliRunner) -> None:
    show(orange=FIGURES)
    head, orange, sfr = run(cli).stdout.splitlines()
    assert head.split("  ")[0] == "CONNECTOR"
    assert orange.split("  ")[-1].strip() == "window 10 ÷ 80 ms = 125/s"
    assert " ".join(orange.split()).startswith("orange file bound 1/1 10/10 80 ms 125.0/s of 200.0 1.5% 10000+ ")
    assert sfr.split() == ["sfr", "file", "silent"]


def test_one_connector_is_shown_for_people_and_for_programs(cli: CliRunner) -> None:
    show(orange=FIGURES)
    shown = json.loads(run(cli, "show", "orange", "--json").stdout)
    at = shown.pop("at")
    assert shown.pop("settings") == {"host": "127.0.0.1", "port": 2775}
    assert abs(time.time() * 1000 - at) < 60_000
    assert shown == {
        "name": "orange",
        "origin": "file",
        "state": "bound",
        "told": "run",
        "node": "anne",
        "bound": 1,
        "binds": 1,
        "window": 10,
        "inFlight": 10,
        "roundTripMs": 80.0,
        "submitsPerSecond": 125.0,
        "rateLimit": 200.0,
        "rateSetting": 200.0,
        "throttledShare": 0.015,
        "waiting": 10_000,
        "limit": "window 10 ÷ 80 ms = 125/s",
    }
    assert "inFlight          10" in run(cli, "show", "orange").stdout.splitlines()
    assert json.loads(run(cli, "--json").stdout) == [
        shown | {"at": at},
        {"name": "sfr", "origin": "file", "state": "silent", "told": "run"},
    ]


def test_what_came_of_its_submits_is_shown(cli: CliRunner) -> None:
    lately = Lately(400, 388, {"UNDELIV:27": 7, "EXPIRED": 1}, {"0x0b": 3}, (80, 120), (2_100, 30_000), due=200, late=4)
    show(orange=replace(FIGURES, lately=lately))
    assert "97.0% in 2.1 s" in run(cli).stdout
    assert run(cli, "show", "orange").stdout.splitlines()[-9:] == [
        "of the last 15 minutes:",
        "  accepted        400",
        "  delivered       388",
        "  failed          7 × UNDELIV:27, 1 × EXPIRED",
        "  refused         3 × 0x0b",
        "  answerMs        80 (median), 120 (95 %)",
        "  receiptMs       2100 (median), 30000 (95 %)",
        "  due             200",
        "  late            4",
    ]
    assert json.loads(run(cli, "show", "orange", "--json").stdout)["lately"]["failed"] == {
        "UNDELIV:27": 7,
        "EXPIRED": 1,
    }


def test_connector_is_told_and_the_list_knows(cli: CliRunner) -> None:
    assert run(cli, "pause", "orange").stdout == "orange pauses; servers notice within a second.\n"
    assert run(cli, "drain", "sfr").stdout == "sfr drains; servers notice within a second.\n"
    told = [(line["name"], line["state"], line["told"]) for line in json.loads(run(cli, "--json").stdout)]
    assert told == [("orange", "silent", "pause"), ("sfr", "drained", "drain")]
    assert run(cli, "resume", "sfr").exit_code == 0
    assert json.loads(run(cli, "show", "sfr", "--json").stdout)["told"] == "run"


@pytest.mark.parametrize("command", ["show", "pause", "drain", "resume"])
def test_unknown_connector_is_refused_with_those_there_are(cli: CliRunner, command: str) -> None:
    result = run(cli, command, "free")
    assert (result.exit_code, result.stderr) == (1, "Error: no connector is called free; there are: orange, sfr\n")


def test_table_says_that_the_system_is_on_hold(cli: CliRunner) -> None:
    assert cli.invoke(main, ["hold", "on"]).exit_code == 0
    assert run(cli).stdout.startswith("ON HOLD: ")


def test_watched_table_is_shown_again(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", wait)
    result = run(cli, "--watch")
    assert (result.stdout.count("CONNECTOR"), waits) == (2, [import_module("chappe.cli.connectors").WATCH_SECONDS] * 2)


def test_routes_are_shown_with_their_weights_and_why_they_moved(cli: CliRunner) -> None:
    with Path("chappe.toml").open("a") as settings:
        settings.write(
            "[routes.live]\nshift = true\nthrough = [{ operator = 'orange', weight = 70 },"
            " { operator = 'sfr', weight = 30 }]\n"
        )

    async def move() -> None:
        store = await open_store("sqlite:///chappe.db", beside=True)
        await store.shift(
            Shift("live", 0, {"orange": 70, "sfr": 30}, {"orange": 60, "sfr": 40}, "orange is slow"), None
        )
        await store.close()

    def routes(*arguments: str) -> str:
        return cli.invoke(main, ["routes", *arguments], catch_exceptions=False).stdout

    assert routes().splitlines() == ["live", "  orange  priority 1, weight 70", "  sfr  priority 1, weight 30"]
    asyncio.run(move())
    assert routes().splitlines()[:3] == [
        "live",
        "  orange  priority 1, weight 60 (set: 70)",
        "  sfr  priority 1, weight 40 (set: 30)",
    ]
    assert routes().splitlines()[3].endswith("  orange is slow")
    [live] = json.loads(routes("--json"))
    assert live["through"][0] == {"operator": "orange", "priority": 1, "weight": 60, "set": 70}
    assert live["moves"] == [{"at": 0, "weights": {"orange": 60, "sfr": 40}, "why": "orange is slow"}]
