"""Who is calling: the API key of the header, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256

from chappe.api.problems import ACCOUNT_BLOCKED, AUTHENTICATION_FAILED, Problem
from chappe.core.message import Key
from chappe.core.ports import Keys

_KEY = re.compile(b"[0-9a-f]{32}")


async def authenticate(keys: Keys, headers: Mapping[bytes, bytes]) -> Key:
    """The live key of this request. Raises Problem 72, or 92 when its account is blocked.

    Nothing is remembered between requests: the look-up is one point read, and a revoked key ends at once. It is
    by the key's SHA-256, so that how long the comparison takes tells nothing about the key.
    """
    secret = headers.get(b"x-primotexto-apikey", b"")
    key = await keys.find_key(sha256(secret).digest()) if _KEY.fullmatch(secret) else None
    if key is None:
        raise Problem(AUTHENTICATION_FAILED)
    if key.account.blocked:
        raise Problem(ACCOUNT_BLOCKED)
    return key
