"""What a text will be as an SMS, before it is sent: parts, price, and the very characters that raise it.

Suggestions are suggestions: no text is ever changed on its way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from chappe.core.optout import Mention, with_mention
from chappe.core.text import Alphabet, count_parts, encode, segment, uncodable

CREDITS_A_PART = 1.0
"""The contract's `creditsUsed`, §4."""


class Why(Enum):
    """What is the matter with a character."""

    UNSENDABLE = "unsendable"
    """No SMS carries it: the text will be refused (31)."""
    FORCES_UCS2 = "forcesUcs2"
    """Not in GSM 03.38: a part then holds 70 characters instead of 160."""
    COSTS_TWO = "costsTwo"
    """In the extension table of GSM 03.38: two septets."""


@dataclass(slots=True, frozen=True)
class Costly:
    """One character as a reader sees it (marks behind their letter included), and what could stand there instead."""

    start: int
    text: str
    why: Why
    instead: str | None
    """Cheap and nearly the same; empty for what nobody sees anyway; None where we know nothing."""


@dataclass(slots=True, frozen=True)
class PreviewPart:
    start: int
    end: int
    units: int
    """Septets or 16-bit units."""
    text: str


@dataclass(slots=True, frozen=True)
class Cheaper:
    """The text with every suggestion taken."""

    text: str
    parts: int


@dataclass(slots=True, frozen=True)
class Appended:
    """The STOP mention that the text did not have."""

    text: str
    parts: int
    """Of the text without it."""


@dataclass(slots=True, frozen=True)
class Preview:
    """Positions count code points, as Python does; JavaScript counts characters beyond U+FFFF twice."""

    alphabet: Alphabet
    parts: tuple[PreviewPart, ...]
    units: int
    credits: float
    costly: tuple[Costly, ...]
    cheaper: Cheaper | None
    """None unless it saves a part."""
    mention: Appended | None = None


def preview(text: str, mention: Mention | None = None) -> Preview:
    """The text with the mention, which is put behind it unless it tells how to stop already.

    Never raises, whatever the text: more parts than may be sent, none, and what cannot be sent included.
    """
    bare, text = text, with_mention(text, mention)
    appended = None if mention is None or text == bare else Appended(mention, count_parts(bare))
    segmented = segment(text)
    costly = tuple(_find_costly(text, segmented.alphabet))
    return Preview(
        segmented.alphabet,
        tuple(_place(segmented.parts, segmented.alphabet)),
        segmented.units,
        len(segmented.parts) * CREDITS_A_PART,
        costly,
        _cheapen(text, costly, len(segmented.parts)),
        appended,
    )


def _place(parts: tuple[str, ...], alphabet: Alphabet) -> Iterator[PreviewPart]:
    start = 0
    for part in parts:
        end = start + len(part)
        yield PreviewPart(start, end, _units(part, alphabet), part)
        start = end


def _units(part: str, alphabet: Alphabet) -> int:
    if alphabet is Alphabet.GSM7:
        return len(encode(part, alphabet))
    return sum(2 if character > "\uffff" else 1 for character in part)


def _find_costly(text: str, alphabet: Alphabet) -> Iterator[Costly]:
    """In UCS-2 what forces it; only without such are two septets dearer than one."""
    for found in _CHARACTER.finditer(text):
        character = found[0]
        if uncodable(character) is not None:
            yield Costly(found.start(), character, Why.UNSENDABLE, None)
        elif alphabet is Alphabet.UCS2 and not _septets(character):
            yield Costly(found.start(), character, Why.FORCES_UCS2, _suggest(character))
        elif alphabet is Alphabet.GSM7 and _septets(character) == 2:
            yield Costly(found.start(), character, Why.COSTS_TWO, None)


_CHARACTER = re.compile(".[\u0300-\u036f\ufe0f]*", re.DOTALL)
"""Mac OS writes é as e and a mark."""


def _cheapen(text: str, costly: tuple[Costly, ...], parts: int) -> Cheaper | None:
    pieces, at = [], 0
    for one in costly:
        if one.instead is not None:
            pieces += [text[at : one.start], one.instead]
            at = one.start + len(one.text)
    cheaper = "".join((*pieces, text[at:]))
    cheaper_parts = count_parts(cheaper)
    return Cheaper(cheaper, cheaper_parts) if cheaper_parts < parts else None


# --- suggestions ---------------------------------------------------------------------------------------

SUGGESTIONS: Mapping[str, str] = {
    **dict.fromkeys("’‘‛′´`", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‹›", "'"),
    **dict.fromkeys("–—‑‐‒−•·", "-"),
    **dict.fromkeys(map(chr, (0xA0, 0x2007, 0x2009, 0x202F, 0x3000, *range(0x2002, 0x2007), 0x2008, 0x200A)), " "),
    **dict.fromkeys(map(chr, (0xAD, 0x200B, 0x2060, 0xFEFF)), ""),
    "‚": ",",
    "…": "...",
    "œ": "oe",
    "Œ": "OE",
    "°": "o",
    "º": "o",
    "ª": "a",
    "×": "x",
    "÷": "/",
    "™": "TM",
    "©": "(c)",
    "®": "(R)",
    "½": "1/2",
    "¼": "1/4",
    "¾": "3/4",
    "²": "2",
    "³": "3",
    "\u2028": "\n",
    "\u2029": "\n",
}
"""What word processors and French keyboards put in. Letters with marks that GSM 03.38 lacks (ê, ç, ô, À) are not here:
they lose their marks."""


def _suggest(character: str) -> str | None:
    """The same with its marks composed, if GSM 03.38 has that; else from the table; else the letter without marks."""
    composed = unicodedata.normalize("NFC", character)
    if _septets(composed):
        return composed
    if composed in SUGGESTIONS:
        return SUGGESTIONS[composed]
    letter = unicodedata.normalize("NFD", composed)[0]
    return letter if letter.isalpha() and _septets(letter) else None


@lru_cache(maxsize=4096)
def _septets(characters: str) -> int:
    """0 when GSM 03.38 lacks one of them."""
    try:
        return len(encode(characters, Alphabet.GSM7))
    except ValueError:
        return 0
