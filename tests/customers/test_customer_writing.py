"""Receipts and replies as customers get them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chappe.connectors.translation import inbound_in, receipt_in
from chappe.core.customers import Address, Answer, Receipt, SubmitId, TellingId
from chappe.core.message import State, Verdict
from chappe.core.replies import join
from chappe.customers.writing import STATS, answer, error_number, message_state, receipt
from chappe.smpp import codec
from chappe.smpp.pdus import DeliverSm, MessageState, Tag

AT = 1_800_000_000_000
RECEIPT = Receipt(
    TellingId(1),
    0,
    SubmitId(42),
    Address(5, 0, "SHOP"),
    Address(1, 1, "33612345678"),
    0x1234,
    AT,
    State.DELIVERED,
    None,
    AT + 61_000,
    "Bonjour",
)
ANSWER = Answer(TellingId(300), 0, "+33612345678", "36111", "Merci", AT)


def sent(pdu: DeliverSm) -> DeliverSm:
    """As it comes out at the other end."""
    read = codec.decode(codec.encode(pdu))
    assert isinstance(read, DeliverSm)
    return read


def test_receipt_is_written_as_appendix_b_has_it() -> None:
    assert sent(receipt(RECEIPT, tlvs=True)) == DeliverSm(
        tlvs=(
            (Tag.RECEIPTED_MESSAGE_ID, b"42\0"),
            (Tag.MESSAGE_STATE, b"\2"),
            (Tag.USER_MESSAGE_REFERENCE, b"\x12\x34"),
        ),
        source_addr_ton=1,
        source_addr_npi=1,
        source_addr=b"33612345678",
        dest_addr_ton=5,
        destination_addr=b"SHOP",
        esm_class=4,
        short_message=b"id:42 sub:001 dlvrd:001 submit date:2701150800 done date:2701150801 stat:DELIVRD err:000 "
        b"text:Bonjour",
    )
    assert receipt(RECEIPT, tlvs=False).tlvs == ()


@pytest.mark.parametrize(
    ("state", "cause", "stat", "error"),
    [
        (State.DELIVERED, None, MessageState.DELIVERED, 0),
        (State.BOUNCED, "notAssigned:001", MessageState.UNDELIVERABLE, 1),
        (State.ERROR, None, MessageState.EXPIRED, 0),
        (State.ERROR, "expired", MessageState.EXPIRED, 0),
        (State.ERROR, "unknown", MessageState.EXPIRED, 0),
        (State.ERROR, "cancelled", MessageState.DELETED, 0),
        (State.ERROR, "refused:11", MessageState.REJECTED, 11),
        (State.ERROR, "refused:1025", MessageState.REJECTED, 0),
        (State.ERROR, "unsubscribed", MessageState.REJECTED, 0),
        (State.ERROR, "operatorStop:412", MessageState.REJECTED, 412),
        (State.ERROR, "rejected:11", MessageState.REJECTED, 11),
        (State.ERROR, "undelivered:027", MessageState.UNDELIVERABLE, 27),
        (State.ERROR, "anything else", MessageState.UNDELIVERABLE, 0),
    ],
)
def test_receipt_says_what_became_of_it(state: State, cause: str | None, stat: MessageState, error: int) -> None:
    pdu = receipt(replace(RECEIPT, state=state, cause=cause), tlvs=True)
    assert pdu.tlv_int(Tag.MESSAGE_STATE) == stat == message_state(state, cause)
    assert b"stat:%b err:%03d " % (STATS[stat], error) in pdu.short_message


def test_error_number_has_three_digits() -> None:
    assert [error_number(cause) for cause in (None, "x", "x:", "x:7", "x:999", "x:1000", "x:a12b")] == [
        0,
        0,
        0,
        7,
        999,
        0,
        12,
    ]


def test_our_own_connector_reads_our_receipts() -> None:
    report = receipt_in(sent(receipt(RECEIPT, tlvs=True)), "chappe", AT)
    assert report is not None
    assert (report.carrier_id, report.verdict, report.reference, report.number) == (
        "42",
        Verdict.DELIVERED,
        0x1234,
        "+33612345678",
    )


@pytest.mark.parametrize(
    "text", ["Merci", "Ça va ? 😀", "a" * 161, "😀 " * 100, "é" * 2_000, "", "\N{SYMBOL FOR NULL}"]
)
def test_reply_of_any_length_comes_whole(text: str) -> None:
    parts = [inbound_in(sent(pdu), "chappe", AT) for pdu in answer(replace(ANSWER, text=text))]
    assert join(parts) == text
    assert {(part.number, part.recipient, part.reference) for part in parts} == {
        ("+33612345678", "36111", 300 % 256 if len(parts) > 1 else 0)
    }


def test_reply_that_comes_again_has_the_same_parts() -> None:
    long = replace(ANSWER, text="a" * 400)
    assert answer(long) == answer(replace(long, tries=3))


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("+33612345678", (1, 1, b"33612345678")),
        ("36111", (3, 0, b"36111")),
        ("33712345678", (0, 1, b"33712345678")),
        ("SHOP", (5, 0, b"SHOP")),
        ("Société", (5, 0, b"Soci?t?")),
        ("x" * 30, (5, 0, b"x" * 20)),
    ],
)
def test_address_that_was_written_to_is_described(written: str, address: tuple[int, int, bytes]) -> None:
    [pdu] = answer(replace(ANSWER, recipient=written))
    assert (pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr) == address
