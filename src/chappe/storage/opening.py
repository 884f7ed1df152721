"""Which engine a URL means."""

from __future__ import annotations

from collections.abc import Mapping

from chappe.core.errors import ChappeError
from chappe.core.lifecycle import DOUBT_LASTS_MS
from chappe.core.message import InDoubtPolicy
from chappe.core.ports import Store


async def open_store(
    url: str,
    *,
    doubt_lasts_ms: Mapping[InDoubtPolicy, int | None] = DOUBT_LASTS_MS,
    beside: bool = False,
) -> Store:
    """Opens sqlite:///FILE, sqlite:////ABSOLUTE/FILE or postgresql://USER:PASSWORD@HOST[,HOST…]/DATABASE.

    `beside`: for a command that may run beside a server; only SQLite minds. Raises StoreUnavailable, NewerSchemaError,
    and ChappeError for any other URL or where the engine's library is not installed.
    """
    if url.startswith("sqlite:///"):
        from chappe.storage.sqlite import open_sqlite

        return await open_sqlite(url.removeprefix("sqlite:///"), doubt_lasts_ms=doubt_lasts_ms, beside=beside)
    if url.startswith(("postgresql://", "postgres://")):
        try:
            from chappe.storage.postgres import open_postgres
        except ImportError as error:
            raise ChappeError("PostgreSQL needs asyncpg: install chappe[postgres]") from error
        return await open_postgres(url, doubt_lasts_ms=doubt_lasts_ms)
    raise ChappeError("a database is sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE")
