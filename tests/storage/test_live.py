"""Journeys that the only writer keeps: as they are stored, and none when that is not certain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chappe.core.lifecycle import DOUBT_LASTS_MS, Journey
from chappe.core.message import (
    Accepted,
    AccountId,
    Answered,
    AttemptReport,
    DoubtBegan,
    Family,
    InDoubtPolicy,
    Message,
    MessageId,
    ReceiptReport,
    Refused,
    SendMessage,
    Submission,
    Treatment,
    Verdict,
)
from chappe.core.routing import Portion
from chappe.storage import sqlite, work
from chappe.storage.live import Live

NOW = 1_800_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE


def a_journey(id_: int, *, wake_at: int | None = NOW) -> Journey:
    message = Message(
        MessageId(id_),
        AccountId(1),
        "+33612345678",
        Family.NOTIFICATION,
        None,
        None,
        None,
        "Bonjour",
        1,
        False,
        InDoubtPolicy.WAIT_THEN_RETRY,
        "live",
        NOW,
        NOW,
        HOUR,
        wake_at=wake_at,
    )
    return Journey(message, [])


def known(live: Live, *ids: int) -> list[int]:
    return [id_ for id_ in ids if live.find(MessageId(id_)) is not None]


def test_decided_journey_is_let_go() -> None:
    live, journey = Live(), a_journey(1)
    live.keep(journey)
    assert live.find(MessageId(1)) is journey
    journey.message.wake_at = None
    live.keep(journey)
    assert live.find(MessageId(1)) is None


def test_longest_unmoved_makes_room() -> None:
    live = Live(most=2)
    for id_ in (1, 2, 1, 3):
        live.keep(a_journey(id_))
    assert known(live, 1, 2, 3) == [1, 3]
    assert not live.has_room


def test_where_others_write_nothing_is_kept() -> None:
    live = Live(most=0)
    live.keep(a_journey(1))
    assert known(live, 1) == []


def test_all_is_forgotten_when_somebody_else_has_written() -> None:
    live = Live()
    live.begin(1)
    live.keep(a_journey(1))
    live.begin(1)
    assert known(live, 1) == [1]
    live.begin(2)
    assert known(live, 1) == []


class Store:
    """The writer's side of a store, on this thread."""

    def __init__(self, path: Path) -> None:
        self.connection, self.handlers = sqlite.connect_writer(str(path), DOUBT_LASTS_MS, beside=False)
        [account] = self.run("open_account", ("acme", NOW))
        self.account = account.id
        [self.epoch] = self.run("open_connector", ("op", NOW))

    def run(self, kind: str, *payloads: Any, commit: bool = True) -> Any:
        self.connection.begin()
        results = self.handlers[kind](list(payloads))
        self.connection.commit() if commit else self.connection.roll_back()
        return results

    def accept(self, *, parts: int = 1, now: int = NOW, number: int = 0) -> MessageId:
        send = SendMessage(
            self.account,
            f"+336123456{number:02d}",
            Family.NOTIFICATION,
            "Bonjour",
            parts,
            "live",
            False,
            InDoubtPolicy.WAIT_THEN_RETRY,
            accepted_at=now,
            due_at=now,
            validity_ms=HOUR,
        )
        [accepted] = self.run("accept", send)
        assert isinstance(accepted, Accepted)
        return accepted.id

    def claim(self, now: int = NOW) -> list[Submission]:
        [submissions] = self.run("claim", ("op", self.epoch, [Portion("live")], 100, now))
        found: list[Submission] = submissions
        return found

    def stored(self, id_: MessageId) -> Journey:
        live, self.connection.live._journeys = self.connection.live._journeys, {}
        space = work.Workspace(DOUBT_LASTS_MS)
        self.connection.run(space.load([id_]))
        self.connection.live._journeys = live
        found = space.find(id_)
        assert found is not None
        return found

    def check(self, ids: list[MessageId]) -> int:
        """What is kept is what is stored; how many are kept."""
        kept = [journey for id_ in ids if (journey := self.connection.live.find(id_)) is not None]
        assert kept == [self.stored(journey.message.id) for journey in kept]
        return len(kept)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "chappe.db")
    yield opened
    opened.connection.close()


def answer(submission: Submission, carrier_id: str = "A1") -> AttemptReport:
    message, part, attempt = submission.key
    return AttemptReport(message, Answered(part, attempt, NOW + 1, carrier_id))


def test_transaction_rolled_back_is_as_if_it_had_not_been(store: Store) -> None:
    message = store.accept()
    [submission] = store.claim()
    before = store.stored(message)
    [lost] = store.run("settle", ([answer(submission)], NOW + 1), commit=False)
    assert store.stored(message) == before
    [events] = store.run("settle", ([answer(submission)], NOW + 1))
    assert events == lost
    assert store.check([message]) == 1


def test_life_is_read_from_nowhere_while_nobody_else_writes(store: Store) -> None:
    message = store.accept()
    [submission] = store.claim()
    store.connection._cursor.execute("UPDATE message SET facts = 40")
    store.run("settle", ([answer(submission)], NOW + 1))
    assert store.stored(message).message.facts == 1


STEPS = st.lists(
    st.sampled_from(["accept", "long", "claim", "answer", "refuse", "doubt", "receipt", "failure", "release", "sweep"]),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, chance=st.randoms(use_true_random=False))
def test_whatever_happens_what_is_kept_is_what_is_stored(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], chance: Any
) -> None:
    store = Store(tmp_path_factory.mktemp("live") / "chappe.db")
    ids: list[MessageId] = []
    out: list[Submission] = []
    now = NOW
    for number, step in enumerate(steps):
        now += chance.choice((1, 3_000, 20 * MINUTE))
        submission = chance.choice(out) if out else None
        match step:
            case "accept" | "long":
                ids.append(store.accept(parts=2 if step == "long" else 1, now=now, number=number % 3))
            case "claim":
                out += store.claim(now)
            case "sweep":
                store.run("sweep", (now, 100))
            case "release" if submission:
                store.run("release", ([submission.key], now))
            case "receipt" | "failure" if submission:
                verdict = Verdict.DELIVERED if step == "receipt" else Verdict.FAILED
                carrier_id = "-".join(map(str, submission.key))
                receipt = ReceiptReport("op", carrier_id, now, verdict, "", None, submission.number)
                store.run("settle", ([receipt], now))
            case _ if submission:
                message, part, attempt = submission.key
                fact: Answered | Refused | DoubtBegan = Answered(part, attempt, now, "-".join(map(str, submission.key)))
                if step == "refuse":
                    fact = Refused(part, attempt, now, 0x14, Treatment.TEMPORARY)
                elif step == "doubt":
                    fact = DoubtBegan(part, attempt, now, "link lost")
                store.run("settle", ([AttemptReport(message, fact)], now))
        store.check(ids)
    store.connection.close()
