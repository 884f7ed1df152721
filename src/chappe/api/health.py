"""For those who run it: is the process alive, and should it be given work?"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chappe.api.problems import RETRY_AFTER, UNAVAILABLE, Problem, describe
from chappe.api.services import Services

_JSON = "application/json;charset=UTF-8"


def health_routes(services: Services) -> list[Route]:
    async def health(_: Request) -> Response:
        return Response(b'{"status":"alive"}', media_type=_JSON)

    async def ready(request: Request) -> Response:
        shown = dict(services.readiness())
        if shown.get("ready", True):
            return Response(msgspec.json.encode(shown), media_type=_JSON)
        problem = describe(Problem(UNAVAILABLE), request.headers.get("accept-language", "").encode("latin-1"))
        body = msgspec.json.encode({**msgspec.to_builtins(problem), **shown})
        return Response(body, 503, {"Retry-After": RETRY_AFTER.decode()}, _JSON)

    return [Route("/health", health, methods=["GET"]), Route("/ready", ready, methods=["GET"])]
