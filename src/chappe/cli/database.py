"""`migrate`, `copy`, `backup` and `hold`: what is done to a database as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chappe.cli.common import (
    Commands,
    WrongSettings,
    database_options,
    examples,
    in_store,
    json_option,
    local_time,
    now_ms,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from chappe.core.ports import Store
    from chappe.storage.copying import Copied


@click.command(
    short_help="Bring a database's schema up to date.",
    epilog=examples("chappe migrate", "chappe migrate --database postgresql://chappe@db1,db2/chappe"),
)
@json_option
@database_options
def migrate(as_json: bool, database: str | None, config: Path | None) -> None:
    """Bring a database's schema up to date, and print from which version to which.

    A server does the same at its start; running it first keeps the wait out of there. Safe beside servers and at the
    same time on several nodes.
    """
    settings = read_settings(config, database=database)
    import asyncio

    from chappe.storage.opening import migrate_database

    before, after = asyncio.run(migrate_database(settings.database))
    if as_json:
        print_json({"from": before, "to": after})
    elif before == after:
        click.echo(f"The schema is at version {after}: nothing to do.")
    else:
        click.echo(f"The schema went from version {before} to {after}.")


@click.command(
    "copy",
    short_help="Copy a database into another one.",
    epilog=examples(
        "chappe copy sqlite:////var/lib/chappe/chappe.db postgresql://chappe@db1/chappe",
        "chappe copy postgresql://chappe@db1/chappe sqlite:///chappe.db",
    ),
)
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@json_option
def copy_database(source: str, target: str, as_json: bool) -> None:
    """Copy a whole database into an empty one, of either engine, and verify every row.

    No server may run on either. Interrupted, the same command goes on where it was; until the copy is verified no
    server starts on it.
    """
    for url in (source, target):
        read_settings(None, environ={}, database=url)
    if source == target:
        raise WrongSettings("the source and the target are the same")
    import asyncio

    copied = asyncio.run(_copy(source, target))
    if as_json:
        print_json([{"table": table.table, "rows": table.rows, "checksum": table.digest} for table in copied])
        return
    print_table(("TABLE", "ROWS", "CHECKSUM"), [(table.table, f"{table.rows:,}", table.digest) for table in copied])
    click.echo("Every row is the same on both sides. Do not start a server on the source again: what still waits there")
    click.echo("would be sent twice.")


async def _copy(source: str, target: str) -> list[Copied]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from chappe.storage.copying import Copy
    from chappe.storage.copying_sides import open_side

    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with open_side(source, may_create=False) as ours, open_side(target, may_create=True) as theirs:
        copy = Copy(ours, theirs)
        rows = await copy.prepare()
        if copy.resumed:
            click.echo("Going on with a copy that was interrupted.", err=True)
        console = Console(stderr=True)
        with Progress(*columns, console=console, refresh_per_second=4, disable=not console.is_terminal) as shown:
            for doing, work, total in (("copying", copy.copy, rows), ("verifying", copy.verify, 2 * rows)):
                task = shown.add_task(doing, total=total)

                def told(table: str, done: int, task: object = task, doing: str = doing) -> None:
                    shown.update(task, advance=done, description=f"{doing} {table}")  # type: ignore[arg-type]  # rich's

                copied = await work(told)
                shown.update(task, description=doing)
    return copied or []


@click.command(
    short_help="Copy the SQLite database to a file, beside the server.",
    epilog=examples("chappe backup /backup/chappe-monday.db", "chappe backup chappe.bak --config chappe.toml"),
)
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@database_options
def backup(file: Path, as_json: bool, database: str | None, config: Path | None) -> None:
    """Copy the SQLite database to a new file, as it is at this moment, also while the server runs.

    The copy is on hold: a server that is started on it sends nothing before `chappe hold off`.
    """
    path = read_settings(config, database=database).database_path
    if path is None:
        raise click.ClickException("PostgreSQL has its own tools: pg_dump, or archiving; see docs/guides/backup.md")
    if not path.exists():
        raise click.ClickException(f"there is no database {path}")
    from rich.console import Console
    from rich.progress import Progress

    from chappe.storage.backup import back_up

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("copying", total=1.0)
        size = back_up(path, file, now_ms(), lambda share: shown.update(task, completed=share))
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{file}: {size:,} bytes, checked, and on hold until `chappe hold off`.")


@click.group(cls=Commands, short_help="Keep everything from leaving, or let it go.")
def hold() -> None:
    """Whether messages leave: a restored system waits, so that nothing is sent twice."""


@hold.command("on", epilog=examples("chappe hold on", "chappe hold on --database postgresql://chappe@db1/chappe"))
@json_option
@database_options
def hold_on(as_json: bool, database: str | None, config: Path | None) -> None:
    """Keep every message from leaving, on all nodes; sends are accepted and wait."""

    async def begin(store: Store) -> dict[str, int | None]:
        await store.hold(True, now_ms())
        return await _look(store)

    _print_hold(in_store(read_settings(config, database=database), begin), as_json)


@hold.command(
    "off",
    epilog=examples("chappe hold off", "chappe hold off --doubt"),
)
@click.option("--doubt", is_flag=True, help="First doubt what is due: it may have left after the backup was made.")
@json_option
@database_options
def hold_off(doubt: bool, as_json: bool, database: str | None, config: Path | None) -> None:
    """Let messages leave again.

    After a restore use --doubt: each part that was due becomes a doubt, and the policy of its message decides whether
    it is sent again, which its status then says.
    """

    async def end(store: Store) -> dict[str, int | None]:
        if doubt:
            if await store.held_since() is None:
                raise click.ClickException("this is not on hold: what waits is about to leave, and in no doubt")
            from chappe.core.routing import LIVE

            # Parts of paused campaigns come back to their routes meanwhile.
            while any([await store.doubt_queued(route, 500, now_ms()) for route in (LIVE, *await store.list_routes())]):
                pass
        await store.hold(False, now_ms())
        return await _look(store)

    _print_hold(in_store(read_settings(config, database=database), end), as_json)


@hold.command("status", epilog=examples("chappe hold status", "chappe hold status --json"))
@json_option
@database_options
def hold_status(as_json: bool, database: str | None, config: Path | None) -> None:
    """Say whether messages are kept from leaving, and how many wait."""
    _print_hold(in_store(read_settings(config, database=database), _look), as_json)


async def _look(store: Store) -> dict[str, int | None]:
    return {"held_since": await store.held_since(), **await store.count_pending()}


def _print_hold(found: dict[str, int | None], as_json: bool) -> None:
    since = found["held_since"]
    if as_json:
        counts = {name: count for name, count in found.items() if name != "held_since"}
        print_json({"held": since is not None, "heldSince": since, **counts})
        return
    if since is None:
        click.echo("Off: messages leave.")
    else:
        click.echo(f"ON HOLD since {local_time(since)}: nothing is sent.")
    click.echo(
        f"{found['queued']} parts wait, {found['in_doubt']} are in doubt, "
        f"{found['pending']} wait for the operator's answer."
    )
