"""What a text costs, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.optout import mention_of
from chappe.core.preview import SUGGESTIONS, Appended, Cheaper, Costly, Preview, PreviewPart, Shift, Why, preview
from chappe.core.text import BARE, LATIN_1, PLAIN, Alphabet, encode, segment, uncodable, with_language


def costly(text: str) -> list[tuple[int, str, Why, str | None]]:
    return [(one.start, one.text, one.why, one.instead) for one in preview(text).costly]


def test_a_plain_text_is_one_part_and_one_credit() -> None:
    assert preview("Bonjour Zoé") == Preview(Alphabet.GSM7, (PreviewPart(0, 11, 11, "Bonjour Zoé"),), 11, 1.0, (), None)


def test_the_character_that_doubles_the_price_is_named_with_what_could_stand_there() -> None:
    text = "L’été arrive" + "!" * 60
    seen = preview(text)
    assert (seen.alphabet, seen.credits) == (Alphabet.UCS2, 2.0)
    assert seen.costly == (Costly(1, "’", Why.FORCES_UCS2, "'"),)
    assert seen.cheaper == Cheaper("L'été arrive" + "!" * 60, 1)


def test_what_saves_no_part_is_no_cheaper() -> None:
    seen = preview("L’été")
    assert seen.costly == (Costly(1, "’", Why.FORCES_UCS2, "'"),)
    assert seen.cheaper is None


def test_septets_of_the_extension_table_cost_two() -> None:
    assert costly("5 € [ok]") == [
        (2, "€", Why.COSTS_TWO, None),
        (4, "[", Why.COSTS_TWO, None),
        (7, "]", Why.COSTS_TWO, None),
    ]
    seen = preview("€" * 81)
    assert [(part.start, part.end, part.units) for part in seen.parts] == [(0, 76, 152), (76, 81, 10)]


def test_in_ucs2_the_extension_table_costs_no_more_than_others() -> None:
    assert costly("5 € ê") == [(4, "ê", Why.FORCES_UCS2, "e")]


def test_parts_of_ucs2_count_units_and_code_points() -> None:
    seen = preview("😀" * 36)
    assert [(part.start, part.end, part.units) for part in seen.parts] == [(0, 33, 66), (33, 36, 6)]
    assert (seen.units, seen.credits, seen.cheaper) == (72, 2.0, None)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("’", "'"),
        ("…", "..."),
        ("œ", "oe"),
        ("\u00a0", " "),
        ("\u202f", " "),
        ("«", '"'),
        ("\u200b", ""),
        ("n°"[1:], "o"),
        ("ê", "e"),
        ("ç", "c"),
        ("À", "A"),
        ("e\u0301", "é"),
        ("e\u0302", "e"),
        ("e\ufe0f", "e"),
        ("ż", "z"),
        ("中", None),
        ("😀", None),
        ("❤\ufe0f", None),
        ("\u0301", None),
    ],
)
def test_suggestions(text: str, instead: str | None) -> None:
    assert costly(text) == [(0, text, Why.FORCES_UCS2, instead)]


def test_what_no_sms_carries_is_named() -> None:
    assert costly("a\x00b\ud800\f") == [
        (1, "\x00", Why.UNSENDABLE, None),
        (3, "\ud800", Why.UNSENDABLE, None),
        (4, "\f", Why.UNSENDABLE, None),
    ]


def test_an_empty_text_has_nothing_in_its_part() -> None:
    assert preview("").parts == (PreviewPart(0, 0, 0, ""),)


def test_every_suggestion_is_cheap_and_for_something_dear() -> None:
    for character, instead in SUGGESTIONS.items():
        assert segment(character).alphabet is Alphabet.UCS2, hex(ord(character))
        assert len(encode(instead, Alphabet.GSM7)) == len(instead), hex(ord(character))


def test_the_accounts_national_table_is_in_the_preview() -> None:
    text = "Ça va être prêt " * 7
    cut = with_language(PLAIN, "portuguese")
    seen = preview(text, cut=cut)
    assert (seen.alphabet, len(seen.parts), seen.shifts) == (Alphabet.GSM7_PORTUGUESE, 1, ())
    assert seen.costly[0] == Costly(6, "ê", Why.NEEDS_SHIFT, "e")
    assert preview(text).shifts == (Shift("portuguese", 1),)
    assert preview(text, cut=BARE).shifts == ()
    assert preview("î" + text).shifts == ()


def test_where_latin_1_is_sent_what_it_lacks_forces_ucs2() -> None:
    assert preview("5 €").alphabet is Alphabet.GSM7
    seen = preview("5 € [", cut=LATIN_1)
    assert (seen.alphabet, seen.costly) == (Alphabet.UCS2, (Costly(2, "€", Why.FORCES_UCS2, None),))
    assert preview("[", cut=LATIN_1).costly == (Costly(0, "[", Why.COSTS_TWO, None),)


TEXTS = st.text(st.one_of(st.sampled_from("aé€’…œê \u0301\n"), st.characters()), max_size=300)


@given(TEXTS)
def test_the_preview_says_what_the_text_will_be(text: str) -> None:
    seen, segmented = preview(text), segment(text)
    assert tuple(part.text for part in seen.parts) == segmented.parts
    assert [text[part.start : part.end] for part in seen.parts] == list(segmented.parts)
    assert sum(part.units for part in seen.parts) == segmented.units == seen.units
    assert seen.credits == len(segmented.parts)


@given(TEXTS)
def test_without_the_costly_characters_the_text_is_cheap(text: str) -> None:
    rest, at = "", 0
    for one in preview(text).costly:
        assert text[one.start : one.start + len(one.text)] == one.text
        rest += text[at : one.start]
        at = one.start + len(one.text)
    rest += text[at:]
    assert segment(rest).alphabet is Alphabet.GSM7
    assert uncodable(rest) is None


@given(TEXTS)
def test_the_cheaper_text_is_cheaper(text: str) -> None:
    seen = preview(text)
    if seen.cheaper is not None:
        assert seen.cheaper.parts == len(segment(seen.cheaper.text).parts) < len(seen.parts)


# --- the STOP mention ------------------------------------------------------------------------------------

MENTION = mention_of("36111")


def test_the_mention_is_seen_with_what_it_costs() -> None:
    seen = preview("a" * 150, MENTION)
    assert "".join(part.text for part in seen.parts) == f"{'a' * 150} STOP au 36111"
    assert (seen.credits, seen.mention) == (2.0, Appended(MENTION, parts=1))


def test_a_text_that_tells_how_to_stop_gets_no_other_mention() -> None:
    assert preview("Soldes. STOP au 36111", MENTION) == preview("Soldes. STOP au 36111")
