"""Campaigns: make, test, look ahead, send, pause, cancel, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
from msgspec import UNSET, UnsetType

from chappe.api.auth import authenticate
from chappe.api.http import Answer, Request, decode_json
from chappe.api.listing import AFTER, HEX_ID, json_answer, list_answer, or_unset, pages, read_after
from chappe.api.operations import IDENTIFIER, Operation, Origin, Parameter
from chappe.api.problems import INVALID_PARAMETER, Hint, Problem
from chappe.api.query import MAX_ID, body_identifier
from chappe.api.services import Services
from chappe.api.statistics import BlacklistsAnswer, NumbersAnswer, ReplyAnswer, reply_answer
from chappe.core.campaigns import Campaign, CampaignState, Draft, SendOrder, Wish, public_id, read_public_id
from chappe.core.counts import Count, Counts, Scope
from chappe.core.errors import Invalid
from chappe.core.ids import Kind, hex_id, read_hex_id
from chappe.core.lists import LIST_NOT_FOUND, ListId
from chappe.core.message import Family, Key, Reply
from chappe.core.numbers import SenderError, parse_sender
from chappe.core.routing import SIMULATOR
from chappe.core.rules import Entry, Listing
from chappe.flow import campaigns
from chappe.flow.accept import accept, check_name, check_text, has_host, link_prefix, read_date
from chappe.flow.campaigns import DryRun, Installation, Writer, compile_text, dry_run, ends_at, make_writer, write_test

INVALID_NAME, INVALID_TAG, NOT_DELETABLE, NOT_CANCELLABLE, NOT_FOUND, INVALID_LIST, INVALID_DATE = (
    40,
    45,
    42,
    43,
    47,
    48,
    61,
)
LONGEST_URL = 2_000

REASONS: Mapping[int, str] = {
    12: "unsubscribed",
    13: "bounced",
    14: "bouncedElsewhere",
    30: "noText",
    32: "tooLong",
    71: "noCredits",
    76: "quota",
    90: "notServed",
    91: "international",
}
"""Why a recipient gets no message: the contract's code → as it is called in answers."""


# --- bodies ------------------------------------------------------------------------------------------


class SendList(msgspec.Struct):
    id: str | None = None


class CampaignBody(msgspec.Struct):
    """A new campaign. Unknown members are ignored and null is absent: clients send both."""

    name: str | None = None
    message: str | None = None
    sendList: str | SendList | None = None  # noqa: N815 - the contract's name, here and below
    sourceAddress: str | None = None  # noqa: N815
    category: str | None = None
    date: int | float | str | None = None
    type: str | None = None
    flash: bool | str | None = None
    cleanBounces: bool | str | None = None  # noqa: N815
    cleanUnsubscribers: bool | str | None = None  # noqa: N815
    keepList: bool | str | None = None  # noqa: N815
    landingPageType: str | None = None  # noqa: N815
    externalUrl: str | None = None  # noqa: N815


class CampaignIdAnswer(msgspec.Struct):
    """Exactly one of the two: `campaignId` when `sendList` came as an object."""

    id: str | UnsetType = UNSET
    campaignId: str | UnsetType = UNSET  # noqa: N815


class TestBody(msgspec.Struct):
    identifier: str | int | None = None


class CreditsUsedAnswer(msgspec.Struct):
    creditsUsed: float  # noqa: N815


class CampaignSentAnswer(msgspec.Struct):
    creditsUsed: float  # noqa: N815
    id: str


class CampaignAnswer(msgspec.Struct, kw_only=True):
    id: str
    campaignId: str  # noqa: N815
    name: str
    message: str
    sendList: str  # noqa: N815
    state: str
    type: str | None
    sourceAddress: str | None  # noqa: N815
    date: int | None
    flash: bool
    cleanBounces: bool  # noqa: N815
    cleanUnsubscribers: bool  # noqa: N815
    keepList: bool  # noqa: N815
    totalCredits: float  # noqa: N815
    """What it was said to cost when it was sent; once its list is through, the parts that were stored."""
    family: str
    category: str | UnsetType = UNSET
    externalUrl: str | UnsetType = UNSET  # noqa: N815
    created: int
    started: int | UnsetType = UNSET
    ended: int | UnsetType = UNSET
    recipients: int
    """Contacts looked at so far."""
    stored: int
    """Messages made of them."""
    leftOut: dict[str, int]  # noqa: N815
    """Recipients without a message, by reason."""
    cancelled: int
    """Messages taken back."""


