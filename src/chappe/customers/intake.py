"""From what a customer submits to messages on disk, and back to a status and an id for each.

A part of a long message is stored and answered by itself, because many clients wait for its answer before they send the
next; the part that makes it whole turns all of them into one message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from chappe.core.customers import EXPIRED, Customer, KeptPart, Serving, Submit, SubmitId
from chappe.core.errors import Invalid, StoreUnavailable
from chappe.core.message import Accepted, Family, Key, NotAccepted, SendMessage
from chappe.customers.reading import (
    STATUSES,
    STORE_AWAY,
    Request,
    Unacceptable,
    Wish,
    join,
    read_submit,
    read_wish,
    send_request,
    status_of,
)
from chappe.flow.accept import Terms, validate
from chappe.flow.rates import Rates
from chappe.smpp.pdus import Status, SubmitSm

OVERDUE_AT_ONCE: Final = 100
_STAND_IN: Final = "."
"""In the place of a text that is not there yet, so that all else can be checked."""


class Outcome(NamedTuple):
    """What a submit is answered with: a status, and with ESME_ROK an id."""

    status: int
    id: SubmitId = SubmitId(0)

    @property
    def message_id(self) -> bytes:
        return b"%d" % self.id


class Intake:
    """`wake` is told of a route once something for it is durable."""

    def __init__(
        self, store: Serving, terms: Terms, rates: Rates, *, now_ms: Callable[[], int], wake: Callable[[str], None]
    ) -> None:
        self._store = store
        self._terms = terms
        self._rates = rates
        self._now_ms = now_ms
        self._wake = wake

    async def take(self, customer: Customer, submits: Sequence[SubmitSm]) -> list[Outcome]:
        """In their order, once all that is accepted is durable."""
        now, key = self._now_ms(), _key_of(customer)
        outcomes = [Outcome(STORE_AWAY)] * len(submits)
        messages: list[tuple[int, SendMessage, Submit]] = []
        parts: list[tuple[int, Request]] = []
        for index, pdu in enumerate(submits):
            try:
                request = read_submit(pdu, customer, now)
                text = _STAND_IN if request.is_part else request.text()
                send = self._check(request.wish, text, key, now)
                standing = await self._rates.spend(key)
            except Unacceptable as error:
                outcomes[index] = Outcome(error.status)
            except Invalid as error:
                outcomes[index] = Outcome(status_of(error))
            except StoreUnavailable:
                pass
            else:
                if standing is not None and standing.retry_ms is not None:
                    outcomes[index] = Outcome(Status.ESME_RTHROTTLED)
                elif request.is_part:
                    parts.append((index, request))
                else:
                    messages.append((index, send, request.submit))
        await self._accept(messages, outcomes)
        await self._keep(customer, key, parts, now, outcomes)
        return outcomes

    async def finish_overdue(self) -> None:
        """Joins what a node that died has left whole, and gives up what was not whole in time."""
        now = self._now_ms()
        for overdue in await self._store.overdue_parts(now, OVERDUE_AT_ONCE):
            ids = [part.id for part in overdue.parts]
            if len(ids) == overdue.total:
                await self._join(overdue.customer, _key_of(overdue.customer), overdue.parts, ids, now)
            else:
                await self._store.join_parts(overdue.customer.id, ids, EXPIRED, ids, now)

    # --- whole messages ---

    def _check(self, wish: Wish, text: str, key: Key, now: int) -> SendMessage:
        """Raises Invalid, Unacceptable."""
        return validate(send_request(wish, text, now), key, Family(wish.family), self._terms, now)

    async def _accept(self, messages: Sequence[tuple[int, SendMessage, Submit]], outcomes: list[Outcome]) -> None:
        if not messages:
            return
        try:
            accepted = await self._store.accept_submits([(send, submit) for _, send, submit in messages])
        except StoreUnavailable:
            return
        for (index, _, _), one in zip(messages, accepted, strict=True):
            outcomes[index] = _outcome_of(one)
        for route in {send.route for _, send, _ in messages}:
            self._wake(route)

    # --- parts ---

    async def _keep(
        self,
        customer: Customer,
        key: Key,
        parts: Sequence[tuple[int, Request]],
        now: int,
        outcomes: list[Outcome],
    ) -> None:
        if not parts:
            return
        try:
            kept = await self._store.keep_parts([request.part() for _, request in parts], now)
        except StoreUnavailable:
            return
        for (index, _), one in zip(parts, kept, strict=True):
            # Durable by itself: should the store be away now, another look finds it whole.
            outcomes[index] = Outcome(Status.ESME_ROK, one.id)
            if one.whole:
                answered = [part.id for part in one.whole if part.id != one.id]
                try:
                    joined = await self._join(customer, key, one.whole, answered, now)
                except StoreUnavailable:
                    continue
                if joined.status:
                    outcomes[index] = joined

    async def _join(
        self, customer: Customer, key: Key, parts: Sequence[KeptPart], answered: Sequence[SubmitId], now: int
    ) -> Outcome:
        """ESME_ROK also when somebody else has joined them. Raises StoreUnavailable."""
        ids = [part.id for part in parts]
        try:
            send = self._check(read_wish(parts[0].wish), join(parts), key, now)
        except Unacceptable as error:
            await self._store.join_parts(customer.id, ids, "refused", answered, now)
            return Outcome(error.status)
        except Invalid as error:
            await self._store.join_parts(customer.id, ids, f"refused:{error.code}", answered, now)
            return Outcome(status_of(error))
        joined = await self._store.join_parts(customer.id, ids, send, answered, now)
        if isinstance(joined, Accepted):
            self._wake(send.route)
        return Outcome(Status.ESME_ROK) if joined is None else _outcome_of(joined)


def _key_of(customer: Customer) -> Key:
    """As accounts are known to what it shares with the API. Its tokens are its own: ids of keys are positive."""
    return Key(-customer.id, customer.account, customer.test, "", customer.created_at, None)


def _outcome_of(one: Accepted | NotAccepted) -> Outcome:
    if isinstance(one, Accepted):
        return Outcome(Status.ESME_ROK, SubmitId(one.id))
    return Outcome(STATUSES.get(one.code, Status.ESME_RSUBMITFAIL))
