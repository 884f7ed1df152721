"""`receipts`: those that matched nothing, and their repair; work in the database, beside the server if one runs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chappe.cli.common import (
    Commands,
    database_options,
    examples,
    in_store,
    json_option,
    local_time,
    now_ms,
    options,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from chappe.core.orphans import LearntForm, Orphan
    from chappe.core.ports import Store

MINUTE_MS = 60_000
FORMS = ("same", "case", "zeros", "dashes", "decimal", "hexadecimal")

which_options = options(
    click.option("--connector", metavar="NAME", help="Only those of one connector."),
    click.option(
        "--older-than",
        type=click.IntRange(0, 10_080),
        default=10,
        show_default=True,
        metavar="MINUTES",
        help="Only those that came so long ago: an early receipt is no orphan.",
    ),
    click.option("--limit", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="The oldest."),
    json_option,
    database_options,
)


@click.group(cls=Commands, short_help="List and repair receipts that matched nothing.")
def receipts() -> None:
    """Receipts that matched no submit are kept for 7 days, and match whatever learns of them meanwhile."""


@receipts.command("orphans", epilog=examples("chappe receipts orphans", "chappe receipts orphans --connector op"))
@which_options
def list_orphans(
    connector: str | None,
    older_than: int,
    limit: int,
    as_json: bool,
    database: str | None,
    config: Path | None,
) -> None:
    """List receipts that have matched nothing for a while, and why."""
    from chappe.core.orphans import Search

    now = now_ms()
    search = Search(now - older_than * MINUTE_MS, connector, limit=limit)

    async def read(store: Store) -> list[Orphan]:
        return await store.list_orphans(search, now)

    _show(in_store(read_settings(config, database=database), read), now, as_json=as_json)


@receipts.command(
    "repair",
    epilog=examples(
        "chappe receipts repair --dry-run",
        "chappe receipts repair --connector op --form decimal",
        "chappe receipts repair --connector op --by-number 60",
    ),
)
@click.option("--form", type=click.Choice(FORMS), help="How its receipts write ids; otherwise as it was learnt.")
@click.option(
    "--by-number",
    type=click.IntRange(1, 10_080),
    metavar="MINUTES",
    help="Match by number too, if one submit alone waits that left so long before at most.",
)
@click.option("--dry-run", is_flag=True, help="Show what would match, and change nothing.")
@which_options
def repair_orphans(
    form: str | None,
    by_number: int | None,
    dry_run: bool,
    connector: str | None,
    older_than: int,
    limit: int,
    as_json: bool,
    database: str | None,
    config: Path | None,
) -> None:
    """Match receipts that matched nothing, and settle what they say."""
    from chappe.core.orphans import Search
    from chappe.core.receipts import IdForm

    now = now_ms()
    search = Search(
        now - older_than * MINUTE_MS,
        connector,
        None if form is None else IdForm(form),
        None if by_number is None else by_number * MINUTE_MS,
        limit=limit,
    )

    async def repair(store: Store) -> list[Orphan]:
        if dry_run:
            return await store.list_orphans(search, now)
        orphans, _ = await store.repair_orphans(search, now)
        return orphans

    orphans = in_store(read_settings(config, database=database), repair)
    _show(orphans, now, as_json=as_json)
    if not as_json:
        matched = sum(orphan.match is not None for orphan in orphans)
        click.echo(f"{'Would match' if dry_run else 'Matched'}: {matched} of {len(orphans)}")


@receipts.command("forms", epilog=examples("chappe receipts forms"))
@json_option
@database_options
def list_forms(as_json: bool, database: str | None, config: Path | None) -> None:
    """Show how receipts write ids otherwise than answers, as learnt of each connector."""

    async def read(store: Store) -> list[LearntForm]:
        return await store.list_forms()

    forms = in_store(read_settings(config, database=database), read)
    if as_json:
        print_json(
            [
                {"connector": one.connector, "form": one.form.value, "receipts": one.receipts, "lastAt": one.last_at}
                for one in forms
            ]
        )
        return
    rows = [
        (
            one.connector,
            one.form.value,
            str(one.receipts),
            local_time(one.last_at),
        )
        for one in forms
    ]
    print_table(("CONNECTOR", "FORM", "RECEIPTS", "LAST"), rows)


def _show(orphans: list[Orphan], now: int, *, as_json: bool) -> None:
    from chappe.core.orphans import masked

    if as_json:
        print_json(
            [
                {
                    "connector": orphan.receipt.connector,
                    "id": orphan.receipt.carrier_id,
                    "at": orphan.receipt.at,
                    "number": masked(orphan.receipt.number),
                    "says": orphan.receipt.detail,
                    "why": None if orphan.why is None else orphan.why.value,
                    "near": orphan.near,
                    "message": None if orphan.message is None else str(orphan.message),
                }
                for orphan in orphans
            ]
        )
        return
    print_table(
        ("CONNECTOR", "ID", "AGE", "NUMBER", "SAYS", "MESSAGE OR WHY NOT"),
        [
            (
                orphan.receipt.connector,
                _printable(orphan.receipt.carrier_id),
                str(timedelta(seconds=(now - orphan.receipt.at) // 1000)),
                masked(orphan.receipt.number),
                orphan.receipt.detail,
                _reason(orphan),
            )
            for orphan in orphans
        ],
    )


def _reason(orphan: Orphan) -> str:
    if orphan.why is None:
        return str(orphan.message)
    return orphan.why.value if orphan.near is None else f"{orphan.why.value} ({_printable(orphan.near)})"


def _printable(word: str) -> str:
    """An operator's id may be any octets, and nothing of them reaches a terminal as a command."""
    return word if word.isprintable() else ascii(word)
