"""One SMPP session without I/O: octets and the time go in, events and octets come out.

The same class serves both ends; what each may say in which state is a table that names the sender. It holds the
window and the timers, answers enquire_link and unbind by itself, and ends every request exactly once. It does not
queue (the application sends when `window_free` says so), reconnect, or read what messages mean.

Four kinds of trouble: our own misuse raises and changes nothing; a bad PDU is answered and the session goes on; a
bad stream closes it; a refusal (non-zero status) is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias, cast

import msgspec

from chappe.smpp import codec, pdus
from chappe.smpp.codec import HEADER, ID_RESPONSES, PduError, SmppError, SubmitBody
from chappe.smpp.pdus import RESPONSE_BIT, RESPONSE_TO, Pdu, Status


class Role(Enum):
    """Which end we are: the ESME (an application) connects, the SMSC (an operator) listens."""

    ESME = "ESME"
    SMSC = "SMSC"

    @property
    def peer(self) -> Role:
        return Role.SMSC if self is Role.ESME else Role.ESME


class State(Enum):
    """§2.2; UNBOUND is the moment between the unbind and the end of the connection."""

    OPEN = "OPEN"
    BOUND_TX = "BOUND_TX"
    BOUND_RX = "BOUND_RX"
    BOUND_TRX = "BOUND_TRX"
    UNBOUND = "UNBOUND"
    CLOSED = "CLOSED"


# --- the rules ---------------------------------------------------------------------------------------

_ESME = frozenset({Role.ESME})
_SMSC = frozenset({Role.SMSC})
_BOTH = _ESME | _SMSC
_OPEN = frozenset({State.OPEN})
_RX = frozenset({State.BOUND_RX, State.BOUND_TRX})
_TX = frozenset({State.BOUND_TX, State.BOUND_TRX})
_BOUND = _RX | _TX
_CLOSED = State.CLOSED
"""Asked for each PDU, and a member of an enumeration costs ten times as much by its full name, in CPython 3.11."""
_OVER = frozenset({State.UNBOUND, State.CLOSED})

LEGAL: dict[type[Pdu], tuple[frozenset[Role], frozenset[State]]] = {
    pdus.BindTransmitter: (_ESME, _OPEN),
    pdus.BindReceiver: (_ESME, _OPEN),
    pdus.BindTransceiver: (_ESME, _OPEN),
    pdus.Outbind: (_SMSC, _OPEN),
    pdus.Unbind: (_BOTH, _BOUND),
    pdus.SubmitSm: (_ESME, _TX),
    pdus.SubmitMulti: (_ESME, _TX),
    pdus.DataSm: (_BOTH, _BOUND),
    pdus.DeliverSm: (_SMSC, _RX),
    pdus.QuerySm: (_ESME, _TX),
    pdus.CancelSm: (_ESME, _TX),
    pdus.ReplaceSm: (_ESME, frozenset({State.BOUND_TX})),
    pdus.EnquireLink: (_BOTH, _BOUND),
    pdus.AlertNotification: (_SMSC, _RX),
}
"""Request → (who may send it, in which states): SMPP 3.4, table 2-1. A response has no row: it is legal exactly
when its request is in flight, and so is a generic_nack."""

TOLERATED: dict[type[Pdu], tuple[frozenset[Role], frozenset[State]]] = {
    # The table forgets transceivers here; nothing else in the specification does.
    pdus.ReplaceSm: (_ESME, frozenset({State.BOUND_TRX})),
    # Load balancers and monitors probe before they bind, some clients probe after the unbind.
    pdus.EnquireLink: (_BOTH, frozenset({State.OPEN, State.UNBOUND})),
    # A client that gives up before its bind was answered, or says goodbye twice.
    pdus.Unbind: (_BOTH, frozenset({State.OPEN, State.UNBOUND})),
}
"""What we never send but answer as if it were legal."""

WINDOWED = frozenset(pdu.command_id for pdu in (pdus.SubmitSm, pdus.SubmitMulti, pdus.DataSm, pdus.DeliverSm))
"""The requests that count against the window: those that carry a message."""

_BOUND_BY: dict[int, State] = {
    pdus.BindTransmitter.command_id: State.BOUND_TX,
    pdus.BindReceiver.command_id: State.BOUND_RX,
    pdus.BindTransceiver.command_id: State.BOUND_TRX,
}


def _allowed(
    role: Role, state: State, *tables: dict[type[Pdu], tuple[frozenset[Role], frozenset[State]]]
) -> frozenset[int]:
    return frozenset(
        pdu.command_id
        for table in tables
        for pdu, (senders, states) in table.items()
        if role in senders and state in states
    )


_MAY_SEND = {(role, state): _allowed(role, state, LEGAL) for role in Role for state in State}
_MAY_RECEIVE = {(role, state): _allowed(role, state, LEGAL, TOLERATED) for role in Role for state in State}
"""By sender, like the tables."""


class Limits(msgspec.Struct, frozen=True):
    """Sizes and times (in seconds) of a session."""

    window: int = 10
    """Messages in flight."""
    max_pdu: int = 64 * 1024
    """Octets; a longer command_length closes the stream before anything is allocated."""
    max_owed: int = 5_000
    """Requests of the peer that wait for our answer; more are refused at once."""
    strict: bool = False
    """Requests whose inner lengths lie are refused, not read as far as they go: for peers that can send them again."""
    bind_seconds: float = 10.0
    """From the connection to the bind (SMSC), from the bind to its answer (ESME), from an unbind to the end."""
    idle_seconds: float = 30.0
    """Silence after which we send enquire_link."""
    probe_seconds: float = 10.0
    """How long its answer may take before the link counts as dead."""
    response_seconds: float = 60.0
    unbind_seconds: float = 0.0
    """How long the peer's unbind waits for its answer while it still owes us some; 0: not at all."""
    partial_seconds: float = 10.0
    """How long the rest of a PDU may take."""
    late_seconds: float = 3_600.0
    """How long a request that timed out is remembered for a late response…"""
    late_kept: int = 10_000
    """…and how many of them."""


