"""What all commands share: how they end, their common options, how they print."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from chappe.core.errors import ChappeError

if TYPE_CHECKING:
    from chappe.core.message import Account
    from chappe.core.ports import Store
    from chappe.settings import Settings

Command: TypeAlias = Callable[..., Any]
T = TypeVar("T")


class WrongSettings(click.ClickException):
    """What the command was told is wrong: one line on stderr says what."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands may raise ChappeError."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ChappeError as error:
            raise click.ClickException(str(error)) from error


def examples(*lines: str) -> str:
    """A command's epilog."""
    return "\n\n".join(("Examples:", "\b\n" + "\n".join(f"  {line}" for line in lines)))


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


database_options = options(
    click.option("--database", metavar="URL", help="sqlite:///FILE or postgresql://…; otherwise that of the settings."),
    click.option("--config", metavar="FILE", type=click.Path(path_type=Path), help="TOML settings [CHAPPE_CONFIG]."),
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def read_settings(config: Path | None, environ: Mapping[str, str] = os.environ, **options: str | None) -> Settings:
    """The settings; a wrong one ends the command with exit code 2."""
    from chappe.settings import SettingsError, load_settings

    try:
        return load_settings(config, environ=environ, options=options)
    except SettingsError as error:
        raise WrongSettings(str(error)) from error


def in_store(settings: Settings, work: Callable[[Store], Awaitable[T]], *, may_create: bool = False) -> T:
    """Does this little work in the database, beside the server if one runs."""
    import asyncio

    import apsw

    from chappe.storage.opening import open_store

    path = settings.database_path
    if path is not None and not may_create and not path.exists():
        raise click.ClickException(f"there is no database {path}; `chappe serve` and `chappe keys create` make one")
    if path is not None and not path.parent.is_dir():
        raise click.ClickException(f"there is no folder {path.parent} for the database")

    async def run() -> T:
        store = await open_store(settings.database, beside=True)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except apsw.Error as error:  # not a database, damaged
        raise click.ClickException(f"{path}: {error}") from error


async def find_account(store: Store, name: str) -> Account:
    """Ends the command where there is none of this name."""
    account = await store.find_account(name)
    if account is None:
        raise click.ClickException(f"no account is called {name}; `chappe keys create --account {name}` opens one")
    return account


def in_account(settings: Settings, name: str, work: Callable[[Store, Account], Awaitable[T]]) -> T:
    """As `in_store`, for the account of this name."""

    async def find_and_work(store: Store) -> T:
        return await work(store, await find_account(store, name))

    return in_store(settings, find_and_work)


def now_ms() -> int:
    return int(time.time() * 1000)


def local_time(at_ms: int) -> str:
    """To the minute."""
    return f"{datetime.fromtimestamp(at_ms / 1000):%Y-%m-%d %H:%M}"


def print_json(answer: object) -> None:
    """Indented for a person; on one line for a program, which reads --watch line by line."""
    click.echo(json.dumps(answer, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
