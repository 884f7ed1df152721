"""The way out in every marketing text: the STOP mention, what it costs, and STOPs that an operator keeps to itself.

What people write back is read in `replies`; who must not be written to is decided in `rules`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import NewType

from chappe.core.errors import Invalid
from chappe.core.message import Family, Settings
from chappe.core.text import Alphabet, count_parts, encode

Mention = NewType("Mention", str)
"""A line that tells how to stop; valid because it exists. An account without one (None) writes it itself, or lets its
operator append it."""

LONGEST_MENTION = 60

_MARKETING = Family.MARKETING
"""Asked at each send, and a member of an enumeration costs ten times as much by its full name, in CPython 3.11."""


# --- the mention ---------------------------------------------------------------------------------------


def mention_of(short_code: str) -> Mention:
    """The usual mention for an account's short code (36xxx). Raises Invalid 1001."""
    if not re.fullmatch("[0-9]{4,6}", short_code):
        raise Invalid(1001, "stopShortCode")
    return Mention(f"STOP au {short_code}")


def parse_mention(raw: str) -> Mention:
    """An account's own mention. Raises Invalid 1001 unless `has_mention` sees it as one, and it is cheap to carry.

    Cheap: short, and in GSM 03.38, so that it never changes the alphabet of a text.
    """
    mention = raw.strip()
    try:
        encode(mention, Alphabet.GSM7)
    except ValueError:
        raise Invalid(1001, "stopMention") from None
    if len(mention) > LONGEST_MENTION or "${" in mention or not has_mention(mention):
        raise Invalid(1001, "stopMention")
    return Mention(mention)


def read_mention(raw: str) -> Mention:
    """A short code as its usual mention, anything else as an account's own. Raises Invalid 1001."""
    return mention_of(raw) if re.fullmatch("[0-9]+", raw) else parse_mention(raw)


def mention_for(settings: Settings, family: Family, installation: Mention | None) -> Mention | None:
    """What the account wants behind its texts of this family: its own mention, else the installation's; only marketing
    has one."""
    if family is not _MARKETING:
        return None
    return installation if settings.stop_mention is None else Mention(settings.stop_mention) or None


def with_mention(text: str, mention: Mention | None) -> str:
    """The text with the mention at its end, or unchanged when it tells how to stop already.

    For a campaign: applied to the text with its placeholders, so that no contact's value passes for a mention.
    """
    if mention is None or has_mention(text):
        return text
    space = "" if not text or text[-1].isspace() else " "
    return text + space + mention


def mention_cost(text: str, mention: Mention | None) -> tuple[int, int]:
    """The text's parts without the mention and with it."""
    return count_parts(text), count_parts(with_mention(text, mention))


def has_mention(text: str) -> bool:
    """Whether the text tells how to stop: STOP with an address to send it to, or the request to answer STOP.

    In doubt no: a second mention costs a few characters, a missing one is against the law (CPCE L34-5). So neither
    the word alone, nor a link, counts.
    """
    return _MENTION.search(_plain(text)) is not None


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


# Characters are possessive, so that a text of blanks does not cost its length squared; groups are not, because Python
# before 3.11.4 then loses its place when the last round fails half-way.
_STOP = r"(?<!\w)(?<!\w-)stop(?:\s*+(?:sms|mms|pubs?|spams?|promos?))*"
_CODE = "[0-9]{2} ?(?:[0-9]{2,4}|[x*]{3})(?![0-9])"
_MENTION = re.compile(
    "|".join(
        (
            # STOP au 36111 · STOP SMS : 36 111 · STOPSMS36111 · stop=36xxx. France's short codes of this kind begin
            # with 3: "STOP : 20000 articles" is none.
            rf"{_STOP}[\s:=>.,()«»\"'-]*+3(?:[0-9] ?[0-9]{{3}}|[0-9][x*]{{3}})(?![0-9])",
            # envoyez STOP par SMS au 36111 · STOP to 88500: with such a word any short code is one.
            rf"{_STOP}[\s:«»\"']*+(?:(?:par|by) sms\s*+)?(?:au|a|to)\b\s*+:?\s*+{_CODE}",
            # Répondez STOP · Rep. STOP · reply with STOP
            r"\b(?:repond(?:re|s|ez)|rep|reply|respond)[\s:.-]*+(?:(?:par|avec|with|by|sms)\s++)*[«\"'\s]*+stop(?!\w)",
            # no pub=STOP · désabonnement : STOP · Unsub? STOP
            r"\b(?:pubs?|desabo\w*+|desinscri\w*+|unsub\w*+|opt[ -]?out)\s*+[:=>?-]++\s*+[«\"'\s]*+stop(?!\w)",
            # STOP par retour de SMS · STOP en réponse · STOP to opt out
            rf"{_STOP} (?:(?:par|en) (?:retour|reponse)|to (?:unsub|opt|end|stop|quit|cancel))",
        )
    )
)


# --- STOPs that the operator keeps -----------------------------------------------------------------------


def is_operator_stop(detail: str, codes: Collection[str]) -> bool:
    """Whether a failed receipt's `detail` (`undelivered:053`, as `receipts` writes it) carries one of the codes.

    Operators that own the short code take the STOP themselves; all we see is a failed receipt with a code of theirs,
    which the connector's settings name, without leading zeros here.
    """
    code = detail.partition(":")[2]
    return code.lstrip("0") in codes
