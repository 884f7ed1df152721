"""The times of SMPP, absolute and relative (SMPP 3.4, §7.1.1), as Unix epoch milliseconds and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_WRITTEN = re.compile(rb"([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9])([0-9]{2})([+\-R])")
_QUARTERS = 48
"""Of an hour that local time may be ahead of UTC, or behind it."""


def read_time(octets: bytes, now: int) -> int | None:
    """When it means, a relative one from now on; None for the empty one. Raises ValueError.

    A relative year counts as 365 days, a month as 30.
    """
    if not octets:
        return None
    found = _WRITTEN.fullmatch(octets)
    if found is None:
        raise ValueError("not a time of SMPP")
    year, month, day, hour, minute, second, tenth, quarters = map(int, found.groups()[:-1])
    if found[9] == b"R":
        wait = timedelta(days=365 * year + 30 * month + day, hours=hour, minutes=minute, seconds=second)
        return now + wait // timedelta(milliseconds=1)
    if quarters > _QUARTERS:
        raise ValueError("no time zone is that far from UTC")
    ahead = timedelta(minutes=15 * quarters if found[9] == b"+" else -15 * quarters)
    at = datetime(2000 + year, month, day, hour, minute, second, 100_000 * tenth, timezone(ahead))
    return (at - _EPOCH) // timedelta(milliseconds=1)


def write_time(at: int) -> bytes:
    """Absolute, in UTC."""
    return f"{_EPOCH + timedelta(milliseconds=at):%y%m%d%H%M%S}000+".encode("ascii")


def receipt_date(at: int) -> bytes:
    """As receipts have it (appendix B): YYMMDDhhmm, here in UTC."""
    return f"{_EPOCH + timedelta(milliseconds=at):%y%m%d%H%M}".encode("ascii")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
