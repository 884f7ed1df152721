"""Accept: from what a caller asked to a message on disk.

`validate` is pure and decides everything the store need not be asked for; `accept` stores, and returns only
after the commit. Opt-outs, bounces and idempotency keys are decided inside the store's transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from chappe.core import hours
from chappe.core.campaigns import read_public_id
from chappe.core.errors import Invalid, TooMuch
from chappe.core.message import (
    Accepted,
    Account,
    Family,
    Idempotency,
    InDoubtPolicy,
    Key,
    NotAccepted,
    SendMessage,
    TrackedLink,
)
from chappe.core.numbers import parse_mobile, parse_sender
from chappe.core.optout import Mention, mention_for, with_mention
from chappe.core.ports import Sending
from chappe.core.routing import LIVE, SIMULATOR, Route, choose_route
from chappe.core.text import Cut, count_parts, uncodable, with_language

MAX_PARTS = 20
"""A longer text is a mistake more often than a wish, and each part is paid for. The protocol's cap is 255."""
MAX_CHARACTERS = 160 * MAX_PARTS
MAX_NAME = 255
"""Characters of a category or a campaign's name."""
PAST_TOLERANCE_MS = 5 * 60_000
"""Clocks differ: a date less far in the past than this means now."""
FURTHEST_DATE_MS = 366 * 24 * 3_600_000
MAX_VALIDITY_SECONDS = 7 * 24 * 3600
"""As long as an operator's ids are remembered: a receipt can be matched for no longer."""

POLICY_OF_FAMILY: Mapping[Family, InDoubtPolicy] = {
    Family.NOTIFICATION: InDoubtPolicy.WAIT_THEN_RETRY,
    Family.MARKETING: InDoubtPolicy.AT_MOST_ONCE,
}
_NOTIFICATION = Family.NOTIFICATION
"""Its full name costs ten times as much, in CPython 3.11."""
POLICY_OF_CATEGORY: Mapping[str, InDoubtPolicy] = {
    # Notifications that are useless when late: one-time codes and alarms. An account's own setting goes first.
    "otp": InDoubtPolicy.AT_LEAST_ONCE,
    "code": InDoubtPolicy.AT_LEAST_ONCE,
    "alarm": InDoubtPolicy.AT_LEAST_ONCE,
    "alarme": InDoubtPolicy.AT_LEAST_ONCE,
}


@dataclass(slots=True)
class SendRequest:
    """What a caller asked, as it came: nothing of it can be trusted. None where it was absent or null."""

    number: str | None
    message: str | None
    sender: str | None = None
    campaign: str | None = None
    category: str | None = None
    date: int | float | str | None = None
    track_links: bool | None = None
    validity_seconds: int | None = None
    idempotency: Idempotency | None = None


class Terms(Protocol):
    """What the installation, not the account, decides about a send."""

    @property
    def live_route(self) -> str:
        """Where live keys' messages go: the simulator's route when no operator is configured."""
        ...

    @property
    def routes(self) -> Sequence[Route]:
        """Which of the messages that go to operators take a route of their own."""
        ...

    @property
    def links_base(self) -> str | None:
        """What tracked links begin with."""
        ...

    @property
    def default_validity_ms(self) -> int: ...

    @property
    def stop_mention(self) -> Mention | None:
        """What stands behind the marketing of accounts that did not decide."""
        ...

    @property
    def cut(self) -> Cut:
        """How texts have to be cut for the operators."""
        ...

    @property
    def token(self) -> Callable[[], str]:
        """Makes a new secret for a link: at least 10 letters and digits."""
        ...


def validate(request: SendRequest, key: Key, family: Family, terms: Terms, now: int) -> SendMessage:
    """The request as a message ready to be stored.

    Raises Invalid with the contract's code for the first thing that is wrong: number (10, 11, 19, 90, 91), text
    (30, 31), sender (20–23), date (61, 62), campaign's name and category (40, 45), validity and link tracking
    (1001), and at last the length of the text as it will be sent (32).
    """
    account = key.account
    number = parse_mobile(request.number or "", account.settings.country, international=account.settings.international)
    text = check_text(request.message)
    sender = parse_sender(request.sender) if request.sender else account.settings.default_sender
    wished = read_date(request.date, now)
    campaign = check_name(request.campaign, 40, "campaignName")
    if campaign and read_public_id(campaign):
        raise Invalid(40, "campaignName")  # it would count among the messages of that campaign
    category = check_name(request.category, 45, "category")
    validity_ms = _read_validity(request.validity_seconds, terms)
    cut = with_language(terms.cut, account.settings.national_shift)
    route = SIMULATOR if key.test else terms.live_route
    if route == LIVE:
        route = choose_route(
            terms.routes, number=number, family=family, category=category, account=account.name, sender=sender
        )
    test = route == SIMULATOR
    due_at, held_by = hours.release(account.settings, family, number, wished, test=test)
    text, links = _track_links(text, request.track_links, account, terms, due_at)
    text = with_mention(text, mention_for(account.settings, family, terms.stop_mention))
    return SendMessage(
        account=account.id,
        number=number,
        family=family,
        text=text,
        parts=parts_of(text, cut),
        route=route,
        test=test,
        policy=choose_policy(account, family, category),
        accepted_at=now,
        due_at=due_at,
        validity_ms=validity_ms,
        category=category,
        campaign=campaign,
        sender=sender,
        links=links,
        idempotency=request.idempotency,
        exempt_from_optout=family is _NOTIFICATION and account.settings.notify_opted_out,
        held_by=held_by,
        billed=not key.test,
        limits=account.limits,
        cut=cut,
    )


