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

from chappe.core.gsm import Language
from chappe.core.optout import Mention, with_mention
from chappe.core.text import (
    BARE,
    LANGUAGE,
    LATIN_1,
    PLAIN,
    Alphabet,
    Cut,
    count_parts,
    encode,
    segment,
    uncodable,
    with_language,
)

CREDITS_A_PART = 1.0
"""The contract's `creditsUsed`, §4."""


class Why(Enum):
    """What is the matter with a character."""

    UNSENDABLE = "unsendable"
    """No SMS carries it: the text will be refused (31)."""
    FORCES_UCS2 = "forcesUcs2"
    """Not in GSM 03.38: a part then holds 70 characters instead of 160."""
    NEEDS_SHIFT = "needsShift"
    """In a national language table only: two septets, and a header in each part, which leaves 155 or 149 of them."""
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
class Shift:
    """The text as it is, with the table of a national language that the account does not use."""

    language: str
    parts: int


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
    shifts: tuple[Shift, ...] = ()
    """Those that save parts."""


def preview(text: str, mention: Mention | None = None, cut: Cut = PLAIN) -> Preview:
    """The text with the mention, which is put behind it unless it tells how to stop already.

    Never raises, whatever the text: more parts than may be sent, none, and what cannot be sent included.
    """
    bare, text = text, with_mention(text, mention)
    appended = None if mention is None or text == bare else Appended(mention, count_parts(bare, cut))
    segmented = segment(text, cut)
    costly = tuple(_find_costly(text, segmented.alphabet, cut))
    return Preview(
        segmented.alphabet,
        tuple(_place(segmented.parts, segmented.alphabet)),
        segmented.units,
        len(segmented.parts) * CREDITS_A_PART,
        costly,
        _cheapen(text, costly, len(segmented.parts), cut),
        appended,
        tuple(_find_shifts(text, len(segmented.parts), cut)),
    )


def _place(parts: tuple[str, ...], alphabet: Alphabet) -> Iterator[PreviewPart]:
    start = 0
    for part in parts:
        end = start + len(part)
        yield PreviewPart(start, end, _units(part, alphabet), part)
        start = end


def _units(part: str, alphabet: Alphabet) -> int:
    if alphabet is not Alphabet.UCS2:
        return len(encode(part, alphabet))
    return sum(2 if character > "\uffff" else 1 for character in part)


def _find_costly(text: str, alphabet: Alphabet, cut: Cut) -> Iterator[Costly]:
    """What forces UCS-2 or a shift; only without such are two septets dearer than one."""
    dear = Why.FORCES_UCS2 if alphabet is Alphabet.UCS2 else Why.NEEDS_SHIFT
    for found in _CHARACTER.finditer(text):
        character = found[0]
        if uncodable(character) is not None:
            yield Costly(found.start(), character, Why.UNSENDABLE, None)
        elif not _septets(character) or (cut & LATIN_1 and alphabet is Alphabet.UCS2 and character > "\xff"):
            yield Costly(found.start(), character, dear, None if _septets(character) else _suggest(character))
        elif alphabet is not Alphabet.UCS2 and _septets(character) == 2:
            yield Costly(found.start(), character, Why.COSTS_TWO, None)


_CHARACTER = re.compile(".[\u0300-\u036f\ufe0f]*", re.DOTALL)
"""Mac OS writes é as e and a mark."""


def _find_shifts(text: str, parts: int, cut: Cut) -> Iterator[Shift]:
    if cut & BARE:
        return
    for language in Language:
        if language and language != cut & LANGUAGE:
            shifted = count_parts(text, with_language(cut, language.name))
            if shifted < parts:
                yield Shift(language.name.lower(), shifted)


def _cheapen(text: str, costly: tuple[Costly, ...], parts: int, cut: Cut) -> Cheaper | None:
    pieces, at = [], 0
    for one in costly:
        if one.instead is not None:
            pieces += [text[at : one.start], one.instead]
            at = one.start + len(one.text)
    cheaper = "".join((*pieces, text[at:]))
    cheaper_parts = count_parts(cheaper, cut)
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
