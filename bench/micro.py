"""The small functions of the hot path, each by itself: time per call, the loop's own 30 ns included.

What a function remembers (an LRU of texts, of numbers) is measured twice: with arguments it has never seen, and with
one it has just seen.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure import Bench, Progress, Round, Row, Unit
from chappe.connectors.translation import Writer, receipt_in
from chappe.core.lifecycle import Journey, advance
from chappe.core.message import (
    AccountId,
    Answered,
    Attempt,
    Fact,
    Family,
    InDoubtPolicy,
    Message,
    MessageId,
    ReceiptRead,
    Submission,
    Verdict,
)
from chappe.core.numbers import parse_mobile
from chappe.core.text import Alphabet, encode, segment
from chappe.simulator.moods import Fate
from chappe.simulator.receipts import receipt
from chappe.smpp import codec
from chappe.smpp.pdus import DeliverSm, Npi, SubmitSm, Tag, Ton

NOW = 1_800_000_000_000
NUMBER = "+33612345678"
GSM_160 = ("Bonjour, votre commande 4217 est arrivée à l'agence, merci de la retirer. " * 3)[:160]
UCS_70 = ("Votre forêt vous attend 😀 à bientôt. " * 3)[:66]
FEWEST, MOST = 100, 50_000


@dataclass(slots=True, frozen=True)
class Micro:
    """A function, and what makes the arguments of so many calls of it."""

    what: str
    call: Callable[[Any], object]
    arguments: Callable[[int], Sequence[Any]]


async def each(bench: Bench) -> list[Row]:
    """Small functions, one by one."""
    return [_measure(micro, bench) for micro in MICROS]


def _measure(micro: Micro, bench: Bench) -> Row:
    progress: Progress = bench.begin(micro.what)
    first = _time(micro, FEWEST)
    count = int(min(MOST, max(FEWEST, bench.scale.micro_seconds / first.seconds * FEWEST)))
    rounds = []
    for number in range(bench.scale.rounds):
        rounds.append(_time(micro, count))
        progress((number + 1) / bench.scale.rounds)
    return Row("micro", micro.what, rounds, Unit.PER_CALL)


def _time(micro: Micro, count: int) -> Round:
    arguments, call = micro.arguments(count), micro.call
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        for argument in arguments:
            call(argument)
        seconds = time.perf_counter() - began
    finally:
        gc.enable()
    return Round(count, seconds)


# --- arguments ---------------------------------------------------------------------------------------

_calls = 0


def _same(argument: object) -> Callable[[int], Sequence[Any]]:
    return lambda count: [argument] * count


def _new(make: Callable[[int], object]) -> Callable[[int], Sequence[Any]]:
    """Arguments of which none was ever given before."""

    def arguments(count: int) -> Sequence[Any]:
        global _calls
        _calls += count
        return [make(_calls - index) for index in range(count)]

    return arguments


def _message(id_: int) -> Message:
    return Message(
        MessageId(id_),
        AccountId(1),
        NUMBER,
        Family.NOTIFICATION,
        None,
        None,
        None,
        GSM_160,
        1,
        False,
        InDoubtPolicy.WAIT_THEN_RETRY,
        "live",
        NOW,
        NOW,
        172_800_000,
        wake_at=NOW + 172_800_000,
    )


def _life(id_: int) -> tuple[Journey, tuple[Fact, Fact]]:
    journey = Journey(_message(id_), [_attempt(id_)])
    return journey, (
        Answered(1, 1, NOW + 20, f"{id_:010d}"),
        ReceiptRead(1, 1, NOW + 4_000, Verdict.DELIVERED, "DELIVRD"),
    )


def _attempt(id_: int) -> Attempt:
    return Attempt(MessageId(id_), 1, 1, "op", 1, NOW, id_ & 0xFFFF)


def _submission(id_: int) -> Submission:
    return Submission(_attempt(id_), NUMBER, "CHAPPE", GSM_160, 1, NOW + 172_800_000)


def _live(life: tuple[Journey, tuple[Fact, Fact]]) -> None:
    journey, (answered, receipt_read) = life
    advance(journey, answered)
    advance(journey, receipt_read)


_SUBMIT = SubmitSm(
    tlvs=((Tag.USER_MESSAGE_REFERENCE, b"\x12\x34"),),
    sequence_number=7,
    source_addr_ton=Ton.ALPHANUMERIC,
    source_addr=b"CHAPPE",
    dest_addr_ton=Ton.INTERNATIONAL,
    dest_addr_npi=Npi.ISDN,
    destination_addr=b"33612345678",
    registered_delivery=1,
    validity_period=b"000002000000000R",
    short_message=encode(GSM_160, Alphabet.GSM7),
)
_RECEIPT: DeliverSm = receipt(
    _SUBMIT, Fate.DELIVERED, message_id=b"1234567890", text=_SUBMIT.short_message, submitted_at=1.8e9, done_at=1.8e9
)
_WRITER = Writer(sender="CHAPPE")

MICROS = (
    Micro("GSM encode, 160 characters", lambda text: encode(text, Alphabet.GSM7), _same(GSM_160)),
    Micro("UCS-2 encode, 66 characters", lambda text: encode(text, Alphabet.UCS2), _same(UCS_70)),
    Micro("segment, one part, new text", segment, _new(lambda n: f"{n:07d} {GSM_160[8:]}")),
    Micro("segment, one part, same text", segment, _same(GSM_160)),
    Micro("segment, 600 characters UCS-2, new text", segment, _new(lambda n: f"{n:07d} {UCS_70 * 9}"[:600])),
    Micro("parse_mobile, French, new number", parse_mobile, _new(lambda n: f"06{n % 39_000_000:08d}")),
    Micro(
        "parse_mobile, other form, new number",
        parse_mobile,
        _new(lambda n: f"+33 6 {(n % 39_000_000) // 1_000_000:02d} {n % 1_000_000:06d} "),
    ),
    Micro("submit: part to octets", lambda submission: _WRITER.body(submission, NOW), _new(_submission)),
    Micro("submit: encode any SubmitSm", codec.encode, _same(_SUBMIT)),
    Micro("submit: decode", codec.decode, _same(codec.encode(_SUBMIT))),
    Micro("receipt: encode", codec.encode, _same(_RECEIPT)),
    Micro("receipt: decode", codec.decode, _same(codec.encode(_RECEIPT))),
    Micro("receipt: deliver_sm to report", lambda pdu: receipt_in(pdu, "op", NOW), _same(_RECEIPT)),
    Micro("advance: answer and receipt, two facts", _live, _new(_life)),
)
