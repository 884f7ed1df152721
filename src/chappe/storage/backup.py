"""A copy of an SQLite file beside a running server, and what it needs to be restored without sending anything twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from chappe.core.errors import ChappeError, StoreUnavailable

PAGES_AT_ONCE = 2_000
"""8 MB between two signs of progress."""


def back_up(database: Path, file: Path, now: int, progress: Callable[[float], None]) -> int:
    """Writes the database as it is at this moment to a new file, which is on hold; returns its size in bytes.

    The copy is taken in one read transaction, so a server goes on writing meanwhile and the copy is whole; it appears
    under its name only once it was checked and is on disk. `progress` is told the share done. Raises StoreUnavailable,
    and ChappeError if the file exists.
    """
    if file.exists():
        raise ChappeError(f"{file} exists already")
    part = file.with_name(f"{file.name}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        source = apsw.Connection(str(database), apsw.SQLITE_OPEN_READWRITE)
        target = apsw.Connection(str(part))
        try:
            _copy_pages(source, target, progress)
            _put_on_hold(target, now)
        finally:
            target.close()
            source.close()
        _flush(part)
        part.rename(file)
        _flush(file.parent)
    except OSError as error:
        raise StoreUnavailable(f"cannot write {file}: {error.strerror}") from error
    except apsw.Error as error:
        raise StoreUnavailable(f"cannot copy {database} to {file}: {error}") from error
    return file.stat().st_size


def _copy_pages(source: apsw.Connection, target: apsw.Connection, progress: Callable[[float], None]) -> None:
    source.set_busy_timeout(5_000)
    source.wal_autocheckpoint(0)  # that is the server's
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # from here on we see one state of it
    with target.backup("main", source, "main") as copy:
        while not copy.done:
            copy.step(PAGES_AT_ONCE)
            progress(1 - copy.remaining / max(1, copy.page_count))
    source.execute("ROLLBACK")


def _put_on_hold(target: apsw.Connection, now: int) -> None:
    target.pragma("journal_mode", "delete")  # one file, without a log beside it; the server turns it on again
    damage = target.execute("PRAGMA quick_check(1)").fetchall()
    if damage != [("ok",)]:
        raise ChappeError(f"the database is damaged: {damage[0][0]}")
    target.execute("INSERT INTO flag (name, since) VALUES ('hold', $1) ON CONFLICT DO NOTHING", (now,))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
