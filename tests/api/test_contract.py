"""The contract's first two sections, line by line, on the wire: what is tolerated, what is never done, the errors."""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from api_scene import HOUR, KEY, NOW, NUMBER, SEND, SEND_MARKETING, STATUS, STRANGER_KEY, Scene, open_scene
from wire_scene import House, open_house

from chappe.api.areas import OPERATIONS
from chappe.api.operations import STREAM, Operation, Origin
from chappe.api.problems import KINDS
from chappe.api.server import Limits
from chappe.core.errors import StoreUnavailable
from chappe.core.message import Key, NotAccepted
from chappe.storage.sqlite import SqliteStore
from proofs.calls import BY_NAME, Call, Caller

JSON = "application/json;charset=UTF-8"
UNSUBSCRIBERS = "/v2/unsubscribers/default/contacts"
BODY = b'{"number":"0612345678","message":"Bonjour"}'


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, Limits(head_seconds=60, body_seconds=60)) as house:
        yield house


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


@pytest.fixture
def client(scene: Scene) -> httpx2.AsyncClient:
    """Speaks to the API in process: for what is the same there as on the wire."""
    return scene.client


def caller_of(client: httpx2.AsyncClient) -> Caller:
    async def ask(call: Call) -> httpx2.Response:
        return await client.request(call.method, call.target, headers=dict(call.headers), content=call.octets)

    return Caller(ask, {"POST /v2/notification/messages/send": {"date": NOW + HOUR}})


every_operation = pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.answer is not STREAM], ids=lambda one: one.name
)


def raw(method: bytes, target: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    head = [method + b" " + target + b" HTTP/1.1", b"Host: x", b"X-Primotexto-ApiKey: " + KEY.encode(), *lines]
    if body:
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*head, b"", body])


# --- conventions ---------------------------------------------------------------------------------------


@every_operation
async def test_every_operation_answers_its_example(client: httpx2.AsyncClient, operation: Operation[Any]) -> None:
    caller = caller_of(client)
    answer = await caller.ask(await caller.prepare(operation))
    assert answer.status_code == operation.success, answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code == 204:
        assert answer.content == b""
    else:
        assert answer.headers["content-type"] == JSON


@pytest.mark.parametrize("name", [b"x-primotexto-apikey", b"X-PRIMOTEXTO-APIKEY", b"x-Primotexto-aPiKeY"])
async def test_header_names_are_in_any_case(house: House, name: bytes) -> None:
    client = await house.connect()
    head = b"POST " + SEND.encode() + b" HTTP/1.1\r\nHost: x\r\n" + name + b": " + KEY.encode()
    answer = await client.ask(head, b"\r\nCONTENT-LENGTH: %d\r\n\r\n" % len(BODY), BODY)
    assert answer.status == 200


@pytest.mark.parametrize("key", [KEY.upper(), KEY[:-1], KEY + "0", f" {KEY[:-1]}", "g" * 32, ""])
async def test_a_key_is_32_lower_case_hexadecimal_characters(client: httpx2.AsyncClient, key: str) -> None:
    answer = await client.get("/v2/account/stats", headers={"X-Primotexto-ApiKey": key.strip()})
    assert (answer.status_code, answer.json()["code"]) == (401, 72)


@pytest.mark.parametrize("path", [SEND, SEND_MARKETING])
async def test_a_message_s_id_is_decimal_a_text_when_sent_and_a_number_in_its_status(
    client: httpx2.AsyncClient, path: str
) -> None:
    answer = await client.post(path, json={"number": NUMBER, "message": "Bonjour"})
    sent = answer.json()
    status = (await client.get(STATUS, params={"snapshotId": sent["snapshotId"]})).json()
    assert (answer.status_code, sent["creditsUsed"]) == (200, 1.0)
    assert re.fullmatch("[0-9]{1,10}", sent["snapshotId"])
    assert int(sent["snapshotId"]) == status["id"] < 2**31
    assert (status["submitted"], status["stateDate"]) == (NOW, NOW)


@pytest.mark.parametrize("number", ["0612345678", "+33612345678", "0033612345678", "06 12.34-56 78"])
async def test_numbers_are_taken_as_people_write_them_and_shown_in_e164(
    client: httpx2.AsyncClient, number: str
) -> None:
    sent = (await client.post(SEND, json={"number": number, "message": "Bonjour"})).json()
    status = (await client.get(STATUS, params={"snapshotId": sent["snapshotId"]})).json()
    assert status["identifier"] == NUMBER


