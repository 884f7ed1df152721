"""Tracked links in the store, for every engine: where they lead, who followed them, and what is switched off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chappe.core import links
from chappe.core.counts import Count
from chappe.core.message import AccountId, Ban, Banned, Clicked, Event, Gone, LinkClicks, MessageId
from chappe.storage.engine import Engine
from chappe.storage.steps import Steps, ask, tell
from chappe.storage.work import Workspace


def open_link(work: Workspace, token: str, human: bool, now: int) -> Steps[tuple[str | Gone | None, list[Event]]]:
    """See `ports.Engaging.open_link`; with it the public state that the click brought about."""
    rows = yield from ask("find_link", [(token,)])
    if not rows:
        return None, []
    message, url, expires_at, account, campaign = rows[0]
    if expires_at is not None and now >= expires_at:
        return Gone.EXPIRED, []
    names = links.names_of(token, message, url, account, campaign)
    if (yield from ask("find_ban", [(what.value, name) for what, name in names])):
        return Gone.DISABLED, []
    [(clicks,)] = yield from ask("click_link", [(int(human), int(not human), now if human else None, token)])
    events: list[Event] = []
    if human:
        yield from work.load([message])
        journey = work.find(message)
        if journey is not None:
            work.count(journey.message, Count.OPENS)
            if clicks == 1:
                events = work.advance(message, Clicked(now))
            yield from work.save()
    return url, events


def ban_links(what: Banned, name: str, now: int) -> Steps[None]:
    """See `ports.Linking.ban_links`."""
    yield from tell("insert_ban", [(what.value, name, now)])


def allow_links(what: Banned, name: str) -> Steps[bool]:
    """See `ports.Linking.allow_links`."""
    return bool((yield from ask("delete_ban", [(what.value, name)])))


JOBS: Mapping[str, Callable[..., Steps[Any]]] = {"ban_links": ban_links, "allow_links": allow_links}


class LinkCalls(Engine):
    """`Linking`."""

    async def list_links(self, account: AccountId, message: MessageId) -> list[LinkClicks]:
        return [LinkClicks(*row) for row in await self._look_up("read_links", (message, account))]

    async def ban_links(self, what: Banned, name: str, now: int) -> None:
        await self._change("ban_links", (what, name, now))

    async def allow_links(self, what: Banned, name: str) -> bool:
        allowed: bool = await self._change("allow_links", (what, name))
        return allowed

    async def list_bans(self) -> list[Ban]:
        return [Ban(Banned(what), name, since) for what, name, since in await self._look_up("read_bans", ())]
