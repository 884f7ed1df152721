"""Kannel's bearerbox (C), bound to the simulator."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from chappe.simulator import Mood, Simulator
from tests.peers.kannel_boxes import ACCEPTED, DELIVERED, FAILED, REFUSED, SENDER, Kannel, running
from tests.peers.peer_program import PATIENCE_SECONDS, lacks_command, need

NUMBER = "33612345678"
LATIN = "Ça fait 5 € {[~]} à l'heure où Zoé sera là. "
CYRILLIC = "Ваша посылка прибыла. "


class Scene(NamedTuple):
    simulator: Simulator
    kannel: Kannel


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    need(lacks_command("bearerbox"), lacks_command("smsbox"))
    simulator = Simulator(Mood(receipt_seconds=0, reply_seconds=0), system_id="kannel", password="secret", ledger=True)
    port = await simulator.start()
    async with running(tmp_path, port, "kannel", "secret") as kannel:
        yield Scene(simulator, kannel)
    await simulator.stop()


@pytest.mark.parametrize(("text", "data_coding"), [(LATIN, 0), (LATIN * 8, 0), (CYRILLIC, 8), (CYRILLIC * 8, 8)])
async def test_its_texts_and_receipts(scene: Scene, text: str, data_coding: int) -> None:
    await scene.kannel.send(NUMBER, text)
    receipts = await scene.kannel.receipts(2)
    assert sorted(receipts) == [DELIVERED, ACCEPTED]
    assert re.match(r"id:[0-9]+ sub:001 dlvrd:001 .* stat:DELIVRD err:000 ", receipts[DELIVERED])
    assert scene.simulator.inbox == [(NUMBER, text)]
    assert {submitted.pdu.data_coding for submitted in scene.simulator.ledger or ()} == {data_coding}


async def test_it_hears_of_failures(scene: Scene) -> None:
    await scene.kannel.send("33600000001", "Bonjour")
    receipts = await scene.kannel.receipts(2)
    assert sorted(receipts) == [FAILED, ACCEPTED]
    assert " stat:UNDELIV err:001 " in receipts[FAILED]
    await scene.kannel.send("33600000007", "Bonjour")
    assert await scene.kannel.receipts(1) == {REFUSED: "NACK/0x0000000b/Invalid Destination Address"}


@pytest.mark.parametrize("text", ["STOP", LATIN * 4, CYRILLIC * 8])
async def test_what_people_write_reaches_it_whole(scene: Scene, text: str) -> None:
    written = text.strip()  # as it would itself
    scene.simulator.send_mo(NUMBER, SENDER, written)
    assert await scene.kannel.reply() == (f"+{NUMBER}", SENDER, written)


async def test_it_binds_again(scene: Scene) -> None:
    for end in (scene.simulator.unbind, scene.simulator.cut):
        binds = scene.simulator.counts["binds"]
        end()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while scene.simulator.counts["binds"] == binds:
                await asyncio.sleep(0.02)
        await scene.kannel.send(NUMBER, "Bonjour")
        assert sorted(await scene.kannel.receipts(2)) == [DELIVERED, ACCEPTED]
