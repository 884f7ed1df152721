"""Group commit: one thread, one connection, and as many waiting jobs to a transaction as there are.

A commit with `synchronous=FULL` costs a disk flush however much it carries, so the jobs that arrive during one
flush share the next. This module knows nothing of SQL: it is given how to begin, commit and roll back, and a
handler per kind of job.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

from chappe.core.errors import StoreUnavailable

Handler = Callable[[list[Any]], Sequence[Any]]
"""Takes the payloads of one kind in the order they came, returns a result for each."""


class Transactions(Protocol):
    """The writer's connection; every call is made on the writer's thread."""

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def roll_back(self) -> None: ...

    def is_outage(self, error: BaseException) -> bool:
        """Whether this error says that the store is away (disk full, locked), not that the job is wrong."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Job:
    kind: str
    payload: Any
    future: asyncio.Future[Any]


class Writer:
    """Runs jobs on its own thread; must be made and called on the loop's thread."""

    def __init__(
        self, connect: Callable[[], tuple[Transactions, Mapping[str, Handler]]], first: Container[str] = ()
    ) -> None:
        """`first`: kinds of jobs that do not wait for the others of a batch, in a transaction before theirs."""
        self._first = first
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._closed = False
        self._thread = threading.Thread(target=self._run, args=(connect,), name="store-writer", daemon=True)
        self._thread.start()

    async def connected(self) -> None:
        """Returns once the connection is open, or raises what opening it raised."""
        await self._connected

    def run(self, kind: str, payload: Any) -> asyncio.Future[Any]:
        """Queues a job; the future has its result once it is committed.

        It fails with what the handler raised, or with StoreUnavailable; then nothing of the job is stored.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closed:
            future.set_exception(StoreUnavailable("the store is closed"))
        else:
            self._jobs.put(_Job(kind, payload, future))
        return future

    async def close(self) -> None:
        """Finishes what is queued, then closes the connection."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self, connect: Callable[[], tuple[Transactions, Mapping[str, Handler]]]) -> None:
        try:
            transactions, handlers = connect()
        except BaseException as error:  # handed to whoever opens the store
            self._loop.call_soon_threadsafe(self._connected.set_exception, error)
            return
        self._loop.call_soon_threadsafe(self._connected.set_result, None)
        last = False
        while not last:
            batch, last = self._take()
            first = [job for job in batch if job.kind in self._first]
            for jobs in (first, [job for job in batch if job.kind not in self._first]):
                if jobs:
                    outcomes = _settle(transactions, handlers, jobs)
                    self._loop.call_soon_threadsafe(_resolve, outcomes)
        transactions.close()

    def _take(self) -> tuple[list[_Job], bool]:
        """Waits for a job and takes all that are there; True when there will be no more."""
        job = self._jobs.get()
        batch = []
        while job is not None:
            batch.append(job)
            if self._jobs.empty():
                return batch, False
            job = self._jobs.get()
        return batch, True


def _settle(
    transactions: Transactions, handlers: Mapping[str, Handler], batch: list[_Job]
) -> list[tuple[_Job, Any, BaseException | None]]:
    """Runs the batch in one transaction; if that fails for a job's own fault, each job in one of its own."""
    try:
        return _together(transactions, handlers, batch)
    except Exception as error:
        if transactions.is_outage(error):
            away = StoreUnavailable("the store cannot take this now: try again")
            away.__cause__ = error
            return [(job, None, away) for job in batch]
        if len(batch) == 1:
            return [(batch[0], None, error)]
    return [outcome for job in batch for outcome in _settle(transactions, handlers, [job])]


def _together(
    transactions: Transactions, handlers: Mapping[str, Handler], batch: list[_Job]
) -> list[tuple[_Job, Any, BaseException | None]]:
    by_kind: dict[str, list[_Job]] = {}
    for job in batch:
        by_kind.setdefault(job.kind, []).append(job)
    transactions.begin()
    try:
        outcomes: list[tuple[_Job, Any, BaseException | None]] = []
        for kind, jobs in by_kind.items():
            results = handlers[kind]([job.payload for job in jobs])
            outcomes += [(job, result, None) for job, result in zip(jobs, results, strict=True)]
        transactions.commit()
    except BaseException:
        transactions.roll_back()
        raise
    return outcomes


def _resolve(outcomes: list[tuple[_Job, Any, BaseException | None]]) -> None:
    for job, result, error in outcomes:
        if job.future.done():
            continue  # its caller was cancelled: the job is stored all the same
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
