"""A fraction of `scripts/prove links`: links end in every way with submits in flight, with a fixed seed."""

from __future__ import annotations

from pathlib import Path

from proofs.links import prove


async def test_no_message_is_lost_or_doubled_in_silence_when_links_end(tmp_path: Path) -> None:
    findings = await prove(tmp_path, losses=44, lines=11, seed=2, timed=False)
    assert findings.problems == []
    assert findings.counts["losses"] == 44
    assert findings.counts["in flight at losses"] != 0
