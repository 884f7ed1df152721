"""What a customer's submit_sm asks for: its text, its place in a long message, and a send request. Pure.

Nothing is guessed: what cannot be understood whole, or would leave otherwise than it came, is refused with a status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from chappe.core import gsm
from chappe.core.customers import Address, Customer, KeptPart, Part, Submit
from chappe.core.errors import Invalid
from chappe.core.message import Family
from chappe.core.text import are_septets
from chappe.customers.times import read_time
from chappe.flow.accept import MAX_PARTS, MAX_VALIDITY_SECONDS, SendRequest
from chappe.smpp.pdus import EsmClass, Status, SubmitSm, Tag, Ton
from chappe.smpp.udh import Segment, place_of

ESME_RINVDCS: Final = 0x104
"""SMPP 5, table 4-45: invalid data coding; 3.4 has no status for it."""

STATUSES: Mapping[int, int] = {
    **dict.fromkeys((10, 11, 19, 90, 91), Status.ESME_RINVDSTADR),
    12: Status.ESME_RX_R_APPN,
    **dict.fromkeys((13, 14), Status.ESME_RINVDSTADR),
    **dict.fromkeys((20, 21, 22, 23), Status.ESME_RINVSRCADR),
    30: Status.ESME_RINVMSGLEN,
    31: ESME_RINVDCS,
    32: Status.ESME_RINVMSGLEN,
    45: Status.ESME_RINVSERTYP,
    **dict.fromkeys((61, 62), Status.ESME_RINVSCHED),
    71: Status.ESME_RX_P_APPN,
    76: Status.ESME_RTHROTTLED,
    1001: Status.ESME_RINVEXPIRY,
}
"""The contract's code of a refusal → command_status. Of what a submit can ask 1001 is its validity alone."""

STORE_AWAY: Final = Status.ESME_RMSGQFUL
"""Nothing was stored, and the same may be sent again: what every client takes for "later"."""

MARKETING: Final = "MKT"
NOTIFICATION: Final = "NTF"
GENERIC: Final = frozenset({"", "CMT", "CPT", "VMN", "VMA", "WAP", "USSD"})
"""service_types that say nothing of what a message is for (SMPP 3.4, §5.2.11). Any other is its category."""

MOST_SEGMENTS: Final = 2 * MAX_PARTS
"""A customer may cut shorter than we do."""


class Unacceptable(Exception):
    """This submit is refused with `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status:#x}")
        self.status = status


class Wish(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a submit asks for beside its text."""

    number: str
    sender: str
    family: int
    category: str | None = None
    date: int | None = None
    expires_at: int | None = None


@dataclass(slots=True)
class Request:
    """A submit as it was understood."""

    wish: Wish
    submit: Submit
    place: Segment
    data_coding: int

    @property
    def is_part(self) -> bool:
        return self.place.total > 1

    def part(self) -> Part:
        """As the store keeps it until its message is whole."""
        place = self.place
        return Part(
            self.submit,
            place.reference,
            place.total,
            place.sequence,
            place.rest,
            self.data_coding,
            place.single,
            place.locking,
            msgspec.json.encode(self.wish).decode(),
        )

    def text(self) -> str:
        """Of a submit that is a whole message. Raises Unacceptable."""
        return _read_text(self.place.rest, self.data_coding, self.place.single, self.place.locking)


def read_submit(pdu: SubmitSm, customer: Customer, now: int) -> Request:
    """Raises Unacceptable."""
    if pdu.esm_class & (EsmClass.TYPE_MASK | EsmClass.REPLY_PATH) or pdu.esm_class & _MODE == _TRANSACTION:
        raise Unacceptable(Status.ESME_RINVESMCLASS)
    if pdu.replace_if_present_flag:
        raise Unacceptable(Status.ESME_RINVREPFLAG)
    if pdu.sm_default_msg_id:
        raise Unacceptable(Status.ESME_RINVDFTMSGID)
    if pdu.short_message and pdu.tlv(Tag.MESSAGE_PAYLOAD) is not None:
        raise Unacceptable(Status.ESME_ROPTPARNOTALLWD)  # §5.3.2.32: one or the other
    place = _read_place(pdu)
    number, sender = _read_destination(pdu), _ascii(pdu.source_addr, Status.ESME_RINVSRCADR)
    family, category = _read_service(pdu.service_type, customer.family)
    wish = Wish(
        number,
        sender,
        int(family),
        category,
        _read_time(pdu.schedule_delivery_time, now, Status.ESME_RINVSCHED),
        _read_time(pdu.validity_period, now, Status.ESME_RINVEXPIRY),
    )
    submit = Submit(
        customer.id,
        pdu.registered_delivery & 3,
        Address(pdu.source_addr_ton, pdu.source_addr_npi, sender),
        Address(pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr.decode("ascii")),
        _read_reference(pdu),
        now,
    )
    return Request(wish, submit, place, pdu.data_coding)


def read_wish(octets: str) -> Wish:
    return msgspec.json.decode(octets, type=Wish)


