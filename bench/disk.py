"""What one fsync costs here: a commit waits for one, so it bounds what a lone caller can get."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.measure import Bench, Round, Row, Unit

FSYNCS = 20
OCTETS = 4_096


async def fsync(bench: Bench) -> list[Row]:
    """A page appended and synced; each of the 20 is a round, so that the row shows the fastest and the slowest."""
    progress = bench.begin("fsync")
    rounds = []
    path = bench.folder / "fsync"
    with path.open("wb", buffering=0) as file:
        for number in range(FSYNCS):
            file.write(os.urandom(OCTETS))
            began = time.perf_counter()
            os.fsync(file.fileno())
            rounds.append(Round(1, time.perf_counter() - began))
            progress((number + 1) / FSYNCS)
    path.unlink()
    return [Row("fsync", f"fsync of {OCTETS:,} appended octets", rounds, Unit.PER_CALL)]


def filesystem_of(path: Path) -> str:
    """The file system's type, `?` where it cannot be told: on one in memory an fsync costs nothing."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "?"
    at = path.resolve()
    kinds = {Path(mount): kind for mount, kind in mounts}
    return next((kinds[folder] for folder in (at, *at.parents) if folder in kinds), "?")
