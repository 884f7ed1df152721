"""Calls of every operation, made from the tables that serve it: its example, and the objects that this needs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from urllib.parse import urlencode

import httpx2

from chappe.api.areas import OPERATIONS
from chappe.api.operations import Operation, Origin

SEND = "POST /v2/notification/messages/send"
BY_NAME: Mapping[str, Operation[Any]] = {operation.name: operation for operation in OPERATIONS}

Ask: TypeAlias = Callable[["Call"], Awaitable[httpx2.Response]]


@dataclass(slots=True, frozen=True)
class Call:
    """One request, but for the key."""

    operation: Operation[Any]
    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    body: Any
    """None: without one."""

    @property
    def octets(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body, ensure_ascii=False).encode()


@dataclass(slots=True)
class Caller:
    """Makes the objects that a call needs by the calls that make them."""

    ask: Ask
    making: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Operation → members that its body has besides the example's, when it makes an object."""

    async def prepare(self, operation: Operation[Any], known: Mapping[str, str] | None = None) -> Call:
        """The operation's example on objects that exist; `known` are those that exist already, by parameter."""
        values = await self.find_values(operation, known or {})
        body = operation.example
        for member, origin in operation.origins.items():
            body = {**body, member: await self.make(origin, {})}
        return call_of(operation, values, body)

    async def find_values(self, operation: Operation[Any], known: Mapping[str, str]) -> dict[str, str]:
        """Of its parameters that name objects; those that are not known are made."""
        values = dict(known)
        for parameter in operation.parameters:
            if parameter.origin is not None and parameter.name not in known:
                made = await self.make(parameter.origin, values)
                if parameter.origin.member is not None:
                    values[parameter.name] = made
        return values

    async def make(self, origin: Origin, known: Mapping[str, str]) -> str:
        """A new object; returns its id, where it has one."""
        operation = BY_NAME[origin.operation]
        call = await self.prepare(operation, {name: known[name] for name in operation.in_path if name in known})
        more = self.making.get(operation.name)
        if more is not None:
            call = replace(call, body={**call.body, **more})
        # Without its headers: with an idempotency key it would be the same object again.
        answer = await self.ask(replace(call, headers={}))
        assert answer.status_code == operation.success, f"{operation.name}: {answer.status_code} {answer.text}"
        if origin.member is None:
            return ""
        if origin.member in operation.headers:
            return answer.headers[origin.member].rpartition("/")[2]
        return str(answer.json()[origin.member])


def call_of(operation: Operation[Any], values: Mapping[str, str], body: Any) -> Call:
    """The operation's example with these values for its parameters."""
    path = operation.path
    for name in operation.in_path:
        path = path.replace(f"{{{name}}}", values[name])
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    for parameter in operation.parameters:
        value = values.get(parameter.name, parameter.example)
        if value is not None and parameter.name not in operation.in_path:
            (headers if parameter.header else query)[parameter.name] = value
    target = f"{path}?{urlencode(query)}" if query else path
    return Call(operation, operation.method, target, headers, body)
