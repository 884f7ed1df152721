"""Reads delivery receipts: which message, what became of it, and one short word why.

Does not match a receipt with its attempt (the store does, by id) and knows no operator by name: a connector
whose operator uses its own error codes passes its own table.

SMPP 3.4 appendix B gives the text as a *typical example* only, so fields may be missing, reordered, or spelt
otherwise. The TLVs of a receipt (5.3.2.12 receipted_message_id, .31 network_error_code, .35 message_state) say the
same things in a fixed form, and win.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from chappe.core.message import Verdict

WEEK_MS = 7 * 24 * 3_600_000
"""How long carrier ids, early receipts and idempotency answers are kept."""


@dataclass(slots=True)
class Receipt:
    """What an operator says of one submit.

    `verdict` is None for an intermediate or unintelligible receipt, which is only logged. `detail` is a word for
    programs, of a failure with the network's code where there is one: `delivered`, `expired`, `undelivered:027`,
    `notAssigned:001`, `rejected:11`; `unread`, or `unread:WORD`, where no table knows what was said.
    """

    carrier_id: str
    verdict: Verdict | None
    detail: str


STATS: Mapping[bytes, tuple[Verdict | None, str]] = {
    # SMPP 3.4, appendix B; ENROUTE is in 5.2.28 only, but operators send it (8x8 lists it).
    b"DELIVRD": (Verdict.DELIVERED, "delivered"),
    b"EXPIRED": (Verdict.EXPIRED, "expired"),
    b"DELETED": (Verdict.FAILED, "deleted"),
    b"UNDELIV": (Verdict.FAILED, "undelivered"),
    b"ACCEPTD": (None, "accepted"),
    b"UNKNOWN": (None, "unknown"),
    b"REJECTD": (Verdict.FAILED, "rejected"),
    b"ENROUTE": (None, "enroute"),
    # SMPP 5.0, table 4-50: queued for later; accepted but never transmitted.
    b"SCHEDULED": (None, "scheduled"),
    b"SKIPPED": (Verdict.FAILED, "skipped"),
    # The same words written out (seven.io and Sinch list them so), or cut to seven letters elsewhere.
    b"DELIVERED": (Verdict.DELIVERED, "delivered"),
    b"DELIVER": (Verdict.DELIVERED, "delivered"),
    b"UNDELIVERABLE": (Verdict.FAILED, "undelivered"),
    b"UNDELIVERED": (Verdict.FAILED, "undelivered"),
    b"UNDELIVRD": (Verdict.FAILED, "undelivered"),
    b"NOTDELIVERED": (Verdict.FAILED, "undelivered"),
    b"ACCEPTED": (None, "accepted"),
    b"REJECTED": (Verdict.FAILED, "rejected"),
    b"REJECT": (Verdict.FAILED, "rejected"),
    b"TRANSMITTED": (None, "enroute"),
    # Kannel's SMPP driver takes these for "buffered" (gw/smsc/smsc_smpp.c).
    b"ACKED": (None, "accepted"),
    b"BUFFRED": (None, "buffered"),
    b"BUFFERD": (None, "buffered"),
    b"BUFFERED": (None, "buffered"),
    # Mobizon's table: not sent yet; queued; some segments of the message delivered, the rest to come.
    b"NEW": (None, "scheduled"),
    b"ENQUEUD": (None, "scheduled"),
    b"PDLIVRD": (None, "enroute"),
    # MailUp's table: refused at once by the operator; cannot be delivered.
    b"NACK": (Verdict.FAILED, "rejected"),
    b"FAILED": (Verdict.FAILED, "failed"),
}
"""What each word after `stat:` means, upper case."""

MESSAGE_STATES: Mapping[int, tuple[Verdict | None, str]] = {
    # SMPP 3.4, 5.2.28; 9 is SMPP 5.0, table 4-50. Its 0 (scheduled) is left out: 3.4 peers mean "not filled in" by it.
    1: STATS[b"ENROUTE"],
    2: STATS[b"DELIVRD"],
    3: STATS[b"EXPIRED"],
    4: STATS[b"DELETED"],
    5: STATS[b"UNDELIV"],
    6: STATS[b"ACCEPTD"],
    7: STATS[b"UNKNOWN"],
    8: STATS[b"REJECTD"],
    9: STATS[b"SKIPPED"],
}
"""What the message_state TLV means; a number that is not here leaves the word to the text."""

NOT_ASSIGNED: Collection[str] = frozenset({"1", "9"})
"""GSM MAP errors (3GPP TS 29.002, 17.6) that mean "nobody has this number", without leading zeros.

