"""Campaigns: from a list of contacts to messages on disk, a wave at a time.

`Writer` makes a message of a contact, by the rules of `accept`; `dry_run` goes through a whole list and stores nothing;
`Runner` does in the background what campaigns need done, on whichever node comes first. A wave is stored in the
transaction that moves the campaign's cursor, so that nobody is lost or written to twice wherever a node stops.
Lists are read in pages: memory does not grow with them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from chappe.core import hours
from chappe.core.campaigns import Campaign, CampaignId, CampaignState, SendOrder, Taken, Wave, Wish, public_id
from chappe.core.counts import Count, Scope
from chappe.core.credits import NOT_ENOUGH
from chappe.core.errors import Invalid, StoreUnavailable
from chappe.core.lists import Contact, ContactId, ListField, ListId
from chappe.core.message import Account, AccountId, Family, SendMessage, Settings, TrackedLink
from chappe.core.numbers import PhoneNumber, parse_mobile
from chappe.core.optout import Mention, mention_for, with_mention
from chappe.core.personalise import Template, compile_template
from chappe.core.ports import Allowing, Campaigns, Contacts, Counting
from chappe.core.routing import LIVE, Route, choose_route
from chappe.core.text import PLAIN, Alphabet, Cut, segment, with_language
from chappe.flow.accept import PAST_TOLERANCE_MS, choose_policy, links_end_at, parts_of, track_links
from chappe.flow.waiting import wait

log = logging.getLogger(__name__)

AT_ONCE = 1_000
"""Contacts in a wave: a few hundredths of a second of the writer's time."""
WAVES = 10
"""After which other campaigns get their turn."""
LEASE_MS = 6_000
EVERY_SECONDS = 0.5
"""How late a campaign may begin that another node was told to send."""

NO_TEXT, INVALID_TIME, INVALID_LIST = 30, 41, 48


class Store(Campaigns, Contacts, Counting, Allowing, Protocol):
    """What campaigns need of it."""


# --- from a contact to a message -----------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Installation:
    """What the installation decides about messages of campaigns: see `accept.Terms`."""

    stop_mention: Mention | None
    token: Callable[[], str]
    cut: Cut = PLAIN
    routes: Sequence[Route] = ()

    def cut_for(self, settings: Settings) -> Cut:
        return with_language(self.cut, settings.national_shift)


@dataclass(slots=True, frozen=True)
class Writer:
    """Makes messages of a campaign's contacts; what is the same for all is decided once."""

    campaign: Campaign
    account: Account
    order: SendOrder
    template: Template
    installation: Installation
    cut: Cut

    def write(self, contact: Contact, now: int) -> SendMessage | int:
        """The message, or the contract's code why this contact gets none: 30 without text, 32 too long a one."""
        campaign, order, settings = self.campaign, self.order, self.account.settings
        number = PhoneNumber(contact.number)
        due_at, held_by = hours.release(settings, campaign.family, number, now, test=order.simulated)
        text, links = self._fill(contact, links_end_at(self.account, due_at))
        if not text.strip():
            return NO_TEXT
        try:
            parts = parts_of(text, self.cut)
        except Invalid as error:
            return error.code
        return SendMessage(
            account=campaign.account,
            number=number,
            family=campaign.family,
            text=text,
            parts=parts,
            route=self._route(number),
            test=order.simulated,
            policy=choose_policy(self.account, campaign.family, campaign.category),
            accepted_at=now,
            due_at=due_at,
            validity_ms=order.validity_ms,
            category=campaign.category,
            campaign=campaign.public_id,
            sender=campaign.sender or settings.default_sender,
            links=links,
            exempt_from_optout=campaign.family is Family.NOTIFICATION and settings.notify_opted_out,
            held_by=held_by,
            billed=not campaign.test,
            limits=self.account.limits,
            cut=self.cut,
        )

    def _route(self, number: PhoneNumber) -> str:
        campaign, account = self.campaign, self.account
        if self.order.route != LIVE:
            return self.order.route
        return choose_route(
            self.installation.routes,
            number=number,
            family=campaign.family,
            category=campaign.category,
            account=account.name,
            sender=campaign.sender or account.settings.default_sender,
        )

    def _fill(self, contact: Contact, links_end: int) -> tuple[str, tuple[TrackedLink, ...]]:
        prefix, template, link = self.order.link_base, self.template, ""
        links: tuple[TrackedLink, ...] = ()
        if template.wants_link and prefix is not None:
            token = self.installation.token()
            link = prefix + token
            links = (TrackedLink(token, self.campaign.external_url or "", links_end),)
        text = template.render(values_of(contact), link)
        if prefix is not None and self.account.settings.track_links:
            text, others = track_links(text, prefix, links_end, self.installation.token)
            links += others
        return text, links

    def write_all(
        self, contacts: Sequence[Contact], now: int
    ) -> tuple[list[tuple[Contact, SendMessage]], Counter[int]]:
        written: list[tuple[Contact, SendMessage]] = []
        left_out = Counter[int]()
        for contact in contacts:
            send = self.write(contact, now)
            if isinstance(send, int):
                left_out[send] += 1
            else:
                written.append((contact, send))
        return written, left_out


