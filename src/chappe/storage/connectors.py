"""Operators added by command, in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from chappe.core.steering import StoredConnector
from chappe.storage.engine import Engine
from chappe.storage.steps import Steps, ask, tell


def put_connector(name: str, settings: Mapping[str, object], replaces: int, now: int) -> Steps[bool]:
    """See `ports.Connecting.put_connector`."""
    stored = yield from ask("put_connector", [(name, msgspec.json.encode(settings).decode(), replaces + 1, now)])
    if stored and not replaces:
        yield from tell("untell_connector", [(name,)])
    return bool(stored)


def remove_connector(name: str, now: int) -> Steps[bool]:
    """See `ports.Connecting.remove_connector`."""
    return bool((yield from ask("remove_connector", [(now, name)])))


def end_connector(name: str, now: int) -> Steps[None]:
    """See `ports.Connecting.end_connector`."""
    if (yield from ask("end_connector", [(now, name)])):
        yield from tell("untell_connector", [(name,)])


JOBS: Mapping[str, Callable[..., Steps[Any]]] = {
    "put_connector": put_connector,
    "remove_connector": remove_connector,
    "end_connector": end_connector,
}


class ConnectorCalls(Engine):
    """`Connecting`."""

    async def list_connectors(self) -> Sequence[StoredConnector]:
        return [
            StoredConnector(name, msgspec.json.decode(settings), revision, changed_at, bool(removed), bool(ended))
            for name, settings, revision, changed_at, removed, ended in await self._look_up("list_connectors", ())
        ]

    async def put_connector(self, name: str, settings: Mapping[str, object], *, replaces: int, now: int) -> bool:
        return bool(await self._change("put_connector", (name, settings, replaces, now)))

    async def remove_connector(self, name: str, now: int) -> bool:
        return bool(await self._change("remove_connector", (name, now)))

    async def end_connector(self, name: str, now: int) -> None:
        await self._change("end_connector", (name, now))
