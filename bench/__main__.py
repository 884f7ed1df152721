"""`python -m bench`: measures, and prints one table. See docs/reference/benchmarks.md for what the rows mean."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from bench import (
    accepts,
    campaigns,
    ceilings,
    disk,
    growth,
    imports,
    lives,
    lookups,
    loop,
    micro,
    postgres,
    report,
    versus,
    writer,
)
from bench.measure import FULL, QUICK, Bench, Row, Scale
from bench.stored import Stores, cache_folder

Rows: TypeAlias = Awaitable[list[Row]]


@dataclass(slots=True, frozen=True)
class Part:
    """Rows that are measured together; those that are not quick are left out of a quick run, unless asked for."""

    run: Callable[[Bench], Rows] | Callable[[Bench, Stores], Rows]
    quick: bool = True
    stores: bool = False

    def measure(self, bench: Bench, stores: Stores) -> Rows:
        return self.run(bench, stores) if self.stores else self.run(bench)  # type: ignore[call-arg]  # as it says


PARTS = {
    "versus-callbacks": Part(versus.with_callbacks),
    "versus-bare": Part(versus.bare),
    "ceilings": Part(ceilings.of_the_tools),
    "fsync": Part(disk.fsync),
    "accepts-http": Part(accepts.over_http),
    "accepts-store": Part(accepts.at_the_store),
    "lives": Part(lives.whole),
    "campaign": Part(campaigns.of_a_list),
    "backlog": Part(campaigns.with_a_backlog, quick=False),
    "lookups-http": Part(lookups.over_http, stores=True),
    "lookups-store": Part(lookups.at_the_store, quick=False, stores=True),
    "growth": Part(growth.of_the_database, quick=False, stores=True),
    "postgres": Part(postgres.beside_sqlite, quick=False),
    "import": Part(imports.of_a_file),
    "loop": Part(loop.each, quick=False),
    "writer": Part(writer.each, quick=False),
    "micro": Part(micro.each, quick=False),
}
FAMILIES = ("versus", "accepts", "lookups")
"""Names that stand for the parts that begin with them."""
SIZES = [field.name for field in fields(Scale) if field.type == "int"]


def _sizes(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in SIZES or not number.isascii() or not number.isdigit() or not int(number):
            raise click.BadParameter(f"NAME=NUMBER, with a name of {', '.join(SIZES)}")
        found[name] = int(number)
    return found


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Small counts and fewer parts, in a minute: that it runs, not how fast.")
@click.option(
    "--only", multiple=True, metavar="NAME", type=click.Choice([*PARTS, *FAMILIES]), help="A part; repeatable."
)
@click.option("--list", "listing", is_flag=True, help="Name the parts and sizes, and measure nothing.")
@click.option("--rounds", metavar="N", type=click.IntRange(1), help="How often each row is measured.")
@click.option(
    "--size", "sizes", multiple=True, metavar="NAME=N", callback=_sizes, help="How much, see --list; repeatable."
)
@click.option("--fresh", is_flag=True, help="Fill the large databases anew that are kept from run to run.")
@click.option(
    "--json",
    "history",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Adds the figures there, a line for each run, and compares them with the last line of this machine.",
)
def main(
    quick: bool,
    only: tuple[str, ...],
    listing: bool,
    rounds: int | None,
    sizes: dict[str, int],
    fresh: bool,
    history: Path | None,
) -> None:
    scale = replace(QUICK if quick else FULL, **sizes)
    if rounds is not None:
        scale = replace(scale, rounds=rounds, turns=rounds)
    if listing:
        _list(scale)
        return
    chosen = [
        name
        for name, part in PARTS.items()
        if name in only or name.split("-")[0] in only or (not only and (part.quick or not quick))
    ]
    console = Console()
    if not console.is_terminal:
        console.width = report.WIDTH
    if fresh:
        shutil.rmtree(cache_folder(), ignore_errors=True)
    with TemporaryDirectory(prefix="chappe-bench-") as name:
        found = report.environment(Path(name))
        console.print(report.headline(found))
        if quick and not only:
            left = ", ".join(name for name in PARTS if name not in chosen)
            console.print(f"A quick run: small counts, which show little of how fast; and without {left}.")
        rows = _measure(chosen, Path(name), scale)
    last = None if history is None else report.last_of(history, found["machine"])
    console.print(report.table(rows, last))
    if history is not None:
        with history.open("ab") as file:
            file.write(msgspec.json.encode(report.figures(found, rows)) + b"\n")


def _list(scale: Scale) -> None:
    for name, part in PARTS.items():
        click.echo(f"{name:17} {str(part.run.__doc__).splitlines()[0]}")
    click.echo("\n--size, unless told otherwise:")
    for size in SIZES:
        click.echo(f"{size:17} {getattr(scale, size):,}")


def _measure(chosen: Sequence[str], folder: Path, scale: Scale) -> list[Row]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as shown:
        parts = shown.add_task("parts", total=len(chosen))
        work = shown.add_task("")

        def begin(what: str) -> Callable[[float], None]:
            shown.reset(work, description=what, total=1.0)
            return lambda share: shown.update(work, completed=share)

        def tell(line: str) -> None:
            console.print(line, soft_wrap=True, highlight=False, markup=False)

        async def run() -> list[Row]:
            bench = Bench(scale, folder, begin, tell, cache_folder())
            stores = Stores(bench)
            rows: list[Row] = []
            for name in chosen:
                rows += await PARTS[name].measure(bench, stores)
                shown.advance(parts)
            return rows

        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(run())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop that the server runs on."""
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
