from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from chappe.core.errors import Invalid
from chappe.core.gsm import Language
from chappe.core.message import (
    Account,
    AccountId,
    Family,
    InDoubtPolicy,
    Key,
    SendMessage,
    Settings,
    TrackedLink,
)
from chappe.core.optout import Mention, mention_of
from chappe.core.routing import Member, Route
from chappe.core.text import BARE, PLAIN, WHOLE, WIDE, Cut
from chappe.flow.accept import (
    FURTHEST_DATE_MS,
    MAX_NAME,
    MAX_PARTS,
    MAX_VALIDITY_SECONDS,
    PAST_TOLERANCE_MS,
    SendRequest,
    validate,
)

NOW = 1_800_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
VALIDITY_MS = 48 * HOUR


@dataclass
class OurTerms:
    live_route: str = "live"
    routes: Sequence[Route] = ()
    links_base: str | None = "https://s.example"
    default_validity_ms: int = VALIDITY_MS
    stop_mention: Mention | None = None
    cut: Cut = PLAIN
    token: Callable[[], str] = field(default_factory=lambda: map("Token{:07}".format, itertools.count()).__next__)


def check(
    *,
    settings: Settings | None = None,
    test: bool = False,
    family: Family = Family.NOTIFICATION,
    terms: OurTerms | None = None,
    **request: Any,
) -> SendMessage:
    account = Account(AccountId(7), "acme", blocked=False, settings=settings or Settings())
    key = Key(1, account, test, "0123", NOW, None)
    asked = SendRequest(**{"number": "0612345678", "message": "Bonjour", **request})
    return validate(asked, key, family, terms or OurTerms(), NOW)


def refusal(**request: Any) -> tuple[int, str | None]:
    with pytest.raises(Invalid) as caught:
        check(**request)
    return caught.value.code, caught.value.field


def test_an_ordinary_send_becomes_a_message_due_at_once() -> None:
    assert check() == SendMessage(
        account=AccountId(7),
        number="+33612345678",
        family=Family.NOTIFICATION,
        text="Bonjour",
        parts=1,
        route="live",
        test=False,
        policy=InDoubtPolicy.WAIT_THEN_RETRY,
        accepted_at=NOW,
        due_at=NOW,
        validity_ms=VALIDITY_MS,
    )


def test_a_text_is_counted_and_kept_as_its_account_and_the_operators_want_it() -> None:
    text = "ê" + "a" * 100
    assert (check(message=text).parts, check(message=text).cut) == (2, PLAIN)
    portuguese = check(message=text, settings=Settings(national_shift="portuguese"))
    assert (portuguese.parts, portuguese.cut) == (1, Cut(Language.PORTUGUESE))
    bare = check(message=text, settings=Settings(national_shift="portuguese"), terms=OurTerms(cut=BARE))
    assert (bare.parts, bare.cut) == (2, BARE)
    wide = check(message="a" * 305, terms=OurTerms(cut=WIDE))
    assert (wide.parts, wide.submits, wide.cut) == (3, 3, WIDE)
    whole = check(message="a" * 305, terms=OurTerms(cut=WHOLE))
    assert (whole.parts, whole.submits) == (2, 1)


def test_a_number_is_read_in_the_accounts_country() -> None:
    assert check(settings=Settings(country="BE"), number="0470 12 34 56").number == "+32470123456"


def test_numbers_abroad_are_for_accounts_that_may_write_there() -> None:
    assert check(settings=Settings(international=True), number="+12025550123").number == "+12025550123"


@pytest.mark.parametrize(
    ("number", "code"),
    [(None, 10), ("", 10), ("  ", 10), ("06", 11), ("abc", 11), ("0142030405", 19), ("+12025550123", 91)],
)
def test_a_number_that_cannot_be_sent_to_is_refused(number: str | None, code: int) -> None:
    assert refusal(number=number) == (code, "number")


@pytest.mark.parametrize("message", [None, "", "  \n "])
def test_a_message_without_text_is_refused(message: str | None) -> None:
    assert refusal(message=message) == (30, "message")


