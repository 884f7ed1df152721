"""The session's rules, walked: who may say what when, the window, every deadline, every way to end.

Every exchange is played with the octets whole, one at a time and seven at a time.
"""

from __future__ import annotations

import itertools
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.smpp import codec, pdus
from chappe.smpp.codec import EncodeError, SubmitTemplate, decode
from chappe.smpp.pdus import RESPONSE_BIT, RESPONSE_TO, Pdu, Status
from chappe.smpp.session import (
    LEGAL,
    TOLERATED,
    WINDOWED,
    BindRequested,
    Cause,
    Closed,
    Discarded,
    Event,
    LateResponse,
    Limits,
    MisuseError,
    OutcomeUnknown,
    RequestReceived,
    ResponseReceived,
    Role,
    Session,
    State,
    Unbound,
    WindowFullError,
)

LIMITS = Limits(
    window=3,
    max_owed=4,
    bind_seconds=10,
    idle_seconds=30,
    probe_seconds=7,
    response_seconds=60,
    partial_seconds=5,
    late_seconds=600,
    late_kept=4,
)
BIND_AS: dict[State, type[pdus.Bind]] = {
    State.BOUND_TX: pdus.BindTransmitter,
    State.BOUND_RX: pdus.BindReceiver,
    State.BOUND_TRX: pdus.BindTransceiver,
}


class Pair:
    """Both ends of one connection, with the octets and the time carried by hand."""

    def __init__(self, chunk: int, limits: Limits = LIMITS) -> None:
        self.now = 1_000.0
        self.esme = Session(Role.ESME, self.now, limits)
        self.smsc = Session(Role.SMSC, self.now, limits)
        self._chunk = chunk

    def bound(self, state: State = State.BOUND_TRX) -> Pair:
        self.esme.request(BIND_AS[state](system_id=b"chappe"), self.now)
        (asked,) = self.to_smsc()
        assert isinstance(asked, BindRequested)
        self.smsc.reply(asked.pdu)
        self.to_esme()
        assert self.esme.state is self.smsc.state is state
        return self

    def to_smsc(self) -> list[Event]:
        return self.feed(self.smsc, self.esme.data_to_send())

    def to_esme(self) -> list[Event]:
        return self.feed(self.esme, self.smsc.data_to_send())

    def feed(self, session: Session, octets: bytes) -> list[Event]:
        for at in range(0, len(octets), self._chunk):
            session.receive_data(octets[at : at + self._chunk], self.now)
        return session.events()

    def wait(self, seconds: float) -> None:
        """Lets time pass, firing both ends' timers when they are due and no sooner."""
        until = self.now + seconds
        while due := [
            session for session in (self.esme, self.smsc) if (timer := session.timer()) is not None and timer <= until
        ]:
            for session in due:
                timer = session.timer()
                assert timer is not None
                self.now = max(self.now, timer)
                session.handle_timer(self.now)
                later = session.timer()
                assert later is None or later > self.now, "a timer that fired is still due"
        self.now = until


