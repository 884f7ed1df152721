"""What the simulator does to whom: the fate of a number's messages, and an operator's habits. Read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from chappe.smpp.pdus import Status


class Fate(Enum):
    """How a message ends."""

    DELIVERED = "delivered"
    NOT_ASSIGNED = "not_assigned"
    UNDELIVERABLE = "undeliverable"
    EXPIRED = "expired"
    DELETED = "deleted"
    REJECTED = "rejected"


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to the messages to one number."""

    fate: Fate = Fate.DELIVERED
    status: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)] = 0
    """Not 0: refused at submit with this status."""
    throttled: bool = False
    """Each part is refused with ESME_RTHROTTLED once or twice, then accepted."""
    answered: bool = True
    """False: accepted, but the answer never comes."""
    receipt: bool = True
    error: Annotated[int, msgspec.Meta(ge=0, le=999)] | None = None
    """The receipt's `err:`, in the operator's own table; None: GSM's for this fate."""
    reply: str | None = None
    """What the person writes back once the whole message is there."""
    opens_link: bool = False
    """The person opens the first link in the text."""


MAGIC: Mapping[str, Script] = {
    "33600000000": Script(),
    "33600000001": Script(fate=Fate.NOT_ASSIGNED),
    "33600000002": Script(fate=Fate.EXPIRED),
    "33600000003": Script(reply="Merci"),
    "33600000004": Script(reply="STOP"),
    "33600000005": Script(opens_link=True),
    "33600000006": Script(receipt=False),
    "33600000007": Script(status=int(Status.ESME_RINVDSTADR)),
    "33600000008": Script(throttled=True),
    "33600000009": Script(answered=False),
}
"""The simulator's numbers."""


class IdForm(Enum):
    """How an operator writes the same message id."""

    DECIMAL = "decimal"
    HEX = "hex"
    UPPER_HEX = "HEX"
    PADDED = "padded"

    def show(self, number: int) -> bytes:
        return _ID_FORMATS[self] % number


_ID_FORMATS = {IdForm.DECIMAL: b"%d", IdForm.HEX: b"%x", IdForm.UPPER_HEX: b"%X", IdForm.PADDED: b"%020d"}

Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Beginning: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,20}\Z")]


class Mood(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this operator behaves; shares are between 0 and 1, 0 turns a habit off."""

    seed: int = 0
    answer_seconds: Amount = 0.0
    receipt_seconds: Amount = 0.3
    """From the submit to the handset."""
    reply_seconds: Amount = 0.3
    """From the handset to the person's reply or click."""
    answer_jitter_seconds: Amount = 0.0
    """Each answer takes up to so much longer: they come out of order."""
    answers_lost: Share = 0.0
    receipts_lost: Share = 0.0
    answer_ids: IdForm = IdForm.DECIMAL
    receipt_ids: IdForm = IdForm.DECIMAL
    receipt_first: bool = False
    """The receipt overtakes the answer."""
    receipt_parts: tuple[int, ...] | None = None
    """Only these parts (from 1) of a message get a receipt; None: all."""
    receipts_doubled: Share = 0.0
    """They come twice."""
    receipts_late: Share = 0.0
    """They come `late_seconds` after the others; `Simulator.pass_time` need not wait for them."""
    late_seconds: Amount = 604_800.0
    stop_error: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0
    """The `err:` by which receipts say that this person wrote STOP to this sender; 0: nobody looks."""
    queries_refused: Share = 0.0
    """query_sm is refused, whatever is known."""
    corrupt_tlvs: Share = 0.0
    """The last parameter of a receipt or reply claims to be longer than what follows."""
    corrupt_lengths: Share = 0.0
    """sm_length lies: too long or too short."""
    refused: Share = 0.0
    refused_status: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)] = int(Status.ESME_RSYSERR)
    throttle_above: Amount = 0.0
    """Submits a second over which ESME_RTHROTTLED is the answer; a burst of one second's worth passes."""
    throttled_status: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)] = int(Status.ESME_RTHROTTLED)
    max_waiting: Count = 0
    """Submits of one connection that may wait for their answer; more are throttled. 0: any number."""
    busy_every_seconds: Amount = 0.0
    """In each period of this length…"""
    busy_seconds: Amount = 0.0
    """…it ends with so much time in which every submit is throttled."""
    tells_congestion: bool = False
    """Answers carry `congestion_state` (SMPP 5): how much of `throttle_above` is used up."""
    unbind_every: Count = 0
    """Unbinds from a client after this many of its submits."""
    unbind_after_seconds: Amount = 0.0
    """Unbinds from a client that has been bound for so long."""
    silent_after: Count = 0
    """At this many submits of a connection it goes silent and stays open: neither reads nor writes any more."""
    drop_after: Count = 0
    """Cuts a connection at this many of its submits: the last is accepted, but not answered."""
    long_messages: Literal["udh8", "udh16", "sar", "payload"] = "udh8"
    """How what people write is passed on when it is long; what comes is understood in each of these ways."""
    national_shift: Literal["turkish", "spanish", "portuguese"] | None = None
    """The national language table of their phones."""
    gsm7: Literal["unpacked", "packed", "latin1"] = "unpacked"
    """What a text in GSM 03.38 comes and goes as…"""
    gsm7_data_coding: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    """…with this data_coding."""
    retry_seconds: Amount = 1.0
    """How soon a receipt or reply that the client refused is tried again…"""
    retry_for_seconds: Amount = 0.0
    """…and for how long after the first try; 0: for ever."""
    window: Annotated[int, msgspec.Meta(ge=1)] = 100
    """Receipts and replies in flight to one client."""
    numbers: dict[Beginning, Script] = msgspec.field(default_factory=dict)
    """Digits that a number begins with → what happens; the longest wins, the magic numbers included."""


def load_mood(source: str | Path) -> Mood:
    """Reads a TOML file whose keys are Mood's, with a table `[numbers.336]` per number or beginning.

    A name without a path is one of `mood_names()`, unless there is such a file. Raises OSError, and ValueError, which
    names the wrong setting.
    """
    path = Path(source)
    if str(source) in mood_names() and not path.exists():
        text = (_SHIPPED / f"{source}.toml").read_text(encoding="utf-8")
    else:
        text = path.read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Mood)


def mood_names() -> list[str]:
    """The moods that come with Chappe, by name."""
    return sorted(file.name.removesuffix(".toml") for file in _SHIPPED.iterdir() if file.name.endswith(".toml"))


_SHIPPED = resources.files("chappe.simulator") / "moods"
