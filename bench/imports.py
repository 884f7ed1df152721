"""Imports: a contact file over HTTP into a real server, until its last row is stored.

The first round adds every row, the others find every number there: that is the dearer half of an import done again.
"""

from __future__ import annotations

import asyncio
import json
import time
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from bench.generator import LoadError
from bench.measure import Bench, Goal, Progress, Round, Row, Unit
from bench.numbers import random_numbers
from bench.servers import ChildServer, peak_mib

MOST_MIB = 200
"""The server's largest memory, however many rows there are."""


async def of_a_file(bench: Bench) -> list[Row]:
    """A CSV file of four columns, into an empty list and again."""
    count = bench.scale.import_rows
    added, updated = f"import of {count:,} rows, all new", "the same again, all there"
    with TemporaryDirectory(dir=bench.folder) as name:
        folder = Path(name)
        file = folder / "clients.csv"
        _write(file, count)
        server = ChildServer(folder, {})
        key = server.create_key()
        await server.start()
        list_ = ""

        async def add(number: int, progress: Progress) -> Round:
            nonlocal list_
            list_ = _empty_list(server, key)
            return await asyncio.to_thread(_import, server, key, list_, file, count, "imported")

        async def update(number: int, progress: Progress) -> Round:
            return await asyncio.to_thread(_import, server, key, list_, file, count, "updated")

        try:
            found = await bench.in_turn({added: add, updated: update}, bench.scale.rounds)
            peak = Round(1, 1, figure=peak_mib(server.pid))
        finally:
            server.stop()
    return [
        *(Row("import", what, rounds) for what, rounds in found.items()),
        Row("import", "the server's largest memory in that", [peak], Unit.MIB, goals=[Goal(MOST_MIB)]),
    ]


def make_list(server: ChildServer, key: str, folder: Path, count: int) -> str:
    """A list of so many contacts; its id."""
    file = folder / "clients.csv"
    _write(file, count)
    list_ = _empty_list(server, key)
    _import(server, key, list_, file, count, "imported")
    return list_


def ask(
    server: ChildServer, key: str, path: str, body: object, headers: dict[str, str] | None = None
) -> dict[str, object]:
    """What a POST answers. Raises LoadError when it is refused."""
    connection = HTTPConnection(urlsplit(server.base_url).netloc, timeout=600)
    try:
        connection.request("POST", path, body, {"X-Primotexto-ApiKey": key} | (headers or {}))  # type: ignore[arg-type]
        answer = connection.getresponse()
        said: dict[str, object] = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status >= 300:
        raise LoadError(f"POST {path}: {answer.status} {said}")
    return said


def _empty_list(server: ChildServer, key: str) -> str:
    return str(ask(server, key, "/v2/lists", '{"name": "Clients"}')["id"])


def _write(file: Path, count: int) -> None:
    with file.open("w", encoding="utf-8") as lines:
        lines.write("tel;prénom;ville;né le\n")
        for index, number in enumerate(random_numbers(count, 7)):
            lines.write(f"{number};Zoé {index};Brest;{index % 28 + 1:02}/03/1980\n")


def _import(server: ChildServer, key: str, list_: str, file: Path, count: int, counted: str) -> Round:
    began, cpu = time.perf_counter(), server.cpu_seconds()
    with file.open("rb") as octets:
        headers = {"Content-Type": "text/csv", "Content-Length": str(file.stat().st_size)}
        operation = ask(server, key, f"/v2/lists/{list_}/import", octets, headers)
    seconds = time.perf_counter() - began
    if operation["state"] != "DONE" or operation[counted] != count:
        raise LoadError(f"{count} rows were to be {counted}: {operation}")
    return Round(count, seconds, server.cpu_seconds() - cpu)
