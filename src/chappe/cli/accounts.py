"""`keys` and `accounts`: short work in the database itself, beside the server if one runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chappe.cli.common import (
    Commands,
    database_options,
    examples,
    find_account,
    in_account,
    in_store,
    json_option,
    local_time,
    now_ms,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from chappe.core.counts import Counts
    from chappe.core.customers import Customer
    from chappe.core.message import Account, Key
    from chappe.core.ports import Store

POLICIES = ("wait_then_retry", "at_least_once", "at_most_once")


@click.group(cls=Commands, short_help="Create, list and revoke API keys.")
def keys() -> None:
    """API keys: 32 hexadecimal characters, shown once. Works while the server runs, which follows at once."""


@keys.command(
    "create",
    epilog=examples(
        "chappe keys create --account shop",
        "chappe keys create --account shop --test",
        "export CHAPPE_API_KEY=$(chappe keys create --account shop --quiet)",
    ),
)
@click.option("--account", "name", required=True, help="The account's name; a new name opens an account.")
@click.option("--test", is_flag=True, help="A key whose messages only ever reach the simulator.")
@click.option("--quiet", is_flag=True, help="Print the key alone.")
@json_option
@database_options
def create_key(name: str, test: bool, quiet: bool, as_json: bool, database: str | None, config: Path | None) -> None:
    """Make a key and print it: it is not shown again."""
    if not name.isprintable() or not name.strip() or len(name) > 100:
        raise click.BadParameter("1 to 100 printable characters", param_hint="--account")
    import secrets

    secret = secrets.token_hex(16)

    async def create(store: Store) -> Key:
        account = await store.open_account(name.strip(), now_ms())
        return await store.create_key(account.id, _digest(secret), secret[:4], test=test, now=now_ms())

    key = in_store(read_settings(config, database=database), create, may_create=True)
    if quiet:
        click.echo(secret)
    elif as_json:
        print_json({"key": secret, **_key_row(key)})
    else:
        click.echo(secret)
        kind = "test key" if test else "key"
        click.echo(f"This is a {kind} of the account {key.account.name}. Keep it now: it is not shown again.", err=True)


@keys.command("list", epilog=examples("chappe keys list", "chappe keys list --json"))
@json_option
@database_options
def list_keys(as_json: bool, database: str | None, config: Path | None) -> None:
    """List every key by its first four characters, revoked ones too."""
    found = in_store(read_settings(config, database=database), _list_keys)
    if as_json:
        print_json([_key_row(key) for key in found])
        return
    rows = [
        (
            str(key.id),
            f"{key.hint}…",
            key.account.name,
            "test" if key.test else "live",
            local_time(key.created_at),
            "" if key.revoked_at is None else local_time(key.revoked_at),
        )
        for key in found
    ]
    print_table(("ID", "KEY", "ACCOUNT", "KIND", "CREATED", "REVOKED"), rows)


@keys.command("revoke", epilog=examples("chappe keys revoke 3", "chappe keys revoke 9f2c"))
@click.argument("which", metavar="ID|FIRST4|KEY")
@json_option
@database_options
def revoke_key(which: str, as_json: bool, database: str | None, config: Path | None) -> None:
    """Revoke a key, by its id, its first four characters, or the whole key."""

    async def revoke(store: Store) -> Key:
        if re.fullmatch("[0-9a-f]{32}", which):
            whole = await store.find_key(_digest(which))
            found = [] if whole is None else [whole]
        else:
            live = [key for key in await store.list_keys() if key.revoked_at is None]
            found = [key for key in live if which in (str(key.id), key.hint)]
        match found:
            case [key]:
                await store.revoke_key(key.id, now_ms())
                return key
            case []:
                raise click.ClickException("no live key is that one; see `chappe keys list`")
            case _:
                ids = ", ".join(str(key.id) for key in found)
                raise click.ClickException(f"several keys are that one: revoke by id, one of {ids}")

    key = in_store(read_settings(config, database=database), revoke)
    if as_json:
        print_json({"id": key.id, "account": key.account.name})
    else:
        click.echo(f"Key {key.id} ({key.hint}…) of the account {key.account.name} is revoked.")


@click.group(cls=Commands, short_help="List accounts, change their settings.")
def accounts() -> None:
    """Accounts and what they decided for themselves."""


@accounts.command("list", epilog=examples("chappe accounts list"))
@json_option
@database_options
def list_accounts(as_json: bool, database: str | None, config: Path | None) -> None:
    """List the accounts that have keys."""
    found = in_store(read_settings(config, database=database), _list_keys)
    named = {key.account.name: key.account for key in found}
    _print_accounts(list(named.values()), as_json)


@accounts.command(
    "set",
    epilog=examples(
        "chappe accounts set shop --sender MyShop --track-links",
        "chappe accounts set shop --country BE --no-notify-opted-out",
        "chappe accounts set shop --hours fr-af2m-2026-tolerant --region alsace-moselle --stop-mention 36111",
    ),
)
@click.argument("name")
@click.option("--sender", metavar="SENDER", help="Default sender, 3 to 11 letters and digits; an empty one: none.")
@click.option("--country", metavar="CC", help="Where national numbers belong, such as FR.")
@click.option("--international/--no-international", default=None, help="Whether numbers abroad may be written to.")
@click.option("--track-links/--no-track-links", default=None, help="Whether links are tracked unless a send says so.")
@click.option(
    "--notify-opted-out/--no-notify-opted-out",
    default=None,
    help="Whether notifications may reach people who wrote STOP.",
)
@click.option(
    "--optout-scope",
    type=click.Choice(["account", "sender"]),
    help="Whether a STOP is for the account or for the sender that was answered.",
)
@click.option(
    "--link-lifetime",
    metavar="SECONDS",
    type=click.IntRange(60, 315_360_000),
    help="How long tracked links lead on; a year unless told otherwise.",
)
@click.option(
    "--hours", metavar="PACK", help="When marketing may leave, see `chappe hours`; an empty one: the default."
)
@click.option(
    "--region", metavar="REGION", help="Where its recipients live, see `chappe hours`; an empty one: anywhere."
)
@click.option(
    "--stop-mention",
    metavar="CODE|TEXT",
    help="What stands behind marketing texts: a short code, or a line; none: nothing; an empty one: the server's.",
)
@click.option(
    "--national-shift",
    type=click.Choice(["none", "portuguese", "spanish", "turkish"]),
    help="A national language table that stands in for UCS-2 where that saves parts.",
)
@json_option
@database_options
def set_account(
    name: str,
    sender: str | None,
    country: str | None,
    international: bool | None,
    track_links: bool | None,
    notify_opted_out: bool | None,
    optout_scope: str | None,
    link_lifetime: int | None,
    hours: str | None,
    region: str | None,
    stop_mention: str | None,
    national_shift: str | None,
    as_json: bool,
    database: str | None,
    config: Path | None,
) -> None:
    """Change an account's settings; what is not given stays. Prints them as they are then."""
    plain = {
        "international": international,
        "track_links": track_links,
        "notify_opted_out": notify_opted_out,
        "link_lifetime_seconds": link_lifetime,
    }
    given: dict[str, Any] = {field: value for field, value in plain.items() if value is not None}
    if optout_scope is not None:
        from chappe.core.message import OptOutScope

        given["optout_scope"] = OptOutScope(optout_scope)
    if sender is not None:
        given["default_sender"] = _sender(sender)
    if country is not None:
        given["country"] = _country(country)
    if hours is not None:
        given["hours"] = _pack(hours)
    if region is not None:
        given["region"] = _region(region)
    if stop_mention is not None:
        given["stop_mention"] = _mention(stop_mention)
    if national_shift is not None:
        given["national_shift"] = None if national_shift == "none" else national_shift

    async def change(store: Store) -> Account:
        from dataclasses import replace

        account = await find_account(store, name)
        settings = replace(account.settings, **given)
        await store.save_settings(account.id, settings)
        return replace(account, settings=settings)

    _print_accounts([in_store(read_settings(config, database=database), change)], as_json)


