"""What a server is told at its start: a TOML file, above it `CHAPPE_…` variables, above them options.

Everything is checked here, once; what is wrong names itself: where it was set, its key, and what is allowed.
The `description` beside a setting is that text, and the reference's.
"""

from __future__ import annotations

import difflib
import inspect
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from chappe.connectors.smpp import SmppSettings
from chappe.core.errors import ChappeError, Invalid
from chappe.core.optout import LONGEST_MENTION, Mention, mention_of, read_mention
from chappe.core.routing import LIVE, Member, Route
from chappe.core.targets import parse_networks
from chappe.core.text import PLAIN, Cut
from chappe.routes import RouteSettings

_PORT = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4})"
_LISTEN = rf"\A(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):{_PORT}\Z"
_DATABASE = r"\A(sqlite:///(?!:memory:)[^?#\x00-\x1f]+|postgres(ql)?://[^/\s]+/[^/?#\s]+(\?[^#\s]+)?)\Z"
_PUBLIC_URL = r"\Ahttps?://[^\s?#/]+[^\s?#]*\Z"


class SettingsError(ChappeError):
    """A setting is wrong; the message says which, where it was set and what is allowed."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server's settings, checked."""

    listen: Annotated[str, Meta(pattern=_LISTEN, description="HOST:PORT, such as 127.0.0.1:8000")] = "127.0.0.1:8000"
    database: Annotated[
        str,
        Meta(
            pattern=_DATABASE,
            description="sqlite:///FILE (relative), sqlite:////ABSOLUTE/FILE or "
            "postgresql://USER:PASSWORD@HOST[,HOST…]/DATABASE",
        ),
    ] = "sqlite:///chappe.db"
    public_url: Annotated[
        Annotated[str, Meta(pattern=_PUBLIC_URL)] | None,
        Meta(description="the address people reach this server at, such as https://sms.example.org"),
    ] = None
    tls_cert: Annotated[str | None, Meta(description="a PEM file; together with tls_key")] = None
    """The certificate to answer HTTPS with, and those that vouch for it."""
    tls_key: Annotated[str | None, Meta(description="a PEM file without a password; together with tls_cert")] = None
    smpp_listen: Annotated[
        Annotated[str, Meta(pattern=_LISTEN)] | None, Meta(description="HOST:PORT, such as 127.0.0.1:2775")
    ] = None
    """Where customers bind with SMPP; nowhere if not given."""
    smpp_plaintext: Annotated[bool, Meta(description="true or false")] = False
    """Without TLS, although there is a certificate, or others can reach the address."""
    links_url: Annotated[
        Annotated[str, Meta(pattern=_PUBLIC_URL)] | None,
        Meta(description="a short address that leads here too, such as https://sms.example"),
    ] = None
    """What tracked links begin with; `public_url` if not given."""
    default_validity_seconds: Annotated[
        int, Meta(ge=1, le=604_800, description="a whole number of seconds from 1 to 604800 (7 days)")
    ] = 172_800
    simulator_response_seconds: Annotated[
        float, Meta(gt=0, le=600, description="a number of seconds above 0, up to 600")
    ] = 60.0
    """How long an answer of the built-in simulator is waited for; an operator has its own `response_seconds`."""
    simulator_mood: Annotated[str | None, Meta(description="a mood's name, such as ovh, or a TOML file")] = None
    """How the built-in simulator behaves; as a well-behaved operator unless given."""
    drain_seconds: Annotated[float, Meta(ge=0, le=300, description="a number of seconds from 0 to 300")] = 20.0
    node: Annotated[
        Annotated[str, Meta(pattern=r"\A[A-Za-z0-9.:_-]{1,60}\Z")] | None,
        Meta(description="a name of letters, digits and . : _ -, unlike that of any other node"),
    ] = None
    """What this node is called among those that share a database; the host's name and the port if not given."""
    role: Annotated[Literal["all", "api", "worker"], Meta(description='"all", "api" or "worker"')] = "all"
    """What this node does: `api` only answers requests, `worker` only speaks to operators and sweeps."""
    webhook_networks: Annotated[
        tuple[str, ...], Meta(description='networks such as "10.1.0.0/16"; in a variable with commas between them')
    ] = ()
    """Networks on the premises that webhooks may go to; otherwise they go to public addresses only."""
    log_format: Annotated[Literal["text", "json"], Meta(description='"text" or "json"')] = "text"
    stop_mention: Annotated[
        str | None,
        Meta(description='a short code such as 36111, a line such as "STOP au 36111", or "none"'),
    ] = None
    """How people stop marketing, for accounts that did not decide; see `mention`."""
    operators: tuple[SmppSettings, ...] = ()
    """The tables `[operators.NAME]`, in the order of the file."""
    routes: tuple[RouteSettings, ...] = ()
    """The tables `[routes.NAME]`, likewise: the first whose conditions a message meets is its route."""

    def __post_init__(self) -> None:
        try:
            parse_networks(self.webhook_networks)
        except ValueError as error:
            raise ValueError(f"webhook_networks: {error}") from error
        try:
            _ = self.mention
        except Invalid as error:
            raise ValueError(
                "stop_mention must be a short code such as 36111, a line of up to "
                f'{LONGEST_MENTION} characters in GSM 03.38 such as "STOP au 36111", or "none"'
            ) from error
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("tls_key", "tls_cert") if self.tls_cert is None else ("tls_cert", "tls_key")
            raise ValueError(f"{given} needs {missing} beside it")
        ways = {operator.long_messages[:3]: operator.name for operator in self.operators}  # udh8 and udh16 are one
        if len(ways) > 1:
            raise ValueError(
                f"operators {' and '.join(ways.values())}: long_messages must be the same, "
                "or udh8 and udh16, for the parts of one message may leave through both"
            )

    @property
    def cut(self) -> Cut:
        """How texts have to be cut so that each of the operators can carry them."""
        return Cut(reduce(or_, (operator.cut for operator in self.operators), PLAIN))

    @property
    def rules(self) -> list[Route]:
        """The routes that messages are chosen for, in their order."""
        return [table.route() for table in self.routes if table.name != LIVE]

    @property
    def live(self) -> Route:
        """The route of all other messages: through all operators, if it has no table."""
        tables = (table.route() for table in self.routes if table.name == LIVE)
        return next(tables, Route(LIVE, tuple(Member(operator.name) for operator in self.operators)))

    @property
    def address(self) -> tuple[str, int]:
        """Host (an IPv6 address without its brackets) and port to listen on."""
        return _address(self.listen)

    @property
    def smpp_address(self) -> tuple[str, int] | None:
        """Likewise, for customers."""
        return None if self.smpp_listen is None else _address(self.smpp_listen)

    @property
    def mention(self) -> Mention | None:
        """What stands behind marketing texts: as set, else with the short code that all operators send from."""
        if self.stop_mention is not None:
            return None if self.stop_mention == "none" else read_mention(self.stop_mention)
        senders = {operator.sender for operator in self.operators}
        sender = senders.pop() if len(senders) == 1 else ""
        return mention_of(sender) if re.fullmatch("[0-9]{5}", sender) else None

    @property
    def database_path(self) -> Path | None:
        """The file, if the database is one."""
        path = self.database.removeprefix("sqlite:///")
        return None if path == self.database else Path(path)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def load_settings(
    config: Path | None = None,
    *,
    environ: Mapping[str, str],
    options: Mapping[str, str | None] | None = None,
) -> Settings:
    """Reads the settings; without `config` the file is the one CHAPPE_CONFIG names, if any.

    `options` are those of the command line by the names of settings, None where not given. Raises SettingsError.
    """
    if config is None and environ.get("CHAPPE_CONFIG"):
        config = Path(environ["CHAPPE_CONFIG"])
    given = _from_file(config) if config else {}
    given |= _from_environment(environ)
    for name, value in (options or {}).items():
        if value is not None:
            given[(name,)] = _Given(value, f"--{name.replace('_', '-')}")
    own = {path[0]: entry for path, entry in given.items() if len(path) == 1}
    operators, routes = _tables(given, "operators", SmppSettings), _tables(given, "routes", RouteSettings)
    return _build(Settings, own, "settings", {"operators": tuple(operators), "routes": tuple(routes)})