@pytest.mark.parametrize("character", ["\x00", "\x07", "\ud800", "\ufffe"])
def test_a_character_that_no_sms_can_carry_is_refused(character: str) -> None:
    assert refusal(message=f"Bon{character}jour") == (31, "message")


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("€" * 80, 1),
        ("ê" * 70, 1),
        ("ê" * 71, 2),
        ("a" * 153 * MAX_PARTS, MAX_PARTS),
        ("ê" * 67 * MAX_PARTS, MAX_PARTS),
    ],
)
def test_parts_are_counted_in_the_alphabet_the_text_needs(message: str, parts: int) -> None:
    assert check(message=message).parts == parts


@pytest.mark.parametrize("message", ["a" * (153 * MAX_PARTS + 1), "ê" * (67 * MAX_PARTS + 1), "a" * 1_000_000])
def test_a_text_of_too_many_parts_is_refused(message: str) -> None:
    assert refusal(message=message) == (32, "message")


@pytest.mark.parametrize(
    ("sender", "code"), [("Café", 20), ("A B", 20), ("AB", 21), ("ABCDEFGHIJKL", 22), ("12345", 23)]
)
def test_a_sender_that_operators_do_not_take_is_refused(sender: str, code: int) -> None:
    assert refusal(sender=sender) == (code, "sender")


@pytest.mark.parametrize(("sender", "expected"), [(None, "ACME"), ("", "ACME"), ("Shop1", "Shop1")])
def test_without_a_sender_the_accounts_own_is_taken(sender: str | None, expected: str) -> None:
    assert check(settings=Settings(default_sender="ACME"), sender=sender).sender == expected


@pytest.mark.parametrize(
    ("date", "due_at"),
    [
        (None, NOW),
        (NOW + 60_000, NOW + 60_000),
        (float(NOW + 60_000), NOW + 60_000),
        (str(NOW + 60_000), NOW + 60_000),
        (NOW - PAST_TOLERANCE_MS, NOW),
        (NOW + FURTHEST_DATE_MS, NOW + FURTHEST_DATE_MS),
    ],
)
def test_a_date_says_when_the_message_is_due(date: int | float | str | None, due_at: int) -> None:
    assert check(date=date).due_at == due_at


@pytest.mark.parametrize(
    "date", ["", "tomorrow", "2027-01-15T08:00:00Z", "١٢٣", f"{NOW}\n", 1.5, float("nan"), float("inf")]
)
def test_a_date_that_is_not_in_milliseconds_is_invalid(date: float | str) -> None:
    assert refusal(date=date) == (61, "date")


