"""Between the journey's records and SMPP: submissions become submit_sm, what operators say becomes facts.

Decides what things mean, and nothing else: no connection, no clock, no state beyond a cache of templates.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Literal, TypeAlias

from chappe.core import gsm
from chappe.core.message import (
    Answered,
    AttemptKey,
    AttemptReport,
    DoubtBegan,
    Inbound,
    Question,
    ReceiptReport,
    Refused,
    Submission,
    Treatment,
    Verdict,
)
from chappe.core.optout import is_operator_stop
from chappe.core.receipts import NOT_ASSIGNED, read_receipt, read_state
from chappe.core.text import (
    WHOLE,
    WIDE,
    Alphabet,
    concatenation_header,
    decode,
    encode,
    is_gsm,
    is_latin_1,
    language_header,
    segment,
)
from chappe.smpp.codec import EncodeError, SubmitBody, SubmitTemplate
from chappe.smpp.pdus import (
    CONGESTION_STATE,
    DataCoding,
    DataSm,
    DeliverSm,
    EsmClass,
    IdResp,
    Npi,
    Pdu,
    QuerySm,
    QuerySmResp,
    Status,
    SubmitSm,
    Tag,
    Tlv,
    Ton,
    unsigned,
)
from chappe.smpp.session import Cause
from chappe.smpp.udh import place_of, sar_parameters

Delivered: TypeAlias = DeliverSm | DataSm
"""What an operator brings: a receipt, or a message from a person."""


# --- the answers -------------------------------------------------------------------------------------

_VENDORS_OWN = range(0x400, 0x500)

TREATMENTS: Mapping[int, Treatment] = {
    # Slower, and the same message again.
    Status.ESME_RTHROTTLED: Treatment.THROTTLED,
    Status.ESME_RMSGQFUL: Treatment.THROTTLED,
    # Again later, a few times.
    Status.ESME_RSYSERR: Treatment.TEMPORARY,
    Status.ESME_RSUBMITFAIL: Treatment.TEMPORARY,
    Status.ESME_RX_T_APPN: Treatment.TEMPORARY,
    Status.ESME_RUNKNOWNERR: Treatment.TEMPORARY,
    # Not through this operator: it does not take the sender, the recipient, the service or a parameter, or says no more
    # than that it rejects the message. The next one may.
    Status.ESME_RINVSRCADR: Treatment.ELSEWHERE,
    Status.ESME_RINVSRCTON: Treatment.ELSEWHERE,
    Status.ESME_RINVSRCNPI: Treatment.ELSEWHERE,
    Status.ESME_RINVDSTADR: Treatment.ELSEWHERE,
    Status.ESME_RINVDSTTON: Treatment.ELSEWHERE,
    Status.ESME_RINVDSTNPI: Treatment.ELSEWHERE,
    Status.ESME_RINVSERTYP: Treatment.ELSEWHERE,
    Status.ESME_RX_P_APPN: Treatment.ELSEWHERE,
    Status.ESME_RX_R_APPN: Treatment.ELSEWHERE,
    Status.ESME_ROPTPARNOTALLWD: Treatment.ELSEWHERE,
    Status.ESME_RINVOPTPARAMVAL: Treatment.ELSEWHERE,
    Status.ESME_RDELIVERYFAILURE: Treatment.ELSEWHERE,
    # Nothing wrong with the message: the bind is.
    Status.ESME_RINVBNDSTS: Treatment.SESSION,
    Status.ESME_RALYBND: Treatment.SESSION,
    Status.ESME_RBINDFAIL: Treatment.SESSION,
    Status.ESME_RINVPASWD: Treatment.SESSION,
    Status.ESME_RINVSYSID: Treatment.SESSION,
    # Vendors' own codes mean anything, from "no credit" to "try again": the safe reading is "not now".
    **dict.fromkeys(_VENDORS_OWN, Treatment.TEMPORARY),
}
"""command_status → what it asks for (SMPP 3.4 §5.1.3, table 5-2). All others that the specification names find
fault with this PDU, which would be refused again: PERMANENT. Those it does not name are read like vendors' own."""

