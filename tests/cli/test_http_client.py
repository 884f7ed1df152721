from __future__ import annotations

import socket
from typing import Any

import pytest

from chappe.http_client import Declined, Unreachable, call

pytest_plugins = ("cli_fixtures",)

KEY = "0123456789abcdef0123456789abcdef"


def test_body_key_and_language_go_as_the_contract_says(server: Any) -> None:
    server.answers = [(200, {"snapshotId": "1"})]
    answer = call(server.url + "/", KEY, "POST", "/v2/x", {"message": "é"}, language="fr")
    method, path, headers, body = server.asked[0]
    assert answer == {"snapshotId": "1"}
    assert (method, path, body) == ("POST", "/v2/x", {"message": "é"})
    assert headers["x-primotexto-apikey"] == KEY
    assert headers["accept-language"] == "fr"
    assert headers["content-type"] == "application/json"


def test_no_is_an_error_with_the_code_and_the_words_of_the_server(server: Any) -> None:
    server.answers = [(400, {"code": 11, "error": "invalid number", "message": "invalid number"})]
    with pytest.raises(Declined) as caught:
        call(server.url, KEY, "GET", "/")
    assert str(caught.value) == "invalid number (code 11)"
    assert caught.value.status == 400
    assert caught.value.answer["code"] == 11


def test_redirect_is_not_followed_because_the_key_would_go_with_it(server: Any) -> None:
    server.answers = [(302, {})]
    with pytest.raises(Declined, match="302"):
        call(server.url, KEY, "GET", "/")
    assert len(server.asked) == 1


@pytest.mark.parametrize("answer", [b"<html>", b"", b"[1]", b"\xff"])
def test_answer_that_is_not_an_object_is_not_chappe(server: Any, answer: bytes) -> None:
    server.answers = [(200, answer)]
    with pytest.raises(Unreachable, match="does not answer as Chappe does"):
        call(server.url, KEY, "GET", "/")


def test_lost_answer_to_a_send_says_that_it_may_have_been_accepted(server: Any) -> None:
    server.answers = [(200, None)]
    with pytest.raises(Unreachable, match="may have been accepted"):
        call(server.url, KEY, "POST", "/", {})
    with pytest.raises(Unreachable) as caught:
        call(server.url, KEY, "GET", "/")
    assert "accepted" not in str(caught.value)


def test_silence_ends_with_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match="gave no answer"):
            call(url, KEY, "GET", "/", timeout_seconds=0.05)


def test_refused_connection_is_unreachable(unused_port: int) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        call(f"http://127.0.0.1:{unused_port}", KEY, "GET", "/")


def test_proxies_of_the_environment_are_not_for_this_machine(
    server: Any, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [(200, {})]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert call(server.url, KEY, "GET", "/") == {}
    with pytest.raises(Unreachable):
        call("http://sms.example.org", KEY, "GET", "/")
