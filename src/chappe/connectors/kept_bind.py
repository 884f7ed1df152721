"""One bind, made again whenever it ends.

Knows no messages: the events of its link go to its owner, who tells it what concerns the bind.

Two kinds of failure have two kinds of pause. An operator that cannot be reached is knocked at about once a second,
for as long as it takes: a TCP connection that is refused costs neither side anything, and messages wait. An operator
that was reached and did not let us in, or did not let us stay, has its reasons: the pauses double, up to a minute.

Several binds of one kind do not multiply this: while none of them holds, one goes first and the others follow.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from chappe.connectors.counts import Counts
from chappe.connectors.smpp_settings import SmppSettings
from chappe.connectors.trust import UnusableError, trust_of
from chappe.core.message import AttemptKey
from chappe.smpp import aio
from chappe.smpp.codec import SubmitBody
from chappe.smpp.pdus import Bind, EnquireLink, QuerySm, Status, Unbind, status_name
from chappe.smpp.session import Event, MisuseError, State

log = logging.getLogger(__name__)

ALARM_SECONDS = 300.0
"""How long an operator may be away before it is an error and not a warning."""
KNOCK_SECONDS: Final = 1.2
"""How long a connection to an operator that was away may take: one SYN and its first repetition, after 1 s. A longer
wait would miss its return, for the next repetitions are 2 and 4 s apart…"""
PATIENT_KNOCK: Final = 10
"""…but each tenth waits for `bind_seconds`, in case the way is that long."""
HANG_UP_SECONDS: Final = 1.0
"""How long an operator that has unbound may take to close the connection."""

BIND, PROBE, _UNBIND = object(), object(), object()
"""Tokens; a submit's is its attempt's key."""
_BOUND = frozenset({State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX})
_WRONG_CREDENTIALS = frozenset({Status.ESME_RINVPASWD, Status.ESME_RINVSYSID})


class Siblings:
    """The binds of one kind of one connector."""

    def __init__(self) -> None:
        self.binds: list[KeptBind] = []
        self.lead = asyncio.Lock()
        """Held by the one that tries while none holds."""

    @property
    def any_bound(self) -> bool:
        return any(bind.bound for bind in self.binds)


class KeptBind:
    """A bind that is made again when it ends."""

    def __init__(
        self,
        settings: SmppSettings,
        chance: Callable[[], float],
        on_events: Callable[[KeptBind, aio.Link, list[Event]], None],
        draining: asyncio.Event,
        counts: Counts,
        kind: type[Bind],
        siblings: Siblings,
    ) -> None:
        self.link: aio.Link | None = None
        self._kind = kind
        self._settings = settings
        self._chance = chance
        self._on_events = on_events
        self._draining = draining
        self._counts = counts
        self._siblings = siblings
        siblings.binds.append(self)
        self._fields = {"connector": settings.name, "bind": kind.__name__}
        if settings.binds > 1:
            self._fields["number"] = str(len(siblings.binds))
        self._decided = asyncio.Event()
        """The bind is answered, or the link is gone."""
        self._failures = 0
        self._unreached = False
        """Whether the last connection could not be made."""
        self._knocks = 0
        """How often it was tried to connect since the last bind ended; 0 before there was one."""
        self._wrong_credentials = False
        self._bound_at: float | None = None
        self._away_since = 0.0
        self._alarmed = False
        self._leaving = False
        self._close_due = False
        self._probing = False
        self._asking = 0
        """Questions under way; each ends with the link at the latest."""

    @property
    def bound(self) -> bool:
        return self.link is not None and self.link.session.state in _BOUND

    @property
    def window_free(self) -> int:
        """For submits. The session's window counts messages alone; a question takes the place of one."""
        return 0 if self.link is None or self._leaving else self.link.window_free - self._asking

    @property
    def in_flight(self) -> int:
        return 0 if self.link is None else self.link.session.in_flight

    def submit_many(self, submits: Sequence[tuple[SubmitBody, AttemptKey]]) -> None:
        """Only as many as `window_free` says."""
        if self.link is None:
            raise MisuseError("not bound")
        self.link.submit_many(submits)

    def ask(self, query: QuerySm, token: object) -> None:
        """Only while `window_free` says so; its end is to be told by `told`."""
        if self.link is None:
            raise MisuseError("not bound")
        self.link.request(query, token)
        self._asking += 1

    def told(self) -> None:
        """A question is answered, or will not be."""
        self._asking -= 1

    def adjust(self, settings: SmppSettings) -> None:
        """Takes the window of settings that differ in nothing else that a bind depends on."""
        self._settings = settings
        if self.link is not None:
            self.link.session.set_window(settings.window)

    async def keep(self) -> None:
        """Until cancelled or draining."""
        self._away_since = asyncio.get_running_loop().time()
        try:
            while not self._draining.is_set():
                await self._make()
                if self.link is not None:
                    await asyncio.shield(self.link.lost)
                    self._drop()
                    self._knocks = 1
                await self._pause()
        finally:
            self._drop()

    async def unbind(self) -> None:
        """Says goodbye and waits until the operator has hung up."""
        link = self.link
        if link is not None and self.bound:
            self._leaving = True
            self._say_goodbye(link)
            await asyncio.shield(link.lost)

    def close(self) -> None:
        if self.link is not None:
            self.link.close()

    # --- told by events ---

    def answered(self, status: int) -> None:
        """The bind's answer is here."""
        self._decided.set()
        if self.bound:
            self._counts.binds += 1
            self._bound_at = asyncio.get_running_loop().time()
            self._wrong_credentials = self._alarmed = False
            log.info("bound", extra=self._fields)
            return
        self._counts.binds_refused += 1
        self._close_due = True
        fields = {**self._fields, "status": status_name(status)}
        if status not in _WRONG_CREDENTIALS:
            self._wrong_credentials = False
            log.warning("bind refused", extra=fields)
        elif not self._wrong_credentials:
            # Tried again, slowly, in case the operator mends it; an account may be locked by too many tries.
            self._wrong_credentials = True
            log.error("bind refused: system_id or password is wrong, messages stay queued", extra=fields)

    def proved_useful(self) -> None:
        """Something went well over it: the next pause is the shortest again."""
        self._failures = 0

    def leave(self, status: int) -> None:
        """The session is at fault: no more submits, unbind once the others are answered, bind again."""
        if not self._leaving:
            self._leaving = True
            log.warning("session refused, binding again", extra={**self._fields, "status": status_name(status)})

    def suspect(self, link: aio.Link) -> None:
        """An answer did not come: asks whether anybody is there.

        The session asks by itself only after a silence, and a connection of which our half is broken is not silent.
        """
        if not self._probing:
            with suppress(MisuseError):  # the link is ending anyway
                link.request(EnquireLink(), PROBE)
                self._probing = True

    def reassured(self) -> None:
        """Somebody is."""
        self._probing = False

    def let_go(self, link: aio.Link) -> None:
        """The operator has unbound: it hangs up next, or we do."""
        log.info("operator says goodbye", extra=self._fields)
        asyncio.get_running_loop().call_later(HANG_UP_SECONDS, link.close)

    def lost(self, cause: str) -> None:
        self._decided.set()
        log.log(
            logging.INFO if self._draining.is_set() else logging.WARNING,
            "link ended",
            extra={**self._fields, "cause": cause},
        )

    def after_events(self, link: aio.Link) -> None:
        if self._close_due:
            self._close_due = False
            link.close()
        elif self._leaving and link.session.in_flight == 0:
            self._say_goodbye(link)

    # --- inside ---

    async def _make(self) -> None:
        """Tries once, alone while no sibling holds either; the first then goes on until it, or a sibling, does."""
        if self._siblings.any_bound:
            await self._try()
            return
        async with self._siblings.lead:
            while not self._draining.is_set():
                await self._try()
                if self._siblings.any_bound:
                    return
                self._drop()
                await self._pause()

    async def _try(self) -> None:
        """Connects and binds; afterwards there is a link or none, and it may be ending."""
        settings = self._settings
        self._bound_at = None
        self._leaving = self._close_due = self._probing = False
        self._decided.clear()
        try:
            # Read anew for each connection, so that a renewed certificate needs no restart; beside the loop.
            tls = await asyncio.to_thread(trust_of, settings) if settings.tls else False
            link = await self._connect(tls)
        except UnusableError as error:
            self._unreached = False
            log.error("certificate cannot be used", extra={**self._fields, "reason": str(error)})
            return
        except OSError as error:
            self._counts.unreachable += 1
            again, self._unreached = (
                self._unreached,
                not isinstance(error, ssl.SSLError),
            )  # somebody showed a certificate
            # Once, then quietly: it is tried about every second.
            log.log(
                logging.DEBUG if again else logging.WARNING,
                "no connection",
                extra={**self._fields, "error": str(error) or type(error).__name__},
            )
            self._knocks += 1
            return
        except Exception:
            log.exception("bind failed", extra=self._fields)
            return
        self._unreached = False
        self.link = link
        if self._draining.is_set():
            return
        with suppress(MisuseError):  # it may be gone already
            link.request(
                self._kind(
                    system_id=settings.system_id.encode(),
                    password=settings.password.encode(),
                    system_type=settings.system_type.encode(),
                    addr_ton=settings.address_ton,
                    addr_npi=settings.address_npi,
                    address_range=settings.address_range.encode(),
                ),
                BIND,
            )
        await self._decided.wait()

    async def _connect(self, tls: ssl.SSLContext | bool) -> aio.Link:
        settings = self._settings
        seconds = settings.bind_seconds
        if self._knocks % PATIENT_KNOCK:
            brief = min(seconds, KNOCK_SECONDS)
            if not tls:
                seconds = brief
            elif self._unreached:
                # TLS may take its time; whether anybody is there must be known sooner.
                async with asyncio.timeout(brief):
                    _, writer = await asyncio.open_connection(settings.host, settings.port)
                writer.transport.abort()
        return await aio.connect(
            settings.host,
            settings.port,
            partial(self._on_events, self),
            limits=settings.limits(),
            tls=tls,
            timeout_seconds=seconds,
        )

    def _drop(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close()
            link.abort()

    def _say_goodbye(self, link: aio.Link) -> None:
        with suppress(MisuseError):  # said already, or nobody there
            link.request(Unbind(), _UNBIND)

    async def _pause(self) -> None:
        if self._draining.is_set():
            return
        pause = self._next_pause(asyncio.get_running_loop().time())
        log.log(
            logging.DEBUG if self._unreached else logging.INFO,
            "binding again",
            extra={**self._fields, "pause_seconds": round(pause, 3)},
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._draining.wait()

    def _next_pause(self, now: float) -> float:
        settings = self._settings
        if self._bound_at is not None:
            self._away_since = now
            if now - self._bound_at >= settings.retry_seconds:
                # It held: what ended it was no refusal, and the operator may be back any moment.
                self._failures = 0
        elif now - self._away_since > ALARM_SECONDS and not self._alarmed:
            self._alarmed = True
            log.error("operator unreachable for 5 minutes, messages stay queued", extra=self._fields)
        if self._unreached:
            pause = settings.retry_seconds
        else:
            longest = settings.longest_retry_seconds
            pause = longest if self._wrong_credentials else min(settings.retry_seconds * 2**self._failures, longest)
            self._failures = min(self._failures + 1, 30)
        return pause * (0.75 + self._chance() / 2)
