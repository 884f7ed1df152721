"""One table of all rows, and the same as JSON."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import apsw
import msgspec
from rich.table import Table

from bench.disk import filesystem_of
from bench.measure import Row

WIDTH = 200
"""Of a table that goes to a file."""
NOISY = "Figures from a shared machine are noisy: compare rows of one run, and runs only as ratios."
MARKS = {True: "met", False: "SHORT", None: "not measured"}


class Figures(msgspec.Struct, frozen=True):
    """A row for programs: values in its unit, CPU in ms per message."""

    part: str
    what: str
    unit: str
    median: float
    min: float
    max: float
    rounds: int
    ratio: float | None = None
    server_cpu_ms: float | None = None
    peers_cpu_ms: float | None = None
    load_cpu_ms: float | None = None
    goals: Mapping[str, bool | None] = {}
    """What should be reached, and whether it was."""


class Run(msgspec.Struct, frozen=True):
    """A line of the history."""

    environment: Mapping[str, object]
    rows: Sequence[Figures]


def environment(folder: Path) -> Mapping[str, object]:
    """What has to be known beside the figures."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": apsw.sqlite_lib_version(),
        "chappe": version("chappe"),
        "machine": f"{platform.node()}, {_processor()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "filesystem": filesystem_of(folder),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def headline(found: Mapping[str, object]) -> str:
    return (
        f"Chappe {found['chappe']} · {found['python']} · SQLite {found['sqlite']} · {found['cpus']} CPUs, "
        f"load {found['load']} · {found['filesystem']} · {found['date']}. {NOISY}"
    )


def table(rows: Sequence[Row], last: Run | None = None) -> Table:
    """A line for each row, in groups; it needs WIDTH columns. `last` is what the medians are compared with."""
    said = "CPU-ms per message or look-up, and what share of a core that kept busy."
    if last is not None:
        said += f" Since: the median against that of {last.environment['date']}, {last.environment['chappe']}."
    shown = Table(caption=said, caption_justify="left")
    shown.add_column("what", no_wrap=True)
    for name in (
        "median",
        "min – max",
        "first row\nto this",
        "goal",
        "server\nCPU-ms",
        "peers\nCPU-ms",
        "load\nCPU-ms",
    ):
        shown.add_column(name, justify="right", no_wrap=True)
    before = {figures.what: figures.median for figures in last.rows} if last else {}
    if last is not None:
        shown.add_column("since", justify="right", no_wrap=True)
    part = None
    for row in rows:
        if part not in (None, row.part):
            shown.add_section()
        part, show = row.part, row.unit.show
        shown.add_row(
            row.what,
            show(row.median),
            f"{show(min(row.values))} – {show(max(row.values))}" if len(row.values) > 1 else "",
            "" if row.ratio is None else f"{row.ratio:.2f} ×",
            "\n".join(f"{goal.show(row.unit)} {MARKS[goal.is_met(row)]}" for goal in row.goals),
            *(_cost(row, whose) for whose in ("server", "peers", "load")),
            *([_since(row.median, before.get(row.what))] if last else []),
        )
    return shown


def figures(found: Mapping[str, object], rows: Sequence[Row]) -> Run:
    return Run(
        found,
        [
            Figures(
                row.part,
                row.what,
                row.unit.value,
                row.median,
                min(row.values),
                max(row.values),
                len(row.rounds),
                row.ratio,
                row.cpu_ms("server"),
                row.cpu_ms("peers"),
                row.cpu_ms("load"),
                {goal.show(row.unit): goal.is_met(row) for goal in row.goals},
            )
            for row in rows
        ],
    )


def last_of(history: Path, machine: object) -> Run | None:
    """The last run on this machine; lines of another form are passed over."""
    if not history.exists():
        return None
    for line in reversed(history.read_bytes().splitlines()):
        try:
            run = msgspec.json.decode(line, type=Run)
        except ValueError:
            continue
        if run.environment.get("machine") == machine:
            return run
    return None


def _cost(row: Row, whose: str) -> str:
    cpu, busy = row.cpu_ms(whose), row.busy(whose)
    return "" if cpu is None or busy is None else f"{cpu:.3f} {busy:4.0%}"


def _since(median: float, before: float | None) -> str:
    return f"{median / before - 1:+.0%}" if before else ""
