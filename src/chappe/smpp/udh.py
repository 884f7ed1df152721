"""Which part of which long message a short message is, and in which national language: by its header, or by parameters.

Source: 3GPP TS 23.040, §9.2.3.24 (the user data header), §9.2.3.24.1 and .8 (concatenation, 8 and 16 bits), .15 and .16
(national languages); SMPP 3.4, §5.3.2.22 to 24 (the SAR parameters).
"""

from __future__ import annotations

from typing import NamedTuple

from chappe.smpp.pdus import DataSm, EsmClass, MessagePdu, Tag, Tlv


class Segment(NamedTuple):
    """A text without its header, and its place in a long message: the only one of one unless the header says more."""

    reference: int
    total: int
    sequence: int
    rest: bytes
    single: int = 0
    """The identifier of the national language whose single shift table it takes…"""
    locking: int = 0
    """…and of the one whose locking shift table; 0: the default's."""


def place_of(pdu: MessagePdu | DataSm) -> Segment:
    """A message's text and place: by the header in it, else by the SAR parameters."""
    octets = pdu.user_data
    found = concatenation(octets) if pdu.esm_class & EsmClass.UDHI else None
    if found is None:
        found = Segment(0, 1, 1, octets)
    if found.total > 1:
        return found
    reference = pdu.tlv_int(Tag.SAR_MSG_REF_NUM)
    total = pdu.tlv_int(Tag.SAR_TOTAL_SEGMENTS) or 0
    sequence = pdu.tlv_int(Tag.SAR_SEGMENT_SEQNUM) or 0
    if reference is None or not 1 <= sequence <= total:
        return found
    return found._replace(reference=reference, total=total, sequence=sequence)


def sar_parameters(reference: int, total: int, sequence: int) -> tuple[Tlv, ...]:
    """The same place in parameters; the reference has 16 bits."""
    return (
        (Tag.SAR_MSG_REF_NUM, reference.to_bytes(2, "big")),
        (Tag.SAR_TOTAL_SEGMENTS, bytes((total,))),
        (Tag.SAR_SEGMENT_SEQNUM, bytes((sequence,))),
    )


def concatenation(octets: bytes) -> Segment | None:
    """Takes the header off octets that begin with one (esm_class UDHI); None when it runs over their end.

    A concatenation element that cannot be right (§9.2.3.24.1: no part 0, no part above the total) is ignored, and of
    several the last one counts (§9.2.3.24).
    """
    if not octets or 1 + octets[0] > len(octets):
        return None
    end = 1 + octets[0]
    place = (0, 1, 1)
    languages = {_SINGLE_SHIFT: 0, _LOCKING_SHIFT: 0}
    at = 1
    while at + 2 <= end:
        element, length = octets[at], octets[at + 1]
        value = octets[at + 2 : min(at + 2 + length, end)]
        if (element, length, len(value)) in ((0x00, 3, 3), (0x08, 4, 4)):
            total, sequence = value[-2], value[-1]
            if 1 <= sequence <= total:
                place = (int.from_bytes(value[:-2], "big"), total, sequence)
        elif element in languages and length == len(value) == 1:
            languages[element] = value[0]
        at += 2 + length
    return Segment(*place, octets[end:], languages[_SINGLE_SHIFT], languages[_LOCKING_SHIFT])


_SINGLE_SHIFT, _LOCKING_SHIFT = 0x24, 0x25
