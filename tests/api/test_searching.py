from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_scene import HOUR, KEY, NOW, NUMBER, SECOND, SEND_MARKETING, STRANGER_KEY, TEST_KEY, Scene, open_scene

from chappe.api import searching
from chappe.core.message import AttemptReport, DoubtBegan, Verdict

OTHER_NUMBER = "+33687654321"
BULK = "/v2/messages/status/bulk"
MESSAGES = "/v2/messages"
PREVIEW = "/v2/messages/preview"


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def get(scene: Scene, path: str, key: str = KEY) -> Any:
    answer = await scene.client.get(path, headers={"X-Primotexto-ApiKey": key})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(scene: Scene, path: str, key: str = KEY, **body: Any) -> httpx2.Response:
    return await scene.client.post(path, json=body, headers={"X-Primotexto-ApiKey": key})


# --- many at once --------------------------------------------------------------------------------------


async def bulk(scene: Scene, key: str = KEY, **body: Any) -> list[int | None]:
    answer = await post(scene, BULK, key, **body)
    assert answer.status_code == 200, answer.text
    return [status and status["id"] for status in answer.json()["statuses"]]


async def test_statuses_come_in_the_order_asked(scene: Scene) -> None:
    first, second = await scene.sent(), await scene.sent(number=OTHER_NUMBER)
    assert await bulk(scene, snapshotIds=[second, "999999", str(first)]) == [second, None, first]
    numbers = [NUMBER, "0611111111", 33687654321, "06 87 65 43 21"]
    assert await bulk(scene, identifiers=[*numbers[:2], "0033687654321", numbers[3]]) == [first, None, second, second]
    assert await bulk(scene, snapshotIds=[]) == []


async def test_a_status_of_many_is_that_of_one(scene: Scene) -> None:
    id_ = await scene.sent(category="rdv")
    [status] = (await post(scene, BULK, snapshotIds=[id_])).json()["statuses"]
    assert status == await scene.status_of(id_)


async def test_ten_thousand_are_asked_at_once_and_not_one_more(scene: Scene) -> None:
    id_ = await scene.sent()
    assert await bulk(scene, snapshotIds=[id_] * 10_000) == [id_] * 10_000
    bodies: dict[str, dict[str, Any]] = {
        "snapshotIds": {"snapshotIds": [id_] * 10_001},
        "identifiers": {"identifiers": [NUMBER] * 10_001},
    }
    for field, body in bodies.items():
        answer = await post(scene, BULK, **body)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 74, field)


async def test_messages_of_another_account_are_none(scene: Scene) -> None:
    id_ = await scene.sent()
    absent = await post(scene, BULK, STRANGER_KEY, snapshotIds=[999_999])
    foreign = await post(scene, BULK, STRANGER_KEY, snapshotIds=[id_])
    by_number = await post(scene, BULK, STRANGER_KEY, identifiers=[NUMBER])
    assert absent.content == foreign.content == by_number.content == b'{"statuses":[null]}'


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, 1001, "snapshotIds"),
        ({"snapshotIds": None, "identifiers": None}, 1001, "snapshotIds"),
        ({"snapshotIds": [1], "identifiers": ["0612345678"]}, 1001, "snapshotIds"),
        ({"snapshotIds": 1}, 1001, "snapshotIds"),
        ({"snapshotIds": [None]}, 1001, "snapshotIds"),
        ({"snapshotIds": [-1]}, 1001, "snapshotIds"),
        ({"snapshotIds": ["x"]}, 1001, "snapshotIds"),
        ({"snapshotIds": [1 << 63]}, 1001, "snapshotIds"),
        ({"snapshotIds": [1.5]}, 1001, "snapshotIds"),
        ({"identifiers": "0612345678"}, 1001, "identifiers"),
        ({"identifiers": [[]]}, 1001, "identifiers"),
        ({"identifiers": ["abc"]}, 11, "identifiers"),
        ({"identifiers": [""]}, 11, "identifiers"),
        ({"identifiers": [-5]}, 11, "identifiers"),
    ],
)
async def test_a_bulk_that_cannot_be_read_names_its_member(
    scene: Scene, body: dict[str, Any], code: int, field: str
) -> None:
    answer = await post(scene, BULK, **body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)


