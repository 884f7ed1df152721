"""The PDUs of SMPP 3.4 and their constants: one class per PDU, whose annotated fields are the wire format.

A field's annotation says how it travels (`CString(21)`, `Byte`, …), in the order of the specification; the
codec reads its layouts off these annotations, so that the format is written down once. Strings are the octets
as received, without their final NUL. PDUs are read-only by convention: frozen ones cost several times as much
to build, and thousands are built each second.

Source: SMPP 3.4 issue 1.2, chapters 4 (PDUs) and 5 (parameters).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, NamedTuple, TypeAlias

RESPONSE_BIT = 0x80000000
"""A response's command id is its request's with this bit set (§5.1.2.1); `generic_nack` has it too."""

Tlv: TypeAlias = tuple[int, bytes]
"""An optional parameter: (tag, value). All are kept in order, unknown and repeated ones too."""


# --- how a field travels -----------------------------------------------------------------------------


class CString(NamedTuple):
    """Octets closed by a NUL; `octets` counts the NUL and is enforced only on what we send."""

    octets: int


class Kind(IntEnum):
    """The formats that are not a C string."""

    BYTE = 1
    SHORT_MESSAGE = 2
    """`sm_length` (1 octet) and that many octets."""
    DESTINATIONS = 3
    """`number_of_dests` (1 octet) and that many addresses or list names (§4.5.1.1)."""
    FAILURES = 4
    """`no_unsuccess` (1 octet) and that many addresses with their status (§4.5.2.1)."""


Byte: TypeAlias = Annotated[int, Kind.BYTE]
ServiceType: TypeAlias = Annotated[bytes, CString(6)]
Address: TypeAlias = Annotated[bytes, CString(21)]
LongAddress: TypeAlias = Annotated[bytes, CString(65)]
MessageId: TypeAlias = Annotated[bytes, CString(65)]
SystemId: TypeAlias = Annotated[bytes, CString(16)]
Password: TypeAlias = Annotated[bytes, CString(9)]
Time: TypeAlias = Annotated[bytes, CString(17)]
"""Absolute `YYMMDDhhmmsstnnp` or relative `YYMMDDhhmmss000R` (§7.1.1); empty: the SMSC's default."""
ShortMessage: TypeAlias = Annotated[bytes, Kind.SHORT_MESSAGE]


@dataclass(slots=True, frozen=True)
class SmeAddress:
    """One recipient of a submit_multi (dest_flag 1)."""

    ton: int
    npi: int
    address: bytes


@dataclass(slots=True, frozen=True)
class DistributionList:
    """A list kept at the SMSC, by name (dest_flag 2)."""

    name: bytes


@dataclass(slots=True, frozen=True)
class Failure:
    """One recipient that a submit_multi did not reach, and why (a command status)."""

    ton: int
    npi: int
    address: bytes
    status: int


# --- the PDUs ----------------------------------------------------------------------------------------


def unsigned(value: bytes | None) -> int | None:
    """An optional parameter's value as a number; None also when it has no octet or more than four."""
    return int.from_bytes(value, "big") if value and len(value) <= 4 else None


@dataclass(slots=True)
class Pdu:
    """What every PDU has. `command_status` is kept as an int: vendors use 0x400-0x4FF and more."""

    command_id: ClassVar[int]

    command_status: int = 0
    sequence_number: int = 0
    tlvs: tuple[Tlv, ...] = ()

    def tlv(self, tag: int) -> bytes | None:
        """The value of the first optional parameter with this tag."""
        for found, value in self.tlvs:
            if found == tag:
                return value
        return None

    def tlv_int(self, tag: int) -> int | None:
        """The same as an unsigned number (`unsigned`)."""
        return unsigned(self.tlv(tag))


@dataclass(slots=True)
class GenericNack(Pdu):
    """Refuses a PDU that cannot be answered by its own response (§4.3)."""

    command_id = 0x80000000


@dataclass(slots=True)
class Bind(Pdu):
    """What the three binds share (§4.1)."""

    system_id: SystemId = b""
    password: Password = b""
    system_type: Annotated[bytes, CString(13)] = b""
    interface_version: Byte = 0x34
    addr_ton: Byte = 0
    addr_npi: Byte = 0
    address_range: Annotated[bytes, CString(41)] = b""


@dataclass(slots=True)
class BindResp(Pdu):
    """What their responses share."""

    system_id: SystemId = b""


@dataclass(slots=True)
class BindReceiver(Bind):
    command_id = 0x00000001


@dataclass(slots=True)
class BindReceiverResp(BindResp):
    command_id = 0x80000001


@dataclass(slots=True)
class BindTransmitter(Bind):
    command_id = 0x00000002


@dataclass(slots=True)
class BindTransmitterResp(BindResp):
    command_id = 0x80000002


