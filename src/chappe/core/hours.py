"""When marketing may reach a person: named, dated packs of rules, on the clock and calendar of that person.

Pure decisions; nothing is held or released here. The packs are configuration, not legal advice: a pack never changes
and is never removed once released, a new rule is a new pack with a new date, so that a message held long ago can
still say by which rule.

Time zones come from `zoneinfo`, which needs the system's time zone data or the Python package `tzdata`; the first
call of `holidays` takes half a second (`prepare` takes it, and finds out that zones are missing, at the start).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from phonenumbers import NumberParseException, parse, region_code_for_number

from chappe.core.errors import ChappeError
from chappe.core.message import Family, Settings
from chappe.core.numbers import PhoneNumber
from chappe.core.zones import ZONES

# --- the packs -----------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Hours:
    """From `opens` (included) to `closes` (excluded), on the recipient's clock; whole minutes."""

    opens: time
    closes: time
    sundays: bool
    public_holidays: bool
    """Whether days of that kind are open."""


@dataclass(slots=True, frozen=True)
class Pack:
    """A rule with where it comes from; `hours` None lets everything through."""

    hours: Hours | None
    since: date | None
    source: str


PACKS: Mapping[str, Pack] = {
    "fr-af2m-2026": Pack(
        Hours(time(8), time(21, 30), sundays=False, public_holidays=False),
        date(2026, 1, 1),
        "af2m, charte Business Messaging 2026: promotional 08:00-21:30, Monday to Saturday recommended",
    ),
    "fr-af2m-2026-tolerant": Pack(
        Hours(time(8), time(21, 30), sundays=True, public_holidays=True),
        date(2026, 1, 1),
        "af2m, charte Business Messaging 2026: Sundays and public holidays tolerated, not recommended",
    ),
    "fr-charter-2024": Pack(
        # "Jours ouvrables": Saturday is one.
        Hours(time(8), time(22), sundays=False, public_holidays=False),
        date(2024, 9, 1),
        "af2m, charte de déontologie Business Messaging, since 1 September 2024: jours ouvrables 08:00-22:00",
    ),
    "none": Pack(None, None, "no rule of ours: the account answers for its hours"),
}

DEFAULT_PACK = "fr-af2m-2026"
_MARKETING = Family.MARKETING
"""Its full name costs ten times as much, in CPython 3.11."""

REGIONS: Mapping[str, str] = {"alsace-moselle": "57"}
"""What an account may say of its recipients in metropolitan France, whose numbers tell no department (a subdivision of
`holidays`): Good Friday and 26 December are public holidays there."""


class Rule(Enum):
    """What of a pack holds a message back."""

    HOURS = "hours"
    SUNDAY = "sunday"
    HOLIDAY = "holiday"


@dataclass(slots=True, frozen=True)
class Held:
    """Why a message waits, and until when; `zone` is the clock to show `until` on."""

    pack: str
    rule: Rule
    until: int
    zone: str


def release(
    settings: Settings, family: Family, number: PhoneNumber, wished: int, *, test: bool
) -> tuple[int, str | None]:
    """When a message that is wished for this moment may leave, and by which rule it waits if that is later.

    Only live marketing waits: a test is to do the same at night. What this release does not know, because a newer one
    stored it, counts as the default. Raises ChappeError when the machine has no time zone data.
    """
    if test or family is not _MARKETING:
        return wished, None
    pack, region = settings.hours or DEFAULT_PACK, settings.region
    waits = held(wished, number, pack if pack in PACKS else DEFAULT_PACK, region=region if region in REGIONS else None)
    return (wished, None) if waits is None else (waits.until, f"{waits.pack}:{waits.rule.value}")


