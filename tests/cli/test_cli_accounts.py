"""Keys and accounts, each command against a real file, as it is used beside a running server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner, Result

from chappe.cli import main
from chappe.cli.accounts import POLICIES
from chappe.core.counts import Count
from chappe.core.customers import Customer
from chappe.core.hours import DEFAULT_PACK, PACKS, REGIONS
from chappe.core.message import AttemptReport, DoubtBegan, Family, InDoubtPolicy, Key, SendMessage
from chappe.core.routing import Portion
from chappe.customers.passwords import is_password
from chappe.flow.accept import choose_policy
from chappe.storage.sqlite import SqliteStore, open_sqlite

pytest_plugins = ("cli_fixtures",)

T = TypeVar("T")


def run(cli: CliRunner, *arguments: str) -> Result:
    return cli.invoke(main, arguments, catch_exceptions=False)


def create(cli: CliRunner, *arguments: str) -> str:
    result = run(cli, "keys", "create", "--account", "shop", "--quiet", *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout.removesuffix("\n")


def find(secret: str, database: str = "chappe.db") -> Key | None:
    async def find_key(store: SqliteStore) -> Key | None:
        return await store.find_key(sha256(secret.encode()).digest())

    return in_store(find_key, database)


def in_store(work: Callable[[SqliteStore], Awaitable[T]], database: str = "chappe.db") -> T:
    async def open_and_work() -> T:
        store = await open_sqlite(database)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(open_and_work())


def test_quiet_prints_the_key_alone_and_the_store_knows_it(cli: CliRunner) -> None:
    secret = create(cli)
    assert re.fullmatch("[0-9a-f]{32}", secret)
    key = find(secret)
    assert key is not None
    assert (key.account.name, key.test, key.hint) == ("shop", False, secret[:4])


def test_test_key_is_one(cli: CliRunner) -> None:
    key = find(create(cli, "--test"))
    assert key is not None
    assert key.test


def test_key_is_on_stdout_and_the_warning_on_stderr(cli: CliRunner) -> None:
    result = run(cli, "keys", "create", "--account", "shop")
    assert re.fullmatch("[0-9a-f]{32}\n", result.stdout)
    assert "not shown again" in result.stderr


def test_created_key_as_json(cli: CliRunner) -> None:
    created = json.loads(run(cli, "keys", "create", "--account", "shop", "--test", "--json").stdout)
    assert created["hint"] == created["key"][:4]
    assert (created["account"], created["test"], created["revokedAt"]) == ("shop", True, None)


def test_two_keys_of_one_name_belong_to_one_account(cli: CliRunner) -> None:
    first, second = find(create(cli)), find(create(cli))
    assert first is not None
    assert second is not None
    assert first.account == second.account
    assert first.id != second.id


def test_key_made_beside_an_open_store_is_seen_by_it(cli: CliRunner) -> None:
    async def create_and_find(store: SqliteStore) -> Key | None:
        secret = await asyncio.to_thread(create, cli)
        return await store.find_key(sha256(secret.encode()).digest())

    assert in_store(create_and_find) is not None


def test_database_is_that_of_the_option_the_environment_or_the_file(cli: CliRunner) -> None:
    Path("chappe.toml").write_text('database = "sqlite:///file.db"')
    assert find(create(cli, "--database", "sqlite:///option.db", "--config", "chappe.toml"), "option.db")
    assert find(create(cli, "--config", "chappe.toml"), "file.db")
    absolute = Path.cwd() / "environment.db"
    result = cli.invoke(
        main, ["keys", "create", "--account", "shop", "--quiet"], env={"CHAPPE_DATABASE": f"sqlite:///{absolute}"}
    )
    assert find(result.stdout.strip(), "environment.db")


def test_list_shows_every_key_but_never_the_key_itself(cli: CliRunner) -> None:
    secrets = [create(cli), create(cli, "--test")]
    run(cli, "keys", "revoke", secrets[0])
    plain = run(cli, "keys", "list").stdout
    head, first, second = plain.splitlines()
    assert head.split() == ["ID", "KEY", "ACCOUNT", "KIND", "CREATED", "REVOKED"]
    assert first.split()[:4] == ["1", f"{secrets[0][:4]}…", "shop", "live"]
    assert second.split()[:4] == ["2", f"{secrets[1][:4]}…", "shop", "test"]
    rows = json.loads(run(cli, "keys", "list", "--json").stdout)
    assert [(row["id"], row["test"], row["revokedAt"] is None) for row in rows] == [(1, False, False), (2, True, True)]
    assert not any(secret in plain or secret in json.dumps(rows) for secret in secrets)


@pytest.mark.parametrize("by", ["id", "hint", "key"])
def test_key_is_revoked_by_any_of_its_names(cli: CliRunner, by: str) -> None:
    secret, other = create(cli), create(cli)
    while other[:4] == secret[:4]:
        other = create(cli)
    which = {"id": "1", "hint": secret[:4], "key": secret}[by]
    result = run(cli, "keys", "revoke", which)
    assert (result.exit_code, result.stderr) == (0, "")
    assert find(secret) is None
    assert find(other) is not None
    again = run(cli, "keys", "revoke", which)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "chappe keys list" in again.stderr


def test_first_four_characters_of_several_keys_revoke_none(cli: CliRunner) -> None:
    async def create_alike(store: SqliteStore) -> None:
        account = await store.open_account("shop", 1)
        for number in range(2):
            await store.create_key(account.id, bytes([number]) * 32, "abcd", test=False, now=1)

    in_store(create_alike)
    result = run(cli, "keys", "revoke", "abcd")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "one of 1, 2" in result.stderr
    assert "revoked" not in run(cli, "keys", "list").stdout


@pytest.mark.parametrize("arguments", [["keys", "list"], ["keys", "revoke", "1"], ["accounts", "list"]])
def test_looking_does_not_make_a_database(cli: CliRunner, arguments: list[str]) -> None:
    result = run(cli, *arguments)
    assert result.exit_code == 1
    assert "there is no database chappe.db" in result.stderr
    assert not Path("chappe.db").exists()


def test_file_that_is_no_database_is_named(cli: CliRunner) -> None:
    Path("chappe.db").write_text("hello, I am a text file, not a database\n" * 100)
    result = run(cli, "keys", "list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: chappe.db")


def test_missing_folder_is_named(cli: CliRunner) -> None:
    result = run(cli, "keys", "create", "--account", "shop", "--database", "sqlite:///missing/chappe.db")
    assert (result.exit_code, result.stderr) == (1, "Error: there is no folder missing for the database\n")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 101])
def test_account_needs_a_name_one_can_print(cli: CliRunner, name: str) -> None:
    result = run(cli, "keys", "create", "--account", name)
    assert result.exit_code == 2
    assert not Path("chappe.db").exists()


# --- accounts ----------------------------------------------------------------------------------------


def test_settings_change_one_by_one(cli: CliRunner) -> None:
    create(cli)
    run(cli, "accounts", "set", "shop", "--sender", "MyShop", "--track-links", "--international")
    result = run(cli, "accounts", "set", "shop", "--country", "be", "--notify-opted-out", "--json")
    expected = {
        "account": "shop",
        "blocked": False,
        "sender": "MyShop",
        "country": "BE",
        "international": True,
        "trackLinks": True,
        "notifyOptedOut": True,
        "optoutScope": "account",
        "linkLifetimeSeconds": 31_536_000,
        "hours": None,
        "region": None,
        "stopMention": None,
        "nationalShift": None,
    }
    assert json.loads(result.stdout) == [expected]
    run(cli, "accounts", "set", "shop", "--sender", "", "--no-track-links", "--national-shift", "portuguese")
    changed = expected | {"sender": None, "trackLinks": False, "nationalShift": "portuguese"}
    assert json.loads(run(cli, "accounts", "list", "--json").stdout) == [changed]


def test_a_national_table_is_taken_back(cli: CliRunner) -> None:
    create(cli)
    run(cli, "accounts", "set", "shop", "--national-shift", "spanish")
    run(cli, "accounts", "set", "shop", "--national-shift", "none")
    assert json.loads(run(cli, "accounts", "list", "--json").stdout)[0]["nationalShift"] is None


def test_accounts_are_listed_once_each(cli: CliRunner) -> None:
    create(cli)
    create(cli)
    lines = run(cli, "accounts", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ACCOUNT", "shop"]


def test_account_that_does_not_exist_is_not_made_by_a_slip(cli: CliRunner) -> None:
    create(cli)
    result = run(cli, "accounts", "set", "shpo", "--track-links")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no account is called shpo" in result.stderr


def test_account_chooses_its_hours_and_its_mention(cli: CliRunner) -> None:
    create(cli)

    def chosen(*options: str) -> tuple[object, ...]:
        [account] = json.loads(run(cli, "accounts", "set", "shop", *options, "--json").stdout)
        return account["hours"], account["region"], account["stopMention"]

    packs = ("--hours", "fr-af2m-2026-tolerant", "--region", "alsace-moselle")
    assert chosen(*packs, "--stop-mention", "36111") == ("fr-af2m-2026-tolerant", "alsace-moselle", "STOP au 36111")
    assert chosen("--stop-mention", "Répondez STOP") == ("fr-af2m-2026-tolerant", "alsace-moselle", "Répondez STOP")
    assert chosen("--stop-mention", "none")[2] == ""
    assert run(cli, "accounts", "list").stdout.splitlines()[1].split()[-3:-1] == [
        "fr-af2m-2026-tolerant/alsace-moselle",
        "none",
    ]
    assert chosen("--hours", "", "--region", "", "--stop-mention", "") == (None, None, None)


def test_packs_of_hours_are_listed_with_their_dates_and_sources(cli: CliRunner) -> None:
    lines = run(cli, "hours").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == list(PACKS)
    assert "08:00-21:30" in lines[1]
    assert "2026-01-01" in lines[1]
    assert "af2m" in lines[1]
    assert "alsace-moselle" in lines[-1]
    listed = json.loads(run(cli, "hours", "--json").stdout)
    assert (listed["default"], list(listed["packs"]), listed["regions"]) == (DEFAULT_PACK, list(PACKS), list(REGIONS))
    assert listed["packs"]["none"]["opens"] is None
    assert listed["packs"][DEFAULT_PACK]["closes"] == "21:30"


@pytest.mark.parametrize(
    "option",
    [
        ("--sender", "été"),
        ("--sender", "0612345"),
        ("--country", "zz"),
        ("--hours", "fr-af2m-2049"),
        ("--region", "lune"),
        ("--stop-mention", "12"),
        ("--stop-mention", "Soldes"),
    ],
)
def test_wrong_account_setting_is_refused(cli: CliRunner, option: tuple[str, str]) -> None:
    create(cli)
    result = run(cli, "accounts", "set", "shop", *option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert option[0] in result.stderr


# --- customers over SMPP ---------------------------------------------------------------------------------


def customer(system_id: str = "shop1") -> Customer | None:
    return in_store(lambda store: store.find_customer(system_id))


def test_password_for_smpp_is_shown_once_and_the_store_knows_it(cli: CliRunner) -> None:
    create(cli)
    result = run(cli, "accounts", "smpp", "shop", "--system-id", "shop1", "--marketing")
    password = result.stdout.strip()
    assert re.fullmatch("[0-9A-Za-z]{8}", password)
    assert "not shown again" in result.stderr
    made = customer()
    assert made is not None
    assert is_password(password.encode(), made)
    assert (made.account.name, made.test, made.family) == ("shop", False, Family.MARKETING)
    again = run(cli, "accounts", "smpp", "shop", "--system-id", "shop1", "--test", "--json")
    told = json.loads(again.stdout)
    assert (told["account"], told["systemId"], told["test"]) == ("shop", "shop1", True)
    made = customer()
    assert made is not None
    assert not is_password(password.encode(), made)
    assert is_password(told["password"].encode(), made)
    assert (made.test, made.family) == (True, Family.NOTIFICATION)


def test_system_ids_are_listed_and_removed(cli: CliRunner) -> None:
    create(cli)
    for arguments in (["--system-id", "shop1"], ["--system-id", "shop-2", "--test"]):
        assert run(cli, "accounts", "smpp", "shop", *arguments).exit_code == 0
    listed = json.loads(run(cli, "accounts", "smpp", "shop", "--json").stdout)
    assert [(one["systemId"], one["test"], one["marketing"], one["waiting"]) for one in listed] == [
        ("shop-2", True, False, 0),
        ("shop1", False, False, 0),
    ]
    assert "shop-2" in run(cli, "accounts", "smpp", "shop").stdout
    assert run(cli, "accounts", "smpp", "shop", "--system-id", "shop1", "--remove").stdout == "Removed: shop1\n"
    assert customer() is None
    gone = run(cli, "accounts", "smpp", "shop", "--system-id", "shop1", "--remove")
    assert (gone.exit_code, "has no system id shop1" in gone.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["shop", "--system-id", "shop1"], 1, "is another account's"),
        (["nobody", "--system-id", "shop2"], 1, "no account is called nobody"),
        (["nobody"], 1, "no account is called nobody"),
        (["shop", "--system-id", "sixteen-letters-"], 2, "up to 15"),
        (["shop", "--system-id", "a b"], 2, "up to 15"),
        (["shop", "--system-id", ""], 2, "up to 15"),
        (["shop", "--system-id", "shop1\n"], 2, "up to 15"),
        (["shop", "--test"], 2, "need --system-id"),
        (["shop", "--remove"], 2, "need --system-id"),
    ],
)
def test_wrong_customers_are_refused(cli: CliRunner, arguments: list[str], code: int, complaint: str) -> None:
    create(cli)
    assert run(cli, "keys", "create", "--account", "rival").exit_code == 0
    assert run(cli, "accounts", "smpp", "rival", "--system-id", "shop1").exit_code == 0
    result = run(cli, "accounts", "smpp", *arguments)
    assert (result.exit_code, complaint in result.stderr) == (code, True)


# --- policies ----------------------------------------------------------------------------------------


def test_an_accounts_policy_is_set_shown_and_taken_back(cli: CliRunner) -> None:
    create(cli)
    policy = ("accounts", "policy", "shop")
    assert json.loads(run(cli, *policy, "orders", "at_least_once", "--json").stdout) == {"orders": "at_least_once"}
    run(cli, *policy, "news", "at_most_once")
    assert run(cli, *policy).stdout.split() == ["CATEGORY", "POLICY", "news", "at_most_once", "orders", "at_least_once"]
    assert json.loads(run(cli, *policy, "news", "default", "--json").stdout) == {"orders": "at_least_once"}
    key = find(create(cli))
    assert key is not None
    assert choose_policy(key.account, Family.MARKETING, "orders") is InDoubtPolicy.AT_LEAST_ONCE


def test_a_policy_that_this_release_does_not_know_is_shown_as_such(cli: CliRunner) -> None:
    key = find(create(cli))
    assert key is not None
    settings = replace(key.account.settings, policies={"orders": "exactly_once"})
    in_store(lambda store: store.save_settings(key.account.id, settings))
    assert "orders    exactly_once: unknown, the default holds\n" in run(cli, "accounts", "policy", "shop").stdout


def test_what_an_account_has_sent_is_told_by_category(cli: CliRunner) -> None:
    create(cli)
    assert run(cli, "accounts", "counts", "shop").stdout.splitlines()[1].split() == ["TOTAL", *["0"] * len(Count)]
    in_store(send_and_doubt)
    told = json.loads(run(cli, "accounts", "counts", "shop", "--json").stdout)
    [orders] = told["categories"]
    assert (orders["category"], orders["sent"], orders["doubts"], orders["resent"]) == ("orders", 1, 1, 0)
    assert told["total"] == {name: n for name, n in orders.items() if name != "category"}
    head, line, total = run(cli, "accounts", "counts", "shop").stdout.splitlines()
    assert head.split()[:2] == ["CATEGORY", "SENT"]
    assert line.split()[0] == "orders"
    assert line.split()[1:] == total.split()[1:]
    assert run(cli, "accounts", "counts", "nobody").exit_code == 1


async def send_and_doubt(store: SqliteStore) -> None:
    account = await store.find_account("shop")
    assert account is not None
    policy, number = InDoubtPolicy.WAIT_THEN_RETRY, "+33612345678"
    send = SendMessage(account.id, number, Family.NOTIFICATION, "Bonjour", 1, "live", False, policy, 1, 1, 1_000)
    await store.accept(replace(send, category="orders"))
    epoch = await store.open_connector("op", 1)
    [submission] = await store.claim("op", epoch, [Portion("live")], 1, 2)
    message, part, attempt = submission.key
    await store.settle([AttemptReport(message, DoubtBegan(part, attempt, 3, "timeout"))], 3)


def test_the_policies_that_can_be_chosen_are_those_there_are() -> None:
    assert set(POLICIES) == {policy.name.lower() for policy in InDoubtPolicy}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["shop", "orders", "sometimes"], 2),
        (["shop", "orders"], 2),
        (["shop", "", "at_most_once"], 2),
        (["shop", "x" * 1000, "at_most_once"], 2),
        (["nobody", "orders", "at_most_once"], 1),
    ],
)
def test_a_policy_that_is_none_is_refused(cli: CliRunner, arguments: list[str], code: int) -> None:
    create(cli)
    assert run(cli, "accounts", "policy", *arguments).exit_code == code
    assert json.loads(run(cli, "accounts", "policy", "shop", "--json").stdout) == {}
