"""Passwords, and who tries them too often."""

from __future__ import annotations

import random
import re

from chappe.core.customers import Customer, CustomerId
from chappe.core.message import Account, AccountId, Family, Settings
from chappe.customers.passwords import (
    FREE_TRIES,
    LONGEST_WAIT_SECONDS,
    REMEMBERED,
    Tries,
    digest_of,
    is_password,
    make_password,
)

SALT = b"s" * 16
CUSTOMER = Customer(
    CustomerId(1),
    Account(AccountId(1), "acme", blocked=False, settings=Settings()),
    "shop1",
    False,
    Family.NOTIFICATION,
    SALT,
    digest_of(b"a1B2c3D4", SALT),
    0,
)
CALLER = ("192.0.2.1", "shop1")


def test_password_fits_a_bind_and_is_told_from_others() -> None:
    password = make_password(random.Random(1).choice)
    assert re.fullmatch("[0-9A-Za-z]{8}", password)
    assert password != make_password(random.Random(2).choice)
    assert is_password(b"a1B2c3D4", CUSTOMER)
    assert not any(is_password(wrong, CUSTOMER) for wrong in (b"", b"a1B2c3D", b"a1B2c3D5", b"A1B2C3D4"))
    assert not is_password(b"a1B2c3D4", None)


def test_no_secret_is_in_the_repr_of_a_customer() -> None:
    assert "salt" not in repr(CUSTOMER)
    assert "digest" not in repr(CUSTOMER)


def test_wrong_passwords_make_their_sender_wait_twice_as_long_each_time() -> None:
    tries, now, waits = Tries(), 0.0, []
    for _ in range(FREE_TRIES + 12):
        assert not tries.is_barred(CALLER, now)
        tries.failed(CALLER, now)
        again = next(
            wait
            for wait in [0.0, *(2.0**n for n in range(9)), LONGEST_WAIT_SECONDS]
            if not tries.is_barred(CALLER, now + wait)
        )
        waits.append(again)
        now += again
    assert waits[: FREE_TRIES + 4] == [0.0] * (FREE_TRIES - 1) + [1.0, 2.0, 4.0, 8.0, 16.0]
    assert max(waits) == waits[-1] == LONGEST_WAIT_SECONDS


def test_wait_is_one_address_s_and_over_once_it_is_let_in() -> None:
    tries = Tries()
    for _ in range(FREE_TRIES):
        tries.failed(CALLER, 0.0)
    assert tries.is_barred(CALLER, 0.5)
    assert not tries.is_barred(("192.0.2.2", "shop1"), 0.5)
    assert not tries.is_barred(("192.0.2.1", "shop2"), 0.5)
    tries.succeeded(CALLER)
    assert not tries.is_barred(CALLER, 0.5)


def test_memory_of_tries_is_bounded() -> None:
    tries = Tries()
    for number in range(REMEMBERED + 10):
        for _ in range(FREE_TRIES):
            tries.failed((str(number), "x"), 0.0)
    assert len(tries._of) == REMEMBERED
    assert not tries.is_barred(("9", "x"), 0.5)
    assert tries.is_barred(("10", "x"), 0.5)
