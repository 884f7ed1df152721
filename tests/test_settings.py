from __future__ import annotations

from pathlib import Path

import pytest

from chappe.connectors.smpp import SmppSettings
from chappe.connectors.smpp_settings import LongMessages
from chappe.core.message import Family
from chappe.core.routing import LIVE, Member, Route
from chappe.core.text import BARE, LATIN_1, PLAIN, WHOLE, WIDE
from chappe.settings import Settings, SettingsError, load_settings

ORANGE = """
[operators.orange]
host = "smpp.example.org"
port = 2775
system_id = "me"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The name of a file to write settings to, short enough to stand in an error."""
    monkeypatch.chdir(tmp_path)
    return Path("chappe.toml")


def wrong(config: Path | None = None, environ: dict[str, str] | None = None, **options: str | None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(config, environ=environ or {}, options=options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- where they come from ----------------------------------------------------------------------------


def test_nothing_given_is_a_server_for_this_machine_alone() -> None:
    settings = load_settings(environ={"HOME": "/root", "PATH": "/bin"})
    assert settings == Settings()
    assert settings.address == ("127.0.0.1", 8000)
    assert settings.database_path == Path("chappe.db")
    assert settings.operators == ()


def test_options_beat_the_environment_which_beats_the_file(config: Path) -> None:
    config.write_text('listen = "127.0.0.1:1"\ndatabase = "sqlite:///file.db"\nlog_format = "json"\ndrain_seconds = 5')
    environ = {"CHAPPE_LISTEN": "127.0.0.1:2", "CHAPPE_DATABASE": "sqlite:///environment.db"}
    settings = load_settings(config, environ=environ, options={"listen": "127.0.0.1:3", "database": None})
    assert settings == Settings(
        listen="127.0.0.1:3", database="sqlite:///environment.db", log_format="json", drain_seconds=5.0
    )


def test_environment_names_the_file_unless_an_option_does(config: Path) -> None:
    config.write_text("drain_seconds = 1.5")
    Path("other.toml").write_text("drain_seconds = 2.5")
    environ = {"CHAPPE_CONFIG": "chappe.toml"}
    assert load_settings(environ=environ).drain_seconds == 1.5
    assert load_settings(Path("other.toml"), environ=environ).drain_seconds == 2.5


def test_numbers_in_the_environment_are_numbers() -> None:
    environ = {"CHAPPE_DEFAULT_VALIDITY_SECONDS": "20", "CHAPPE_SIMULATOR_RESPONSE_SECONDS": "3"}
    settings = load_settings(environ=environ)
    assert (settings.default_validity_seconds, settings.simulator_response_seconds) == (20, 3.0)


def test_variables_of_commands_and_of_kubernetes_are_no_settings() -> None:
    environ = {
        "CHAPPE_URL": "http://127.0.0.1:8000",
        "CHAPPE_API_KEY": "0123456789abcdef0123456789abcdef",
        "CHAPPE_CACERT": "/etc/ssl/ours.pem",
        "CHAPPE_SERVICE_HOST": "10.0.0.1",
        "CHAPPE_SERVICE_PORT": "8000",
        "CHAPPE_SERVICE_PORT_HTTP": "8000",
        "CHAPPE_PORT": "tcp://10.0.0.1:8000",
        "CHAPPE_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings(environ=environ) == Settings()


def test_empty_variable_is_one_that_is_not_set() -> None:
    assert load_settings(environ={"CHAPPE_PUBLIC_URL": "", "CHAPPE_LISTEN": ""}) == Settings()


# --- what is wrong names itself ----------------------------------------------------------------------


def test_wrong_value_names_the_file_the_key_and_what_is_allowed(config: Path) -> None:
    config.write_text('default_validity_seconds = "2 days"')
    assert wrong(config) == (
        "chappe.toml: default_validity_seconds must be a whole number of seconds from 1 to 604800 (7 days), "
        "not '2 days'"
    )


def test_number_written_as_text_in_the_file_is_wrong_though_fine_in_the_environment(config: Path) -> None:
    config.write_text('default_validity_seconds = "20"')
    assert wrong(config).startswith("chappe.toml: default_validity_seconds must be a whole number")


def test_wrong_variable_and_wrong_option_name_themselves() -> None:
    assert wrong(environ={"CHAPPE_LOG_FORMAT": "xml"}) == 'CHAPPE_LOG_FORMAT must be "text" or "json", not \'xml\''
    assert wrong(listen="8000") == "--listen must be HOST:PORT, such as 127.0.0.1:8000, not '8000'"


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("lisen = 1", "chappe.toml: lisen: no such setting; did you mean listen?"),
        ("[operators.orange]\nhots = 1", "chappe.toml: operators.orange.hots: no such setting; did you mean host?"),
        (
            "[operators.orange]\nname = 'x'",
            "chappe.toml: operators.orange.name: no such setting; there are: host, port",
        ),
        ("[server]\nlisten = 1", "chappe.toml: server: no such setting; there are: listen, database"),
        ("operators = 1", "chappe.toml: operators are tables, one [operators.NAME] for each"),
        ("[[operators]]\nhost = 'x'", "chappe.toml: operators are tables, one [operators.NAME] for each"),
        ("[operators.orange]", "chappe.toml: operators.orange is empty"),
        ("[operators.orange]\nhost = 'x'", "operator orange: port is missing"),
        ("listen = ", "chappe.toml is not a TOML file: Invalid value (at end of document)"),
        ("[operators.simulator]\nhost = 'x'\nport = 1", "chappe.toml: operators.simulator.host: an operator's name"),
        ("[operators.Orange_FR]\nhost = 'x'\nport = 1", "chappe.toml: operators.Orange_FR.host: an operator's name"),
    ],
)
def test_file_that_cannot_be_meant_is_refused(config: Path, toml: str, complaint: str) -> None:
    config.write_text(toml)
    assert wrong(config).startswith(complaint)


def test_certificate_and_key_come_together(config: Path) -> None:
    assert wrong(tls_cert="x.pem") == "--tls-cert: tls_cert needs tls_key beside it"
    assert wrong(environ={"CHAPPE_TLS_KEY": "x.key"}) == "CHAPPE_TLS_KEY: tls_key needs tls_cert beside it"
    config.write_text('tls_cert = "x.pem"')
    both = load_settings(config, environ={"CHAPPE_TLS_KEY": "x.key"})
    assert (both.tls_cert, both.tls_key) == ("x.pem", "x.key")


def test_unknown_variable_is_refused_with_a_guess() -> None:
    assert wrong(environ={"CHAPPE_LISTN": "x"}) == "CHAPPE_LISTN: no such setting; did you mean listen?"


def test_missing_file_and_file_in_another_encoding_are_refused(config: Path) -> None:
    assert wrong(config) == "chappe.toml: No such file or directory"
    config.write_bytes(b'listen = "\xff"')
    assert wrong(config).startswith("chappe.toml is not a TOML file")


def test_secret_is_not_repeated(config: Path) -> None:
    config.write_text(ORANGE + 'password = "far-too-long-to-be-one"')
    assert wrong(config) == "chappe.toml: operators.orange.password: password has at most 8 ASCII characters"
    assert "hunter2" not in wrong(database="mysql://me:hunter2@db/chappe")


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:8000", ("::1", 8000)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
    ],
)
def test_listen_is_host_and_port(listen: str, address: tuple[str, int]) -> None:
    assert load_settings(environ={}, options={"listen": listen}).address == address


