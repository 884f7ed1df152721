"""The description of the API (OpenAPI 3.1), made from the records that requests and answers are made of."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from importlib.metadata import version
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chappe.api import blacklists, searching, statistics
from chappe.api.operations import Operation
from chappe.api.problems import IDEMPOTENCY, KINDS, Hint, ProblemAnswer
from chappe.api.schemas import SendAnswer, SendBody, StatusAnswer
from chappe.api.webhooks import BODIES as WEBHOOK_BODIES

Node: TypeAlias = dict[str, Any]

_ALWAYS = (72, 92, 1000, 1001, 1007)
_SENDING = (10, 11, 12, 13, 14, 19, 20, 21, 22, 23, 30, 31, 32, 40, 45, 61, 62, 73, 90, 91, 1004, 1005, 1006)
_ASKING = (11, 16)
OPERATIONS: Sequence[Operation[Any]] = (*statistics.OPERATIONS, *blacklists.OPERATIONS, *searching.OPERATIONS)
BODIES = [body for operation in OPERATIONS for body in (operation.body, operation.answer) if body is not None]


def openapi_routes() -> list[Route]:
    body = msgspec.json.encode(describe_api())

    async def openapi(_: Request) -> Response:
        return Response(body, media_type="application/json;charset=UTF-8")

    return [Route("/v2/openapi.json", openapi, methods=["GET"])]


def describe_api() -> Node:
    """The whole document."""
    _, schemas = msgspec.json.schema_components(
        (SendBody, SendAnswer, StatusAnswer, ProblemAnswer, *WEBHOOK_BODIES, *BODIES),
        ref_template="#/components/schemas/{name}",
    )
    # Null and absent are the same here, so the records cannot say it.
    schemas["SendBody"]["required"] = ["number", "message"]
    schemas["EndpointBody"]["required"] = ["url"]
    schemas["EntryBody"]["required"] = ["identifier"]
    schemas["PreviewBody"]["required"] = ["message"]
    idempotency = _parameter("Idempotency-Key", "header", {"type": "string", "minLength": 1, "maxLength": 255})
    identifier = _parameter("identifier", "query", {"type": "string"})
    snapshot_id = _parameter("snapshotId", "query", {"type": "string", "pattern": "^[0-9]{1,19}$"})
    send = {
        "parameters": [idempotency],
        "requestBody": {"required": True, "content": _json("SendBody")},
        "responses": _responses("Accepted and stored.", "SendAnswer", (*_ALWAYS, *_SENDING)),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Chappe", "version": version("chappe")},
        "security": [{"key": []}],
        "paths": {
            "/v2/notification/messages/send": {"post": {"summary": "Send a transactional message", **send}},
            "/v2/marketing/messages/send": {"post": {"summary": "Send a promotional message", **send}},
            "/v2/messages/status": {
                "get": {
                    "summary": "What became of a message: by its id, or the latest to a number",
                    "parameters": [identifier, snapshot_id],
                    "responses": _responses("The message's state.", "StatusAnswer", (*_ALWAYS, *_ASKING)),
                }
            },
            **_webhook_paths(),
            **_paths_of(OPERATIONS),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Primotexto-ApiKey"}},
        },
    }


def _webhook_paths() -> Node:
    whole = {"type": "integer", "minimum": 0}
    id_ = {**_parameter("id", "path", whole), "required": True}
    after, limit = _parameter("after", "query", {"type": "string"}), _parameter("limit", "query", whole)
    since = _parameter("since", "query", whole)
    last_event = _parameter("Last-Event-ID", "header", {"type": "string"})
    create = {
        "summary": "Have events posted to a URL; the secret is shown once",
        "requestBody": {"required": True, "content": _json("EndpointBody")},
        "responses": _responses("The webhook.", "EndpointAnswer", (*_ALWAYS, 73, 1004, 1005)),
    }
    stream = _responses("Server-sent events.", "EventAnswer", (*_ALWAYS, 76))
    stream["200"]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    return {
        "/v2/webhooks": {
            "get": {
                "summary": "The account's webhooks",
                "responses": _responses("All of them.", "EndpointsAnswer", _ALWAYS),
            },
            "post": create,
        },
        "/v2/webhooks/{id}": {"delete": _on_webhook("Remove a webhook", "RemovedAnswer", id_)},
        "/v2/webhooks/{id}/enable": {
            "post": _on_webhook("Enable a webhook that was disabled by a 410", "EndpointAnswer", id_)
        },
        "/v2/webhooks/{id}/rotate": {
            "post": _on_webhook("A new secret, live beside the one before; it is shown once", "EndpointAnswer", id_)
        },
        "/v2/webhooks/{id}/replay": {
            "post": _on_webhook("Post exhausted events again", "ReplayAnswer", id_, since, codes=(61, 1009))
        },
        "/v2/events": {
            "get": {
                "summary": "The events after a place, for receivers that were away",
                "parameters": [after, limit],
                "responses": _responses("The next events.", "EventsAnswer", _ALWAYS),
            }
        },
        "/v2/events/stream": {
            "get": {"summary": "Events as they come", "parameters": [last_event], "responses": stream}
        },
    }


def _paths_of(operations: Sequence[Operation[Any]]) -> Node:
    paths: dict[str, Node] = {}
    for operation in operations:
        described: Node = {"summary": operation.summary, "responses": _answers_of(operation)}
        if operation.parameters:
            in_path = set(re.findall("{([a-z]+)}", operation.path))
            described["parameters"] = [
                {**_parameter(one.name, "path", one.schema), "required": True}
                if one.name in in_path
                else _parameter(one.name, "query", one.schema)
                for one in operation.parameters
            ]
        if operation.body is not None:
            described["requestBody"] = {"required": True, "content": _json(operation.body.__name__)}
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return paths


def _answers_of(operation: Operation[Any]) -> Node:
    responses = _responses("Done.", "ProblemAnswer", (*_ALWAYS, *operation.codes))
    if operation.answer is None:
        del responses["200"]
        return {"204": {"description": "Done."}, **responses}
    [schema], _ = msgspec.json.schema_components([operation.answer], ref_template="#/components/schemas/{name}")
    responses["200"]["content"] = {"application/json": {"schema": schema}}
    return responses


def _on_webhook(summary: str, schema: str, *parameters: Node, codes: Collection[int] = ()) -> Node:
    responses = _responses("Done.", schema, (*_ALWAYS, 1008, *codes))
    return {"summary": summary, "parameters": list(parameters), "responses": responses}


def _responses(success: str, schema: str, codes: Collection[int]) -> Node:
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(KINDS[code].status, []).append(f"{code}: {KINDS[code].english}")
    if IDEMPOTENCY in codes:
        by_status[409] = [f"{IDEMPOTENCY}: {Hint.STILL_RUNNING.value[1]}"]
    problems = {
        str(status): {"description": " ".join(lines), "content": _json("ProblemAnswer")}
        for status, lines in sorted(by_status.items())
    }
    return {"200": {"description": success, "content": _json(schema)}, **problems}


def _parameter(name: str, where: str, schema: Node) -> Node:
    return {"name": name, "in": where, "required": False, "schema": schema}


def _json(schema: str) -> Node:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