@pytest.fixture(params=[1 << 20, 1, 7], ids=["whole", "1 octet", "7 octets"])
def fresh(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


@pytest.fixture
def pair(fresh: Pair) -> Pair:
    return fresh.bound()


def submit(to: bytes = b"33600000000") -> pdus.SubmitSm:
    return pdus.SubmitSm(source_addr=b"Chappe", destination_addr=to, short_message=b"Bonjour")


def only_pdu(octets: bytes) -> Pdu:
    pdu = decode(octets)
    assert int.from_bytes(octets[:4], "big") == len(octets)
    return pdu


def received(events: list[Event]) -> Pdu:
    """The one request that reached the application."""
    (event,) = events
    assert isinstance(event, RequestReceived)
    return event.pdu


def in_state(pair: Pair, role: Role, state: State) -> Session:
    """That end of the pair in that state, with nothing left to say."""
    if state in BIND_AS:
        pair.bound(state)
    session, other = (pair.esme, pair.smsc) if role is Role.ESME else (pair.smsc, pair.esme)
    if state is State.UNBOUND:
        pair.bound()
        other.request(pdus.Unbind(), pair.now)
        pair.feed(session, other.data_to_send())
    elif state is State.CLOSED:
        session.close()
    session.events()
    session.data_to_send()
    assert session.state is state
    return session


def condition(session: Session) -> tuple[object, ...]:
    """All that can be seen of a session, and all that it has said since the last time."""
    return (
        session.state,
        session.in_flight,
        session.window_free,
        session.timer(),
        session.data_to_send(),
        session.events(),
    )


# --- the tables --------------------------------------------------------------------------------------

CASES = [
    pytest.param(*case, id="-".join((case[0].__name__, case[1].value, case[2].value)))
    for case in itertools.product(LEGAL, Role, State)
]


@pytest.mark.parametrize(("request_class", "role", "state"), CASES)
def test_a_request_is_sent_where_the_table_says_so_and_is_else_our_mistake(
    fresh: Pair, request_class: type[Pdu], role: Role, state: State
) -> None:
    session = in_state(fresh, role, state)
    senders, states = LEGAL[request_class]
    legal = role in senders and state in states
    assert session.may_send(request_class) is legal
    before = condition(session)
    if legal:
        number = session.request(request_class(), fresh.now)
        assert only_pdu(session.data_to_send()) == request_class(sequence_number=number)
        assert session.in_flight == (request_class.command_id in WINDOWED)
    else:
        with pytest.raises(MisuseError):
            session.request(request_class(), fresh.now)
        assert condition(session) == before


@pytest.mark.parametrize(("request_class", "sender", "state"), CASES)
def test_a_request_is_received_where_the_tables_say_so_and_is_else_refused(
    fresh: Pair, request_class: type[Pdu], sender: Role, state: State
) -> None:
    session = in_state(fresh, sender.peer, state)
    rules = [table[request_class] for table in (LEGAL, TOLERATED) if request_class in table]
    command_id = request_class.command_id
    events = fresh.feed(session, codec.encode(request_class(), 77))
    answer = session.data_to_send()
    response_class = RESPONSE_TO.get(command_id, pdus.GenericNack)
    if state is State.CLOSED:
        assert (events, answer) == ([], b"")
    elif not any(sender in senders and state in states for senders, states in rules):
        again = issubclass(request_class, pdus.Bind) and state in BIND_AS
        status = Status.ESME_RALYBND if again else Status.ESME_RINVBNDSTS
        assert events == [Discarded(command_id, 77, status)]
        assert only_pdu(answer) == response_class(status, 77)
    elif request_class is pdus.EnquireLink:
        assert (events, only_pdu(answer)) == ([], pdus.EnquireLinkResp(0, 77))
    elif request_class is pdus.Unbind:
        assert events == ([] if state is State.UNBOUND else [Unbound()])
        assert only_pdu(answer) == pdus.UnbindResp(0, 77)
        assert session.state is State.UNBOUND
    else:
        pdu = request_class(sequence_number=77)
        assert events == [BindRequested(pdu) if isinstance(pdu, pdus.Bind) else RequestReceived(pdu)]
        assert answer == b""


def test_only_what_has_a_response_and_was_not_answered_can_be_answered(fresh: Pair) -> None:
    fresh.smsc.request(pdus.Outbind(system_id=b"operator"), fresh.now)
    outbind = received(fresh.to_esme())
    with pytest.raises(MisuseError):
        fresh.esme.reply(outbind)
    fresh.bound()
    fresh.smsc.request(pdus.AlertNotification(), fresh.now)
    alert = received(fresh.to_esme())
    for request in (alert, pdus.DeliverSm()):
        with pytest.raises(MisuseError):
            fresh.esme.reply(request)
    assert fresh.esme.data_to_send() == b""


# --- binding -----------------------------------------------------------------------------------------


def test_a_refused_bind_leaves_the_session_open_for_another(fresh: Pair) -> None:
    fresh.esme.request(pdus.BindTransceiver(), fresh.now, "first")
    assert not fresh.esme.may_send(pdus.BindTransceiver)
    with pytest.raises(MisuseError):
        fresh.esme.request(pdus.BindReceiver(), fresh.now)
    (asked,) = fresh.to_smsc()
    assert isinstance(asked, BindRequested)
    fresh.smsc.reply(asked.pdu, Status.ESME_RINVPASWD)
    refusal = pdus.BindTransceiverResp(Status.ESME_RINVPASWD, 1)
    assert fresh.to_esme() == [ResponseReceived("first", refusal)]
    assert fresh.esme.state is fresh.smsc.state is State.OPEN
    fresh.bound(State.BOUND_RX)


def test_a_bind_may_be_answered_with_a_whole_response(fresh: Pair) -> None:
    fresh.esme.request(pdus.BindTransmitter(), fresh.now, "bind")
    (asked,) = fresh.to_smsc()
    assert isinstance(asked, BindRequested)
    answer = pdus.BindTransmitterResp(0, 1, ((pdus.Tag.SC_INTERFACE_VERSION, b"\x34"),), b"operator")
    fresh.smsc.reply(asked.pdu, answer)
    assert fresh.to_esme() == [ResponseReceived("bind", answer)]
    assert fresh.esme.state is fresh.smsc.state is State.BOUND_TX


def test_a_second_bind_waits_for_nothing(fresh: Pair) -> None:
    fresh.esme.request(pdus.BindTransceiver(), fresh.now)
    fresh.to_smsc()
    again = fresh.feed(fresh.smsc, codec.encode(pdus.BindReceiver(), 2))
    assert again == [Discarded(pdus.BindReceiver.command_id, 2, Status.ESME_RALYBND)]
    assert only_pdu(fresh.smsc.data_to_send()) == pdus.BindReceiverResp(Status.ESME_RALYBND, 2)


def test_a_nack_of_status_0_binds_nothing(fresh: Pair) -> None:
    fresh.esme.request(pdus.BindTransceiver(), fresh.now, "bind")
    events = fresh.feed(fresh.esme, codec.encode_header(pdus.GenericNack.command_id, 0, 1))
    assert events == [ResponseReceived("bind", pdus.GenericNack(0, 1))]
    assert fresh.esme.state is State.OPEN
    assert fresh.esme.may_send(pdus.BindTransceiver)


# --- requests and their ends -------------------------------------------------------------------------


def test_a_submit_is_answered_with_its_token(pair: Pair) -> None:
    number = pair.esme.request(submit(), pair.now, "first")
    asked = received(pair.to_smsc())
    assert asked == submit_as(number)
    pair.smsc.reply(asked, 0, b"362891")
    assert pair.to_esme() == [ResponseReceived("first", pdus.SubmitSmResp(0, number, (), b"362891"))]
    assert (pair.esme.in_flight, pair.esme.window_free) == (0, 3)


def submit_as(number: int) -> pdus.SubmitSm:
    pdu = submit()
    pdu.sequence_number = number
    return pdu


def test_a_refusal_is_a_value(pair: Pair) -> None:
    number = pair.esme.request(submit(), pair.now, "busy")
    pair.smsc.reply(received(pair.to_smsc()), Status.ESME_RTHROTTLED)
    assert pair.to_esme() == [ResponseReceived("busy", pdus.SubmitSmResp(Status.ESME_RTHROTTLED, number))]


def test_a_generic_nack_ends_a_request(pair: Pair) -> None:
    number = pair.esme.request(submit(), pair.now, "odd")
    nack = pdus.GenericNack(Status.ESME_RINVCMDID, number)
    assert pair.feed(pair.esme, codec.encode(nack)) == [ResponseReceived("odd", nack)]
    assert pair.esme.in_flight == 0


def test_a_nack_of_nothing_in_flight_is_only_reported(pair: Pair) -> None:
    pair.esme.request(submit(), pair.now)
    pair.esme.data_to_send()
    events = pair.feed(pair.esme, codec.encode_header(pdus.GenericNack.command_id, Status.ESME_RINVCMDLEN, 0))
    assert events == [Discarded(pdus.GenericNack.command_id, 0, Status.ESME_RINVBNDSTS)]
    assert (pair.esme.in_flight, pair.esme.data_to_send()) == (1, b"")


@pytest.mark.parametrize("response_class", [pdu for pdu in pdus.PDUS if pdu.command_id & RESPONSE_BIT])
def test_a_response_to_nothing_in_flight_is_only_reported(pair: Pair, response_class: type[Pdu]) -> None:
    events = pair.feed(pair.esme, codec.encode(response_class(), 99))
    assert events == [Discarded(response_class.command_id, 99, Status.ESME_RINVBNDSTS)]
    assert pair.esme.data_to_send() == b""
    assert pair.esme.state is State.BOUND_TRX


def test_a_second_response_is_only_reported(pair: Pair) -> None:
    number = pair.esme.request(submit(), pair.now, "once")
    response = codec.encode_id(pdus.SubmitSmResp.command_id, number, b"42")
    events = pair.feed(pair.esme, response + response)
    assert events == [
        ResponseReceived("once", pdus.SubmitSmResp(0, number, (), b"42")),
        Discarded(pdus.SubmitSmResp.command_id, number, Status.ESME_RINVBNDSTS),
    ]
    assert pair.esme.in_flight == 0


def test_a_response_of_another_kind_leaves_the_request_in_flight(pair: Pair) -> None:
    number = pair.esme.request(submit(), pair.now, "mine")
    events = pair.feed(pair.esme, codec.encode_id(pdus.DeliverSmResp.command_id, number))
    assert events == [Discarded(pdus.DeliverSmResp.command_id, number, Status.ESME_RINVBNDSTS)]
    assert pair.esme.in_flight == 1
    pair.smsc.reply(received(pair.to_smsc()), 0, b"42")
    assert [type(event) for event in pair.to_esme()] == [ResponseReceived]


def test_a_request_that_cannot_be_written_is_not_in_flight(pair: Pair) -> None:
    before = condition(pair.esme)
    with pytest.raises(EncodeError):
        pair.esme.request(submit(b"3" * 21), pair.now)
    assert condition(pair.esme) == before


@pytest.mark.parametrize("end", ["close", "eof", "bad length", "unbind"])
def test_every_request_ends_as_unknown_when_the_session_does(pair: Pair, end: str) -> None:
    cause = {
        "close": Cause.CLOSED_HERE,
        "eof": Cause.CONNECTION_LOST,
        "bad length": Cause.BAD_LENGTH,
        "unbind": Cause.UNBOUND,
    }[end]
    tokens = ["a", "b", "c"]
    for token in tokens:
        pair.esme.request(submit(), pair.now, token)
    pair.esme.request(pdus.QuerySm(message_id=b"42"), pair.now, "query")
    if end == "close":
        pair.esme.close()
    elif end == "eof":
        pair.esme.receive_eof()
    elif end == "bad length":
        pair.esme.receive_data(bytes(4), pair.now)
    else:
        pair.esme.receive_data(codec.encode(pdus.Unbind(), 1), pair.now)
    events = pair.esme.events()
    assert events[:-1] == [OutcomeUnknown(token, cause) for token in [*tokens, "query"]]
    assert events[-1] == (Unbound() if end == "unbind" else Closed(cause))
    assert (pair.esme.in_flight, pair.esme.window_free) == (0, 0)


def test_a_session_ends_once(pair: Pair) -> None:
    pair.esme.close()
    assert pair.esme.events() == [Closed(Cause.CLOSED_HERE)]
    pair.esme.close()
    pair.esme.receive_eof()
    pair.esme.receive_data(codec.encode(pdus.EnquireLink(), 1), pair.now)
    pair.esme.handle_timer(pair.now + 1e6)
    assert (pair.esme.events(), pair.esme.data_to_send(), pair.esme.timer()) == ([], b"", None)


# --- the window and the sequence numbers -------------------------------------------------------------


def test_no_more_messages_are_in_flight_than_the_window_allows(pair: Pair) -> None:
    for free in (2, 1, 0):
        pair.esme.request(submit(), pair.now)
        assert pair.esme.window_free == free
    asked = pair.to_smsc()
    before = condition(pair.esme)
    with pytest.raises(WindowFullError):
        pair.esme.request(submit(), pair.now)
    assert condition(pair.esme) == before
    assert isinstance(asked[1], RequestReceived)
    pair.smsc.reply(asked[1].pdu, 0, b"42")
    pair.to_esme()
    assert pair.esme.window_free == 1
    pair.esme.request(submit(), pair.now)


def test_the_window_counts_messages_alone(pair: Pair) -> None:
    pair.esme.request(pdus.QuerySm(), pair.now, "query")
    pair.esme.request(pdus.EnquireLink(), pair.now)
    assert (pair.esme.in_flight, pair.esme.window_free) == (0, 3)
    pair.smsc.reply(received(pair.to_smsc()), pdus.QuerySmResp(message_state=2))
    assert [type(event) for event in pair.to_esme()] == [ResponseReceived, ResponseReceived]
    assert (pair.esme.in_flight, pair.esme.window_free) == (0, 3)


@pytest.mark.parametrize("state", [State.OPEN, State.UNBOUND, State.CLOSED])
def test_there_is_no_window_where_no_message_may_be_sent(fresh: Pair, state: State) -> None:
    assert in_state(fresh, Role.ESME, state).window_free == 0


def test_many_submits_go_at_once_or_not_at_all(pair: Pair) -> None:
    template = SubmitTemplate(submit())
    bodies = [(template.body(b"3360000000%d" % number, b"Bonjour"), number) for number in range(4)]
    before = condition(pair.esme)
    with pytest.raises(WindowFullError):
        pair.esme.submit_many(bodies, pair.now)
    assert condition(pair.esme) == before
    pair.esme.submit_many(bodies[:3], pair.now)
    assert (pair.esme.in_flight, pair.esme.window_free) == (3, 0)
    for event in pair.to_smsc():
        assert isinstance(event, RequestReceived)
        assert isinstance(event.pdu, pdus.SubmitSm)
        pair.smsc.reply(event.pdu, 0, event.pdu.destination_addr)
    answers = [
        (event.token, event.pdu.message_id)
        for event in pair.to_esme()
        if isinstance(event, ResponseReceived) and isinstance(event.pdu, pdus.SubmitSmResp)
    ]
    assert answers == [(number, b"3360000000%d" % number) for number in range(3)]


def test_a_receiver_submits_nothing(fresh: Pair) -> None:
    fresh.bound(State.BOUND_RX)
    with pytest.raises(MisuseError):
        fresh.esme.submit_many([(SubmitTemplate(submit()).body(b"336", b""), 1)], fresh.now)
    assert not fresh.esme.may_send(pdus.SubmitSm)
    assert fresh.esme.may_send(pdus.DataSm)


def test_sequence_numbers_wrap_and_pass_over_those_that_may_still_be_answered(pair: Pair) -> None:
    assert pair.esme.request(submit(), pair.now, "in flight") == 2
    late = pair.esme.request(pdus.QuerySm(), pair.now - LIMITS.response_seconds - 1)
    probe = pair.esme.request(pdus.EnquireLink(), pair.now)
    pair.esme._sequence = 0x7FFFFFFD  # two thousand million requests later
    assert (late, probe) == (3, 4)
    numbers = [pair.esme.request(pdus.QuerySm(), pair.now) for _ in range(4)]
    assert numbers == [0x7FFFFFFE, 0x7FFFFFFF, 1, 5]
    assert pair.esme.request(submit(), pair.now) == 6


def test_a_number_that_may_be_answered_late_is_not_used_again(pair: Pair) -> None:
    number = pair.esme.request(submit(), pair.now, "late")
    pair.esme.handle_timer(pair.now + LIMITS.response_seconds)
    pair.esme._sequence = number - 1
    probe = number + 1
    assert pair.esme.request(submit(), pair.now + LIMITS.response_seconds) == probe + 1


# --- replies -----------------------------------------------------------------------------------------


def test_a_reply_waits_for_the_application_and_is_given_once(pair: Pair) -> None:
    number = pair.smsc.request(pdus.DeliverSm(short_message=b"Merci"), pair.now, "mo")
    asked = received(pair.to_esme())
    assert pair.esme.data_to_send() == b""
    assert pair.esme.reply(asked)
    with pytest.raises(MisuseError):
        pair.esme.reply(asked)
    assert pair.to_smsc() == [ResponseReceived("mo", pdus.DeliverSmResp(0, number))]


def test_a_reply_may_be_a_whole_response_of_the_right_kind(pair: Pair) -> None:
    number = pair.esme.request(pdus.QuerySm(message_id=b"42"), pair.now, "query")
    asked = received(pair.to_smsc())
    before = condition(pair.smsc)
    with pytest.raises(MisuseError):
        pair.smsc.reply(asked, pdus.SubmitSmResp())
    with pytest.raises(EncodeError):
        pair.smsc.reply(asked, pdus.QuerySmResp(message_state=256))
    assert condition(pair.smsc) == before
    assert pair.smsc.reply(asked, pdus.QuerySmResp(message_id=b"42", message_state=2))
    answer = pdus.QuerySmResp(0, number, (), b"42", b"", 2)
    assert pair.to_esme() == [ResponseReceived("query", answer)]


def test_an_id_that_cannot_be_written_leaves_the_request_unanswered(pair: Pair) -> None:
    pair.esme.request(submit(), pair.now)
    asked = received(pair.to_smsc())
    with pytest.raises(EncodeError):
        pair.smsc.reply(asked, 0, b"4" * 65)
    assert pair.smsc.reply(asked, 0, b"4" * 64)


def test_a_reply_after_the_end_is_not_sent(pair: Pair) -> None:
    pair.esme.request(submit(), pair.now)
    asked = received(pair.to_smsc())
    pair.smsc.receive_eof()
    assert not pair.smsc.reply(asked, 0, b"42")
    assert pair.smsc.data_to_send() == b""


def test_requests_with_the_same_number_are_each_answered(pair: Pair) -> None:
    twice = codec.encode(pdus.DeliverSm(short_message=b"one"), 5) + codec.encode(
        pdus.DeliverSm(short_message=b"two"), 5
    )
    for event in pair.feed(pair.esme, twice):
        assert isinstance(event, RequestReceived)
        assert pair.esme.reply(event.pdu)
    assert pair.esme.data_to_send() == codec.encode_id(pdus.DeliverSmResp.command_id, 5) * 2


@pytest.mark.parametrize("role", Role)
def test_a_peer_that_asks_more_than_is_answered_is_told_to_wait(pair: Pair, role: Role) -> None:
    session, request, busy = (
        (pair.esme, pdus.DeliverSm(), Status.ESME_RX_T_APPN)
        if role is Role.ESME
        else (pair.smsc, pdus.SubmitSm(), Status.ESME_RTHROTTLED)
    )
    events = pair.feed(session, b"".join(codec.encode(request, number) for number in range(5)))
    owed = [event.pdu for event in events if isinstance(event, RequestReceived)]
    assert len(owed) == LIMITS.max_owed
    assert events[-1] == Discarded(request.command_id, 4, busy)
    assert only_pdu(session.data_to_send()) == RESPONSE_TO[request.command_id](busy, 4)
    session.reply(owed[0])
    assert len(pair.feed(session, codec.encode(request, 6))) == 1


def test_a_request_left_unanswered_is_owed_no_more(pair: Pair) -> None:
    for _ in range(2 * LIMITS.max_owed):
        (event,) = pair.feed(pair.smsc, codec.encode(submit(), 5))
        assert isinstance(event, RequestReceived)
        pair.smsc.leave_unanswered(event.pdu)
        with pytest.raises(MisuseError):
            pair.smsc.reply(event.pdu)
    assert pair.smsc.data_to_send() == b""


def test_a_probe_is_answered_ahead_of_what_waits(pair: Pair) -> None:
    pair.esme.request(submit(), pair.now)
    pair.smsc.reply(received(pair.to_smsc()), 0, b"42")
    pair.feed(pair.smsc, codec.encode(pdus.EnquireLink(), 9))
    assert pair.smsc.unsent == 2
    assert pair.smsc.data_to_send().startswith(codec.encode(pdus.EnquireLinkResp(), 9))


# --- deadlines ---------------------------------------------------------------------------------------


def test_an_esme_that_does_not_bind_in_time_is_closed(fresh: Pair) -> None:
    assert fresh.smsc.timer() == fresh.now + LIMITS.bind_seconds
    fresh.feed(fresh.smsc, codec.encode(pdus.EnquireLink(), 1))
    fresh.smsc.handle_timer(fresh.now + LIMITS.bind_seconds - 0.001)
    assert fresh.smsc.state is State.OPEN
    fresh.wait(LIMITS.bind_seconds)
    assert fresh.smsc.events() == [Closed(Cause.BIND_TIMEOUT)]


def test_a_refused_bind_gives_no_more_time(fresh: Pair) -> None:
    fresh.wait(9)
    fresh.esme.request(pdus.BindTransceiver(), fresh.now)
    (asked,) = fresh.to_smsc()
    assert isinstance(asked, BindRequested)
    fresh.smsc.reply(asked.pdu, Status.ESME_RBINDFAIL)
    assert fresh.smsc.timer() == fresh.now + 1


def test_an_esme_may_wait_for_an_outbind(fresh: Pair) -> None:
    assert fresh.esme.timer() is None


def test_a_bind_that_is_not_answered_ends_the_session(fresh: Pair) -> None:
    fresh.esme.request(pdus.BindTransceiver(), fresh.now, "bind")
    assert fresh.esme.timer() == fresh.now + LIMITS.bind_seconds
    fresh.wait(LIMITS.bind_seconds)
    assert fresh.esme.events() == [OutcomeUnknown("bind", Cause.BIND_TIMEOUT), Closed(Cause.BIND_TIMEOUT)]


def test_silence_is_probed_and_the_answer_starts_the_next(pair: Pair) -> None:
    assert pair.esme.timer() == pair.now + LIMITS.idle_seconds
    pair.wait(LIMITS.idle_seconds - 1)
    pair.esme.request(submit(), pair.now)
    pair.smsc.reply(received(pair.to_smsc()), 0, b"42")
    pair.to_esme()
    pair.wait(LIMITS.idle_seconds)
    probe = pair.esme.data_to_send()
    assert only_pdu(probe) == pdus.EnquireLink(sequence_number=3)
    assert pair.feed(pair.smsc, probe) == []
    assert pair.to_esme() == []
    assert pair.esme.timer() == pair.now + LIMITS.idle_seconds


def test_a_probe_that_is_not_answered_ends_the_session(pair: Pair) -> None:
    pair.wait(LIMITS.idle_seconds - 1)
    pair.esme.request(submit(), pair.now, "lost")
    pair.wait(1)
    assert pair.esme.timer() == pair.now + LIMITS.probe_seconds
    pair.wait(LIMITS.probe_seconds)
    assert pair.esme.events() == [OutcomeUnknown("lost", Cause.LINK_DEAD), Closed(Cause.LINK_DEAD)]


def test_a_probe_of_the_application_is_answered_to_it(pair: Pair) -> None:
    number = pair.esme.request(pdus.EnquireLink(), pair.now, "probe")
    pair.to_smsc()
    assert pair.to_esme() == [ResponseReceived("probe", pdus.EnquireLinkResp(0, number))]


def alive(pair: Pair, seconds: int) -> list[Event]:
    """What the ESME has to say of a time in which its operator probes the link."""
    events = []
    for _ in range(seconds):
        pair.now += 1
        pair.esme.handle_timer(pair.now)
        events += pair.feed(pair.esme, codec.encode(pdus.EnquireLink(), 1))
    return events


def test_a_request_that_is_not_answered_in_time_ends_as_unknown_and_frees_the_window(pair: Pair) -> None:
    pair.esme.request(submit(), pair.now, "first")
    pair.wait(1)
    pair.esme.request(submit(), pair.now, "second")
    pair.esme.handle_timer(pair.now + LIMITS.response_seconds - 1.001)
    assert pair.esme.events() == []
    pair.esme.handle_timer(pair.now + LIMITS.response_seconds - 1)
    assert pair.esme.events() == [OutcomeUnknown("first", Cause.RESPONSE_TIMEOUT)]
    assert (pair.esme.in_flight, pair.esme.window_free) == (1, 2)


def test_a_query_that_is_not_answered_in_time_frees_no_window(pair: Pair) -> None:
    pair.esme.request(pdus.QuerySm(), pair.now, "query")
    pair.esme.handle_timer(pair.now + LIMITS.response_seconds)
    assert pair.esme.events() == [OutcomeUnknown("query", Cause.RESPONSE_TIMEOUT)]
    assert (pair.esme.in_flight, pair.esme.window_free) == (0, 3)


def test_a_late_response_is_told_apart_until_it_is_forgotten(pair: Pair) -> None:
    numbers = [pair.esme.request(submit(), pair.now, token) for token in ("late", "too late")]
    unknown = [OutcomeUnknown(token, Cause.RESPONSE_TIMEOUT) for token in ("late", "too late")]
    assert alive(pair, 60) == unknown
    assert alive(pair, 599) == []
    late, too_late = (pdus.SubmitSmResp(0, number, (), b"42") for number in numbers)
    assert pair.feed(pair.esme, codec.encode(late)) == [LateResponse("late", late)]
    pair.now += 1
    for again in (late, too_late):
        dropped = Discarded(again.command_id, again.sequence_number, Status.ESME_RINVBNDSTS)
        assert pair.feed(pair.esme, codec.encode(again)) == [dropped]


def test_a_late_request_is_forgotten_when_its_time_is_over(pair: Pair) -> None:
    number = pair.esme.request(submit(), pair.now)
    alive(pair, 60 + 600)
    pair.esme._sequence = number - 1
    assert pair.esme.request(submit(), pair.now) == number


def test_only_so_many_late_requests_are_remembered(pair: Pair) -> None:
    numbers = [pair.esme.request(pdus.QuerySm(), pair.now, token) for token in range(LIMITS.late_kept + 2)]
    pair.esme.handle_timer(pair.now + LIMITS.response_seconds)
    pair.esme.events()
    answers = b"".join(codec.encode(pdus.QuerySmResp(), number) for number in numbers)
    events = pair.feed(pair.esme, answers)
    assert [type(event) for event in events] == [Discarded] * 2 + [LateResponse] * LIMITS.late_kept
    assert [event.token for event in events if isinstance(event, LateResponse)] == [2, 3, 4, 5]


@pytest.mark.parametrize("there", [1, 3, 4, 15, 16, 30])
def test_the_rest_of_a_pdu_that_never_comes_ends_the_session(pair: Pair, there: int) -> None:
    octets = codec.encode(pdus.DeliverSm(), 1)
    pair.feed(pair.esme, octets[:there])
    assert pair.esme.timer() == pair.now + LIMITS.partial_seconds
    pair.wait(LIMITS.partial_seconds - 1)
    assert pair.esme.events() == []
    pair.wait(1)
    assert pair.esme.events() == [Closed(Cause.PARTIAL_TIMEOUT)]


def test_octets_that_trickle_in_give_a_pdu_no_more_time(pair: Pair) -> None:
    octets = codec.encode(pdus.DeliverSm(), 1)
    for at in range(int(LIMITS.partial_seconds)):
        pair.feed(pair.esme, octets[at : at + 1])
        pair.wait(1)
    assert pair.esme.events() == [Closed(Cause.PARTIAL_TIMEOUT)]


def test_each_pdu_has_its_own_time(pair: Pair) -> None:
    octets = codec.encode(pdus.DeliverSm(), 1)
    pair.feed(pair.esme, octets[:20])
    pair.wait(4)
    assert received(pair.feed(pair.esme, octets[20:] + octets[:20])) == pdus.DeliverSm(sequence_number=1)
    pair.wait(4)
    assert received(pair.feed(pair.esme, octets[20:])) == pdus.DeliverSm(sequence_number=1)
    assert pair.esme.timer() == pair.now + LIMITS.idle_seconds


# --- unbinding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
def test_either_side_unbinds_and_what_was_in_flight_is_unknown(pair: Pair, role: Role) -> None:
    leaving, staying = (pair.esme, pair.smsc) if role is Role.ESME else (pair.smsc, pair.esme)
    number = leaving.request(pdus.DataSm(), pair.now, "ours")
    staying.request(pdus.DataSm(), pair.now, "theirs")
    assert leaving.request(pdus.Unbind(), pair.now, "unbind") == number + 1
    asked, *rest = pair.feed(staying, leaving.data_to_send())
    assert isinstance(asked, RequestReceived)
    assert rest == [OutcomeUnknown("theirs", Cause.UNBOUND), Unbound()]
    assert not staying.reply(asked.pdu)
    *_, answered, lost, closed = pair.feed(leaving, staying.data_to_send())
    assert answered == ResponseReceived("unbind", pdus.UnbindResp(0, number + 1))
    assert lost == OutcomeUnknown("ours", Cause.UNBOUND)
    assert closed == Closed(Cause.UNBOUND)
    staying.receive_eof()
    assert staying.events() == [Closed(Cause.UNBOUND)]


def test_after_our_unbind_nothing_more_is_asked_but_all_is_answered(pair: Pair) -> None:
    pair.smsc.request(pdus.DeliverSm(), pair.now, "mo")
    number = pair.esme.request(submit(), pair.now, "submit")
    pair.esme.request(pdus.Unbind(), pair.now)
    for request in (pdus.Unbind(), pdus.EnquireLink(), submit()):
        with pytest.raises(MisuseError):
            pair.esme.request(request, pair.now)
    assert (pair.esme.window_free, pair.esme.may_send(pdus.Unbind)) == (0, False)
    assert pair.esme.reply(received(pair.to_esme()))
    answer = codec.encode_id(pdus.SubmitSmResp.command_id, number, b"42")
    assert [type(event) for event in pair.feed(pair.esme, answer)] == [ResponseReceived]
    _, *rest = pair.to_smsc()
    response = pdus.DeliverSmResp(0, 1)
    assert rest == [OutcomeUnknown("mo", Cause.UNBOUND), Unbound(), LateResponse("mo", response)]


def test_what_comes_after_the_end_is_not_heard(pair: Pair) -> None:
    number = pair.esme.request(pdus.Unbind(), pair.now, "unbind")
    answer = codec.encode(pdus.UnbindResp(), number)
    events = pair.feed(pair.esme, answer + codec.encode(pdus.DeliverSm(), 5) + answer + bytes(4))
    assert events == [ResponseReceived("unbind", pdus.UnbindResp(0, number)), Closed(Cause.UNBOUND)]
    assert only_pdu(pair.esme.data_to_send()) == pdus.Unbind(sequence_number=number)


def test_an_answer_behind_the_peers_unbind_is_late_but_not_lost(pair: Pair) -> None:
    number = pair.esme.request(submit(), pair.now, "submit")
    response = pdus.SubmitSmResp(0, number, (), b"42")
    events = pair.feed(pair.esme, codec.encode(pdus.Unbind(), 1) + codec.encode(response))
    assert events == [OutcomeUnknown("submit", Cause.UNBOUND), Unbound(), LateResponse("submit", response)]


def test_unbinds_that_cross_end_both_sessions_at_once(pair: Pair) -> None:
    pair.esme.request(pdus.Unbind(), pair.now, "ours")
    pair.smsc.request(pdus.Unbind(), pair.now, "theirs")
    ours, theirs = pair.esme.data_to_send(), pair.smsc.data_to_send()
    assert pair.feed(pair.smsc, ours) == [Unbound()]
    assert pair.feed(pair.esme, theirs) == [Unbound()]
    assert pair.to_esme() == [ResponseReceived("ours", pdus.UnbindResp(0, 2)), Closed(Cause.UNBOUND)]
    assert pair.to_smsc() == [ResponseReceived("theirs", pdus.UnbindResp(0, 1)), Closed(Cause.UNBOUND)]


def test_an_unbind_that_is_not_answered_ends_the_session(pair: Pair) -> None:
    pair.esme.request(pdus.Unbind(), pair.now, "unbind")
    assert pair.esme.timer() == pair.now + LIMITS.bind_seconds
    pair.wait(LIMITS.bind_seconds)
    assert pair.esme.events() == [OutcomeUnknown("unbind", Cause.UNBOUND), Closed(Cause.UNBOUND)]


def test_a_peer_that_unbinds_and_stays_is_closed(pair: Pair) -> None:
    pair.wait(2)
    pair.feed(pair.smsc, codec.encode(pdus.Unbind(), 2) + codec.encode(pdus.Unbind(), 3))
    pair.feed(pair.smsc, codec.encode(pdus.EnquireLink(), 4))
    assert pair.smsc.timer() == pair.now + LIMITS.bind_seconds
    pair.wait(LIMITS.bind_seconds)
    assert pair.smsc.events() == [Closed(Cause.UNBOUND)]


PATIENT = msgspec.structs.replace(LIMITS, unbind_seconds=5)


@pytest.fixture(params=[1 << 20, 1], ids=["whole", "1 octet"])
def patient(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param, PATIENT).bound()


def test_an_unbind_is_answered_once_all_answers_are_here(patient: Pair) -> None:
    esme = patient.esme
    first, second = (esme.request(submit(), patient.now, token) for token in "ab")
    patient.smsc.request(pdus.DeliverSm(), patient.now, "mo")
    esme.data_to_send()
    assert patient.feed(esme, codec.encode(pdus.Unbind(), 9)) == []
    assert (esme.window_free, esme.may_send(pdus.SubmitSm), esme.data_to_send()) == (0, False, b"")
    assert esme.reply(received(patient.to_esme()))
    assert only_pdu(esme.data_to_send()) == pdus.DeliverSmResp(0, 1)
    answers = [pdus.SubmitSmResp(0, number, (), b"42") for number in (first, second)]
    assert patient.feed(esme, codec.encode(answers[0])) == [ResponseReceived("a", answers[0])]
    assert esme.data_to_send() == b""
    assert patient.feed(esme, codec.encode(answers[1])) == [ResponseReceived("b", answers[1]), Unbound()]
    assert only_pdu(esme.data_to_send()) == pdus.UnbindResp(0, 9)


def test_an_unbind_without_anything_in_flight_is_answered_at_once(patient: Pair) -> None:
    assert patient.feed(patient.esme, codec.encode(pdus.Unbind(), 9)) == [Unbound()]
    assert only_pdu(patient.esme.data_to_send()) == pdus.UnbindResp(0, 9)


def test_an_unbind_does_not_wait_for_ever(patient: Pair) -> None:
    patient.esme.request(submit(), patient.now, "submit")
    patient.esme.data_to_send()
    patient.feed(patient.esme, codec.encode(pdus.Unbind(), 9))
    assert patient.esme.timer() == patient.now + 5
    patient.wait(5)
    assert patient.esme.events() == [OutcomeUnknown("submit", Cause.UNBOUND), Unbound()]
    assert only_pdu(patient.esme.data_to_send()) == pdus.UnbindResp(0, 9)
    late = pdus.SubmitSmResp(0, 2, (), b"42")
    assert patient.feed(patient.esme, codec.encode(late)) == [LateResponse("submit", late)]


def test_an_unbind_waits_no_longer_than_what_it_waits_for() -> None:
    pair = Pair(1 << 20, msgspec.structs.replace(PATIENT, response_seconds=3)).bound()
    pair.esme.request(submit(), pair.now, "submit")
    pair.feed(pair.esme, codec.encode(pdus.Unbind(), 9))
    pair.wait(3)
    assert pair.esme.events() == [OutcomeUnknown("submit", Cause.RESPONSE_TIMEOUT), Unbound()]


def test_a_second_unbind_is_impatience_and_both_are_answered(patient: Pair) -> None:
    patient.esme.request(submit(), patient.now, "submit")
    patient.esme.data_to_send()
    events = patient.feed(patient.esme, codec.encode(pdus.Unbind(), 8) + codec.encode(pdus.Unbind(), 9))
    assert events == [OutcomeUnknown("submit", Cause.UNBOUND), Unbound()]
    assert patient.esme.data_to_send() == codec.encode(pdus.UnbindResp(), 8) + codec.encode(pdus.UnbindResp(), 9)


def test_a_peer_that_hangs_up_after_its_unbind_is_gone(patient: Pair) -> None:
    patient.esme.request(submit(), patient.now, "submit")
    patient.feed(patient.esme, codec.encode(pdus.Unbind(), 9))
    patient.esme.receive_eof()
    assert patient.esme.events() == [
        OutcomeUnknown("submit", Cause.CONNECTION_LOST),
        Closed(Cause.CONNECTION_LOST),
    ]
    assert patient.esme.timer() is None


def test_patience_does_not_stop_unbinds_that_cross(patient: Pair) -> None:
    patient.esme.request(submit(), patient.now, "submit")
    number = patient.esme.request(pdus.Unbind(), patient.now, "ours")
    assert patient.feed(patient.esme, codec.encode(pdus.Unbind(), 9)) == [
        OutcomeUnknown("submit", Cause.UNBOUND),
        Unbound(),
    ]
    answer = pdus.UnbindResp(0, number)
    assert patient.feed(patient.esme, codec.encode(answer)) == [
        ResponseReceived("ours", answer),
        Closed(Cause.UNBOUND),
    ]


# --- streams and bodies that are wrong ---------------------------------------------------------------


@pytest.mark.parametrize("length", [*range(16), LIMITS.max_pdu + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_an_impossible_length_closes_the_session_and_says_why(pair: Pair, length: int) -> None:
    events = pair.feed(pair.smsc, length.to_bytes(4, "big") + bytes(12))
    assert events == [Closed(Cause.BAD_LENGTH)]
    assert only_pdu(pair.smsc.data_to_send()) == pdus.GenericNack(Status.ESME_RINVCMDLEN, 0)


def test_the_longest_pdu_is_read(pair: Pair) -> None:
    fixed = len(codec.encode(pdus.DeliverSm())) + 4
    deliver = pdus.DeliverSm(0, 1, ((pdus.Tag.MESSAGE_PAYLOAD, b"a" * (LIMITS.max_pdu - fixed)),))
    assert received(pair.feed(pair.esme, codec.encode(deliver))) == deliver


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-a\r\n"]
)
def test_another_protocol_on_the_port_closes_the_session(fresh: Pair, octets: bytes) -> None:
    assert fresh.feed(fresh.smsc, octets) == [Closed(Cause.BAD_LENGTH)]


def test_what_came_before_a_bad_length_is_received(pair: Pair) -> None:
    good = codec.encode(submit(), 5)
    *before, closed = pair.feed(pair.smsc, good + bytes(16))
    assert received(before) == submit_as(5)
    assert closed == Closed(Cause.BAD_LENGTH)


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (codec.encode_header(0x00007777, 0, 5), pdus.GenericNack(Status.ESME_RINVCMDID, 5)),
        (codec.encode_header(0x80007777, 0, 5), None),
        (codec.encode_header(pdus.SubmitSm.command_id, 0, 5), pdus.SubmitSmResp(Status.ESME_RINVCMDLEN, 5)),
        (codec.encode_header(pdus.AlertNotification.command_id, 0, 5), pdus.GenericNack(Status.ESME_RINVCMDLEN, 5)),
        (
            b"\0\0\0\x15" + codec.encode_header(pdus.SubmitMulti.command_id, 0, 5)[4:] + b"\0\0\0\0\1",
            pdus.SubmitMultiResp(Status.ESME_RINVCMDLEN, 5),
        ),
    ],
)
def test_a_bad_pdu_is_answered_and_the_session_goes_on(pair: Pair, octets: bytes, answer: Pdu | None) -> None:
    (discarded,) = pair.feed(pair.smsc, octets)
    assert isinstance(discarded, Discarded)
    assert discarded.sequence_number == 5
    said = pair.smsc.data_to_send()
    assert (only_pdu(said) if said else None) == answer
    pair.esme.request(submit(), pair.now)
    assert isinstance(received(pair.to_smsc()), pdus.SubmitSm)


