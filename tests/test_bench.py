"""The benchmarks run and say what they measured; how fast anything is, is no test's business."""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec
from click.testing import CliRunner, Result

from bench.__main__ import main
from bench.gateways import kannel_is_here
from bench.measure import QUICK, Bench, Round, Row
from bench.stored import Stores
from chappe.core import lifecycle
from chappe.core.message import State
from chappe.storage.sqlite import open_sqlite


def run(*options: str) -> Result:
    return CliRunner().invoke(main, options, catch_exceptions=False)


def test_quick_run_of_one_part_prints_its_rows_and_writes_them_as_json(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    figures.write_bytes(b'{"earlier":"run"}\n')
    result = run("--quick", "--only", "accepts-store", "--json", str(figures))
    assert result.exit_code == 0
    assert f"SQLite {apsw.sqlite_lib_version()}" in result.output
    assert "store.accept, 64 callers" in result.output
    earlier, told = map(msgspec.json.decode, figures.read_bytes().splitlines())
    assert earlier == {"earlier": "run"}
    assert [(row["part"], row["what"], row["rounds"]) for row in told["rows"]] == [
        ("accepts-store", "store.accept, 1 caller", QUICK.rounds),
        ("accepts-store", "store.accept, 64 callers", QUICK.rounds),
        ("accepts-store", "store.accept, 1024 callers", QUICK.rounds),
    ]
    assert all(0 < row["min"] <= row["median"] <= row["max"] and row["server_cpu_ms"] > 0 for row in told["rows"])


def test_unknown_part_is_refused_with_the_names_there_are() -> None:
    result = run("--only", "everything")
    assert result.exit_code == 2
    assert "'lives'" in result.output


def test_row_shows_the_middle_round_and_cpu_per_message() -> None:
    rounds = [Round(100, 1.0, 0.5), Round(100, 4.0, 0.2), Round(100, 2.0, 0.1)]
    row = Row("part", "what", rounds)
    assert (row.median, min(row.values), max(row.values)) == (50.0, 25.0, 100.0)
    assert (row.cpu_ms("server"), row.busy("server"), row.cpu_ms("load")) == (2.0, 0.05, None)


def test_ratio_is_that_of_rounds_beside_each_other() -> None:
    ours = Row("part", "ours", [Round(100, 1.0), Round(100, 2.0), Round(100, 4.0)])
    theirs = Row("part", "theirs", [Round(100, 2.0), Round(100, 6.0), Round(100, 4.0)], beside=ours)
    assert (ours.ratio, theirs.ratio) == (None, 2.0)


def test_lives_beside_kannel_come_to_their_end() -> None:
    result = run("--quick", "--only", "versus-bare")
    assert result.exit_code == 0
    assert "Chappe, life without webhooks" in result.output
    assert ("Kannel at its best" in result.output) == kannel_is_here()


async def test_stored_messages_are_what_lives_leave_behind(tmp_path: Path) -> None:
    stored = Stores(Bench(QUICK, tmp_path, lambda what: lambda share: None)).get(25)
    store = await open_sqlite(stored.path)
    account = await store.find_account("proof")
    assert account is not None
    message = await store.find_latest(account.id, stored.numbers[24])
    assert message is not None
    assert (message.id, lifecycle.public_state(message), message.wake_at) == (25, State.DELIVERED, None)
    journey = await store.find_journey(account.id, message.id)
    assert journey is not None
    assert lifecycle.fold(journey) == (lifecycle.Happening.SENT, lifecycle.Happening.DELIVERED)
    assert await store.find_latest(account.id, stored.absent[0]) is None
    await store.close()
