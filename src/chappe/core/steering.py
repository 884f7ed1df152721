"""Steering: what connectors are told while servers run, what they say of themselves, and what that makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from chappe.core.figures import Figures

SILENT_MS: Final = 10_000
"""Figures older than this say nothing of the moment: whoever had the connector is gone."""
MOST_COUNTED: Final = 10_000
"""So many waiting parts are counted; more are as many."""


class Told(Enum):
    """What a connector is to do. It is kept, whatever starts and stops, until it is told otherwise."""

    RUN = "run"
    PAUSE = "pause"
    """Submits no more; the binds stay, and what the operator says comes in."""
    DRAIN = "drain"
    """Submits no more, waits for answers, unbinds and stays away."""


@dataclass(slots=True, frozen=True)
class Steered:
    """A connector that was told something."""

    connector: str
    told: Told
    since: int


@dataclass(slots=True, frozen=True)
class Shown:
    """A connector at one moment, as the node that has it says."""

    connector: str
    node: str
    at: int
    figures: Figures


@dataclass(slots=True, frozen=True)
class StoredConnector:
    """A connector that was added by command."""

    name: str
    settings: Mapping[str, object] = field(repr=False)
    """As in its table of the settings file; empty when it was removed."""
    revision: int
    changed_at: int
    removed: bool = False
    ended: bool = False
    """Removed, and no node has it any more."""


class Condition(Enum):
    """A connector in a word."""

    BOUND = "bound"
    UNBOUND = "unbound"
    PAUSED = "paused"
    DRAINING = "draining"
    DRAINED = "drained"
    SILENT = "silent"
    """No node says that it has it."""
    REMOVING = "removing"


def fresh(shown: Shown | None, now: int) -> Shown | None:
    """What still says something of the moment."""
    return shown if shown is not None and now - shown.at < SILENT_MS else None


def condition_of(told: Told, shown: Shown | None, now: int) -> Condition:
    """Of what it was told, and of its last figures."""
    current = fresh(shown, now)
    if told is Told.DRAIN:
        return Condition.DRAINED if current is None else Condition.DRAINING
    if current is None:
        return Condition.SILENT
    if current.figures.held:
        return Condition.PAUSED
    return Condition.BOUND if current.figures.window else Condition.UNBOUND