class CampaignStatusAnswer(msgspec.Struct, kw_only=True):
    """Exactly these members: a strict client refuses others."""

    bounces: int
    creditsUsed: float  # noqa: N815
    delivered: int
    errors: int
    id: str
    name: str
    replies: int
    sent: int
    state: str
    submitted: int
    undelivered: int
    unsubscribers: int
    opens: int
    openers: int
    clicks: int
    clickers: int


class CancelAnswer(msgspec.Struct):
    id: str
    state: str
    cancelled: int
    """Messages that had not left, and will not."""


class StateAnswer(msgspec.Struct):
    id: str
    state: str


class DryRunAnswer(msgspec.Struct, kw_only=True):
    """What sending it now would do; nothing is stored."""

    contacts: int
    recipients: int
    leftOut: dict[str, int]  # noqa: N815
    creditsUsed: float  # noqa: N815
    alphabets: dict[str, int]
    """Recipients by the alphabet of their text."""
    longest: str
    """The text of the most parts."""
    longestParts: int  # noqa: N815
    incomplete: int
    """Recipients who lack a value for a field in the text; it stays empty for them."""
    missing: dict[str, int]
    """Field → how many lack it."""
    begins: int | None
    """When the first part may leave; null without recipients."""
    ends: int | None
    """When the last part would leave, in the hours it may; null while no rate is known, or there is nobody."""
    rate: float | None
    """Parts a second, as the operators' settings have it; null: one of them does not say."""


# --- routes ------------------------------------------------------------------------------------------


