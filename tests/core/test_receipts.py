"""Receipts as operators write them: every word of the tables, spellings seen in the field, and noise."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chappe.core.message import Verdict
from chappe.core.receipts import (
    MESSAGE_STATES,
    MOST_FORMS,
    STATS,
    IdForm,
    Receipt,
    form_of,
    given_in,
    id_forms,
    read_receipt,
    read_state,
)

USUAL = (
    b"id:0123456789 sub:001 dlvrd:001 submit date:2401011200 done date:2401011201 stat:DELIVRD err:000 text:Votre code"
)


def read(
    text: bytes = b"",
    message_id: bytes | None = None,
    state: int | None = None,
    error: bytes | None = None,
) -> Receipt | None:
    return read_receipt(text, receipted_message_id=message_id, message_state=state, network_error_code=error)


def test_the_example_of_the_specification_is_read() -> None:
    assert read(USUAL) == Receipt("0123456789", Verdict.DELIVERED, "delivered")


# --- words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "verdict", "detail"),
    [
        ("DELIVRD", Verdict.DELIVERED, "delivered"),
        ("DELIVERED", Verdict.DELIVERED, "delivered"),
        ("EXPIRED", Verdict.EXPIRED, "expired"),
        ("DELETED", Verdict.FAILED, "deleted"),
        ("UNDELIV", Verdict.FAILED, "undelivered"),
        ("UNDELIVERABLE", Verdict.FAILED, "undelivered"),
        ("REJECTD", Verdict.FAILED, "rejected"),
        ("REJECTED", Verdict.FAILED, "rejected"),
        ("FAILED", Verdict.FAILED, "failed"),
        ("SKIPPED", Verdict.FAILED, "skipped"),
        ("ACCEPTD", None, "accepted"),
        ("ACKED", None, "accepted"),
        ("ENROUTE", None, "enroute"),
        ("BUFFRED", None, "buffered"),
        ("BUFFERED", None, "buffered"),
        ("UNKNOWN", None, "unknown"),
    ],
)
def test_each_word_has_its_verdict_in_any_case(word: str, verdict: Verdict | None, detail: str) -> None:
    for spelt in (word, word.lower(), word.title()):
        assert read(f"id:1 stat:{spelt} err:000 text:".encode()) == Receipt("1", verdict, detail)


def test_every_word_of_the_table_can_be_read_from_a_text() -> None:
    for word, (verdict, detail) in STATS.items():
        assert read(b"id:1 stat:" + word) == Receipt("1", verdict, detail)


def test_states_of_the_tlv_mean_what_the_words_mean() -> None:
    assert {state: read(message_id=b"1", state=state) for state in range(1, 10)} == {
        1: Receipt("1", None, "enroute"),
        2: Receipt("1", Verdict.DELIVERED, "delivered"),
        3: Receipt("1", Verdict.EXPIRED, "expired"),
        4: Receipt("1", Verdict.FAILED, "deleted"),
        5: Receipt("1", Verdict.FAILED, "undelivered"),
        6: Receipt("1", None, "accepted"),
        7: Receipt("1", None, "unknown"),
        8: Receipt("1", Verdict.FAILED, "rejected"),
        9: Receipt("1", Verdict.FAILED, "skipped"),
    }


def test_an_unknown_word_decides_nothing_and_is_shown() -> None:
    assert read(b"id:1 stat:Foobar err:001") == Receipt("1", None, "unread:FOOBAR")
    assert read(b"id:1 stat:ALONGSENTENCEOFTHEOPERATOR") == Receipt("1", None, "unread")
    assert read(b"id:1 sub:001") == Receipt("1", None, "unread")


def test_no_intermediate_word_gives_a_verdict_and_no_final_one_lacks_it() -> None:
    intermediate = {"accepted", "unknown", "enroute", "scheduled", "buffered"}
    for verdict, detail in [*STATS.values(), *MESSAGE_STATES.values()]:
        assert (verdict is None) == (detail in intermediate)


# --- spellings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"id:7b-01 sub:001 dlvrd:000 submit date:2401011200 done date:2401011201 stat:UNDELIV err:027 text:Bonjour",
        b"ID:7b-01 SUB:001 DLVRD:000 SUBMIT DATE:2401011200 DONE DATE:2401011201 STAT:UNDELIV ERR:027 TEXT:Bonjour",
        b"id:7b-01 submit date:2401011200 done date:2401011201 stat:UNDELIV err:027",
        b"id:7b-01 submit_date:240101120000 done_date:240101120100 stat:undeliv err:027 Text:",
        b"stat:UNDELIV err:027 done date:2401011201 id:7b-01",
        b"err:027 id:7b-01 dlvrd:000 stat:UNDELIV text:Bonjour",
        b"  id: 7b-01  stat: UNDELIV  err: 027",
        b"id:7b-01,sub:001,stat:UNDELIV,err:027,text:Bonjour",
        b"id:7b-01;stat:UNDELIV;err:027",
        b"id:7b-01\r\nstat:UNDELIV\r\nerr:027\0",
        b"id=7b-01 stat=UNDELIV err=027",
        b"message_id:7b-01 status:UNDELIV error_code:027",
        b"Delivery receipt: id:7b-01 stat:UNDELIV err:027",
        b"id:7b-01 stat:UNDELIV err:027 id:99 stat:DELIVRD err:001",
    ],
)
def test_spellings_of_the_field_say_the_same(text: bytes) -> None:
    assert read(text) == Receipt("7b-01", Verdict.FAILED, "undelivered:027")


@pytest.mark.parametrize(
    "carrier_id", ["0", "00B8BE19", "b756c4f97aa2e1e6", "a-b_c.d", "c449ab97-44f4-7b6a-f187-9e49", "é"]
)
def test_ids_are_kept_as_received(carrier_id: str) -> None:
    octets = carrier_id.encode("latin-1")
    assert read(USUAL.replace(b"0123456789", octets)) == Receipt(carrier_id, Verdict.DELIVERED, "delivered")
    assert read(USUAL, message_id=octets) == Receipt(carrier_id, Verdict.DELIVERED, "delivered")


def test_a_receipt_in_ucs2_is_read() -> None:
    text = USUAL.decode().replace("DELIVRD", "REJECTD").replace("err:000", "err:11")
    assert read(text.encode("utf-16-be")) == Receipt("0123456789", Verdict.FAILED, "rejected:11")


@pytest.mark.parametrize(
    "words", [b"stat:DELIVRD", b"id:666 stat:DELIVRD err:001", b"text:stat:DELIVRD", b" Text: id:666", b"err:001"]
)
@pytest.mark.parametrize(
    ("front", "verdict", "detail"),
    [
        (b"id:1 sub:001 dlvrd:000 submit date:1 done date:1 stat:UNDELIV err:027 ", Verdict.FAILED, "undelivered:027"),
        (b"id:1 stat:UNDELIV err: ", Verdict.FAILED, "undelivered"),
        (b"id:1 stat: err:027 ", None, "unread"),
        (b"id:1 ", None, "unread"),
    ],
)
def test_the_message_s_own_words_decide_nothing(
    front: bytes, verdict: Verdict | None, detail: str, words: bytes
) -> None:
    assert read(front + b"text:" + words) == Receipt("1", verdict, detail)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"text:id:1 stat:DELIVRD",
        b"id:",
        b"id: sub:001 stat:DELIVRD",
        b"sub:001 stat:DELIVRD",
        b"Merci!",
        b"idem:12",
    ],
)
def test_without_an_id_there_is_no_receipt(text: bytes) -> None:
    assert read(text) is None
    assert read(text, message_id=b"\0\0", state=2) is None
    assert read(text, message_id=b"", state=2) is None


def test_an_endless_id_is_none() -> None:
    assert read(b"id:" + b"7" * 256 + b" stat:DELIVRD") is None
    assert read(USUAL.replace(b"0123456789", b"7" * 256)) is None
    assert read(message_id=b"7" * 256, state=2) is None
    assert read(USUAL, message_id=b"7" * 256) == Receipt("0123456789", Verdict.DELIVERED, "delivered")


# --- TLVs --------------------------------------------------------------------------------------------


def test_tlvs_win_over_the_text() -> None:
    assert read(USUAL, message_id=b"7B\0", state=5, error=b"\x03\x00\x1b") == Receipt(
        "7B", Verdict.FAILED, "undelivered:027"
    )
    failed = USUAL.replace(b"DELIVRD err:000", b"UNDELIV err:001")
    assert read(failed, message_id=b"7B", state=2) == Receipt("7B", Verdict.DELIVERED, "delivered")
    assert read(failed, error=b"\x03\x00\x1b") == Receipt("0123456789", Verdict.FAILED, "undelivered:027")


@pytest.mark.parametrize("message_id", [b"7B", b"7B\0", b"7B\0\0\0", b" 7B \0", b"7B\0junk"])
def test_the_id_of_the_tlv_ends_at_its_nul(message_id: bytes) -> None:
    assert read(message_id=message_id, state=2) == Receipt("7B", Verdict.DELIVERED, "delivered")


@pytest.mark.parametrize("state", [0, 10, 255])
def test_a_state_that_says_nothing_leaves_the_word_to_the_text(state: int) -> None:
    assert read(USUAL, state=state) == Receipt("0123456789", Verdict.DELIVERED, "delivered")
    assert read(b"id:1", state=state) == Receipt("1", None, "unread")


def test_a_tlv_without_an_error_leaves_the_code_to_the_text() -> None:
    text = b"id:1 stat:UNDELIV err:027"
    for error in (None, b"", b"\x03\x00\x00", b"\x03\x01", b"\x03\x00\x01\x00"):
        assert read(text, error=error) == Receipt("1", Verdict.FAILED, "undelivered:027")


# --- numbers nobody has ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["1", "01", "001", "0001", "9", "009"])
@pytest.mark.parametrize("word", ["UNDELIV", "UNDELIVERABLE", "FAILED"])
def test_a_failure_with_a_not_assigned_code_bounces(word: str, code: str) -> None:
    assert read(f"id:1 stat:{word} err:{code}".encode()) == Receipt("1", Verdict.NOT_ASSIGNED, f"notAssigned:{code}")


@pytest.mark.parametrize("code", ["5", "6", "11", "13", "27", "10", "90", "100", "A1", "0x1", "1A", "00F"])
def test_other_codes_do_not_bounce(code: str) -> None:
    assert read(f"id:1 stat:UNDELIV err:{code}".encode()) == Receipt("1", Verdict.FAILED, f"undelivered:{code}")


@pytest.mark.parametrize("word", ["DELIVRD", "EXPIRED", "DELETED", "REJECTD", "ACCEPTD", "UNKNOWN"])
def test_only_a_plain_failure_bounces(word: str) -> None:
    receipt = read(f"id:1 stat:{word} err:001".encode(), error=b"\x03\x00\x01")
    assert receipt is not None
    assert receipt.verdict is not Verdict.NOT_ASSIGNED


def test_the_code_of_the_tlv_bounces_when_the_network_is_gsm() -> None:
    assert read(message_id=b"1", state=5, error=b"\x03\x00\x01") == Receipt(
        "1", Verdict.NOT_ASSIGNED, "notAssigned:001"
    )
    assert read(message_id=b"1", state=5, error=b"\x02\x00\x01") == Receipt("1", Verdict.FAILED, "undelivered:001")
    assert read(message_id=b"1", state=5, error=b"\x03\x01\x01") == Receipt("1", Verdict.FAILED, "undelivered:257")


def test_a_connector_may_read_its_own_codes() -> None:
    def read_twilio(code: int) -> Receipt | None:
        return read_receipt(
            b"id:1 stat:UNDELIV err:%03d" % code,
            receipted_message_id=None,
            message_state=None,
            network_error_code=None,
            not_assigned=frozenset({"5"}),
        )

    assert read_twilio(1) == Receipt("1", Verdict.FAILED, "undelivered:001")
    assert read_twilio(5) == Receipt("1", Verdict.NOT_ASSIGNED, "notAssigned:005")


@pytest.mark.parametrize("err", ["", "0", "000", "-1", "+1", "1.5", "1-9", "1/9", "12345678901", "1:2"])
def test_what_is_no_code_is_left_out(err: str) -> None:
    assert read(f"id:1 stat:UNDELIV err:{err}".encode()) == Receipt("1", Verdict.FAILED, "undelivered")


# --- noise -------------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        b"id:",
        b"stat:",
        b"err:",
        b"text:",
        b"sub:001",
        b" ",
        b"  ",
        b",",
        b"\0",
        b"1",
        b"7B",
        b"DELIVRD",
        b"UNDELIV",
        b"=",
        b"id",
        b"_",
    ]
)
_TEXTS = st.one_of(st.binary(max_size=200), st.lists(_PIECES, max_size=30).map(b"".join))


@given(_TEXTS, st.none() | st.binary(max_size=70), st.none() | st.integers(0, 255), st.none() | st.binary(max_size=5))
def test_any_octets_are_a_receipt_or_none(
    text: bytes, message_id: bytes | None, state: int | None, error: bytes | None
) -> None:
    receipt = read(text, message_id, state, error)
    if receipt is not None:
        assert receipt.carrier_id
        assert re.fullmatch("[a-zA-Z]+(:[A-Za-z0-9]{1,10})?", receipt.detail)


@given(
    st.permutations(["id:0123", "sub:001", "dlvrd:000", "submit date:1", "done date:2", "stat:REJECTD", "err:011"]),
    st.sampled_from([" ", "  ", ",", "; ", "\n"]),
    st.binary(max_size=40),
)
def test_the_order_of_fields_does_not_matter(fields: list[str], separator: str, words: bytes) -> None:
    text = separator.join([*fields, "text:"]).encode() + words
    assert read(text) == Receipt("0123", Verdict.FAILED, "rejected:011")


@given(
    st.from_regex(rb"[!-+\--9<-{}~]{1,12}", fullmatch=True),
    st.sampled_from([word.decode() for word in STATS] + ["NONSENSE"]),
    st.from_regex("[0-9A-Za-z]{1,12}", fullmatch=True),
)
@example(b"sub", "DELIVRD", "text")
def test_the_usual_form_and_a_shuffled_one_say_the_same(carrier_id: bytes, word: str, code: str) -> None:
    parts = [b"id:" + carrier_id, b"sub:001", b"dlvrd:001", b"submit date:1", b"done date:2"]
    parts += [b"stat:" + word.encode(), b"err:" + code.encode(), b"text:id:1 stat:DELIVRD"]
    usual = b" ".join(parts)
    assert read(usual) == read(b" " + usual) is not None


@pytest.mark.parametrize(
    "piece",
    [
        b"id:",
        b"id ",
        b"id" + b" " * 500,
        b"stat:",
        b"stat:A",
        b"err:1",
        b"err:" + b"1" * 500,
        b"a",
        b" ",
        b"message_",
        b"\0",
        b"id:7 ",
    ],
)
def test_a_long_text_is_read_in_one_go(piece: bytes) -> None:
    # A pattern that went back on its steps would not end here before the suite is killed.
    text = (piece * 70_000)[:65_535]
    receipt = read(text)
    assert receipt is None or receipt.verdict is None
    assert read(text + USUAL, message_id=b"7", state=8) is not None


# --- ids ---------------------------------------------------------------------------------------------


def test_decimal_hexadecimal_and_padded_ids_are_forms_of_each_other() -> None:
    assert id_forms("123")[:2] == ("7b", "7B")
    assert id_forms("0123")[0] == "123"
    assert "0221067780" in id_forms("d2d3a04")
    assert {"221067780", "d2d3a04", "0D2D3A04"} <= set(id_forms("0221067780"))
    assert {"B8BE19", "b8be19", "12107289"} <= set(id_forms("00B8BE19"))
    assert "123" in id_forms("0x7B")
    assert "123" in id_forms("00000000000000000123")


def test_an_id_without_letters_may_be_hexadecimal_all_the_same() -> None:
    assert id_forms("12345678")[-1:] == ("0305419896",)
    assert "305419896" in id_forms("12345678")


def test_dashes_and_case_are_forms() -> None:
    dashed, bare = "c449ab97-44f4-7b6a-f187-9e49e75e4f40", "c449ab9744f47b6af1879e49e75e4f40"
    assert set(id_forms(dashed)) == {dashed.upper(), bare, bare.upper()}
    assert set(id_forms(bare)) == {bare.upper(), dashed, dashed.upper()}
    assert id_forms("SMabcXYZ") == ("smabcxyz", "SMABCXYZ")


@pytest.mark.parametrize("carrier_id", ["", "-", "é", "١٢٣", "12\n"])
def test_what_is_no_number_and_has_no_case_has_no_forms(carrier_id: str) -> None:
    assert id_forms(carrier_id) == ()


def test_a_number_too_great_to_be_a_counter_is_only_itself() -> None:
    assert id_forms("1" * 21) == ()
    assert id_forms("9" * 5000) == ()
    assert id_forms("99999999999999999999") == ()


_SPELLINGS: list[Callable[[int], str]] = [
    str,
    lambda n: f"{n:x}",
    lambda n: f"{n:X}",
    lambda n: f"{n:08x}",
    lambda n: f"{n:010d}",
    lambda n: f"{n:020d}",
]


@given(st.integers(0, (1 << 32) - 1), st.sampled_from(_SPELLINGS), st.sampled_from(_SPELLINGS))
@example(0x12345678, _SPELLINGS[1], _SPELLINGS[0])
def test_a_receipt_in_another_usual_spelling_finds_its_message(
    number: int, answered: Callable[[int], str], received: Callable[[int], str]
) -> None:
    answer, receipt = answered(number), received(number)
    digits_only_hex = re.fullmatch("[0-9]+", f"{number:x}") is not None
    if received in _SPELLINGS[1:4] and digits_only_hex and answered is not str:
        # The likelier reading is the decimal one, and eight forms do not hold both in every width.
        return
    assert answer == receipt or answer in id_forms(receipt)


@given(st.text(max_size=40) | st.from_regex("[0-9a-fA-F-]{1,36}", fullmatch=True))
def test_forms_are_few_distinct_and_the_same_number_or_letters(carrier_id: str) -> None:
    forms = id_forms(carrier_id)
    assert len(forms) == len(set(forms)) <= MOST_FORMS
    assert carrier_id not in forms
    assert forms == id_forms(carrier_id)
    for form in forms:
        assert form
        assert _readings(form) & _readings(carrier_id)


def _readings(carrier_id: str) -> set[str]:
    """Everything one may take an id for: its letters, and the numbers it writes."""
    readings = {carrier_id.replace("-", "").lower()}
    digits = carrier_id.lower().removeprefix("0x")
    if re.fullmatch("[0-9a-f]+", digits):
        readings.add(f"number {int(digits, 16)}")
    if re.fullmatch("[0-9]+", carrier_id):
        readings.add(f"number {int(carrier_id)}")
    return readings


# --- forms by name -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reported", "form"),
    [
        ("A1", "A1", IdForm.SAME),
        ("A1", "a1", IdForm.CASE),
        ("0000000123", "123", IdForm.ZEROS),
        ("00ab", "AB", IdForm.ZEROS),
        ("0xAB", "ab", IdForm.ZEROS),
        ("12-3", "123", IdForm.DASHES),
        ("1A2B", "6699", IdForm.DECIMAL),
        ("6699", "1A2B", IdForm.HEXADECIMAL),
        ("6699", "00001a2b", IdForm.HEXADECIMAL),
        ("A1", "A2", None),
        ("f" * 21, "1", None),
        ("٣", "3", None),
    ],
)
def test_each_form_has_a_name(given: str, reported: str, form: IdForm | None) -> None:
    assert form_of(given, reported) is form


@given(st.integers(1, (1 << 64) - 1))
def test_what_is_given_in_a_form_is_written_in_it(number: int) -> None:
    reported = str(number)
    for form in IdForm:
        assert all(form_of(one, reported) is form for one in given_in(form, reported))
    assert f"{number:x}" in given_in(IdForm.DECIMAL, reported) or form_of(f"{number:x}", reported) is IdForm.SAME
    assert reported.zfill(30) in given_in(IdForm.ZEROS, reported)


@pytest.mark.parametrize(
    ("state", "error", "verdict", "detail"),
    [
        (1, 0, None, "enroute"),
        (2, 0, Verdict.DELIVERED, "delivered"),
        (2, 27, Verdict.DELIVERED, "delivered"),
        (3, 0, Verdict.EXPIRED, "expired"),
        (5, 27, Verdict.FAILED, "undelivered:027"),
        (5, 1, Verdict.NOT_ASSIGNED, "notAssigned:001"),
        (8, 1, Verdict.FAILED, "rejected:001"),
        (7, 0, None, "unknown"),
        (0, 0, None, "unread"),
        (200, 255, None, "unread"),
    ],
)
def test_what_an_operator_answers_when_it_is_asked_means_what_its_receipt_would(
    state: int, error: int, verdict: Verdict | None, detail: str
) -> None:
    assert read_state(state, error) == (verdict, detail)


def test_the_operators_own_codes_hold_for_what_it_is_asked() -> None:
    assert read_state(5, 5, not_assigned={"5"}) == (Verdict.NOT_ASSIGNED, "notAssigned:005")
    assert read_state(5, 1, not_assigned={"5"}) == (Verdict.FAILED, "undelivered:001")
