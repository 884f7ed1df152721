"""The fixture for other people's tests, used as they would: with a client that blocks (python-smpplib)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import smpplib.client  # type: ignore[import-untyped]  # it has no types
import smpplib.consts  # type: ignore[import-untyped]  # it has no types
import smpplib.exceptions  # type: ignore[import-untyped]  # it has no types

from chappe.simulator import Mood, load_mood
from chappe.simulator.pytest import Smsc, smsc

__all__ = ["smsc"]  # pytest finds the fixture by this name

Client: TypeAlias = Any
"""python-smpplib's; it has no types."""


@pytest.fixture
def client(smsc: Smsc) -> Iterator[Client]:
    client = smpplib.client.Client(smsc.host, smsc.port, timeout=10, allow_unknown_opt_params=True)
    client.connect()
    client.bind_transceiver(system_id="anybody", password="anything")
    yield client
    client.disconnect()


def send(client: Client, text: bytes = b"Bonjour") -> None:
    client.send_message(source_addr="CHAPPE", destination_addr="33612345678", short_message=text, registered_delivery=1)


def test_a_client_is_tested_without_an_operator(smsc: Smsc, client: Client) -> None:
    send(client)
    smsc.wait(lambda: smsc.inbox == [("33612345678", "Bonjour")])
    (submitted,) = smsc.submits
    assert (submitted.status, submitted.pdu.user_data) == (0, b"Bonjour")
    assert smsc.counts["accepted"] == 1
    smsc.pass_time(10)
    smsc.send_mo("+33612345678", "CHAPPE", "Merci")
    got: list[bytes] = []
    client.set_message_received_handler(lambda pdu: got.append(pdu.short_message))
    while len(got) < 2:
        client.read_once()
    assert sorted(octets[:3] for octets in got) == [b"Mer", b"id:"]
    smsc.wait(lambda: smsc.counts["delivered"] == 2)
    assert smsc.undelivered == 0


@pytest.mark.parametrize("smsc", ["ovh"], indirect=True)
def test_a_mood_can_be_named(smsc: Smsc, client: Client) -> None:
    assert smsc.mood == load_mood("ovh")
    assert client.state == smpplib.consts.SMPP_CLIENT_STATE_BOUND_TRX


def test_a_mood_can_change_within_a_test(smsc: Smsc, client: Client) -> None:
    smsc.mood = Mood(refused=1.0, refused_status=0x14)
    send(client)
    smsc.wait(lambda: smsc.counts["refused"] == 1)
    with pytest.raises(smpplib.exceptions.PDUError):
        client.read_once()


def test_a_connection_can_be_cut(smsc: Smsc, client: Client) -> None:
    smsc.cut()
    with pytest.raises(smpplib.exceptions.ConnectionError):
        client.listen()


def test_the_operator_can_say_goodbye(smsc: Smsc, client: Client) -> None:
    smsc.unbind()
    assert client.read_pdu().command == "unbind"


def test_a_connection_can_go_silent(smsc: Smsc, client: Client) -> None:
    smsc.go_silent()
    send(client)
    with pytest.raises(TimeoutError, match=r"0\.05"):
        smsc.wait(lambda: smsc.submits, seconds=0.05)


def test_it_can_be_loaded_as_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["chappe.simulator.pytest"]\n')
    (tmp_path / "test_theirs.py").write_text("def test_theirs(smsc):\n    assert smsc.submits == []\n")
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ended = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_nothing_else_needs_pytest() -> None:
    program = "import sys, chappe.simulator, chappe.app; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
