"""HTTPS from the server itself; the certificates are for 127.0.0.1, vouch for themselves and end in 2120."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from api_scene import KEY, SEND, open_scene

from chappe.api.server import Limits, Server, make_server
from chappe.api.tls import Certificate, CertificateError

CERTIFICATES = Path(__file__).parent / "certificates"
BODY = b'{"number":"0612345678","message":"Bonjour"}'
REQUEST = b"POST %b HTTP/1.1\r\nHost: x\r\nX-Primotexto-ApiKey: %b\r\nContent-Length: %d\r\n\r\n%b" % (
    SEND.encode(),
    KEY.encode(),
    len(BODY),
    BODY,
)


def put(name: str, folder: Path) -> Path:
    """Puts a pair where the server looks for it, as a renewal does: each file takes the other one's name."""
    for ending in ("pem", "key"):
        shutil.copy(CERTIFICATES / f"{name}.{ending}", folder / "new")
        (folder / "new").rename(folder / f"server.{ending}")
    return folder


def read(folder: Path) -> Certificate:
    return Certificate(folder / "server.pem", folder / "server.key")


@asynccontextmanager
async def serving(folder: Path, certificate: Certificate, limits: Limits | None = None) -> AsyncIterator[Server]:
    async with open_scene(folder) as scene:
        server = make_server(scene.app, "127.0.0.1", 0, limits=limits, tls=certificate.context)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


def trusting(name: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATES / f"{name}.pem")


async def connect(
    server: Server, context: ssl.SSLContext, name: str | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port, ssl=context, server_hostname=name or "127.0.0.1")


async def status_over(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> int:
    """Sends a message, and reads the whole answer."""
    reader, writer = connection
    writer.write(REQUEST)
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
    return int(head.split(b" ")[1])


async def first_words(reader: asyncio.StreamReader) -> bytes:
    """What the server says before it ends the connection, one way or the other."""
    async with asyncio.timeout(30):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_verifying_client_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, read(put("first", tmp_path))) as server:
        for name in ("127.0.0.1", "localhost"):  # without a server name in the handshake, and with one
            connection = await connect(server, trusting("first"), name)
            assert await status_over(connection) == 200
            connection[1].close()


async def test_a_renewed_certificate_is_for_new_handshakes_and_open_connections_go_on(tmp_path: Path) -> None:
    certificate = read(put("first", tmp_path))
    async with serving(tmp_path, certificate) as server:
        before = await connect(server, trusting("first"))
        assert await status_over(before) == 200
        put("second", tmp_path)
        certificate.look()
        assert await status_over(before) == 200
        for name in ("127.0.0.1", "localhost"):
            after = await connect(server, trusting("second"), name)
            assert await status_over(after) == 200
            after[1].close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(server, trusting("first"))
        before[1].close()


async def test_half_a_renewal_changes_nothing_until_the_other_half_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = read(put("first", tmp_path))
    async with serving(tmp_path, certificate) as server:
        shutil.copy(CERTIFICATES / "second.pem", tmp_path / "server.pem")
        certificate.look()
        certificate.look()
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
            "renewed certificate cannot be used, the one before it stays"
        ]
        connection = await connect(server, trusting("first"))
        connection[1].close()
        shutil.copy(CERTIFICATES / "second.key", tmp_path / "server.key")
        certificate.look()
        connection = await connect(server, trusting("second"))
        connection[1].close()


async def test_a_file_that_goes_missing_leaves_the_certificate_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = read(put("first", tmp_path))
    async with serving(tmp_path, certificate) as server:
        (tmp_path / "server.key").unlink()
        for _ in range(3):
            certificate.look()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        connection = await connect(server, trusting("first"))
        assert await status_over(connection) == 200
        connection[1].close()


@pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01"], ids=["nothing", "the beginning"])
async def test_a_handshake_that_does_not_come_ends_the_connection(tmp_path: Path, octets: bytes) -> None:
    certificate = read(put("first", tmp_path))
    async with serving(tmp_path, certificate, Limits(head_seconds=0.2)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(octets)
        assert await first_words(reader) == b""
        writer.transport.abort()


async def test_a_head_that_does_not_come_is_answered_over_tls_too(tmp_path: Path) -> None:
    certificate = read(put("first", tmp_path))
    async with serving(tmp_path, certificate, Limits(head_seconds=0.2)) as server:
        reader, writer = await connect(server, trusting("first"))
        writer.write(REQUEST[:20])
        assert (await first_words(reader)).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_plain_http_is_not_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, read(put("first", tmp_path))) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(REQUEST)
        assert b"HTTP" not in await first_words(reader)
        writer.transport.abort()


def test_tls_before_1_2_is_refused(tmp_path: Path) -> None:
    assert read(put("first", tmp_path)).context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("certificate", "key", "complaint"),
    [
        ("missing.pem", "first.key", "tls_cert: .*missing.pem: No such file"),
        ("first.pem", "missing.key", "tls_key: .*missing.key: No such file"),
        ("first.pem", "second.key", "tls_key: .*second.key is not the key of the certificate in .*first.pem"),
        ("first.pem", "first.pem", "tls_key: .*first.pem has no private key in PEM"),
        ("first.key", "first.key", "tls_cert: .*first.key has no certificate in PEM"),
        ("first.pem", "locked.key", "tls_key: .*locked.key is protected by a password"),
    ],
)
def test_what_is_wrong_names_its_setting_and_its_file(certificate: str, key: str, complaint: str) -> None:
    with pytest.raises(CertificateError, match=complaint):
        Certificate(CERTIFICATES / certificate, CERTIFICATES / key)
