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


def test_opt_outs_keep_their_ids_and_indexes_when_they_learn_of_senders() -> None:
    connection = apsw.Connection(":memory:")
    steps = migrations("sqlite")
    migrate(connection, [step for step in steps if step[0] < 8])
    indexes = (
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'entry' AND sql IS NOT NULL ORDER BY 1"
    )
    before = connection.execute(indexes).fetchall()
    add = "INSERT INTO entry (number, test, listing, account, by_message, category, at) VALUES ($1, 0, 0, 1, 1, 'c', 5)"
    for number in ("+33611111111", "+33622222222", "+33633333333"):
        connection.execute(add, (number,))
    connection.execute("DELETE FROM entry WHERE id = 3")
    migrate(connection, steps)
    assert connection.execute("SELECT id, number, category, at, sender FROM entry").fetchall() == [
        (1, "+33611111111", "c", 5, ""),
        (2, "+33622222222", "c", 5, ""),
    ]
    connection.execute(add, ("+33644444444",))
    assert connection.last_insert_rowid() == 4
    assert connection.execute(indexes).fetchall() == before
