"""Requests and answers of the hot routes, and the body of any request: plain ASGI, nothing in between."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec
from starlette.types import Receive, Scope

from chappe.api.problems import BODY_TOO_LARGE, INVALID_JSON, INVALID_PARAMETER, Header, Problem

MAX_BODY_BYTES = 1 << 20
MAX_JSON_DEPTH = 32
UPLOAD = "chappe.upload"
"""In the scope of our server: asks it to allow a body of so many bytes, and time as long as they flow."""

T = TypeVar("T")


@dataclass(slots=True)
class Request:
    scope: Scope
    receive: Receive
    headers: dict[bytes, bytes]
    """By lower-case name; of a repeated header the last."""
    body: bytes | None = None
    """As it was sent, where it came whole: `receive` has none then."""

    async def read_body(self) -> bytes:
        """The whole body, unpacked; never more than MAX_BODY_BYTES of it, packed or not.

        Raises Problem (1005, and 73 or 1001 when it cannot be unpacked), ClientGone.
        """
        if _too_large(self.headers.get(b"content-length", b"0")):
            raise Problem(BODY_TOO_LARGE)
        body = await _receive_all(self.receive) if self.body is None else self.body
        encoding = self.headers.get(b"content-encoding")
        return body if encoding is None else _unpack(body, encoding.strip().lower())

    async def read_pieces(self, most: int, code: int) -> AsyncIterator[bytes]:
        """The body as it arrives, unpacked, however long that takes as long as it flows.

        Raises Problem (the code given, for more than `most` bytes; 73 or 1001 when it cannot be unpacked), ClientGone.
        """
        if _too_large(self.headers.get(b"content-length", b"0"), most):
            raise Problem(code)
        allow = self.scope.get(UPLOAD)
        if allow is not None:  # other servers have no such limits
            allow(most)
        unpacker = _Unpacker(self.headers.get(b"content-encoding", b"").strip().lower())
        size, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGone
            more = message.get("more_body", False)
            for piece in unpacker.unpack(message.get("body", b"")):
                size += len(piece)
                if size > most:
                    raise Problem(code)
                yield piece
        unpacker.finish()

    def is_packed(self) -> bool:
        return self.headers.get(b"content-encoding", b"").strip().lower() not in _PLAIN


@dataclass(slots=True)
class Answer:
    """A whole answer in JSON."""

    status: int
    body: bytes
    headers: Sequence[Header] = ()


JSON = b"application/json;charset=UTF-8"

WHOLE_ANSWER = "chappe.answer"
"""In the scope of a server that takes an answer and the request's id at once, as `WholeAnswer`: two ASGI messages cost
several times as much, for a server that does not know us has to check the headers."""

WholeAnswer: TypeAlias = Callable[[Answer, bytes], Awaitable[None]]


class ClientGone(Exception):
    """The client went away before its request was complete: there is nobody to answer."""


def decode_json(body: bytes, decoder: msgspec.json.Decoder[T], codes_of_fields: dict[str, int]) -> T:
    """The body as a record. Raises Problem: 73, or for a wrong type the field's code, 1001 unless given."""
    if _is_too_deep(body):
        raise Problem(INVALID_JSON)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        if found is None:
            raise Problem(INVALID_JSON) from error
        raise Problem(codes_of_fields.get(found[1], INVALID_PARAMETER), found[1]) from error
    except ValueError as error:  # malformed, truncated, not UTF-8
        raise Problem(INVALID_JSON) from error


_FIELD = re.compile(r" - at `\$\.([A-Za-z_]+)")
_BRACKET_OR_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*"?|[\[\]{}]', re.DOTALL)
"""Possessive, and content with a string that never ends: linear however hostile the body."""


async def _receive_all(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")  # nearly every request is one read
        if len(body) > MAX_BODY_BYTES:
            raise Problem(BODY_TOO_LARGE)
        return body
    chunks, size = [], 0
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise Problem(BODY_TOO_LARGE)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()


def _too_large(content_length: bytes, most: int = MAX_BODY_BYTES) -> bool:
    return len(content_length) > 19 or (content_length.isdigit() and int(content_length) > most)


def _unpack(body: bytes, encoding: bytes) -> bytes:
    if encoding in _PLAIN:
        return body
    unpacking = _gunzip(encoding)
    try:
        unpacked = unpacking.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise Problem(INVALID_JSON) from error
    if len(unpacked) > MAX_BODY_BYTES:
        raise Problem(BODY_TOO_LARGE)
    if not unpacking.eof:
        raise Problem(INVALID_JSON)
    return unpacked


_PLAIN = (b"", b"identity")
_PIECE_BYTES = 64 * 1024
"""A packed body is unpacked in pieces of this size: a little of it may stand for very much."""


def _gunzip(encoding: bytes) -> zlib._Decompress:
    if encoding not in (b"gzip", b"x-gzip"):
        raise Problem(INVALID_PARAMETER, "Content-Encoding")
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


class _Unpacker:
    """A body that comes in pieces. Raises Problem 73 or 1001."""

    def __init__(self, encoding: bytes) -> None:
        self._unpacking = None if encoding in _PLAIN else _gunzip(encoding)

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        if self._unpacking is None:
            yield packed
            return
        while packed and not self._unpacking.eof:
            try:
                yield self._unpacking.decompress(packed, _PIECE_BYTES)
            except zlib.error as error:
                raise Problem(INVALID_JSON) from error
            packed = self._unpacking.unconsumed_tail

    def finish(self) -> None:
        """There is no more of it."""
        if self._unpacking is not None and not self._unpacking.eof:
            raise Problem(INVALID_JSON)


def _is_too_deep(body: bytes) -> bool:
    if body.count(b"{") + body.count(b"[") <= MAX_JSON_DEPTH:
        return False  # nearly every body
    depth = 0
    for token in _BRACKET_OR_STRING.finditer(body):
        byte = body[token.start()]
        if byte in b"[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                return True
        elif byte in b"]}":
            depth -= 1
    return False
