"""For those who run it: is the process alive, and should it be given work?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chappe.api.http import Answer, Request
from chappe.api.operations import Operation
from chappe.api.problems import RETRY_AFTER, UNAVAILABLE, Problem, describe
from chappe.api.services import Services


class HealthAnswer(msgspec.Struct):
    status: str


class ReadyAnswer(msgspec.Struct):
    """What is served may have more members."""

    ready: bool
    held: bool
    """Nothing leaves: the system is on hold."""
    connectors: dict[str, str]
    """Those that this node has: `bound` or `unbound`."""
    limits: dict[str, str]
    """What holds each of them back at the moment."""
    unserved: list[str]
    """Routes that no operator is left for: what takes them waits."""


class Health:
    def __init__(self, services: Services) -> None:
        self._readiness = services.readiness

    async def health(self, _: Request) -> Answer:
        return Answer(200, b'{"status":"alive"}')

    async def ready(self, request: Request) -> Answer:
        shown = dict(self._readiness())
        if shown.get("ready", True):
            return Answer(200, msgspec.json.encode(shown))
        problem = describe(Problem(UNAVAILABLE), request.headers.get(b"accept-language", b""))
        body = msgspec.json.encode({**msgspec.to_builtins(problem), **shown})
        return Answer(503, body, [(b"retry-after", RETRY_AFTER)])


OPERATIONS: Sequence[Operation[Health]] = (
    Operation("GET", "/health", Health.health, "Whether the process is alive", HealthAnswer, open=True),
    Operation("GET", "/ready", Health.ready, "Whether it should be given work", ReadyAnswer, open=True),
)
