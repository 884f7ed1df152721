"""What a submit_sm is understood as: each field, each coding, and all that is refused, with its status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chappe.api.problems import KINDS
from chappe.core.customers import Address, Customer, CustomerId, KeptPart, SubmitId
from chappe.core.errors import Invalid
from chappe.core.message import Account, AccountId, Family, Settings
from chappe.core.text import concatenation_header, language_header
from chappe.customers.reading import (
    ESME_RINVDCS,
    GENERIC,
    MOST_SEGMENTS,
    STATUSES,
    Request,
    Unacceptable,
    Wish,
    join,
    read_submit,
    read_wish,
    send_request,
    status_of,
)
from chappe.flow.accept import MAX_VALIDITY_SECONDS
from chappe.smpp.pdus import Status, SubmitSm, Tag

NOW = 1_800_000_000_000
ACCOUNT = Account(AccountId(7), "acme", blocked=False, settings=Settings())
CUSTOMER = Customer(CustomerId(3), ACCOUNT, "shop1", False, Family.NOTIFICATION, b"salt", b"digest", NOW)


def read(customer: Customer = CUSTOMER, **fields: Any) -> Request:
    ordinary = SubmitSm(
        source_addr_ton=5,
        source_addr=b"SHOP",
        dest_addr_ton=1,
        dest_addr_npi=1,
        destination_addr=b"33612345678",
        short_message=b"Bonjour",
        registered_delivery=1,
    )
    return read_submit(replace(ordinary, **fields), customer, NOW)


def refusal(**fields: Any) -> int:
    with pytest.raises(Unacceptable) as refused:
        read(**fields).text()
    return refused.value.status


def test_ordinary_submit_is_a_wish_and_what_to_tell() -> None:
    request = read(registered_delivery=0x11, tlvs=((Tag.USER_MESSAGE_REFERENCE, b"\x12\x34"),))
    assert request.wish == Wish("+33612345678", "SHOP", 0)
    assert request.text() == "Bonjour"
    assert not request.is_part
    submit = request.submit
    assert (submit.customer, submit.asked, submit.reference, submit.at) == (3, 1, 0x1234, NOW)
    assert (submit.source, submit.destination) == (Address(5, 0, "SHOP"), Address(1, 1, "33612345678"))


@pytest.mark.parametrize(
    ("ton", "written", "number"),
    [
        (1, b"33612345678", "+33612345678"),
        (1, b"+33612345678", "+33612345678"),
        (1, b"0033612345678", "0033612345678"),
        (0, b"33612345678", "+33612345678"),
        (0, b"+33612345678", "+33612345678"),
        (0, b"0612345678", "0612345678"),
        (0, b"0033612345678", "0033612345678"),
        (2, b"612345678", "612345678"),
    ],
)
def test_type_of_number_says_how_it_is_read(ton: int, written: bytes, number: str) -> None:
    assert read(dest_addr_ton=ton, destination_addr=written).wish.number == number


@pytest.mark.parametrize(
    ("service", "default", "family", "category"),
    [
        *((name.encode(), Family.MARKETING, Family.MARKETING, None) for name in sorted(GENERIC)),
        (b"", Family.NOTIFICATION, Family.NOTIFICATION, None),
        (b"MKT", Family.NOTIFICATION, Family.MARKETING, None),
        (b"mkt", Family.NOTIFICATION, Family.MARKETING, None),
        (b"NTF", Family.MARKETING, Family.NOTIFICATION, None),
        (b"otp", Family.NOTIFICATION, Family.NOTIFICATION, "otp"),
        (b"OTP", Family.MARKETING, Family.MARKETING, "OTP"),
    ],
)
def test_service_type_is_a_family_or_a_category(
    service: bytes, default: Family, family: Family, category: str | None
) -> None:
    wish = read(replace(CUSTOMER, family=default), service_type=service).wish
    assert (wish.family, wish.category) == (family, category)


@pytest.mark.parametrize(
    ("data_coding", "octets", "text"),
    [
        (0x00, b"Ol\x05 \x00 \x1b\x65", "Olé @ €"),
        (0x01, b"a@b", "a@b"),
        (0x01, b"l\x7f \x1b\x65", "là €"),  # GSM 03.38 passed for ASCII, as node-smpp does
        (0x03, "Noël".encode("latin-1"), "Noël"),
        (0x06, "Привет".encode("iso8859-5"), "Привет"),
        (0x07, "שלום".encode("iso8859-8"), "שלום"),
        (0x08, "Bonjour 😀".encode("utf-16-be"), "Bonjour 😀"),
        (0x11, b"\x05", "é"),
        (0x19, "é".encode("utf-16-be"), "é"),
        (0xF1, b"\x05", "é"),
    ],
)
def test_text_is_read_by_its_coding(data_coding: int, octets: bytes, text: str) -> None:
    assert read(data_coding=data_coding, short_message=octets).text() == text


@pytest.mark.parametrize(
    ("data_coding", "octets"),
    [
        (0x00, b"No\xebl"),  # latin-1 where septets are promised
        (0x00, b"\x1b\x01"),  # an escape before nothing that there is
        (0x00, b"a\x1b"),
        (0x01, b"No\xebl"),
        (0x08, b"\0a\0"),
        (0x08, b"\xd8\x3d"),  # half a surrogate pair
        (0x02, b"a"),
        (0x04, b"a"),
        (0x05, b"a"),
        (0x0D, b"a"),
        (0xF4, b"a"),
        (0xFF, b"a"),
    ],
)
def test_text_that_cannot_be_read_whole_is_refused(data_coding: int, octets: bytes) -> None:
    assert refusal(data_coding=data_coding, short_message=octets) == ESME_RINVDCS


def test_payload_is_as_good_as_a_short_message() -> None:
    text = "é" * 1_000
    payload = ((Tag.MESSAGE_PAYLOAD, text.encode("utf-16-be")),)
    assert read(short_message=b"", data_coding=8, tlvs=payload).text() == text


@pytest.mark.parametrize("wide", [False, True])
def test_part_by_its_header_is_known_as_such(wide: bool) -> None:
    header = concatenation_header(200, 3, 2, wide=wide)
    part = read(esm_class=0x40, short_message=header + b"jour").part()
    assert (part.reference, part.total, part.sequence, part.octets) == (200, 3, 2, b"jour")
    assert read_wish(part.wish) == Wish("+33612345678", "SHOP", 0)


def test_part_by_parameters_is_known_as_such() -> None:
    tlvs = ((Tag.SAR_MSG_REF_NUM, b"\1\2"), (Tag.SAR_TOTAL_SEGMENTS, b"\2"), (Tag.SAR_SEGMENT_SEQNUM, b"\1"))
    part = read(tlvs=tlvs).part()
    assert (part.reference, part.total, part.sequence, part.octets) == (0x102, 2, 1, b"Bonjour")


def test_national_language_of_a_header_is_used() -> None:
    assert read(esm_class=0x40, short_message=language_header(3) + b"\x1b\x09").text() == "ç"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"destination_addr": b""}, Status.ESME_RINVDSTADR),
        ({"destination_addr": b"336\xff"}, Status.ESME_RINVDSTADR),
        ({"destination_addr": b"3" * 21}, Status.ESME_RINVDSTADR),
        ({"dest_addr_ton": 5}, Status.ESME_RINVDSTTON),
        ({"dest_addr_ton": 255}, Status.ESME_RINVDSTTON),
        ({"source_addr": "é".encode()}, Status.ESME_RINVSRCADR),
        ({"service_type": b"a b"}, Status.ESME_RINVSERTYP),
        ({"service_type": b"\xff"}, Status.ESME_RINVSERTYP),
        ({"service_type": b"toolong"}, Status.ESME_RINVSERTYP),
        ({"esm_class": 0x02}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x04}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x08}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x80}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x40, "short_message": b""}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x40, "short_message": b"\xff\0\3"}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x40, "short_message": b"\6\5\4\x0b\x84\x23\xf0a"}, Status.ESME_RINVESMCLASS),  # ports: WAP push
        ({"esm_class": 0x40, "short_message": b"\4\0\3\1\2\1a"}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x40, "short_message": b"\3\x24\1\x0aa"}, ESME_RINVDCS),  # a language that we do not have
        ({"esm_class": 0x40, "short_message": concatenation_header(1, MOST_SEGMENTS + 1, 1)}, Status.ESME_RINVMSGLEN),
        ({"replace_if_present_flag": 1}, Status.ESME_RINVREPFLAG),
        ({"sm_default_msg_id": 1}, Status.ESME_RINVDFTMSGID),
        ({"schedule_delivery_time": b"soon"}, Status.ESME_RINVSCHED),
        ({"validity_period": b"long"}, Status.ESME_RINVEXPIRY),
        ({"tlvs": ((Tag.MESSAGE_PAYLOAD, b"a"),)}, Status.ESME_ROPTPARNOTALLWD),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_field(fields: dict[str, Any], status: int) -> None:
    assert refusal(**fields) == status


@pytest.mark.parametrize("esm_class", [0x00, 0x01, 0x03])
def test_store_and_forward_is_all_there_is_to_choose(esm_class: int) -> None:
    assert read(esm_class=esm_class).text() == "Bonjour"


def test_times_are_counted_from_now_or_from_the_schedule() -> None:
    wish = read(schedule_delivery_time=b"000000010000000R", validity_period=b"000000020000000R").wish
    request = send_request(wish, "Bonjour", NOW)
    assert (request.date, request.validity_seconds) == (NOW + 3_600_000, 3_600)
    assert (
        send_request(read(validity_period=b"010000000000000R").wish, "", NOW).validity_seconds == MAX_VALIDITY_SECONDS
    )


def test_validity_that_is_over_before_it_begins_is_refused() -> None:
    wish = read(schedule_delivery_time=b"000000020000000R", validity_period=b"000000010000000R").wish
    with pytest.raises(Unacceptable) as refused:
        send_request(wish, "Bonjour", NOW)
    assert refused.value.status == Status.ESME_RINVEXPIRY


def kept(octets: bytes, data_coding: int) -> KeptPart:
    return KeptPart(SubmitId(1), octets, data_coding, 0, 0, "{}")


def test_parts_are_joined_before_they_are_read() -> None:
    smile = "😀".encode("utf-16-be")
    assert join([kept(b"\0a" + smile[:2], 8), kept(smile[2:], 8)]) == "a😀"
    assert join([kept(b"5 \x1b", 0), kept(b"\x65", 0)]) == "5 €"
    assert join([kept(b"\x05", 0), kept("ê".encode("utf-16-be"), 8), kept(b"!", 0)]) == "éê!"
    with pytest.raises(Unacceptable):
        join([kept(b"\0a" + smile[:2], 8), kept(b"a", 0)])


def test_each_code_of_a_refused_send_has_a_status() -> None:
    asked_by_a_submit = {10, 11, 12, 13, 14, 19, *range(20, 24), *range(30, 33), 45, 61, 62, 71, 76, 90, 91, 1001}
    assert set(STATUSES) == asked_by_a_submit
    assert set(STATUSES) <= {int(kind) for kind in KINDS}
    assert status_of(Invalid(12)) == Status.ESME_RX_R_APPN
    assert status_of(Invalid(9_999)) == Status.ESME_RSUBMITFAIL
