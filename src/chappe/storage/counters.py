"""Counters in the store: appended by the transactions that reach a fact, rolled up by the sweep, read as the sum.

What is counted is decided in `core.counts`; the appending is `Workspace.save`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from chappe.core.counts import Count, Counts, Scope
from chappe.storage.steps import Row, Steps, ask, lock, tell

ROLLED_UP_AT_ONCE = 20_000
"""Additions that one sweep takes at most; its transaction stays short."""


def roll_up() -> Steps[None]:
    """Moves what was added of late into the counters and their totals, in one transaction: a reader sees it once."""
    yield from lock("counters")  # one node at a time: two would wait for each other's rows
    counters: defaultdict[Row, int] = defaultdict(int)
    totals: defaultdict[Row, int] = defaultdict(int)
    for account, test, family, category, campaign, day, what, n in (
        yield from ask("take_deltas", [(ROLLED_UP_AT_ONCE,)])
    ):
        counters[account, test, family, category, campaign, day, what] += n
        for scope, name in ((Scope.ACCOUNT, ""), (Scope.CATEGORY, category), (Scope.CAMPAIGN, campaign)):
            totals[account, test, int(scope), name, what] += n
    yield from tell("add_counters", [(*key, n) for key, n in sorted(counters.items())])
    yield from tell("add_totals", [(*key, n) for key, n in sorted(totals.items())])


def counts_of(rows: Iterable[Row]) -> Counts:
    """The rows of `read_totals`, zeros included."""
    found = {Count(what): int(n) for what, n in rows}
    return {count: found.get(count, 0) for count in Count}
