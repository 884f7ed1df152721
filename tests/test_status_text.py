from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from chappe.core.hours import Rule
from chappe.core.message import State
from chappe.status_text import RULES, STATES, Language, accepted, describe, is_final, news

PARIS = timezone(timedelta(hours=1))
AT = 1_795_511_523_000
STATUS = {"id": 7, "identifier": "+33600000000", "submitted": AT, "state": "submitted", "stateDate": AT, "test": False}


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_state_has_words(language: Language) -> None:
    assert list(STATES[language]) == list(State)


@pytest.mark.parametrize(
    ("language", "answer"),
    [("fr", "Remis le 24/11/2026 à 10:12:03"), ("en", "Delivered on 2026-11-24 at 10:12:03")],
)
def test_first_line_is_the_answer(language: Language, answer: str) -> None:
    status = STATUS | {"delivered": AT, "state": "delivered"}
    assert describe(status, language, PARIS)[0] == answer


def test_states_stand_in_the_order_of_rank_whatever_their_times() -> None:
    status = STATUS | {"reply": AT, "sent": AT - 500, "delivered": AT, "state": "reply", "replyMessage": "Merci"}
    assert describe(status, "fr", PARIS) == [
        "Réponse reçue le 24/11/2026 à 10:12:03",
        "Message 7 au +33600000000",
        "Réponse : Merci",
        "  Accepté              le 24/11/2026 à 10:12:03",
        "  Pris par l'opérateur le 24/11/2026 à 10:12:02",
        "  Remis                le 24/11/2026 à 10:12:03",
        "  Réponse reçue        le 24/11/2026 à 10:12:03",
    ]


def test_what_needs_a_warning_gets_one() -> None:
    status = STATUS | {"test": True, "inDoubt": 1, "resent": 2, "cause": "expired"}
    assert describe(status, "en", PARIS)[2:6] == [
        "Test traffic: nobody received it",
        "In doubt: the operator has not answered, it may have the message",
        "Possibly received twice: sent again because the operator did not answer",
        "Cause: expired",
    ]


@pytest.mark.parametrize(
    ("rule", "french", "english"),
    [
        ("hours", "pas de publicité à cette heure", "no advertising at this hour"),
        ("sunday", "pas de publicité le dimanche", "no advertising on Sundays"),
        ("holiday", "pas de publicité les jours fériés", "no advertising on public holidays"),
        ("eclipse", "eclipse", "eclipse"),  # of a later release
    ],
)
def test_held_message_says_by_which_rule_and_until_when(rule: str, french: str, english: str) -> None:
    status = STATUS | {"heldBy": f"fr-af2m-2026:{rule}", "heldUntil": AT + 60_000}
    assert describe(status, "fr", PARIS)[2] == f"Retenu, {french} (fr-af2m-2026) : part le 24/11/2026 à 10:13:03"
    assert describe(status, "en", PARIS)[2] == f"Held, {english} (fr-af2m-2026): leaves on 2026-11-24 at 10:13:03"


def test_scheduled_message_says_when_it_leaves() -> None:
    status = STATUS | {"scheduled": AT + 60_000}
    assert describe(status, "fr", PARIS)[2] == "Programmé : part le 24/11/2026 à 10:13:03"
    assert describe(status, "en", PARIS)[2] == "Scheduled: leaves on 2026-11-24 at 10:13:03"


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_rule_of_hours_has_words(language: Language) -> None:
    assert list(RULES[language]) == [rule.value for rule in Rule]


def test_reply_cannot_command_the_terminal() -> None:
    lines = describe(STATUS | {"replyMessage": "a\x1b[2J\nb\u202ec {id}"}, "en", PARIS)
    assert "Answer: a [2J b c {id}" in lines


def test_state_of_a_later_release_is_shown_by_its_name() -> None:
    assert describe(STATUS | {"state": "pondered"}, "en", PARIS)[0] == "pondered on 2026-11-24 at 10:12:03"


def test_news_are_the_states_that_were_not_there() -> None:
    sent = STATUS | {"sent": AT, "state": "sent"}
    assert news(STATUS, sent, "en", PARIS) == ["Taken by the operator on 2026-11-24 at 10:12:03"]
    assert news(sent, sent, "en", PARIS) == []


@pytest.mark.parametrize("state", list(State))
def test_status_is_final_once_delivery_is_decided(state: State) -> None:
    status = STATUS | {state.public_name: AT}
    assert is_final(status) == (state not in (State.SUBMITTED, State.SENT))


def test_accepted_names_the_message() -> None:
    answer = {"snapshotId": "386479", "creditsUsed": 2.0}
    assert accepted(answer, "fr") == "Message 386479 accepté ; crédits : 2"
