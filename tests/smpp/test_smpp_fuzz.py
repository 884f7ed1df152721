"""Damaged PDUs by the thousand, the same ones in every run; CHAPPE_FUZZ_INPUTS=10000000 asks for more of them.

Promises: the codec raises PduError and EncodeError alone, what it reads and can write comes back as it was, and a
session raises for nothing that it hears, however it is cut.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from chappe.smpp import codec, pdus
from chappe.smpp.codec import LAYOUTS, EncodeError, PduError
from chappe.smpp.pdus import CString, DistributionList, Failure, Kind, Pdu, SmeAddress
from chappe.smpp.session import BindRequested, Limits, RequestReceived, Role, Session, State

INPUTS = int(os.environ.get("CHAPPE_FUZZ_INPUTS", "15000"))

FILLED: dict[Kind, object] = {
    Kind.BYTE: 1,
    Kind.SHORT_MESSAGE: b"\5\0\3\x2a\2\1Bonjour",
    Kind.DESTINATIONS: (SmeAddress(1, 1, b"33600000000"), DistributionList(b"list")),
    Kind.FAILURES: (Failure(1, 1, b"33600000000", 8), Failure(1, 1, b"33600000001", 0x412)),
}


def filled(pdu_class: type[Pdu]) -> bytes:
    pdu = pdu_class(0, 1, ((pdus.Tag.MESSAGE_STATE, b"\2"), (pdus.Tag.RECEIPTED_MESSAGE_ID, b"42\0"), (0x1400, b"")))
    for name, kind in LAYOUTS[pdu_class]:
        setattr(pdu, name, b"336"[: kind.octets - 1] if isinstance(kind, CString) else FILLED[kind])
    return codec.encode(pdu)


SOUND = [filled(pdu_class) for pdu_class in pdus.PDUS] + [codec.encode(pdu_class()) for pdu_class in pdus.PDUS]
TELLING = b"\0\1\2\4\x10\x7f\x80\xfe\xff"


def damaged(chance: Random) -> bytes:
    octets = bytearray(chance.choice(SOUND))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(octets) + 1)
        match chance.randrange(4):
            case 0:
                octets[at : at + 1] = bytes((chance.choice(TELLING),))
            case 1:
                del octets[at : at + chance.randrange(1, 20)]
            case 2:
                octets[at:at] = chance.randbytes(chance.randrange(1, 20))
            case _:
                octets[at:at] = octets[chance.randrange(len(octets) + 1) :][:40]
    return bytes(octets)


def fuzz_codec(seed: int, inputs: int) -> int:
    """How many could be read."""
    chance = Random(seed)
    read = 0
    for _ in range(inputs):
        octets = damaged(chance)
        octets = max(16, len(octets)).to_bytes(4, "big") + octets[4:].ljust(12, b"\0")
        try:
            pdu = codec.decode(octets)
            read += 1
            again = codec.encode(pdu)
        except (PduError, EncodeError):
            continue
        assert codec.decode(again) == pdu
    return read


def fuzz_session(seed: int, inputs: int) -> int:
    """How many requests reached an application."""
    chance = Random(seed)
    session = Session(Role.SMSC, 0.0)
    session.close()
    reached, now = 0, 0.0
    for _ in range(inputs):
        if session.state is State.CLOSED:
            session = started(chance, now)
        octets = damaged(chance)
        if chance.random() < 0.9:
            # Most have a true length, or every other one would end the session.
            octets = max(16, len(octets)).to_bytes(4, "big") + octets[4:].ljust(12, b"\0")
        while octets:
            cut = chance.choice((1, 7, 16, 4096))
            session.receive_data(octets[:cut], now)
            octets = octets[cut:]
        if chance.random() < 0.01:
            now += chance.choice((1.0, 31.0, 61.0))
            session.handle_timer(now)
        for event in session.events():
            if isinstance(event, BindRequested | RequestReceived):
                reached += 1
                if event.pdu.command_id in pdus.RESPONSE_TO:
                    session.reply(event.pdu, chance.choice((0, 0, 8)))
        session.data_to_send()
    return reached


def started(chance: Random, now: float) -> Session:
    """A session that may hear anything: of either role, bound or not, with its first requests in flight."""
    session = Session(role := chance.choice(list(Role)), now, Limits(max_pdu=4096))
    if chance.random() < 0.8 and role is Role.ESME:
        session.request(pdus.BindTransceiver(), now)
        session.receive_data(codec.encode(pdus.BindTransceiverResp(), 1), now)
        for _ in range(3):
            session.request(pdus.SubmitSm(), now)
    elif role is Role.SMSC and chance.random() < 0.8:
        session.receive_data(codec.encode(pdus.BindTransceiver(), 1), now)
        (asked,) = session.events()
        assert isinstance(asked, BindRequested)
        session.reply(asked.pdu)
        session.request(pdus.DeliverSm(), now)
    session.events()
    return session


@pytest.mark.parametrize("seed", [3, 4])
def test_damaged_pdus_are_read_or_refused(seed: int) -> None:
    assert INPUTS // 3 < fuzz_codec(seed, INPUTS) < INPUTS


@pytest.mark.parametrize("seed", [3, 4])
def test_a_session_raises_for_nothing_that_it_hears(seed: int) -> None:
    assert fuzz_session(seed, INPUTS) > INPUTS // 50