@dataclass(slots=True)
class BindTransceiver(Bind):
    command_id = 0x00000009


@dataclass(slots=True)
class BindTransceiverResp(BindResp):
    command_id = 0x80000009


@dataclass(slots=True)
class Outbind(Pdu):
    """The SMSC asks the ESME to bind (§4.1.7); it has no response."""

    command_id = 0x0000000B

    system_id: SystemId = b""
    password: Password = b""


@dataclass(slots=True)
class Unbind(Pdu):
    command_id = 0x00000006


@dataclass(slots=True)
class UnbindResp(Pdu):
    command_id = 0x80000006


@dataclass(slots=True)
class EnquireLink(Pdu):
    command_id = 0x00000015


@dataclass(slots=True)
class EnquireLinkResp(Pdu):
    command_id = 0x80000015


@dataclass(slots=True)
class MessagePdu(Pdu):
    """The body that submit_sm and deliver_sm share (§4.4.1, §4.6.1)."""

    service_type: ServiceType = b""
    source_addr_ton: Byte = 0
    source_addr_npi: Byte = 0
    source_addr: Address = b""
    dest_addr_ton: Byte = 0
    dest_addr_npi: Byte = 0
    destination_addr: Address = b""
    esm_class: Byte = 0
    protocol_id: Byte = 0
    priority_flag: Byte = 0
    schedule_delivery_time: Time = b""
    validity_period: Time = b""
    registered_delivery: Byte = 0
    replace_if_present_flag: Byte = 0
    data_coding: Byte = 0
    sm_default_msg_id: Byte = 0
    short_message: ShortMessage = b""

    @property
    def user_data(self) -> bytes:
        """The message's octets, UDH included, wherever the sender put them (§5.3.2.32)."""
        return self.short_message or self.tlv(Tag.MESSAGE_PAYLOAD) or b""


@dataclass(slots=True)
class SubmitSm(MessagePdu):
    command_id = 0x00000004


@dataclass(slots=True)
class IdResp(Pdu):
    """A response whose body is the SMSC's message id, or nothing when the status is not 0."""

    message_id: MessageId = b""


@dataclass(slots=True)
class SubmitSmResp(IdResp):
    command_id = 0x80000004


@dataclass(slots=True)
class DeliverSm(MessagePdu):
    command_id = 0x00000005


@dataclass(slots=True)
class DeliverSmResp(IdResp):
    """`message_id` is unused and empty (§4.6.2), but some peers fill it."""

    command_id = 0x80000005


@dataclass(slots=True)
class DataSm(Pdu):
    """A message in its `message_payload` TLV, in either direction (§4.7)."""

    command_id = 0x00000103

    service_type: ServiceType = b""
    source_addr_ton: Byte = 0
    source_addr_npi: Byte = 0
    source_addr: LongAddress = b""
    dest_addr_ton: Byte = 0
    dest_addr_npi: Byte = 0
    destination_addr: LongAddress = b""
    esm_class: Byte = 0
    registered_delivery: Byte = 0
    data_coding: Byte = 0

    @property
    def user_data(self) -> bytes:
        """The message's octets, UDH included."""
        return self.tlv(Tag.MESSAGE_PAYLOAD) or b""


@dataclass(slots=True)
class DataSmResp(IdResp):
    command_id = 0x80000103


@dataclass(slots=True)
class SubmitMulti(Pdu):
    """One message to up to 254 recipients or lists (§4.5)."""

    command_id = 0x00000021

    service_type: ServiceType = b""
    source_addr_ton: Byte = 0
    source_addr_npi: Byte = 0
    source_addr: Address = b""
    dest_addresses: Annotated[tuple[SmeAddress | DistributionList, ...], Kind.DESTINATIONS] = ()
    esm_class: Byte = 0
    protocol_id: Byte = 0
    priority_flag: Byte = 0
    schedule_delivery_time: Time = b""
    validity_period: Time = b""
    registered_delivery: Byte = 0
    replace_if_present_flag: Byte = 0
    data_coding: Byte = 0
    sm_default_msg_id: Byte = 0
    short_message: ShortMessage = b""


@dataclass(slots=True)
class SubmitMultiResp(IdResp):
    command_id = 0x80000021

    unsuccess_smes: Annotated[tuple[Failure, ...], Kind.FAILURES] = ()


@dataclass(slots=True)
class QuerySm(Pdu):
    command_id = 0x00000003

    message_id: MessageId = b""
    source_addr_ton: Byte = 0
    source_addr_npi: Byte = 0
    source_addr: Address = b""


@dataclass(slots=True)
class QuerySmResp(IdResp):
    command_id = 0x80000003

    final_date: Time = b""
    message_state: Byte = 0
    error_code: Byte = 0