@pytest.mark.parametrize("written", [b"%2B33612345678", b"+33612345678", b"0612345678", b"%2b33%206%2012345678"])
async def test_a_plus_in_a_query_is_understood_escaped_or_not(house: House, written: bytes) -> None:
    await house.scene.sent()
    client = await house.connect()
    answer = await client.ask(raw(b"GET", STATUS.encode() + b"?identifier=" + written))
    assert (answer.status, json.loads(answer.body)["identifier"]) == (200, NUMBER)


@every_operation
def test_success_is_200_or_204_or_a_201_that_says_where(operation: Operation[Any]) -> None:
    if operation.method == "POST" and operation.success != 204:
        assert operation.success == (201 if "Location" in operation.headers else 200)
    assert operation.success in (200, 201, 204)


# --- what is tolerated ---------------------------------------------------------------------------------


@every_operation
async def test_slashes_too_many_and_lone_question_marks_are_passed_over(
    house: House, operation: Operation[Any]
) -> None:
    """For each operation: the same answer as without them, from a path with doubled slashes everywhere."""
    if operation.method != "GET":
        client, wrong = await house.connect(), operation.path.replace("/", "//") + "//?"
        answer = await client.ask(raw(operation.method.encode(), re.sub("{[a-z]+}", "0", wrong).encode()))
        assert not operation.open
        assert answer.code != 1002
        return
    call = await caller_of(house.scene.client).prepare(operation)
    plain = await house.scene.client.get(call.target)
    path, _, query = call.target.partition("?")
    client = await house.connect()
    doubled = await client.ask(raw(b"GET", f"{path.replace('/', '//')}///?{query}".encode()))
    assert (doubled.status, doubled.body) == (plain.status_code, plain.content)


NULLS = {"sender": None, "from": None, "campaignName": None, "category": None, "date": None, "trackLinks": None}
UNKNOWN = {"type": "sms", "snapshotId": "1", "creditsUsed": 1.0, "history": [{}], "listId": {"id": 3}, "état": []}


@pytest.mark.parametrize("extra", [NULLS, UNKNOWN, NULLS | UNKNOWN], ids=["null", "unknown", "both"])
async def test_null_is_absent_and_unknown_members_are_ignored(
    client: httpx2.AsyncClient, extra: Mapping[str, object]
) -> None:
    answer = await client.post(SEND, json={"number": NUMBER, "message": "Bonjour", **extra})
    assert answer.status_code == 200


BODIES = [one for one in OPERATIONS if isinstance(one.example, dict)]


@pytest.mark.parametrize("operation", BODIES, ids=lambda one: one.name)
async def test_every_body_may_have_members_that_nobody_knows_and_nulls(
    client: httpx2.AsyncClient, operation: Operation[Any]
) -> None:
    caller = caller_of(client)
    call = await caller.prepare(operation)
    nulls = {
        one.encode_name: None for one in msgspec.structs.fields(operation.body) if one.encode_name not in call.body
    }
    body = json.dumps({**nulls, **UNKNOWN, "apiKey": KEY, **call.body})
    answer = await client.request(call.method, call.target, content=body)
    assert answer.status_code == operation.success, answer.text


async def test_from_means_sender(scene: Scene, client: httpx2.AsyncClient) -> None:
    sent = (await client.post(SEND, json={"number": NUMBER, "message": "Bonjour", "from": "Shop1"})).json()
    assert (await scene.stored(int(sent["snapshotId"]))).sender == "Shop1"


async def test_a_key_inside_the_body_is_neither_minded_nor_logged(
    scene: Scene, client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"number": NUMBER, "message": "Bonjour", "apiKey": KEY, "X-Primotexto-ApiKey": KEY}
    assert (await client.post(SEND, json=body)).status_code == 200

    async def fail(*_: object) -> None:
        raise RuntimeError(json.dumps(body))

    monkeypatch.setattr(SqliteStore, "accept", fail)
    with caplog.at_level(logging.DEBUG, "chappe"):
        assert (await client.post(SEND, json=body)).status_code == 500
    assert len(caplog.records) == 1
    assert KEY not in json.dumps([str(vars(record)) for record in caplog.records])


