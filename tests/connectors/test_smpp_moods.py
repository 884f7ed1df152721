"""The connector against the moods that come with the simulator: nothing is lost, doubled or misread in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from chappe.core.message import Answered, DoubtBegan, Refused, Submission, Treatment, Verdict
from chappe.core.receipts import id_forms
from chappe.simulator import load_mood
from tests.connectors.connector_scene import Journey, Start, facts, submissions

QUICK = {"answer_seconds": 0.0, "answer_jitter_seconds": 0.01, "receipt_seconds": 0.0, "retry_seconds": 0.01}
"""The same habits, sooner."""


async def all_settled(journey: Journey, waiting: Sequence[Submission]) -> None:
    """Submits as the dispatcher does, what was throttled again as the store does, until each has its end."""
    wanted, read = {submission.attempt.message for submission in waiting}, 0
    ended: set[int] = set()
    async with asyncio.timeout(30):
        while not wanted <= ended:
            journey.room.clear()
            new, read = journey.answers[read:], len(journey.answers)
            again = [r for r in new if isinstance(r.fact, Refused) and r.fact.treatment is Treatment.THROTTLED]
            waiting = [*waiting, *(submissions(1, first=report.message)[0] for report in again)]
            ended |= {report.message for report in new if isinstance(report.fact, Answered | DoubtBegan)}
            waiting = journey.connector.submit(waiting)
            try:
                async with asyncio.timeout(0.02):
                    await journey.room.wait()
            except TimeoutError:
                pass


@pytest.mark.parametrize("name", ["hex-ids", "hasty-receipts", "corrupt", "flapping", "rushes", "half-open"])
async def test_whatever_the_operators_mood_each_submit_ends_once(journey: Journey, simulate: Start, name: str) -> None:
    simulator, port = await simulate(replace(load_mood(name), **QUICK, throttle_above=0.0))
    connector = journey.connect(
        port, window=20, enquire_link_seconds=0.1, probe_seconds=0.1, response_seconds=0.3, bind_seconds=5
    )
    await all_settled(journey, submissions(150))
    answered, doubted = facts(journey, Answered), facts(journey, DoubtBegan)
    assert len(answered) == len(set(answered))
    assert len(doubted) == len(set(doubted))
    if name not in ("flapping", "half-open"):
        assert (len(answered), doubted, connector.counts.binds) == (150, [], 1)
    assert connector.bound or connector.counts.binds > 1
    assert simulator.counts["accepted"] >= len(answered)


async def test_receipts_are_recognised_in_another_spelling_of_the_id(journey: Journey, simulate: Start) -> None:
    _, port = await simulate(replace(load_mood("hex-ids"), **QUICK))
    journey.connect(port)
    await all_settled(journey, submissions(5))
    await journey.until(lambda: len(journey.receipts) == 5)
    ids = {report.fact.carrier_id for report in journey.answers if isinstance(report.fact, Answered)}
    for receipt in journey.receipts:
        assert receipt.carrier_id not in ids
        assert ids & set(id_forms(receipt.carrier_id))


async def test_receipts_that_lie_about_their_lengths_are_taken_and_the_bind_holds(
    journey: Journey, simulate: Start
) -> None:
    simulator, port = await simulate(replace(load_mood("corrupt"), **QUICK, corrupt_tlvs=0.5, corrupt_lengths=0.5))
    connector = journey.connect(port)
    await all_settled(journey, submissions(60))
    await journey.until(lambda: simulator.counts["delivered"] == 60)
    assert len(journey.receipts) == 60
    assert (connector.counts.binds, connector.counts.discarded) == (1, 0)


async def test_an_operator_like_ovh_takes_its_twenty_a_second_and_unbinds_each_day(
    journey: Journey, simulate: Start
) -> None:
    simulator, port = await simulate(replace(load_mood("ovh"), answer_seconds=0.01, receipt_seconds=0.0))
    connector = journey.connect(port, window=10, rate=20, unbind_seconds=5, stop_codes=("53",))
    await all_settled(journey, submissions(25))
    await journey.until(lambda: len(journey.receipts) == 25)
    assert connector.counts.throttled == 0
    simulator.pass_time(86_400)
    await journey.until(lambda: connector.counts.binds == 2)
    assert facts(journey, DoubtBegan) == []
    simulator.send_mo("+33612345678", "CHAPPE", "STOP")
    await journey.until(lambda: journey.inbound)
    await all_settled(journey, submissions(1, first=26))
    await journey.until(lambda: len(journey.receipts) == 26)
    last = journey.receipts[-1]
    assert (last.verdict, last.detail) == (Verdict.OPTED_OUT, "operatorStop:053")
