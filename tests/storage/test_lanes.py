"""Lanes: jobs that wait go together; a worker whose connection is lost says so and comes back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from chappe.core.errors import StoreUnavailable
from chappe.storage import lanes
from chappe.storage.lanes import Job, Lane


class Clerk:
    """A worker that doubles numbers; the gate holds it at work."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.away = False
        self.connected = False
        self.closed = False
        self.in_the_dark: Job | None = None
        self.loses_track = False
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def busy_with_the_past(self) -> bool:
        return self.in_the_dark is not None

    async def open(self) -> None:
        if self.away:
            self.connected = False
            raise StoreUnavailable("away")
        self.connected = True
        if self.in_the_dark is not None:
            self.in_the_dark.succeed(self.in_the_dark.payload * 2)
            self.in_the_dark = None

    async def perform(self, jobs: Sequence[Job]) -> None:
        assert self.connected
        self.batches.append([job.payload for job in jobs])
        await self.gate.wait()
        if self.loses_track:
            self.loses_track = False
            [self.in_the_dark] = jobs
            return
        if any(job.payload < 0 for job in jobs):
            raise ValueError("a mistake")
        for job in jobs:
            job.succeed(job.payload * 2)

    async def close(self) -> None:
        self.closed = True
        if self.in_the_dark is not None:
            self.in_the_dark.fail(StoreUnavailable("unknown"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(lanes, "LONGEST_PAUSE_SECONDS", 0.002)


@pytest.fixture
async def clerks() -> list[Clerk]:
    return [Clerk(), Clerk()]


@pytest.fixture
async def lane(clerks: list[Clerk]) -> AsyncIterator[Lane]:
    lane = Lane("test", clerks, most=100)
    yield lane
    for clerk in clerks:
        clerk.gate.set()
    await lane.close()


@pytest.fixture
async def alone() -> AsyncIterator[tuple[Lane, Clerk]]:
    clerk = Clerk()
    lane = Lane("test", [clerk], most=100)
    yield lane, clerk
    clerk.gate.set()
    await lane.close()


async def test_jobs_of_one_turn_go_together(lane: Lane, clerks: list[Clerk]) -> None:
    results = await asyncio.gather(*(lane.run("double", number) for number in range(50)))
    assert results == [number * 2 for number in range(50)]
    assert [batch for clerk in clerks for batch in clerk.batches] == [list(range(50))]


async def test_second_worker_takes_what_comes_while_the_first_is_busy(lane: Lane, clerks: list[Clerk]) -> None:
    clerks[0].gate.clear()
    slow = lane.run("double", 1)
    await asyncio.sleep(0)
    while not clerks[0].batches:
        await asyncio.sleep(0)
    assert await lane.run("double", 2) == 4
    assert not slow.done()
    clerks[0].gate.set()
    assert await slow == 2


async def test_batch_has_no_more_than_the_most(clerks: list[Clerk]) -> None:
    lane = Lane("test", clerks, most=10)
    assert len(await asyncio.gather(*(lane.run("double", number) for number in range(95)))) == 95
    assert max(len(batch) for clerk in clerks for batch in clerk.batches) == 10
    await lane.close()


async def test_outage_fails_at_once_and_ends_by_itself(lane: Lane, clerks: list[Clerk]) -> None:
    for clerk in clerks:
        clerk.away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await lane.run("double", 1)
    for clerk in clerks:
        clerk.away = False
    async with asyncio.timeout(10):
        while True:
            try:
                assert await lane.run("double", 2) == 4
            except StoreUnavailable:
                await asyncio.sleep(0.001)
            else:
                break


async def test_worker_that_is_away_leaves_the_jobs_to_the_other(lane: Lane, clerks: list[Clerk]) -> None:
    clerks[0].away = True
    results = [await lane.run("double", number) for number in range(20)]
    assert results == [number * 2 for number in range(20)]
    assert clerks[0].batches == []


async def test_job_whose_outcome_is_unknown_is_resolved_when_the_connection_is_back(
    alone: tuple[Lane, Clerk],
) -> None:
    lane, clerk = alone
    clerk.loses_track = clerk.away = True
    clerk.connected = True
    clerk.away = False
    unknown = lane.run("double", 1)
    clerk.gate.clear()
    while not clerk.batches:
        await asyncio.sleep(0)
    clerk.away = True
    clerk.gate.set()
    async with asyncio.timeout(10):
        while True:  # others are told at once
            try:
                await lane.run("double", 2)
            except StoreUnavailable:
                break
    assert not unknown.done()
    clerk.away = False
    assert await unknown == 2


async def test_job_whose_outcome_stays_unknown_fails_when_the_lane_closes(alone: tuple[Lane, Clerk]) -> None:
    lane, clerk = alone
    clerk.loses_track = True
    clerk.gate.clear()
    unknown = lane.run("double", 1)
    while not clerk.batches:
        await asyncio.sleep(0)
    clerk.away = True
    clerk.gate.set()
    await lane.close()
    with pytest.raises(StoreUnavailable):
        await unknown


async def test_mistake_in_a_worker_fails_its_jobs_only(alone: tuple[Lane, Clerk]) -> None:
    lane, _ = alone
    with pytest.raises(ValueError, match="a mistake"):
        await lane.run("double", -1)
    assert await lane.run("double", 1) == 2


async def test_cancelled_caller_harms_nobody(lane: Lane) -> None:
    gone, kept = lane.run("double", 1), lane.run("double", 2)
    gone.cancel()
    assert await kept == 4


async def test_closing_finishes_what_is_queued(lane: Lane, clerks: list[Clerk]) -> None:
    jobs = [lane.run("double", number) for number in range(10)]
    await lane.close()
    assert await asyncio.gather(*jobs) == [number * 2 for number in range(10)]
    assert [clerk.closed for clerk in clerks] == [True, True]
    with pytest.raises(StoreUnavailable):
        await lane.run("double", 1)


async def test_closing_in_an_outage_ends(lane: Lane, clerks: list[Clerk]) -> None:
    for clerk in clerks:
        clerk.away = True
    job = lane.run("double", 1)
    async with asyncio.timeout(10):
        await lane.close()
    with pytest.raises(StoreUnavailable):
        await job
