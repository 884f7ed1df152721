"""From a send to an operator's window with a moved clock: marketing leaves in its recipient's hours, on any engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from store_scene import HOUR, MINUTE, NOW, VALIDITY, Scene

from chappe.core.message import Account, Family, Key, Settings, Submission
from chappe.core.optout import Mention
from chappe.core.routing import Portion, Route
from chappe.core.text import PLAIN, Cut
from chappe.flow.accept import SendRequest, accept, validate
from chappe.flow.dispatch import Dispatcher

SUNDAY_EVENING = NOW + 58 * HOUR
"""19:00 in Paris; NOW is a Friday, 09:00."""
MONDAY_AT_EIGHT = NOW + 71 * HOUR
PARIS, REUNION, GUADELOUPE = "+33612345678", "+262692123456", "+590690123456"


@dataclass
class OurTerms:
    live_route: str = "live"
    routes: Sequence[Route] = ()
    links_base: str | None = None
    default_validity_ms: int = VALIDITY
    stop_mention: Mention | None = None
    cut: Cut = PLAIN
    token: Callable[[], str] = lambda: "Token0000000"


@dataclass
class Line:
    """An operator that takes what it is given, and when it was."""

    epoch: int
    clock: Callable[[], int]
    bound: bool = True
    left: list[tuple[str, int]] = field(default_factory=list)
    """Number, and moment."""
    name: str = "operator"

    def free(self) -> int:
        return 10 if self.bound else 0

    def submit(self, submissions: Sequence[Submission]) -> Sequence[Submission]:
        self.left += [(submission.number, self.clock()) for submission in submissions]
        return ()


class Shop:
    """An account that sends, and its operator; time passes by the minute."""

    def __init__(self, scene: Scene, now: int) -> None:
        self.scene = scene
        self.now = now
        self.line = Line(scene.epochs["operator"], lambda: self.now)
        self.dispatcher = Dispatcher(scene.store, self.line, lambda: [Portion("live")], lambda: self.now)
        settings = Settings(international=True)
        self.key = Key(1, Account(scene.account, "acme", blocked=False, settings=settings), False, "0123", NOW, None)

    async def send(self, number: str, family: Family = Family.MARKETING, date: int | None = None) -> None:
        request = SendRequest(number, "Soldes", date=date)
        send = validate(request, self.key, family, OurTerms(), self.now)
        await accept(self.scene.store, send, lambda route: None)

    async def pass_time(self, until: int) -> None:
        while True:
            while await self.dispatcher.step():
                pass
            if self.now >= until:
                return
            self.now += MINUTE


async def test_marketing_of_a_sunday_evening_leaves_on_monday_at_eight_by_each_recipient_s_clock(scene: Scene) -> None:
    shop = Shop(scene, SUNDAY_EVENING)
    for number in (PARIS, REUNION, GUADELOUPE):
        await shop.send(number)
    await shop.send(PARIS, Family.NOTIFICATION)
    await shop.pass_time(MONDAY_AT_EIGHT + 6 * HOUR)
    assert shop.line.left == [
        (PARIS, SUNDAY_EVENING),  # the notification
        (REUNION, MONDAY_AT_EIGHT - 3 * HOUR),
        (PARIS, MONDAY_AT_EIGHT),
        (GUADELOUPE, MONDAY_AT_EIGHT + 5 * HOUR),
    ]


async def test_marketing_that_an_outage_keeps_until_night_leaves_in_the_morning(scene: Scene) -> None:
    shop = Shop(scene, NOW)
    shop.line.bound = False
    for number in (PARIS, REUNION):
        await shop.send(number)
    await shop.pass_time(NOW + 14 * HOUR)
    shop.line.bound = True  # Friday, 23:00 in Paris
    await shop.pass_time(NOW + 24 * HOUR)
    saturday_at_eight = NOW + 23 * HOUR
    assert shop.line.left == [(REUNION, saturday_at_eight - 3 * HOUR), (PARIS, saturday_at_eight)]


async def test_marketing_scheduled_for_a_sunday_leaves_on_monday(scene: Scene) -> None:
    shop = Shop(scene, NOW)
    await shop.send(PARIS, date=SUNDAY_EVENING)
    shop.now = SUNDAY_EVENING - MINUTE
    await shop.pass_time(MONDAY_AT_EIGHT)
    assert shop.line.left == [(PARIS, MONDAY_AT_EIGHT)]
