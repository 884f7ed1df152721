"""A server with a certificate, and our own client, which verifies it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chappe.api.tls import CertificateError
from chappe.app import Node
from chappe.core.errors import ChappeError
from chappe.http_client import Unreachable, call
from chappe.settings import Settings

CERTIFICATES = Path(__file__).parents[1] / "api" / "certificates"


def settings(folder: Path, key: str = "first.key") -> Settings:
    return Settings(
        listen="127.0.0.1:0",
        database=f"sqlite:///{folder / 'chappe.db'}",
        tls_cert=str(CERTIFICATES / "first.pem"),
        tls_key=str(CERTIFICATES / key),
    )


async def test_server_answers_https_to_those_who_trust_its_certificate(tmp_path: Path) -> None:
    async with Node(settings(tmp_path)) as node:
        assert node.base_url.startswith("https://127.0.0.1:")

        def ask(cacert: str | None) -> object:
            return call(node.base_url, None, "GET", "/health", cacert=cacert)

        await asyncio.to_thread(ask, str(CERTIFICATES / "first.pem"))
        for cacert in (None, str(CERTIFICATES / "second.pem")):
            with pytest.raises(Unreachable, match="certificate"):
                await asyncio.to_thread(ask, cacert)


async def test_server_does_not_start_with_a_key_of_another_certificate(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"second\.key is not the key of"):
        async with Node(settings(tmp_path, "second.key")):
            pass


@pytest.mark.parametrize(("file", "complaint"), [("missing.pem", "No such file"), ("first.key", "not a certificate")])
def test_client_says_what_is_wrong_with_those_it_shall_trust(file: str, complaint: str) -> None:
    with pytest.raises(ChappeError, match=complaint):
        call("https://127.0.0.1:1", None, "GET", "/health", cacert=str(CERTIFICATES / file))
