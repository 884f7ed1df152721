"""What a life costs in a large database and in a small one: CPU, octets of the log and whose they are, and memory.

Numbers and operators' ids come in random order, as in life, so each life touches pages of their indexes that no other
has just touched: what grows with the database is that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from tempfile import TemporaryDirectory

import apsw

from bench.gateways import Chappe, Setting
from bench.lives import WINDOW, live, running
from bench.measure import Bench, Goal, Measure, Progress, Round, Row, Unit
from bench.servers import memory_mib
from bench.stored import Stores

MOST_TIMES = 1.3
MOST_MIB = 150
MOST_KIB_A_THOUSAND = 1.0
"""Ten million lives are 10 MiB then."""
WAL_HEADER, FRAME_HEADER, PAGE = 32, 24, 4_096
SEED = 1_000
LEAST_SHARE = 0.02
"""Of the log; what has less is not shown."""


async def of_the_database(bench: Bench, stores: Stores) -> list[Row]:
    """Lives among many stored messages and among few, in turn; what they write; memory as they pass."""
    counts = (bench.scale.large_store, bench.scale.small_store)
    with TemporaryDirectory(dir=bench.folder) as name:
        setting = Setting(callbacks=False, receipt_seconds=0, window=WINDOW, random_ids=True)
        chappes = []
        for count in counts:
            folder = Path(name) / str(count)
            folder.mkdir(exist_ok=True)
            stores.copy(count, folder)
            chappes.append(Chappe(setting, folder))
        async with running(bench, chappes) as measures:
            memory: list[float] = []
            noting = _noting(chappes[0], measures[0], memory)
            names = [f"life, {count:,} stored" for count in counts]
            found = await bench.in_turn(dict(zip(names, (noting, measures[1]), strict=True)), bench.scale.turns)
            await bench.rounds(f"{names[0]}, for the memory", noting)
            logs = [await _log_of(bench, chappe) for chappe in chappes]
        trees = [log.by_tree(chappe.folder / "chappe.db") for log, chappe in zip(logs, chappes, strict=True)]
    large, small = (Row("growth", what, found[what]) for what in names)
    small.beside, small.by_cpu, small.goals = large, True, [Goal(MOST_TIMES, "ratio")]
    return [large, small, *_log_rows(counts, *trees), *_memory_rows(memory, bench.scale.lives)]


def _noting(chappe: Chappe, measure: Measure, memory: list[float]) -> Measure:
    async def measured(number: int, progress: Progress) -> Round:
        found = await measure(number, progress)
        memory.append(memory_mib(chappe.server.pid))
        return found

    return measured


def _memory_rows(memory: Sequence[float], lives: int) -> list[Row]:
    """The slope is that of the second half: in the first, caches fill."""
    half = memory[(len(memory) - 1) // 2 :]
    slope = linear_regression([index * lives / 1_000 for index in range(len(half))], half).slope * 1_024
    passed = len(memory) * lives
    return [
        Row(
            "growth",
            f"memory after {passed:,} lives",
            [Round(1, 1, figure=memory[-1])],
            Unit.MIB,
            goals=[Goal(MOST_MIB)],
        ),
        Row(
            "growth",
            f"memory for each 1,000 of the last {(len(half) - 1) * lives:,} lives",
            [Round(1, 1, figure=slope)],
            Unit.KIB,
            goals=[Goal(MOST_KIB_A_THOUSAND)],
        ),
    ]


# --- the log -----------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class _Log:
    """Which page each frame of it has, that so many lives wrote."""

    lives: int
    pages: Sequence[int]

    def by_tree(self, database: Path) -> Mapping[str, float]:
        """KiB a life for each table and index, the largest first; of a database at rest."""
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        written = Counter(self.pages)
        found: Counter[str] = Counter()
        for name, page in connection.execute("SELECT name, pageno FROM dbstat"):
            if page in written:
                found[str(name)] += written.pop(int(str(page)))
        connection.close()
        found["pages that are free now"] = written.total()
        each = (PAGE + FRAME_HEADER) / 1_024 / self.lives
        return {name: frames * each for name, frames in found.most_common()}


async def _log_of(bench: Bench, chappe: Chappe) -> _Log:
    """Lives while a reader keeps the log from beginning anew."""
    database = chappe.folder / "chappe.db"
    wal = database.with_name("chappe.db-wal")
    with _held(database):
        salt, before = _frames(wal)
        await live(chappe, bench.scale.lives, SEED, bench.begin("the log of that"))
        salt_after, after = _frames(wal)
    return _Log(bench.scale.lives, after[len(before) :] if salt_after == salt else after)


@contextmanager
def _held(database: Path) -> Iterator[None]:
    reader = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM account").fetchall()
        yield
    finally:
        reader.close()


def _frames(wal: Path) -> tuple[bytes, list[int]]:
    """The log's salt, and the page of each of its frames: those with another salt are left from before."""
    octets = wal.read_bytes()
    salt = octets[16:24]
    pages = []
    for at in range(WAL_HEADER, len(octets) - PAGE, FRAME_HEADER + PAGE):
        if octets[at + 8 : at + 16] != salt:
            break
        pages.append(int.from_bytes(octets[at : at + 4], "big"))
    return salt, pages


def _log_rows(counts: Sequence[int], large: Mapping[str, float], small: Mapping[str, float]) -> list[Row]:
    whole, rows = sum(large.values()), []
    first = Row("growth", f"log of a life, {counts[0]:,} stored", [_kib(whole)], Unit.KIB)
    other = Row("growth", f"log of a life, {counts[1]:,} stored", [_kib(sum(small.values()))], Unit.KIB, beside=first)
    other.goals = [Goal(MOST_TIMES, "ratio")]
    for name, kib in large.items():
        if kib >= LEAST_SHARE * whole:
            what = f"of it {name}, {kib / whole:.0%} (with {counts[1]:,}: {small.get(name, 0):.2f} KiB)"
            rows.append(Row("growth", what, [_kib(kib)], Unit.KIB))
    return [first, other, *rows]


def _kib(value: float) -> Round:
    return Round(1, 1, figure=value)
