"""What a route's table in the settings says, `[routes.NAME]`; the rules themselves are in `core.routing`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from chappe.core.message import Family
from chappe.core.routing import LIVE, Member, Route

_Texts: TypeAlias = Annotated[tuple[str, ...], Meta(description="a list of texts")]


class Through(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member with its place."""

    operator: str
    priority: Annotated[int, Meta(ge=1, le=99)] = 1
    weight: Annotated[int, Meta(ge=0, le=100)] = 0


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One route: which messages take it, and through which operators."""

    name: str
    through: Annotated[
        tuple[str | Through, ...],
        Meta(
            min_length=1,
            description='a list of operators, such as ["orange", { operator = "sfr", priority = 2, weight = 0 }] '
            "(priority from 1 to 99, weight from 0 to 100)",
        ),
    ]
    prefixes: Annotated[
        tuple[Annotated[str, Meta(pattern=r"\A\+[1-9][0-9]{0,14}\Z")], ...],
        Meta(description='beginnings of international numbers, such as ["+33", "+32"]'),
    ] = ()
    families: Annotated[
        tuple[Literal["notification", "marketing"], ...], Meta(description='"notification" and "marketing"')
    ] = ()
    categories: _Texts = ()
    accounts: _Texts = ()
    """By name."""
    senders: _Texts = ()
    shift: bool = False
    """Weight moves from operators whose receipts come late to the others, and back."""

    def __post_init__(self) -> None:
        names = [member.operator for member in self.members]
        if len(set(names)) < len(names):
            raise ValueError("through names an operator twice")
        if self.name == LIVE and self.conditions != ((),) * len(self.conditions):
            raise ValueError(
                f"through and shift are all that [routes.{LIVE}] may say: it is for what no other route is for"
            )
        weighted = [member.priority for member in self.members if member.weight]
        if self.shift and len(set(weighted)) == len(weighted):
            raise ValueError("shift moves weights, and through has no two operators of one priority with weights")

    @property
    def conditions(self) -> tuple[tuple[str, ...], ...]:
        return (self.prefixes, self.families, self.categories, self.accounts, self.senders)

    @property
    def members(self) -> tuple[Through, ...]:
        return tuple(Through(one) if isinstance(one, str) else one for one in self.through)

    def route(self) -> Route:
        members = tuple(Member(one.operator, one.priority, one.weight) for one in self.members)
        families = tuple(Family[name.upper()] for name in self.families)
        return Route(
            self.name, members, self.prefixes, families, self.categories, self.accounts, self.senders, self.shift
        )
