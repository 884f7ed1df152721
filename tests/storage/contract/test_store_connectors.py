"""Operators added by command."""

from __future__ import annotations

from store_scene import HOUR, NOW, Scene

from chappe.core.ports import Store
from chappe.core.steering import Steered, StoredConnector, Told

ORANGE = {"host": "smpp.orange.example", "port": 2775, "password": "secret", "statuses": {"0x45": "permanent"}}
SFR = {"host": "smpp.sfr.example", "port": 2775}


async def test_connector_is_stored_as_it_was_given_and_outlives_the_node(scene: Scene) -> None:
    assert await scene.store.put_connector("sfr", SFR, replaces=0, now=NOW)
    assert await scene.store.put_connector("orange", ORANGE, replaces=0, now=NOW)
    await scene.restart()
    assert await scene.store.list_connectors() == [
        StoredConnector("orange", ORANGE, 1, NOW),
        StoredConnector("sfr", SFR, 1, NOW),
    ]


async def test_connector_is_changed_only_by_who_has_seen_its_last_revision(store: Store) -> None:
    assert await store.put_connector("orange", ORANGE, replaces=0, now=NOW)
    assert not await store.put_connector("orange", SFR, replaces=0, now=NOW), "it is there"
    assert await store.put_connector("orange", SFR, replaces=1, now=NOW + HOUR)
    assert not await store.put_connector("orange", ORANGE, replaces=1, now=NOW + HOUR), "somebody was faster"
    assert await store.list_connectors() == [StoredConnector("orange", SFR, 2, NOW + HOUR)]


async def test_removed_connector_loses_its_settings_and_keeps_its_name(store: Store) -> None:
    await store.put_connector("orange", ORANGE, replaces=0, now=NOW)
    assert await store.remove_connector("orange", NOW + HOUR)
    assert not await store.remove_connector("orange", NOW + HOUR)
    assert not await store.put_connector("orange", ORANGE, replaces=1, now=NOW + HOUR), "there is none to change"
    removed = StoredConnector("orange", {}, 1, NOW, removed=True)
    assert await store.list_connectors() == [removed]
    await store.end_connector("orange", NOW + HOUR)
    assert await store.list_connectors() == [StoredConnector("orange", {}, 1, NOW, removed=True, ended=True)]
    assert not await store.remove_connector("free", NOW)


async def test_connector_that_is_put_again_while_it_ends_stays(store: Store) -> None:
    await store.put_connector("orange", ORANGE, replaces=0, now=NOW)
    await store.remove_connector("orange", NOW)
    assert await store.put_connector("orange", SFR, replaces=0, now=NOW + HOUR)
    await store.end_connector("orange", NOW + HOUR)
    assert await store.list_connectors() == [StoredConnector("orange", SFR, 2, NOW + HOUR)]


async def test_what_a_connector_was_told_ends_with_it(store: Store) -> None:
    await store.put_connector("orange", ORANGE, replaces=0, now=NOW)
    await store.tell_connector("orange", Told.PAUSE, NOW)
    await store.tell_connector("sfr", Told.PAUSE, NOW)
    await store.put_connector("orange", ORANGE, replaces=1, now=NOW)
    both = [Steered("orange", Told.PAUSE, NOW), Steered("sfr", Told.PAUSE, NOW)]
    assert await store.list_steered() == both, "a change is no reason to go on"
    await store.remove_connector("orange", NOW)
    assert await store.list_steered() == both, "until it has ended"
    await store.end_connector("orange", NOW)
    assert await store.list_steered() == both[1:]
    await store.tell_connector("free", Told.DRAIN, NOW)
    await store.put_connector("free", SFR, replaces=0, now=NOW)
    assert await store.list_steered() == both[1:]
