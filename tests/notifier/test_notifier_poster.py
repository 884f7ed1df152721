"""The poster against receivers on loopback, and names that a script resolves."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from chappe.core.targets import DENIED, Network, parse_networks
from chappe.core.webhooks import Outcome, Trouble, make_secret
from chappe.notifier.guard import ForbiddenAddress, guarded_sockets
from chappe.notifier.pipe import Start
from chappe.notifier.poster import Poster, trouble_of
from chappe.notifier.posting import Disconnected, target_of
from tests.core.forbidden_urls import FORBIDDEN
from tests.notifier.notifier_scene import (
    SECRET,
    Behaviour,
    Call,
    Ear,
    Receiver,
    answer,
    delivery,
    self_signed,
    server_tls,
    status,
)

NOW = 1_700_000_000_000
OPEN = ("127.0.0.0/8",)


class Names:
    """A name service whose answers are a script: the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def look_up(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return answers


class Scene:
    """Posters and receivers that are put away at the end."""

    def __init__(self) -> None:
        self.ear = Ear()
        self.posters: list[Poster] = []
        self.receivers: list[Receiver] = []

    def poster(self, start: Start | None = None, names: Names | None = None, now: int = NOW) -> Poster:
        poster = Poster(start or Start(OPEN), lambda: now, self.ear.hear, names.look_up if names else None)
        self.posters.append(poster)
        return poster

    async def receiver(self, behave: Behaviour, host: str = "127.0.0.1", port: int = 0) -> Receiver:
        receiver = Receiver(behave, host)
        await receiver.start(port)
        self.receivers.append(receiver)
        return receiver

    async def outcome_of(self, behave: Behaviour, start: Start | None = None) -> tuple[Outcome, Receiver]:
        """What becomes of one delivery to such a receiver."""
        receiver = await self.receiver(behave)
        self.poster(start).take([delivery(receiver.url)])
        (outcome,) = await self.ear.until(1)
        return outcome, receiver

    async def close(self) -> None:
        for receiver in self.receivers:
            await receiver.stop()
        for poster in self.posters:
            await poster.drain()
            await poster.close()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.close()


def holding(release: asyncio.Event) -> Behaviour:
    """Says nothing until released."""

    async def hold(call: Call, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await status(200)(call, writer)

    return hold


async def never(call: Call, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


# --- the request -------------------------------------------------------------------------------------


async def test_the_request_is_a_signed_post_of_the_body_to_the_url_as_it_is_written(scene: Scene) -> None:
    receiver = await scene.receiver(status(204))
    posted = delivery(receiver.url + "?key=a%20b&x=%2F|{y}", reply="réponse")
    scene.poster().take([posted])
    (outcome,) = await scene.ear.until(1)
    assert (outcome.id, outcome.word) == (posted.id, "204")
    (call,) = receiver.calls
    assert call.line == "POST /hook?key=a%20b&x=%2F|{y} HTTP/1.1"
    assert call.body == posted.body
    assert call.headers.keys() == {
        "host",
        "content-type",
        "content-length",
        "user-agent",
        "accept",
        "accept-encoding",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
    assert (call.headers["content-type"], call.headers["webhook-id"]) == ("application/json", posted.event)
    assert call.headers["webhook-timestamp"] == str(NOW // 1000)


async def test_a_receiver_verifies_with_either_of_two_secrets(scene: Scene) -> None:
    receiver, other = await scene.receiver(status(200)), make_secret(bytes(24))
    posted = delivery(receiver.url, reply="vu", secrets=(other, SECRET))
    scene.poster(now=time.time_ns() // 1_000_000).take([posted])
    await scene.ear.until(1)
    for secret in (SECRET, other):
        assert Webhook(secret).verify(receiver.calls[0].body, receiver.calls[0].headers)["replyMessage"] == "vu"


async def test_a_connection_is_used_again(scene: Scene) -> None:
    receiver = await scene.receiver(status(200))
    poster = scene.poster(Start(OPEN, per_endpoint=1))
    poster.take([delivery(receiver.url) for _ in range(5)])
    await scene.ear.until(5)
    assert (len(receiver.calls), receiver.connections) == (5, 1)


@pytest.mark.parametrize(
    "raw",
    [
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n",
        "HTTP/1.1 204 No Content\n\n",
        "HTTP/1.1 102 Processing\n\nHTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.0 200 OK\nConnection: keep-alive\nContent-Length: 2\n\nok",
    ],
)
async def test_a_connection_is_used_again_however_the_answer_ends(scene: Scene, raw: str) -> None:
    receiver = await scene.receiver(answer(raw))
    poster = scene.poster()
    for number in range(1, 4):
        poster.take([delivery(receiver.url)])
        assert (await scene.ear.until(number))[-1].status in (200, 204)
    assert (len(receiver.calls), receiver.connections) == (3, 1)


@pytest.mark.parametrize(
    ("raw", "then_close"),
    [
        ("HTTP/1.1 200 OK\n\nas long as it lasts", True),
        ("HTTP/1.1 200 OK\nConnection: close\nContent-Length: 0\n\n", False),
        ("HTTP/1.0 200 OK\nContent-Length: 0\n\n", False),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\nHTTP/1.1 200 OK\nContent-Length: 0\n\n", False),
    ],
)
async def test_a_connection_that_is_not_kept_is_made_anew(scene: Scene, raw: str, then_close: bool) -> None:
    receiver = await scene.receiver(answer(raw, then_close=then_close))
    poster = scene.poster()
    for number in (1, 2):
        poster.take([delivery(receiver.url)])
        assert (await scene.ear.until(number))[-1].status == 200
    assert (len(receiver.calls), receiver.connections) == (2, 2)


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one_s(scene: Scene) -> None:
    taken, refused = "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "HTTP/1.1 500 No\nContent-Length: 0\n\n"
    receiver = await scene.receiver(answer(taken + refused))
    scene.poster(Start(OPEN, per_endpoint=1)).take([delivery(receiver.url) for _ in range(3)])
    assert [outcome.status for outcome in await scene.ear.until(3)] == [200, 200, 200]
    assert receiver.connections == 3


async def test_a_try_that_hangs_while_it_connects_ends_in_time(scene: Scene) -> None:
    asked = asyncio.Event()

    async def look_up(host: str) -> Sequence[str]:
        asked.set()
        await asyncio.Event().wait()
        return []

    poster = Poster(Start(timeout_seconds=0.05), lambda: NOW, scene.ear.hear, look_up)
    scene.posters.append(poster)
    poster.take([delivery("http://hooks.example/")])
    assert [outcome.word for outcome in await scene.ear.until(1)] == ["timeout"]
    assert asked.is_set()


async def test_an_idle_connection_that_is_closed_meanwhile_costs_no_try(scene: Scene) -> None:
    receiver = await scene.receiver(answer("HTTP/1.1 200 OK\nContent-Length: 0\n\n", then_close=True))
    poster = scene.poster()
    for number in (1, 2, 3):
        poster.take([delivery(receiver.url)])
        assert (await scene.ear.until(number))[-1].status == 200
    assert receiver.connections == 3


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        ("http://HOOKS.example:80", "POST / HTTP/1.1", "hooks.example:80"),
        ("http://hooks.example?to=1", "POST /?to=1 HTTP/1.1", "hooks.example"),
        ("https://hooks.example:8443/a//b%2F?x=%20&y#part", "POST /a//b%2F?x=%20&y HTTP/1.1", "hooks.example:8443"),
        ("http://[2001:4860::1]:8080/", "POST / HTTP/1.1", "[2001:4860::1]:8080"),
    ],
)
def test_a_url_is_asked_for_as_it_is_written(url: str, line: str, host: str) -> None:
    first, second, *_ = target_of(url).head.decode().split("\r\n")
    assert (first, second) == (line, f"Host: {host}")


async def test_no_cookie_proxy_or_login_of_the_machine_is_used(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    receiver = await scene.receiver(status(200, "Set-Cookie: a=b"))
    scene.poster(Start(OPEN, per_endpoint=1)).take([delivery(receiver.url), delivery(receiver.url)])
    await scene.ear.until(2)
    assert [call.headers.keys() & {"cookie", "authorization"} for call in receiver.calls] == [set(), set()]


# --- answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 204, 301, 302, 303, 307, 308, 400, 401, 404, 410, 429, 500, 503, 599])
async def test_a_status_is_told_as_it_is_and_a_redirect_is_not_followed(scene: Scene, code: int) -> None:
    elsewhere = await scene.receiver(status(200))
    outcome, receiver = await scene.outcome_of(status(code, f"Location: {elsewhere.url}"))
    assert (outcome.status, outcome.trouble, outcome.retry_after_ms) == (code, None, None)
    assert (len(receiver.calls), elsewhere.connections) == (1, 0)


@pytest.mark.parametrize(
    ("header", "asked"), [("120", 120_000), ("Tue, 14 Nov 2023 22:14:20 GMT", 60_000), ("soon", None)]
)
async def test_retry_after_is_read(scene: Scene, header: str, asked: int | None) -> None:
    outcome, _ = await scene.outcome_of(status(503, f"Retry-After: {header}"))
    assert (outcome.status, outcome.retry_after_ms) == (503, asked)


@pytest.mark.parametrize(
    ("raw", "trouble"),
    [
        ("", Trouble.DISCONNECTED),
        ("HTTP/1.1 200 OK\nContent-Le", Trouble.DISCONNECTED),
        ("220 mail.example ESMTP\n\n", Trouble.PROTOCOL),
        ("\x00\x01\x02\n\n", Trouble.PROTOCOL),
        ("HTTP/1.1 999999 OK\n\n", Trouble.PROTOCOL),
        ("HTTP/1.1 200 OK\nX: " + "x" * 70_000 + "\n\n", Trouble.PROTOCOL),
        ("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\n", Trouble.PROTOCOL),
    ],
)
async def test_what_is_no_answer_is_a_trouble(scene: Scene, raw: str, trouble: Trouble) -> None:
    outcome, _ = await scene.outcome_of(answer(raw, then_close=True))
    assert (outcome.status, outcome.trouble, outcome.detail) == (None, trouble, "")


async def test_a_connection_that_is_reset_is_told_so(scene: Scene) -> None:
    async def reset(call: Call, writer: asyncio.StreamWriter) -> None:
        # lingering for no time: the kernel sends RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    outcome, _ = await scene.outcome_of(reset)
    assert outcome.trouble is Trouble.DISCONNECTED


async def test_nobody_listening_is_unreachable(scene: Scene) -> None:
    receiver = await scene.receiver(status(200))
    await receiver.stop()
    scene.receivers.clear()
    scene.poster().take([delivery(receiver.url)])
    assert (await scene.ear.until(1))[0].trouble is Trouble.UNREACHABLE


async def test_a_receiver_that_says_nothing_is_given_up_after_the_time(scene: Scene) -> None:
    outcome, receiver = await scene.outcome_of(never, Start(OPEN, timeout_seconds=0.05))
    assert (outcome.status, outcome.trouble) == (None, Trouble.TIMEOUT)
    assert outcome.took_ms >= 50
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("code", [200, 500])
async def test_a_status_stands_though_its_answer_never_ends(scene: Scene, code: int) -> None:
    async def drip(call: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d Slow\r\nContent-Length: 1000\r\n\r\nx" % code)
        await never(call, writer)

    outcome, _ = await scene.outcome_of(drip, Start(OPEN, timeout_seconds=0.1))
    assert (outcome.status, outcome.trouble) == (code, None)


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked", b"Connection: close", b"Content-Encoding: gzip"],
)
async def test_a_huge_answer_is_not_read_to_its_end(scene: Scene, head: bytes) -> None:
    hung_up, written = asyncio.Event(), 0

    async def flood(call: Call, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        piece = (b"4000\r\n" if b"chunked" in head else b"") + b"x" * 0x4000 + b"\r\n" * (b"chunked" in head)
        try:
            for _ in range(10_000):
                writer.write(piece)
                await writer.drain()
                written += len(piece)
        finally:
            hung_up.set()

    outcome, _ = await scene.outcome_of(flood)
    assert (outcome.status, outcome.trouble) == (200, None)
    async with asyncio.timeout(10):
        await hung_up.wait()
    assert written < 100_000_000


async def test_a_broken_secret_is_our_fault_and_not_quoted(scene: Scene) -> None:
    receiver = await scene.receiver(status(200))
    scene.poster().take([delivery(receiver.url, secrets=("whsec_oops",))])
    (outcome,) = await scene.ear.until(1)
    assert (outcome.trouble, outcome.detail, receiver.connections) == (Trouble.FAULT, "ValueError", 0)


# --- TLS ---------------------------------------------------------------------------------------------


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_the_name_was_asked_for(
    scene: Scene, tmp_path: Path
) -> None:
    context, asked = server_tls(self_signed(tmp_path)), []
    context.sni_callback = lambda _, name, __: asked.append(name)
    receiver = Receiver(status(200), tls=context)
    await receiver.start()
    scene.receivers.append(receiver)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's failed handshake
    scene.poster(names=Names(["127.0.0.1"])).take([delivery(f"https://hooks.example:{receiver.port}/")])
    (outcome,) = await scene.ear.until(1)
    assert (outcome.trouble, receiver.calls, asked) == (Trouble.TLS, [], ["hooks.example"])


async def test_a_receiver_without_tls_is_not_spoken_to_in_the_clear(scene: Scene) -> None:
    said = b""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        said = await reader.read(5)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        scene.poster().take([delivery(f"https://127.0.0.1:{port}/")])
        (outcome,) = await scene.ear.until(1)
    assert outcome.trouble in (Trouble.TLS, Trouble.DISCONNECTED)
    assert said[:2] == b"\x16\x03"  # a TLS handshake, not a POST


# --- where it may go ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "word"), DENIED, ids=[str(network) for network, _ in DENIED])
async def test_a_name_that_resolves_into_a_denied_network_is_refused(scene: Scene, network: Network, word: str) -> None:
    names = Names([str(network[0])], [str(network[-1])])
    poster = scene.poster(Start(name_seconds=0), names)
    poster.take([delivery("http://hooks.example/")])
    await scene.ear.until(1)
    poster.take([delivery("http://hooks.example/", endpoint=2)])
    outcomes = await scene.ear.until(2)
    assert {outcome.trouble for outcome in outcomes} == {Trouble.FORBIDDEN}
    assert word in {outcome.detail for outcome in outcomes}
    for address in (network[0], network[-1]):
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with pytest.raises(ForbiddenAddress):
            guarded_sockets(())((family, socket.SOCK_STREAM, 0, "", (str(address), 80)))


@pytest.mark.parametrize(
    ("host", "word"), [("127.0.0.1", "loopback"), ("localhost", "loopback"), ("127.1", "host"), ("0x7f000001", "host")]
)
async def test_a_listening_service_of_this_machine_is_not_reached(scene: Scene, host: str, word: str) -> None:
    receiver = await scene.receiver(status(200))
    scene.poster(Start()).take([delivery(f"http://{host}:{receiver.port}/")])
    (outcome,) = await scene.ear.until(1)
    assert (outcome.word, receiver.connections) == (f"forbidden: {word}", 0)


async def test_a_forbidden_url_is_refused_before_its_name_is_asked_for(scene: Scene) -> None:
    names = Names(["93.184.216.34"])
    posted = [delivery(url, endpoint) for endpoint, (url, _) in enumerate(FORBIDDEN)]
    scene.poster(Start(), names).take(posted)
    await scene.ear.until(len(posted))
    words = scene.ear.words()
    assert [words[each.id] for each in posted] == [f"forbidden: {word}" for _, word in FORBIDDEN]
    assert names.asked == []


async def test_a_name_is_resolved_once_and_the_connection_goes_to_the_address_that_was_judged(scene: Scene) -> None:
    judged = await scene.receiver(status(200, "Connection: close"), "127.0.0.2")
    inside = await scene.receiver(status(200), "127.0.0.1", judged.port)
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    poster = scene.poster(Start(("127.0.0.2/32",), name_seconds=0), names)
    url = f"http://hooks.example:{judged.port}/hook"
    poster.take([delivery(url)])
    await scene.ear.until(1)
    assert (len(judged.calls), names.asked) == (1, ["hooks.example"])
    assert judged.calls[0].headers["host"] == f"hooks.example:{judged.port}"
    poster.take([delivery(url)])
    outcomes = await scene.ear.until(2)
    assert [outcome.word for outcome in outcomes] == ["200", "forbidden: loopback"]
    assert (len(judged.calls), inside.connections, len(names.asked)) == (1, 0, 2)


async def test_of_several_addresses_only_the_open_ones_are_tried(scene: Scene) -> None:
    receiver = await scene.receiver(status(200), "127.0.0.2")
    inside = await scene.receiver(status(200), "127.0.0.1", receiver.port)
    names = Names(["127.0.0.1", "::1", "127.0.0.2", "10.0.0.1"])
    poster = scene.poster(Start(("127.0.0.2/32",)), names)
    poster.take([delivery(f"http://hooks.example:{receiver.port}/")])
    assert (await scene.ear.until(1))[0].status == 200
    assert (len(receiver.calls), inside.connections) == (1, 0)


async def test_a_name_without_addresses_is_told_so(scene: Scene) -> None:
    scene.poster(names=Names([])).take([delivery("http://hooks.example/")])
    assert (await scene.ear.until(1))[0].word == "name"


async def test_the_machines_own_name_service_is_asked_when_nothing_else_is_given(scene: Scene) -> None:
    receiver = await scene.receiver(status(200))
    scene.poster().take([delivery(f"http://localhost:{receiver.port}/")])
    assert (await scene.ear.until(1))[0].status == 200


def test_an_allowed_network_gets_a_socket() -> None:
    make = guarded_sockets(parse_networks(OPEN))
    with make((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))) as made:
        assert made.family == socket.AF_INET


# --- one endpoint and the others ---------------------------------------------------------------------


async def test_an_endpoint_that_hangs_holds_its_own_places_only(scene: Scene) -> None:
    release = asyncio.Event()
    hanging = await scene.receiver(holding(release))
    healthy = await scene.receiver(status(200))
    poster = scene.poster(Start(OPEN, per_endpoint=2, queue=30, connections=3))
    to_hanging = [delivery(hanging.url, endpoint=1) for _ in range(30)]
    to_healthy = [delivery(healthy.url, endpoint=2) for _ in range(30)]
    poster.take(to_hanging)
    await hanging.until(2)
    poster.take(to_healthy)
    await scene.ear.until(30)
    assert scene.ear.words() == {posted.id: "200" for posted in to_healthy}
    assert (len(hanging.calls), hanging.under_way) == (2, 2)
    release.set()
    await scene.ear.until(60)
    assert (hanging.most_at_once, healthy.most_at_once) == (2, 1)


async def test_in_all_no_more_requests_are_made_than_there_are_places(scene: Scene) -> None:
    under_way, most, full = 0, 0, asyncio.Event()

    async def hold_until_full(call: Call, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 5:
            full.set()
        await full.wait()
        under_way -= 1
        await status(200)(call, writer)

    receivers = [await scene.receiver(hold_until_full) for _ in range(4)]
    poster = scene.poster(Start(OPEN, per_endpoint=4, connections=5))
    poster.take([delivery(receiver.url, endpoint) for endpoint, receiver in enumerate(receivers) for _ in range(8)])
    await scene.ear.until(32)
    assert [len(receiver.calls) for receiver in receivers] == [8, 8, 8, 8]
    assert most == 5


async def test_what_finds_its_lane_full_is_handed_back(scene: Scene) -> None:
    release = asyncio.Event()
    receiver = await scene.receiver(holding(release))
    posted = [delivery(receiver.url) for _ in range(7)]
    scene.poster(Start(OPEN, per_endpoint=2, queue=3)).take(posted)
    await receiver.until(2)
    assert scene.ear.words() == {late.id: "notTried" for late in posted[5:]}
    release.set()
    await scene.ear.until(7)
    assert len(receiver.calls) == 5


@pytest.mark.parametrize("per_endpoint", [1, 2])
async def test_behind_a_try_that_timed_out_nobody_waits(scene: Scene, per_endpoint: int) -> None:
    receiver = await scene.receiver(never)
    posted = [delivery(receiver.url) for _ in range(4)]
    poster = scene.poster(Start(OPEN, per_endpoint=per_endpoint, connections=1, timeout_seconds=0.05))
    poster.take(posted)
    await scene.ear.until(4)
    await poster.drain()
    assert [outcome.word for outcome in scene.ear.outcomes] == ["timeout", "notTried", "notTried", "notTried"]
    assert len(receiver.calls) == 1


async def test_a_lane_works_again_after_it_was_empty(scene: Scene) -> None:
    receiver = await scene.receiver(status(200))
    poster = scene.poster()
    for done in range(1, 4):
        poster.take([delivery(receiver.url)])
        await scene.ear.until(done)
    assert len(receiver.calls) == 3


async def test_draining_hands_back_what_waits_and_lets_end_what_is_under_way(scene: Scene) -> None:
    release = asyncio.Event()
    receiver = await scene.receiver(holding(release))
    poster = scene.poster(Start(OPEN, per_endpoint=2))
    posted = [delivery(receiver.url) for _ in range(6)]
    poster.take(posted)
    await receiver.until(2)
    draining = asyncio.create_task(poster.drain())
    await scene.ear.until(4)
    assert scene.ear.words() == {waiting.id: "notTried" for waiting in posted[2:]}
    late = delivery(receiver.url)
    poster.take([late])
    assert scene.ear.words()[late.id] == "notTried"
    release.set()
    await draining
    assert [outcome.word for outcome in scene.ear.outcomes[-2:]] == ["200", "200"]
    assert len(receiver.calls) == 2


@pytest.mark.parametrize("make", [ssl.SSLError, Disconnected, KeyError])
def test_no_words_of_an_error_are_told(make: Callable[[str], Exception]) -> None:
    trouble, detail = trouble_of(make("http://hooks.example/?key=k3y"))
    assert trouble in (Trouble.TLS, Trouble.DISCONNECTED, Trouble.FAULT)
    assert "k3y" not in detail