# --- what comes out ----------------------------------------------------------------------------------


class Cause(Enum):
    """Why a session, or a request without an answer, ended."""

    RESPONSE_TIMEOUT = "response time-out"
    CONNECTION_LOST = "connection lost"
    LINK_DEAD = "no answer to enquire_link"
    BIND_TIMEOUT = "bind time-out"
    PARTIAL_TIMEOUT = "the rest of a PDU never came"
    BAD_LENGTH = "impossible PDU length"
    UNBOUND = "unbound"
    CLOSED_HERE = "closed here"


class ResponseReceived(msgspec.Struct, frozen=True):
    """The end of a request: its response, or a generic_nack. The status says whether it is a yes."""

    token: object
    pdu: Pdu


class OutcomeUnknown(msgspec.Struct, frozen=True):
    """The end of a request that was not answered: the peer may or may not have acted on it."""

    token: object
    cause: Cause


class LateResponse(msgspec.Struct, frozen=True):
    """A response that came after its request's OutcomeUnknown, in the same session."""

    token: object
    pdu: Pdu


class RequestReceived(msgspec.Struct, frozen=True):
    """A request to answer with `reply` once the application has dealt with it (not outbind nor
    alert_notification, which have no response)."""

    pdu: Pdu


class BindRequested(msgspec.Struct, frozen=True):
    """An ESME wants to bind: `reply` with status 0 accepts it."""

    pdu: pdus.Bind


class Unbound(msgspec.Struct, frozen=True):
    """The peer has unbound and was answered; it is to close the connection, and has `bind_seconds` to do so."""


class Discarded(msgspec.Struct, frozen=True):
    """A PDU that did not reach the application: answered with this status, or, if a response, dropped."""

    command_id: int
    sequence_number: int
    status: Status


class Closed(msgspec.Struct, frozen=True):
    """The last event: send what is left in `data_to_send` and close the connection."""

    cause: Cause


Event: TypeAlias = (
    ResponseReceived | OutcomeUnknown | LateResponse | RequestReceived | BindRequested | Unbound | Discarded | Closed
)


class MisuseError(SmppError):
    """The call is not possible now, and nothing has changed."""


class WindowFullError(MisuseError):
    """More messages would be in flight than the window allows."""


class _Pending(NamedTuple):
    token: object
    command_id: int
    deadline: float


_OURS = object()
"""The token of the probes that the session sends by itself."""