@dataclass(slots=True)
class CancelSm(Pdu):
    command_id = 0x00000008

    service_type: ServiceType = b""
    message_id: MessageId = b""
    source_addr_ton: Byte = 0
    source_addr_npi: Byte = 0
    source_addr: Address = b""
    dest_addr_ton: Byte = 0
    dest_addr_npi: Byte = 0
    destination_addr: Address = b""


@dataclass(slots=True)
class CancelSmResp(Pdu):
    command_id = 0x80000008


@dataclass(slots=True)
class ReplaceSm(Pdu):
    command_id = 0x00000007

    message_id: MessageId = b""
    source_addr_ton: Byte = 0
    source_addr_npi: Byte = 0
    source_addr: Address = b""
    schedule_delivery_time: Time = b""
    validity_period: Time = b""
    registered_delivery: Byte = 0
    sm_default_msg_id: Byte = 0
    short_message: ShortMessage = b""


@dataclass(slots=True)
class ReplaceSmResp(Pdu):
    command_id = 0x80000007


@dataclass(slots=True)
class AlertNotification(Pdu):
    """A subscriber can be reached again (§4.12); it has no response."""

    command_id = 0x00000102

    source_addr_ton: Byte = 0
    source_addr_npi: Byte = 0
    source_addr: LongAddress = b""
    esme_addr_ton: Byte = 0
    esme_addr_npi: Byte = 0
    esme_addr: LongAddress = b""


PDUS: tuple[type[Pdu], ...] = (
    GenericNack,
    BindReceiver,
    BindReceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    BindTransceiver,
    BindTransceiverResp,
    Outbind,
    Unbind,
    UnbindResp,
    EnquireLink,
    EnquireLinkResp,
    SubmitSm,
    SubmitSmResp,
    DeliverSm,
    DeliverSmResp,
    DataSm,
    DataSmResp,
    SubmitMulti,
    SubmitMultiResp,
    QuerySm,
    QuerySmResp,
    CancelSm,
    CancelSmResp,
    ReplaceSm,
    ReplaceSmResp,
    AlertNotification,
)

BY_COMMAND_ID = {pdu.command_id: pdu for pdu in PDUS}

RESPONSE_TO: dict[int, type[Pdu]] = {
    command_id: BY_COMMAND_ID[command_id | RESPONSE_BIT]
    for command_id in BY_COMMAND_ID
    if command_id | RESPONSE_BIT in BY_COMMAND_ID and not command_id & RESPONSE_BIT
}
"""Request's command id → its response; outbind and alert_notification have none."""


# --- constants (chapter 5) ---------------------------------------------------------------------------


class Status(IntEnum):
    """Command statuses by name (§5.1.3)."""

    ESME_ROK = 0x00
    ESME_RINVMSGLEN = 0x01
    ESME_RINVCMDLEN = 0x02
    ESME_RINVCMDID = 0x03
    ESME_RINVBNDSTS = 0x04
    ESME_RALYBND = 0x05
    ESME_RINVPRTFLG = 0x06
    ESME_RINVREGDLVFLG = 0x07
    ESME_RSYSERR = 0x08
    ESME_RINVSRCADR = 0x0A
    ESME_RINVDSTADR = 0x0B
    ESME_RINVMSGID = 0x0C
    ESME_RBINDFAIL = 0x0D
    ESME_RINVPASWD = 0x0E
    ESME_RINVSYSID = 0x0F
    ESME_RCANCELFAIL = 0x11
    ESME_RREPLACEFAIL = 0x13
    ESME_RMSGQFUL = 0x14
    ESME_RINVSERTYP = 0x15
    ESME_RINVNUMDESTS = 0x33
    ESME_RINVDLNAME = 0x34
    ESME_RINVDESTFLAG = 0x40
    ESME_RINVSUBREP = 0x42
    ESME_RINVESMCLASS = 0x43
    ESME_RCNTSUBDL = 0x44
    ESME_RSUBMITFAIL = 0x45
    ESME_RINVSRCTON = 0x48
    ESME_RINVSRCNPI = 0x49
    ESME_RINVDSTTON = 0x50
    ESME_RINVDSTNPI = 0x51
    ESME_RINVSYSTYP = 0x53
    ESME_RINVREPFLAG = 0x54
    ESME_RINVNUMMSGS = 0x55
    ESME_RTHROTTLED = 0x58
    ESME_RINVSCHED = 0x61
    ESME_RINVEXPIRY = 0x62
    ESME_RINVDFTMSGID = 0x63
    ESME_RX_T_APPN = 0x64
    ESME_RX_P_APPN = 0x65
    ESME_RX_R_APPN = 0x66
    ESME_RQUERYFAIL = 0x67
    ESME_RINVOPTPARSTREAM = 0xC0
    ESME_ROPTPARNOTALLWD = 0xC1
    ESME_RINVPARLEN = 0xC2
    ESME_RMISSINGOPTPARAM = 0xC3
    ESME_RINVOPTPARAMVAL = 0xC4
    ESME_RDELIVERYFAILURE = 0xFE
    ESME_RUNKNOWNERR = 0xFF


