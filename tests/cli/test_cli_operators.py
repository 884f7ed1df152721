"""Operators added, changed and removed by command, each against a real file."""

from __future__ import annotations

import asyncio
import json
import shlex
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chappe.cli import main
from chappe.cli.operators import HELP
from chappe.connectors.smpp import SmppSettings
from chappe.core.figures import Figures
from chappe.core.steering import StoredConnector, Told
from chappe.storage.opening import open_store

pytest_plugins = ("cli_fixtures",)

ADD = ("add", "sfr", "--host", "127.0.0.2", "--port", "2776", "--password-file", "-")


@pytest.fixture
def cli(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """With an account, and an operator in the file."""
    Path("chappe.toml").write_text('[operators.orange]\nhost = "127.0.0.1"\nport = 2775\n')
    assert cli.invoke(main, ["keys", "create", "--account", "shop", "--quiet"]).exit_code == 0
    monkeypatch.setenv("CHAPPE_CONFIG", "chappe.toml")
    return cli


def run(cli: CliRunner, *arguments: str, typed: str = "") -> Result:
    return cli.invoke(main, ["connectors", *arguments], input=typed, catch_exceptions=False)


def stored() -> Sequence[StoredConnector]:
    async def read() -> Sequence[StoredConnector]:
        store = await open_store("sqlite:///chappe.db", beside=True)
        try:
            return await store.list_connectors()
        finally:
            await store.close()

    return asyncio.run(read())


def test_every_setting_is_an_option_that_explains_itself(cli: CliRunner) -> None:
    assert list(HELP) == [name for name in SmppSettings.__struct_fields__ if name not in ("name", "password")]
    for command in ("add", "set"):
        shown = " ".join(run(cli, command, "--help").stdout.split())
        for name, sentence in HELP.items():
            assert f"--{name.replace('_', '-')} " in shown
            assert sentence in shown
    assert "[default: 10]" in shown
    assert "a whole number from 1 to 65535" in shown


def test_operator_is_added_with_its_password_and_shown_without(cli: CliRunner) -> None:
    result = run(cli, *ADD, "--tls", "--rate", "2.5", "--statuses", "0x45=permanent", typed="secret\n")
    assert result.stdout == "sfr is added and takes messages of live. Servers notice within a second.\n"
    [sfr] = stored()
    assert (sfr.name, sfr.revision) == ("sfr", 1)
    assert sfr.settings == {
        "host": "127.0.0.2",
        "port": 2776,
        "password": "secret",
        "tls": True,
        "rate": 2.5,
        "statuses": {"0x45": "permanent"},
    }
    assert "secret" not in repr(sfr)
    assert [line.split()[:3] for line in run(cli).stdout.splitlines()[1:]] == [
        ["orange", "file", "silent"],
        ["sfr", "added", "silent"],
    ]
    for shown in (run(cli, "show", "sfr"), run(cli, "show", "sfr", "--json"), run(cli, "--json")):
        assert "secret" not in shown.stdout
    assert json.loads(run(cli, "show", "sfr", "--json").stdout)["settings"] == {**sfr.settings, "password": "set"}
    assert Path("chappe.db").stat().st_mode & 0o077 == 0


def test_password_is_not_asked_for_where_nobody_can_type_it(cli: CliRunner) -> None:
    result = run(cli, "add", "sfr", "--host", "h", "--port", "1")
    assert (result.exit_code, stored()) == (2, [])
    assert result.stderr.startswith("Error: give --password-file FILE, or -")


def test_password_is_asked_for_and_not_echoed(cli: CliRunner) -> None:
    result = run(cli, "add", "sfr", "--host", "h", "--port", "1", "--ask-password", typed="secret\n")
    assert (result.exit_code, "secret" in result.output) == (0, False)
    assert stored()[0].settings["password"] == "secret"


def test_route_that_names_it_leads_through_it(cli: CliRunner) -> None:
    with Path("chappe.toml").open("a") as file:
        file.write('[routes.otp]\ncategories = ["otp"]\nthrough = ["sfr"]\n[routes.live]\nthrough = ["orange"]\n')
    assert "NO OPERATOR is left for the route otp: 0 parts wait\n" in run(cli).stdout
    assert run(cli, *ADD).stdout.startswith("sfr is added and takes messages of otp. ")
    result = run(cli, "add", "free", *ADD[2:])
    assert result.stdout.startswith("free is added and takes nothing: no route of the settings names it. ")
    assert "NO OPERATOR" not in run(cli).stdout
    result = run(cli, "remove", "sfr")
    assert result.stdout.splitlines() == [
        "sfr is removed, as soon as it has drained. Servers notice within a second.",
        "No operator is left for the route otp: its messages wait.",
    ]


def test_first_operator_of_all_has_to_be_meant(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAPPE_CONFIG")
    result = run(cli, *ADD)
    assert (result.exit_code, stored()) == (1, [])
    assert result.stdout.startswith("This is the first operator: live keys write to phones from now on")
    assert run(cli, *ADD, "--yes").exit_code == 0
    assert run(cli, "add", "free", *ADD[2:]).exit_code == 0, "the second one changes nothing of that"


def test_operator_is_changed_and_told_whether_it_goes_on(cli: CliRunner) -> None:
    run(cli, *ADD, typed="secret")
    assert run(cli, "set", "sfr", "--window", "50", "--rate", "9").stdout.startswith("sfr is changed, and goes on. ")
    assert run(cli, "set", "sfr", "--port", "2777").stdout.startswith("sfr is changed, and drains and binds anew. ")
    assert run(cli, "set", "sfr", "--unset", "rate", "--password-file", "-", typed="other").exit_code == 0
    assert stored()[0].settings == {"host": "127.0.0.2", "port": 2777, "password": "other", "window": 50}
    assert run(cli, "set", "sfr", "--port", "2777").stdout == "sfr is so already.\n"
    assert stored()[0].revision == 4


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (
            ("add", "orange", *ADD[2:]),
            1,
            "orange stands in the settings, as [operators.orange]: give this one another name",
        ),
        (("add", "taken", *ADD[2:]), 1, "there is a connector taken; `chappe connectors set taken` changes it"),
        (("add", "sfr", "--port", "1"), 2, "operator sfr: host is missing"),
        ((*ADD, "--window", "0"), 2, "--window must be a whole number from 1 to 10000, not '0'"),
        ((*ADD, "--long-messages", "sar"), 2, "operators taken and sfr: long_messages must be the same"),
        (("add", "SFR", *ADD[2:]), 2, "NAME: an operator's name is made of lower-case letters"),
        (("set", "orange", "--port", "1"), 1, "orange stands in the settings, as [operators.orange]: edit it there"),
        (("set", "free", "--port", "1"), 1, "no connector free was added by command; there are: taken"),
        (("set", "taken", "--unset", "colour"), 2, "--unset colour: no such setting; there are: host, port,"),
        (("set", "taken", "--unset", "host"), 2, "operator taken: host is missing"),
        (("set", "taken", "--tls-cert", "a.pem"), 2, "--tls-cert: tls_cert says how tls is done, and tls is off"),
        (("remove", "orange"), 1, "orange stands in the settings, as [operators.orange]: edit it there"),
        (("remove", "free"), 1, "no connector free was added by command; there are: taken"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    cli: CliRunner, command: tuple[str, ...], code: int, said: str
) -> None:
    run(cli, "add", "taken", *ADD[2:])
    before = stored()
    result = run(cli, *command)
    assert (result.exit_code, result.stderr.startswith(f"Error: {said}")) == (code, True), result.stderr
    assert stored() == before


def test_removed_operator_leaves_no_password_and_may_come_again_with_nothing_told(cli: CliRunner) -> None:
    run(cli, *ADD, typed="secret")
    assert run(cli, "pause", "sfr").exit_code == 0
    assert run(cli, "remove", "sfr").stdout.startswith("sfr is removed, as soon as it has drained. ")
    rows = sqlite3.connect("chappe.db").execute("SELECT settings FROM stored_connector").fetchall()
    assert rows == [("{}",)]
    assert [line.split()[:3] for line in run(cli).stdout.splitlines()[2:]] == [["sfr", "added", "removing"]]
    assert run(cli, "remove", "sfr").exit_code == 1
    assert run(cli, *ADD).exit_code == 0
    told = json.loads(run(cli, "show", "sfr", "--json").stdout)["told"]
    assert told == Told.RUN.value


def test_settings_that_are_not_the_servers_are_not_built_upon(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def show() -> None:
        store = await open_store("sqlite:///chappe.db", beside=True)
        figures = Figures(10, 0, None, 0.0, 0.0, None, 0.0, 1, 1, False, 0.0, 0.0, 1.0)
        await store.show("anne", {"simulator@anne": figures, "orange": figures}, int(time.time() * 1000))
        await store.close()

    asyncio.run(show())
    assert run(cli, *ADD).exit_code == 0
    monkeypatch.delenv("CHAPPE_CONFIG")
    result = run(cli, "add", "free", *ADD[2:])
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: servers have an operator orange that these settings do not name: give --config\n",
    )


def test_what_cannot_be_used_is_named(cli: CliRunner) -> None:
    run(cli, *ADD)
    Path("chappe.toml").write_text('[operators.sfr]\nhost = "127.0.0.1"\nport = 2775\n')
    assert run(cli).stdout.startswith("NOT USED: sfr: it stands in the settings too, and those are used\n")


def test_commands_of_the_guide_are_ones_that_work(cli: CliRunner) -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/operators.md").read_text()
    block = guide.partition("### Operators added by command")[2].partition("```sh\n")[2].partition("```")[0]
    Path("password.txt").write_text("secret\n")
    for line in block.splitlines():
        program, group, *arguments = shlex.split(line)
        assert (program, group) == ("chappe", "connectors")
        result = run(cli, *arguments)
        assert result.exit_code == 0, result.stderr
    assert [(one.name, one.removed, one.revision) for one in stored()] == [("example", True, 4)]


def test_added_operator_is_on_the_route_of_all_others(cli: CliRunner) -> None:
    run(cli, *ADD)
    assert [line.split()[0] for line in cli.invoke(main, ["routes"]).stdout.splitlines()] == ["live", "orange", "sfr"]


def test_wrong_route_ends_the_server_at_its_start(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chappe.logs.configure_logs", lambda _: None)  # it is the process's
    with Path("chappe.toml").open("a") as file:
        file.write('[routes.otp]\nthrough = ["sfr"]\n')
    result = cli.invoke(main, ["serve", "--listen", "127.0.0.1:0"])
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: routes.otp.through: there is no operator sfr, in the settings or added by `chappe connectors add`\n",
    )
