"""The tables against values of the standard, and septets packed against its examples."""

from __future__ import annotations

import gsm0338  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chappe.core.gsm import EXTENSIONS, Language, pack, read, septets, unpack

DEFAULT_EXTENSION = {"\f", "^", "{", "}", "\\", "[", "~", "]", "|", "€"}

SINGLE = {
    # 3GPP TS 23.038, A.2.1 to A.2.3, character by character beside the default extension table.
    Language.TURKISH: "Ğ47 İ49 Ş53 ç63 ğ67 ı69 ş73",
    Language.SPANISH: "ç09 Á41 Í49 Ó4F Ú55 á61 í69 ó6F ú75",
    Language.PORTUGUESE: "ê05 ç09 Ô0B ô0C Á0E á0F Φ12 Γ13 Ω15 Π16 Ψ17 Σ18 Θ19 Ê1F À41 Í49 Ó4F Ú55 Ã5B Õ5C Â61 í69 "
    "ó6F ú75 ã7B õ7C â7F",
}

LOCKING = {
    # A.3.1 and A.3.3: what differs from the default alphabet.
    Language.TURKISH: "€04 ı07 Ğ0B ğ0C Ş1C ş1D İ40 ç60",
    Language.PORTUGUESE: "ê04 ú06 í07 ó08 ç09 Ô0B ô0C Á0E á0F ª12 Ç13 À14 ∞15 ^16 \\17 €18 Ó19 |1A Â1C â1D Ê1E º24 Í40 "
    "Ã5B Õ5C Ú5D ~60 ã7B õ7C `7D",
}

unpacked = st.lists(st.integers(0, 127), max_size=170).map(bytes)
headers = st.binary(max_size=12)


def pairs(table: str) -> dict[int, str]:
    return {int(entry[1:], 16): entry[0] for entry in table.split()}


@pytest.mark.parametrize("language", SINGLE)
def test_single_shift_tables_are_those_of_the_standard(language: Language) -> None:
    table = dict(EXTENSIONS[language])
    assert {septet: table.pop(septet) for septet in pairs(SINGLE[language])} == pairs(SINGLE[language])
    assert set(table.values()) == DEFAULT_EXTENSION
    assert table == EXTENSIONS[Language.DEFAULT]


@pytest.mark.parametrize("language", LOCKING)
def test_locking_shift_tables_are_those_of_the_standard(language: Language) -> None:
    oracle = gsm0338.Codec()
    for septet in set(range(128)) - {0x1B}:
        octet = bytes((septet,))
        assert read(octet, locking=language) == pairs(LOCKING[language]).get(septet, oracle.decode(octet)[0])


@pytest.mark.parametrize("language", SINGLE)
def test_every_character_of_a_language_comes_back(language: Language) -> None:
    for character in EXTENSIONS[language].values():
        octets = septets(character, language)
        assert octets is not None
        assert read(octets, language) == character
        # What the alphabet has itself costs one septet.
        assert len(octets) == (2 if septets(character) != octets or octets[0] == 0x1B else 1)


def test_a_language_has_no_more_than_its_table() -> None:
    assert septets("ê") is None
    assert septets("ê", Language.SPANISH) is None
    assert septets("î", Language.PORTUGUESE) is None
    assert septets("Aê€Φ", Language.PORTUGUESE) == b"A\x1b\x05\x1be\x12"


def test_what_a_table_lacks_is_read_from_the_one_it_shifts_away_from() -> None:
    assert read(b"\x1b\x05") == "é"
    assert read(b"\x1b\x05", Language.PORTUGUESE) == "ê"
    assert read(b"\x1b\x04", Language.PORTUGUESE, Language.PORTUGUESE) == "ê"
    assert read(b"\x1b\x05\x04", 9, 9) == "éè"  # languages without a table here


@given(st.text(st.sampled_from([*"abcé \n", *SINGLE[Language.PORTUGUESE][::4], "€", "["]), max_size=200))
def test_any_text_of_a_language_comes_back(text: str) -> None:
    octets = septets(text, Language.PORTUGUESE)
    assert octets is not None
    assert read(octets, Language.PORTUGUESE) == text


# --- packing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "header", "octets"),
    [
        (b"", b"", ""),
        (b"1", b"", "31"),
        (b"hellohello", b"", "e8329bfd4697d9ec37"),
        (b"1234567", b"", "31d98c56b3dd1a"),  # a carriage return in the last seven bits
        (b"12345678", b"", "31d98c56b3dd70"),
        (b"A", b"\x05\x00\x03\x01\x02\x01", "05000301020182"),  # a fill bit
        (b"A", b"\x03\x24\x01\x03", "032401030802"),  # three
    ],
)
def test_septets_are_packed_as_in_the_standard(text: bytes, header: bytes, octets: str) -> None:
    assert pack(text, header).hex() == octets


@given(unpacked.filter(lambda septets: septets[-1:] != b"\r"), headers)
@example(b"\0" * 7, b"")
@example(b"a" * 153, b"\x05\x00\x03\x01\x02\x01")
def test_packed_septets_come_back(septets: bytes, header: bytes) -> None:
    packed = pack(septets, header)
    assert packed[: len(header)] == header
    assert unpack(packed[len(header) :], len(header)) == septets


@given(st.binary(max_size=200), st.integers(0, 20))
def test_any_octets_are_unpacked(octets: bytes, header_length: int) -> None:
    assert all(septet < 128 for septet in unpack(octets, header_length))


def test_a_full_part_is_140_octets() -> None:
    for header, room in ((0, 160), (4, 155), (6, 153), (7, 152), (9, 149), (10, 148)):
        assert len(pack(b"a" * room, bytes(header))) == 140
        assert len(pack(b"a" * (room + 1), bytes(header))) == 141
