"""The PDUs' own small questions, and their constants against another library's reading of the specification."""

from __future__ import annotations

import pytest
from smpplib import consts  # type: ignore[import-untyped]  # the library has no types

from chappe.smpp import pdus
from chappe.smpp.pdus import DataSm, DeliverSm, Status, SubmitSm, Tag


def test_the_first_of_repeated_parameters_is_the_one_that_counts() -> None:
    deliver = DeliverSm(tlvs=((Tag.MESSAGE_STATE, b"\2"), (0x1400, b"ours"), (Tag.MESSAGE_STATE, b"\5")))
    assert deliver.tlv(Tag.MESSAGE_STATE) == b"\2"
    assert deliver.tlv(Tag.RECEIPTED_MESSAGE_ID) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [(b"", None), (b"\2", 2), (b"\1\0", 256), (b"\xff" * 4, 0xFFFFFFFF), (b"\0" * 5, None)],
)
def test_a_numeric_parameter_has_one_to_four_octets(value: bytes, number: int | None) -> None:
    assert DeliverSm(tlvs=((Tag.MESSAGE_STATE, value),)).tlv_int(Tag.MESSAGE_STATE) == number
    assert DeliverSm().tlv_int(Tag.MESSAGE_STATE) is None


@pytest.mark.parametrize(
    ("pdu", "octets"),
    [
        (SubmitSm(short_message=b"here"), b"here"),
        (SubmitSm(tlvs=((Tag.MESSAGE_PAYLOAD, b"there"),)), b"there"),
        (SubmitSm(short_message=b"here", tlvs=((Tag.MESSAGE_PAYLOAD, b"there"),)), b"here"),
        (SubmitSm(), b""),
        (DataSm(tlvs=((Tag.MESSAGE_PAYLOAD, b"there"),)), b"there"),
        (DataSm(), b""),
    ],
)
def test_user_data_is_found_wherever_the_sender_put_it(pdu: SubmitSm | DataSm, octets: bytes) -> None:
    assert pdu.user_data == octets


def test_a_status_is_shown_by_name_or_by_number() -> None:
    assert pdus.status_name(0x58) == "ESME_RTHROTTLED"
    assert pdus.status_name(0x412) == "0x00000412"


def test_every_request_but_two_has_a_response() -> None:
    requests = {pdu for pdu in pdus.PDUS if not pdu.command_id & pdus.RESPONSE_BIT}
    unanswered = {pdu for pdu in requests if pdu.command_id not in pdus.RESPONSE_TO}
    assert unanswered == {pdus.Outbind, pdus.AlertNotification}
    assert all(pdus.RESPONSE_TO[pdu.command_id].__name__ == f"{pdu.__name__}Resp" for pdu in requests - unanswered)


def test_statuses_are_those_of_another_library() -> None:
    theirs = {name.removeprefix("SMPP_"): value for name, value in vars(consts).items() if name.startswith("SMPP_ESME")}
    assert {status.name: status.value for status in Status} == theirs


def test_tags_are_those_of_another_library() -> None:
    assert {tag.name.lower(): tag.value for tag in Tag} == consts.OPTIONAL_PARAMS
