"""Group commit for an engine across a network: lanes of waiting jobs, and workers that each own one connection.

Like `writer`, without a thread: the jobs that arrive while a worker is busy go together in its next transaction, and
because a lane may have several workers, transactions overlap. A caller awaits a future; cancelling it harms nobody,
for only the worker touches the connection.

A worker whose connection is lost opens another. As long as it cannot, its jobs fail at once with StoreUnavailable, and
it tries again by itself. This module knows neither SQL nor asyncpg.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chappe.core.errors import StoreUnavailable

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 1.0
"""Between attempts to connect again."""


@dataclass(slots=True)
class Job:
    kind: str
    payload: Any
    future: asyncio.Future[Any]

    def succeed(self, result: Any) -> None:
        if not self.future.done():  # its caller was cancelled: the job is done all the same
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Worker(Protocol):
    """Owns a connection."""

    @property
    def busy_with_the_past(self) -> bool:
        """Whether `open` has something to find out although no job waits."""
        ...

    async def open(self) -> None:
        """Connects unless connected; raises StoreUnavailable."""
        ...

    async def perform(self, jobs: Sequence[Job]) -> None:
        """Does the jobs and resolves their futures, whatever happens, but for those that `open` will resolve."""
        ...

    async def close(self) -> None: ...


class Lane:
    """The jobs of some kinds, in the order they came, and the workers that take all that wait."""

    def __init__(self, name: str, workers: Sequence[Worker], most: int) -> None:
        """`most`: how many jobs a worker takes at once."""
        self._most = most
        self._jobs: deque[Job] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._closing = asyncio.Event()
        self._away: dict[Worker, StoreUnavailable] = {}
        self._workers = workers
        self._tasks = [asyncio.create_task(self._serve(worker), name=f"store-{name}") for worker in workers]

    def run(self, kind: str, payload: Any) -> asyncio.Future[Any]:
        """Queues a job; the future has its result once it is done, and committed if it changes anything.

        It fails with StoreUnavailable, or with what is wrong with the job; then nothing of it is stored.
        """
        job = Job(kind, payload, asyncio.get_running_loop().create_future())
        if self._closing.is_set():
            job.fail(StoreUnavailable("the store is closed"))
        elif len(self._away) == len(self._workers):
            job.fail(_away(next(iter(self._away.values()))))
        else:
            self._jobs.append(job)
            self._wake_one()
        return job.future

    async def close(self) -> None:
        """Finishes what is queued, then closes the connections."""
        self._closing.set()
        while self._idle:
            self._wake_one()
        await asyncio.gather(*self._tasks)
        self._fail_waiting(StoreUnavailable("the store is closed"))

    async def _serve(self, worker: Worker) -> None:
        while await self._called(worker):
            if not await self._open(worker):
                continue
            jobs = [self._jobs.popleft() for _ in range(min(self._most, len(self._jobs)))]
            if self._jobs:
                self._wake_one()
            if jobs:
                await self._perform(worker, jobs)
        await worker.close()

    async def _called(self, worker: Worker) -> bool:
        """Waits for something to do; False when there will be nothing more."""
        while not self._jobs and not worker.busy_with_the_past and not self._closing.is_set():
            waiting = asyncio.get_running_loop().create_future()
            self._idle.append(waiting)
            await waiting
        if not self._closing.is_set():
            return True
        return worker not in self._away and (bool(self._jobs) or worker.busy_with_the_past)

    async def _open(self, worker: Worker) -> bool:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await worker.open()
            except StoreUnavailable as error:
                if worker not in self._away:
                    log.warning("database away", extra={"reason": str(error)})
                self._away[worker] = error
            else:
                if self._away.pop(worker, None) is not None:
                    log.info("database back")
                return True
            if len(self._away) == len(self._workers):
                self._fail_waiting(self._away[worker])
            elif self._jobs:
                self._wake_one()  # whoever slept when they came may still be connected
            if self._closing.is_set():
                return False
            try:
                async with asyncio.timeout(pause):
                    await self._closing.wait()
            except TimeoutError:
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                return False

    async def _perform(self, worker: Worker, jobs: Sequence[Job]) -> None:
        try:
            await worker.perform(jobs)
        except Exception as error:  # a mistake of ours; the lane goes on
            log.exception("store worker failed")
            for job in jobs:
                job.fail(error)

    def _wake_one(self) -> None:
        while self._idle:
            waiting = self._idle.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    def _fail_waiting(self, error: StoreUnavailable) -> None:
        while self._jobs:
            self._jobs.popleft().fail(_away(error))


def _away(error: StoreUnavailable) -> StoreUnavailable:
    """A fresh one: an exception that several tasks raise collects all their tracebacks."""
    return StoreUnavailable(*error.args)
