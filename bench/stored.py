"""A database with many delivered messages, made quickly: plain inserts, nothing synced, then a checkpoint.

Each message has what a life leaves behind: its row, one attempt, two facts, the operator's id, and its number's latest.
Numbers and operators' ids are in random order. The first half is indexed afterwards, the second as it comes, so that
the pages of the indexes are as full as life leaves them: full ones would split at every touch.

A large one stays in the cache folder for the next run, as long as the schema is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import apsw

from bench.measure import Bench, Progress
from bench.numbers import Numbers
from bench.servers import ACCOUNT, TEXT, ChildServer
from chappe.storage.migrate import migrations

AT_ONCE = 250_000
"""Messages of a transaction, put into each index in its order: the pages are as full, and are touched less often."""
ABSENT = 100_000
"""How many numbers nobody wrote to are kept, to ask for."""
CACHED_FROM = 1_000_000
"""Messages from which a database is kept."""
OLDEST_SECONDS = 5 * 86_400
"""Operators' ids are kept for 7 days: a server on an older file would be busy deleting them."""
FILLED = 1
"""Counts the ways in which files were filled: another one makes the old ones useless."""
PAGES_KIB = 2_000_000
"""SQLite's page cache while it is filled: the indexes of ten million messages fit."""

FRESH = """
    CREATE TEMP TABLE fresh (
        id INTEGER PRIMARY KEY, account INTEGER, number TEXT, text TEXT, at INTEGER, carrier TEXT)"""
INSERTS = {
    "message": """
        INSERT INTO message (id, account, number, family, text, parts, test, policy, route, accepted_at, due_at,
            validity_ms, delivery, sent_at, delivered_at, facts)
        SELECT id, account, number, 0, text, 1, 0, 0, 'live', at, at, 172800000, 2, at + 20, at + 4000, 2 FROM fresh""",
    "latest": "INSERT INTO latest (number, account, message) SELECT number, account, id FROM fresh ORDER BY number",
    "attempt": """
        INSERT INTO attempt (message, part, number, connector, epoch, claimed_at, reference, outcome, status,
            carrier_id, answered_at, verdict, verdict_at)
        SELECT id, 1, 1, 'op', 1, at + 5, id & 65535, 1, 0, carrier, at + 20, 0, at + 4000 FROM fresh""",
    "facts": """
        INSERT INTO fact (message, seq, at, kind, changed, data)
        SELECT id, 0, at + 20, 'Answered', 1,
            '{"part":1,"attempt":1,"at":' || (at + 20) || ',"carrier_id":"' || carrier || '"}' FROM fresh
        UNION ALL
        SELECT id, 1, at + 4000, 'ReceiptRead', 1,
            '{"part":1,"attempt":1,"at":' || (at + 4000) || ',"verdict":0,"detail":"DELIVRD"}' FROM fresh
        ORDER BY 1, 2""",
    "carrier": """
        INSERT INTO carrier (connector, carrier_id, answered_at, message, part, attempt)
        SELECT 'op', carrier, at + 20, id, 1, 1 FROM fresh ORDER BY carrier""",
}
CARRIER_FACTOR, CARRIER_IDS = 6_364_136_223_846_793, 10**16
"""Operators' ids are different, and in no order."""
Values = tuple[int, int, str, str, int, str]


@dataclass(slots=True)
class Stored:
    """A server's folder with its database. The message with id `n` went to `numbers[n - 1]`."""

    server: ChildServer
    key: str
    numbers: Sequence[str]
    absent: Sequence[str]

    @property
    def path(self) -> Path:
        return self.server.folder / "chappe.db"


class Stores:
    """The databases of one run, each built when it is first asked for."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._built: dict[int, Stored] = {}

    def get(self, count: int) -> Stored:
        """To be read: a server on it writes hardly anything."""
        if count not in self._built:
            server = ChildServer(self._folder(count), {})
            numbers = Numbers(count + ABSENT, seed=count)
            self._built[count] = Stored(server, server.create_key(), Numbers(count, seed=count), numbers[count:])
        return self._built[count]

    def copy(self, count: int, folder: Path) -> None:
        """Puts one into this folder, to be written to."""
        shutil.copy(self._folder(count) / "chappe.db", folder)

    def _folder(self, count: int) -> Path:
        cache = self._bench.cache if count >= CACHED_FROM else None
        folder = (cache or self._bench.folder) / f"stored-{count}-{_schema()}"
        file = folder / "chappe.db"
        if file.exists() and time.time() - file.with_suffix(".made").stat().st_mtime < OLDEST_SECONDS:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        building = folder.with_suffix(".building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        _fill(building, count, self._bench.begin(f"storing {count:,} messages"))
        building.rename(folder)
        if cache is not None:
            self._bench.tell(f"{count:,} messages, {file.stat().st_size / 2**30:.1f} GiB, are kept in {folder}")
        return folder


def cache_folder() -> Path:
    """The user's, where the platform keeps what can be made again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "chappe-bench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chappe-bench"


def _schema() -> str:
    known = json.dumps([FILLED, *migrations("sqlite")]).encode()
    return hashlib.sha256(known).hexdigest()[:12]


def _fill(folder: Path, count: int, progress: Progress) -> None:
    ChildServer(folder, {}).create_key()  # makes schema and account
    connection = apsw.Connection(str(folder / "chappe.db"))
    connection.pragma("synchronous", "off")
    connection.pragma("journal_mode", "off")
    connection.pragma("cache_size", -PAGES_KIB)
    connection.pragma("temp_store", "memory")
    connection.execute(FRESH)
    [(account,)] = connection.execute("SELECT id FROM account WHERE name = $1", (ACCOUNT,)).fetchall()
    assert isinstance(account, int)
    rows, half = _rows(account, count), count // 2
    _insert_unindexed(connection, islice(rows, half), lambda done: progress(done / count))
    _insert(connection, INSERTS.values(), rows, lambda done: progress((half + done) / count))
    connection.execute("UPDATE sequence SET next = $1 WHERE name = 'message'", (count + 1,))
    connection.pragma("journal_mode", "wal")
    connection.close()
    (folder / "chappe.made").touch()


def _rows(account: int, count: int) -> Iterator[Values]:
    began_at = time.time_ns() // 1_000_000 - count
    for id_, number in enumerate(Numbers(count, seed=count), 1):
        yield id_, account, number, TEXT, began_at + id_, f"{id_ * CARRIER_FACTOR % CARRIER_IDS:016d}"


def _insert_unindexed(connection: apsw.Connection, rows: Iterator[Values], progress: Callable[[int], None]) -> None:
    """The indexes are made afterwards, each in its order; `latest` is one."""
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    _insert(connection, (sql for table, sql in INSERTS.items() if table != "latest"), rows, progress)
    connection.execute("INSERT INTO latest SELECT number, account, id FROM message ORDER BY number")
    for _, sql in indexes:
        connection.execute(str(sql))


def _insert(
    connection: apsw.Connection, statements: Iterable[str], rows: Iterator[Values], progress: Callable[[int], None]
) -> None:
    done, statements = 0, list(statements)
    while batch := list(islice(rows, AT_ONCE)):
        with connection:
            connection.execute("DELETE FROM fresh")
            connection.executemany("INSERT INTO fresh VALUES ($1, $2, $3, $4, $5, $6)", batch)
            for sql in statements:
                connection.execute(sql)
        done += len(batch)
        progress(done)
