"""Connectors while servers run, in the store: what they are told and what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from chappe.core.deliveries import Lately
from chappe.core.figures import Figures
from chappe.core.shifting import SHIFTS_KEPT_MS, Shift
from chappe.core.steering import MOST_COUNTED, Shown, Steered, Told
from chappe.storage.engine import Engine
from chappe.storage.steps import Steps, ask, lock, tell


def tell_connector(connector: str, told: Told, now: int) -> Steps[None]:
    """See `ports.Steering.tell_connector`."""
    yield from tell("tell_connector", [(connector, told.value, now)])


def show(node: str, figures: Mapping[str, Figures], now: int) -> Steps[None]:
    """See `ports.Steering.show`."""
    rows = [(name, node, now, msgspec.json.encode(of).decode()) for name, of in sorted(figures.items())]
    yield from tell("show_connector", rows)
    yield from tell("hide_connectors", [(node, now)])


def shift(moved: Shift, last: int | None) -> Steps[bool]:
    """See `ports.Steering.shift`."""
    yield from lock(f"shift {moved.route}")
    rows = yield from ask("last_shift", [(moved.route,)])
    if (rows[0][0] if rows else None) != last:
        return False
    set_weights, weights = (msgspec.json.encode(one).decode() for one in (moved.set_weights, moved.weights))
    yield from tell("drop_shifts", [(moved.route, moved.at - SHIFTS_KEPT_MS)])
    yield from tell("insert_shift", [(moved.route, moved.at, set_weights, weights, moved.why)])
    return True


_weights = msgspec.json.Decoder(dict[str, int])


JOBS: Mapping[str, Callable[..., Steps[Any]]] = {"tell_connector": tell_connector, "show": show, "shift": shift}


class SteeringCalls(Engine):
    """`Steering`."""

    async def tell_connector(self, connector: str, told: Told, now: int) -> None:
        await self._change("tell_connector", (connector, told, now))

    async def list_steered(self) -> Sequence[Steered]:
        rows = await self._look_up("list_steered", ())
        return [Steered(connector, Told(told), since) for connector, told, since in rows]

    async def show(self, node: str, figures: Mapping[str, Figures], now: int) -> None:
        await self._change("show", (node, figures, now))

    async def shift(self, shift: Shift, last: int | None) -> bool:
        shifted: bool = await self._change("shift", (shift, last))
        return shifted

    async def list_shifts(self, route: str, limit: int) -> list[Shift]:
        return [
            Shift(route, at, _weights.decode(set_weights), _weights.decode(weights), why)
            for at, set_weights, weights, why in await self._look_up("list_shifts", (route, limit))
        ]

    async def measure(self, now: int) -> Mapping[str, Lately]:
        measured: Mapping[str, Lately] = await self._change("measure", (now,))
        return measured

    async def list_shown(self) -> Sequence[Shown]:
        return [
            Shown(connector, node, at, msgspec.json.decode(figures, type=Figures))
            for connector, node, at, figures in await self._look_up("list_shown", ())
        ]

    async def count_waiting(self, route: str, now: int) -> int:
        return int((await self._look_up("count_waiting", (route, now, MOST_COUNTED)))[0][0])