def send_request(wish: Wish, text: str, now: int) -> SendRequest:
    """Raises Unacceptable when its time would be over before it may leave.

    A validity beyond ours is cut, because no receipt could be matched after that.
    """
    validity = None
    if wish.expires_at is not None:
        validity = min((wish.expires_at - max(now, wish.date or now)) // 1000, MAX_VALIDITY_SECONDS)
        if validity < 1:
            raise Unacceptable(Status.ESME_RINVEXPIRY)
    return SendRequest(
        number=wish.number,
        message=text,
        sender=wish.sender,
        category=wish.category,
        date=wish.date,
        validity_seconds=validity,
    )


def join(parts: Sequence[KeptPart]) -> str:
    """The text of a whole message. Raises Unacceptable.

    Octets of neighbouring parts are joined before they are decoded: senders cut surrogate pairs and escapes in two.
    """
    text, run, coding = "", b"", _coding(parts[0])
    for part in parts:
        if _coding(part) != coding:
            text += _read_text(run, *coding)
            run, coding = b"", _coding(part)
        run += part.octets
    return text + _read_text(run, *coding)


def status_of(error: Invalid) -> int:
    return STATUSES.get(error.code, Status.ESME_RSUBMITFAIL)


# --- the pieces ----------------------------------------------------------------------------------------

_MODE, _TRANSACTION = 0x03, 0x02
"""esm_class, bits 1 and 0: a customer that waits for the handset in its submit_sm_resp waits in vain (§5.2.12)."""

_READ_ELEMENTS = frozenset({0x00, 0x08, 0x24, 0x25})
"""Concatenation and national languages: elements whose meaning does not get lost (3GPP TS 23.040, 9.2.3.24)."""

_LONGEST_ADDRESS = 20
"""Receipts bring it back in a field of that size (§5.2.8)."""

_GSM, _ASCII, _UCS2 = "gsm", "ascii", "utf-16-be"

ALPHABETS: Mapping[int, str] = {
    0x00: _GSM,
    0x01: _ASCII,
    0x03: "latin-1",
    0x06: "iso8859-5",
    0x07: "iso8859-8",
    0x08: _UCS2,
    # With a class, which is not kept (3GPP TS 23.038, §4).
    **dict.fromkeys(range(0x10, 0x14), _GSM),
    **dict.fromkeys(range(0x18, 0x1C), _UCS2),
    **dict.fromkeys(range(0xF0, 0xF4), _GSM),
}
"""data_coding → how a text is read (SMPP 3.4, §5.2.19); any other is no text that we could send on."""


def _read_text(octets: bytes, data_coding: int, single: int, locking: int) -> str:
    alphabet = ALPHABETS.get(data_coding)
    try:
        if alphabet == _GSM or (alphabet == _ASCII and (single or locking or are_septets(octets))):
            return _read_gsm(octets, single, locking)
        if alphabet is not None:
            return octets.decode(alphabet)
    except ValueError:
        pass
    raise Unacceptable(ESME_RINVDCS)


def _read_gsm(octets: bytes, single: int, locking: int) -> str:
    """Raises ValueError for octets that are no septets and for escapes before what the tables do not have."""
    language, _ = gsm.Language(single), gsm.Language(locking)
    if not octets.isascii():
        raise ValueError
    text = gsm.read(octets, single, locking)
    if not locking and gsm.septets(text, language) != octets:
        raise ValueError
    return text


def _coding(part: KeptPart) -> tuple[int, int, int]:
    return part.data_coding, part.single, part.locking


def _read_place(pdu: SubmitSm) -> Segment:
    if pdu.esm_class & EsmClass.UDHI and not _is_understood(pdu.user_data):
        raise Unacceptable(Status.ESME_RINVESMCLASS)
    if pdu.data_coding not in ALPHABETS:
        raise Unacceptable(ESME_RINVDCS)
    place = place_of(pdu)
    if place.total > MOST_SEGMENTS:
        raise Unacceptable(Status.ESME_RINVMSGLEN)
    return place


def _is_understood(octets: bytes) -> bool:
    """Whether the header is whole and has nothing in it that would get lost, such as a port."""
    if not octets or 1 + octets[0] > len(octets):
        return False
    at, end = 1, 1 + octets[0]
    while at + 2 <= end:
        if octets[at] not in _READ_ELEMENTS:
            return False
        at += 2 + octets[at + 1]
    return at == end


def _read_destination(pdu: SubmitSm) -> str:
    """Its TON says what it means without + or 00; with 0 (unknown) it is a national one if it begins with a 0."""
    digits = _ascii(pdu.destination_addr, Status.ESME_RINVDSTADR)
    if not 0 < len(digits) <= _LONGEST_ADDRESS:
        raise Unacceptable(Status.ESME_RINVDSTADR)
    match pdu.dest_addr_ton:
        case Ton.INTERNATIONAL:
            return digits if digits.startswith(("+", "00")) else f"+{digits}"
        case Ton.UNKNOWN:
            return digits if digits.startswith(("+", "0")) else f"+{digits}"
        case Ton.NATIONAL:
            return digits
    raise Unacceptable(Status.ESME_RINVDSTTON)


def _ascii(octets: bytes, status: Status) -> str:
    try:
        return octets.decode("ascii")
    except UnicodeDecodeError:
        raise Unacceptable(status) from None


def _read_service(octets: bytes, family: Family) -> tuple[Family, str | None]:
    service = _ascii(octets, Status.ESME_RINVSERTYP)
    match service.upper():
        case upper if upper == MARKETING:
            return Family.MARKETING, None
        case upper if upper == NOTIFICATION:
            return Family.NOTIFICATION, None
        case upper if upper in GENERIC:
            return family, None
    if not re.fullmatch("[!-~]{1,5}", service):
        raise Unacceptable(Status.ESME_RINVSERTYP)
    return family, service


def _read_time(octets: bytes, now: int, status: Status) -> int | None:
    try:
        return read_time(octets, now)
    except ValueError:
        raise Unacceptable(status) from None


def _read_reference(pdu: SubmitSm) -> int | None:
    value = pdu.tlv(Tag.USER_MESSAGE_REFERENCE)
    return None if value is None or len(value) != 2 else int.from_bytes(value, "big")
