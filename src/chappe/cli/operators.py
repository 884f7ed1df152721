"""`connectors add`, `set` and `remove`: operators that servers take up, change and leave while they run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from chappe.cli.common import WrongSettings, database_options, examples, in_store, now_ms, options, read_settings

if TYPE_CHECKING:
    from chappe.connectors.smpp_settings import SmppSettings
    from chappe.core.ports import Store
    from chappe.core.steering import StoredConnector
    from chappe.operators import Operators
    from chappe.settings import Settings

HELP: Mapping[str, str] = {
    "host": "Where the operator listens.",
    "port": "Its port.",
    "system_id": "Who we are there.",
    "system_type": "As the operator gave it.",
    "bind": "One transceiver, or a transmitter and a receiver.",
    "binds": "How many of these.",
    "window": "Submits in flight over each bind.",
    "rate": "Submits a second that the contract allows, over all binds.",
    "burst": "How many submits may leave at once after a quiet moment.",
    "tls": "Speak TLS; the certificate and its name are verified.",
    "tls_insecure": "Take any certificate.",
    "tls_ca": "Who may vouch for the operator, in the place of those that the system trusts.",
    "tls_cert": "Our own certificate, for operators that ask for one.",
    "tls_key": "Its key.",
    "address_ton": "Type of the numbers that the bind is for.",
    "address_npi": "Their numbering plan.",
    "address_range": "Which they are, if the operator wants that said.",
    "sender": "Of messages that name none; without it the operator chooses.",
    "short_code_ton": "Type of a sender of up to 8 digits.",
    "short_code_npi": "Its numbering plan.",
    "destination_ton": "Type of recipients' numbers.",
    "destination_npi": "Their numbering plan.",
    "user_message_reference": "On each submit, so that a receipt can settle one whose answer was lost.",
    "long_messages": "How a phone learns which parts belong together; the same for all operators.",
    "gsm7": "What a text in GSM 03.38 is sent as.",
    "gsm7_data_coding": "The data_coding that says so; otherwise 0, or 3 for latin1.",
    "statuses": "What a refusal asks for, where this operator differs: 0x45=permanent,0x99=temporary.",
    "not_assigned": "Codes of receipts that nobody has the number: 001,204.",
    "stop_codes": "Codes of receipts that the person wrote STOP to the operator: 53.",
    "query_after_seconds": "When to ask (query_sm) about a receipt that did not come; 0: never.",
    "enquire_link_seconds": "The silence after which we ask whether it is there.",
    "probe_seconds": "How long its answer may take.",
    "bind_seconds": "How long the connection, then the bind, and in the end the unbind may take.",
    "response_seconds": "How long the answer to a submit may take before it is in doubt.",
    "unbind_seconds": "How long an operator that unbinds may take for the answers it owes.",
    "retry_seconds": "The pause before connecting again; while binds are refused it doubles…",
    "longest_retry_seconds": "…up to this.",
}
"""Every setting but the name and the password."""
LATER = "Servers notice within a second."


class _Settable(click.Command):
    """Takes each setting of an operator as an option. They are read when they are needed: importing them takes long."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*_setting_options(), *super().get_params(ctx)]


password_options = options(
    click.option(
        "--password-file", type=click.File("r"), metavar="FILE", help="Read the password from it; - is standard input."
    ),
    click.option("--ask-password", is_flag=True, help="Ask for the password; `add` does so at a terminal."),
)


@click.command(
    "add",
    cls=_Settable,
    short_help="Add an operator while servers run.",
    epilog=examples(
        "chappe connectors add example --host smpp.example.net --port 3550 --tls --system-id my-login --sender 36111",
        "chappe connectors add example --host 10.0.0.7 --port 2775 --system-id me --password-file /run/secrets/example",
    ),
)
@click.argument("name")
@password_options
@click.option(
    "--yes", is_flag=True, help="Do not ask before the first operator, which takes live keys off the simulator."
)
@database_options
def add_connector(
    name: str,
    password_file: TextIO | None,
    ask_password: bool,
    yes: bool,
    database: str | None,
    config: Path | None,
    **given: object,
) -> None:
    """Add an operator. Servers bind to it within a second, and it takes messages of its routes.

    Its settings are kept in the database, with the password, and may be changed by `set`.
    """
    settings = read_settings(config, database=database)
    before = in_store(settings, lambda store: _join(store, settings))
    if name in before.in_file:
        raise _in_file(name, "give this one another name")
    if name in before.added:
        raise click.ClickException(f"there is a connector {name}; `chappe connectors set {name}` changes it")
    texts = _texts(given)
    _checked(before, name, {}, texts)
    if password_file is None and not ask_password and not sys.stdin.isatty():
        raise WrongSettings("give --password-file FILE, or - and the password on standard input (empty for none)")
    texts["password"] = _password(password_file)
    _, kept, after = _checked(before, name, {}, texts)
    if before.live_route != after.live_route and not yes:
        click.echo("This is the first operator: live keys write to phones from now on, and no longer to the simulator.")
        if not sys.stdin.isatty():
            raise click.ClickException("say --yes if that is what you want")
        click.confirm("Go on?", abort=True)

    async def put(store: Store) -> bool:
        return await store.put_connector(name, kept, replaces=0, now=now_ms())

    if not in_store(settings, put):
        raise click.ClickException(f"somebody else has just added a connector {name}")
    routes = after.routes_of(name)
    through = f"takes messages of {', '.join(routes)}" if routes else "takes nothing: no route of the settings names it"
    click.echo(f"{name} is added and {through}. {LATER}")


