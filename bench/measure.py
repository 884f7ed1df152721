"""What is measured: rounds become rows; a row has the median, the least and the most, and its goals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Literal

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
    bulk: int
    """Numbers in one call; 10,000 are the most."""
    import_rows: int
    campaign: int
    """Contacts of the campaign that is stored, then drained."""
    backlog: int
    """Contacts of the one that waits while memory is measured, and drains while codes are sent."""
    codes: int
    """One-time codes of a round, 20 a second."""
    small_store: int
    large_store: int
    loop_calls: int
    writer_lives: int
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
    bulk=10_000,
    import_rows=1_000_000,
    campaign=100_000,
    backlog=1_000_000,
    codes=400,
    small_store=10_000,
    large_store=10_000_000,
    loop_calls=6_400,
    writer_lives=3_000,
    micro_seconds=0.2,
)
QUICK = Scale(
    rounds=1,
    turns=1,
    http_sends=500,
    store_accepts=1_000,
    lives=300,
    http_lookups=500,
    store_lookups=1_000,
    bulk=10_000,
    import_rows=5_000,
    campaign=1_000,
    backlog=3_000,
    codes=20,
    small_store=1_000,
    large_store=10_000,
    loop_calls=640,
    writer_lives=100,
    micro_seconds=0.01,
)
CONNECTIONS = 64


@dataclass(slots=True, frozen=True)
class Round:
    """`count` messages, look-ups or calls in so many seconds of wall clock; CPU in seconds."""

    count: int
    seconds: float
    server_cpu: float | None = None
    """Of all processes of what is measured. At the store that is this process, its callers included."""
    load_cpu: float | None = None
    """Of the load generator."""
    peers_cpu: float | None = None
    """Of the simulator, where it is a process of its own; with it that of a receiver of callbacks."""
    figure: float | None = None
    """What is shown where that is neither a rate nor the time of a call, in the row's unit."""


class Unit(Enum):
    """What a row's values are; the name is for programs."""

    RATE = "per second"
    PER_CALL = "seconds per call"
    SECONDS = "seconds"
    KIB = "KiB"
    MIB = "MiB"

    def of(self, found: Round) -> float:
        if found.figure is not None:
            return found.figure
        if self is Unit.RATE:
            return found.count / found.seconds
        return found.seconds / found.count if self is Unit.PER_CALL else found.seconds

    def show(self, value: float) -> str:
        if self is Unit.RATE:
            return f"{value:,.0f}/s"
        if self is Unit.KIB or self is Unit.MIB:
            return f"{value:,.{0 if value >= 100 else 2}f} {self.value}"
        if value < 1e-6:
            return f"{value * 1e9:.0f} ns"
        if value < 1e-3:
            return f"{value * 1e6:.1f} µs"
        return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.2f} s"


@dataclass(slots=True, frozen=True)
class Goal:
    """What a row should reach: its median, its ratio, or the server's CPU-ms."""

    limit: float
    of: Literal["value", "ratio", "cpu"] = "value"
    at_least: bool = False

    def is_met(self, row: Row) -> bool | None:
        """None where this run did not measure it."""
        found = {"value": row.median, "ratio": row.ratio, "cpu": row.cpu_ms("server")}[self.of]
        if found is None:
            return None
        return found >= self.limit if self.at_least else found <= self.limit

    def show(self, unit: Unit) -> str:
        limit = {"value": unit.show(self.limit), "ratio": f"{self.limit:g} ×", "cpu": f"{self.limit:g} CPU-ms"}[self.of]
        return f"{'≥' if self.at_least else '≤'} {limit}"


@dataclass(slots=True)
class Row:
    """A line of the table."""

    part: str
    what: str
    rounds: Sequence[Round]
    unit: Unit = Unit.RATE
    beside: Row | None = None
    """The row whose ratio to this one is shown: of the same work in the same run."""
    by_cpu: bool = False
    """The ratio is that of the server's CPU-ms, which a busy neighbour disturbs less than the rate."""
    goals: Sequence[Goal] = ()

    @property
    def values(self) -> list[float]:
        return [self.unit.of(found) for found in self.rounds]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        """How many times as much the other row has, each round against the one beside it."""
        if self.beside is None:
            return None
        ours, theirs = (row._cpu("server") if self.by_cpu else row.values for row in (self.beside, self))
        if not ours or not all(theirs):
            return None
        return median(one / other for one, other in zip(ours, theirs, strict=True))

    def cpu_ms(self, whose: str) -> float | None:
        """CPU-ms per message of `server`, `load` or `peers`; None where it was not measured."""
        found = self._cpu(whose)
        return median(found) if found else None

    def busy(self, whose: str) -> float | None:
        """CPU seconds per second of wall clock: 1 is a whole core."""
        found = self._cpu(whose)
        if not found:
            return None
        return median(cpu / 1000 * at.count / at.seconds for cpu, at in zip(found, self.rounds, strict=True))

    def _cpu(self, whose: str) -> list[float]:
        found = [(getattr(round_, f"{whose}_cpu"), round_.count) for round_ in self.rounds]
        return [seconds / count * 1000 for seconds, count in found if seconds is not None]


Measure = Callable[[int, Progress], Awaitable[Round]]
"""Measures the round of this number, from 0."""


@dataclass(slots=True)
class Bench:
    """What every part is given: how much to do, where to put files, whom to tell how far it is."""

    scale: Scale
    folder: Path
    begin: Callable[[str], Progress]
    """Begins a piece of work under this name on the progress bar."""
    tell: Callable[[str], None] = lambda line: None
    """Is given a line for each round that is over."""
    cache: Path | None = None
    """Where large databases stay from run to run."""

    async def rounds(self, what: str, measure: Measure, unit: Unit = Unit.RATE) -> list[Round]:
        return (await self.in_turn({what: measure}, self.scale.rounds, unit))[what]

    async def in_turn(
        self, measures: Mapping[str, Measure], turns: int, unit: Unit = Unit.RATE
    ) -> dict[str, list[Round]]:
        """Round after round, each of them once in each: what else the machine does then falls on all."""
        found: dict[str, list[Round]] = {what: [] for what in measures}
        for number in range(turns):
            for what, measure in measures.items():
                found[what].append(await measure(number, self.begin(what)))
                self.tell(f"{what}, round {number + 1} of {turns}: {unit.show(unit.of(found[what][-1]))}")
        return found
