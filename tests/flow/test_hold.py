from __future__ import annotations

import logging
from pathlib import Path

import pytest

from chappe.flow.hold import Watch
from chappe.storage.sqlite import open_sqlite

NOW = 1_800_000_000_000


async def test_hold_is_told_once_and_its_end_wakes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "chappe.flow.hold")
    store = await open_sqlite(tmp_path / "chappe.db")
    woken: list[bool] = []
    watch = Watch(store, lambda: woken.append(True))
    seen = []
    for on in (False, True, True, False, False):
        await store.hold(on, NOW)
        await watch.look()
        seen.append(watch.held)
    await store.close()
    assert seen == [False, True, True, False, False]
    assert [message.split(":")[0] for message in caplog.messages] == ["ON HOLD", "the hold is over"]
    assert woken == [True]
