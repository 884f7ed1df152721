"""`connectors`: what each operator's connector does at the moment and what holds it back; pause, drain, resume.

Adding, changing and removing them is in `cli.operators`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chappe.cli import operators
from chappe.cli.common import (
    Commands,
    database_options,
    examples,
    in_store,
    json_option,
    now_ms,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from chappe.connectors.smpp_settings import SmppSettings
    from chappe.core.figures import Figures
    from chappe.core.ports import Store
    from chappe.core.steering import Condition, Shown, Told
    from chappe.settings import Settings

WATCH_SECONDS = 2.0
"""As often as servers show new figures."""
TABLE = (
    "CONNECTOR",
    "FROM",
    "STATE",
    "BINDS",
    "IN FLIGHT",
    "ROUND TRIP",
    "RATE",
    "THROTTLED",
    "QUEUE",
    "DELIVERED",
    "LIMIT",
)


@dataclass(slots=True, frozen=True)
class _Line:
    name: str
    origin: str
    """`file`, `added` by command, or empty for what only a server knows of."""
    settings: SmppSettings | None
    told: Told
    condition: Condition
    shown: Shown | None
    """None when it says nothing of the moment."""


@dataclass(slots=True, frozen=True)
class _Scene:
    held: bool
    """The system is on hold."""
    unserved: Mapping[str, int]
    """Routes without an operator → how many parts wait there."""
    wrong: Mapping[str, str]
    """Added operators that cannot be used, and why."""
    lines: Sequence[_Line]


@click.group(
    cls=Commands,
    invoke_without_command=True,
    short_help="Show, add, change, pause, drain, resume and remove operators.",
    epilog=examples(
        "chappe connectors",
        "chappe connectors --watch",
        "chappe connectors pause example",
        "chappe connectors resume example",
        "chappe connectors add example --host smpp.example.net --port 3550 --tls --system-id my-login",
    ),
)
@click.option("--watch", is_flag=True, help="Show it again every other second, until Ctrl-C.")
@json_option
@database_options
@click.pass_context
def connectors(ctx: click.Context, watch: bool, as_json: bool, database: str | None, config: Path | None) -> None:
    """List the operators' connectors: what each does at the moment, and the one figure that holds it back.

    Servers notice within a second what a connector is told, and keep to it until it is told otherwise.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = read_settings(config, database=database)
    while True:
        scene = in_store(settings, lambda store: _read(store, settings))
        if as_json:
            print_json([_as_json(line) for line in scene.lines])
        else:
            _print(scene)
        if not watch:
            return
        time.sleep(WATCH_SECONDS)


@connectors.command("show", epilog=examples("chappe connectors show example"))
@click.argument("name")
@json_option
@database_options
def show_connector(name: str, as_json: bool, database: str | None, config: Path | None) -> None:
    """Show one connector, a figure a line, and its settings that are not the default."""
    settings = read_settings(config, database=database)
    scene = in_store(settings, lambda store: _read(store, settings))
    line = next((line for line in scene.lines if line.name == name), None)
    if line is None:
        raise _unknown(name, scene.lines)
    chosen = {} if line.settings is None else _chosen(line.settings)
    if as_json:
        print_json({**_as_json(line), "settings": chosen})
        return
    shown = dict(_as_json(line))
    lately = shown.pop("lately", None)
    for label, value in shown.items():
        if value is not None:
            click.echo(f"{label:<16}  {value}")
    if chosen:
        click.echo("settings:")
        for label, value in chosen.items():
            click.echo(f"  {label:<14}  {value}")
    if lately is not None:
        _print_lately(lately)


@connectors.command("pause", epilog=examples("chappe connectors pause example"))
@click.argument("name")
@database_options
def pause_connector(name: str, database: str | None, config: Path | None) -> None:
    """Submit nothing more to an operator. It stays bound: answers, receipts and messages come in.

    What waits leaves through other operators, or waits on.
    """
    from chappe.core.steering import Told

    _tell(name, Told.PAUSE, database, config, f"{name} pauses")


@connectors.command("drain", epilog=examples("chappe connectors drain example"))
@click.argument("name")
@database_options
def drain_connector(name: str, database: str | None, config: Path | None) -> None:
    """Submit nothing more to an operator, wait for its answers, unbind, and stay away."""
    from chappe.core.steering import Told

    _tell(name, Told.DRAIN, database, config, f"{name} drains")


@connectors.command("resume", epilog=examples("chappe connectors resume example"))
@click.argument("name")
@database_options
def resume_connector(name: str, database: str | None, config: Path | None) -> None:
    """Take back `pause` or `drain`."""
    from chappe.core.steering import Told

    _tell(name, Told.RUN, database, config, f"{name} runs")


for command in (operators.add_connector, operators.set_connector, operators.remove_connector):
    connectors.add_command(command)


def _tell(name: str, told: Told, database: str | None, config: Path | None, said: str) -> None:
    settings = read_settings(config, database=database)

    async def tell(store: Store) -> None:
        scene = await _read(store, settings)
        if name not in {line.name for line in scene.lines}:
            raise _unknown(name, scene.lines)
        await store.tell_connector(name, told, now_ms())

    in_store(settings, tell)
    click.echo(f"{said}; servers notice within a second.")