@pytest.mark.parametrize("listen", ["", ":8000", "8000", "::1:8000", "a:65536", "a:", "a:٣", "a:80\n", "http://a:80"])
def test_listen_that_is_no_address_is_refused(listen: str) -> None:
    assert wrong(listen=listen).startswith("--listen must be HOST:PORT")


@pytest.mark.parametrize(
    ("database", "path"),
    [
        ("sqlite:///file.db", "file.db"),
        ("sqlite:////var/lib/chappe.db", "/var/lib/chappe.db"),
        ("sqlite:///a folder/é.db", "a folder/é.db"),
    ],
)
def test_database_is_a_file(database: str, path: str) -> None:
    assert load_settings(environ={}, options={"database": database}).database_path == Path(path)


@pytest.mark.parametrize(
    "database",
    ["file.db", "sqlite://file.db", "sqlite:///", "sqlite:///:memory:", "sqlite:///x?mode=ro", "mysql://h/d"],
)
def test_database_of_another_kind_is_refused(database: str) -> None:
    assert "sqlite:///FILE" in wrong(database=database)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("default_validity_seconds", "0"),
        ("default_validity_seconds", "604801"),
        ("default_validity_seconds", "1.5"),
        ("simulator_response_seconds", "0"),
        ("simulator_response_seconds", "nan"),
        ("simulator_response_seconds", "inf"),
        ("drain_seconds", "-1"),
        ("public_url", "sms.example.org"),
        ("public_url", "https://sms.example.org/?a"),
        ("public_url", "https://"),
    ],
)
def test_value_out_of_bounds_is_refused(key: str, value: str) -> None:
    assert wrong(environ={f"CHAPPE_{key.upper()}": value}).startswith(f"CHAPPE_{key.upper()} must be ")


