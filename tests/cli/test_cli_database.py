"""Migrating, copying, backing up and holding, each command against real files, beside a store where one may be."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner, Result

from chappe.cli import main
from chappe.core.message import Accepted, Family, InDoubtPolicy, SendMessage
from chappe.storage.migrate import UNFINISHED_COPY, migrations
from chappe.storage.opening import hold, open_store

pytest_plugins = ("cli_fixtures",)

LATEST = migrations("sqlite")[-1][0]


def run(cli: CliRunner, *arguments: str) -> Result:
    return cli.invoke(main, arguments, catch_exceptions=False)


def send(count: int, path: str = "chappe.db") -> None:
    """Accepts messages that are due and that nobody claims."""

    async def accept() -> None:
        store = await open_store(f"sqlite:///{path}")
        account = (await store.open_account("shop", 1)).id
        for number in range(count):
            to = f"+3361234{number:04}"
            policy = InDoubtPolicy.AT_LEAST_ONCE
            sent = SendMessage(
                account, to, Family.NOTIFICATION, "Bonjour", 1, "live", False, policy, 1, 1, 10_000_000_000_000
            )
            assert isinstance(await store.accept(sent), Accepted)
        await store.close()

    asyncio.run(accept())


def test_migrate_says_from_which_version_to_which(cli: CliRunner) -> None:
    assert run(cli, "migrate").stdout == f"The schema went from version 0 to {LATEST}.\n"
    assert run(cli, "migrate").stdout == f"The schema is at version {LATEST}: nothing to do.\n"
    assert json.loads(run(cli, "migrate", "--json").stdout) == {"from": LATEST, "to": LATEST}
    assert stat.S_IMODE(Path("chappe.db").stat().st_mode) == 0o600


def test_migrate_without_its_folder_is_one_line(cli: CliRunner) -> None:
    result = run(cli, "migrate", "--database", "sqlite:///absent/chappe.db")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("Error: cannot migrate absent/chappe.db: ")


def test_copy_ends_in_a_table_of_checksums(cli: CliRunner) -> None:
    send(3)
    result = run(cli, "copy", "sqlite:///chappe.db", "sqlite:///new.db")
    assert result.exit_code == 0, result.stderr
    lines = dict(line.split()[:2] for line in result.stdout.splitlines()[1:-2])
    assert (lines["message"], lines["queue"], lines["account"]) == ("3", "3", "1")
    assert json.loads(run(cli, "hold", "status", "--database", "sqlite:///new.db", "--json").stdout)["queued"] == 3


@pytest.mark.parametrize(
    ("source", "target", "code", "complaint"),
    [
        ("sqlite:///absent.db", "sqlite:///new.db", 1, "there is no database"),
        ("sqlite:///chappe.db", "sqlite:///chappe.db", 2, "the source and the target are the same"),
        ("sqlite:///chappe.db", "new.db", 2, "--database must be sqlite:///FILE"),
        ("sqlite:///chappe.db", "sqlite:///full.db", 1, "sqlite:///"),
    ],
)
def test_copy_that_cannot_be_is_refused(cli: CliRunner, source: str, target: str, code: int, complaint: str) -> None:
    send(1)
    send(1, "full.db")
    result = run(cli, "copy", source, target)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"Error: {complaint}")


def test_copy_is_refused_while_a_server_runs(cli: CliRunner) -> None:
    send(1)
    with hold("sqlite:///chappe.db"):
        result = run(cli, "copy", "sqlite:///chappe.db", "sqlite:///new.db")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: another server is running on chappe.db")


def test_unfinished_copy_is_not_served(cli: CliRunner) -> None:
    run(cli, "migrate")
    apsw.Connection("chappe.db").execute(f"CREATE TABLE {UNFINISHED_COPY} (source TEXT)")
    result = run(cli, "serve", "--listen", "127.0.0.1:0")
    assert result.exit_code == 1
    assert "is a copy that was not finished" in result.stderr


def test_backup_beside_a_store_is_whole_on_hold_and_private(cli: CliRunner) -> None:
    send(200)

    async def back_up_while_it_is_open() -> Result:
        store = await open_store("sqlite:///chappe.db")
        result = await asyncio.to_thread(run, cli, "backup", "monday.db", "--json")
        await store.close()
        return result

    result = asyncio.run(back_up_while_it_is_open())
    size = Path("monday.db").stat().st_size
    assert json.loads(result.stdout) == {"file": "monday.db", "bytes": size}
    assert stat.S_IMODE(Path("monday.db").stat().st_mode) == 0o600
    assert sorted(path.name for path in Path().iterdir()) == ["chappe.db", "monday.db"]
    found = json.loads(run(cli, "hold", "status", "--json", "--database", "sqlite:///monday.db").stdout)
    assert (found["held"], found["queued"]) == (True, 200)
    assert json.loads(run(cli, "hold", "status", "--json").stdout)["held"] is False


def test_backup_does_not_write_over_another(cli: CliRunner) -> None:
    send(1)
    Path("monday.db").write_text("precious")
    assert run(cli, "backup", "monday.db").stderr == "Error: monday.db exists already\n"
    assert Path("monday.db").read_text() == "precious"


def test_backup_of_what_is_damaged_is_none(cli: CliRunner) -> None:
    send(500)
    with Path("chappe.db").open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096 * 4)
    result = run(cli, "backup", "monday.db")
    assert result.exit_code == 1
    assert "damaged" in result.stderr or "malformed" in result.stderr
    assert not Path("monday.db").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["backup", "x.db"], "there is no database chappe.db"),
        (["backup", "x.db", "--database", "postgresql://db/chappe"], "PostgreSQL has its own tools"),
        (["hold", "on"], "there is no database chappe.db"),
    ],
)
def test_what_is_not_there_is_said(cli: CliRunner, arguments: list[str], complaint: str) -> None:
    result = run(cli, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {complaint}")


def test_hold_is_set_shown_and_ended(cli: CliRunner) -> None:
    send(2)
    assert run(cli, "hold", "on").stdout.startswith("ON HOLD since ")
    assert "nothing is sent.\n2 parts wait, 0 are in doubt" in run(cli, "hold", "status").stdout
    assert run(cli, "hold", "off").stdout == (
        "Off: messages leave.\n2 parts wait, 0 are in doubt, 0 wait for the operator's answer.\n"
    )


def test_what_may_have_left_is_doubted_before_the_hold_ends(cli: CliRunner) -> None:
    send(2)
    refused = run(cli, "hold", "off", "--doubt")
    assert (refused.exit_code, refused.stderr.startswith("Error: this is not on hold")) == (1, True)
    run(cli, "hold", "on")
    found = json.loads(run(cli, "hold", "off", "--doubt", "--json").stdout)
    assert found == {"held": False, "heldSince": None, "queued": 0, "pending": 0, "in_doubt": 2, "parked": 0}