@pytest.mark.parametrize("path", [STATUS + "?identifier=0612345678", "/v2/account/stats", UNSUBSCRIBERS])
async def test_a_get_may_announce_json_of_no_length(house: House, path: str) -> None:
    await house.scene.sent()
    client = await house.connect()
    lines = (b"Content-Type: application/json", b"Content-Length: 0")
    answers = [await client.ask(raw(b"GET", path.encode(), *lines)) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]


@pytest.mark.parametrize("spelling", ["default", "defaults"])
@pytest.mark.parametrize("name", ["unsubscribers", "bounces"])
async def test_an_entry_is_deleted_by_an_id_in_path_and_query(
    client: httpx2.AsyncClient, name: str, spelling: str
) -> None:
    path = f"/v2/{name}/{spelling}/contacts"
    id_ = (await client.post(path, json={"identifier": NUMBER})).json()["id"]
    assert re.fullmatch("[0-9a-f]{24}", id_)
    removed = await client.delete(f"{path}/{id_}?id={id_}&identifier=")
    assert (removed.status_code, removed.content) == (204, b"")
    assert (await client.get(path)).json() == []


async def test_a_connection_is_kept_whatever_the_answer(house: House) -> None:
    client = await house.connect()
    targets = [SEND.encode(), b"/v2/nowhere", STATUS.encode(), b"/v2/messages/status?snapshotId=9"]
    wanted = [(b"POST", 200), (b"GET", 404), (b"POST", 405), (b"GET", 404)]
    for target, (method, status) in zip(targets, wanted, strict=True):
        body = BODY if method == b"POST" else b""
        assert (await client.ask(raw(method, target, b"Connection: keep-alive", body=body))).status == status


@pytest.mark.parametrize("name", [b"gzip", b"x-gzip", b"GZIP"])
async def test_a_body_may_be_packed(house: House, name: bytes) -> None:
    client = await house.connect()
    lines = (b"Content-Encoding: " + name, b"Accept-Encoding: gzip, deflate, br")
    answer = await client.ask(raw(b"POST", SEND.encode(), *lines, body=gzip.compress(BODY)))
    assert (answer.status, json.loads(answer.body)["creditsUsed"]) == (200, 1.0)


async def test_te_deflate_is_heard_and_not_taken_up(house: House) -> None:
    """As Perl's LWP sends it."""
    client = await house.connect()
    lines = (b"TE: deflate,gzip;q=0.3", b"Connection: TE, close", b"User-Agent: libwww-perl/6.68")
    answer = await client.ask(raw(b"POST", SEND.encode(), *lines, body=BODY))
    assert (answer.status, "transfer-encoding" in answer.headers) == (200, False)


@pytest.mark.parametrize("written", ["Été ☀ 😀".encode(), rb"\u00c9t\u00e9 \u2600 \ud83d\ude00"])
async def test_a_text_is_raw_or_escaped(house: House, written: bytes) -> None:
    client = await house.connect()
    answer = await client.ask(raw(b"POST", SEND.encode(), body=BODY.replace(b"Bonjour", written)))
    message = await house.scene.stored(int(json.loads(answer.body)["snapshotId"]))
    assert message.text == "Été ☀ 😀"


CAMPAIGNS = [f"/v2/{family}campaigns" for family in ("marketing/", "notification/", "")]


@pytest.mark.parametrize(
    "content_type", [b"application/json", b"text/plain", b"application/x-www-form-urlencoded", b""]
)
@pytest.mark.parametrize("body", [b"SEND", b'"SEND"', b"{}", b""])
@pytest.mark.parametrize("prefix", CAMPAIGNS)
async def test_a_campaign_is_sent_by_any_body_under_any_prefix(
    house: House, prefix: str, body: bytes, content_type: bytes
) -> None:
    campaign = await caller_of(house.scene.client).make(Origin("POST /v2/marketing/campaigns", "id"), {})
    lines = (b"Content-Type: " + content_type,) if content_type else ()
    client = await house.connect()
    request = raw(b"POST", f"{prefix}//{campaign}/send".encode(), *lines, b"Content-Length: %d" % len(body))
    answer = await client.ask(request, body)
    assert (answer.status, json.loads(answer.body)["creditsUsed"]) == (200, 2.0)


