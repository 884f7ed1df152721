from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_scene import HOUR, NOW, NUMBER, SECOND, Scene, open_scene

from chappe.core.errors import StoreUnavailable
from chappe.core.message import Banned, Family, InDoubtPolicy, SendMessage, TrackedLink
from chappe.core.numbers import PhoneNumber

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
DESTINATION = "https://a.example/où?q=1&r=%20#é"


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def link_of(scene: Scene, url: str = DESTINATION) -> tuple[int, str]:
    """A message with a tracked link: its id, and the link's path."""
    id_ = await scene.sent(message=f"Lire {url} merci", trackLinks=True)
    message = await scene.stored(id_)
    return id_, message.text.removeprefix("Lire https://s.example").removesuffix(" merci")


async def test_a_click_leads_to_the_stored_destination_and_opens_the_message(scene: Scene) -> None:
    id_, path = await link_of(scene)
    scene.now += SECOND
    answer = await scene.client.get(path, headers={"User-Agent": PHONE})
    assert answer.status_code == 302
    assert answer.headers["location"] == "https://a.example/o%C3%B9?q=1&r=%20#%C3%A9"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert (await scene.status_of(id_))["opened"] == NOW + SECOND


async def test_what_the_caller_adds_does_not_change_where_it_leads(scene: Scene) -> None:
    _, path = await link_of(scene, "https://a.example/x")
    answer = await scene.client.get(f"http://api.test/{path}/?url=https://evil.example", headers={"User-Agent": PHONE})
    assert (answer.status_code, answer.headers["location"]) == (302, "https://a.example/x")


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "WhatsApp/2.23.20.0"},
        {"User-Agent": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"},
        {
            "User-Agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) "
            "Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0"
        },
        {"User-Agent": "TelegramBot (like TwitterBot)"},
        {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
        {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
        {"User-Agent": "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"},
        {"User-Agent": "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5"},
        {"User-Agent": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"},
        {"User-Agent": "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)"},
        {"User-Agent": "Mozilla/5.0 (Macintosh) AppleWebKit/600.2.5 (Applebot/0.1; +http://www.apple.com/go/applebot)"},
        {"User-Agent": "curl/8.5.0"},
        {"User-Agent": "python-httpx/0.28"},
        {"User-Agent": ""},
        {"User-Agent": PHONE, "Purpose": "prefetch"},
        {"User-Agent": PHONE, "Sec-Purpose": "prefetch;prerender"},
        {"User-Agent": PHONE, "X-Purpose": "preview"},
        {"User-Agent": PHONE, "X-Moz": "prefetch"},
    ],
)
async def test_robots_and_previews_are_led_on_but_not_counted_as_people(scene: Scene, headers: dict[str, str]) -> None:
    id_, path = await link_of(scene)
    assert (await scene.client.get(path, headers=headers)).status_code == 302
    assert (await scene.status_of(id_))["state"] == "submitted"


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (Linux; Android 10; CUBOT X20 PRO) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Snapchat/12.0",
    ],
)
async def test_people_on_odd_telephones_count(scene: Scene, agent: str) -> None:
    id_, path = await link_of(scene)
    await scene.client.get(path, headers={"User-Agent": agent})
    assert (await scene.status_of(id_))["state"] == "opened"


async def test_head_is_not_a_person(scene: Scene) -> None:
    id_, path = await link_of(scene)
    assert (await scene.client.head(path, headers={"User-Agent": PHONE})).status_code == 302
    assert (await scene.status_of(id_))["state"] == "submitted"


@pytest.mark.parametrize("token", ["Token9999999", "short", "x" * 65, "Token-000000", "Token000000%0A", "%D9%A1" * 10])
async def test_an_unknown_link_is_a_page_in_french(scene: Scene, token: str) -> None:
    answer = await scene.client.get(f"/l/{token}", headers={"User-Agent": PHONE})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert "Ce lien n'existe pas" in answer.text
    assert token not in answer.text


async def test_a_store_that_is_away_is_a_page_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def be_away(token: str, *, human: bool, now: int) -> str | None:
        raise StoreUnavailable("locked")

    monkeypatch.setattr(scene.store, "open_link", be_away)
    answer = await scene.client.get("/l/Token0000000", headers={"User-Agent": PHONE})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "Réessayez" in answer.text


async def test_an_expired_link_is_a_page_in_french_and_english(scene: Scene) -> None:
    id_, path = await link_of(scene)
    scene.now += 365 * 24 * HOUR
    answer = await scene.client.get(path, headers={"User-Agent": PHONE})
    assert answer.status_code == 410
    assert "location" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert "Ce lien n'est plus valable." in answer.text
    assert "This link is no longer valid." in answer.text
    assert (await scene.status_of(id_))["state"] == "submitted"


async def test_a_disabled_link_leads_nowhere_at_once(scene: Scene) -> None:
    id_, path = await link_of(scene)
    await scene.store.ban_links(Banned.MESSAGE, str(id_), NOW)
    for method in ("GET", "HEAD"):
        answer = await scene.client.request(method, path, headers={"User-Agent": PHONE})
        assert (answer.status_code, answer.headers.get("location")) == (410, None)
    await scene.store.allow_links(Banned.MESSAGE, str(id_))
    assert (await scene.client.get(path)).status_code == 302


async def test_links_have_a_domain_of_their_own_if_there_is_one(scene: Scene) -> None:
    scene.services.links_url = "https://go.example/"
    id_ = await scene.sent(message="https://a.example", trackLinks=True)
    text = (await scene.stored(id_)).text
    assert text.startswith("https://go.example/l/Token")
    assert (await scene.client.get(text)).headers["location"] == "https://a.example"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://a.example", "//a.example", "data:text/html,x", "/l/x"])
async def test_a_destination_that_is_not_http_is_not_answered(scene: Scene, url: str) -> None:
    await scene.store.accept(a_send(scene, TrackedLink("Token9999999", url)))
    answer = await scene.client.get("/l/Token9999999", headers={"User-Agent": PHONE})
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


def a_send(scene: Scene, link: TrackedLink) -> SendMessage:
    return SendMessage(
        account=scene.account.id,
        number=PhoneNumber(NUMBER),
        family=Family.MARKETING,
        text="Bonjour",
        parts=1,
        route="live",
        test=False,
        policy=InDoubtPolicy.AT_MOST_ONCE,
        accepted_at=NOW,
        due_at=NOW,
        validity_ms=HOUR,
        links=(link,),
    )
