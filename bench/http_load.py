"""A small HTTP/1.1 client for load: keep-alive connections, one request at a time on each, nothing else.

Its own cost is what limits how much of a server can be seen, so it does the least that works.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


class Connection:
    """One keep-alive connection; after an OSError it opens a new one at the next call."""

    def __init__(self, base_url: str, key: str) -> None:
        address = urlsplit(base_url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._head = f"Host: {address.netloc}\r\nX-Primotexto-ApiKey: {key}\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes, *, idempotency_key: str | None = None) -> tuple[int, bytes]:
        """Status and body. Raises OSError (a connection that ends early included)."""
        known = f"Idempotency-Key: {idempotency_key}\r\n" if idempotency_key else ""
        head = f"POST {path} HTTP/1.1\r\n{self._head}{known}Content-Length: {len(body)}\r\n\r\n"
        return await self._call(head.encode() + body)

    async def get(self, path: str) -> tuple[int, bytes]:
        return await self._call(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _call(self, request: bytes) -> tuple[int, bytes]:
        try:
            if self._reader is None or self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            at = head.lower().index(b"content-length:") + 15
            length = int(head[at : head.index(b"\r\n", at)])
            return int(head[9:12]), await self._reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            self.close()
            raise ConnectionError("the server has closed the connection") from error
        except OSError:
            self.close()
            raise


def send_body(number: str, text: str = "Bonjour, votre commande est en route.", **options: object) -> bytes:
    return json.dumps({"number": number, "message": text, **options}).encode()


def read(answer: tuple[int, bytes]) -> Mapping[str, Any]:
    """The JSON object of a 200. Raises ValueError for any other status."""
    status, body = answer
    if status != 200:
        raise ValueError(f"status {status}: {body.decode(errors='replace')}")
    return dict(json.loads(body))
