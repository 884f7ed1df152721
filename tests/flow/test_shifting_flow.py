"""Every node looks at what all show; one makes the move, and all see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from chappe.core.deliveries import Lately
from chappe.core.figures import Figures
from chappe.core.ports import Store
from chappe.core.routing import Member, Route
from chappe.core.shifting import BETWEEN_MS
from chappe.flow.shifting import Shifter
from chappe.storage.opening import open_store

NOW = 1_800_000_000_000
ROUTE = Route("live", (Member("orange", 1, 70), Member("sfr", 1, 30)), shift=True)
IDLE = Figures(10, 0, None, 0.0, 0.0, None, 0.0, 1, 1, held=False, full_share=0.0, paced_share=0.0, open_share=1.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_store(f"sqlite:///{tmp_path / 'chappe.db'}")
    yield store
    await store.close()


def weights(shifter: Shifter) -> list[int]:
    return [member.weight for member in shifter.shifted(ROUTE).members]


async def test_two_nodes_see_one_move(store: Store) -> None:
    """orange is one node's, sfr the other's."""
    now = NOW
    anne, bob = (Shifter(store, [ROUTE], lambda: now) for _ in range(2))
    await anne.step()
    assert (weights(anne), await store.list_shifts("live", 5)) == ([70, 30], [])
    for node, name, late in (("anne", "orange", 50), ("bob", "sfr", 0)):
        await store.show(node, {name: replace(IDLE, lately=Lately(accepted=100, due=100, late=late))}, now)
    for shifter in (anne, bob):
        await shifter.step()
    assert (weights(anne), weights(bob)) == ([60, 40], [60, 40])
    now += BETWEEN_MS  # what was shown is old by now: nothing of the moment
    await bob.step()
    assert len(await store.list_shifts("live", 5)) == 1


async def test_node_that_starts_takes_up_the_weights_as_they_are(store: Store) -> None:
    shown = {name: replace(IDLE, lately=Lately(due=100, late=late)) for name, late in (("orange", 50), ("sfr", 0))}
    await store.show("anne", shown, NOW)
    await Shifter(store, [ROUTE], lambda: NOW).step()
    again = Shifter(store, [ROUTE], lambda: NOW + 1)
    await again.step()
    assert weights(again) == [60, 40]


async def test_nothing_runs_when_no_route_wants_it(store: Store) -> None:
    await Shifter(store, [replace(ROUTE, shift=False)], lambda: NOW).run()
