"""The workers of the lanes: one runs transactions, one answers look-ups; and the bell that tells of queued work.

The end of a transaction is where PostgreSQL can leave one in the dark: when the connection is lost during COMMIT
nobody knows whether it took place. Each transaction leaves a trace (`committed`), which is looked up on a new
connection before anything is said to the callers; the look-up also keeps a transaction that was not committed from
being so later. A COMMIT is never cancelled: with a synchronous standby that would turn "not replicated yet" into a
success.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from chappe.core.errors import StoreUnavailable
from chappe.storage import postgres_connection
from chappe.storage.calls import Handler
from chappe.storage.lanes import Job
from chappe.storage.postgres_connection import (
    ENTANGLED,
    OUTAGES,
    Connection,
    Notice,
    Servers,
    columns_of,
    is_outage,
)
from chappe.storage.steps import Row, Steps

log = logging.getLogger(__name__)

T = TypeVar("T")

STEPS_SECONDS = 5.0
"""For all statements of a transaction up to its COMMIT, and for a look-up."""
COMMIT_SECONDS = 5.0
"""After this the connection is given up and the outcome looked up; the COMMIT itself goes on at the server."""
TRIES = 5
"""How often a transaction is run again that gave in to another."""


async def run_steps(connection: Connection, sql: Mapping[str, str], steps: Steps[T], routes: set[str]) -> T:
    """Runs the steps, one statement for all rows of each; adds the routes that something was queued on."""
    try:
        step = next(steps)
        while True:
            found = await connection.fetch(sql[step.statement], *columns_of(step.rows))
            if step.statement == "queue_part":
                routes.update(row[2] for row in step.rows)
            step = steps.send(found)
    except StopIteration as stop:
        result: T = stop.value
        return result


class WritingWorker:
    """Runs jobs in transactions; `Worker` of a lane."""

    def __init__(
        self,
        servers: Servers,
        name: str,
        sql: Mapping[str, str],
        own: Mapping[str, str],
        handlers: Mapping[str, Handler],
        on_queued: Callable[[set[str]], None],
    ) -> None:
        """`name` is a UUID that no other worker, of any process, has."""
        self._servers = servers
        self._name = name
        self._sql = sql
        self._own = own
        self._handlers = handlers
        self._on_queued = on_queued
        self._connection: Connection | None = None
        self._batch = 0
        self._in_the_dark: tuple[int, list[tuple[Job, Any]], set[str]] | None = None
        self._warned = False

    @property
    def busy_with_the_past(self) -> bool:
        return self._in_the_dark is not None

    async def open(self) -> None:
        connection = self._connection
        if connection is not None and not connection.is_closed():
            return
        connection = await self._servers.connect(application_name=f"chappe {self._name}")
        connection.add_log_listener(self._hear)
        try:
            async with asyncio.timeout(STEPS_SECONDS):
                if self._in_the_dark is not None:
                    await self._find_out(connection, *self._in_the_dark)
                # Only now: ending a COMMIT that waits for a standby would let others see what may yet be lost.
                await connection.fetch(self._own["end_earlier"])
        except OUTAGES as error:
            connection.terminate()
            raise StoreUnavailable(f"connected, and lost again: {error or type(error).__name__}") from error
        except StoreUnavailable:
            connection.terminate()
            raise
        self._connection = connection

    async def close(self) -> None:
        if self._in_the_dark is not None:
            for job, _ in self._in_the_dark[1]:
                job.fail(StoreUnavailable("the store was closed before it was known whether this is stored"))
            self._in_the_dark = None
        await postgres_connection.close(self._connection)

    async def perform(self, jobs: Sequence[Job]) -> None:
        for _ in range(TRIES):
            try:
                await self._together(jobs)
            except ENTANGLED:
                log.info("transaction run again", extra={"jobs": len(jobs)})
                continue
            except Exception as error:
                if is_outage(error):
                    self._give_up(jobs, error)
                    return
                if len(jobs) == 1:
                    jobs[0].fail(error)
                    return
                for job in jobs:  # the fault is one job's own: the others are done without it
                    await self.perform([job])
            return
        self._give_up(jobs, StoreUnavailable("transactions get in each other's way"))

    async def _together(self, jobs: Sequence[Job]) -> None:
        connection = self._connection
        if connection is None or connection.is_closed():
            raise ConnectionError("the connection is lost")
        by_kind: dict[str, list[Job]] = {}
        for job in jobs:
            by_kind.setdefault(job.kind, []).append(job)
        outcomes: list[tuple[Job, Any]] = []
        routes: set[str] = set()
        try:
            async with asyncio.timeout(STEPS_SECONDS):
                await connection.execute("BEGIN")
                for kind, group in by_kind.items():
                    steps = self._handlers[kind]([job.payload for job in group])
                    results = await run_steps(connection, self._sql, steps, routes)
                    outcomes += zip(group, results, strict=True)
            if not await self._commit(connection):
                self._in_the_dark = (self._batch, outcomes, routes)
                return
        except BaseException as error:
            if not is_outage(error):
                await self._roll_back(connection)
            raise
        self._tell(outcomes, routes)

    async def _commit(self, connection: Connection) -> bool:
        """True once committed; False when nobody knows. An error that the server tells means: not committed."""
        self._batch += 1
        self._warned = False
        ending = self._own["commit"].format(connection=self._name, batch=self._batch)
        commit = asyncio.create_task(connection.execute(ending))
        await asyncio.wait({commit}, timeout=COMMIT_SECONDS)
        if commit.done():
            error = commit.exception()
            if error is None and not self._warned:
                return True
            if error is not None and not is_outage(error):
                raise error
        connection.terminate()
        await asyncio.gather(commit, return_exceptions=True)
        log.warning("outcome of a commit unknown, looking it up", extra={"batch": self._batch})
        return False

    async def _find_out(
        self, connection: Connection, batch: int, outcomes: list[tuple[Job, Any]], routes: set[str]
    ) -> None:
        self._warned = False
        [(committed,)] = await connection.fetch(self._own["was_committed"], self._name, batch)
        if self._warned:  # this answer itself is not replicated
            raise StoreUnavailable("the standby does not confirm")
        log.info("outcome of a commit found", extra={"batch": batch, "committed": committed})
        self._in_the_dark = None
        if committed:
            self._tell(outcomes, routes)
        else:
            for job, _ in outcomes:
                job.fail(StoreUnavailable("the connection to the database was lost: nothing was stored, try again"))

    def _tell(self, outcomes: list[tuple[Job, Any]], routes: set[str]) -> None:
        for job, result in outcomes:
            job.succeed(result)
        if routes:
            self._on_queued(routes)

    async def _roll_back(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(STEPS_SECONDS):
                await connection.execute("ROLLBACK")
        except OUTAGES:
            connection.terminate()

    def _give_up(self, jobs: Sequence[Job], error: Exception) -> None:
        """Whatever it was, the next transaction has a new connection: perhaps to another server."""
        if self._connection is not None:
            self._connection.terminate()
        log.warning("database away", extra={"reason": str(error) or type(error).__name__, "jobs": len(jobs)})
        for job in jobs:
            away = StoreUnavailable("the database cannot take this now: try again")
            away.__cause__ = error
            job.fail(away)

    def _hear(self, _: object, notice: Notice) -> None:
        """asyncpg calls this before it resolves what the notice came with."""
        if notice.severity_en == "WARNING":
            self._warned = True
            log.warning("the database warns", extra={"reason": str(notice)})


class ReadingWorker:
    """Answers look-ups: those that wait for the same statement share one query. `Worker` of a lane.

    A job's kind is its statement, its payload the values; its result are the rows, without their place. Those of
    `walled` are asked one by one, as a role that sees only the account that stands at this place among the values.
    """

    def __init__(self, servers: Servers, sql: Mapping[str, str], walled: Mapping[str, int]) -> None:
        self._servers = servers
        self._sql = sql
        self._walled = walled
        self._connection: Connection | None = None

    @property
    def busy_with_the_past(self) -> bool:
        return False

    async def open(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._servers.connect()

    async def close(self) -> None:
        await postgres_connection.close(self._connection)

    async def perform(self, jobs: Sequence[Job]) -> None:
        by_statement: dict[str, list[Job]] = {}
        for job in jobs:
            by_statement.setdefault(job.kind, []).append(job)
        for statement, group in self._groups(by_statement):
            try:
                async with asyncio.timeout(STEPS_SECONDS):
                    found = await self._ask(statement, [job.payload for job in group])
            except Exception as error:
                outage = is_outage(error)
                if outage and self._connection is not None:
                    self._connection.terminate()
                for job in group:
                    job.fail(_unreadable(error) if outage else error)
            else:
                for job, rows in zip(group, found, strict=True):
                    job.succeed(rows)

    def _groups(self, by_statement: Mapping[str, list[Job]]) -> Iterator[tuple[str, list[Job]]]:
        for statement, jobs in by_statement.items():
            if statement in self._walled:
                yield from ((statement, [job]) for job in jobs)
            else:
                yield statement, jobs

    async def _ask(self, statement: str, payloads: list[Row]) -> list[list[Row]]:
        place = self._walled.get(statement)
        if place is None:
            return await self._look_up(statement, payloads)
        connection = self._connection
        if connection is None or connection.is_closed():
            raise ConnectionError("the connection is lost")
        await connection.execute(self._sql["behind_wall"].format(account=int(payloads[0][place])))
        try:
            return await self._look_up(statement, payloads)
        finally:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")

    async def _look_up(self, statement: str, payloads: list[Row]) -> list[list[Row]]:
        if self._connection is None or self._connection.is_closed():
            raise ConnectionError("the connection is lost")
        columns = columns_of(payloads)
        rows = await self._connection.fetch(self._sql[statement], *columns)
        if not columns:
            return [rows for _ in payloads]
        found: list[list[Row]] = [[] for _ in payloads]
        for row in rows:
            found[row[0] - 1].append(row[1:])
        return found


def _unreadable(error: Exception) -> StoreUnavailable:
    away = StoreUnavailable("the database cannot be read now: try again")
    away.__cause__ = error
    return away


class Bell:
    """Tells all nodes that something was queued, at most once at a time; and tells us what others ring.

    A connection of its own, without waiting for the disk: a ring is worth nothing after a crash. Rings may be lost
    while the connection is: whoever listens also looks from time to time.
    """

    def __init__(self, servers: Servers, own: Mapping[str, str]) -> None:
        self._servers = servers
        self._own = own
        self._routes: set[str] = set()
        self._callback: Callable[[str], None] | None = None
        self._listening: asyncio.Future[None] | None = None
        self._connection: Connection | None = None
        self._awake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def ring(self, routes: set[str]) -> None:
        self._routes |= routes
        self._wake()

    async def listen(self, callback: Callable[[str], None]) -> None:
        """Returns once the bell is heard."""
        self._callback = callback
        self._listening = asyncio.get_running_loop().create_future()
        self._wake()
        await self._listening

    async def close(self) -> None:
        self._closing = True
        self._awake.set()
        if self._listening is not None:
            self._listening.cancel()
        if self._task is not None:
            await self._task
        await postgres_connection.close(self._connection)

    def _wake(self) -> None:
        self._awake.set()
        if self._task is None and not self._closing:
            self._task = asyncio.create_task(self._serve(), name="store-bell")

    async def _serve(self) -> None:
        while not self._closing:
            await self._awake.wait()
            self._awake.clear()
            try:
                async with asyncio.timeout(STEPS_SECONDS):
                    await self._work()
            except Exception as error:  # a bell that is broken must not stop anything else
                log.warning("bell away", extra={"reason": str(error) or type(error).__name__})
                if self._connection is not None:
                    self._connection.terminate()
                await asyncio.sleep(RINGS_AGAIN_SECONDS)
                self._awake.set()

    async def _work(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._servers.connect(synchronous_commit="off")
            self._connection.add_termination_listener(lambda _: self._awake.set())
            if self._callback is not None:
                self._listening = self._listening or asyncio.get_running_loop().create_future()
        if self._callback is not None and self._listening is not None:
            await self._connection.add_listener(CHANNEL, self._hear)
            if not self._listening.done():
                self._listening.set_result(None)
            self._listening = None
        if self._routes:
            routes, self._routes = self._routes, set()
            await self._connection.fetch(self._own["notify"], " ".join(sorted(routes)))
            await asyncio.sleep(BETWEEN_RINGS_SECONDS)

    def _hear(self, connection: object, pid: int, channel: str, routes: str) -> None:
        if self._callback is not None:
            for route in routes.split():
                self._callback(route)


CHANNEL = "chappe_queue"
BETWEEN_RINGS_SECONDS = 0.01
"""NOTIFY takes a lock that the whole server shares."""
RINGS_AGAIN_SECONDS = 1.0
