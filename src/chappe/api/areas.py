"""Every area of the API: the table of its operations, and what makes it from the services.

What is served and what is described are read from here, so that neither can forget the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from chappe.api import blacklists, campaigns, crediting, health, lists, messages, searching, statistics, webhooks
from chappe.api.operations import Operation
from chappe.api.services import Services


class Area(NamedTuple):
    operations: Sequence[Operation[Any]]
    make: Callable[[Services], Any]


HOT = Area(messages.OPERATIONS, messages.Messages)
"""Found by a look-up of the whole path, without the router."""
ROUTED = (
    Area(searching.OPERATIONS, searching.Searching),
    Area(statistics.OPERATIONS, statistics.Statistics),
    Area(blacklists.OPERATIONS, blacklists.Blacklists),
    Area(campaigns.OPERATIONS, campaigns.CampaignArea),
    Area(crediting.OPERATIONS, crediting.AccountCredits),
    Area(lists.OPERATIONS, lists.Lists),
    Area(webhooks.OPERATIONS, webhooks.Webhooks),
    Area(health.OPERATIONS, health.Health),
)
AREAS = (HOT, *ROUTED)
OPERATIONS: Sequence[Operation[Any]] = [operation for area in AREAS for operation in area.operations]