UNCERTAIN = frozenset({Status.ESME_RSYSERR, Status.ESME_RSUBMITFAIL, Status.ESME_RUNKNOWNERR, *_VENDORS_OWN})
"""Statuses after which the message may have gone out all the same; so may it after one that nobody names."""

_NAMED = frozenset(Status)


def treatment_of(status: int, overrides: Mapping[int, Treatment]) -> Treatment:
    """What this refusal asks for at this operator."""
    unlisted = Treatment.PERMANENT if status in _NAMED else Treatment.TEMPORARY
    return overrides.get(status, TREATMENTS.get(status, unlisted))


def answer_to(key: AttemptKey, response: Pdu, at: int, overrides: Mapping[int, Treatment]) -> AttemptReport:
    """The fact in a submit's response, or in the generic_nack in its place."""
    message, part, attempt = key
    if isinstance(response, IdResp) and response.command_status == 0:
        return AttemptReport(message, Answered(part, attempt, at, response.message_id.decode("latin-1")))
    # A nack that says ROK contradicts itself: nobody knows what it means.
    status = response.command_status or Status.ESME_RUNKNOWNERR
    uncertain = status in UNCERTAIN or status not in _NAMED
    return AttemptReport(message, Refused(part, attempt, at, int(status), treatment_of(status, overrides), uncertain))


def congestion_in(response: Pdu) -> int | None:
    """How busy the operator says it is, from 0 to 100; None when it does not, or in a way that nobody reads."""
    state = response.tlv_int(CONGESTION_STATE)
    return state if state is not None and state <= 100 else None


CAUSES: Mapping[Cause, str] = {
    Cause.RESPONSE_TIMEOUT: "timeout",
    Cause.CONNECTION_LOST: "disconnected",
    Cause.LINK_DEAD: "unresponsive",
    Cause.BIND_TIMEOUT: "unresponsive",
    Cause.PARTIAL_TIMEOUT: "garbled",
    Cause.BAD_LENGTH: "garbled",
    Cause.UNBOUND: "unbound",
    Cause.CLOSED_HERE: "closed",
}
"""Why an answer is not to be expected, in one word for programs."""


def doubt_about(key: AttemptKey, cause: Cause, at: int) -> AttemptReport:
    """The fact that no answer came."""
    message, part, attempt = key
    return AttemptReport(message, DoubtBegan(part, attempt, at, CAUSES[cause]))


# --- the submits -------------------------------------------------------------------------------------

Gsm7: TypeAlias = Literal["unpacked", "packed", "latin1"]
"""What an operator is sent for a text in GSM 03.38: a septet an octet, eight in seven octets, or latin-1."""
_CODINGS: Mapping[Gsm7, DataCoding] = {
    "unpacked": DataCoding.SMSC_DEFAULT,
    "packed": DataCoding.SMSC_DEFAULT,
    "latin1": DataCoding.LATIN_1,
}
_SHORT_CODE_DIGITS = 8
_MAX_VALIDITY_SECONDS = 63 * 86_400