async def accept(store: Sending, send: SendMessage, wake: Callable[[str], None]) -> Accepted:
    """Stores the message, and tells its route once it is durable.

    Raises Invalid for what only the store knows (12, 13, 14 about the number, 1006 about the idempotency key, 90, 76
    and 71 about the account's limits and credits), StoreUnavailable when nothing was stored.
    """
    outcome = await store.accept(send)
    if isinstance(outcome, NotAccepted):
        if outcome.retry_ms is not None:
            raise TooMuch(outcome.retry_ms)
        raise Invalid(outcome.code, _BLAMED.get(outcome.code, "number"))
    if not outcome.repeated:
        wake(send.route)
    return outcome


_BLAMED: Mapping[int, str | None] = {1006: "Idempotency-Key", 71: None}
"""What to change, where it is not the number."""


# --- the checks, in the order they are made ------------------------------------------------------------

_NO_NAME = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_EPOCH_MS = re.compile("-?[0-9]{1,18}")
_URL = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_NOT_AT_THE_END = ".,;:!?'’”»*_)]}"
"""Punctuation that belongs to the sentence, not to the address in it."""


def check_text(message: str | None) -> str:
    if message is None or not message.strip():
        raise Invalid(30, "message")
    if uncodable(message) is not None:
        raise Invalid(31, "message")
    return message


def read_date(date: int | float | str | None, now: int) -> int:
    if date is None:
        return now
    if isinstance(date, str):
        if not _EPOCH_MS.fullmatch(date):
            raise Invalid(61, "date")
        date = int(date)
    elif date != date // 1:
        raise Invalid(61, "date")
    if not now - PAST_TOLERANCE_MS <= date <= now + FURTHEST_DATE_MS:
        raise Invalid(62, "date")
    return max(int(date), now)


def check_name(name: str | None, code: int, field: str) -> str | None:
    if not name:
        return None
    if len(name) > MAX_NAME or _NO_NAME.search(name):
        raise Invalid(code, field)
    return name


def _read_validity(seconds: int | None, terms: Terms) -> int:
    if seconds is None:
        return terms.default_validity_ms
    if not 1 <= seconds <= MAX_VALIDITY_SECONDS:
        raise Invalid(1001, "validity")
    return seconds * 1000


def _track_links(
    text: str, asked: bool | None, account: Account, terms: Terms, due_at: int
) -> tuple[str, tuple[TrackedLink, ...]]:
    if not (account.settings.track_links if asked is None else asked):
        return text, ()
    prefix = link_prefix(terms.links_base)
    if prefix is None:
        if asked:
            raise Invalid(1001, "trackLinks")
        return text, ()
    return track_links(text, prefix, links_end_at(account, due_at), terms.token)


def link_prefix(links_base: str | None) -> str | None:
    """What stands before the token in a tracked link."""
    return None if links_base is None else f"{links_base.rstrip('/')}/l/"


def links_end_at(account: Account, due_at: int) -> int:
    return due_at + account.settings.link_lifetime_seconds * 1000


def track_links(
    text: str, prefix: str, expires_at: int, token: Callable[[], str]
) -> tuple[str, tuple[TrackedLink, ...]]:
    """The text with its addresses replaced by short links; one link for each different address."""
    tokens: dict[str, str] = {}

    def shorten(found: re.Match[str]) -> str:
        url = _trim(found[0])
        if url.startswith(prefix) or not has_host(url):
            return found[0]
        short = tokens.get(url) or tokens.setdefault(url, token())
        return prefix + short + found[0][len(url) :]

    text = _URL.sub(shorten, text)
    return text, tuple(TrackedLink(short, url, expires_at) for url, short in tokens.items())


def _trim(url: str) -> str:
    """Without the sentence's punctuation; a closing bracket stays when the address opened one."""
    while url[-1] in _NOT_AT_THE_END:
        opening = {")": "(", "]": "[", "}": "{"}.get(url[-1])
        if opening is not None and url.count(opening) >= url.count(url[-1]):
            break
        url = url[:-1]
    return url


def has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:  # "http://[" and the like
        return False


def parts_of(text: str, cut: Cut) -> int:
    """How many parts the text as sent makes. Raises Invalid 32 when too many; a very long text is not even cut."""
    parts = count_parts(text, cut) if len(text) <= MAX_CHARACTERS else MAX_PARTS + 1
    if parts > MAX_PARTS:
        raise Invalid(32, "message")
    return parts


def choose_policy(account: Account, family: Family, category: str | None) -> InDoubtPolicy:
    """The account's for this category, else the category's, else the family's."""
    if category is not None:
        chosen = InDoubtPolicy.named(account.settings.policies.get(category, ""))
        if chosen is not None:
            return chosen
        if family is _NOTIFICATION:
            return POLICY_OF_CATEGORY.get(category.lower(), POLICY_OF_FAMILY[family])
    return POLICY_OF_FAMILY[family]
