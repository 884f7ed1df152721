from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_scene import (
    HOUR,
    KEY,
    NOW,
    NUMBER,
    SECOND,
    SEND,
    SEND_MARKETING,
    STRANGER_KEY,
    TEST_KEY,
    Scene,
    open_scene,
)

from chappe.api.http import MAX_BODY_BYTES, MAX_JSON_DEPTH
from chappe.core.errors import StoreUnavailable
from chappe.core.message import Accepted, Family, InDoubtPolicy, NotAccepted, SendMessage


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def test_a_send_answers_the_contracts_two_members_once_stored(scene: Scene) -> None:
    answer = await scene.send()
    snapshot_id = answer.json()["snapshotId"]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.text == f'{{"creditsUsed":1.0,"snapshotId":"{snapshot_id}"}}'
    message = await scene.stored(int(snapshot_id))
    assert (message.number, message.text, message.accepted_at) == (NUMBER, "Bonjour", NOW)
    assert scene.woken == ["live"]


async def test_credits_are_counted_by_parts_as_a_float(scene: Scene) -> None:
    answer = await scene.send(message="a" * 161)
    assert answer.text.startswith('{"creditsUsed":2.0,')


async def test_everything_asked_is_stored(scene: Scene) -> None:
    id_ = await scene.sent(
        SEND_MARKETING,
        sender="Shop1",
        campaignName="Été",
        category="relance",
        date=NOW + HOUR,
        validity=600,
        message="Lire https://a.example.",
        trackLinks=True,
    )
    message = await scene.stored(id_)
    assert message.family is Family.MARKETING
    assert message.policy is InDoubtPolicy.AT_MOST_ONCE
    assert (message.sender, message.campaign, message.category) == ("Shop1", "Été", "relance")
    assert (message.due_at, message.validity_ms) == (NOW + HOUR, 600_000)
    assert message.text.startswith("Lire https://s.example/l/Token")


@pytest.mark.parametrize(
    "path",
    [
        "/v2//notification/messages/send",
        "//v2/notification//messages///send",
        "/v2/notification/messages/send/",
        "/v2/notification/messages/send?",
        "/v2/notification/messages/send//?x=1",
    ],
)
async def test_slashes_too_many_and_lone_question_marks_do_no_harm(scene: Scene, path: str) -> None:
    assert (await scene.send(f"http://api.test{path}")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=iso-8859-1"},
        {"TE": "deflate", "Accept-Encoding": "gzip"},
    ],
)
async def test_any_content_type_or_none_will_do(scene: Scene, headers: dict[str, str]) -> None:
    body = b'{"number": "0612345678", "message": "Bonjour"}'
    assert (await scene.client.post(SEND, content=body, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "extra",
    [
        {"sender": None, "campaignName": None, "category": None, "date": None, "trackLinks": None, "validity": None},
        {"type": "SMS", "snapshotId": 12, "creditsUsed": 0.5, "history": [{"a": [1]}], "listId": {}},
        {"apiKey": "ffffffffffffffffffffffffffffffff"},
        {"number": 33612345678},
        {"number": "00 33 6.12-34 56 78"},
    ],
)
async def test_nulls_unknown_members_and_keys_in_the_body_are_tolerated(scene: Scene, extra: dict[str, Any]) -> None:
    assert (await scene.send(**extra)).status_code == 200


@pytest.mark.parametrize(
    ("senders", "expected"),
    [
        ({"from": "Other"}, "Other"),
        ({"sender": "Shop1", "from": "Other"}, "Shop1"),
        ({"sender": None, "from": "Other"}, "Other"),
    ],
)
async def test_from_is_a_synonym_of_sender(scene: Scene, senders: dict[str, str], expected: str) -> None:
    message = await scene.stored(await scene.sent(**senders))
    assert message.sender == expected


async def test_raw_and_escaped_characters_mean_the_same(scene: Scene) -> None:
    for body in (
        b'{"number":"0612345678","message":"d\xc3\xa9j\xc3\xa0"}',
        rb'{"number":"0612345678","message":"d\u00e9j\u00e0"}',
    ):
        answer = await scene.client.post(SEND, content=body)
        message = await scene.stored(int(answer.json()["snapshotId"]))
        assert message.text == "déjà"


async def test_a_packed_body_is_unpacked(scene: Scene) -> None:
    body = gzip.compress(b'{"number": "0612345678", "message": "Bonjour"}')
    answer = await scene.client.post(SEND, content=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (gzip.compress(b"x" * (MAX_BODY_BYTES + 1), mtime=0), "gzip", 413, 1005),
        (gzip.compress(b"{}", mtime=0)[:-9], "gzip", 400, 73),
        (b"not packed", "gzip", 400, 73),
        (b"{}", "br", 400, 1001),
    ],
)
async def test_a_body_packed_wrongly_or_too_well_is_refused(
    scene: Scene, body: bytes, encoding: str, status: int, code: int
) -> None:
    answer = await scene.client.post(SEND, content=body, headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"number": None}, 10, "number"),
        ({"number": "06"}, 11, "number"),
        ({"number": -33612345678}, 11, "number"),
        ({"number": 10**400}, 11, "number"),
        ({"number": ["0612345678"]}, 1001, "number"),
        ({"number": "0142030405"}, 19, "number"),
        ({"number": "+12025550123"}, 91, "number"),
        ({"message": None}, 30, "message"),
        ({"message": "a\x00b"}, 31, "message"),
        ({"message": "a" * 4000}, 32, "message"),
        ({"message": 5}, 1001, "message"),
        ({"sender": "Café"}, 20, "sender"),
        ({"from": "AB"}, 21, "sender"),
        ({"sender": "ABCDEFGHIJKL"}, 22, "sender"),
        ({"sender": "123"}, 23, "sender"),
        ({"campaignName": "x" * 256}, 40, "campaignName"),
        ({"category": "x" * 256}, 45, "category"),
        ({"date": "soon"}, 61, "date"),
        ({"date": {}}, 61, "date"),
        ({"date": True}, 61, "date"),
        ({"date": 0}, 62, "date"),
        ({"validity": 0}, 1001, "validity"),
        ({"validity": "x"}, 1001, "validity"),
        ({"trackLinks": "yes"}, 1001, "trackLinks"),
    ],
)
async def test_each_mistake_has_its_code_and_names_its_field(
    scene: Scene, body: dict[str, Any], code: int, field: str
) -> None:
    answer = await scene.send(**body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (400, code, field)
    assert problem["error"] == problem["message"] != ""
    assert scene.woken == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"SEND"', b"null", b"number=06", b'{"message":"\xff"}', b'{"message":"\\ud800"}', b"\xff\xfe"],
)
async def test_what_is_not_a_json_object_is_code_73(scene: Scene, body: bytes) -> None:
    answer = await scene.client.post(SEND, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 73)


