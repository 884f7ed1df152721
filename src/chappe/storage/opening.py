"""Which engine a URL means."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from chappe.core.errors import ChappeError, StoreUnavailable
from chappe.core.lifecycle import DOUBT_LASTS_MS
from chappe.core.message import InDoubtPolicy
from chappe.core.ports import Store
from chappe.storage.writer_process import Apart

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NEEDS_ASYNCPG = "PostgreSQL needs asyncpg: install chappe[postgres]"


LAST_SERVER_SECONDS = 3.0
"""For so long the writer of a server that was killed may still be finishing a transaction."""


@contextmanager
def hold(url: str) -> Iterator[int | None]:
    """Keeps a second server from the same file; several share a PostgreSQL. Gives the lock, which a process of the
    server's may keep beside it. Raises StoreUnavailable.

    Enter it before the store opens and leave it after the store has closed: closing a file gives up SQLite's locks too.
    """
    path = url.removeprefix("sqlite:///")
    if path == url or fcntl is None:
        yield None
        return
    try:
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"cannot open {path}: {error.strerror}") from error
    try:
        _lock(file, path)
        yield file
    finally:
        os.close(file)


def _lock(file: int, path: str) -> None:
    patience = time.monotonic() + LAST_SERVER_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > patience:
                raise StoreUnavailable(
                    f"another server is running on {path}; several nodes need PostgreSQL: --database postgresql://…"
                ) from error
        time.sleep(0.05)


async def open_store(
    url: str,
    *,
    doubt_lasts_ms: Mapping[InDoubtPolicy, int | None] = DOUBT_LASTS_MS,
    beside: bool = False,
    apart: Apart | None = None,
) -> Store:
    """Opens sqlite:///FILE, sqlite:////ABSOLUTE/FILE or postgresql://USER:PASSWORD@HOST[,HOST…]/DATABASE.

    `beside`: for a command that may run beside a server; `apart`: for a server, with the writer in a process of its
    own; only SQLite minds. Raises StoreUnavailable, NewerSchemaError, and ChappeError for any other URL or where the
    engine's library is not installed.
    """
    if url.startswith("sqlite:///"):
        from chappe.storage.sqlite import open_sqlite

        return await open_sqlite(
            url.removeprefix("sqlite:///"), doubt_lasts_ms=doubt_lasts_ms, beside=beside, apart=apart
        )
    if url.startswith(("postgresql://", "postgres://")):
        try:
            from chappe.storage.postgres import open_postgres
        except ImportError as error:
            raise ChappeError(NEEDS_ASYNCPG) from error
        return await open_postgres(url, doubt_lasts_ms=doubt_lasts_ms)
    raise ChappeError("a database is sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE")


async def migrate_database(url: str) -> tuple[int, int]:
    """Brings the schema up to date, without opening a store: its version before, and after. Raises as `open_store`."""
    from chappe.storage.migrate import migrate_postgres, migrations, version_before

    if url.startswith("sqlite:///"):
        engine, applied = "sqlite", _migrate_file(url.removeprefix("sqlite:///"))
    else:
        try:
            from chappe.storage import postgres_connection
        except ImportError as error:
            raise ChappeError(NEEDS_ASYNCPG) from error
        servers = postgres_connection.Servers(url)
        connection = await servers.connect(lock_timeout="0", idle_in_transaction_session_timeout="0")
        try:
            engine, applied = "postgres", await migrate_postgres(connection)
        except postgres_connection.OUTAGES as error:
            raise StoreUnavailable(f"cannot migrate {servers}: {error}") from error
        finally:
            await postgres_connection.close(connection)
    return version_before(applied, engine), migrations(engine)[-1][0]


def _migrate_file(path: str) -> int:
    import apsw

    from chappe.storage.migrate import migrate

    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        connection = apsw.Connection(path)
        try:
            connection.set_busy_timeout(5_000)
            connection.wal_autocheckpoint(0)  # a server may be running on it
            return migrate(connection)
        finally:
            connection.close()
    except (OSError, apsw.Error) as error:
        raise StoreUnavailable(f"cannot migrate {path}: {error}") from error