def test_an_outbind_of_a_bound_operator_is_refused(pair: Pair) -> None:
    events = pair.feed(pair.esme, codec.encode(pdus.Outbind(), 5))
    assert events == [Discarded(pdus.Outbind.command_id, 5, Status.ESME_RINVBNDSTS)]
    assert only_pdu(pair.esme.data_to_send()) == pdus.GenericNack(Status.ESME_RINVBNDSTS, 5)


SAID = st.lists(
    st.sampled_from(
        [codec.encode(pdu_class(), number) for pdu_class in pdus.PDUS for number in (1, 2)]
        + [codec.encode(submit(), 3)]
    )
    | st.binary(max_size=30)
    | st.binary(max_size=30).map(lambda body: (16 + len(body)).to_bytes(4, "big") + bytes(11) + b"\1" + body),
    max_size=8,
).map(b"".join)


@given(SAID, st.sampled_from(Role), st.lists(st.integers(1, 40), min_size=1))
def test_it_does_not_matter_how_the_octets_are_cut(octets: bytes, role: Role, sizes: list[int]) -> None:
    whole, cut = (in_state(Pair(1 << 20), role, State.BOUND_TRX) for _ in range(2))
    for session in (whole, cut):
        session.request(pdus.DataSm(), 1_000.0, "ours")
    whole.receive_data(octets, 1_001.0)
    at = 0
    for size in itertools.cycle(sizes):
        if at >= len(octets):
            break
        cut.receive_data(octets[at : at + size], 1_001.0)
        at += size
    assert condition(cut) == condition(whole)


