"""Octets to PDUs and back; knows nothing of sessions.

Reading is lenient, because a PDU that we refuse is a receipt lost: lengths that lie are clipped to what is
there, a final NUL may be missing, a response may stop anywhere. Writing is strict: what the specification
forbids raises. submit_sm, deliver_sm and the responses that carry only an id have a fast path; all other PDUs
are read and written field by field from the annotations in `pdus`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any, NewType, TypeAlias, get_type_hints

from chappe.smpp.pdus import (
    BY_COMMAND_ID,
    RESPONSE_BIT,
    CString,
    DeliverSm,
    DistributionList,
    Failure,
    IdResp,
    Kind,
    MessagePdu,
    Pdu,
    SmeAddress,
    Status,
    SubmitSm,
    Tag,
    Tlv,
)

HEADER = struct.Struct(">IIII")
"""command_length (the header included), command_id, command_status, sequence_number (§3.2)."""
MAX_SHORT_MESSAGE = 254

_TLV_HEADER = struct.Struct(">HH")


class SmppError(Exception):
    """The root of this package's errors."""


class EncodeError(SmppError, ValueError):
    """A value does not fit its field."""


class PduError(SmppError):
    """The body cannot be understood; answer with `status`, the stream itself is sound."""

    def __init__(self, command_id: int, sequence_number: int, status: Status) -> None:
        super().__init__(f"command {command_id:#010x}: {status.name}")
        self.command_id = command_id
        self.sequence_number = sequence_number
        self.status = status


# --- reading -----------------------------------------------------------------------------------------


def decode(octets: bytes, at: int = 0, *, strict: bool = False) -> Pdu:
    """Reads the PDU that starts at `at`; its command_length must be right and its octets all there.

    Raises PduError: ESME_RINVCMDID (unknown command), ESME_RINVCMDLEN (a request that ends too early) or
    ESME_RINVDESTFLAG. What lengths inside it claim beyond its end is clipped; in a request read with `strict`
    ESME_RINVMSGLEN (short_message) or ESME_RINVOPTPARSTREAM (optional parameters).
    """
    length, command_id, status, sequence_number = HEADER.unpack_from(octets, at)
    body, end = at + 16, at + length
    pdu_class = BY_COMMAND_ID.get(command_id)
    if pdu_class is None:
        raise PduError(command_id, sequence_number, Status.ESME_RINVCMDID)
    if pdu_class is DeliverSm or pdu_class is SubmitSm:
        return _decode_message(pdu_class, status, sequence_number, octets, body, end, strict)
    if command_id in ID_RESPONSES:
        return _decode_id(pdu_class, status, sequence_number, octets, body, end)
    return _decode_fields(pdu_class, status, sequence_number, octets[body:end], strict)


_MESSAGE = re.compile(rb"([^\0]*+)\0(..)([^\0]*+)\0(..)([^\0]*+)\0(...)([^\0]*+)\0([^\0]*+)\0(.....)", re.DOTALL)
"""The body up to short_message in one scan: five C strings with the octets between them."""


def _decode_message(
    pdu_class: type[MessagePdu], status: int, sequence_number: int, octets: bytes, body: int, end: int, strict: bool
) -> Pdu:
    found = _MESSAGE.match(octets, body, end)
    if found is None:
        raise PduError(pdu_class.command_id, sequence_number, Status.ESME_RINVCMDLEN)
    (
        service,
        (s_ton, s_npi),
        source,
        (d_ton, d_npi),
        destination,
        (esm, pid, priority),
        schedule,
        validity,
        tail,
    ) = found.groups()
    registered, replace, coding, default_id, sm_length = tail
    start = found.end()
    stop = start + sm_length
    if strict:
        if stop > end:
            raise PduError(pdu_class.command_id, sequence_number, Status.ESME_RINVMSGLEN)
        if not _tlvs_fit(octets, stop, end):
            raise PduError(pdu_class.command_id, sequence_number, Status.ESME_RINVOPTPARSTREAM)
    return pdu_class(
        status,
        sequence_number,
        () if stop >= end else _read_tlvs(octets, stop, end),
        service,
        s_ton,
        s_npi,
        source,
        d_ton,
        d_npi,
        destination,
        esm,
        pid,
        priority,
        schedule,
        validity,
        registered,
        replace,
        coding,
        default_id,
        octets[start : stop if stop < end else end],
    )


