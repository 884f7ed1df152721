"""Ports of this machine for servers that are started later, perhaps again and again: demonstrations, proofs, tests."""

from __future__ import annotations

import random
import socket

PORTS = range(20_000, 32_000)
"""Below those that systems hand out by themselves (from 32768 on Linux): in between, or while its server is away, such
a one may become anybody's end of a connection."""
TRIES = 100

_CHANCE = random.SystemRandom()  # the shared one is seeded alike in processes that run the same tests


def free_port() -> int:
    """One on which nobody listens on 127.0.0.1. Raises OSError when none was found."""
    for port in _CHANCE.sample(PORTS, TRIES):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {PORTS.start} and {PORTS.stop}")
