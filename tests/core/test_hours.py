"""When marketing may leave, on the recipient's clock and calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chappe.core import hours
from chappe.core.errors import ChappeError
from chappe.core.hours import (
    DEFAULT_PACK,
    FRENCH_PLACES,
    PACKS,
    REGIONS,
    Held,
    Rule,
    held,
    next_allowed,
    place_of,
    release,
)
from chappe.core.message import Family, Settings
from chappe.core.numbers import PhoneNumber
from chappe.core.zones import ZONES

PARIS = PhoneNumber("+33612345678")
REUNION = PhoneNumber("+262692123456")
MAYOTTE = PhoneNumber("+262639012345")
GUADELOUPE = PhoneNumber("+590690123456")
MARTINIQUE = PhoneNumber("+596696123456")
GUYANE = PhoneNumber("+594694123456")
MIQUELON = PhoneNumber("+508708412345")
NOUMEA = PhoneNumber("+687751234")
TAHITI = PhoneNumber("+68987123456")
WALLIS = PhoneNumber("+681821234")
NEW_YORK = PhoneNumber("+12125550123")
BRUSSELS = PhoneNumber("+32470123456")

EVERYWHERE = [
    *(PARIS, REUNION, MAYOTTE, GUADELOUPE, MARTINIQUE, GUYANE, MIQUELON, NOUMEA, TAHITI, WALLIS, NEW_YORK, BRUSSELS),
    *map(PhoneNumber, ("+79123456789", "+61412345678", "+14165550123", "+8613812345678", "+9647912345678")),
]

YEARS = st.integers(
    int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000), int(datetime(2034, 1, 1, tzinfo=UTC).timestamp() * 1000)
)
NUMBERS = st.sampled_from(EVERYWHERE)
PACK_NAMES = st.sampled_from(sorted(PACKS))
REGION_NAMES = st.sampled_from([None, *sorted(REGIONS)])


def at(written: str, zone: str = "Europe/Paris") -> int:
    return round(datetime.fromisoformat(written).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def on(moment: int, zone: str = "Europe/Paris") -> str:
    local = (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=moment)).astimezone(ZoneInfo(zone))
    return f"{local:%a %Y-%m-%d %H:%M:%S}"


# --- when a message of an account may leave -------------------------------------------------------------


SUNDAY, MONDAY = at("2026-11-22 19:30"), at("2026-11-23 08:00")


def test_only_live_marketing_waits() -> None:
    assert release(Settings(), Family.MARKETING, PARIS, SUNDAY, test=False) == (MONDAY, f"{DEFAULT_PACK}:sunday")
    assert release(Settings(), Family.MARKETING, PARIS, SUNDAY, test=True) == (SUNDAY, None)
    assert release(Settings(), Family.NOTIFICATION, PARIS, SUNDAY, test=False) == (SUNDAY, None)
    assert release(Settings(), Family.MARKETING, PARIS, MONDAY, test=False) == (MONDAY, None)


def test_an_account_chooses_its_pack_and_tells_its_region() -> None:
    def released(settings: Settings, wished: int) -> tuple[int, str | None]:
        return release(settings, Family.MARKETING, PARIS, wished, test=False)

    assert released(Settings(hours="none"), SUNDAY) == (SUNDAY, None)
    assert released(Settings(hours="fr-af2m-2026-tolerant"), SUNDAY) == (SUNDAY, None)
    boxing_day = at("2028-12-26 10:00")
    assert released(Settings(), boxing_day) == (boxing_day, None)
    assert released(Settings(region="alsace-moselle"), boxing_day) == (
        at("2028-12-27 08:00"),
        f"{DEFAULT_PACK}:holiday",
    )


def test_a_pack_or_region_of_a_later_release_counts_as_the_default() -> None:
    later = Settings(hours="fr-af2m-2049", region="lune")
    assert release(later, Family.MARKETING, PARIS, SUNDAY, test=False) == (MONDAY, f"{DEFAULT_PACK}:sunday")


@pytest.mark.parametrize("pack", [pack for pack in PACKS.values() if pack.hours])
def test_hours_are_of_whole_minutes(pack: hours.Pack) -> None:
    assert pack.hours is not None
    for edge in (pack.hours.opens, pack.hours.closes):
        assert (edge.second, edge.microsecond) == (0, 0)


@given(moment=YEARS, zone=st.sampled_from(sorted({zone for zones in ZONES.values() for zone in zones})))
def test_clocks_differ_by_whole_minutes(moment: int, zone: str) -> None:
    offset = datetime.fromtimestamp(moment / 1000, ZoneInfo(zone)).utcoffset()
    assert offset is not None
    assert offset % timedelta(minutes=1) == timedelta(0)


# --- the promises of issue and rules --------------------------------------------------------------------


def test_a_message_of_a_sunday_evening_leaves_on_monday_at_eight() -> None:
    assert held(at("2026-11-22 19:30"), PARIS, DEFAULT_PACK) == Held(
        DEFAULT_PACK, Rule.SUNDAY, at("2026-11-23 08:00"), "Europe/Paris"
    )


def test_la_reunion_follows_its_own_clock() -> None:
    evening = at("2026-11-24 19:00")  # 22:00 there
    assert held(evening, PARIS, DEFAULT_PACK) is None
    assert held(evening, REUNION, DEFAULT_PACK) == Held(
        DEFAULT_PACK, Rule.HOURS, at("2026-11-25 08:00", "Indian/Reunion"), "Indian/Reunion"
    )
    assert next_allowed(at("2026-11-25 05:30"), REUNION, DEFAULT_PACK) == at("2026-11-25 05:30")


@pytest.mark.parametrize(
    ("pack", "opens", "last"),
    [
        ("fr-af2m-2026", "08:00", "21:29:59.999"),
        ("fr-af2m-2026-tolerant", "08:00", "21:29:59.999"),
        ("fr-charter-2024", "08:00", "21:59:59.999"),
    ],
)
def test_the_window_is_closed_before_its_first_and_after_its_last_millisecond(pack: str, opens: str, last: str) -> None:
    first, final = at(f"2026-11-24 {opens}"), at(f"2026-11-24 {last}")
    assert held(first, PARIS, pack) is None
    assert held(first - 1, PARIS, pack) == Held(pack, Rule.HOURS, first, "Europe/Paris")
    assert held(final, PARIS, pack) is None
    assert held(final + 1, PARIS, pack) == Held(pack, Rule.HOURS, at("2026-11-25 08:00"), "Europe/Paris")


def test_saturday_is_a_working_day_for_the_charter_of_2024() -> None:
    assert held(at("2026-11-21 12:00"), PARIS, "fr-charter-2024") is None


def test_saturday_night_waits_for_monday() -> None:
    waits = held(at("2026-11-21 23:00"), PARIS, DEFAULT_PACK)
    assert waits == Held(DEFAULT_PACK, Rule.HOURS, at("2026-11-23 08:00"), "Europe/Paris")


def test_the_tolerant_pack_lets_sundays_and_holidays_through() -> None:
    assert held(at("2026-11-22 12:00"), PARIS, "fr-af2m-2026-tolerant") is None
    assert held(at("2026-12-25 12:00"), PARIS, "fr-af2m-2026-tolerant") is None


def test_no_pack_holds_nothing() -> None:
    assert held(at("2026-12-25 03:00"), PARIS, "none") is None
    assert next_allowed(at("2026-12-25 03:00"), PARIS, "none") == at("2026-12-25 03:00")


def test_a_holiday_next_to_a_sunday_is_waited_for_too() -> None:
    easter_sunday = at("2026-04-05 10:00")
    assert held(easter_sunday, PARIS, DEFAULT_PACK) == Held(
        DEFAULT_PACK, Rule.SUNDAY, at("2026-04-07 08:00"), "Europe/Paris"
    )
    assert held(at("2026-04-06 10:00"), PARIS, DEFAULT_PACK) == Held(
        DEFAULT_PACK, Rule.HOLIDAY, at("2026-04-07 08:00"), "Europe/Paris"
    )


def test_an_unknown_pack_or_region_is_our_mistake() -> None:
    with pytest.raises(KeyError):
        held(0, PARIS, "fr-af2m-1999")
    with pytest.raises(KeyError):
        held(0, PARIS, DEFAULT_PACK, region="bretagne")


# --- calendars -----------------------------------------------------------------------------------------


def closed_days(number: PhoneNumber, zone: str, year: int, region: str | None = None) -> set[str]:
    """Days, as month-day, that are closed at noon and no Sunday."""
    days = (date(year, 1, 1) + timedelta(days) for days in range(365))
    return {
        f"{day:%m-%d}"
        for day in days
        if day.isoweekday() != 7 and held(at(f"{day} 12:00", zone), number, DEFAULT_PACK, region=region)
    }


# 2027; 15 August is a Sunday. Easter Sunday is 28 March.
NATIONAL = {"01-01", "03-29", "05-01", "05-08", "05-06", "05-17", "07-14", "11-01", "11-11", "12-25"}


@pytest.mark.parametrize(
    ("number", "zone", "more"),
    [
        (PARIS, "Europe/Paris", set()),
        (REUNION, "Indian/Reunion", {"12-20"}),
        (MAYOTTE, "Indian/Mayotte", {"04-27"}),
        # Guadeloupe, Saint-Martin and Saint-Barthélemy: three abolition days, Mi-Carême, Good Friday, Schoelcher.
        (GUADELOUPE, "America/Guadeloupe", {"03-04", "03-26", "05-27", "05-28", "07-21", "10-09"}),
        (MARTINIQUE, "America/Martinique", {"05-22", "07-21"}),
        (GUYANE, "America/Cayenne", {"06-10"}),
        (MIQUELON, "America/Miquelon", set()),
        (NOUMEA, "Pacific/Noumea", {"09-24"}),
        (TAHITI, "Pacific/Tahiti", {"03-05", "03-26", "11-20"}),
        (WALLIS, "Pacific/Wallis", {"04-28", "06-29", "07-29"}),
    ],
)
def test_the_holidays_of_each_territory(number: PhoneNumber, zone: str, more: set[str]) -> None:
    assert closed_days(number, zone, 2027) == NATIONAL | more


def test_alsace_moselle_has_two_more_when_the_account_says_so() -> None:
    assert closed_days(PARIS, "Europe/Paris", 2028, "alsace-moselle") - closed_days(PARIS, "Europe/Paris", 2028) == {
        "04-14",
        "12-26",
    }


def test_the_region_of_an_account_in_strasbourg_changes_nothing_overseas() -> None:
    good_friday = at("2028-04-14 12:00", "Indian/Reunion")
    assert held(good_friday, REUNION, DEFAULT_PACK, region="alsace-moselle") is None


def test_the_holiday_is_that_of_the_recipients_date() -> None:
    new_year_in_noumea = at("2026-12-31 23:00")
    waits = held(new_year_in_noumea, NOUMEA, DEFAULT_PACK)
    assert waits is not None
    assert (waits.rule, on(waits.until, waits.zone)) == (Rule.HOLIDAY, "Sat 2027-01-02 08:00:00")


def test_abroad_the_countrys_own_holidays_count() -> None:
    belgian, french = at("2026-07-21 12:00"), at("2026-07-14 12:00")
    assert held(belgian, BRUSSELS, DEFAULT_PACK) is not None
    assert held(french, BRUSSELS, DEFAULT_PACK) is None


def test_a_country_whose_holidays_nobody_lists_has_sundays_only() -> None:
    ascension_island = PhoneNumber("+24762889")
    assert place_of(ascension_island).country == "AC"
    assert held(at("2026-12-25 12:00", "Atlantic/St_Helena"), ascension_island, DEFAULT_PACK) is None


# --- places --------------------------------------------------------------------------------------------


def test_every_country_with_a_calling_code_has_a_zone_that_exists() -> None:
    assert set(ZONES) == set(phonenumbers.SUPPORTED_REGIONS)
    assert [zone for zones in ZONES.values() for zone in zones if ZoneInfo(zone).key != zone] == []


def test_no_country_spans_more_hours_than_its_two_clocks_can_stand_for() -> None:
    months = [datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 13)]
    spans = {
        country: max(offsets) - min(offsets)
        for country, zones in ZONES.items()
        for month in months
        if (offsets := [ZoneInfo(zone).utcoffset(month) or timedelta() for zone in zones])
    }
    assert max(spans.values()) <= timedelta(hours=10)


def mobiles_of(country: str) -> list[PhoneNumber]:
    """One valid mobile for each of the first five digits that the territory has: all begin with 6, 70 or 71."""
    code = phonenumbers.country_code_for_region(country)
    example_number = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
    assert example_number is not None
    length = len(str(example_number.national_number))
    found = []
    for start in range(60_000, 72_000):
        national = f"{start}{'0' * (length - 5)}"[:length]
        number = phonenumbers.parse(f"+{code}{national}")
        if phonenumbers.is_valid_number_for_region(number, country) and (
            phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
        ):
            found.append(PhoneNumber(f"+{code}{national}"))
    return found


@pytest.mark.parametrize("country", ["RE", "YT"])
def test_reunion_and_mayotte_are_told_apart_as_the_library_does(country: str) -> None:
    numbers = mobiles_of(country)
    assert numbers
    assert {place_of(number).zones for number in numbers} == {ZONES[country]}


@pytest.mark.parametrize("country", ["FR", "GP", "GF", "MQ", "PM", "NC", "PF", "WF"])
def test_each_french_calling_code_has_its_place(country: str) -> None:
    code = phonenumbers.country_code_for_region(country)
    assert FRENCH_PLACES[f"+{code}"].zones == ZONES[country]


def test_a_country_of_several_clocks_is_written_to_when_it_is_day_on_all_of_them() -> None:
    morning = at("2026-11-24 09:00", "America/New_York")
    waits = held(morning, NEW_YORK, DEFAULT_PACK)
    assert waits == Held(DEFAULT_PACK, Rule.HOURS, at("2026-11-24 08:00", "Pacific/Honolulu"), "Pacific/Honolulu")
    assert held(waits.until, NEW_YORK, DEFAULT_PACK) is None


@pytest.mark.parametrize("number", ["+870773111632", "+800123456", "+9990000000", "+1", "+"])
def test_a_number_of_no_country_follows_paris(number: str) -> None:
    assert place_of(PhoneNumber(number)) is FRENCH_PLACES["+33"]


@pytest.mark.parametrize("pack", sorted(PACKS))
def test_every_country_can_be_written_to_within_ten_days(pack: str) -> None:
    start = at("2026-03-10 12:00")
    for country in ZONES:
        example_number = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
        if example_number is None:
            continue
        number = PhoneNumber(phonenumbers.format_number(example_number, phonenumbers.PhoneNumberFormat.E164))
        assert next_allowed(start, number, pack) - start < timedelta(days=10) // timedelta(milliseconds=1), country


# --- properties ----------------------------------------------------------------------------------------


@given(YEARS, NUMBERS, PACK_NAMES, REGION_NAMES)
@settings(deadline=None)
def test_the_next_allowed_instant_is_allowed_and_not_before(
    moment: int, number: PhoneNumber, pack: str, region: str | None
) -> None:
    following = next_allowed(moment, number, pack, region=region)
    assert following >= moment
    assert held(following, number, pack, region=region) is None
    assert next_allowed(following, number, pack, region=region) == following


@given(YEARS, YEARS, NUMBERS, PACK_NAMES, REGION_NAMES)
@settings(deadline=None)
def test_who_asks_later_is_not_told_an_earlier_instant(
    one: int, other: int, number: PhoneNumber, pack: str, region: str | None
) -> None:
    sooner, later = sorted((one, other))
    first = next_allowed(sooner, number, pack, region=region)
    assert first <= next_allowed(later, number, pack, region=region)
    assert first == sooner or held(first - 1, number, pack, region=region) is not None


# The days on which Paris changes its clocks (a Sunday), Miquelon's, and midnight between years.
@given(YEARS, st.sampled_from([PARIS, MIQUELON, NEW_YORK]), st.sampled_from(["fr-af2m-2026-tolerant", DEFAULT_PACK]))
@example(at("2026-03-28 23:30"), PARIS, "fr-af2m-2026-tolerant")
@example(at("2026-10-24 23:30"), PARIS, "fr-af2m-2026-tolerant")
@example(at("2026-03-07 23:30", "America/Miquelon"), MIQUELON, "fr-af2m-2026-tolerant")
@example(at("2026-10-31 23:30", "America/Miquelon"), MIQUELON, DEFAULT_PACK)
@example(at("2026-12-31 23:30"), PARIS, DEFAULT_PACK)
@settings(deadline=None, max_examples=50)
def test_nothing_allowed_is_skipped_and_each_opening_is_at_eight(moment: int, number: PhoneNumber, pack: str) -> None:
    following = next_allowed(moment, number, pack)
    quarter = 15 * 60_000
    assert [step for step in range(moment, following, quarter) if held(step, number, pack) is None] == []
    if following > moment:
        assert "08:00:00" in {on(following, zone)[-8:] for zone in place_of(number).zones}


@pytest.mark.parametrize(
    ("before", "hours_waited"),
    [("2026-03-28 21:30", 9.5), ("2026-10-24 21:30", 11.5), ("2026-06-06 21:30", 10.5)],
)
def test_the_night_of_a_clock_change_is_shorter_or_longer(before: str, hours_waited: float) -> None:
    start = at(before)
    assert (next_allowed(start, PARIS, "fr-af2m-2026-tolerant") - start) / 3_600_000 == hours_waited


# --- the machine ---------------------------------------------------------------------------------------


def test_a_machine_without_time_zones_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> ZoneInfo:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr(hours, "ZoneInfo", nowhere)
    with pytest.raises(ChappeError, match="tzdata"):
        hours.prepare()


def test_preparing_is_all_that_is_needed() -> None:
    hours.prepare()
    assert hours.public_holidays("FR", "", 2026) >= {date(2026, 7, 14)}
