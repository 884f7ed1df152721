"""Asking: what became of submits whose receipts are overdue (query_sm, SMPP 3.4 §4.8).

query_sm needs the id that the operator gave, so it cannot settle a submit whose answer never came; it settles the
uncertainty that comes after: a message that was taken, and of which nothing is heard any more. Each is asked about in
three turns at most, and what the operator says is a fact like its receipt.

A question never takes the place of a submit: one at a time, a few a second, and only while nothing waits to leave.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

from chappe.core.errors import StoreUnavailable
from chappe.core.message import Question
from chappe.core.ports import Asking
from chappe.core.receipts import WEEK_MS

log = logging.getLogger(__name__)

TURNS = (1, 4, 16)
"""When a submit is asked about, in times of what its receipt may take: a phone may be off for a night."""
EVERY_SECONDS = 5.0
"""How often it is looked for submits to ask about…"""
PAUSE_SECONDS = 0.1
"""…and how long from one question to the next at least."""
BATCH = 1_000


class Answering(Protocol):
    """A connector that takes questions."""

    @property
    def name(self) -> str: ...

    async def ask(self, question: Question) -> bool:
        """Returns when it is answered, or will not be; False at once when it cannot be asked now."""
        ...


class Asker:
    """Asks one operator about the receipts that it owes."""

    def __init__(
        self, store: Asking, line: Answering, after_ms: int, quiet: Callable[[], bool], now_ms: Callable[[], int]
    ) -> None:
        """`after_ms` is how long a receipt may take, `quiet` says whether nothing waits to leave."""
        self._store = store
        self._line = line
        self._turns = list(enumerate(pairwise((*(after_ms * turn for turn in TURNS), WEEK_MS))))
        self._quiet = quiet
        self._now_ms = now_ms

    async def run(self) -> None:
        """Until cancelled, which loses nothing: what was not marked is asked again."""
        while True:
            try:
                while await self.step():
                    pass
            except StoreUnavailable:
                log.warning("store unavailable, questions wait", extra={"connector": self._line.name})
            await asyncio.sleep(EVERY_SECONDS)

    async def step(self) -> bool:
        """Asks about the next batch of each turn; False when there is none left."""
        more = False
        for turn, (begins_ms, ends_ms) in self._turns:
            now = self._now_ms()
            # What a later turn is due for as well is left to it: a submit is never asked about twice in a row.
            questions, through = await self._store.list_unreceipted(
                self._line.name, turn, since=now - ends_ms, until=now - begins_ms, limit=BATCH
            )
            for question in questions:
                await self._ask(question)
            if through:
                more = True
                await self._store.mark_asked(self._line.name, turn, through)
        return more

    async def _ask(self, question: Question) -> None:
        asked = False
        while not asked:
            asked = self._quiet() and await self._line.ask(question)
            await asyncio.sleep(PAUSE_SECONDS)
