"""One table of all rows, and the same as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import apsw
import msgspec
from rich.table import Table

from bench.disk import filesystem_of
from bench.measure import Row

WIDTH = 150
"""Of a table that goes to a file."""
NOISY = "Figures from a shared machine are noisy: compare rows of one run, and runs only as ratios."


def environment(folder: Path) -> Mapping[str, object]:
    """What has to be known beside the figures."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": apsw.sqlite_lib_version(),
        "chappe": version("chappe"),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "filesystem": filesystem_of(folder),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def headline(found: Mapping[str, object]) -> str:
    return (
        f"Chappe {found['chappe']} · {found['python']} · SQLite {found['sqlite']} · {found['cpus']} CPUs, "
        f"load {found['load']} · {found['filesystem']} · {found['date']}. {NOISY}"
    )


def table(rows: Sequence[Row]) -> Table:
    """A line for each row, in groups; it needs WIDTH columns."""
    shown = Table(caption="CPU-ms per message or look-up; busy: 100% is one core.", caption_justify="left")
    shown.add_column("what", no_wrap=True)
    for name in (
        "median",
        "min – max",
        "first row\nto this",
        "server\nCPU-ms",
        "\nbusy",
        "peers\nCPU-ms",
        "load\nCPU-ms",
        "\nbusy",
    ):
        shown.add_column(name, justify="right", no_wrap=True)
    before = None
    for row in rows:
        if before not in (None, row.part):
            shown.add_section()
        before = row.part
        show = _per_call if row.per_call else _per_second
        shown.add_row(
            row.what,
            show(row.median),
            f"{show(min(row.values))} – {show(max(row.values))}",
            "" if row.ratio is None else f"{row.ratio:.2f} ×",
            _ms(row.cpu_ms("server")),
            _share(row.busy("server")),
            _ms(row.cpu_ms("operator")),
            _ms(row.cpu_ms("load")),
            _share(row.busy("load")),
        )
    return shown


def as_json(found: Mapping[str, object], rows: Sequence[Row]) -> bytes:
    """One line. Rates per second, times in seconds, CPU in ms per message."""
    figures = [
        {
            "part": row.part,
            "what": row.what,
            "unit": "seconds per call" if row.per_call else "per second",
            "median": row.median,
            "min": min(row.values),
            "max": max(row.values),
            "rounds": len(row.rounds),
            "ratio": row.ratio,
            "server_cpu_ms": row.cpu_ms("server"),
            "simulator_cpu_ms": row.cpu_ms("operator"),
            "load_cpu_ms": row.cpu_ms("load"),
        }
        for row in rows
    ]
    return msgspec.json.encode({"environment": found, "rows": figures})


def _per_second(value: float) -> str:
    return f"{value:,.0f}/s"


def _per_call(seconds: float) -> str:
    if seconds < 1e-6:
        return f"{seconds * 1e9:.0f} ns"
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