@pytest.mark.parametrize("path", CAMPAIGNS[:2])
async def test_a_campaign_s_list_is_a_text_or_an_object_and_the_answer_says_which(
    client: httpx2.AsyncClient, path: str
) -> None:
    list_ = await caller_of(client).make(Origin("POST /v2/lists", "id"), {})
    body = {"name": "Soldes", "message": "Bonjour"}
    answers = [await client.post(path, json={**body, "sendList": written}) for written in (list_, {"id": list_})]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [list(answer.json()) for answer in answers] == [["id"], ["campaignId"]]


# --- what is never done --------------------------------------------------------------------------------

EXACT: Mapping[str, set[str]] = {
    "GET /v2/account/stats": {"bounces", "credits", "delivered", "sent", "submitted", "undelivered", "unsubscribers"},
    "GET /v2/check": {"international", "rawIdentifier", "formattedIdentifier", "status"},
    "GET /v2/campaigns/{id}/blacklists": {"bounces", "unsubscribers"},
    "GET /v2/campaigns/{id}/status": {
        *("bounces", "creditsUsed", "delivered", "errors", "id", "name", "replies", "sent", "state", "submitted"),
        *("undelivered", "unsubscribers", "opens", "openers", "clicks", "clickers"),
    },
    "GET /v2/lists/{id}/contacts": {"id", "identifier", "attributes", "listId"},
    "POST /v2/marketing/campaigns": {"id"},
    "POST /v2/notification/campaigns": {"id"},
}
"""Where a strict client refuses members that it does not know."""


@pytest.mark.parametrize("name", EXACT)
async def test_no_member_is_added_where_a_client_refuses_it(client: httpx2.AsyncClient, name: str) -> None:
    caller, operation = caller_of(client), BY_NAME[name]
    values = await caller.find_values(operation, {})
    if name == "GET /v2/lists/{id}/contacts":
        await caller.make(Origin("POST /v2/lists/{id}/contacts"), values)
    answer = (await caller.ask(await caller.prepare(operation, values))).json()
    assert (answer[0] if isinstance(answer, list) else answer).keys() == EXACT[name]


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if not one.open and one.answer is not STREAM], ids=lambda one: one.name
)
async def test_without_a_key_every_operation_is_401_in_json(
    client: httpx2.AsyncClient, operation: Operation[Any]
) -> None:
    target = re.sub("{[a-z]+}", "1", operation.path)
    answers = [
        await client.request(operation.method, target, content=b"{", headers={"X-Primotexto-ApiKey": key})
        for key in ("", "0" * 32)
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(401, 72)] * 2
    assert {answer.headers["content-type"] for answer in answers} == {JSON}


@pytest.mark.parametrize("path", sorted({one.path for one in OPERATIONS}))
async def test_another_method_is_405_in_json(client: httpx2.AsyncClient, path: str) -> None:
    allowed = {one.method for one in OPERATIONS if path in (one.path, *one.aliases)}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - allowed:
        answer = await client.request(method, re.sub("{[a-z]+}", "1", path))
        assert (answer.status_code, answer.json()["code"]) == (405, 1003)
        assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == allowed


