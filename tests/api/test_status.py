from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_scene import HOUR, KEY, NOW, NUMBER, SECOND, SEND_MARKETING, STATUS, STRANGER_KEY, Scene, open_scene

from chappe.core.message import AttemptReport, DoubtBegan, Verdict

SUNDAY_EVENING = NOW + 58 * HOUR
"""NOW is a Friday, 09:00 in Paris."""
MONDAY_MORNING = NOW + 71 * HOUR
BY_NUMBER = "identifier=%2B33612345678"


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def test_an_accepted_message_is_submitted(scene: Scene) -> None:
    id_ = await scene.sent()
    answer = await scene.status(f"snapshotId={id_}")
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.json() == {
        "id": id_,
        "identifier": NUMBER,
        "state": "submitted",
        "stateDate": NOW,
        "submitted": NOW,
        "test": False,
    }


async def test_a_delivered_message_has_the_samples_keys_in_the_samples_order(scene: Scene) -> None:
    id_ = await scene.sent(category="rappel")
    scene.now += SECOND
    await scene.answer((await scene.claim())[0], "A1")
    scene.now += SECOND
    await scene.deliver("A1")
    answer = (await scene.status(f"snapshotId={id_}")).json()
    sample = ["delivered", "id", "sent", "state", "stateDate", "submitted", "test"]
    assert [key for key in answer if key in sample] == sample
    assert list(answer) == sorted(answer)
    assert answer == {
        "category": "rappel",
        "delivered": NOW + 2 * SECOND,
        "id": id_,
        "identifier": NUMBER,
        "sent": NOW + SECOND,
        "state": "delivered",
        "stateDate": NOW + 2 * SECOND,
        "submitted": NOW,
        "test": False,
    }


@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict.NOT_ASSIGNED, "bounced"), (Verdict.FAILED, "error"), (Verdict.EXPIRED, "error")]
)
async def test_a_failed_message_says_when_and_why(scene: Scene, verdict: Verdict, state: str) -> None:
    id_ = await scene.sent()
    await scene.answer((await scene.claim())[0], "A1")
    scene.now += SECOND
    await scene.deliver("A1", verdict)
    answer = await scene.status_of(id_)
    assert (answer["state"], answer[state], answer["stateDate"]) == (state, scene.now, scene.now)
    assert answer["cause"] == verdict.name


async def test_a_reply_shows_with_its_text(scene: Scene) -> None:
    id_ = await scene.sent()
    await scene.answer((await scene.claim())[0], "A1")
    scene.now += SECOND
    await scene.reply("Merci")
    scene.now += SECOND
    await scene.reply("STOP")
    answer = await scene.status_of(id_)
    assert (answer["state"], answer["stateDate"]) == ("unsubscribed", NOW + 2 * SECOND)
    assert (answer["reply"], answer["replyMessage"]) == (NOW + SECOND, "Merci")
    assert "delivered" not in answer


async def test_an_opened_link_shows(scene: Scene) -> None:
    id_ = await scene.sent(message="https://a.example", trackLinks=True)
    message = await scene.stored(id_)
    scene.now += SECOND
    await scene.client.get(message.text.removeprefix("https://s.example"), headers={"User-Agent": "Mozilla/5.0"})
    answer = await scene.status_of(id_)
    assert (answer["state"], answer["opened"]) == ("opened", NOW + SECOND)


async def test_each_part_of_a_long_message_is_seen(scene: Scene) -> None:
    id_ = await scene.sent(message="a" * 400)
    first, second, third = await scene.claim()
    scene.now += SECOND
    await scene.answer(first, "A1")
    await scene.answer(second, "A2")
    scene.now += SECOND
    await scene.deliver("A1")
    message, part, attempt = third.key
    await scene.store.settle([AttemptReport(message, DoubtBegan(part, attempt, scene.now, "link lost"))], scene.now)
    answer = await scene.status_of(id_)
    assert answer["state"] == "submitted"
    assert answer["inDoubt"] == 1
    assert answer["parts"] == [
        {"at": NOW + 2 * SECOND, "part": 1, "state": "delivered"},
        {"at": NOW + SECOND, "part": 2, "state": "sent"},
        {"at": NOW + 2 * SECOND, "part": 3, "state": "inDoubt"},
    ]


async def test_a_part_not_sent_yet_has_no_time(scene: Scene) -> None:
    id_ = await scene.sent(message="a" * 161)
    parts = (await scene.status_of(id_))["parts"]
    assert parts == [{"part": 1, "state": "queued"}, {"part": 2, "state": "queued"}]


async def test_marketing_held_on_a_sunday_says_until_when_and_by_which_rule(scene: Scene) -> None:
    scene.now = SUNDAY_EVENING
    id_ = await scene.sent(SEND_MARKETING)
    answer = await scene.status_of(id_)
    assert list(answer) == sorted(answer)
    held = {"heldBy": "fr-af2m-2026:sunday", "heldUntil": MONDAY_MORNING}
    assert held.items() <= answer.items()
    assert (answer["state"], answer["stateDate"], "scheduled" in answer) == ("submitted", SUNDAY_EVENING, False)
    scene.now = MONDAY_MORNING
    assert not held.keys() & (await scene.status_of(id_)).keys()