1 unknownSubscriber: the home register does not know the number. 9 illegalSubscriber: the SIM is shut out for good.
Not 5 unidentifiedSubscriber: the visited switch has lost the person, and a new look-up finds them (Infobip's table
marks 1 and 9 permanent, 5 not). Not 6 and 27 absentSubscriber, nor 11 and 13 (no SMS service, barred): somebody has
that number. The list stays this short because a number on it is not written to any more.

The code after `err:` is the operator's own affair (appendix B). Most pass the MAP error on; those who do not (with
Twilio and 8x8 1 is "absent", with Twilio 5 is "unknown") need a table of their own.
"""

GSM = 3
"""network_error_code, first octet: the code is a GSM one (SMPP 3.4, 5.3.2.31)."""

LONGEST_ID = 255
"""SMPP allows 64 octets; some operators more; nobody this many."""

LONGEST_NUMERIC_ID = 20
"""Decimal digits of 2^64: a longer id is not a counter written in another base."""

MOST_FORMS = 8

WIDEST_PADDING = 32
"""Octets to which zeros may have filled an id up, where an operator is known to do so."""


class IdForm(Enum):
    """How an operator's receipts write the id that its answer gave."""

    SAME = "same"
    CASE = "case"
    """In capitals, or in small letters."""
    ZEROS = "zeros"
    """With more or fewer zeros in front."""
    DASHES = "dashes"
    """With or without them."""
    DECIMAL = "decimal"
    """In decimal, and the answer was hexadecimal."""
    HEXADECIMAL = "hexadecimal"
    """In hexadecimal, and the answer was decimal."""


def read_receipt(
    text: bytes,
    *,
    receipted_message_id: bytes | None,
    message_state: int | None,
    network_error_code: bytes | None,
    not_assigned: Collection[str] = NOT_ASSIGNED,
) -> Receipt | None:
    """Reads the text of a receipt and its TLVs; None when no message id is in either. Never raises.

    `not_assigned` is the connector's table for the code after `err:`, without leading zeros; a code in the TLV that
    calls itself GSM is always read as MAP. Only a plain failure (UNDELIV, FAILED) becomes NOT_ASSIGNED: the codes of
    a rejection are the message centre's own.
    """
    carrier_id = _tlv_id(receipted_message_id) if receipted_message_id else ""
    said = MESSAGE_STATES.get(message_state) if message_state is not None else None
    if carrier_id and said is not None and said[0] is Verdict.DELIVERED:
        return Receipt(carrier_id, *said)

    text_id, stat, err = _fields(text)
    if not (text_id or carrier_id) and b"\0" in text:
        # Some operators write their receipts in UCS-2.
        text_id, stat, err = _fields(text.replace(b"\0", b""))
    carrier_id = carrier_id or text_id.decode("latin-1")
    if not carrier_id:
        return None

    verdict, word = said or STATS.get(stat.upper()) or (None, _detail("unread", stat.upper().decode("ascii")))
    code, known = err.decode("ascii"), not_assigned
    if network_error_code is not None and len(network_error_code) == 3 and any(network_error_code[1:]):
        code = f"{int.from_bytes(network_error_code[1:], 'big'):03d}"
        known = NOT_ASSIGNED if network_error_code[0] == GSM else ()
    return Receipt(carrier_id, *_with_code(verdict, word, code, known))


