"""The writer's process. Started by `writer_process`, never by hand; it ends when its server says so, or is no more.

A signal to the whole group (Ctrl-C, a service manager) is meant for the server, which still has things to store.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)

import logging  # noqa: E402 - the imports take a moment, in which a signal would end us
import logging.handlers  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from queue import SimpleQueue  # noqa: E402
from typing import Any  # noqa: E402

from chappe.core import hours  # noqa: E402
from chappe.storage.sqlite import FIRST, connect_writer  # noqa: E402
from chappe.storage.writer import Job, Outcome, run_jobs  # noqa: E402
from chappe.storage.writer_frames import END, Failure, Start, Told, frame_of, frames_in  # noqa: E402

READ_AT_ONCE = 1 << 20


class _Log(logging.handlers.QueueHandler):
    """Keeps what was logged until the next frame: the server says it, in its own way."""

    def __init__(self) -> None:
        self._records: SimpleQueue[logging.LogRecord] = SimpleQueue()
        super().__init__(self._records)

    def take(self) -> list[logging.LogRecord]:
        return [self._records.get() for _ in range(self._records.qsize())]


class _Server:
    """The other end."""

    def __init__(self, channel: socket.socket, log: _Log) -> None:
        self._channel = channel
        self._log = log
        self._received = bytearray()
        self._ended = False

    def start(self) -> Start | None:
        """None when it has gone already."""
        frames = self._frames()
        return frames[0] if frames else None

    def jobs(self) -> list[Job]:
        """Waits for some and takes all that are there; none at the end.

        When the server was killed, those that have not begun are dropped: a claim would take what nobody submits.
        """
        frames = [] if self._ended else self._frames()
        if END in frames:
            frames.remove(END)
            self._ended = True
        return [Job(*job) for frame in frames for job in frame]

    def tell(self, outcomes: list[Outcome]) -> None:
        told = [(key, result, None if error is None else Failure.of(error)) for key, result, error in outcomes]
        self._channel.sendall(frame_of(Told(told, self._log.take())))

    def _frames(self) -> list[Any]:
        """All that are there, one at least; none if the server is no more."""
        frames: list[Any] = []
        while not frames:
            more = True
            while more:
                data = self._channel.recv(READ_AT_ONCE)
                if not data:
                    return []
                self._received += data
                more = bool(select.select([self._channel], [], [], 0)[0])
            frames = frames_in(self._received)
        return frames


def main() -> None:
    """Opens the file, says so, and runs jobs until the server closes its end."""
    channel = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    log = _Log()
    logging.root.addHandler(log)
    server = _Server(channel, log)
    start = server.start()
    if start is None:
        return
    logging.root.setLevel(start.log_level)
    try:
        connected = connect_writer(start.path, start.doubt_lasts_ms, beside=False)
    except Exception as error:
        server.tell([(0, None, error)])
        return
    server.tell([(0, None, None)])
    threading.Thread(target=hours.prepare, daemon=True).start()  # or the first marketing claim waits for it
    run_jobs(connected, FIRST, server.jobs, server.tell)


if __name__ == "__main__":
    try:
        main()
    except ConnectionError:
        sys.exit(1)  # the server was killed: what was committed is stored, and nobody waits for the rest
