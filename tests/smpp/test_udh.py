"""Headers of long messages, as phones and operators write them, and as they get them wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.smpp.udh import Segment, concatenation


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"\x05\x00\x03\x2a\x03\x02text", Segment(0x2A, 3, 2, b"text")),
        (b"\x06\x08\x04\x12\x34\x03\x01text", Segment(0x1234, 3, 1, b"text")),
        (b"\x0b\x05\x04\x15\x81\x00\x00\x00\x03\x2a\x02\x02text", Segment(0x2A, 2, 2, b"text")),  # ports first
        (b"\x06\x05\x04\x15\x81\x00\x00text", Segment(0, 1, 1, b"text")),  # ports alone
        (b"\x00text", Segment(0, 1, 1, b"text")),
        (b"\x05\x00\x03\x2a\x02\x01", Segment(0x2A, 2, 1, b"")),
        (b"\x05\x00\x03\x2a\x02\x03text", Segment(0, 1, 1, b"text")),  # part 3 of 2
        (b"\x05\x00\x03\x2a\x02\x00text", Segment(0, 1, 1, b"text")),  # part 0
        (b"\x05\x00\x03\x2a\x00\x00text", Segment(0, 1, 1, b"text")),  # of 0
        (b"\x04\x00\x03\x2a\x02text", Segment(0, 1, 1, b"text")),  # the element is longer than the header
        (b"\x05\x00\x02\x2a\x02\x01text", Segment(0, 1, 1, b"text")),  # the element is too short
        (b"\x0a\x00\x03\x01\x02\x01\x00\x03\x02\x03\x01text", Segment(2, 3, 1, b"text")),  # the last one counts
        (b"\x03\x24\x01\x03text", Segment(0, 1, 1, b"text", single=3)),
        (b"\x06\x24\x01\x03\x25\x01\x01text", Segment(0, 1, 1, b"text", 3, 1)),
        (b"\x08\x24\x01\x02\x00\x03\x2a\x03\x02text", Segment(0x2A, 3, 2, b"text", single=2)),
        (b"\x04\x24\x02\x03\x01text", Segment(0, 1, 1, b"text")),  # two octets of language
        (b"\x02\x24\x01text", Segment(0, 1, 1, b"text")),  # none
        (b"\x05text", None),
        (b"", None),
    ],
)
def test_a_header_says_which_part_of_what(octets: bytes, expected: Segment | None) -> None:
    assert concatenation(octets) == expected


@given(st.binary(max_size=64))
def test_any_octets_give_a_possible_place_and_lose_nothing_behind_the_header(octets: bytes) -> None:
    found = concatenation(octets)
    if found is not None:
        assert 1 <= found.sequence <= found.total
        assert octets[1 + octets[0] :] == found.rest