class CampaignArea:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def create_marketing(self, request: Request) -> Answer:
        return await self._create(request, Family.MARKETING)

    async def create_notification(self, request: Request) -> Answer:
        return await self._create(request, Family.NOTIFICATION)

    async def list_campaigns(self, request: Request) -> Answer:
        """The newest first; `before` goes on below an id."""
        key = await authenticate(self._store, request.headers)

        async def read(before: int, limit: int) -> list[Campaign]:
            return await self._store.list_campaigns(key.account.id, test=key.test, before=before, limit=limit)

        before = read_after(request, Kind.CAMPAIGN, "before") or MAX_ID
        return await list_answer(pages(read, before), _campaign_answer)

    async def find(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        return json_answer(_campaign_answer(await self._find(request, key)))

    async def delete(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        campaign = await self._find(request, key)
        deleted = await self._store.delete_campaign(key.account.id, campaign.id, self._services.now_ms())
        if deleted is None:
            raise Problem(NOT_FOUND)
        if not deleted:
            raise Problem(NOT_DELETABLE)
        return Answer(204, b"")

    async def try_out(self, request: Request) -> Answer:
        """One message, to have a look at on a telephone."""
        key = await authenticate(self._store, request.headers)
        campaign = await self._find(request, key)
        identifier = body_identifier(decode_json(await request.read_body(), _test_body, {}).identifier)
        writer = await self._writer(campaign, key)
        try:
            send = await write_test(self._store, writer, identifier, self._services.now_ms())
            accepted = await accept(self._store, send, self._services.wake)
        except Invalid as error:
            raise Problem(error.code, "identifier" if error.field == "number" else error.field) from error
        return json_answer(CreditsUsedAnswer(float(accepted.parts)))

    async def look_ahead(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        campaign = await self._find(request, key)
        writer = await self._writer(campaign, key)
        now = self._services.now_ms()
        run = await dry_run(self._store, writer, max(now, campaign.date or now))
        return json_answer(self._dry_run_answer(run, writer))

    async def send(self, request: Request) -> Answer:
        """Whatever the body is: clients send `SEND`, `"SEND"`, `{}` or nothing."""
        key = await authenticate(self._store, request.headers)
        await request.read_body()
        campaign = await self._find(request, key)
        if campaign.state is CampaignState.DRAFT:
            try:
                campaign = await campaigns.send(self._store, await self._writer(campaign, key), self._services.now_ms())
            except Invalid as error:
                if error.field == "state":
                    raise Problem(INVALID_PARAMETER, "state", status=409, hint=Hint.CAMPAIGN_OVER) from error
                raise
            self._services.wake_campaigns()
        elif campaign.state is CampaignState.CANCELLED:
            raise Problem(INVALID_PARAMETER, "state", status=409, hint=Hint.CAMPAIGN_OVER)
        return json_answer(CampaignSentAnswer(float(campaign.credits), campaign.public_id))

    async def pause(self, request: Request) -> Answer:
        return await self._change(request, Wish.PAUSE, CampaignState.PAUSED)

    async def resume(self, request: Request) -> Answer:
        return await self._change(request, Wish.RESUME, CampaignState.SENDING)

    async def cancel(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        campaign = await self._find(request, key)
        cancelled, granted = await self._store.change_campaign(
            key.account.id, campaign.id, Wish.CANCEL, self._services.now_ms()
        )
        if cancelled is None:
            raise Problem(NOT_FOUND)
        if not granted:
            raise Problem(NOT_CANCELLABLE)
        self._services.wake_campaigns()
        counts = await self._counts(cancelled)
        waiting = cancelled.stored - counts[Count.SENT] - counts[Count.NEVER_LEFT]
        return json_answer(CancelAnswer(cancelled.public_id, cancelled.state.name, max(0, waiting)))

    async def show_status(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        campaign = await self._find(request, key)
        counts = await self._counts(campaign)
        answer = CampaignStatusAnswer(
            bounces=counts[Count.BOUNCED],
            creditsUsed=float(counts[Count.CREDITS]),
            delivered=counts[Count.DELIVERED],
            errors=counts[Count.ERRORS],
            id=campaign.public_id,
            name=campaign.name,
            replies=counts[Count.REPLIES],
            sent=counts[Count.SENT],
            state=campaign.state.name,
            submitted=counts[Count.SUBMITTED],
            undelivered=counts[Count.BOUNCED] + counts[Count.ERRORS],
            unsubscribers=counts[Count.UNSUBSCRIBERS],
            opens=counts[Count.OPENS],
            openers=counts[Count.OPENERS],
            clicks=counts[Count.OPENS],
            clickers=counts[Count.OPENERS],
        )
        return json_answer(answer)

    async def list_replies(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        campaign = await self._find(request, key)

        async def read(after: int, limit: int) -> list[Reply]:
            return await self._store.list_campaign_replies(
                key.account.id, campaign.id, test=self._is_simulated(campaign), after=after, limit=limit
            )

        return await list_answer(pages(read, read_after(request, Kind.REPLY)), reply_answer)

    async def list_blacklists(self, request: Request) -> Answer:
        key = await authenticate(self._store, request.headers)
        campaign = await self._find(request, key)
        bounces = await self._numbers(campaign, Listing.BOUNCED)
        return json_answer(BlacklistsAnswer(bounces, await self._numbers(campaign, Listing.UNSUBSCRIBED)))

    # --- how ---

    async def _create(self, request: Request, family: Family) -> Answer:
        key = await authenticate(self._store, request.headers)
        body = decode_json(await request.read_body(), _campaign_body, _CODES)
        now, account = self._services.now_ms(), key.account
        name = check_name(body.name, INVALID_NAME, "name")
        if name is None or not name.strip():
            raise Problem(INVALID_NAME, "name")
        text = check_text(body.message)
        list_ = _read_list(body.sendList)
        sender = _read_sender(body.sourceAddress)
        date = None if body.date in (None, "") else read_date(body.date, now)
        external_url = _read_url(body)
        if await self._store.find_list(account.id, list_) is None:
            raise Problem(LIST_NOT_FOUND, "sendList")
        fields = await self._store.list_fields(account.id, list_)
        template = compile_text(text, fields, external_url, account.settings, family, self._installation())
        if template.wants_link and self._services.links_base is None:
            raise Problem(INVALID_PARAMETER, "externalUrl")
        draft = Draft(
            account=account.id,
            test=key.test,
            family=family,
            name=name,
            text=text,
            list=list_,
            created_at=now,
            sender=sender,
            category=check_name(body.category, INVALID_TAG, "category"),
            date=date,
            type=check_name(body.type, INVALID_PARAMETER, "type"),
            flash=_flag(body.flash, "flash"),
            clean_bounces=_flag(body.cleanBounces, "cleanBounces"),
            clean_unsubscribers=_flag(body.cleanUnsubscribers, "cleanUnsubscribers"),
            keep_list=_flag(body.keepList, "keepList", unless_said=True),
            external_url=external_url,
        )
        id_ = public_id(await self._store.create_campaign(draft))
        by_object = isinstance(body.sendList, SendList)
        return json_answer(CampaignIdAnswer(campaignId=id_) if by_object else CampaignIdAnswer(id=id_))

    async def _find(self, request: Request, key: Key) -> Campaign:
        """The campaign that the path names; those of test keys are seen by test keys, the others by live keys."""
        id_ = read_public_id(request.scope["path_params"]["id"])
        campaign = await self._store.find_campaign(key.account.id, id_, test=key.test) if id_ else None
        if campaign is None:
            raise Problem(NOT_FOUND)
        return campaign

    async def _writer(self, campaign: Campaign, key: Key) -> Writer:
        services, list_ = self._services, ListId(campaign.list)
        if await self._store.find_list(key.account.id, list_) is None:
            raise Problem(LIST_NOT_FOUND, "sendList")
        route = SIMULATOR if campaign.test else services.live_route
        order = SendOrder(
            route,
            simulated=route == SIMULATOR,
            validity_ms=services.default_validity_ms,
            link_base=link_prefix(services.links_base),
            credits=0,
        )
        fields = await self._store.list_fields(key.account.id, list_)
        return make_writer(campaign, key.account, fields, order, self._installation())

    def _installation(self) -> Installation:
        services = self._services
        return Installation(services.stop_mention, services.token, services.cut, services.routes)

    async def _change(self, request: Request, wish: Wish, wanted: CampaignState) -> Answer:
        """Asked again it answers the same."""
        key = await authenticate(self._store, request.headers)
        campaign = await self._find(request, key)
        changed, _ = await self._store.change_campaign(key.account.id, campaign.id, wish, self._services.now_ms())
        if changed is None:
            raise Problem(NOT_FOUND)
        if changed.state is not wanted:
            raise Problem(INVALID_PARAMETER, "state", status=409, hint=Hint.CAMPAIGN_NOT_SENDING)
        self._services.wake_campaigns()
        return json_answer(StateAnswer(changed.public_id, changed.state.name))

    def _is_simulated(self, campaign: Campaign) -> bool:
        """Where its messages are counted, once there are any."""
        if campaign.route is not None:
            return campaign.simulated
        return campaign.test or self._services.live_route == SIMULATOR

    async def _counts(self, campaign: Campaign) -> Counts:
        return await self._store.read_counts(
            campaign.account, test=self._is_simulated(campaign), scope=Scope.CAMPAIGN, name=campaign.public_id
        )

    async def _numbers(self, campaign: Campaign, listing: Listing) -> NumbersAnswer:
        async def read(after: int, limit: int) -> list[Entry]:
            return await self._store.list_campaign_entries(
                campaign.account, listing, campaign.id, test=self._is_simulated(campaign), after=after, limit=limit
            )

        numbers = [entry.number async for page in pages(read, 0) for entry in page]
        return NumbersAnswer(len(numbers), numbers)

    def _dry_run_answer(self, run: DryRun, writer: Writer) -> DryRunAnswer:
        rate = None if writer.order.simulated else self._services.rate
        ends = None
        if rate and run.releases:
            settings, family = writer.account.settings, writer.campaign.family
            ends = ends_at(run.releases, rate, settings, family, simulated=writer.order.simulated)
        return DryRunAnswer(
            contacts=run.contacts,
            recipients=run.recipients,
            leftOut=_by_reason(run.left_out),
            creditsUsed=float(run.credits),
            alphabets={alphabet.value: n for alphabet, n in run.alphabets.items()},
            longest=run.longest,
            longestParts=run.longest_parts,
            incomplete=run.incomplete,
            missing=dict(run.missing),
            begins=min(run.releases, default=None),
            ends=ends,
            rate=rate,
        )


# --- reading and showing -------------------------------------------------------------------------------


def _read_list(send_list: str | SendList | None) -> ListId:
    text = send_list.id if isinstance(send_list, SendList) else send_list
    id_ = read_hex_id(Kind.LIST, text) if text else None
    if id_ is None:
        raise Problem(INVALID_LIST, "sendList")
    return ListId(id_)


def _read_sender(source_address: str | None) -> str | None:
    try:
        return parse_sender(source_address) if source_address else None
    except SenderError as error:
        raise Problem(error.code, "sourceAddress") from error


def _read_url(body: CampaignBody) -> str | None:
    """Where `${rich_message}` leads: only an EXTERNAL page is one that we can link to."""
    if (body.landingPageType or "").upper() != "EXTERNAL":
        return None
    url = body.externalUrl or ""
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= LONGEST_URL
    if not plain or not url.lower().startswith(("http://", "https://")) or not has_host(url):
        raise Problem(INVALID_PARAMETER, "externalUrl")
    return url


def _flag(said: bool | str | None, field: str, *, unless_said: bool = False) -> bool:
    """Some clients write it as a string."""
    if isinstance(said, bool):
        return said
    if not said:
        return unless_said
    if said.lower() not in ("true", "false"):
        raise Problem(INVALID_PARAMETER, field)
    return said.lower() == "true"


def _campaign_answer(campaign: Campaign) -> CampaignAnswer:
    return CampaignAnswer(
        id=campaign.public_id,
        campaignId=campaign.public_id,
        name=campaign.name,
        message=campaign.text,
        sendList=hex_id(Kind.LIST, campaign.list),
        state=campaign.state.name,
        type=campaign.type,
        sourceAddress=campaign.sender,
        date=campaign.date,
        flash=campaign.flash,
        cleanBounces=campaign.clean_bounces,
        cleanUnsubscribers=campaign.clean_unsubscribers,
        keepList=campaign.keep_list,
        totalCredits=float(campaign.credits_stored if campaign.expanded else campaign.credits),
        family=campaign.family.name.lower(),
        category=campaign.category or UNSET,
        externalUrl=campaign.external_url or UNSET,
        created=campaign.created_at,
        started=or_unset(campaign.started_at),
        ended=or_unset(campaign.ended_at),
        recipients=campaign.recipients,
        stored=campaign.stored,
        leftOut=_by_reason(campaign.left_out),
        cancelled=campaign.cancelled,
    )


def _by_reason(left_out: Mapping[int, int]) -> dict[str, int]:
    return {REASONS.get(code, str(code)): n for code, n in sorted(left_out.items())}


_campaign_body = msgspec.json.Decoder(CampaignBody)
_test_body = msgspec.json.Decoder(TestBody)
_CODES = {"name": INVALID_NAME, "message": 30, "sendList": INVALID_LIST, "date": INVALID_DATE, "category": INVALID_TAG}
_CREATE = "POST /v2/marketing/campaigns"
_ID = Parameter("id", HEX_ID, hex_id(Kind.CAMPAIGN, 1), origin=Origin(_CREATE, "id"))


def _aliases(verb: str) -> Sequence[str]:
    return [f"/v2/{family}/campaigns/{{id}}/{verb}" for family in ("marketing", "notification")]


OPERATIONS: Sequence[Operation[CampaignArea]] = (
    *(
        Operation(
            "POST",
            f"/v2/{family}/campaigns",
            create,
            f"Make a {what} campaign: a text for a list, sent when told to",
            CampaignIdAnswer,
            (20, 21, 22, 23, 30, 31, 32, 40, 45, 48, 60, 61, 62),
            body=CampaignBody,
            required=("name", "message", "sendList"),
            example={
                "name": "Soldes",
                "message": "Bonjour, -20 % jusqu'à samedi.",
                "sendList": hex_id(Kind.LIST, 1),
            },
            origins={"sendList": Origin("POST /v2/lists/{id}/import", "listId")},
        )
        for family, what, create in (
            ("marketing", "promotional", CampaignArea.create_marketing),
            ("notification", "transactional", CampaignArea.create_notification),
        )
    ),
    Operation(
        "GET",
        "/v2/campaigns",
        CampaignArea.list_campaigns,
        "The account's campaigns, newest first",
        list[CampaignAnswer],
        parameters=(replace(AFTER, name="before"),),
    ),
    Operation("GET", "/v2/campaigns/{id}", CampaignArea.find, "One campaign", CampaignAnswer, (47,), (_ID,)),
    Operation(
        "DELETE",
        "/v2/campaigns/{id}",
        CampaignArea.delete,
        "Delete a draft, or what is over",
        None,
        (42, 47),
        (_ID,),
    ),
    Operation(
        "POST",
        "/v2/campaigns/{id}/test",
        CampaignArea.try_out,
        "Send a campaign's message to one number, for a look at it",
        CreditsUsedAnswer,
        (10, 11, 12, 13, 14, 19, 30, 32, 47, 60, 71, 76, 90, 91),
        (_ID,),
        body=TestBody,
        required=("identifier",),
        example={"identifier": IDENTIFIER.example},
        aliases=_aliases("test"),
    ),
    Operation(
        "POST",
        "/v2/campaigns/{id}/dry-run",
        CampaignArea.look_ahead,
        "What sending a campaign now would do: recipients, credits, texts, and when it would end",
        DryRunAnswer,
        (47, 60),
        (_ID,),
        aliases=_aliases("dry-run"),
    ),
    Operation(
        "POST",
        "/v2/campaigns/{id}/send",
        CampaignArea.send,
        "Send a campaign, now or at its date; told again it answers the same",
        CampaignSentAnswer,
        (41, 47, 48, 60, 71),
        (_ID,),
        aliases=_aliases("send"),
    ),
    Operation(
        "POST",
        "/v2/campaigns/{id}/pause",
        CampaignArea.pause,
        "Let nothing more of a campaign leave, for now",
        StateAnswer,
        (47,),
        (replace(_ID, origin=Origin("POST /v2/campaigns/{id}/send", "id")),),
        aliases=_aliases("pause"),
    ),
    Operation(
        "POST",
        "/v2/campaigns/{id}/resume",
        CampaignArea.resume,
        "Go on with a paused campaign",
        StateAnswer,
        (47,),
        (replace(_ID, origin=Origin("POST /v2/campaigns/{id}/pause", "id")),),
        aliases=_aliases("resume"),
    ),
    Operation(
        "POST",
        "/v2/campaigns/{id}/cancel",
        CampaignArea.cancel,
        "Take back what has not left of a campaign",
        CancelAnswer,
        (43, 47),
        (_ID,),
        aliases=_aliases("cancel"),
    ),
    Operation(
        "GET",
        "/v2/campaigns/{id}/status",
        CampaignArea.show_status,
        "What came of a campaign",
        CampaignStatusAnswer,
        (47,),
        (_ID,),
    ),
    Operation(
        "GET",
        "/v2/campaigns/{id}/replies",
        CampaignArea.list_replies,
        "What its recipients wrote back",
        list[ReplyAnswer],
        (47,),
        (_ID, AFTER),
    ),
    Operation(
        "GET",
        "/v2/campaigns/{id}/blacklists",
        CampaignArea.list_blacklists,
        "Numbers that opted out or bounced because of it",
        BlacklistsAnswer,
        (47,),
        (_ID,),
    ),
)
