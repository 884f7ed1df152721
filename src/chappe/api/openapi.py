"""The description of the API (OpenAPI 3.1), made from the tables and records that it is served from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from importlib.metadata import version
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chappe.api.areas import AREAS, OPERATIONS
from chappe.api.operations import STREAM, Operation, Parameter
from chappe.api.problems import IDEMPOTENCY, INVALID_PARAMETER, KINDS, QUOTA_EXCEEDED, UNAVAILABLE, Hint, ProblemAnswer

Node: TypeAlias = dict[str, Any]

_EVERYWHERE = (1000, INVALID_PARAMETER, UNAVAILABLE)
_WITH_A_KEY = (72, 92)
_WITH_A_BODY = (73, 1004, 1005)
_REF = "#/components/schemas/{name}"


def openapi_routes() -> list[Route]:
    body = _document()

    async def openapi(_: Request) -> Response:
        return Response(body, media_type="application/json;charset=UTF-8")

    return [Route(path, openapi, methods=["GET"]) for path in ("/openapi.json", "/v2/openapi.json")]


@cache  # a tenth of a second, and the same for every API of a process
def _document() -> bytes:
    return msgspec.json.encode(describe_api())


def describe_api() -> Node:
    """The whole document."""
    paths: Node = {}
    for area in AREAS:
        for operation in area.operations:
            described = _describe(operation, area.make.__name__)
            paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Chappe",
            "version": version("chappe"),
            "description": "SMS by the Primotexto v2 API. Times are milliseconds since 1970.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": _problems(),
            "headers": _HEADERS,
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Primotexto-ApiKey"}},
        },
    }


def codes_of(operation: Operation[Any]) -> dict[int, list[int]]:
    """Every code of an error that the operation may give, by HTTP status."""
    codes = {*operation.codes, *_EVERYWHERE}
    codes |= set() if operation.open else set(_WITH_A_KEY)
    codes |= set(_WITH_A_BODY) if operation.body is not None else set()
    by_status: dict[int, list[int]] = {}
    for code in sorted(codes):
        by_status.setdefault(KINDS[code].status, []).append(code)
    if IDEMPOTENCY in codes:
        by_status.setdefault(409, []).append(IDEMPOTENCY)
    return dict(sorted(by_status.items()))


def operation_id(operation: Operation[Any]) -> str:
    """Such as `deleteUnsubscribersDefaultContactsById`."""
    pieces = operation.path.removeprefix("/v2").strip("/").split("/")
    words = [f"by-{piece[1:-1]}" if piece.startswith("{") else piece for piece in pieces]
    return operation.method.lower() + "".join(word.title() for piece in words for word in piece.split("-"))


def _describe(operation: Operation[Any], tag: str) -> Node:
    described: Node = {"operationId": operation_id(operation), "tags": [tag], "summary": operation.summary}
    if operation.aliases:
        described["description"] = f"Also served as {', '.join(f'`{alias}`' for alias in operation.aliases)}."
    if operation.open:
        described["security"] = []
    if operation.parameters:
        described["parameters"] = [_parameter(one, operation) for one in operation.parameters]
    if operation.body is not None:
        content = {"schema": _schema_of(operation.body), "example": operation.example}
        required = bool(operation.required)
        described["requestBody"] = {"required": required, "content": {"application/json": content}}
    described["responses"] = {str(operation.success): _success(operation)} | {
        str(status): {"$ref": f"#/components/responses/{_name(status, codes)}"}
        for status, codes in codes_of(operation).items()
    }
    return described


def _parameter(parameter: Parameter, operation: Operation[Any]) -> Node:
    in_path = parameter.name in operation.in_path
    where = "path" if in_path else "header" if parameter.header else "query"
    described = {"name": parameter.name, "in": where, "required": in_path, "schema": parameter.schema}
    return described if parameter.example is None else {**described, "example": parameter.example}


def _success(operation: Operation[Any]) -> Node:
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in operation.headers.items()}
    answer: Node = {"description": "Done.", "headers": {**_header("X-Request-Id"), **headers}}
    if operation.answer is STREAM:
        answer["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    elif operation.answer is not None:
        answer["content"] = {"application/json": {"schema": _schema_of(operation.answer)}}
    if links := dict(_links(operation)):
        answer["links"] = links
    return answer


def _links(operation: Operation[Any]) -> Iterator[tuple[str, Node]]:
    """What may be done with the object whose id is in the answer."""
    for other in OPERATIONS:
        for parameter in other.parameters:
            origin = parameter.origin
            if origin is not None and origin.member and origin.operation == operation.name:
                where = f"header.{origin.member}" if origin.member in operation.headers else f"body#/{origin.member}"
                passed_on = {name: f"$request.path.{name}" for name in operation.in_path if name in other.in_path}
                parameters = {**passed_on, parameter.name: f"$response.{where}"}
                yield operation_id(other), {"operationId": operation_id(other), "parameters": parameters}


def _problems() -> Node:
    found = {(status, tuple(codes)) for one in OPERATIONS for status, codes in codes_of(one).items()}
    return dict(_problem(status, codes) for status, codes in sorted(found))


def _name(status: int, codes: Collection[int]) -> str:
    """Of an error's description, which operations share: `404-16`."""
    return "-".join(map(str, (status, *codes)))


def _problem(status: int, codes: Collection[int]) -> tuple[str, Node]:
    texts = {code: KINDS[code].english for code in codes}
    if status == 409 and IDEMPOTENCY in codes:
        texts[IDEMPOTENCY] = Hint.STILL_RUNNING.value[1]
    headers = ["X-Request-Id"]
    if UNAVAILABLE in codes or QUOTA_EXCEEDED in codes:
        headers.append("Retry-After")
    one_of_these = {"properties": {"code": {"enum": list(codes)}}}
    schema = {"allOf": [_schema_of(ProblemAnswer), one_of_these]}
    return _name(status, codes), {
        "description": " ".join(f"{code}: {text}" for code, text in texts.items()),
        "headers": {name: node for header in headers for name, node in _header(header).items()},
        "content": {"application/json": {"schema": schema}},
    }


_HEADERS: Node = {
    "X-Request-Id": {"description": "Names the request in the server's log.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
}


def _header(name: str) -> Node:
    return {name: {"$ref": f"#/components/headers/{name}"}}


def _schema_of(type_: Any) -> Node:
    [schema], _ = msgspec.json.schema_components([type_], ref_template=_REF)
    return schema


def _schemas() -> Node:
    answers = [operation.answer for operation in OPERATIONS if operation.answer not in (None, STREAM)]
    bodies = [operation.body for operation in OPERATIONS if operation.body is not None]
    _, schemas = msgspec.json.schema_components([*bodies, *answers, ProblemAnswer], ref_template=_REF)
    for operation in OPERATIONS:
        if operation.required:
            schemas[operation.body.__name__]["required"] = list(operation.required)
    return schemas
