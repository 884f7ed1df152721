"""What the demonstration calls kept and broken; and that it says what is missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from click.testing import CliRunner

from chappe.cli import main
from chappe.cluster import postgres
from chappe.cluster.demo import Ledger

ONE, OTHER = "+33612345601", "+33612345602"


def a_ledger(**changes: object) -> Ledger:
    """Two messages: one arrived, one was doubled and says so."""
    ledger = Ledger(
        ids={ONE: "1", OTHER: "2"},
        statuses={ONE: {"state": "delivered"}, OTHER: {"state": "delivered", "resent": 1}},
        submits=Counter({ONE: 1, OTHER: 2}),
        node_resumed=5.0,
        database_resumed=0.5,
    )
    return replace(ledger, **changes)  # type: ignore[arg-type]  # fields by name


def test_doubles_that_are_flagged_break_no_promise() -> None:
    ledger = a_ledger()
    assert ledger.kept
    assert (ledger.lost, ledger.flagged, ledger.doubled, ledger.in_silence) == ([], 1, 1, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"statuses": {ONE: {"state": "delivered"}, OTHER: {"state": "sent"}}},
        {"statuses": {ONE: {"state": "delivered"}}},
        {"submits": Counter({ONE: 2, OTHER: 2})},
        {"wrong": ["HTTP 500"]},
        {"node_resumed": None},
        {"database_resumed": None},
        {"ids": {}},
    ],
    ids=["no end", "no status", "doubled in silence", "500", "no take-over", "database away", "nothing accepted"],
)
def test_each_broken_promise_is_seen(changes: dict[str, object]) -> None:
    assert not a_ledger(**changes).kept


def test_command_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["cluster-demo"])
    assert result.exit_code == 1
    assert "chappe[cluster]" in result.output
