"""Webhooks and events over the API: what is made is shown, the secret once, and nothing of another account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from api_scene import NOW, STRANGER_KEY, Scene, open_scene

from chappe.api.webhooks import EventAnswer
from chappe.core.message import Event, MessageId, State
from chappe.core.webhooks import Fate, Settled, read_secret
from chappe.flow.live import MOST_WATCHERS
from tests.core.forbidden_urls import FORBIDDEN

URL = "https://shop.example/hooks?token=a%20b"
STRANGER = {"X-Primotexto-ApiKey": STRANGER_KEY}
EVENTS = [state.public_name for state in State]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def create(scene: Scene, **body: Any) -> dict[str, Any]:
    answer = await scene.client.post("/v2/webhooks", json={"url": URL, **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def listed(scene: Scene) -> list[dict[str, Any]]:
    return list((await scene.client.get("/v2/webhooks")).json()["webhooks"])


async def give_up(scene: Scene, fate: Fate = Fate.EXHAUSTED) -> int:
    """All that is due comes to this end."""
    endpoints = await scene.store.list_endpoints(scene.account.id)
    rooms = {endpoint.id: 100 for endpoint in endpoints}
    claimed = await scene.store.claim_deliveries(100, scene.now, 1, rooms, 0)
    settled = [Settled(one.id, one.endpoint, fate, 15, one.tries, None, "timeout", 1) for one in claimed]
    await scene.store.record_outcomes(settled, scene.now)
    return len(claimed)


async def test_a_webhook_is_made_and_its_secret_shown_once(scene: Scene) -> None:
    made = await create(scene, events=["reply", "delivered"])
    assert len(read_secret(made.pop("secret"))) == 32
    assert made == {"created": NOW, "events": ["delivered", "reply"], "id": made["id"], "url": URL}
    assert await listed(scene) == [made]


async def test_a_webhook_without_a_filter_wants_every_event(scene: Scene) -> None:
    assert (await create(scene))["events"] == EVENTS
    assert (await create(scene, events=None))["events"] == EVENTS


async def test_a_forbidden_url_is_refused(scene: Scene) -> None:
    for url in (None, *(url for url, _ in FORBIDDEN)):
        answer = await scene.client.post("/v2/webhooks", json={"url": url})
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 1001, "url"), ascii(url)
    assert await listed(scene) == []


@pytest.mark.parametrize("events", [[], ["read"], ["delivered", "read"], [1], "delivered", {}])
async def test_events_that_do_not_exist_are_refused(scene: Scene, events: Any) -> None:
    answer = await scene.client.post("/v2/webhooks", json={"url": URL, "events": events})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 1001, "events")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'"url"'])
async def test_what_is_no_object_is_refused(scene: Scene, body: bytes) -> None:
    answer = await scene.client.post("/v2/webhooks", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 73)


async def test_a_rotated_secret_is_new_and_shown_once(scene: Scene) -> None:
    made = await create(scene)
    rotated = (await scene.client.post(f"/v2/webhooks/{made['id']}/rotate")).json()
    assert read_secret(rotated["secret"]) != read_secret(made["secret"])
    assert {**rotated, "secret": ""} == {**made, "secret": ""}
    [stored] = await scene.store.list_endpoints(scene.account.id)
    assert stored.secrets == (rotated["secret"], made["secret"])


async def test_a_removed_webhook_is_gone(scene: Scene) -> None:
    made = await create(scene)
    answer = await scene.client.delete(f"/v2/webhooks/{made['id']}")
    assert (answer.status_code, answer.json()) == (200, {"id": made["id"]})
    assert await listed(scene) == []
    assert (await scene.client.delete(f"/v2/webhooks/{made['id']}")).status_code == 404


async def test_a_failing_webhook_says_why(scene: Scene) -> None:
    await create(scene)
    await scene.sent()
    await give_up(scene)
    [shown] = await listed(scene)
    assert (shown["failingSince"], shown["lastFailure"]) == (NOW, "timeout")


async def test_exhausted_events_are_replayed_from_a_moment_on(scene: Scene) -> None:
    made = await create(scene)
    await scene.sent()
    scene.now += 1000
    await scene.sent()
    assert await give_up(scene) == 2
    path = f"/v2/webhooks/{made['id']}/replay"
    assert (await scene.client.post(f"{path}?since={scene.now}")).json() == {"replayed": 1}
    assert (await scene.client.post(path)).json() == {"replayed": 1}
    assert (await scene.client.post(path)).json() == {"replayed": 0}
    for since in ("yesterday", "-1", "1.5", "9" * 16, "%D9%A1"):
        answer = await scene.client.post(f"{path}?since={since}")
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 61, "since")


async def test_a_disabled_webhook_is_enabled_before_it_is_replayed(scene: Scene) -> None:
    made = await create(scene)
    await scene.sent()
    await give_up(scene, Fate.DISABLED)
    path = f"/v2/webhooks/{made['id']}"
    assert (await listed(scene))[0]["disabled"] == NOW
    refused = await scene.client.post(f"{path}/replay")
    assert (refused.status_code, refused.json()["code"]) == (409, 1009)
    assert "disabled" not in (await scene.client.post(f"{path}/enable")).json()
    assert (await scene.client.post(f"{path}/replay")).json() == {"replayed": 1}


@pytest.mark.parametrize(
    ("method", "tail"), [("DELETE", ""), ("POST", "/enable"), ("POST", "/rotate"), ("POST", "/replay")]
)
async def test_another_account_s_webhook_does_not_exist(scene: Scene, method: str, tail: str) -> None:
    made = await create(scene)
    answers = [
        await scene.client.request(method, f"/v2/webhooks/{id_}{tail}", headers=STRANGER)
        for id_ in (made["id"], 999_999, "none", "9" * 30)
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert answers[0].json()["code"] == 1008
    assert await listed(scene) == [{name: value for name, value in made.items() if name != "secret"}]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/webhooks"),
        ("POST", "/v2/webhooks"),
        ("DELETE", "/v2/webhooks/1"),
        ("POST", "/v2/webhooks/1/replay"),
        ("GET", "/v2/events"),
        ("GET", "/v2/events/stream"),
    ],
)
async def test_every_call_needs_a_key(scene: Scene, method: str, path: str) -> None:
    answer = await scene.client.request(method, path, headers={"X-Primotexto-ApiKey": "0" * 32})
    assert (answer.status_code, answer.json()["code"]) == (401, 72)


async def test_another_method_is_told_which_there_are(scene: Scene) -> None:
    answer = await scene.client.put("/v2/webhooks")
    assert (answer.status_code, answer.json()["code"]) == (405, 1003)
    assert set(answer.headers["allow"].split(", ")) >= {"GET", "POST"}


# --- the feed ----------------------------------------------------------------------------------------


async def events(scene: Scene, query: str = "", **headers: str) -> dict[str, Any]:
    answer = await scene.client.get(f"/v2/events{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_the_feed_lists_events_as_they_are_posted_and_goes_on_after_a_cursor(scene: Scene) -> None:
    message = await scene.sent(category="orders")
    await create(scene)
    await scene.answer((await scene.claim())[0], "A1")
    first = await events(scene, "?limit=1")
    assert [told["event"] for told in first["events"]] == ["submitted"]
    assert first["more"] is True
    rest = await events(scene, f"?after={first['cursor']}&limit=100")
    assert [told["event"] for told in rest["events"]] == ["sent"]
    assert rest["more"] is False
    [endpoint] = await scene.store.list_endpoints(scene.account.id)
    [delivery] = await scene.store.claim_deliveries(10, scene.now, 1, {endpoint.id: 10}, 0)
    assert msgspec.json.decode(delivery.body) == rest["events"][0]
    told = msgspec.convert(rest["events"][0], EventAnswer)
    assert (told.snapshotId, told.category, told.sequence) == (str(message), "orders", 2)
    assert await events(scene, f"?after={rest['cursor']}") == {"cursor": rest["cursor"], "events": [], "more": False}


async def test_the_feed_shows_no_other_account(scene: Scene) -> None:
    await scene.sent()
    assert (await events(scene, **STRANGER))["events"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=1", "after"),
        ("after=x-1", "after"),
        ("after=0-1%0A", "after"),
        ("after=0-%D9%A1", "after"),
        ("after=0-1&after=0-2", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
    ],
)
async def test_a_wrong_parameter_of_the_feed_is_named(scene: Scene, query: str, field: str) -> None:
    answer = await scene.client.get(f"/v2/events?{query}")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 1001, field)


# --- the stream --------------------------------------------------------------------------------------


async def collect(scene: Scene, **headers: str) -> str:
    """The whole stream: it ends when the server does."""
    answer = await scene.client.get("/v2/events/stream", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return answer.text


async def watched(scene: Scene) -> None:
    """Until somebody watches."""
    async with asyncio.timeout(10):
        while not scene.services.live._watching:
            await asyncio.sleep(0.001)


async def test_the_stream_shows_what_comes_and_ends_with_the_server(scene: Scene) -> None:
    await scene.sent()
    stream = asyncio.create_task(collect(scene))
    await watched(scene)
    message = await scene.sent()
    scene.services.live.publish([Event(MessageId(message), scene.account.id, State.SUBMITTED, scene.now)])
    scene.services.live.close()
    shown = await stream
    assert shown.count("\nevent: submitted\n") == 1
    assert f'"snapshotId": "{message}"' in shown
    assert not scene.services.live._watching


async def test_a_stream_goes_on_after_the_last_event_it_showed(scene: Scene) -> None:
    await scene.sent()
    first = await events(scene)
    second = await scene.sent()
    stream = asyncio.create_task(collect(scene, **{"Last-Event-ID": first["cursor"]}))
    await watched(scene)
    scene.services.live.close()
    shown = await stream
    assert shown.count("\nevent: ") == 1
    assert f'"snapshotId": "{second}"' in shown


async def test_a_stream_ends_with_its_key(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chappe.api.webhooks.LOOK_SECONDS", 0.01)
    stream = asyncio.create_task(collect(scene))
    await watched(scene)
    for key in await scene.store.list_keys():
        await scene.store.revoke_key(key.id, scene.now)
    assert "event:" not in await stream


async def test_a_stream_says_that_it_lives(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chappe.api.webhooks.KEEP_ALIVE_LOOKS", 1)
    stream = asyncio.create_task(collect(scene))
    await watched(scene)
    scene.services.live.close()
    assert ": still here" in await stream


async def test_an_account_has_so_many_streams_and_no_more(scene: Scene) -> None:
    live, account = scene.services.live, scene.account.id
    watching = [live.watch(account) for _ in range(MOST_WATCHERS)]
    for one in watching:
        one.__enter__()
    refused: httpx2.Response = await scene.client.get("/v2/events/stream")
    assert (refused.status_code, refused.json()["code"]) == (429, 76)
    for one in watching:
        one.__exit__(None, None, None)