def make_writer(
    campaign: Campaign,
    account: Account,
    fields: Sequence[ListField],
    order: SendOrder,
    installation: Installation,
) -> Writer:
    """Raises UnknownField, and Invalid: 1001 for `externalUrl` when there is nowhere that links begin with, 32 for
    `message`.
    """
    settings = account.settings
    template = compile_text(campaign.text, fields, campaign.external_url, settings, campaign.family, installation)
    if template.wants_link and order.link_base is None:
        raise Invalid(1001, "externalUrl")
    return Writer(campaign, account, order, template, installation, installation.cut_for(settings))


def compile_text(
    text: str,
    fields: Sequence[ListField],
    external_url: str | None,
    settings: Settings,
    family: Family,
    installation: Installation,
) -> Template:
    """The text with its STOP mention. Raises UnknownField, and Invalid 32 when it is too long for anybody."""
    text = with_mention(text, mention_for(settings, family, installation.stop_mention))
    template = compile_template(text, {one.name: str(one.id) for one in fields}, link=external_url is not None)
    parts_of(template.render({}), installation.cut_for(settings))
    return template


def values_of(contact: Contact) -> dict[str, str]:
    """By the keys of a compiled text."""
    return {str(key): value for key, value in contact.values.items()}


async def write_test(store: Store, writer: Writer, raw_number: str, now: int) -> SendMessage:
    """The campaign's message to one number, for a look at it on a telephone: with the values of the list's first
    contact, or the names of the fields while it has none. Raises Invalid."""
    settings, list_ = writer.account.settings, ListId(writer.campaign.list)
    number = parse_mobile(raw_number, settings.country, international=settings.international)
    fields = await store.list_fields(writer.account.id, list_)
    first = await store.read_contacts(writer.account.id, list_, after=0, limit=1)
    values = first[0].values if first else {one.id: one.name for one in fields}
    send = writer.write(Contact(ContactId(0), list_, number, values), now)
    if isinstance(send, int):
        raise Invalid(send, "message")
    # Its counters and its pauses are not those of the campaign.
    return replace(send, test=True, campaign=None, due_at=now, held_by=None)


# --- a look ahead --------------------------------------------------------------------------------------


@dataclass(slots=True)
class DryRun:
    """What sending a campaign now would do."""

    contacts: int = 0
    recipients: int = 0
    left_out: Counter[int] = field(default_factory=Counter)
    """By the contract's code."""
    credits: int = 0
    alphabets: Counter[Alphabet] = field(default_factory=Counter)
    longest: str = ""
    """The text with the most parts, of those the longest."""
    longest_parts: int = 0
    incomplete: int = 0
    """Recipients without a value for a placeholder."""
    missing: Counter[str] = field(default_factory=Counter)
    """Placeholder → how many of them lack it."""
    releases: Counter[int] = field(default_factory=Counter)
    """When it may leave → parts."""

    def add(self, writer: Writer, contact: Contact, send: SendMessage) -> None:
        self.recipients += 1
        self.credits += send.parts
        self.alphabets[segment(send.text, send.cut).alphabet] += 1
        if (send.parts, len(send.text)) > (self.longest_parts, len(self.longest)):
            self.longest, self.longest_parts = send.text, send.parts
        missing = writer.template.missing(values_of(contact)) if writer.template.keys else ()
        if missing:
            self.incomplete += 1
            self.missing.update(missing)
        self.releases[send.due_at] += send.parts


