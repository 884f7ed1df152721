from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_scene import KEY, NOW, NUMBER, STRANGER_KEY, TEST_KEY, Scene, open_scene

from chappe.api import listing
from chappe.core.ids import Kind, hex_id, read_hex_id

UNSUBSCRIBERS = "/v2/unsubscribers/default/contacts"
BOUNCES = "/v2/bounces/default/contacts"
CHECK = "/v2/check"
OTHER_NUMBER = "+33687654321"

both = pytest.mark.parametrize("path", [UNSUBSCRIBERS, BOUNCES])


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def add(scene: Scene, path: str, identifier: Any = NUMBER, key: str = KEY) -> httpx2.Response:
    body = {"identifier": identifier}
    return await scene.client.post(path, json=body, headers={"X-Primotexto-ApiKey": key})


async def added(scene: Scene, path: str, identifier: Any = NUMBER, key: str = KEY) -> str:
    answer = await add(scene, path, identifier, key)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"id"}
    return str(answer.json()["id"])


async def listed(scene: Scene, path: str, key: str = KEY) -> Any:
    answer = await scene.client.get(path, headers={"X-Primotexto-ApiKey": key})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def remove(scene: Scene, path: str, key: str = KEY) -> httpx2.Response:
    return await scene.client.delete(path, headers={"X-Primotexto-ApiKey": key})


# --- add, list, remove ---------------------------------------------------------------------------------


@both
async def test_an_entry_is_added_listed_and_removed_by_its_id(scene: Scene, path: str) -> None:
    id_ = await added(scene, path, "06 12 34 56 78")
    assert re.fullmatch("[0-9a-f]{24}", id_)
    [entry] = await listed(scene, path)
    assert re.fullmatch("[0-9a-f]{24}", entry["blacklistId"])
    assert entry == {
        "id": id_,
        "identifier": NUMBER,
        "deleted": False,
        "blacklistId": entry["blacklistId"],
        "history": [{"date": NOW, "campaignId": None}],
    }
    code = 12 if path == UNSUBSCRIBERS else 13
    assert (await scene.send()).json()["code"] == code
    answer = await remove(scene, f"{path}/{id_}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    assert await listed(scene, path) == []
    await scene.sent()


@both
@pytest.mark.parametrize("identifier", ["%2B33612345678", "+33612345678", "0612345678"])
async def test_an_entry_is_removed_by_its_number(scene: Scene, path: str, identifier: str) -> None:
    await added(scene, path)
    assert (await remove(scene, f"{path}?identifier={identifier}")).status_code == 204
    assert await listed(scene, path) == []


@both
async def test_both_spellings_are_the_same_list(scene: Scene, path: str) -> None:
    other = path.replace("/default/", "/defaults/")
    id_ = await added(scene, other)
    assert await listed(scene, other) == await listed(scene, path)
    assert (await remove(scene, f"{other}/{id_}?identifier={id_}&id={id_}")).status_code == 204
    await added(scene, path)
    assert (await remove(scene, f"{other}//?identifier=0612345678")).status_code == 204


@both
async def test_an_entry_added_twice_keeps_its_id(scene: Scene, path: str) -> None:
    assert await added(scene, path) == await added(scene, path, "0612345678")
    assert len(await listed(scene, path)) == 1


async def test_the_two_lists_are_apart(scene: Scene) -> None:
    opt_out = await added(scene, UNSUBSCRIBERS)
    bounce = await added(scene, BOUNCES)
    assert (await remove(scene, f"{BOUNCES}/{opt_out}")).json()["code"] == 16
    assert (await remove(scene, f"{UNSUBSCRIBERS}/{bounce}")).json()["code"] == 16
    [one], [other] = await listed(scene, UNSUBSCRIBERS), await listed(scene, BOUNCES)
    assert one["blacklistId"] != other["blacklistId"]


@both
async def test_lists_are_told_page_by_page(scene: Scene, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    ids = [await added(scene, path, f"+3361234567{digit}") for digit in range(5)]
    assert [entry["id"] for entry in await listed(scene, path)] == ids
    assert [entry["id"] for entry in await listed(scene, f"{path}?after={ids[2]}")] == ids[3:]
    monkeypatch.setattr(listing, "MOST_LISTED", 4)
    assert [entry["id"] for entry in await listed(scene, path)] == ids[:4]


async def test_a_stop_is_listed_and_can_be_removed(scene: Scene) -> None:
    await scene.sent()
    await scene.answer((await scene.claim())[0], "A1")
    await scene.reply("STOP")
    [entry] = await listed(scene, UNSUBSCRIBERS)
    assert (entry["identifier"], entry["history"][0]["date"]) == (NUMBER, NOW)
    assert (await remove(scene, f"{UNSUBSCRIBERS}/{entry['id']}")).status_code == 204
    await scene.sent()


@both
async def test_test_traffic_has_lists_of_its_own(scene: Scene, path: str) -> None:
    await added(scene, path, key=TEST_KEY)
    assert await listed(scene, path) == []
    assert len(await listed(scene, path, TEST_KEY)) == 1
    await scene.sent()
    assert (await scene.send(key=TEST_KEY)).json()["code"] in (12, 13)


# --- what is not there ---------------------------------------------------------------------------------


@both
async def test_another_account_s_entry_answers_the_same_bytes_as_none(scene: Scene, path: str) -> None:
    id_ = await added(scene, path)
    absent = hex_id(Kind.UNSUBSCRIBED if path == UNSUBSCRIBERS else Kind.BOUNCED, 999)
    assert await listed(scene, path, STRANGER_KEY) == []
    answers = [
        await remove(scene, f"{path}{which}", STRANGER_KEY)
        for which in (f"/{id_}", f"/{absent}", "?identifier=0612345678", "?identifier=0687654321")
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert answers[0].json()["code"] == 16
    assert len(await listed(scene, path)) == 1


async def test_a_bounce_that_another_account_added_is_its_own_affair(scene: Scene) -> None:
    await added(scene, BOUNCES, key=STRANGER_KEY)
    await scene.sent()


# --- bad input -----------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("identifier", "code"),
    [(None, 10), ("", 10), ("  ", 11), ("abc", 11), ("06", 11), ("\0", 11), (True, 1001), ([], 1001), (-1, 11)],
)
async def test_a_number_that_cannot_be_read_is_not_added(scene: Scene, path: str, identifier: Any, code: int) -> None:
    answer = await add(scene, path, identifier)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, "identifier")
    assert await listed(scene, path) == []


@both
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'"0612345678"', b'{"identifier":"\\ud800"}'])
async def test_a_body_that_is_no_object_is_code_73(scene: Scene, path: str, body: bytes) -> None:
    answer = await scene.client.post(path, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 73)


