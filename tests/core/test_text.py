"""Texts to octets and back: the alphabet against a library, the parts against their definition."""

from __future__ import annotations

import codecs
import sys
from itertools import pairwise
from unicodedata import category

import gsm0338  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chappe.core import gsm
from chappe.core.text import (
    BARE,
    LANGUAGE,
    LATIN_1,
    MAX_PARTS,
    PLAIN,
    WIDE,
    Alphabet,
    Cut,
    Segmented,
    concatenation_header,
    count_parts,
    decode,
    encode,
    language_header,
    segment,
    uncodable,
    with_language,
)

ORACLE = gsm0338.Codec()
BASIC = [ORACLE.decode(bytes((septet,)))[0] for septet in range(128) if septet != 0x1B]
EXTENSION = {character for septet in range(128) if (character := ORACLE.decode(bytes((0x1B, septet)), "ignore")[0])}
GSM7 = [*BASIC, *sorted(EXTENSION)]

gsm_texts = st.text(st.sampled_from(GSM7), max_size=700)
any_texts = st.text(max_size=300)

WHOLE = [
    "a",
    "ê",
    "漢",
    "e\u0301",  # combining acute
    "Z\u0335\u0301\u0317",
    "\u2764\ufe0f",  # heart with variation selector
    "1\ufe0f\u20e3",  # keycap
    "😀",
    "👍\U0001f3fd",  # skin tone
    "\U0001f1eb\U0001f1f7",  # flag of France
    "\U0001f1e7\U0001f1ea",
    "👨\u200d👩\u200d👧\u200d👦",
    "🏳\ufe0f\u200d🌈",
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in "gbeng") + "\U000e007f",  # flag of England
    "\u1112\u1161\u11ab",  # Hangul in pieces
    "か\uff9e",
]
"""What a reader takes for one character each, whatever stands beside it."""


