"""The operators that there are: those of the settings file, and beside them those that were added by command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from chappe.connectors.smpp_settings import SmppSettings
from chappe.core.routing import LIVE, SIMULATOR, names_through
from chappe.core.steering import StoredConnector
from chappe.settings import Settings, SettingsError, read_operator


@dataclass(slots=True, frozen=True)
class Operators:
    """What an installation consists of at the moment."""

    settings: Settings
    """With all operators, as if each stood in the file."""
    in_file: frozenset[str]
    added: Mapping[str, StoredConnector]
    """By command, and not removed."""
    leaving: tuple[str, ...] = ()
    """Removed, and perhaps still at work on some node."""
    ever: frozenset[str] = frozenset()
    """With those that were removed: routes may still name them."""
    wrong: Mapping[str, str] = field(default_factory=dict)
    """Those that cannot be used beside the others, and why."""

    @property
    def live_route(self) -> str:
        """What live keys send by. Once there was an operator, no message goes to the simulator for want of one."""
        return LIVE if self.ever else SIMULATOR

    @property
    def unserved(self) -> list[str]:
        """Routes that no operator is left for: what takes them waits."""
        there = {operator.name for operator in self.settings.operators}
        routes = [*self.settings.rules, self.settings.live] if self.ever else []
        return [route.name for route in routes if there.isdisjoint(member.connector for member in route.members)]

    def routes_of(self, name: str) -> list[str]:
        """The routes that lead through an operator."""
        return names_through((*self.settings.rules, self.settings.live), name)

    def named(self, name: str) -> SmppSettings | None:
        return next((operator for operator in self.settings.operators if operator.name == name), None)

    def check_routes(self) -> None:
        """Raises SettingsError if a route names an operator that never was: it is mistyped."""
        for route in self.settings.routes:
            unknown = [member.operator for member in route.members if member.operator not in self.ever]
            if unknown:
                raise SettingsError(
                    f"routes.{route.name}.through: there is no operator {unknown[0]}, in the settings or added by "
                    "`chappe connectors add`"
                )


def join(settings: Settings, stored: Sequence[StoredConnector]) -> Operators:
    """`settings` are the file's. Of one name the file's is used."""
    in_file = frozenset(operator.name for operator in settings.operators)
    whole, added, wrong = settings, {}, {}
    for one in stored:
        if one.removed:
            continue
        added[one.name] = one
        try:
            if one.name in in_file:
                raise SettingsError("it stands in the settings too, and those are used")
            operator, _ = read_operator(one.name, one.settings, {})
            whole = with_operator(whole, operator)
        except SettingsError as error:
            wrong[one.name] = str(error)
    return Operators(
        whole,
        in_file,
        added,
        leaving=tuple(one.name for one in stored if one.removed and not one.ended and one.name not in in_file),
        ever=in_file.union(one.name for one in stored),
        wrong=wrong,
    )


def with_operator(settings: Settings, operator: SmppSettings) -> Settings:
    """With this one beside the others, or in the place of its namesake. Raises SettingsError."""
    others = (other for other in settings.operators if other.name != operator.name)
    try:
        return msgspec.structs.replace(settings, operators=(*others, operator))
    except ValueError as error:
        raise SettingsError(str(error)) from error