async def test_json_is_read_to_a_depth_of_32(scene: Scene) -> None:
    def nested(depth: int) -> bytes:
        lists = depth - 1  # the body itself is one
        return b'{"number":"0612345678","message":"[[[[{{{{","x":' + b"[" * lists + b"]" * lists + b"}"

    assert (await scene.client.post(SEND, content=nested(MAX_JSON_DEPTH))).status_code == 200
    for depth in (MAX_JSON_DEPTH + 1, 200_000):
        answer = await scene.client.post(SEND, content=nested(depth))
        assert (answer.status_code, answer.json()["code"]) == (400, 73)


async def test_many_brackets_side_by_side_or_in_texts_are_not_deep(scene: Scene) -> None:
    assert (await scene.send(x=[{"a": []}] * 100, message='[{"\\' * 30)).status_code == 200


async def test_a_body_above_the_limit_is_refused(scene: Scene) -> None:
    answer = await scene.client.post(SEND, content=b" " * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, 1005)


@pytest.mark.parametrize(
    "key",
    ["", "f" * 32, KEY.upper(), KEY[:-1], KEY + "0", f"{KEY}\n".strip() + " x", "é" * 32],
)
async def test_a_missing_or_wrong_key_is_code_72(scene: Scene, key: str) -> None:
    answer = await scene.client.post(SEND, content=b"{}", headers=[(b"x-primotexto-apikey", key.encode())])
    assert (answer.status_code, answer.json()["code"]) == (401, 72)


async def test_a_request_without_the_key_header_is_code_72_and_its_body_is_not_read(scene: Scene) -> None:
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {"type": "http", "method": "POST", "path": SEND, "query_string": b"", "headers": []}
    await scene.app(scope, receive, send)
    assert answers[0]["status"] == 401


async def test_the_key_headers_name_may_be_in_any_case(scene: Scene) -> None:
    for name in ("X-PRIMOTEXTO-APIKEY", "x-primotexto-apikey", "X-Primotexto-Apikey"):
        answer = await scene.client.post(SEND, json={"number": NUMBER, "message": "a"}, headers={name: TEST_KEY})
        assert answer.status_code == 200
    assert scene.woken == ["simulator"] * 3


