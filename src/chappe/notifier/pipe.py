"""The frames between the server and its notifier: a length in four octets, then msgpack.

The server sends one `Start`, then lists of `Delivery`; the notifier sends lists of `Outcome`, an empty one when it is
ready and as a sign of life.
"""

from __future__ import annotations

from asyncio import IncompleteReadError, StreamReader
from dataclasses import dataclass

import msgspec

from chappe.core.webhooks import Delivery, Outcome

LONGEST_FRAME = 64 * 1024 * 1024


@dataclass(slots=True, frozen=True)
class Start:
    """How the notifier works; the first frame."""

    allow: tuple[str, ...] = ()
    """Networks that webhooks may go to although they are not public: receivers on the premises, tests."""
    per_endpoint: int = 16
    """Requests at the same time to one endpoint."""
    queue: int = 48
    """Deliveries that may wait for them."""
    connections: int = 512
    """Requests at the same time in all."""
    timeout_seconds: float = 15.0
    """For a whole try: name, connection, TLS, request and answer."""
    answer_bytes: int = 64 * 1024
    """As much of an answer is read; it is thrown away, but a connection can be used again only after its end."""
    name_seconds: int = 10
    """How long the addresses of a name are used for new connections."""
    sign_of_life_seconds: float = 5.0


_encoder = msgspec.msgpack.Encoder()
_starts = msgspec.msgpack.Decoder(Start)
_deliveries = msgspec.msgpack.Decoder(list[Delivery])
_outcomes = msgspec.msgpack.Decoder(list[Outcome])


def frame_of(content: Start | list[Delivery] | list[Outcome]) -> bytes:
    packed = _encoder.encode(content)
    return len(packed).to_bytes(4) + packed


async def read_start(reader: StreamReader) -> Start | None:
    packed = await _read(reader)
    return None if packed is None else _starts.decode(packed)


async def read_deliveries(reader: StreamReader) -> list[Delivery] | None:
    """None when the server has closed its end, or is no more."""
    packed = await _read(reader)
    return None if packed is None else _deliveries.decode(packed)


async def read_outcomes(reader: StreamReader) -> list[Outcome] | None:
    """None when the notifier has ended."""
    packed = await _read(reader)
    return None if packed is None else _outcomes.decode(packed)


async def _read(reader: StreamReader) -> bytes | None:
    """Raises ValueError when this is no frame of ours."""
    try:
        length = int.from_bytes(await reader.readexactly(4))
        if length > LONGEST_FRAME:
            raise ValueError("not a frame of the notifier's")
        return await reader.readexactly(length)
    except (IncompleteReadError, ConnectionError):
        return None
