"""`scripts/prove`: the long proofs with full counts; each adds a dated line to proofs/ledger.md."""

from __future__ import annotations

import asyncio
import logging
import platform
import sys
import tempfile
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import click
from rich.console import Console

from proofs import cases as trying
from proofs import claims as claiming
from proofs import connectors as changing
from proofs import kill as killing
from proofs import links as losing
from proofs import outages
from proofs import pace as pacing
from proofs import races as racing
from proofs import takeover as taking

LEDGER = Path(__file__).with_name("ledger.md")

seed_option = click.option("--seed", default=1, show_default=True, help="Decides the moments.")


class Outcome(Protocol):
    @property
    def problems(self) -> list[str]: ...

    def line(self) -> str: ...


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--no-ledger", is_flag=True, help="Do not add a line to proofs/ledger.md.")
@click.pass_context
def main(context: click.Context, no_ledger: bool) -> None:
    """Break it again and again; every accepted message must end, and no double be silent."""
    context.obj = not no_ledger


@main.command()
@click.option("--sends", default=5_000, show_default=True, help="Messages sent.")
@click.option("--kills", default=10, show_default=True, help="How often a node is killed meanwhile.")
@click.option("--nodes", default=0, show_default=True, help="How many share a PostgreSQL; 0: one, on SQLite.")
@seed_option
@click.pass_obj
def kill(ledger: bool, sends: int, kills: int, nodes: int, seed: int) -> None:
    """Kill -9 a sending node, at random."""
    where = f"PostgreSQL, {nodes} nodes" if nodes else "SQLite"
    _run(
        f"kill ({where}, seed {seed})",
        lambda folder, report: killing.prove(folder, sends=sends, kills=kills, seed=seed, nodes=nodes, report=report),
        ledger,
    )


@main.command()
@click.option("--count", default=10_000, show_default=True, help="Messages.")
@seed_option
@click.pass_obj
def races(ledger: bool, count: int, seed: int) -> None:
    """Race an answer on one node against its receipt on another."""
    _run(
        f"races (seed {seed})",
        lambda folder, report: racing.prove(folder, races=count, seed=seed, report=report),
        ledger,
    )


@main.command()
@click.option("--count", default=1_000_000, show_default=True, help="Messages.")
@click.option("--nodes", default=8, show_default=True, help="Processes that claim.")
@click.pass_obj
def claims(ledger: bool, count: int, nodes: int) -> None:
    """Claim one queue from several nodes."""
    _run("claims", lambda folder, report: claiming.prove(folder, messages=count, nodes=nodes, report=report), ledger)


@main.command()
@click.option("--kills", default=100, show_default=True, help="How often the holder of the lease is killed.")
@click.option("--pauses", default=100, show_default=True, help="How often it sleeps for longer than its lease lasts.")
@click.pass_obj
def takeover(ledger: bool, kills: int, pauses: int) -> None:
    """Kill, or put to sleep, the node that speaks to the operator."""
    _run("takeover", lambda folder, report: taking.prove(folder, kills=kills, pauses=pauses, report=report), ledger)


@main.command()
@click.option("--count", default=50, show_default=True, help="Restarts.")
@seed_option
@click.pass_obj
def restarts(ledger: bool, count: int, seed: int) -> None:
    """Restart the database under load."""
    _run(
        f"restarts (seed {seed})",
        lambda folder, report: outages.restarts(folder, count=count, seed=seed, report=report),
        ledger,
    )


@main.command()
@click.option("--count", default=10, show_default=True, help="Promotions.")
@seed_option
@click.pass_obj
def failover(ledger: bool, count: int, seed: int) -> None:
    """Kill the database's primary and promote a standby, under load."""
    _run(
        f"failover (seed {seed})",
        lambda folder, report: outages.failovers(folder, count=count, seed=seed, report=report),
        ledger,
    )


@main.command()
@click.option("--count", default=2_000, show_default=True, help="Losses.")
@click.option("--lines", default=16, show_default=True, help="Operators that lose their links at the same time.")
@seed_option
@click.pass_obj
def links(ledger: bool, count: int, lines: int, seed: int) -> None:
    """End the links to operators in every way, with up to a window in flight."""
    logging.getLogger("chappe").setLevel(logging.ERROR)  # else each loss is told
    _run(
        f"links (seed {seed})",
        lambda folder, report: losing.prove(folder, losses=count, lines=lines, seed=seed, report=report),
        ledger,
    )


