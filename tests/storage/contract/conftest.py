"""The engines under contract. A new one adds a fixture of its name here and its name to ENGINES."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from store_scene import NewDatabase, OpenStore, Scene

from chappe.core.ports import Store
from chappe.storage.sqlite import open_sqlite

ENGINES = ("sqlite",)


@pytest.fixture
def sqlite(tmp_path: Path) -> NewDatabase:
    numbers = count(1)
    return lambda: partial(open_sqlite, tmp_path / f"chappe-{next(numbers)}.db")


@pytest.fixture(params=ENGINES)
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Each call makes a database that is still empty, and gives what opens it."""
    engine: NewDatabase = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
async def open_store(new_database: NewDatabase) -> AsyncIterator[OpenStore]:
    """Opens one database, again and again: a second store sees what the first one stored."""
    opened: list[Store] = []
    open_again = new_database()

    async def open_store() -> Store:
        opened.append(await open_again())
        return opened[-1]

    yield open_store
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    return await open_store()


@pytest.fixture
async def scene(open_store: OpenStore) -> Scene:
    return await Scene.begin(open_store)
