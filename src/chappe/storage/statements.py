"""SQL kept in files: some per engine, with the same named statements, each of which can be pasted into a shell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import chain
from types import MappingProxyType
from typing import Any

MOST_ROWS = 64
"""Of one execution; what is more is run in several."""

_LIST = re.compile(r"VALUES\s*(\([^()]*\))")
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
    `INSERT INTO … VALUES ($1, $2)` and `… WHERE (a, b) IN (VALUES ($1, $2))`. For how many is a power of two, so that
    there are few different statements to keep prepared. RETURNING promises no order, and is run row by row.
    """
    if len(rows) == 1 or not _takes_many(sql):
        return [(sql, row) for row in rows]
    found, start = [], 0
    while start < len(rows):
        count = min(MOST_ROWS, 1 << ((len(rows) - start).bit_length() - 1))
        found.append((_for_rows(sql, count), tuple(chain.from_iterable(rows[start : start + count]))))
        start += count
    return found


@cache  # there are as many as statements in the files
def _takes_many(sql: str) -> bool:
    lists = _LIST.findall(sql)
    return len(lists) == 1 and "RETURNING" not in sql and _PARAMETER.findall(sql) == _PARAMETER.findall(lists[0])


@cache  # and of each, as many as powers of two up to MOST_ROWS
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
