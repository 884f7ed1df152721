"""query_sm: an operator is asked about a submit, in the place of a submit, and what it says is read like a receipt."""

from __future__ import annotations

import asyncio

import pytest

from chappe.core.message import Answered, Question, Verdict
from chappe.simulator import Mood
from chappe.smpp import pdus
from chappe.smpp.pdus import Status
from tests.connectors.connector_scene import Journey, Operator, Start, submissions

NUMBER = "+33612345678"


async def carrier_id(journey: Journey) -> str:
    """Of a submit of which the operator sends no receipt."""
    await journey.submit(*submissions(1))
    await journey.until(lambda: journey.answers)
    fact = journey.answers[0].fact
    assert isinstance(fact, Answered)
    return fact.carrier_id


async def test_what_the_operator_says_is_handed_over_like_a_receipt_and_marked(
    journey: Journey, simulate: Start
) -> None:
    _, port = await simulate(Mood(receipt_seconds=0, receipts_lost=1))
    connector = journey.connect(port)
    id_ = await carrier_id(journey)
    assert await connector.ask(Question(id_, NUMBER, "CHAPPE"))
    await journey.until(lambda: journey.receipts)
    [told] = journey.receipts
    assert (told.connector, told.carrier_id, told.verdict, told.detail) == ("op", id_, Verdict.DELIVERED, "delivered")
    assert (told.asked, told.number) == (True, NUMBER)
    assert (connector.counts.asked, connector.counts.asked_in_vain, connector.counts.receipts) == (1, 0, 0)


async def test_a_refused_question_changes_nothing_and_submits_go_on(journey: Journey, simulate: Start) -> None:
    _, port = await simulate(Mood(receipts_lost=1, queries_refused=1))
    connector = journey.connect(port)
    id_ = await carrier_id(journey)
    for _ in range(2):
        assert await connector.ask(Question(id_, NUMBER, "CHAPPE"))
    assert (connector.counts.asked, connector.counts.asked_in_vain) == (2, 2)
    await journey.submit(*submissions(1, first=2))
    await journey.until(lambda: len(journey.answers) == 2)
    assert journey.receipts == []


async def test_a_question_takes_a_place_in_the_window_and_needs_one(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, window=2)
    await journey.submit(*submissions(1))
    asking = asyncio.create_task(connector.ask(Question("A1", NUMBER, "CHAPPE")))
    await journey.until(lambda: operator.queries)
    assert connector.free() == 0
    assert not await connector.ask(Question("A2", NUMBER, "CHAPPE"))
    link, query = operator.queries[0]
    assert (query.message_id, query.source_addr_ton, query.source_addr) == (b"A1", pdus.Ton.ALPHANUMERIC, b"CHAPPE")
    link.reply(query, pdus.QuerySmResp(message_id=b"0A1", message_state=5, error_code=1))
    assert await asking
    await journey.until(lambda: journey.receipts)
    assert (journey.receipts[0].carrier_id, journey.receipts[0].verdict) == ("A1", Verdict.NOT_ASSIGNED)


async def test_nothing_is_asked_while_unbound_or_paused(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    question = Question("A1", NUMBER, "CHAPPE")
    assert not await connector.ask(question)
    await journey.until(lambda: connector.bound)
    connector.pause()
    assert not await connector.ask(question)
    assert operator.queries == []


@pytest.mark.parametrize("late", [True, False])
async def test_a_question_that_is_not_answered_ends_and_a_late_answer_counts(
    journey: Journey, operator: Operator, late: bool
) -> None:
    connector = journey.connect(operator.port, response_seconds=0.05, probe_seconds=10)
    await journey.until(lambda: connector.bound)
    assert await connector.ask(Question("A1", NUMBER, "CHAPPE"))
    assert connector.counts.asked_in_vain == 1
    link, query = operator.queries[0]
    if late:
        link.reply(query, pdus.QuerySmResp(message_id=b"A1", message_state=2))
        await journey.until(lambda: journey.receipts)
        assert journey.receipts[0].verdict is Verdict.DELIVERED
    else:
        link.abort()
        await journey.until(lambda: connector.counts.binds == 2)
        assert journey.receipts == []


async def test_an_operator_that_throttles_questions_slows_the_pace(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port)
    await journey.until(lambda: connector.bound)
    asking = asyncio.create_task(connector.ask(Question("A1", NUMBER, "CHAPPE")))
    await journey.until(lambda: operator.queries)
    link, query = operator.queries[0]
    link.reply(query, Status.ESME_RTHROTTLED)
    assert await asking
    await journey.until(lambda: connector.figures().rate_limit is not None)


async def test_an_operators_own_stop_code_is_read_in_what_it_is_asked(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, stop_codes=("53",))
    await journey.until(lambda: connector.bound)
    asking = asyncio.create_task(connector.ask(Question("A1", NUMBER, None)))
    await journey.until(lambda: operator.queries)
    link, query = operator.queries[0]
    link.reply(query, pdus.QuerySmResp(message_id=b"A1", message_state=8, error_code=53))
    assert await asking
    await journey.until(lambda: journey.receipts)
    assert (journey.receipts[0].verdict, journey.receipts[0].detail) == (Verdict.OPTED_OUT, "operatorStop:053")
