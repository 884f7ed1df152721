"""Which route a message takes, and who takes how much of it."""

from __future__ import annotations

import pytest

from chappe.core.message import Family
from chappe.core.routing import (
    LIVE,
    PATIENCE_MS,
    SLOTS,
    VIA,
    Member,
    Portion,
    Route,
    choose_route,
    elsewhere,
    own_portions,
    portions,
)

OURS = (Member("orange"),)
ROUTES = (
    Route("otp", OURS, families=(Family.NOTIFICATION,), categories=("otp", "2fa")),
    Route("belgium", OURS, prefixes=("+32",)),
    Route("shop", OURS, accounts=("shop",), senders=("SHOP",)),
    Route("marketing", OURS, prefixes=("+33", "+262"), families=(Family.MARKETING,)),
)


@pytest.mark.parametrize(
    ("number", "family", "category", "account", "sender", "route"),
    [
        ("+33612345678", Family.NOTIFICATION, "otp", "acme", None, "otp"),
        ("+32470123456", Family.NOTIFICATION, "2fa", "acme", None, "otp"),  # the first that fits
        ("+33612345678", Family.MARKETING, "otp", "acme", None, "marketing"),
        ("+32470123456", Family.NOTIFICATION, None, "acme", None, "belgium"),
        ("+33612345678", Family.NOTIFICATION, None, "shop", "SHOP", "shop"),
        ("+33612345678", Family.NOTIFICATION, None, "shop", None, LIVE),  # all conditions have to be met
        ("+33612345678", Family.NOTIFICATION, None, "acme", "SHOP", LIVE),
        ("+262692123456", Family.MARKETING, None, "acme", None, "marketing"),
        ("+590690123456", Family.MARKETING, None, "acme", None, LIVE),
    ],
)
def test_message_takes_the_first_route_all_of_whose_conditions_it_meets(
    number: str, family: Family, category: str | None, account: str, sender: str | None, route: str
) -> None:
    chosen = choose_route(ROUTES, number=number, family=family, category=category, account=account, sender=sender)
    assert chosen == route


def test_route_without_a_condition_takes_what_is_left() -> None:
    rest = Route("rest", OURS)
    chosen = choose_route(
        [rest, *ROUTES], number="+32470123456", family=Family.MARKETING, category=None, account="shop", sender=None
    )
    assert chosen == "rest"


def a_route(*members: Member, name: str = "otp") -> Route:
    return Route(name, members)


ORANGE, SFR, FREE = Member("orange", 1, 70), Member("sfr", 1, 30), Member("free", 2)


def test_connector_takes_from_its_own_routes_only() -> None:
    routes = [a_route(Member("orange")), a_route(Member("sfr"), name="belgium")]
    assert portions(routes, "orange", {"orange", "sfr"}) == [Portion("otp")]
    assert portions(routes, "free", {"orange", "sfr"}) == []


def test_those_without_weights_take_whatever_they_have_room_for() -> None:
    route = a_route(Member("orange"), Member("sfr"))
    assert portions([route], "orange", {"sfr"}) == portions([route], "sfr", {"orange"}) == [Portion("otp")]


def test_weights_share_all_slots_out() -> None:
    route = a_route(ORANGE, SFR)
    able = {"orange", "sfr"}
    assert portions([route], "orange", able) == [Portion("otp", 0, 69, PATIENCE_MS)]
    assert portions([route], "sfr", able) == [Portion("otp", 70, SLOTS - 1, PATIENCE_MS)]


def test_weight_zero_takes_only_what_others_leave() -> None:
    route = a_route(Member("orange", weight=1), Member("sfr"))
    [of] = portions([route], "sfr", {"orange"})
    assert (of.first > of.last, of.patience_ms) == (True, PATIENCE_MS)
    assert portions([route], "orange", {"sfr"}) == [Portion("otp", 0, SLOTS - 1, PATIENCE_MS)]


def test_who_is_alone_takes_everything_at_once() -> None:
    assert portions([a_route(ORANGE, SFR)], "sfr", {"free"}) == [Portion("otp")]


def test_next_priority_takes_nothing_while_the_one_before_it_is_able() -> None:
    route = a_route(ORANGE, SFR, FREE)
    assert portions([route], "free", {"sfr", "free"}) == []
    assert portions([route], "free", {"free"}) == [Portion("otp")]
    assert portions([route], "sfr", {"free"}) == [Portion("otp")]


@pytest.mark.parametrize("weights", [(1, 1, 1), (50, 30, 20), (1, 99, 100), (7, 0, 3)])
def test_every_slot_is_exactly_one_members(weights: tuple[int, ...]) -> None:
    names = [f"operator-{n}" for n in range(len(weights))]
    route = a_route(*(Member(name, 1, weight) for name, weight in zip(names, weights, strict=True)))
    slots = [slot for name in names for of in portions([route], name, names) for slot in range(of.first, of.last + 1)]
    assert sorted(slots) == list(range(SLOTS))


# --- refusals ------------------------------------------------------------------------------------------


def test_what_one_refuses_goes_to_those_who_are_able_first_then_by_priority() -> None:
    routes = [a_route(ORANGE, SFR, FREE, Member("bouygues", 3))]
    assert elsewhere(routes, "orange", {"free"}, ()) == {"otp": ["free", "sfr", "bouygues"]}
    assert elsewhere(routes, "orange", {"free"}, {"free"}) == {"otp": ["sfr", "bouygues"]}
    assert elsewhere([a_route(ORANGE)], "orange", (), ()) == {"otp": []}


def test_connector_that_shares_a_route_takes_what_is_left_to_it_alone() -> None:
    assert own_portions([a_route(ORANGE, SFR)], "sfr") == [Portion(f"{VIA}sfr")]
    assert own_portions([a_route(ORANGE, SFR), a_route(FREE, name="live")], "free") == []
