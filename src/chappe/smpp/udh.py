"""The user data header of a short message: which part of which long message it is.

Source: 3GPP TS 23.040, §9.2.3.24 (the header), §9.2.3.24.1 and .8 (concatenation, 8 and 16 bits). Reads only.
"""

from __future__ import annotations

from typing import NamedTuple


class Segment(NamedTuple):
    """A text without its header, and its place in a long message: the only one of one unless the header says more."""

    reference: int
    total: int
    sequence: int
    rest: bytes


def concatenation(octets: bytes) -> Segment | None:
    """Takes the header off octets that begin with one (esm_class UDHI); None when it runs over their end.

    A concatenation element that cannot be right (§9.2.3.24.1: no part 0, no part above the total) is ignored, and of
    several the last one counts (§9.2.3.24).
    """
    if not octets or 1 + octets[0] > len(octets):
        return None
    end = 1 + octets[0]
    place = (0, 1, 1)
    at = 1
    while at + 2 <= end:
        element, length = octets[at], octets[at + 1]
        value = octets[at + 2 : min(at + 2 + length, end)]
        if (element, length, len(value)) in ((0x00, 3, 3), (0x08, 4, 4)):
            total, sequence = value[-2], value[-1]
            if 1 <= sequence <= total:
                place = (int.from_bytes(value[:-2], "big"), total, sequence)
        at += 2 + length
    return Segment(*place, octets[end:])
