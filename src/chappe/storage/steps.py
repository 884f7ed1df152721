"""What a transaction is made of: named statements with the rows they are for. See `work`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

Row: TypeAlias = tuple[Any, ...]
T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class Step:
    """A named statement, once for each of `rows`; the rows that come back are in one list."""

    statement: str
    rows: Sequence[Row]


LOCK = "lock"
"""The one statement that an engine with one writer has nothing to do for."""


Steps: TypeAlias = Generator[Step, list[Row], T]


def ask(statement: str, rows: Sequence[Row]) -> Steps[list[Row]]:
    """The rows that the statement gives for each of `rows`; no step when there is nothing to ask about."""
    return (yield Step(statement, rows)) if rows else []


def tell(statement: str, rows: Sequence[Row]) -> Steps[None]:
    if rows:
        yield Step(statement, rows)


def lock(*names: str, alone: bool = True) -> Steps[None]:
    """Waits until no other transaction holds these names, or with `alone` false until none holds one of them alone.

    They are taken in their order, in one step. What is asked afterwards sees everything that the others have committed.
    """
    yield Step(LOCK, [(name, alone) for name in names])
