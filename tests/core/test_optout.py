"""The STOP mention: there once, recognised, and its price known."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.errors import Invalid
from chappe.core.message import Family, Settings
from chappe.core.optout import (
    LONGEST_MENTION,
    Mention,
    has_mention,
    is_operator_stop,
    mention_cost,
    mention_for,
    mention_of,
    parse_mention,
    with_mention,
)
from chappe.core.text import Alphabet, segment

MENTION = mention_of("36111")

MENTIONS = [
    "Soldes ! STOP au 36111",
    "Soldes ! STOP SMS au 36 111",
    "Soldes. Stop: 36111",
    "Soldes. STOP 36111",
    "Soldes. STOP=36xxx",
    "Soldes. STOPSMS36111",
    "Soldes. StopSMS 36111",
    "Soldes. STOP PUB au 36***",
    "Soldes. (STOP : 36111)",
    "Soldes\nSTOP\n36111",
    "STOP->36111 et le texte ensuite",
    "Pour ne plus recevoir de SMS, envoyez STOP au 36111.",
    "Envoyez « STOP » par SMS au 38200",
    'Envoyez "STOP" au 36111',
    "STOP au 8850",
    "Text STOP to 88500",
    "Répondez STOP",
    "Repondez par STOP",
    "Pour vous désabonner, répondre « STOP »",
    "Rép. STOP",
    "Reply STOP to unsubscribe",
    "Reply with STOP.",
    "no pub=STOP",
    "Désabonnement : STOP",
    "Desabo? STOP",
    "Désinscription : « STOP »",
    "STOP par retour de SMS",
    "STOP to opt out",
]

NONE = [
    "",
    "Soldes",
    "Don't stop! Appelez le 36111",
    "Non-stop au 36111",
    "Ouvert nonstop au 36111",
    "STOP : 20000 articles",
    "STOP ! 30000 cadeaux",
    "Stop aux prix fous",
    "Stop",
    "Arrêt de bus STOP",
    "Stop 361112",
    "Top au 36111",
    "Stopper au 36111",
    "Répondez stopper",
    "La pub stop demain",
    "STOP : https://exemple.fr",
    "Appelez le 36111",
]


@pytest.mark.parametrize("text", MENTIONS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_text_that_says_how_to_stop_is_left_alone(text: str, form: str) -> None:
    written = unicodedata.normalize("NFC" if form == "NFC" else "NFD", text)
    assert has_mention(written)
    assert with_mention(written, MENTION) == written
    assert has_mention(written.upper())
    assert has_mention(written.lower())


@pytest.mark.parametrize("text", NONE)
def test_any_other_text_gets_the_mention(text: str) -> None:
    assert not has_mention(text)
    assert with_mention(text, MENTION) == f"{text} STOP au 36111".lstrip()


@pytest.mark.parametrize("end", [" ", "\n", "\u00a0"])
def test_one_space_is_enough(end: str) -> None:
    assert with_mention(f"Soldes{end}", MENTION) == f"Soldes{end}STOP au 36111"


def test_an_account_without_a_mention_writes_its_own() -> None:
    assert with_mention("Soldes", None) == "Soldes"
    assert mention_cost("Soldes", None) == (1, 1)


def test_the_mention_may_cost_a_part() -> None:
    assert mention_cost("a" * 146, MENTION) == (1, 1)
    assert mention_cost("a" * 147, MENTION) == (1, 2)
    assert mention_cost("ê" * 70, MENTION) == (1, 2)
    assert mention_cost("a" * 147 + " STOP 36111", MENTION) == (1, 1)


@pytest.mark.parametrize("code", ["36111", "8850", "885000"])
def test_a_short_code_makes_a_mention(code: str) -> None:
    assert mention_of(code) == f"STOP au {code}"
    assert has_mention(mention_of(code))


@pytest.mark.parametrize("code", ["", "361", "36xxx", "3611111", "٣٦١١١", "36111\n"])
def test_other_short_codes_are_refused(code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        mention_of(code)
    assert (refusal.value.code, refusal.value.field) == (1001, "stopShortCode")


@pytest.mark.parametrize("raw", ["STOP au 36111", " Pour ne plus recevoir nos offres : STOP 36111\n", "Reply STOP"])
def test_an_account_may_word_its_mention(raw: str) -> None:
    assert parse_mention(raw) == raw.strip()


@pytest.mark.parametrize(
    "raw", ["", "STOP", "Bonne journée", "STOP au 36111 ${nom}", "Désabonnement : « STOP »", "STOP 36111" + "!" * 51]
)
def test_a_mention_that_is_none_or_dear_is_refused(raw: str) -> None:
    assert len("STOP 36111" + "!" * 50) == LONGEST_MENTION
    with pytest.raises(Invalid) as refusal:
        parse_mention(raw)
    assert (refusal.value.code, refusal.value.field) == (1001, "stopMention")


@given(st.text(), st.sampled_from([MENTION, Mention("Reply STOP"), Mention("Pub? STOP au 8850")]))
def test_every_text_says_how_to_stop_once(text: str, mention: Mention) -> None:
    once = with_mention(text, mention)
    assert once.startswith(text)
    assert has_mention(once)
    assert with_mention(once, mention) == once


@given(st.text())
def test_the_mention_never_changes_the_alphabet(text: str) -> None:
    assert segment(with_mention(text, MENTION)).alphabet is segment(text).alphabet
    before, after = mention_cost(text, MENTION)
    assert before <= after <= before + 1
    assert segment(MENTION).alphabet is Alphabet.GSM7


@pytest.mark.parametrize(
    ("detail", "is_stop"),
    [
        ("undelivered:053", True),
        ("undelivered:53", True),
        ("rejected:53", True),
        ("undelivered:530", False),
        ("undelivered", False),
        ("undelivered:", False),
        ("53", False),
        ("", False),
    ],
)
def test_an_operators_own_stop_is_a_code_in_a_receipt(detail: str, is_stop: bool) -> None:
    assert is_operator_stop(detail, {"53"}) is is_stop
    assert not is_operator_stop(detail, ())


# --- whose mention ---------------------------------------------------------------------------------------


def test_the_account_s_mention_goes_before_the_installation_s() -> None:
    def chosen(own: str | None, installation: Mention | None = MENTION) -> Mention | None:
        return mention_for(Settings(stop_mention=own), Family.MARKETING, installation)

    assert chosen(None) == MENTION
    assert chosen("STOP au 38200") == "STOP au 38200"
    assert chosen("") is None
    assert chosen(None, None) is None
    assert chosen("STOP au 38200", None) == "STOP au 38200"


def test_notifications_carry_no_mention() -> None:
    assert mention_for(Settings(stop_mention="STOP au 38200"), Family.NOTIFICATION, MENTION) is None
