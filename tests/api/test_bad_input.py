"""Wrong bodies, queries and ids for every operation: refused with a documented code, and nothing of them is stored."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import quote

import httpx2
import msgspec
import pytest
from api_scene import HOUR, NOW, Scene, open_scene

from chappe.api.areas import OPERATIONS
from chappe.api.openapi import codes_of
from chappe.api.operations import STREAM, Operation
from proofs.calls import SEND, Call, Caller, call_of

MILLION = 1_000_000
TOO_LARGE = (18, 74, 1005)
"""A file, too many rows, a body."""
WRONG_TYPES: tuple[object, ...] = ({"a": {}}, [[]], True, 1.5, "x\0y", 10**30, -1)
ODD_TEXTS = (
    "",
    "a\0b",
    "\ud800",
    "\uffff",
    "\u202e",
    "0" * 5_000,
    "é" * 200_000,
    "$" * 100_000,
    "{{",
    "%s",
    "' OR 1=1 --",
)
ODD_IDS = ("0", "-1", "1.0", "٣", "1" * 300, "f" * 24, "9" * 18, "a b", "%00", "..%2F..", "null")
IGNORED = ("landingPageType", "externalUrl")
"""Of a campaign: the one has a meaning only when the other is `EXTERNAL`, and is not kept otherwise."""
WITH_BODY = [one for one in OPERATIONS if isinstance(one.example, dict)]
WITH_PARAMETERS = [one for one in OPERATIONS if one.parameters and one.answer is not STREAM]

named = pytest.mark.parametrize


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


class Trial:
    """Asks, and says what was not answered as it has to be."""

    def __init__(self, scene: Scene, folder: Path, operation: Operation[Any]) -> None:
        self._scene = scene
        self._file = folder / "chappe.db"
        self._operation = operation
        self._documented = {(status, code) for status, codes in codes_of(operation).items() for code in codes}
        self.caller = Caller(self._ask, {SEND: {"date": NOW + HOUR}})
        self.wrong: list[str] = []

    async def _ask(self, call: Call) -> httpx2.Response:
        return await self._scene.client.request(call.method, call.target, content=call.octets)

    async def refuse(
        self, what: str, call: Call, octets: bytes | None = None, *, may: bool = False, bare: bool = True
    ) -> int:
        """Nothing is stored; with `may` it may also be taken. Returns the code, 0 for a success.

        `bare`: without the call's headers; an idempotency key would tell one body from another.
        """
        before = dict(self._counts())
        content = call.octets if octets is None else octets
        headers = {} if bare else dict(call.headers)
        if content[:2] == b"\x1f\x8b":
            headers["Content-Encoding"] = "gzip"
        answer = await self._scene.client.request(call.method, call.target, content=content, headers=headers)
        if answer.status_code < 400:
            if not may:
                self.wrong.append(f"{what}: taken: {answer.status_code} {answer.text[:100]}")
            return 0
        code = int(answer.json()["code"])
        if (answer.status_code, code) not in self._documented and not (may and code == 1002):
            self.wrong.append(f"{what}: not documented: {answer.status_code} {answer.text[:100]}")
        if dict(self._counts()) != before:
            self.wrong.append(f"{what}: something was stored")
        return code

    def _counts(self) -> Iterator[tuple[str, int]]:
        """The rows of every table."""
        connection = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)
        try:
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            for (table,) in tables:
                yield table, connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        finally:
            connection.close()


@named("operation", WITH_BODY, ids=lambda one: one.name)
async def test_a_member_of_the_wrong_type_is_named(scene: Scene, tmp_path: Path, operation: Operation[Any]) -> None:
    trial = Trial(scene, tmp_path, operation)
    call = await trial.caller.prepare(operation)
    for name, type_ in members_of(operation).items():
        for value in WRONG_TYPES:
            if not fits(value, type_):
                octets = json.dumps({**call.body, name: value}).encode()
                await trial.refuse(f"{name} = {value!r}", call, octets)
    assert trial.wrong == []


@named("operation", WITH_BODY, ids=lambda one: one.name)
async def test_what_is_required_may_not_be_null_and_the_rest_may(
    scene: Scene, tmp_path: Path, operation: Operation[Any]
) -> None:
    trial = Trial(scene, tmp_path, operation)
    call = await trial.caller.prepare(operation)
    for name in members_of(operation):
        octets = json.dumps({**call.body, name: None}).encode()
        code = await trial.refuse(f"{name} = null", call, octets, may=name not in operation.required)
        if name not in operation.required and name not in operation.example:
            assert code in (0, 15, 46), f"{name} = null is not as if it were absent"
    assert trial.wrong == []


@named("operation", WITH_BODY, ids=lambda one: one.name)
async def test_odd_and_endless_texts_are_refused_or_taken_whole(
    scene: Scene, tmp_path: Path, operation: Operation[Any]
) -> None:
    trial = Trial(scene, tmp_path, operation)
    call = await trial.caller.prepare(operation)
    for name, type_ in members_of(operation).items():
        if fits("x", type_) and name not in IGNORED:
            for text in ODD_TEXTS:
                octets = json.dumps({**call.body, name: text}).encode()
                await trial.refuse(f"{name} = {text[:10]!r}…", call, octets, may=len(text) <= 5_000)
    assert trial.wrong == []


@named("operation", [one for one in OPERATIONS if one.body is not None], ids=lambda one: one.name)
async def test_a_million_elements_are_too_large_however_they_come(
    scene: Scene, tmp_path: Path, operation: Operation[Any]
) -> None:
    trial = Trial(scene, tmp_path, operation)
    call = await trial.caller.prepare(operation)
    members = members_of(operation) if isinstance(operation.example, dict) else {}
    element = b"0" if isinstance(operation.example, dict) else json.dumps(operation.example[-1]).encode()
    first = b"" if isinstance(operation.example, dict) else json.dumps(operation.example[0]).encode() + b","
    bodies = [b"[" + first + (element + b",") * MILLION + element + b"]"]
    bodies += [b'{"%s":%s}' % (name.encode(), bodies[0]) for name, type_ in members.items() if fits([], type_)]
    for body in bodies:
        assert await trial.refuse(repr(body[:20]), call, body) in TOO_LARGE
        assert await trial.refuse(f"packed {body[:20]!r}", call, gzip.compress(body)) in TOO_LARGE
    few = [b"[" + b'"1",' * 200_000 + b'"1"]']
    few += [b'{"%s":%s}' % (name.encode(), few[0]) for name, type_ in members.items() if fits([], type_)]
    for body in few:
        await trial.refuse(repr(body[:20]), call, body)
    assert trial.wrong == []


@named("operation", [one for one in OPERATIONS if one.body is not None], ids=lambda one: one.name)
@named("octets", [b"", b"{", b"null", b"[", b'"x"', b"1", b"\xff\xfe", b"{}{}", b'{"a":' * 40 + b"1" + b"}" * 40])
async def test_what_is_no_body_is_refused(
    scene: Scene, tmp_path: Path, operation: Operation[Any], octets: bytes
) -> None:
    trial = Trial(scene, tmp_path, operation)
    await trial.refuse(repr(octets), await trial.caller.prepare(operation), octets, may=not operation.required)
    assert trial.wrong == []


@named("operation", WITH_PARAMETERS, ids=lambda one: one.name)
async def test_odd_ids_and_parameters_are_refused_or_understood(
    scene: Scene, tmp_path: Path, operation: Operation[Any]
) -> None:
    trial = Trial(scene, tmp_path, operation)
    values = await trial.caller.find_values(operation, {})
    for parameter in operation.parameters:
        for text in (*ODD_IDS, "é" * 3_000, "\0"):
            if parameter.header and not (text.isascii() and text.isprintable()):
                continue
            odd = quote(text, safe="%") if parameter.name in operation.in_path else text
            call = call_of(operation, {**values, parameter.name: odd}, operation.example)
            await trial.refuse(f"{parameter.name} = {text[:10]!r}", call, may=True, bare=False)
    assert trial.wrong == []


@named("operation", [one for one in OPERATIONS if one.origins], ids=lambda one: one.name)
async def test_an_id_of_nobody_in_a_body_is_refused(scene: Scene, tmp_path: Path, operation: Operation[Any]) -> None:
    trial = Trial(scene, tmp_path, operation)
    call = await trial.caller.prepare(operation)
    for member in operation.origins:
        for id_ in ("", "0", "f" * 24, "5c" + "0" * 22, {"id": "f" * 24}, 7):
            octets = json.dumps({**call.body, member: id_}).encode()
            await trial.refuse(f"{member} = {id_!r}", call, octets)
    assert trial.wrong == []


def members_of(operation: Operation[Any]) -> dict[str, Any]:
    """The members of its body as they are written, and their types."""
    hints = get_type_hints(operation.body)
    return {one.encode_name: hints[one.name] for one in msgspec.structs.fields(operation.body)}


def fits(value: object, type_: Any) -> bool:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError:
        return False
    return True
