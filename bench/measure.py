"""What is measured: rounds become rows; a row shows the median with the least and the most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

Progress = Callable[[float], None]
"""Told how much of the work under way is done, from 0 to 1."""


@dataclass(slots=True, frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    turns: int
    """Rounds of those that are compared with each other."""
    http_sends: int
    store_accepts: int
    lives: int
    http_lookups: int
    store_lookups: int
    import_rows: int
    small_store: int
    large_store: int
    loop_calls: int
    micro_seconds: float
    """How long one round of one small function takes."""


FULL = Scale(
    rounds=3,
    turns=5,
    http_sends=20_000,
    store_accepts=50_000,
    lives=10_000,
    http_lookups=20_000,
    store_lookups=100_000,
    import_rows=1_000_000,
    small_store=1_000,
    large_store=1_000_000,
    loop_calls=6_400,
    micro_seconds=0.2,
)
QUICK = Scale(
    rounds=3,
    turns=1,
    http_sends=500,
    store_accepts=1_000,
    lives=300,
    http_lookups=500,
    store_lookups=1_000,
    import_rows=5_000,
    small_store=1_000,
    large_store=10_000,
    loop_calls=640,
    micro_seconds=0.01,
)
CONNECTIONS = 64


@dataclass(slots=True, frozen=True)
class Round:
    """`count` messages, look-ups or calls in so many seconds of wall clock; CPU in seconds."""

    count: int
    seconds: float
    server_cpu: float | None = None
    """Of the process that is measured. At the store that is this process, its callers included."""
    load_cpu: float | None = None
    """Of the load generators."""
    operator_cpu: float | None = None
    """Of the simulator, where it is a process of its own; with it that of a receiver of callbacks."""


@dataclass(slots=True)
class Row:
    """A line of the table."""

    part: str
    what: str
    rounds: Sequence[Round]
    per_call: bool = False
    """Shown as time per call, not as calls per second."""
    beside: Row | None = None
    """The row whose ratio to this one is shown: of the same work in the same run."""

    @property
    def values(self) -> list[float]:
        """Per second, or seconds per call."""
        if self.per_call:
            return [found.seconds / found.count for found in self.rounds]
        return [found.count / found.seconds for found in self.rounds]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        """How many times as much the other row did, each round against the one beside it."""
        if self.beside is None:
            return None
        return median(ours / theirs for ours, theirs in zip(self.beside.values, self.values, strict=True))

    def cpu_ms(self, whose: str) -> float | None:
        """CPU-ms per message of `server`, `load` or `operator`; None where it was not measured."""
        found = [(getattr(round_, f"{whose}_cpu"), round_.count) for round_ in self.rounds]
        return None if found[0][0] is None else median(seconds / count * 1000 for seconds, count in found)

    def busy(self, whose: str) -> float | None:
        """CPU seconds per second of wall clock: 1 is a whole core."""
        found = [(getattr(round_, f"{whose}_cpu"), round_.seconds) for round_ in self.rounds]
        return None if found[0][0] is None else median(cpu / seconds for cpu, seconds in found)


@dataclass(slots=True)
class Bench:
    """What every part is given: how much to do, where to put files, whom to tell how far it is."""

    scale: Scale
    folder: Path
    begin: Callable[[str], Progress]
    """Begins a piece of work under this name on the progress bar."""
