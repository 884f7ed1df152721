"""`routes`: who takes what, with the weights of the moment and the moves that made them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chappe.cli.common import database_options, examples, in_store, json_option, local_time, print_json, read_settings

if TYPE_CHECKING:
    from chappe.core.ports import Store
    from chappe.core.routing import Route
    from chappe.core.shifting import Shift
    from chappe.settings import Settings

MOVES = 5
"""The last ones of each route."""


@click.command("routes", short_help="Show routes, their weights and why they moved.", epilog=examples("chappe routes"))
@json_option
@database_options
def routes(as_json: bool, database: str | None, config: Path | None) -> None:
    """Show the routes of the settings in their order, the operators of each with their weights of the moment, and the
    last moves of the weights with their reasons.
    """
    settings = read_settings(config, database=database)
    found = in_store(settings, lambda store: _read(store, settings))
    if as_json:
        print_json([_as_json(route, moves) for route, moves in found])
        return
    for route, moves in found:
        _print(route, moves)


async def _read(store: Store, settings: Settings) -> list[tuple[Route, list[Shift]]]:
    from chappe.operators import join

    joined = join(settings, await store.list_connectors()).settings
    return [(route, await store.list_shifts(route.name, MOVES)) for route in (*joined.rules, joined.live)]


def _as_json(route: Route, moves: list[Shift]) -> Mapping[str, Any]:
    from chappe.core.shifting import shifted

    now = shifted(route, moves[0] if moves else None)
    return {
        "name": route.name,
        "shift": route.shift,
        "through": [
            {"operator": one.connector, "priority": one.priority, "weight": one.weight, "set": was.weight}
            for one, was in zip(now.members, route.members, strict=True)
        ],
        "moves": [{"at": move.at, "weights": dict(move.weights), "why": move.why} for move in moves],
    }


def _print(route: Route, moves: list[Shift]) -> None:
    from chappe.core.shifting import shifted

    now = shifted(route, moves[0] if moves else None)
    click.echo(route.name)
    for one, was in zip(now.members, route.members, strict=True):
        weight = f", weight {one.weight}" if one.weight or was.weight else ""
        moved = f" (set: {was.weight})" if now is not route else ""
        click.echo(f"  {one.connector}  priority {one.priority}{weight}{moved}")
    for move in moves:
        click.echo(f"  {local_time(move.at)}  {move.why}")
