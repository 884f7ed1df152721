"""Several nodes on one database: nothing is lost, doubled or left behind, whoever comes first.

Two ways to show it: transactions held open on connections of the test's own, so that one meets the other half done, and
many calls at once on two stores.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import pytest
from postgres_server import PostgresServer
from store_scene import (
    MINUTE,
    NOW,
    NUMBER,
    SECOND,
    SHORT_CODE,
    Scene,
    a_receipt,
    a_send,
    an_inbound,
    answered,
    doubted,
    in_parts,
)

from chappe.core.lifecycle import DOUBT_LASTS_MS
from chappe.core.message import (
    Accepted,
    AttemptReport,
    Family,
    Holder,
    Idempotency,
    MessageId,
    NotAccepted,
    Outcome,
    Reply,
    Report,
    State,
    Submission,
    Verdict,
)
from chappe.core.ports import Store
from chappe.core.routing import Portion
from chappe.core.rules import Listing
from chappe.core.turns import Turns
from chappe.storage import statements, work
from chappe.storage.postgres import open_postgres
from chappe.storage.postgres_connection import Connection, Servers
from chappe.storage.postgres_workers import run_steps
from chappe.storage.steps import Steps, lock
from chappe.storage.work import Workspace

T = TypeVar("T")
WAITING = """
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND cardinality(pg_blocking_pids(pid)) > 0
"""
SQL = statements.load("postgres") | statements.load("postgres_own")


@dataclass(slots=True)
class Nodes:
    """Two stores on one database, a scene on the first, and a third connection that watches."""

    url: str
    scene: Scene
    other: Store
    watch: Connection
    stack: AsyncExitStack

    @property
    def both(self) -> tuple[Store, Store]:
        return self.scene.store, self.other

    async def begin(self) -> Connection:
        """A transaction of the test's own, however long the test takes on a busy machine."""
        connection = await Servers(self.url).connect(idle_in_transaction_session_timeout="0")
        self.stack.push_async_callback(connection.close, timeout=5)
        await connection.execute("BEGIN")
        return connection

    async def held(self, steps: Steps[T]) -> tuple[T, Callable[[], Awaitable[str]]]:
        """Runs the steps in a transaction that stays open; with their result, what commits it."""
        connection = await self.begin()
        result = await run_steps(connection, SQL, steps, set())
        return result, lambda: connection.execute("COMMIT")

    async def begun(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begins a call that has to wait for a transaction that is open; returns once it waits, whoever else does."""
        task = asyncio.create_task(call)
        async with asyncio.timeout(10):
            while not await self.watch.fetchval(WAITING):
                assert not task.done(), "it did not wait"
                await asyncio.sleep(0.005)
        return task


@pytest.fixture
async def nodes(postgres_server: PostgresServer) -> AsyncIterator[Nodes]:
    url = await postgres_server.create_database()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(postgres_server.drop_database, url)
        stores = [await open_postgres(url) for _ in range(2)]
        for store in stores:
            stack.push_async_callback(store.close)
        watch = await Servers(url).connect()
        stack.push_async_callback(watch.close, timeout=5)

        async def open_again() -> Store:
            return stores[0]

        yield Nodes(url, await Scene.begin(open_again), stores[1], watch, stack)


def workspace() -> Workspace:
    return Workspace(DOUBT_LASTS_MS)


def noted(steps: Steps[T], names: list[str]) -> Steps[T]:
    """The same steps; the names of their statements are added."""
    try:
        step = next(steps)
        while True:
            names.append(step.statement)
            step = steps.send((yield step))
    except StopIteration as stop:
        result: T = stop.value
        return result


# --- a receipt and what it answers, on two nodes -----------------------------------------------------


async def test_receipt_that_comes_while_its_answer_is_being_stored_waits_for_it(nodes: Nodes) -> None:
    scene = nodes.scene
    submission = await scene.submit()
    _, commit = await nodes.held(work.settle(workspace(), [[answered(submission, "A1")]], NOW + SECOND))
    receipt = await nodes.begun(nodes.other.settle([a_receipt("A1")], NOW + MINUTE))
    await commit()
    assert await receipt == scene.events(submission.attempt.message, (State.DELIVERED, NOW + 5 * SECOND))
    assert (await scene.store.count_pending())["parked"] == 0


async def test_answer_that_comes_while_its_receipt_is_being_parked_waits_for_it(nodes: Nodes) -> None:
    scene = nodes.scene
    submission = await scene.submit()
    _, commit = await nodes.held(work.settle(workspace(), [[a_receipt("A1", at=NOW + 1)]], NOW + 1))
    answer = await nodes.begun(nodes.other.settle([answered(submission, "A1")], NOW + SECOND))
    await commit()
    assert await answer == scene.events(
        submission.attempt.message, (State.SENT, NOW + SECOND), (State.DELIVERED, NOW + 1)
    )
    assert (await scene.store.count_pending())["parked"] == 0


async def test_doubt_that_begins_while_its_receipt_is_being_parked_waits_for_it(nodes: Nodes) -> None:
    scene = nodes.scene
    submission = await scene.submit()
    receipt = a_receipt("never seen", at=NOW + 1, reference=submission.attempt.reference)
    _, commit = await nodes.held(work.settle(workspace(), [[receipt]], NOW + 1))
    doubt = await nodes.begun(nodes.other.settle([doubted(submission)], NOW + SECOND))
    await commit()
    await doubt
    assert await scene.state(submission.attempt.message) is State.DELIVERED
    assert (await scene.store.count_pending())["parked"] == 0


async def test_receipt_whose_attempt_is_known_waits_for_nobody(nodes: Nodes) -> None:
    scene = nodes.scene
    known = await scene.hand_over("A1")
    submission = await scene.submit()
    _, commit = await nodes.held(work.settle(workspace(), [[answered(submission, "A2")]], NOW + SECOND))
    assert await nodes.other.settle([a_receipt("A1")], NOW + MINUTE) != []
    await commit()
    assert await scene.state(known) is State.DELIVERED


async def test_many_answers_race_their_receipts_and_every_one_ends_delivered(nodes: Nodes) -> None:
    scene = nodes.scene
    here, there = nodes.both
    for number in range(300):
        await scene.accept(number=f"+336123{number:05}")
    submissions = await scene.claim(300)

    def receipt_of(submission: Submission) -> Any:
        # Every third one spelt otherwise: its form leads to the attempt, not its id.
        spelt = id_of(submission).lower() if submission.attempt.message % 3 == 0 else id_of(submission)
        return a_receipt(spelt, number=submission.number)

    def id_of(submission: Submission) -> str:
        return f"{0xABC00000 + submission.attempt.message:X}"

    pieces = [submissions[at : at + 3] for at in range(0, 300, 3)]
    await asyncio.gather(
        *chain.from_iterable(
            (
                here.settle([answered(submission, id_of(submission)) for submission in piece], NOW + SECOND),
                there.settle([receipt_of(submission) for submission in piece], NOW + SECOND),
            )
            for piece in pieces
        )
    )
    states = Counter([await scene.state(submission.attempt.message) for submission in submissions])
    assert states == {State.DELIVERED: 300}
    assert (await here.count_pending())["parked"] == 0


# --- facts about one message -------------------------------------------------------------------------


async def test_facts_about_one_message_on_two_nodes_do_not_overwrite_each_other(nodes: Nodes) -> None:
    scene = nodes.scene
    message = await scene.accept(parts=100)
    submissions = await scene.claim(100)
    await asyncio.gather(
        *(
            nodes.both[submission.attempt.part % 2].settle(
                [answered(submission, f"A{submission.attempt.part}")], NOW + SECOND
            )
            for submission in submissions
        )
    )
    await asyncio.gather(
        *(nodes.both[part % 2].settle([a_receipt(f"A{part}")], NOW + MINUTE) for part in range(1, 101))
    )
    read = await scene.read(message)
    assert (read.facts, await scene.state(message)) == (200, State.DELIVERED)


async def test_batches_that_need_the_same_messages_in_opposite_orders_are_all_settled(nodes: Nodes) -> None:
    scene = nodes.scene
    for number in range(40):
        await scene.accept(number=f"+336123{number:05}", parts=2)
    submissions = await scene.claim(80)
    await scene.store.settle([answered(s, f"A{s.attempt.message}-{s.attempt.part}") for s in submissions], NOW + SECOND)
    receipts = [a_receipt(f"A{s.attempt.message}-{s.attempt.part}", number=s.number) for s in submissions]
    await asyncio.gather(
        *(
            store.settle(receipts[at::8][:: 1 - 2 * turned], NOW + MINUTE)
            for at in range(8)
            for turned, store in enumerate(nodes.both)
        )
    )
    facts = {(await scene.read(MessageId(submission.attempt.message))).facts for submission in submissions}
    assert facts == {6}


async def test_fact_about_a_message_that_is_being_claimed_waits_for_the_claim(nodes: Nodes) -> None:
    scene = nodes.scene
    message = await scene.accept(parts=2)
    [first] = await scene.claim(1)
    epoch = scene.epochs["operator"]
    [second], commit = await nodes.held(work.claim(workspace(), Turns(), "operator", epoch, [Portion("live")], 10, NOW))
    failure = await nodes.begun(
        nodes.other.settle([answered(first, "A1"), a_receipt("A1", Verdict.FAILED)], NOW + SECOND)
    )
    await commit()
    await failure
    assert second.attempt.part == 2
    assert await scene.state(message) is State.ERROR
    assert [attempt.outcome for attempt in (await scene.journey(message)).attempts] == [
        Outcome.ACCEPTED,
        Outcome.PENDING,
    ]


async def test_claim_of_a_message_that_is_being_decided_waits_and_does_not_send_it(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scene = nodes.scene
    message = await scene.accept(parts=2)
    [first] = await scene.claim(1)
    reports: list[Report] = [answered(first, "A1"), a_receipt("A1", Verdict.FAILED)]
    steps = work.settle(workspace(), [reports], NOW + SECOND)
    # The decision has locked the message and has not touched the queue yet when the claim comes.
    connection = await nodes.begin()
    await connection.fetch("SELECT 1 FROM message WHERE id = $1 FOR UPDATE", message)
    claim = await nodes.begun(nodes.other.claim("operator", scene.epochs["operator"], [Portion("live")], 10, NOW))
    await run_steps(connection, SQL, steps, set())
    await connection.execute("COMMIT")
    assert await claim == []
    assert await scene.state(message) is State.ERROR
    assert (await scene.store.count_pending())["queued"] == 0
    assert "transaction run again" not in caplog.messages  # they waited for each other in one direction only


# --- accepting ---------------------------------------------------------------------------------------


async def test_one_key_on_two_nodes_makes_one_message(nodes: Nodes) -> None:
    scene = nodes.scene

    def send(key: int, body: bytes) -> Any:
        return a_send(scene.account, number=f"+336123{key:05}", idempotency=Idempotency(f"key {key}", body))

    outcomes = await asyncio.gather(
        *(store.accept(send(key, b"body")) for key in range(100) for store in (*nodes.both, *nodes.both))
    )
    for key in range(100):
        answers = outcomes[4 * key : 4 * key + 4]
        latest = await scene.store.find_latest(scene.account, f"+336123{key:05}")
        assert latest is not None
        assert latest.previous is None
        first, repeated = Accepted(latest.id, 1), Accepted(latest.id, 1, repeated=True)
        assert sorted(map(repr, answers)) == sorted(map(repr, [first, repeated, repeated, repeated]))


async def test_second_node_with_a_key_and_another_body_waits_for_the_first_and_is_refused(nodes: Nodes) -> None:
    send = a_send(nodes.scene.account, idempotency=Idempotency("order-17", b"body"))
    [accepted], commit = await nodes.held(work.accept([send]))
    assert isinstance(accepted, Accepted)
    another = a_send(nodes.scene.account, idempotency=Idempotency("order-17", b"another"))
    second = await nodes.begun(nodes.other.accept(another))
    await commit()
    assert await second == NotAccepted(1006)


async def test_chain_of_a_number_loses_no_message_and_its_ids_grow(nodes: Nodes) -> None:
    scene = nodes.scene
    sends = [a_send(scene.account, accepted_at=NOW + (-1) ** number * number) for number in range(200)]
    outcomes = await asyncio.gather(*(nodes.both[at % 2].accept(send) for at, send in enumerate(sends)))
    latest = await scene.store.find_latest(scene.account, NUMBER)
    walked = []
    while latest is not None:
        walked.append(latest.id)
        latest = await scene.read(latest.previous) if latest.previous else None
    assert walked == sorted(walked, reverse=True)
    assert {outcome.id for outcome in outcomes if isinstance(outcome, Accepted)} == set(walked)
    assert len(walked) == 200


async def test_first_two_messages_to_a_number_on_two_nodes_form_a_chain(nodes: Nodes) -> None:
    scene = nodes.scene
    [first], commit = await nodes.held(work.accept([a_send(scene.account)]))
    second = await nodes.begun(nodes.other.accept(a_send(scene.account)))
    await commit()
    outcome = await second
    assert isinstance(first, Accepted)
    assert isinstance(outcome, Accepted)
    assert (await scene.read(outcome.id)).previous == first.id
    assert outcome.id > first.id


async def test_ids_grow_along_the_chain_although_the_later_message_was_asked_for_first(nodes: Nodes) -> None:
    scene = nodes.scene
    before = await scene.accept()
    connection = await nodes.begin()
    await connection.fetch("SELECT 1 FROM latest FOR UPDATE")
    later = await nodes.begun(nodes.other.accept(a_send(scene.account)))
    [first] = await run_steps(connection, SQL, work.accept([a_send(scene.account)]), set())
    await connection.execute("COMMIT")
    second = await later
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert before < first.id < second.id
    assert ((await scene.read(first.id)).previous, (await scene.read(second.id)).previous) == (before, first.id)


# --- claiming ----------------------------------------------------------------------------------------


async def test_two_nodes_claim_no_part_twice(nodes: Nodes) -> None:
    scene = nodes.scene
    for number in range(100):
        await scene.accept(number=f"+336123{number:05}", parts=5)
    epoch = scene.epochs["operator"]
    claims: list[Submission] = []

    async def claim(store: Store) -> None:
        while taken := await store.claim("operator", epoch, [Portion("live")], 7, NOW):
            claims.extend(taken)

    await asyncio.gather(*(claim(store) for store in nodes.both for _ in range(3)))
    assert len(claims) == len({submission.key for submission in claims}) == 500
    assert {submission.attempt.number for submission in claims} == {1}


async def test_connector_taken_over_doubts_the_claim_that_is_being_stored(nodes: Nodes) -> None:
    scene = nodes.scene
    message = await scene.accept()
    epoch = scene.epochs["operator"]
    claimed, commit = await nodes.held(work.claim(workspace(), Turns(), "operator", epoch, [Portion("live")], 10, NOW))
    opening = await nodes.begun(nodes.other.open_connector("operator", NOW + SECOND))
    await commit()
    assert (len(claimed), await opening) == (1, epoch + 1)
    assert [attempt.outcome for attempt in (await scene.journey(message)).attempts] == [Outcome.IN_DOUBT]


async def test_claim_of_a_connector_that_is_being_taken_over_claims_nothing(nodes: Nodes) -> None:
    scene = nodes.scene
    await scene.accept()
    epoch = scene.epochs["operator"]
    _, commit = await nodes.held(work.open_connector(workspace(), "operator", NOW))
    claim = await nodes.begun(nodes.other.claim("operator", epoch, [Portion("live")], 10, NOW))
    await commit()
    assert await claim == []


async def test_claim_takes_its_locks_in_one_step_the_connector_first(nodes: Nodes) -> None:
    scene = nodes.scene
    await scene.accept()
    epoch = scene.epochs["operator"]
    _, commit = await nodes.held(lock("connector operator"))
    claim = await nodes.begun(nodes.other.claim("operator", epoch, [Portion("live")], 10, NOW))
    # It waits for the connector, and so holds nothing yet that whoever stores an opt-out waits for.
    await scene.store.add_entry(scene.account, Listing.UNSUBSCRIBED, "+33699999999", test=False, now=NOW)
    await commit()
    assert len(await claim) == 1
    steps: list[str] = []
    await scene.accept()
    await nodes.held(noted(work.claim(workspace(), Turns(), "operator", epoch, [Portion("live")], 1, NOW), steps))
    assert (steps[:2], steps.count("lock")) == (["lock", "find_epoch"], 1)


async def test_lease_of_a_node_that_fell_asleep_in_a_claim_is_asked_for_without_waiting(nodes: Nodes) -> None:
    scene = nodes.scene
    await scene.accept()
    epoch = await nodes.other.lease("operator", Holder("anne", "1"), 600_000, NOW)
    assert epoch is not None
    claimed, commit = await nodes.held(work.claim(workspace(), Turns(), "operator", epoch, [Portion("live")], 10, NOW))
    assert await scene.store.lease("operator", Holder("bea", "1"), 600_000, NOW) is None
    await commit()
    assert len(claimed) == 1


async def test_claim_begun_while_a_stop_is_being_stored_sees_it(nodes: Nodes) -> None:
    scene = nodes.scene
    await scene.hand_over()
    await scene.accept(family=Family.MARKETING)
    stop = [an_inbound("STOP", connector="operator", at=NOW + MINUTE)]
    _, commit = await nodes.held(work.receive(workspace(), stop, NOW + MINUTE))
    claim = await nodes.begun(
        nodes.other.claim("operator", scene.epochs["operator"], [Portion("live")], 10, NOW + MINUTE)
    )
    await commit()
    assert await claim == []


async def test_stop_is_stored_after_the_claims_that_have_not_seen_it(nodes: Nodes) -> None:
    scene = nodes.scene
    await scene.hand_over()
    await scene.accept(family=Family.MARKETING)
    claimed, commit = await nodes.held(
        work.claim(workspace(), Turns(), "operator", scene.epochs["operator"], [Portion("live")], 10, NOW + MINUTE)
    )
    stop = await nodes.begun(nodes.other.receive([an_inbound("STOP", connector="operator", at=NOW + MINUTE)], NOW))
    await commit()
    [reply] = await stop
    assert (len(claimed), reply.keyword) == (1, "STOP")


async def parked_stop(nodes: Nodes) -> tuple[AttemptReport, MessageId]:
    """An operator's receipt that says STOP waits for the answer that is returned; so does a message to that person."""
    submission = await nodes.scene.submit()
    await nodes.scene.store.settle([a_receipt("A1", Verdict.OPTED_OUT)], NOW + SECOND)
    return answered(submission, "A1"), await nodes.scene.accept(family=Family.MARKETING)


async def test_claim_begun_while_a_parked_stop_finds_its_message_sees_it(nodes: Nodes) -> None:
    answer, _ = await parked_stop(nodes)
    _, commit = await nodes.held(work.settle(workspace(), [[answer]], NOW + MINUTE))
    epoch = nodes.scene.epochs["operator"]
    claim = await nodes.begun(nodes.other.claim("operator", epoch, [Portion("live")], 10, NOW + MINUTE))
    await commit()
    assert await claim == []


async def test_parked_stop_takes_effect_after_the_claims_that_have_not_seen_it(nodes: Nodes) -> None:
    answer, message = await parked_stop(nodes)
    epoch = nodes.scene.epochs["operator"]
    claimed, commit = await nodes.held(
        work.claim(workspace(), Turns(), "operator", epoch, [Portion("live")], 10, NOW + MINUTE)
    )
    settled = await nodes.begun(nodes.other.settle([answer], NOW + MINUTE))
    await commit()
    await settled
    assert [submission.attempt.message for submission in claimed] == [message]
    assert (await nodes.scene.read(message)).cause is None  # it has left: nothing bars it any more
    assert await nodes.scene.try_to_send(family=Family.MARKETING) == NotAccepted(12)


async def test_an_answer_waits_for_no_claim_where_no_stop_is_parked(nodes: Nodes) -> None:
    scene = nodes.scene
    submission = await scene.submit()
    await scene.store.settle([a_receipt("B1", number="+33698765432")], NOW + SECOND)
    await scene.accept(number="+33698765432")
    claim = work.claim(workspace(), Turns(), "operator", scene.epochs["operator"], [Portion("live")], 10, NOW + MINUTE)
    claimed, commit = await nodes.held(claim)
    await nodes.other.settle([answered(submission, "A1")], NOW + MINUTE)
    await commit()
    assert len(claimed) == 1


# --- the rest ----------------------------------------------------------------------------------------


async def test_sweeps_of_two_nodes_look_at_each_message_once(nodes: Nodes) -> None:
    scene = nodes.scene
    messages = [await scene.accept(number=f"+336123{number:05}", validity_ms=MINUTE) for number in range(200)]
    swept = await asyncio.gather(*(store.sweep(NOW + MINUTE, 50) for store in nodes.both for _ in range(4)))
    while (await scene.store.sweep(NOW + MINUTE, 50))[0]:
        pass
    told = Counter(event.message for _, events in swept for event in events)
    assert set(told.values()) <= {1}
    assert {(await scene.read(message)).facts for message in messages} == {1}


async def test_parts_of_one_reply_that_reach_two_nodes_at_once_are_joined_once(nodes: Nodes) -> None:
    scene = nodes.scene
    message = await scene.hand_over()
    replies: list[Reply] = []
    for reference in range(20):
        parts = in_parts(reference, "un ", "deux ", "trois ", "quatre")
        joined = await asyncio.gather(
            *(nodes.both[part.sequence % 2].receive([part], NOW + MINUTE) for part in parts), return_exceptions=False
        )
        replies += chain.from_iterable(joined)
    assert [(reply.text, reply.message, reply.complete) for reply in replies] == [
        ("un deux trois quatre", message, True)
    ] * 20


async def test_last_part_of_a_reply_and_the_sweep_that_gives_it_up_make_one_reply(nodes: Nodes) -> None:
    scene = nodes.scene
    await scene.hand_over()
    first, last = in_parts(7, "un ", "deux")
    await scene.store.receive([first], NOW + MINUTE)
    late = NOW + 20 * MINUTE
    [[reply], _], commit = await nodes.held(work.receive(workspace(), [last], late))
    await nodes.other.sweep(late, 100)  # passes over what is being joined
    await commit()
    await nodes.other.sweep(late, 100)
    assert (reply.text, reply.complete) == ("un deux", True)
    assert await nodes.watch.fetchval("SELECT count(*) FROM reply") == 1


async def test_sweep_leaves_a_reply_alone_while_a_part_of_it_is_being_received(nodes: Nodes) -> None:
    scene = nodes.scene
    [first, _] = in_parts(7, "un ", "deux")
    await scene.store.receive([first], NOW)
    late = NOW + 20 * MINUTE
    _, commit = await nodes.held(lock(f"reply operator|{NUMBER}|{SHORT_CODE}|7|2"))
    await nodes.other.sweep(late, 100)
    assert await nodes.watch.fetchval("SELECT count(*) FROM reply") == 0
    await commit()
    await nodes.other.sweep(late, 100)
    assert await nodes.watch.fetchval("SELECT count(*) FROM reply") == 1


async def test_bell_tells_the_other_node_what_was_queued(nodes: Nodes) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    await nodes.other.listen(heard.put_nowait)
    await nodes.scene.accept()
    async with asyncio.timeout(10):
        assert await heard.get() == "live"
        await nodes.scene.accept(test=True)
        assert await heard.get() == "simulator"


async def test_account_opened_on_two_nodes_is_one(nodes: Nodes) -> None:
    accounts = await asyncio.gather(*(store.open_account("new", NOW) for store in nodes.both for _ in range(5)))
    assert len({account.id for account in accounts}) == 1
