"""SQL kept in files: some per engine, with the same named statements, each of which can be pasted into a shell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import chain
from types import MappingProxyType
from typing import Any

MOST_ROWS = 64
"""Of one execution; what is more is run in several."""

_LIST = re.compile(r"VALUES\s*(\([^()]*\))")
_FILLS_UP = re.compile(r"^UPDATE|IN \(VALUES")
_PARAMETER = re.compile(r"\$[0-9]+")
_NAME = re.compile(r"^-- name: ([a-z_]+)\n", re.MULTILINE)


@cache
def load(engine: str) -> MappingProxyType[str, str]:
    """Statement name → SQL, from `ENGINE.sql` and `AREA.ENGINE.sql` beside this file, read once.

    Each statement begins with a line `-- name: …`. Raises ValueError when a name stands twice.
    """
    folder = resources.files("chappe.storage")
    found: dict[str, str] = {}
    for file in sorted(file.name for file in folder.iterdir() if _belongs(file.name, engine)):
        pieces = _NAME.split((folder / file).read_text("utf-8"))
        for name, sql in zip(pieces[1::2], pieces[2::2], strict=True):
            if name in found:
                raise ValueError(f"{file} names {name} again")
            found[name] = _strip(sql)
    return MappingProxyType(found)


def executions(sql: str, rows: Sequence[tuple[Any, ...]]) -> list[tuple[str, tuple[Any, ...]]]:
    """For SQLite: what has to be executed, with its values, to run a statement for each of `rows`, in their order.

    A statement whose parameters all stand in one list of VALUES, in their order, is run for many rows at once:
    `INSERT INTO … VALUES ($1, $2)`, `… WHERE (a, b) IN (VALUES ($1, $2))`, `… FROM (VALUES ($1, $2)) AS v …`. For how
    many is one of `SIZES`, so that there are few different statements to keep prepared; what finds or changes the same
    when it is told twice is told its last row again, to fill up. RETURNING promises no order, and is run row by row.

    What follows a semicolon is about all these rows, and is run once: $1 is how many they are.
    """
    plan = _plan(sql)
    if len(rows) == 1 or not plan.takes_many:
        found = [(plan.each, row) for row in rows]
    else:
        found, start, total = [], 0, len(rows)
        while start < total:
            left = min(total - start, MOST_ROWS)
            size = _SIZE_ABOVE[left] if plan.fills_up else _SIZE_BELOW[left]
            chunk = rows[start : start + size]
            values = tuple(chain.from_iterable(chunk))
            if len(chunk) < size:
                values += chunk[-1] * (size - len(chunk))
            found.append((_for_rows(plan.each, size), values))
            start += size
    if plan.about_all:
        found += [(statement, (len(rows),)) for statement in plan.about_all]
    return found


SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, MOST_ROWS)
_SIZE_BELOW = [max((size for size in SIZES if size <= rows), default=0) for rows in range(MOST_ROWS + 1)]
_SIZE_ABOVE = [min(size for size in SIZES if size >= rows) for rows in range(MOST_ROWS + 1)]


@dataclass(slots=True, frozen=True)
class _Plan:
    """How a statement is run."""

    each: str
    about_all: Sequence[str]
    takes_many: bool
    fills_up: bool


@cache  # there are as many as statements in the files
def _plan(sql: str) -> _Plan:
    each, *about_all = sql.split(";\n")
    lists = _LIST.findall(each)
    in_order = len(lists) == 1 and _PARAMETER.findall(each) == _PARAMETER.findall(lists[0])
    return _Plan(each, about_all, in_order and "RETURNING" not in each, _FILLS_UP.search(each) is not None)


@cache  # and of each, as many as SIZES
def _for_rows(sql: str, count: int) -> str:
    before, list_, after = _LIST.split(sql)
    row = "(" + ", ".join("?" * list_.count("$")) + ")"
    return f"{before}VALUES {', '.join([row] * count)}{after}"


def _belongs(name: str, engine: str) -> bool:
    return name == f"{engine}.sql" or name.endswith(f".{engine}.sql")


def _strip(sql: str) -> str:
    """Without the comment lines around it, so that it is one statement to prepare and to cache."""
    lines = [line for line in sql.splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip().rstrip(";")
