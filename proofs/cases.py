"""Generated requests of one account against all operations, beside another account whose every word is marked.

No answer may be a fault of ours, differ from the API's description, or have a byte of the other account in it; an
object of the other account answers as one that does not exist; and at the end the other account has what it had.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from requests.structures import CaseInsensitiveDict
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chappe.api.areas import OPERATIONS
from chappe.api.openapi import describe_api, operation_id
from chappe.api.operations import STREAM, Operation
from chappe.app import Node
from chappe.settings import Settings
from proofs import findings as found
from proofs.calls import SEND, Ask, Call, Caller, call_of
from proofs.stores import HOUR_MS, database, now_ms

OWN_KEY, THEIR_KEY = (sha256(name.encode()).hexdigest()[:32] for name in ("own", "their"))
MARK = "zq7rival"
MARKED_NUMBER = "+33698765432"
MARKS = (MARK.encode(), MARKED_NUMBER[1:].encode())
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NO_ROUTE, WRONG_METHOD = 1002, 1003
MAKE_ANEW_EVERY = 25
"""Cases, after which what they have deleted is made again."""
PATIENCE_SECONDS = 30
SERVED = [operation for operation in OPERATIONS if operation.answer is not STREAM]
"""A stream does not end."""


async def prove(
    folder: Path, *, cases: int, seed: int, postgres: bool, report: found.Report = found.silent
) -> found.Findings:
    async with _database_url(folder, postgres) as url:
        await _plant(url, report)
        async with Node(_settings(url, "api")) as node:
            with requests.Session() as session, _client(node, OWN_KEY) as own, _client(node, THEIR_KEY) as their:
                walk = Walk(session, own, their, report)
                await asyncio.to_thread(walk.run, cases, seed)
    return walk.findings


class Walk:
    """All operations, one after the other, from a thread of its own: generated cases are made without a loop."""

    def __init__(
        self, session: requests.Session, own: httpx2.Client, their: httpx2.Client, report: found.Report
    ) -> None:
        self.findings = found.Findings()
        self._session = session
        self._base_url = str(own.base_url)
        self._report = report
        self._counts: Counter[str] = Counter()
        self._foreign_ids: list[str] = []
        self._own = Caller(_asks(own), {SEND: {"date": now_ms() + HOUR_MS}})
        self._their = Caller(_asks(their), dict(_marked_bodies()))

    def run(self, cases: int, seed: int) -> None:
        foreign = {one.name: _now(self._their.find_values(one, {})) for one in SERVED}
        in_bodies = {
            one.name: {member: str(_now(self._their.make(origin, {}))) for member, origin in one.origins.items()}
            for one in SERVED
        }
        self._foreign_ids = sorted({id_ for ids in (*foreign.values(), *in_bodies.values()) for id_ in ids.values()})
        before = list(self._read_theirs(foreign))
        each = -(-cases // (2 * len(SERVED)))
        for number, operation in enumerate(SERVED):
            self._report(f"{number} of {len(SERVED)} operations")
            self._compare_with_absent(operation, foreign[operation.name], in_bodies[operation.name])
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                self._try(operation, mode, each, seed + number, foreign[operation.name])
        after = list(self._read_theirs(foreign))
        self.findings.expect(before == after, "the other account is not as it was")
        self.findings.expect(all(mark in b"".join(before) for mark in MARKS), "the other account is not marked")
        statuses = {f"{status}": count for status, count in sorted(self._counts.items()) if status[0].isdigit()}
        self.findings.counts = {
            "operations": len(SERVED),
            "cases": self._counts["cases"],
            **{f"answered {status}": count for status, count in statuses.items()},
            "compared with absent ones": self._counts["compared"],
            "5xx": sum(count for status, count in statuses.items() if status >= "5"),
            "otherwise than described": self._counts["otherwise"],
            "leaks": self._counts["leaks"],
        }

    def _try(
        self, operation: Operation[Any], mode: GenerationMode, count: int, seed_: int, foreign: Mapping[str, str]
    ) -> None:
        described = _DESCRIPTION.find_operation_by_id(operation_id(operation))
        own: dict[str, str] = {}

        @seed(seed_)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=described.as_strategy(generation_mode=mode), choice=st.randoms(use_true_random=False))
        def one(case: schemathesis.Case[Any], choice: Any) -> None:
            nonlocal own
            if self._counts["cases"] % MAKE_ANEW_EVERY == 0 or not own:
                own = _now(self._own.find_values(operation, {}))
            path = choice.choice([own, own, foreign, {}])
            known = {name: path[name] for name in operation.in_path if name in path}
            if known:
                case.path_parameters = {**(case.path_parameters or {}), **known}
            if operation.example is not None and choice.random() < 0.7:
                case.body = _mended(operation, case.body, choice, self._foreign_ids)
            if case.query and choice.random() < 0.2:
                case.query = {**case.query, choice.choice([*case.query]): choice.choice(self._foreign_ids)}
            if choice.random() < 0.97:  # else what was generated stands for a key
                case.headers = CaseInsensitiveDict([*(case.headers or {}).items(), ("X-Primotexto-ApiKey", OWN_KEY)])
            self._send(operation, case, known=bool(known))

        with suppress(Unsatisfiable):  # where nothing can be wrong
            one()

    def _send(self, operation: Operation[Any], case: schemathesis.Case[Any], *, known: bool) -> None:
        try:
            answer = case.call(base_url=self._base_url, session=self._session, headers={"X-Primotexto-ApiKey": OWN_KEY})
        except (requests.RequestException, ValueError, UnicodeError):
            return  # what cannot be written as HTTP
        self._counts["cases"] += 1
        self._counts[str(answer.status_code)] += 1
        where = f"{operation.name}: {answer.status_code} {answer.content[:200]!r} to {_shown(case)}"
        octets = answer.content + repr(answer.headers).encode()
        if any(mark in octets for mark in MARKS):
            self._counts["leaks"] += 1
            self.findings.problems.append(f"of the other account: {where}")
        if not known and answer.status_code in (404, 405) and _code(answer.content) in (NO_ROUTE, WRONG_METHOD):
            return  # an id with a slash in it, or none, makes another address
        try:
            case.validate_response(answer, checks=CHECKS)
        except (FailureGroup, Failure) as failure:
            self._counts["otherwise"] += 1
            causes = failure.exceptions if isinstance(failure, FailureGroup) else [failure]
            self.findings.problems.append(f"{where}: {'; '.join(str(cause).replace(chr(10), ' ') for cause in causes)}")

    def _compare_with_absent(
        self, operation: Operation[Any], foreign: Mapping[str, str], in_body: Mapping[str, str]
    ) -> None:
        """A call about an object of the other account, and one about an object that nobody has."""
        asked: list[tuple[Call, Call]] = []
        named = {name: foreign[name] for name in operation.in_path if name in foreign}
        if named:
            absent = {name: _absent(value) for name, value in named.items()}
            asked.append((call_of(operation, named, operation.example), call_of(operation, absent, operation.example)))
        for member, theirs in in_body.items():
            values = _now(self._own.find_values(operation, {}))
            asked.append(
                (
                    call_of(operation, values, {**operation.example, member: theirs}),
                    call_of(operation, values, {**operation.example, member: _absent(theirs)}),
                )
            )
        for calls in asked:
            first, second = (_now(self._own.ask(call)) for call in calls)
            self._counts["compared"] += 1
            self.findings.expect(
                (first.status_code, _told(first)) == (second.status_code, _told(second)) and first.status_code >= 400,
                f"{operation.name}: {first.status_code} {first.text} to a foreign object, "
                f"{second.status_code} {second.text} to an absent one",
            )

    def _read_theirs(self, foreign: Mapping[str, Mapping[str, str]]) -> Iterator[bytes]:
        for operation in SERVED:
            if operation.method == "GET" and not operation.open:
                call = call_of(operation, foreign[operation.name], None)
                yield _now(self._their.ask(call)).content


_DESCRIPTION = schemathesis.openapi.from_dict(describe_api())


# --- the other account --------------------------------------------------------------------------------

_WORDS = frozenset({"name", "message", "campaignName", "category"})


async def _plant(url: str, report: found.Report) -> None:
    """Both accounts, with messages that were delivered, answered and refused; the other's are marked."""
    report("planting")
    async with Node(_settings(url, "all")) as node:
        for name, key in (("own", OWN_KEY), (MARK, THEIR_KEY)):
            account = await node.store.open_account(name, now_ms())
            await node.store.create_key(account.id, sha256(key.encode()).digest(), key[:4], test=False, now=now_ms())
        async with httpx2.AsyncClient(base_url=node.base_url) as client:
            for key, mark in ((OWN_KEY, "own"), (THEIR_KEY, MARK)):
                client.headers["X-Primotexto-ApiKey"] = key
                for digit in range(6):
                    body = {"number": f"+3360000000{digit}", "message": f"Bonjour {mark}", "category": mark}
                    await client.post("/v2/notification/messages/send", json={**body, "campaignName": mark})
                end = time.monotonic() + PATIENCE_SECONDS
                while not (await client.get("/v2/messages/replies")).json():
                    if time.monotonic() > end:
                        raise TimeoutError("no reply from the simulator")
                    await asyncio.sleep(0.05)