async def dry_run(store: Store, writer: Writer, now: int) -> DryRun:
    """Goes through the list as sending would."""
    run, account, list_ = DryRun(), writer.account.id, ListId(writer.campaign.list)
    after = 0
    while contacts := await store.read_contacts(account, list_, after=after, limit=AT_ONCE):
        after = contacts[-1].id
        written, left_out = await asyncio.to_thread(writer.write_all, contacts, now)
        codes = await store.find_barred([send for _, send in written])
        run.contacts += len(contacts)
        run.left_out.update(left_out)
        for (contact, send), code in zip(written, codes, strict=True):
            if code is None:
                run.add(writer, contact, send)
            else:
                run.left_out[code] += 1
    return run


MOST_STEPS = 10_000


def ends_at(
    releases: Mapping[int, int], rate: float, settings: Settings, family: Family, *, simulated: bool
) -> int | None:
    """When the last part would leave at `rate` parts a second, in the hours of mainland France.

    None when that is further away than anybody plans.
    """
    at = 0.0
    for release, parts in sorted(releases.items()):
        at, left = max(at, float(release)), float(parts)
        for _ in range(MOST_STEPS):
            open_at, _rule = hours.release(settings, family, _MAINLAND, int(at), test=simulated)
            at = max(at, float(open_at))
            until = at + min(left / rate * 1000, _STEP_MS)
            left -= (until - at) / 1000 * rate
            at = until
            if left < 0.5 / rate or left < 1e-6:
                break
        else:
            return None
    return round(at)


_STEP_MS = 60_000.0
_MAINLAND = PhoneNumber("+33600000000")


# --- what an account asks ------------------------------------------------------------------------------


async def send(store: Store, writer: Writer, now: int) -> Campaign:
    """Tells a draft to be sent, now or at its date, and returns it with the credits that it will cost.

    Told again it answers the same, and nothing is sent twice. Raises Invalid: 41 when its date is past, 48 when its
    list is empty, 71 when the account's credits do not suffice, 1001 for `state` when it was cancelled.
    """
    campaign = writer.campaign
    if campaign.state is CampaignState.DRAFT:
        if campaign.date is not None and campaign.date < now - PAST_TOLERANCE_MS:
            raise Invalid(INVALID_TIME, "date")
        run = await dry_run(store, writer, now)
        if not run.contacts:
            raise Invalid(INVALID_LIST, "sendList")
        left = None if campaign.test else await store.read_credits(campaign.account)
        if left is not None and left.balance < run.credits:
            raise Invalid(NOT_ENOUGH)
        later = campaign.date is not None and campaign.date > now
        wish = Wish.SCHEDULE if later else Wish.SEND
        order = replace(writer.order, credits=run.credits)
        changed, _ = await store.change_campaign(campaign.account, campaign.id, wish, now, order=order)
        if changed is None:
            raise Invalid(1001, "state")
        campaign = changed
    if campaign.state is CampaignState.CANCELLED:
        raise Invalid(1001, "state")
    return campaign


# --- in the background ---------------------------------------------------------------------------------


