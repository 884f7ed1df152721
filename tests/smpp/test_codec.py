"""Octets to PDUs and back: every PDU from its layout, what peers get wrong, what we must not write, other codecs."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest
import smpp34
from hypothesis import given, settings
from hypothesis import strategies as st
from smpplib import smpp as smpplib  # type: ignore[import-untyped]  # the library has no types

from chappe.smpp import codec, pdus
from chappe.smpp.codec import EncodeError, PduError, SubmitTemplate, decode, encode
from chappe.smpp.pdus import (
    RESPONSE_BIT,
    CString,
    DistributionList,
    Failure,
    Kind,
    Pdu,
    SmeAddress,
    Status,
    Tag,
)

REQUESTS = [pdu for pdu in pdus.PDUS if not pdu.command_id & RESPONSE_BIT]
RESPONSES = [pdu for pdu in pdus.PDUS if pdu.command_id & RESPONSE_BIT]


# --- strategies, read off the layouts ----------------------------------------------------------------

octet = st.integers(0, 0xFF)
uint32 = st.integers(0, 0xFFFFFFFF)
tlvs = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=4).map(tuple)


def c_string(octets: int) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=octets - 1).map(lambda text: text.replace(b"\0", b"\xff"))


OF_KIND: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.BYTE: octet,
    Kind.SHORT_MESSAGE: st.binary(max_size=254),
    Kind.DESTINATIONS: st.lists(
        st.builds(SmeAddress, octet, octet, c_string(21)) | st.builds(DistributionList, c_string(21)), max_size=5
    ).map(tuple),
    Kind.FAILURES: st.lists(st.builds(Failure, octet, octet, c_string(21), uint32), max_size=5).map(tuple),
}


def valid(pdu_class: type[Pdu]) -> st.SearchStrategy[Pdu]:
    fields = {
        name: c_string(kind.octets) if isinstance(kind, CString) else OF_KIND[kind]
        for name, kind in codec.LAYOUTS[pdu_class]
    }
    return st.builds(pdu_class, command_status=uint32, sequence_number=uint32, tlvs=tlvs, **fields)


def raw(command_id: int, body: bytes, sequence_number: int = 7, status: int = 0) -> bytes:
    return struct.pack(">IIII", 16 + len(body), command_id, status, sequence_number) + body


def understood(octets: bytes) -> Pdu | PduError:
    try:
        return decode(octets)
    except PduError as error:
        return error


# --- there and back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pdu_class", pdus.PDUS)
@settings(max_examples=40)
@given(st.data())
def test_every_pdu_comes_back_as_it_was(pdu_class: type[Pdu], data: st.DataObject) -> None:
    pdu = data.draw(valid(pdu_class))
    assert decode(encode(pdu)) == pdu


def test_unknown_and_repeated_parameters_are_kept_in_order() -> None:
    everything = ((0x1400, b"ours"), (Tag.MESSAGE_STATE, b"\2"), (0x1400, b""), (0xFFFF, b"\0\0"), (0, b"zero"))
    assert decode(encode(pdus.DeliverSm(tlvs=everything))).tlvs == everything


def test_a_pdu_is_read_where_it_starts_among_others() -> None:
    first, second = encode(pdus.EnquireLink(), 1), encode(pdus.SubmitSmResp(message_id=b"42"), 2)
    stream = first + second + b"\0\0"
    assert decode(stream, len(first)) == pdus.SubmitSmResp(0, 2, (), b"42")


def test_a_refusal_with_nothing_to_say_is_a_header() -> None:
    assert encode(pdus.SubmitSmResp(Status.ESME_RTHROTTLED, 5)) == codec.encode_header(0x80000004, 0x58, 5)
    assert encode(pdus.SubmitSmResp(Status.ESME_ROK, 5)) == codec.encode_header(0x80000004, 0, 5)[:3] + bytes(
        (17, *codec.encode_header(0x80000004, 0, 5)[4:], 0)
    )


def test_a_refusal_with_only_a_parameter_keeps_it_readable() -> None:
    refusal = pdus.SubmitSmResp(Status.ESME_RSYSERR, 5, ((Tag.ADDITIONAL_STATUS_INFO_TEXT, b"disk full\0"),))
    assert decode(encode(refusal)) == refusal


@given(c_string(65), uint32, st.sampled_from(sorted(codec.ID_RESPONSES)))
def test_the_fast_way_to_say_yes_writes_the_same_octets(message_id: bytes, number: int, command_id: int) -> None:
    response = pdus.BY_COMMAND_ID[command_id](0, number, (), message_id)  # type: ignore[call-arg]  # an IdResp
    assert codec.encode_id(command_id, number, message_id) == encode(response)


@given(valid(pdus.SubmitSm), st.none() | st.integers(0, 0xFFFF), tlvs, st.booleans())
def test_a_template_writes_what_encode_writes(
    submit: pdus.SubmitSm, reference: int | None, more: tuple[pdus.Tlv, ...], own_validity: bool
) -> None:
    pattern = pdus.SubmitSm(**{name: getattr(submit, name) for name, _ in codec.LAYOUTS[pdus.SubmitSm]})
    pattern.tlvs = submit.tlvs
    if own_validity:
        pattern.validity_period = b"000001000000000R"
    body = SubmitTemplate(pattern).body(
        submit.destination_addr,
        submit.short_message,
        esm_class=submit.esm_class,
        data_coding=submit.data_coding,
        reference=reference,
        validity_period=submit.validity_period if own_validity else None,
        tlvs=more,
    )
    referred = () if reference is None else ((Tag.USER_MESSAGE_REFERENCE, reference.to_bytes(2, "big")),)
    submit.tlvs = (*submit.tlvs, *referred, *more)
    assert body == encode(submit)[16:]


# --- what peers get wrong ----------------------------------------------------------------------------


@given(st.sampled_from(pdus.PDUS), uint32, uint32, st.binary(max_size=400))
def test_whatever_the_body_a_pdu_is_read_or_refused_with_a_status(
    pdu_class: type[Pdu], status: int, number: int, body: bytes
) -> None:
    pdu = understood(raw(pdu_class.command_id, body, number, status))
    if isinstance(pdu, PduError):
        assert not pdu_class.command_id & RESPONSE_BIT
        assert (pdu.command_id, pdu.sequence_number) == (pdu_class.command_id, number)
        assert pdu.status in (Status.ESME_RINVCMDLEN, Status.ESME_RINVDESTFLAG)
    else:
        assert type(pdu) is pdu_class
        assert (pdu.command_status, pdu.sequence_number) == (status, number)


@given(
    st.sampled_from(pdus.PDUS), st.binary(max_size=60) | st.text("\0\1\5a", max_size=60).map(str.encode), st.binary()
)
def test_nothing_is_read_of_the_pdus_around(pdu_class: type[Pdu], body: bytes, around: bytes) -> None:
    octets = raw(pdu_class.command_id, body)
    alone = understood(octets)
    if isinstance(alone, PduError):
        with pytest.raises(PduError):
            decode(around + octets + around, len(around))
    else:
        assert decode(around + octets + around, len(around)) == alone


@given(uint32.filter(lambda command_id: command_id not in pdus.BY_COMMAND_ID), uint32, st.binary(max_size=40))
def test_an_unknown_command_is_refused_by_its_number(command_id: int, number: int, body: bytes) -> None:
    with pytest.raises(PduError) as refused:
        decode(raw(command_id, body, number))
    error = refused.value
    assert (error.command_id, error.sequence_number, error.status) == (command_id, number, Status.ESME_RINVCMDID)
    assert "ESME_RINVCMDID" in str(error)


@pytest.mark.parametrize("pdu_class", RESPONSES)
@settings(max_examples=20)
@given(st.data())
def test_a_response_may_stop_anywhere(pdu_class: type[Pdu], data: st.DataObject) -> None:
    whole = data.draw(valid(pdu_class))
    whole.tlvs = ()
    body = encode(whole)[16:]
    for length in range(len(body)):
        cut = decode(raw(pdu_class.command_id, body[:length]))
        assert cut.tlvs == ()
        for name, kind in codec.LAYOUTS[pdu_class]:
            if isinstance(kind, CString):
                assert getattr(whole, name).startswith(getattr(cut, name))
            elif kind is Kind.FAILURES:
                read = getattr(cut, name)
                assert getattr(whole, name)[: len(read)] == read


def test_the_failures_of_a_cut_list_are_kept() -> None:
    whole = pdus.SubmitMultiResp(0, 7, (), b"42", (Failure(1, 1, b"336", 8), Failure(1, 1, b"337", 8)))
    cut = decode(raw(whole.command_id, encode(whole)[16:-2]))
    assert cut == pdus.SubmitMultiResp(0, 7, (), b"42", (Failure(1, 1, b"336", 8),))


@pytest.mark.parametrize("pdu_class", REQUESTS)
@settings(max_examples=10)
@given(st.data())
def test_a_request_that_stops_early_is_refused_or_lacks_only_its_end(pdu_class: type[Pdu], data: st.DataObject) -> None:
    whole = data.draw(valid(pdu_class))
    whole.tlvs = ()
    body = encode(whole)[16:]
    for length in range(len(body)):
        cut = understood(raw(pdu_class.command_id, body[:length]))
        if isinstance(cut, PduError):
            assert cut.status is Status.ESME_RINVCMDLEN
            continue
        assert isinstance(cut, pdu_class)
        last, _ = codec.LAYOUTS[pdu_class][-1]
        assert getattr(whole, last).startswith(getattr(cut, last))


@pytest.mark.parametrize(
    ("pdu_class", "body", "field", "value"),
    [
        (pdus.SubmitSmResp, b"42", "message_id", b"42"),
        (pdus.BindTransceiverResp, b"operator", "system_id", b"operator"),
        (pdus.Outbind, b"operator\0secret", "password", b"secret"),
        (pdus.CancelSm, b"\0" * 5 + b"\1\1" + b"336", "destination_addr", b"336"),
    ],
)
def test_the_last_nul_may_be_missing(pdu_class: type[Pdu], body: bytes, field: str, value: bytes) -> None:
    assert getattr(decode(raw(pdu_class.command_id, body)), field) == value


def test_a_string_longer_than_its_field_is_read_whole() -> None:
    number = b"3" * 60
    octets = raw(pdus.DeliverSm.command_id, b"\0\1\1" + number + b"\0" + bytes(15))
    assert decode(octets) == pdus.DeliverSm(sequence_number=7, source_addr_ton=1, source_addr_npi=1, source_addr=number)


@given(st.sampled_from([pdus.SubmitSm, pdus.DeliverSm]), st.binary(max_size=60) | st.text("\0\1\5a", max_size=60))
def test_the_fast_way_to_read_a_message_understands_as_the_slow_one_does(
    pdu_class: type[Pdu], body: bytes | str
) -> None:
    octets = body if isinstance(body, bytes) else body.encode()
    fast = understood(raw(pdu_class.command_id, octets))
    if isinstance(fast, PduError):
        with pytest.raises(PduError) as slow:
            codec._decode_fields(pdu_class, 0, 7, octets)
        assert slow.value.status == fast.status
    else:
        assert codec._decode_fields(pdu_class, 0, 7, octets) == fast


@pytest.mark.parametrize("excess", [1, 40, 200])
def test_a_message_length_that_lies_is_clipped(excess: int) -> None:
    body = encode(pdus.DeliverSm(short_message=b"Bonjour"))[16:]
    lying = body.replace(b"\7Bonjour", bytes((7 + excess,)) + b"Bonjour")
    octets = raw(pdus.DeliverSm.command_id, lying)
    assert decode(octets + octets) == pdus.DeliverSm(sequence_number=7, short_message=b"Bonjour")


@pytest.mark.parametrize("pdu", [pdus.DeliverSm(), pdus.SubmitSmResp(), pdus.DataSm(), pdus.GenericNack()])
@pytest.mark.parametrize(
    ("trailing", "read"),
    [
        (b"\x04\x27\0\5\2", ((Tag.MESSAGE_STATE, b"\2"),)),
        (b"\x04\x27\xff\xff", ((Tag.MESSAGE_STATE, b""),)),
        (b"\x04\x27\0\1\2\x04\x24\0", ((Tag.MESSAGE_STATE, b"\2"),)),
        (b"\0", ()),
    ],
)
def test_a_parameter_that_runs_over_the_end_is_clipped(pdu: Pdu, trailing: bytes, read: tuple[pdus.Tlv, ...]) -> None:
    octets = raw(pdu.command_id, encode(pdu)[16:] + trailing)
    assert decode(octets + octets).tlvs == read


def test_an_unknown_destination_flag_is_refused_as_such() -> None:
    body = encode(pdus.SubmitMulti(dest_addresses=(DistributionList(b"all"),)))[16:]
    octets = raw(pdus.SubmitMulti.command_id, body.replace(b"\2all", b"\3all"))
    with pytest.raises(PduError) as refused:
        decode(octets)
    assert refused.value.status is Status.ESME_RINVDESTFLAG


HEADERS = [b"", b"\5\0\3\x2a\2\1", b"\6\x08\4\0\x2a\2\1", b"\xff", b"\0"]


@pytest.mark.parametrize("declared", [0, 1, 5, 6, 7, 139, 140, 159, 160, 254, 255])
@pytest.mark.parametrize("there", [0, 1, 6, 140, 255])
@pytest.mark.parametrize("payload", [None, b"", b"\5\0\3\x2a\2\1Bonjour", b"x" * 1_000])
def test_no_combination_of_length_payload_header_and_coding_is_too_odd(
    declared: int, there: int, payload: bytes | None
) -> None:
    """sm_length (true or not) x message_payload x UDHI x data_coding: OsmoSMSC aborted on some of these."""
    for message_class, udh, esm_class, data_coding in itertools.product(
        (pdus.SubmitSm, pdus.DeliverSm), HEADERS, (0, 0x40, 0x44), (0, 1, 2, 3, 4, 8, 0xF0, 0xF5, 0xFF)
    ):
        text = (udh + b"a" * there)[:there]
        trailing = b"" if payload is None else codec.encode_tlvs(((Tag.MESSAGE_PAYLOAD, payload),))
        fixed = b"\0\0\0\0\0\0\0" + bytes((esm_class, 0, 0)) + b"\0\0\0\0" + bytes((data_coding, 0, declared))
        pdu = decode(raw(message_class.command_id, fixed + text + trailing))
        assert isinstance(pdu, pdus.MessagePdu)
        assert (pdu.esm_class, pdu.data_coding) == (esm_class, data_coding)
        assert pdu.short_message == (text + trailing)[:declared]
        if declared == there:
            assert pdu.user_data == (text or payload or b"")


# --- what we must not write --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pdu",
    [
        pdus.SubmitSm(source_addr=b"3" * 21),
        pdus.SubmitSm(destination_addr=b"33\x0000"),
        pdus.SubmitSm(service_type=b"123456"),
        pdus.SubmitSm(validity_period=b"0" * 17),
        pdus.SubmitSm(short_message=b"a" * 255),
        pdus.SubmitSm(data_coding=256),
        pdus.SubmitSm(esm_class=-1),
        pdus.SubmitSm(tlvs=((0x10000, b""),)),
        pdus.SubmitSm(tlvs=((Tag.MESSAGE_PAYLOAD, b"a" * 65_536),)),
        pdus.SubmitSm(sequence_number=-1),
        pdus.SubmitSm(sequence_number=1 << 32),
        pdus.SubmitSmResp(command_status=-1),
        pdus.SubmitSmResp(message_id=b"4" * 65),
        pdus.BindTransceiver(system_id=b"s" * 16),
        pdus.BindTransceiver(password=b"p" * 9),
        pdus.BindTransceiver(interface_version=256),
        pdus.ReplaceSm(short_message=b"a" * 255),
        pdus.SubmitMulti(dest_addresses=(DistributionList(b"l"),) * 256),
        pdus.SubmitMulti(dest_addresses=(DistributionList(b"l" * 21),)),
        pdus.SubmitMulti(dest_addresses=(SmeAddress(256, 1, b"336"),)),
        pdus.SubmitMulti(dest_addresses=(SmeAddress(1, 1, b"3" * 21),)),
        pdus.SubmitMultiResp(unsuccess_smes=(Failure(1, 1, b"336", 1 << 32),)),
        pdus.SubmitMultiResp(unsuccess_smes=(Failure(1, 1, b"336", 8),) * 256),
    ],
)
def test_a_value_that_does_not_fit_is_not_written(pdu: Pdu) -> None:
    with pytest.raises(EncodeError):
        encode(pdu)


@pytest.mark.parametrize("message_id", [b"4" * 65, b"4\x002"])
def test_an_id_that_does_not_fit_is_not_written(message_id: bytes) -> None:
    with pytest.raises(EncodeError):
        codec.encode_id(0x80000004, 1, message_id)


@pytest.mark.parametrize(
    "pattern",
    [
        pdus.SubmitSm(source_addr=b"3" * 21),
        pdus.SubmitSm(service_type=b"a\0b"),
        pdus.SubmitSm(schedule_delivery_time=b"0" * 17),
        pdus.SubmitSm(validity_period=b"0" * 17),
        pdus.SubmitSm(source_addr_ton=256),
        pdus.SubmitSm(sm_default_msg_id=256),
        pdus.SubmitSm(registered_delivery=-1),
        pdus.SubmitSm(tlvs=((0x1400, b"a" * 65_536),)),
    ],
)
def test_a_pattern_that_does_not_fit_makes_no_template(pattern: pdus.SubmitSm) -> None:
    with pytest.raises(EncodeError):
        SubmitTemplate(pattern)


@pytest.mark.parametrize(
    "wrong",
    [
        {"destination_addr": b"3" * 21},
        {"destination_addr": b"33\x0000"},
        {"short_message": b"a" * 255},
        {"esm_class": 256},
        {"data_coding": -1},
        {"reference": 65_536},
        {"validity_period": b"0" * 17},
        {"validity_period": b"\0"},
        {"tlvs": ((0x10000, b""),)},
    ],
)
def test_a_template_does_not_write_what_does_not_fit(wrong: dict[str, Any]) -> None:
    template = SubmitTemplate(pdus.SubmitSm())
    with pytest.raises(EncodeError):
        template.body(**{"destination_addr": b"336", "short_message": b"", **wrong})


# --- other codecs ------------------------------------------------------------------------------------


def readable(octets: int) -> st.SearchStrategy[bytes]:
    return st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=octets - 1).map(str.encode)


@pytest.mark.parametrize(("ours", "theirs"), [(pdus.SubmitSm, smpp34.SubmitSm), (pdus.DeliverSm, smpp34.DeliverSm)])
@given(st.data())
def test_smpp34_writes_and_reads_the_same_messages(ours: type[Pdu], theirs: Any, data: st.DataObject) -> None:
    fields = {
        name: data.draw(readable(kind.octets) if isinstance(kind, CString) else OF_KIND[kind])
        for name, kind in codec.LAYOUTS[ours]
    }
    parameters = data.draw(tlvs)
    octets = encode(ours(tlvs=parameters, **fields), 7)
    as_text = {
        name: value.decode() if isinstance(value, bytes) and name != "short_message" else value
        for name, value in fields.items()
    }
    there = theirs(tlvs=[smpp34.Tlv(tag, value) for tag, value in parameters], sequence_number=7, **as_text)
    assert there.encode() == octets
    back = smpp34.decode(octets)
    assert isinstance(back, theirs)
    assert {name: getattr(back, name) for name in as_text} == as_text
    assert tuple((tlv.tag, tlv.value) for tlv in back.tlvs) == parameters


@given(st.sampled_from(pdus.PDUS).flatmap(valid))
def test_smpp34_reads_the_same_header_and_body(pdu: Pdu) -> None:
    octets = encode(pdu)
    back = smpp34.decode(octets)
    if isinstance(back, smpp34.RawPdu):
        assert (back.command_id, back.command_status) == (pdu.command_id, pdu.command_status)
        assert back.body == octets[16:]
    assert back.sequence_number == pdu.sequence_number


class SmpplibClient:
    """What smpplib wants to number its PDUs by; the octets overrule it."""

    sequence = 0

    def next_sequence(self) -> int:
        return 1


SMPPLIB_LACKS = (
    pdus.Outbind,
    pdus.SubmitMulti,
    pdus.SubmitMultiResp,
    pdus.CancelSm,
    pdus.CancelSmResp,
    pdus.ReplaceSm,
    pdus.ReplaceSmResp,
)


@pytest.mark.parametrize("pdu_class", [pdu for pdu in pdus.PDUS if pdu not in SMPPLIB_LACKS])
@settings(max_examples=30)
@given(st.data())
def test_smpplib_reads_the_same_fields(pdu_class: type[Pdu], data: st.DataObject) -> None:
    pdu = data.draw(valid(pdu_class))
    pdu.tlvs = ()
    back = smpplib.parse_pdu(encode(pdu), client=SmpplibClient())
    assert (back.status, back.sequence) == (pdu.command_status, pdu.sequence_number)
    # It leaves None where a refusal has no body, and for an empty short_message.
    for name, kind in codec.LAYOUTS[pdu_class]:
        nothing: bytes | int = 0 if kind is Kind.BYTE else b""
        assert (getattr(back, name) or nothing) == getattr(pdu, name)
