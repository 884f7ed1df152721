"""`optouts`: lists of people who want no more, from elsewhere and out; beside the server if one runs."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from chappe.cli.common import (
    Commands,
    database_options,
    examples,
    find_account,
    in_store,
    json_option,
    now_ms,
    options,
    print_json,
    read_settings,
)

if TYPE_CHECKING:
    from rich.progress import Progress

    from chappe.core.ports import Store
    from chappe.flow.optouts import OptOuts

BLOCK = 256 * 1024
PAGE = 1_000
MOST_SHOWN = 20

account_options = options(
    click.option("--account", "name", required=True, help="The account's name."),
    click.option("--test", is_flag=True, help="The list of test traffic."),
)


@click.group(cls=Commands, short_help="Import and export opt-outs.")
def optouts() -> None:
    """People who want no more, as CSV files: number, date, scope. A server that runs follows at once."""


@optouts.command(
    "import",
    epilog=examples(
        "chappe optouts import stops.csv --account shop", "zcat stops.csv.gz | chappe optouts import - --account shop"
    ),
)
@click.argument("file", type=click.File("rb"))
@account_options
@json_option
@database_options
def import_optouts(
    file: IO[bytes], name: str, test: bool, as_json: bool, database: str | None, config: Path | None
) -> None:
    """Add the numbers of a file to an account's opt-out list; those that are there stay as they are.

    The first row names the columns: one for the number ("number", "tel", …), and if you like "date" (ISO 8601 or
    milliseconds) and "scope" ("account" or "sender:NAME"). Rows that cannot be read are told by their line, and the
    others imported; the exit code is then 1.
    """
    from chappe.core.contacts import RefusedRow
    from chappe.core.errors import Invalid
    from chappe.flow.optouts import OptOutFile

    refused: list[RefusedRow] = []
    seen = added = 0

    async def add(store: Store) -> None:
        nonlocal seen, added
        account = await find_account(store, name)
        read = OptOutFile(account.settings.country, now_ms())

        async def take(found: OptOuts) -> None:
            nonlocal seen, added
            refused.extend(found.refused)
            seen += len(found.read)
            for start in range(0, len(found.read), PAGE):
                added += await store.import_opt_outs(account.id, found.read[start : start + PAGE], test=test)

        with _progress() as shown:
            task = shown.add_task("importing", total=_size(file))
            while octets := file.read(BLOCK):
                for found in read.feed(octets):
                    await take(found)
                shown.update(task, advance=len(octets))
            for found in read.finish():
                await take(found)

    try:
        in_store(read_settings(config, database=database), add)
    except Invalid as error:
        raise click.ClickException(
            'the first row has to name the columns, one of them "number"; "date" and "scope" if there are any'
        ) from error
    if as_json:
        print_json(
            {
                "added": added,
                "known": seen - added,
                "refused": [{"line": row.line, "code": row.code, "reason": row.reason.value} for row in refused],
            }
        )
    else:
        click.echo(f"{added:,} added, {seen - added:,} there before.")
        for row in refused[:MOST_SHOWN]:
            click.echo(f"line {row.line}: {row.reason.value} (code {row.code})", err=True)
        if len(refused) > MOST_SHOWN:
            click.echo(f"… and {len(refused) - MOST_SHOWN:,} more", err=True)
    if refused:
        raise click.exceptions.Exit(1)


@optouts.command(
    "export",
    epilog=examples(
        "chappe optouts export --account shop > stops.csv", "chappe optouts export stops.csv --account shop"
    ),
)
@click.argument("file", type=click.File("w", encoding="utf-8", lazy=True), default="-")
@account_options
@database_options
def export_optouts(file: IO[str], name: str, test: bool, database: str | None, config: Path | None) -> None:
    """Write an account's opt-out list as CSV, as `import` reads it."""
    from chappe.core.rules import Listing
    from chappe.flow.optouts import COLUMNS, row_of

    async def write(store: Store) -> None:
        account = await find_account(store, name)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        after = 0
        with _progress() as shown:
            task = shown.add_task("exporting", total=None)
            while page := await store.list_entries(
                account.id, Listing.UNSUBSCRIBED, test=test, category=None, after=after, limit=PAGE
            ):
                writer.writerows(map(row_of, page))
                after = page[-1].id
                shown.update(task, advance=len(page))

    in_store(read_settings(config, database=database), write)


def _size(file: IO[bytes]) -> int | None:
    """None for a pipe."""
    try:
        return os.fstat(file.fileno()).st_size or None
    except (OSError, AttributeError):
        return None


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
