"""What a connector does at the moment, and which of its figures is the one that holds it back.

`Meter` measures (pure: times are seconds of one monotonic clock), `Figures` is what it says, `limit_of` and
`limit_sentence` read it. It counts nothing itself: whoever has the counts hands them over, so that a message costs it
nothing and a batch a few additions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final, Literal, TypeAlias

from chappe.core.deliveries import Lately

Language: TypeAlias = Literal["en", "fr"]

FOLD_SECONDS: Final = 1.0
HALF_LIFE_SECONDS: Final = 5.0
"""How long it takes until what was measured counts half: "at the moment" is the last ten seconds or so."""


class Standing(IntEnum):
    """What a connector is doing, at one moment."""

    AWAY = 0
    """No bind that submits."""
    HELD = 1
    """Paused or draining."""
    FULL = 2
    """The window is full."""
    PACED = 3
    """The rate is used up."""
    OPEN = 4
    """There is room, and nothing was written."""


@dataclass(slots=True, frozen=True)
class Figures:
    """One connector at the moment. The shares are of time, but for `throttled_share`, which is of answers."""

    window: int
    """Submits in flight that all binds together allow, as far as they are bound."""
    in_flight: int
    round_trip_ms: float | None
    """From a submit to its answer; None until there was one lately."""
    submits_per_second: float
    throttled_share: float
    rate_limit: float | None
    """Submits a second that are allowed now; None: none."""
    rate_setting: float
    """What the contract allows; 0: not set."""
    bound: int
    binds: int
    """How many there should be, a pair counting as two."""
    held: bool
    """Paused or draining."""
    full_share: float
    paced_share: float
    open_share: float
    waiting: int | None = None
    """Parts on the queue for it, where whoever asks knows (`dataclasses.replace`)."""
    lately: Lately | None = None
    """What came of its submits, likewise."""


class Limit(Enum):
    """What holds a connector back."""

    NOT_BOUND = "not bound"
    HELD = "held"
    RATE = "rate"
    OPERATOR = "operator"
    WINDOW = "window"
    STORE = "store"
    NOTHING = "nothing"


SENTENCES: Mapping[Limit, tuple[str, str]] = {
    Limit.NOT_BOUND: ("not bound", "pas de session avec l'opérateur"),
    Limit.HELD: ("paused, or draining", "en pause, ou en train de finir"),
    Limit.RATE: ("rate setting {rate}/s", "réglage rate : {rate}/s"),
    Limit.OPERATOR: ("the operator throttles at about {rate}/s", "l'opérateur freine vers {rate}/s"),
    Limit.WINDOW: (
        "window {window} ÷ {round_trip} ms = {quotient}/s",
        "fenêtre {window} ÷ {round_trip} ms = {quotient}/s",
    ),
    Limit.STORE: (
        "{waiting} parts wait and the window has room: the store is slower than the operator",
        "{waiting} parties attendent et la fenêtre a de la place : la base est plus lente que l'opérateur",
    ),
    Limit.NOTHING: ("nothing to send", "rien à envoyer"),
}
"""Limit → how it is said, in English and in French."""

PARTLY: Final = (" ({bound} of {binds} binds)", " (sessions : {bound} sur {binds})")


def limit_of(figures: Figures) -> Limit:
    """The one figure that would have to change for more to leave."""
    if figures.held:
        return Limit.HELD
    if not figures.window:
        return Limit.NOT_BOUND
    most = max(figures.full_share, figures.paced_share, figures.open_share)
    if most == figures.open_share:
        return Limit.STORE if figures.waiting else Limit.NOTHING
    if most == figures.full_share:
        return Limit.WINDOW
    limit, setting = figures.rate_limit, figures.rate_setting
    return Limit.RATE if setting and (limit is None or limit >= setting) else Limit.OPERATOR


def limit_sentence(figures: Figures, language: Language = "en") -> str:
    """Says what the limit is: "window 10 ÷ 80 ms = 125/s"."""
    limit, spoken = limit_of(figures), 0 if language == "en" else 1
    round_trip = figures.round_trip_ms
    said = SENTENCES[limit][spoken].format(
        rate=_number(figures.rate_limit or figures.rate_setting, language),
        window=figures.window,
        round_trip="?" if round_trip is None else _number(round_trip, language),
        quotient="?" if not round_trip else _number(figures.window * 1_000 / round_trip, language),
        waiting=_number(figures.waiting or 0, language),
    )
    if limit is not Limit.NOT_BOUND and figures.bound < figures.binds:
        said += PARTLY[spoken].format(bound=figures.bound, binds=figures.binds)
    return said


def _number(value: float, language: Language) -> str:
    """Three digits or all before the point, grouped as the language does."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    text = f"{value:,.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if language == "en" else text.translate({ord(","): "\u202f", ord("."): ","})


class Meter:
    """Measures one connector; `submits`, `ended` and `throttled` are running totals of its submits, of those that
    ended, with an answer or without, and of those of them that were refused for their pace."""

    def __init__(self, now: float) -> None:
        self._standing = Standing.AWAY
        self._in_flight = 0
        self._at = self._folded_at = now
        self._times = [0.0] * len(Standing)
        self._area = self._fresh_area = 0.0
        """In-flight × seconds: by Little's law, divided by what ended it is the mean round trip."""
        self._totals = (0, 0, 0)
        self._seconds = self._submits = self._ended = self._throttled = 0.0

    def note(self, now: float, standing: Standing, in_flight: int) -> bool:
        """From now on it is so. True when it is time to `fold`."""
        passed = now - self._at
        self._at = now
        self._times[self._standing] += passed
        self._fresh_area += passed * self._in_flight
        self._standing = standing
        self._in_flight = in_flight
        return now - self._folded_at >= FOLD_SECONDS

    def fold(self, submits: int, ended: int, throttled: int) -> None:
        """Takes the totals in, as they are at the last note, and lets what is older fade."""
        since = self._at - self._folded_at
        self._folded_at = self._at
        before, self._totals = self._totals, (submits, ended, throttled)
        faded = 0.5 ** (since / HALF_LIFE_SECONDS)
        self._seconds += since
        self._submits += submits - before[0]
        self._ended += ended - before[1]
        self._throttled += throttled - before[2]
        self._seconds *= faded
        self._submits *= faded
        self._ended *= faded
        self._throttled *= faded
        self._area = (self._area + self._fresh_area) * faded
        self._fresh_area = 0.0
        self._times = [spent * faded for spent in self._times]

    @property
    def submits_per_second(self) -> float:
        return self._submits / self._seconds if self._seconds else 0.0

    @property
    def round_trip_ms(self) -> float | None:
        # Less than a thousandth of an answer is left of what was measured minutes ago.
        return 1_000 * self._area / self._ended if self._ended > 0.001 else None

    @property
    def throttled_share(self) -> float:
        return self._throttled / self._ended if self._ended > 0.001 else 0.0

    def share(self, standing: Standing) -> float:
        """Of the time, lately."""
        spent = sum(self._times)
        return self._times[standing] / spent if spent else 0.0
