"""A fraction of `scripts/prove`: kill -9 under load, with a fixed seed."""

from __future__ import annotations

from pathlib import Path

from proofs.kill import prove


async def test_every_accepted_message_survives_kills_and_ends(tmp_path: Path) -> None:
    findings = await prove(tmp_path, sends=400, kills=3, seed=2)
    assert findings.problems == []
    assert findings.accepted > 250
    assert findings.states["delivered"] >= findings.accepted - 3 * 50  # at most a window of doubts a kill