# --- lists ---------------------------------------------------------------------------------------------


async def listed(scene: Scene, query: str = "", key: str = KEY) -> list[int]:
    """Every page."""
    ids: list[int] = []
    before = ""
    for _ in range(20):
        page = await get(scene, f"{MESSAGES}?{query}{before}", key)
        ids += [message["id"] for message in page["messages"]]
        if "next" not in page:
            return ids
        before = f"&before={page['next']}"
    raise AssertionError("pages without end")


async def test_messages_are_listed_newest_first_page_by_page(scene: Scene) -> None:
    ids = [await scene.sent() for _ in range(7)]
    page = await get(scene, f"{MESSAGES}?limit=3")
    assert [message["id"] for message in page["messages"]] == ids[:3:-1]
    assert page["messages"][0] == await scene.status_of(ids[-1])
    assert await listed(scene, "limit=3") == await listed(scene) == ids[::-1]


async def test_messages_are_found_by_what_they_are(scene: Scene) -> None:
    old = await scene.sent(category="rdv")
    await scene.answer((await scene.claim())[0], "A1")
    scene.now += HOUR
    new = await scene.sent(category="rdv")
    other = await scene.sent(number=OTHER_NUMBER)
    assert await listed(scene, "category=rdv") == [new, old]
    assert await listed(scene, "state=sent") == [old]
    assert await listed(scene, "state=submitted&category=rdv") == [new]
    assert await listed(scene, f"since={NOW + 1}") == [other, new]
    assert await listed(scene, f"since={NOW}&state=submitted&limit=1") == [other, new]
    assert await listed(scene, "category=absent") == []
    for number in ("0612345678", "+33612345678", "%2B33612345678"):
        assert await listed(scene, f"number={number}&limit=1") == [new, old]
    assert await listed(scene, "number=0612345678&state=sent") == [old]
    assert await listed(scene, "number=0611111111") == []


async def test_who_looks_for_what_is_rare_is_told_where_to_go_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "MOST_IN_A_PAGE", 5)
    monkeypatch.setattr(searching, "MOST_LOOKED_AT", 10)
    rare = await scene.sent(category="rare")
    for _ in range(30):
        await scene.sent()
    page = await get(scene, f"{MESSAGES}?category=rare&limit=2")
    assert (page["messages"], "next" in page) == ([], True)
    assert await listed(scene, "category=rare&limit=2") == [rare]


async def test_each_key_lists_its_own_account_and_traffic(scene: Scene) -> None:
    live, trial = await scene.sent(), await scene.sent(key=TEST_KEY)
    assert await listed(scene) == await listed(scene, "number=0612345678") == [live]
    assert await listed(scene, "", TEST_KEY) == await listed(scene, "number=0612345678", TEST_KEY) == [trial]
    for query in ("", "number=0612345678", f"before={trial + 1}", f"number=0612345678&before={trial}"):
        assert await listed(scene, query, STRANGER_KEY) == []


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("state=lost", 1001, "state"),
        ("state=sent&state=sent", 1001, "state"),
        ("category=%00", 1001, "category"),
        ("number=abc", 11, "number"),
        ("since=yesterday", 61, "since"),
        ("since=-1", 61, "since"),
        ("since=99999999999999999999", 61, "since"),
        ("limit=0", 1001, "limit"),
        ("limit=501", 1001, "limit"),
        ("limit=%D9%A1", 1001, "limit"),
        ("before=x", 1001, "before"),
        ("before=9223372036854775808", 1001, "before"),
    ],
)
async def test_a_list_that_cannot_be_read_names_its_parameter(scene: Scene, query: str, code: int, field: str) -> None:
    answer = await scene.client.get(f"{MESSAGES}?{query}")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)


# --- everything about one ------------------------------------------------------------------------------


