"""A writer in a process of its own, as the server holds it.

The interpreter lock lets one thread of a process run Python at a time, and a message costs as much Python in its
transactions as in its HTTP and SMPP: in two processes each half has a core. What crosses is plain: kinds, payloads,
results. The process keeps the server's lock on the file (`opening.hold`) for as long as it lives, so that after a crash
the next server begins only when nothing of the last one can be stored any more.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from chappe.core.errors import StoreUnavailable
from chappe.core.message import InDoubtPolicy
from chappe.storage.writer import resolve
from chappe.storage.writer_frames import END, Start, Told, frame_of, frames_in

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "chappe.storage.writer_child")
"""-P: a module lying in the working directory must not be taken for one of ours."""


@dataclass(slots=True, frozen=True)
class Apart:
    """A server's wish for a writer in a process of its own."""

    lock: int
    """The file that the server holds; see `opening.hold`."""
    on_lost: Callable[[], None]
    """Called when the process has ended although nobody told it to: no job will be stored any more."""


class ProcessWriter(asyncio.Protocol):
    """Satisfies `writer.Writer`."""

    def __init__(self, process: asyncio.subprocess.Process, on_lost: Callable[[], None]) -> None:
        self._process = process
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._waiting: list[tuple[int, str, Any]] = []
        """Leave together at the end of this turn of the loop."""
        self._futures: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._connected: asyncio.Future[Any] = self._loop.create_future()
        self._futures[0] = self._connected
        self._received = bytearray()
        self._closed = False
        self._gone = asyncio.Event()
        """Nothing more will come from the process."""

    @classmethod
    async def start(cls, path: str, doubt_lasts_ms: Mapping[InDoubtPolicy, int | None], apart: Apart) -> ProcessWriter:
        """Raises StoreUnavailable when there is no starting a process."""
        ours, its = socket.socketpair()
        with its:
            try:
                process = await asyncio.create_subprocess_exec(*PROGRAM, stdin=its.fileno(), pass_fds=[apart.lock])
            except OSError as error:
                ours.close()
                raise StoreUnavailable(f"cannot start the writer's process: {error.strerror}") from error
        _, writer = await asyncio.get_running_loop().create_connection(lambda: cls(process, apart.on_lost), sock=ours)
        writer._transport.write(frame_of(Start(path, dict(doubt_lasts_ms), logging.root.level)))
        return writer

    @property
    def pid(self) -> int:
        return self._process.pid

    async def connected(self) -> None:
        await self._connected

    def run(self, kind: str, payload: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closed:
            future.set_exception(StoreUnavailable("the store is closed"))
            return future
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._last += 1
        self._futures[self._last] = future
        self._waiting.append((self._last, kind, payload))
        return future

    async def close(self) -> None:
        if not self._closed:
            self._flush()
            self._closed = True
            self._transport.write(frame_of(END))
        await self._gone.wait()
        await self._process.wait()

    def _flush(self) -> None:
        jobs, self._waiting = self._waiting, []
        if not jobs or self._closed:
            return
        try:
            frame = frame_of(jobs)
        except Exception as error:  # a payload that is no plain data: a mistake of ours
            resolve((self._futures.pop(key), None, error) for key, _, _ in jobs)
        else:
            self._transport.write(frame)

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        for told in cast(list[Told], frames_in(self._received)):
            for record in told.log:
                logging.getLogger(record.name).handle(record)
            resolve(
                (self._futures.pop(key), result, None if failure is None else failure.error())
                for key, result, failure in told.outcomes
            )

    def connection_lost(self, error: Exception | None) -> None:
        expected, self._closed = self._closed, True
        gone = "the writer's process has ended: what it was doing may be stored"
        resolve((future, None, StoreUnavailable(gone)) for future in self._futures.values())
        self._futures.clear()
        self._gone.set()
        if not expected and self._connected.done():
            log.error("the writer's process has ended", extra={"pid": self.pid})
            self._on_lost()
