"""Contacts read from rows and from files, cut anywhere."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core import contacts
from chappe.core.contacts import (
    BLOCK,
    MAX_COLUMNS,
    MAX_LINE,
    MAX_LINES,
    SEPARATORS,
    TEL_TOO,
    Batch,
    Column,
    ContactFile,
    ContactRow,
    Home,
    RefusedRow,
    RowProblem,
    read_header,
    read_rows,
)
from chappe.core.errors import Invalid
from chappe.core.numbers import NumberError, PhoneNumber, parse_mobile
from chappe.core.personalise import FieldType, ValueProblem

ZOE = PhoneNumber("+33600000001")
ANA = PhoneNumber("+33600000002")
BIRTHDAY = Column("Naissance", FieldType.DATE, "dd/MM/yyyy")


def read(*pieces: bytes, fields: Iterable[Column] = (), home: Home | None = None) -> tuple[ContactFile, Batch]:
    """The file and everything in it as one batch."""
    file = ContactFile(fields, home)
    whole = Batch()
    for batches in (*map(file.feed, pieces), file.finish()):
        for batch in batches:
            whole.accepted += batch.accepted
            whole.refused += batch.refused
    return file, whole


def contacts_of(octets: bytes) -> list[tuple[PhoneNumber, list[str]]]:
    _, batch = read(octets)
    assert batch.refused == []
    return [(row.number, row.values) for row in batch.accepted]


def refusal_of_file(octets: bytes) -> tuple[int, str | None]:
    with pytest.raises(Invalid) as refusal:
        read(octets)
    return refusal.value.code, refusal.value.field


# --- the header ----------------------------------------------------------------------------------------


def test_the_header_names_the_columns_and_their_types() -> None:
    header = read_header(["Prénom", "", "tel", " NAISSANCE ", None], [BIRTHDAY], synonyms=False)
    assert (header.tel, header.tel_name, header.width) == (2, "tel", 5)
    assert header.columns == (Column("Prénom"), BIRTHDAY)
    assert header.positions == (0, 3)


@pytest.mark.parametrize("name", ["tel", "TEL", " Tel "])
def test_the_contracts_column_is_tel(name: str) -> None:
    assert read_header(["nom", name], [], synonyms=False).tel == 1


@pytest.mark.parametrize("cells", [[], ["nom"], ["telephone"], ["0600000001", "Zoé"], [None, 5, ["tel"]]])
def test_json_without_tel_is_refused(cells: list[object]) -> None:
    with pytest.raises(Invalid) as refusal:
        read_header(cells, [], synonyms=False)
    assert refusal.value.code == 75


@pytest.mark.parametrize(
    "name",
    ["Téléphone", "Tél.", "N° de téléphone", "Téléphone portable", "Mobile 1", "NUMÉRO", "phone_number", *TEL_TOO],
)
def test_a_file_may_call_the_number_as_people_do(name: str) -> None:
    assert read_header(["nom", name], [], synonyms=True).tel == 1


def test_a_mobile_goes_before_a_telephone_and_tel_before_both() -> None:
    assert read_header(["Téléphone", "Mobile"], [], synonyms=True).tel == 1
    header = read_header(["Téléphone", "Mobile", "Tel"], [], synonyms=True)
    assert (header.tel, [column.name for column in header.columns]) == (2, ["Téléphone", "Mobile"])


@pytest.mark.parametrize(
    ("cells", "code", "field"),
    [
        (["tel", "nom", "NOM "], 1001, "NOM"),
        (["tel", "rich_message"], 1001, "rich_message"),
        (["tel", "a\x00b"], 1001, "a\x00b"),
        (["tel", "n" * 501], 1001, "n" * 501),
        (["tel"] * (MAX_COLUMNS + 1), 17, None),
    ],
)
def test_headers_that_cannot_be(cells: list[object], code: int, field: str | None) -> None:
    with pytest.raises(Invalid) as refusal:
        read_header(cells, [], synonyms=False)
    assert (refusal.value.code, refusal.value.field) == (code, field)


# --- rows ----------------------------------------------------------------------------------------------


def test_json_rows_become_contacts_or_refusals_with_their_reason() -> None:
    header = read_header(["tel", "Prénom", "Naissance"], [BIRTHDAY], synonyms=False)
    rows: list[object] = [
        ["0600000001", "Zoé", "1/2/1980"],
        [33600000002, None, "1980-02-01"],
        ["0600000001"],
        "0600000001",
        ["06", "Zoé"],
        [None, "Zoé"],
        ["0142685300"],
        ["+447911123456"],
        ["+33836123456"],
        [True],
        [10**5000],
        ["0600000001", "Zoé", "hier"],
        ["0600000001", ["Zoé"]],
        ["0600000001", "Zo\ufffd"],
        ["0600000001", "Zoé", "", "", None, "x"],
        ["0600000001", "Zoé", "", "", None, " "],
        [None, "", " "],
        [],
    ]
    batch = read_rows(header, rows, Home())
    assert batch.accepted == [
        ContactRow(2, ZOE, ["Zoé", "01/02/1980"]),
        ContactRow(3, ANA, ["", "01/02/1980"]),
        ContactRow(4, ZOE, ["", ""]),
        ContactRow(17, ZOE, ["Zoé", ""]),
    ]
    number = RowProblem.NUMBER
    assert batch.refused == [
        RefusedRow(5, 1001, RowProblem.NOT_A_ROW),
        RefusedRow(6, 11, number, "tel"),
        RefusedRow(7, 10, number, "tel"),
        RefusedRow(8, 19, number, "tel"),
        RefusedRow(9, 91, number, "tel"),
        RefusedRow(10, 90, number, "tel"),
        RefusedRow(11, 11, number, "tel"),
        RefusedRow(12, 11, number, "tel"),
        RefusedRow(13, 1001, ValueProblem.NOT_A_DATE, "Naissance"),
        RefusedRow(14, 1001, ValueProblem.NOT_TEXT, "Prénom"),
        RefusedRow(15, 1001, ValueProblem.CHARACTERS, "Prénom"),
        RefusedRow(16, 1001, RowProblem.CELLS),
    ]


def test_numbers_are_read_as_the_account_reads_them() -> None:
    header = read_header(["tel"], [], synonyms=False)
    batch = read_rows(header, [["0470123456"], ["+33600000001"]], Home("BE", international=True), first=10)
    assert [(row.line, row.number) for row in batch.accepted] == [(10, "+32470123456"), (11, ZOE)]


@pytest.mark.parametrize(
    "written",
    [
        *("0600000001", "+33600000001", "0033600000001", "06 00 00 00 01", "06.00.00.00.01", "06-00-00-00-01"),
        *("600000001", "33600000001", "'0600000001", '="0600000001"', "06\u00a000\u202f000001", " 0600000001 "),
    ],
)
def test_numbers_as_spreadsheets_leave_them(written: str) -> None:
    header = read_header(["tel"], [], synonyms=False)
    assert read_rows(header, [[written]], Home()).accepted == [ContactRow(2, ZOE, [])]


def number_of(raw: str) -> PhoneNumber | int:
    try:
        return parse_mobile(raw)
    except NumberError as error:
        return error.code


@given(st.from_regex(r"(?:0|33|\+33|0033)?[67][0-9]{7,9}", fullmatch=True), st.sampled_from(["", " ", ".", "-"]))
def test_the_short_cuts_read_as_the_parser_does(digits: str, separator: str) -> None:
    raw = separator.join(digits)
    batch = read_rows(read_header(["tel"], [], synonyms=False), [[raw]], Home())
    found = batch.accepted[0].number if batch.accepted else batch.refused[0].code
    assert found == number_of(raw)


# --- files: separators, quotes, ends of lines ------------------------------------------------------------


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_ends_of_lines_are_found_out(separator: str, end: str) -> None:
    lines = [f"nom{separator}tel", f'"Zoé, dite ;|\t"{separator}0600000001', f"Ana{separator}0600000002", ""]
    file, batch = read(end.join(lines).encode())
    assert file.separator == separator
    assert batch == Batch([ContactRow(2, ZOE, ["Zoé, dite ;|"]), ContactRow(3, ANA, ["Ana"])])


def test_the_separator_is_the_one_that_makes_the_most_columns() -> None:
    file, _ = read(b'tel;"a,b";"c|d,e"\n')
    assert file.separator == ";"
    file, _ = read(b'tel,"a;b",c\n')
    assert file.separator == ","


@pytest.mark.parametrize("octets", [b"tel\n0600000001\n0600000002", b"\n \r\ntel\n0600000001\n\n\n0600000002\n\n"])
def test_one_column_is_enough_and_blank_lines_are_nothing(octets: bytes) -> None:
    assert contacts_of(octets) == [(ZOE, []), (ANA, [])]


def test_the_first_line_of_a_spreadsheet_may_say_the_separator() -> None:
    file, batch = read(b"sep=,\r\ntel,nom\r\n0600000001,Zo\xc3\xa9\r\n")
    assert file.separator == ","
    assert batch == Batch([ContactRow(3, ZOE, ["Zoé"])])


def test_rows_of_separators_only_are_nothing() -> None:
    assert contacts_of(b"tel;nom;\n0600000001;a;\n;;\n;;;;;\n ; ;\n") == [(ZOE, ["a"])]


def test_cells_in_quotes_keep_separators_quotes_and_lines() -> None:
    octets = b'tel;adresse;nom\n0600000001;"1; rue ""A""\r\nParis";Zoe\n0600000002;5" de pluie;Ana\n'
    _, batch = read(octets)
    assert batch.accepted == [
        ContactRow(2, ZOE, ['1; rue "A"\nParis', "Zoe"]),
        ContactRow(4, ANA, ['5" de pluie', "Ana"]),
    ]
    assert batch.refused == []


def test_a_header_in_quotes_may_have_lines_of_its_own() -> None:
    file, batch = read(b'"tel";"pr\xc3\xa9nom\nusuel"\n0600000001;Zoe\n')
    assert file.header is not None
    assert [column.name for column in file.header.columns] == ["prénom\nusuel"]
    assert batch.accepted == [ContactRow(3, ZOE, ["Zoe"])]


def test_more_cells_than_columns_are_a_separator_out_of_place() -> None:
    _, batch = read(b"tel,nom\n0600000001,Martin, Zoe\n0600000002,Ana,\n")
    assert batch == Batch([ContactRow(3, ANA, ["Ana"])], [RefusedRow(2, 1001, RowProblem.CELLS)])


def test_a_quote_that_nothing_closes_costs_one_line() -> None:
    rows = b"".join(b"06000%05d;a\n" % row for row in range(MAX_LINES * 2))
    _, batch = read(b'tel;nom\n0600000001;"Zoe\n' + rows)
    assert batch.refused == [RefusedRow(2, 1001, RowProblem.UNCLOSED)]
    assert [row.line for row in batch.accepted] == list(range(3, 3 + MAX_LINES * 2))


def test_a_quote_open_at_the_end_costs_one_line() -> None:
    _, batch = read(b'tel;nom\n0600000001;"Zoe\n0600000002;Ana')
    assert batch == Batch([ContactRow(3, ANA, ["Ana"])], [RefusedRow(2, 1001, RowProblem.UNCLOSED)])


@pytest.mark.parametrize("size", [MAX_LINE + 1, BLOCK * 3])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_too_long_is_refused_and_not_kept(size: int, end: bytes) -> None:
    _, batch = read(b"tel;nom\n0600000002;Ana\n0600000001;" + b"z" * size + end)
    assert batch == Batch([ContactRow(2, ANA, ["Ana"])], [RefusedRow(3, 1001, RowProblem.TOO_LONG)])


def test_what_follows_a_line_too_long_is_read() -> None:
    _, batch = read(b"tel;nom\n0600000001;" + b"z" * BLOCK * 2 + b"\n0600000002;Ana\n")
    assert batch == Batch([ContactRow(3, ANA, ["Ana"])], [RefusedRow(2, 1001, RowProblem.TOO_LONG)])


def test_a_cell_of_many_long_lines_is_refused_line_by_line() -> None:
    octets = b'tel;nom\n0600000001;"' + (b"z" * (MAX_LINE - 100) + b"\n") * 6 + b'"\n0600000002;Ana\n'
    _, batch = read(octets)
    assert batch.accepted == [ContactRow(9, ANA, ["Ana"])]
    assert batch.refused[0] == RefusedRow(2, 1001, RowProblem.TOO_LONG)


@pytest.mark.parametrize(
    ("octets", "refusal"),
    [
        (b"", (75, "tel")),
        (b"\n\n  \n", (75, "tel")),
        (b"nom;prenom\nMartin;Zoe\n", (75, "tel")),
        (b"0600000001;Zoe\n", (75, "tel")),
        (b"sep=|\ntel;nom\n", (75, "tel")),
        (b"sep=;", (75, "tel")),
        (b"\x00" * BLOCK * 2, (75, "tel")),
        (b'"' + b"a\n" * BLOCK, (75, "tel")),
        (b'"' + (b"a" * 20_000 + b"\n") * 10, (75, "tel")),
        (b"tel;nom;Nom\n", (1001, "Nom")),
        (b";".join([b"tel"] * 101), (17, None)),
    ],
)
def test_files_that_are_none(octets: bytes, refusal: tuple[int, str | None]) -> None:
    assert refusal_of_file(octets) == refusal


# --- files: encodings ----------------------------------------------------------------------------------

TEXT = "tel;prénom\n0600000001;Zoé\n0600000002;Œdipe €\n"


@pytest.mark.parametrize(
    ("octets", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (TEXT.encode("utf-8-sig"), "utf-8-sig"),
        (TEXT.encode("cp1252"), "cp1252"),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), "utf-16"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16"),
    ],
)
@pytest.mark.parametrize("block", [4, 5, 64, BLOCK])
def test_encodings_are_found_out(octets: bytes, encoding: str, block: int) -> None:
    with patch.object(contacts, "BLOCK", block):
        file, batch = read(octets)
    assert file.encoding == encoding
    assert batch == Batch([ContactRow(2, ZOE, ["Zoé"]), ContactRow(3, ANA, ["Œdipe €"])])
    assert file.header is not None
    assert file.header.columns == (Column("prénom"),)


def test_ascii_needs_no_encoding() -> None:
    file, batch = read(b"tel;nom\n0600000001;Zoe")
    assert (file.encoding, batch) == (None, Batch([ContactRow(2, ZOE, ["Zoe"])]))


def test_an_accent_after_a_long_time_still_decides() -> None:
    ascii_rows = b"0600000002;Ana\n" * (BLOCK // 10)
    file, batch = read(b"tel;nom\n" + ascii_rows, b"0600000001;Zo\xe9")
    assert (file.encoding, batch.refused, batch.accepted[-1].values) == ("cp1252", [], ["Zoé"])


def test_one_bad_octet_spoils_no_file() -> None:
    _, batch = read(b"tel;nom\n0600000001;Zo\xc3\xa9\n0600000002;Ana\xe9s\n0600000002;L\xc3\xa9a Ren\xc3\xa9\n")
    assert [row.values for row in batch.accepted] == [["Zoé"], ["Léa René"]]
    assert batch.refused == [RefusedRow(3, 1001, ValueProblem.CHARACTERS, "nom")]


def test_what_another_program_could_not_read_is_refused_and_no_reason_to_guess() -> None:
    file, batch = read("tel;nom\n0600000001;Zo\ufffd".encode())
    assert file.encoding == "utf-8"
    assert batch.refused == [RefusedRow(2, 1001, ValueProblem.CHARACTERS, "nom")]


def test_octets_that_windows_1252_lacks_are_refused() -> None:
    _, batch = read(b"tel;nom\n0600000001;Zo\x81\xe9\n0600000002;\xc9va\n")
    assert [row.values for row in batch.accepted] == [["Éva"]]
    assert batch.refused == [RefusedRow(2, 1001, ValueProblem.CHARACTERS, "nom")]


def test_a_file_in_utf_16_without_a_mark_has_no_column() -> None:
    assert refusal_of_file("numéro;nom\n".encode("utf-16-le"))[0] == 75


# --- files: cut anywhere -------------------------------------------------------------------------------

CELLS = st.text(st.sampled_from("ab é\"\n;'€"), max_size=6)
ROWS = st.lists(st.tuples(CELLS, CELLS), max_size=8)


@given(ROWS, st.integers(4, 40), st.lists(st.integers(0, 400), max_size=6))
def test_the_same_rows_come_however_the_file_is_cut(rows: list[tuple[str, str]], block: int, cuts: list[int]) -> None:
    written = io.StringIO()
    writer = csv.writer(written, delimiter=";", lineterminator="\r\n")
    writer.writerows([("tel", "un", "deux"), *(("0600000001", *row) for row in rows)])
    octets = written.getvalue().encode()
    edges = sorted({0, *cuts, len(octets)})
    pieces = [octets[start:end] for start, end in pairwise(edges)]
    with patch.object(contacts, "BLOCK", block):
        _, batch = read(*pieces)
    assert batch.refused == []
    assert [row.values for row in batch.accepted] == [[cell.strip() for cell in row] for row in rows]


@given(st.binary(max_size=200), st.integers(4, 64))
def test_any_octets_are_rows_or_refusals(octets: bytes, block: int) -> None:
    with patch.object(contacts, "BLOCK", block):
        _, batch = read(b"tel;nom\n" + octets)
    lines = [*(row.line for row in batch.accepted), *(row.line for row in batch.refused)]
    assert len(set(lines)) == len(lines)
    assert all(2 <= line <= 2 + len(octets) for line in lines)


@given(st.text(st.sampled_from('"";\nax'), max_size=80), st.integers(4, 64))
def test_quotes_in_any_disorder_give_each_line_to_one_row_at_most(disorder: str, block: int) -> None:
    octets = f"tel;nom\n{disorder}".encode()
    _, whole = read(octets)
    with patch.object(contacts, "BLOCK", block):
        _, cut = read(octets)
    assert cut == whole


def test_memory_does_not_grow_with_the_file() -> None:
    piece = b"".join(b"06000%05d;Zo\xc3\xa9;Martin\n" % row for row in range(4000))

    def peak_of(times: int) -> int:
        file, count = ContactFile(), 0
        tracemalloc.start()
        for octets in (b"tel;prenom;nom\n", *[piece] * times):
            for batch in file.feed(octets):
                count += len(batch.accepted)
        for batch in file.finish():
            count += len(batch.accepted)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 4000 * times
        return peak

    peak_of(1)
    assert peak_of(10) < 1.2 * peak_of(2)
