"""The command line: a thin edge that reads arguments, calls what does the work, and says what came out.

Exit codes: 0 done, 1 the answer is no (refused, not found, unreachable), 2 wrong usage or settings. What a command
needs is imported inside it, so that `--help`, `send` and `status` start fast.
"""

from __future__ import annotations

import click

from chappe.cli.accounts import accounts, keys
from chappe.cli.allowances import credit_commands, limits
from chappe.cli.client import send, status
from chappe.cli.cluster import cluster_demo
from chappe.cli.common import Commands
from chappe.cli.connectors import connectors
from chappe.cli.database import backup, copy_database, hold, migrate
from chappe.cli.hours import hours
from chappe.cli.links import links
from chappe.cli.optouts import optouts
from chappe.cli.receipts import receipts
from chappe.cli.routes import routes
from chappe.cli.server import demo, serve, simulate
from chappe.cli.texts import preview
from chappe.cli.webhooks import webhooks


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="chappe", message="chappe %(version)s")
def main() -> None:
    """Chappe, a self-hosted SMS platform: sends, follows, and says whether it arrived."""


for command in (
    serve,
    demo,
    cluster_demo,
    simulate,
    keys,
    accounts,
    credit_commands,
    limits,
    hours,
    connectors,
    routes,
    receipts,
    webhooks,
    optouts,
    links,
    send,
    status,
    preview,
    migrate,
    copy_database,
    backup,
    hold,
):
    main.add_command(command)
