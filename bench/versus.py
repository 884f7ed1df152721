"""The same work for Chappe and for Kannel, in turn on one machine: HTTP send, submit, answer, receipt, two callbacks.

All of them are started first and then take turns, round after round, so that what else the machine does falls on each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.gateways import Chappe, Gateway, Kannel, Setting, kannel_is_here
from bench.lives import running
from bench.measure import Bench, Goal, Row


@dataclass(slots=True, frozen=True)
class Contender:
    """A row of a comparison; its ratio is that of the first row to it."""

    setting: Setting
    kannel: str | None = None
    """The configuration in `kannel/`; None: Chappe."""
    goals: Sequence[Goal] = ()
    by_cpu: bool = False

    def make(self, folder: Path) -> Gateway:
        folder.mkdir()
        return Chappe(self.setting, folder) if self.kannel is None else Kannel(self.setting, folder, self.kannel)


UNDISTURBED = Goal(0.9, "ratio", at_least=True)
"""Of what is ours in other circumstances: the first row costs no less than nine tenths of it."""
WITH_CALLBACKS: Mapping[str, Contender] = {
    "Chappe, life and two webhooks": Contender(Setting(), goals=[Goal(0.33, "cpu")]),
    "Chappe, peers that delay ACKs": Contender(Setting(prompt=False), goals=[UNDISTURBED], by_cpu=True),
    "Chappe, receipts at once": Contender(Setting(receipt_seconds=0), goals=[UNDISTURBED], by_cpu=True),
    "Kannel at its best": Contender(Setting(), "at_its_best", [Goal(1.5, "ratio", at_least=True)]),
    "Kannel as found": Contender(Setting(prompt=False), "as_found", [Goal(3, "ratio", at_least=True)]),
}
BARE: Mapping[str, Contender] = {
    "Chappe, life without webhooks": Contender(Setting(callbacks=False), goals=[Goal(0.18, "cpu")]),
    "Kannel at its best, submits alone": Contender(
        Setting(callbacks=False), "at_its_best", [Goal(0.7, "ratio", at_least=True)]
    ),
}


async def with_callbacks(bench: Bench) -> list[Row]:
    """Whole lives with two webhooks, beside Kannel's."""
    return await _in_turn(bench, "versus-callbacks", WITH_CALLBACKS)


async def bare(bench: Bench) -> list[Row]:
    """Whole lives without webhooks, beside Kannel's submits in memory, which have no receipts."""
    return await _in_turn(bench, "versus-bare", BARE)


async def _in_turn(bench: Bench, part: str, contenders: Mapping[str, Contender]) -> list[Row]:
    here = {what: one for what, one in contenders.items() if one.kannel is None or kannel_is_here()}
    with TemporaryDirectory(dir=bench.folder) as folder:
        gateways = [one.make(Path(folder) / str(number)) for number, one in enumerate(here.values())]
        async with running(bench, gateways) as measures:
            found = await bench.in_turn(dict(zip(here, measures, strict=True)), bench.scale.turns)
    rows: list[Row] = []
    for what, one in here.items():
        first = rows[0] if rows else None
        rows.append(Row(part, what, found[what], beside=first, by_cpu=one.by_cpu, goals=one.goals))
    return rows
