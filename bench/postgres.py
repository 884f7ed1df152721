"""One node on PostgreSQL beside one on SQLite, in turn: accepts, and whole lives without webhooks.

PostgreSQL is one server without standbys, of the programs that `chappe cluster demo` runs; its CPU time is counted with
the node's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.accepts import AWAY, send
from bench.gateways import Chappe, ChappeOnPostgres, Setting
from bench.lives import running
from bench.measure import CONNECTIONS, Bench, Goal, Round, Row
from chappe.cluster.postgres import MissingPrograms

ENGINES: dict[str, type[Chappe]] = {"PostgreSQL": ChappeOnPostgres, "SQLite": Chappe}
LEAST_TO_SQLITE = 0.6


async def beside_sqlite(bench: Bench) -> list[Row]:
    """Accepts and lives on PostgreSQL, one node, beside SQLite's; left out where its programs are not installed."""
    try:
        return [*await _accepts(bench), *await _lives(bench)]
    except MissingPrograms as error:
        bench.tell(str(error))
        return []


async def _accepts(bench: Bench) -> list[Row]:
    with TemporaryDirectory(dir=bench.folder) as name:
        async with AsyncExitStack() as stack:
            chappes = _make(bench, AWAY, Path(name))
            for chappe in chappes:
                stack.push_async_callback(chappe.stop)
                await chappe.start()
            measures = [partial(send, chappe, bench.scale.http_sends, CONNECTIONS, None) for chappe in chappes]
            names = [f"POST send, {engine}" for engine in ENGINES]
            found = await bench.in_turn(dict(zip(names, measures, strict=True)), bench.scale.turns)
    return _rows(found)


async def _lives(bench: Bench) -> list[Row]:
    with TemporaryDirectory(dir=bench.folder) as name:
        async with running(bench, _make(bench, Setting(callbacks=False), Path(name))) as measures:
            names = [f"life without webhooks, {engine}" for engine in ENGINES]
            found = await bench.in_turn(dict(zip(names, measures, strict=True)), bench.scale.turns)
    return _rows(found)


def _make(bench: Bench, setting: Setting, folder: Path) -> list[Chappe]:
    made = []
    for closed in (bench.folder, folder):
        closed.chmod(0o711)  # PostgreSQL does not run as root, but as somebody else who has to get there
    for engine, make in ENGINES.items():
        place = folder / engine
        place.mkdir()
        made.append(make(setting, place))
    return made


def _rows(found: Mapping[str, Sequence[Round]]) -> list[Row]:
    first, other = (Row("postgres", what, rounds) for what, rounds in found.items())
    other.beside, other.goals = first, [Goal(LEAST_TO_SQLITE, "ratio", at_least=True)]
    return [first, other]
