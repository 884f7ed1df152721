"""Prints the parts of the documentation that are tables in the program, so that the two cannot disagree.

A page marks where a table goes, `<!-- printed: NAME -->` … `<!-- end -->`; everything else on it is written by hand.
`python -m docs.printer` writes all pages and docs/reference/openapi.json anew, and tests/test_docs.py checks that there
was nothing to write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

import click
import msgspec

from chappe.api.openapi import describe_api
from chappe.api.problems import KINDS
from chappe.cli import main as chappe
from chappe.connectors.smpp import SmppSettings
from chappe.connectors.translation import TREATMENTS, UNCERTAIN
from chappe.core import lifecycle
from chappe.core.hours import DEFAULT_PACK, PACKS
from chappe.core.lifecycle import DISPROVED_BY_ENGAGEMENT, DOUBT_LASTS_MS, ENGAGEMENT, PUBLIC, TRANSITIONS, UNDECIDED
from chappe.core.message import (
    Attempt,
    Delivery,
    InDoubtPolicy,
    MessageId,
    Outcome,
    State,
    Treatment,
    Verdict,
)
from chappe.customers import reading as customers
from chappe.customers.writing import CAUSES, STATS
from chappe.flow.accept import POLICY_OF_CATEGORY, POLICY_OF_FAMILY
from chappe.settings import Settings
from chappe.smpp.pdus import MessageState, Status
from docs.examples import examples

ROOT = Path(__file__).resolve().parents[1]
OPENAPI = ROOT / "docs/reference/openapi.json"


def pages() -> list[Path]:
    """Every Markdown page of the project."""
    return sorted(page for folder in (ROOT, ROOT / "docs", ROOT / "proofs") for page in _pages_in(folder))


def render(page: str) -> str:
    """The text of a page with each marked place printed anew. Raises KeyError for an unknown name."""
    return _PLACE.sub(lambda place: f"{place[1]}\n\n{BLOCKS[place[2]]()}\n\n{place[3]}", page)


def description() -> str:
    """The description of the API, as it is checked in."""
    return json.dumps(describe_api(), ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    for page in pages():
        text = page.read_text("utf-8")
        page.write_text(render(text), "utf-8")
    OPENAPI.write_text(description(), "utf-8")


_PLACE = re.compile(r"^(<!-- printed: ([a-z-]+) -->)\n.*?^(<!-- end -->)$", re.MULTILINE | re.DOTALL)


def _pages_in(folder: Path) -> Iterable[Path]:
    return folder.rglob("*.md") if folder.name == "docs" else folder.glob("*.md")


# --- the life of a message -----------------------------------------------------------------------------


def states() -> str:
    entered = {State.SUBMITTED: ["the message is accepted and stored"]}
    for (_, happening), delivery in TRANSITIONS.items():
        entered.setdefault(PUBLIC[delivery], []).append(happening.value)
    for happening, state in ENGAGEMENT.items():
        entered.setdefault(state, []).append(happening.value)
    rows = [(_code(state.public_name), str(state.rank), "; ".join(dict.fromkeys(entered[state]))) for state in State]
    return _table(("state", "rank", "entered when"), rows)


def diagram() -> str:
    """The transition table as a Mermaid diagram."""
    edges: dict[tuple[str, str], list[str]] = {}
    for (before, happening), after in TRANSITIONS.items():
        edges.setdefault((before.name.lower(), after.name.lower()), []).append(_words(happening.name))
    lines = ["```mermaid", "stateDiagram-v2", "    state delivery {", "        direction LR"]
    lines.append(f'        state "presumed lost: {PUBLIC[Delivery.PRESUMED_LOST].public_name}" as presumed_lost')
    lines.append("        [*] --> submitted")
    lines += [f"        {before} --> {after}: {' / '.join(why)}" for (before, after), why in edges.items()]
    lines.append("    }")
    engaged = list(ENGAGEMENT.items())
    for happening, state in engaged:
        lower = ["delivery", *(other.public_name for _, other in engaged if other.rank < state.rank)]
        lines += [f"    {before} --> {state.public_name}: {_words(happening.name)}" for before in lower]
    return "\n".join([*lines, "```"])


def deliveries() -> str:
    rows = [
        (
            _words(delivery.name),
            _code(PUBLIC[delivery].public_name),
            "yes" if delivery in UNDECIDED else "no",
            ", ".join(_words(after.name) for after in dict.fromkeys(_after(delivery))) or "nothing",
        )
        for delivery in Delivery
    ]
    return _table(("delivery", "shown as", "has a deadline", "may become"), rows)


def transitions() -> str:
    rows = [
        (_words(before.name), _words(happening.name), _words(after.name))
        for (before, happening), after in TRANSITIONS.items()
    ]
    return _table(("while", "this happens", "it becomes"), rows)


def happenings() -> str:
    rows = []
    for happening in lifecycle.Happening:
        engaged = ENGAGEMENT.get(happening)
        effect = f"sets {_code(engaged.public_name)}, whatever became of delivery" if engaged else "see the transitions"
        if happening in DISPROVED_BY_ENGAGEMENT:
            effect += "; ignored after a click or an answer"
        rows.append((_words(happening.name), happening.value, effect))
    return _table(("happening", "meaning", "effect"), rows)


def parts() -> str:
    """The state of a part with one attempt, as `fold_part` gives it."""
    rows = [("no attempt was made yet", _code(lifecycle.fold_part([]).value))]
    rows += [(f"attempt {_words(outcome.name)}, no receipt", _part_states([(outcome, None)])) for outcome in Outcome]
    rows += [
        (f"receipt: {_words(verdict.name)}, whatever the attempt's outcome", _part_states(product(Outcome, [verdict])))
        for verdict in Verdict
    ]
    return _table(("what is known", "state of the part"), rows)


def policies() -> str:
    rows = []
    for policy in InDoubtPolicy:
        lasts = DOUBT_LASTS_MS[policy]
        resent = "never" if lasts is None else f"{lasts / 1000:g} s after the doubt began"
        families = [f"family {_words(family.name)}" for family, of in POLICY_OF_FAMILY.items() if of is policy]
        tags = [f"category {_code(name)}" for name, of in POLICY_OF_CATEGORY.items() if of is policy]
        rows.append((_code(policy.name.lower()), resent, ", ".join(families + tags)))
    return _table(("policy", "an unanswered submit is sent again", "default of"), rows)


def limits() -> str:
    return f'A part that an operator has refused {lifecycle.MAX_TEMPORARY_REFUSALS} times "for now" has failed.'


def _after(delivery: Delivery) -> Iterator[Delivery]:
    return (after for (before, _), after in TRANSITIONS.items() if before is delivery)


def _part_states(cases: Iterable[tuple[Outcome, Verdict | None]]) -> str:
    attempts = (
        Attempt(MessageId(1), 1, 1, "", 1, 0, 0, outcome=outcome, verdict=verdict) for outcome, verdict in cases
    )
    found = dict.fromkeys(lifecycle.fold_part([attempt]).value for attempt in attempts)
    return ", ".join(map(_code, found))


# --- the reference -------------------------------------------------------------------------------------


def errors() -> str:
    rows = [(str(code), str(kind.status), kind.english, kind.french) for code, kind in sorted(KINDS.items())]
    return _table(("code", "HTTP", "English", "French"), rows)


def treatments() -> str:
    """The statuses that ask for something else than giving up."""
    rows = []
    for treatment in Treatment:
        named = [status for status in Status if TREATMENTS.get(status) is treatment]
        if named:
            shown = [f"`{status:#04x}` {status.name}{' *' if status in UNCERTAIN else ''}" for status in named]
            rows.append((_code(treatment.name.lower()), ", ".join(shown)))
    return _table(("treatment", "`command_status`"), rows)


def customer_statuses() -> str:
    codes: dict[int, list[int]] = {}
    for code, status in customers.STATUSES.items():
        codes.setdefault(status, []).append(code)
    rows = [
        (
            "ESME_RINVDCS (of SMPP 5)" if status == customers.ESME_RINVDCS else Status(status).name,
            _code(f"0x{status:02x}"),
            "; ".join(f"{code} {KINDS[code].english}" for code in sorted(found)),
        )
        for status, found in sorted(codes.items())
    ]
    return _table(("`command_status`", "", "codes"), rows)


def customer_receipts() -> str:
    causes: dict[MessageState, list[str]] = {}
    for cause, state in CAUSES.items():
        causes.setdefault(state, []).append(_code(cause))
    said = {
        MessageState.DELIVERED: "`delivered`",
        MessageState.UNDELIVERABLE: "`bounced`, and `error` with any other cause",
        **{state: f"`error`, cause {', '.join(found)}" for state, found in causes.items()},
    }
    rows = [(_code(STATS[state].decode()), str(int(state)), told) for state, told in sorted(said.items())]
    return _table(("`stat`", "`message_state`", "when the message is"), rows)


def settings() -> str:
    return _settings_of(Settings, "CHAPPE_{}", leave_out={"operators", "routes"})


def operator_settings() -> str:
    return _settings_of(SmppSettings, "CHAPPE_OPERATORS__NAME__{}", leave_out={"name"})


def packs() -> str:
    rows = []
    for name, pack in PACKS.items():
        hours = pack.hours
        days = (
            [
                word
                for word, open_ in (("Sundays", hours.sundays), ("public holidays", hours.public_holidays))
                if not open_
            ]
            if hours
            else []
        )
        rows.append(
            (
                f"{_code(name)}, the default" if name == DEFAULT_PACK else _code(name),
                f"{hours.opens:%H:%M} to {hours.closes:%H:%M}" if hours else "always",
                ", ".join(days) or "no day",
                str(pack.since or ""),
                pack.source,
            )
        )
    return _table(("pack", "hours", "closed on", "since", "source"), rows)


def commands() -> str:
    return _table(("command", "what it does"), list(_commands(chappe, "chappe")))


def _settings_of(kind: type[msgspec.Struct], variable: str, leave_out: set[str]) -> str:
    hints = get_type_hints(kind, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(kind):
        if field.name not in leave_out:
            given = "*required*" if field.required else _default(field)
            row = (_code(field.name), _code(variable.format(field.name.upper())), given, _allowed(hints[field.name]))
            rows.append(row)
    return _table(("setting", "variable", "default", "allowed"), rows)


def _default(field: msgspec.structs.FieldInfo) -> str:
    value: object = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    match value:
        case None | "" | () | {}:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return _code(str(value))


def _allowed(hint: Any) -> str:
    """The description beside the setting, the text that an error shows; or what its type says."""
    described = [meta.description for meta in getattr(hint, "__metadata__", ()) if meta.description]
    return str(described[0]) if described else _ALLOWED.get(hint, "see below")


_ALLOWED: Mapping[Any, str] = {str: "text", bool: "true or false"}


def _commands(group: click.Group, name: str) -> Iterator[tuple[str, str]]:
    for word, command in group.commands.items():
        full = f"{name} {word}"
        if isinstance(command, click.Group):
            yield from _commands(command, full)
        else:
            arguments = [
                parameter.make_metavar(click.Context(command))
                for parameter in command.params
                if isinstance(parameter, click.Argument)
            ]
            yield _code(" ".join([full, *arguments])), command.get_short_help_str(200)


# --- Markdown ------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


BLOCKS: Mapping[str, Callable[[], str]] = {
    "states": states,
    "diagram": diagram,
    "deliveries": deliveries,
    "transitions": transitions,
    "happenings": happenings,
    "parts": parts,
    "policies": policies,
    "limits": limits,
    "errors": errors,
    "examples": examples,
    "treatments": treatments,
    "customer-statuses": customer_statuses,
    "customer-receipts": customer_receipts,
    "settings": settings,
    "operator-settings": operator_settings,
    "packs": packs,
    "commands": commands,
}
"""What can be printed, by the name in the mark."""


if __name__ == "__main__":
    main()
