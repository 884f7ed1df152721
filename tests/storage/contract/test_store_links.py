"""Tracked links: every click leads on, a person's first one counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_scene import HOUR, MINUTE, NOW, Scene

from chappe.core.message import MessageId, State, TrackedLink

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
