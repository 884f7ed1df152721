"""What an operator's table in the settings says, checked once at the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from chappe.connectors.translation import Gsm7, UnwritableError, Writer
from chappe.core.message import Treatment
from chappe.core.receipts import NOT_ASSIGNED
from chappe.core.text import BARE, LATIN_1, PLAIN, WHOLE, WIDE, Cut
from chappe.smpp.session import Limits

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400, description="a number of seconds above 0, up to 86400")]
Code: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z]{1,10}\Z", description="a code of letters and digits")]
TreatmentName: TypeAlias = Literal["permanent", "temporary", "throttled", "session", "elsewhere"]
LongMessages: TypeAlias = Literal["udh8", "udh16", "sar", "payload"]

LIVE: Final = ("window", "rate", "burst")
"""What may change while a connector goes on; all else is part of how it binds, writes or reads."""

SHORTEST_QUERY_SECONDS: Final = 60
"""Receipts take that long, and what was answered in the meantime is stored."""

_CUTS: Mapping[LongMessages, int] = {"udh8": PLAIN, "udh16": WIDE, "sar": BARE, "payload": BARE | WHOLE}


class SmppSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One operator: where it is, who we are there, and its ways."""

    name: str
    host: Annotated[str, Meta(min_length=1, description="a host name or an address")]
    port: Annotated[int, Meta(ge=1, le=65_535, description="a whole number from 1 to 65535")]
    system_id: str = ""
    password: str = ""
    system_type: str = ""
    bind: Annotated[Literal["trx", "tx+rx"], Meta(description='"trx" (one transceiver) or "tx+rx" (a pair)')] = "trx"
    binds: Annotated[int, Meta(ge=1, le=64, description="a whole number from 1 to 64")] = 1
    """How many transceivers, or pairs."""
    window: Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10000")] = 10
    """Submits in flight over each bind."""
    rate: Annotated[float, Meta(ge=0, le=100_000, description="a number from 0 (no limit known) to 100000")] = 0.0
    """Submits a second that the contract allows, over all binds; the operator's refusals find what it does not say."""
    burst: Annotated[int, Meta(ge=1, le=100_000, description="a whole number from 1 to 100000")] = 1
    """How many submits may leave at once after a quiet moment."""
    tls: bool = False
    tls_insecure: bool = False
    """Takes any certificate, which protects from nobody who can answer in the operator's place."""
    tls_ca: Annotated[str, Meta(description="a PEM file")] = ""
    """Who may vouch for the operator, in the place of those that the system trusts."""
    tls_cert: Annotated[str, Meta(description="a PEM file; together with tls_key")] = ""
    """Our own certificate, for operators that ask for one, and those that vouch for it."""
    tls_key: Annotated[str, Meta(description="a PEM file without a password; together with tls_cert")] = ""
    address_ton: Annotated[int, Meta(ge=0, le=6, description="a whole number from 0 to 6")] = 0
    address_npi: Annotated[int, Meta(ge=0, le=18, description="a whole number from 0 to 18")] = 0
    address_range: str = ""
    """Which numbers the bind is for, as the operator writes it (SMPP 3.4 §5.2.7); mostly nothing."""
    sender: str = ""
    """Of messages that name none; without it the operator chooses."""
    short_code_ton: Annotated[int, Meta(ge=0, le=6, description="a whole number from 0 to 6")] = 3
    short_code_npi: Annotated[int, Meta(ge=0, le=18, description="a whole number from 0 to 18")] = 0
    destination_ton: Annotated[int, Meta(ge=0, le=6, description="a whole number from 0 to 6")] = 1
    destination_npi: Annotated[int, Meta(ge=0, le=18, description="a whole number from 0 to 18")] = 1
    """Of recipients' numbers, which are always international ones."""
    user_message_reference: bool = True
    """Puts the TLV on each submit, so that a receipt can settle a submit whose answer was lost."""
    long_messages: Annotated[
        LongMessages,
        Meta(
            description='"udh8", "udh16" (headers with references of 8 or 16 bits), "sar" (parameters) or "payload" '
            "(the operator cuts)"
        ),
    ] = "udh8"
    """How a phone learns which parts belong together."""
    gsm7: Annotated[
        Gsm7, Meta(description='"unpacked" (a septet an octet), "packed" (eight in seven octets) or "latin1"')
    ] = "unpacked"
    """What a text in GSM 03.38 is sent as."""
    gsm7_data_coding: Annotated[
        Annotated[int, Meta(ge=0, le=255)] | None, Meta(description="a whole number from 0 to 255")
    ] = None
    """The `data_coding` that says so; None: 0, or 3 for latin-1."""
    statuses: dict[str, TreatmentName] = {}
    """command_status, such as "0x45" or "69" → its treatment, where this operator differs from the table."""
    not_assigned: tuple[Code, ...] | None = None
    """The codes after `err:` by which this operator's receipts say that nobody has the number; None: GSM MAP's."""
    stop_codes: tuple[Code, ...] = ()
    """The codes after `err:` by which this operator's receipts say that the person has written STOP to it."""
    query_after_seconds: Annotated[float, Meta(ge=0, le=604_800, description="0, or a number of seconds from 60")] = 0.0
    """How long a receipt may take before the operator is asked (query_sm) what became of the submit; 0: it never is."""
    enquire_link_seconds: Seconds = 30.0
    probe_seconds: Seconds = 10.0
    """How long its answer may take."""
    bind_seconds: Seconds = 10.0
    """How long the connection, then the bind, and in the end the unbind, may take."""
    response_seconds: Seconds = 60.0
    unbind_seconds: Seconds = 5.0
    """How long an operator that unbinds may take for the answers it still owes before we agree."""
    retry_seconds: Seconds = 1.0
    """The pause before connecting again while the operator cannot be reached, and the first before binding again when
    it could be; that one doubles…"""
    longest_retry_seconds: Seconds = 60.0
    """…up to this, which is also the pause after a refused password."""

    def __post_init__(self) -> None:
        for name, octets in (("system_id", 15), ("password", 8), ("system_type", 12), ("address_range", 40)):
            value: str = getattr(self, name)
            if not value.isascii() or "\0" in value or len(value) > octets:
                raise ValueError(f"{name} has at most {octets} ASCII characters")  # SMPP 3.4 §5.2.1 to 7
        for name in ("tls_insecure", "tls_ca", "tls_cert", "tls_key"):
            if getattr(self, name) and not self.tls:
                raise ValueError(f"{name} says how tls is done, and tls is off")
        if 0 < self.query_after_seconds < SHORTEST_QUERY_SECONDS:
            raise ValueError("query_after_seconds is 0, which never asks, or at least 60")
        if bool(self.tls_cert) != bool(self.tls_key):
            given, missing = ("tls_key", "tls_cert") if self.tls_key else ("tls_cert", "tls_key")
            raise ValueError(f"{given} needs {missing} beside it")
        self.treatments()
        try:
            self.writer().address(self.sender)
        except UnwritableError:
            raise ValueError("sender has more than 20 characters, or one that no address can carry") from None

    def __repr__(self) -> str:
        return f"SmppSettings({self.name!r}, {self.host!r}, {self.port})"  # never the password

    def differs_live(self, other: SmppSettings) -> bool:
        """Whether `other` is the same but for what a connector changes without binding anew."""
        return self != other and self == msgspec.structs.replace(other, **{name: getattr(self, name) for name in LIVE})

    def treatments(self) -> Mapping[int, Treatment]:
        """`statuses` by number. Raises ValueError."""
        return {_status(key): Treatment[name.upper()] for key, name in self.statuses.items()}

    def not_assigned_codes(self) -> frozenset[str]:
        """As `read_receipt` wants them."""
        if self.not_assigned is None:
            return frozenset(NOT_ASSIGNED)
        return frozenset(code.lstrip("0") for code in self.not_assigned)

    def operator_stop_codes(self) -> frozenset[str]:
        """As `is_operator_stop` wants them."""
        return frozenset(code.lstrip("0") for code in self.stop_codes)

    def writer(self) -> Writer:
        return Writer(
            sender=self.sender,
            short_code_ton=self.short_code_ton,
            short_code_npi=self.short_code_npi,
            destination_ton=self.destination_ton,
            destination_npi=self.destination_npi,
            references=self.user_message_reference,
            sar=self.long_messages == "sar",
            gsm7=self.gsm7,
            gsm7_data_coding=self.gsm7_data_coding,
        )

    @property
    def cut(self) -> Cut:
        """How texts have to be cut for this operator."""
        return Cut(_CUTS[self.long_messages] | (LATIN_1 | BARE if self.gsm7 == "latin1" else 0))

    def limits(self) -> Limits:
        return Limits(
            window=self.window,
            bind_seconds=self.bind_seconds,
            idle_seconds=self.enquire_link_seconds,
            probe_seconds=self.probe_seconds,
            response_seconds=self.response_seconds,
            unbind_seconds=self.unbind_seconds,
        )


def _status(key: str) -> int:
    try:
        status = int(key, 0)
    except ValueError:
        status = 0
    if not 0 < status <= 0xFFFFFFFF:
        raise ValueError(f'statuses: {key!r} is no command_status, such as "0x45"')
    return status
