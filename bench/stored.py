"""A database with many delivered messages, made quickly: plain inserts, nothing synced, then a checkpoint.

Each message has what a life leaves behind: its row, one attempt, two facts, the operator's id, and its number's latest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import apsw

from bench.accepts import TEXT, random_numbers
from bench.measure import Bench, Progress
from bench.servers import ACCOUNT, ChildServer

AT_ONCE = 10_000
ABSENT = 100_000
"""How many numbers nobody wrote to are kept, to ask for."""

INSERTS = {
    "message": """
        INSERT INTO message (id, account, number, family, text, parts, test, policy, route, accepted_at, due_at,
            validity_ms, delivery, sent_at, delivered_at, facts)
        VALUES (:id, :account, :number, 0, :text, 1, 0, 0, 'live', :at, :at, 172800000, 2, :at + 20, :at + 4000, 2)""",
    "latest": "INSERT INTO latest (number, account, message) VALUES (:number, :account, :id)",
    "attempt": """
        INSERT INTO attempt (message, part, number, connector, epoch, claimed_at, reference, outcome, status,
            carrier_id, answered_at, verdict, verdict_at)
        VALUES (:id, 1, 1, 'op', 1, :at + 5, :id & 65535, 1, 0, :carrier_id, :at + 20, 0, :at + 4000)""",
    "answered": """
        INSERT INTO fact (message, seq, at, kind, changed, data)
        VALUES (:id, 0, :at + 20, 'Answered', 1,
            '{"part":1,"attempt":1,"at":' || (:at + 20) || ',"carrier_id":"' || :carrier_id || '"}')""",
    "receipt": """
        INSERT INTO fact (message, seq, at, kind, changed, data)
        VALUES (:id, 1, :at + 4000, 'ReceiptRead', 1,
            '{"part":1,"attempt":1,"at":' || (:at + 4000) || ',"verdict":0,"detail":"DELIVRD"}')""",
    "carrier": """
        INSERT INTO carrier (connector, carrier_id, answered_at, message, part, attempt)
        VALUES ('op', :carrier_id, :at + 20, :id, 1, 1)""",
}


@dataclass(slots=True)
class Stored:
    """A server's folder with its database. The message with id `n` went to `numbers[n - 1]`."""

    server: ChildServer
    key: str
    numbers: list[str]
    absent: list[str]

    @property
    def path(self) -> Path:
        return self.server.folder / "chappe.db"


class Stores:
    """The databases of one run, each built when it is first asked for."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._built: dict[int, Stored] = {}

    def get(self, count: int) -> Stored:
        if count not in self._built:
            folder = self._bench.folder / f"stored-{count}"
            folder.mkdir()
            self._built[count] = _build(folder, count, self._bench.begin(f"storing {count:,} messages"))
        return self._built[count]


def _build(folder: Path, count: int, progress: Progress) -> Stored:
    server = ChildServer(folder, {})
    key = server.create_key()  # makes the schema too
    numbers = random_numbers(count + ABSENT, seed=count)
    stored = Stored(server, key, numbers[:count], numbers[count:])
    connection = apsw.Connection(str(stored.path))
    connection.pragma("synchronous", "off")
    connection.pragma("cache_size", -262_144)
    [(account,)] = connection.execute("SELECT id FROM account WHERE name = $1", (ACCOUNT,)).fetchall()
    began_at = time.time_ns() // 1_000_000 - count
    rows = (
        {
            "id": id_,
            "account": account,
            "number": number,
            "text": TEXT,
            "at": began_at + id_,
            "carrier_id": f"{id_ * 7919:010d}",
        }
        for id_, number in enumerate(stored.numbers, 1)
    )
    for done in range(0, count, AT_ONCE):
        batch = list(islice(rows, AT_ONCE))
        with connection:
            for sql in INSERTS.values():
                connection.executemany(sql, batch)
        progress((done + len(batch)) / count)
    connection.execute("UPDATE sequence SET next = $1 WHERE name = 'message'", (count + 1,))
    connection.pragma("wal_checkpoint(TRUNCATE)")
    connection.close()
    return stored
