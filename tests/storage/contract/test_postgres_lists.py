"""Lists on PostgreSQL: the plans, made while the tables are empty, are good for a million contacts too."""

from __future__ import annotations

import re

import pytest
from postgres_server import PostgresServer

from chappe.storage import statements
from chappe.storage.postgres_connection import Servers

BY_NUMBER, BY_ID = "contact_list_edition_number_key", "contact_walk"


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("contacts_of_numbers", BY_NUMBER),
        ("find_contact", BY_NUMBER),
        ("remove_contact_of_number", BY_NUMBER),
        ("read_contacts", BY_ID),
        ("drop_contacts", BY_ID),
    ],
)
async def test_statement_finds_contacts_by_the_index_made_for_it(
    postgres_server: PostgresServer, statement: str, index: str
) -> None:
    url = await postgres_server.create_database()
    connection = await Servers(url).connect()
    try:
        sql = statements.load("postgres")[statement]
        count = len(set(re.findall(r"\$[0-9]+", sql)))
        await connection.execute(f"PREPARE asked AS {sql}")
        plan = await connection.fetch(f"EXPLAIN EXECUTE asked ({', '.join(['NULL'] * count)})")
    finally:
        await connection.close(timeout=5)
        await postgres_server.drop_database(url)
    used = re.findall(r"using (\w+) on contact\b", "\n".join(line for (line,) in plan))
    assert index in used
    assert set(used) <= {index, "contact_pkey"}
