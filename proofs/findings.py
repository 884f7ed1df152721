"""What every proof ends in: counts for a line of the ledger, and what was broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

Report: TypeAlias = Callable[[str], None]
"""Is told how far a proof has come."""


def silent(_: str) -> None:
    pass


@dataclass
class Findings:
    """`problems` is empty when the promise was kept."""

    counts: dict[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in self.counts.items())

    def expect(self, kept: bool, problem: str) -> None:
        if not kept:
            self.problems.append(problem)