def test_what_comes_octet_by_octet_takes_less_than_twice_the_cap() -> None:
    cap = 64 * 1024
    session = Session(Role.SMSC, 0.0, Limits(max_pdu=cap))
    pieces = [bytes((octet, octet)) for octet in range(256)]
    session.receive_data(cap.to_bytes(4, "big"), 0.0)
    tracemalloc.start()
    try:
        for number in range(cap // 2 - 4):
            session.receive_data(pieces[number % 256], 0.0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert session.state is State.OPEN
    assert most < 2 * cap


# --- lengths that lie ------------------------------------------------------------------------------------


def lying(pdu: Pdu, octets: bytes, instead: bytes) -> bytes:
    """The PDU with some of its octets changed, and a command_length that is right again."""
    body = codec.encode(pdu, 7)[4:]
    assert body.count(octets) == 1
    body = body.replace(octets, instead)
    return (4 + len(body)).to_bytes(4, "big") + body


LYING = [
    (pdus.SubmitSm(short_message=b"Bonjour"), b"\7Bonjour", b"\10Bonjour", Status.ESME_RINVMSGLEN),
    (pdus.SubmitSm(short_message=b"Bonjour"), b"\7Bonjour", b"\6Bonjour", Status.ESME_RINVOPTPARSTREAM),
    (pdus.SubmitSm(tlvs=((0x1400, b"ab"),)), b"\x14\0\0\2ab", b"\x14\0\0\3ab", Status.ESME_RINVOPTPARSTREAM),
    (pdus.SubmitSm(tlvs=((0x1400, b"ab"),)), b"\x14\0\0\2ab", b"\x14\0\0\1ab", Status.ESME_RINVOPTPARSTREAM),
    (pdus.SubmitSm(tlvs=((0x1400, b""),)), b"\x14\0\0\0", b"\x14\0\0", Status.ESME_RINVOPTPARSTREAM),
    (pdus.DataSm(tlvs=((0x1400, b"ab"),)), b"\x14\0\0\2ab", b"\x14\0\xff\xffab", Status.ESME_RINVOPTPARSTREAM),
    (pdus.EnquireLink(tlvs=((0x1400, b"ab"),)), b"\x14\0\0\2ab", b"\x14\0\0\3ab", Status.ESME_RINVOPTPARSTREAM),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("pdu", "octets", "instead", "status"), LYING)
def test_lengths_that_lie_are_refused_by_who_is_strict_and_the_session_goes_on(
    pdu: Pdu, octets: bytes, instead: bytes, status: Status, strict: bool
) -> None:
    session = Session(Role.SMSC, 0.0, Limits(strict=strict))
    session.receive_data(codec.encode(pdus.BindTransceiver(), 1), 0.0)
    [bind] = session.events()
    assert isinstance(bind, BindRequested)
    session.reply(bind.pdu)
    session.receive_data(lying(pdu, octets, instead), 0.0)
    refused = [event for event in session.events() if isinstance(event, Discarded)]
    assert refused == ([Discarded(pdu.command_id, 7, status)] if strict else [])
    session.receive_data(codec.encode(pdus.SubmitSm(short_message=b"Bonjour"), 8), 0.0)
    [request] = session.events()
    assert isinstance(request, RequestReceived)
    assert request.pdu.sequence_number == 8
