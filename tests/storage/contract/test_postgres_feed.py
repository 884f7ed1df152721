"""The feed where transactions overlap: what commits late comes late, and is not skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from store_scene import NOW, NewDatabase, Scene

from chappe.core.message import MessageId
from chappe.core.webhooks import Cursor
from chappe.storage.postgres import PostgresStore
from chappe.storage.postgres_connection import Connection

INSERT = "INSERT INTO event (account, message, sequence, state, at) VALUES ($1, $2, 9, 1, $3)"


@pytest.fixture
async def scene(postgres: NewDatabase) -> AsyncIterator[Scene]:
    scene = await Scene.begin(postgres())
    yield scene
    await scene.store.close()


@pytest.fixture
async def slow(scene: Scene) -> AsyncIterator[Connection]:
    """Another node's connection, in a transaction that has stored an event and not committed it."""
    assert isinstance(scene.store, PostgresStore)
    connection = await scene.store._bell._servers.connect()
    yield connection
    await connection.close(timeout=5)


async def messages(scene: Scene, after: Cursor) -> tuple[Cursor, list[MessageId]]:
    found = await scene.store.list_events(scene.account, after, 100)
    return (found[-1][0] if found else after), [notice.message for _, notice in found]


async def test_an_event_that_commits_late_is_not_skipped(scene: Scene, slow: Connection) -> None:
    first = await scene.accept()
    place, told = await messages(scene, Cursor())
    assert told == [first]
    await slow.execute("BEGIN")
    await slow.fetch(INSERT, scene.account, first, NOW)
    second = await scene.accept()  # has a greater id, and commits before
    place, told = await messages(scene, place)
    assert told == []
    assert await scene.store.find_feed_end(scene.account) == place
    await slow.execute("COMMIT")
    place, told = await messages(scene, place)
    assert told == [first, second]
    assert await messages(scene, place) == (place, [])


async def test_a_transaction_that_is_rolled_back_holds_the_feed_no_longer(scene: Scene, slow: Connection) -> None:
    first = await scene.accept()
    await slow.execute("BEGIN")
    await slow.fetch(INSERT, scene.account, first, NOW)
    second = await scene.accept()
    place, told = await messages(scene, Cursor())
    assert told == [first]
    await slow.execute("ROLLBACK")
    assert (await messages(scene, place))[1] == [second]


async def test_an_event_reached_before_one_that_was_shown_comes_after_it(scene: Scene, slow: Connection) -> None:
    """A transaction that began earlier and took its first id later: the feed is in the order of transactions."""
    message = await scene.accept()
    await slow.execute("BEGIN")
    await slow.fetchval("SELECT pg_current_xact_id()::text")
    later = await scene.accept()
    await slow.fetch(INSERT, scene.account, message, NOW)
    await slow.execute("COMMIT")
    _, told = await messages(scene, Cursor())
    assert told == [message, message, later]
