"""A real server on the loopback address, and clients that behave badly at the level of bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_scene import KEY, SEND
from wire_scene import Client, House, open_house

from chappe.api.http import MAX_BODY_BYTES
from chappe.api.server import Limits, make_server
from chappe.core.ids import Kind, hex_id
from chappe.core.lists import Operation, OperationId, OperationState
from chappe.core.message import Accepted, NotAccepted, SendMessage
from chappe.flow import imports

QUICK = Limits(head_seconds=0.2, body_seconds=0.2, read_seconds=0.2, linger_seconds=0.2)
PATIENT = Limits(head_seconds=60, body_seconds=60)
BODY = b'{"number":"0612345678","message":"Bonjour"}'
KEY_LINE = b"X-Primotexto-ApiKey: " + KEY.encode() + b"\r\n"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, PATIENT) as house:
        yield house


@pytest.fixture
async def strict_house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, QUICK) as house:
        yield house


def post(body: bytes = BODY, *lines: bytes, path: bytes = SEND.encode(), length: int | None = None) -> bytes:
    """A send as a client writes it."""
    size = len(body) if length is None else length
    head = [b"POST " + path + b" HTTP/1.1", b"Host: x", b"Content-Length: %d" % size, *lines]
    return b"\r\n".join(head) + b"\r\n" + KEY_LINE + b"\r\n" + body


def chunked(*lines: bytes) -> bytes:
    """The head of a send whose length is not known."""
    return b"\r\n".join([b"POST " + SEND.encode() + b" HTTP/1.1", b"Transfer-Encoding: chunked", *lines, b"", b""])


# --- what has to work ----------------------------------------------------------------------------------


async def test_a_connection_is_kept_for_the_next_request(house: House) -> None:
    client = await house.connect()
    for _ in range(3):
        answer = await client.ask(post())
        assert answer.status == 200
        assert "connection" not in answer.headers


async def test_requests_may_be_sent_before_the_answers_are_read(house: House) -> None:
    client = await house.connect()
    client.write(post() * 50)
    ids = [int(json.loads((await client.read_answer()).body)["snapshotId"]) for _ in range(50)]
    assert ids == sorted(set(ids))


async def test_a_request_behind_the_last_one_is_not_served(house: House) -> None:
    client = await house.connect()
    answer = await client.ask(post(BODY, b"Connection: close"), post())
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.is_closed()
    assert len(house.scene.woken) == 1


async def test_a_connection_is_closed_when_nothing_is_asked_for_long(tmp_path: Path) -> None:
    async with open_house(tmp_path, Limits(keep_alive_seconds=0)) as house:
        client = await house.connect()
        assert (await client.ask(post())).status == 200
        assert await client.is_closed()


@pytest.mark.parametrize(
    "path", [b"//v2//notification/messages/send", b"/v2/notification/messages/send/?", b"http://x" + SEND.encode()]
)
async def test_odd_targets_arrive(house: House, path: bytes) -> None:
    client = await house.connect()
    assert (await client.ask(post(path=path))).status == 200


async def test_a_request_may_come_byte_by_byte(house: House) -> None:
    client = await house.connect()
    for byte in post():
        client.write(bytes([byte]))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.read_answer()).status == 200


async def test_a_chunked_body_is_read(house: House) -> None:
    client = await house.connect()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)
    assert (await client.ask(chunked(KEY_LINE[:-2]), chunks, b"0\r\n\r\n")).status == 200


async def test_an_offer_to_upgrade_is_declined_by_answering(house: House) -> None:
    client = await house.connect()
    upgrade = (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    )
    for _ in range(2):
        assert (await client.ask(post(BODY, *upgrade))).status == 200
    client.write(post(BODY, *upgrade) * 2)
    assert [(await client.read_answer()).status for _ in range(2)] == [200, 200]


async def test_a_client_that_waits_for_100_continue_is_told_to_go_on(house: House) -> None:
    client = await house.connect()
    client.write(post(b"", b"Expect: 100-continue", length=len(BODY)))
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.ask(BODY)).status == 200


async def test_head_has_no_body(house: House) -> None:
    client = await house.connect()
    client.write(b"HEAD /health HTTP/1.1\r\n\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert (await client.ask(post())).status == 200


async def test_old_clients_are_answered_and_let_go(house: House) -> None:
    client = await house.connect()
    answer = await client.ask(b"GET /health HTTP/1.0\r\n\r\n")
    assert (answer.status, await client.is_closed()) == (200, True)


# --- what is too large ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nX: " + b"a" * 17_000 + b"\r\n\r\n",
        b"GET /health?" + b"a" * 17_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X: a\r\n" * 3_000 + b"\r\n",
    ],
)
async def test_a_large_head_is_refused_however_it_arrives(house: House, head: bytes) -> None:
    whole, slow = await house.connect(), await house.connect()
    whole_answer = await whole.ask(head)
    for start in range(0, len(head), 1_000):
        slow.write(head[start : start + 1_000])
        await slow.writer.drain()
        await asyncio.sleep(0)
    slow_answer = await slow.read_answer()
    for client, answer in ((whole, whole_answer), (slow, slow_answer)):
        assert (answer.status, answer.code) == (413, 1005)
        assert answer.headers["content-type"] == "application/json;charset=UTF-8"
        assert answer.headers["x-request-id"]
        assert await client.is_closed()


async def test_a_head_just_below_the_limit_is_taken(house: House) -> None:
    client = await house.connect()
    for _ in range(2):
        head = b"GET /health HTTP/1.1\r\nX: " + b"a" * 16_000 + b"\r\n\r\n"
        assert (await client.ask(head)).status == 200
    client.write(b"GET /health HTTP/1.1\r\n\r\n" * 2_000)  # much larger together
    assert {(await client.read_answer()).status for _ in range(2_000)} == {200}


async def test_a_header_without_end_is_not_collected(house: House) -> None:
    client = await house.connect()
    client.write(b"GET /health HTTP/1.1\r\nX: ")
    assert await client.flood(b"a" * 65_536, 64 << 20) < 16 << 20


async def test_a_body_announced_too_large_is_refused_before_it_comes(house: House) -> None:
    client = await house.connect()
    answer = await client.ask(post(b"", length=MAX_BODY_BYTES + 1))
    assert (answer.status, answer.code) == (413, 1005)


async def test_a_chunked_body_that_grows_too_large_is_refused(house: House) -> None:
    client = await house.connect()
    client.write(chunked(KEY_LINE[:-2]))
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    client.write(chunk * (MAX_BODY_BYTES // 65_536 + 1))
    answer = await client.read_answer()
    assert (answer.status, answer.code) == (413, 1005)
    assert await client.flood(chunk, 64 << 20) < 16 << 20


@pytest.mark.parametrize("trailer", [b"0\r\nX: ", b"1;"])
async def test_trailers_and_chunk_extensions_without_end_are_not_collected(house: House, trailer: bytes) -> None:
    client = await house.connect()
    client.write(chunked(KEY_LINE[:-2]), trailer)
    assert await client.flood(b"a" * 65_536, 64 << 20) < 32 << 20


async def test_a_large_body_without_a_key_is_not_read_to_its_end(house: House) -> None:
    client = await house.connect()
    answer = await client.ask(b"POST " + SEND.encode() + b" HTTP/1.1\r\nContent-Length: 67108864\r\n\r\n")
    assert (answer.status, answer.code) == (401, 72)
    assert await client.flood(b"a" * 65_536, 64 << 20) < 16 << 20


async def test_after_a_refusal_a_small_body_is_passed_over_and_the_connection_goes_on(house: House) -> None:
    client = await house.connect()
    refused = post().replace(KEY.encode(), b"0" * 32)
    assert (await client.ask(refused[:-10])).status == 401
    assert (await client.ask(refused[-10:], post())).status == 200


# --- what is too slow ----------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"G", b"\r\n", b"GET /health HTTP/1.1\r\nX: a", post()[:40]])
async def test_a_head_that_does_not_end_is_408(strict_house: House, begun: bytes) -> None:
    client = await strict_house.connect()
    answer = await client.ask(begun)
    assert (answer.status, answer.code, answer.headers["connection"]) == (408, 1004, "close")
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert await client.is_closed()


async def test_a_second_head_that_does_not_end_is_408(strict_house: House) -> None:
    client = await strict_house.connect()
    assert (await client.ask(post(), b"POST /v2")).status == 200
    assert (await client.read_answer()).status == 408


async def test_a_head_that_trickles_does_not_win_time(strict_house: House) -> None:
    client = await strict_house.connect()
    client.write(b"GET /health HTTP/1.1\r\n")
    answering = asyncio.create_task(client.read_answer())
    while not answering.done():
        client.write(b"X: a\r\n")
        await asyncio.sleep(0.02)
    assert (await answering).status == 408


@pytest.mark.parametrize("encoding", ["length", "chunked"])
async def test_a_body_that_does_not_end_is_408_and_nothing_is_sent(strict_house: House, encoding: str) -> None:
    client = await strict_house.connect()
    head = post(BODY[:-1], b"Accept-Language: fr", length=len(BODY)) if encoding == "length" else chunked(KEY_LINE[:-2])
    answer = await client.ask(head)
    assert (answer.status, answer.code) == (408, 1004)
    assert await client.is_closed()
    assert strict_house.scene.woken == []


async def test_a_late_body_is_told_in_the_callers_language(strict_house: House) -> None:
    client = await strict_house.connect()
    answer = await client.ask(post(b"", b"Accept-Language: fr", length=9))
    assert json.loads(answer.body)["error"] == "La requête arrive trop lentement."


async def test_a_connection_that_never_asks_is_closed_without_a_word(strict_house: House) -> None:
    client = await strict_house.connect()
    assert await client.is_closed()


async def test_a_body_that_is_not_wanted_has_a_deadline_too(strict_house: House) -> None:
    client = await strict_house.connect()
    assert (await client.ask(b"POST /nowhere HTTP/1.1\r\nContent-Length: 9\r\n\r\n")).status == 404
    assert await client.is_closed()


async def test_our_own_slowness_is_not_the_clients(strict_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    store, ticks = strict_house.scene.store, asyncio.Event()
    accept = store.accept

    async def accept_late(send: SendMessage) -> Accepted | NotAccepted:
        await ticks.wait()
        return await accept(send)

    monkeypatch.setattr(store, "accept", accept_late)
    client, other = await strict_house.connect(), await strict_house.connect()
    client.write(post())
    assert (await other.ask(b"GET /hea")).status == 408  # a deadline as long has passed
    ticks.set()
    assert (await client.read_answer()).status == 200


async def test_a_client_that_does_not_read_is_let_go(strict_house: House) -> None:
    client = await strict_house.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    written = await client.flood(b"GET /v2/openapi.json HTTP/1.1\r\n\r\n" * 100, 64 << 20)
    assert written < 64 << 20


# --- what is malformed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS on a plain port
        b"NONSENSE\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nBad Header\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"POST /health HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /health HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /health HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\n\r\n",
    ],
)
async def test_malformed_requests_are_answered_in_json_and_let_go(house: House, octets: bytes) -> None:
    client = await house.connect()
    answer = await client.ask(octets)
    assert (answer.status, answer.code) == (400, 1001)
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert await client.is_closed()
    assert (await (await house.connect()).ask(post())).status == 200


async def test_a_malformed_chunk_is_400_and_nothing_is_sent(house: House) -> None:
    client = await house.connect()
    answer = await client.ask(chunked(KEY_LINE[:-2]), b"zz\r\n")
    assert (answer.status, answer.code) == (400, 1001)
    assert house.scene.woken == []


async def test_rubbish_after_a_whole_request_does_not_cost_its_answer(house: House) -> None:
    client = await house.connect()
    answer = await client.ask(post(), b"\x00\x00rubbish\r\n\r\n")
    assert answer.status == 200
    assert await client.is_closed()


# --- starting and stopping -----------------------------------------------------------------------------


async def test_an_address_in_use_is_an_os_error(house: House) -> None:
    with pytest.raises(OSError, match="address already in use"):
        await make_server(house.scene.app, "127.0.0.1", house.server.port).start()


async def test_stopping_answers_what_was_asked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on, accept = asyncio.Event(), asyncio.Event(), house.scene.store.accept

    async def accept_when_told(send: SendMessage) -> Accepted | NotAccepted:
        began.set()
        await go_on.wait()
        return await accept(send)

    monkeypatch.setattr(house.scene.store, "accept", accept_when_told)
    client, idle = await house.connect(), await house.connect()
    client.write(post())
    await began.wait()
    stopping = asyncio.create_task(house.server.stop())
    assert await idle.is_closed()
    go_on.set()
    answer = await client.read_answer()
    await stopping
    assert (answer.status, answer.headers["connection"]) == (200, "close")


async def test_stopping_does_not_wait_for_clients_that_do_not_finish(tmp_path: Path) -> None:
    async with open_house(tmp_path, Limits(shutdown_seconds=0)) as house:
        client = await house.connect()
        client.write(post(b"", b"Expect: 100-continue", length=9))
        await client.reader.readuntil(b"\r\n\r\n")  # its request is being read
        async with asyncio.timeout(30):
            await house.server.stop()
        answer = await client.read_answer()
        assert (answer.status, answer.code) == (500, 1000)


# --- uploads -------------------------------------------------------------------------------------------

LINES = f"0612345678;{'x' * 480}\n".encode() * 128
"""Some 64 KiB of a contact file."""


async def upload(house: House, head: bytes = b"tel;x\n", *, length: int | None = None) -> Client:
    """A client that has begun to send a contact file, of a length it tells, or in chunks."""
    list_ = hex_id(Kind.LIST, await house.scene.store.create_list(house.scene.account.id, "Clients", 0))
    client = await house.connect()
    size = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    lines = [f"POST /v2/lists/{list_}/import HTTP/1.1".encode(), b"Content-Type: text/csv", size, KEY_LINE]
    client.write(b"\r\n".join(lines), b"\r\n", head if length is not None else chunk(head))
    return client


def chunk(octets: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(octets), octets)


async def ended(house: House) -> Operation:
    """The only import, once it is over."""
    async with asyncio.timeout(30):
        while True:
            found = await house.scene.store.find_operation(house.scene.account.id, OperationId(1))
            if found is not None and found.state is not OperationState.RUNNING:
                return found
            await asyncio.sleep(0.01)


async def test_an_upload_may_take_as_long_as_it_flows_and_be_larger_than_any_body(strict_house: House) -> None:
    length = 10 * MAX_BODY_BYTES // len(LINES) * len(LINES)
    client = await upload(strict_house, length=6 + length)
    deadline = asyncio.get_running_loop().time() + 5 * QUICK.body_seconds
    for _ in range(length // len(LINES)):
        client.write(LINES)
        await client.writer.drain()
        if asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(QUICK.body_seconds / 4)
    answer = await client.read_answer()
    assert (answer.status, json.loads(answer.body)["rows"]) == (201, length // 492)
    assert asyncio.get_running_loop().time() > deadline


async def test_an_upload_that_trickles_is_408_and_interrupted(
    strict_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "WINDOW", 100)
    client = await upload(strict_house)
    client.write(chunk(LINES * 2))
    answering = asyncio.create_task(client.read_answer())
    while not answering.done():
        client.write(chunk(b"0"))
        await asyncio.sleep(0.02)
    assert ((await answering).status, (await answering).code) == (408, 1004)
    operation = await ended(strict_house)
    assert (operation.state, operation.imported) == (OperationState.INTERRUPTED, 1)


async def test_an_upload_whose_client_goes_away_is_interrupted(house: House) -> None:
    client = await upload(house)
    client.write(chunk(LINES * 4))
    await client.writer.drain()
    while await house.scene.store.find_operation(house.scene.account.id, OperationId(1)) is None:
        await asyncio.sleep(0.01)
    client.writer.transport.abort()
    assert (await ended(house)).state is OperationState.INTERRUPTED


async def test_an_upload_is_refused_by_its_header_and_the_client_can_read_why(house: House) -> None:
    length = 64 * MAX_BODY_BYTES
    client = await upload(house, b"nom;x\n", length=length)
    client.write(LINES * 16)
    answer = await client.read_answer()
    assert (answer.status, answer.code) == (400, 75)
    assert await client.flood(LINES, length) < 16 * MAX_BODY_BYTES


async def test_an_upload_without_a_key_has_the_limits_of_any_body(house: House) -> None:
    client = await house.connect()
    path = b"/v2/lists/" + hex_id(Kind.LIST, 1).encode() + b"/import"
    answer = await client.ask(
        b"POST " + path + b" HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: 67108864\r\n\r\n"
    )
    assert (answer.status, answer.code) == (401, 72)
    assert await client.flood(LINES, 64 << 20) < 16 << 20


async def test_request_after_an_upload_has_the_limits_of_any_body(strict_house: House) -> None:
    client = await upload(strict_house, length=6)
    assert (await client.read_answer()).status == 201
    assert (await client.ask(post(BODY[:-1], length=len(BODY)))).status == 408