# --- operators ---------------------------------------------------------------------------------------


def test_operator_is_a_table_whose_secret_may_come_from_the_environment(config: Path) -> None:
    config.write_text(ORANGE + "window = 50\n")
    settings = load_settings(config, environ={"CHAPPE_OPERATORS__ORANGE__PASSWORD": "secret"})
    assert settings.operators == (
        SmppSettings(name="orange", host="smpp.example.org", port=2775, system_id="me", password="secret", window=50),
    )
    assert "secret" not in repr(settings)


def test_operator_may_come_from_the_environment_alone() -> None:
    environ = {
        "CHAPPE_OPERATORS__SFR_2__HOST": "127.0.0.1",
        "CHAPPE_OPERATORS__SFR_2__PORT": "2775",
        "CHAPPE_OPERATORS__SFR_2__TLS": "true",
    }
    assert load_settings(environ=environ).operators == (
        SmppSettings(name="sfr-2", host="127.0.0.1", port=2775, tls=True),
    )


def test_wrong_operator_setting_names_its_variable() -> None:
    environ = {"CHAPPE_OPERATORS__ORANGE__PORT": "0", "CHAPPE_OPERATORS__ORANGE__HOST": "h"}
    assert wrong(environ=environ).startswith("CHAPPE_OPERATORS__ORANGE__PORT must be a whole number from 1 to 65535")
    assert wrong(environ={"CHAPPE_OPERATORS__ORANGE": "x"}).startswith("CHAPPE_OPERATORS__ORANGE: no such setting")


@pytest.mark.parametrize("database", ["postgresql://me:secret@a,b:5433/chappe?sslmode=require", "postgres://db/chappe"])
def test_database_may_be_a_postgresql_which_is_no_file(database: str) -> None:
    assert load_settings(environ={}, options={"database": database}).database_path is None


@pytest.mark.parametrize(
    ("ways", "cut"),
    [
        ([], PLAIN),
        (["udh8"], PLAIN),
        (["udh8", "udh16"], WIDE),
        (["sar", "sar"], BARE),
        (["payload"], WHOLE | BARE),
    ],
)
def test_texts_are_cut_so_that_every_operator_can_carry_them(ways: list[LongMessages], cut: int) -> None:
    operators = tuple(
        SmppSettings(name=f"op{place}", host="h", port=1, long_messages=way) for place, way in enumerate(ways)
    )
    assert Settings(operators=operators).cut == cut
    latin = (*operators, SmppSettings(name="latin", host="h", port=1, gsm7="latin1"))
    if "sar" not in ways and "payload" not in ways:
        assert Settings(operators=latin).cut == cut | LATIN_1 | BARE


