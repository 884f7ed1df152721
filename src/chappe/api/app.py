"""The HTTP API as one ASGI application: the hot routes by a look-up, the rest through Starlette's router.

Here every request gets its id, every error its JSON body with an integer code, and whatever nobody expected a
log line without a word of what the caller sent.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import traceback
from collections.abc import Callable, Iterable, Mapping

from starlette.exceptions import HTTPException
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from chappe.api.areas import HOT, ROUTED
from chappe.api.http import JSON, WHOLE_ANSWER, Answer, ClientGone, Request, WholeAnswer
from chappe.api.links import link_routes
from chappe.api.openapi import openapi_routes
from chappe.api.operations import Handler, handlers_of, routes_of
from chappe.api.problems import (
    METHOD_NOT_ALLOWED,
    NO_ROUTE,
    SERVER_FAULT,
    UNAVAILABLE,
    Problem,
    body_of,
    problem_of,
)
from chappe.api.services import Services
from chappe.core.errors import ChappeError

log = logging.getLogger(__name__)


class RequestIds:
    """Ids of requests, unique without a random number for each: a secret of this start, and a count."""

    def __init__(self, start: str) -> None:
        self._start = start.encode("ascii")
        self._count = itertools.count(1)

    def __call__(self) -> bytes:
        return b"%s-%x" % (self._start, next(self._count))


class Api:
    """The ASGI application; `request_ids` is also for answers that the server gives without asking it.

    A server that knows us may ask `hot`, by method and path as they were sent, for who answers, and let `answer` do so,
    after `read_together` where it has just read the request.
    """

    def __init__(
        self,
        hot: Mapping[str, Mapping[str, Handler]],
        router: Router,
        request_ids: RequestIds,
        read_together: Callable[[], None],
    ) -> None:
        self._hot = {path: _with_head(handlers) for path, handlers in hot.items()}
        self.hot = {
            (method.encode("ascii"), path.encode("ascii")): handler
            for path, handlers in self._hot.items()
            for method, handler in handlers.items()
        }
        self._router = router
        self.request_ids = request_ids
        self.read_together = read_together

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        request_id = self.request_ids()
        path = scope["path"]
        handlers = self._hot.get(path)
        if handlers is None and (tidy := _tidy(path)) != path:
            scope = {**scope, "path": tidy}
            handlers = self._hot.get(tidy)
        if handlers is None:
            await self._route(scope, receive, send, request_id)
            return
        handler = handlers.get(scope["method"])
        answer: Answer | None
        if handler is None:
            answer = _failure(_method_not_allowed(handlers), scope, request_id)
        else:
            answer = await self.answer(handler, Request(scope, receive, dict(scope["headers"])), request_id)
        if answer is not None:
            await _send(scope, send, answer, request_id)
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError

    async def answer(self, handler: Handler, request: Request, request_id: bytes) -> Answer | None:
        """What the handler answers, or what is to be said of its failure; None when there is nobody to answer.

        Its cancellation is answered too: the server stops, and the client is to know.
        """
        try:
            answer = await handler(request)
        except ClientGone:
            return None
        except BaseException as error:
            return _failure(error, request.scope, request_id)
        assert isinstance(answer, Answer)  # noqa: S101 - none of these streams
        return answer

    async def _route(self, scope: Scope, receive: Receive, send: Send, request_id: bytes) -> None:
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", request_id)]}
            await send(message)

        try:
            # With "app" in its scope the router raises its 404 and 405 instead of answering in plain text.
            await self._router({**scope, "app": self}, receive, send_with_id)
        except ClientGone:
            return
        except BaseException as error:
            answer = _failure(error, scope, request_id)
            if started:
                raise
            await _send(scope, send, answer, request_id)
            if isinstance(error, asyncio.CancelledError):
                raise


def create_app(services: Services) -> Api:
    """The API over these services."""
    hot = handlers_of(HOT.operations, HOT.make(services))
    routes = [route for area in ROUTED for route in routes_of(area.operations, area.make(services))]
    routes += [*link_routes(services), *openapi_routes()]
    return Api(
        hot, Router(routes, redirect_slashes=False), RequestIds(services.token()[:10]), services.store.read_together
    )


async def _send(scope: Scope, send: Send, answer: Answer, request_id: bytes) -> None:
    whole: WholeAnswer | None = scope.get(WHOLE_ANSWER)
    if whole is not None:
        await whole(answer, request_id)
        return
    headers = [
        (b"content-type", JSON),
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", request_id),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _failure(error: BaseException, scope: Scope, request_id: bytes) -> Answer:
    """The answer to what went wrong; logged when it is our fault, or nobody's."""
    match error:
        case ChappeError():
            problem = problem_of(error)
        case HTTPException(status_code=404):
            problem = Problem(NO_ROUTE)
        case HTTPException(status_code=405, headers=headers):
            problem = _method_not_allowed((headers or {}).get("Allow", "").split(", "))
        case _:
            problem = Problem(SERVER_FAULT)
    if problem.code == SERVER_FAULT:
        name = type(error).__name__
        fields = {"request_id": request_id.decode("ascii"), "error": name, "stack": _stack(error)}
        log.error("request failed", extra=fields)
    elif problem.code == UNAVAILABLE:
        log.warning("store unavailable, request refused", extra={"request_id": request_id.decode("ascii")})
    language = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    return Answer(problem.status, body_of(problem, language), problem.headers)


def _stack(error: BaseException) -> list[str]:
    """Where it happened, without the error's own words: they may quote a text, a number or a key."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]


def _method_not_allowed(allowed: Iterable[str]) -> Problem:
    return Problem(METHOD_NOT_ALLOWED, headers=[(b"allow", ", ".join(sorted(allowed)).encode("ascii"))])


def _with_head(handlers: Mapping[str, Handler]) -> Mapping[str, Handler]:
    return {**handlers, "HEAD": handlers["GET"]} if "GET" in handlers else handlers


def _tidy(path: str) -> str:
    """Without the doubled and trailing slashes that clients put into their addresses."""
    return re.sub("/{2,}", "/", path).rstrip("/") or "/"
