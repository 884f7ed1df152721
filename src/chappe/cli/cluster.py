"""`cluster-demo`: what several nodes and a replicated database survive, on one machine."""

from __future__ import annotations

import sys

import click

from chappe.cli.common import examples


@click.command(
    "cluster-demo",
    short_help="Kill a node and the database, and count what was lost.",
    epilog=examples("chappe cluster-demo", "chappe cluster-demo --messages 2000"),
)
@click.option(
    "--messages", type=click.IntRange(100, 100_000), default=500, show_default=True, help="At least so many are sent."
)
def cluster_demo(messages: int) -> None:
    """Start PostgreSQL with two synchronous standbys and three nodes, send, kill a node and the primary, then print the
    ledger: accepted, delivered, lost, doubled.

    Ends by itself, in about a minute; everything runs on the loopback address and in a temporary folder. Needs
    chappe[cluster], which brings PostgreSQL's programs.
    """
    from chappe.cluster.demo import run

    sys.exit(run(messages))
