"""The people the simulator delivers to: their phones join long messages, and they open links."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from urllib.parse import urlsplit

from chappe.core.text import decode
from chappe.simulator.memory import Recent
from chappe.smpp.pdus import DataSm, EsmClass, SubmitSm, Tag
from chappe.smpp.udh import Segment, concatenation

_ONE_GET_SECONDS = 10.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_BROWSER = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)


class Phones:
    """All phones at once: what each has of the long messages on their way to it."""

    def __init__(self) -> None:
        # Parts that are refused, or sent twice, leave others waiting for ever.
        self._joining: Recent[tuple[bytes, bytes, int, int], dict[int, bytes]] = Recent()

    def show(self, submit: SubmitSm | DataSm, place: Segment) -> str | None:
        """The whole text once its last missing part is here; until then None."""
        key = (submit.source_addr, submit.destination_addr, place.reference, place.total)
        parts = self._joining.pop(key, {})
        parts[place.sequence] = place.rest
        if len(parts) == place.total:
            return decode(b"".join(parts[sequence] for sequence in sorted(parts)), submit.data_coding)
        self._joining[key] = parts
        return None


def place_of(submit: SubmitSm | DataSm) -> Segment:
    """Text and place by the header in it, or else by the SAR parameters; what makes no sense is a text of its own."""
    octets = submit.user_data
    if submit.esm_class & EsmClass.UDHI:
        return concatenation(octets) or Segment(0, 1, 1, octets)
    total, sequence = submit.tlv_int(Tag.SAR_TOTAL_SEGMENTS) or 0, submit.tlv_int(Tag.SAR_SEGMENT_SEQNUM) or 0
    if not 1 <= sequence <= total:
        return Segment(0, 1, 1, octets)
    return Segment(submit.tlv_int(Tag.SAR_MSG_REF_NUM) or 0, total, sequence, octets)


def link_in(text: str) -> str | None:
    """The first link of a text, as a phone marks it."""
    found = re.search(r"https?://[^\s<>\"']+", text)
    return found[0].rstrip(".,;:!?)") if found else None


async def visit(url: str, allowed: str | None) -> bool:
    """One GET as a phone's browser sends it; whether it was answered.

    Only `allowed` (a host, or host:port) is visited, or this machine when it is None: the link is chosen by whoever
    may send a test. A redirect is not followed, it leads out of the platform. Raises OSError (TimeoutError included),
    and ValueError for what is not a link to the allowed host.
    """
    address = urlsplit(url)
    host, tls = address.hostname or "", address.scheme == "https"
    if host not in _LOOPBACK if allowed is None else allowed not in (host, address.netloc):
        raise ValueError("not a link to the allowed host")
    target = f"{address.path or '/'}{'?' + address.query if address.query else ''}"
    head = (
        f"GET {target} HTTP/1.1\r\nHost: {address.netloc}\r\nUser-Agent: {_BROWSER}\r\n"
        "Accept: text/html,*/*;q=0.8\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
    async with asyncio.timeout(_ONE_GET_SECONDS):
        reader, writer = await asyncio.open_connection(host, address.port or (443 if tls else 80), ssl=tls or None)
        try:
            writer.write(head)
            return bool(await reader.readline())
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
