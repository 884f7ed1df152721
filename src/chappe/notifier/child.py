"""The notifier as the server holds it: one child process, started again whenever it ends."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from chappe.core.webhooks import Delivery, Outcome
from chappe.notifier.pipe import LONGEST_FRAME, Start, frame_of, read_outcomes

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "chappe.notifier")
"""-P: a module lying in the working directory must not be taken for one of ours."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
SILENCE_SECONDS = 30.0
"""A child that shows no life for so long is stuck, and is replaced."""


class Child:
    """Satisfies `flow.notify.Courier`."""

    def __init__(
        self,
        start: Start,
        *,
        program: Sequence[str] = PROGRAM,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._start = start
        self._program = program
        self._silence_seconds = silence_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._ready = False
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def post(self, deliveries: Sequence[Delivery]) -> None:
        """Hands them over. When the child has just died they are lost, which `changed` tells."""
        process = self._process
        if self._ready and process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(frame_of(list(deliveries)))

    async def run(self, hear: Callable[[list[Outcome]], None], changed: Callable[[bool], None]) -> None:
        """Keeps a child until stopped. `changed` is told when one is ready, and when it has ended: outcomes that
        `hear` was not told until then will never come."""
        self._ended.clear()
        pause = FIRST_PAUSE_SECONDS
        try:
            while not self._stopping.is_set():
                lived = await self._live(hear, changed)
                if self._stopping.is_set():
                    return
                pause = FIRST_PAUSE_SECONDS if lived else min(pause * 2, LONGEST_PAUSE_SECONDS)
                log.error("the notifier ended, another is started", extra={"pause_seconds": pause})
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._stopping.wait()
        finally:
            self._ended.set()

    async def stop(self, seconds: float) -> None:
        """Lets requests under way end, for so long at most; the rest is handed back. Then `run` returns."""
        self._stopping.set()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            _kill(self._process)
            await self._ended.wait()

    async def _live(self, hear: Callable[[list[Outcome]], None], changed: Callable[[bool], None]) -> bool:
        """One child's life; whether it ever got ready."""
        lived = False
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_FRAME,  # or a child killed in mid-frame leaves a paused pipe, whose end is never seen
            )
        except OSError as error:
            log.error("the notifier cannot be started", extra={"error": str(error)})
            return False
        self._process = process
        stdin, stdout = cast(asyncio.StreamWriter, process.stdin), cast(asyncio.StreamReader, process.stdout)
        try:
            stdin.write(frame_of(self._start))
            if self._stopping.is_set():
                stdin.close()
            while (outcomes := await self._next(stdout)) is not None:
                if not lived:
                    lived = self._ready = True
                    changed(True)
                if outcomes:
                    hear(outcomes)
        except TimeoutError:
            log.error("the notifier shows no life", extra={"pid": process.pid})
        except ValueError:  # msgspec's errors are such
            log.error("the notifier sends what is none of its frames", extra={"pid": process.pid})
        finally:
            _kill(process)
            await process.wait()
            self._process, self._ready = None, False
            if lived:
                changed(False)
        return lived

    async def _next(self, reader: asyncio.StreamReader) -> list[Outcome] | None:
        async with asyncio.timeout(self._silence_seconds):
            return await read_outcomes(reader)


def _kill(process: asyncio.subprocess.Process | None) -> None:
    if process is not None and process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
