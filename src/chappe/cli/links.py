"""`links`: the kill switch of tracked links; short work in the database, beside the server if one runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chappe.cli.common import (
    Commands,
    database_options,
    examples,
    find_account,
    in_store,
    json_option,
    local_time,
    now_ms,
    options,
    print_json,
    print_table,
    read_settings,
)

if TYPE_CHECKING:
    from chappe.core.message import Ban, Banned
    from chappe.core.ports import Store

which_options = options(
    click.argument("link", required=False, metavar="[LINK]"),
    click.option("--message", metavar="ID", help="The links of a message."),
    click.option("--campaign", metavar="ID|NAME", help="Those of a campaign; with a name also --account."),
    click.option("--account", metavar="NAME", help="Whose campaign it is."),
    click.option("--domain", metavar="HOST", help="All links that lead to a host, and to those below it."),
    json_option,
    database_options,
)


@click.group(cls=Commands, short_help="Disable and enable tracked links.")
def links() -> None:
    """Tracked links that lead nowhere: 410 at once, on every node, and for links still to be made."""


@links.command(
    "disable",
    epilog=examples(
        "chappe links disable https://sms.example/l/Zb3kP0aQ9xWm",
        "chappe links disable --domain phishing.example",
        "chappe links disable --campaign mai --account shop",
    ),
)
@which_options
def disable_links(
    link: str | None,
    message: str | None,
    campaign: str | None,
    account: str | None,
    domain: str | None,
    as_json: bool,
    database: str | None,
    config: Path | None,
) -> None:
    """Have a link, or all of a message, a campaign or a host, lead nowhere."""

    async def disable(store: Store) -> str:
        what, name = await _which(store, link, message, campaign, account, domain)
        await store.ban_links(what, name, now_ms())
        return f"{what.value} {name}"

    said = in_store(read_settings(config, database=database), disable)
    if as_json:
        print_json({"disabled": said})
    else:
        click.echo(f"Disabled: {said}")


@links.command("enable", epilog=examples("chappe links enable --domain phishing.example"))
@which_options
def enable_links(
    link: str | None,
    message: str | None,
    campaign: str | None,
    account: str | None,
    domain: str | None,
    as_json: bool,
    database: str | None,
    config: Path | None,
) -> None:
    """Take back what `disable` did, said in the same way."""

    async def enable(store: Store) -> str:
        what, name = await _which(store, link, message, campaign, account, domain)
        if not await store.allow_links(what, name):
            raise click.ClickException(f"{what.value} {name} is not disabled; see `chappe links list`")
        return f"{what.value} {name}"

    said = in_store(read_settings(config, database=database), enable)
    if as_json:
        print_json({"enabled": said})
    else:
        click.echo(f"Enabled: {said}")


@links.command("list", epilog=examples("chappe links list"))
@json_option
@database_options
def list_links(as_json: bool, database: str | None, config: Path | None) -> None:
    """List what is disabled."""

    async def read(store: Store) -> list[Ban]:
        return await store.list_bans()

    bans = in_store(read_settings(config, database=database), read)
    if as_json:
        print_json([{"what": ban.what.value, "name": ban.name, "since": ban.since} for ban in bans])
        return
    rows = [(ban.what.value, ban.name, local_time(ban.since)) for ban in bans]
    print_table(("WHAT", "NAME", "SINCE"), rows)


async def _which(
    store: Store, link: str | None, message: str | None, campaign: str | None, account: str | None, domain: str | None
) -> tuple[Banned, str]:
    from chappe.core.campaigns import read_public_id
    from chappe.core.links import campaign_name, plain_host
    from chappe.core.message import Banned

    match (link, message, campaign, domain):
        case (str(), None, None, None):
            token = link.rstrip("/").rpartition("/")[2]
            if not re.fullmatch("[0-9A-Za-z]{10,64}", token):
                raise click.BadParameter("a tracked link, or its last part", param_hint="LINK")
            return Banned.TOKEN, token
        case (None, str(), None, None):
            if not re.fullmatch("[1-9][0-9]{0,17}", message):
                raise click.BadParameter("a message's id", param_hint="--message")
            return Banned.MESSAGE, message
        case (None, None, str(), None):
            if account is None:
                if not read_public_id(campaign):
                    raise click.BadParameter("a campaign's id; a name needs --account", param_hint="--campaign")
                return Banned.CAMPAIGN, campaign
            found = await find_account(store, account)
            return Banned.CAMPAIGN, campaign_name(found.id, campaign)
        case (None, None, None, str()):
            host = plain_host(domain)
            if not re.fullmatch(r"[a-z0-9_.\-:]{1,253}", host):
                raise click.BadParameter("a host's name, such as example.org", param_hint="--domain")
            return Banned.HOST, host
    raise click.UsageError("name one of: LINK, --message, --campaign, --domain")