async def test_a_timeline_shows_every_submit_and_every_fact(scene: Scene) -> None:
    id_ = await scene.sent()
    [submission] = await scene.claim()
    message, part, attempt = submission.key
    scene.now += SECOND
    await scene.store.settle([AttemptReport(message, DoubtBegan(part, attempt, scene.now, "link lost"))], scene.now)
    scene.now += SECOND
    await scene.answer(submission, "A1")
    await scene.deliver("A1")
    await scene.deliver("A1", Verdict.FAILED)
    timeline = await get(scene, f"{MESSAGES}/{id_}/timeline")
    one = {"part": 1, "attempt": 1}
    assert timeline == {
        "status": await scene.status_of(id_),
        "due": NOW,
        "attempts": [
            {
                **one,
                "connector": "operator",
                "claimed": NOW,
                "outcome": "accepted",
                "answered": scene.now,
                "carrierId": "A1",
                "status": 0,
                "verdict": "delivered",
                "verdictDate": scene.now,
            }
        ],
        "facts": [
            {"at": NOW + SECOND, "fact": "doubtBegan", "changed": True, **one, "cause": "link lost"},
            {"at": scene.now, "fact": "answered", "changed": True, **one, "carrierId": "A1"},
            {
                "at": scene.now,
                "fact": "receiptRead",
                "changed": True,
                **one,
                "verdict": "delivered",
                "detail": "DELIVERED",
            },
            {"at": scene.now, "fact": "receiptRead", "changed": False, **one, "verdict": "failed", "detail": "FAILED"},
        ],
        "links": [],
    }


async def test_a_timeline_shows_who_followed_each_link(scene: Scene) -> None:
    id_ = await scene.sent(message="https://a.example https://b.example", trackLinks=True)
    link = (await scene.stored(id_)).text.split()[1]
    for agent, at in (("curl/8.5.0", NOW + 1), ("Mozilla/5.0 (iPhone)", NOW + 2), ("Mozilla/5.0 (iPhone)", NOW + 3)):
        scene.now = at
        await scene.client.get(link, headers={"User-Agent": agent})
    expires = NOW + 365 * 24 * HOUR
    assert (await get(scene, f"{MESSAGES}/{id_}/timeline"))["links"] == [
        {"url": "https://a.example", "clicks": 0, "robotClicks": 0, "expires": expires},
        {
            "url": "https://b.example",
            "clicks": 2,
            "robotClicks": 1,
            "firstClick": NOW + 2,
            "lastClick": NOW + 3,
            "expires": expires,
        },
    ]


async def test_a_message_that_waits_has_an_empty_timeline(scene: Scene) -> None:
    timeline = await get(scene, f"{MESSAGES}/{await scene.sent()}/timeline")
    assert (timeline["attempts"], timeline["facts"]) == ([], [])


async def test_a_timeline_still_says_by_which_rule_a_message_was_held(scene: Scene) -> None:
    id_ = await scene.sent(SEND_MARKETING)
    scene.now = closing = NOW + 12 * HOUR + HOUR // 2  # 21:30
    assert await scene.claim() == []
    opening, rule = NOW + 23 * HOUR, "fr-af2m-2026:hours"
    scene.now = opening
    await scene.claim()
    timeline = await get(scene, f"{MESSAGES}/{id_}/timeline")
    assert (timeline["due"], timeline["heldBy"], "heldBy" in timeline["status"]) == (opening, rule, False)
    assert timeline["facts"] == [{"at": closing, "fact": "held", "changed": True, "cause": rule, "until": opening}]


# --- taking one back -----------------------------------------------------------------------------------


async def test_a_scheduled_message_is_cancelled(scene: Scene) -> None:
    id_ = await scene.sent(date=NOW + HOUR)
    scene.now += SECOND
    for _ in range(2):  # the second time changes nothing
        answer = await post(scene, f"{MESSAGES}/{id_}/cancel")
        assert answer.status_code == 200
        assert answer.json() == await scene.status_of(id_)
        assert (answer.json()["state"], answer.json()["error"], answer.json()["cause"]) == (
            "error",
            NOW + SECOND,
            "cancelled",
        )
    scene.now += HOUR
    assert await scene.claim() == []