@accounts.command(
    "policy",
    epilog=examples(
        "chappe accounts policy shop orders at_least_once",
        "chappe accounts policy shop orders default",
        "chappe accounts policy shop",
    ),
)
@click.argument("name")
@click.argument("category", required=False)
@click.argument("policy", required=False, type=click.Choice([*POLICIES, "default"]))
@json_option
@database_options
def set_policy(
    name: str, category: str | None, policy: str | None, as_json: bool, database: str | None, config: Path | None
) -> None:
    """Say what is done with a submit of a category whose answer never came; without one, show what is said.

    It is for what is sent from now on, and is matched to the letter. `default` is the category's, else the family's.
    """
    if category is not None:
        _check_category(category)
        if policy is None:
            raise click.UsageError(f"say which POLICY: {', '.join(POLICIES)} or default")

    async def change(store: Store) -> dict[str, str]:
        from dataclasses import replace

        account = await find_account(store, name)
        policies = dict(account.settings.policies)
        if category is None:
            return policies
        policies.pop(category, None)
        if policy is not None and policy != "default":
            policies[category] = policy
        await store.save_settings(account.id, replace(account.settings, policies=policies))
        return policies

    policies = in_store(read_settings(config, database=database), change)
    if as_json:
        print_json(policies)
    else:
        from chappe.core.message import InDoubtPolicy

        rows = [
            (of, said if InDoubtPolicy.named(said) is not None else f"{said}: unknown, the default holds")
            for of, said in sorted(policies.items())
        ]
        print_table(("CATEGORY", "POLICY"), rows)


