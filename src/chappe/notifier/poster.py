"""Posts deliveries: a lane per endpoint, so that one that hangs holds nobody else's place."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile

from chappe.core.targets import forbidden_url, parse_networks
from chappe.core.webhooks import Delivery, EndpointId, Outcome, Trouble, read_retry_after, signed_lines
from chappe.notifier.guard import (
    ForbiddenAddress,
    GuardedNames,
    LookUp,
    UnknownName,
    guarded_sockets,
    system_look_up,
)
from chappe.notifier.pipe import Start
from chappe.notifier.posting import Connections, Exchange, NotHttp, Place, Target, Unreachable, target_of

TROUBLES: tuple[tuple[type[Exception], Trouble], ...] = (
    # From the special to the general: the first that fits.
    (TimeoutError, Trouble.TIMEOUT),
    (ssl.SSLError, Trouble.TLS),
    (UnknownName, Trouble.NAME),
    (Unreachable, Trouble.UNREACHABLE),
    (NotHttp, Trouble.PROTOCOL),
    (ConnectionError, Trouble.DISCONNECTED),
)
"""What posting raises → what it means here; anything else is a fault of ours."""


@dataclass(slots=True, eq=False)
class _Lane:
    """The deliveries held for one endpoint: the waiting ones, and those being tried."""

    waiting: deque[Delivery] = field(default_factory=deque)
    tries: int = 0
    in_line: bool = False
    """For a place."""


class _Try(Exchange):
    """A delivery's request."""

    __slots__ = ("delivery", "lane")

    def __init__(self, delivery: Delivery, lane: _Lane, place: Place, request: bytes) -> None:
        super().__init__(place, request)
        self.delivery = delivery
        self.lane = lane


class Poster:
    """`hear` is told the outcome of every delivery taken, exactly once each, in any order.

    Make it inside a running loop. `now_ms` is the wall clock, for signatures and dates.
    """

    def __init__(
        self,
        start: Start,
        now_ms: Callable[[], int],
        hear: Callable[[Outcome], None],
        look_up: LookUp | None = None,
    ) -> None:
        self._start = start
        self._now_ms = now_ms
        self._hear = hear
        self._allowed = parse_networks(start.allow)
        self._target: Callable[[str], Target] = lru_cache(maxsize=1024)(self._read_target)
        self._lanes: dict[EndpointId, _Lane] = {}
        self._tries: dict[_Try, None] = {}
        """Under way, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()
        # Waiting for a place is not part of a try: its time-out would blame an endpoint for the others' slowness.
        self._places = start.connections
        self._line: deque[_Lane] = deque()
        """Lanes that wait for a place."""
        self._connections: Connections[_Try] = Connections(
            GuardedNames(self._allowed, look_up or system_look_up(), start.name_seconds),
            guarded_sockets(self._allowed),
            start.answer_bytes,
            self._over,
        )

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Posts them in order of arrival per endpoint; what finds its lane full is handed back."""
        at_most = self._start.per_endpoint + self._start.queue
        for delivery in deliveries:
            lane = self._lanes.get(delivery.endpoint)
            if lane is None:
                lane = self._lanes[delivery.endpoint] = _Lane()
            if self._stopping or lane.tries + len(lane.waiting) >= at_most:
                self._hear(_not_tried(delivery))
                continue
            lane.waiting.append(delivery)
            self._fill(lane)

    async def drain(self) -> None:
        """Hands back what waits, and ends with the requests under way."""
        self._stopping = True
        for lane in self._lanes.values():
            self._hand_back(lane)
        await self._idle.wait()

    async def close(self) -> None:
        """After `drain`."""
        if self._timer is not None:
            self._timer.cancel()
        self._connections.close()

    def _fill(self, lane: _Lane) -> None:
        """Begins as many tries as the lane may have."""
        while lane.waiting and lane.tries < self._start.per_endpoint and not lane.in_line:
            if self._places > len(self._line):
                self._begin(lane)
            else:
                lane.in_line = True
                self._line.append(lane)

    def _begin(self, lane: _Lane) -> None:
        delivery = lane.waiting.popleft()
        try:
            target = self._target(delivery.url)
            one = _Try(delivery, lane, target.place, request_of(target, delivery, self._now_ms()))
        except Exception as error:  # a forbidden URL, or a secret that is none
            trouble, detail = trouble_of(error)
            self._hear(Outcome(delivery.id, trouble=trouble, detail=detail))
            self._forget(lane, delivery.endpoint)
            return
        lane.tries += 1
        self._places -= 1
        self._tries[one] = None
        self._idle.clear()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._start.timeout_seconds, self._look_for_late_ones)
        self._connections.begin(one)

    def _over(self, one: _Try) -> None:
        lane, delivery = one.lane, one.delivery
        del self._tries[one]
        lane.tries -= 1
        self._places += 1
        outcome = self._outcome_of(one)
        self._hear(outcome)
        if outcome.trouble is Trouble.TIMEOUT:
            # It hangs: those behind would wait through more time-outs, holding places that others need.
            self._hand_back(lane)
        while self._line and self._places:
            first = self._line.popleft()
            first.in_line = False
            if first.waiting:
                self._begin(first)
            self._fill(first)
        self._fill(lane)
        self._forget(lane, delivery.endpoint)
        if not self._tries:
            self._idle.set()

    def _forget(self, lane: _Lane, endpoint: EndpointId) -> None:
        """A lane that holds nothing."""
        if not lane.tries and not lane.waiting:
            self._lanes.pop(endpoint, None)

    def _hand_back(self, lane: _Lane) -> None:
        while lane.waiting:
            self._hear(_not_tried(lane.waiting.popleft()))

    def _look_for_late_ones(self) -> None:
        seconds = self._start.timeout_seconds
        late = time.monotonic() - seconds
        for one in list(takewhile(lambda one: one.began_at <= late, self._tries)):
            self._connections.give_up(one, TimeoutError())
        oldest = next(iter(self._tries), None)
        self._timer = None
        if oldest is not None:
            left = oldest.began_at - late
            self._timer = asyncio.get_running_loop().call_later(left, self._look_for_late_ones)

    def _outcome_of(self, one: _Try) -> Outcome:
        took_ms = int((time.monotonic() - one.began_at) * 1000)
        if one.error is not None:
            trouble, detail = trouble_of(one.error)
            return Outcome(one.delivery.id, None, trouble, detail, None, took_ms)
        pause = None if one.retry_after is None else read_retry_after(one.retry_after, self._now_ms())
        return Outcome(one.delivery.id, one.status, None, "", pause, took_ms)

    def _read_target(self, url: str) -> Target:
        if word := forbidden_url(url, self._allowed):
            raise ForbiddenAddress(word)
        return target_of(url)


def request_of(target: Target, delivery: Delivery, now: int) -> bytes:
    """All that is written: a POST, signed as of now."""
    body = delivery.body
    signed = signed_lines(delivery.event, body, delivery.secrets, now)
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (target.head, signed, len(body), body)


def _not_tried(delivery: Delivery) -> Outcome:
    return Outcome(delivery.id, trouble=Trouble.NOT_TRIED)


def trouble_of(error: Exception) -> tuple[Trouble, str]:
    """The trouble, and its detail; never the error's own words, which may quote a URL."""
    if isinstance(error, ForbiddenAddress):
        return Trouble.FORBIDDEN, error.word
    for kind, trouble in TROUBLES:
        if isinstance(error, kind):
            return trouble, ""
    return Trouble.FAULT, type(error).__name__
