"""`python -m chappe` is `chappe`."""

from __future__ import annotations

from chappe.cli import main

main(prog_name="chappe")
