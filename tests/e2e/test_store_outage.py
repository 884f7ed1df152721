"""A disk without room and a locked database: 503 at once, nothing half accepted, and service returns by itself."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from bench.http_load import Connection, send_body
from bench.servers import ChildServer

SEND = "/v2/notification/messages/send"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ChildServer]:
    server = ChildServer(tmp_path, {})
    await server.start()
    yield server
    server.stop()


async def test_disk_without_room_is_503_until_there_is_room_again(server: ChildServer, tmp_path: Path) -> None:
    connection = Connection(server.base_url, server.create_key())
    accepted = [json.loads((await connection.post(SEND, send_body("+33612345601")))[1])["snapshotId"]]
    largest = max(file.stat().st_size for file in os.scandir(tmp_path))
    resource.prlimit(server.writer_pid, resource.RLIMIT_FSIZE, (largest + 64 * 1024, resource.RLIM_INFINITY))
    refused = 0
    for index in range(400):
        status, body = await connection.post(SEND, send_body(f"+336123457{index % 100:02}", "x" * 600))
        if status == 200:
            accepted.append(json.loads(body)["snapshotId"])
        else:
            assert (status, json.loads(body)["code"]) == (503, 1007)
            refused += 1
            if refused == 5:
                break
    assert refused == 5
    resource.prlimit(server.writer_pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    status, body = await connection.post(SEND, send_body("+33612345699"))
    assert status == 200
    accepted.append(json.loads(body)["snapshotId"])
    for id_ in accepted:
        status, _ = await connection.get(f"/v2/messages/status?snapshotId={id_}")
        assert status == 200
    assert accepted == [str(id_) for id_ in range(1, len(accepted) + 1)]  # what was refused took no id: it left nothing
    connection.close()


async def test_locked_database_is_503_until_it_is_free(server: ChildServer) -> None:
    connection = Connection(server.base_url, server.create_key())
    other = apsw.Connection(server.database.removeprefix("sqlite:///"))
    other.execute("BEGIN IMMEDIATE")
    status, body = await connection.post(SEND, send_body("+33612345601"))
    assert (status, json.loads(body)["code"]) == (503, 1007)
    other.execute("ROLLBACK")
    other.close()
    status, body = await connection.post(SEND, send_body("+33612345601"))
    assert (status, json.loads(body)["snapshotId"]) == (200, "1")
    connection.close()
