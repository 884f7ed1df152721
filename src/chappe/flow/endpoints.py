"""Endpoints: what an account may ask about its webhooks, checked before it is stored."""

from __future__ import annotations

from collections.abc import Iterable

from chappe.core.errors import Invalid
from chappe.core.message import AccountId, State
from chappe.core.targets import Networks, forbidden_url
from chappe.core.webhooks import Endpoint, EndpointId, Telling, make_secret

INVALID_PARAMETER = 1001
NO_ENDPOINT = 1008
ENDPOINT_DISABLED = 1009
REPLAYED_AT_ONCE = 5_000
"""In one transaction."""
MOST_REPLAYED = 1_000_000

STATES = tuple(State)
EVERY_STATE = frozenset(State)
_STATES = {state.public_name: state for state in State}


class ForbiddenUrl(Invalid):
    """No webhook may go to this URL; `word` says why, as in `targets.forbidden_url`."""

    def __init__(self, word: str) -> None:
        super().__init__(INVALID_PARAMETER, "url")
        self.word = word

    def __str__(self) -> str:
        return f"no webhook may go to this URL: {self.word}"


async def create(
    store: Telling,
    account: AccountId,
    url: str,
    events: Iterable[str] | None,
    *,
    allowed: Networks,
    chance: bytes,
    now: int,
) -> Endpoint:
    """A new endpoint, for events of these names, or all of them. Raises Invalid.

    A name in the URL is not resolved here: what it resolves to now says nothing about the moment of a delivery, and
    is judged then (`notifier.guard`).
    """
    word = forbidden_url(url, allowed)
    if word is not None:
        raise ForbiddenUrl(word)
    return await store.add_endpoint(account, url, make_secret(chance), read_states(events), now)


def read_states(names: Iterable[str] | None) -> frozenset[State]:
    """The states of these names; all of them without any. Raises Invalid."""
    if names is None:
        return EVERY_STATE
    states = [_STATES.get(name) for name in names]
    if not states or None in states:
        raise Invalid(INVALID_PARAMETER, "events")
    return frozenset(state for state in states if state is not None)


async def remove(store: Telling, account: AccountId, endpoint: EndpointId) -> None:
    """Raises Invalid(1008)."""
    if not await store.remove_endpoint(account, endpoint):
        raise Invalid(NO_ENDPOINT)


async def enable(store: Telling, account: AccountId, endpoint: EndpointId) -> Endpoint:
    """Raises Invalid(1008)."""
    if not await store.enable_endpoint(account, endpoint):
        raise Invalid(NO_ENDPOINT)
    return await _get(store, account, endpoint)


async def rotate(store: Telling, account: AccountId, endpoint: EndpointId, chance: bytes) -> Endpoint:
    """A new secret, live beside the newest of before. Raises Invalid(1008)."""
    found = await store.add_secret(account, endpoint, make_secret(chance))
    if found is None:
        raise Invalid(NO_ENDPOINT)
    return found


async def replay(store: Telling, account: AccountId, endpoint: EndpointId, since: int, now: int) -> int:
    """Lets exhausted deliveries of events since then wait again; how many. Raises Invalid(1008, 1009)."""
    replayed = 0
    while replayed < MOST_REPLAYED:
        count = await store.replay(account, endpoint, since, REPLAYED_AT_ONCE, now)
        if count is None:
            await _get(store, account, endpoint)
            raise Invalid(ENDPOINT_DISABLED)
        replayed += count
        if count < REPLAYED_AT_ONCE:
            break
    return replayed


async def _get(store: Telling, account: AccountId, endpoint: EndpointId) -> Endpoint:
    found = await store.find_endpoint(account, endpoint)
    if found is None:
        raise Invalid(NO_ENDPOINT)
    return found
