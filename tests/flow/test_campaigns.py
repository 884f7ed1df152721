"""Campaigns around a real store: what a contact gets, a look ahead, and lists that become messages once, whoever
stops when."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chappe.core.campaigns import Campaign, CampaignId, CampaignState, Draft, SendOrder, Wave, Wish
from chappe.core.counts import Count, Scope
from chappe.core.credits import Booking
from chappe.core.errors import Invalid, StoreUnavailable
from chappe.core.lists import FieldId, ListId
from chappe.core.message import Account, Family, InDoubtPolicy, NotAccepted, Settings
from chappe.core.optout import Mention
from chappe.core.personalise import FieldType, UnknownField
from chappe.core.routing import Member, Portion, Route
from chappe.core.rules import Listing
from chappe.flow import campaigns
from chappe.flow.campaigns import Installation, Runner, Writer, dry_run, ends_at, make_writer, send, write_test
from chappe.storage.sqlite import SqliteStore, open_sqlite

NOW = 1_800_000_000_000  # Friday 15 January 2027, 08:00 UTC
SECOND, HOUR = 1_000, 3_600_000
PREFIX = "https://s.example/l/"
ORDER = SendOrder("live", simulated=False, validity_ms=48 * HOUR, link_base=PREFIX, credits=0)


@dataclass
class Scene:
    store: SqliteStore
    account: Account
    list_: ListId
    prenom: FieldId
    now: int = NOW
    woken: list[str] = field(default_factory=list)
    tokens: itertools.count[int] = field(default_factory=itertools.count)

    async def add(self, count: int, first: int = 1) -> None:
        for index in range(first, first + count):
            added = await self.store.add_contact(
                self.account.id, self.list_, number(index), {self.prenom: f"P{index}"} if index % 2 else {}
            )
            assert not isinstance(added, NotAccepted)

    async def draft(self, **changes: Any) -> Campaign:
        ordinary: dict[str, Any] = {
            "account": self.account.id,
            "test": False,
            "family": Family.MARKETING,
            "name": "Soldes",
            "text": "Bonjour ${Prenom}",
            "list": self.list_,
            "created_at": NOW,
        }
        draft = Draft(**ordinary | changes)
        return await self.find(await self.store.create_campaign(draft), test=draft.test)

    async def find(self, campaign: CampaignId, *, test: bool = False) -> Campaign:
        found = await self.store.find_campaign(self.account.id, campaign, test=test)
        assert found is not None
        return found

    async def writer(self, campaign: Campaign, mention: Mention | None = None) -> Writer:
        fields = await self.store.list_fields(self.account.id, self.list_)
        return make_writer(campaign, self.account, fields, ORDER, self.installation(mention))

    async def sent(self, **changes: Any) -> CampaignId:
        return (await send(self.store, await self.writer(await self.draft(**changes)), self.now)).id

    def installation(self, mention: Mention | None, routes: Sequence[Route] = ()) -> Installation:
        return Installation(mention, lambda: f"Token{next(self.tokens):07}", routes=routes)

    def runner(self, holder: str = "a", store: Any = None, routes: Sequence[Route] = ()) -> Runner:
        return Runner(
            store or self.store,
            holder,
            self.installation(None, routes),
            now_ms=lambda: self.now,
            wake=self.woken.append,
        )

    async def texts(self) -> dict[str, str]:
        """Number → text of every message, in a campaign or not."""
        messages = await self.store.list_messages(self.account.id, test=False, before=None, limit=10_000)
        assert len({message.number for message in messages}) == len(messages), "nobody is written to twice"
        return {message.number: message.text for message in messages}

    async def claim_all(self) -> int:
        epoch = await self.store.open_connector("op", self.now)
        claimed = 0
        while (due_at := await self.store.next_due("live")) is not None and due_at <= self.now:
            claimed += len(await self.store.claim("op", epoch, [Portion("live")], 100, self.now))
        return claimed


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    store = await open_sqlite(tmp_path / "chappe.db")
    account = await store.open_account("shop", NOW)
    list_ = await store.create_list(account.id, "Clients", NOW)
    prenom = await store.add_field(account.id, list_, "prenom", FieldType.STRING, None)
    assert not isinstance(prenom, NotAccepted)
    yield Scene(store, account, list_, prenom)
    await store.close()


@pytest.fixture(autouse=True)
def small_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "AT_ONCE", 10)


def number(index: int) -> str:
    return f"+336{10_000_000 + index}"


async def until_quiet(runner: Runner) -> None:
    while await runner.step():
        pass


# --- what a contact gets ------------------------------------------------------------------------------


async def test_message_of_a_contact_is_what_a_single_send_would_be(scene: Scene) -> None:
    await scene.add(1)
    scene.account.settings = Settings(default_sender="ACME", track_links=True, stop_mention="STOP au 36111")
    campaign = await scene.draft(
        text="Bonjour ${PRENOM} : ${rich_message} ou https://b.example/x.",
        external_url="https://a.example/",
        category="soldes",
    )
    writer = await scene.writer(campaign)
    [contact] = await scene.store.read_contacts(scene.account.id, scene.list_, after=0, limit=10)
    message = writer.write(contact, NOW)
    assert not isinstance(message, int)
    assert message.text == f"Bonjour P1 : {PREFIX}Token0000000 ou {PREFIX}Token0000001. STOP au 36111"
    assert [(link.token, link.url) for link in message.links] == [
        ("Token0000000", "https://a.example/"),
        ("Token0000001", "https://b.example/x"),
    ]
    assert (message.parts, message.sender, message.category) == (1, "ACME", "soldes")
    assert (message.policy, message.campaign) == (InDoubtPolicy.AT_MOST_ONCE, campaign.public_id)
    assert (message.family, message.route, message.test) == (Family.MARKETING, "live", False)


async def test_marketing_waits_for_its_hours_and_its_validity_begins_then(scene: Scene) -> None:
    await scene.add(1)
    writer = await scene.writer(await scene.draft())
    [contact] = await scene.store.read_contacts(scene.account.id, scene.list_, after=0, limit=10)
    sunday = NOW + 50 * HOUR
    message = writer.write(contact, sunday)
    assert not isinstance(message, int)
    assert message.held_by is not None
    assert message.due_at > sunday + 12 * HOUR


async def test_contact_without_a_text_or_with_too_long_a_one_is_left_out(scene: Scene) -> None:
    await scene.add(2)
    empty = await scene.writer(await scene.draft(text="${prenom}", family=Family.NOTIFICATION))
    long = await scene.writer(await scene.draft(text="x" * 3050 + "${prenom}", family=Family.NOTIFICATION))
    contacts = await scene.store.read_contacts(scene.account.id, scene.list_, after=0, limit=10)
    assert [outcome for contact in contacts if isinstance(outcome := empty.write(contact, NOW), int)] == [30]
    contacts[0].values[scene.prenom] = "y" * 500
    assert long.write(contacts[0], NOW) == 32


async def test_text_with_a_field_that_the_list_lacks_or_too_long_for_anybody_is_refused(scene: Scene) -> None:
    with pytest.raises(UnknownField):
        await scene.writer(await scene.draft(text="Bonjour ${nom}"))
    with pytest.raises(Invalid, match="32"):
        await scene.writer(await scene.draft(text="x" * 4000))


async def test_trial_has_the_first_contact_s_values_or_the_names_of_the_fields(scene: Scene) -> None:
    writer = await scene.writer(await scene.draft())
    message = await write_test(scene.store, writer, "06 12 34 56 78", NOW)
    assert (message.text, message.number, message.test, message.campaign) == (
        "Bonjour prenom",
        "+33612345678",
        True,
        None,
    )
    await scene.add(3)
    assert (await write_test(scene.store, writer, "0612345678", NOW)).text == "Bonjour P1"
    with pytest.raises(Invalid, match="19"):
        await write_test(scene.store, writer, "0140000000", NOW)


# --- a look ahead --------------------------------------------------------------------------------------


async def test_dry_run_tells_what_sending_then_does(scene: Scene) -> None:
    await scene.add(35)
    await scene.store.add_entry(scene.account.id, Listing.UNSUBSCRIBED, number(4), test=False, now=NOW)
    await scene.store.add_entry(scene.account.id, Listing.BOUNCED, number(5), test=False, now=NOW)
    campaign = await scene.draft(text="Bonjour ${prenom}" + "x" * 150)
    run = await dry_run(scene.store, await scene.writer(campaign), NOW)
    assert (run.contacts, run.recipients, run.left_out) == (35, 33, {12: 1, 13: 1})
    assert (run.incomplete, run.missing) == (16, {"prenom": 16})
    assert run.longest_parts == 2
    sent = await send(scene.store, await scene.writer(campaign), NOW)
    await until_quiet(scene.runner())
    found = await scene.find(campaign.id)
    assert (found.recipients, found.stored, found.left_out) == (35, 33, {12: 1, 13: 1})
    assert sent.credits == run.credits == found.credits_stored


def test_end_is_told_by_the_rate_and_the_hours() -> None:
    settings = Settings()

    def end(parts: int, rate: float, family: Family = Family.MARKETING) -> int | None:
        return ends_at({NOW: parts}, rate, settings, family, simulated=False)

    assert end(600, 10) == NOW + 60 * SECOND
    evening = NOW + 45_000 * SECOND  # 21:30 in Paris
    assert end(45_000, 1) == evening
    morning = NOW + 23 * HOUR  # 08:00
    assert end(45_100, 1) == morning + 100 * SECOND
    assert end(45_100, 1, Family.NOTIFICATION) == NOW + 45_100 * SECOND
    assert ends_at({NOW: 10, NOW + HOUR: 10}, 10, settings, Family.NOTIFICATION, simulated=False) == NOW + HOUR + SECOND
    assert end(10**12, 1) is None


# --- sending -----------------------------------------------------------------------------------------


async def test_each_route_that_a_campaign_takes_is_told(scene: Scene) -> None:
    await scene.add(6)
    routes = [Route("odd", (Member("operator"),), prefixes=(number(1), number(3), number(5)))]
    await scene.sent()
    await until_quiet(scene.runner(routes=routes))
    assert set(scene.woken) == {"odd", "live"}


async def test_list_becomes_messages_and_the_campaign_is_over_when_they_have_left(scene: Scene) -> None:
    await scene.add(35)
    campaign = await scene.sent()
    runner = scene.runner()
    await until_quiet(runner)
    assert (await scene.find(campaign)).state is CampaignState.SENDING
    assert await scene.texts() == {
        number(index): f"Bonjour P{index}" if index % 2 else "Bonjour " for index in range(1, 36)
    }
    assert set(scene.woken) == {"live"}
    assert await scene.claim_all() == 35
    await until_quiet(runner)
    found = await scene.find(campaign)
    assert (found.state, found.ended_at) == (CampaignState.SENT, NOW)


@pytest.mark.parametrize("count", [0, 10, 20])
async def test_list_that_fills_its_waves_exactly_ends_all_the_same(scene: Scene, count: int) -> None:
    await scene.add(count or 1)
    campaign = await scene.sent()
    if not count:
        await scene.store.empty_list(scene.account.id, scene.list_)
    await until_quiet(scene.runner())
    found = await scene.find(campaign)
    assert (found.expanded, found.stored) == (True, count)


async def test_send_told_again_answers_the_same_and_sends_nothing_twice(scene: Scene) -> None:
    await scene.add(5)
    writer = await scene.writer(await scene.draft())
    first, second = await asyncio.gather(*(send(scene.store, writer, NOW) for _ in range(2)))
    assert first.credits == second.credits == 5
    await until_quiet(scene.runner())
    assert len(await scene.texts()) == 5


async def test_send_is_refused_for_an_empty_list_a_past_date_missing_credits_and_when_cancelled(scene: Scene) -> None:
    async def refusal(**changes: Any) -> tuple[int, str | None]:
        with pytest.raises(Invalid) as refused:
            await scene.sent(**changes)
        return refused.value.code, refused.value.field

    assert await refusal() == (48, "sendList")
    await scene.add(3)
    assert await refusal(date=NOW - HOUR) == (41, "date")
    await scene.store.change_credits(scene.account.id, Booking.TOPUP, 2, "", NOW)
    assert await refusal() == (71, None)
    await scene.store.change_credits(scene.account.id, Booking.TOPUP, 1, "", NOW)
    campaign = await scene.draft()
    await scene.store.change_campaign(scene.account.id, campaign.id, Wish.CANCEL, NOW)
    with pytest.raises(Invalid, match="1001: state"):
        await send(scene.store, await scene.writer(campaign), NOW)
    assert (await scene.find(await scene.sent())).state is CampaignState.SENDING


async def test_scheduled_campaign_begins_at_its_date(scene: Scene) -> None:
    await scene.add(3)
    campaign = await scene.sent(date=NOW + HOUR)
    assert (await scene.find(campaign)).state is CampaignState.SCHEDULED
    runners = [scene.runner("a"), scene.runner("b")]
    await asyncio.gather(*map(until_quiet, runners))
    assert await scene.texts() == {}
    scene.now += HOUR
    await asyncio.gather(*map(until_quiet, runners))
    assert len(await scene.texts()) == 3
    assert (await scene.find(campaign)).started_at == NOW + HOUR


# --- whoever stops when -------------------------------------------------------------------------------


class Crashing:
    """A store in front of a node that dies: the call of this number is not made, or its answer is never heard."""

    def __init__(self, store: SqliteStore, calls: int, *, stored: bool) -> None:
        self._store = store
        self._left = calls
        self._stored = stored

    async def expand(self, wave: Wave) -> Campaign | None:
        self._left -= 1
        if self._left:
            return await self._store.expand(wave)
        if self._stored:
            await self._store.expand(wave)
        raise KeyboardInterrupt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("calls", [1, 2, 4])
async def test_node_that_dies_between_two_waves_loses_and_doubles_nobody(
    scene: Scene, calls: int, *, stored: bool
) -> None:
    await scene.add(35)
    campaign = await scene.sent()
    with pytest.raises(KeyboardInterrupt):
        await until_quiet(scene.runner("a", Crashing(scene.store, calls, stored=stored)))
    other = scene.runner("b")
    await until_quiet(other)
    assert not (await scene.find(campaign)).expanded or calls == 4, "its lease is not over"
    scene.now += campaigns.LEASE_MS
    await until_quiet(other)
    assert (await scene.find(campaign)).stored == 35
    assert len(await scene.texts()) == 35


async def test_node_that_wakes_up_after_its_lease_stores_nothing_again(scene: Scene) -> None:
    await scene.add(35)
    campaign = await scene.sent()
    sleeper, reached, go_on = scene.store, asyncio.Event(), asyncio.Event()

    class Sleeping(Crashing):
        async def expand(self, wave: Wave) -> Campaign | None:
            reached.set()
            await go_on.wait()
            return await sleeper.expand(wave)

    asleep = asyncio.create_task(scene.runner("a", Sleeping(scene.store, 0, stored=True)).step())
    await reached.wait()
    scene.now += campaigns.LEASE_MS
    await until_quiet(scene.runner("b"))
    go_on.set()
    await asleep
    assert len(await scene.texts()) == (await scene.find(campaign)).stored == 35


async def test_paused_in_the_middle_it_goes_on_where_it_was(scene: Scene) -> None:
    await scene.add(35)
    campaign = await scene.sent()

    class Pausing(Crashing):
        async def expand(self, wave: Wave) -> Campaign | None:
            if wave.after:
                await scene.store.change_campaign(scene.account.id, campaign, Wish.PAUSE, NOW)
            return await scene.store.expand(wave)

    await until_quiet(scene.runner("a", Pausing(scene.store, 0, stored=True)))
    assert len(await scene.texts()) == 10
    assert await scene.claim_all() == 0
    await scene.store.change_campaign(scene.account.id, campaign, Wish.RESUME, NOW)
    await until_quiet(scene.runner("a"))
    assert len(await scene.texts()) == 35
    assert await scene.claim_all() == 35


async def test_cancelled_in_the_middle_it_ends_and_its_counters_agree(scene: Scene) -> None:
    await scene.add(35)
    campaign = await scene.sent()
    runner = scene.runner()
    await until_quiet(runner)
    epoch = await scene.store.open_connector("op", NOW)
    left = len(await scene.store.claim("op", epoch, [Portion("live")], 12, NOW))
    await scene.store.change_campaign(scene.account.id, campaign, Wish.CANCEL, NOW)
    await until_quiet(runner)
    found = await scene.find(campaign)
    assert (found.state, found.cancelled) == (CampaignState.CANCELLED, 35 - left)
    counts = await scene.store.read_counts(scene.account.id, test=False, scope=Scope.CAMPAIGN, name=found.public_id)
    assert (counts[Count.SENT], counts[Count.NEVER_LEFT]) == (left, 35 - left)
    assert await scene.claim_all() == 0
    assert await scene.store.due_campaigns(NOW, 10) == []


async def test_campaign_whose_list_lost_a_field_is_paused_and_one_without_its_list_ends(scene: Scene) -> None:
    await scene.add(5)
    campaign = await scene.sent()
    await scene.store.remove_field(scene.account.id, scene.list_, scene.prenom)
    await until_quiet(scene.runner())
    assert (await scene.find(campaign)).state is CampaignState.PAUSED
    await scene.store.change_campaign(scene.account.id, campaign, Wish.RESUME, NOW)
    await scene.store.delete_list(scene.account.id, scene.list_)
    await until_quiet(scene.runner())
    found = await scene.find(campaign)
    assert (found.state, found.stored) == (CampaignState.SENT, 0)


async def test_store_that_is_away_is_tried_again_and_a_broken_campaign_stops_no_other(scene: Scene) -> None:
    await scene.add(5)
    first, second = await scene.sent(), await scene.sent()

    class Broken(Crashing):
        async def expand(self, wave: Wave) -> Campaign | None:
            if wave.campaign == first:
                raise LookupError
            return await scene.store.expand(wave)

    await until_quiet(scene.runner("a", Broken(scene.store, 0, stored=True)))
    assert ((await scene.find(first)).stored, (await scene.find(second)).stored) == (0, 5)

    class Away(Crashing):
        async def due_campaigns(self, now: int, limit: int) -> list[Any]:
            if not self._left:
                return await scene.store.due_campaigns(now, limit)
            self._left -= 1
            raise StoreUnavailable

    runner = scene.runner("a", Away(scene.store, 1, stored=True))
    running = asyncio.create_task(runner.run())
    while not (await scene.find(first)).expanded:
        runner.wake()
        await asyncio.sleep(0)
    running.cancel()


async def test_blocked_account_s_campaign_waits(scene: Scene) -> None:
    await scene.add(5)
    campaign = await scene.sent()

    class Blocked(Crashing):
        async def take_campaign(self, *of: Any) -> Any:
            taken = await scene.store.take_campaign(*of)
            assert taken is not None
            return replace(taken, account=replace(taken.account, blocked=True))

    await until_quiet(scene.runner("a", Blocked(scene.store, 0, stored=True)))
    assert (await scene.find(campaign)).stored == 0
