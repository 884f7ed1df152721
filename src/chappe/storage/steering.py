"""Connectors while servers run, in the store: what they are told and what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from chappe.core.deliveries import Lately
from chappe.core.figures import Figures
from chappe.core.steering import MOST_COUNTED, Shown, Steered, Told
from chappe.storage.engine import Engine
from chappe.storage.steps import Steps, tell


def tell_connector(connector: str, told: Told, now: int) -> Steps[None]:
    """See `ports.Steering.tell_connector`."""
    yield from tell("tell_connector", [(connector, told.value, now)])


def show(node: str, figures: Mapping[str, Figures], now: int) -> Steps[None]:
    """See `ports.Steering.show`."""
    rows = [(name, node, now, msgspec.json.encode(of).decode()) for name, of in sorted(figures.items())]
    yield from tell("show_connector", rows)
    yield from tell("hide_connectors", [(node, now)])


JOBS: Mapping[str, Callable[..., Steps[Any]]] = {"tell_connector": tell_connector, "show": show}


class SteeringCalls(Engine):
    """`Steering`."""

    async def tell_connector(self, connector: str, told: Told, now: int) -> None:
        await self._change("tell_connector", (connector, told, now))

    async def list_steered(self) -> Sequence[Steered]:
        rows = await self._look_up("list_steered", ())
        return [Steered(connector, Told(told), since) for connector, told, since in rows]

    async def show(self, node: str, figures: Mapping[str, Figures], now: int) -> None:
        await self._change("show", (node, figures, now))

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
