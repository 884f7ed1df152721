"""Tracked links: every click leads on, a person's first one counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_scene import DAY, HOUR, MINUTE, NOW, OpenStore, Scene

from chappe.core.links import campaign_name, host_of
from chappe.core.message import Ban, Banned, Gone, LinkClicks, MessageId, State, TrackedLink

SOON = NOW + MINUTE
LINK = TrackedLink("Zb3kP0aQ9x", "https://example.org/soldes?a=1#été")
OTHER_LINK = TrackedLink("Ym4lQ1bR8w", "https://example.org/plan")


@pytest.fixture
async def message(scene: Scene) -> MessageId:
    """A message with two links, in the operator's charge."""
    return await scene.hand_over(links=(LINK, OTHER_LINK))


async def test_click_leads_to_the_stored_destination(scene: Scene, message: MessageId) -> None:
    assert await scene.store.open_link(LINK.token, human=True, now=SOON) == LINK.url
    assert await scene.store.open_link(OTHER_LINK.token, human=True, now=SOON) == OTHER_LINK.url


async def test_first_click_of_a_person_opens_the_message(scene: Scene, message: MessageId) -> None:
    sent = await scene.read(message)
    await scene.store.open_link(LINK.token, human=True, now=SOON)
    assert await scene.read(message) == replace(sent, opened_at=SOON, facts=sent.facts + 1, events=3, wake_at=None)
    assert await scene.state(message) is State.OPENED


async def test_only_the_first_click_of_a_link_is_a_fact(scene: Scene, message: MessageId) -> None:
    await scene.store.open_link(LINK.token, human=True, now=SOON)
    opened = await scene.read(message)
    await scene.store.open_link(LINK.token, human=True, now=SOON + HOUR)
    assert await scene.read(message) == opened


async def test_later_clicks_lead_on_and_change_no_time(scene: Scene, message: MessageId) -> None:
    await scene.store.open_link(LINK.token, human=True, now=SOON)
    assert await scene.store.open_link(LINK.token, human=True, now=SOON + HOUR) == LINK.url
    assert await scene.store.open_link(OTHER_LINK.token, human=True, now=SOON + HOUR) == OTHER_LINK.url
    assert (await scene.read(message)).opened_at == SOON


async def test_click_of_a_robot_leads_on_and_opens_nothing(scene: Scene, message: MessageId) -> None:
    before = await scene.read(message)
    assert await scene.store.open_link(LINK.token, human=False, now=SOON) == LINK.url
    assert await scene.read(message) == before


async def test_person_after_a_robot_is_the_first_person(scene: Scene, message: MessageId) -> None:
    await scene.store.open_link(LINK.token, human=False, now=SOON)
    await scene.store.open_link(LINK.token, human=True, now=SOON + HOUR)
    assert (await scene.read(message)).opened_at == SOON + HOUR


@pytest.mark.parametrize("token", ["", "unheard0f0", LINK.token.lower(), LINK.token + "\n", "%"])
async def test_unknown_token_leads_nowhere(scene: Scene, message: MessageId, token: str) -> None:
    assert await scene.store.open_link(token, human=True, now=SOON) is None
    assert await scene.state(message) is State.SENT


async def test_click_proves_that_the_message_arrived_even_after_an_error(scene: Scene, message: MessageId) -> None:
    await scene.store.sweep(NOW + 100 * HOUR, 10)
    assert await scene.state(message) is State.ERROR
    await scene.store.open_link(LINK.token, human=True, now=NOW + 101 * HOUR)
    read = await scene.read(message)
    assert (read.opened_at, read.delivered_at) == (NOW + 101 * HOUR, None)
    assert await scene.state(message) is State.OPENED


async def test_click_ends_the_wait_for_a_receipt(scene: Scene, message: MessageId) -> None:
    await scene.store.open_link(LINK.token, human=True, now=SOON)
    assert await scene.store.sweep(NOW + 100 * HOUR, 10) == (0, [])


async def test_links_outlive_a_restart(scene: Scene, message: MessageId) -> None:
    await scene.restart()
    assert await scene.store.open_link(LINK.token, human=True, now=SOON) == LINK.url


# --- links that end ----------------------------------------------------------------------------------


