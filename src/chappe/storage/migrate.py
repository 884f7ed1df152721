"""Migrations for SQLite: numbered files, applied in order, each with its number in one transaction.

Safe when several processes open the same file at once: each file is applied under the write lock, and the version is
read again once the lock is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import apsw

from chappe.core.errors import ChappeError


class NewerSchemaError(ChappeError):
    """The database was written by a newer Chappe; start that release, or restore a backup from before it."""


def migrations(engine: str) -> list[tuple[int, str]]:
    """(number, SQL) of each migration of this engine, in order; their files are NNNN_name.ENGINE.sql."""
    folder = resources.files("chappe.storage") / "migrations"
    found = [
        (int(file.name[:4]), file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(f".{engine}.sql")
    ]
    return sorted(found)


def migrate(connection: apsw.Connection, steps: Sequence[tuple[int, str]] | None = None) -> int:
    """Brings the schema up to the last step and returns how many were applied.

    Raises NewerSchemaError when the file is ahead of this release.
    """
    steps = migrations("sqlite") if steps is None else steps
    applied = 0
    for number, sql in steps:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if number > _version(connection):
                connection.execute(sql)
                connection.pragma("user_version", number)
                applied += 1
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    if _version(connection) > steps[-1][0]:
        raise NewerSchemaError(NewerSchemaError.__doc__)
    return applied


def _version(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))
