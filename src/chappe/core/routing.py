"""Routing: which route a message takes, decided once; how much of a route each connector takes, decided at each claim.

A message is stored with the name of its route. What a connector may take of a route at the moment follows from who is
able to: those of the best priority, each the part of the messages that its weight gives it. So an operator that is
away, paused or gone changes what others take, and no message is rewritten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from chappe.core.message import Family

LIVE: Final = "live"
SIMULATOR: Final = "simulator"
"""The two routes there always are; test traffic takes the second only."""

SLOTS: Final = 100
"""Into so many, in turn, a route's messages fall; weights share them out."""
VIA: Final = "via:"
"""Before a connector's name: the route of what leaves through that one only, because another has refused it."""
PATIENCE_MS: Final = 2_000
"""What should have left through another connector this long ago is anybody's: it is full, or slow."""


@dataclass(slots=True, frozen=True)
class Member:
    """A connector of a route."""

    connector: str
    priority: int = 1
    """Those of a higher number take nothing while one of a lower is able to."""
    weight: int = 0
    """Its share beside the others of its priority. Beside weights, 0 takes only what they leave; with zeros only,
    whoever has room takes first."""


@dataclass(slots=True, frozen=True)
class Route:
    """A queue, what it is for, and who takes from it. A condition that names nothing is always met."""

    name: str
    members: tuple[Member, ...]
    prefixes: tuple[str, ...] = ()
    families: tuple[Family, ...] = ()
    categories: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    shift: bool = False
    """Its weights follow what is measured: see `shifting`."""


@dataclass(slots=True, frozen=True)
class Portion:
    """What a connector may take of a route: the messages of its slots, and what has been due for `patience_ms`."""

    route: str
    first: int = 0
    last: int = SLOTS - 1
    patience_ms: int = 0


def choose_route(
    routes: Sequence[Route], *, number: str, family: Family, category: str | None, account: str, sender: str | None
) -> str:
    """The first route all of whose conditions are met; LIVE if there is none."""
    for route in routes:
        if (
            (not route.prefixes or number.startswith(route.prefixes))
            and (not route.families or family in route.families)
            and (not route.categories or category in route.categories)
            and (not route.accounts or account in route.accounts)
            and (not route.senders or sender in route.senders)
        ):
            return route.name
    return LIVE


def elsewhere(
    routes: Sequence[Route], connector: str, able: Collection[str], away: Collection[str]
) -> dict[str, list[str]]:
    """Who could take what this connector has refused, by route: who is able to at the moment first, then by priority.

    `away` are those that were told to stay away, and take nothing whatever becomes of them.
    """
    found = {}
    for route in routes:
        others = [member for member in route.members if member.connector not in (connector, *away)]
        others.sort(key=lambda member: (member.connector not in able, member.priority))
        found[route.name] = [member.connector for member in others]
    return found


def names_through(routes: Iterable[Route], connector: str) -> list[str]:
    """The routes that lead through it."""
    return [route.name for route in routes if any(member.connector == connector for member in route.members)]


def own_portions(routes: Sequence[Route], connector: str) -> list[Portion]:
    """What is left to this connector alone, because another one of a route has refused it."""
    shared = any(
        len(route.members) > 1 and any(member.connector == connector for member in route.members) for route in routes
    )
    return [Portion(VIA + connector)] if shared else []


def portions(routes: Sequence[Route], connector: str, able: Collection[str]) -> list[Portion]:
    """What this connector may take at the moment, of each route; `able` are the others that take something now."""
    found = []
    for route in routes:
        mine = next((member for member in route.members if member.connector == connector), None)
        if mine is None:
            continue
        ready = [member for member in route.members if member is mine or member.connector in able]
        if mine.priority > min(member.priority for member in ready):
            continue
        peers = [member for member in ready if member.priority == mine.priority]
        ends = [0, *accumulate(member.weight for member in peers)]
        total, at = ends[-1], peers.index(mine)
        if len(peers) == 1 or not total:
            found.append(Portion(route.name))
        else:
            first, end = ends[at] * SLOTS // total, ends[at + 1] * SLOTS // total
            found.append(Portion(route.name, first, end - 1, PATIENCE_MS))
    return found