def read_state(
    message_state: int, error_code: int, *, not_assigned: Collection[str] = NOT_ASSIGNED
) -> tuple[Verdict | None, str]:
    """Verdict and detail, as of a `Receipt`, in what an operator says when it is asked (SMPP 3.4, 4.8.2).

    `error_code` is one octet, read as the code after `err:` is; 0 says nothing.
    """
    verdict, word = MESSAGE_STATES.get(message_state, (None, "unread"))
    return _with_code(verdict, word, f"{error_code:03d}", not_assigned)


def id_forms(carrier_id: str) -> tuple[str, ...]:
    """Other ways to write this id, likeliest first, at most 8, without the id itself.

    Operators answer a submit with one spelling and send the receipt with another: decimal for hexadecimal, zeros
    added or lost, another case, dashes dropped. A form is the same number under one reading of the id, or the same
    letters; never a look-alike. A caller tries the id as received first, and believes a form only if something
    else, such as the recipient, agrees. Of zero padding only the usual widths are tried.
    """
    if not carrier_id.isascii():
        return ()
    forms = dict.fromkeys(_forms(carrier_id))
    forms.pop(carrier_id, None)
    return tuple(forms)[:MOST_FORMS]


def form_of(given: str, reported: str) -> IdForm | None:
    """How `reported` writes the id `given`; None when it is another id."""
    if given == reported:
        return IdForm.SAME
    one, other = given.lower(), reported.lower()
    if one == other:
        return IdForm.CASE
    one, other = one.removeprefix("0x"), other.removeprefix("0x")
    if one.lstrip("0") == other.lstrip("0"):
        return IdForm.ZEROS
    if one.replace("-", "") == other.replace("-", ""):
        return IdForm.DASHES
    if _is_hex_of(one, other):
        return IdForm.DECIMAL
    return IdForm.HEXADECIMAL if _is_hex_of(other, one) else None


def given_in(form: IdForm, reported: str) -> tuple[str, ...]:
    """The ids that may have been given, if receipts are known to write them in this form."""
    if form is IdForm.SAME:
        return (reported,)
    forms = id_forms(reported)
    if form is IdForm.ZEROS:
        bare = reported.lstrip("0")
        spellings = dict.fromkeys((bare, bare.lower(), bare.upper()))
        forms = tuple(one.zfill(width) for one in spellings for width in range(len(bare), WIDEST_PADDING + 1))
    return tuple(given for given in forms if given and form_of(given, reported) is form)


# --- below: how it is done ---------------------------------------------------------------------------

_PROVEN_FAILURES = (Verdict.FAILED, Verdict.NOT_ASSIGNED)

_REFINED = ("undelivered", "failed")

_LONGEST_CODE = 10

_USUAL = re.compile(
    rb"id:([^\s:,;|\0]+) sub:[0-9]+ dlvrd:[0-9]+ submit date:[0-9]+ done date:[0-9]+ "
    rb"stat:([A-Z]+) err:([0-9A-Z]+) text:",
    re.IGNORECASE,
)
"""Appendix B to the letter, as nearly all operators send it: `_FIELD` finds the same, six times slower."""