async def test_a_revoked_key_ends_at_once(scene: Scene) -> None:
    assert (await scene.send()).status_code == 200
    key = next(key for key in await scene.store.list_keys() if key.hint == KEY[:4])
    assert await scene.store.revoke_key(key.id, scene.now)
    assert (await scene.send()).json()["code"] == 72


async def test_a_blocked_account_is_code_92(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    find_key = scene.store.find_key

    async def find_blocked(digest: bytes) -> Any:
        key = await find_key(digest)
        assert key is not None
        return replace(key, account=replace(key.account, blocked=True))

    monkeypatch.setattr(scene.store, "find_key", find_blocked)
    for answer in (await scene.send(), await scene.status("snapshotId=1")):
        assert (answer.status_code, answer.json()["code"]) == (403, 92)


async def test_a_number_that_opted_out_is_code_12_and_nothing_is_stored(scene: Scene) -> None:
    id_ = await scene.sent()
    await scene.answer((await scene.claim())[0], "A1")
    await scene.reply("STOP")
    scene.now += SECOND
    answer = await scene.send()
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 12, "number")
    assert (await scene.status("identifier=%2B33612345678")).json()["id"] == id_


async def test_a_test_keys_message_takes_the_simulators_route_and_says_test(scene: Scene) -> None:
    id_ = await scene.sent(key=TEST_KEY)
    assert scene.woken == ["simulator"]
    assert (await scene.status_of(id_))["test"] is True


async def test_links_cannot_be_tracked_without_a_public_address(tmp_path: Path) -> None:
    async with open_scene(tmp_path, public_url=None) as scene:
        answer = await scene.send(trackLinks=True)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 1001, "trackLinks")
        scene.services.public_url = "http://127.0.0.1:8000"  # known once the server listens
        assert (await scene.send(trackLinks=True)).status_code == 200


# --- idempotency ---------------------------------------------------------------------------------------


async def test_the_same_key_and_body_bring_back_the_first_answer(scene: Scene) -> None:
    headers = {"Idempotency-Key": "order-7"}
    first = await scene.send(headers=headers)
    scene.now += 6 * 24 * HOUR
    again = await scene.send(headers=headers)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert scene.woken == ["live"]


async def test_the_same_key_with_another_body_is_422(scene: Scene) -> None:
    headers = {"Idempotency-Key": "order-7"}
    await scene.sent(headers=headers)
    for answer in (
        await scene.send(headers=headers, message="Autre"),
        await scene.send(SEND_MARKETING, headers=headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, 1006)


async def test_accounts_do_not_share_idempotency_keys(scene: Scene) -> None:
    headers = {"Idempotency-Key": "order-7"}
    first = await scene.sent(headers=headers)
    assert await scene.sent(headers=headers, key=STRANGER_KEY) != first


async def test_a_refused_send_leaves_its_idempotency_key_free(scene: Scene) -> None:
    headers = {"Idempotency-Key": "order-7"}
    assert (await scene.send(headers=headers, number="06")).status_code == 400
    assert (await scene.send(headers=headers)).status_code == 200


async def test_a_key_whose_first_request_still_runs_is_409(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    accept, began, go_on = scene.store.accept, asyncio.Event(), asyncio.Event()

    async def accept_when_told(send: SendMessage) -> Accepted | NotAccepted:
        began.set()
        await go_on.wait()
        return await accept(send)

    monkeypatch.setattr(scene.store, "accept", accept_when_told)
    headers = {"Idempotency-Key": "order-7"}
    first = asyncio.create_task(scene.send(headers=headers))
    await began.wait()
    second = await scene.send(headers=headers)
    assert (second.status_code, second.json()["code"]) == (409, 1006)
    go_on.set()
    assert (await first).status_code == 200
    assert (await scene.send(headers=headers)).content == (await first).content


@pytest.mark.parametrize("key", ["", "x" * 256, "clé"])
async def test_an_idempotency_key_is_short_and_plain(scene: Scene, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode()), (b"X-Primotexto-ApiKey", KEY.encode())]
    answer = await scene.client.post(SEND, json={"number": NUMBER, "message": "a"}, headers=headers)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 1001, "Idempotency-Key")


