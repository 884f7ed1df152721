"""Binds: several of them, lost in every way, made again without a storm. The network between is tests/chaos.py."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chappe.core.message import Answered, DoubtBegan
from chappe.smpp import pdus
from chappe.smpp.pdus import Status
from tests.chaos import Chaos
from tests.connectors.connector_scene import Journey, Operator, a_receipt, facts, self_signed, submissions


@pytest.fixture
async def chaos(operator: Operator) -> AsyncIterator[Chaos]:
    async with Chaos("127.0.0.1", operator.port) as chaos:
        yield chaos


def spread(operator: Operator) -> list[int]:
    """How many submits came over each link, the fewest first."""
    return sorted(Counter(id(link) for link, _ in operator.submits).values())


# --- several binds -----------------------------------------------------------------------------------


async def test_submits_are_spread_over_the_windows_of_all_binds(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, binds=3, window=4)
    await journey.until(lambda: connector.free() == 12)
    assert connector.submit(submissions(7)) == []
    await journey.until(lambda: len(operator.submits) == 7)
    assert spread(operator) == [2, 2, 3]
    assert (connector.free(), connector.in_flight) == (5, 7)
    assert connector.submit(submissions(6, first=8)) == submissions(6, first=8)[5:]
    await journey.until(lambda: len(operator.submits) == 12)
    assert spread(operator) == [4, 4, 4]
    assert connector.free() == 0


async def test_the_emptier_windows_take_what_the_fuller_have_no_room_for(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, binds=2, window=5)
    await journey.until(lambda: connector.free() == 10)
    connector.submit(submissions(10))
    await journey.until(lambda: len(operator.submits) == 10)
    busy = operator.submits[0][0]
    for index, (link, _) in enumerate(operator.submits):
        if link is not busy:
            operator.reply(index, message_id=b"1")
    await journey.until(lambda: connector.free() == 5)
    assert connector.submit(submissions(5, first=11)) == []
    await journey.until(lambda: len(operator.submits) == 15)
    assert spread(operator) == [5, 10]


async def test_a_lost_bind_doubts_only_its_own(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, binds=3, window=4)
    await journey.until(lambda: connector.free() == 12)
    connector.submit(submissions(9))
    await journey.until(lambda: len(operator.submits) == 9)
    lost = operator.submits[0][0]
    own = sorted((submit.tlv_int(0x0204), 1) for link, submit in operator.submits if link is lost)
    lost.abort()
    await journey.until(lambda: journey.answers)
    assert connector.bound
    for index, (link, _) in enumerate(operator.submits):
        if link is not lost:
            operator.reply(index, message_id=b"1")
    await journey.until(lambda: len(journey.answers) == 9)
    assert facts(journey, DoubtBegan) == own
    assert len(own) == 3
    await journey.until(lambda: connector.free() == 12)


async def test_pairs_can_be_several_too(journey: Journey, operator: Operator) -> None:
    operator.answer = lambda submit: 0
    connector = journey.connect(operator.port, bind="tx+rx", binds=2, window=3)
    await journey.until(lambda: connector.figures().bound == 4)
    assert Counter(map(type, operator.binds)) == {pdus.BindTransmitter: 2, pdus.BindReceiver: 2}
    assert connector.free() == 6
    await journey.submit(*submissions(6))
    operator.deliver(a_receipt(), "receipt")
    await journey.until(lambda: len(journey.answers) == 6 and operator.answered)
    assert spread(operator) == [3, 3]
    await connector.drain(5)
    await journey.ended()
    assert operator.ends == ["unbind"] * 4


async def test_several_binds_try_a_wrong_password_no_more_often_than_one(
    journey: Journey, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    operator.bind_status = lambda bind: Status.ESME_RINVPASWD if len(operator.binds) < 4 else 0
    with caplog.at_level(logging.INFO):
        connector = journey.connect(operator.port, binds=4)
        await journey.until(lambda: connector.figures().bound == 4)
    assert (connector.counts.binds_refused, connector.counts.binds) == (3, 4)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert [vars(record)["pause_seconds"] for record in caplog.records if "pause_seconds" in vars(record)] == [0.05] * 3


async def test_several_binds_knock_no_more_often_than_one(journey: Journey, operator: Operator, chaos: Chaos) -> None:
    chaos.refuse()
    connector = journey.connect(chaos.port, binds=4, retry_seconds=600)
    await journey.until(lambda: connector.counts.unreachable)
    for _ in range(20):
        await asyncio.sleep(0)
    assert connector.counts.unreachable == 1


async def test_a_bind_too_many_does_not_keep_the_others_from_coming_back(journey: Journey, operator: Operator) -> None:
    operator.bind_status = lambda bind: Status.ESME_RINVPASWD if len(operator.binds) == 3 else 0
    connector = journey.connect(operator.port, binds=3, longest_retry_seconds=600)
    await journey.until(lambda: connector.counts.binds_refused == 1)
    assert (connector.counts.binds, connector.free()) == (2, 20)
    for link in list(operator.links)[:2]:
        link.abort()
    await journey.until(lambda: connector.counts.binds == 4)
    assert (connector.free(), connector.counts.binds_refused) == (20, 1)


async def test_a_drain_ends_binds_that_wait_for_their_turn(journey: Journey, operator: Operator) -> None:
    operator.bind_status = lambda bind: None
    connector = journey.connect(operator.port, binds=3)
    await journey.until(lambda: operator.binds)
    await connector.drain(5)
    await journey.ended()
    assert len(operator.binds) == 1


# --- the operator is away, and returns ---------------------------------------------------------------


async def test_an_operator_that_cannot_be_reached_is_knocked_at_steadily(
    journey: Journey, operator: Operator, chaos: Chaos, caplog: pytest.LogCaptureFixture
) -> None:
    """The pauses do not grow: they would be added to the time that messages wait after its return."""
    chaos.refuse()
    with caplog.at_level(logging.DEBUG):
        connector = journey.connect(chaos.port, retry_seconds=0.002, longest_retry_seconds=600)
        await journey.until(lambda: connector.counts.unreachable >= 25)
        await chaos.listen()
        await journey.until(lambda: connector.bound)
    assert {vars(r)["pause_seconds"] for r in caplog.records if "pause_seconds" in vars(r)} == {0.002}
    said = [record.levelname for record in caplog.records if record.getMessage() == "no connection"]
    assert said[0] == "WARNING"
    assert set(said[1:]) == {"DEBUG"}, "once is enough"


@pytest.mark.parametrize(("held", "pauses"), [(0.0, [0.1, 0.2, 0.4]), (1.0, [0.1, 0.1, 0.1])])
async def test_a_bind_that_held_is_made_again_soon_and_one_that_did_not_later(
    journey: Journey,
    operator: Operator,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    held: float,
    pauses: list[float],
) -> None:
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    with caplog.at_level(logging.INFO):
        connector = journey.connect(operator.port, retry_seconds=0.1, longest_retry_seconds=600)
        for binds in (1, 2, 3):
            await journey.until(lambda so_far=binds: connector.counts.binds == so_far)  # type: ignore[misc]
            ahead += held
            operator.links[-1].abort()
        await journey.until(lambda: connector.counts.binds == 4)
    assert [vars(record)["pause_seconds"] for record in caplog.records if "pause_seconds" in vars(record)] == pauses


async def test_refusals_of_the_bind_are_not_forgotten_while_it_was_away(
    journey: Journey, operator: Operator, chaos: Chaos, caplog: pytest.LogCaptureFixture
) -> None:
    operator.bind_status = lambda bind: Status.ESME_RBINDFAIL if len(operator.binds) < 4 else 0
    with caplog.at_level(logging.INFO):
        connector = journey.connect(chaos.port, retry_seconds=0.05, longest_retry_seconds=600)
        await journey.until(lambda: connector.counts.binds_refused == 2)
        chaos.refuse()
        await journey.until(lambda: connector.counts.unreachable >= 3)
        await chaos.listen()
        await journey.until(lambda: connector.bound)
    pauses = [vars(record)["pause_seconds"] for record in caplog.records if "pause_seconds" in vars(record)]
    assert pauses == [0.05, 0.1, 0.2]


async def test_an_operator_whose_host_swallows_packets_is_not_waited_for_long(
    journey: Journey, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chappe.connectors.kept_bind.KNOCK_SECONDS", 0.02)
    connector = journey.connect(operator.port, bind_seconds=60)
    await journey.until(lambda: connector.bound)
    await operator.close()
    with socket.create_server(("127.0.0.1", operator.port), backlog=0, reuse_port=False):
        fillers = []
        try:
            for _ in range(3):  # what the backlog has no room for is not answered, like packets into a hole
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", operator.port))
                fillers.append(filler)
            await journey.until(lambda: connector.counts.unreachable >= 3)
        finally:
            for filler in fillers:
                filler.close()
    returned = Operator()
    await returned.start(operator.port)
    try:
        await journey.until(lambda: connector.bound)
    finally:
        await returned.close()


async def test_with_tls_it_is_first_known_whether_anybody_is_there(journey: Journey, tmp_path: Path) -> None:
    operator = Operator()
    await operator.start(tls=self_signed(tmp_path))
    async with Chaos("127.0.0.1", operator.port) as chaos:
        chaos.refuse()
        connector = journey.connect(chaos.port, tls=True, tls_insecure=True)
        await journey.until(lambda: connector.counts.unreachable >= 3)
        await chaos.listen()
        await journey.until(lambda: connector.bound)
        assert chaos.connections == 2
        await connector.drain(5)
        await journey.ended()
    await operator.close()


async def test_a_wrong_certificate_is_a_refusal_and_not_an_absence(
    journey: Journey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    operator = Operator()
    await operator.start(tls=self_signed(tmp_path))
    with caplog.at_level(logging.INFO):
        connector = journey.connect(operator.port, tls=True, retry_seconds=0.01, longest_retry_seconds=600)
        await journey.until(lambda: connector.counts.unreachable == 3)
        await connector.drain(5)
        await journey.ended()
    pauses = [vars(record)["pause_seconds"] for record in caplog.records if "pause_seconds" in vars(record)]
    assert pauses[:2] == [0.01, 0.02]
    await operator.close()


# --- lost in every way -------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [0, 1, 5, 10])
@pytest.mark.parametrize("way", ["FIN", "RST", "silence", "unbind"])
async def test_every_loss_doubts_what_was_in_flight_once_and_the_rest_goes_on(
    journey: Journey, operator: Operator, chaos: Chaos, way: str, fill: int
) -> None:
    operator.answer = lambda submit: 0 if (submit.tlv_int(0x0204) or 0) > 100 else None
    connector = journey.connect(chaos.port, enquire_link_seconds=0.05, probe_seconds=0.05, bind_seconds=5)
    await journey.until(connector.free)
    connector.submit(submissions(fill))
    await journey.until(lambda: len(operator.submits) == fill)
    match way:
        case "FIN":
            chaos.close()
        case "RST":
            chaos.reset()
        case "silence":
            chaos.down.dropping = chaos.up.dropping = True
            await journey.until(lambda: not connector.bound)
            chaos.down.dropping = chaos.up.dropping = False
        case "unbind":
            operator.links[0].request(pdus.Unbind())
    await journey.until(lambda: connector.counts.binds == 2)
    await journey.submit(*submissions(20, first=101))
    await journey.until(lambda: len(journey.answers) == fill + 20)
    assert facts(journey, DoubtBegan) == [(message, 1) for message in range(1, fill + 1)]
    assert facts(journey, Answered) == [(message, 1) for message in range(101, 121)]
    causes = {report.fact.cause for report in journey.answers if isinstance(report.fact, DoubtBegan)}
    expected = {"FIN": "disconnected", "RST": "disconnected", "silence": "unresponsive", "unbind": "unbound"}[way]
    assert causes <= {expected}


async def test_a_link_of_which_our_half_is_broken_is_found_though_the_other_talks(
    journey: Journey, operator: Operator, chaos: Chaos
) -> None:
    connector = journey.connect(
        chaos.port, enquire_link_seconds=600, response_seconds=0.05, probe_seconds=0.05, bind_seconds=5
    )
    await journey.until(lambda: connector.bound)
    chaos.up.dropping = True
    connector.submit(submissions(2))

    def found() -> bool:
        if connector.bound:
            operator.deliver(pdus.AlertNotification())  # so that it is never silent
        return not connector.bound

    await journey.until(found)
    chaos.up.dropping = False
    await journey.until(lambda: connector.counts.binds == 2)
    assert facts(journey, DoubtBegan) == [(1, 1), (2, 1)]
    assert {report.fact.cause for report in journey.answers if isinstance(report.fact, DoubtBegan)} == {"timeout"}


async def test_a_lost_answer_does_not_cost_a_healthy_link(journey: Journey, operator: Operator) -> None:
    connector = journey.connect(operator.port, response_seconds=0.03, enquire_link_seconds=600)
    for first in (1, 3):
        await journey.submit(*submissions(2, first=first))
        await journey.until(lambda so_far=first: len(journey.answers) == so_far + 1)  # type: ignore[misc]
    operator.reply(0, message_id=b"late")
    await journey.until(lambda: len(journey.answers) == 5)
    assert (connector.counts.binds, connector.bound) == (1, True)


async def test_a_slow_and_choppy_network_loses_nothing(journey: Journey, operator: Operator, chaos: Chaos) -> None:
    operator.answer = lambda submit: 0
    chaos.up.split = chaos.down.split = 7
    chaos.up.delay_seconds = chaos.down.delay_seconds = 0.005
    journey.connect(chaos.port)
    await journey.submit(*submissions(60))
    await journey.until(lambda: len(journey.answers) == 60)
    assert facts(journey, Answered) == [(message, 1) for message in range(1, 61)]


async def test_a_network_that_stalls_for_a_while_costs_nothing(
    journey: Journey, operator: Operator, chaos: Chaos
) -> None:
    operator.answer = lambda submit: 0
    connector = journey.connect(chaos.port)
    await journey.until(connector.free)
    chaos.down.stalled = True
    connector.submit(submissions(10))
    await journey.until(lambda: len(operator.submits) == 10)
    assert (connector.in_flight, journey.answers) == (10, [])
    chaos.down.stalled = False
    await journey.until(lambda: len(journey.answers) == 10)
    assert (connector.counts.binds, facts(journey, DoubtBegan)) == (1, [])
