"""URLs that no webhook may go to, as attackers and parsers spell them: the table in forbidden_urls.txt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path


def _read() -> Iterator[tuple[str, str]]:
    for line in Path(__file__).with_suffix(".txt").read_text("ascii").splitlines():
        if not line.startswith("#"):
            word, url = line.split("\t")
            yield json.loads(url), word


FORBIDDEN: tuple[tuple[str, str], ...] = tuple(_read())
"""(URL, the word that `forbidden_url` says)."""
