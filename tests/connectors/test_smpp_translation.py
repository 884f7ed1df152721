"""What a submission looks like on the wire, and what the operator's words mean to the journey."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.connectors.translation import (
    CAUSES,
    TREATMENTS,
    UNCERTAIN,
    Delivered,
    UnwritableError,
    Writer,
    answer_to,
    doubt_about,
    e164,
    inbound_in,
    receipt_in,
    treatment_of,
)
from chappe.core.gsm import pack
from chappe.core.message import (
    Answered,
    Attempt,
    AttemptKey,
    AttemptReport,
    DoubtBegan,
    Inbound,
    MessageId,
    ReceiptReport,
    Refused,
    Submission,
    Treatment,
    Verdict,
)
from chappe.core.text import PLAIN, WHOLE, WIDE, Cut, count_parts, with_language
from chappe.smpp import codec
from chappe.smpp.codec import HEADER
from chappe.smpp.pdus import DataSm, DeliverSm, GenericNack, Pdu, Status, SubmitSm, SubmitSmResp, Tag
from chappe.smpp.session import Cause
from chappe.smpp.udh import concatenation

NOW = 1_700_000_000_000
KEY: AttemptKey = (MessageId(7), 1, 2)


def a_submission(
    text: str = "Bonjour",
    *,
    message: int = 7,
    part: int = 1,
    attempt: int = 1,
    number: str = "+33612345678",
    sender: str | None = "CHAPPE",
    parts: int | None = None,
    lasts_ms: int = 172_800_000,
    cut: Cut = PLAIN,
) -> Submission:
    return Submission(
        Attempt(MessageId(message), part, attempt, "op", 1, NOW, 0xBEEF),
        number,
        sender,
        text,
        count_parts(text, cut) if parts is None else parts,
        NOW + lasts_ms,
        cut,
    )


def written(submission: Submission, **settings: Any) -> SubmitSm:
    body = Writer(**settings).body(submission, NOW)
    pdu = codec.decode(HEADER.pack(16 + len(body), SubmitSm.command_id, 0, 1) + body)
    assert isinstance(pdu, SubmitSm)
    return pdu


# --- submits -----------------------------------------------------------------------------------------


def test_a_short_text_leaves_whole_and_asks_for_its_receipt() -> None:
    assert written(a_submission("Ça va {bien} ?")) == SubmitSm(
        sequence_number=1,
        source_addr_ton=5,
        source_addr=b"CHAPPE",
        dest_addr_ton=1,
        dest_addr_npi=1,
        destination_addr=b"33612345678",
        validity_period=b"000002000000000R",
        registered_delivery=1,
        short_message=b"\x09a va \x1b\x28bien\x1b\x29 ?",
        tlvs=((Tag.USER_MESSAGE_REFERENCE, b"\xbe\xef"),),
    )


def test_a_text_beyond_gsm_leaves_as_ucs2() -> None:
    pdu = written(a_submission("Привет"))
    assert (pdu.data_coding, pdu.esm_class, pdu.short_message) == (8, 0, "Привет".encode("utf-16-be"))


@pytest.mark.parametrize("text", ["é" * 400, "Ж" * 150])
def test_the_parts_of_a_long_text_carry_one_reference_whatever_the_attempt(text: str) -> None:
    pdus = [written(a_submission(text, part=part, attempt=part)) for part in (1, 2, 3)]
    places = [concatenation(pdu.short_message) for pdu in pdus]
    assert [place and place[:3] for place in places] == [(7, 3, 1), (7, 3, 2), (7, 3, 3)]
    assert {pdu.esm_class for pdu in pdus} == {0x40}
    assert all(len(pdu.short_message) <= (160 if pdu.data_coding == 0 else 140) for pdu in pdus)


def test_neighbouring_messages_carry_different_references_however_their_ids_are_made() -> None:
    for step in (1, 256, 1 << 22):
        headers = {written(a_submission("é" * 200, message=(1 << 40) + i * step)).short_message[:6] for i in range(200)}
        assert len(headers) == 200


PORTUGUESE = with_language(PLAIN, "portuguese")
BEGINS = "ê" + "a" * 99


@pytest.mark.parametrize(
    ("text", "cut", "settings", "wire"),
    [
        # esm_class, data_coding, the beginning of short_message, its length, its parameters
        ("é" * 400, WIDE, {}, (0x40, 0, "06080400070302", 7 + 152, {})),
        (BEGINS, PORTUGUESE, {}, (0x40, 0, "032401031b056161", 4 + 101, {})),
        (BEGINS * 4, PORTUGUESE, {}, (0x40, 0, "080003070302240103", 9 + 149, {})),
        (BEGINS * 4, PORTUGUESE, {"sar": True}, (0x40, 0, "080003070302240103", 9 + 149, {})),
        (BEGINS * 4, Cut(WIDE | PORTUGUESE), {}, (0x40, 0, "09080400070302240103", 10 + 148, {})),
        ("é" * 400, PLAIN, {"sar": True}, (0, 0, "0505", 153, {0x20C: "0007", 0x20E: "03", 0x20F: "02"})),
        ("Ж" * 150, PLAIN, {"sar": True}, (0, 8, "0416", 134, {0x20C: "0007", 0x20E: "03", 0x20F: "02"})),
        ("é" * 9, PLAIN, {"gsm7_data_coding": 0xF1}, (0, 0xF1, "0505", 9, {})),
        ("é" * 8, PLAIN, {"gsm7": "packed"}, (0, 0, "8542a1", 7, {})),
        ("é" * 400, PLAIN, {"gsm7": "packed"}, (0x40, 0, "0500030703020a", 140, {})),
        ("é" * 9, PLAIN, {"gsm7": "latin1"}, (0, 3, "e9e9", 9, {})),
        ("é" * 400, PLAIN, {"gsm7": "latin1"}, (0x40, 3, "050003070302e9", 159, {})),
        ("é" * 9, PLAIN, {"gsm7": "latin1", "gsm7_data_coding": 0}, (0, 0, "e9e9", 9, {})),
        ("é€", PLAIN, {"gsm7": "latin1"}, (0, 0, "051b65", 3, {})),  # accepted before the operator wanted latin-1
    ],
)
def test_a_part_leaves_in_its_operators_way(
    text: str, cut: Cut, settings: dict[str, Any], wire: tuple[int, int, str, int, dict[int, str]]
) -> None:
    pdu = written(a_submission(text, cut=cut, part=min(2, count_parts(text, cut))), **settings)
    parameters = {tag: value.hex() for tag, value in pdu.tlvs if tag != Tag.USER_MESSAGE_REFERENCE}
    octets = pdu.short_message
    assert (pdu.esm_class, pdu.data_coding, octets.hex()[: len(wire[2])], len(octets), parameters) == wire


@pytest.mark.parametrize(("text", "cut"), [("5 €", PLAIN), (BEGINS, PORTUGUESE)])
def test_what_latin_1_cannot_say_is_refused_when_nothing_else_is_left(text: str, cut: Cut) -> None:
    submission = a_submission(text, cut=cut)
    assert written(submission, gsm7="latin1").data_coding == 0
    with pytest.raises(UnwritableError):
        written(submission, gsm7="latin1", gsm7_data_coding=0)


def test_a_message_that_the_operator_cuts_leaves_whole() -> None:
    pdu = written(a_submission("é" * 400, cut=WHOLE))
    assert (pdu.esm_class, pdu.short_message, pdu.tlv(Tag.MESSAGE_PAYLOAD)) == (0, b"", b"\x05" * 400)
    short = written(a_submission("é" * 160, cut=WHOLE))
    assert (short.short_message, short.tlv(Tag.MESSAGE_PAYLOAD)) == (b"\x05" * 160, None)
    with pytest.raises(UnwritableError):
        written(a_submission("é" * 400, cut=WHOLE, part=2))


def test_references_of_16_bits_differ_for_longer() -> None:
    headers = {written(a_submission("é" * 200, message=i, cut=WIDE)).short_message[:7] for i in range(2000)}
    assert len(headers) == 2000


@pytest.mark.parametrize(
    ("lasts_ms", "expected"),
    [
        (-5_000, b"000000000001000R"),
        (0, b"000000000001000R"),
        (1, b"000000000001000R"),
        (1_001, b"000000000002000R"),
        (3_599_999, b"000000010000000R"),
        (172_800_000, b"000002000000000R"),
        (29 * 86_400_000 + 86_399_000, b"000029235959000R"),
        (30 * 86_400_000, b"000100000000000R"),
        (100 * 86_400_000, b"000203000000000R"),
    ],
)
def test_the_operator_stops_trying_when_validity_ends(lasts_ms: int, expected: bytes) -> None:
    assert written(a_submission(lasts_ms=lasts_ms)).validity_period == expected


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("CHAPPE", (5, 0, b"CHAPPE")),
        ("Ma Banque", (5, 0, b"Ma Banque")),
        ("36111", (3, 0, b"36111")),
        ("12345678", (3, 0, b"12345678")),
        ("33700000000", (1, 1, b"33700000000")),
        ("+33700000000", (1, 1, b"33700000000")),
        ("0033700000000", (1, 1, b"33700000000")),
        ("0700000000", (2, 1, b"0700000000")),
        ("٣٦١١١", None),
        ("", (0, 0, b"")),
    ],
)
def test_a_sender_is_described_by_what_it_is(sender: str, expected: tuple[int, int, bytes] | None) -> None:
    if expected is None:
        with pytest.raises(UnwritableError) as refused:
            written(a_submission(sender=sender))
        assert refused.value.status is Status.ESME_RINVSRCADR
    else:
        pdu = written(a_submission(sender=sender))
        assert (pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr) == expected


def test_the_operators_settings_fill_in_and_overrule() -> None:
    pdu = written(a_submission(sender=None), sender="36111", short_code_ton=6, short_code_npi=1, references=False)
    assert (pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr, pdu.tlvs) == (6, 1, b"36111", ())
    assert (pdu.dest_addr_ton, pdu.dest_addr_npi) == (1, 1)
    pdu = written(a_submission(), destination_ton=0, destination_npi=9)
    assert (pdu.dest_addr_ton, pdu.dest_addr_npi) == (0, 9)


@pytest.mark.parametrize(
    ("submission", "status"),
    [
        (a_submission(parts=2), Status.ESME_RINVMSGLEN),
        (a_submission("é" * 200, part=3), Status.ESME_RINVMSGLEN),
        (a_submission("\ud800"), Status.ESME_RINVMSGLEN),
        (a_submission("é" * 40_000), Status.ESME_RINVMSGLEN),  # more than 255 parts
        (a_submission(number="+" + "3" * 21), Status.ESME_RINVDSTADR),
        (a_submission(number="+33é"), Status.ESME_RINVDSTADR),
        (a_submission(sender="x" * 21), Status.ESME_RINVSRCADR),
        (a_submission(sender="a\0b"), Status.ESME_RINVSRCADR),
    ],
)
def test_what_no_pdu_can_carry_is_named_as_the_operator_would(submission: Submission, status: Status) -> None:
    with pytest.raises(UnwritableError) as refused:
        written(submission)
    assert refused.value.status is status


# --- answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "fact"),
    [
        (SubmitSmResp(message_id=b"1F\xe9"), Answered(1, 2, NOW, "1F\xe9")),
        (SubmitSmResp(), Answered(1, 2, NOW, "")),
        (SubmitSmResp(0x58), Refused(1, 2, NOW, 0x58, Treatment.THROTTLED)),
        (SubmitSmResp(0x0B), Refused(1, 2, NOW, 0x0B, Treatment.ELSEWHERE)),
        (SubmitSmResp(0x45), Refused(1, 2, NOW, 0x45, Treatment.TEMPORARY, uncertain=True)),
        (SubmitSmResp(0x412), Refused(1, 2, NOW, 0x412, Treatment.TEMPORARY, uncertain=True)),
        (SubmitSmResp(0x7777), Refused(1, 2, NOW, 0x7777, Treatment.TEMPORARY, uncertain=True)),
        (GenericNack(0x04), Refused(1, 2, NOW, 0x04, Treatment.SESSION)),
        (GenericNack(0), Refused(1, 2, NOW, 0xFF, Treatment.TEMPORARY, uncertain=True)),
    ],
)
def test_a_response_becomes_a_fact(response: Pdu, fact: Answered | Refused) -> None:
    assert answer_to(KEY, response, NOW, {}) == AttemptReport(MessageId(7), fact)


def test_an_operators_own_meaning_of_a_status_overrules_the_table() -> None:
    overrides = {0x45: Treatment.PERMANENT, 0x0B: Treatment.TEMPORARY}
    assert treatment_of(0x45, overrides) is Treatment.PERMANENT
    assert treatment_of(0x0B, overrides) is Treatment.TEMPORARY
    assert treatment_of(0x58, overrides) is Treatment.THROTTLED


def test_the_table_is_the_documented_one() -> None:
    def listed(treatment: Treatment) -> set[int]:
        return {status for status in range(1, 0x500) if treatment_of(status, {}) is treatment and _documented(status)}

    assert listed(Treatment.THROTTLED) == {0x58, 0x14}
    assert listed(Treatment.TEMPORARY) == {0x08, 0x45, 0x64, 0xFF, *range(0x400, 0x500)}
    assert listed(Treatment.SESSION) == {0x04, 0x05, 0x0D, 0x0E, 0x0F}
    assert listed(Treatment.ELSEWHERE) == {*(0x0A, 0x0B, 0x15, 0x48, 0x49, 0x50, 0x51, 0x65, 0x66, 0xC1, 0xC4, 0xFE)}
    assert {0x01, 0x61, 0x62, 0xC0, 0xC2, 0xC3} <= listed(Treatment.PERMANENT)
    assert UNCERTAIN.isdisjoint(listed(Treatment.ELSEWHERE))
    assert {0x08, 0x45, 0xFF, *range(0x400, 0x500)} == UNCERTAIN


def _documented(status: int) -> bool:
    return status in TREATMENTS or status in set(Status)


def test_every_way_to_lose_an_answer_has_its_word() -> None:
    assert set(CAUSES) == set(Cause)
    assert all(word.isalpha() for word in CAUSES.values())
    fact = DoubtBegan(1, 2, NOW, "disconnected")
    assert doubt_about(KEY, Cause.CONNECTION_LOST, NOW) == AttemptReport(MessageId(7), fact)


# --- receipts ----------------------------------------------------------------------------------------

TEXT = b"id:42 sub:001 dlvrd:001 submit date:2311140000 done date:2311140001 stat:DELIVRD err:000 text:Bonjour"
TLVS = ((Tag.RECEIPTED_MESSAGE_ID, b"42\0"), (Tag.MESSAGE_STATE, b"\x02"))


def a_report(**changes: Any) -> ReceiptReport:
    values: dict[str, Any] = {
        "connector": "op",
        "carrier_id": "42",
        "at": NOW,
        "verdict": Verdict.DELIVERED,
        "detail": "delivered",
        "reference": None,
        "number": "+33612345678",
        "raw": TEXT,
    }
    return ReceiptReport(**{**values, **changes})


def a_delivery(text: bytes = TEXT, esm_class: int = 0x04, **fields: Any) -> DeliverSm:
    values: dict[str, Any] = {"source_addr": b"33612345678", "destination_addr": b"36111", **fields}
    return DeliverSm(esm_class=esm_class, short_message=text, **values)


@pytest.mark.parametrize(
    ("pdu", "report"),
    [
        (a_delivery(), a_report()),
        (a_delivery(tlvs=((Tag.USER_MESSAGE_REFERENCE, b"\x01\x02"),)), a_report(reference=0x0102)),
        (a_delivery(source_addr=b"+33612345678"), a_report()),
        (a_delivery(source_addr=b"0033612345678"), a_report()),
        (a_delivery(source_addr=b"36111"), a_report(number=None)),
        (a_delivery(source_addr=b"CHAPPE"), a_report(number=None)),
        (a_delivery(source_addr="٣٣٦١٢٣٤٥٦٧٨".encode()), a_report(number=None)),
        (a_delivery(b"", tlvs=TLVS), a_report(raw=b"")),
        (a_delivery(TEXT, 0, tlvs=TLVS), a_report()),  # the esm_class forgotten
        (a_delivery(b"", tlvs=((Tag.MESSAGE_PAYLOAD, TEXT),)), a_report()),
        (a_delivery(b"\x03\x24\x01\x01" + TEXT, 0x44), a_report(raw=b"\x03\x24\x01\x01" + TEXT)),
        (a_delivery(TEXT.decode().encode("utf-16-be"), data_coding=8), a_report(raw=TEXT.decode().encode("utf-16-be"))),
        (
            a_delivery(TEXT.replace(b"DELIVRD", b"UNDELIV")),
            a_report(verdict=Verdict.FAILED, detail="undelivered", raw=TEXT.replace(b"DELIVRD", b"UNDELIV")),
        ),
        # An intermediate notification does not end a message badly.
        (
            a_delivery(TEXT.replace(b"DELIVRD", b"UNDELIV"), 0x20),
            a_report(verdict=None, detail="undelivered", raw=TEXT.replace(b"DELIVRD", b"UNDELIV")),
        ),
        (a_delivery(TEXT, 0x20), a_report()),
        # Nothing is lost: the store parks what has no id.
        (a_delivery(b"??"), a_report(carrier_id="", verdict=None, detail="unread", raw=b"??")),
    ],
)
def test_a_receipt_is_read_wherever_it_stands(pdu: Delivered, report: ReceiptReport) -> None:
    assert receipt_in(pdu, "op", NOW) == report


def test_a_receipt_may_come_as_data_sm() -> None:
    pdu = DataSm(tlvs=TLVS, source_addr=b"33612345678", esm_class=4)
    assert receipt_in(pdu, "op", NOW) == a_report(raw=b"")


def test_an_operators_own_code_says_that_nobody_has_the_number() -> None:
    pdu = a_delivery(TEXT.replace(b"DELIVRD err:000", b"UNDELIV err:045"))
    report = receipt_in(pdu, "op", NOW, frozenset({"45"}))
    assert report is not None
    assert (report.verdict, report.detail) == (Verdict.NOT_ASSIGNED, "notAssigned:045")


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (b"UNDELIV err:053", Verdict.OPTED_OUT, "operatorStop:053"),
        (b"REJECTD err:053", Verdict.OPTED_OUT, "operatorStop:053"),
        (b"UNDELIV err:054", Verdict.FAILED, "undelivered:054"),
        (b"DELIVRD err:053", Verdict.DELIVERED, "delivered"),
        (b"EXPIRED err:053", Verdict.EXPIRED, "expired"),
    ],
)
def test_an_operators_own_code_says_that_the_person_wrote_stop(said: bytes, verdict: Verdict, detail: str) -> None:
    pdu = a_delivery(TEXT.replace(b"DELIVRD err:000", said), 4)
    report = receipt_in(pdu, "op", NOW, stop_codes=frozenset({"53"}))
    assert report is not None
    assert (report.verdict, report.detail) == (verdict, detail)


@pytest.mark.parametrize(("esm_class", "tlvs"), [(0x00, ()), (0x08, TLVS), (0x10, TLVS)])
def test_a_person_may_write_what_looks_like_a_receipt(esm_class: int, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    assert receipt_in(a_delivery(TEXT, esm_class, tlvs=tlvs), "op", NOW) is None


# --- messages from people ----------------------------------------------------------------------------


def an_inbound(octets: bytes, **changes: Any) -> Inbound:
    values: dict[str, Any] = {"number": "+33612345678", "recipient": "36111", "at": NOW, "data_coding": 0}
    return Inbound(connector="op", octets=octets, **{**values, **changes})


SAR = ((Tag.SAR_MSG_REF_NUM, b"\x01\x02"), (Tag.SAR_TOTAL_SEGMENTS, b"\x03"), (Tag.SAR_SEGMENT_SEQNUM, b"\x02"))


@pytest.mark.parametrize(
    ("pdu", "inbound"),
    [
        (a_delivery(b"STOP", 0), an_inbound(b"STOP")),
        (a_delivery(b"STOP", 0, source_addr=b"0033612345678"), an_inbound(b"STOP")),
        (a_delivery(b"Hi", 0, source_addr=b"Info\xe9"), an_inbound(b"Hi", number="Info\xe9")),
        (a_delivery(b"Hi", 0, source_addr=b"36222"), an_inbound(b"Hi", number="36222")),
        (a_delivery(b"\0H\0i", 0, data_coding=8), an_inbound(b"\0H\0i", data_coding=8)),
        (
            a_delivery(b"\x05\x00\x03\x2a\x03\x02oui", 0x40),
            an_inbound(b"oui", reference=0x2A, total=3, sequence=2),
        ),
        (
            a_delivery(b"\x06\x08\x04\x12\x34\x03\x02oui", 0x40),
            an_inbound(b"oui", reference=0x1234, total=3, sequence=2),
        ),
        (a_delivery(b"oui", 0, tlvs=SAR), an_inbound(b"oui", reference=0x0102, total=3, sequence=2)),
        (
            a_delivery(b"\x06\x05\x04\x15\x81\x00\x00oui", 0x40, tlvs=SAR),
            an_inbound(b"oui", reference=0x0102, total=3, sequence=2),
        ),
        (a_delivery(b"oui", 0, tlvs=(*SAR[:2], (Tag.SAR_SEGMENT_SEQNUM, b"\x04"))), an_inbound(b"oui")),
        (a_delivery(b"\xffoui", 0x40), an_inbound(b"\xffoui")),  # a header that lies is text
        (a_delivery(b"", 0x40), an_inbound(b"")),
        (
            DataSm(
                source_addr=b"33612345678",
                destination_addr=b"36111",
                tlvs=((Tag.MESSAGE_PAYLOAD, b"oui"),),
                data_coding=3,
            ),
            an_inbound(b"oui", data_coding=3),
        ),
    ],
)
def test_a_message_keeps_its_octets_and_its_place(pdu: Delivered, inbound: Inbound) -> None:
    assert receipt_in(pdu, "op", NOW) is None
    assert inbound_in(pdu, "op", NOW) == inbound


@pytest.mark.parametrize(
    ("pdu", "ways", "inbound"),
    [
        (
            a_delivery(b"\x03\x24\x01\x03\x1b\x05", 0x40),
            {},
            an_inbound("ê".encode("utf-16-be"), data_coding=8),
        ),
        (
            a_delivery(b"\x08\x25\x01\x01\x00\x03\x2a\x02\x01\x07", 0x40),
            {},
            an_inbound("ı".encode("utf-16-be"), data_coding=8, reference=0x2A, total=2, sequence=1),
        ),
        # A language means nothing to UCS-2.
        (a_delivery(b"\x03\x24\x01\x03\0A", 0x40, data_coding=8), {}, an_inbound(b"\0A", data_coding=8)),
        (a_delivery(b"oui", 0, data_coding=1), {"gsm7_data_coding": 1}, an_inbound(b"oui")),
        (a_delivery(b"caf\xe9", 0), {"gsm7": "latin1", "gsm7_data_coding": 0}, an_inbound(b"caf\xe9", data_coding=3)),
        (a_delivery(pack(b"STOP 1"), 0), {"gsm7": "packed"}, an_inbound(b"STOP 1")),
        (
            a_delivery(pack(b"\x1b\x05", b"\x03\x24\x01\x03"), 0x40),
            {"gsm7": "packed"},
            an_inbound("ê".encode("utf-16-be"), data_coding=8),
        ),
        (a_delivery(b"\0A", 0, data_coding=8), {"gsm7": "packed"}, an_inbound(b"\0A", data_coding=8)),
        (a_delivery(b"caf\xe9", 0, data_coding=3), {"gsm7": "packed"}, an_inbound(b"caf\xe9", data_coding=3)),
    ],
)
def test_a_message_is_read_in_its_operators_way(pdu: Delivered, ways: dict[str, Any], inbound: Inbound) -> None:
    assert inbound_in(pdu, "op", NOW, **ways) == inbound


@pytest.mark.parametrize(
    "address", [b"", b"+", b"0", b"0612345678", b"+0612345678", b"123456", b"1" * 16, b"33612345678\n"]
)
def test_what_cannot_be_an_international_number_is_not_made_one(address: bytes) -> None:
    assert e164(address) is None


@given(
    st.builds(
        DeliverSm,
        source_addr=st.binary(max_size=20),
        destination_addr=st.binary(max_size=20),
        esm_class=st.integers(0, 255),
        data_coding=st.integers(0, 255),
        short_message=st.binary(max_size=80) | st.just(TEXT),
        tlvs=st.lists(st.tuples(st.sampled_from(list(Tag)), st.binary(max_size=8)), max_size=6).map(tuple),
    )
)
def test_whatever_an_operator_brings_becomes_one_report(pdu: DeliverSm) -> None:
    report = receipt_in(pdu, "op", NOW)
    if report is not None:
        assert report.raw == pdu.user_data
    else:
        inbound = inbound_in(pdu, "op", NOW)
        assert 1 <= inbound.sequence <= inbound.total
        assert pdu.user_data.endswith(inbound.octets)
