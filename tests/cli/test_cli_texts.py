from __future__ import annotations

import json

from click.testing import CliRunner

from chappe.cli import main

pytest_plugins = ("cli_fixtures",)


def test_preview_names_the_characters_that_cost(cli: CliRunner) -> None:
    result = cli.invoke(main, ["preview", "C’est prêt 😀" + "!" * 60])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "UCS2, 73 units: 2 parts",
        "AT  CHARACTER  WHY           INSTEAD",
        '2   ’          forces UCS-2  "\'"',
        '9   ê          forces UCS-2  "e"',
        "12  😀          forces UCS-2  -",
    ]


def test_preview_says_what_a_national_table_would_save(cli: CliRunner) -> None:
    text = "Ça y est, c'est prêt. " * 5
    lines = cli.invoke(main, ["preview", "-"], input=text + "\n").stdout.splitlines()
    assert lines[0] == "UCS2, 110 units: 2 parts"
    assert lines[-2:] == ["With these instead: 1 part.", "With --national-shift portuguese: 1 part."]
    lines = cli.invoke(main, ["preview", text, "--national-shift", "portuguese"]).stdout.splitlines()
    assert lines[0] == "GSM7_PORTUGUESE, 115 septets: 1 part"
    assert lines[2] == '19   ê          needs the national table  "e"'
    assert len(lines) == 7


def test_preview_as_json_is_the_answer_of_the_api(cli: CliRunner) -> None:
    seen = json.loads(cli.invoke(main, ["preview", "[", "--json"]).stdout)
    assert seen == {
        "alphabet": "GSM7",
        "parts": [{"start": 0, "end": 1, "units": 2, "text": "["}],
        "units": 2,
        "credits": 1.0,
        "costly": [{"start": 0, "text": "[", "why": "costsTwo", "instead": None}],
        "cheaper": None,
        "mention": None,
        "shifts": [],
    }
