"""What the API is given by the wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chappe.core.message import Key
from chappe.core.optout import Mention
from chappe.core.ports import Store
from chappe.core.routing import SIMULATOR, Route
from chappe.core.targets import Networks
from chappe.core.text import PLAIN, Cut
from chappe.flow.live import Live
from chappe.flow.rates import Rates


@dataclass(slots=True)
class Services:
    store: Store
    now_ms: Callable[[], int]
    live_route: str
    """`live`, or `simulator` when no operator is configured."""
    public_url: str | None
    """Where people reach this server; with the simulator as operator the address we listen on, once known."""
    default_validity_ms: int
    wake: Callable[[str], None]
    """A part was queued on this route."""
    readiness: Callable[[], Mapping[str, object]]
    """What /ready shows; we are not ready while its `ready` is False."""
    token: Callable[[], str]
    """A new secret, of at least 10 letters and digits."""
    chance: Callable[[int], bytes]
    """So many random bytes."""
    rates: Rates
    live: Live
    """Wakes those who watch events."""
    routes: Sequence[Route] = ()
    """Which of the messages that go to operators take a route of their own."""
    cut: Cut = PLAIN
    """How texts have to be cut for the operators."""
    webhook_networks: Networks = ()
    """Where webhooks may go although it is not public."""
    stop_mention: Mention | None = None
    """What stands behind the marketing of accounts that did not decide."""
    links_url: str | None = None
    """A domain of its own for tracked links."""
    rate: float | None = None
    """Parts a second that all operators take together; None when one of them does not say."""
    wake_campaigns: Callable[[], None] = lambda: None
    """A campaign has something to do."""

    @property
    def links_base(self) -> str | None:
        """What tracked links begin with."""
        return self.links_url or self.public_url


def is_test(key: Key, services: Services) -> bool:
    """Which traffic a key sees: what it sends. Without an operator a live key's is test traffic too."""
    return key.test or services.live_route == SIMULATOR
