"""Opt-out lists as files: what is read, what is refused, and that what is written is read again."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.errors import Invalid
from chappe.core.rules import Entry
from chappe.flow.optouts import COLUMNS, OptOutFile, read_date, row_of

NOW = 1_800_000_000_000
AT = 1_795_511_616_630


def read(text: str | bytes, country: str = "FR") -> tuple[list[tuple[str, str | None, int]], list[tuple[int, int]]]:
    """What is read, and the (line, code) of what is refused."""
    file = OptOutFile(country, NOW)
    octets = text.encode() if isinstance(text, str) else text
    found = [*file.feed(octets), *file.finish()]
    return (
        [row for piece in found for row in piece.read],
        [(row.line, row.code) for piece in found for row in piece.refused],
    )


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("number\n0612345678\n", [("+33612345678", None, NOW)]),
        ("tel;nom\n06 12 34 56 78;Zoé\n", [("+33612345678", None, NOW)]),
        ("number,date,scope\n+33612345678,,\n", [("+33612345678", None, NOW)]),
        (f"Number,Date,Scope\n0612345678,{AT},account\n", [("+33612345678", None, AT)]),
        ("number,scope\n0612345678,sender:Shop\n0612345678,Shop\n", [("+33612345678", "Shop", NOW)] * 2),
        ("scope,number\nACCOUNT,+32470123456\n", [("+32470123456", None, NOW)]),
        ("number,date\n0612345678,2026-11-24T08:00:00+00:00\n", [("+33612345678", None, 1_795_507_200_000)]),
        ("number,date\n0612345678,2026-11-24T08:00:00.250Z\n", [("+33612345678", None, 1_795_507_200_250)]),
        ("number\n", []),
    ],
)
def test_a_file_is_read(text: str, rows: list[tuple[str, str | None, int]]) -> None:
    assert read(text) == (rows, [])


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("0612,,", 11),
        ("0112345678,,", 19),
        ("0612345678,yesterday,", 1001),
        ("0612345678,0001-01-01,", 1001),
        ("0612345678,-5,", 1001),
        ("0612345678,999999999999999,", 1001),
        ("0612345678,,sender:", 21),
        ("0612345678,,sender:Ma boutique", 20),
        ("0612345678,,,x", 1001),
    ],
)
def test_what_cannot_be_read_is_told_by_its_line_and_the_rest_is_read(row: str, code: int) -> None:
    rows, refused = read(f"number,date,scope\n0687654321,,\n{row}\n0611111111,,\n")
    assert [number for number, _, _ in rows] == ["+33687654321", "+33611111111"]
    assert refused == [(3, code)]


@pytest.mark.parametrize("text", ["", "0612345678\n", "name,date\nx,y\n"])
def test_a_file_without_a_column_for_the_number_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read(text)
    assert refusal.value.code == 75


def test_a_date_without_a_zone_is_local_time() -> None:
    assert 0 < read_date("2026-11-24") <= read_date("2026-11-25")


@given(
    st.lists(
        st.builds(
            Entry,
            st.just(1),
            st.integers(0, 9_999_999).map(lambda digits: f"+3361{digits:07}"),
            st.integers(0, 4_000_000_000_000),
            st.none(),
            st.none(),
            st.sampled_from([None, "Shop", "account1", "SENDER"]),
        )
    )
)
def test_what_is_written_is_read_again(entries: list[Entry]) -> None:
    file = io.StringIO()
    csv.writer(file).writerows([COLUMNS, *map(row_of, entries)])
    assert read(file.getvalue()) == ([(entry.number, entry.sender, entry.at) for entry in entries], [])
