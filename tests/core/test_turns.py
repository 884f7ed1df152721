"""Turns: room is dealt to routes and accounts like cards."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chappe.core.message import AccountId, Family
from chappe.core.turns import Lane, Turns

A, B, C = AccountId(1), AccountId(2), AccountId(3)
FAMILY = Family.NOTIFICATION


def dealt(turns: Turns, room: int, *accounts: AccountId, route: str = "live") -> dict[AccountId, int]:
    lanes = turns.lanes("orange", FAMILY, {route: accounts})
    return {lane.account: count for lane, count in turns.deal("orange", FAMILY, lanes, room)}


def test_one_account_alone_gets_all_the_room() -> None:
    assert dealt(Turns(), 7, A) == {A: 7}


def test_odd_card_goes_round() -> None:
    turns = Turns()
    assert dealt(turns, 3, A, B) == {A: 2, B: 1}
    assert turns.last("orange", FAMILY, "live") == A
    assert dealt(turns, 3, B, A) == {B: 2, A: 1}  # as the store finds them behind A


def test_more_accounts_than_room_leaves_the_last_ones_to_the_next_deal() -> None:
    turns = Turns()
    assert dealt(turns, 2, A, B, C) == {A: 1, B: 1}
    assert turns.last("orange", FAMILY, "live") == B


def test_routes_take_turns_before_their_accounts_do() -> None:
    turns = Turns()
    lanes = turns.lanes("orange", FAMILY, {"live": [A, B], "codes": [C]})
    assert lanes == [Lane("codes", C), Lane("live", A), Lane("live", B)]
    turns.deal("orange", FAMILY, lanes, 1)
    assert turns.lanes("orange", FAMILY, {"live": [A, B], "codes": [C]})[0] == Lane("live", A)


def test_no_room_is_dealt_to_nobody() -> None:
    turns = Turns()
    assert dealt(turns, 0, A) == {}
    assert turns.deal("orange", FAMILY, [], 5) == []


def test_each_connector_and_family_has_turns_of_its_own() -> None:
    turns = Turns()
    dealt(turns, 1, A)
    assert turns.last("sfr", FAMILY, "live") == turns.last("orange", Family.MARKETING, "live") == 0


@given(
    st.dictionaries(st.sampled_from(["codes", "live", "belgium"]), st.sets(st.integers(1, 9), min_size=1), min_size=1),
    st.integers(1, 50),
)
def test_all_room_is_dealt_and_nobody_gets_two_more_than_another(waiting: dict[str, set[int]], room: int) -> None:
    turns = Turns()
    lanes = turns.lanes("orange", FAMILY, {route: sorted(map(AccountId, of)) for route, of in waiting.items()})
    assert set(lanes) == {Lane(route, AccountId(account)) for route, of in waiting.items() for account in of}
    shares = Counter(dict(turns.deal("orange", FAMILY, lanes, room)))
    assert shares.total() == room
    assert max(shares.values()) - min(shares[lane] for lane in lanes) <= 1


@given(st.sets(st.integers(1, 20), min_size=1), st.lists(st.integers(1, 5), min_size=1, max_size=60))
def test_nobody_that_waits_is_passed_over_twice(accounts: set[int], rooms: list[int]) -> None:
    """However small the room of each deal: between two parts of one account every other one has had one."""
    turns, order = Turns(), []
    for room in rooms:
        last = turns.last("orange", FAMILY, "live")
        found = sorted(accounts, key=lambda account: (account <= last, account))[:room]
        lanes = turns.lanes("orange", FAMILY, {"live": [AccountId(account) for account in found]})
        for lane, count in turns.deal("orange", FAMILY, lanes, room):
            order += [lane.account] * count
    counts = Counter(order)
    assert max(counts.values()) - min(counts[AccountId(account)] for account in accounts) <= 1
