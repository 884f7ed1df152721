"""Which engine a URL means."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from chappe.core.errors import ChappeError, StoreUnavailable
from chappe.core.lifecycle import DOUBT_LASTS_MS
from chappe.core.message import InDoubtPolicy
from chappe.core.ports import Store

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def hold(url: str) -> Iterator[None]:
    """Keeps a second server from the same file; several share a PostgreSQL. Raises StoreUnavailable.

    Enter it before the store opens and leave it after the store has closed: closing a file gives up SQLite's locks too.
    """
    path = url.removeprefix("sqlite:///")
    if path == url or fcntl is None:
        yield
        return
    try:
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"cannot open {path}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise StoreUnavailable(
            f"another server is running on {path}; several nodes need PostgreSQL: --database postgresql://…"
        ) from error
    try:
        yield
    finally:
        os.close(file)


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
