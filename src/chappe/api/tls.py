"""Our certificate: what handshakes use, checked at the start, and read again once it was renewed.

A renewed pair is taken whole or not at all: it is loaded into a context of its own, and connections that are open keep
theirs. Whoever renews need not tell us; the files are looked at.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from chappe.core.errors import ChappeError

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 5.0


class CertificateError(ChappeError):
    """The certificate cannot be used; the message says why."""


class Certificate:
    """A certificate with those that vouch for it, and its key, each a PEM file. Raises CertificateError."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._stamp()
        self._newest = self._load()
        self.context = self._newest
        """For the server's lifetime; handshakes go on with the newest pair."""
        self.context.sni_callback = self._choose

    async def watch(self) -> None:
        """Looks for a renewed pair until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            self.look()

    def look(self) -> None:
        """Takes a pair that has changed; one that cannot be used (yet) is left alone until it changes again."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._newest = self._load()
        except CertificateError as error:
            log.error("renewed certificate cannot be used, the one before it stays", extra={"reason": str(error)})
        else:
            log.info("certificate renewed")

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _load(self) -> ssl.SSLContext:
        certificate, key = self._files
        _read("tls_cert", certificate)
        secret = _read("tls_key", key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(certificate, key, _refuse_to_ask)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                complaint = f"tls_key: {key} is not the key of the certificate in {certificate}"
            elif "PRIVATE KEY-----" not in secret:
                complaint = f"tls_key: {key} has no private key in PEM"
            else:
                complaint = f"tls_cert: {certificate} has no certificate in PEM"
            raise CertificateError(complaint) from error
        except ValueError as error:
            raise CertificateError(f"tls_key: {key} is protected by a password: keep it without one") from error
        return context

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What changes when a file is written, goes, or another one takes its name."""
        return tuple(map(_stamp_of, self._files))


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(setting: str, file: Path) -> str:
    try:
        return file.read_text("latin-1")
    except OSError as error:
        raise CertificateError(f"{setting}: {file}: {error.strerror}") from error


def _refuse_to_ask() -> bytes:
    """OpenSSL would ask for the password on the terminal."""
    raise ValueError