@both
@pytest.mark.parametrize(
    ("which", "code", "field"),
    [
        ("", 1001, "identifier"),
        ("?identifier=", 1001, "identifier"),
        ("?identifier=1&identifier=2", 1001, "identifier"),
        ("?identifier=abc", 11, "identifier"),
        ("?identifier=%00", 1001, "identifier"),
        ("/1", 1001, "id"),
        ("/" + "G" * 24, 1001, "id"),
        ("/" + "0" * 23 + "%0A", 1001, "id"),
        ("/%D9%A1", 1001, "id"),
    ],
)
async def test_what_cannot_be_read_is_not_removed(scene: Scene, path: str, which: str, code: int, field: str) -> None:
    answer = await remove(scene, path + which)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)


@both
async def test_other_methods_are_refused(scene: Scene, path: str) -> None:
    answer = await scene.client.put(path, json={})
    assert (answer.status_code, answer.json()["code"]) == (405, 1003)
    assert answer.headers["allow"] == "DELETE, GET, HEAD, POST"


# --- check ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("0612345678", (False, "0612345678", "+33612345678", "VALID")),
        ("%2B33612345678", (False, "+33612345678", "+33612345678", "VALID")),
        ("+33 6 12 34 56 78", (False, "+33 6 12 34 56 78", "+33612345678", "VALID")),
        ("%2B32470123456", (True, "+32470123456", "+32470123456", "VALID")),
        ("0123456789", (False, "0123456789", "+33123456789", "INVALID")),
    ],
)
async def test_a_number_is_checked(scene: Scene, written: str, answer: tuple[bool, str, str, str]) -> None:
    international, raw, formatted, status = answer
    assert await listed(scene, f"{CHECK}?identifier={written}") == {
        "international": international,
        "rawIdentifier": raw,
        "formattedIdentifier": formatted,
        "status": status,
    }


@pytest.mark.parametrize(("query", "code"), [("", 1001), ("?identifier=", 1001), ("?identifier=abc", 11)])
async def test_a_number_that_cannot_be_read_is_not_checked(scene: Scene, query: str, code: int) -> None:
    answer = await scene.client.get(CHECK + query)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, "identifier")


# --- ids -----------------------------------------------------------------------------------------------


def test_an_id_is_read_as_the_kind_it_was_made_for() -> None:
    for kind in Kind:
        for number in (1, 362_891, (1 << 63) - 1):
            id_ = hex_id(kind, number)
            assert re.fullmatch("[0-9a-f]{24}", id_)
            assert read_hex_id(kind, id_) == number
            assert {read_hex_id(other, id_) for other in Kind if other is not kind} == {0}


def test_what_is_no_id_is_none_and_what_no_object_has_is_0() -> None:
    for text in ("", "5c", "G" * 24, "5C000001" + "0" * 16, "0" * 24 + "\n", "٠" * 24):
        assert read_hex_id(Kind.UNSUBSCRIBED, text) is None
    assert read_hex_id(Kind.UNSUBSCRIBED, "5c000001" + "f" * 16) == 0
