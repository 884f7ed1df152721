"""An ESME and an SMSC session talking to each other, their octets cut into chunks of every kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.smpp import codec, pdus
from chappe.smpp.session import (
    BindRequested,
    Cause,
    Closed,
    Event,
    Limits,
    MisuseError,
    OutcomeUnknown,
    RequestReceived,
    ResponseReceived,
    Role,
    Session,
    State,
    WindowFullError,
)


class Pair:
    """Both ends of one connection, with the octets carried by hand."""

    def __init__(self, chunk: int | None, limits: Limits | None = None) -> None:
        self.esme = Session(Role.ESME, 0.0, limits)
        self.smsc = Session(Role.SMSC, 0.0, limits)
        self._chunk = chunk

    def carry(self, source: Session, target: Session) -> list[Event]:
        octets = source.data_to_send()
        step = self._chunk or max(1, len(octets))
        for at in range(0, len(octets), step):
            target.receive_data(octets[at : at + step], 0.0)
        return target.events()

    def bind(self) -> Pair:
        self.esme.request(pdus.BindTransceiver(system_id=b"chappe"), 0.0)
        (asked,) = self.carry(self.esme, self.smsc)
        assert isinstance(asked, BindRequested)
        self.smsc.reply(asked.pdu)
        self.carry(self.smsc, self.esme)
        assert self.esme.state is self.smsc.state is State.BOUND_TRX
        return self


@pytest.fixture(params=[None, 1, 7], ids=["whole", "1 byte", "7 bytes"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param).bind()


def submit(text: bytes = b"Bonjour") -> pdus.SubmitSm:
    return pdus.SubmitSm(source_addr=b"Chappe", destination_addr=b"33600000000", short_message=text)


def test_submit_is_answered_with_its_token(pair: Pair) -> None:
    pair.esme.request(submit(), 0.0, token="first")
    (asked,) = pair.carry(pair.esme, pair.smsc)
    assert isinstance(asked, RequestReceived)
    assert isinstance(asked.pdu, pdus.SubmitSm)
    assert asked.pdu.short_message == b"Bonjour"
    pair.smsc.reply(asked.pdu, 0, b"362891")
    (answer,) = pair.carry(pair.smsc, pair.esme)
    assert isinstance(answer, ResponseReceived)
    assert answer.token == "first"
    assert isinstance(answer.pdu, pdus.SubmitSmResp)
    assert answer.pdu.message_id == b"362891"
    assert pair.esme.in_flight == 0


def test_window_is_kept_and_misuse_changes_nothing(pair: Pair) -> None:
    for _ in range(pair.esme.limits.window):
        pair.esme.request(submit(), 0.0)
    sent = pair.esme.data_to_send()
    with pytest.raises(WindowFullError):
        pair.esme.request(submit(), 0.0)
    assert sent
    assert pair.esme.data_to_send() == b""
    assert pair.esme.in_flight == pair.esme.limits.window


def test_reply_waits_for_the_application_and_is_given_once(pair: Pair) -> None:
    pair.smsc.request(pdus.DeliverSm(short_message=b"Merci"), 0.0, token="mo")
    (asked,) = pair.carry(pair.smsc, pair.esme)
    assert isinstance(asked, RequestReceived)
    assert pair.esme.data_to_send() == b""
    assert pair.esme.reply(asked.pdu)
    with pytest.raises(MisuseError):
        pair.esme.reply(asked.pdu)
    (answer,) = pair.carry(pair.esme, pair.smsc)
    assert isinstance(answer, ResponseReceived)
    assert answer.pdu.command_status == 0


def test_every_request_ends_as_unknown_when_the_connection_ends(pair: Pair) -> None:
    for number in range(3):
        pair.esme.request(submit(), 0.0, token=number)
    pair.esme.receive_eof()
    ended = pair.esme.events()
    assert [event.token for event in ended if isinstance(event, OutcomeUnknown)] == [0, 1, 2]
    assert isinstance(ended[-1], Closed)


def test_unanswered_request_ends_as_unknown_at_its_deadline() -> None:
    pair = Pair(None).bind()
    pair.esme.request(submit(), 0.0, token="lost")
    pair.esme.handle_timer(pair.esme.limits.response_seconds - 0.001)
    assert not [event for event in pair.esme.events() if isinstance(event, OutcomeUnknown)]
    pair.esme.handle_timer(pair.esme.limits.response_seconds)
    unknown = [event for event in pair.esme.events() if isinstance(event, OutcomeUnknown)]
    assert [event.token for event in unknown] == ["lost"]


@pytest.mark.parametrize("length", [*range(16), 0x7FFFFFFF, 0xFFFFFFFF])
def test_bad_length_closes_the_session(pair: Pair, length: int) -> None:
    pair.smsc.receive_data(length.to_bytes(4, "big") + bytes(12), 0.0)
    closed = pair.smsc.events()[-1]
    assert isinstance(closed, Closed)
    assert closed.cause is Cause.BAD_LENGTH


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
)
def test_other_protocols_on_the_port_close_the_session(octets: bytes) -> None:
    smsc = Session(Role.SMSC, 0.0)
    smsc.receive_data(octets, 0.0)
    assert isinstance(smsc.events()[-1], Closed)


def test_unknown_command_is_answered_and_the_session_goes_on(pair: Pair) -> None:
    pair.smsc.receive_data(codec.encode_header(0x0000_7777, 0, 5), 0.0)
    pair.smsc.events()
    pair.esme.receive_data(pair.smsc.data_to_send(), 0.0)
    pair.esme.request(submit(), 0.0, token="after")
    assert isinstance(pair.carry(pair.esme, pair.smsc)[-1], RequestReceived)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_no_octets_make_a_session_raise(chunks: list[bytes]) -> None:
    smsc = Session(Role.SMSC, 0.0)
    for octets in chunks:
        smsc.receive_data(octets, 0.0)
        smsc.receive_data((len(octets) + 16).to_bytes(4, "big") + bytes(12) + octets, 0.0)
        smsc.events()
        smsc.data_to_send()


@given(st.binary(max_size=254), st.binary(max_size=20).filter(lambda octets: 0 not in octets))
def test_submit_survives_encoding(text: bytes, number: bytes) -> None:
    one = pdus.SubmitSm(destination_addr=number, short_message=text)
    back = codec.decode(codec.encode(one, 9))
    assert isinstance(back, pdus.SubmitSm)
    assert (back.destination_addr, back.short_message, back.sequence_number) == (number, text, 9)
