"""Whom a connector trusts, and what it shows of itself, when it speaks TLS."""

from __future__ import annotations

import ssl

from chappe.connectors.smpp_settings import SmppSettings


class UnusableError(Exception):
    """A file named in the settings cannot be used; the message says which and why."""


def trust_of(settings: SmppSettings) -> ssl.SSLContext:
    """What a TLS connection to the operator is made with. Reads files. Raises UnusableError."""
    context = ssl.create_default_context()
    if settings.tls_ca:
        try:
            # Instead of the system's: whoever names its operator's own authority believes nobody else.
            context = ssl.create_default_context(cafile=settings.tls_ca)
        except (OSError, ssl.SSLError) as error:
            raise UnusableError(f"tls_ca: {settings.tls_ca}: {_why(error)}") from error
    if settings.tls_cert:
        try:
            context.load_cert_chain(settings.tls_cert, settings.tls_key, _refuse_to_ask)
        except (OSError, ssl.SSLError) as error:
            raise UnusableError(f"tls_cert, tls_key: {settings.tls_cert}, {settings.tls_key}: {_why(error)}") from error
        except ValueError as error:
            raise UnusableError(
                f"tls_key: {settings.tls_key} is protected by a password: keep it without one"
            ) from error
    if settings.tls_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _why(error: OSError) -> str:
    return error.reason if isinstance(error, ssl.SSLError) else str(error.strerror)


def _refuse_to_ask() -> bytes:
    """OpenSSL would ask for the password on the terminal."""
    raise ValueError
