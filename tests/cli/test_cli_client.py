from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chappe.cli import main

pytest_plugins = ("cli_fixtures",)

KEY = "0123456789abcdef0123456789abcdef"
SENT_AT = 1_795_510_800_000
STATUS = {"id": 7, "identifier": "+33600000000", "state": "submitted", "stateDate": SENT_AT, "submitted": SENT_AT}
SENT = STATUS | {"sent": SENT_AT + 1000, "state": "sent", "stateDate": SENT_AT + 1000}
DELIVERED = SENT | {"delivered": SENT_AT + 2000, "state": "delivered", "stateDate": SENT_AT + 2000}


def run(cli: CliRunner, server: Any, *arguments: str, **more: Any) -> Result:
    return cli.invoke(main, [*arguments, "--url", server.url, "--key", KEY], catch_exceptions=False, **more)


def english(at_ms: int) -> str:
    return f"on {datetime.fromtimestamp(at_ms / 1000):%Y-%m-%d at %H:%M:%S}"


# --- send --------------------------------------------------------------------------------------------


def test_send_says_the_id_and_asks_for_no_more_than_was_given(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, {"creditsUsed": 1.0, "snapshotId": "7"})]
    result = run(cli, server, "send", "0600000000", "Bonjour")
    assert (result.exit_code, result.stdout) == (0, "Message 7 accepted; credits: 1\n")
    assert [asked[1:4:2] for asked in server.asked] == [
        ("/v2/notification/messages/send", {"number": "0600000000", "message": "Bonjour"})
    ]


def test_send_passes_every_option_on(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, {"creditsUsed": 2.0, "snapshotId": "8"})]
    options = ("--sender", "Shop", "--category", "c", "--marketing", "--no-track-links")
    result = run(cli, server, "send", "+33600000000", "-", *options, "--date", "2026-11-24T10:00+01:00", input="Été\n")
    assert result.exit_code == 0
    assert server.asked[0][1:4:2] == (
        "/v2/marketing/messages/send",
        {
            "number": "+33600000000",
            "message": "Été",
            "sender": "Shop",
            "category": "c",
            "date": 1_795_510_800_000,
            "trackLinks": False,
        },
    )


@pytest.mark.parametrize(
    ("date", "at_ms"),
    [
        ("1795510800000", 1_795_510_800_000),
        ("2026-11-24T09:00Z", 1_795_510_800_000),
        ("2026-11-24 18:30", round(datetime(2026, 11, 24, 18, 30).timestamp() * 1000)),
    ],
)
def test_date_is_epoch_milliseconds_or_a_time_local_unless_it_has_an_offset(
    cli: CliRunner, server: Any, date: str, at_ms: int
) -> None:
    server.answers = [(200, {"creditsUsed": 1.0, "snapshotId": "8"})]
    assert run(cli, server, "send", "0600000000", "x", "--date", date).exit_code == 0
    assert server.asked[0][3]["date"] == at_ms


def test_json_is_the_answer_itself(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, {"creditsUsed": 1.0, "snapshotId": "7"})]
    result = run(cli, server, "send", "0600000000", "x", "--json")
    assert (json.loads(result.stdout), result.stderr) == ({"creditsUsed": 1.0, "snapshotId": "7"}, "")


def test_no_of_the_server_is_exit_code_1_and_its_words_on_stderr(cli: CliRunner, server: Any) -> None:
    no = {"code": 11, "error": "invalid number", "message": "invalid number"}
    server.answers = [(400, no)]
    plain = run(cli, server, "send", "06", "x")
    assert (plain.exit_code, plain.stdout, plain.stderr) == (1, "", "Error: invalid number (code 11)\n")
    as_json = run(cli, server, "send", "06", "x", "--json")
    assert (as_json.exit_code, as_json.stdout, json.loads(as_json.stderr)) == (1, "", no)


