"""The databases of proofs: PostgreSQL with stores on it and no server, or whatever servers are to share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from chappe.cluster.postgres import PostgresCluster
from chappe.core.message import AccountId, Family, InDoubtPolicy, SendMessage

ROOMY = {"max_wal_size": "4GB", "shared_buffers": "512MB"}
HOUR_MS = 3_600_000


@asynccontextmanager
async def database(folder: Path, settings: Mapping[str, str] = ROOMY) -> AsyncIterator[PostgresCluster]:
    cluster = PostgresCluster(folder, standbys=0, settings=dict(settings))
    try:
        await asyncio.to_thread(cluster.start)
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)


@asynccontextmanager
async def database_for(nodes: int, folder: Path) -> AsyncIterator[str]:
    """The URL of a file of SQLite for one server, or of a PostgreSQL for so many nodes."""
    if not nodes:
        yield f"sqlite:///{folder / 'chappe.db'}"
        return
    async with database(folder, settings={}) as cluster:
        yield cluster.url


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
