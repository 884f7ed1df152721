"""The contract's object ids: 24 hexadecimal characters, made of what kind of object it is and its number."""

from __future__ import annotations

import re
from enum import IntEnum


class Kind(IntEnum):
    """The first eight characters, so that an id of one kind never passes for one of another."""

    UNSUBSCRIBED = 0x5C000001
    BOUNCED = 0x5C000002
    REPLY = 0x5C000003
    BLACKLIST = 0x5C000004
    LIST = 0x5C000005
    FIELD = 0x5C000006
    CONTACT = 0x5C000007
    OPERATION = 0x5C000008
    CAMPAIGN = 0x5C000009


def hex_id(kind: Kind, number: int) -> str:
    """`number` is not negative and has at most 63 bits."""
    return f"{kind:08x}{number:016x}"


def read_hex_id(kind: Kind, text: str) -> int | None:
    """The number; 0, which none has, when it is the id of another kind of object, and None when it is no id."""
    if not re.fullmatch("[0-9a-f]{24}", text):
        return None
    number = int(text[8:], 16)
    return number if int(text[:8], 16) == kind and number < 1 << 63 else 0
