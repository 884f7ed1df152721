"""Placeholders, and what may be put into them."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.errors import Invalid
from chappe.core.personalise import (
    DATE_FORMATS,
    LONGEST_VALUE,
    FieldType,
    Template,
    UnknownField,
    ValueProblem,
    check_field,
    compile_template,
    name_key,
    parse_value,
)
from chappe.core.text import uncodable

FIELDS = {"prenom": "f1", "Prénom": "f2", "Date de RDV": "f3"}


def render(text: str, values: dict[str, str] | None = None, *, link: str | None = None) -> str:
    return compile_template(text, FIELDS, link=link is not None).render(values or {}, link or "")


# --- templates -----------------------------------------------------------------------------------------


def test_placeholders_are_replaced_by_the_values_of_their_fields() -> None:
    text = "Bonjour ${prenom}, RDV le ${Date de RDV}. ${prenom}!"
    assert render(text, {"f1": "Zoé", "f3": "24/11/2026"}) == "Bonjour Zoé, RDV le 24/11/2026. Zoé!"


@pytest.mark.parametrize("written", ["${prénom}", "${Prénom}", "${ PRÉNOM }", "${pre\u0301nom}"])
def test_case_spaces_and_composition_do_not_matter(written: str) -> None:
    assert render(written, {"f1": "without", "f2": "with"}) == "with"


def test_accents_do_matter() -> None:
    assert render("${PRENOM}", {"f1": "without", "f2": "with"}) == "without"


@pytest.mark.parametrize("text", ["", "Bonjour", "5 $ et {rien}", "${", "$ {prenom}", "${pre{nom}}", "${prenom", "}"])
def test_what_is_no_placeholder_is_text(text: str) -> None:
    template = compile_template(text, FIELDS)
    assert template.is_constant
    assert template.render({"f1": "Zoé"}) == text


@pytest.mark.parametrize(("text", "name"), [("${nom}", "nom"), ("${prenom} ${ Ville }${x}", "Ville"), ("${}", "")])
def test_an_unknown_field_is_named_before_anything_is_sent(text: str, name: str) -> None:
    with pytest.raises(UnknownField) as refusal:
        compile_template(text, FIELDS)
    assert (refusal.value.code, refusal.value.field, refusal.value.name) == (1001, "message", name)
    assert str(refusal.value) == f"code 1001: message has no field ${{{name}}}"


def test_a_value_that_looks_like_a_placeholder_is_text() -> None:
    assert render("${prenom}${prénom}", {"f1": "${prénom}", "f2": "{0.__class__}"}) == "${prénom}{0.__class__}"


def test_what_has_no_value_is_empty_and_named() -> None:
    template = compile_template("${prenom} ${Date de RDV} ${prénom} ${prenom}", FIELDS)
    assert template.render({"f3": "1"}) == " 1  "
    assert template.missing({"f2": "  ", "f3": "1"}) == ("prenom", "prénom")
    assert template.missing({"f1": "a", "f2": "b", "f3": "c"}) == ()


def test_the_link_goes_where_its_placeholder_stands() -> None:
    assert render("Voir ${rich_message} !", link="https://s.example/l/a1") == "Voir https://s.example/l/a1 !"
    template = compile_template("${rich_message}${prenom}", FIELDS, link=True)
    assert (template.wants_link, template.is_constant) == (True, False)
    assert template.missing({"f1": "Zoé"}) == ()
    assert not compile_template("${prenom}", FIELDS, link=True).wants_link


@pytest.mark.parametrize("fields", [{}, {"rich_message": "f9"}])
def test_without_an_address_the_links_placeholder_is_unknown(fields: dict[str, str]) -> None:
    with pytest.raises(UnknownField):
        compile_template("${rich_message}", fields)


def test_no_field_takes_the_place_of_the_link() -> None:
    assert compile_template("${rich_message}", {"rich_message": "f9"}, link=True).render({"f9": "no"}, "yes") == "yes"


@given(st.lists(st.tuples(st.text(), st.sampled_from(["f1", "f2"]))), st.text(), st.text(), st.text())
def test_a_template_is_the_replacement_of_each_placeholder(
    pieces: list[tuple[str, str]], end: str, one: str, two: str
) -> None:
    values = {"f1": one, "f2": two}
    template = Template((*(text for text, _ in pieces), end), tuple(key for _, key in pieces), ("",) * len(pieces))
    assert template.render(values) == "".join(text + values[key] for text, key in pieces) + end


@given(st.text(st.sampled_from("ab${} \n{prenom}"), max_size=40))
def test_compiling_loses_no_character(text: str) -> None:
    try:
        template = compile_template(text, {"a": "f1", "prenom": "f2"})
    except UnknownField:
        return
    assert template.render({"f1": "${a}", "f2": "${prenom}"}).replace(" ", "") == text.replace(" ", "")


@given(st.text())
def test_the_key_of_a_name_is_its_own_key(name: str) -> None:
    assert name_key(name_key(name)) == name_key(name)


# --- fields --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_type", "given_format", "expected"),
    [
        ("STRING", None, (FieldType.STRING, None)),
        ("STRING", "", (FieldType.STRING, None)),
        ("NUMBER", None, (FieldType.NUMBER, None)),
        ("DATE", "MM/yyyy", (FieldType.DATE, "MM/yyyy")),
        ("DATE", None, (FieldType.DATE, "dd/MM/yyyy")),
    ],
)
def test_fields_have_one_of_three_types(
    given_type: str, given_format: str | None, expected: tuple[FieldType, str | None]
) -> None:
    assert check_field(given_type, given_format) == expected


@pytest.mark.parametrize(
    ("given_type", "given_format", "field"),
    [("string", None, "type"), ("BOOL", None, "type"), ("DATE", "yyyy-MM-dd", "format"), ("NUMBER", "0.00", "format")],
)
def test_other_types_and_formats_are_refused(given_type: str, given_format: str | None, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_field(given_type, given_format)
    assert (refusal.value.code, refusal.value.field) == (1001, field)


# --- values --------------------------------------------------------------------------------------------


def string(raw: object) -> str | ValueProblem:
    return parse_value(FieldType.STRING, None, raw)


def number(raw: object) -> str | ValueProblem:
    return parse_value(FieldType.NUMBER, None, raw)


@pytest.mark.parametrize("field_type", FieldType)
@pytest.mark.parametrize("raw", [None, "", "  ", "\t\u00a0"])
def test_blank_is_no_value_in_any_type(field_type: FieldType, raw: object) -> None:
    assert parse_value(field_type, "dd/MM/yyyy", raw) == ""


@pytest.mark.parametrize("field_type", FieldType)
@pytest.mark.parametrize("raw", [True, False, [], {}, ["a"], b"a"])
def test_what_is_no_text_is_refused_in_any_type(field_type: FieldType, raw: object) -> None:
    assert parse_value(field_type, "dd/MM/yyyy", raw) is ValueProblem.NOT_TEXT


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (" Zoé ", "Zoé"),
        ("1 rue\nde la Paix", "1 rue\nde la Paix"),
        ("a\tb", "a b"),
        ("😀", "😀"),
        ("N\u00a0° 5", "N\u00a0° 5"),
        (75011, "75011"),
        (12.5, "12.5"),
        ("a" * LONGEST_VALUE, "a" * LONGEST_VALUE),
        ("a" * (LONGEST_VALUE + 1), ValueProblem.TOO_LONG),
        ("a\x00b", ValueProblem.CHARACTERS),
        ("a\ud800", ValueProblem.CHARACTERS),
        ("Zo\ufffd", ValueProblem.CHARACTERS),
    ],
)
def test_strings(raw: object, value: str | ValueProblem) -> None:
    assert string(raw) == value


@given(st.text(st.characters(), max_size=50))
def test_a_string_accepted_is_one_an_sms_can_carry(raw: str) -> None:
    value = string(raw)
    assert isinstance(value, ValueProblem) or uncodable(value) is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("12", "12"),
        ("-3,50", "-3,50"),
        ("+1.5", "+1.5"),
        ("\u22125", "-5"),
        ("1 234 567,8", "1234567,8"),
        ("1\u202f234", "1234"),
        ("1\u00a0234", "1234"),
        ("007", "007"),
        (12, "12"),
        (12.0, "12"),
        (-0.25, "-0.25"),
        (1e22, "10000000000000000000000"),
        (1e-7, "0.0000001"),
        (10**29, "1" + "0" * 29),
        *((raw, ValueProblem.NOT_A_NUMBER) for raw in ("douze", "1e5", "1,2,3", ",5", "5,", "0x1F", "٣", "12\n\n3")),
        *((raw, ValueProblem.NOT_A_NUMBER) for raw in (float("inf"), float("nan"), 1e300, 1e-300, 10**30, "1" * 31)),
    ],
)
def test_numbers_keep_their_comma(raw: object, value: str | ValueProblem) -> None:
    assert number(raw) == value


@pytest.mark.parametrize(
    ("format_name", "raw", "value"),
    [
        ("dd/MM/yyyy", "24/11/2026", "24/11/2026"),
        ("dd/MM/yyyy", "1/2/2026", "01/02/2026"),
        ("dd/MM/yyyy", "1-2-2026", "01/02/2026"),
        ("dd/MM/yyyy", "1.2.2026", "01/02/2026"),
        ("dd/MM/yyyy", "01 / 02 / 2026", "01/02/2026"),
        ("dd/MM/yyyy", "2026-02-01", "01/02/2026"),
        ("dd/MM/yyyy", "2026-02-01 00:00:00", "01/02/2026"),
        ("dd/MM/yyyy", "2026-02-01T10:00:00.000Z", "01/02/2026"),
        ("dd/MM/yyyy", "29/02/2024", "29/02/2024"),
        (None, "24/11/2026", "24/11/2026"),
        ("dd/MM", "29/02", "29/02"),
        ("dd/MM", "1/2", "01/02"),
        ("dd/MM", "24/11/1980", "24/11"),
        ("dd/MM", "1980-11-24", "24/11"),
        ("MM/yyyy", "3/2027", "03/2027"),
        ("MM/yyyy", "15/03/2027", "03/2027"),
        ("MM/yyyy", "2027-03-15", "03/2027"),
        *(
            ("dd/MM/yyyy", raw, ValueProblem.NOT_A_DATE)
            for raw in ("29/02/2026", "31/04/2026", "11/24/2026", "24/11/26", "24/11", "11/2026", "0/1/2026", "demain")
        ),
        *(
            ("dd/MM/yyyy", raw, ValueProblem.NOT_A_DATE)
            for raw in ("2026-13-01", "01/01/0000", "٢٤/١١/٢٠٢٦", 1387808142)
        ),
        ("dd/MM", "30/02", ValueProblem.NOT_A_DATE),
        ("dd/MM", "29/02/2026", ValueProblem.NOT_A_DATE),
        ("dd/MM", "11/2026", ValueProblem.NOT_A_DATE),
        ("MM/yyyy", "13/2027", ValueProblem.NOT_A_DATE),
        ("MM/yyyy", "24/11", ValueProblem.NOT_A_DATE),
    ],
)
def test_dates(format_name: str | None, raw: object, value: str | ValueProblem) -> None:
    assert parse_value(FieldType.DATE, format_name, raw) == value


@given(st.dates(), st.sampled_from(DATE_FORMATS))
def test_a_date_is_the_same_however_it_is_written(day: date, format_name: str) -> None:
    written = f"{day.day:02}/{day.month:02}/{day.year:04}"
    value = parse_value(FieldType.DATE, format_name, written)
    assert value == parse_value(FieldType.DATE, format_name, day.isoformat())
    assert isinstance(value, str)
    assert value in written
    assert parse_value(FieldType.DATE, format_name, value) == value
