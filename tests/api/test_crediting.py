from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_scene import HOUR, KEY, NOW, NUMBER, STRANGER_KEY, TEST_KEY, Scene, open_scene

from chappe.core.credits import Booking
from chappe.core.limits import Limits

CREDITS = "/v2/account/credits"
LEDGER = "/v2/account/credits/ledger"
TWO_PARTS = "é" * 161


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def top_up(scene: Scene, amount: int, note: str = "") -> None:
    await scene.store.change_credits(scene.account.id, Booking.TOPUP, amount, note, NOW - HOUR)


async def get(scene: Scene, path: str, key: str = KEY) -> Any:
    answer = await scene.client.get(path, headers={"X-Primotexto-ApiKey": key})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_without_credits_the_account_is_told_so(scene: Scene) -> None:
    assert await get(scene, CREDITS) == {"limited": False}
    assert await get(scene, LEDGER) == []


async def test_send_that_cannot_be_paid_is_a_402_with_code_71(scene: Scene) -> None:
    await top_up(scene, 1)
    answer = await scene.send(message=TWO_PARTS)
    assert answer.status_code == 402
    assert answer.json() == {"code": 71, "error": "Not enough credits.", "message": "Not enough credits."}
    assert (await scene.send()).status_code == 200
    assert (await scene.send()).status_code == 402
    assert (await scene.send(key=TEST_KEY)).status_code == 200
    assert (await scene.send(key=STRANGER_KEY)).status_code == 200
    assert await get(scene, CREDITS) == {"limited": True, "balance": 0}


async def test_credits_of_the_account_stats_are_what_is_left_once_it_has_any(scene: Scene) -> None:
    await scene.sent()
    await scene.claim()
    assert (await get(scene, "/v2/account/stats"))["credits"] == 1
    await top_up(scene, 10)
    await scene.sent(message=TWO_PARTS)
    assert (await get(scene, "/v2/account/stats"))["credits"] == 8
    assert (await get(scene, "/v2/account/stats", STRANGER_KEY))["credits"] == 0


async def test_alert_shows_when_it_is_reached(scene: Scene) -> None:
    await top_up(scene, 2)
    await scene.store.set_alert(scene.account.id, 2)
    assert await get(scene, CREDITS) == {"limited": True, "balance": 2, "alertBelow": 2, "low": False}
    await scene.sent()
    assert await get(scene, CREDITS, TEST_KEY) == {"limited": True, "balance": 1, "alertBelow": 2, "low": True}


async def test_statement_tells_the_newest_first_and_page_by_page(scene: Scene) -> None:
    await top_up(scene, 10, "invoice 7")
    message = await scene.sent(campaignName="may")
    send, topup = await get(scene, LEDGER)
    assert send == {
        "id": send["id"],
        "date": NOW,
        "what": "send",
        "amount": -1,
        "balance": 9,
        "messages": 1,
        "snapshotId": str(message),
        "campaignName": "may",
    }
    assert topup == {
        "id": topup["id"],
        "date": NOW - HOUR,
        "what": "topup",
        "amount": 10,
        "balance": 10,
        "note": "invoice 7",
    }
    assert await get(scene, f"{LEDGER}?before={send['id']}") == [topup]
    assert await get(scene, LEDGER, STRANGER_KEY) == []


@pytest.mark.parametrize("before", ["x", "-1", "1&before=2", "99999999999999999999"])
async def test_page_that_cannot_be_is_refused_by_name(scene: Scene, before: str) -> None:
    answer = await scene.client.get(f"{LEDGER}?before={before}")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 1001, "before")


async def test_quota_of_a_day_is_a_429_that_says_when_to_come_back(scene: Scene) -> None:
    await scene.store.save_limits(scene.account.id, Limits(daily_parts=1))
    await scene.sent()
    answer = await scene.send()
    assert (answer.status_code, answer.json()["code"]) == (429, 76)
    scene.now += int(answer.headers["retry-after"]) * 1000 - 1000
    assert (await scene.send()).status_code == 429
    scene.now += 1000
    await scene.sent()


async def test_number_that_was_written_to_enough_is_a_429(scene: Scene) -> None:
    await scene.store.save_limits(scene.account.id, Limits(per_number=1, per_number_seconds=60))
    await scene.sent()
    answer = await scene.send()
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, 76, "60")
    await scene.sent(number="+33687654321")


async def test_number_with_a_prefix_that_is_not_allowed_is_refused(scene: Scene) -> None:
    await scene.store.save_limits(scene.account.id, Limits(prefixes=("+337",)))
    answer = await scene.send(number=NUMBER)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 90, "number")


async def test_rate_is_told_with_each_send_and_beyond_it_is_a_429(scene: Scene) -> None:
    assert "ratelimit" not in (await scene.send()).headers
    await scene.store.save_limits(scene.account.id, Limits(rate=0.5, burst=2))
    told = []
    for _ in range(3):
        answer = await scene.send()
        assert answer.headers["ratelimit-policy"] == '"sends";q=2;w=4'
        told.append((answer.status_code, answer.headers["ratelimit"], answer.headers.get("retry-after")))
    assert told == [(200, '"sends";r=1;t=2', None), (200, '"sends";r=0;t=4', None), (429, '"sends";r=0;t=4', "2")]
    assert answer.json()["code"] == 76
    scene.now += 2000
    assert (await scene.send()).status_code == 200
    assert (await scene.send(key=TEST_KEY)).status_code == 200  # each key has its own
