"""`python -m bench`: measures, and prints one table. See docs/reference/benchmarks.md for what the rows mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from bench import accepts, disk, imports, lives, lookups, loop, micro, report, versus
from bench.measure import FULL, QUICK, Bench, Row
from bench.stored import Stores

Part = Callable[[Bench, Stores], Awaitable[list[Row]]]

PARTS: Mapping[str, Part] = {
    "versus-callbacks": lambda bench, _: versus.with_callbacks(bench),
    "versus-bare": lambda bench, _: versus.bare(bench),
    "fsync": lambda bench, _: disk.fsync(bench),
    "accepts-http": lambda bench, _: accepts.over_http(bench),
    "accepts-store": lambda bench, _: accepts.at_the_store(bench),
    "lives": lambda bench, _: lives.whole(bench),
    "lookups-http": lookups.over_http,
    "lookups-store": lookups.at_the_store,
    "import": lambda bench, _: imports.of_a_file(bench),
    "loop": lambda bench, _: loop.each(bench),
    "micro": lambda bench, _: micro.each(bench),
}
REPORT_COLUMNS = 160
"""The table's width where there is no terminal to ask."""
FAMILIES = ("versus", "accepts", "lookups")
"""Names that stand for the parts that begin with them."""


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Small counts: shows that it runs, not how fast.")
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    type=click.Choice([*PARTS, *FAMILIES]),
    help=f"{', '.join(PARTS)}; repeatable.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Adds the figures there too, a line for each run.",
)
def main(quick: bool, only: tuple[str, ...], json_file: Path | None) -> None:
    chosen = [name for name in PARTS if not only or name in only or name.split("-")[0] in only]
    console = Console()
    if not console.is_terminal:
        console.width = REPORT_COLUMNS
    with TemporaryDirectory(prefix="chappe-bench-") as name:
        found = report.environment(Path(name))
        console.print(report.headline(found))
        rows = _measure(chosen, Path(name), quick=quick)
    console.print(report.table(rows))
    if json_file is not None:
        with json_file.open("ab") as history:
            history.write(report.as_json(found, rows) + b"\n")


def _measure(chosen: list[str], folder: Path, *, quick: bool) -> list[Row]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as shown:
        parts = shown.add_task("parts", total=len(chosen))
        work = shown.add_task("")

        def begin(what: str) -> Callable[[float], None]:
            shown.reset(work, description=what, total=1.0)
            return lambda share: shown.update(work, completed=share)

        async def run() -> list[Row]:
            bench = Bench(QUICK if quick else FULL, folder, begin)
            stores = Stores(bench)
            rows: list[Row] = []
            for name in chosen:
                rows += await PARTS[name](bench, stores)
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
