"""Numbers and senders as people write them, against the library where it decides."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chappe.core import numbers
from chappe.core.errors import Invalid
from chappe.core.numbers import NumberError, SenderError, parse_mobile, parse_number, parse_sender
from chappe.core.rules import MAGIC_NUMBERS


def refusal_of_number(raw: str, country: str = "FR") -> int | None:
    try:
        parse_number(raw, country)
    except NumberError as error:
        return error.code
    return None


def refusal_of_mobile(raw: str, country: str = "FR", *, international: bool = False) -> int | None:
    try:
        parse_mobile(raw, country, international=international)
    except NumberError as error:
        return error.code
    return None


def refusal_of_sender(raw: str) -> int | None:
    try:
        parse_sender(raw)
    except SenderError as error:
        return error.code
    return None


# --- the fast path ---------------------------------------------------------------------------------------


def test_the_fast_path_knows_exactly_the_mobiles_the_library_knows_on_every_prefix() -> None:
    fast, library = set(), set()
    for prefix in range(60_000, 80_000):
        national = f"{prefix}{prefix % 10_000:04}"
        if match := numbers._french_mobile("0" + national):
            assert match[1] == national
            fast.add(prefix)
        read = phonenumbers.parse("+33" + national)
        if phonenumbers.is_valid_number(read) and phonenumbers.number_type(read) == phonenumbers.PhoneNumberType.MOBILE:
            library.add(prefix)
    assert fast == library
    assert 61234 in fast
    assert not fast & {63901, 69012, 69212, 69412, 69612, 70012}


def test_the_fast_path_and_the_slow_one_say_the_same() -> None:
    for prefix in range(100, 1000):
        written = f"0{prefix}123456"
        slow = numbers._look_up(written, "FR")
        if numbers._french_mobile(written) is not None:
            assert slow is not None
            assert (slow.number, slow.refusal) == (parse_mobile(written), None)
        else:
            assert slow is None or slow.calling_code != 33 or slow.refusal is not None


@pytest.mark.parametrize("raw", ["0612345678", "+33612345678", "0033612345678"])
def test_french_mobiles_do_not_need_the_library(raw: str) -> None:
    numbers._look_up.cache_clear()
    assert parse_number(raw) == parse_mobile(raw) == "+33612345678"
    assert numbers._look_up.cache_info().currsize == 0


@pytest.mark.parametrize(
    "raw",
    [
        "06123456780",
        "061234567",
        "0612345678\n",
        "06٣2345678",
        "+330612345678",
        "+0612345678",
        "00612345678",
        "33612345678",
    ],
)
def test_the_fast_path_leaves_what_is_written_otherwise_alone(raw: str) -> None:
    assert numbers._french_mobile(raw) is None


def test_another_country_reads_a_national_number_as_its_own() -> None:
    assert parse_number("0612345678", "NL") == "+31612345678"


# --- what is accepted ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        "06 12 34 56 78",
        "06.12.34.56.78",
        "06-12-34-56-78",
        "06/12/34/56/78",
        "(06) 12 34 56 78",
        " 0612345678\t",
        "0612345678\r\n",
        "06\u00a012\u00a034\u00a056\u00a078",
        "+33\u202f6\u202f12\u202f34\u202f56\u202f78",
        "06\u201112\u201334\u221256\u201478",
        "\u202a+33 6 12 34 56 78\u202c",
        "+33 (0)6 12 34 56 78",
        "0033 6 12 34 56 78",
        "33612345678",
        "612345678",
    ],
)
def test_a_french_mobile_is_read_however_people_write_it(raw: str) -> None:
    assert parse_number(raw) == parse_mobile(raw) == "+33612345678"


@pytest.mark.parametrize("number", sorted(MAGIC_NUMBERS))
def test_the_simulators_magic_numbers_are_mobiles(number: str) -> None:
    assert parse_mobile(number) == parse_mobile("0" + number[3:]) == number
    assert phonenumbers.is_valid_number(phonenumbers.parse(number))


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("0692123456", "+262692123456"),  # Réunion
        ("0639 01 23 45", "+262639012345"),  # Mayotte
        ("0690001234", "+590690001234"),  # Guadeloupe
        ("0694201234", "+594694201234"),  # Guyane
        ("0696201234", "+596696201234"),  # Martinique
        ("0709201234", "+262709201234"),  # Réunion, since 2023
    ],
)
def test_an_overseas_mobile_in_national_form_is_read_as_where_it_is(raw: str, number: str) -> None:
    assert parse_mobile(raw) == number
    assert refusal_of_number("+33" + raw.replace(" ", "")[1:]) == 11


def test_an_overseas_account_reads_the_mainlands_mobiles() -> None:
    assert parse_mobile("0612345678", "RE") == "+33612345678"


def test_the_french_plan_is_for_the_accounts_that_dial_by_it() -> None:
    assert refusal_of_number("0692123456", "BE") == 11


@pytest.mark.parametrize(
    "number",
    [
        "+262692123456",
        "+590690001234",
        "+594694201234",
        "+596696201234",
        "+508551234",
        "+687751234",
        "+68987123456",
        "+681821234",
    ],
)
def test_overseas_france_is_at_home(number: str) -> None:
    assert parse_mobile(number) == number
    assert parse_mobile(number, "GP") == number


@pytest.mark.parametrize("raw", ["0123456789", "+32 2 555 12 12", "0912345678", "0800123456", "+870773111632"])
def test_a_look_up_takes_numbers_of_every_kind(raw: str) -> None:
    assert refusal_of_number(raw) is None


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", ["", " ", "\u00a0", "()", "-"])
def test_no_number_is_code_10(raw: str) -> None:
    assert refusal_of_number(raw) == refusal_of_mobile(raw) == 10


@pytest.mark.parametrize(
    "raw",
    [
        "+33692123456",
        "0600",
        "06123456789",
        "+336123456789",
        "++33612345678",
        "33+612345678",
        "+",
        "abc",
        "06123four78",
        "0612345678x12",
        "0612345678;ext=1",
        "tel:+33612345678",
        "٠٦١٢٣٤٥٦٧٨",
        "０６１２３４５６７８",
        "＋33612345678",
        "06\x0012345678",
        "0" * 5000,
        "+999123456789",
        "36666",
        "112",
    ],
)
def test_what_is_no_number_is_code_11(raw: str) -> None:
    assert refusal_of_number(raw) == refusal_of_mobile(raw) == 11


def test_a_national_number_in_an_unknown_country_is_code_11() -> None:
    assert refusal_of_number("0612345678", "ZZ") == 11
    assert parse_number("+33612345678", "ZZ") == "+33612345678"


@pytest.mark.parametrize("raw", ["0123456789", "+33 5 61 00 00 00", "0912345678", "+32 2 555 12 12", "0262161234"])
@pytest.mark.parametrize("international", [False, True])
def test_a_fixed_line_is_code_19(raw: str, international: bool) -> None:
    assert refusal_of_mobile(raw, international=international) == 19


@pytest.mark.parametrize(
    "raw",
    [
        "0899123456",  # premium
        "0810123456",  # shared cost
        "0800123456",  # toll free
        "+447012345678",  # personal number, dear to call
        "+870773111632",  # Inmarsat
        "+881612345678",  # other satellites
        "+883510012345",  # international networks
        "+80012345678",  # international freephone
        "+979123456789",  # international premium
    ],
)
@pytest.mark.parametrize("international", [False, True])
def test_services_and_what_is_in_no_country_are_code_90(raw: str, international: bool) -> None:
    assert refusal_of_mobile(raw, international=international) == 90


@pytest.mark.parametrize("raw", ["+32470123456", "0032 470 12 34 56", "+12025550123", "+447911123456", "+37744123456"])
def test_a_mobile_abroad_needs_the_international_mode(raw: str) -> None:
    assert refusal_of_mobile(raw) == 91
    assert parse_mobile(raw, international=True) == parse_number(raw)


def test_home_is_the_accounts_country() -> None:
    assert parse_mobile("0470123456", "BE") == "+32470123456"
    assert refusal_of_mobile("+33612345678", "BE") == 91


@given(st.text(max_size=30) | st.text("0123456789+ .-()", max_size=20))
@example("+33")
def test_every_text_gives_a_valid_number_or_a_code(raw: str) -> None:
    refusal = refusal_of_number(raw)
    if refusal is not None:
        assert refusal in {10, 11}
        assert refusal_of_mobile(raw, international=True) == refusal
        return
    number = parse_number(raw)
    assert phonenumbers.is_valid_number(phonenumbers.parse(number))
    assert parse_number(number) == number
    assert refusal_of_mobile(raw) in {None, 19, 90, 91}


# --- senders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", ["Chappe", "ABC", "A1", "12345678901A", "ABCDEFGHIJK", "1A2", "36A"])
def test_a_sender_is_unchanged_or_too_short_or_too_long(raw: str) -> None:
    expected = {2: 21, 12: 22}.get(len(raw))
    assert refusal_of_sender(raw) == expected
    if expected is None:
        assert parse_sender(raw) == raw


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("Été", 20),
        ("Ma Boite", 20),
        (" Chappe", 20),
        ("Chappe\n", 20),
        ("A-B", 20),
        ("é", 20),
        ("un nom bien trop long", 20),
        ("+33612345678", 20),
        ("٣٤٥", 20),
        ("", 21),
        ("A", 21),
        ("12", 21),
        ("ABCDEFGHIJKL", 22),
        ("33612345678123", 22),
        ("36123", 23),
        ("12345678901", 23),
    ],
)
def test_a_bad_sender_is_told_its_first_fault(raw: str, code: int) -> None:
    assert refusal_of_sender(raw) == code


def test_a_refusal_names_the_field_and_tells_neither_number_nor_sender() -> None:
    with pytest.raises(Invalid) as number:
        parse_number("0612345")
    with pytest.raises(Invalid) as sender:
        parse_sender("33612345678123")
    assert str(number.value) == "code 11: number"
    assert str(sender.value) == "code 22: sender"
