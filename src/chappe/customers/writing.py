"""What a customer is told, as deliver_sm: receipts in the words of appendix B, and what people write. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from chappe.core.customers import Address, Answer, Receipt
from chappe.core.lifecycle import CANCELLED
from chappe.core.message import Delivery, Message, State
from chappe.core.text import Alphabet, concatenation_header, encode, segment
from chappe.customers.times import receipt_date
from chappe.smpp.codec import MAX_SHORT_MESSAGE
from chappe.smpp.pdus import DataCoding, DeliverSm, EsmClass, MessageState, Npi, Tag, Tlv, Ton

STATS: Mapping[MessageState, bytes] = {
    MessageState.ENROUTE: b"ENROUTE",
    MessageState.DELIVERED: b"DELIVRD",
    MessageState.EXPIRED: b"EXPIRED",
    MessageState.DELETED: b"DELETED",
    MessageState.UNDELIVERABLE: b"UNDELIV",
    MessageState.ACCEPTED: b"ACCEPTD",
    MessageState.UNKNOWN: b"UNKNOWN",
    MessageState.REJECTED: b"REJECTD",
}
"""message_state (SMPP 3.4, §5.2.28) → `stat` (appendix B; ENROUTE is not in it, and only asked for)."""

CAUSES: Mapping[str, MessageState] = {
    "expired": MessageState.EXPIRED,
    # Nothing was heard within the time for receipts: to a customer the same.
    "unknown": MessageState.EXPIRED,
    CANCELLED: MessageState.DELETED,
    "deleted": MessageState.DELETED,
    "refused": MessageState.REJECTED,
    "rejected": MessageState.REJECTED,
    "unsubscribed": MessageState.REJECTED,
    "operatorStop": MessageState.REJECTED,
}
"""The cause of an error, up to its colon → what a receipt says of it; any other: undeliverable."""

_UNKNOWN_SUBSCRIBER = 1
"""`err` of a number that nobody has: GSM 09.02's. Of an error it is the number in its cause; 0: there is none."""


def message_state(state: State, cause: str | None) -> MessageState:
    """Of the end of a message."""
    match state:
        case State.DELIVERED:
            return MessageState.DELIVERED
        case State.BOUNCED:
            return MessageState.UNDELIVERABLE
    # An error without a cause is one that a late receipt has disproved since: it was presumed lost.
    return MessageState.EXPIRED if cause is None else CAUSES.get(cause.partition(":")[0], MessageState.UNDELIVERABLE)


def asked_state(message: Message) -> tuple[MessageState, int | None, int]:
    """What query_sm is answered: state, since when if it is an end, and the error's number."""
    match message.delivery:
        case Delivery.SUBMITTED:
            return MessageState.ACCEPTED, None, 0
        case Delivery.SENT:
            return MessageState.ENROUTE, None, 0
        case Delivery.DELIVERED:
            return MessageState.DELIVERED, message.delivered_at, 0
        case Delivery.BOUNCED:
            return MessageState.UNDELIVERABLE, message.bounced_at, _UNKNOWN_SUBSCRIBER
        case Delivery.ERROR | Delivery.PRESUMED_LOST:
            state = message_state(State.ERROR, message.cause)
            return state, message.error_at, error_number(message.cause)


def error_number(cause: str | None) -> int:
    """The three digits of `err`."""
    found = re.search("[0-9]+", (cause or "").partition(":")[2])
    number = int(found[0]) if found else 0
    return number if number <= 999 else 0


def receipt(telling: Receipt, *, tlvs: bool) -> DeliverSm:
    """`tlvs`: the customer speaks 3.4, in which there are any."""
    state = message_state(telling.state, telling.cause)
    error = _UNKNOWN_SUBSCRIBER if telling.state is State.BOUNCED else error_number(telling.cause)
    id_ = b"%d" % telling.submit
    parameters: tuple[Tlv, ...] = (
        (Tag.RECEIPTED_MESSAGE_ID, id_ + b"\0"),
        (Tag.MESSAGE_STATE, bytes((state,))),
    )
    if telling.reference is not None:
        parameters += ((Tag.USER_MESSAGE_REFERENCE, telling.reference.to_bytes(2, "big")),)
    source, destination = telling.destination, telling.source
    return DeliverSm(
        tlvs=parameters if tlvs else (),
        source_addr_ton=source.ton,
        source_addr_npi=source.npi,
        source_addr=source.digits.encode("ascii"),
        dest_addr_ton=destination.ton,
        dest_addr_npi=destination.npi,
        destination_addr=destination.digits.encode("ascii"),
        esm_class=EsmClass.RECEIPT,
        short_message=b"id:%b sub:001 dlvrd:%03d submit date:%b done date:%b stat:%b err:%03d text:%b"
        % (
            id_,
            state is MessageState.DELIVERED,
            receipt_date(telling.submitted_at),
            receipt_date(telling.at),
            STATS[state],
            error,
            telling.text.encode("ascii", "replace"),
        ),
    )


def answer(telling: Answer) -> list[DeliverSm]:
    """What a person wrote; a long text in parts with a header."""
    whole = segment(telling.text)
    source, destination = _address(telling.number), _address(telling.recipient)
    pattern = DeliverSm(
        source_addr_ton=source.ton,
        source_addr_npi=source.npi,
        source_addr=source.digits.encode("ascii"),
        dest_addr_ton=destination.ton,
        dest_addr_npi=destination.npi,
        destination_addr=destination.digits.encode("ascii"),
        data_coding=DataCoding.UCS2 if whole.alphabet is Alphabet.UCS2 else DataCoding.SMSC_DEFAULT,
    )
    parts = [encode(part, whole.alphabet)[:MAX_SHORT_MESSAGE] for part in whole.parts[:_MOST_PARTS]]
    if len(parts) == 1:
        return [replace(pattern, short_message=parts[0])]
    # The same for all tries, so that a receiver joins a part that comes again with the others.
    return [
        replace(
            pattern,
            esm_class=EsmClass.UDHI,
            short_message=concatenation_header(telling.id % 256, len(parts), number) + part,
        )
        for number, part in enumerate(parts, 1)
    ]


_MOST_PARTS = 255


def _address(written: str) -> Address:
    """Of a person or a short code, in a form that fits deliver_sm."""
    digits = written.encode("ascii", "replace").decode()[:20]
    if re.fullmatch(r"\+[0-9]{1,19}", digits):
        return Address(Ton.INTERNATIONAL, Npi.ISDN, digits[1:])
    if re.fullmatch("[0-9]{1,8}", digits):
        return Address(Ton.NETWORK_SPECIFIC, Npi.UNKNOWN, digits)
    if re.fullmatch("[0-9]{1,20}", digits):
        return Address(Ton.UNKNOWN, Npi.ISDN, digits)
    return Address(Ton.ALPHANUMERIC, Npi.UNKNOWN, digits)
