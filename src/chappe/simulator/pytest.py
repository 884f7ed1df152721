"""A pytest fixture for your own tests: an SMPP operator on this machine, whatever your client is written in.

    from chappe.simulator.pytest import smsc

    def test_my_client(smsc):
        my_client.send("+33612345678", "Bonjour", host=smsc.host, port=smsc.port)
        smsc.wait(lambda: smsc.inbox == [("33612345678", "Bonjour")])

A mood for one test: `@pytest.mark.parametrize("smsc", ["ovh"], indirect=True)`, or `smsc.mood = Mood(…)` at any time.
The simulator runs in a thread with a loop of its own: tests may block, and need no plugin for asyncio. Nothing else in
Chappe imports this module: pytest is needed only by those who do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import pytest

from chappe.simulator.moods import Mood, load_mood
from chappe.simulator.smsc import Simulator, Submitted

__all__ = ["Smsc", "smsc"]

T = TypeVar("T")
_POLL_SECONDS = 0.005


class Smsc:
    """A running simulator, to be used from the test's thread. Any system_id and password may bind."""

    def __init__(self, mood: Mood | str | None = None) -> None:
        """`mood` may be the name of one that comes with Chappe."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="smsc", daemon=True)
        self._thread.start()
        self.host = "127.0.0.1"
        self._simulator = Simulator(load_mood(mood) if isinstance(mood, str) else mood, ledger=True)
        self.port = asyncio.run_coroutine_threadsafe(self._simulator.start(self.host), self._loop).result()

    def close(self) -> None:
        """Closes the port and every connection."""
        asyncio.run_coroutine_threadsafe(self._simulator.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def mood(self) -> Mood:
        return self._simulator.mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._do(lambda: setattr(self._simulator, "mood", mood))

    @property
    def submits(self) -> Sequence[Submitted]:
        """Every submit so far: the PDU, the status it was answered with, and its message id (None when refused)."""
        return self._do(lambda: list(self._simulator.ledger or ()))

    @property
    def inbox(self) -> Sequence[tuple[str, str]]:
        """(number, text) of each whole message as its phone shows it."""
        return self._do(lambda: list(self._simulator.inbox))

    @property
    def counts(self) -> Mapping[str, int]:
        """See `Simulator.counts`."""
        return self._do(lambda: self._simulator.counts.copy())

    @property
    def undelivered(self) -> int:
        """Receipts and replies that wait for a client."""
        return self._do(lambda: self._simulator.undelivered)

    def send_mo(self, number: str, to: str, text: str) -> None:
        """A person at `number` writes to the address `to`."""
        self._do(lambda: self._simulator.send_mo(number, to, text))

    def pass_time(self, seconds: float) -> None:
        """As if so much time had passed for the operator: late receipts come, the daily unbind."""
        self._do(lambda: self._simulator.pass_time(seconds))

    def cut(self) -> None:
        """Cuts every connection, as a broken network does."""
        self._do(self._simulator.cut)

    def go_silent(self) -> None:
        """Leaves every connection half open."""
        self._do(self._simulator.go_silent)

    def unbind(self) -> None:
        """Says goodbye to every client."""
        self._do(self._simulator.unbind)

    def wait(self, happened: Callable[[], object], seconds: float = 10.0) -> None:
        """Until it has happened. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                raise TimeoutError(f"it did not happen within {seconds:g} seconds")
            time.sleep(_POLL_SECONDS)

    def _do(self, act: Callable[[], T]) -> T:
        """In the simulator's thread."""

        async def acting() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(acting(), self._loop).result()


@pytest.fixture
def smsc(request: pytest.FixtureRequest) -> Iterator[Smsc]:
    """An SMPP operator, for one test."""
    smsc = Smsc(getattr(request, "param", None))
    yield smsc
    smsc.close()
