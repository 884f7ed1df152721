"""The real child process: frames, signals, deaths, and that it says nothing but outcomes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from chappe.core.webhooks import Delivery, Outcome, Trouble
from chappe.notifier.child import PROGRAM, Child
from chappe.notifier.pipe import LONGEST_FRAME, Start, frame_of, read_deliveries, read_outcomes, read_start
from tests.notifier.notifier_scene import (
    PATIENCE_SECONDS,
    Behaviour,
    Call,
    Ear,
    Receiver,
    delivery,
    self_signed,
    server_tls,
    status,
)

OPEN = ("127.0.0.0/8",)


class Scene:
    """A child that is kept, receivers, and what they say."""

    def __init__(self) -> None:
        self.ear = Ear()
        self.changes: list[bool] = []
        self.receivers: list[Receiver] = []
        self.child: Child
        self._running: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def start(self, child: Child | None = None, *, ready: bool = True) -> Child:
        self.child = child or Child(Start(OPEN))
        self._running = asyncio.create_task(self.child.run(self.ear.hear_all, self._change))
        if ready:
            await self.until_changes(1)
        return self.child

    async def receiver(self, behave: Behaviour) -> Receiver:
        receiver = Receiver(behave)
        await receiver.start()
        self.receivers.append(receiver)
        return receiver

    async def until_changes(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.changes) < number:
                self._changed.clear()
                await self._changed.wait()

    async def ended(self) -> None:
        assert self._running is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._running

    async def close(self) -> None:
        if self._running is not None:
            await self.child.stop(0)
            await self._running
        for receiver in self.receivers:
            await receiver.stop()

    def _change(self, up: bool) -> None:
        self.changes.append(up)
        self._changed.set()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.close()


def holding(release: asyncio.Event) -> Behaviour:
    async def hold(call: Call, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await status(200)(call, writer)

    return hold


def program(code: str) -> Sequence[str]:
    return (sys.executable, "-c", code)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- frames ------------------------------------------------------------------------------------------


def fed(octets: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(octets)
    reader.feed_eof()
    return reader


async def test_what_is_written_is_read() -> None:
    start = Start(("10.0.0.0/8",), per_endpoint=3)
    deliveries = [delivery("http://a.example/"), delivery("http://b.example/", reply="\xff\x00", secrets=())]
    outcomes = [Outcome(deliveries[0].id, 503, retry_after_ms=9), Outcome(deliveries[1].id, trouble=Trouble.TLS)]
    assert await read_start(fed(frame_of(start))) == start
    assert await read_deliveries(fed(frame_of(deliveries))) == deliveries
    assert await read_outcomes(fed(frame_of(outcomes))) == outcomes
    assert await read_outcomes(fed(frame_of([]))) == []


@pytest.mark.parametrize("cut", [0, 3, 4, 10])
async def test_an_end_anywhere_is_an_end(cut: int) -> None:
    frame = frame_of([delivery("http://a.example/")])
    assert await read_deliveries(fed(frame[:cut])) is None


@pytest.mark.parametrize("octets", [b"Traceback (most recent call last):", (LONGEST_FRAME + 1).to_bytes(4)])
async def test_what_is_no_frame_is_not_waited_for(octets: bytes) -> None:
    with pytest.raises(ValueError, match="not a frame"):
        await read_outcomes(fed(octets))


async def test_a_frame_of_something_else_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        await read_outcomes(fed(frame_of(Start())))


# --- the child ---------------------------------------------------------------------------------------


async def test_each_delivery_comes_back_as_one_outcome(scene: Scene) -> None:
    receiver, gone = await scene.receiver(status(204)), await scene.receiver(status(410))
    child = await scene.start()
    posted = [delivery(receiver.url, endpoint=1) for _ in range(40)]
    last = delivery(gone.url, endpoint=2)
    child.post(posted)
    child.post([last])
    await scene.ear.until(41)
    assert scene.ear.words() == {**{one.id: "204" for one in posted}, last.id: "410"}
    assert len(scene.ear.outcomes) == 41


async def test_without_leave_it_does_not_go_to_this_machine(scene: Scene) -> None:
    receiver = await scene.receiver(status(200))
    child = await scene.start(Child(Start()))
    child.post([delivery(receiver.url), delivery(f"http://localhost:{receiver.port}/")])
    await scene.ear.until(2)
    assert [outcome.word for outcome in scene.ear.outcomes] == ["forbidden: loopback"] * 2
    assert receiver.connections == 0


async def test_tls_is_spoken_to_a_receiver_whose_certificate_the_machine_trusts(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    receiver = Receiver(status(200), tls=server_tls(pem))
    await receiver.start()
    scene.receivers.append(receiver)
    child = await scene.start()
    child.post([delivery(receiver.url)])
    assert (await scene.ear.until(1))[0].word == "200"


async def test_an_endpoint_that_hangs_does_not_hold_up_another(scene: Scene) -> None:
    release = asyncio.Event()
    hanging, healthy = await scene.receiver(holding(release)), await scene.receiver(status(200))
    child = await scene.start(Child(Start(OPEN, per_endpoint=4, queue=60, connections=6)))
    child.post([delivery(hanging.url, endpoint=1) for _ in range(64)])
    await hanging.until(4)
    posted = [delivery(healthy.url, endpoint=2) for _ in range(64)]
    child.post(posted)
    await scene.ear.until(64)
    assert scene.ear.words() == {one.id: "200" for one in posted}
    release.set()
    await scene.ear.until(128)
    assert (hanging.most_at_once, len(hanging.calls)) == (4, 64)


async def test_signals_to_the_group_leave_it_alone_until_the_server_closes(scene: Scene) -> None:
    release = asyncio.Event()
    receiver = await scene.receiver(holding(release))
    child = await scene.start()
    child.post([delivery(receiver.url)])
    await receiver.until(1)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGTERM)
    os.kill(child.pid, signal.SIGINT)
    stopping = asyncio.create_task(child.stop(PATIENCE_SECONDS))
    release.set()
    await stopping
    await scene.ended()
    assert [outcome.word for outcome in scene.ear.outcomes] == ["200"]
    assert scene.changes == [True, False]


async def test_stopping_hands_back_what_was_not_begun(scene: Scene) -> None:
    release = asyncio.Event()
    receiver = await scene.receiver(holding(release))
    child = await scene.start(Child(Start(OPEN, per_endpoint=1)))
    child.post([delivery(receiver.url) for _ in range(5)])
    await receiver.until(1)
    stopping = asyncio.create_task(child.stop(PATIENCE_SECONDS))
    await scene.ear.until(4)
    assert {outcome.word for outcome in scene.ear.outcomes} == {"notTried"}
    release.set()
    await stopping
    assert (len(scene.ear.outcomes), scene.ear.outcomes[-1].word, len(receiver.calls)) == (5, "200", 1)


async def test_stopping_takes_no_longer_than_it_may(scene: Scene) -> None:
    receiver = await scene.receiver(holding(asyncio.Event()))
    child = await scene.start()
    child.post([delivery(receiver.url)])
    await receiver.until(1)
    pid = child.pid
    assert pid is not None
    await child.stop(0.05)
    await scene.ended()
    assert (scene.ear.outcomes, scene.changes, alive(pid)) == ([], [True, False], False)


async def test_a_child_that_dies_is_replaced_and_what_it_had_never_comes(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()
    receiver = await scene.receiver(holding(release))
    child = await scene.start()
    child.post([delivery(receiver.url)])
    await receiver.until(1)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await scene.until_changes(3)
    assert (scene.changes, scene.ear.outcomes) == ([True, False, True], [])
    assert child.pid != first
    release.set()
    again = delivery(receiver.url)
    child.post([again])
    await scene.ear.until(1)
    assert scene.ear.words() == {again.id: "200"}
    assert "the notifier ended, another is started" in caplog.messages


async def test_a_child_that_is_stuck_is_replaced(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    child = await scene.start(Child(Start(OPEN, sign_of_life_seconds=0.1), silence_seconds=2))
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    await scene.until_changes(3)
    assert (alive(first), child.pid != first) == (False, True)
    assert "the notifier shows no life" in caplog.messages


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(3)",
        "import os; os.write(1, b'Traceback: no'); input()",
        "import os; os.write(1, b'\\0\\0\\0\\1\\1')",
    ],
)
async def test_a_child_that_is_none_is_tried_again_until_stopped(
    scene: Scene, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    child = await scene.start(Child(Start(), program=program(code)), ready=False)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while caplog.messages.count("the notifier ended, another is started") < 2:
            await asyncio.sleep(0.01)
    child.post([delivery("http://hooks.example/")])
    await child.stop(1)
    await scene.ended()
    assert (scene.changes, scene.ear.outcomes) == ([], [])


async def test_a_program_that_does_not_exist_is_said_so(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    child = await scene.start(Child(Start(), program=("/nowhere/python",)), ready=False)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "the notifier cannot be started" not in caplog.messages:
            await asyncio.sleep(0.01)
    await child.stop(1)
    await scene.ended()


async def test_stopped_before_it_began_it_never_begins(scene: Scene) -> None:
    child = Child(Start())
    await child.stop(1)
    await scene.start(child, ready=False)
    await scene.ended()
    assert (scene.changes, child.pid) == ([], None)


async def test_cancelling_leaves_no_process_behind(scene: Scene) -> None:
    child = Child(Start())
    up = asyncio.Event()
    running = asyncio.create_task(child.run(lambda _: None, lambda _: up.set()))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await up.wait()
    pid = child.pid
    assert pid is not None
    running.cancel()
    await asyncio.wait([running])
    assert not alive(pid)


# --- what nobody should see --------------------------------------------------------------------------


def run_by_hand(sent: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(PROGRAM, input=sent, capture_output=True, timeout=PATIENCE_SECONDS, check=False)


def test_it_ends_when_the_server_ends_and_prints_nothing() -> None:
    secret_url = "http://me@hooks.example/?key=k3y"
    sent = frame_of(Start()) + frame_of([delivery(secret_url)])
    ended = run_by_hand(sent)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"forbidden" in ended.stdout
    for hidden in (b"k3y", b"whsec", b"336"):
        assert hidden not in ended.stdout


@pytest.mark.parametrize("sent", [b"", b"\0\0", frame_of(Start())[:-1]])
def test_without_a_start_it_ends_at_once(sent: bytes) -> None:
    ended = run_by_hand(sent)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


async def test_it_dies_with_the_server_even_while_a_receiver_hangs(scene: Scene, tmp_path: Path) -> None:
    receiver = await scene.receiver(holding(asyncio.Event()))
    frames = tmp_path / "frames"
    frames.write_bytes(frame_of(Start(OPEN)) + frame_of([delivery(receiver.url)]))
    server = await asyncio.create_subprocess_exec(
        *program(
            "import subprocess, sys\n"
            f"child = subprocess.Popen({list(PROGRAM)!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
            f"child.stdin.write(open({str(frames)!r}, 'rb').read())\n"
            "child.stdin.flush()\n"
            "print(child.pid, flush=True)\n"
            "input()\n"
        ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    pid = int(await server.stdout.readline())
    await receiver.until(1)
    server.kill()
    await server.wait()
    async with asyncio.timeout(10):  # less than the 15 seconds that the receiver has
        while alive(pid):
            await asyncio.sleep(0.01)


def test_the_servers_side_needs_no_http_client() -> None:
    code = "import sys, chappe.notifier.child, chappe.flow.notify; print('chappe.notifier.posting' in sys.modules)"
    ended = subprocess.run(program(code), check=True, capture_output=True, text=True)
    assert ended.stdout == "False\n"


def test_a_delivery_never_appears_in_a_log_line() -> None:
    one: Delivery = delivery("http://hooks.example/?key=k3y")
    for hidden in ("k3y", "whsec", "336"):
        assert hidden not in repr([one])
