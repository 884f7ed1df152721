"""What people write back, as labelled in stop_spellings.txt, and replies joined from their parts."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chappe.core.message import Inbound
from chappe.core.replies import MISSING, join, recognise

ORDINARY = ["bonjour", "vous", "livraison", "demain", "à", "colis", "18h", "svp", "?", "je", "viens", "le", "une"]

AROUND_THE_WORD = ["je", "ne", "suis", "pas", "chez", "moi", "demain", "le", "bus", "passe", "à", "un", "stop"]

Form: TypeAlias = Literal["NFC", "NFD"]

FORMS: list[Form] = ["NFC", "NFD"]

SPELLINGS = Path(__file__).with_name("stop_spellings.txt")


def labelled() -> Iterator[tuple[str, str]]:
    """(keyword, text) of each line; keyword is empty for an ordinary reply."""
    for line in SPELLINGS.read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("# "):
            label, _, text = line.partition("\t")
            yield ("" if label == "-" else label), text.replace("\\n", "\n")


def by_label(label: str) -> list[str]:
    return [text for keyword, text in labelled() if keyword == label]


def part(
    octets: bytes, sequence: int = 1, total: int = 1, data_coding: int = 0, number: str = "+33600000003"
) -> Inbound:
    return Inbound("simulator", number, "38200", 0, octets, data_coding, 7, total, sequence)


# --- keywords ----------------------------------------------------------------------------------------


def test_every_labelled_reply_is_recognised() -> None:
    wrong = [(keyword, recognise(text), text) for keyword, text in labelled() if recognise(text) != keyword]
    assert wrong == []


def test_the_labelled_file_is_worth_walking() -> None:
    counts = Counter(keyword for keyword, _ in labelled())
    assert set(counts) == {"STOP", "CONTACT", "START", ""}
    assert counts["STOP"] >= 1_500
    assert counts[""] >= 900
    assert len(set(labelled())) == sum(counts.values())


@pytest.mark.parametrize(
    "text", ["stop", "arret", "unsubscribe", "desabonnement", "merci de me desinscrire", "contact"]
)
def test_case_does_not_matter(text: str) -> None:
    assert recognise(text) == recognise(text.upper()) == recognise(text.title()) != ""


@given(st.sampled_from(by_label("STOP")), st.sampled_from(FORMS), st.sampled_from(["", " ", "\n", " !", "🙏"]))
def test_a_stop_stays_one_with_composed_or_apart_accents_and_noise_around(text: str, form: Form, noise: str) -> None:
    assert recognise(noise + unicodedata.normalize(form, text) + noise) == "STOP"


@given(st.sampled_from(by_label("STOP")), st.sampled_from(by_label("STOP")))
def test_two_stops_on_two_lines_are_a_stop(first: str, second: str) -> None:
    assert recognise(f"{first}\n{second}") == "STOP"


@given(st.lists(st.sampled_from(ORDINARY), max_size=12))
def test_a_reply_without_a_keyword_is_ordinary(words: list[str]) -> None:
    assert recognise(" ".join(words)) == ""


@given(st.lists(st.sampled_from(AROUND_THE_WORD), min_size=5))
def test_a_sentence_around_the_word_is_ordinary_unless_the_word_stands_first_or_last(words: list[str]) -> None:
    sentence = " ".join(["je", "crois", *words, "vraiment"])
    assert recognise(sentence) == ""


@given(st.text())
@example("\ud800stop")
def test_any_text_is_recognised_or_not_without_an_error(text: str) -> None:
    assert recognise(text) in {"", "STOP", "CONTACT", "START"}


@pytest.mark.parametrize(
    "piece", ["stop", "arret", "pubs", "s t o p ", "1 ", "je ", "comment on je faire ", "!", "aa", "\ufdfa"]
)
def test_a_long_reply_is_read_in_one_go(piece: str) -> None:
    # A pattern that went back on its steps would not end here before the suite is killed.
    assert recognise("Bonjour " + piece * 40_000 + " demain") == ""


def test_a_long_reply_with_stop_on_its_first_or_last_line_is_a_stop() -> None:
    story = "je suis venu chez vous hier et la vendeuse ne savait rien " * 100
    assert recognise(f"STOP\n{story}") == recognise(f"{story}\nSTOP") == "STOP"
    assert recognise(f"{story} stop {story}") == ""
    assert recognise("!" * 900 + "x stop" + "!" * 900) == ""


# --- parts -------------------------------------------------------------------------------------------


def test_a_reply_of_one_part_is_decoded() -> None:
    assert join([part(b"Merci")]) == "Merci"
    assert join([part("Ça va 👍".encode("utf-16-be"), data_coding=8)]) == "Ça va 👍"


def test_parts_are_joined_in_any_order_and_duplicates_count_once() -> None:
    parts = [part(b"c", 3, 3), part(b"a", 1, 3), part(b"b", 2, 3), part(b"X", 1, 3)]
    assert join(parts) == "abc"


@pytest.mark.parametrize(
    ("there", "text"),
    [
        ([1, 2, 3, 4], "abcd"),
        ([1, 4], "a [...] d"),
        ([1, 3, 4], "a [...] cd"),
        ([1, 2], "ab [...]"),
        ([3], "[...] c [...]"),
        ([2, 4], "[...] b [...] d"),
    ],
)
def test_missing_parts_leave_one_mark(there: list[int], text: str) -> None:
    assert join([part(b"abcd"[i - 1 : i], i, 4) for i in there]) == text


def test_the_spaces_of_the_text_are_kept() -> None:
    assert join([part(b" a ", 1, 2), part(b" b ", 2, 2)]) == " a  b "


def test_no_parts_are_no_text() -> None:
    assert join([]) == ""


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), st.data())
def test_a_text_cut_anywhere_between_octets_pairs_is_whole_again(text: str, data: st.DataObject) -> None:
    octets = text.encode("utf-16-be")
    if octets[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return  # a byte order mark is no text
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(octets) // 2 - 1)), max_size=4)))
    edges = [0, *(2 * cut for cut in cuts if 2 * cut < len(octets)), len(octets)]
    pieces = [octets[start:end] for start, end in pairwise(edges)]
    parts = [part(piece, i, len(pieces), 8) for i, piece in enumerate(pieces, 1)]
    assert join(data.draw(st.permutations(parts))) == text


def test_an_escape_cut_from_its_character_is_read_as_one() -> None:
    assert join([part(b"12 \x1b", 1, 2), part(b"\x65", 2, 2)]) == "12 €"


def test_a_broken_unit_does_not_spoil_the_part_behind_it() -> None:
    broken = "ab".encode("utf-16-be") + b"\0"
    text = join([part(broken, 1, 2, 8), part("cd".encode("utf-16-be"), 2, 2, 8)])
    assert text.startswith("ab")
    assert text.endswith("cd")


def test_an_odd_number_of_septets_breaks_nothing() -> None:
    assert join([part(b"abc\x1b", 1, 3), part(b"\x65de", 2, 3), part(b"f", 3, 3)]) == "abc€def"


def test_each_part_is_read_by_its_own_coding() -> None:
    assert join([part(b"\x05", 1, 2, 0), part("Ω".encode("utf-16-be"), 2, 2, 8)]) == "éΩ"


def test_a_mark_in_a_joined_reply_is_never_the_end_of_a_sentence() -> None:
    assert recognise(join([part(b"Je descends au", 1, 3), part(b"stop", 3, 3)])) == ""
    assert recognise(join([part(b"STOP", 1, 2)])) == "STOP"
    assert recognise(f"Je viens demain{MISSING}stop") == ""


@given(st.lists(st.builds(part, st.binary(max_size=20), st.integers(0, 300), st.integers(0, 300), st.integers(0, 255))))
def test_any_parts_give_a_text(parts: list[Inbound]) -> None:
    text = join(parts)
    assert len(text) <= sum(len(p.octets) for p in parts) + len(MISSING) * (len(parts) + 1)
