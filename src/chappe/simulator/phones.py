"""The people the simulator delivers to: their phones join long messages, and they open links."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from chappe.core import gsm
from chappe.core.text import (
    LATIN_1,
    PLAIN,
    WIDE,
    Alphabet,
    Cut,
    concatenation_header,
    decode,
    encode,
    is_gsm,
    language_header,
    segment,
    with_language,
)
from chappe.simulator.memory import Recent
from chappe.simulator.moods import Mood
from chappe.smpp.pdus import DataCoding, DataSm, EsmClass, SubmitSm, Tag, Tlv
from chappe.smpp.udh import Segment, place_of, sar_parameters

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

    def show(self, submit: SubmitSm | DataSm, place: Segment, data_coding: int) -> str | None:
        """The whole text once its last missing part is here; until then None."""
        key = (submit.source_addr, submit.destination_addr, place.reference, place.total)
        parts = self._joining.pop(key, {})
        parts[place.sequence] = place.rest
        if len(parts) == place.total:
            octets = b"".join(parts[sequence] for sequence in sorted(parts))
            return decode(octets, data_coding, place.single, place.locking)
        self._joining[key] = parts
        return None


def open_submit(submit: SubmitSm | DataSm, mood: Mood) -> tuple[Segment, int]:
    """Text and place, and how the text's octets are to be read: unpacked, and by a data_coding that everybody knows."""
    place = place_of(submit)
    octets, data_coding = place.rest, submit.data_coding
    if data_coding == mood.gsm7_data_coding:
        data_coding = DataCoding.LATIN_1 if mood.gsm7 == "latin1" else DataCoding.SMSC_DEFAULT
    if mood.gsm7 == "packed" and is_gsm(data_coding):
        place = place._replace(rest=gsm.unpack(octets, len(submit.user_data) - len(octets)))
    return place, data_coding


class Content(NamedTuple):
    """Of a deliver_sm."""

    esm_class: int
    data_coding: int
    octets: bytes
    tlvs: tuple[Tlv, ...] = ()


def compose(text: str | Sequence[str], mood: Mood, reference: int) -> list[Content]:
    """What a person writes, as this operator passes it on; a sequence is its parts. Raises ValueError."""
    wide = WIDE if mood.long_messages == "udh16" else PLAIN
    cut = Cut(with_language(wide, mood.national_shift) if mood.gsm7 != "latin1" else wide | LATIN_1)
    whole = segment(text if isinstance(text, str) else "".join(text), cut)
    parts, alphabet = (whole.parts if isinstance(text, str) else tuple(text)), whole.alphabet
    if len(parts) == 1:
        return [_content(parts[0], alphabet, language_header(alphabet.language), mood)]
    if mood.long_messages == "payload":
        content = _content("".join(parts), alphabet, b"", mood)
        return [content._replace(octets=b"", tlvs=((Tag.MESSAGE_PAYLOAD, content.octets),))]
    total = len(parts)
    if mood.long_messages == "sar":
        return [
            _content(part, alphabet, b"", mood)._replace(tlvs=sar_parameters(reference, total, sequence))
            for sequence, part in enumerate(parts, 1)
        ]
    return [
        _content(
            part,
            alphabet,
            concatenation_header(reference, total, sequence, wide=bool(cut & WIDE), language=alphabet.language),
            mood,
        )
        for sequence, part in enumerate(parts, 1)
    ]


def _content(part: str, alphabet: Alphabet, header: bytes, mood: Mood) -> Content:
    octets = encode(part, alphabet)
    if alphabet is Alphabet.UCS2:
        data_coding, octets = int(DataCoding.UCS2), header + octets
    elif mood.gsm7 == "latin1":
        data_coding, octets = mood.gsm7_data_coding, header + part.encode("latin-1")
    elif mood.gsm7 == "packed":
        data_coding, octets = mood.gsm7_data_coding, gsm.pack(octets, header)
    else:
        data_coding, octets = mood.gsm7_data_coding, header + octets
    return Content(EsmClass.UDHI if header else 0, data_coding, octets)


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