def _marked_bodies() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for operation in SERVED:
        if isinstance(operation.example, dict):
            body = {name: value for name, member in operation.example.items() if (value := _marked(name, member))}
            yield operation.name, {**body, **({"date": now_ms() + HOUR_MS} if operation.name == SEND else {})}


def _marked(name: str, member: object) -> str | None:
    if not isinstance(member, str):
        return None
    if name in _WORDS:
        return f"{member} {MARK}"
    if name == "identifier":
        return MARKED_NUMBER
    return f"https://{MARK}.example/" if name == "url" else None


# --- cases --------------------------------------------------------------------------------------------


def _mended(operation: Operation[Any], body: Any, choice: Any, foreign: list[str]) -> Any:
    """The example, with one member as it was generated, or an id of the other account: so that the rest is right."""
    if not isinstance(operation.example, dict):
        return [*operation.example, *body] if isinstance(body, list) else operation.example
    names = [name for name in (body if isinstance(body, dict) else ()) if isinstance(name, str)]
    mended = dict(operation.example)
    if names and choice.random() < 0.8:
        name = choice.choice(names)
        mended[name] = body[name]
    else:
        name, id_ = choice.choice([*mended]), choice.choice(foreign)
        mended[name] = [id_] if isinstance(mended[name], list) else id_
    return mended


