"""Two sessions, a pipe that cuts the octets anywhere, and any order of commands, time and ends.

Promises: every request ends exactly once, in flight never exceeds the window, no request arrives twice, nothing raises.
"""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chappe.smpp import pdus
from chappe.smpp.codec import SubmitTemplate
from chappe.smpp.pdus import Pdu, Status
from chappe.smpp.session import (
    LEGAL,
    BindRequested,
    Closed,
    LateResponse,
    Limits,
    OutcomeUnknown,
    RequestReceived,
    ResponseReceived,
    Role,
    Session,
    State,
    WindowFullError,
)

LIMITS = Limits(window=3, max_owed=5, max_pdu=4096, late_kept=3)
PATIENT = Limits(window=3, max_owed=5, max_pdu=4096, late_kept=3, unbind_seconds=8)
"""The ESME's: it answers an unbind once it has its own answers."""
BODY = SubmitTemplate(pdus.SubmitSm(source_addr=b"Chappe")).body(b"33600000000", b"Bonjour")
ends = st.sampled_from(Role)


class End:
    """One side: its session, what the application knows, and the octets on their way to it."""

    def __init__(self, role: Role) -> None:
        self.session = Session(role, 0.0, PATIENT if role is Role.ESME else LIMITS)
        self.coming = b""
        self.started: set[int] = set()
        self.ended: dict[int, type[ResponseReceived | OutcomeUnknown]] = {}
        self.late: set[int] = set()
        self.to_answer: list[Pdu] = []
        self.closed = False

    def take_events(self) -> None:
        for event in self.session.events():
            assert not self.closed, "an event after Closed"
            match event:
                case ResponseReceived(token=token) | OutcomeUnknown(token=token):
                    assert isinstance(token, int)
                    assert token in self.started, "the end of what was never asked"
                    assert token not in self.ended, "a request ended twice"
                    self.ended[token] = type(event)
                case LateResponse(token=token):
                    assert isinstance(token, int)
                    assert self.ended[token] is OutcomeUnknown
                    assert token not in self.late, "two late responses to one request"
                    self.late.add(token)
                case BindRequested(pdu=pdu) | RequestReceived(pdu=pdu):
                    self.to_answer.append(pdu)
                case Closed():
                    self.closed = True


class Conversation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tokens = itertools.count()
        self.end = {role: End(role) for role in Role}

    def settle(self, role: Role) -> None:
        """What this end has said is on its way to the other, and its application has seen all."""
        end = self.end[role]
        end.take_events()
        self.end[role.peer].coming += end.session.data_to_send()

    @rule(role=ends, pdu_class=st.sampled_from(sorted(LEGAL, key=lambda pdu: pdu.command_id)))
    def ask(self, role: Role, pdu_class: type[Pdu]) -> None:
        end = self.end[role]
        if not end.session.may_send(pdu_class):
            return
        token = next(self.tokens)
        try:
            end.session.request(pdu_class(), self.now, token)
        except WindowFullError:
            assert end.session.window_free == 0
        else:
            if pdu_class not in (pdus.Outbind, pdus.AlertNotification):
                end.started.add(token)
        self.settle(role)

    @precondition(lambda self: self.end[Role.ESME].session.may_send(pdus.SubmitSm))
    @rule()
    def fill_the_window(self) -> None:
        end = self.end[Role.ESME]
        tokens = [next(self.tokens) for _ in range(end.session.window_free)]
        end.started.update(tokens)
        end.session.submit_many([(BODY, token) for token in tokens], self.now)
        self.settle(Role.ESME)

    @precondition(lambda self: self.end[Role.ESME].session.state is State.OPEN)
    @rule(bind=st.sampled_from([pdus.BindTransceiver, pdus.BindReceiver, pdus.BindTransmitter]))
    def bind_at_once(self, bind: type[pdus.Bind]) -> None:
        self.ask(Role.ESME, bind)
        self.carry(Role.SMSC, 1 << 20)
        self.answer(Role.SMSC, 0, 0)
        self.carry(Role.ESME, 1 << 20)

    @rule(role=ends, which=st.integers(0, 9), status=st.sampled_from([0, 0, 0, Status.ESME_RTHROTTLED, 0x412]))
    def answer(self, role: Role, which: int, status: int) -> None:
        end = self.end[role]
        if end.to_answer:
            pdu = end.to_answer.pop(which % len(end.to_answer))
            if pdu.command_id in pdus.RESPONSE_TO:
                end.session.reply(pdu, status)
        self.settle(role)

    @rule(role=ends, octets=st.integers(1, 60) | st.just(1 << 20))
    def carry(self, role: Role, octets: int) -> None:
        end = self.end[role]
        chunk, end.coming = end.coming[:octets], end.coming[octets:]
        end.session.receive_data(chunk, self.now)
        self.settle(role)

    @rule(seconds=st.sampled_from([0.5, 5.0, 11.0, 31.0, 61.0, 4_000.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for role in Role:
            session = self.end[role].session
            session.handle_timer(self.now)
            timer = session.timer()
            assert timer is None or timer > self.now
            self.settle(role)

    @rule(role=ends, stale=st.binary(max_size=30))
    def hear_another_stream(self, role: Role, stale: bytes) -> None:
        """What no peer of ours would say, between two PDUs or within one."""
        self.end[role].coming += stale

    @rule(role=ends, lost=st.booleans())
    def stop(self, role: Role, lost: bool) -> None:
        session = self.end[role].session
        if lost:
            session.receive_eof()
        else:
            session.close()
        self.settle(role)

    @invariant()
    def the_window_is_kept(self) -> None:
        for end in self.end.values():
            assert 0 <= end.session.in_flight <= LIMITS.window
            assert 0 <= end.session.window_free <= LIMITS.window - end.session.in_flight

    @invariant()
    def a_closed_session_has_ended_every_request(self) -> None:
        for end in self.end.values():
            assert end.closed is (end.session.state is State.CLOSED)
            if end.closed:
                assert end.ended.keys() == end.started
                assert end.session.timer() is None

    def teardown(self) -> None:
        for role, end in self.end.items():
            end.session.close()
            self.settle(role)
        self.a_closed_session_has_ended_every_request()


Conversation.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestConversation = Conversation.TestCase
