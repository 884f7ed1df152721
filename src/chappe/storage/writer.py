"""Group commit: one connection, and as many waiting jobs to a transaction as there are.

A commit with `synchronous=FULL` costs a disk flush however much it carries, so the jobs that arrive during one
flush share the next. This module knows nothing of SQL: it is given how to begin, commit and roll back, and a
handler per kind of job. Nor does it know where it runs: `writer_thread` runs it beside a loop, `writer_process` in a
process of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from chappe.core.errors import StoreUnavailable

Handler: TypeAlias = Callable[[list[Any]], Sequence[Any]]
"""Takes the payloads of one kind in the order they came, returns a result for each."""


class Transactions(Protocol):
    """The writer's connection; every call is made on one thread."""

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def roll_back(self) -> None: ...

    def is_outage(self, error: BaseException) -> bool:
        """Whether this error says that the store is away (disk full, locked), not that the job is wrong."""
        ...

    def close(self) -> None: ...


Connect: TypeAlias = Callable[[], tuple[Transactions, Mapping[str, Handler]]]
"""Opens the connection, on the thread that uses it."""


class Writer(Protocol):
    """Where jobs are given; made and called on the loop's thread."""

    async def connected(self) -> None:
        """Returns once the connection is open, or raises what opening it raised."""
        ...

    def run(self, kind: str, payload: Any) -> Awaitable[Any]:
        """The job's result, once it is committed.

        Raises what the handler raised, or StoreUnavailable; then nothing of the job is stored.
        """
        ...

    async def close(self) -> None:
        """Finishes what is queued, then closes the connection."""
        ...


@dataclass(slots=True)
class Job:
    key: Any
    """Whose it is: given back with the outcome."""
    kind: str
    payload: Any


Outcome: TypeAlias = tuple[Any, Any, BaseException | None]
"""A job's key, its result, and why it has none."""


def resolve(outcomes: Iterable[Outcome]) -> None:
    """Tells the futures that are the jobs' keys."""
    for future, result, error in outcomes:
        if future.done():
            continue  # its caller was cancelled: the job is stored all the same
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def run_jobs(
    connected: tuple[Transactions, Mapping[str, Handler]],
    first: Container[str],
    batches: Callable[[], list[Job]],
    tell: Callable[[list[Outcome]], object],
) -> None:
    """Runs batch after batch until an empty one, then closes the connection.

    `first` are kinds that do not wait for the others of a batch, in a transaction before theirs.
    """
    transactions, handlers = connected
    while batch := batches():
        hurried = [job for job in batch if job.kind in first]
        for jobs in (hurried, [job for job in batch if job.kind not in first]):
            if jobs:
                tell(_settle(transactions, handlers, jobs))
    transactions.close()


def _settle(transactions: Transactions, handlers: Mapping[str, Handler], batch: list[Job]) -> list[Outcome]:
    """Runs the batch in one transaction; if that fails for a job's own fault, each job in one of its own."""
    try:
        return _together(transactions, handlers, batch)
    except Exception as error:
        if transactions.is_outage(error):
            away = StoreUnavailable("the store cannot take this now: try again")
            away.__cause__ = error
            return [(job.key, None, away) for job in batch]
        if len(batch) == 1:
            return [(batch[0].key, None, error)]
    return [outcome for job in batch for outcome in _settle(transactions, handlers, [job])]


def _together(transactions: Transactions, handlers: Mapping[str, Handler], batch: list[Job]) -> list[Outcome]:
    by_kind: dict[str, list[Job]] = {}
    for job in batch:
        by_kind.setdefault(job.kind, []).append(job)
    transactions.begin()
    try:
        outcomes: list[Outcome] = []
        for kind, jobs in by_kind.items():
            results = handlers[kind]([job.payload for job in jobs])
            outcomes += [(job.key, result, None) for job, result in zip(jobs, results, strict=True)]
        transactions.commit()
    except BaseException:
        transactions.roll_back()
        raise
    return outcomes