def status_name(status: int) -> str:
    """`ESME_RTHROTTLED`, or `0x00000412` for one that the specification does not name."""
    try:
        return Status(status).name
    except ValueError:
        return f"0x{status:08X}"


class Tag(IntEnum):
    """Optional parameters (§5.3.2)."""

    DEST_ADDR_SUBUNIT = 0x0005
    DEST_NETWORK_TYPE = 0x0006
    DEST_BEARER_TYPE = 0x0007
    DEST_TELEMATICS_ID = 0x0008
    SOURCE_ADDR_SUBUNIT = 0x000D
    SOURCE_NETWORK_TYPE = 0x000E
    SOURCE_BEARER_TYPE = 0x000F
    SOURCE_TELEMATICS_ID = 0x0010
    QOS_TIME_TO_LIVE = 0x0017
    PAYLOAD_TYPE = 0x0019
    ADDITIONAL_STATUS_INFO_TEXT = 0x001D
    RECEIPTED_MESSAGE_ID = 0x001E
    MS_MSG_WAIT_FACILITIES = 0x0030
    PRIVACY_INDICATOR = 0x0201
    SOURCE_SUBADDRESS = 0x0202
    DEST_SUBADDRESS = 0x0203
    USER_MESSAGE_REFERENCE = 0x0204
    USER_RESPONSE_CODE = 0x0205
    SOURCE_PORT = 0x020A
    DESTINATION_PORT = 0x020B
    SAR_MSG_REF_NUM = 0x020C
    LANGUAGE_INDICATOR = 0x020D
    SAR_TOTAL_SEGMENTS = 0x020E
    SAR_SEGMENT_SEQNUM = 0x020F
    SC_INTERFACE_VERSION = 0x0210
    CALLBACK_NUM_PRES_IND = 0x0302
    CALLBACK_NUM_ATAG = 0x0303
    NUMBER_OF_MESSAGES = 0x0304
    CALLBACK_NUM = 0x0381
    DPF_RESULT = 0x0420
    SET_DPF = 0x0421
    MS_AVAILABILITY_STATUS = 0x0422
    NETWORK_ERROR_CODE = 0x0423
    MESSAGE_PAYLOAD = 0x0424
    DELIVERY_FAILURE_REASON = 0x0425
    MORE_MESSAGES_TO_SEND = 0x0426
    MESSAGE_STATE = 0x0427
    USSD_SERVICE_OP = 0x0501
    DISPLAY_TIME = 0x1201
    SMS_SIGNAL = 0x1203
    MS_VALIDITY = 0x1204
    ALERT_ON_MESSAGE_DELIVERY = 0x130C
    ITS_REPLY_TYPE = 0x1380
    ITS_SESSION_INFO = 0x1383


CONGESTION_STATE = 0x0428
"""SMPP 5, §4.8.4.18: how busy the sender is, 0 to 100 in one octet. Some who otherwise speak 3.4 send it too."""


class Ton(IntEnum):
    """Type of number (§5.2.5)."""

    UNKNOWN = 0
    INTERNATIONAL = 1
    NATIONAL = 2
    NETWORK_SPECIFIC = 3
    SUBSCRIBER = 4
    ALPHANUMERIC = 5
    ABBREVIATED = 6


class Npi(IntEnum):
    """Numbering plan (§5.2.6)."""

    UNKNOWN = 0
    ISDN = 1
    DATA = 3
    TELEX = 4
    LAND_MOBILE = 6
    NATIONAL = 8
    PRIVATE = 9
    ERMES = 10
    INTERNET = 14
    WAP = 18


class EsmClass(IntEnum):
    """Bits of esm_class (§5.2.12); the type is in the four bits of `TYPE_MASK`."""

    TYPE_MASK = 0x3C
    RECEIPT = 0x04
    DELIVERY_ACKNOWLEDGEMENT = 0x08
    USER_ACKNOWLEDGEMENT = 0x10
    CONVERSATION_ABORT = 0x18
    INTERMEDIATE_NOTIFICATION = 0x20
    UDHI = 0x40
    REPLY_PATH = 0x80


class DataCoding(IntEnum):
    """The codings of §5.2.19 that SMS uses; any other octet is kept as it is."""

    SMSC_DEFAULT = 0x00
    IA5 = 0x01
    OCTETS_2 = 0x02
    LATIN_1 = 0x03
    OCTETS_4 = 0x04
    CYRILLIC = 0x06
    HEBREW = 0x07
    UCS2 = 0x08


class MessageState(IntEnum):
    """What query_sm and receipts say of a message (§5.2.28)."""

    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8