def _decode_id(
    pdu_class: Callable[..., Pdu], status: int, sequence_number: int, octets: bytes, body: int, end: int
) -> Pdu:
    stop = octets.find(b"\0", body, end)
    if stop < 0:
        return pdu_class(status, sequence_number, (), octets[body:end])
    tlvs = () if stop + 1 >= end else _read_tlvs(octets, stop + 1, end)
    return pdu_class(status, sequence_number, tlvs, octets[body:stop])


def _read_tlvs(octets: bytes, at: int, end: int) -> tuple[Tlv, ...]:
    """Whatever can be read; the last value is clipped when its length runs over the end."""
    tlvs = []
    while end - at >= 4:
        tag, length = _TLV_HEADER.unpack_from(octets, at)
        at += 4 + length
        tlvs.append((tag, octets[at - length : at if at < end else end]))
    return tuple(tlvs)


def _tlvs_fit(octets: bytes, at: int, end: int) -> bool:
    """Whether the last one ends where the PDU does."""
    while end - at >= 4:
        at += 4 + int.from_bytes(octets[at + 2 : at + 4], "big")
    return at == end


class _BodyError(Exception):
    """A field cannot be read; carries the status that says so."""


def _decode_fields(pdu_class: type[Pdu], status: int, sequence_number: int, body: bytes, strict: bool = False) -> Pdu:
    values: list[Any] = []
    at = 0
    try:
        for _, kind in LAYOUTS[pdu_class]:
            value, at = _READERS[type(kind) if isinstance(kind, CString) else kind](body, at)
            values.append(value)
    except _BodyError as error:
        if not pdu_class.command_id & RESPONSE_BIT:
            raise PduError(pdu_class.command_id, sequence_number, error.args[0]) from None
    if strict and not pdu_class.command_id & RESPONSE_BIT and not _tlvs_fit(body, at, len(body)):
        raise PduError(pdu_class.command_id, sequence_number, Status.ESME_RINVOPTPARSTREAM)
    return pdu_class(status, sequence_number, _read_tlvs(body, at, len(body)), *values)


_Read: TypeAlias = Callable[[bytes, int], tuple[Any, int]]


def _read_byte(body: bytes, at: int) -> tuple[int, int]:
    if at >= len(body):
        raise _BodyError(Status.ESME_RINVCMDLEN)
    return body[at], at + 1