async def test_a_message_that_left_is_not_cancelled(scene: Scene) -> None:
    id_ = await scene.sent()
    await scene.claim()
    answer = await post(scene, f"{MESSAGES}/{id_}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (400, 43)
    assert "has left" in answer.json()["message"]
    assert (await scene.status_of(id_))["state"] == "submitted"


@pytest.mark.parametrize(("method", "path"), [("GET", "timeline"), ("POST", "cancel")])
async def test_another_accounts_message_answers_the_same_bytes_as_none(scene: Scene, method: str, path: str) -> None:
    id_ = await scene.sent()
    answers = [
        await scene.client.request(method, f"{MESSAGES}/{which}/{path}", headers={"X-Primotexto-ApiKey": STRANGER_KEY})
        for which in (id_, 999_999, "x", "9" * 30, "%D9%A1")
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert answers[0].json()["code"] == 16
    assert len(await scene.claim()) == 1


# --- a look before it is sent --------------------------------------------------------------------------


async def test_a_preview_says_what_a_text_costs_and_why(scene: Scene) -> None:
    answer = await post(scene, PREVIEW, message="C’est prêt")
    assert answer.status_code == 200
    assert answer.json() == {
        "alphabet": "UCS2",
        "parts": [{"start": 0, "end": 10, "units": 10, "text": "C’est prêt"}],
        "units": 10,
        "credits": 1.0,
        "costly": [
            {"start": 1, "text": "’", "why": "forcesUcs2", "instead": "'"},
            {"start": 8, "text": "ê", "why": "forcesUcs2", "instead": "e"},
        ],
        "cheaper": None,
        "mention": None,
        "shifts": [],
    }
    assert await listed(scene) == []


async def test_a_preview_of_marketing_shows_the_account_s_mention_and_what_it_costs(scene: Scene) -> None:
    await scene.save_settings(stop_mention="STOP au 36111")
    text = "a" * 150
    seen = (await post(scene, PREVIEW, message=text, family="marketing")).json()
    assert "".join(part["text"] for part in seen["parts"]) == f"{text} STOP au 36111"
    assert (seen["credits"], seen["mention"]) == (2.0, {"text": "STOP au 36111", "parts": 1})
    sent = await scene.send(SEND_MARKETING, message=text)
    assert sent.json()["creditsUsed"] == seen["credits"]
    for family in ("notification", None):
        plain = (await post(scene, PREVIEW, message=text, family=family)).json()
        assert (plain["credits"], plain["mention"]) == (1.0, None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", 30),
        (b'{"message":null}', 30),
        (b'{"message":""}', 30),
        (b'{"message":1}', 1001),
        (b'{"message":"a","family":"postcard"}', 1001),
        (b'{"message":"\\ud800"}', 73),
        (b'{"message":"' + b"a" * 10_001 + b'"}', 32),
        (b"[", 73),
    ],
)
async def test_a_preview_of_no_text_is_refused(scene: Scene, body: bytes, code: int) -> None:
    answer = await scene.client.post(PREVIEW, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


# --- the same send again -------------------------------------------------------------------------------


async def test_a_dated_send_is_answered_again_after_its_date(scene: Scene) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await scene.send(date=NOW + SECOND, headers=headers)
    scene.now += HOUR
    again = await scene.send(date=NOW + SECOND, headers=headers)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    other = await scene.send(date=NOW + 2 * SECOND, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, 1006)
    unused = await scene.send(date=NOW + SECOND, headers={"Idempotency-Key": "unused"})
    assert (unused.status_code, unused.json()["code"]) == (400, 62)
    stranger = await scene.send(date=NOW + SECOND, headers=headers, key=STRANGER_KEY)
    assert stranger.json()["code"] == 62


@pytest.mark.parametrize(
    ("method", "path"), [("POST", BULK), ("GET", MESSAGES), ("GET", "/v2/messages/1/timeline"), ("POST", PREVIEW)]
)
async def test_a_key_is_needed(scene: Scene, method: str, path: str) -> None:
    answer = await scene.client.request(method, path, headers={"X-Primotexto-ApiKey": "0" * 32})
    assert (answer.status_code, answer.json()["code"]) == (401, 72)
