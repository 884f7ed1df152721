"""Receipts that did not come, in the store: which submits an operator may be asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any

from chappe.core.message import Question
from chappe.storage.engine import Engine
from chappe.storage.steps import Steps, tell


def mark_asked(connector: str, turn: int, through: int) -> Steps[None]:
    """See `ports.Asking.mark_asked`."""
    yield from tell("mark_asked", [(connector, turn, through)])


JOBS: Mapping[str, Callable[..., Steps[Any]]] = {"mark_asked": mark_asked}


class AskCalls(Engine):
    """`Asking`."""

    async def list_unreceipted(
        self, connector: str, turn: int, *, since: int, until: int, limit: int
    ) -> tuple[list[Question], int]:
        rows = await self._look_up("list_unreceipted", (connector, turn, limit))
        # The ids are in the order of arrival, nearly: one that is not old enough ends the page, so that none is passed
        # over, nor one that another transaction is still to store.
        old = list(takewhile(lambda row: row[1] <= until, rows))
        questions = [
            Question(carrier_id, number, sender)
            for _, answered_at, carrier_id, number, sender, waits in old
            if waits and answered_at > since
        ]
        return questions, old[-1][0] if old else 0

    async def mark_asked(self, connector: str, turn: int, through: int) -> None:
        await self._change("mark_asked", (connector, turn, through))
