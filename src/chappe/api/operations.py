"""What an area of the API serves, as a table: its routes are made from it, and so is the description of the API.

An operation of `Area` is a method of that class; the class itself is made from `Services` by whoever serves it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from starlette.requests import Request as RoutedRequest
from starlette.responses import Response
from starlette.routing import Route

from chappe.api.http import Answer, Request

Area = TypeVar("Area")
Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]


@dataclass(slots=True, frozen=True)
class Parameter:
    """One of the query, or of the path where the path names it."""

    name: str
    schema: dict[str, Any]


@dataclass(slots=True, frozen=True)
class Operation(Generic[Area]):
    method: str
    path: str
    handler: Callable[[Area, Request], Awaitable[Answer]]
    summary: str
    answer: Any
    """Its type; None for 204 without a body."""
    codes: Sequence[int] = ()
    """Of its errors, beside those that every operation has."""
    parameters: Sequence[Parameter] = ()
    body: Any = None
    aliases: Sequence[str] = ()
    """Other spellings of the path."""


def routes_of(operations: Sequence[Operation[Area]], area: Area) -> list[Route]:
    """A route for each path, so that another method there is a 405 which names all of them."""
    by_path: dict[str, dict[str, Handler]] = {}
    for operation in operations:
        for path in (operation.path, *operation.aliases):
            by_path.setdefault(path, {})[operation.method] = _bind(operation, area)
    return [_route(path, handlers) for path, handlers in by_path.items()]


def _bind(operation: Operation[Area], area: Area) -> Handler:
    return lambda request: operation.handler(area, request)


def _route(path: str, handlers: dict[str, Handler]) -> Route:
    async def serve(request: RoutedRequest) -> Response:
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        answer = await handler(Request(request.scope, request.receive, dict(request.scope["headers"])))
        media_type = None if answer.status == 204 else "application/json;charset=UTF-8"
        return Response(answer.body, answer.status, media_type=media_type)

    return Route(path, serve, methods=list(handlers))
