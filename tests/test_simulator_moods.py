"""The simulator's bad habits, one by one, and the moods that come with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chappe.simulator import Fate, Mood, Script, load_mood, mood_names
from chappe.simulator.corruption import misstate, overrun, sm_length
from chappe.smpp import codec, pdus
from chappe.smpp.pdus import CONGESTION_STATE, DeliverSm, Pdu, Status
from chappe.smpp.session import Cause
from tests.test_simulator import AT_ONCE, NOON, PATIENCE, Esme, connected, iter_now, long_sms, operating, said, sms

WEEK = 604_800.0
NUMBER = "33612345678"


async def all_of(answers: list[asyncio.Future[Pdu | Cause]]) -> list[Pdu]:
    return [Esme.answered(answer) for answer in await asyncio.wait_for(asyncio.gather(*answers), PATIENCE)]


# --- answers -----------------------------------------------------------------------------------------


async def test_answers_can_come_out_of_order() -> None:
    async with operating(replace(AT_ONCE, answer_jitter_seconds=0.05)) as (_, _, esme):
        came: list[int] = []
        answers = [esme.send(sms(NUMBER)) for _ in range(10)]
        for answer in answers:
            answer.add_done_callback(lambda done: came.append(answers.index(done)))
        assert [answer.command_status for answer in await all_of(answers)] == [0] * 10
        assert sorted(came) == list(range(10))
        assert came != list(range(10))


async def test_a_window_that_is_exceeded_is_throttled() -> None:
    mood = replace(AT_ONCE, max_waiting=2, answer_seconds=3_600.0, throttled_status=int(Status.ESME_RMSGQFUL))
    async with operating(mood) as (simulator, _, esme):
        answers = [esme.send(sms(NUMBER)) for _ in range(3)]
        await esme.round_trip()
        simulator.pass_time(3_600)
        assert [answer.command_status for answer in await all_of(answers)] == [0, 0, Status.ESME_RMSGQFUL]
        assert simulator.counts["throttled"] == 1
        simulator.mood = replace(mood, answer_seconds=0.0)
        await esme.submit(sms(NUMBER))


async def test_its_rush_hours_come_and_go() -> None:
    async with operating(replace(AT_ONCE, busy_every_seconds=30, busy_seconds=5)) as (simulator, _, esme):
        statuses = []
        for seconds in (0, 26, 5, 20, 5):
            simulator.pass_time(seconds)
            statuses.append((await esme.ask(sms(NUMBER))).command_status)
        busy = Status.ESME_RTHROTTLED
        assert statuses == [0, busy, 0, 0, busy]


async def test_it_says_how_busy_it_is() -> None:
    async with operating(replace(AT_ONCE, throttle_above=0.001, tells_congestion=True)) as (_, _, esme):
        answers = [await esme.ask(sms(NUMBER)) for _ in range(2)]
        assert [(answer.command_status, answer.tlv_int(CONGESTION_STATE)) for answer in answers] == [
            (0, 100),
            (Status.ESME_RTHROTTLED, 100),
        ]
    async with operating(replace(AT_ONCE, throttle_above=1_000_000, tells_congestion=True)) as (_, _, esme):
        assert (await esme.ask(sms(NUMBER))).tlv_int(CONGESTION_STATE) == 0


# --- receipts ----------------------------------------------------------------------------------------


async def test_receipts_can_come_twice() -> None:
    async with operating(replace(AT_ONCE, receipts_doubled=1.0)) as (simulator, _, esme):
        message_id = await esme.submit(sms(NUMBER))
        told = [said(await esme.receive()) for _ in range(2)]
        assert told == [(message_id.decode(), "DELIVRD", "000")] * 2
        assert simulator.undelivered == 0


async def test_receipts_can_be_a_week_late_without_waiting_for_them() -> None:
    async with operating(replace(AT_ONCE, receipts_late=1.0)) as (simulator, _, esme):
        await esme.submit(sms(NUMBER))
        simulator.pass_time(WEEK - 60)
        await esme.round_trip()
        assert esme.delivered.empty()
        simulator.pass_time(60)
        receipt = await esme.receive()
        assert said(receipt)[1] == "DELIVRD"
        days = [part.split(b":")[1] for part in receipt.short_message.split() if part.startswith(b"date:")]
        assert (NOON, days) == (1_790_000_000.0, [b"2609211413", b"2609281413"])


async def test_who_wrote_stop_is_not_written_to_any_more() -> None:
    async with operating(replace(AT_ONCE, stop_error=53)) as (simulator, _, esme):
        await esme.submit(sms(NUMBER))
        assert said(await esme.receive())[1:] == ("DELIVRD", "000")
        simulator.send_mo("+" + NUMBER, "CHAPPE", " Stop. ")
        assert (await esme.receive()).short_message == b" Stop. "
        await esme.submit(sms(NUMBER))
        receipt = await esme.receive()
        assert said(receipt)[1:] == ("REJECTD", "053")
        assert receipt.tlv(pdus.Tag.NETWORK_ERROR_CODE) == b"\x03\x00\x35"
        await esme.submit(sms("33612345679"))
        assert said(await esme.receive())[1:] == ("DELIVRD", "000"), "only that person"
        simulator.send_mo(NUMBER, "CHAPPE", "START")
        await esme.receive()
        await esme.submit(sms(NUMBER))
        assert said(await esme.receive())[1:] == ("DELIVRD", "000")


async def test_an_operator_may_have_codes_of_its_own() -> None:
    script = Script(fate=Fate.UNDELIVERABLE, error=204)
    async with operating(replace(AT_ONCE, numbers={NUMBER: script})) as (_, _, esme):
        await esme.submit(sms(NUMBER))
        assert said(await esme.receive())[1:] == ("UNDELIV", "204")


async def test_receipts_are_tried_again_for_so_long_and_no_longer() -> None:
    mood = replace(AT_ONCE, retry_seconds=60.0, retry_for_seconds=WEEK)
    async with operating(mood) as (simulator, _, esme):
        esme.status = Status.ESME_RX_T_APPN
        await esme.submit(sms(NUMBER))
        await esme.receive()
        for seconds in (60.0, WEEK - 200, 60.0):
            await esme.round_trip()
            assert simulator.counts["given_up"] == 0
            simulator.pass_time(seconds)
            await esme.receive()
        await esme.round_trip()
        simulator.pass_time(61)
        await esme.receive()
        await esme.round_trip()
        assert simulator.counts["given_up"] == 1


# --- connections -------------------------------------------------------------------------------------


async def test_it_unbinds_once_a_day() -> None:
    async with operating(replace(AT_ONCE, unbind_after_seconds=86_400)) as (simulator, port, esme):
        simulator.pass_time(86_390)
        await esme.round_trip()
        assert not esme.unbound.is_set()
        simulator.pass_time(10)
        await asyncio.wait_for(esme.unbound.wait(), PATIENCE)
        again = await connected(port)
        await again.submit(sms(NUMBER))
        again.link.close()
        await again.link.lost


async def test_it_goes_silent_and_closes_nothing() -> None:
    async with operating(replace(AT_ONCE, silent_after=2)) as (simulator, port, esme):
        await esme.submit(sms(NUMBER))
        answers = [esme.send(sms(NUMBER)), esme.send(sms(NUMBER)), esme.send(pdus.EnquireLink())]
        again = await connected(port)
        await again.round_trip()
        assert [answer.done() for answer in answers] == [False] * 3
        assert not esme.closed.is_set()
        assert simulator.counts["submits"] == 2, "what followed was not read"
        receipts = [*iter_now(esme.delivered)]
        receipts += [await again.receive() for _ in range(2 - len(receipts))]
        assert {said(receipt)[1] for receipt in receipts} == {"DELIVRD"}
        again.link.close()
        await again.link.lost
        await simulator.stop()
        await asyncio.wait_for(esme.closed.wait(), PATIENCE)


async def test_it_can_be_told_to_go_silent() -> None:
    async with operating() as (simulator, _, esme):
        await esme.submit(sms(NUMBER))
        simulator.go_silent()
        answer = esme.send(sms(NUMBER))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(answer), 0.05)
        assert not esme.closed.is_set()
        await simulator.stop()
        assert await asyncio.wait_for(answer, PATIENCE) is Cause.CONNECTION_LOST


# --- PDUs with lengths that lie ----------------------------------------------------------------------


async def test_a_parameter_can_run_over_the_end() -> None:
    async with operating(replace(AT_ONCE, corrupt_tlvs=1.0)) as (simulator, _, esme):
        message_id = await esme.submit(sms(NUMBER))
        receipt = await esme.receive()
        assert said(receipt)[0] == message_id.decode()
        assert receipt.tlv(pdus.Tag.MS_AVAILABILITY_STATUS) == b"\0", "clipped"
        await esme.round_trip()
        assert simulator.counts["delivered"] == 1


async def test_a_text_can_be_longer_or_shorter_than_it_says() -> None:
    async with operating(replace(AT_ONCE, corrupt_lengths=1.0)) as (_, _, esme):
        lengths = set()
        for _ in range(20):
            await esme.submit(sms(NUMBER))
            lengths.add(len((await esme.receive()).short_message))
        assert len(lengths) == 3
        assert 0 in lengths


deliveries = st.builds(
    DeliverSm,
    service_type=st.binary(max_size=5).filter(lambda octets: 0 not in octets),
    source_addr=st.binary(max_size=20).filter(lambda octets: 0 not in octets),
    short_message=st.binary(max_size=254),
    tlvs=st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=9)), max_size=3).map(tuple),
)


@given(deliveries, st.integers(0, 255))
def test_only_the_length_is_a_lie(deliver: DeliverSm, length: int) -> None:
    octets = codec.encode(deliver, 7)
    assert sm_length(octets) == len(deliver.short_message)
    wrong = misstate(octets, length)
    assert (len(wrong), sm_length(wrong)) == (len(octets), length)
    assert misstate(wrong, len(deliver.short_message)) == octets
    assert codec.decode(wrong).sequence_number == 7
    longer = overrun(octets)
    assert int.from_bytes(longer[:4], "big") == len(longer) == len(octets) + 5


@pytest.mark.parametrize("look", [sm_length, lambda octets: misstate(octets, 1)])
def test_what_is_no_deliver_sm_has_no_sm_length(look: object) -> None:
    assert callable(look)
    with pytest.raises(ValueError, match="deliver_sm"):
        look(codec.encode(pdus.EnquireLink(), 1))


# --- those that come with it -------------------------------------------------------------------------


def test_the_moods_that_come_with_it_can_be_named() -> None:
    assert "ovh" in mood_names()
    for name in mood_names():
        assert load_mood(name) != Mood(), name


def test_the_mood_like_ovhs() -> None:
    mood = load_mood("ovh")
    assert (mood.throttle_above, mood.max_waiting, mood.unbind_after_seconds) == (20, 10, 86_400)
    assert (mood.retry_for_seconds, mood.stop_error) == (WEEK, 53)


def test_an_unknown_name_is_a_file_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="ovhh"):
        load_mood("ovhh")


def test_a_file_of_ones_own_comes_before_a_mood_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ovh").write_text("seed = 7", encoding="utf-8")
    assert load_mood("ovh") == load_mood(Path("ovh")) == Mood(seed=7)


async def test_only_part_two_has_a_receipt() -> None:
    async with operating(replace(load_mood("part-two"), receipt_seconds=0.0)) as (simulator, _, esme):
        ids = [await esme.submit(part) for part in long_sms(NUMBER)]
        assert said(await esme.receive())[0].encode() == ids[1]
        assert simulator.undelivered == 0
