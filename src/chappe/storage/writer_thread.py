"""A writer on a thread of the process that uses it: for commands and tests, and where there are no other processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Container
from queue import SimpleQueue
from typing import Any

from chappe.core.errors import StoreUnavailable
from chappe.storage.writer import Connect, Job, resolve, run_jobs


class ThreadWriter:
    """Satisfies `writer.Writer`."""

    def __init__(self, connect: Connect, first: Container[str] = ()) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._closed = False
        self._thread = threading.Thread(target=self._run, args=(connect, first), name="store-writer", daemon=True)
        self._thread.start()

    async def connected(self) -> None:
        await self._connected

    def run(self, kind: str, payload: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closed:
            future.set_exception(StoreUnavailable("the store is closed"))
        else:
            self._jobs.put(Job(future, kind, payload))
        return future

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self, connect: Connect, first: Container[str]) -> None:
        try:
            connected = connect()
        except BaseException as error:  # handed to whoever opens the store
            self._loop.call_soon_threadsafe(self._connected.set_exception, error)
            return
        self._loop.call_soon_threadsafe(self._connected.set_result, None)
        run_jobs(connected, first, self._take, lambda outcomes: self._loop.call_soon_threadsafe(resolve, outcomes))

    def _take(self) -> list[Job]:
        """Waits for a job and takes all that are there; none when there will be no more."""
        batch: list[Job] = []
        while (job := self._jobs.get()) is not None:
            batch.append(job)
            if self._jobs.empty():
                return batch
        self._jobs.put(None)
        return batch
