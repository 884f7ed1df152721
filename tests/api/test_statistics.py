from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_scene import HOUR, KEY, NOW, NUMBER, SECOND, SEND, SEND_MARKETING, STRANGER_KEY, TEST_KEY, Scene, open_scene

from chappe.core.message import Verdict
from chappe.core.routing import Portion

OTHER_NUMBER = "+33687654321"
STATS = "/v2/messages/stats"
ACCOUNT = "/v2/account/stats"
REPLIES = "/v2/messages/replies"
BLACKLISTS = "/v2/messages/blacklists"
NOTHING = {
    "sent": 0,
    "submitted": 0,
    "delivered": 0,
    "openers": 0,
    "clickers": 0,
    "clicks": 0,
    "opens": 0,
    "replies": 0,
    "unsubscribers": 0,
    "errors": 0,
    "bounced": 0,
    "complaint": 0,
    "timespent": 0,
    "doubts": 0,
    "resent": 0,
}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def get(scene: Scene, path: str, key: str = KEY) -> Any:
    answer = await scene.client.get(path, headers={"X-Primotexto-ApiKey": key})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    return answer.json()


async def live(scene: Scene, verdict: Verdict, path: str = SEND, **send: Any) -> int:
    """A whole life, to its receipt."""
    id_ = await scene.sent(path, **send)
    for submission in await scene.claim():
        carrier_id = f"{submission.key}"
        await scene.answer(submission, carrier_id)
        await scene.deliver(carrier_id, verdict)
    return id_


# --- counters ------------------------------------------------------------------------------------------


async def test_statistics_have_the_contract_s_members_and_are_nothing_at_first(scene: Scene) -> None:
    assert await get(scene, STATS) == NOTHING
    assert await get(scene, f"{STATS}?category=absent") == NOTHING
    account = await get(scene, ACCOUNT)
    assert account == dict.fromkeys(
        ("bounces", "credits", "delivered", "sent", "submitted", "undelivered", "unsubscribers"), 0
    )


async def test_what_is_sent_and_not_delivered_is_undelivered(scene: Scene) -> None:
    await live(scene, Verdict.DELIVERED, category="rdv", message="a" * 161)
    await live(scene, Verdict.FAILED, category="rdv")
    await live(scene, Verdict.NOT_ASSIGNED, number=OTHER_NUMBER)
    await scene.sent(date=NOW + HOUR)
    assert await get(scene, ACCOUNT) == {
        "bounces": 1,
        "credits": 4,
        "delivered": 1,
        "sent": 3,
        "submitted": 3,
        "undelivered": 2,
        "unsubscribers": 0,
    }
    of_category = {"sent": 2, "submitted": 2, "delivered": 1, "errors": 1}
    assert await get(scene, f"{STATS}?category=rdv") == NOTHING | of_category
    assert await get(scene, STATS) == NOTHING | {"sent": 3, "submitted": 3, "delivered": 1, "errors": 1, "bounced": 1}


async def test_what_recipients_do_is_counted(scene: Scene) -> None:
    await live(scene, Verdict.DELIVERED, message="https://a.example", trackLinks=True)
    for _ in range(3):
        await scene.client.get("/l/Token0000001", headers={"User-Agent": "Mozilla/5.0"})
    await scene.reply("Oui")
    await scene.reply("Non")
    await scene.reply("STOP")
    counts = await get(scene, STATS)
    assert {name: n for name, n in counts.items() if n} == {
        "sent": 1,
        "submitted": 1,
        "delivered": 1,
        "openers": 1,
        "clickers": 1,
        "clicks": 3,
        "opens": 3,
        "replies": 1,
        "unsubscribers": 1,
    }
    assert (await get(scene, ACCOUNT))["unsubscribers"] == 1


async def test_each_key_sees_its_own_account_and_traffic(scene: Scene) -> None:
    await live(scene, Verdict.DELIVERED)
    assert (await get(scene, ACCOUNT))["sent"] == 1
    for key in (TEST_KEY, STRANGER_KEY):
        assert (await get(scene, ACCOUNT, key))["sent"] == 0
        assert await get(scene, STATS, key) == NOTHING


