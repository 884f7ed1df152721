"""The journeys under way, as a store's only writer knows them: what it has just stored it does not read again.

A journey is here as it is stored. So all is forgotten when a transaction is rolled back, and when another process has
written to the same file; and an engine whose transactions run side by side keeps nothing.
"""

from __future__ import annotations

from chappe.core.lifecycle import Journey
from chappe.core.message import MessageId

MOST = 20_000
"""About 1 KB each. The receipts of most messages come within seconds."""


class Live:
    """Undecided ones, those that moved last, and no more than `most`."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._journeys: dict[MessageId, Journey] = {}
        self._version: int | None = None

    def find(self, id_: MessageId) -> Journey | None:
        return self._journeys.get(id_)

    def begin(self, version: int) -> None:
        """A transaction begins. `version` is another one whenever somebody else has written."""
        if version != self._version:
            self._journeys.clear()
            self._version = version

    def forget(self) -> None:
        """What is here may never have been stored."""
        self._journeys.clear()

    @property
    def has_room(self) -> bool:
        return len(self._journeys) < self._most

    def keep(self, journey: Journey) -> None:
        """It has just been stored as it is."""
        if not self._most:
            return
        id_, journeys = journey.message.id, self._journeys
        journeys.pop(id_, None)
        if journey.message.wake_at is not None:
            if len(journeys) >= self._most:
                del journeys[next(iter(journeys))]
            journeys[id_] = journey
