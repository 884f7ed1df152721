"""PDUs as some operators write them: lengths that lie. The stream stays sound, for command_length does not."""

from __future__ import annotations

import re
import struct

from chappe.smpp.pdus import Tag

_TO_SM_LENGTH = re.compile(rb"[^\0]*\0..[^\0]*\0..[^\0]*\0...[^\0]*\0[^\0]*\0....", re.DOTALL)
"""The body of a deliver_sm up to sm_length: five C strings with the octets between them (§4.6.1)."""


def overrun(octets: bytes) -> bytes:
    """Adds a parameter that claims two hundred octets and has one."""
    return _measured(octets + struct.pack(">HHB", Tag.MS_AVAILABILITY_STATUS, 200, 0))


def misstate(octets: bytes, length: int) -> bytes:
    """Puts `length` in the place of sm_length and changes nothing else."""
    found = _TO_SM_LENGTH.match(octets, 16)
    if found is None:
        raise ValueError("not a deliver_sm")
    return octets[: found.end()] + bytes((length,)) + octets[found.end() + 1 :]


def sm_length(octets: bytes) -> int:
    """What it says."""
    found = _TO_SM_LENGTH.match(octets, 16)
    if found is None:
        raise ValueError("not a deliver_sm")
    return octets[found.end()]


def _measured(octets: bytes) -> bytes:
    return struct.pack(">I", len(octets)) + octets[4:]