async def _read(store: Store, settings: Settings) -> _Scene:
    """All connectors that the settings, the store or a server know of, and what keeps messages from leaving."""
    from chappe.core.steering import Condition, Told, condition_of, fresh
    from chappe.operators import join

    now = now_ms()
    there = join(settings, await store.list_connectors())
    told = {steered.connector: steered.told for steered in await store.list_steered()}
    shown = {one.connector: one for one in await store.list_shown()}
    current = {name: one for name, one in shown.items() if fresh(one, now)}
    names = [operator.name for operator in there.settings.operators]
    lines = [
        _Line(
            name,
            "file" if name in there.in_file else "added" if name in there.added or name in there.leaving else "",
            there.named(name),
            told.get(name, Told.RUN),
            Condition.REMOVING
            if name in there.leaving
            else condition_of(told.get(name, Told.RUN), shown.get(name), now),
            current.get(name),
        )
        for name in dict.fromkeys([*names, *there.added, *there.leaving, *sorted({*told, *current})])
    ]
    return _Scene(
        await store.held_since() is not None,
        {route: await store.count_waiting(route, now) for route in there.unserved},
        there.wrong,
        lines,
    )


def _unknown(name: str, lines: Sequence[_Line]) -> click.ClickException:
    known = ", ".join(line.name for line in lines) or "none; is --config missing, or no server at work?"
    return click.ClickException(f"no connector is called {name}; there are: {known}")


def _chosen(settings: SmppSettings) -> Mapping[str, object]:
    """What differs from the default, without the secret."""
    import msgspec

    default = type(settings)(name=settings.name, host="", port=0)
    values = msgspec.to_builtins(settings)
    chosen = {name: value for name, value in values.items() if getattr(settings, name) != getattr(default, name)}
    return {**chosen, "password": "set"} if "password" in chosen else chosen


def _print(scene: _Scene) -> None:
    if scene.held:
        click.echo("ON HOLD: nothing leaves, until `chappe hold off`")
    for route, waiting in scene.unserved.items():
        click.echo(f"NO OPERATOR is left for the route {route}: {_up_to(waiting)} parts wait")
    for name, why in scene.wrong.items():
        click.echo(f"NOT USED: {name}: {why}")
    print_table(TABLE, [_row(line) for line in scene.lines])


def _row(line: _Line) -> tuple[str, ...]:
    from chappe.core.figures import limit_sentence

    if line.shown is None:
        return (line.name, line.origin, line.condition.value, *[""] * (len(TABLE) - 3))
    figures = line.shown.figures
    return (
        line.name,
        line.origin,
        line.condition.value,
        f"{figures.bound}/{figures.binds}",
        f"{figures.in_flight}/{figures.window}",
        "" if figures.round_trip_ms is None else f"{figures.round_trip_ms:.0f} ms",
        _rate(figures),
        f"{figures.throttled_share:.1%}",
        _waiting(figures),
        _delivered(figures),
        limit_sentence(figures),
    )


def _rate(figures: Figures) -> str:
    now = f"{figures.submits_per_second:.1f}/s"
    return now if figures.rate_limit is None else f"{now} of {figures.rate_limit:.1f}"


def _waiting(figures: Figures) -> str:
    return "" if figures.waiting is None else _up_to(figures.waiting)


def _up_to(waiting: int) -> str:
    from chappe.core.steering import MOST_COUNTED

    return f"{MOST_COUNTED}+" if waiting >= MOST_COUNTED else str(waiting)


def _delivered(figures: Figures) -> str:
    """Of what it was given lately, how much has arrived so far, and how soon half of it did."""
    lately = figures.lately
    if lately is None or not lately.accepted:
        return ""
    share = f"{lately.delivered / lately.accepted:.1%}"
    return share if lately.receipt_ms is None else f"{share} in {lately.receipt_ms[0] / 1000:.1f} s"


def _print_lately(lately: Mapping[str, Any]) -> None:
    from chappe.core.deliveries import WINDOW_MINUTES

    click.echo(f"of the last {WINDOW_MINUTES} minutes:")
    for label, value in lately.items():
        if isinstance(value, dict):
            value = ", ".join(f"{count} × {code}" for code, count in value.items())
        elif isinstance(value, list):
            value = f"{value[0]} (median), {value[1]} (95 %)"
        if value not in (None, ""):
            click.echo(f"  {label:<14}  {value}")


def _lately_json(figures: Figures) -> Mapping[str, Any]:
    lately = figures.lately
    if lately is None:
        return {}
    return {
        "lately": {
            "accepted": lately.accepted,
            "delivered": lately.delivered,
            "failed": dict(lately.failed),
            "refused": dict(lately.refused),
            "answerMs": None if lately.answer_ms is None else list(lately.answer_ms),
            "receiptMs": None if lately.receipt_ms is None else list(lately.receipt_ms),
            "due": lately.due,
            "late": lately.late,
        }
    }


def _as_json(line: _Line) -> Mapping[str, Any]:
    from chappe.core.figures import limit_sentence

    named = {"name": line.name, "origin": line.origin, "state": line.condition.value, "told": line.told.value}
    if line.shown is None:
        return named
    figures = line.shown.figures
    return {
        **named,
        "node": line.shown.node,
        "at": line.shown.at,
        "bound": figures.bound,
        "binds": figures.binds,
        "window": figures.window,
        "inFlight": figures.in_flight,
        "roundTripMs": None if figures.round_trip_ms is None else round(figures.round_trip_ms, 1),
        "submitsPerSecond": round(figures.submits_per_second, 1),
        "rateLimit": figures.rate_limit,
        "rateSetting": figures.rate_setting,
        "throttledShare": round(figures.throttled_share, 4),
        "waiting": figures.waiting,
        "limit": limit_sentence(figures),
        **_lately_json(figures),
    }
