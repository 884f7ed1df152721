"""PostgreSQL with stores on it and no server: what proofs about the store itself begin with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chappe.cluster.postgres import PostgresCluster
from chappe.core.message import AccountId, Family, InDoubtPolicy, SendMessage

ROOMY = {"max_wal_size": "4GB", "shared_buffers": "512MB"}
HOUR_MS = 3_600_000


@asynccontextmanager
async def database(folder: Path) -> AsyncIterator[PostgresCluster]:
    cluster = PostgresCluster(folder, standbys=0, settings=ROOMY)
    try:
        await asyncio.to_thread(cluster.start)
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)


def a_send(account: AccountId, number: int) -> SendMessage:
    now = now_ms()
    return SendMessage(
        account=account,
        number=f"+3361{number:07}",
        family=Family.NOTIFICATION,
        text="Bonjour",
        parts=1,
        route="live",
        test=False,
        policy=InDoubtPolicy.WAIT_THEN_RETRY,
        accepted_at=now,
        due_at=now,
        validity_ms=48 * HOUR_MS,
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000