@pytest.mark.parametrize("path", ["/", "/v2", "/v1/messages/status", "/v2/messages", "/v2/message/status", "/%00"])
async def test_an_unknown_address_is_404_in_json(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.request("GET", path if path != "/v2/messages" else "/v2/messages/1")
    assert (answer.status_code, answer.json()["code"]) == (404, 1002)


# --- errors --------------------------------------------------------------------------------------------


def status_of(code: int) -> int:
    """The contract's decision, written apart from the program's table."""
    by_code = {
        70: 401,
        72: 401,
        71: 402,
        92: 403,
        16: 404,
        47: 404,
        60: 404,
        93: 404,
        15: 409,
        46: 409,
        18: 413,
        76: 429,
    }
    ours = {1000: 500, 1002: 404, 1003: 405, 1004: 408, 1005: 413, 1006: 422, 1007: 503}
    return (by_code | ours).get(code, 400)


CODES = {*range(10, 24), 30, 31, 32, *range(40, 49), 60, 61, 62, *range(70, 77), *range(90, 96), 120, 121}


def test_every_code_of_the_contract_has_its_status() -> None:
    assert CODES | set(range(1000, 1008)) <= KINDS.keys()
    assert {code: kind.status for code, kind in KINDS.items() if code < 1008} == {
        code: status_of(code) for code in KINDS if code < 1008
    }


PROVOKED: Mapping[int, dict[str, Any]] = {
    10: {"number": ""},
    11: {"number": "abc"},
    12: {"number": "0612345600"},
    13: {"number": "0612345601"},
    19: {"number": "0145678901"},
    20: {"sender": "Été"},
    21: {"sender": "ab"},
    22: {"sender": "abcdefghijkl"},
    23: {"sender": "123456"},
    30: {"message": " "},
    31: {"message": "a\0b"},
    32: {"message": "a" * 5000},
    40: {"campaignName": "a" * 256},
    45: {"category": "a\nb"},
    61: {"date": "tomorrow"},
    62: {"date": 1},
    90: {"number": "+882161234567"},
    91: {"number": "+491711234567"},
    1001: {"validity": "soon"},
}


@pytest.mark.parametrize("code", PROVOKED)
async def test_a_refused_send_has_its_code_its_status_and_the_same_text_twice(
    client: httpx2.AsyncClient, code: int
) -> None:
    await client.post(UNSUBSCRIBERS, json={"identifier": "0612345600"})
    await client.post("/v2/bounces/default/contacts", json={"identifier": "0612345601"})
    body = json.dumps({"number": NUMBER, "message": "Bonjour", **PROVOKED[code]})
    for language, text in (("fr", KINDS[code].french), ("en-GB", KINDS[code].english)):
        answer = await client.post(SEND, content=body, headers={"Accept-Language": language})
        told = answer.json()
        assert (answer.status_code, told["code"]) == (status_of(code), code)
        assert list(told) == ["code", "error", "message", "field"]
        assert told["error"] == told["message"]
        assert told["message"].startswith(text.removesuffix("."))
        assert told["field"] in {*PROVOKED[code]}
        assert answer.headers["x-request-id"] not in answer.text
    assert (await client.get(STATUS, params={"identifier": NUMBER})).json()["code"] == 16  # nothing was stored


async def test_the_statuses_that_a_send_does_not_give(scene: Scene, client: httpx2.AsyncClient) -> None:
    """404 and 405 above; 408 and more of 413 in test_http_limits.py."""
    first = await client.post(SEND, content=BODY, headers={"Idempotency-Key": "k"})
    again = await client.post(SEND, content=BODY, headers={"Idempotency-Key": "k"})
    other = await client.post(SEND, content=BODY + b" ", headers={"Idempotency-Key": "k"})
    large = await client.post(SEND, content=b"[" + b"0," * 600_000 + b"0]")
    assert (first.status_code, again.content) == (200, first.content)
    assert [(one.status_code, one.json()["code"]) for one in (other, large)] == [(422, 1006), (413, 1005)]


@pytest.mark.parametrize(("trouble", "status", "code"), [(StoreUnavailable(), 503, 1007), (ValueError(), 500, 1000)])
async def test_a_store_that_is_away_is_503_and_a_fault_500_in_json(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, trouble: Exception, status: int, code: int
) -> None:
    async def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(SqliteStore, "accept", fail)
    answer = await client.post(SEND, content=BODY)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_code_14_is_a_bounce_of_all_accounts(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bar(*_: object) -> NotAccepted:
        return NotAccepted(14)

    monkeypatch.setattr(SqliteStore, "accept", bar)
    answer = await client.post(SEND, content=BODY)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 14, "number")


async def test_a_blocked_account_is_403(
    scene: Scene, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    [key, *_] = await scene.store.list_keys()
    blocked = replace(key, account=replace(key.account, blocked=True))

    async def find_key(*_: object) -> Key:
        return blocked

    monkeypatch.setattr(SqliteStore, "find_key", find_key)
    answer = await client.get("/v2/account/stats")
    assert (answer.status_code, answer.json()["code"]) == (403, 92)


@pytest.mark.parametrize(
    "query", ["snapshotId=1&identifier=0612345678", "", "snapshotId=x", "snapshotId=1&snapshotId=2"]
)
async def test_both_neither_or_an_unreadable_id_is_1001(client: httpx2.AsyncClient, query: str) -> None:
    answer = await client.get(f"{STATUS}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, 1001)


async def test_a_message_of_another_account_is_404_with_the_bytes_of_none(
    scene: Scene, client: httpx2.AsyncClient
) -> None:
    theirs = await scene.sent(key=STRANGER_KEY)
    answers = [await client.get(STATUS, params={"snapshotId": id_}) for id_ in (str(theirs), "999999")]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, 16)] * 2
    assert answers[0].content == answers[1].content
