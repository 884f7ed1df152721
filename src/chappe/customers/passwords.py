"""Customers' passwords: eight characters, because SMPP 3.4 has no room for more (§5.2.2), so kept by a slow function.

And who has tried too often: an address that gives a system_id wrong passwords waits, each time twice as long. What
another address does costs a customer nothing.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import scrypt
from hmac import compare_digest
from typing import Final, TypeAlias

from chappe.core.customers import Customer

LETTERS: Final = string.ascii_letters + string.digits
LENGTH: Final = 8
"""Of 62 letters: 47 bits."""
SALT_BYTES: Final = 16

FREE_TRIES: Final = 3
LONGEST_WAIT_SECONDS: Final = 300.0
REMEMBERED: Final = 10_000


def make_password(choose: Callable[[Sequence[str]], str]) -> str:
    """`choose` draws one of these letters."""
    return "".join(choose(LETTERS) for _ in range(LENGTH))


def digest_of(password: bytes, salt: bytes) -> bytes:
    """16 MB and some 50 ms: not for the loop's thread."""
    return scrypt(password, salt=salt, n=2**14, r=8, p=1, dklen=32)


def is_password(password: bytes, customer: Customer | None) -> bool:
    """Takes as long for nobody as for somebody."""
    if customer is None:
        digest_of(password, bytes(SALT_BYTES))
        return False
    return compare_digest(digest_of(password, customer.salt), customer.digest)


Caller: TypeAlias = tuple[str, str]
"""The address it calls from, and the system_id."""


@dataclass(slots=True)
class _Tries:
    count: int = 0
    not_before: float = 0.0


class Tries:
    """Wrong passwords of late. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._of: dict[Caller, _Tries] = {}

    def is_barred(self, caller: Caller, now: float) -> bool:
        """Also while it is right this time: else a wait could be used to go on guessing."""
        tries = self._of.get(caller)
        return tries is not None and now < tries.not_before

    def failed(self, caller: Caller, now: float) -> None:
        tries = self._of.pop(caller, None) or _Tries()
        tries.count += 1
        wait = 2.0 ** min(tries.count - FREE_TRIES, 20) if tries.count >= FREE_TRIES else 0.0
        tries.not_before = now + min(wait, LONGEST_WAIT_SECONDS)
        self._of[caller] = tries  # at the end: the longest ago are forgotten first
        while len(self._of) > REMEMBERED:
            del self._of[next(iter(self._of))]

    def succeeded(self, caller: Caller) -> None:
        self._of.pop(caller, None)
