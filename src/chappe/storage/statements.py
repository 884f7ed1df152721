"""SQL kept in files: some per engine, with the same named statements, each of which can be pasted into a shell."""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name: ([a-z_]+)\n", re.MULTILINE)


def load(engine: str) -> dict[str, str]:
    """Statement name → SQL, from `ENGINE.sql` and `AREA.ENGINE.sql` beside this file.

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
    return found


def _belongs(name: str, engine: str) -> bool:
    return name == f"{engine}.sql" or name.endswith(f".{engine}.sql")


def _strip(sql: str) -> str:
    """Without the comment lines around it, so that it is one statement to prepare and to cache."""
    lines = [line for line in sql.splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip().rstrip(";")
