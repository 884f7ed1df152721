"""The times of SMPP, both ways."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.customers.times import read_time, receipt_date, write_time

NOW = 1_800_000_000_000
SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"", None),
        (b"270115083000000+", at(2027, 1, 15, 8, 30, 0)),
        (b"270115083000004+", at(2027, 1, 15, 7, 30, 0)),
        (b"270115083000004-", at(2027, 1, 15, 9, 30, 0)),
        (b"270115083000500+", at(2027, 1, 15, 8, 30, 0) + 500),
        (b"270115003000048+", at(2027, 1, 14, 12, 30, 0)),
        (b"000000000000000R", NOW),
        (b"000000000100000R", NOW + 60 * SECOND),
        (b"000002030000000R", NOW + 2 * DAY + 3 * HOUR),
        (b"010100000000000R", NOW + 395 * DAY),
        (b"000000000099000R", NOW + 99 * SECOND),
    ],
)
def test_time_is_read(written: bytes, read: int | None) -> None:
    assert read_time(written, NOW) == read


@pytest.mark.parametrize(
    "written",
    [
        b"0",
        b"270115083000",
        b"27011508300000+",
        b"2701150830000000+",
        b"270115083000000Z",
        b"271315083000000+",
        b"270230083000000+",
        b"270115253000000+",
        b"270115083000049+",
        b"27011508300000\xb2+",
        "27011508300000١".encode() + b"+",
        b"270115083000000+\n",
    ],
)
def test_what_is_no_time_is_refused(written: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any: the caller says which field
        read_time(written, NOW)


@given(st.integers(at(2000, 1, 1), at(2099, 12, 31)))
def test_time_that_is_written_is_read_as_it_was(moment: int) -> None:
    assert read_time(write_time(moment), NOW) == moment // SECOND * SECOND


def test_dates_of_receipts_have_minutes() -> None:
    assert receipt_date(at(2027, 1, 15, 8, 30, 59)) == b"2701150830"
