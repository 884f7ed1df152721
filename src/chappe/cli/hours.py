"""`hours`: the packs of rules that say when marketing may leave."""

from __future__ import annotations

import click

from chappe.cli.common import examples, json_option, print_json, print_table


@click.command("hours", epilog=examples("chappe hours", "chappe accounts set shop --hours fr-af2m-2026-tolerant"))
@json_option
def hours(as_json: bool) -> None:
    """List the packs of hours an account may choose from, since when each holds, and where it comes from."""
    from chappe.core.hours import DEFAULT_PACK, PACKS, REGIONS

    if as_json:
        packs = {
            name: {
                "opens": f"{pack.hours.opens:%H:%M}" if pack.hours else None,
                "closes": f"{pack.hours.closes:%H:%M}" if pack.hours else None,
                "sundays": pack.hours is None or pack.hours.sundays,
                "publicHolidays": pack.hours is None or pack.hours.public_holidays,
                "since": pack.since and pack.since.isoformat(),
                "source": pack.source,
            }
            for name, pack in PACKS.items()
        }
        print_json({"default": DEFAULT_PACK, "packs": packs, "regions": list(REGIONS)})
        return
    rows = [
        (
            f"{name} (default)" if name == DEFAULT_PACK else name,
            f"{pack.hours.opens:%H:%M}-{pack.hours.closes:%H:%M}" if pack.hours else "always",
            "yes" if pack.hours is None or pack.hours.sundays else "no",
            "yes" if pack.hours is None or pack.hours.public_holidays else "no",
            f"{pack.since}" if pack.since else "",
            pack.source,
        )
        for name, pack in PACKS.items()
    ]
    print_table(("PACK", "HOURS", "SUNDAYS", "PUBLIC HOLIDAYS", "SINCE", "SOURCE"), rows)
    click.echo(f"Regions with holidays of their own: {', '.join(REGIONS)}.")
