"""The least that answers a look-up: our HTTP server and a dictionary in memory. No key, no store, no checks.

    python -m bench.bare COUNT SEED        prints its port

At ASGI as an application does that knows nothing of the server, at HOT as our hot routes do.
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import uvloop
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from bench.numbers import random_numbers
from chappe.api.app import Api, RequestIds
from chappe.api.http import Answer, Request
from chappe.api.schemas import StatusAnswer
from chappe.api.server import make_server

ASGI, HOT = "/asgi", "/hot"
ASKED = b"identifier="
JSON = (b"content-type", b"application/json;charset=UTF-8")


class Bare(Api):
    """An ASGI application, and a handler of one hot route."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        super().__init__({HOT: {"GET": self._find}}, Router(), RequestIds("bare"), lambda: None)
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._answers[scope["query_string"].removeprefix(ASKED)]
        headers = [JSON, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _find(self, request: Request) -> Answer:
        return Answer(200, self._answers[request.scope["query_string"].removeprefix(ASKED)])


async def _serve(count: int, seed: int) -> None:
    now = time.time_ns() // 1_000_000
    answers = {
        b"%2B" + number[1:].encode(): msgspec.json.encode(
            StatusAnswer(
                delivered=now,
                id=index,
                identifier=number,
                sent=now,
                state="DELIVERED",
                stateDate=now,
                submitted=now,
                test=False,
            )
        )
        for index, number in enumerate(random_numbers(count, seed), 1)
    }
    server = make_server(Bare(answers), "127.0.0.1", 0)
    await server.start()
    print(server.port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    count, seed = map(int, sys.argv[1:])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(count, seed))


if __name__ == "__main__":
    main()
