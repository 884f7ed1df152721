"""The second wall: a list that forgets its account still shows nobody else's rows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg  # type: ignore[import-untyped]  # it brings no types
import pytest
from postgres_server import PostgresServer
from store_scene import NOW, NUMBER, a_send

from chappe.core.contacts import Batch, Column, ContactRow, RefusedRow, RowProblem
from chappe.core.message import AccountId, NotAccepted
from chappe.core.numbers import PhoneNumber
from chappe.core.webhooks import Cursor
from chappe.storage import statements
from chappe.storage.postgres import WALLED, PostgresStore, open_postgres

FILTERS = {
    "list_events": "v.account = p.account AND ",
    "find_feed_end": "v.account = p.account AND ",
    "read_lists": "l.account = p.account AND ",
    "read_fields": "f.account = p.account AND ",
    "read_contacts": "l.account = p.account AND ",
    "read_refused": "r.account = p.account AND ",
}
"""What the careless version of a statement leaves out."""


@pytest.fixture
async def url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    url = await postgres_server.create_database()
    yield url
    await postgres_server.drop_database(url)


@pytest.fixture
async def careless(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    """A store whose lists do not ask for the account."""
    right = statements.load

    def load(engine: str) -> dict[str, str]:
        sql = dict(right(engine))
        for name, condition in FILTERS.items() if engine == "postgres" else ():
            assert condition in sql[name]
            sql[name] = sql[name].replace(condition, "")
        return sql

    monkeypatch.setattr(statements, "load", load)
    store = await open_postgres(url)
    yield store
    await store.close()


async def two_accounts(store: PostgresStore) -> tuple[AccountId, AccountId]:
    """Each has one message that has expired, so that each has two events."""
    accounts = [(await store.open_account(name, NOW)).id for name in ("mine", "other")]
    for account in accounts:
        await store.accept(a_send(account, validity_ms=1))
    await store.sweep(NOW + 10, 100)
    return accounts[0], accounts[1]


async def test_list_without_its_account_shows_nobody_else_s(careless: PostgresStore) -> None:
    mine, other = await two_accounts(careless)
    for account in (mine, other):
        events = await careless.list_events(account, Cursor(), 100)
        assert len(events) == 2
        for _, notice in events:
            assert await careless.find_message(account, notice.message) is not None
    nobody = (await careless.open_account("nobody", NOW)).id
    assert await careless.list_events(nobody, Cursor(), 100) == []
    assert await careless.find_feed_end(nobody) == Cursor()


async def test_contacts_asked_for_without_their_account_are_not_shown(careless: PostgresStore) -> None:
    mine, other = [(await careless.open_account(name, NOW)).id for name in ("mine", "other")]
    list_ = await careless.create_list(mine, "Clients", NOW)
    begun = await careless.begin_import(mine, list_, [Column("nom")], None, NOW)
    assert not isinstance(begun, NotAccepted)
    operation, fields = begun
    batch = Batch([ContactRow(2, PhoneNumber(NUMBER), ["Zoé"])], [RefusedRow(3, 11, RowProblem.NUMBER)])
    await careless.import_contacts(mine, operation.id, fields, batch, 1, NOW)
    for account, count in ((mine, 1), (other, 0)):
        found = (
            await careless.list_lists(account, after=0, limit=10),
            await careless.list_fields(account, list_),
            await careless.read_contacts(account, list_, after=0, limit=10),
            await careless.list_refused(account, operation.id, after=0, limit=10),
        )
        assert [len(rows) for rows in found] == [count] * 4


async def test_role_of_lists_sees_one_account_and_changes_nothing(careless: PostgresStore, url: str) -> None:
    mine, _ = await two_accounts(careless)
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE chappe_account")
            assert await connection.fetchval("SELECT count(*) FROM message") == 0
            await connection.execute(f"SET LOCAL chappe.account = '{mine}'")
            assert await connection.fetchval("SELECT count(*) FROM message") == 1
            assert await connection.fetchval("SELECT count(*) FROM fact") == 1
            assert await connection.fetchval("SELECT count(*) FROM message WHERE number = $1", NUMBER) == 1
            for refused in ("UPDATE message SET text = ''", "SELECT * FROM api_key", "SELECT * FROM delivery"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with connection.transaction():
                        await connection.execute(refused)
    finally:
        await connection.close()


def test_every_walled_statement_exists() -> None:
    assert WALLED.keys() <= statements.load("postgres").keys()