async def test_without_an_operator_a_live_key_sees_what_it_sends(scene: Scene) -> None:
    scene.services.live_route = "simulator"
    await scene.sent()
    epoch = await scene.store.open_connector("simulator", scene.now)
    await scene.store.claim("simulator", epoch, [Portion("simulator")], 10, scene.now)
    assert (await get(scene, ACCOUNT))["sent"] == 1


# --- replies -------------------------------------------------------------------------------------------


async def test_replies_are_listed_with_what_they_answer(scene: Scene) -> None:
    id_ = await live(scene, Verdict.DELIVERED, category="rdv")
    scene.now += SECOND
    for text in ("Oui", "STOP", "Non"):
        await scene.reply(text)
    replies = await get(scene, f"{REPLIES}?category=rdv")
    assert [{**reply, "id": ""} for reply in replies] == [
        {"id": "", "identifier": NUMBER, "message": text, "date": NOW + SECOND, "snapshotId": str(id_)}
        for text in ("Oui", "Non")
    ]
    assert all(len(reply["id"]) == 24 for reply in replies)
    assert await get(scene, REPLIES) == replies
    assert await get(scene, f"{REPLIES}?category=absent") == []
    assert await get(scene, f"{REPLIES}?after={replies[0]['id']}") == replies[1:]
    for key in (TEST_KEY, STRANGER_KEY):
        assert await get(scene, REPLIES, key) == []


# --- black lists ---------------------------------------------------------------------------------------


async def test_black_lists_are_told_by_category_and_whole(scene: Scene) -> None:
    await live(scene, Verdict.DELIVERED, category="rdv", path=SEND_MARKETING)
    await scene.reply("STOP")
    await live(scene, Verdict.NOT_ASSIGNED, number=OTHER_NUMBER)
    await scene.client.post("/v2/bounces/default/contacts", json={"identifier": "0611111111"})
    none: dict[str, Any] = {"number": 0, "identifiers": []}
    opted_out = {"number": 1, "identifiers": [NUMBER]}
    assert await get(scene, f"{BLACKLISTS}?category=rdv") == {"bounces": none, "unsubscribers": opted_out}
    assert await get(scene, BLACKLISTS) == {
        "bounces": {"number": 2, "identifiers": [OTHER_NUMBER, "+33611111111"]},
        "unsubscribers": opted_out,
    }
    for key in (TEST_KEY, STRANGER_KEY):
        assert await get(scene, BLACKLISTS, key) == {"bounces": none, "unsubscribers": none}


# --- how they are asked --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [STATS, ACCOUNT, REPLIES, BLACKLISTS])
async def test_addresses_are_forgiving_and_keys_are_not(scene: Scene, path: str) -> None:
    expected = await get(scene, path)
    assert await get(scene, f"/v2//{path[4:]}//?") == expected
    assert await get(scene, f"{path}?category=&unknown=1") == expected
    answer = await scene.client.get(path, headers={"X-Primotexto-ApiKey": "0" * 32})
    assert (answer.status_code, answer.json()["code"]) == (401, 72)
    answer = await scene.client.post(path, json={})
    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (405, 1003, "GET, HEAD")


@pytest.mark.parametrize("path", [STATS, REPLIES, BLACKLISTS])
@pytest.mark.parametrize("query", ["category=a&category=b", "category=%00"])
async def test_a_category_that_cannot_be_read_is_code_1001(scene: Scene, path: str, query: str) -> None:
    answer = await scene.client.get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 1001, "category")


@pytest.mark.parametrize("after", ["1", "zz", "5c000003" + "0" * 16, "5c000001" + "0" * 15 + "1", "f" * 24])
async def test_a_place_that_cannot_be_read_is_code_1001(scene: Scene, after: str) -> None:
    answer = await scene.client.get(f"{REPLIES}?after={after}")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 1001, "after")
