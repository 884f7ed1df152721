"""Answers, and lists that are answered page by page: what all areas do alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from chappe.api.http import Answer, Request
from chappe.api.operations import Parameter
from chappe.api.problems import INVALID_PARAMETER, Problem
from chappe.api.query import value
from chappe.core.ids import Kind, read_hex_id

PAGE = 1_000
"""Rows read at once: others get their turn between two pages."""
MOST_LISTED = 100_000
"""Rows in one answer; who has more goes on behind the last one with `after`."""


class Listed(Protocol):
    """What is listed by its id."""

    @property
    def id(self) -> int: ...


T = TypeVar("T", bound=Listed)

HEX_ID = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
"""An id of the contract's."""
AFTER = Parameter("after", HEX_ID)

V = TypeVar("V")


def or_unset(known: V | None) -> V | UnsetType:
    """A member that is absent while it is not known."""
    return UNSET if known is None else known


def read_after(request: Request, kind: Kind, name: str = "after") -> int:
    """Ours: the id after which a list begins, or `before`; 0 where there is none."""
    text = value(request, name)
    if text is None:
        return 0
    after = read_hex_id(kind, text)
    if not after:
        raise Problem(INVALID_PARAMETER, name)
    return after


async def pages(read: Callable[[int, int], Awaitable[list[T]]], after: int) -> AsyncIterator[list[T]]:
    """A list page by page, from behind the id `after`, MOST_LISTED rows at most."""
    for _ in range(0, MOST_LISTED, PAGE):
        page = await read(after, PAGE)
        yield page
        if len(page) < PAGE:
            return
        after = page[-1].id
        await asyncio.sleep(0)


async def list_answer(found: AsyncIterator[Sequence[T]], describe: Callable[[T], msgspec.Struct]) -> Answer:
    pieces = [_encoder.encode([describe(row) for row in page])[1:-1] async for page in found]
    return Answer(200, b"[%s]" % b",".join(piece for piece in pieces if piece))


def json_answer(answer: object) -> Answer:
    return Answer(200, _encoder.encode(answer))


_encoder = msgspec.json.Encoder()
