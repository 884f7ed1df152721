"""A request that came whole, to a handler found by a look-up: served without what uvicorn keeps for the others.

uvicorn gives each request a scope, a queue with an event, and a task. Here it has none of them, but for a task once it
waits for the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, ClassVar


class Exchange:
    """What a connection has to know of a request and its answer; in the place of uvicorn's RequestResponseCycle."""

    __slots__ = ("disconnected", "keep_alive", "response_complete", "response_started", "waiting_for_100_continue")

    message_event: ClassVar = asyncio.Event()
    """Nobody waits for it, for nothing more is to come."""

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.disconnected = self.response_started = self.response_complete = self.waiting_for_100_continue = False


def begin(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    """Does the work at once as far as it does not wait, and the rest, if any, in a task among these.

    Until it waits there is no current task, nor can it be cancelled.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return
    task = asyncio.get_running_loop().create_task(_Begun(work, awaited))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


class _Begun(Coroutine[Any, Any, None]):
    """Work that waits for something already; its task learns of that at the first step."""

    def __init__(self, work: Coroutine[Any, Any, None], awaited: object) -> None:
        self._work = work
        self._awaited = awaited

    def send(self, value: Any) -> Any:
        awaited, self._awaited = self._awaited, None
        return self._work.send(value) if awaited is None else awaited

    def throw(self, *error: Any) -> Any:
        self._awaited = None  # cancelled before the first step
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError("it is for a task")