# --- every answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("fr", "Le message n'a pas de texte."),
        ("fr-FR,fr;q=0.9,en;q=0.8", "Le message n'a pas de texte."),
        ("en;q=0.5, fr;q=0.7", "Le message n'a pas de texte."),
        ("de, fr;q=0.1", "Le message n'a pas de texte."),
        ("en-GB, fr;q=0.9", "The message has no text."),
        ("fr;q=0", "The message has no text."),
        ("de", "The message has no text."),
        ("", "The message has no text."),
        (";;q=,,=q", "The message has no text."),
    ],
)
async def test_errors_speak_the_callers_language(scene: Scene, language: str, text: str) -> None:
    answer = await scene.send(message="", headers={"Accept-Language": language})
    assert answer.json() == {"code": 30, "error": text, "message": text, "field": "message"}


async def test_an_invalid_parameter_is_named_in_the_text(scene: Scene) -> None:
    answer = await scene.send(validity=0, headers={"Accept-Language": "fr"})
    assert answer.json()["error"] == "Paramètre invalide : validity."


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/message", "/v2/nowhere", "/v2/notification/messages/send/x", "/é"])
async def test_an_unknown_route_is_404_in_json(scene: Scene, path: str) -> None:
    answer = await scene.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, 1002)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", SEND, "POST"),
        ("DELETE", SEND, "POST"),
        ("POST", "/v2/messages/status", "GET, HEAD"),
        ("OPTIONS", "/v2/messages/status/", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_and_says_which_are_right(scene: Scene, method: str, path: str, allow: str) -> None:
    answer = await scene.client.request(method, path)
    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (405, 1003, allow)


async def test_every_answer_has_a_request_id_of_its_own(scene: Scene) -> None:
    answers = [
        await scene.send(),
        await scene.send(number=""),
        await scene.status("snapshotId=1"),
        await scene.client.get("/health"),
        await scene.client.get("/nowhere"),
        await scene.client.get("/l/Token0000000"),
    ]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


async def test_a_store_that_is_away_is_503_with_retry_after(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def be_away(_: SendMessage) -> Accepted:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(scene.store, "accept", be_away)
    answer = await scene.send()
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, 1007, "1")
    assert scene.woken == []


async def test_a_fault_of_ours_is_500_and_neither_shown_nor_logged_with_what_was_sent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(send: SendMessage) -> Accepted:
        raise RuntimeError(f"{send.number}: {send.text}")

    monkeypatch.setattr(scene.store, "accept", fail)
    answer = await scene.send(message="Code 1234", apiKey=KEY)
    assert (answer.status_code, answer.json()) == (
        500,
        {"code": 1000, "error": "Server fault.", "message": "Server fault."},
    )
    (record,) = caplog.records
    logged = json.dumps(vars(record), default=str)
    assert answer.headers["x-request-id"] in logged
    assert "RuntimeError" in logged
    for secret in (NUMBER, "1234", KEY):
        assert secret not in logged


async def test_a_request_that_is_cut_short_is_answered_before_it_ends(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()

    async def never(_: SendMessage) -> Accepted:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(scene.store, "accept", never)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"number":"0612345678","message":"a"}'}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"x-primotexto-apikey", KEY.encode())]
    scope = {"type": "http", "method": "POST", "path": SEND, "query_string": b"", "headers": headers}
    running = asyncio.create_task(scene.app(scope, receive, send))
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (sent[0]["status"], json.loads(sent[1]["body"])["code"]) == (500, 1000)


async def test_liveness_and_readiness_are_json(scene: Scene) -> None:
    assert (await scene.client.get("/health")).json() == {"status": "alive"}
    scene.readiness["operators"] = {"main": "bound"}
    ready = await scene.client.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "operators": {"main": "bound"}})
    scene.readiness["ready"] = False
    unready = await scene.client.get("/ready")
    assert (unready.status_code, unready.json()["code"], unready.json()["ready"]) == (503, 1007, False)
    assert unready.headers["retry-after"] == "1"
    assert (await scene.client.head("/ready")).status_code == 503


async def test_the_api_describes_itself(scene: Scene) -> None:
    document = (await scene.client.get("/v2/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    schemas = document["components"]["schemas"]
    assert schemas["SendBody"]["required"] == ["number", "message"]
    assert "from" in schemas["SendBody"]["properties"]
    assert list(document["paths"])[:3] == [SEND, SEND_MARKETING, "/v2/messages/status"]
    assert document["paths"][SEND]["post"]["responses"]["409"] == {"$ref": "#/components/responses/409-1006"}
    assert document["components"]["responses"]["409-1006"]["description"].startswith("1006: ")
