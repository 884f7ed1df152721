"""Posts deliveries: a lane per endpoint, so that one that hangs holds nobody else's place."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from chappe.core.targets import forbidden_url, parse_networks
from chappe.core.webhooks import Delivery, EndpointId, Outcome, Trouble, read_retry_after, signed_headers
from chappe.notifier.guard import (
    ForbiddenAddress,
    GuardedNames,
    LookUp,
    UnknownName,
    guarded_sockets,
    system_look_up,
)
from chappe.notifier.pipe import Start
from chappe.notifier.posting import Answer, Connections, NotHttp, Target, Unreachable, target_of

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


@dataclass(slots=True)
class _Lane:
    """The deliveries held for one endpoint: the waiting ones, and one per worker."""

    waiting: deque[Delivery] = field(default_factory=deque)
    workers: int = 0
    held: int = 0


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
        self._workers: set[asyncio.Task[None]] = set()
        self._stopping = False
        # Waiting for a place is not part of a try: its time-out would blame an endpoint for the others' slowness.
        # So the places are counted here, and the connector has no limit.
        self._places = asyncio.Semaphore(start.connections)
        self._connections = Connections(
            GuardedNames(self._allowed, look_up or system_look_up(), start.name_seconds),
            guarded_sockets(self._allowed),
            start.answer_bytes,
        )

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Posts them in order of arrival per endpoint; what finds its lane full is handed back."""
        for delivery in deliveries:
            lane = self._lanes.get(delivery.endpoint)
            if lane is None:
                lane = self._lanes[delivery.endpoint] = _Lane()
            if self._stopping or lane.held >= self._start.per_endpoint + self._start.queue:
                self._hear(_not_tried(delivery))
                continue
            lane.held += 1
            lane.waiting.append(delivery)
            if lane.workers < self._start.per_endpoint:
                lane.workers += 1
                worker = asyncio.create_task(self._work(delivery.endpoint, lane))
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)

    async def drain(self) -> None:
        """Hands back what waits, and ends with the requests under way."""
        self._stopping = True
        for lane in self._lanes.values():
            self._hand_back(lane)
        if self._workers:
            await asyncio.wait(self._workers)

    async def close(self) -> None:
        """After `drain`."""
        self._connections.close()

    async def _work(self, endpoint: EndpointId, lane: _Lane) -> None:
        """One of the requests at a time that the lane may have."""
        while lane.waiting:
            async with self._places:
                # The others may have emptied the lane meanwhile.
                if not lane.waiting:
                    break
                outcome = await self._post(lane.waiting.popleft())
            lane.held -= 1
            self._hear(outcome)
            if outcome.trouble is Trouble.TIMEOUT:
                # It hangs: those behind would wait through more time-outs, holding places that others need.
                self._hand_back(lane)
        lane.workers -= 1
        if lane.workers == 0:
            self._lanes.pop(endpoint, None)

    def _hand_back(self, lane: _Lane) -> None:
        while lane.waiting:
            lane.held -= 1
            self._hear(_not_tried(lane.waiting.popleft()))

    async def _post(self, delivery: Delivery) -> Outcome:
        began = time.monotonic()
        answer, outcome = Answer(0), Outcome(delivery.id)
        try:
            async with asyncio.timeout(self._start.timeout_seconds):
                await self._request(delivery, answer)
        except Exception as error:
            # Once there is a status it stands, whatever happens to the rest of the answer.
            if not answer.status:
                outcome.trouble, outcome.detail = trouble_of(error)
        if answer.status:
            outcome.status = answer.status
            outcome.retry_after_ms = read_retry_after(answer.retry_after, self._now_ms())
        outcome.took_ms = int((time.monotonic() - began) * 1000)
        return outcome

    async def _request(self, delivery: Delivery, answer: Answer) -> None:
        target = self._target(delivery.url)
        signed = signed_headers(delivery.event, delivery.body, delivery.secrets, self._now_ms())
        headers = "".join(f"{name}: {value}\r\n" for name, value in signed.items()).encode("ascii")
        await self._connections.post(target, headers, delivery.body, answer)

    def _read_target(self, url: str) -> Target:
        if word := forbidden_url(url, self._allowed):
            raise ForbiddenAddress(word)
        return target_of(url)


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
