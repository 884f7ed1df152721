"""The status answer in plain words, French or English, for people who ask "did it arrive?" in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Any, Literal, TypeAlias

from chappe.core.message import State

Language: TypeAlias = Literal["fr", "en"]
Status: TypeAlias = Mapping[str, Any]
"""The answer of `GET /v2/messages/status`."""

STATES: Mapping[Language, Mapping[State, str]] = {
    "fr": {
        State.SUBMITTED: "Accepté",
        State.SENT: "Pris par l'opérateur",
        State.DELIVERED: "Remis",
        State.BOUNCED: "Numéro non attribué",
        State.ERROR: "Non remis",
        State.OPENED: "Lien ouvert",
        State.REPLY: "Réponse reçue",
        State.UNSUBSCRIBED: "STOP reçu",
    },
    "en": {
        State.SUBMITTED: "Accepted",
        State.SENT: "Taken by the operator",
        State.DELIVERED: "Delivered",
        State.BOUNCED: "Number not assigned",
        State.ERROR: "Not delivered",
        State.OPENED: "Link opened",
        State.REPLY: "Answered",
        State.UNSUBSCRIBED: "Answered STOP",
    },
}

_TIMES: Mapping[Language, str] = {
    "fr": "le {0:%d/%m/%Y} à {0:%H:%M:%S}",
    "en": "on {0:%Y-%m-%d} at {0:%H:%M:%S}",
}

_NOTES: Mapping[Language, Mapping[str, str]] = {
    "fr": {
        "accepted": "Message {snapshotId} accepté ; crédits : {creditsUsed:g}",
        "message": "Message {id} au {identifier}",
        "test": "Envoi de test : personne ne l'a reçu",
        "inDoubt": "En doute : l'opérateur n'a pas répondu, il a peut-être le message",
        "resent": "Peut-être reçu en double : renvoyé faute de réponse de l'opérateur",
        "cause": "Cause : {cause}",
        "scheduled": "Programmé : part {when}",
        "held": "Retenu, {rule} ({pack}) : part {when}",
        "replyMessage": "Réponse : {replyMessage}",
    },
    "en": {
        "accepted": "Message {snapshotId} accepted; credits: {creditsUsed:g}",
        "message": "Message {id} to {identifier}",
        "test": "Test traffic: nobody received it",
        "inDoubt": "In doubt: the operator has not answered, it may have the message",
        "resent": "Possibly received twice: sent again because the operator did not answer",
        "cause": "Cause: {cause}",
        "scheduled": "Scheduled: leaves {when}",
        "held": "Held, {rule} ({pack}): leaves {when}",
        "replyMessage": "Answer: {replyMessage}",
    },
}

RULES: Mapping[Language, Mapping[str, str]] = {
    # By the values of `hours.Rule`, which takes longer to import than a status takes to show.
    "fr": {
        "hours": "pas de publicité à cette heure",
        "sunday": "pas de publicité le dimanche",
        "holiday": "pas de publicité les jours fériés",
    },
    "en": {
        "hours": "no advertising at this hour",
        "sunday": "no advertising on Sundays",
        "holiday": "no advertising on public holidays",
    },
}

_SHOWN_IF_TRUE = ("test", "inDoubt", "resent", "cause", "replyMessage")
_FINAL_RANK = State.DELIVERED.rank


def accepted(answer: Mapping[str, Any], language: Language) -> str:
    """The answer to a send in one line."""
    return _printable(_NOTES[language]["accepted"].format_map(answer))


def describe(status: Status, language: Language, zone: tzinfo | None = None) -> list[str]:
    """The answer in one line, then what it is about, then a line per state reached; times are of `zone` (None: local).

    Nothing that could command the terminal is left in it: a reply is anybody's text.
    """
    notes = _NOTES[language]
    state = next((state for state in State if state.public_name == status["state"]), None)
    when = _time(status["stateDate"], language, zone)
    lines = [f"{STATES[language][state] if state else status['state']} {when}"]
    details: Status = {"identifier": "?", **status}
    lines.append(notes["message"].format_map(details))
    lines += _waiting(status, language, zone)
    lines += [notes[key].format_map(details) for key in _SHOWN_IF_TRUE if status.get(key)]
    width = max(map(len, STATES[language].values()))
    lines += [f"  {words:<{width}} {when}" for words, when in _reached(status, language, zone)]
    return [_printable(line) for line in lines]


def news(before: Status, after: Status, language: Language, zone: tzinfo | None = None) -> list[str]:
    """A line for each state that `after` has reached and `before` had not."""
    known = set(_reached(before, language, zone))
    return [f"{words} {when}" for words, when in _reached(after, language, zone) if (words, when) not in known]


def is_final(status: Status) -> bool:
    """Whether delivery is decided; a click or a reply may still follow."""
    return any(status.get(state.public_name) is not None for state in State if state.rank >= _FINAL_RANK)


def follow(last: Status, ask: Callable[[], Status], pause: Callable[[], None]) -> Iterator[Status]:
    """Yields the status each time it differs from `last` or the one before, until it is final."""
    while not is_final(last):
        pause()
        status = ask()
        if status != last:
            yield status
        last = status


def _reached(status: Status, language: Language, zone: tzinfo | None) -> list[tuple[str, str]]:
    """(words, time) of each state reached, in the order of rank, which times need not follow."""
    return [
        (words, _time(status[state.public_name], language, zone))
        for state, words in STATES[language].items()
        if status.get(state.public_name) is not None
    ]


def _waiting(status: Status, language: Language, zone: tzinfo | None) -> Iterator[str]:
    """Why it has not left yet: its date is still to come, or its recipient's hours are closed."""
    notes = _NOTES[language]
    if status.get("scheduled"):
        yield notes["scheduled"].format(when=_time(status["scheduled"], language, zone))
    if status.get("heldUntil"):
        pack, _, rule = str(status.get("heldBy")).partition(":")
        yield notes["held"].format(
            rule=RULES[language].get(rule, rule), pack=pack, when=_time(status["heldUntil"], language, zone)
        )


def _time(at_ms: int, language: Language, zone: tzinfo | None) -> str:
    return _TIMES[language].format(datetime.fromtimestamp(at_ms / 1000, zone))


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else " " for character in line)