async def test_link_leads_on_until_it_expires(scene: Scene) -> None:
    message = await scene.hand_over(links=(replace(LINK, expires_at=NOW + DAY),))
    assert await scene.store.open_link(LINK.token, human=False, now=NOW + DAY - 1) == LINK.url
    assert await scene.store.open_link(LINK.token, human=True, now=NOW + DAY) is Gone.EXPIRED
    assert await scene.state(message) is State.SENT
    [link] = await scene.store.list_links(scene.account, message)
    assert link == LinkClicks(LINK.url, 0, 1, None, None, NOW + DAY)


async def test_message_s_links_show_people_and_robots_apart_the_first_and_the_last(
    scene: Scene, message: MessageId
) -> None:
    for human, at in ((False, SOON), (True, SOON + 1), (False, SOON + 2), (True, SOON + 3)):
        await scene.store.open_link(LINK.token, human=human, now=at)
    assert await scene.store.list_links(scene.account, message) == [
        LinkClicks(OTHER_LINK.url, 0, 0, None, None, None),
        LinkClicks(LINK.url, 2, 2, SOON + 1, SOON + 3, None),
    ]
    assert await scene.store.list_links(await scene.another_account(), message) == []


# --- the kill switch ---------------------------------------------------------------------------------

NAMES = [
    (Banned.TOKEN, LINK.token),
    (Banned.HOST, "example.org"),
    (Banned.HOST, "org"),
]


@pytest.mark.parametrize(("what", "name"), NAMES)
async def test_what_is_banned_leads_nowhere_on_any_node_until_it_is_allowed(
    open_store: OpenStore, scene: Scene, message: MessageId, what: Banned, name: str
) -> None:
    other = await open_store()
    await scene.store.ban_links(what, name, SOON)
    await scene.store.ban_links(what, name, SOON + HOUR)
    assert await scene.store.list_bans() == [Ban(what, name, SOON)]
    for store in (scene.store, other):
        assert await store.open_link(LINK.token, human=True, now=SOON) is Gone.DISABLED
    assert await scene.state(message) is State.SENT
    assert await scene.store.allow_links(what, name)
    assert not await scene.store.allow_links(what, name)
    assert await other.open_link(LINK.token, human=True, now=SOON) == LINK.url


async def test_ban_on_a_message_or_a_campaign_is_for_all_its_links_and_no_others(scene: Scene) -> None:
    rival = await scene.another_account()
    links = [TrackedLink(f"Zb3kP0aQ{place:02}", LINK.url) for place in range(5)]
    first = await scene.hand_over("A1", campaign="mai", links=tuple(links[:2]))
    await scene.hand_over("A2", campaign="mai", links=(links[2],))
    await scene.hand_over("A3", campaign="mai", links=(links[3],), account=rival)
    await scene.hand_over("A4", links=(links[4],))

    async def gone() -> list[bool]:
        opened = [await scene.store.open_link(link.token, human=False, now=SOON) for link in links]
        return [found is Gone.DISABLED for found in opened]

    await scene.store.ban_links(Banned.MESSAGE, str(first), SOON)
    assert await gone() == [True, True, False, False, False]
    await scene.store.ban_links(Banned.CAMPAIGN, campaign_name(scene.account, "mai"), SOON)
    assert await gone() == [True, True, True, False, False]


async def test_ban_on_a_host_is_for_links_still_to_be_made(scene: Scene) -> None:
    await scene.store.ban_links(Banned.HOST, "example.org", NOW)
    await scene.hand_over(links=(LINK, TrackedLink("0therHost0", "https://example.org.example.net/")))
    assert await scene.store.open_link(LINK.token, human=True, now=SOON) is Gone.DISABLED
    assert await scene.store.open_link("0therHost0", human=True, now=SOON) == "https://example.org.example.net/"


@pytest.mark.parametrize(
    "url",
    [
        "https://EXAMPLE.org/",
        "https://www.example.org:8443/x",
        "https://user:word@example.org/",
        "https://example.org./",
        "https://ex%61mple.org/",
        "https://example\N{IDEOGRAPHIC FULL STOP}org/",
        "https://\uff45xample.org/",
    ],
)
async def test_ban_on_a_host_is_not_missed_by_another_way_to_write_it(scene: Scene, url: str) -> None:
    await scene.hand_over(links=(TrackedLink("0therHost0", url),))
    await scene.store.ban_links(Banned.HOST, "example.org", NOW)
    assert await scene.store.open_link("0therHost0", human=True, now=SOON) is Gone.DISABLED


def test_a_host_is_read_as_browsers_read_it() -> None:
    assert host_of("https://café.example/") == host_of("https://xn--caf-dma.example") == "xn--caf-dma.example"
    assert host_of("https://[::1") == ""
