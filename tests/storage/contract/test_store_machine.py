"""The store against a ledger kept outside it, whatever happens in whatever order (invariants of reliability.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from store_scene import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    NewDatabase,
    OpenStore,
    Scene,
    a_receipt,
    a_send,
    an_inbound,
    answered,
    doubted,
    refused,
)

from chappe.core.counts import Count, Scope
from chappe.core.credits import Booking
from chappe.core.hours import DEFAULT_PACK, held
from chappe.core.lifecycle import PUBLIC, TRANSITIONS, UNDECIDED, Journey, is_engaged, public_state, times
from chappe.core.message import (
    Accepted,
    AttemptKey,
    Delivery,
    DoubtBegan,
    Family,
    Idempotency,
    InDoubtPolicy,
    Message,
    MessageId,
    NotAccepted,
    Report,
    Submission,
    TrackedLink,
    Treatment,
    Verdict,
)
from chappe.core.numbers import PhoneNumber
from chappe.core.routing import Portion
from chappe.core.rules import Listing

T = TypeVar("T")

TOPUP = 1_000_000

NUMBERS = [f"+3361234567{digit}" for digit in range(6)]

LEGAL = {(before, after) for (before, _), after in TRANSITIONS.items()} | {(state, state) for state in Delivery}
"""How delivery may have moved between two looks: by one transition, or by two through SENT or PRESUMED_LOST."""
LEGAL |= {(before, later) for before, middle in LEGAL for earlier, later in LEGAL if earlier is middle}


class Story(RuleBasedStateMachine):
    """Accept, claim, settle, sweep, release and restart, in any order.

    The ledger says what a customer and an operator have seen: the ids that were answered, the submits that left, and
    what was said of each. A claim counts as a submit that left unless it is released.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.scene = self.run(Scene.begin(self.database()))
        self.now = NOW
        self.run(self.scene.store.change_credits(self.scene.account, Booking.TOPUP, TOPUP, "", NOW))
        self.seen: dict[MessageId, Message] = {}
        self.answers: dict[str, tuple[Accepted, int]] = {}
        self.submits: dict[AttemptKey, Submission] = {}
        self.unanswered: dict[AttemptKey, Submission] = {}
        self.doubts: set[AttemptKey] = set()
        """Submits of which nobody knows whether the operator has them."""
        self.excuses: set[AttemptKey] = set()
        """Submits refused or doubted at any time: what allows another."""
        self.stopped: set[str] = set()
        self.clicks: dict[str, tuple[MessageId, int]] = {}
        """Each link's message, and how often a person followed it."""

    def database(self) -> OpenStore:
        """One that is still empty."""
        raise NotImplementedError

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    def read_all(self) -> dict[MessageId, Message]:
        """What was accepted, as it is now; asked at once, which an engine may answer at once."""
        return dict(zip(self.seen, self.run(all_of(map(self.scene.read, self.seen))), strict=True))

    def journeys(self) -> dict[MessageId, Journey]:
        return dict(zip(self.seen, self.run(all_of(map(self.scene.journey, self.seen))), strict=True))

    def settle(self, *reports: Report) -> None:
        self.run(self.scene.store.settle(reports, self.now))

    def teardown(self) -> None:
        self.run(self.scene.store.close())
        self.runner.close()

    # --- what may happen ---

    @rule(
        number=st.sampled_from(NUMBERS),
        parts=st.integers(1, 3),
        policy=st.sampled_from(InDoubtPolicy),
        family=st.sampled_from(Family),
        delay=st.sampled_from([0, 0, HOUR]),
        validity_ms=st.sampled_from([MINUTE, 48 * HOUR]),
        category=st.sampled_from([None, "rdv"]),
    )
    def accept(
        self,
        number: str,
        parts: int,
        policy: InDoubtPolicy,
        family: Family,
        delay: int,
        validity_ms: int,
        category: str | None,
    ) -> None:
        outcome = self.run(
            self.scene.try_to_send(
                number=number,
                parts=parts,
                policy=policy,
                family=family,
                accepted_at=self.now,
                due_at=self.now + delay,
                validity_ms=validity_ms,
                category=category,
                links=(TrackedLink(f"t0ken{len(self.seen)}", "https://a.example"),),
            )
        )
        if number in self.stopped:
            assert outcome == NotAccepted(12)
        else:
            assert isinstance(outcome, Accepted)
            assert outcome.id not in self.seen
            self.clicks[f"t0ken{len(self.seen)}"] = (outcome.id, 0)
            self.seen[outcome.id] = self.run(self.scene.read(outcome.id))

    @rule(key=st.sampled_from("ab"))
    def accept_with_a_key(self, key: str) -> None:
        """I12: one idempotency key, one message."""
        send = a_send(
            self.scene.account,
            number=NUMBERS[-1],
            accepted_at=self.now,
            idempotency=Idempotency(key, b"digest"),
        )
        outcome = self.run(self.scene.store.accept(send))
        first, at = self.answers.get(key, (None, 0))
        if first is not None and self.now < at + 7 * DAY:
            assert outcome == replace(first, repeated=True)
        else:
            assert isinstance(outcome, Accepted)
            assert not outcome.repeated
            self.answers[key] = outcome, self.now
            self.seen[outcome.id] = self.run(self.scene.read(outcome.id))

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        submissions = self.run(self.scene.claim(limit, now=self.now))
        assert len(submissions) <= limit
        for submission in submissions:
            message, part, number = submission.key
            earlier = [key for key in self.submits if key[:2] == (message, part)]
            assert self.seen[message].delivery in UNDECIDED
            assert submission.number not in self.stopped  # I7
            assert submission.expires_at > self.now  # I2
            if self.seen[message].family is Family.MARKETING:
                assert held(self.now, PhoneNumber(submission.number), DEFAULT_PACK) is None
            assert number == len(earlier) + 1
            assert set(earlier) <= self.excuses  # I3
            assert submission.attempt.flagged == any(key in self.doubts for key in earlier)  # I4
            if self.seen[message].policy is InDoubtPolicy.AT_MOST_ONCE:
                assert not submission.attempt.flagged  # I3: never twice unless the operator refused it
            self.submits[submission.key] = self.unanswered[submission.key] = submission

    @precondition(lambda self: self.unanswered)
    @rule(choice=st.data())
    def release(self, choice: st.DataObject) -> None:
        key = choice.draw(st.sampled_from(sorted(self.unanswered)))
        self.run(self.scene.store.release([key], self.now))
        del self.unanswered[key], self.submits[key]

    @precondition(lambda self: self.unanswered)
    @rule(choice=st.data())
    def answer(self, choice: st.DataObject) -> None:
        submission = self.unanswered.pop(choice.draw(st.sampled_from(sorted(self.unanswered))))
        self.settle(answered(submission, carrier_id_of(submission.key), self.now))

    @precondition(lambda self: self.unanswered)
    @rule(choice=st.data(), treatment=st.sampled_from(Treatment))
    def refuse(self, choice: st.DataObject, treatment: Treatment) -> None:
        submission = self.unanswered.pop(choice.draw(st.sampled_from(sorted(self.unanswered))))
        self.excuses.add(submission.key)
        self.settle(refused(submission, treatment, self.now))

    @precondition(lambda self: self.unanswered)
    @rule(choice=st.data())
    def refuse_without_certainty(self, choice: st.DataObject) -> None:
        policy = {message: seen.policy for message, seen in self.seen.items()}
        may = sorted(key for key in self.unanswered if policy[key[0]] is not InDoubtPolicy.AT_MOST_ONCE)
        if may:
            submission = self.unanswered.pop(choice.draw(st.sampled_from(may)))
            self.excuses.add(submission.key)
            self.doubts.add(submission.key)
            self.settle(refused(submission, Treatment.TEMPORARY, self.now, uncertain=True))

    @precondition(lambda self: self.unanswered)
    @rule()
    def lose_the_link(self) -> None:
        self.settle(*(doubted(submission, self.now) for submission in self.unanswered.values()))
        self.doubt_all()

    @precondition(lambda self: self.doubts)
    @rule(choice=st.data(), took_charge=st.booleans())
    def answer_late(self, choice: st.DataObject, took_charge: bool) -> None:
        key = choice.draw(st.sampled_from(sorted(self.doubts)))
        self.doubts.remove(key)
        submission = self.submits[key]
        if took_charge:
            self.settle(answered(submission, carrier_id_of(key), self.now))
        else:
            self.settle(refused(submission, Treatment.TEMPORARY, self.now))

    @precondition(lambda self: self.submits)
    @rule(choice=st.data(), verdicts=st.lists(st.sampled_from([None, *Verdict]), min_size=1, max_size=3))
    def read_receipts(self, choice: st.DataObject, verdicts: list[Verdict | None]) -> None:
        """Perhaps before the answer, perhaps of a submit decided long ago, perhaps contradicting each other."""
        key = choice.draw(st.sampled_from(sorted(self.submits)))
        number = self.submits[key].number
        # Nobody bounces here, and only some stop: the lists would silence the numbers, and there are few.
        left_out = {Verdict.NOT_ASSIGNED} | (set() if number in NUMBERS[:3] else {Verdict.OPTED_OUT})
        told = [verdict for verdict in verdicts if verdict not in left_out]
        self.settle(*(a_receipt(carrier_id_of(key), verdict, at=self.now, number=number) for verdict in told))
        if Verdict.OPTED_OUT in told:  # which counts unless the attempt had another verdict before
            listing = self.scene.store.list_entries(
                self.scene.account, Listing.UNSUBSCRIBED, test=False, category=None, after=0, limit=100
            )
            self.stopped |= {entry.number for entry in self.run(listing)}

    @rule(number=st.sampled_from(NUMBERS[:3]), text=st.sampled_from(["Merci", "STOP"]))
    def write_back(self, number: str, text: str) -> None:
        [reply] = self.run(self.scene.store.receive([an_inbound(text, number=number, at=self.now)], self.now))
        if reply.message is not None and text == "STOP":
            self.stopped.add(number)

    @precondition(lambda self: self.clicks)
    @rule(choice=st.data(), human=st.booleans())
    def click(self, choice: st.DataObject, human: bool) -> None:
        token = choice.draw(st.sampled_from(sorted(self.clicks)))
        assert self.run(self.scene.store.open_link(token, human=human, now=self.now)) == "https://a.example"
        message, clicks = self.clicks[token]
        self.clicks[token] = (message, clicks + human)

    @rule(passes=st.sampled_from([SECOND, 5 * SECOND, 2 * MINUTE, HOUR, 49 * HOUR]))
    def wait(self, passes: int) -> None:
        self.now += passes

    @rule(limit=st.integers(1, 5))
    def sweep(self, limit: int) -> None:
        looked_at, events = self.run(self.scene.store.sweep(self.now, limit))
        assert looked_at <= limit
        assert {event.message for event in events} <= set(self.seen)

    @rule(cleanly=st.booleans())
    def restart(self, cleanly: bool) -> None:
        stale = self.scene.epochs["operator"]
        if cleanly:
            self.run(self.scene.restart())
        self.run(self.scene.open_connectors(self.now))
        self.doubt_all()
        assert self.scene.epochs["operator"] == stale + 1
        assert self.run(self.scene.store.claim("operator", stale, [Portion("live")], 10, self.now)) == []

    @rule()
    def wait_until_everything_ends(self) -> None:
        """I2: nothing stays pending for ever."""
        self.now += 30 * DAY
        for _ in range(10 + len(self.seen)):
            if self.run(self.scene.store.sweep(self.now, 5))[0] == 0:
                break
        for read in self.read_all().values():
            assert read.delivery not in UNDECIDED or is_engaged(read)
        assert self.run(self.scene.claim(now=self.now)) == []

    def doubt_all(self) -> None:
        self.doubts |= self.unanswered.keys()
        self.excuses |= self.unanswered.keys()
        self.unanswered.clear()

    async def count_doubts(self, message: MessageId) -> int:
        """How often a submit of it came to be in doubt, by the log."""
        logged = await self.scene.store.list_facts(self.scene.account, message)
        return sum(entry.changed and isinstance(entry.fact, DoubtBegan) for entry in logged)

    # --- what must hold after each step ---

    @invariant()
    def every_accepted_message_is_in_one_state_and_moves_forward_only(self) -> None:
        """I1 and I5."""
        for id_, message in self.read_all().items():
            before = self.seen[id_]
            assert asked(message) == asked(before)
            assert message.due_at == before.due_at or (message.held_by and message.due_at > before.due_at)
            assert (before.delivery, message.delivery) in LEGAL
            assert message.facts >= before.facts
            reached, reached_before = times(message), times(before)
            if before.delivery is Delivery.PRESUMED_LOST and message.delivery is Delivery.DELIVERED:
                reached_before = {
                    state: at for state, at in reached_before.items() if state is not PUBLIC[before.delivery]
                }
            assert reached_before.items() <= reached.items()
            assert reached[PUBLIC[message.delivery]] is not None
            assert public_state(message) is max(reached, key=lambda state: state.rank)
            self.seen[id_] = message

    @invariant()
    def every_unanswered_claim_is_pending_and_nothing_else_is(self) -> None:
        """I10, as the store sees it: what is in flight is what was claimed and not answered, doubted or released."""
        pending = self.run(self.scene.store.count_pending())
        assert pending["pending"] == len(self.unanswered)

    @invariant()
    def counters_and_credits_equal_the_rows_they_count(self) -> None:
        journeys = self.journeys()
        self.check_counters(journeys)
        self.check_credits(journeys)

    def check_counters(self, journeys: Mapping[MessageId, Journey]) -> None:
        """I13: of the account, and of a category."""
        expected = {category: dict.fromkeys(Count, 0) for category in ("", "rdv")}
        for id_, journey in journeys.items():
            message, attempts = journey.message, journey.attempts
            clicks = sum(clicks for of, clicks in self.clicks.values() if of == id_)
            counts = {
                Count.SENT: bool(attempts),
                Count.CREDITS: message.parts if attempts else 0,
                Count.SUBMITTED: message.sent_at is not None,
                Count.DELIVERED: message.delivered_at is not None,
                Count.BOUNCED: message.bounced_at is not None,
                Count.ERRORS: message.error_at is not None and bool(attempts),
                Count.OPENS: clicks,
                Count.OPENERS: message.opened_at is not None,
                Count.REPLIES: message.reply_at is not None,
                Count.UNSUBSCRIBERS: message.unsubscribed_at is not None,
                Count.DOUBTS: self.run(self.count_doubts(id_)),
                Count.RESENT: sum(attempt.flagged for attempt in attempts),
                Count.NEVER_LEFT: message.error_at is not None and not attempts,
            }
            for category in {"", message.category or ""}:
                expected[category] = {count: n + counts[count] for count, n in expected[category].items()}
        read = self.scene.store.read_counts
        assert self.run(read(self.scene.account, test=False)) == expected[""]
        assert self.run(read(self.scene.account, test=False, scope=Scope.CATEGORY, name="rdv")) == expected["rdv"]
        assert expected[""][Count.SENT] >= expected[""][Count.SUBMITTED] >= expected[""][Count.DELIVERED]

    def check_credits(self, journeys: Mapping[MessageId, Journey]) -> None:
        """The account has paid for what may leave and what was sent, and its statement adds up, line by line."""
        held = 0
        for journey in journeys.values():
            message = journey.message
            due = message.parts if journey.attempts or message.delivery in UNDECIDED else 0
            assert message.charged == due
            held += due
        left = self.run(self.scene.store.read_credits(self.scene.account))
        assert left is not None
        assert left.balance == TOPUP - held
        lines = self.run(self.scene.store.list_ledger(self.scene.account, before=None, limit=1_000))[::-1]
        assert lines[0].balance == TOPUP
        for before, line in pairwise(lines):
            assert line.balance == before.balance + line.amount


async def all_of(reads: Iterable[Awaitable[T]]) -> list[T]:
    return await asyncio.gather(*reads)


def carrier_id_of(key: AttemptKey) -> str:
    message, part, number = key
    return f"operator-{message}-{part}-{number}"


def asked(message: Message) -> tuple[object, ...]:
    """What the customer asked for, which nothing may change."""
    return (
        message.account,
        message.number,
        message.text,
        message.parts,
        message.policy,
        message.accepted_at,
        message.validity_ms,
        message.previous,
    )


STORIES = {"sqlite": 50, "postgres": 20}
"""The engines share what happens, and a few stories meet every statement; one takes PostgreSQL five times as long."""


def test_whatever_happens_the_ledger_agrees(request: pytest.FixtureRequest, new_database: NewDatabase) -> None:
    class StoryHere(Story):
        def database(self) -> OpenStore:
            return new_database()

    run_state_machine_as_test(
        StoryHere,
        settings=settings(
            max_examples=STORIES[request.node.callspec.params["new_database"]],
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        ),
    )