async def test_a_message_with_a_date_is_scheduled_and_one_in_closed_hours_is_held(scene: Scene) -> None:
    scheduled = await scene.status_of(await scene.sent(date=SUNDAY_EVENING))
    assert (scheduled["scheduled"], "heldBy" in scheduled) == (SUNDAY_EVENING, False)
    both = await scene.status_of(await scene.sent(SEND_MARKETING, date=SUNDAY_EVENING))
    assert (both["heldUntil"], "scheduled" in both) == (MONDAY_MORNING, False)
    open_hours = await scene.status_of(await scene.sent(SEND_MARKETING, date=MONDAY_MORNING))
    assert (open_hours["scheduled"], "heldUntil" in open_hours) == (MONDAY_MORNING, False)


async def test_a_message_taken_back_waits_no_more(scene: Scene) -> None:
    id_ = await scene.sent(SEND_MARKETING, date=SUNDAY_EVENING)
    await scene.client.post(f"/v2/messages/{id_}/cancel")
    assert not {"heldBy", "heldUntil", "scheduled"} & (await scene.status_of(id_)).keys()


# --- how it is asked -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        BY_NUMBER,
        "identifier=+33612345678",
        "identifier=0612345678",
        "identifier=0033612345678",
        "identifier=06%2012%2034%2056%2078",
        "identifier=%2B33+6+12+34+56+78",
        "identifier=06.12-34%C2%A056%2078",
        f"{BY_NUMBER}&snapshotId=",
        f"&{BY_NUMBER}&unknown=1&&",
        "%69dentifier=0612345678",
    ],
)
async def test_a_number_may_be_written_in_many_ways(scene: Scene, query: str) -> None:
    id_ = await scene.sent()
    answer = await scene.status(query)
    assert (answer.status_code, answer.json().get("id")) == (200, id_)


async def test_by_number_the_latest_message_is_meant(scene: Scene) -> None:
    await scene.sent()
    latest = await scene.sent()
    await scene.sent(number="0687654321")
    await scene.sent(key=STRANGER_KEY)
    assert (await scene.status(BY_NUMBER)).json()["id"] == latest


async def test_a_number_is_read_in_the_accounts_country(scene: Scene) -> None:
    await scene.save_settings(country="BE")
    id_ = await scene.sent(number="0470123456")
    assert (await scene.status("identifier=0470123456")).json()["id"] == id_


@pytest.mark.parametrize(
    "query",
    [
        "",
        "identifier=",
        "identifier=&snapshotId=",
        "identifier",
        "number=0612345678",
        f"{BY_NUMBER}&snapshotId=1",
        f"{BY_NUMBER}&{BY_NUMBER}",
        "snapshotId=1&snapshotId=2",
    ],
)
async def test_exactly_one_of_number_and_id_is_asked_for(scene: Scene, query: str) -> None:
    answer = await scene.status(query)
    assert (answer.status_code, answer.json()["code"]) == (400, 1001)


@pytest.mark.parametrize(
    "snapshot_id", ["x", "-1", "%2B1", "1.0", "1%0A", "%D9%A1", "0x1", "9223372036854775808", "1" * 30]
)
async def test_an_id_that_cannot_be_read_is_code_1001(scene: Scene, snapshot_id: str) -> None:
    answer = await scene.status(f"snapshotId={snapshot_id}")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 1001, "snapshotId")


@pytest.mark.parametrize("identifier", ["abc", "06", "%2B999", "%00", "%FF", "%D9%A0%D9%A6", "+", "%2B", "%"])
async def test_a_number_that_cannot_be_read_is_code_11(scene: Scene, identifier: str) -> None:
    answer = await scene.status(f"identifier={identifier}")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, 11, "identifier")


async def test_an_id_given_as_number_is_told_where_it_belongs(scene: Scene) -> None:
    english = (await scene.status("identifier=362891")).json()
    french = (await scene.status("identifier=362891", language="fr")).json()
    assert english["code"] == french["code"] == 11
    assert "use snapshotId" in english["message"]
    assert "utilisez snapshotId" in french["message"]


@pytest.mark.parametrize("snapshot_id", ["0", "999999", "9223372036854775807"])
async def test_no_such_message_is_code_16(scene: Scene, snapshot_id: str) -> None:
    await scene.sent()
    for query in (f"snapshotId={snapshot_id}", "identifier=0687654321"):
        answer = await scene.status(query)
        assert (answer.status_code, answer.json()["code"]) == (404, 16)


async def test_another_accounts_message_answers_the_same_bytes_as_none(scene: Scene) -> None:
    id_ = await scene.sent()
    for query in (f"snapshotId={id_}", BY_NUMBER):
        foreign = await scene.status(query, key=STRANGER_KEY)
        absent = await scene.status("snapshotId=999999", key=STRANGER_KEY)
        assert (foreign.status_code, foreign.content) == (absent.status_code, absent.content)


async def test_a_body_with_a_content_type_does_not_disturb(scene: Scene) -> None:
    id_ = await scene.sent()
    headers = {"Content-Type": "application/json", "Content-Length": "0"}
    answer = await scene.client.get(f"/v2//messages/status/?snapshotId={id_}", headers=headers)
    assert answer.json()["id"] == id_


async def test_head_is_answered_like_get_without_the_body(scene: Scene) -> None:
    id_ = await scene.sent()
    get = await scene.status(f"snapshotId={id_}")
    head = await scene.client.head(f"{STATUS}?snapshotId={id_}", headers={"X-Primotexto-ApiKey": KEY})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_a_scheduled_message_is_submitted_since_it_was_accepted(scene: Scene) -> None:
    id_ = await scene.sent(date=NOW + HOUR)
    assert await scene.claim() == []
    answer = await scene.status_of(id_)
    assert (answer["state"], answer["submitted"]) == ("submitted", NOW)