def _read_cstring(body: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(body):
        raise _BodyError(Status.ESME_RINVCMDLEN)
    stop = body.find(b"\0", at)
    return (body[at:], len(body)) if stop < 0 else (body[at:stop], stop + 1)


def _read_short_message(body: bytes, at: int) -> tuple[bytes, int]:
    length, at = _read_byte(body, at)
    return body[at : at + length], at + length


def _read_destinations(body: bytes, at: int) -> tuple[tuple[SmeAddress | DistributionList, ...], int]:
    count, at = _read_byte(body, at)
    destinations: list[SmeAddress | DistributionList] = []
    for _ in range(count):
        flag, at = _read_byte(body, at)
        if flag == 1:
            ton, at = _read_byte(body, at)
            npi, at = _read_byte(body, at)
            address, at = _read_cstring(body, at)
            destinations.append(SmeAddress(ton, npi, address))
        elif flag == 2:
            name, at = _read_cstring(body, at)
            destinations.append(DistributionList(name))
        else:
            raise _BodyError(Status.ESME_RINVDESTFLAG)
    return tuple(destinations), at


def _read_failures(body: bytes, at: int) -> tuple[tuple[Failure, ...], int]:
    """Those that are whole: only a response has them, and a response may stop anywhere."""
    count, at = _read_byte(body, at)
    failures: list[Failure] = []
    for _ in range(count):
        stop = body.find(b"\0", at + 2)
        if stop < 0 or stop + 5 > len(body):
            return tuple(failures), len(body)
        status = int.from_bytes(body[stop + 1 : stop + 5], "big")
        failures.append(Failure(body[at], body[at + 1], body[at + 2 : stop], status))
        at = stop + 5
    return tuple(failures), at


_READERS: dict[object, _Read] = {
    CString: _read_cstring,
    Kind.BYTE: _read_byte,
    Kind.SHORT_MESSAGE: _read_short_message,
    Kind.DESTINATIONS: _read_destinations,
    Kind.FAILURES: _read_failures,
}


# --- writing -----------------------------------------------------------------------------------------


def encode(pdu: Pdu, sequence_number: int | None = None) -> bytes:
    """The PDU's octets, with this sequence number instead of its own. Raises EncodeError.

    A response that refuses and has nothing to say beyond its status is a header only (§4.4.2).
    """
    if sequence_number is None:
        sequence_number = pdu.sequence_number
    try:
        if isinstance(pdu, MessagePdu):
            body = _message_body(pdu)
        elif pdu.command_status and pdu.command_id & RESPONSE_BIT and _is_empty(pdu):
            return encode_header(pdu.command_id, pdu.command_status, sequence_number)
        else:
            body = b"".join([_write(getattr(pdu, name), kind) for name, kind in LAYOUTS[type(pdu)]])
        if pdu.tlvs:
            body += encode_tlvs(pdu.tlvs)
        return HEADER.pack(16 + len(body), pdu.command_id, pdu.command_status, sequence_number) + body
    except (OverflowError, ValueError, struct.error) as error:
        raise EncodeError(f"{type(pdu).__name__}: {error}") from error


def encode_id(command_id: int, sequence_number: int, message_id: bytes = b"") -> bytes:
    """One of ID_RESPONSES that says yes, several times faster than `encode`. Raises EncodeError."""
    _fit(message_id, 65)
    return HEADER.pack(17 + len(message_id), command_id, 0, sequence_number) + message_id + b"\0"


def encode_header(command_id: int, status: int, sequence_number: int) -> bytes:
    """A PDU without a body."""
    return HEADER.pack(16, command_id, status, sequence_number)


def encode_tlvs(tlvs: tuple[Tlv, ...]) -> bytes:
    """The optional parameters, one after the other."""
    return b"".join([_TLV_HEADER.pack(tag, len(value)) + value for tag, value in tlvs])


def _is_empty(pdu: Pdu) -> bool:
    return not pdu.tlvs and not any(getattr(pdu, name) for name, _ in LAYOUTS[type(pdu)])


def _message_body(pdu: MessagePdu) -> bytes:
    return b"%b\0%c%c%b\0%c%c%b\0%c%c%c%b\0%b\0%c%c%c%c%c%b" % (
        _fit(pdu.service_type, 6),
        pdu.source_addr_ton,
        pdu.source_addr_npi,
        _fit(pdu.source_addr, 21),
        pdu.dest_addr_ton,
        pdu.dest_addr_npi,
        _fit(pdu.destination_addr, 21),
        pdu.esm_class,
        pdu.protocol_id,
        pdu.priority_flag,
        _fit(pdu.schedule_delivery_time, 17),
        _fit(pdu.validity_period, 17),
        pdu.registered_delivery,
        pdu.replace_if_present_flag,
        pdu.data_coding,
        pdu.sm_default_msg_id,
        *_fit_text(pdu.short_message),
    )


def _fit(octets: bytes, limit: int) -> bytes:
    if len(octets) >= limit or b"\0" in octets:
        raise EncodeError(f"at most {limit - 1} octets without NUL, not {len(octets)}")
    return octets


def _fit_text(octets: bytes) -> tuple[int, bytes]:
    if len(octets) > MAX_SHORT_MESSAGE:
        raise EncodeError(f"short_message has at most {MAX_SHORT_MESSAGE} octets, not {len(octets)}")
    return len(octets), octets


def _write(value: Any, kind: CString | Kind) -> bytes:
    if isinstance(kind, CString):
        return _fit(value, kind.octets) + b"\0"
    return _WRITERS[kind](value)


def _write_byte(value: int) -> bytes:
    return value.to_bytes(1, "big")


def _write_short_message(value: bytes) -> bytes:
    return b"%c%b" % _fit_text(value)


def _write_destinations(value: tuple[SmeAddress | DistributionList, ...]) -> bytes:
    written = [len(value).to_bytes(1, "big")]
    for destination in value:
        if isinstance(destination, SmeAddress):
            sme = destination
            written.append(b"\1%c%c%b\0" % (sme.ton, sme.npi, _fit(sme.address, 21)))
        else:
            written.append(b"\2%b\0" % _fit(destination.name, 21))
    return b"".join(written)


def _write_failures(value: tuple[Failure, ...]) -> bytes:
    written = [len(value).to_bytes(1, "big")]
    for failure in value:
        address = _fit(failure.address, 21)
        written.append(b"%c%c%b\0%b" % (failure.ton, failure.npi, address, failure.status.to_bytes(4, "big")))
    return b"".join(written)


_WRITERS: dict[Kind, Callable[[Any], bytes]] = {
    Kind.BYTE: _write_byte,
    Kind.SHORT_MESSAGE: _write_short_message,
    Kind.DESTINATIONS: _write_destinations,
    Kind.FAILURES: _write_failures,
}


# --- the layouts, read off the annotations -----------------------------------------------------------


def _layout(pdu_class: type[Pdu]) -> tuple[tuple[str, CString | Kind], ...]:
    hints = get_type_hints(pdu_class, include_extras=True)
    order: list[str] = [name for name in pdu_class.__dataclass_fields__ if name not in Pdu.__dataclass_fields__]
    return tuple((name, hints[name].__metadata__[0]) for name in order)


LAYOUTS = {pdu_class: _layout(pdu_class) for pdu_class in BY_COMMAND_ID.values()}
"""PDU class → its body's fields in wire order."""

ID_RESPONSES = frozenset(
    command_id
    for command_id, pdu_class in BY_COMMAND_ID.items()
    if issubclass(pdu_class, IdResp) and len(LAYOUTS[pdu_class]) == 1
)
"""The responses whose body is an id alone: of submit_sm, deliver_sm and data_sm."""


# --- the hot path out --------------------------------------------------------------------------------

SubmitBody = NewType("SubmitBody", bytes)
"""A submit_sm without its header, as `SubmitTemplate.body` makes it."""


class SubmitTemplate:
    """The submits of one route and sender: what they share is encoded once.

    Every field of `pattern` is shared except those that `body` takes. Three times as fast as `encode`.
    """

    def __init__(self, pattern: SubmitSm) -> None:
        """Raises EncodeError."""
        try:
            self._prefix = b"%b\0%c%c%b\0%c%c" % (
                _fit(pattern.service_type, 6),
                pattern.source_addr_ton,
                pattern.source_addr_npi,
                _fit(pattern.source_addr, 21),
                pattern.dest_addr_ton,
                pattern.dest_addr_npi,
            )
            schedule = _fit(pattern.schedule_delivery_time, 17)
            self._after_esm = b"%c%c%b\0" % (pattern.protocol_id, pattern.priority_flag, schedule)
            self._validity = _fit(pattern.validity_period, 17)
            self._after_validity = b"\0%c%c" % (pattern.registered_delivery, pattern.replace_if_present_flag)
            self._default_id = b"%c" % pattern.sm_default_msg_id
            self._tlvs = encode_tlvs(pattern.tlvs)
        except (OverflowError, ValueError, struct.error) as error:
            raise EncodeError(f"template: {error}") from error

    def body(
        self,
        destination_addr: bytes,
        short_message: bytes,
        *,
        esm_class: int = 0,
        data_coding: int = 0,
        reference: int | None = None,
        validity_period: bytes | None = None,
        tlvs: tuple[Tlv, ...] = (),
    ) -> SubmitBody:
        """One submit; `reference` (16 bits) becomes user_message_reference. Raises EncodeError."""
        length = len(short_message)
        if len(destination_addr) > 20 or length > MAX_SHORT_MESSAGE or b"\0" in destination_addr:
            raise EncodeError("a destination of more than 20 octets, or a short_message of more than 254")
        try:
            body = b"%b%b\0%c%b%b%b%c%b%c%b%b" % (
                self._prefix,
                destination_addr,
                esm_class,
                self._after_esm,
                self._validity if validity_period is None else _fit(validity_period, 17),
                self._after_validity,
                data_coding,
                self._default_id,
                length,
                short_message,
                self._tlvs,
            )
            if reference is not None:
                body += _REFERENCE.pack(Tag.USER_MESSAGE_REFERENCE, 2, reference)
            return SubmitBody(body + encode_tlvs(tlvs) if tlvs else body)
        except (OverflowError, struct.error) as error:
            raise EncodeError(f"submit: {error}") from error


_REFERENCE = struct.Struct(">HHH")