@accounts.command("counts", epilog=examples("chappe accounts counts shop", "chappe accounts counts shop --json"))
@click.argument("name")
@click.option("--test", is_flag=True, help="Of test keys.")
@json_option
@database_options
def show_counts(name: str, test: bool, as_json: bool, database: str | None, config: Path | None) -> None:
    """Say what an account has sent, by category, and what came of it: doubts and what was sent again among it."""
    from chappe.core.counts import Count

    async def read(store: Store, account: Account) -> tuple[Counts, Mapping[str, Counts]]:
        return await store.read_counts(account.id, test=test), await store.list_counts(account.id, test=test)

    total, by_category = in_account(read_settings(config, database=database), name, read)
    if as_json:
        named = [{"category": category or None, **_counts_row(counts)} for category, counts in by_category.items()]
        print_json({"categories": named, "total": _counts_row(total)})
        return
    head = ("CATEGORY", *(count.name.replace("_", " ") for count in Count))
    rows = [*((category or "(none)", counts) for category, counts in by_category.items()), ("TOTAL", total)]
    print_table(head, [(title, *(str(counts[count]) for count in Count)) for title, counts in rows])


@accounts.command(
    "smpp",
    epilog=examples(
        "chappe accounts smpp shop --system-id shop1",
        "chappe accounts smpp shop --system-id shop1 --marketing",
        "chappe accounts smpp shop",
        "chappe accounts smpp shop --system-id shop1 --remove",
    ),
)
@click.argument("name")
@click.option("--system-id", metavar="ID", help="Up to 15 letters, digits and . _ -; without it, those there are.")
@click.option("--test", is_flag=True, help="Its messages only ever reach the simulator.")
@click.option("--marketing", is_flag=True, help="What it submits is marketing unless it says otherwise.")
@click.option("--remove", is_flag=True, help="Take it away, with what it was still to be told.")
@click.option("--quiet", is_flag=True, help="Print the password alone.")
@json_option
@database_options
def smpp(
    name: str,
    system_id: str | None,
    test: bool,
    marketing: bool,
    remove: bool,
    quiet: bool,
    as_json: bool,
    database: str | None,
    config: Path | None,
) -> None:
    """Let an application of an account bind with SMPP: prints its password, which is not shown again.

    A system id that the account has already gets another password, and its links end. Works while the server runs.
    """
    if system_id is None:
        if test or marketing or remove:
            raise click.UsageError("--test, --marketing and --remove need --system-id")
        _list_customers(name, as_json, database, config)
        return
    if not re.fullmatch("[0-9A-Za-z._-]{1,15}", system_id):
        raise click.BadParameter("up to 15 letters, digits and . _ -", param_hint="--system-id")
    import secrets

    from chappe.core.message import Family
    from chappe.customers.passwords import SALT_BYTES, digest_of, make_password

    password, salt = make_password(secrets.choice), secrets.token_bytes(SALT_BYTES)

    async def save(store: Store) -> None:
        account = await find_account(store, name)
        if remove:
            if not await store.remove_customer(account.id, system_id):
                raise click.ClickException(f"the account {name} has no system id {system_id}")
            return
        family = Family.MARKETING if marketing else Family.NOTIFICATION
        digest = digest_of(password.encode("ascii"), salt)
        if not await store.save_customer(account.id, system_id, salt, digest, test=test, family=family, now=now_ms()):
            raise click.ClickException(f"the system id {system_id} is another account's")

    in_store(read_settings(config, database=database), save)
    if remove:
        click.echo(f"Removed: {system_id}")
    elif as_json:
        print_json({"account": name, "systemId": system_id, "password": password, "test": test})
    else:
        click.echo(password)
        if not quiet:
            note = f"This is the password of {system_id}, of the account {name}. Keep it now: it is not shown again."
            click.echo(note, err=True)


