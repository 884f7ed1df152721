"""A fraction of `scripts/prove schemathesis`, with a fixed seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import schemathesis

from chappe.api.openapi import describe_api
from proofs import cases


async def test_generated_requests_are_answered_as_described_and_see_no_other_account(tmp_path: Path) -> None:
    findings = await cases.prove(tmp_path, cases=400, seed=7, postgres=False)
    assert findings.problems == []
    assert int(str(findings.counts["cases"])) > 300


async def test_a_leak_or_an_answer_that_is_not_described_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = describe_api()
    for methods in description["paths"].values():
        for described in methods.values():
            described["responses"].pop("400")
    monkeypatch.setattr(cases, "_DESCRIPTION", schemathesis.openapi.from_dict(description))
    monkeypatch.setattr(cases, "MARKS", (b"own",))
    findings = await cases.prove(tmp_path, cases=100, seed=7, postgres=False)
    assert int(str(findings.counts["leaks"])) > 0
    assert int(str(findings.counts["otherwise than described"])) > 0