def held(at_ms: int, number: PhoneNumber, pack: str, *, region: str | None = None) -> Held | None:
    """Whether the pack holds a message to this number at this instant, by which rule and until when.

    `pack` is a key of PACKS, `region` one of REGIONS or None. Raises ChappeError when the machine has no time zone
    data.
    """
    place = place_of(number)
    local = None if place is not _FRANCE else region
    # No rule and no clock changes between two minutes: what leaves together is decided once for each place.
    return _held_in_minute(at_ms // 60_000, place, pack, local)


@lru_cache(maxsize=4096)
def _held_in_minute(minute: int, place: Place, pack: str, region: str | None) -> Held | None:
    hours = PACKS[pack].hours
    if hours is None:
        return None
    at_ms = minute * 60_000
    local = () if region is None else (REGIONS[region],)
    first: Held | None = None
    until, settled = at_ms, 0
    while settled < len(place.zones):
        zone = place.zones[settled]
        closed = _closed(until, zone, place, local, hours)
        if closed is None:
            settled += 1
            continue
        rule, until = closed
        first = first or Held(pack, rule, until, zone)
        settled = 0
    return None if first is None else Held(pack, first.rule, until, first.zone)


def open_for_all(at_ms: int, number: PhoneNumber) -> bool:
    """Whether no pack holds a message to this number at this instant, whatever the account has chosen."""
    return _open_for_all_in_minute(at_ms // 60_000, place_of(number))


@lru_cache(maxsize=4096)
def _open_for_all_in_minute(minute: int, place: Place) -> bool:
    regions = (None, *REGIONS) if place is _FRANCE else (None,)
    return all(_held_in_minute(minute, place, pack, region) is None for pack in PACKS for region in regions)


def next_allowed(at_ms: int, number: PhoneNumber, pack: str, *, region: str | None = None) -> int:
    """The first instant from `at_ms` on at which the pack lets a message to this number leave. As `held`."""
    waits = held(at_ms, number, pack, region=region)
    return at_ms if waits is None else waits.until


def prepare() -> None:
    """Takes the time that the first decision would take. Raises ChappeError when there is no time zone data."""
    _zone(_FRANCE.zones[0])
    public_holidays(_FRANCE.country, "", 2026)


# --- where a number is ---------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Place:
    """Clocks and calendars; where there are several of either, an hour must be allowed and a day open by all."""

    zones: tuple[str, ...]
    country: str
    """Whose public holidays: two letters, as `holidays` wants them."""
    subdivisions: tuple[str, ...] = ()


_FRANCE = Place(ZONES["FR"], "FR")
_REUNION = Place(ZONES["RE"], "FR", ("974",))
_MAYOTTE = Place(ZONES["YT"], "FR", ("976",))

FRENCH_PLACES: Mapping[str, Place] = {
    # ARCEP's numbering plan, and phonenumbers' metadata, which the tests compare; the longest prefix counts.
    "+33": _FRANCE,
    "+262": _REUNION,
    "+262269": _MAYOTTE,
    "+262639": _MAYOTTE,
    "+2627093": _MAYOTTE,
    # Saint-Barthélemy and Saint-Martin share Guadeloupe's mobiles: the abolition days of all three are kept.
    "+590": Place(ZONES["GP"], "FR", ("971", "BL", "MF")),
    "+594": Place(ZONES["GF"], "FR", ("973",)),
    "+596": Place(ZONES["MQ"], "FR", ("972",)),
    "+508": Place(ZONES["PM"], "FR", ("PM",)),
    "+687": Place(ZONES["NC"], "FR", ("NC",)),
    "+689": Place(ZONES["PF"], "FR", ("PF",)),
    "+681": Place(ZONES["WF"], "FR", ("WF",)),
}


def place_of(number: PhoneNumber) -> Place:
    """Where the recipient's clock and calendar are taken to be: a number tells a country, not where a person is.

    Abroad the country's own Sundays and national holidays count. A number of no country (satellites, services; none
    that `parse_mobile` accepts) follows Paris.
    """
    return _FRANCE if number.startswith("+33") else _place_elsewhere(number)


@lru_cache(maxsize=16_384)
def _place_elsewhere(number: PhoneNumber) -> Place:
    for length in range(8, 3, -1):
        if place := FRENCH_PLACES.get(number[:length]):
            return place
    try:
        country = region_code_for_number(parse(number))
    except NumberParseException:
        return _FRANCE
    return _place_in(country) if country in ZONES else _FRANCE


@cache
def _place_in(country: str) -> Place:
    return Place(ZONES[country], country)


# --- one clock -----------------------------------------------------------------------------------------

_EPOCH = datetime.fromtimestamp(0, UTC)
_MS = timedelta(milliseconds=1)
_DAY = timedelta(days=1)


def _closed(at_ms: int, zone: str, place: Place, local: Iterable[str], hours: Hours) -> tuple[Rule, int] | None:
    """The rule this instant breaks in this zone and when it next breaks none there; None when it breaks none."""
    subdivisions = (*place.subdivisions, *local)
    clock = _zone(zone)
    here = (_EPOCH + at_ms * _MS).astimezone(clock)
    day = here.date()
    rule = _closed_day(day, place.country, subdivisions, hours)
    if rule is None:
        if hours.opens <= here.time() < hours.closes:
            return None
        rule = Rule.HOURS
        if here.time() >= hours.closes:
            day += _DAY
    while _closed_day(day, place.country, subdivisions, hours):
        day += _DAY
    return rule, (datetime.combine(day, hours.opens, clock) - _EPOCH) // _MS


def _closed_day(day: date, country: str, subdivisions: tuple[str, ...], hours: Hours) -> Rule | None:
    if not hours.sundays and day.isoweekday() == 7:
        return Rule.SUNDAY
    if not hours.public_holidays and any(
        day in public_holidays(country, subdivision, day.year) for subdivision in subdivisions or ("",)
    ):
        return Rule.HOLIDAY
    return None


@lru_cache(maxsize=4096)
def public_holidays(country: str, subdivision: str, year: int) -> frozenset[date]:
    """The national ones, and with a subdivision (else empty) its own too; none for a country `holidays` lacks."""
    from holidays import country_holidays  # a fifth of a second, which only marketing is to pay

    try:
        return frozenset(country_holidays(country, subdiv=subdivision or None, years=year))
    except NotImplementedError:
        return frozenset()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError as error:
        raise ChappeError(
            f"no time zone {name!r} on this machine: install the system's package tzdata, or the Python package tzdata"
        ) from error
