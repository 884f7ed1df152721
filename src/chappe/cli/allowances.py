"""`credits` and `limits`: what accounts may send; short work in the database, beside the server if one runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chappe.cli.common import (
    Commands,
    database_options,
    examples,
    in_account,
    json_option,
    local_time,
    now_ms,
    options,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from chappe.core.credits import Credits
    from chappe.core.limits import Limits
    from chappe.core.message import Account
    from chappe.core.ports import Store

T = TypeVar("T")

common_options = options(click.argument("account"), json_option, database_options)


@click.group("credits", cls=Commands, short_help="Add to an account's credits, show them and what they went on.")
def credit_commands() -> None:
    """Credits, one for each part. An account without any sends as much as it likes. Works while the server runs."""


@credit_commands.command(
    "add", epilog=examples('chappe credits add shop 5000 --note "invoice 2026-117"', "chappe credits add shop -- -40")
)
@click.argument("account")
@click.argument("amount", type=click.IntRange(-(10**12), 10**12))
@click.option("--note", default="", help="What the statement shall say, up to 200 characters.")
@json_option
@database_options
def add_credits(account: str, amount: int, note: str, as_json: bool, database: str | None, config: Path | None) -> None:
    """Add to an account's credits, or take some off; from now on it sends only what it can pay for."""
    if len(note) > 200 or not note.isprintable():
        raise click.BadParameter("up to 200 printable characters", param_hint="--note")
    from chappe.core.credits import Booking

    what = Booking.ADJUST if amount < 0 else Booking.TOPUP

    async def add(store: Store, found: Account) -> int:
        return await store.change_credits(found.id, what, amount, note, now_ms())

    balance = in_account(read_settings(config, database=database), account, add)
    if as_json:
        print_json({"account": account, "balance": balance})
    else:
        click.echo(f"{account} has {balance} credits.")


@credit_commands.command("show", epilog=examples("chappe credits show shop"))
@common_options
def show_credits(account: str, as_json: bool, database: str | None, config: Path | None) -> None:
    """Say how many credits an account has left."""

    async def show(store: Store, found: Account) -> Credits | None:
        return await store.read_credits(found.id)

    left = in_account(read_settings(config, database=database), account, show)
    balance, alert = (None, None) if left is None else (left.balance, left.alert_below)
    if as_json:
        print_json({"account": account, "balance": balance, "alertBelow": alert})
    elif left is None:
        click.echo(f"{account} has no credits: it sends as much as it likes.")
    else:
        click.echo(f"{account} has {balance} credits{'' if alert is None else f'; alert below {alert}'}.")


