"""Where webhooks may go: every row of the table at both its ends, and URLs as attackers spell them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappe.core.targets import (
    DENIED,
    GLOBAL_IPV6,
    LONGEST_URL,
    Network,
    forbidden_address,
    forbidden_url,
    parse_networks,
)
from tests.core.forbidden_urls import FORBIDDEN

PUBLIC = ["93.184.216.34", "8.8.8.8", "1.0.0.1", "223.255.255.255", "100.63.255.255", "100.128.0.0", "172.15.255.255"]
PUBLIC_V6 = ["2606:2800:220:1::1", "2a01:e0a::1", "2001:200::1", "2003::1", "3ffe::1"]


@pytest.mark.parametrize(("network", "word"), DENIED, ids=[str(network) for network, _ in DENIED])
def test_every_denied_network_is_denied_from_its_first_address_to_its_last(network: Network, word: str) -> None:
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        assert forbidden_address(str(address)) is not None
    mine = next(address for address in (network[0], network[-1]) if forbidden_address(str(address)) == word)
    host = f"[{mine}]" if mine.version == 6 else mine
    assert forbidden_url(f"https://{host}/hook") == word


@pytest.mark.parametrize("address", [*PUBLIC, *PUBLIC_V6])
def test_public_addresses_are_open(address: str) -> None:
    assert forbidden_address(address) is None
    assert forbidden_url(f"https://{f'[{address}]' if ':' in address else address}/hook") is None


@given(st.ip_addresses())
def test_what_the_standard_library_calls_private_is_denied_here(address: IPv4Address | IPv6Address) -> None:
    globally_reachable_yet_private = ("192.0.0.9", "192.0.0.10")  # anycast services of the network itself
    if not address.is_global and str(address) not in globally_reachable_yet_private:
        assert forbidden_address(str(address)) is not None


@given(st.ip_addresses(v=6))
def test_no_address_outside_global_unicast_is_open(address: IPv6Address) -> None:
    assert address in GLOBAL_IPV6 or forbidden_address(str(address)) is not None


@given(st.ip_addresses(v=4))
def test_no_ipv6_spelling_of_an_ipv4_address_is_open(address: IPv4Address) -> None:
    low = int(address)
    for high in ("::", "::ffff:0:0", "64:ff9b::", "::ffff:0:0:0"):
        assert forbidden_address(str(IPv6Address(int(ip_address(high)) | low))) is not None
    assert forbidden_address(str(IPv6Address(int(ip_address("2002::")) | low << 80))) == "6to4"


def test_what_only_is_global_lets_through_is_denied() -> None:
    for address in ("64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "168.63.129.16", "192.88.99.1"):
        assert forbidden_address(address) is not None


def test_an_allowed_network_opens_itself_and_nothing_beside_it() -> None:
    allowed = parse_networks(["127.0.0.2/32", "fd00:1::/64"])
    assert forbidden_url("http://127.0.0.2:8000/", allowed) is None
    assert forbidden_url("http://[fd00:1::7]:8000/", allowed) is None
    assert forbidden_url("http://127.0.0.1:8000/", allowed) == "loopback"
    assert forbidden_url("http://[fd00:2::7]:8000/", allowed) == "unique local"
    assert forbidden_url("http://[::ffff:127.0.0.2]:8000/", allowed) == "IPv4-mapped"
    assert forbidden_url("http://127.0.0.2:25/", allowed) == "port"


def test_localhost_is_open_only_where_loopback_is() -> None:
    for name in ("localhost", "LOCALHOST", "localhost.", "me.localhost"):
        assert forbidden_url(f"http://{name}:8000/") == "loopback"
        assert forbidden_url(f"http://{name}:8000/", parse_networks(["127.0.0.0/8"])) is None


def test_a_network_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"10\.1/8"):
        parse_networks(["10.0.0.0/8", "10.1/8"])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://example.com/",
        "HTTPS://Example.COM:443/a/b",
        "https://hooks.example.com:8443/sms?token=a%20b&x={y}[z]|'#part",
        "https://example.com.?x",
        "https://a_b.xn--bcher-kva.example:65535/",
        "http://93.184.216.34:80/",
        "https://example.com/@me:x@y",
        f"https://example.com/{'x' * (LONGEST_URL - 20)}",
    ],
)
def test_ordinary_urls_are_open(url: str) -> None:
    assert forbidden_url(url) is None


def test_the_table_of_forbidden_urls_has_its_two_hundred_forms() -> None:
    assert len({url for url, _ in FORBIDDEN}) == len(FORBIDDEN) >= 200


@pytest.mark.parametrize(("url", "word"), FORBIDDEN, ids=range(len(FORBIDDEN)))
def test_forbidden_urls_are_forbidden_for_their_reason(url: str, word: str) -> None:
    assert forbidden_url(url) == word


@given(st.text(max_size=60))
def test_any_text_has_an_answer(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/", f"http://example.com:{text}", f"http://[{text}]/"):
        answer = forbidden_url(url)
        assert answer is None or answer
