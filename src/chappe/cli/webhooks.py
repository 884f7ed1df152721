"""`webhooks`: who is told of an account's events; short work in the database, beside the server if one runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from chappe.cli.common import (
    Commands,
    database_options,
    examples,
    in_account,
    json_option,
    local_time,
    now_ms,
    options,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from chappe.core.message import Account
    from chappe.core.ports import Store
    from chappe.core.webhooks import Endpoint
    from chappe.settings import Settings

T = TypeVar("T")

common_options = options(
    click.option("--account", "name", required=True, help="The account's name."), json_option, database_options
)


@click.group(cls=Commands, short_help="Add, list, remove and replay webhooks.")
def webhooks() -> None:
    """Where an account's events are posted. Works while the server runs, which follows at once."""


@webhooks.command(
    "add",
    epilog=examples(
        "chappe webhooks add https://shop.example/hooks --account shop",
        "chappe webhooks add https://shop.example/hooks --account shop --event delivered --event reply",
    ),
)
@click.argument("url")
@click.option("--event", "events", multiple=True, help="A state it wants to be told of; all of them without any.")
@common_options
def add_webhook(
    url: str, events: tuple[str, ...], name: str, as_json: bool, database: str | None, config: Path | None
) -> None:
    """Have events posted to a URL; prints the secret that they are signed with: it is not shown again."""
    import secrets

    from chappe.core.errors import Invalid
    from chappe.core.targets import parse_networks
    from chappe.flow import endpoints

    settings = read_settings(config, database=database)

    async def add(store: Store, account: Account) -> Endpoint:
        return await endpoints.create(
            store,
            account.id,
            url,
            events or None,
            allowed=parse_networks(settings.webhook_networks),
            chance=secrets.token_bytes(32),
            now=now_ms(),
        )

    try:
        endpoint = in_account(settings, name, add)
    except endpoints.ForbiddenUrl:
        raise
    except Invalid as error:
        states = ", ".join(state.public_name for state in endpoints.STATES)
        raise click.BadParameter(f"one of {states}", param_hint="--event") from error
    if as_json:
        print_json({**_row(endpoint), "secret": endpoint.secrets[0]})
    else:
        click.echo(endpoint.secrets[0])
        click.echo(
            f"Webhook {endpoint.id} of the account {name}. Keep its secret now: it is not shown again.", err=True
        )


@webhooks.command("list", epilog=examples("chappe webhooks list --account shop"))
@common_options
def list_webhooks(name: str, as_json: bool, database: str | None, config: Path | None) -> None:
    """List an account's webhooks, and what is wrong with them."""

    async def list_all(store: Store, account: Account) -> list[Endpoint]:
        return await store.list_endpoints(account.id)

    found = in_account(read_settings(config, database=database), name, list_all)
    if as_json:
        print_json([_row(endpoint) for endpoint in found])
        return
    rows = [(str(one.id), one.url, _events(one), local_time(one.created_at), _trouble(one)) for one in found]
    print_table(("ID", "URL", "EVENTS", "CREATED", ""), rows)


@webhooks.command("remove", epilog=examples("chappe webhooks remove 3 --account shop"))
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@common_options
def remove_webhook(id_: int, name: str, as_json: bool, database: str | None, config: Path | None) -> None:
    """Remove a webhook; what waits for it is not posted."""
    from chappe.core.webhooks import EndpointId
    from chappe.flow import endpoints

    async def remove(store: Store, account: Account) -> None:
        await endpoints.remove(store, account.id, EndpointId(id_))

    _on_webhook(read_settings(config, database=database), name, remove)
    if as_json:
        print_json({"id": id_})
    else:
        click.echo(f"Webhook {id_} of the account {name} is removed.")


@webhooks.command(
    "replay",
    epilog=examples(
        "chappe webhooks replay 3 --account shop",
        "chappe webhooks replay 3 --account shop --since 2026-11-24T08:00",
    ),
)
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@click.option("--since", type=click.DateTime(), help="Only events from this moment on, in local time.")
@common_options
def replay_webhook(
    id_: int, since: datetime | None, name: str, as_json: bool, database: str | None, config: Path | None
) -> None:
    """Post exhausted events again. A webhook that a 410 disabled is enabled first."""
    from chappe.core.webhooks import EndpointId
    from chappe.flow import endpoints

    since_ms = 0 if since is None else int(since.timestamp() * 1000)

    async def replay(store: Store, account: Account) -> int:
        endpoint = await store.find_endpoint(account.id, EndpointId(id_))
        if endpoint is not None and endpoint.disabled_at is not None:
            await endpoints.enable(store, account.id, endpoint.id)
        return await endpoints.replay(store, account.id, EndpointId(id_), since_ms, now_ms())

    replayed = _on_webhook(read_settings(config, database=database), name, replay)
    if as_json:
        print_json({"id": id_, "replayed": replayed})
    else:
        click.echo(f"{replayed} events are posted again.")


def _on_webhook(settings: Settings, name: str, work: Callable[[Store, Account], Awaitable[T]]) -> T:
    from chappe.core.errors import Invalid

    try:
        return in_account(settings, name, work)
    except Invalid as error:
        raise click.ClickException(
            f"the account {name} has no such webhook; see `chappe webhooks list --account {name}`"
        ) from error


def _events(endpoint: Endpoint) -> str:
    from chappe.flow import endpoints

    wanted = [state.public_name for state in endpoints.STATES if state in endpoint.states]
    return "all" if len(wanted) == len(endpoints.STATES) else ", ".join(wanted)


def _trouble(endpoint: Endpoint) -> str:
    if endpoint.disabled_at is not None:
        return f"disabled since {local_time(endpoint.disabled_at)}: {endpoint.word}"
    if endpoint.failing_since is not None:
        return f"failing since {local_time(endpoint.failing_since)}: {endpoint.word}"
    return ""


def _row(endpoint: Endpoint) -> dict[str, object]:
    from chappe.flow import endpoints

    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": [state.public_name for state in endpoints.STATES if state in endpoint.states],
        "createdAt": endpoint.created_at,
        "disabledAt": endpoint.disabled_at,
        "failingSince": endpoint.failing_since,
        "lastFailure": endpoint.word or None,
    }
