"""How many executions a statement takes on SQLite, and that rows never change places."""

from __future__ import annotations

import apsw
import pytest

from chappe.storage import statements
from chappe.storage.statements import MOST_ROWS, SIZES, executions

INSERT = "INSERT INTO pair (a, b)\nVALUES ($1, $2)\nON CONFLICT (a) DO UPDATE SET b = excluded.b"
SELECT = "SELECT a, b FROM pair WHERE (a, b) IN (VALUES ($1, $2)) ORDER BY a"
UPDATE = "UPDATE pair SET b = v.column1 FROM (VALUES ($1, $2)) AS v WHERE a = v.column2"


@pytest.mark.parametrize("count", [1, 2, 3, 10, MOST_ROWS - 1, MOST_ROWS, 2 * MOST_ROWS + 5])
def test_rows_of_one_list_are_run_many_at_once_and_none_is_lost(count: int) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE pair (a INTEGER PRIMARY KEY, b)")
    rows = [(number, f"b{number}") for number in range(count)]
    inserted = executions(INSERT, [(number, "") for number in range(count)])
    for statement, values in inserted:
        connection.execute(statement, values)
    updated = executions(UPDATE, [(text, number) for number, text in rows])
    for statement, values in updated:
        connection.execute(statement, values)
    asked = executions(SELECT, rows)
    assert [row for statement, values in asked for row in connection.execute(statement, values)] == rows
    assert len(asked) == len(updated) == -(-count // MOST_ROWS)
    assert len(inserted) <= count // MOST_ROWS + 3


def test_there_are_few_statements_to_keep_prepared() -> None:
    for sql in (INSERT, UPDATE, SELECT):
        different = {statement for count in range(2, 500) for statement, _ in executions(sql, [(1, 2)] * count)}
        assert len(different) <= len(SIZES)


def test_what_follows_a_semicolon_is_run_once_for_all_rows() -> None:
    sql = f"{INSERT};\nUPDATE pair SET b = $1;\nDELETE FROM pair WHERE a = $1"
    assert executions(sql, [(1, 2)]) == [
        (INSERT, (1, 2)),
        ("UPDATE pair SET b = $1", (1,)),
        ("DELETE FROM pair WHERE a = $1", (1,)),
    ]
    assert [values for _, values in executions(sql, [(1, 2), (3, 4)])] == [(1, 2, 3, 4), (2,), (2,)]


def test_later_row_of_the_same_key_wins_as_it_does_one_by_one() -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE pair (a INTEGER PRIMARY KEY, b)")
    [(statement, values)] = executions(INSERT, [(1, "first"), (1, "second")])
    assert connection.execute(statement, values).get is None
    assert connection.execute("SELECT a, b FROM pair").fetchall() == [(1, "second")]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE pair SET b = $1 WHERE a = $2",
        "INSERT INTO pair (a, b) VALUES ($1, $2) RETURNING a",
        "INSERT INTO pair (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = $3",
        "SELECT a, b FROM pair WHERE a IN (VALUES ($1)) AND b > $2",
    ],
)
def test_what_is_not_one_list_is_run_row_by_row(sql: str) -> None:
    rows = [(1, 2), (3, 4)]
    assert executions(sql, rows) == [(sql, row) for row in rows]


def test_statements_about_whole_journeys_take_many_rows_at_once() -> None:
    sql = statements.load("sqlite")
    for name in (
        "journey_messages",
        "journey_attempts",
        "list_entries",
        "find_latest",
        "insert_fact",
        "update_message",
        "update_message_and_wake",
        "update_attempt",
        "find_carrier",
        "lease_delivery",
        "deliver",
    ):
        width = sql[name].count("$")
        assert len(executions(sql[name], [tuple(range(width))] * 4)) == 1
