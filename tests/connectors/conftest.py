from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chappe.simulator import Mood, Simulator
from tests.connectors.connector_scene import Journey, Operator, Start


@pytest.fixture
async def journey() -> AsyncIterator[Journey]:
    journey = Journey()
    yield journey
    await journey.close()


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    operator = Operator()
    await operator.start()
    yield operator
    await operator.close()


@pytest.fixture
async def simulate() -> AsyncIterator[Start]:
    started = []

    async def start(mood: Mood) -> tuple[Simulator, int]:
        simulator = Simulator(mood, ledger=True)
        started.append(simulator)
        return simulator, await simulator.start()

    yield start
    for simulator in started:
        await simulator.stop()
