"""Work that is done at once as far as it does not wait, and its rest as a task."""

from __future__ import annotations

import asyncio

import pytest

from chappe.api.exchange import begin


class Diary:
    """Work that waits for a future, and what became of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.tasks: set[asyncio.Task[None]] = set()

    async def work(self) -> None:
        self.lines.append("begun")
        try:
            self.lines.append(await self.future)
            await asyncio.sleep(0)
            assert asyncio.current_task() in self.tasks
        except (asyncio.CancelledError, LookupError) as error:
            self.lines.append(type(error).__name__)
            await asyncio.sleep(0)
        self.lines.append("ended")

    async def end(self) -> None:
        await asyncio.wait(self.tasks)


async def test_work_that_waits_for_nothing_is_done_without_a_task() -> None:
    diary = Diary()
    diary.future.set_result("heard")

    async def work() -> None:
        diary.lines.append(await diary.future)

    begin(work(), diary.tasks)
    assert (diary.lines, diary.tasks) == (["heard"], set())


async def test_work_that_waits_goes_on_in_a_task() -> None:
    diary = Diary()
    begin(diary.work(), diary.tasks)
    assert diary.lines == ["begun"]
    diary.future.set_result("heard")
    await diary.end()
    assert diary.lines == ["begun", "heard", "ended"]
    await asyncio.sleep(0)
    assert diary.tasks == set()


async def test_failure_of_what_it_waits_for_reaches_the_work() -> None:
    diary = Diary()
    begin(diary.work(), diary.tasks)
    diary.future.set_exception(LookupError())
    await diary.end()
    assert diary.lines == ["begun", "LookupError", "ended"]


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_work_is_cancelled_where_it_waits(turns: int) -> None:
    diary = Diary()
    begin(diary.work(), diary.tasks)
    for _ in range(turns):
        await asyncio.sleep(0)
    [task] = diary.tasks
    task.cancel()
    await diary.end()
    assert diary.lines == ["begun", "CancelledError", "ended"]
