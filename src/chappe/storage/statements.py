"""SQL kept in files: one per engine, with the same named statements, each of which can be pasted into a shell."""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name: ([a-z_]+)\n", re.MULTILINE)


def load(engine: str) -> dict[str, str]:
    """Statement name → SQL, from `ENGINE.sql` beside this file; each begins with a line `-- name: …`.

    Raises ValueError when a name stands twice.
    """
    text = (resources.files("chappe.storage") / f"{engine}.sql").read_text("utf-8")
    pieces = _NAME.split(text)
    names = pieces[1::2]
    if len(names) != len(set(names)):
        raise ValueError(f"{engine}.sql names a statement twice")
    return {name: _strip(sql) for name, sql in zip(names, pieces[2::2], strict=True)}


def _strip(sql: str) -> str:
    """Without the comment lines around it, so that it is one statement to prepare and to cache."""
    lines = [line for line in sql.splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip().rstrip(";")
