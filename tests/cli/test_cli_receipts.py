"""Orphans by command: listed without a full number, repaired, and the form that was learnt, against a real file."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chappe.cli import main
from chappe.cli.receipts import FORMS
from chappe.core.message import (
    Answered,
    AttemptReport,
    Family,
    InDoubtPolicy,
    ReceiptReport,
    SendMessage,
    Verdict,
)
from chappe.core.receipts import IdForm
from chappe.core.routing import Portion
from chappe.storage.sqlite import open_sqlite

pytest_plugins = ("cli_fixtures",)

HOUR = 3_600_000
NUMBER = "+33612345678"


def run(cli: CliRunner, *arguments: str) -> Result:
    return cli.invoke(main, ["receipts", *arguments], catch_exceptions=False)


@pytest.fixture
def cli(cli: CliRunner) -> CliRunner:
    """With a message that was answered in hexadecimal, and its receipt, in decimal and without a number."""
    assert cli.invoke(main, ["keys", "create", "--account", "shop", "--quiet"]).exit_code == 0
    asyncio.run(_hand_over(int(time.time() * 1000) - HOUR))
    return cli


async def _hand_over(at: int) -> None:
    store = await open_sqlite(Path("chappe.db"), beside=True)
    account = (await store.open_account("shop", at)).id
    policy = InDoubtPolicy.WAIT_THEN_RETRY
    send = SendMessage(account, NUMBER, Family.NOTIFICATION, "Bonjour", 1, "live", False, policy, at, at, 48 * HOUR)
    await store.accept(send)
    epoch = await store.open_connector("op", at)
    [submission] = await store.claim("op", epoch, [Portion("live")], 1, at)
    message, part, attempt = submission.key
    receipt = ReceiptReport("op", "43981", at, Verdict.DELIVERED, "delivered", None, None)
    other = ReceiptReport("op", "\x1b[2J", at, Verdict.DELIVERED, "delivered", None, NUMBER)
    await store.settle([AttemptReport(message, Answered(part, attempt, at, "ABCD")), receipt, other], at)
    await store.close()


def test_orphans_are_listed_without_their_numbers_and_with_the_reason(cli: CliRunner) -> None:
    shown = run(cli, "orphans").stdout
    assert "43981" in shown
    assert "repair with the form (ABCD)" in shown
    assert "+336…78" in shown
    assert NUMBER not in shown
    assert "\x1b" not in shown
    assert run(cli, "orphans", "--older-than", "120").stdout.count("\n") == 1


def test_repair_shows_first_and_then_settles(cli: CliRunner) -> None:
    assert run(cli, "repair").stdout.endswith("Matched: 0 of 2\n")
    repair = ("repair", "--form", "decimal")
    assert run(cli, *repair, "--dry-run").stdout.endswith("Would match: 1 of 2\n")
    assert [one["message"] for one in json.loads(run(cli, *repair, "--json").stdout)] == ["1", None]
    assert run(cli, *repair).stdout.endswith("Matched: 0 of 1\n")
    [learnt] = json.loads(run(cli, "forms", "--json").stdout)
    assert (learnt["connector"], learnt["form"], learnt["receipts"]) == ("op", "decimal", 1)
    assert "decimal" in run(cli, "forms").stdout


def test_repair_by_number(cli: CliRunner) -> None:
    assert run(cli, "repair", "--by-number", "60").stdout.endswith("Matched: 1 of 2\n")


def test_every_form_can_be_named() -> None:
    assert {form.value for form in IdForm} == set(FORMS)
