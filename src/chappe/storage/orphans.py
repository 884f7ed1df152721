"""Orphans in the store, for every engine: receipts that matched nothing are looked at again, and repaired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chappe.core.message import AttemptKey, Event, ReceiptRead, ReceiptReport
from chappe.core.orphans import LearntForm, Orphan, Search, Why
from chappe.core.receipts import WEEK_MS, IdForm, given_in, id_forms
from chappe.storage.engine import Engine
from chappe.storage.steps import Row, Steps, ask, lock, tell
from chappe.storage.work import (
    OPT_OUTS,
    PARKING,
    Workspace,
    is_stop,
    key_of_attempt,
    known_ids,
    learn_ids,
    learnt_forms,
    opt_out,
    parked_report,
)


def list_orphans(work: Workspace, search: Search, now: int) -> Steps[list[Orphan]]:
    """See `ports.Orphans.list_orphans`."""
    parked = yield from _find(search, now)
    return (yield from _examine(work, parked, search, now))


def repair_orphans(work: Workspace, search: Search, now: int) -> Steps[tuple[list[Orphan], list[Event]]]:
    """See `ports.Orphans.repair_orphans`."""
    yield from lock(PARKING)  # what others have matched meanwhile is gone
    parked = yield from _find(search, now)
    if any(is_stop(report) for report in parked.values()):
        yield from lock(OPT_OUTS)  # before any row is, as in `settle`
    orphans = yield from _examine(work, parked, search, now)
    events: list[Event] = []
    matched = [(orphan.match, orphan) for orphan in orphans if orphan.match is not None]
    for (message, part, number), orphan in matched:
        receipt = orphan.receipt
        events += work.advance(message, ReceiptRead(part, number, receipt.at, receipt.verdict, receipt.detail))
        events += yield from opt_out(work)
        attempt = work.attempt((message, part, number))
        if attempt is not None and attempt.carrier_id:
            work.learn_form(receipt.connector, attempt.carrier_id, receipt.carrier_id, receipt.at)
    yield from work.save()
    yield from learn_ids([(key, orphan.receipt) for key, orphan in matched], now)
    yield from tell("delete_parked", [(orphan.id,) for _, orphan in matched])
    yield from work.save_forms()
    return orphans, events


def _find(search: Search, now: int) -> Steps[dict[int, ReceiptReport]]:
    wanted = (search.connector or "", now - WEEK_MS, search.before, search.after, search.limit)
    return {row[0]: parked_report(row) for row in (yield from ask("find_orphans", [wanted]))}


def _examine(work: Workspace, parked: Mapping[int, ReceiptReport], search: Search, now: int) -> Steps[list[Orphan]]:
    """The attempt of each, or the reason why there is none."""
    reports, since = list(parked.values()), now - WEEK_MS
    learnt = yield from learnt_forms({report.connector for report in reports})
    believed = {
        id_: _believed(report, search.form or learnt.get(report.connector, IdForm.SAME))
        for id_, report in parked.items()
    }
    spellings = [
        replace(report, carrier_id=spelling)
        for id_, report in parked.items()
        for spelling in dict.fromkeys((*believed[id_], *id_forms(report.carrier_id)))
        if spelling
    ]
    known = yield from known_ids(spellings, now)
    numbers = sorted({(report.number, report.connector, since) for report in reports if report.number})
    handed_over: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for number, connector, *row in (yield from ask("find_handed_over", numbers)):
        handed_over[number, connector].append(tuple(row))
    wanted = sorted({(report.carrier_id, report.connector, since) for report in reports if report.carrier_id})
    rows = yield from ask("find_carrier_elsewhere", wanted)
    elsewhere = {(id_, connector): other for id_, connector, other in rows}
    found = [key[0] for key in known.values()]
    yield from work.load([*found, *(row[0] for rows in handed_over.values() for row in rows)])

    def number_of(key: AttemptKey) -> str | None:
        journey = work.find(key[0])
        return None if journey is None or work.attempt(key) is None else journey.message.number

    def examine(id_: int, report: ReceiptReport) -> Orphan:
        if not report.carrier_id:
            return Orphan(id_, report, Why.UNREADABLE)
        near: Orphan | None = None
        matches = {key for given in believed[id_] if (key := known.get((report.connector, given))) is not None}
        fitting = {key for key in matches if (of := number_of(key)) and report.number in (None, of)}
        if len(fitting) == 1:
            return Orphan(id_, report, None, match=fitting.pop())
        for spelling in (report.carrier_id, *believed[id_], *id_forms(report.carrier_id)):
            key = known.get((report.connector, spelling))
            if near is None and key is not None and number_of(key):
                near = Orphan(id_, report, Why.OTHER_NUMBER if report.number else Why.NO_NUMBER, spelling)
        if near is not None:
            return near
        if (report.carrier_id, report.connector) in elsewhere:
            return Orphan(id_, report, Why.OTHER_CONNECTOR, elsewhere[report.carrier_id, report.connector])
        if report.number is None:
            return Orphan(id_, report, Why.UNKNOWN)
        left = handed_over[report.number, report.connector]
        waiting = [row for row in left if row[4] and row[3] <= report.at]
        if search.within_ms is not None:
            waiting = [row for row in waiting if row[3] >= report.at - search.within_ms]
        if len(waiting) == 1:
            sure = search.within_ms is not None and len(parked) < search.limit
            return Orphan(id_, report, Why.ONE_WAITS, match=key_of_attempt(waiting[0][:3]) if sure else None)
        if waiting:
            return Orphan(id_, report, Why.SEVERAL_WAIT)
        return Orphan(id_, report, Why.NONE_WAITS if left else Why.NOTHING_SENT)

    return _alone([examine(id_, report) for id_, report in parked.items()])


def _believed(report: ReceiptReport, form: IdForm) -> tuple[str, ...]:
    """The ids that may have been given: as it is, and in the form that its connector's receipts have."""
    return tuple(dict.fromkeys((report.carrier_id, *given_in(form, report.carrier_id))))


def _alone(orphans: Sequence[Orphan]) -> list[Orphan]:
    """Receipts with different ids are not about the same submit: none of them is matched by its number then."""
    claimed: defaultdict[AttemptKey, set[str]] = defaultdict(set)
    for orphan in orphans:
        if orphan.match is not None and orphan.why is Why.ONE_WAITS:
            claimed[orphan.match].add(orphan.receipt.carrier_id)
    return [
        replace(orphan, why=Why.SEVERAL_WAIT if orphan.why else None, match=None)
        if orphan.match is not None and len(claimed[orphan.match]) > 1
        else replace(orphan, why=None)
        if orphan.match is not None
        else orphan
        for orphan in orphans
    ]


JOBS: Mapping[str, Callable[..., Steps[Any]]] = {"list_orphans": list_orphans, "repair_orphans": repair_orphans}
"""They take the journeys first."""


class OrphanCalls(Engine):
    """`Orphans`."""

    async def list_orphans(self, search: Search, now: int) -> list[Orphan]:
        orphans: list[Orphan] = await self._change("list_orphans", (search, now))
        return orphans

    async def repair_orphans(self, search: Search, now: int) -> tuple[list[Orphan], list[Event]]:
        repaired: tuple[list[Orphan], list[Event]] = await self._change("repair_orphans", (search, now))
        return repaired

    async def list_forms(self) -> list[LearntForm]:
        rows = await self._look_up("read_forms", ())
        return [LearntForm(connector, IdForm(form), receipts, at) for connector, form, receipts, at in rows]
