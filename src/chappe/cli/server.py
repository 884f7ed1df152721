"""`serve`, `demo` and `simulate`: the commands that run until they are told to stop."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chappe.cli.common import WrongSettings, database_options, examples, read_settings

if TYPE_CHECKING:
    from chappe.simulator import Mood


@click.command(
    short_help="Run the server.",
    epilog=examples(
        "chappe serve",
        "chappe serve --listen 0.0.0.0:8000 --database sqlite:////var/lib/chappe/chappe.db",
        "chappe serve --config chappe.toml",
        "chappe serve --database postgresql://chappe@db1,db2/chappe --node paris-1",
        "chappe serve --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem",
        "CHAPPE_LOG_FORMAT=json chappe serve",
    ),
)
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; 127.0.0.1:8000 by default.")
@click.option("--tls-cert", metavar="FILE", help="PEM: the certificate to answer HTTPS with.")
@click.option("--tls-key", metavar="FILE", help="PEM: its key.")
@click.option("--node", metavar="NAME", help="This node's name among those that share a database.")
@click.option("--role", metavar="ROLE", help="all (the default), api (only requests) or worker (only operators).")
@database_options
def serve(
    listen: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    node: str | None,
    role: str | None,
    database: str | None,
    config: Path | None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Options beat the environment (CHAPPE_LISTEN, CHAPPE_DATABASE, …), which beats the file. Without an operator in the
    settings, messages go to the built-in simulator.
    """
    settings = read_settings(
        config, listen=listen, tls_cert=tls_cert, tls_key=tls_key, node=node, role=role, database=database
    )
    from chappe.app import run
    from chappe.logs import configure_logs
    from chappe.settings import SettingsError

    configure_logs(settings.log_format)
    with _listening_on(settings.listen):
        try:
            sys.exit(run(settings))
        except SettingsError as error:  # only beside the database's operators it shows
            raise WrongSettings(str(error)) from error


@click.command(
    short_help="Show it all at work in a minute.",
    epilog=examples("chappe demo --once", "chappe demo --listen 127.0.0.1:9000"),
)
@click.option("--once", is_flag=True, help="End when every message is final, instead of serving on.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; 127.0.0.1:8000, or a free port with --once.")
@click.option("--database", metavar="URL", help="sqlite:///FILE to keep; a temporary one by default.")
def demo(once: bool, listen: str | None, database: str | None) -> None:
    """Show a whole life: serve with the simulator, write to each of its numbers, print what became of it."""
    read_settings(None, environ={}, listen=listen, database=database)
    from chappe.demo import run

    sys.exit(run(once=once, listen=listen, database=database))


@click.command(
    short_help="Run a simulated SMPP operator.",
    epilog=examples("chappe simulate", "chappe simulate --listen 127.0.0.1:2776 --mood slow.toml --system-id me"),
)
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:2775", show_default=True, help="Where to listen.")
@click.option("--mood", metavar="FILE", type=click.Path(path_type=Path), help="TOML: how this operator behaves.")
@click.option("--system-id", help="The only one that may bind; anybody by default.")
@click.option("--password", help="What a bind must show; anything by default.")
def simulate(listen: str, mood: Path | None, system_id: str | None, password: str | None) -> None:
    """Run an SMPP 3.4 operator without a network, until SIGTERM or Ctrl-C.

    Messages to +33600000000 … +33600000009 meet ten different ends; to any other number they are delivered.
    """
    host, port = read_settings(None, environ={}, listen=listen).address
    import asyncio

    from chappe.simulator import load_mood

    try:
        chosen = load_mood(mood) if mood else None
    except OSError as error:
        raise WrongSettings(f"{mood}: {error.strerror}") from error
    except ValueError as error:
        raise WrongSettings(f"{mood}: {error}") from error
    with _listening_on(listen):
        asyncio.run(_simulate(chosen, system_id, password, host, port))


async def _simulate(mood: Mood | None, system_id: str | None, password: str | None, host: str, port: int) -> None:
    import asyncio
    import signal

    from chappe.simulator import Simulator, run

    def on_started(bound: int) -> None:
        click.echo(f"A simulated operator listens on {host}:{bound} (SMPP 3.4). Stop it with Ctrl-C.")

    simulator = Simulator(mood, system_id=system_id, password=password)
    running = asyncio.ensure_future(run(simulator, host, port, on_started, lambda counts: click.echo(_counted(counts))))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running
    click.echo(_counted(simulator.counts) or "Nobody came.")


@contextmanager
def _listening_on(listen: str) -> Iterator[None]:
    """Says in one line why it cannot be listened there; any other error stays one."""
    import errno
    import os
    import socket

    try:
        yield
    except socket.gaierror as error:
        raise click.ClickException(f"cannot listen on {listen}: no such host") from error
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            raise
        raise click.ClickException(f"cannot listen on {listen}: {os.strerror(error.errno)}") from error


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