def _absent(id_: str) -> str:
    """Of the same kind, and nobody's."""
    return f"{id_[:8]}00000000ffffffff" if len(id_) == 24 else "999999999"


def _shown(case: schemathesis.Case[Any]) -> str:
    return f"{case.path_parameters} {case.query} {case.headers} {case.body!r}"[:500]


def _code(content: bytes) -> int | None:
    found_ = re.match(rb'\{"code":([0-9]+)', content)
    return None if found_ is None else int(found_[1])


def _told(answer: httpx2.Response) -> tuple[bytes, Mapping[str, str]]:
    of_each = ("x-request-id", "date")
    return answer.content, {name: value for name, value in answer.headers.items() if name not in of_each}


# --- asking -------------------------------------------------------------------------------------------


def _client(node: Node, key: str) -> httpx2.Client:
    return httpx2.Client(base_url=node.base_url, headers={"X-Primotexto-ApiKey": key})


def _asks(client: httpx2.Client) -> Ask:
    async def ask(call: Call) -> httpx2.Response:
        return client.request(call.method, call.target, headers=dict(call.headers), content=call.octets)

    return ask


def _now(coroutine: Any) -> Any:
    """What these coroutines return: none of them waits."""
    return asyncio.run(coroutine)


def _settings(url: str, role: str) -> Settings:
    return Settings(listen="127.0.0.1:0", database=url, role=role)  # type: ignore[arg-type]  # one of its three


@asynccontextmanager
async def _database_url(folder: Path, postgres: bool) -> AsyncIterator[str]:
    if postgres:
        async with database(folder) as cluster:
            yield cluster.url
    else:
        yield f"sqlite:///{folder / 'chappe.db'}"
