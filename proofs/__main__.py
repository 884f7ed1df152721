"""`scripts/prove`: the long proofs with full counts; each adds a dated line to proofs/ledger.md."""

from __future__ import annotations

import asyncio
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from proofs import kill

LEDGER = Path(__file__).with_name("ledger.md")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--sends", default=5_000, show_default=True, help="Messages sent.")
@click.option("--kills", default=10, show_default=True, help="How often the server is killed meanwhile.")
@click.option("--seed", default=1, show_default=True, help="Decides the moments.")
@click.option("--no-ledger", is_flag=True, help="Do not add a line to proofs/ledger.md.")
def main(sends: int, kills: int, seed: int, no_ledger: bool) -> None:
    """Kill -9 a sending server again and again; every accepted message must end, and no double be silent."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="chappe-proof-") as folder, console.status("sending") as status:
        findings = asyncio.run(kill.prove(Path(folder), sends=sends, kills=kills, seed=seed, report=status.update))
    line = f"kill (seed {seed}): {findings.line()}"
    print(line)
    for problem in findings.problems[:20]:
        print(f"BROKEN: {problem}")
    if not no_ledger:
        today = datetime.now(UTC).date()
        with LEDGER.open("a", encoding="utf-8") as ledger:
            ledger.write(f"- {today}, Python {platform.python_version()}: {line}\n")
    sys.exit(1 if findings.problems else 0)


main()
