"""A port for a server that is started later."""

from __future__ import annotations

import socket

import pytest

from chappe import loopback
from chappe.loopback import free_port


def test_a_port_is_given_only_while_nobody_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(loopback, "PORTS", range(port, port + 1))
    monkeypatch.setattr(loopback, "TRIES", 1)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match="no free port"):
        free_port()
    assert free_port() == port