@click.command(
    "set",
    cls=_Settable,
    short_help="Change an operator that was added.",
    epilog=examples(
        "chappe connectors set example --rate 100 --window 50",
        "chappe connectors set example --host smpp2.example.net",
        "chappe connectors set example --unset rate",
    ),
)
@click.argument("name")
@password_options
@click.option("--unset", metavar="SETTING", multiple=True, help="Back to its default; may be repeated.")
@database_options
def set_connector(
    name: str,
    password_file: TextIO | None,
    ask_password: bool,
    unset: Sequence[str],
    database: str | None,
    config: Path | None,
    **given: object,
) -> None:
    """Change settings of an operator that was added by command; what is not given stays.

    Window, rate and burst change while it goes on. For all others it drains (submits no more, waits for its answers),
    unbinds, and binds anew: nothing is lost, and nothing leaves twice.
    """
    settings = read_settings(config, database=database)
    before = in_store(settings, lambda store: _join(store, settings))
    stored = _added(before, name)
    texts = _texts(given)
    if password_file is not None or ask_password:
        texts["password"] = _password(password_file)
    left = {key: value for key, value in stored.settings.items() if key not in unset}
    unknown = [key for key in unset if key not in HELP and key != "password"]
    if unknown:
        raise WrongSettings(f"--unset {unknown[0]}: no such setting; there are: {', '.join(HELP)}")
    operator, kept, _ = _checked(before, name, left, texts)
    had = before.named(name)
    if had == operator and kept == stored.settings:
        click.echo(f"{name} is so already.")
        return

    async def put(store: Store) -> bool:
        return await store.put_connector(name, kept, replaces=stored.revision, now=now_ms())

    if not in_store(settings, put):
        raise click.ClickException(f"somebody else has just changed {name}; look, and try again")
    live = had is not None and had.differs_live(operator)
    click.echo(f"{name} is changed, and {'goes on' if live else 'drains and binds anew'}. {LATER}")


@click.command("remove", epilog=examples("chappe connectors remove example"))
@click.argument("name")
@database_options
def remove_connector(name: str, database: str | None, config: Path | None) -> None:
    """Remove an operator that was added: it drains and goes, and its settings are forgotten.

    What is in flight gets its answer first. Receipts come over its own binds only: those that are still to come will
    not, so pause it for as long as they may take.
    """
    settings = read_settings(config, database=database)
    before = in_store(settings, lambda store: _join(store, settings))
    _added(before, name)

    async def remove(store: Store) -> Operators:
        await store.remove_connector(name, now_ms())
        return await _join(store, settings)

    after = in_store(settings, remove)
    click.echo(f"{name} is removed, as soon as it has drained. {LATER}")
    for route in after.unserved:
        if route not in before.unserved:
            click.echo(f"No operator is left for the route {route}: its messages wait.")


# --- what is given ---


def _setting_options() -> list[click.Parameter]:
    from typing import get_type_hints

    import msgspec

    from chappe.connectors.smpp_settings import SmppSettings

    hints = get_type_hints(SmppSettings, include_extras=True)
    fields = {field.name: field for field in msgspec.structs.fields(SmppSettings)}
    found: list[click.Parameter] = []
    for name, sentence in HELP.items():
        option, field = name.replace("_", "-"), fields[name]
        if hints[name] is bool:
            words = f"{sentence} [default: {'yes' if field.default else 'no'}]"
            found.append(click.Option([f"--{option}/--no-{option}"], default=None, help=words))
            continue
        described = [meta.description for meta in getattr(hints[name], "__metadata__", ()) if meta.description]
        allowed = f" ({described[0]})" if described else ""
        default = "" if field.required or not field.default else f" [default: {field.default}]"
        found.append(click.Option([f"--{option}"], metavar="VALUE", help=f"{sentence}{allowed}{default}"))
    return found


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
        if value is not None
    }


def _password(file: TextIO | None) -> str:
    if file is None:
        return str(click.prompt("Password", default="", hide_input=True, show_default=False))
    return file.readline().rstrip("\r\n")


# --- what there is ---


async def _join(store: Store, settings: Settings) -> Operators:
    """Ends the command where servers at work have other settings than these: what is said of them would be wrong."""
    from chappe.core.routing import SIMULATOR
    from chappe.core.steering import fresh
    from chappe.operators import join

    there = join(settings, await store.list_connectors())
    now = now_ms()
    for shown in await store.list_shown():
        name = shown.connector
        if fresh(shown, now) and name not in there.ever and name.partition("@")[0] != SIMULATOR:
            raise click.ClickException(
                f"servers have an operator {name} that these settings do not name: give --config"
            )
    return there


def _checked(
    before: Operators, name: str, kept: Mapping[str, object], texts: Mapping[str, str]
) -> tuple[SmppSettings, Mapping[str, object], Operators]:
    """The operator, what is to be kept of it, and how it all would be with it."""
    from dataclasses import replace

    from chappe.operators import with_operator
    from chappe.settings import SettingsError, read_operator

    try:
        operator, changed = read_operator(name, kept, texts)
        after = replace(before, settings=with_operator(before.settings, operator), ever=before.ever | {name})
    except SettingsError as error:
        raise WrongSettings(str(error)) from error
    return operator, changed, after


def _added(operators: Operators, name: str) -> StoredConnector:
    stored = operators.added.get(name)
    if stored is not None:
        return stored
    if name in operators.in_file:
        raise _in_file(name, "edit it there and start the servers anew")
    known = ", ".join(operators.added) or "none"
    raise click.ClickException(f"no connector {name} was added by command; there are: {known}")


def _in_file(name: str, advice: str) -> click.ClickException:
    return click.ClickException(f"{name} stands in the settings, as [operators.{name}]: {advice}")