def _list_customers(name: str, as_json: bool, database: str | None, config: Path | None) -> None:
    async def read(store: Store) -> list[tuple[Customer, int]]:
        account = await find_account(store, name)
        return [(one, waiting) for one, waiting in await store.list_customers() if one.account.id == account.id]

    found = in_store(read_settings(config, database=database), read)
    if as_json:
        print_json(
            [
                {
                    "systemId": one.system_id,
                    "test": one.test,
                    "marketing": one.family.name == "MARKETING",
                    "createdAt": one.created_at,
                    "waiting": waiting,
                }
                for one, waiting in found
            ]
        )
        return
    rows = [
        (
            one.system_id,
            "test" if one.test else "live",
            one.family.name.lower(),
            local_time(one.created_at),
            str(waiting),
        )
        for one, waiting in found
    ]
    print_table(("SYSTEM ID", "KIND", "FAMILY", "PASSWORD OF", "STILL TO BE TOLD"), rows)


def _check_category(text: str) -> None:
    from chappe.core.errors import Invalid
    from chappe.flow.accept import check_name

    try:
        name = check_name(text, 45, "category")
    except Invalid:
        name = None
    if name is None:
        raise click.BadParameter("a category as sends name it", param_hint="CATEGORY")


async def _list_keys(store: Store) -> list[Key]:
    return await store.list_keys()


def _digest(secret: str) -> bytes:
    from hashlib import sha256

    return sha256(secret.encode("ascii")).digest()


def _sender(text: str) -> str | None:
    from chappe.core.numbers import SenderError, parse_sender

    try:
        return parse_sender(text) if text else None
    except SenderError as error:
        raise click.BadParameter(
            "3 to 11 letters and digits without accents, not all digits", param_hint="--sender"
        ) from error


def _country(text: str) -> str:
    from phonenumbers import SUPPORTED_REGIONS

    if text.upper() not in SUPPORTED_REGIONS:
        raise click.BadParameter("two letters of a country, such as FR", param_hint="--country")
    return text.upper()


def _pack(text: str) -> str | None:
    from chappe.core.hours import PACKS

    return _one_of(PACKS, text, "--hours")


def _region(text: str) -> str | None:
    from chappe.core.hours import REGIONS

    return _one_of(REGIONS, text, "--region")


def _one_of(names: Iterable[str], text: str, option: str) -> str | None:
    if text and text not in names:
        raise click.BadParameter(f"one of {', '.join(names)}", param_hint=option)
    return text or None


def _mention(text: str) -> str | None:
    from chappe.core.errors import Invalid
    from chappe.core.optout import LONGEST_MENTION, read_mention

    if text == "none":
        return ""
    try:
        return read_mention(text) if text else None
    except Invalid as error:
        raise click.BadParameter(
            f'a short code such as 36111, a line such as "STOP au 36111" (up to {LONGEST_MENTION} characters, '
            "GSM 03.38), or none",
            param_hint="--stop-mention",
        ) from error


def _key_row(key: Key) -> dict[str, object]:
    return {
        "id": key.id,
        "account": key.account.name,
        "test": key.test,
        "hint": key.hint,
        "createdAt": key.created_at,
        "revokedAt": key.revoked_at,
    }


def _counts_row(counts: Counts) -> dict[str, int]:
    return {count.name.lower(): n for count, n in counts.items()}


def _print_accounts(found: list[Account], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "account": account.name,
                    "blocked": account.blocked,
                    "sender": account.settings.default_sender,
                    "country": account.settings.country,
                    "international": account.settings.international,
                    "trackLinks": account.settings.track_links,
                    "notifyOptedOut": account.settings.notify_opted_out,
                    "optoutScope": account.settings.optout_scope.value,
                    "linkLifetimeSeconds": account.settings.link_lifetime_seconds,
                    "hours": account.settings.hours,
                    "region": account.settings.region,
                    "stopMention": account.settings.stop_mention,
                    "nationalShift": account.settings.national_shift,
                }
                for account in found
            ]
        )
        return
    rows = [
        (
            account.name,
            account.settings.default_sender or "-",
            account.settings.country,
            "yes" if account.settings.international else "no",
            "yes" if account.settings.track_links else "no",
            "yes" if account.settings.notify_opted_out else "no",
            "/".join(filter(None, (account.settings.hours or "default", account.settings.region))),
            {None: "default", "": "none"}.get(account.settings.stop_mention, account.settings.stop_mention or ""),
            account.settings.national_shift or "-",
            "blocked" if account.blocked else "",
        )
        for account in found
    ]
    print_table(
        ("ACCOUNT", "SENDER", "COUNTRY", "ABROAD", "TRACKS LINKS", "NOTIFIES OPTED OUT", "HOURS", "STOP", "SHIFT", ""),
        rows,
    )
