"""Look-ups of one turn of the loop see one moment, which is over before anything else is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from chappe.storage.sqlite import SqliteStore, open_sqlite

DIGEST = b"d" * 32


class Shop:
    """A store with a key, and another process that takes the key back."""

    def __init__(self, store: SqliteStore, beside: apsw.Connection) -> None:
        self.store = store
        self._beside = beside

    async def finds_key(self) -> bool:
        return await self.store.find_key(DIGEST) is not None

    def revoke(self) -> None:
        self._beside.execute("UPDATE api_key SET revoked_at = 1")


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    store = await open_sqlite(tmp_path / "chappe.db")
    account = await store.open_account("acme", 0)
    await store.create_key(account.id, DIGEST, "dddd", test=False, now=0)
    beside = apsw.Connection(str(tmp_path / "chappe.db"))
    yield Shop(store, beside)
    beside.close()
    await store.close()


async def test_a_key_that_is_revoked_is_gone_for_what_is_read_afterwards(shop: Shop) -> None:
    shop.store.read_together()
    assert await shop.finds_key()
    shop.revoke()
    assert await shop.finds_key()  # what was read before
    read_afterwards = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(read_afterwards.set_result, None)
    await read_afterwards
    shop.store.read_together()
    assert not await shop.finds_key()


async def test_a_key_that_is_revoked_is_gone_at_once_for_look_ups_apart(shop: Shop) -> None:
    assert await shop.finds_key()
    shop.revoke()
    assert not await shop.finds_key()