@credit_commands.command("ledger", epilog=examples("chappe credits ledger shop", "chappe credits ledger shop --json"))
@click.option("--most", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many lines.")
@common_options
def list_ledger(account: str, most: int, as_json: bool, database: str | None, config: Path | None) -> None:
    """List what moved an account's credits, the newest first. Sends of one hour share a line."""

    async def read(store: Store, found: Account) -> list[dict[str, object]]:
        lines = await store.list_ledger(found.id, before=None, limit=most)
        return [
            {
                "id": line.id,
                "date": line.at,
                "what": line.what.name.lower(),
                "amount": line.amount,
                "balance": line.balance,
                "messages": line.messages,
                "message": line.message,
                "campaign": line.campaign,
                "note": line.note,
            }
            for line in lines
        ]

    lines = in_account(read_settings(config, database=database), account, read)
    if as_json:
        print_json(lines)
        return
    rows = [
        (
            local_time(int(str(line["date"]))),
            str(line["what"]),
            f"{line['amount']:+}",
            str(line["balance"]),
            str(line["messages"] or ""),
            str(line["campaign"] or line["note"]),
        )
        for line in lines
    ]
    print_table(("FROM", "WHAT", "AMOUNT", "BALANCE", "MESSAGES", ""), rows)


@credit_commands.command("alert", epilog=examples("chappe credits alert shop 500", "chappe credits alert shop none"))
@click.argument("account")
@click.argument("below", metavar="BELOW|none")
@json_option
@database_options
def set_alert(account: str, below: str, as_json: bool, database: str | None, config: Path | None) -> None:
    """Have the server log a warning when the balance falls below this."""
    if below != "none" and not re.fullmatch("[0-9]{1,12}", below):
        raise click.BadParameter("a whole number of credits, or none", param_hint="BELOW")
    threshold = None if below == "none" else int(below)

    async def set_it(store: Store, found: Account) -> None:
        await store.set_alert(found.id, threshold)

    in_account(read_settings(config, database=database), account, set_it)
    if as_json:
        print_json({"account": account, "alertBelow": threshold})
    else:
        click.echo(f"{account}: {'no alert' if threshold is None else f'alert below {threshold} credits'}.")


@credit_commands.command("stop", epilog=examples("chappe credits stop shop"))
@common_options
def stop_credits(account: str, as_json: bool, database: str | None, config: Path | None) -> None:
    """Let an account send as much as it likes again; its balance stays for `chappe credits add`."""

    async def stop(store: Store, found: Account) -> None:
        await store.stop_credits(found.id)

    in_account(read_settings(config, database=database), account, stop)
    if as_json:
        print_json({"account": account, "balance": None})
    else:
        click.echo(f"{account} sends as much as it likes.")


@click.group(cls=Commands, short_help="Limit what an account sends: how fast, how much, to whom.")
def limits() -> None:
    """Limits of accounts; there are none by default. Works while the server runs, which follows at once."""


@limits.command("show", epilog=examples("chappe limits show shop"))
@common_options
def show_limits(account: str, as_json: bool, database: str | None, config: Path | None) -> None:
    """Show an account's limits."""

    async def show(_: Store, found: Account) -> Limits:
        return found.limits

    _print_limits(account, in_account(read_settings(config, database=database), account, show), as_json)


@limits.command(
    "set",
    epilog=examples(
        "chappe limits set shop --rate 20 --burst 100 --daily-parts 10000",
        "chappe limits set shop --prefix +336 --prefix +337 --per-number 5/3600",
        "chappe limits set shop --rate none --prefix none",
    ),
)
@click.argument("account")
@click.option("--rate", metavar="N|none", help="Sends a second for each of its keys, such as 20 or 0.5.")
@click.option("--burst", metavar="N|none", help="How many at once after a quiet moment; a second's worth by default.")
@click.option("--daily-parts", metavar="N|none", help="Parts a day (UTC).")
@click.option("--prefix", "prefixes", metavar="+N|none", multiple=True, help="What its numbers may begin with.")
@click.option("--per-number", metavar="N/SECONDS|none", help="Messages to one number within so many seconds.")
@json_option
@database_options
def set_limits(
    account: str,
    rate: str | None,
    burst: str | None,
    daily_parts: str | None,
    prefixes: tuple[str, ...],
    per_number: str | None,
    as_json: bool,
    database: str | None,
    config: Path | None,
) -> None:
    """Change an account's limits; what is not given stays, and `none` takes one away. Prints them as they are then."""
    changes: dict[str, Any] = {}
    if rate is not None:
        changes["rate"] = _read("--rate", rate, r"[0-9]{1,6}(?:\.[0-9]{1,3})?", float)
    if burst is not None:
        changes["burst"] = _read("--burst", burst, "[0-9]{1,6}", int)
    if daily_parts is not None:
        changes["daily_parts"] = _read("--daily-parts", daily_parts, "[0-9]{1,12}", int, zero=True)
    if prefixes:
        changes["prefixes"] = () if prefixes == ("none",) else tuple(map(_prefix, prefixes))
    if per_number is not None:
        found = re.fullmatch("([0-9]{1,4})/([0-9]{1,7})", per_number)
        if per_number == "none":
            changes["per_number"] = None
        elif found is None or not (int(found[1]) and 0 < int(found[2]) <= MOST_SECONDS):
            raise click.BadParameter("N/SECONDS such as 5/3600, or none", param_hint="--per-number")
        else:
            changes |= {"per_number": int(found[1]), "per_number_seconds": int(found[2])}

    async def change(store: Store, found: Account) -> Limits:
        from dataclasses import replace

        changed = replace(found.limits, **changes)
        await store.save_limits(found.id, changed)
        return changed

    _print_limits(account, in_account(read_settings(config, database=database), account, change), as_json)


MOST_SECONDS = 30 * 24 * 3600


def _read(option: str, text: str, pattern: str, kind: Callable[[str], T], *, zero: bool = False) -> T | None:
    if text == "none":
        return None
    if not re.fullmatch(pattern, text) or not (kind(text) or zero):
        raise click.BadParameter("a number, or none", param_hint=option)
    return kind(text)


def _prefix(text: str) -> str:
    if not re.fullmatch(r"\+[1-9][0-9]{0,14}", text):
        raise click.BadParameter("the beginning of a number, such as +336", param_hint="--prefix")
    return text


def _print_limits(account: str, limits: Limits, as_json: bool) -> None:
    per_number = None if limits.per_number is None else f"{limits.per_number}/{limits.per_number_seconds}"
    if as_json:
        answer = {
            "account": account,
            "rate": limits.rate,
            "burst": limits.burst,
            "dailyParts": limits.daily_parts,
            "prefixes": list(limits.prefixes),
            "perNumber": per_number,
        }
        print_json(answer)
        return
    shown = (limits.rate, limits.burst, limits.daily_parts, " ".join(limits.prefixes) or None, per_number)
    row = tuple("-" if each is None else f"{each:g}" if isinstance(each, float) else str(each) for each in shown)
    print_table(("ACCOUNT", "RATE", "BURST", "PARTS A DAY", "PREFIXES", "PER NUMBER"), [(account, *row)])