def packed_octets(part: str, alphabet: Alphabet, *, alone: bool) -> int:
    """Octets of user data over the air: the header, the fill bits, and septets packed (23.040, 9.2.3.24)."""
    header = 0 if alone else len(concatenation_header(0, 2, 1))
    octets = len(encode(part, alphabet))
    if alphabet is Alphabet.UCS2:
        return header + octets
    return ((header * 8 + 6) // 7 * 7 + octets * 7 + 7) // 8


# --- the alphabet ----------------------------------------------------------------------------------------


def test_the_tables_are_complete() -> None:
    assert len(set(BASIC)) == 127
    assert sorted(EXTENSION) == sorted("\f^{}\\[~]|€")


@pytest.mark.parametrize("character", GSM7)
def test_every_character_of_both_tables_comes_back(character: str) -> None:
    octets = encode(character, Alphabet.GSM7)
    assert octets == ORACLE.encode(character)[0]
    assert decode(octets, 0) == character
    assert segment(character) == Segmented(Alphabet.GSM7, (character,), len(octets))


def test_every_other_character_makes_the_text_ucs2() -> None:
    known = set(GSM7)
    for code in range(0x3000):
        character = chr(code)
        if character not in known:
            assert segment(character).alphabet is Alphabet.UCS2
            with pytest.raises(ValueError, match="not in the GSM"):
                encode(character, Alphabet.GSM7)


@given(gsm_texts)
def test_gsm_texts_are_encoded_as_the_library_does(text: str) -> None:
    octets = encode(text, Alphabet.GSM7)
    assert octets == ORACLE.encode(text)[0]
    assert decode(octets, 0) == text


@given(any_texts)
def test_a_text_goes_in_gsm7_exactly_when_that_has_all_its_characters(text: str) -> None:
    whole = set(text) <= set(GSM7)
    assert segment(text).alphabet is (Alphabet.GSM7 if whole else Alphabet.UCS2)


@given(any_texts.filter(lambda text: text[:1] not in ("\ufeff", "\ufffe")))
def test_any_text_comes_back_from_ucs2(text: str) -> None:
    octets = encode(text, Alphabet.UCS2)
    assert octets == text.encode("utf-16-be")
    assert decode(octets, 8) == text


@pytest.mark.parametrize("character", list("êçôâîûœ’«…ÇÉ"))
def test_french_letters_are_never_replaced(character: str) -> None:
    text = f"a{character}b"
    cut = segment(text)
    assert decode(encode(text, cut.alphabet), 8 if cut.alphabet is Alphabet.UCS2 else 0) == text


def test_a_lone_surrogate_has_no_octets() -> None:
    with pytest.raises(ValueError, match="not in the GSM"):
        encode("a\ud83d", Alphabet.GSM7)
    with pytest.raises(ValueError, match="surrogates not allowed"):
        encode("a\ud83d", Alphabet.UCS2)


# --- the parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "alphabet", "lengths", "units"),
    [
        ("", Alphabet.GSM7, [0], 0),
        ("a" * 160, Alphabet.GSM7, [160], 160),
        ("a" * 161, Alphabet.GSM7, [153, 8], 161),
        ("é" * 160, Alphabet.GSM7, [160], 160),
        ("a" * 306, Alphabet.GSM7, [153, 153], 306),
        ("a" * 307, Alphabet.GSM7, [153, 153, 1], 307),
        ("€" * 80, Alphabet.GSM7, [80], 160),
        ("€" * 81, Alphabet.GSM7, [76, 5], 162),
        ("a" * 158 + "€", Alphabet.GSM7, [159], 160),
        ("a" * 159 + "€", Alphabet.GSM7, [153, 7], 161),
        ("a" * 152 + "€" * 77, Alphabet.GSM7, [152, 76, 1], 306),
        ("a" * 151 + "€" * 77, Alphabet.GSM7, [152, 76], 305),
        ("ê" * 70, Alphabet.UCS2, [70], 70),
        ("ê" * 71, Alphabet.UCS2, [67, 4], 71),
        ("ê" * 134, Alphabet.UCS2, [67, 67], 134),
        ("ê" * 135, Alphabet.UCS2, [67, 67, 1], 135),
        ("😀" * 35, Alphabet.UCS2, [35], 70),
        ("😀" * 36, Alphabet.UCS2, [33, 3], 72),
        ("ê" * 66 + "😀" * 3, Alphabet.UCS2, [66, 3], 72),
        ("ê" * 66 + "e\u0301" * 3, Alphabet.UCS2, [66, 6], 72),
        ("\U0001f1eb\U0001f1f7" * 18, Alphabet.UCS2, [32, 4], 72),
        ("ê" + "\U0001f1eb\U0001f1f7" * 18, Alphabet.UCS2, [33, 4], 73),
        ("a\r\n" * 53 + "a\r", Alphabet.GSM7, [153, 8], 161),
    ],
)
def test_a_text_is_cut_at_the_limits(text: str, alphabet: Alphabet, lengths: list[int], units: int) -> None:
    cut = segment(text)
    assert (cut.alphabet, [len(part) for part in cut.parts], cut.units) == (alphabet, lengths, units)
    assert "".join(cut.parts) == text
    assert count_parts(text) == len(lengths)


def test_a_long_text_with_euros_and_emoji_comes_back() -> None:
    text = ("Prix : 12,50 € ou {rien} ! " * 23)[:598] + "😀€"
    assert len(text) == 600
    cut = segment(text)
    assert (cut.alphabet, cut.units, len(cut.parts)) == (Alphabet.UCS2, 601, 9)
    assert "".join(decode(encode(part, cut.alphabet), 8) for part in cut.parts) == text
    without_emoji = text.replace("😀", "")
    euros = sum(character in EXTENSION for character in without_emoji)
    cut = segment(without_emoji)
    assert (cut.alphabet, cut.units, len(cut.parts)) == (Alphabet.GSM7, 599 + euros, 5)
    assert "".join(decode(encode(part, cut.alphabet), 0) for part in cut.parts) == without_emoji


