"""Who may import whom. The arrows of docs/architecture.md, kept true."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "chappe"

MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "smpp": set(),
    "flow": {"core"},
    "storage": {"core"},
    "connectors": {"core", "smpp"},
    "simulator": {"core", "smpp"},
    "notifier": {"core"},
    "cluster": {"core", "http_client", "loopback", "simulator"},
    "customers": {"core", "smpp", "flow"},
    "api": {"core", "flow"},
    "web": {"core", "flow"},
}
"""Package → the others it may import."""

WIRING = {"cli"}
"""May import all, like the modules beside the packages."""

CORE_NEEDS = {"phonenumbers", "holidays"}
"""core is the standard library and these tables."""


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield node.module or ""
            if node.module == "chappe":
                yield from (f"chappe.{alias.name}" for alias in node.names)


def files_of(package: str) -> list[Path]:
    single = SOURCE / f"{package}.py"
    return [single] if single.exists() else sorted((SOURCE / package).rglob("*.py"))


def test_each_package_imports_only_what_it_may() -> None:
    wrong = [
        f"{file.relative_to(SOURCE)} imports {name}"
        for package, allowed in MAY_IMPORT.items()
        for file in files_of(package)
        for name in imports(file)
        if name.startswith("chappe.") and name.split(".")[1] not in {package, *allowed}
    ]
    assert wrong == []


def test_core_is_pure() -> None:
    wrong = [
        f"{file.relative_to(SOURCE)} imports {name}"
        for file in files_of("core")
        for name in imports(file)
        if (root := name.split(".")[0]) not in {*sys.stdlib_module_names, *CORE_NEEDS, "chappe", ""}
        or root in {"asyncio", "socket", "time", "random", "secrets", "sqlite3", "threading"}
    ]
    assert wrong == []


def test_every_package_has_a_rule() -> None:
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert packages <= MAY_IMPORT.keys() | WIRING
