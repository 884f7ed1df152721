"""Campaigns over the API: each call, both generations of client, and what is refused with which code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_scene import HOUR, KEY, NOW, NUMBER, STRANGER_KEY, TEST_KEY, Scene, open_scene

from chappe.core.counts import Count, Scope
from chappe.core.credits import Booking
from chappe.core.ids import Kind, hex_id
from chappe.core.lists import ListId
from chappe.core.message import Answered, AttemptReport, Family, NotAccepted, Submission
from chappe.core.personalise import FieldType
from chappe.core.routing import Member, Portion, Route
from chappe.flow.campaigns import Installation, Runner

CREATE = "/v2/marketing/campaigns"
ABSENT_ID = hex_id(Kind.CAMPAIGN, 999)
STATUS_KEYS = {"bounces", "creditsUsed", "delivered", "errors", "id", "name", "replies", "sent", "state", "submitted"}
STATUS_KEYS |= {"undelivered", "unsubscribers", "opens", "openers", "clicks", "clickers"}


class House:
    """The API with a list of five contacts, of whom the odd ones have a first name."""

    def __init__(self, scene: Scene, list_: ListId) -> None:
        self.scene = scene
        self.list_id = hex_id(Kind.LIST, list_)
        self.list = list_
        self.woken = 0
        scene.services.wake_campaigns = self.wake

    def wake(self) -> None:
        self.woken += 1

    async def call(self, method: str, path: str, key: str = KEY, **options: Any) -> httpx2.Response:
        headers = {"X-Primotexto-ApiKey": key, **options.pop("headers", {})}
        return await self.scene.client.request(method, path, headers=headers, **options)

    async def create(self, path: str = CREATE, key: str = KEY, **body: Any) -> httpx2.Response:
        ordinary = {"name": "Soldes", "message": "Bonjour ${prenom}", "sendList": self.list_id}
        return await self.call("POST", path, key, json={**ordinary, **body})

    async def created(self, path: str = CREATE, key: str = KEY, **body: Any) -> str:
        answer = await self.create(path, key, **body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def refusal(self, **body: Any) -> tuple[int, int, str | None]:
        answer = await self.create(**body)
        return answer.status_code, answer.json()["code"], answer.json().get("field")

    async def ask(self, method: str, path: str, key: str = KEY, **options: Any) -> Any:
        answer = await self.call(method, path, key, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def code(self, method: str, path: str, key: str = KEY, **options: Any) -> tuple[int, int]:
        answer = await self.call(method, path, key, **options)
        return answer.status_code, answer.json()["code"]

    async def run(self) -> None:
        """What a server does in the background."""
        services = self.scene.services
        runner = Runner(
            self.scene.store,
            "a",
            Installation(services.stop_mention, services.token, services.cut, services.routes),
            now_ms=services.now_ms,
            wake=services.wake,
        )
        while await runner.step():
            pass

    async def send(self, campaign: str) -> list[Submission]:
        """Sends it; what the operator gets."""
        await self.ask("POST", f"/v2/campaigns/{campaign}/send")
        await self.run()
        return await self.scene.claim()

    async def answer(self, submissions: list[Submission]) -> None:
        for submission in submissions:
            message, part, attempt = submission.key
            report = AttemptReport(message, Answered(part, attempt, self.scene.now, f"C{message}"))
            await self.scene.store.settle([report], self.scene.now)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_scene(tmp_path) as scene:
        account = scene.account.id
        list_ = await scene.store.create_list(account, "Clients", NOW)
        field = await scene.store.add_field(account, list_, "prenom", FieldType.STRING, None)
        assert not isinstance(field, NotAccepted)
        for index in range(1, 6):
            values = {field: f"P{index}"} if index % 2 else {}
            await scene.store.add_contact(account, list_, f"+33610000{index:03}", values)
        await scene.store.add_contact(account, list_, NUMBER, {})
        yield House(scene, list_)


async def test_created_campaign_is_shown_as_it_was_asked(house: House) -> None:
    id_ = await house.created(
        sourceAddress="ACME",
        date=NOW + HOUR,
        type="SMS",
        flash="true",
        cleanBounces=True,
        cleanUnsubscribers=None,
        keepList=False,
        landingPageType="EXTERNAL",
        externalUrl="https://a.example/",
        landingPageTitle="unknown keys are ignored",
        category="soldes",
    )
    assert id_ == hex_id(Kind.CAMPAIGN, 1)
    shown = await house.ask("GET", f"/v2/campaigns/{id_}")
    assert shown == {
        "id": id_,
        "campaignId": id_,
        "name": "Soldes",
        "message": "Bonjour ${prenom}",
        "sendList": house.list_id,
        "state": "DRAFT",
        "type": "SMS",
        "sourceAddress": "ACME",
        "date": NOW + HOUR,
        "flash": True,
        "cleanBounces": True,
        "cleanUnsubscribers": False,
        "keepList": False,
        "totalCredits": 0.0,
        "family": "marketing",
        "category": "soldes",
        "externalUrl": "https://a.example/",
        "created": NOW,
        "recipients": 0,
        "stored": 0,
        "leftOut": {},
        "cancelled": 0,
    }
    other = await house.created("/v2/notification/campaigns")
    assert [one["id"] for one in await house.ask("GET", "/v2/campaigns")] == [other, id_]
    assert [one["id"] for one in await house.ask("GET", f"/v2/campaigns?before={other}")] == [id_]
    assert (await house.ask("GET", f"/v2/campaigns/{other}"))["family"] == "notification"


async def test_answer_has_one_key_by_generation_of_client(house: House) -> None:
    assert (await house.create()).json().keys() == {"id"}
    assert (await house.create(sendList={"id": house.list_id, "name": "Clients"})).json().keys() == {"campaignId"}


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"name": None}, (400, 40, "name")),
        ({"name": " "}, (400, 40, "name")),
        ({"name": "x" * 256}, (400, 40, "name")),
        ({"name": 7}, (400, 40, "name")),
        ({"message": ""}, (400, 30, "message")),
        ({"message": "a\x07"}, (400, 31, "message")),
        ({"message": "x" * 4000}, (400, 32, "message")),
        ({"message": "Bonjour ${nom}"}, (400, 1001, "message")),
        ({"message": "${rich_message}"}, (400, 1001, "message")),
        ({"sendList": None}, (400, 48, "sendList")),
        ({"sendList": {}}, (400, 48, "sendList")),
        ({"sendList": 7}, (400, 48, "sendList")),
        ({"sendList": "nothing"}, (400, 48, "sendList")),
        ({"sendList": hex_id(Kind.LIST, 99)}, (404, 60, "sendList")),
        ({"sourceAddress": "Été"}, (400, 20, "sourceAddress")),
        ({"sourceAddress": "AB"}, (400, 21, "sourceAddress")),
        ({"sourceAddress": "ABCDEFGHIJKL"}, (400, 22, "sourceAddress")),
        ({"sourceAddress": "12345"}, (400, 23, "sourceAddress")),
        ({"category": "x" * 256}, (400, 45, "category")),
        ({"date": "tomorrow"}, (400, 61, "date")),
        ({"date": []}, (400, 61, "date")),
        ({"date": NOW - HOUR}, (400, 62, "date")),
        ({"flash": "perhaps"}, (400, 1001, "flash")),
        ({"keepList": 1}, (400, 1001, "keepList")),
        ({"landingPageType": "EXTERNAL"}, (400, 1001, "externalUrl")),
        ({"landingPageType": "EXTERNAL", "externalUrl": "javascript:alert(1)"}, (400, 1001, "externalUrl")),
        ({"landingPageType": "EXTERNAL", "externalUrl": "https:///x"}, (400, 1001, "externalUrl")),
    ],
)
async def test_bad_input_names_its_field(house: House, body: dict[str, Any], refusal: tuple[int, int, str]) -> None:
    assert await house.refusal(**body) == refusal


async def test_malformed_body_and_missing_key(house: House) -> None:
    assert await house.code("POST", CREATE, content=b"{") == (400, 73)
    assert await house.code("POST", CREATE, key="") == (401, 72)


@pytest.mark.parametrize("content", [b"SEND", b'"SEND"', b"{}", b"", b"\xff\x00"])
@pytest.mark.parametrize("prefix", ["/v2", "/v2/marketing", "/v2/notification"])
async def test_send_takes_any_body_under_any_prefix(house: House, content: bytes, prefix: str) -> None:
    campaign = await house.created()
    sent = await house.ask("POST", f"{prefix}/campaigns/{campaign}/send", content=content)
    assert sent == {"creditsUsed": 6.0, "id": campaign}
    assert house.woken == 1


async def test_sent_campaign_reaches_its_list_once(house: House) -> None:
    campaign = await house.created()
    submissions = await house.send(campaign)
    assert sorted(one.text for one in submissions) == ["Bonjour "] * 3 + ["Bonjour P1", "Bonjour P3", "Bonjour P5"]
    assert await house.ask("POST", f"/v2/campaigns/{campaign}/send") == {"creditsUsed": 6.0, "id": campaign}
    await house.run()
    assert await house.scene.claim() == []
    shown = await house.ask("GET", f"/v2/campaigns/{campaign}")
    assert (shown["state"], shown["totalCredits"], shown["recipients"], shown["stored"]) == ("SENT", 6.0, 6, 6)


async def test_status_has_exactly_its_keys_and_counts_what_came(house: House) -> None:
    campaign = await house.created()
    empty = await house.ask("GET", f"/v2/campaigns/{campaign}/status")
    assert empty.keys() == STATUS_KEYS
    assert (empty["state"], empty["sent"]) == ("DRAFT", 0)
    submissions = await house.send(campaign)
    await house.answer(submissions)
    [to_number] = [one for one in submissions if one.number == NUMBER]
    await house.scene.deliver(f"C{to_number.attempt.message}")
    await house.scene.reply("Merci")
    status = await house.ask("GET", f"/v2/campaigns/{campaign}/status")
    assert status.keys() == STATUS_KEYS
    counted = {
        name: status[name] for name in ("sent", "submitted", "delivered", "replies", "creditsUsed", "undelivered")
    }
    assert counted == {"sent": 6, "submitted": 6, "delivered": 1, "replies": 1, "creditsUsed": 6.0, "undelivered": 0}
    [reply] = await house.ask("GET", f"/v2/campaigns/{campaign}/replies")
    assert (reply["identifier"], reply["message"]) == (NUMBER, "Merci")
    await house.scene.reply("STOP")
    blacklists = await house.ask("GET", f"/v2/campaigns/{campaign}/blacklists")
    assert blacklists == {
        "bounces": {"number": 0, "identifiers": []},
        "unsubscribers": {"number": 1, "identifiers": [NUMBER]},
    }
    again = await house.created()
    await house.send(again)
    shown = await house.ask("GET", f"/v2/campaigns/{again}")
    assert (shown["stored"], shown["leftOut"]) == (5, {"unsubscribed": 1})
    untouched = await house.ask("GET", f"/v2/campaigns/{again}/blacklists")
    assert untouched["unsubscribers"]["number"] == 0


async def test_dry_run_tells_what_sending_would_do_and_when_it_would_end(house: House) -> None:
    campaign = await house.created()
    ahead = await house.ask("POST", f"/v2/campaigns/{campaign}/dry-run")
    assert ahead == {
        "contacts": 6,
        "recipients": 6,
        "leftOut": {},
        "creditsUsed": 6.0,
        "alphabets": {"GSM7": 6},
        "longest": "Bonjour P1",
        "longestParts": 1,
        "incomplete": 3,
        "missing": {"prenom": 3},
        "begins": NOW,
        "ends": None,
        "rate": None,
    }
    house.scene.services.rate = 2.0
    ahead = await house.ask("POST", f"/v2/marketing/campaigns/{campaign}/dry-run")
    assert (ahead["ends"], ahead["rate"]) == (NOW + 3_000, 2.0)
    assert (await house.ask("GET", f"/v2/campaigns/{campaign}"))["state"] == "DRAFT"
    assert await house.scene.claim() == []


async def test_test_takes_the_route_that_the_campaign_will_take(house: House) -> None:
    campaign = await house.created()
    house.scene.services.routes = [Route("promo", (Member("operator"),), families=(Family.MARKETING,))]
    await house.ask("POST", f"/v2/campaigns/{campaign}/test", json={"identifier": "+33699000001"})
    message = await house.scene.store.find_latest(house.scene.account.id, "+33699000001")
    assert message is not None
    assert message.route == "promo"


async def test_test_sends_one_message_that_is_one(house: House) -> None:
    campaign = await house.created(message="Bonjour ${prenom}, ${prenom}")
    answer = await house.ask("POST", f"/v2/campaigns/{campaign}/test", json={"identifier": "06 99 00 00 01"})
    assert answer == {"creditsUsed": 1.0}
    [submission] = await house.scene.claim()
    assert (submission.number, submission.text) == ("+33699000001", "Bonjour P1, P1")
    status = (await house.scene.status("identifier=%2B33699000001")).json()
    assert status["test"] is True
    for body, refusal in (
        ({}, (400, 10)),
        ({"identifier": "12"}, (400, 11)),
        ({"identifier": "0140000000"}, (400, 19)),
        ({"identifier": "+447400000000"}, (400, 91)),
    ):
        assert await house.code("POST", f"/v2/marketing/campaigns/{campaign}/test", json=body) == refusal
    assert (await house.ask("GET", f"/v2/campaigns/{campaign}/status"))["sent"] == 0


async def test_external_page_becomes_a_short_link_for_each_recipient(house: House) -> None:
    campaign = await house.created(
        message="Voir ${rich_message}", landingPageType="EXTERNAL", externalUrl="https://a.example/page"
    )
    submissions = await house.send(campaign)
    links = {one.text.removeprefix("Voir https://s.example") for one in submissions}
    assert len(links) == 6
    followed = await house.scene.client.get(links.pop(), headers={"User-Agent": "Mozilla/5.0 (iPhone)"})
    assert (followed.status_code, followed.headers["location"]) == (302, "https://a.example/page")
    assert (await house.ask("GET", f"/v2/campaigns/{campaign}/status"))["openers"] == 1


async def test_link_without_an_address_to_begin_with_is_refused(tmp_path: Path) -> None:
    async with open_scene(tmp_path, public_url=None) as scene:
        house = House(scene, await scene.store.create_list(scene.account.id, "Clients", NOW))
        body = {"message": "${rich_message}", "landingPageType": "EXTERNAL", "externalUrl": "https://a.example/"}
        assert await house.refusal(**body) == (400, 1001, "externalUrl")


async def test_paused_campaign_waits_and_resumed_goes_on(house: House) -> None:
    campaign = await house.created()
    for verb in ("pause", "resume"):
        assert await house.code("POST", f"/v2/campaigns/{campaign}/{verb}") == (409, 1001)
    await house.ask("POST", f"/v2/campaigns/{campaign}/send")
    await house.run()
    for _ in range(2):
        paused = await house.ask("POST", f"/v2/marketing/campaigns/{campaign}/pause")
        assert paused == {"id": campaign, "state": "PAUSED"}
    assert await house.scene.claim() == []
    assert await house.code("DELETE", f"/v2/campaigns/{campaign}") == (400, 42)
    for _ in range(2):
        assert (await house.ask("POST", f"/v2/campaigns/{campaign}/resume"))["state"] == "SENDING"
    await house.run()
    assert len(await house.scene.claim()) == 6


async def test_cancelled_campaign_says_how_many_will_not_leave(house: House) -> None:
    campaign = await house.created()
    await house.ask("POST", f"/v2/campaigns/{campaign}/send")
    await house.run()
    epoch = await house.scene.store.open_connector("operator", NOW)
    await house.scene.store.claim("operator", epoch, [Portion("live")], 2, NOW)
    answer = await house.ask("POST", f"/v2/campaigns/{campaign}/cancel")
    assert answer == {"id": campaign, "state": "CANCELLED", "cancelled": 4}
    await house.run()
    assert (await house.ask("GET", f"/v2/campaigns/{campaign}"))["cancelled"] == 4
    assert await house.code("POST", f"/v2/campaigns/{campaign}/cancel") == (400, 43)
    assert await house.code("POST", f"/v2/campaigns/{campaign}/send") == (409, 1001)
    counts = await house.scene.store.read_counts(
        house.scene.account.id, test=False, scope=Scope.CAMPAIGN, name=campaign
    )
    assert (counts[Count.SENT], counts[Count.NEVER_LEFT]) == (2, 4)


async def test_deleted_campaign_is_gone(house: House) -> None:
    campaign = await house.created()
    assert (await house.call("DELETE", f"/v2/campaigns/{campaign}")).status_code == 204
    assert await house.code("DELETE", f"/v2/campaigns/{campaign}") == (404, 47)
    assert await house.ask("GET", "/v2/campaigns") == []


async def test_send_says_what_keeps_it_from_being_sent(house: House) -> None:
    scheduled = await house.created(date=NOW + HOUR)
    assert await house.ask("POST", f"/v2/campaigns/{scheduled}/send") == {"creditsUsed": 6.0, "id": scheduled}
    assert (await house.ask("GET", f"/v2/campaigns/{scheduled}"))["state"] == "SCHEDULED"
    late = await house.created(date=NOW + HOUR)
    house.scene.now += 3 * HOUR
    assert await house.code("POST", f"/v2/campaigns/{late}/send") == (400, 41)
    campaign = await house.created()
    account, store = house.scene.account.id, house.scene.store
    await store.change_credits(account, Booking.TOPUP, 5, "", NOW)
    assert await house.code("POST", f"/v2/campaigns/{campaign}/send") == (402, 71)
    await store.empty_list(account, house.list)
    assert await house.code("POST", f"/v2/campaigns/{campaign}/send") == (400, 48)
    await store.delete_list(account, house.list)
    assert await house.code("POST", f"/v2/campaigns/{campaign}/send") == (404, 60)


CALLS = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/test"),
    ("POST", "/dry-run"),
    ("POST", "/send"),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("POST", "/cancel"),
    ("GET", "/status"),
    ("GET", "/replies"),
    ("GET", "/blacklists"),
]


@pytest.mark.parametrize(("method", "verb"), CALLS)
async def test_another_account_s_or_another_traffic_s_campaign_is_as_absent(
    house: House, method: str, verb: str
) -> None:
    campaign = await house.created()
    for key in (STRANGER_KEY, TEST_KEY):
        foreign = await house.call(method, f"/v2/campaigns/{campaign}{verb}", key)
        absent = await house.call(method, f"/v2/campaigns/{ABSENT_ID}{verb}", key)
        assert (foreign.status_code, foreign.content) == (absent.status_code, absent.content)
        assert foreign.json()["code"] == 47
    assert await house.code(method, f"/v2/campaigns/nothing{verb}") == (404, 47)
    assert (await house.ask("GET", f"/v2/campaigns/{campaign}"))["state"] == "DRAFT"


async def test_campaign_of_a_test_key_reaches_the_simulator_only(house: House) -> None:
    campaign = await house.created(key=TEST_KEY)
    await house.ask("POST", f"/v2/campaigns/{campaign}/send", TEST_KEY)
    await house.run()
    assert await house.scene.claim() == []
    assert await house.scene.store.next_due("simulator") == NOW
    assert await house.ask("GET", "/v2/campaigns") == []


async def test_single_message_cannot_pass_for_one_of_a_campaign(house: House) -> None:
    campaign = await house.created()
    answer = await house.scene.send(campaignName=campaign)
    assert (answer.status_code, answer.json()["code"]) == (400, 40)