class UnwritableError(Exception):
    """No submit_sm can carry this submission; `status` is what an operator would say to it."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class Writer:
    """Writes one operator's submits."""

    def __init__(
        self,
        *,
        sender: str = "",
        short_code_ton: int = Ton.NETWORK_SPECIFIC,
        short_code_npi: int = Npi.UNKNOWN,
        destination_ton: int = Ton.INTERNATIONAL,
        destination_npi: int = Npi.ISDN,
        references: bool = True,
        sar: bool = False,
        gsm7: Gsm7 = "unpacked",
        gsm7_data_coding: int | None = None,
    ) -> None:
        """`sender` is for messages that name none; without one too, the operator chooses. `sar` puts the place of a
        part in parameters instead of a header. `gsm7_data_coding` is how this operator calls `gsm7`."""
        self._sender = sender
        self._short_code = (short_code_ton, short_code_npi)
        self._destination = (destination_ton, destination_npi)
        self._references = references
        self._sar = sar
        self._gsm7 = gsm7
        self._gsm7_data_coding = _CODINGS[gsm7] if gsm7_data_coding is None else gsm7_data_coding
        self._template = lru_cache(1_024)(self._make_template)

    def body(self, submission: Submission, now: int) -> SubmitBody:
        """The submit_sm of one part. Raises UnwritableError."""
        attempt = submission.attempt
        template = self._template(submission.sender or self._sender)
        esm_class, data_coding, octets, tlvs = self._user_data(submission)
        try:
            return template.body(
                submission.number.removeprefix("+").encode("ascii"),
                octets,
                esm_class=esm_class,
                data_coding=data_coding,
                reference=attempt.reference if self._references else None,
                validity_period=_relative_time(-((now - submission.expires_at) // 1_000)),
                tlvs=tlvs,
            )
        except (EncodeError, UnicodeEncodeError) as error:
            raise UnwritableError(Status.ESME_RINVDSTADR) from error

    def query(self, question: Question) -> QuerySm:
        """The query_sm about a submit; its sender has to be the submit's (§4.8.1). Raises UnwritableError."""
        ton, npi, octets = self.address(question.sender or self._sender)
        return QuerySm(
            message_id=question.carrier_id.encode("latin-1"),
            source_addr_ton=ton,
            source_addr_npi=npi,
            source_addr=octets,
        )

    def address(self, sender: str) -> tuple[int, int, bytes]:
        """TON, NPI and octets of a sender. Raises UnwritableError.

        §5.2.5 leaves short codes open; most operators ask for 3 and 0, and each may say otherwise.
        """
        digits = sender.removeprefix("+")
        if not re.fullmatch("[0-9]{1,20}", digits):
            return (Ton.ALPHANUMERIC, Npi.UNKNOWN, _letters(sender)) if sender else (Ton.UNKNOWN, Npi.UNKNOWN, b"")
        if sender != digits or digits.startswith("00"):
            return Ton.INTERNATIONAL, Npi.ISDN, digits.removeprefix("00").encode("ascii")
        if len(digits) <= _SHORT_CODE_DIGITS:
            return *self._short_code, digits.encode("ascii")
        return Ton.NATIONAL if digits.startswith("0") else Ton.INTERNATIONAL, Npi.ISDN, digits.encode("ascii")

    def _user_data(self, submission: Submission) -> tuple[int, int, bytes, tuple[Tlv, ...]]:
        """esm_class, data_coding, octets and parameters of this part, or of the whole message."""
        cut, message, number = submission.cut, submission.attempt.message, submission.attempt.part
        segmented = segment(submission.text, cut)
        alphabet, total = segmented.alphabet, len(segmented.parts)
        if total != submission.parts or not 1 <= number <= (1 if cut & WHOLE else total):
            # Parts cut by other rules would not join to this text on the phone.
            raise UnwritableError(Status.ESME_RINVMSGLEN)
        try:
            if total == 1:
                header = language_header(alphabet.language) if alphabet.language else b""
                data_coding, octets = self._encode(submission.text, alphabet, header)
                return EsmClass.UDHI if header else 0, data_coding, octets, ()
            if cut & WHOLE:
                data_coding, octets = self._encode(submission.text, alphabet, b"")
                return 0, data_coding, b"", ((Tag.MESSAGE_PAYLOAD, octets),)
            # The same for all parts and attempts, so that a phone joins a resent part with the others. The remainder
            # lets every octet of the id count, however ids are made.
            reference, short_reference = message % 0xFFFF, message % 0xFF
            part = segmented.parts[number - 1]
            if self._sar and not alphabet.language:
                data_coding, octets = self._encode(part, alphabet, b"")
                return 0, data_coding, octets, sar_parameters(reference, total, number)
            wide = bool(cut & WIDE)
            header = concatenation_header(
                reference if wide else short_reference, total, number, wide=wide, language=alphabet.language
            )
            data_coding, octets = self._encode(part, alphabet, header)
        except ValueError as error:
            raise UnwritableError(Status.ESME_RINVMSGLEN) from error
        return EsmClass.UDHI, data_coding, octets, ()

    def _encode(self, text: str, alphabet: Alphabet, header: bytes) -> tuple[int, bytes]:
        """data_coding, and the octets behind this header."""
        octets = encode(text, alphabet)
        if alphabet is Alphabet.UCS2:
            return DataCoding.UCS2, header + octets
        if self._gsm7 == "packed":
            return self._gsm7_data_coding, gsm.pack(octets, header)
        if self._gsm7 == "unpacked":
            return self._gsm7_data_coding, header + octets
        if alphabet is Alphabet.GSM7 and is_latin_1(text):
            return self._gsm7_data_coding, header + text.encode("latin-1")
        # Accepted before the operator was said to want latin-1, and perhaps too long for UCS-2.
        if self._gsm7_data_coding == DataCoding.SMSC_DEFAULT:
            raise ValueError("no data_coding left that means GSM 03.38")
        return DataCoding.SMSC_DEFAULT, header + octets

    def _make_template(self, sender: str) -> SubmitTemplate:
        ton, npi, octets = self.address(sender)
        return SubmitTemplate(
            SubmitSm(
                source_addr_ton=ton,
                source_addr_npi=npi,
                source_addr=octets,
                dest_addr_ton=self._destination[0],
                dest_addr_npi=self._destination[1],
                registered_delivery=1,
            )
        )


def _letters(sender: str) -> bytes:
    """§5.2.8: at most 20 octets. Raises UnwritableError."""
    try:
        octets = sender.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UnwritableError(Status.ESME_RINVSRCADR) from error
    if len(octets) > 20 or 0 in octets:
        raise UnwritableError(Status.ESME_RINVSRCADR)
    return octets


@lru_cache(1_024)
def _relative_time(seconds: int) -> bytes:
    """`YYMMDDhhmmss000R` (§7.1.1.2), from a second to 63 days; a month counts as 30 days, for DD ends at 31."""
    minutes, second = divmod(min(max(seconds, 1), _MAX_VALIDITY_SECONDS), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    month, day = divmod(days, 30)
    return b"00%02d%02d%02d%02d%02d000R" % (month, day, hour, minute, second)


# --- what operators bring ----------------------------------------------------------------------------

# By their short names: a member of an enumeration costs ten times as much by its full one, in CPython 3.11.
_TYPE_MASK, _UDHI = EsmClass.TYPE_MASK, EsmClass.UDHI
_INTERMEDIATE = EsmClass.INTERMEDIATE_NOTIFICATION
_OF_RECEIPTS = EsmClass.RECEIPT | _INTERMEDIATE
_RECEIPTED_MESSAGE_ID, _MESSAGE_STATE = Tag.RECEIPTED_MESSAGE_ID, Tag.MESSAGE_STATE
_NETWORK_ERROR_CODE, _USER_MESSAGE_REFERENCE = Tag.NETWORK_ERROR_CODE, Tag.USER_MESSAGE_REFERENCE
_FAILED = Verdict.FAILED


def receipt_in(
    pdu: Delivered,
    connector: str,
    at: int,
    not_assigned: Collection[str] = NOT_ASSIGNED,
    stop_codes: Collection[str] = (),
) -> ReceiptReport | None:
    """The receipt in a deliver_sm or data_sm; None for a message from a person.

    A receipt says so in esm_class (§5.2.12). Operators that leave it 0 are believed only when receipted_message_id
    is there: a text that merely looks like a receipt may be a person's. A receipt that cannot be read keeps its
    octets, without an id and without a verdict. `not_assigned`: see `read_receipt`; `stop_codes`: see
    `is_operator_stop`.
    """
    kind = pdu.esm_class & _TYPE_MASK
    tlvs = dict(reversed(pdu.tlvs))  # of those with one tag the first counts
    receipted = tlvs.get(_RECEIPTED_MESSAGE_ID)
    if not kind & _OF_RECEIPTS and (kind or receipted is None):
        return None
    octets = pdu.user_data
    receipt = read_receipt(
        place_of(pdu).rest if pdu.esm_class & _UDHI else octets,
        receipted_message_id=receipted,
        message_state=unsigned(tlvs.get(_MESSAGE_STATE)),
        network_error_code=tlvs.get(_NETWORK_ERROR_CODE),
        not_assigned=not_assigned,
    )
    number = e164(pdu.source_addr)
    reference = unsigned(tlvs.get(_USER_MESSAGE_REFERENCE))
    if receipt is None:
        return ReceiptReport(connector, "", at, None, "unread", reference, number, octets)
    verdict, detail = _or_stop(receipt.verdict, receipt.detail, stop_codes)
    if kind & _INTERMEDIATE and verdict is not Verdict.DELIVERED:
        # The operator still tries (§5.2.12): what it says of a failure is not the end.
        verdict = None
    return ReceiptReport(connector, receipt.carrier_id, at, verdict, detail, reference, number, octets)


def state_in(
    response: QuerySmResp,
    question: Question,
    connector: str,
    at: int,
    not_assigned: Collection[str] = NOT_ASSIGNED,
    stop_codes: Collection[str] = (),
) -> ReceiptReport:
    """What an operator that was asked says (§4.8.2), as if its receipt had come; the tables are those of `receipt_in`.

    It is about the id that was asked for, however the answer writes it.
    """
    said = read_state(response.message_state, response.error_code, not_assigned=not_assigned)
    verdict, detail = _or_stop(*said, stop_codes)
    return ReceiptReport(connector, question.carrier_id, at, verdict, detail, None, question.number, asked=True)


def _or_stop(verdict: Verdict | None, detail: str, stop_codes: Collection[str]) -> tuple[Verdict | None, str]:
    if verdict is _FAILED and is_operator_stop(detail, stop_codes):
        return Verdict.OPTED_OUT, f"operatorStop:{detail.partition(':')[2]}"
    return verdict, detail


def inbound_in(
    pdu: Delivered, connector: str, at: int, *, gsm7: Gsm7 = "unpacked", gsm7_data_coding: int | None = None
) -> Inbound:
    """The message from a person, or the part of one, in a deliver_sm or data_sm.

    `gsm7` and `gsm7_data_coding` are this operator's ways, as a `Writer` has them. A part in a national language
    becomes one in UCS-2, which needs no header to be read.
    """
    source = pdu.source_addr
    place = place_of(pdu)
    octets, data_coding = place.rest, pdu.data_coding
    if data_coding == gsm7_data_coding:
        data_coding = _CODINGS[gsm7]
    if is_gsm(data_coding):
        if gsm7 == "packed":
            octets = gsm.unpack(octets, len(pdu.user_data) - len(octets))
        if place.single or place.locking:
            octets = decode(octets, data_coding, place.single, place.locking).encode("utf-16-be")
            data_coding = DataCoding.UCS2
    return Inbound(
        connector,
        e164(source) or source.decode("latin-1"),
        pdu.destination_addr.decode("latin-1"),
        at,
        octets,
        data_coding,
        place.reference,
        place.total,
        place.sequence,
    )


def e164(address: bytes) -> str | None:
    """`+digits` of an address that can be an international number, written with +, 00 or neither."""
    found = _international(address)
    return "+" + found[1].decode("ascii") if found else None


_international = re.compile(rb"(?:\+|00)?([1-9][0-9]{6,14})").fullmatch
