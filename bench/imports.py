"""Imports: a contact file over HTTP into a real server, until its last row is stored.

The first round adds every row, the others find every number there: that is the dearer half of an import done again.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from bench.accepts import random_numbers
from bench.generator import LoadError
from bench.measure import Bench, Round, Row
from bench.servers import ChildServer

MOST_MIB = 200
"""The server's largest memory, however many rows there are; more ends the run."""


async def of_a_file(bench: Bench) -> list[Row]:
    count = bench.scale.import_rows
    added: list[Round] = []
    updated: list[Round] = []
    with TemporaryDirectory(dir=bench.folder) as name:
        folder = Path(name)
        file = folder / "clients.csv"
        _write(file, count)
        server = ChildServer(folder, {})
        key = server.create_key()
        await server.start()
        try:
            for _ in range(bench.scale.rounds):
                list_ = str(_ask(server, key, "/v2/lists", '{"name": "Clients"}')["id"])
                for rounds, counted in ((added, "imported"), (updated, "updated")):
                    progress = bench.begin(f"import, {counted}")
                    rounds.append(await asyncio.to_thread(_import, server, key, list_, file, count, counted))
                    progress(1)
            mib = _peak_mib(server.pid)
        finally:
            server.stop()
    if mib > MOST_MIB:
        raise LoadError(f"the server took {mib} MiB, more than {MOST_MIB}")
    return [
        Row("import", f"import of {count:,} rows, all new (peak {mib} MiB)", added),
        Row("import", "the same again, all there", updated),
    ]


def _write(file: Path, count: int) -> None:
    with file.open("w", encoding="utf-8") as lines:
        lines.write("tel;prénom;ville;né le\n")
        for index, number in enumerate(random_numbers(count, 7)):
            lines.write(f"{number};Zoé {index};Brest;{index % 28 + 1:02}/03/1980\n")


def _import(server: ChildServer, key: str, list_: str, file: Path, count: int, counted: str) -> Round:
    began, cpu = time.perf_counter(), server.cpu_seconds()
    with file.open("rb") as octets:
        headers = {"Content-Type": "text/csv", "Content-Length": str(file.stat().st_size)}
        operation = _ask(server, key, f"/v2/lists/{list_}/import", octets, headers)
    seconds = time.perf_counter() - began
    if operation["state"] != "DONE" or operation[counted] != count:
        raise LoadError(f"{count} rows were to be {counted}: {operation}")
    return Round(count, seconds, server.cpu_seconds() - cpu)


def _ask(
    server: ChildServer, key: str, path: str, body: object, headers: dict[str, str] | None = None
) -> dict[str, object]:
    connection = HTTPConnection(urlsplit(server.base_url).netloc, timeout=600)
    try:
        connection.request("POST", path, body, {"X-Primotexto-ApiKey": key} | (headers or {}))  # type: ignore[arg-type]
        answer: dict[str, object] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def _peak_mib(pid: int) -> int:
    """The most memory that the process ever had (Linux)."""
    found = re.search(r"VmHWM:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024
