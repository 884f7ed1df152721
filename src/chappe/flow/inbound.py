"""Inbound: messages from people. Parts are joined, answers tied to what they answer, STOP takes effect.

All of it inside one store transaction, before the operator gets its ROK.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from chappe.core.errors import StoreUnavailable
from chappe.core.message import Inbound
from chappe.core.ports import Engaging

log = logging.getLogger(__name__)


async def receive(store: Engaging, inbound: Sequence[Inbound], now: int) -> bool:
    """True once stored; False when the operator has to send them again."""
    try:
        await store.receive(inbound, now)
    except StoreUnavailable:
        log.warning("store unavailable, inbound messages refused", extra={"count": len(inbound)})
        return False
    return True