def read_operator(
    name: str, kept: Mapping[str, object], options: Mapping[str, str]
) -> tuple[SmppSettings, Mapping[str, object]]:
    """An operator that is not in the file: of what the database keeps of it, changed by what a command was given, as
    texts by the names of settings. Also returns what is to be kept of it then. Raises SettingsError."""
    given = {key: _Given(value, f"operator {name}: {key}", is_text=False) for key, value in kept.items()}
    given |= {key: _Given(value, f"--{key.replace('_', '-')}") for key, value in options.items()}
    _check_name("operators", name, "NAME")
    operator = _build(SmppSettings, given, f"operator {name}", {"name": name})
    values: Mapping[str, object] = msgspec.to_builtins(operator)
    return operator, {key: values[key] for key in given}


# --- where settings come from ------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class _Given:
    value: object
    origin: str
    """How the person who set it would call it: `chappe.toml: listen`, `CHAPPE_LISTEN`, `--listen`."""
    is_text: bool = True
    """From the environment or an option, where numbers are texts."""


_Path = tuple[str, ...]
"""A setting's name, or ("operators" or "routes", NAME, key)."""

_KINDS: Mapping[str, str] = {"operators": "an operator", "routes": "a route"}

_OF_THE_COMMANDS = frozenset({"CHAPPE_CONFIG", "CHAPPE_URL", "CHAPPE_API_KEY", "CHAPPE_CACERT"})
_OF_KUBERNETES = r"CHAPPE_(SERVICE_(HOST|PORT)(_.*)?|PORT(_[0-9]+_.*)?)"
"""What every container of a namespace is given when a service there is called chappe."""