_FIELD = re.compile(
    # A field begins where no word does. Quantifiers are possessive, so nothing is tried twice and the time is
    # linear in the length. A value that is itself the name of a field belongs to an empty field.
    rb"""(?<![A-Za-z0-9_])(?:
        (?:message[_-]?|msg[_-]?)?id \s*+[:=]\s*+
            (?!(?:sub|dlvrd|submit|done|stat|err|text)(?:[ _]?date)?\s*+:) (?P<id>[^\s,;|\0]++)
      | stat(?:us|e)? \s*+[:=]\s*+ (?P<stat>[A-Za-z]++) (?!\s*+[:=])
      | err(?:or)?(?:[_-]?code)? \s*+[:=]\s*+ (?P<err>[0-9A-Za-z]++) (?=[\s,;|\0]|\Z) (?!\s*+[:=])
      | (?P<text>text) \s*+[:=]
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def _with_code(
    verdict: Verdict | None, word: str, code: str, not_assigned: Collection[str]
) -> tuple[Verdict | None, str]:
    """What a failure's code adds to it."""
    if verdict not in _PROVEN_FAILURES:
        return verdict, word
    if word in _REFINED and code.lstrip("0") in not_assigned:
        verdict, word = Verdict.NOT_ASSIGNED, "notAssigned"
    return verdict, _detail(word, code) if code.strip("0") else word


def _fields(text: bytes) -> tuple[bytes, bytes, bytes]:
    """The first `id`, `stat` and `err` in front of `text:`; empty where there is none.

    Appendix B puts the message's own words last, and they may say anything ("stat:DELIVRD" as well): nothing
    behind `text:` is read.
    """
    usual = _USUAL.match(text)
    if usual is not None and len(usual[1]) <= LONGEST_ID:
        return usual[1], usual[2], usual[3]
    fields: dict[str, bytes] = {}
    for match in _FIELD.finditer(text):
        name = match.lastgroup or ""
        if name == "text":
            break
        fields.setdefault(name, match[name])
    carrier_id = fields.get("id", b"")
    return carrier_id if len(carrier_id) <= LONGEST_ID else b"", fields.get("stat", b""), fields.get("err", b"")


def _tlv_id(octets: bytes) -> str:
    """The TLV is a C string (5.3.2.12), but some operators leave the NUL out and some pad with more of them."""
    carrier_id = octets.partition(b"\0")[0].strip()
    return carrier_id.decode("latin-1") if len(carrier_id) <= LONGEST_ID else ""


def _detail(word: str, code: str) -> str:
    """A longer code is no code but prose, and prose stays with the operator."""
    return f"{word}:{code}" if 0 < len(code) <= _LONGEST_CODE else word


def _forms(carrier_id: str) -> Iterator[str]:
    digits = carrier_id[2:] if carrier_id[:2] in ("0x", "0X") else carrier_id
    if len(digits) <= LONGEST_NUMERIC_ID:
        if re.fullmatch("[0-9]+", carrier_id):
            number = int(carrier_id)
            yield str(number)
            if number < 1 << 64:
                yield from _in_hex(number)
            yield from (f"{number:010d}", f"{number:020d}")
        if re.fullmatch("[0-9A-Fa-f]+", digits):
            number = int(digits, 16)
            if number < 1 << 64:
                # An id without letters is rarely hexadecimal (one of 8 digits in 40), so this reading comes last.
                if not re.fullmatch("[0-9]+", carrier_id):
                    yield from _in_hex(number)
                yield from (str(number), f"{number:010d}", f"{number:020d}")
    yield carrier_id.lower()
    yield carrier_id.upper()
    letters = carrier_id.replace("-", "")
    if letters != carrier_id and letters:
        yield from (letters, letters.lower(), letters.upper())
    elif re.fullmatch("[0-9A-Fa-f]{32}", carrier_id):
        dashed = "-".join((carrier_id[:8], carrier_id[8:12], carrier_id[12:16], carrier_id[16:20], carrier_id[20:]))
        yield from (dashed, dashed.lower(), dashed.upper())


def _is_hex_of(digits: str, decimal: str) -> bool:
    return (
        len(digits) <= LONGEST_NUMERIC_ID
        and len(decimal) <= LONGEST_NUMERIC_ID
        and re.fullmatch("[0-9a-f]+", digits) is not None
        and re.fullmatch("[0-9]+", decimal) is not None
        and int(digits, 16) == int(decimal)
    )


def _in_hex(number: int) -> Iterator[str]:
    width = 8 if number < 1 << 32 else 16
    yield from (f"{number:x}", f"{number:X}", f"{number:0{width}x}", f"{number:0{width}X}")