@pytest.mark.parametrize("others", ["sar", "payload"])
def test_operators_that_would_break_each_others_long_messages_are_refused(config: Path, others: str) -> None:
    config.write_text(f'{ORANGE}\n{ORANGE.replace("orange", "blue")}long_messages = "{others}"\n')
    assert wrong(config) == (
        "settings: operators orange and blue: long_messages must be the same, or udh8 and udh16, for the parts of one "
        "message may leave through both"
    )


@pytest.mark.parametrize(("seconds", "is_right"), [("0", True), ("60", True), ("59.9", False), ("-1", False)])
def test_an_operator_is_never_asked_or_not_before_a_minute(config: Path, seconds: str, is_right: bool) -> None:
    config.write_text(f"{ORANGE}\nquery_after_seconds = {seconds}")
    if is_right:
        [operator] = load_settings(config, environ={}).operators
        assert operator.query_after_seconds == float(seconds)
    else:
        assert "operators.orange.query_after_seconds" in wrong(config)


def test_networks_for_webhooks_are_a_list_in_the_file_and_have_commas_in_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "chappe.toml"
    file.write_text('webhook_networks = ["10.1.0.0/16", "fd00::/8"]\n')
    assert load_settings(file, environ={}).webhook_networks == ("10.1.0.0/16", "fd00::/8")
    given = load_settings(environ={"CHAPPE_WEBHOOK_NETWORKS": "10.1.0.0/16, 127.0.0.1"})
    assert given.webhook_networks == ("10.1.0.0/16", "127.0.0.1")


@pytest.mark.parametrize("given", ["10.1.0.1/16", "example.org", "10.1.0.0/16,"])
def test_a_network_for_webhooks_that_is_none_is_named(given: str) -> None:
    with pytest.raises(SettingsError, match=r"^CHAPPE_WEBHOOK_NETWORKS: webhook_networks: "):
        load_settings(environ={"CHAPPE_WEBHOOK_NETWORKS": given})


# --- the STOP mention ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "mention"),
    [("36111", "STOP au 36111"), ("Répondez STOP", "Répondez STOP"), ("none", None)],
)
def test_the_mention_is_a_short_code_a_line_or_none(given: str, mention: str | None) -> None:
    assert load_settings(environ={"CHAPPE_STOP_MENTION": given}).mention == mention


@pytest.mark.parametrize("given", ["12", "Soldes", "STOP au 36111 ☂", "STOP au 36111" + "!" * 60])
def test_a_line_that_does_not_tell_how_to_stop_is_refused(given: str) -> None:
    message = wrong(environ={"CHAPPE_STOP_MENTION": given})
    assert message.startswith("CHAPPE_STOP_MENTION: stop_mention must be a short code such as 36111")


@pytest.mark.parametrize(
    ("senders", "mention"),
    [
        (["36111"], "STOP au 36111"),
        (["36111", "36111"], "STOP au 36111"),
        (["36111", "38200"], None),
        (["36111", ""], None),
        (["ACME"], None),
        (["33612345678"], None),
        ([], None),
    ],
)
def test_without_one_it_is_the_short_code_that_all_operators_send_from(
    config: Path, senders: list[str], mention: str | None
) -> None:
    tables = [
        f'[operators.op{n}]\nhost = "127.0.0.1"\nport = 2775\nsender = "{sender}"\n' for n, sender in enumerate(senders)
    ]
    config.write_text("\n".join(tables))
    assert load_settings(config, environ={}).mention == mention
    config.write_text("\n".join(['stop_mention = "none"', *tables]))
    assert load_settings(config, environ={}).mention is None