_SECRET = frozenset({"password", "database"})
"""Not repeated in an error, which may end in a log."""


def _from_file(config: Path) -> dict[_Path, _Given]:
    try:
        document = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{config}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, not TOML
        raise SettingsError(f"{config} is not a TOML file: {error}") from error
    given: dict[_Path, _Given] = {}
    for kind in _KINDS:
        tables = document.pop(kind, {})
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise SettingsError(f"{config}: {kind} are tables, one [{kind}.NAME] for each")
        for name, table in tables.items():
            if not table:
                raise SettingsError(f"{config}: {kind}.{name} is empty")
            for key, value in table.items():
                given[kind, name, key] = _Given(value, f"{config}: {kind}.{name}.{key}", is_text=False)
    given |= {(key,): _Given(value, f"{config}: {key}", is_text=False) for key, value in document.items()}
    return given


def _from_environment(environ: Mapping[str, str]) -> dict[_Path, _Given]:
    """CHAPPE_NAME, and CHAPPE_OPERATORS__NAME__KEY; an empty variable is one that is not set."""
    given: dict[_Path, _Given] = {}
    for variable, value in environ.items():
        if not variable.startswith("CHAPPE_") or variable in _OF_THE_COMMANDS or not value:
            continue
        if re.fullmatch(_OF_KUBERNETES, variable):
            continue
        path = variable.removeprefix("CHAPPE_").lower().split("__")
        if path[0] == "operators" and len(path) == 3:
            given["operators", path[1].replace("_", "-"), path[2]] = _Given(value, variable)
        else:
            given[("__".join(path),)] = _Given(value, variable)
    return given


# --- from what was given to records ------------------------------------------------------------------

T = TypeVar("T")


def _tables(given: Mapping[_Path, _Given], kind: str, type_: type[T]) -> Iterable[T]:
    """In their order."""
    tables: dict[str, dict[str, _Given]] = {}
    for path, entry in given.items():
        if len(path) == 3 and path[0] == kind:
            tables.setdefault(path[1], {})[path[2]] = entry
    for name, table in tables.items():
        _check_name(kind, name, next(iter(table.values())).origin)
        yield _build(type_, table, f"{kind.removesuffix('s')} {name}", {"name": name})


def _check_name(kind: str, name: str, where: str) -> None:
    if name == "simulator" or not re.fullmatch("[a-z][a-z0-9-]{0,31}", name):
        raise SettingsError(
            f"{where}: {_KINDS[kind]}'s name is made of lower-case letters, digits and hyphens, begins with a "
            f'letter and is not "simulator", not {name!r}'
        )


def _build(kind: type[T], given: Mapping[str, _Given], what: str, already: Mapping[str, object]) -> T:
    """Makes a `kind` of what was given; `already` are the fields that are not given under their own name."""
    hints = get_type_hints(kind, include_extras=True)
    fields = inspect.signature(kind).parameters
    allowed = [name for name in fields if name not in already]
    values: dict[str, Any] = dict(already)
    for name, entry in given.items():
        if name not in allowed:
            raise SettingsError(f"{entry.origin}: no such setting; {_suggest(name, allowed)}")
        values[name] = _convert(name, entry, hints[name])
    for name in allowed:
        if name not in values and fields[name].default is inspect.Parameter.empty:
            raise SettingsError(f"{what}: {name} is missing")
    try:
        return kind(**values)
    except ValueError as error:  # what only the whole can tell; it begins with the field's name
        named = str(error).split(maxsplit=1)[0].rstrip(":")
        raise SettingsError(f"{given[named].origin if named in given else what}: {error}") from error


def _convert(name: str, entry: _Given, hint: Any) -> object:
    given = _in_pieces(str(entry.value), hint) if entry.is_text else entry.value
    try:
        value: object = msgspec.convert(given, hint, strict=not entry.is_text)
    except msgspec.ValidationError as error:
        allowed = next((meta.description for meta in getattr(hint, "__metadata__", ()) if meta.description), None)
        if allowed is None:
            raise SettingsError(f"{entry.origin}: {error}") from error
        shown = "" if name in _SECRET else f", not {entry.value!r:.80}"
        raise SettingsError(f"{entry.origin} must be {allowed}{shown}") from error
    return value


def _in_pieces(text: str, hint: Any) -> object:
    """A text where several are wanted has commas between them, and `=` in each where they are pairs."""
    wanted = {get_origin(kind) for kind in (hint, *get_args(hint))}
    if wanted.isdisjoint((tuple, dict)):
        return text
    pieces = [piece.strip() for piece in text.split(",")]
    return dict(piece.partition("=")[::2] for piece in pieces) if dict in wanted else pieces


def _suggest(name: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(name, allowed, 1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(allowed)}"
