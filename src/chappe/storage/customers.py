"""Customers in the store, for every engine: their passwords, their submits, and what they are still to be told.

What became of a message is told by the transaction that reaches its end (statement `insert_event`), what a person
wrote by the one that stores the reply (`work`, statement `tell_reply`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from chappe.core.customers import (
    EXPIRED,
    PARTS_WAIT_MS,
    TELLINGS_KEPT_MS,
    Address,
    Again,
    Answer,
    Customer,
    CustomerId,
    Kept,
    KeptPart,
    Overdue,
    Part,
    Receipt,
    Submit,
    SubmitId,
    Submitted,
    Telling,
    TellingId,
)
from chappe.core.message import Accepted, AccountId, Family, MessageId, NotAccepted, SendMessage, State
from chappe.storage.engine import Engine
from chappe.storage.steps import Row, Steps, ask, lock, tell
from chappe.storage.work import STATES, accept, account_of

DROPPED_AT_ONCE = 1_000
LEFT_ALONE_MS = 30_000
"""After this, parts that are all there were left by a node that died."""
RECEIPT_TEXT = 20
"""Characters of its text that a receipt repeats (SMPP 3.4, appendix B)."""

_ERROR = STATES.index(State.ERROR)
_FAMILIES = tuple(Family)


def customer_of(row: Sequence[Any]) -> Customer:
    """The columns of `find_customer`."""
    id_, system_id, test, family, salt, digest, created_at, *account = row
    return Customer(
        CustomerId(id_),
        account_of(tuple(account)),
        system_id,
        bool(test),
        _FAMILIES[family],
        bytes(salt),
        bytes(digest),
        created_at,
    )


def telling_of(row: Row) -> Telling | None:
    """The columns of `read_tellings`; None when what it is about is not kept any more."""
    id_, tries, at, state, submit, *rest, number, recipient, reply = row
    if state is None:
        return None if reply is None else Answer(TellingId(id_), tries, number, recipient, reply, at)
    if submit is None:
        return None
    s_ton, s_npi, source, d_ton, d_npi, destination, reference, submitted_at, cause, text = rest
    return Receipt(
        TellingId(id_),
        tries,
        SubmitId(submit),
        Address(s_ton, s_npi, source),
        Address(d_ton, d_npi, destination),
        reference,
        submitted_at,
        STATES[state],
        cause,
        at,
        (text or "")[:RECEIPT_TEXT],
    )


# --- passwords -----------------------------------------------------------------------------------------


def save_customer(*row: Any) -> Steps[Customer | None]:
    """See `Serving.save_customer`."""
    rows = yield from ask("upsert_customer", [row])
    return customer_of((yield from ask("read_customer", rows))[0]) if rows else None


def remove_customer(account: AccountId, system_id: str) -> Steps[bool]:
    """See `Serving.remove_customer`."""
    rows = yield from ask("remove_customer", [(account, system_id)])
    yield from tell("forget_tellings", rows)
    return bool(rows)


# --- submits -------------------------------------------------------------------------------------------


def accept_submits(submits: Sequence[tuple[SendMessage, Submit]]) -> Steps[list[Accepted | NotAccepted]]:
    """See `Serving.accept_submits`."""
    outcomes = yield from accept([send for send, _ in submits])
    rows = [
        _submit_row(SubmitId(outcome.id), outcome.id, submit)
        for outcome, (_, submit) in zip(outcomes, submits, strict=True)
        if isinstance(outcome, Accepted)
    ]
    yield from tell("insert_submit", rows)
    return outcomes


def _submit_row(id_: SubmitId, message: MessageId | None, submit: Submit) -> Row:
    written = (*submit.source, *submit.destination)
    return (id_, submit.customer, message, submit.asked, *written, submit.reference, submit.at)


_Group: TypeAlias = tuple[CustomerId, str, str, int, int]
"""The parts of one message: customer, both addresses, reference, total."""


def _group_of(part: Part) -> _Group:
    submit = part.submit
    return submit.customer, submit.source.digits, submit.destination.digits, part.reference, part.total


def keep_parts(parts: Sequence[Part], now: int) -> Steps[list[Kept]]:
    """See `Serving.keep_parts`."""
    # In one step and in order: two nodes that get parts of the same messages wait for each other.
    yield from lock(*sorted({f"parts {_group_of(part)}" for part in parts}))
    kept = []
    for part in parts:
        group = _group_of(part)
        id_ = yield from _find_again(group, part, now)
        if id_ is None:
            [(first, _)] = yield from ask("take_ids", [(1,)])
            id_ = SubmitId(first)
            yield from tell("insert_submit", [_submit_row(id_, None, part.submit)])
            content = (part.octets, part.data_coding, part.single, part.locking, part.wish, part.submit.at)
            yield from tell("insert_part", [(*group, part.sequence, id_, *content)])
        found = yield from _find_parts(group)
        kept.append(Kept(id_, found if len(found) == part.total else ()))
    return kept


def _find_again(group: _Group, part: Part, now: int) -> Steps[SubmitId | None]:
    """The part, if it is here; a message in whose place another one begins is given up."""
    rows = yield from ask("find_part", [(*group, part.sequence)])
    if not rows:
        return None
    id_, octets = rows[0]
    if bytes(octets) == part.octets:
        return SubmitId(id_)
    there = [one.id for one in (yield from _find_parts(group))]
    # Those that are taken, for another node may be joining them just now.
    taken = yield from ask("take_part", [(one, part.submit.customer) for one in sorted(there)])
    given_up = [SubmitId(one) for (one,) in taken]
    yield from _fail(given_up, given_up, EXPIRED, now)
    return None


def _find_parts(group: _Group) -> Steps[tuple[KeptPart, ...]]:
    rows = yield from ask("find_parts", [group])
    return tuple(KeptPart(SubmitId(id_), bytes(octets), *rest) for id_, octets, *rest in rows)


def join_parts(
    customer: CustomerId,
    parts: Sequence[SubmitId],
    outcome: SendMessage | str,
    answered: Sequence[SubmitId],
    now: int,
) -> Steps[Accepted | NotAccepted | None]:
    """See `Serving.join_parts`."""
    taken = yield from ask("take_part", [(part, customer) for part in sorted(parts)])
    if len(taken) != len(parts):
        return None
    if isinstance(outcome, str):
        yield from _fail(parts, answered, outcome, now)
        return None
    [accepted] = yield from accept([outcome])
    if isinstance(accepted, Accepted):
        yield from tell("join_submit", [(accepted.id, part) for part in sorted(parts)])
    else:
        yield from _fail(parts, answered, f"refused:{accepted.code}", now)
    return accepted


def _fail(parts: Sequence[SubmitId], answered: Sequence[SubmitId], cause: str, now: int) -> Steps[None]:
    """They will not be a message."""
    yield from tell("end_submit", [(cause, part) for part in sorted(parts)])
    yield from tell("tell_failure", [(_ERROR, now, part) for part in sorted(answered)])


def overdue_parts(now: int, limit: int) -> Steps[list[Overdue]]:
    """See `Serving.overdue_parts`."""
    overdue = []
    for row in (yield from ask("overdue_parts", [(now - PARTS_WAIT_MS, now - LEFT_ALONE_MS, limit)])):
        customers = yield from ask("read_customer", [row[:1]])
        parts = yield from _find_parts(row)
        if customers:
            overdue.append(Overdue(customer_of(customers[0]), row[-1], parts))
        else:  # removed
            yield from tell("take_part", [(part.id, row[0]) for part in parts])
    return overdue


# --- tellings ------------------------------------------------------------------------------------------


def claim_tellings(customer: CustomerId, limit: int, now: int, lease_ms: int) -> Steps[list[Telling]]:
    """See `Serving.claim_tellings`."""
    due = sorted((yield from ask("due_tellings", [(customer, now, limit)])))
    ids = [id_ for _, id_ in due]
    yield from tell("lease_telling", [(now + lease_ms, id_) for id_ in sorted(ids)])
    rows = yield from ask("read_tellings", [(id_,) for id_ in ids])
    found = {telling.id: telling for row in rows if (telling := telling_of(row)) is not None}
    # What cannot be told any more would be claimed for ever.
    yield from tell("end_telling", [(id_,) for id_ in sorted(set(ids) - found.keys())])
    return [found[id_] for id_ in ids if id_ in found]


def settle_tellings(taken: Sequence[TellingId], again: Sequence[Again]) -> Steps[None]:
    """See `Serving.settle_tellings`. In the order of ids, so that two nodes wait for each other and not entangle."""
    yield from tell("end_telling", [(id_,) for id_ in sorted(taken)])
    yield from tell("postpone_telling", [(one.ready_at, one.tries, one.id) for one in sorted(again)])


def tidy(now: int) -> Steps[None]:
    """See `Serving.tidy_customers`."""
    yield from tell("drop_tellings", [(DROPPED_AT_ONCE, now - TELLINGS_KEPT_MS)])
    yield from tell("drop_submits", [(DROPPED_AT_ONCE, now - TELLINGS_KEPT_MS)])


# --- the calls -----------------------------------------------------------------------------------------

JOBS: Mapping[str, Callable[..., Steps[Any]]] = {
    "save_customer": save_customer,
    "remove_customer": remove_customer,
    "accept_submits": accept_submits,
    "keep_parts": keep_parts,
    "join_parts": join_parts,
    "overdue_parts": overdue_parts,
    "claim_tellings": claim_tellings,
    "settle_tellings": settle_tellings,
    "free_tellings": lambda now: tell("free_tellings", [(now,)]),
    "tidy_customers": tidy,
}


class CustomerCalls(Engine):
    """`Serving`."""

    async def save_customer(
        self, account: AccountId, system_id: str, salt: bytes, digest: bytes, *, test: bool, family: Family, now: int
    ) -> Customer | None:
        row = (account, system_id, test, int(family), salt, digest, now)
        customer: Customer | None = await self._change("save_customer", row)
        return customer

    async def find_customer(self, system_id: str) -> Customer | None:
        row = await self._find("find_customer", (system_id,))
        return None if row is None else customer_of(row)

    async def list_customers(self) -> list[tuple[Customer, int]]:
        return [(customer_of(row), waiting) for waiting, *row in await self._look_up("list_customers", ())]

    async def remove_customer(self, account: AccountId, system_id: str) -> bool:
        removed: bool = await self._change("remove_customer", (account, system_id))
        return removed

    async def accept_submits(self, submits: Sequence[tuple[SendMessage, Submit]]) -> list[Accepted | NotAccepted]:
        outcomes: list[Accepted | NotAccepted] = await self._change("accept_submits", (submits,))
        return outcomes

    async def keep_parts(self, parts: Sequence[Part], now: int) -> list[Kept]:
        kept: list[Kept] = await self._change("keep_parts", (parts, now))
        return kept

    async def join_parts(
        self,
        customer: CustomerId,
        parts: Sequence[SubmitId],
        outcome: SendMessage | str,
        answered: Sequence[SubmitId],
        now: int,
    ) -> Accepted | NotAccepted | None:
        payload = (customer, parts, outcome, answered, now)
        joined: Accepted | NotAccepted | None = await self._change("join_parts", payload)
        return joined

    async def overdue_parts(self, now: int, limit: int) -> list[Overdue]:
        overdue: list[Overdue] = await self._change("overdue_parts", (now, limit))
        return overdue

    async def find_submit(self, account: AccountId, submit: SubmitId) -> Submitted | None:
        row = await self._find("find_submit", (submit, account))
        return None if row is None else Submitted(*row)

    async def claim_tellings(self, customer: CustomerId, limit: int, now: int, lease_ms: int) -> list[Telling]:
        if limit <= 0 or not await self._look_up("any_telling_due", (customer, now)):
            return []
        claimed: list[Telling] = await self._change("claim_tellings", (customer, limit, now, lease_ms))
        return claimed

    async def settle_tellings(self, taken: Sequence[TellingId], again: Sequence[Again]) -> None:
        await self._change("settle_tellings", (taken, again))

    async def free_tellings(self, now: int) -> None:
        await self._change("free_tellings", (now,))

    async def tidy_customers(self, now: int) -> None:
        await self._change("tidy_customers", (now,))
