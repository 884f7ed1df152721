"""The receipt of a message, in the two forms that operators use at once: appendix B's text, and TLVs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache

from chappe.simulator.moods import Fate
from chappe.smpp.pdus import DataSm, DeliverSm, EsmClass, MessageState, QuerySmResp, SubmitSm, Tag, Tlv

SAYS: Mapping[Fate, tuple[bytes, MessageState, int]] = {
    Fate.DELIVERED: (b"DELIVRD", MessageState.DELIVERED, 0),
    Fate.NOT_ASSIGNED: (b"UNDELIV", MessageState.UNDELIVERABLE, 1),
    Fate.UNDELIVERABLE: (b"UNDELIV", MessageState.UNDELIVERABLE, 27),
    Fate.EXPIRED: (b"EXPIRED", MessageState.EXPIRED, 27),
    Fate.DELETED: (b"DELETED", MessageState.DELETED, 0),
    Fate.REJECTED: (b"REJECTD", MessageState.REJECTED, 11),
}
"""Fate → `stat`, `message_state` (§5.2.28), and `err`: the error of GSM 09.02 (1 unknown subscriber, 11 teleservice
not provisioned, 27 absent subscriber; 0 none)."""

WANTED: Mapping[int, frozenset[Fate]] = {
    0: frozenset(),
    1: frozenset(Fate),
    2: frozenset(Fate) - {Fate.DELIVERED},
    3: frozenset({Fate.DELIVERED}),
}
"""registered_delivery's last two bits → the fates that get a receipt (§5.2.17; 3 is SMPP 5's)."""

_GSM_NETWORK = 3
"""network_error_code's first octet (§5.3.2.31)."""


def receipt(
    submit: SubmitSm | DataSm,
    fate: Fate,
    *,
    message_id: bytes,
    text: bytes,
    submitted_at: float,
    done_at: float,
    error: int | None = None,
) -> DeliverSm:
    """Says what became of this submit; `text` is its text without a header, the times are Unix seconds.

    `error` is the operator's own; without it, GSM's.
    """
    stat, state, gsm_error = SAYS[fate]
    error = gsm_error if error is None else error
    tlvs: tuple[Tlv, ...] = (
        (Tag.RECEIPTED_MESSAGE_ID, message_id + b"\0"),
        (Tag.MESSAGE_STATE, bytes((state,))),
    )
    if error:
        tlvs += ((Tag.NETWORK_ERROR_CODE, bytes((_GSM_NETWORK, *error.to_bytes(2, "big")))),)
    reference = submit.tlv(Tag.USER_MESSAGE_REFERENCE)
    if reference is not None:
        tlvs += ((Tag.USER_MESSAGE_REFERENCE, reference),)
    return DeliverSm(
        tlvs=tlvs,
        source_addr_ton=submit.dest_addr_ton,
        source_addr_npi=submit.dest_addr_npi,
        source_addr=submit.destination_addr,
        dest_addr_ton=submit.source_addr_ton,
        dest_addr_npi=submit.source_addr_npi,
        destination_addr=submit.source_addr,
        esm_class=EsmClass.RECEIPT,
        short_message=b"id:%b sub:001 dlvrd:%03d submit date:%b done date:%b stat:%b err:%03d text:%b"
        % (
            message_id,
            fate is Fate.DELIVERED,
            _date(submitted_at),
            _date(done_at),
            stat,
            error,
            text[:20] if submit.data_coding == 0 else b"",
        ),
    )


def query_answer(message_id: bytes, fate: Fate | None, done_at: float, error: int | None = None) -> QuerySmResp:
    """Says the same to whoever asks (§4.8.2); `fate` None: it is on its way."""
    if fate is None:
        return QuerySmResp(message_id=message_id, message_state=MessageState.ENROUTE)
    _, state, gsm_error = SAYS[fate]
    return QuerySmResp(
        message_id=message_id,
        final_date=time.strftime("%y%m%d%H%M%S000+", time.gmtime(done_at)).encode("ascii"),
        message_state=state,
        error_code=min(gsm_error if error is None else error, 255),
    )


def _date(at: float) -> bytes:
    return _minute(int(at // 60))


@lru_cache(16)
def _minute(minute: int) -> bytes:
    return time.strftime("%y%m%d%H%M", time.gmtime(minute * 60)).encode("ascii")
