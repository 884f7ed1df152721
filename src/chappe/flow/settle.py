"""Settle: what operators say becomes facts, and facts become states, in one write transaction per batch.

Two kinds of report, two promises. Answers to our submits come once: they are kept here until stored.
Receipts come again until we answer ROK: so the caller answers ROK only after `receipts` returned True.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from chappe.core.errors import StoreUnavailable
from chappe.core.message import AttemptReport, Event, ReceiptReport, Refused, Treatment
from chappe.core.ports import Sending

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class Settlement:
    """Settles reports; `publish` is told every public state reached, after the commit."""

    def __init__(
        self,
        store: Sending,
        now_ms: Callable[[], int],
        publish: Callable[[Sequence[Event]], None],
        elsewhere: Callable[[], Mapping[str, Sequence[str]]] = dict,
    ) -> None:
        """`elsewhere` says which connectors could take what this one refuses, by route: see `AttemptReport`."""
        self._store = store
        self._now_ms = now_ms
        self._publish = publish
        self._elsewhere = elsewhere

    async def answers(self, reports: Sequence[AttemptReport]) -> None:
        """Stores answers and doubts, however long the store is away."""
        for report in reports:
            if isinstance(report.fact, Refused) and report.fact.treatment is Treatment.ELSEWHERE:
                report.elsewhere = self._elsewhere()
        while True:
            try:
                self._publish(await self._store.settle(reports, self._now_ms()))
            except StoreUnavailable:
                log.warning("store unavailable, answers wait", extra={"count": len(reports)})
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def receipts(self, reports: Sequence[ReceiptReport]) -> bool:
        """True once stored; False when the operator has to send them again."""
        try:
            self._publish(await self._store.settle(reports, self._now_ms()))
        except StoreUnavailable:
            log.warning("store unavailable, receipts refused", extra={"count": len(reports)})
            return False
        return True
