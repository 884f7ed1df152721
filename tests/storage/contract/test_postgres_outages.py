"""The database goes away and comes back; the connection is cut where it hurts most. Nothing is lost, nothing is stored
twice, and nobody is told what is not so."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import pytest
from postgres_server import TEMPLATE, PostgresServer
from store_scene import NOW, OTHER_NUMBER, SECOND, Scene, a_send, answered

from chappe.core.errors import StoreUnavailable
from chappe.core.message import Accepted, State
from chappe.core.routing import Portion
from chappe.storage import postgres_connection, postgres_workers
from chappe.storage.postgres import PostgresStore, open_postgres
from chappe.storage.postgres_connection import Servers

PATIENCE_SECONDS = 20


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One that the test may stop and start."""
    server = PostgresServer()
    try:
        server.start()
        asyncio.run(server.execute(f"CREATE DATABASE {TEMPLATE}"))
        yield server
    finally:
        server.remove()


async def until_it_answers(store: PostgresStore) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await store.find_account("acme")
                await store.open_account("acme", NOW)
                await store.claim("nobody", 0, [Portion("live")], 1, NOW)
                await store.settle([], NOW)
                await store.accept(a_send((await store.open_account("acme", NOW)).id, number=OTHER_NUMBER))
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def scene_of(store: PostgresStore) -> Scene:
    async def open_again() -> PostgresStore:
        return store

    return await Scene.begin(open_again)