def test_server_that_is_away_is_exit_code_1_with_what_to_look_at(cli: CliRunner, unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}"
    result = cli.invoke(main, ["send", "0600000000", "x", "--url", url, "--key", KEY], catch_exceptions=False)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {url} cannot be reached")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["send", "06", "x"], "CHAPPE_API_KEY"),
        (["send", "06", "x", "--key", KEY[:-1]], "32 hexadecimal"),
        (["send", "06", "x", "--key", KEY, "--url", "localhost:8000"], "http://127.0.0.1:8000"),
        (["send", "06", "x", "--key", KEY, "--date", "tomorrow"], "2026-11-24T18:30"),
        (["send", "06"], "TEXT"),
        (["status", "--key", KEY], "NUMBER or --id"),
        (["status", "06", "--id", "1", "--key", KEY], "NUMBER or --id"),
        (["status", "--id", "x", "--key", KEY], "--id"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_is_missing(
    cli: CliRunner, arguments: list[str], complaint: str
) -> None:
    result = cli.invoke(main, arguments, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in result.stderr


def test_url_and_key_may_come_from_the_environment(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, {"creditsUsed": 1.0, "snapshotId": "7"})]
    environment = {"CHAPPE_URL": server.url, "CHAPPE_API_KEY": f"{KEY}\n"}
    result = cli.invoke(main, ["send", "0600000000", "x"], env=environment, catch_exceptions=False)
    assert result.exit_code == 0
    assert server.asked[0][2]["x-primotexto-apikey"] == KEY


# --- status ------------------------------------------------------------------------------------------


def test_status_of_another_kind_of_server_is_said_to_be_so(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, {"hello": "world"})]
    result = run(cli, server, "status", "+33600000000")
    assert result.exit_code == 1
    assert "does not answer as Chappe does" in result.stderr


def test_status_answers_in_the_first_line_then_tells_each_state(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, DELIVERED)]
    result = run(cli, server, "status", "+33600000000")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"Delivered {english(SENT_AT + 2000)}",
        "Message 7 to +33600000000",
        f"  Accepted              {english(SENT_AT)}",
        f"  Taken by the operator {english(SENT_AT + 1000)}",
        f"  Delivered             {english(SENT_AT + 2000)}",
    ]
    assert server.asked[0][1] == "/v2/messages/status?identifier=%2B33600000000"


def test_french_locale_gets_french_words_from_us_and_from_the_server(
    cli: CliRunner, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "fr_FR.UTF-8")
    server.answers = [(200, DELIVERED)]
    result = run(cli, server, "status", "--id", "7")
    at = datetime.fromtimestamp(SENT_AT / 1000 + 2)
    assert result.stdout.splitlines()[0] == f"Remis le {at:%d/%m/%Y} à {at:%H:%M:%S}"
    assert server.asked[0][1] == "/v2/messages/status?snapshotId=7"
    assert server.asked[0][2]["accept-language"] == "fr"


def test_watch_prints_each_new_state_once_until_the_last(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, STATUS), (200, STATUS), (200, SENT), (200, SENT), (200, DELIVERED), (500, {})]
    result = run(cli, server, "status", "0600000000", "--watch", "--every", "0.01")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == [
        f"Taken by the operator {english(SENT_AT + 1000)}",
        f"Delivered {english(SENT_AT + 2000)}",
    ]
    assert [asked[1].split("?")[1] for asked in server.asked] == ["identifier=0600000000", *["snapshotId=7"] * 4]


def test_watch_as_json_is_a_line_for_each_change(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, STATUS), (200, SENT), (200, DELIVERED)]
    result = run(cli, server, "status", "--id", "7", "--watch", "--every", "0.01", "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [STATUS, SENT, DELIVERED]


def test_watch_outlives_a_restart_of_the_server(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, STATUS), (503, {"code": 1007}), (200, None), (200, DELIVERED)]
    result = run(cli, server, "status", "--id", "7", "--watch", "--every", "0.01")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"Delivered {english(SENT_AT + 2000)}"


def test_watch_ends_when_the_server_says_no(cli: CliRunner, server: Any) -> None:
    server.answers = [(200, STATUS), (401, {"code": 72, "message": "authentication failed"})]
    result = run(cli, server, "status", "--id", "7", "--watch", "--every", "0.01")
    assert (result.exit_code, result.stderr) == (1, "Error: authentication failed (code 72)\n")


def test_ctrl_c_ends_watching_as_a_shell_expects(cli: CliRunner, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chappe.cli.client.time.sleep", interrupt)
    server.answers = [(200, STATUS)]
    result = run(cli, server, "status", "--id", "7", "--watch")
    assert (result.exit_code, result.stderr) == (130, "")
