"""Migrations: whole or not at all, once, and never backwards."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from chappe.storage.migrate import NewerSchemaError, migrate, migrations


def tables(connection: apsw.Connection) -> set[str]:
    return {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_fresh_file_gets_every_table_once(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "a.db"))
    assert migrate(connection) == len(migrations("sqlite"))
    assert {"message", "attempt", "fact", "latest", "queue", "carrier", "parked"} <= tables(connection)
    assert migrate(connection) == 0


def test_migration_that_fails_leaves_nothing_behind() -> None:
    connection = apsw.Connection(":memory:")
    with pytest.raises(apsw.SQLError):
        migrate(connection, [(1, "CREATE TABLE a (x INTEGER) STRICT; CREATE TABEL b (x)")])
    assert tables(connection) == set()
    assert connection.pragma("user_version") == 0


def test_newer_file_is_refused_and_left_alone() -> None:
    connection = apsw.Connection(":memory:")
    connection.pragma("user_version", 9999)
    with pytest.raises(NewerSchemaError, match="newer Chappe"):
        migrate(connection)
    assert tables(connection) == set()