def test_door_for_customers_is_shut_unless_it_has_an_address(config: Path) -> None:
    assert load_settings(environ={}).smpp_address is None
    config.write_text('smpp_listen = "[::1]:2775"\nsmpp_plaintext = true\n')
    settings = load_settings(config, environ={})
    assert (settings.smpp_address, settings.smpp_plaintext) == (("::1", 2775), True)
    assert load_settings(environ={"CHAPPE_SMPP_PLAINTEXT": "true"}).smpp_plaintext is True
    with pytest.raises(SettingsError, match="CHAPPE_SMPP_LISTEN must be HOST:PORT"):
        load_settings(environ={"CHAPPE_SMPP_LISTEN": "2775"})


# --- routes ------------------------------------------------------------------------------------------

TWO = ORANGE + ORANGE.replace("orange", "sfr")


def test_routes_are_read_in_the_order_of_the_file(config: Path) -> None:
    config.write_text(
        TWO
        + """
[routes.otp]
families = ["notification"]
categories = ["otp"]
prefixes = ["+33", "+32"]
accounts = ["shop"]
senders = ["SHOP"]
through = [{ operator = "orange", weight = 7 }, { operator = "sfr", priority = 2 }]

[routes.live]
shift = true
through = [{ operator = "sfr", weight = 1 }, { operator = "orange", weight = 2 }]

[routes.abroad]
prefixes = ["+32"]
through = ["orange"]
"""
    )
    settings = load_settings(config, environ={})
    otp = Route(
        "otp",
        (Member("orange", 1, 7), Member("sfr", 2, 0)),
        prefixes=("+33", "+32"),
        families=(Family.NOTIFICATION,),
        categories=("otp",),
        accounts=("shop",),
        senders=("SHOP",),
    )
    assert settings.rules == [otp, Route("abroad", (Member("orange"),), prefixes=("+32",))]
    assert settings.live == Route(LIVE, (Member("sfr", 1, 1), Member("orange", 1, 2)), shift=True)


def test_what_takes_no_route_leaves_through_all_operators(config: Path) -> None:
    config.write_text(TWO)
    settings = load_settings(config, environ={})
    assert (settings.rules, settings.live) == ([], Route(LIVE, (Member("orange"), Member("sfr"))))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[routes.a]\nprefixes = ['+33']", "route a: through is missing"),
        ("[routes.a]\nthrough = []", "chappe.toml: routes.a.through must be a list of operators, such as"),
        (
            "[routes.a]\nthrough = [{ operator = 'orange', weight = 101 }]",
            "chappe.toml: routes.a.through must be a list of operators, such as",
        ),
        ("[routes.a]\nthrough = ['sfr', 'sfr']", "chappe.toml: routes.a.through: through names an operator twice"),
        (
            "[routes.a]\nthrough = ['sfr']\nprefixes = ['33']",
            "chappe.toml: routes.a.prefixes must be beginnings of international numbers, such as",
        ),
        (
            "[routes.a]\nthrough = ['sfr']\nfamilies = ['sms']",
            'chappe.toml: routes.a.families must be "notification" and "marketing"',
        ),
        (
            "[routes.a]\nshift = true\nthrough = [{ operator = 'orange', weight = 1 }, 'sfr']",
            "chappe.toml: routes.a.shift: shift moves weights, and through has no two operators of one priority",
        ),
        ("[routes.a]\nvia = ['sfr']", "chappe.toml: routes.a.via: no such setting"),
        (
            "[routes.live]\nthrough = ['sfr']\nsenders = ['SHOP']",
            "chappe.toml: routes.live.through: through and shift are all that [routes.live] may say",
        ),
        ("[routes.simulator]\nthrough = ['sfr']", "chappe.toml: routes.simulator.through: a route's name"),
        ("routes = 1", "chappe.toml: routes are tables, one [routes.NAME] for each"),
    ],
)
def test_wrong_route_is_refused_by_its_name(config: Path, table: str, said: str) -> None:
    config.write_text(f"{table}\n{TWO}" if table.startswith("routes") else f"{TWO}\n{table}\n")
    assert wrong(config).startswith(said)