class Session:
    """One connection's SMPP session; `now` is always the same monotonic clock, in seconds."""

    def __init__(self, role: Role, now: float, limits: Limits | None = None) -> None:
        self.role = role
        self.limits = limits or Limits()
        self._events: list[Event] = []
        self._out: list[bytes] = []
        self._may_send: frozenset[int]
        self._may_receive: frozenset[int]
        self._enter(State.OPEN)
        # Not bound in time: only the SMSC's clock runs from the start, an ESME may wait for an outbind.
        self._bind_deadline = now + self.limits.bind_seconds if role is Role.SMSC else None
        self._heard_at = now
        self._rest = bytearray()
        """A PDU that is not whole yet. One buffer: a list of what came octet by octet would be many times as large."""
        self._need = 4
        self._partial_deadline: float | None = None
        self._sequence = 0
        self._in_flight: dict[int, _Pending] = {}
        self._control: dict[int, _Pending] = {}
        """Our bind, enquire_link and unbind: their time-out ends the session."""
        self._late: dict[int, _Pending] = {}
        self._window_used = 0
        self._goodbye: _Pending | None = None
        """The peer's unbind, not answered yet; the token is its sequence number."""
        self._owed: dict[int, Pdu] = {}
        """The peer's unanswered requests by identity, for a peer may use a sequence number twice."""

    @property
    def state(self) -> State:
        return self._state

    @property
    def in_flight(self) -> int:
        """Our messages that wait for their response."""
        return self._window_used

    @property
    def window_free(self) -> int:
        """How many messages may be sent now; 0 when not bound."""
        return max(0, self.limits.window - self._window_used) if self._may_send & WINDOWED else 0

    @property
    def owed(self) -> int:
        """The peer's requests that wait for our answer."""
        return len(self._owed)

    @property
    def unsent(self) -> int:
        """How many PDUs wait in `data_to_send`."""
        return len(self._out)

    def may_send(self, pdu_class: type[Pdu]) -> bool:
        """Whether `request` takes such a PDU now, the window apart."""
        return pdu_class.command_id in self._may_send

    # --- the application's commands ---

    def set_window(self, window: int) -> None:
        """From now on; what is in flight beyond it stays there, and nothing joins it before there is room again."""
        self.limits = msgspec.structs.replace(self.limits, window=window)

    def request(self, pdu: Pdu, now: float, token: object = None, spoil: Callable[[bytes], bytes] | None = None) -> int:
        """Sends a request and returns its sequence number; `token` comes back with its end.

        `spoil` gets its octets and returns what is sent, for peers under test: others write such PDUs. Raises
        MisuseError (not ours to send in this state), WindowFullError, EncodeError.
        """
        command_id = pdu.command_id
        self._check(command_id, 1)
        sequence_number = self._free_sequence_number()
        octets = codec.encode(pdu, sequence_number)
        self._out.append(octets if spoil is None else spoil(octets))
        self._sequence = sequence_number
        if command_id in RESPONSE_TO:
            self._await_response(sequence_number, token, command_id, now)
        if command_id in _BOUND_BY or command_id == pdus.Unbind.command_id:
            # Nothing can be asked until the answer has decided the state.
            self._may_send = frozenset()
        return sequence_number

    def submit_many(self, submits: Sequence[tuple[SubmitBody, object]], now: float) -> None:
        """Sends (body, token) pairs: the fast way for submit_sm. All or nothing.

        Raises MisuseError, WindowFullError.
        """
        command_id = pdus.SubmitSm.command_id
        self._check(command_id, len(submits))
        deadline = now + self.limits.response_seconds
        for body, token in submits:
            self._sequence = sequence_number = self._free_sequence_number()
            self._out.append(HEADER.pack(16 + len(body), command_id, 0, sequence_number) + body)
            self._in_flight[sequence_number] = _Pending(token, command_id, deadline)
        self._window_used += len(submits)

    def reply(self, request: Pdu, answer: Pdu | int = 0, message_id: bytes = b"") -> bool:
        """Answers a received request with a status (and, for a message, our id for it) or with a whole response.

        False when the session has ended meanwhile: the peer does not know, and will send again. Raises
        MisuseError (already answered, never received, not its response) and EncodeError.
        """
        if self._state in _OVER:
            return False
        if id(request) not in self._owed:
            raise MisuseError("this request is not waiting for an answer")
        response_class = RESPONSE_TO[request.command_id]
        if not isinstance(answer, int):
            if not isinstance(answer, response_class):
                raise MisuseError(f"{type(answer).__name__} does not answer {type(request).__name__}")
            status = answer.command_status
            octets = codec.encode(answer, request.sequence_number)
        elif answer == 0 and response_class.command_id in ID_RESPONSES:
            status = 0
            octets = codec.encode_id(response_class.command_id, request.sequence_number, message_id)
        else:
            status = answer
            octets = codec.encode(response_class(status), request.sequence_number)
        del self._owed[id(request)]
        self._out.append(octets)
        if status == 0 and request.command_id in _BOUND_BY:
            self._bind_deadline = None
            self._enter(_BOUND_BY[request.command_id])
        return True

    def leave_unanswered(self, request: Pdu) -> None:
        """Never answers a received request, as a peer under test may have to expect: it stops counting as owed."""
        self._owed.pop(id(request), None)

    def close(self) -> None:
        """Ends the session without an unbind; what is in flight becomes OutcomeUnknown."""
        self._end(Cause.CLOSED_HERE)

    # --- octets and time in ---

    def receive_data(self, data: bytes, now: float) -> None:
        """Takes octets in chunks of any size; never raises for what is in them."""
        if self._state is _CLOSED or not data:
            return
        self._heard_at = now
        if len(self._rest) + len(data) < self._need:
            self._rest += data
            if self._partial_deadline is None:
                self._partial_deadline = now + self.limits.partial_seconds
            return
        octets = data
        if self._rest:
            self._rest += data
            octets = bytes(self._rest)
        at, end = 0, len(octets)
        while end - at >= 4:
            length = int.from_bytes(octets[at : at + 4], "big")
            if not 16 <= length <= self.limits.max_pdu:
                # §3.2: the stream cannot be trusted any more. A nack tells a peer that speaks SMPP why.
                nack = pdus.GenericNack.command_id
                self._out.append(codec.encode_header(nack, Status.ESME_RINVCMDLEN, 0))
                self._end(Cause.BAD_LENGTH)
                return
            if end - at < length:
                break
            self._receive_pdu(octets, at, now)
            if self._state is _CLOSED:
                return
            at += length
        if at or self._partial_deadline is None:
            self._partial_deadline = now + self.limits.partial_seconds if at < end else None
        self._rest = bytearray(octets[at:])
        self._need = length if end - at >= 4 else 4

    def receive_eof(self) -> None:
        """The peer has closed its side, or the connection is gone."""
        self._end(Cause.UNBOUND if self._state is State.UNBOUND else Cause.CONNECTION_LOST)

    def timer(self) -> float | None:
        """When to call `handle_timer`; it may be later or earlier after any other call."""
        return min(self._deadlines(), default=None)

    def handle_timer(self, now: float) -> None:
        """Does what is due; harmless when nothing is."""
        if self._state is State.CLOSED:
            return
        if self._bind_deadline is not None and self._bind_deadline <= now:
            self._end(Cause.UNBOUND if self._state is State.UNBOUND else Cause.BIND_TIMEOUT)
        elif self._partial_deadline is not None and self._partial_deadline <= now:
            self._end(Cause.PARTIAL_TIMEOUT)
        elif due := [pending for pending in self._control.values() if pending.deadline <= now]:
            self._end(_TIMEOUT_CAUSE[due[0].command_id])
        else:
            self._expire(now)
            if self._goodbye is not None and (not self._window_used or self._goodbye.deadline <= now):
                self._say_goodbye()
            if not self._control and self._state in _BOUND and self._heard_at + self.limits.idle_seconds <= now:
                self.request(pdus.EnquireLink(), now, _OURS)

    # --- events and octets out ---

    def events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """The octets to write since the last call."""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    # --- inside ---

    def _check(self, command_id: int, count: int) -> None:
        if command_id not in self._may_send:
            waiting = " while its bind or unbind is not answered" if self._control else ""
            raise MisuseError(f"{self.role.value} may not send {command_id:#010x} in {self._state.value}{waiting}")
        if command_id in WINDOWED and self._window_used + count > self.limits.window:
            raise WindowFullError(f"{self._window_used} of {self.limits.window} are in flight")

    def _free_sequence_number(self) -> int:
        """1 to 0x7FFFFFFF and round again (§5.1.4), passing over those that may still be answered."""
        candidate = self._sequence
        while True:
            candidate = candidate % 0x7FFFFFFF + 1
            if candidate not in self._in_flight and candidate not in self._late and candidate not in self._control:
                return candidate

    def _await_response(self, sequence_number: int, token: object, command_id: int, now: float) -> None:
        limits = self.limits
        if command_id in _TIMEOUT_CAUSE:
            seconds = limits.probe_seconds if command_id == pdus.EnquireLink.command_id else limits.bind_seconds
            self._control[sequence_number] = _Pending(token, command_id, now + seconds)
        else:
            self._in_flight[sequence_number] = _Pending(token, command_id, now + limits.response_seconds)
            self._window_used += command_id in WINDOWED

    def _receive_pdu(self, octets: bytes, at: int, now: float) -> None:
        try:
            pdu = codec.decode(octets, at, strict=self.limits.strict)
        except PduError as error:
            self._refuse(error.command_id, error.sequence_number, error.status)
            return
        if pdu.command_id & RESPONSE_BIT:
            self._receive_response(pdu, now)
        else:
            self._receive_request(pdu)

    def _receive_response(self, pdu: Pdu, now: float) -> None:
        sequence_number = pdu.sequence_number
        for table in (self._in_flight, self._control, self._late):
            pending = table.get(sequence_number)
            if pending is None:
                continue
            if pdu.command_id != pending.command_id | RESPONSE_BIT and pdu.command_id != pdus.GenericNack.command_id:
                break
            del table[sequence_number]
            if table is self._late:
                if pending.deadline <= now:
                    break
                self._events.append(LateResponse(pending.token, pdu))
                return
            if pending.token is not _OURS:
                self._events.append(ResponseReceived(pending.token, pdu))
            if table is self._in_flight:
                self._window_used -= pending.command_id in WINDOWED
                if self._goodbye is not None and not self._window_used:
                    self._say_goodbye()
            else:
                self._control_answered(pending.command_id, pdu)
            return
        self._events.append(Discarded(pdu.command_id, sequence_number, Status.ESME_RINVBNDSTS))

    def _control_answered(self, command_id: int, response: Pdu) -> None:
        if command_id == pdus.Unbind.command_id:
            self._end(Cause.UNBOUND)
        elif command_id in _BOUND_BY:
            bound = response.command_status == 0 and isinstance(response, pdus.BindResp)
            self._enter(_BOUND_BY[command_id] if bound else State.OPEN)

    def _receive_request(self, pdu: Pdu) -> None:
        command_id = pdu.command_id
        if command_id not in self._may_receive:
            already = command_id in _BOUND_BY and self._state in _BOUND
            status = Status.ESME_RALYBND if already else Status.ESME_RINVBNDSTS
            self._refuse(command_id, pdu.sequence_number, status)
        elif command_id in WINDOWED:
            self._owe(pdu, RequestReceived(pdu))
        elif command_id == pdus.EnquireLink.command_id:
            response_id = pdus.EnquireLinkResp.command_id
            # Ahead of all that waits: the peer's clock is running.
            self._out.insert(0, codec.encode_header(response_id, 0, pdu.sequence_number))
        elif command_id == pdus.Unbind.command_id:
            self._receive_unbind(pdu.sequence_number)
        elif command_id not in RESPONSE_TO:
            self._events.append(RequestReceived(pdu))
        elif not isinstance(pdu, pdus.Bind):
            self._owe(pdu, RequestReceived(pdu))
        elif any(isinstance(owed, pdus.Bind) for owed in self._owed.values()):
            self._refuse(command_id, pdu.sequence_number, Status.ESME_RALYBND)
        else:
            self._owe(pdu, BindRequested(pdu))

    def _owe(self, request: Pdu, event: Event) -> None:
        if len(self._owed) >= self.limits.max_owed:
            busy = Status.ESME_RX_T_APPN if self.role is Role.ESME else Status.ESME_RTHROTTLED
            self._refuse(request.command_id, request.sequence_number, busy)
        else:
            self._owed[id(request)] = request
            self._events.append(event)

    def _receive_unbind(self, sequence_number: int) -> None:
        seconds = self.limits.unbind_seconds
        unsaid = self._goodbye is None and self._state in _BOUND and pdus.EnquireLink.command_id in self._may_send
        if seconds and self._window_used and unsaid:
            # Many peers hang up as soon as we agree: what they still owe us would be in doubt.
            self._goodbye = _Pending(sequence_number, pdus.Unbind.command_id, self._heard_at + seconds)
            self._may_send = frozenset({pdus.EnquireLink.command_id})
            return
        if self._goodbye is not None:
            self._say_goodbye()
        self._agree_to_unbind(sequence_number)

    def _say_goodbye(self) -> None:
        goodbye, self._goodbye = self._goodbye, None
        if goodbye is not None:
            self._agree_to_unbind(cast(int, goodbye.token))

    def _agree_to_unbind(self, sequence_number: int) -> None:
        self._out.append(codec.encode_header(pdus.UnbindResp.command_id, 0, sequence_number))
        if self._state is State.UNBOUND:
            return
        # Answers may still be on their way behind it; that to an unbind of ours, which it crossed, ends the session.
        late = self._heard_at + self.limits.late_seconds
        for number, pending in self._in_flight.items():
            self._late[number] = pending._replace(deadline=late)
        ours = {number: sent for number, sent in self._control.items() if sent.command_id == pdus.Unbind.command_id}
        for number in ours:
            del self._control[number]
        self._give_up(Cause.UNBOUND)
        self._control.update(ours)
        self._enter(State.UNBOUND)
        self._bind_deadline = self._heard_at + self.limits.bind_seconds
        self._events.append(Unbound())

    def _refuse(self, command_id: int, sequence_number: int, status: Status) -> None:
        """Answers a request by its own response where it has one; a response is only reported."""
        if not command_id & RESPONSE_BIT:
            response = RESPONSE_TO.get(command_id, pdus.GenericNack)
            self._out.append(codec.encode_header(response.command_id, status, sequence_number))
        self._events.append(Discarded(command_id, sequence_number, status))

    def _deadlines(self) -> Iterator[float]:
        if self._state is State.CLOSED:
            return
        if self._bind_deadline is not None:
            yield self._bind_deadline
        if self._partial_deadline is not None:
            yield self._partial_deadline
        if self._goodbye is not None:
            yield self._goodbye.deadline
        for pending in self._control.values():
            yield pending.deadline
        for pending in self._in_flight.values():
            # All wait equally long, so the first sent is the first due.
            yield pending.deadline
            break
        if not self._control and self._state in _BOUND:
            yield self._heard_at + self.limits.idle_seconds

    def _expire(self, now: float) -> None:
        """Requests whose time is over stop counting against the window; a late response may still settle them."""
        due = []
        for sequence_number, pending in self._in_flight.items():
            if pending.deadline > now:
                break
            due.append(sequence_number)
        for sequence_number in due:
            pending = self._in_flight.pop(sequence_number)
            self._window_used -= pending.command_id in WINDOWED
            self._events.append(OutcomeUnknown(pending.token, Cause.RESPONSE_TIMEOUT))
            self._late[sequence_number] = pending._replace(deadline=now + self.limits.late_seconds)
        while self._late:
            oldest = next(iter(self._late))
            if len(self._late) <= self.limits.late_kept and self._late[oldest].deadline > now:
                break
            del self._late[oldest]

    def _enter(self, state: State) -> None:
        self._state = state
        self._may_send = _MAY_SEND[self.role, state]
        self._may_receive = _MAY_RECEIVE[self.role.peer, state]

    def _give_up(self, cause: Cause) -> None:
        """Ends all that we asked, and forgets all that the peer did."""
        for pending in (*self._in_flight.values(), *self._control.values()):
            if pending.token is not _OURS:
                self._events.append(OutcomeUnknown(pending.token, cause))
        for table in (self._in_flight, self._control, self._owed):
            table.clear()
        self._window_used = 0
        self._goodbye = None

    def _end(self, cause: Cause) -> None:
        if self._state is State.CLOSED:
            return
        self._enter(State.CLOSED)
        self._give_up(cause)
        self._rest.clear()
        self._events.append(Closed(cause))


_TIMEOUT_CAUSE = {
    **dict.fromkeys(_BOUND_BY, Cause.BIND_TIMEOUT),
    pdus.EnquireLink.command_id: Cause.LINK_DEAD,
    pdus.Unbind.command_id: Cause.UNBOUND,
}
"""What it means that a bind, a probe or an unbind is not answered: the session is over."""