def parts_fit_and_are_full(text: str) -> bool:
    cut = segment(text)
    alone = len(cut.parts) == 1
    limit = 140 if cut.alphabet is Alphabet.UCS2 else (160 if alone else 153)
    size = len(encode(text, cut.alphabet))
    assert "".join(cut.parts) == text
    assert cut.units == (size // 2 if cut.alphabet is Alphabet.UCS2 else size)
    assert alone == (size <= (140 if cut.alphabet is Alphabet.UCS2 else 160))
    for part in cut.parts:
        assert part or text == ""
        assert packed_octets(part, cut.alphabet, alone=alone) <= 140
        assert len(encode(part, cut.alphabet)) <= limit
    return True


@given(gsm_texts)
@example("€" * 700)
def test_gsm_parts_fit_and_are_as_full_as_they_can_be(text: str) -> None:
    assert parts_fit_and_are_full(text)
    parts = segment(text).parts
    for part, following in pairwise(parts):
        assert len(encode(part + following[0], Alphabet.GSM7)) > 153


@given(any_texts)
def test_parts_of_any_text_fit(text: str) -> None:
    assert parts_fit_and_are_full(text)


@given(st.lists(st.sampled_from(WHOLE), min_size=20, max_size=150))
@example([WHOLE[9]] * 40)
@example([WHOLE[11]] * 40)
@example(["ê", *[WHOLE[13]] * 40])
def test_no_part_ends_inside_what_a_reader_sees_as_one_character(characters: list[str]) -> None:
    text = "ê" + "".join(characters)
    seams = {1}
    for character in characters:
        seams.add(max(seams) + len(character))
    cut = segment(text)
    assert parts_fit_and_are_full(text)
    at = 0
    for part in cut.parts[:-1]:
        at += len(part)
        assert at in seams
        following = min(seam for seam in seams if seam > at)
        assert len((part + text[at:following]).encode("utf-16-be")) > 134


@pytest.mark.parametrize(
    "text",
    ["a" + "\u0301" * 200, "👨" + "\u200d👨" * 100, "\u0301" * 100, "\U0001f1eb\U0001f1f7" + "\u0301" * 150],
)
def test_a_character_longer_than_a_part_is_cut_between_code_points(text: str) -> None:
    assert parts_fit_and_are_full(text)
    assert all(len(part.encode("utf-16-be")) >= 132 for part in segment(text).parts[:-1])


def test_a_text_too_long_to_remember_is_cut_the_same() -> None:
    cut = segment("a€" * 6000)
    assert "".join(cut.parts) == "a€" * 6000
    assert (cut.units, len(cut.parts)) == (18000, 118)


# --- national languages, and operators' ways ---------------------------------------------------------------


PORTUGUESE = with_language(PLAIN, "portuguese")


@pytest.mark.parametrize(
    ("text", "cut", "alphabet", "lengths", "units"),
    [
        # 3GPP TS 23.040, 9.2.3.24: 4 octets of header leave 155 septets, 9 leave 149, 10 leave 148; 7 leave 152, or 66.
        ("ê" + "a" * 153, PORTUGUESE, Alphabet.GSM7_PORTUGUESE, [154], 155),
        ("ê" + "a" * 154, PORTUGUESE, Alphabet.GSM7_PORTUGUESE, [148, 7], 156),
        ("a" * 148 + "ê" + "a" * 100, PORTUGUESE, Alphabet.GSM7_PORTUGUESE, [148, 101], 250),
        ("ê" + "a" * 154, Cut(PORTUGUESE | WIDE), Alphabet.GSM7_PORTUGUESE, [147, 8], 156),
        ("ê" + "a" * 69, PORTUGUESE, Alphabet.UCS2, [70], 70),  # saves nothing
        ("ê" * 134, PORTUGUESE, Alphabet.UCS2, [67, 67], 134),  # likewise
        ("ê" * 135, PORTUGUESE, Alphabet.GSM7_PORTUGUESE, [74, 61], 270),
        ("î" + "a" * 100, PORTUGUESE, Alphabet.UCS2, [67, 34], 101),  # not in the table
        ("é" * 160, PORTUGUESE, Alphabet.GSM7, [160], 160),  # needs none
        ("ê" + "a" * 100, with_language(PLAIN, "spanish"), Alphabet.UCS2, [67, 34], 101),
        ("á" + "a" * 100, with_language(PLAIN, "spanish"), Alphabet.GSM7_SPANISH, [101], 102),
        ("ş" + "a" * 100, with_language(PLAIN, "turkish"), Alphabet.GSM7_TURKISH, [101], 102),
        ("a" * 160, WIDE, Alphabet.GSM7, [160], 160),
        ("a" * 305, WIDE, Alphabet.GSM7, [152, 152, 1], 305),
        ("ê" * 133, WIDE, Alphabet.UCS2, [66, 66, 1], 133),
        ("é[" * 50, LATIN_1, Alphabet.GSM7, [100], 150),
        ("€" + "a" * 100, LATIN_1, Alphabet.UCS2, [67, 34], 101),
        ("Ω", LATIN_1, Alphabet.UCS2, [1], 1),
        ("ê" + "a" * 100, with_language(BARE, "portuguese"), Alphabet.UCS2, [67, 34], 101),
    ],
)
def test_a_text_is_cut_as_its_account_and_its_operators_want_it(
    text: str, cut: Cut, alphabet: Alphabet, lengths: list[int], units: int
) -> None:
    seen = segment(text, cut)
    assert (seen.alphabet, [len(part) for part in seen.parts], seen.units) == (alphabet, lengths, units)
    assert "".join(seen.parts) == text


languages = st.sampled_from([None, "portuguese", "spanish", "turkish"])
mixed_texts = st.text(st.sampled_from([*GSM7, *"êçôâíóúãğışŞ"]), max_size=500)


@given(mixed_texts, languages, st.sampled_from([PLAIN, WIDE, LATIN_1, BARE, Cut(LATIN_1 | WIDE)]))
def test_any_text_comes_back_from_its_parts_however_it_is_cut(text: str, language: str | None, cut: Cut) -> None:
    cut = with_language(cut, language)
    seen = segment(text, cut)
    assert len(seen.parts) <= len(segment(text, Cut(cut & ~LANGUAGE)).parts)
    several = len(seen.parts) > 1
    wide = bool(cut & WIDE)
    of = seen.alphabet.language
    header = concatenation_header(0, 2, 1, wide=wide, language=of) if several else language_header(of)
    for part in seen.parts:
        octets = encode(part, seen.alphabet)
        assert (
            len(octets if seen.alphabet is Alphabet.UCS2 else gsm.pack(octets, header)[len(header) :]) + len(header)
            <= 140
        )
        assert decode(octets, 8 if seen.alphabet is Alphabet.UCS2 else 0, of) == part
    assert "".join(seen.parts) == text


# --- headers ---------------------------------------------------------------------------------------------


def test_a_header_is_that_of_the_standard() -> None:
    assert concatenation_header(0x2A, 3, 2) == bytes.fromhex("0500032a0302")
    assert concatenation_header(255, MAX_PARTS, MAX_PARTS) == bytes.fromhex("050003ffffff")
    assert concatenation_header(0x1234, 3, 2) == bytes.fromhex("06080412340302")
    assert concatenation_header(0x34, 3, 2, wide=True) == bytes.fromhex("06080400340302")
    assert concatenation_header(0x2A, 3, 2, language=3) == bytes.fromhex("0800032a0302240103")
    assert concatenation_header(0x2A, 3, 2, wide=True, language=1) == bytes.fromhex("090804002a0302240101")
    assert language_header(2) == bytes.fromhex("03240102")
    assert language_header(0) == b""


@pytest.mark.parametrize(
    ("reference", "total", "sequence"),
    [(0, 0, 0), (0, 1, 0), (0, 1, 2), (0, 256, 1), (-1, 2, 1), (0x10000, 2, 1)],
)
def test_an_impossible_header_is_refused(reference: int, total: int, sequence: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        concatenation_header(reference, total, sequence)


# --- what others send ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "data_coding", "text"),
    [
        (b"Oui \x1b\x65", 0x00, "Oui €"),
        (b"\x1b\x61", 0x00, "a"),  # no such extension: the basic table
        (b"\x1b\x0d", 0x00, "\r"),
        (b"Oui\x1b", 0x00, "Oui "),
        (b"\x1b\x1b\x65", 0x00, " €"),
        (b"\x1b", 0x00, " "),
        (b"", 0x00, ""),
        (b"R\xe9pondu", 0x00, "Répondu"),  # latin-1 passed for GSM
        (b"\x1b\xe9", 0x00, "é"),
        (b"@$_", 0x00, "¡¤§"),
        (b"@$_", 0x01, "@$_"),
        (b"caf\xe9", 0x01, "café"),
        (b"@\t\xe9", 0x01, "@\té"),
        (b"\x05t\x05 \x1be\r\n", 0x01, "été €\r\n"),  # GSM 03.38 passed for ASCII
        (b"l\x7f", 0x01, "là"),
        (b"caf\xe9", 0x03, "café"),
        (b"\x00\xff", 0x02, "\x00ÿ"),
        (b"\x00\xff", 0x04, "\x00ÿ"),
        (b"\xbf\xe0", 0x06, "Пр"),
        (b"\xf9\xec", 0x07, "של"),
        (b"\xb0\xa1", 0x0E, "가"),
        ("été 😀".encode("utf-16-be"), 0x08, "été 😀"),
        (b"\xfe\xff\x00A", 0x08, "A"),
        (b"\xff\xfeA\x00", 0x08, "A"),
        (b"\x00A\x00", 0x08, "A\ufffd"),
        (b"\xd8\x3d", 0x08, "\ufffd"),
        (b"", 0x08, ""),
        (b"\x05t\x05", 0x10, "été"),  # class 0, GSM
        (b"@", 0x15, "@"),  # class 1, octets
        (b"\x00\xe9", 0x18, "é"),  # class 0, UCS-2
        (b"\x05", 0x1C, "é"),  # reserved
        (b"@", 0x20, "@"),  # compressed
        (b"\x05", 0x40, "é"),
        (b"\x00\xe9", 0x59, "é"),
        (b"\x05", 0xA0, "é"),
        (b"\x05", 0xC8, "é"),
        (b"\x05", 0xD0, "é"),
        (b"\x00\xe9", 0xE0, "é"),
        (b"\x05", 0xF0, "é"),
        (b"\x05", 0xF2, "é"),
        (b"@", 0xF5, "@"),
    ],
)
def test_a_text_is_read_by_its_data_coding(octets: bytes, data_coding: int, text: str) -> None:
    assert decode(octets, data_coding) == text


@given(st.binary(max_size=200), st.integers(-1000, 1000))
@example(b"\x1b(J\x1b$B\x1b", 0x0A)
def test_no_octets_and_no_data_coding_make_decoding_fail(octets: bytes, data_coding: int) -> None:
    text = decode(octets, data_coding)
    text.encode("utf-8")
    assert len(text) <= len(octets)


def test_every_octet_has_a_reading_in_every_coding() -> None:
    octets = bytes(range(256))
    for data_coding in range(256):
        assert decode(octets, data_coding)
        assert decode(octets[::-1] + b"\x1b", data_coding)


# --- what no SMS can carry -------------------------------------------------------------------------------


def test_exactly_surrogates_noncharacters_and_controls_but_the_lines_ends_are_uncodable() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
        bad = noncharacter or (category(character) in {"Cc", "Cs"} and character not in "\n\r")
        assert (uncodable(character) is not None) == bad, hex(code)


def test_the_first_uncodable_character_is_told() -> None:
    assert uncodable("Bonjour\r\n 😀 é\u00a0\u200d") is None
    assert uncodable("") is None
    assert uncodable("a\x00\ud83d") == "\x00"
    assert uncodable("a\n\ud83d\x00") == "\ud83d"


@given(any_texts)
def test_a_codable_text_can_be_encoded(text: str) -> None:
    if uncodable(text) is None:
        cut = segment(text)
        assert all(encode(part, cut.alphabet) for part in cut.parts if part)


def test_the_byte_order_mark_at_the_start_of_a_reply_is_no_text() -> None:
    assert decode(codecs.BOM_UTF16_BE + "ê".encode("utf-16-be"), 8) == "ê"
