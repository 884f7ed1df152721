"""What an engine says how to do, for the calls that are the same for both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import Any

from chappe.storage.steps import Row

NO_ID = (1 << 63) - 1
"""Above every id."""


class Engine:
    """The ports' methods are written once, in the `…Calls` of each area, with these two."""

    async def _change(self, kind: str, payload: Any) -> Any:
        """Runs a job in a transaction, and returns its result once it is committed."""
        raise NotImplementedError

    def read_together(self) -> None:
        """See `ports.Reading`. An engine that gains nothing by it does nothing."""

    async def _look_up(self, statement: str, values: Row) -> list[Row]:
        raise NotImplementedError

    async def _look_up_all(self, statement: str, wanted: Sequence[Row]) -> list[Row]:
        """The rows for all of them, which say themselves what they are for; a row may come twice."""
        return list(chain.from_iterable(await asyncio.gather(*(self._look_up(statement, each) for each in wanted))))

    async def _find(self, statement: str, values: Row) -> Row | None:
        """A look-up that gives one row, or none."""
        rows = await self._look_up(statement, values)
        return rows[0] if rows else None