class Runner:
    """Does what campaigns need done.

    Starts those whose date has come, turns lists into messages, puts back what a pause took out of the way, takes back
    what was cancelled, and says when one is over.
    """

    def __init__(
        self,
        store: Store,
        holder: str,
        installation: Installation,
        *,
        now_ms: Callable[[], int],
        wake: Callable[[str], None],
    ) -> None:
        """`holder` names this node, which takes up at once what it held when it stopped; `wake` is told each route on
        which something was queued."""
        self._store = store
        self._holder = holder
        self.installation = installation
        """May be replaced at any moment: the next wave is written by the new one."""
        self._now_ms = now_ms
        self._wake_route = wake
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """A campaign has something to do."""
        self._awake.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            self._awake.clear()
            try:
                busy = await self.step()
            except StoreUnavailable:
                log.warning("store unavailable, campaigns wait")
                busy = False
            if not busy:
                await wait(self._awake, EVERY_SECONDS)

    async def step(self) -> bool:
        """Gives each campaign its turn; True when one has more to do at once."""
        busy = False
        for campaign, account in await self._store.due_campaigns(self._now_ms(), _MOST_CAMPAIGNS):
            try:
                busy |= await self._advance(account, campaign)
            except StoreUnavailable:
                raise
            except Exception as error:  # a mistake of ours about one campaign stops no other
                failed = {"campaign": public_id(campaign), "error": type(error).__name__}
                log.error("campaign failed, it is tried again", extra=failed)
        return busy

    async def _advance(self, account: AccountId, id_: CampaignId) -> bool:
        now = self._now_ms()
        taken = await self._store.take_campaign(account, id_, self._holder, LEASE_MS, now)
        if taken is None or taken.account.blocked:
            return False
        campaign = taken.campaign
        match campaign.state:
            case CampaignState.SCHEDULED:
                await self._store.change_campaign(account, id_, Wish.START, now)
                return True
            case CampaignState.SENDING:
                moved = await self._store.unshelve(account, id_, AT_ONCE)
                if moved and campaign.route is not None:
                    self._wake_route(campaign.route)
                if not campaign.expanded:
                    return await self._expand(taken)
                return moved > 0 or await self._finish(campaign)
            case CampaignState.CANCELLED:
                return await self._store.cancel_messages(account, id_, AT_ONCE, now) > 0
            case _:
                return False

    async def _expand(self, taken: Taken) -> bool:
        campaign, account = taken.campaign, taken.account
        fields = await self._store.list_fields(account.id, ListId(campaign.list))
        try:
            writer = make_writer(campaign, account, fields, _order_of(campaign), self.installation)
        except Invalid as error:
            if await self._store.find_list(account.id, ListId(campaign.list)) is not None:
                log.warning("campaign paused", extra={"campaign": campaign.public_id, "reason": str(error)})
                await self._store.change_campaign(account.id, campaign.id, Wish.PAUSE, self._now_ms())
                return False
            writer = None  # its list was deleted, and there is nobody to write to
        after = campaign.cursor
        for _ in range(WAVES):
            wave = await self._next_wave(taken, writer, after)
            stored = await self._store.expand(wave)
            if stored is None:
                return False
            for route in {send.route for send in wave.sends}:
                self._wake_route(route)
            if stored.expanded:
                break
            after = stored.cursor
        return True

    async def _next_wave(self, taken: Taken, writer: Writer | None, after: int) -> Wave:
        campaign, account = taken.campaign, taken.account
        contacts: list[Contact] = []
        if writer is not None:
            contacts = await self._store.read_contacts(account.id, ListId(campaign.list), after=after, limit=AT_ONCE)
        sends: list[SendMessage] = []
        left_out = Counter[int]()
        if contacts and writer is not None:
            written, left_out = await asyncio.to_thread(writer.write_all, contacts, self._now_ms())
            sends = [send for _, send in written]
        until = contacts[-1].id if contacts else after
        return Wave(campaign.id, account.id, after, until, len(contacts), sends, left_out, last=len(contacts) < AT_ONCE)

    async def _finish(self, campaign: Campaign) -> bool:
        counts = await self._store.read_counts(
            campaign.account, test=campaign.simulated, scope=Scope.CAMPAIGN, name=campaign.public_id
        )
        if counts[Count.SENT] + counts[Count.NEVER_LEFT] >= campaign.stored:
            await self._store.finish_campaign(campaign.account, campaign.id, self._now_ms())
        return False


_MOST_CAMPAIGNS = 100


def _order_of(campaign: Campaign) -> SendOrder:
    return SendOrder(
        campaign.route or "", campaign.simulated, campaign.validity_ms, campaign.link_base, campaign.credits
    )
