"""Turns: of what waits for an operator, every route has its turn, and in each route every account.

A lane is what one account has waiting on one route. However much waits in it, the next one is served after one part:
room is dealt out like cards, and the next deal begins behind the lane that got the last one. Families are dealt to
apart, so that this is about what leaves among equals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from chappe.core.message import AccountId, Family


@dataclass(slots=True, frozen=True)
class Lane:
    """What one account has waiting on one route."""

    route: str
    account: AccountId


NOBODY = AccountId(0)
"""Before the first account: the lane of what is not due yet, in which nobody has a turn."""


class Turns:
    """Whose turn it is, for each connector and family. Kept in memory: forgotten, somebody is served twice running."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, Family, str], AccountId] = {}
        self._routes: dict[tuple[str, Family], str] = {}

    def last(self, connector: str, family: Family, route: str) -> AccountId:
        """The account that was dealt to last there: the next one is the first of a greater id."""
        return self._accounts.get((connector, family, route), NOBODY)

    def lanes(self, connector: str, family: Family, waiting: Mapping[str, Sequence[AccountId]]) -> list[Lane]:
        """In the order in which they are dealt to: route → its accounts, those behind `last` first."""
        routes = sorted(waiting)
        last = self._routes.get((connector, family), "")
        routes = [route for route in routes if route > last] + [route for route in routes if route <= last]
        rounds = zip_longest(*([Lane(route, account) for account in waiting[route]] for route in routes))
        return [lane for lane in chain.from_iterable(rounds) if lane is not None]

    def deal(self, connector: str, family: Family, lanes: Sequence[Lane], room: int) -> list[tuple[Lane, int]]:
        """How many parts each lane may have of this room; of lanes that are more than that, the first ones."""
        if not lanes or room <= 0:
            return []
        each, more = divmod(room, len(lanes))
        for dealt in range(max(0, room - len(lanes)), room):  # the last card that each gets
            lane = lanes[dealt % len(lanes)]
            self._accounts[connector, family, lane.route] = lane.account
            self._routes[connector, family] = lane.route
        return [(lane, each + (at < more)) for at, lane in enumerate(lanes) if each or at < more]