@pytest.mark.parametrize("date", [0, -1, NOW // 1000, NOW - PAST_TOLERANCE_MS - 1, NOW + FURTHEST_DATE_MS + 1, 10**30])
def test_a_date_past_or_too_far_ahead_cannot_be_scheduled(date: int) -> None:
    assert refusal(date=date) == (62, "date")


@pytest.mark.parametrize(
    ("field", "wire_name", "code"), [("campaign", "campaignName", 40), ("category", "category", 45)]
)
def test_names_are_short_and_on_one_line(field: str, wire_name: str, code: int) -> None:
    def named(name: str) -> dict[str, Any]:
        return {field: name}

    longest = "é" * MAX_NAME
    assert getattr(check(**named(longest)), field) == longest
    assert getattr(check(**named("")), field) is None
    for name in (longest + "é", "a\nb", "a\x00b", "\ud800"):
        assert refusal(**named(name)) == (code, wire_name)


def test_a_message_lives_as_long_as_asked_or_else_the_default() -> None:
    assert check(validity_seconds=20).validity_ms == 20_000
    assert check(validity_seconds=MAX_VALIDITY_SECONDS).validity_ms == MAX_VALIDITY_SECONDS * 1000
    for seconds in (0, -5, MAX_VALIDITY_SECONDS + 1):
        assert refusal(validity_seconds=seconds) == (1001, "validity")


@pytest.mark.parametrize(
    ("message", "text", "urls"),
    [
        ("Lire https://a.example/x", "Lire https://s.example/l/Token0000000", ["https://a.example/x"]),
        ("http://a.example.", "https://s.example/l/Token0000000.", ["http://a.example"]),
        ("(https://a.example/b)", "(https://s.example/l/Token0000000)", ["https://a.example/b"]),
        ("https://a.example/b_(c)", "https://s.example/l/Token0000000", ["https://a.example/b_(c)"]),
        (
            "https://a.example https://b.example https://a.example",
            "https://s.example/l/Token0000000 https://s.example/l/Token0000001 https://s.example/l/Token0000000",
            ["https://a.example", "https://b.example"],
        ),
        ("https://s.example/l/abcdefghij", "https://s.example/l/abcdefghij", []),
        ("https:// https://[ ftp://a.example a.example", "https:// https://[ ftp://a.example a.example", []),
    ],
)
def test_tracked_addresses_are_replaced_by_short_links(message: str, text: str, urls: list[str]) -> None:
    send = check(message=message, track_links=True)
    expires_at = send.due_at + 365 * 24 * 3_600_000
    links = tuple(TrackedLink(f"Token{index:07}", url, expires_at) for index, url in enumerate(urls))
    assert (send.text, send.links) == (text, links)


def test_links_expire_after_the_date_of_the_message_as_the_account_says() -> None:
    settings = Settings(track_links=True, link_lifetime_seconds=60)
    [link] = check(settings=settings, message="https://a.example", date=NOW + 3_600_000).links
    assert link.expires_at == NOW + 3_660_000


@pytest.mark.parametrize("scheme", ["javascript", "data", "ftp", "file", "intent", "sms", "httpx", "xhttp"])
def test_nothing_but_http_and_https_becomes_a_link(scheme: str) -> None:
    assert check(message=f"{scheme}:alert(1) {scheme}:example", track_links=True).links == ()


def test_parts_are_counted_on_the_text_with_its_short_links() -> None:
    message = "https://a.example/" + "x" * 4000
    assert check(message=message, track_links=True).parts == 1
    assert refusal(message=message) == (32, "message")


def test_an_account_may_track_all_its_links_and_a_send_may_decline() -> None:
    tracking = Settings(track_links=True)
    message = "https://a.example"
    assert len(check(settings=tracking, message=message).links) == 1
    assert check(settings=tracking, message=message, track_links=False).text == message
    assert check(message=message).text == message


def test_without_a_public_address_links_are_never_tracked() -> None:
    terms = OurTerms(links_base=None)
    message = "https://a.example"
    assert refusal(terms=terms, message=message, track_links=True) == (1001, "trackLinks")
    assert check(terms=terms, settings=Settings(track_links=True), message=message).text == message


@pytest.mark.parametrize(
    ("family", "category", "policy"),
    [
        (Family.NOTIFICATION, None, InDoubtPolicy.WAIT_THEN_RETRY),
        (Family.NOTIFICATION, "rappel", InDoubtPolicy.WAIT_THEN_RETRY),
        (Family.NOTIFICATION, "OTP", InDoubtPolicy.AT_LEAST_ONCE),
        (Family.NOTIFICATION, "alarme", InDoubtPolicy.AT_LEAST_ONCE),
        (Family.NOTIFICATION, "facture", InDoubtPolicy.AT_MOST_ONCE),
        (Family.NOTIFICATION, "avis", InDoubtPolicy.WAIT_THEN_RETRY),  # a policy that there is not
        (Family.NOTIFICATION, "code", InDoubtPolicy.AT_LEAST_ONCE),  # likewise
        (Family.MARKETING, None, InDoubtPolicy.AT_MOST_ONCE),
        (Family.MARKETING, "otp", InDoubtPolicy.AT_MOST_ONCE),
        (Family.MARKETING, "relance", InDoubtPolicy.WAIT_THEN_RETRY),
    ],
)
def test_the_in_doubt_policy_is_the_accounts_then_the_categorys_then_the_familys(
    family: Family, category: str | None, policy: InDoubtPolicy
) -> None:
    settings = Settings(
        policies={"facture": "at_most_once", "relance": "wait_then_retry", "avis": "exactly_once", "code": ""}
    )
    assert check(settings=settings, family=family, category=category).policy is policy


@pytest.mark.parametrize(
    ("test_key", "live_route", "route", "test"),
    [(False, "live", "live", False), (True, "live", "simulator", True), (False, "simulator", "simulator", True)],
)
def test_whatever_takes_the_simulators_route_is_a_test(test_key: bool, live_route: str, route: str, test: bool) -> None:
    send = check(test=test_key, terms=OurTerms(live_route=live_route))
    assert (send.route, send.test) == (route, test)


def test_only_notifications_of_an_account_that_says_so_reach_people_who_opted_out() -> None:
    exempting = Settings(notify_opted_out=True)
    assert check(settings=exempting).exempt_from_optout
    assert not check(settings=exempting, family=Family.MARKETING).exempt_from_optout
    assert not check().exempt_from_optout


# --- marketing -----------------------------------------------------------------------------------------


def marketing(**request: Any) -> SendMessage:
    return check(family=Family.MARKETING, **request)


SUNDAY_EVENING = NOW + 2 * DAY + 10 * HOUR
"""NOW is a Friday, 09:00 in Paris."""
MONDAY_MORNING = NOW + 2 * DAY + 23 * HOUR


def test_marketing_of_a_sunday_evening_is_due_on_monday_at_eight() -> None:
    send = marketing(date=SUNDAY_EVENING)
    assert (send.due_at, send.held_by) == (MONDAY_MORNING, "fr-af2m-2026:sunday")


def test_marketing_to_reunion_follows_its_clock() -> None:
    abroad = Settings(international=True)
    send = marketing(settings=abroad, number="+262692123456", date=SUNDAY_EVENING)
    assert (send.due_at, send.held_by) == (MONDAY_MORNING - 3 * HOUR, "fr-af2m-2026:sunday")


def test_what_is_scheduled_for_an_open_hour_is_not_held() -> None:
    assert (marketing(date=MONDAY_MORNING).due_at, marketing(date=MONDAY_MORNING).held_by) == (MONDAY_MORNING, None)


def test_notifications_tests_and_accounts_that_answer_for_their_hours_are_not_held() -> None:
    for send in (
        check(date=SUNDAY_EVENING),
        marketing(test=True, date=SUNDAY_EVENING),
        marketing(settings=Settings(hours="none"), date=SUNDAY_EVENING),
    ):
        assert (send.due_at, send.held_by) == (SUNDAY_EVENING, None)


def test_marketing_tells_how_to_stop_and_pays_for_it() -> None:
    terms = OurTerms(stop_mention=mention_of("36111"))
    message = "a" * 150
    send = marketing(terms=terms, message=message)
    assert (send.text, send.parts) == (f"{message} STOP au 36111", 2)
    assert check(terms=terms, message=message).text == message
    assert marketing(terms=terms, message=message, test=True).text == send.text
    assert marketing(terms=terms, message="Soldes. STOP au 36111").text == "Soldes. STOP au 36111"
    assert marketing(terms=terms, message=message, settings=Settings(stop_mention="")).text == message
    assert marketing(message=message).text == message


def test_marketing_too_long_for_its_mention_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        marketing(terms=OurTerms(stop_mention=mention_of("36111")), message="a" * 153 * MAX_PARTS)
    assert (caught.value.code, caught.value.field) == (32, "message")


def test_message_takes_the_route_whose_conditions_it_meets() -> None:
    members = (Member("orange"),)
    routes = [
        Route("otp", members, categories=("otp",), accounts=("acme",), senders=("SHOP",)),
        Route("mainland", members, prefixes=("+336",), families=(Family.MARKETING,)),
    ]
    terms = OurTerms(routes=routes)
    assert check(terms=terms, category="otp", sender="SHOP").route == "otp"
    assert check(terms=terms, category="otp").route == "live"
    assert check(terms=terms, family=Family.MARKETING).route == "mainland"
    assert check(terms=terms, family=Family.MARKETING, test=True).route == "simulator"
    assert check(terms=OurTerms(live_route="simulator", routes=routes), family=Family.MARKETING).route == "simulator"
