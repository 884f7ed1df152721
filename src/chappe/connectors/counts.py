"""What an operator's connector has done since the start, for logs, /ready and metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """How often what happened since the start; plain numbers, because some grow with every message."""

    submitted: int = 0
    answered: int = 0
    """Submits that the operator took charge of."""
    refused: int = 0
    throttled: int = 0
    """Those of the refused that asked for a slower pace."""
    unwritable: int = 0
    doubted: int = 0
    late: int = 0
    receipts: int = 0
    inbound: int = 0
    acknowledged: int = 0
    """Receipts and messages answered with ROK."""
    put_off: int = 0
    """Receipts and messages that the operator has to send again."""
    asked: int = 0
    """query_sm sent…"""
    asked_in_vain: int = 0
    """…and refused, or not answered."""
    discarded: int = 0
    binds: int = 0
    binds_refused: int = 0
    unreachable: int = 0
    """Connections that could not be made."""