# --- restarts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
async def test_store_says_at_once_that_the_database_is_away_and_comes_back_by_itself(
    server: PostgresServer, how: signal.Signals
) -> None:
    store = await open_postgres(server.url(TEMPLATE))
    scene = await scene_of(store)
    before = await scene.hand_over()
    server.stop(how)
    calls = [
        store.accept(a_send(scene.account)),
        store.claim("operator", 1, [Portion("live")], 1, NOW),
        store.settle([], NOW),
        store.sweep(NOW, 1),
        store.find_message(scene.account, before),
        store.next_due("live"),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * len(calls)
    server.start()
    await until_it_answers(store)
    assert await scene.state(before) is State.SENT
    await store.close()


async def test_accepted_messages_outlive_crashes_under_load_and_the_others_were_refused(server: PostgresServer) -> None:
    store = await open_postgres(server.url(TEMPLATE))
    scene = await scene_of(store)
    accepted: list[int] = []
    running = True

    async def send(sender: int) -> None:
        number = 0
        while running:
            number += 1
            try:
                outcome = await store.accept(a_send(scene.account, number=f"+3360{sender:02}{number:05}"))
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                assert isinstance(outcome, Accepted)
                accepted.append(outcome.id)

    senders = [asyncio.create_task(send(sender)) for sender in range(20)]
    for crash in range(3):
        enough = 300 * (crash + 1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(accepted) < enough:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(server.stop, signal.SIGQUIT)
        await asyncio.to_thread(server.start)
    running = False
    await asyncio.gather(*senders)
    await until_it_answers(store)
    watch = await Servers(server.url(TEMPLATE)).connect()
    stored = {row[0] for row in await watch.fetch("SELECT id FROM message WHERE number <> $1", OTHER_NUMBER)}
    await watch.close(timeout=5)
    await store.close()
    assert len(accepted) == len(set(accepted))
    assert set(accepted) == stored


async def test_connections_that_an_administrator_ends_are_opened_again(postgres_server: PostgresServer) -> None:
    url = await postgres_server.create_database()
    store = await open_postgres(url)
    scene = await scene_of(store)
    message = await scene.hand_over()
    await postgres_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
        "pg_backend_pid()",
        database=url.rpartition("/")[2],
    )
    await until_it_answers(store)
    assert await scene.state(message) is State.SENT
    await store.close()
    await postgres_server.drop_database(url)


async def test_cancelled_caller_harms_nobody(postgres_server: PostgresServer) -> None:
    url = await postgres_server.create_database()
    store = await open_postgres(url)
    scene = await scene_of(store)
    gone = asyncio.create_task(store.accept(a_send(scene.account)))
    await asyncio.sleep(0)
    reading = asyncio.create_task(store.find_account("acme"))
    await asyncio.sleep(0)
    for task in (gone, reading):
        task.cancel()
    kept = await scene.accept()
    previous = (await scene.read(kept)).previous
    assert previous is not None  # stored all the same
    assert await store.find_account("acme") is not None
    await store.close()
    await postgres_server.drop_database(url)


# --- a connection cut during COMMIT ------------------------------------------------------------------


@dataclass(slots=True)
class Cable:
    """A proxy in front of the database that a test can cut when it sees a COMMIT."""

    port: int
    at_commit: Callable[[bytes], bytes] | None = None
    """Given what is on its way to the server, what still gets there before the cut."""
    late: list[tuple[asyncio.StreamWriter, bytes]] = field(default_factory=list)
    """Old connections to the server, kept open, and what has not been passed on."""
    cuts: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", self.port)
        back = asyncio.create_task(self._pass_back(there_reader, writer))
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                if self.at_commit is not None and b"COMMIT" in piece:
                    passed = self.at_commit(piece)
                    self.at_commit = None
                    self.cuts += 1
                    back.cancel()
                    there.write(passed)
                    self.late.append((there, piece[len(passed) :]))
                    writer.transport.abort()
                    return
                there.write(piece)
        there.close()
        await back

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                writer.write(piece)
        writer.close()


@dataclass(slots=True)
class Line:
    cable: Cable
    scene: Scene
    watch: postgres_connection.Connection

    async def stored(self) -> int:
        count = await self.watch.fetchval("SELECT count(*) FROM message")
        return int(str(count))


@pytest.fixture
async def line(postgres_server: PostgresServer) -> AsyncIterator[Line]:
    url = await postgres_server.create_database()
    cable = Cable(postgres_server.port)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(postgres_server.drop_database, url)
        proxy = await asyncio.start_server(cable.serve, "127.0.0.1", 0)
        stack.callback(proxy.close)
        store = await open_postgres(url.replace(str(postgres_server.port), str(proxy.sockets[0].getsockname()[1])))
        watch = await Servers(url).connect()
        stack.push_async_callback(watch.close, timeout=5)
        stack.push_async_callback(store.close)
        yield Line(cable, await scene_of(store), watch)
        for there, _ in cable.late:
            there.close()


async def test_commit_that_took_place_is_found_though_its_answer_was_lost(line: Line) -> None:
    line.cable.at_commit = lambda piece: piece
    message = await line.scene.accept()
    assert line.cable.cuts == 1
    assert (await line.scene.read(message)).id == message
    assert await line.stored() == 1


async def test_commit_that_did_not_get_there_stores_nothing_and_says_so(line: Line) -> None:
    line.cable.at_commit = lambda piece: b""
    with pytest.raises(StoreUnavailable):
        await line.scene.accept()
    assert line.cable.cuts == 1
    assert await line.stored() == 0
    assert await line.scene.accept()


async def test_commit_that_gets_there_after_it_was_given_up_stores_nothing(line: Line) -> None:
    line.cable.at_commit = lambda piece: b""
    with pytest.raises(StoreUnavailable):
        await line.scene.accept()
    [(there, rest)] = line.cable.late
    there.write(rest)
    await there.drain()
    async with asyncio.timeout(10):  # until the server has seen it through
        while await line.watch.fetchval("SELECT count(*) FROM pg_locks WHERE mode = 'RowExclusiveLock'"):
            await asyncio.sleep(0.01)
    assert await line.stored() == 0


async def test_claim_whose_answer_was_lost_is_returned_to_whoever_claimed(line: Line) -> None:
    message = await line.scene.accept()
    line.cable.at_commit = lambda piece: piece
    [submission] = await line.scene.claim()
    assert line.cable.cuts == 1
    assert submission.attempt.message == message
    line.cable.at_commit = lambda piece: piece
    events = await line.scene.store.settle([answered(submission)], NOW + SECOND)
    assert line.cable.cuts == 2
    assert events == line.scene.events(message, (State.SENT, NOW + SECOND))


async def test_transaction_that_loses_its_connection_before_its_end_stores_nothing(line: Line) -> None:
    await line.watch.execute("BEGIN; LOCK TABLE queue")
    accepting = asyncio.create_task(line.scene.accept())
    async with asyncio.timeout(10):
        while not await line.watch.fetchval("SELECT max(pid) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
    await line.watch.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
    with pytest.raises(StoreUnavailable):
        await accepting
    await line.watch.execute("COMMIT")
    assert await line.stored() == 0
    assert await line.scene.accept()


async def test_commit_that_hangs_is_looked_up_on_another_connection(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a synchronous standby that is away: the transaction's end waits, and so does the look-up, without an end
    to either being forced. Here another transaction keeps the trace of ours from being written."""
    monkeypatch.setattr(postgres_workers, "COMMIT_SECONDS", 0.2)
    await line.scene.accept(number=OTHER_NUMBER)
    await line.watch.execute("BEGIN; LOCK TABLE committed IN SHARE MODE")
    accepting = asyncio.create_task(line.scene.accept())
    async with asyncio.timeout(10):
        while await line.watch.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") != 2:
            await asyncio.sleep(0.01)  # the transaction, and the look-up
    assert not accepting.done()
    await line.watch.execute("COMMIT")
    # Now both may write their row of `committed`, and whoever is first decides; the answer is what became true.
    try:
        await accepting
    except StoreUnavailable:
        assert await line.stored() == 1
    else:
        assert await line.stored() == 2
    assert await line.scene.accept()


async def test_warning_at_commit_is_no_success(
    line: Line, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A COMMIT that stops waiting for its standby warns and succeeds; believed only once the look-up is replicated."""
    await line.watch.execute(
        """
        CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE WARNING 'canceling wait for synchronous replication due to user request';
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON committed DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NOT new.fenced) EXECUTE FUNCTION warn();
        """
    )
    message = await line.scene.accept()
    assert "outcome of a commit unknown, looking it up" in caplog.messages
    assert await line.stored() == 1
    assert (await line.scene.read(message)).id == message


# --- which server ------------------------------------------------------------------------------------


async def test_host_that_answers_nothing_does_not_keep_us_from_the_next(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "CONNECT_SECONDS", 0.3)
    url = await postgres_server.create_database()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        store = await open_postgres(url.replace("@", f"@127.0.0.1:{silent.getsockname()[1]},"))
        assert await store.find_account("acme") is None
        await store.close()
    await postgres_server.drop_database(url)


async def test_server_that_takes_no_writes_is_passed_over(postgres_server: PostgresServer) -> None:
    url = await postgres_server.create_database()
    name = url.rpartition("/")[2]
    await postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="read-write"):
        await open_postgres(url)
    await postgres_server.drop_database(url)


async def test_server_that_stops_taking_writes_is_left_until_it_takes_them_again(
    postgres_server: PostgresServer,
) -> None:
    url = await postgres_server.create_database()
    store = await open_postgres(url)
    scene = await scene_of(store)
    await scene.accept()
    name = url.rpartition("/")[2]
    # Sessions that are open notice it: as when their primary has become a standby.
    await postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    with pytest.raises(StoreUnavailable):
        await scene.accept()
    await postgres_server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await until_it_answers(store)
    await store.close()
    await postgres_server.drop_database(url)


async def test_password_is_in_no_error() -> None:
    with pytest.raises(StoreUnavailable) as raised:
        await open_postgres("postgresql://chappe:secret@127.0.0.1:1,127.0.0.1:2/chappe")
    assert "secret" not in str(raised.value)
    assert "127.0.0.1:1,127.0.0.1:2/chappe" in str(raised.value)
