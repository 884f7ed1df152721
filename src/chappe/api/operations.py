"""What an area of the API serves, as a table: its routes are made from it, and so is the description of the API.

An operation of `Area` is a method of that class; the class itself is made from `Services` by whoever serves it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from starlette.requests import Request as RoutedRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from chappe.api.http import Answer, Request

Area = TypeVar("Area")
Handler: TypeAlias = Callable[[Request], Awaitable[Answer | StreamingResponse]]


@dataclass(slots=True, frozen=True)
class Origin:
    """What makes the object that a value names: the operation `"POST /v2/lists"`."""

    operation: str
    member: str | None = None
    """Of its answer: a member of the body, or a header that is an address and ends in the value. None: the value is the
    example's, and the object is only to be there."""


@dataclass(slots=True, frozen=True)
class Parameter:
    """One of the query, of the path where the path names it, or a header."""

    name: str
    schema: dict[str, Any]
    example: str | None = None
    """Needed in a path; in a query those that have one are shown in examples."""
    origin: Origin | None = None
    header: bool = False


@dataclass(slots=True, frozen=True)
class Operation(Generic[Area]):
    method: str
    path: str
    handler: Callable[[Area, Request], Awaitable[Answer | StreamingResponse]]
    summary: str
    answer: Any
    """Its type; None for 204 without a body, STREAM for server-sent events."""
    codes: Sequence[int] = ()
    """Of its errors, beside those that every operation has, and those of every body."""
    parameters: Sequence[Parameter] = ()
    body: Any = None
    aliases: Sequence[str] = ()
    """Other spellings of the path."""
    required: Sequence[str] = ()
    """Members of the body that must be there: its type cannot say it, because null and absent are the same."""
    example: Any = None
    """A body that will do; what `required` names at least."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Of members of the body that are ids of objects."""
    status: int = 0
    """Of a success, where it is neither 200 nor 204."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of a success, beside those of every answer: what each says."""
    open: bool = False
    """No key is asked for."""

    @property
    def success(self) -> int:
        return self.status or (204 if self.answer is None else 200)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def in_path(self) -> list[str]:
        return re.findall("{([a-z]+)}", self.path)


STREAM = object()
IDENTIFIER = Parameter("identifier", {"type": "string"}, "+33600000003")
"""A phone number."""


def routes_of(operations: Sequence[Operation[Area]], area: Area) -> list[Route]:
    """A route for each path, so that another method there is a 405 which names all of them."""
    return [_route(path, handlers) for path, handlers in handlers_of(operations, area).items()]


def handlers_of(operations: Sequence[Operation[Area]], area: Area) -> dict[str, dict[str, Handler]]:
    """Path → method → handler."""
    by_path: dict[str, dict[str, Handler]] = {}
    for operation in operations:
        for path in (operation.path, *operation.aliases):
            by_path.setdefault(path, {})[operation.method] = _bind(operation, area)
    return by_path


def _bind(operation: Operation[Area], area: Area) -> Handler:
    return partial(operation.handler, area)


def _route(path: str, handlers: dict[str, Handler]) -> Route:
    async def serve(request: RoutedRequest) -> Response:
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        answer = await handler(Request(request.scope, request.receive, dict(request.scope["headers"])))
        if isinstance(answer, StreamingResponse):
            # Its body would never end.
            return Response(headers=dict(answer.headers)) if request.method == "HEAD" else answer
        media_type = None if answer.status == 204 else "application/json;charset=UTF-8"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        return Response(answer.body, answer.status, headers, media_type)

    return Route(path, serve, methods=list(handlers))
