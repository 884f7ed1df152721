"""Phone numbers and senders as people write them, turned into what can be sent to, or refused with a code.

The numbering plans are phonenumberslite's; this adds what a French sender expects and the contract's codes.
A `PhoneNumber` is valid because it exists: nothing behind the edge checks one again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

from phonenumbers import (
    NumberParseException,
    PhoneMetadata,
    PhoneNumberFormat,
    PhoneNumberType,
    country_code_for_region,
    format_number,
    is_valid_number,
    number_type,
    parse,
    region_code_for_country_code,
)

from chappe.core.errors import Invalid

PhoneNumber = NewType("PhoneNumber", str)
"""E.164 with its plus sign."""


class NumberError(Invalid):
    """Not a number we can use: 10 none, 11 invalid, 19 fixed line, 90 country not supported, 91 abroad."""

    def __init__(self, code: int) -> None:
        super().__init__(code, "number")


class SenderError(Invalid):
    """Not a sender: 20 invalid characters, 21 too short, 22 too long, 23 all digits."""

    def __init__(self, code: int) -> None:
        super().__init__(code, "sender")


def parse_number(raw: str, country: str = "FR") -> PhoneNumber:
    """The number in E.164, of whatever kind it is: for look-ups. Raises NumberError 10 or 11.

    `country` is the account's: how a number without `+` or `00` is read.
    """
    if country == "FR" and (french := _french_mobile(raw)):
        return PhoneNumber("+33" + french[1])
    return _read(raw, country).number


def parse_mobile(raw: str, country: str = "FR", *, international: bool = False) -> PhoneNumber:
    """The number in E.164 if an SMS may be sent to it. Raises NumberError.

    First what no setting changes (10, 11, 90 for a service or no country, 19), then what `international`
    does: 91 for a number outside the account's home area.
    """
    if country == "FR" and (french := _french_mobile(raw)):
        return PhoneNumber("+33" + french[1])
    reading = _read(raw, country)
    if reading.refusal is not None:
        raise NumberError(reading.refusal)
    if not international and reading.calling_code not in _home_area(country):
        raise NumberError(91)
    return reading.number


def is_international(number: PhoneNumber, country: str = "FR") -> bool:
    """Whether the number lies outside the home area of an account of this country."""
    return _read(number, country).calling_code not in _home_area(country)


def parse_sender(raw: str) -> str:
    """The sender, unchanged. Raises SenderError: for its characters first, then its length, then all digits.

    Characters first, because nobody should shorten a sender only to learn that its accent was the trouble.
    """
    if not re.fullmatch("[0-9A-Za-z]*", raw):
        raise SenderError(20)
    if len(raw) < 3:
        raise SenderError(21)
    if len(raw) > 11:
        raise SenderError(22)
    if re.fullmatch("[0-9]+", raw):
        raise SenderError(23)
    return raw


# --- France, fast --------------------------------------------------------------------------------------


def _french_mobile_pattern() -> str:
    """The library's own pattern: 0639, 069x and others are mobiles overseas and do not exist as +33."""
    france = PhoneMetadata.metadata_for_region("FR")
    if france is None or france.mobile is None or france.mobile.national_number_pattern is None:
        raise RuntimeError("phonenumberslite has no French mobiles")
    return france.mobile.national_number_pattern


_french_mobile = re.compile(rf"(?:\+33|0033|0)({_french_mobile_pattern()})", re.ASCII).fullmatch
"""Most numbers there are, at a fiftieth of the library's time. Read in an account of country FR only."""


# --- everything else -----------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class _Reading:
    """A valid number, and why no SMS may be sent to it."""

    number: PhoneNumber
    calling_code: int
    refusal: int | None


def _read(raw: str, country: str) -> _Reading:
    written = raw.translate(_SEPARATORS)
    if not written:
        raise NumberError(10)
    if not _WRITTEN.fullmatch(written):
        raise NumberError(11)
    reading = _look_up(written, country)
    if reading is None:
        raise NumberError(11)
    return reading


_SEPARATORS = dict.fromkeys(
    (
        *map(ord, " \t\r\n./()-"),
        *(0x00A0, 0x2007, 0x2009, 0x202F, 0x2060),  # spaces that do not break
        *(*range(0x2010, 0x2016), 0x2212),  # dashes
        *(0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # direction marks: telephones copy them
    )
)

_WRITTEN = re.compile(r"\+?[0-9]{1,20}")
"""The library would also read letters, extensions, several plus signs and the digits of other scripts."""


@lru_cache(maxsize=16_384)
def _look_up(written: str, country: str) -> _Reading | None:
    """The reading in the account's country, or else in the one other area that shares its plan and fits."""
    reading = _look_up_in(written, country)
    if reading is not None or country_code_for_region(country) not in _FRENCH_PLAN:
        return reading
    if not re.fullmatch("0[1-9][0-9]{8}", written):
        return None
    others = {_look_up_in(f"+{calling_code}{written[1:]}", country) for calling_code in _FRENCH_PLAN} - {None}
    return others.pop() if len(others) == 1 else None


def _look_up_in(written: str, country: str) -> _Reading | None:
    try:
        found = parse(written, country)
    except NumberParseException:
        return None
    if not is_valid_number(found):
        return None
    calling_code = found.country_code or 0
    refusal = _REFUSALS.get(number_type(found), 90)
    if region_code_for_country_code(calling_code) == _NO_COUNTRY:
        refusal = 90
    return _Reading(PhoneNumber(format_number(found, PhoneNumberFormat.E164)), calling_code, refusal)


_NO_COUNTRY = "001"
"""The library's region of satellites, international networks and international services."""

_REFUSALS: dict[int, int | None] = {
    PhoneNumberType.MOBILE: None,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: None,
    PhoneNumberType.FIXED_LINE: 19,
    PhoneNumberType.VOIP: 19,  # in France the 09 of the boxes
}
"""What is missing is a service (premium, shared cost, toll free, pager, …): 90."""

_FRENCH_PLAN = (33, 262, 590, 594, 596, 508)
"""Dialled alike from each other: 0692 … is Réunion in Paris too, and only +262 692 … abroad (ARCEP's plan)."""

_FRENCH_AREA = frozenset({*_FRENCH_PLAN, 687, 689, 681})


def _home_area(country: str) -> frozenset[int]:
    """The calling codes an account of this country may send to without the international mode."""
    own = country_code_for_region(country)
    return _FRENCH_AREA if own in _FRENCH_AREA else frozenset({own})
