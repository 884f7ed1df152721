"""The documentation says what the program does: printed tables, links, names, examples."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from chappe.api.openapi import describe_api
from chappe.api.schemas import SendAnswer, StatusAnswer
from chappe.api.webhooks import EventAnswer
from chappe.connectors.smpp import SmppSettings
from chappe.routes import RouteSettings
from chappe.settings import Settings, load_settings
from chappe.simulator import Mood
from docs.printer import BLOCKS, OPENAPI, ROOT, description, pages, render

PAGES = pages()
DOCS = ROOT / "docs"

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def links(text: str) -> Iterator[tuple[str, str]]:
    """(text, target) of each link of a page."""
    return ((found[1], found[2]) for found in re.finditer(r"\[([^\]]+)\]\(([^)\s]+)\)", prose_of(text)))


def prose_of(text: str) -> str:
    """The page without its fenced code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return False
    return not anchor or anchor in anchors(file.read_text("utf-8"))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#{1,6} (.+)$", prose_of(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def names_in(file: Path) -> frozenset[str]:
    """What a file of Python defines: functions, classes, constants, and `Class.member`."""
    return frozenset(_defined(ast.parse(file.read_text("utf-8")).body, ""))


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name):
                yield prefix + name
                yield from _defined(node.body, f"{prefix}{name}.")
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name


@every_page
def test_printed_tables_are_what_the_program_says(page: Path) -> None:
    text = page.read_text("utf-8")
    assert render(text) == text, "run `uv run python -m docs.printer`"


def test_the_description_of_the_api_is_the_one_that_is_served() -> None:
    assert OPENAPI.read_text("utf-8") == description(), "run `uv run python -m docs.printer`"


def test_the_description_of_the_api_is_openapi_3_1() -> None:
    validator = jsonschema_rs.validator_for(OPENAPI_31)
    assert [error.message for error in validator.iter_errors(json.loads(description()))] == []


def test_everything_that_can_be_printed_is() -> None:
    marks = {name for page in PAGES for name in re.findall(r"<!-- printed: ([a-z-]+) -->", page.read_text("utf-8"))}
    assert marks == BLOCKS.keys()


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    targets = (target for _, target in links(page.read_text("utf-8")) if not re.match("[a-z]+:", target))
    assert [target for target in targets if not leads_somewhere(page, target)] == []


@every_page
def test_names_beside_links_are_in_the_file_they_lead_to(page: Path) -> None:
    wrong = []
    for shown, target in links(page.read_text("utf-8")):
        name = re.fullmatch(r"`([A-Za-z_]+(?:\.[A-Za-z_]+)?)`", shown)
        if name and target.endswith(".py") and not shown.endswith(".py`"):
            wrong += [f"{name[1]} in {target}"] * (name[1] not in names_in((page.parent / target).resolve()))
    assert wrong == []


def test_architecture_names_functions_beside_its_links() -> None:
    named = [shown for shown, target in links((DOCS / "architecture.md").read_text("utf-8")) if target.endswith(".py")]
    assert len(named) > 50


@every_page
def test_no_page_knows_the_machine_it_was_written_on(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"(?<![\w.])(?:/(?:work|tmp|home|root|Users)/|[A-Z]:\\)\S*|\.\./shared\S*", text) == []


# --- examples ------------------------------------------------------------------------------------------


@every_page
def test_json_examples_have_the_shape_of_the_api(page: Path) -> None:
    for example in fenced(page, "json"):
        answer = json.loads(example)
        if "state" in answer:
            msgspec.convert(answer, StatusAnswer)
            assert list(answer) == sorted(answer)
            assert answer.keys() <= set(StatusAnswer.__struct_fields__)
            assert answer[answer["state"]] == answer["stateDate"]
        elif "event" in answer:
            assert list(answer) == list(msgspec.to_builtins(msgspec.convert(answer, EventAnswer)))
        elif "creditsUsed" in answer:
            assert list(answer) == list(SendAnswer.__struct_fields__)
        else:
            assert answer["error"] == answer["message"]


@every_page
def test_settings_in_examples_can_be_loaded(page: Path, tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    for example in fenced(page, "toml"):
        file.write_text(example, "utf-8")
        if "answers_lost" in example:
            msgspec.toml.decode(example, type=Mood)
        else:
            load_settings(file, environ={})


# --- the reference -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Settings, SmppSettings, RouteSettings])
def test_every_setting_is_explained(kind: type[msgspec.Struct]) -> None:
    by_hand = re.sub(
        "<!-- printed:.*?<!-- end -->", "", (DOCS / "reference/settings.md").read_text("utf-8"), flags=re.S
    )
    names = set(kind.__struct_fields__) - {"name", "operators", "routes"}
    assert names - set(re.findall("`([a-z0-9_]+)`", by_hand)) == set()


def test_every_route_and_member_is_described() -> None:
    text = prose_of((DOCS / "reference/api.md").read_text("utf-8"))
    described = describe_api()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    schemas = describe_api()["components"]["schemas"].values()
    members = {member for schema in schemas for member in schema.get("properties", ())}
    words = set(re.findall("`([^`]+)`", text))
    assert (served | members) - words == set()


def test_the_readme_maps_the_tree() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]
    top = {
        entry.name
        for entry in ROOT.iterdir()
        if not any(fnmatch(entry.name, pattern) for pattern in (*ignored, ".git*"))
    }
    package = ROOT / "src/chappe"
    inside = {
        entry.name for entry in package.iterdir() if not entry.name.startswith("__") and entry.suffix in ("", ".py")
    }
    words = set(re.findall(r"[\w.\-]+", text))
    assert (top | inside) - words == set()


def test_the_readme_names_the_scripts() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    line = re.search(r"^    scripts/ +(.*)$", text, re.MULTILINE)
    assert line
    scripts = {file.name for file in (ROOT / "scripts").iterdir() if not file.name.startswith("_")}
    assert scripts <= set(re.findall(r"\w+", line[1]))


# --- the checks themselves -----------------------------------------------------------------------------


def test_a_misspelt_name_would_be_found() -> None:
    names = names_in(ROOT / "src/chappe/flow/dispatch.py")
    assert {"Dispatcher", "Dispatcher.step", "LONGEST_WAIT_SECONDS"} <= names
    assert not {"Dispatcher.stepp", "step"} & names


def test_a_broken_link_would_be_found() -> None:
    page = DOCS / "architecture.md"
    assert leads_somewhere(page, "lifecycle.md#transitions")
    assert not leads_somewhere(page, "lifecycle.md#nowhere")
    assert not leads_somewhere(page, "absent.md")
    assert not leads_somewhere(page, "../../README.md")
