"""A fraction of `scripts/prove`: kill -9 under load, with a fixed seed; and of the writer's process alone."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from bench.http_load import Connection, read, send_body
from bench.servers import ChildServer
from proofs.kill import prove


async def test_every_accepted_message_survives_kills_and_ends(tmp_path: Path) -> None:
    findings = await prove(tmp_path, sends=400, kills=3, seed=2)
    assert findings.problems == []
    assert findings.accepted > 250
    assert findings.states["delivered"] >= findings.accepted - 3 * 50  # at most a window of doubts a kill


async def test_server_whose_writer_is_killed_ends_and_the_next_one_has_what_was_accepted(tmp_path: Path) -> None:
    server = ChildServer(tmp_path, {})
    await server.start()
    connections = [Connection(server.base_url, server.create_key()) for _ in range(8)]
    accepted: list[str] = []
    begun = asyncio.Event()

    async def send(index: int) -> None:
        for turn in range(1_000):
            number = f"+3361{index}{turn:06d}"
            try:
                status, body = await connections[index].post("/v2/notification/messages/send", send_body(number))
            except OSError:
                return
            if status == 200:
                accepted.append(read((status, body))["snapshotId"])
            if len(accepted) > 100:
                begun.set()

    clients = [asyncio.create_task(send(index)) for index in range(8)]
    await begun.wait()
    os.kill(server.writer_pid, signal.SIGKILL)
    assert await asyncio.to_thread(server.wait) == 1
    await asyncio.gather(*clients)
    await server.start()
    asking = Connection(server.base_url, server.create_key())
    for id_ in accepted:
        status, _ = await asking.get(f"/v2/messages/status?snapshotId={id_}")
        assert status == 200
    assert server.stop() == 0
    for connection in (*connections, asking):
        connection.close()
