"""The operators of the file and those that were added by command, together."""

from __future__ import annotations

import pytest

from chappe.connectors.smpp import SmppSettings
from chappe.core.routing import LIVE, SIMULATOR, Member, Route
from chappe.core.steering import StoredConnector
from chappe.operators import join, with_operator
from chappe.routes import RouteSettings
from chappe.settings import Settings, SettingsError, read_operator

NOW = 1_800_000_000_000
ORANGE = SmppSettings(name="orange", host="127.0.0.1", port=2775)
SFR = StoredConnector("sfr", {"host": "127.0.0.2", "port": 2776, "statuses": {"0x45": "permanent"}}, 3, NOW)
GONE = StoredConnector("gone", {}, 2, NOW, removed=True, ended=True)
LEAVING = StoredConnector("leaving", {}, 2, NOW, removed=True)


def test_an_installation_without_an_operator_has_the_simulator() -> None:
    nobody = join(Settings(), ())
    assert (nobody.live_route, nobody.unserved, nobody.settings) == (SIMULATOR, [], Settings())


def test_an_added_operator_stands_behind_those_of_the_file() -> None:
    there = join(Settings(operators=(ORANGE,)), [SFR])
    sfr = SmppSettings(name="sfr", host="127.0.0.2", port=2776, statuses={"0x45": "permanent"})
    assert there.settings.operators == (ORANGE, sfr)
    assert there.settings.live == Route(LIVE, (Member("orange"), Member("sfr")))
    assert (sorted(there.in_file), dict(there.added), there.live_route) == (["orange"], {"sfr": SFR}, LIVE)
    assert (there.named("sfr"), there.named("free"), there.routes_of("sfr")) == (sfr, None, ["live"])


def test_an_installation_that_had_an_operator_keeps_its_messages_for_the_next() -> None:
    there = join(Settings(), [GONE, LEAVING])
    assert (there.live_route, there.unserved, there.leaving) == (LIVE, ["live"], ("leaving",))
    assert there.settings.operators == ()


def test_of_one_name_the_file_s_is_used() -> None:
    there = join(Settings(operators=(ORANGE,)), [StoredConnector("orange", {"host": "other", "port": 1}, 1, NOW)])
    assert there.settings.operators == (ORANGE,)
    assert there.wrong == {"orange": "it stands in the settings too, and those are used"}
    removed = StoredConnector("orange", {}, 1, NOW, removed=True)
    assert join(Settings(operators=(ORANGE,)), [removed]).leaving == ()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"host": "h", "port": 0}, "operator sfr: port must be a whole number from 1 to 65535, not 0"),
        ({"host": "h", "port": 1, "of_a_later_release": 1}, "operator sfr: of_a_later_release: no such setting"),
        ({"port": 1}, "operator sfr: host is missing"),
        (
            {"host": "h", "port": 1, "long_messages": "sar"},
            "operators orange and sfr: long_messages must be the same",
        ),
    ],
)
def test_what_cannot_be_used_is_left_out_and_says_why(settings: dict[str, object], why: str) -> None:
    there = join(Settings(operators=(ORANGE,)), [StoredConnector("sfr", settings, 1, NOW)])
    assert there.settings.operators == (ORANGE,)
    assert there.wrong["sfr"].startswith(why)


def test_a_changed_operator_takes_the_place_of_what_it_was() -> None:
    changed = SmppSettings(name="orange", host="127.0.0.9", port=1, long_messages="sar")
    assert with_operator(Settings(operators=(ORANGE,)), changed).operators == (changed,)


def test_a_route_without_an_operator_is_known() -> None:
    routes = (
        RouteSettings(name="otp", through=("gone",), categories=("otp",)),
        RouteSettings(name="belgium", through=("gone", "sfr"), prefixes=("+32",)),
    )
    there = join(Settings(operators=(ORANGE,), routes=routes), [SFR, GONE])
    there.check_routes()
    assert there.unserved == ["otp"]


def test_a_route_through_an_operator_that_never_was_is_a_mistake() -> None:
    there = join(Settings(operators=(ORANGE,), routes=(RouteSettings(name="otp", through=("sfr",)),)), [GONE])
    with pytest.raises(SettingsError, match=r"^routes.otp.through: there is no operator sfr, in the settings or added"):
        there.check_routes()


def test_what_a_command_is_given_is_read_as_the_file_is() -> None:
    options = {
        "port": "2776",
        "tls": "true",
        "rate": "2.5",
        "statuses": "0x45=permanent, 88=temporary",
        "not_assigned": "001, 204",
        "stop_codes": "53",
        "gsm7_data_coding": "4",
    }
    operator, kept = read_operator("sfr", {"host": "h", "port": 1}, options)
    assert operator == SmppSettings(
        name="sfr",
        host="h",
        port=2776,
        tls=True,
        rate=2.5,
        statuses={"0x45": "permanent", "88": "temporary"},
        not_assigned=("001", "204"),
        stop_codes=("53",),
        gsm7_data_coding=4,
    )
    assert read_operator("sfr", kept, {}) == (operator, kept)
    assert set(kept) == {"host", *options}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("sfr", {"port": "x"}, "--port must be a whole number from 1 to 65535, not 'x'"),
        ("sfr", {"password": "far too long"}, "--password: password has at most 8 ASCII characters"),
        ("sfr", {"tls_cert": "a.pem"}, "--tls-cert: tls_cert says how tls is done, and tls is off"),
        ("SFR", {}, "NAME: an operator's name is made of lower-case letters"),
        ("simulator", {}, "NAME: an operator's name is made of lower-case letters"),
    ],
)
def test_a_wrong_option_is_named(name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_operator(name, {"host": "h", "port": 1}, options)
    assert str(caught.value).startswith(said)
