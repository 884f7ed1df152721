"""`preview`: what a text will be as an SMS, without a server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from chappe.cli.common import examples, json_option, print_json, print_table

if TYPE_CHECKING:
    from chappe.core.preview import Preview


@click.command(
    short_help="Say what a text will cost, and which characters raise the price.",
    epilog=examples(
        'chappe preview "C’est prêt"',
        'chappe preview "Ça va être prêt" --national-shift portuguese',
        "chappe preview - < text.txt",
    ),
)
@click.argument("text")
@click.option(
    "--national-shift",
    type=click.Choice(["portuguese", "spanish", "turkish"]),
    help="As of an account with this national language table.",
)
@json_option
def preview(text: str, national_shift: str | None, as_json: bool) -> None:
    """Say what TEXT (- reads it from stdin) will be: alphabet, parts, and the characters that raise the price."""
    from chappe.core.preview import preview as look_at
    from chappe.core.text import PLAIN, with_language

    if text == "-":
        text = sys.stdin.read().rstrip("\n")
    seen = look_at(text, cut=with_language(PLAIN, national_shift))
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(seen))
    else:
        _describe(seen)


def _describe(seen: Preview) -> None:
    unit = "units" if seen.alphabet.name == "UCS2" else "septets"
    click.echo(f"{seen.alphabet.name}, {seen.units} {unit}: {_parts(len(seen.parts))}")
    if seen.costly:
        rows = [
            (
                str(one.start + 1),
                one.text if one.text.isprintable() else ascii(one.text),
                _WHY[one.why.name],
                "-" if one.instead is None else f'"{one.instead}"',
            )
            for one in seen.costly
        ]
        print_table(("AT", "CHARACTER", "WHY", "INSTEAD"), rows)
    if seen.cheaper is not None:
        click.echo(f"With these instead: {_parts(seen.cheaper.parts)}.")
    for shift in seen.shifts:
        click.echo(f"With --national-shift {shift.language}: {_parts(shift.parts)}.")


def _parts(count: int) -> str:
    return "1 part" if count == 1 else f"{count} parts"


_WHY = {
    "UNSENDABLE": "no SMS can carry it",
    "FORCES_UCS2": "forces UCS-2",
    "NEEDS_SHIFT": "needs the national table",
    "COSTS_TWO": "takes two septets",
}
"""By the names of `preview.Why`."""
