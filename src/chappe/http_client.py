"""One call to a Chappe server, for the commands that are clients of it: `send`, `status`, `demo`.

Standard library only, so that the commands start fast; a program uses the SDK instead.
"""

from __future__ import annotations

import json
import ssl
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import Any, TypeAlias
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPErrorProcessor, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from chappe.core.errors import ChappeError

Answer: TypeAlias = dict[str, Any]
"""A JSON object as the server sent it."""

_LARGEST_ANSWER = 4 << 20


class Unreachable(ChappeError):
    """The server cannot be reached."""


class Declined(ChappeError):
    """The server said no: `status` is HTTP's, `answer` its JSON body, with the contract's `code`."""

    def __init__(self, status: int, answer: Answer) -> None:
        self.status = status
        self.answer = answer
        text = answer.get("message") or answer.get("error") or f"HTTP status {status}"
        super().__init__(f"{text} (code {answer['code']})" if "code" in answer else str(text))


def call(
    base_url: str,
    key: str | None,
    method: str,
    path: str,
    body: object = None,
    *,
    idempotency_key: str | None = None,
    language: str = "en",
    timeout_seconds: float = 10.0,
    cacert: str | None = None,
) -> Answer:
    """Calls `path` of the server at `base_url` and returns its answer; `body` goes as JSON.

    The server's certificate is verified; `cacert` is a PEM file of those to trust instead of the system's.
    Raises Declined, or Unreachable, which says whether the request may have been taken all the same.
    """
    headers = {"Accept": "application/json", "Accept-Language": language}
    if key is not None:
        headers["X-Primotexto-ApiKey"] = key
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = Request(  # noqa: S310 - the caller's own server, whatever its scheme
        base_url.rstrip("/") + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers=headers,
    )
    opener = _opener(base_url, cacert)
    try:
        with opener.open(request, timeout=timeout_seconds) as response:
            status: int = response.status
            octets = response.read(_LARGEST_ANSWER)
    except URLError as error:
        raise Unreachable(f"{base_url} cannot be reached: {_reason(error.reason)}. Is the server running?") from error
    except (OSError, HTTPException) as error:
        hint = "" if method == "GET" else "; it may have been accepted all the same: ask for the status before retrying"
        raise Unreachable(f"{base_url} took the request but gave no answer ({_reason(error)}){hint}") from error
    answer = _parse(octets)
    if answer is None:
        raise Unreachable(f"{base_url} does not answer as Chappe does (HTTP status {status}); check the address")
    if not 200 <= status < 300:
        raise Declined(status, answer)
    return answer


class _AsAnswered(HTTPErrorProcessor):
    """Every status is an answer. A redirect is not followed: urllib would carry the API key to wherever it leads."""

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:
        return response

    https_response = http_response


def _opener(base_url: str, cacert: str | None) -> OpenerDirector:
    """The proxies of the environment are not for this machine, though urllib would use them."""
    proxies = [ProxyHandler({})] if _is_loopback(urlsplit(base_url).hostname or "") else []
    trusted = [] if cacert is None else [HTTPSHandler(context=_trust(cacert))]
    return build_opener(_AsAnswered, *proxies, *trusted)


def _trust(cacert: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cacert)
    except OSError as error:  # ssl.SSLError too
        raise ChappeError(
            f"{cacert}: {'not a certificate in PEM' if isinstance(error, ssl.SSLError) else error.strerror}"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse(octets: bytes) -> Answer | None:
    try:
        answer = json.loads(octets)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _reason(reason: object) -> str:
    return (isinstance(reason, OSError) and reason.strerror) or str(reason) or type(reason).__name__
