"""Texts as an SMS carries them: the alphabet, the parts, the octets, and back from the octets of others.

Nothing is ever replaced: a text goes out in GSM 03.38 when that has all its characters and in UCS-2 otherwise. Where
an account wants it, a national single shift table stands in for UCS-2 if that makes fewer parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NewType
from unicodedata import category

from chappe.core import gsm
from chappe.core.gsm import Language

MAX_PARTS = 255
"""A concatenation header counts in one octet (3GPP TS 23.040, 9.2.3.24.1)."""


class Alphabet(Enum):
    GSM7 = "GSM7", Language.DEFAULT
    GSM7_TURKISH = "GSM7_TURKISH", Language.TURKISH
    GSM7_SPANISH = "GSM7_SPANISH", Language.SPANISH
    GSM7_PORTUGUESE = "GSM7_PORTUGUESE", Language.PORTUGUESE
    UCS2 = "UCS2", Language.DEFAULT

    language: Language
    """Whose single shift table it takes; each part has to say so in its header."""

    def __new__(cls, value: str, language: Language) -> Alphabet:
        alphabet = object.__new__(cls)
        alphabet._value_ = value
        alphabet.language = language
        return alphabet


_SHIFTED = {alphabet.language: alphabet for alphabet in Alphabet if alphabet.language}

Cut = NewType("Cut", int)
"""How a text is to be cut: a `Language` and these bits. Decided when a message is accepted and kept with it, because
its parts are counted then, and have to be the same parts whenever and through whichever connector they leave."""
PLAIN = Cut(0)
LANGUAGE = 0x0F
"""The bits of the national language."""
WIDE = Cut(0x10)
"""Its parts have 16-bit references, which take an octet more."""
LATIN_1 = Cut(0x20)
"""The operator is sent latin-1, and makes GSM 03.38 of it: what only the latter has (€, Greek) takes UCS-2."""
WHOLE = Cut(0x40)
"""It leaves in one piece, and the operator cuts it."""
BARE = Cut(0x80)
"""No headers of ours reach the phone, and so no national language table."""


def with_language(cut: Cut, language: str | None) -> Cut:
    """The same with the table of this language (`portuguese`), if headers reach the phone."""
    return cut if language is None or cut & BARE else Cut(cut & ~LANGUAGE | Language[language.upper()])


@dataclass(slots=True, frozen=True)
class Segmented:
    """A text cut into what each SMS carries; `"".join(parts)` is the text."""

    alphabet: Alphabet
    parts: tuple[str, ...]
    units: int
    """Septets (GSM7) or 16-bit units (UCS2) of the whole text."""


def segment(text: str, cut: Cut = PLAIN) -> Segmented:
    """The text's alphabet and parts: 160 septets or 70 units alone, 153 or 67 a part of several.

    Less where the header is longer (`_room`). Each part takes as much as fits and never ends inside an escape pair, a
    surrogate pair or what a reader sees as one character (see `_joined`), unless that alone is longer than a part.
    More than MAX_PARTS is the caller's to refuse. The empty text is one empty part.
    """
    return _segment_remembered(text, cut) if len(text) <= _REMEMBERED_LENGTH else _segment(text, cut)


def count_parts(text: str, cut: Cut = PLAIN) -> int:
    return len(segment(text, cut).parts)


def encode(text: str, alphabet: Alphabet) -> bytes:
    """The octets for `short_message`. Raises ValueError when the alphabet lacks a character.

    GSM7: one septet an octet, characters of the extension or single shift table behind 0x1B. UCS2: UTF-16-BE.
    """
    if alphabet is Alphabet.UCS2:
        return text.encode("utf-16-be")
    septets = gsm.septets(text, alphabet.language)
    if septets is None:
        raise ValueError("a character is not in the GSM 03.38 alphabet")
    return septets


def concatenation_header(
    reference: int, total: int, sequence: int, *, wide: bool = False, language: int = Language.DEFAULT
) -> bytes:
    """The user data header of one part, its length octet included (3GPP TS 23.040, 9.2.3.24.1, .8 and .15).

    References are written with 16 bits where asked for, and where they are above 255. Raises ValueError outside these
    ranges.
    """
    if not 1 <= sequence <= total <= MAX_PARTS:
        raise ValueError(f"no part {sequence} of {total}")
    wide = wide or reference > 0xFF
    place = bytes((8, 4) if wide else (0, 3)) + reference.to_bytes(2 if wide else 1, "big") + bytes((total, sequence))
    elements = place + _language_element(language)
    return bytes((len(elements),)) + elements


def language_header(language: int) -> bytes:
    """The header of a text that is alone and needs this language's single shift table; none for the default's."""
    element = _language_element(language)
    return bytes((len(element),)) + element if element else b""


def uncodable(text: str) -> str | None:
    """The first character no SMS should carry, or None.

    Lone surrogates have no encoding, noncharacters no meaning; controls other than the line's ends are
    refused because receivers show them as anything or nothing (form feed too, although GSM 03.38 has it).
    """
    if text.replace("\n", "").replace("\r", "").isprintable():
        return None  # most texts; the search takes 20 times as long
    found = _UNCODABLE.search(text)
    return found[0] if found else None


def decode(octets: bytes, data_coding: int, single: int = 0, locking: int = 0) -> str:
    """The text of an incoming message; never raises, however wrong its `data_coding` is.

    SMPP 3.4 §5.2.19, and the coding groups of 3GPP TS 23.038 §4 above it; `single` and `locking` are the national
    language identifiers of its header. GSM 03.38 is expected unpacked. Its octets above 0x7F are no septets: they are
    read as latin-1, which is what senders of such mean. Octets of no known meaning (binary, compressed) come as
    latin-1 too, so that none is lost.
    """
    charset = _charset(data_coding & 0xFF)
    if charset == _GSM or (data_coding & 0xFF == _IA5 and are_septets(octets)):
        return gsm.read(octets, single, locking)
    if charset == _UTF_16 and octets[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return octets.decode("utf-16", "replace")  # some handsets write a byte order mark, and may mean it
    return octets.decode(charset, "replace")


def are_septets(octets: bytes) -> bool:
    """Whether what is said to be ASCII is GSM 03.38: it has octets that are controls there, and letters here.

    Clients of node-smpp, unless told otherwise, call their GSM 03.38 so.
    """
    return octets.isascii() and _CONTROLS.search(octets) is not None


def is_gsm(data_coding: int) -> bool:
    """Whether this means GSM 03.38, which some operators pack."""
    return _charset(data_coding & 0xFF) == _GSM


def is_latin_1(text: str) -> bool:
    return text.isascii() or max(text) <= "\xff"


def _language_element(language: int) -> bytes:
    return bytes((0x24, 1, language)) if language else b""


# --- the parts -----------------------------------------------------------------------------------------

_OCTETS_IN_AN_SMS = 140

_REMEMBERED_LENGTH = 1000
"""Longer texts are cut afresh each time: the memory held must not depend on what people send."""


def _segment(text: str, cut: Cut) -> Segmented:
    septets = gsm.septets(text)
    if septets is not None and not (cut & LATIN_1 and not is_latin_1(text)):
        return _cut_septets(text, septets, Alphabet.GSM7, cut)
    segmented = _cut_units(text, cut)
    language = cut & LANGUAGE
    if language and len(segmented.parts) > 1:
        alphabet = _SHIFTED[Language(language)]
        septets = gsm.septets(text, alphabet.language)
        if septets is not None:
            shifted = _cut_septets(text, septets, alphabet, cut)
            # When it saves nothing, the alphabet that every phone knows.
            return min(segmented, shifted, key=lambda one: len(one.parts))
    return segmented


_segment_remembered = lru_cache(maxsize=2048)(_segment)


@lru_cache
def _room(alphabet: Alphabet, wide: int) -> tuple[int, int]:
    """Units of a text alone, and of each part of several: what is left of 140 octets behind the header.

    Septets begin at a border of their own behind it: 140 octets hold 160, and 153 behind 6 octets and a fill bit.
    """
    alone = len(language_header(alphabet.language))
    several = len(concatenation_header(0, 2, 1, wide=bool(wide), language=alphabet.language))
    bits = 16 if alphabet is Alphabet.UCS2 else 7
    return (_OCTETS_IN_AN_SMS - alone) * 8 // bits, (_OCTETS_IN_AN_SMS - several) * 8 // bits


def _cut_septets(text: str, septets: bytes, alphabet: Alphabet, cut: Cut) -> Segmented:
    alone, room = _room(alphabet, cut & WIDE)
    if len(septets) <= alone:
        return Segmented(alphabet, (text,), len(septets))
    parts = []
    start = first = 0
    while first < len(septets):
        last = min(first + room, len(septets))
        if septets[last - 1] == 0x1B:
            last -= 1
        end = start + last - first - septets.count(0x1B, first, last)
        parts.append(text[start:end])
        start, first = end, last
    return Segmented(alphabet, tuple(parts), len(septets))


def _cut_units(text: str, cut: Cut) -> Segmented:
    alone, room = _room(Alphabet.UCS2, cut & WIDE)
    units = _units(text)
    if units <= alone:
        return Segmented(Alphabet.UCS2, (text,), units)
    parts = []
    start = 0
    while start < len(text):
        reach = end = _reach(text, start, room)
        while start < end < len(text) and _joined(text, start, end):
            end -= 1
        if end == start:
            end = reach  # one character of the reader's fills more than a part
        parts.append(text[start:end])
        start = end
    return Segmented(Alphabet.UCS2, tuple(parts), units)


def _units(text: str) -> int:
    return len(text.encode("utf-16-be", "surrogatepass")) // 2


def _reach(text: str, start: int, room: int) -> int:
    """The end of the longest run of code points from `start` that fits a part."""
    end = min(start + room, len(text))
    while (excess := _units(text[start:end]) - room) > 0:
        end -= (excess + 1) // 2  # none has more than two units, so at least that many must go
    return end


_ZERO_WIDTH_JOINER = "\u200d"

_REGIONAL = frozenset(map(chr, range(0x1F1E6, 0x1F200)))
"""Two of them make a flag."""

_EXTENDERS = frozenset(
    map(
        chr,
        (
            0x200C,  # zero width non-joiner
            0x200D,  # zero width joiner
            *range(0x1160, 0x1200),  # Hangul vowels and finals behind their consonant
            *range(0xFF9E, 0xFFA0),  # half-width voicing marks
            *range(0x1F3FB, 0x1F400),  # skin tones
            *range(0xE0020, 0xE0080),  # tags: the flags of England, Scotland, Wales
        ),
    )
)
"""What continues the character before it without being a mark by category."""


def _joined(text: str, start: int, at: int) -> bool:
    """Whether a reader sees the code points on both sides of `at` as one character; `start` is a part's.

    The part of Unicode's grapheme clusters (UAX #29) that people type: marks (variation selectors and keycaps
    are such), joiners, skin tones, tags, pairs of regional indicators, Hangul in pieces.
    """
    behind, ahead = text[at - 1], text[at]
    if ahead in _EXTENDERS or category(ahead)[0] == "M" or behind == _ZERO_WIDTH_JOINER:
        return True
    if ahead not in _REGIONAL:
        return False
    first = at
    while first > start and text[first - 1] in _REGIONAL:
        first -= 1
    return (at - first) % 2 == 1


# --- what others send ----------------------------------------------------------------------------------

_GSM, _UTF_16, _OCTETS = "gsm", "utf-16-be", "latin-1"
_IA5 = 0x01
_CONTROLS = re.compile(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")
"""Those of ASCII, without the ends of lines, which are the same in GSM 03.38."""

_SMPP_CHARSETS = {
    0x00: _GSM,
    _IA5: _OCTETS,
    0x03: "latin-1",
    0x06: "iso8859-5",
    0x07: "iso8859-8",
    0x08: _UTF_16,
    0x0A: "iso2022-jp",
    0x0E: "euc-kr",
}
"""SMPP 3.4 §5.2.19. What is missing is binary, or has no agreed encoding (JIS, pictograms)."""

_GROUP_CHARSETS = (_GSM, _OCTETS, _UTF_16, _GSM)
"""3GPP TS 23.038 §4, bits 3 and 2 of the general groups; 11 is reserved, and reserved means GSM 03.38."""


def _charset(data_coding: int) -> str:
    match data_coding >> 4:
        case 0x0:
            return _SMPP_CHARSETS.get(data_coding, _OCTETS)
        case 0x1 | 0x4 | 0x5:  # with a class; deleted after reading
            return _GROUP_CHARSETS[data_coding >> 2 & 3]
        case 0x2 | 0x3 | 0x6 | 0x7:
            return _OCTETS  # compressed
        case 0xE:
            return _UTF_16  # message waiting, in UCS-2
        case 0xF:
            return _OCTETS if data_coding & 4 else _GSM  # with a class
        case _:
            return _GSM  # reserved; message waiting


_UNCODABLE = re.compile(
    "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
