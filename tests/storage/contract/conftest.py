"""The engines under contract. A new one adds a fixture of its name here and its name to ENGINES."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from postgres_server import TEMPLATE, PostgresServer
from store_scene import NewDatabase, OpenStore, Scene

from chappe.core.ports import Store
from chappe.storage.postgres import PostgresStore, open_postgres
from chappe.storage.sqlite import open_sqlite

ENGINES = ("sqlite", "postgres")


@pytest.fixture
def sqlite(tmp_path: Path) -> NewDatabase:
    numbers = count(1)
    return lambda: partial(open_sqlite, tmp_path / f"chappe-{next(numbers)}.db")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """With a migrated database to copy: a database for each test costs as much as a few files."""
    server = PostgresServer()
    try:
        server.start()
        asyncio.run(_make_template(server))
        yield server
    finally:
        server.remove()


async def _make_template(server: PostgresServer) -> None:
    await server.execute(f"CREATE DATABASE {TEMPLATE}")
    await (await open_postgres(server.url(TEMPLATE))).close()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[NewDatabase]:
    urls: list[str] = []

    def new_database() -> OpenStore:
        url: str | None = None

        async def open_store() -> PostgresStore:
            nonlocal url
            if url is None:
                url = await postgres_server.create_database()
                urls.append(url)
            return await open_postgres(url)

        return open_store

    yield new_database
    for url in urls:
        asyncio.run(postgres_server.drop_database(url))


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
