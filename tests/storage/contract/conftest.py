"""The engines under contract. A new one adds a fixture of its name here and its name to ENGINES."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from postgres_server import TEMPLATE, PostgresServer
from store_scene import NewDatabase, OpenStore, Scene

from chappe.core.ports import Store
from chappe.storage.postgres import PostgresStore, open_postgres
from chappe.storage.sqlite import open_sqlite
from chappe.storage.writer_frames import frame_of, frames_in
from chappe.storage.writer_thread import ThreadWriter

ENGINES = ("sqlite", "postgres")


class CrossingWriter(ThreadWriter):
    """On a thread, but what it is given and gives back crosses as it does to a process of its own and back."""

    def run(self, kind: str, payload: Any) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._run_crossed(kind, payload))

    async def _run_crossed(self, kind: str, payload: Any) -> Any:
        [(kind, payload)] = frames_in(bytearray(frame_of((kind, payload))))
        [result] = frames_in(bytearray(frame_of(await super().run(kind, payload))))
        return result


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewDatabase:
    monkeypatch.setattr("chappe.storage.sqlite.ThreadWriter", CrossingWriter)
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