@main.command()
@click.option("--changes", default=300, show_default=True, help="Commands that add, change, drain and remove it.")
@click.option("--nodes", default=0, show_default=True, help="How many share a PostgreSQL; 0: one, on SQLite.")
@seed_option
@click.pass_obj
def connectors(ledger: bool, changes: int, nodes: int, seed: int) -> None:
    """Add, change, drain and remove an operator by command, under load."""
    where = f"PostgreSQL, {nodes} nodes" if nodes else "SQLite"
    _run(
        f"connectors ({where}, seed {seed})",
        lambda folder, report: changing.prove(folder, changes=changes, seed=seed, nodes=nodes, report=report),
        ledger,
    )


@main.command("schemathesis")
@click.option("--cases", default=22_000, show_default=True, help="Requests; fewer where an operation has not so many.")
@click.option("--postgres", is_flag=True, help="On PostgreSQL instead of SQLite.")
@seed_option
@click.pass_obj
def generated(ledger: bool, cases: int, postgres: bool, seed: int) -> None:
    """Try generated requests on every operation, beside another account."""
    _run(
        f"schemathesis ({'PostgreSQL' if postgres else 'SQLite'}, seed {seed})",
        lambda folder, report: trying.prove(folder, cases=cases, seed=seed, postgres=postgres, report=report),
        ledger,
    )


@main.command()
@click.option("--seconds", default=30, show_default=True, help="How long each rate is measured.")
@click.option("--settle", default=60, show_default=True, help="Seconds after which a limit must be found.")
@click.pass_obj
def pace(ledger: bool, seconds: int, settle: int) -> None:
    """Write to an operator 80 ms away as fast as its window, or its limit, allows."""
    _run("pace", lambda folder, report: pacing.prove(folder, seconds=seconds, settle=settle, report=report), ledger)


RUNS: list[tuple[click.Command, dict[str, Any], dict[str, Any]]] = [
    (kill, {}, {"sends": 300, "kills": 2}),
    (kill, {"nodes": 3}, {"sends": 300, "kills": 2}),
    (races, {}, {"count": 100}),
    (claims, {}, {"count": 2_000, "nodes": 2}),
    (takeover, {}, {"kills": 1, "pauses": 1}),
    (restarts, {}, {"count": 1}),
    (failover, {}, {"count": 1}),
    (links, {}, {"count": 44}),
    (connectors, {}, {"changes": 10}),
    (connectors, {"nodes": 2}, {"changes": 10}),
    (pace, {}, {"seconds": 5, "settle": 30}),
    (generated, {}, {"cases": 200}),
    (generated, {"postgres": True, "cases": 5_000}, {"cases": 200}),
]
"""What `all` runs: a proof, its options, and the counts with which it shows only that it runs."""


@main.command("all")
@click.option("--quick", is_flag=True, help="Small counts, and no line in the ledger: shows that they run.")
@click.pass_context
def everything(context: click.Context, quick: bool) -> None:
    """Every proof with its full counts: some hours."""
    failed = False
    if quick:
        context.obj = False
    for command, options, small in RUNS:
        try:
            context.invoke(command, **{**options, **(small if quick else {})})
        except SystemExit as end:
            failed |= bool(end.code)
    sys.exit(failed)


def _run(name: str, prove: Callable[[Path, Callable[[str], None]], Coroutine[Any, Any, Outcome]], ledger: bool) -> None:
    """Ends the program with 1 if something was broken."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="chappe-proof-") as folder, console.status(name) as status:

        def report(step: str) -> None:
            if console.is_terminal:
                status.update(f"{name}: {step}")
            else:  # a log, which is to tell how far it has come
                print(f"{datetime.now(UTC):%H:%M:%S} {name}: {step}", file=sys.stderr, flush=True)

        findings = asyncio.run(prove(Path(folder), report))
    line = f"{name}: {findings.line()}"
    print(line)
    for problem in findings.problems[:20]:
        print(f"BROKEN: {problem}")
    if ledger:
        today = datetime.now(UTC).date()
        broken = f"; BROKEN: {len(findings.problems)}" if findings.problems else ""
        with LEDGER.open("a", encoding="utf-8") as lines:
            lines.write(f"- {today}, Python {platform.python_version()}: {line}{broken}\n")
    if findings.problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
