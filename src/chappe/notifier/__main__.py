"""The notifier's process. Started by `child`, never by hand; it ends when its stdin does.

A signal to the whole group (Ctrl-C, a service manager) is meant for the server, which then closes stdin: until that
it is ignored, so that the outcomes of what is under way come back.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)

import asyncio  # noqa: E402 - the imports take a moment, in which a signal would end us
import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from typing import BinaryIO, cast  # noqa: E402

from chappe.core.webhooks import Outcome  # noqa: E402
from chappe.notifier.pipe import frame_of, read_deliveries, read_start  # noqa: E402
from chappe.notifier.poster import Poster  # noqa: E402

TOGETHER, TOGETHER_SECONDS = 32, 0.005
"""So many outcomes leave together, or those of so long: each frame wakes the server."""


class _Answers(asyncio.BaseProtocol):
    """The way back."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        """The server is no more."""
        self._waiting: list[Outcome] = []
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()

    def send(self, outcome: Outcome) -> None:
        self._waiting.append(outcome)
        if len(self._waiting) >= TOGETHER:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TOGETHER_SECONDS, self.flush)

    def flush(self) -> None:
        """Also without any, as a sign of life."""
        outcomes, self._waiting = self._waiting, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.write(frame_of(outcomes))

    async def close(self) -> None:
        """Returns once everything has left."""
        self._transport.close()
        await self.gone.wait()


async def run(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Posts what comes in until the end of it, and says what became of each."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), incoming)
    _, answers = await loop.connect_write_pipe(_Answers, outgoing)
    start = await read_start(reader)
    if start is None:
        return
    poster = Poster(start, lambda: time.time_ns() // 1_000_000, answers.send)
    alive = asyncio.create_task(_show_life(answers, start.sign_of_life_seconds))
    while (deliveries := await read_deliveries(reader)) is not None:
        poster.take(deliveries)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ends = [asyncio.create_task(poster.drain()), asyncio.create_task(answers.gone.wait())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    alive.cancel()
    if not answers.gone.is_set():
        answers.flush()
        await answers.close()


async def _show_life(answers: _Answers, pause: float) -> None:
    while True:
        answers.flush()
        await asyncio.sleep(pause)


def main() -> None:
    # A library may log or print a URL with its query, or a number: the server says what there is to say.
    logging.disable()
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed must not be taken for a frame
    try:
        import uvloop
    except ImportError:  # Windows
        asyncio.run(run(incoming, outgoing))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(incoming, outgoing))


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # a thread may hang in a name look-up for half a minute
