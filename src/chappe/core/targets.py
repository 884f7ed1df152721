"""Where webhooks may go: which URLs and addresses are forbidden, and by which word.

A customer names the URL, our machine makes the request: without these rules a webhook is a way to reach what only
our machine can reach (server-side request forgery). The URL is judged when an endpoint is made and before each
delivery; a name is judged by the addresses it resolves to, at the moment of the connection (`notifier.guard`).

`ipaddress.is_global` is not the judge: it lets NAT64, 6to4 and `::127.0.0.1` through, and its tables differ between
Python versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Networks: TypeAlias = tuple[Network, ...]

LONGEST_URL = 2048
LOW_PORTS = frozenset({80, 443})
"""Ports below 1024 belong to system services (mail, SSH, SMB, …), most of which can be confused by a POST."""

DENIED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), word)
    for network, word in (
        # IANA IPv4 Special-Purpose Address Registry, and RFC 5771 and RFC 1112 for the upper end
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "metadata"),  # Azure's, on a public address
        ("169.254.0.0/16", "link-local"),  # 169.254.169.254 is the metadata service of most clouds
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT"),
        ("192.88.99.0/24", "6to4"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        # IANA IPv6 Special-Purpose Address Registry; whatever is outside 2000::/3 is denied in any case
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("100::/64", "discard"),
        ("100:0:0:1::/64", "discard"),
        ("2001::/32", "Teredo"),
        ("2001:2::/48", "benchmarking"),
        ("2001::/23", "protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "unique local"),  # fd00:ec2::254 is a metadata service
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
"""Network → why no webhook goes there; the first that holds the address names the reason."""

GLOBAL_IPV6 = IPv6Network("2000::/3")
"""The only IPv6 space that is given out; the rest is denied without a row."""

_LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

# Stricter than any URL standard, so that no two parsers read another host in what it lets through.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?:[/?#][!-\[\]-~]*)?",
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def parse_networks(texts: Iterable[str]) -> Networks:
    """The networks a setting names, like "10.1.0.0/16"; raises ValueError that says which one is none."""
    return tuple(ip_network(text) for text in texts)


def forbidden_url(url: str, allowed: Networks = ()) -> str | None:
    """Why no webhook may go to this URL, in a word or two, or None.

    `length`, `form`, `scheme`, `user info`, `host`, `port`, or the word of the address in `DENIED`. A name passes
    here, `localhost` apart: only its addresses can be judged. An international name is to be written as xn--….
    """
    if len(url) > LONGEST_URL:
        return "length"
    parts = _URL.fullmatch(url)
    if parts is None:
        return "form"
    if parts["scheme"].lower() not in ("http", "https"):
        return "scheme"
    if "@" in parts["authority"]:
        return "user info"
    place = _AUTHORITY.fullmatch(parts["authority"])
    if place is None:
        return "host"
    if place["port"] is not None and not _may_use(int(place["port"])):
        return "port"
    return _forbidden_host(place["host"], allowed)


@lru_cache(maxsize=4096)
def forbidden_address(address: str, allowed: Networks = ()) -> str | None:
    """Why no webhook may go to this IP address, or None; `allowed` networks win over the table."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "host"
    if any(parsed in network for network in allowed):
        return None
    for network, word in DENIED:
        if parsed in network:
            return word
    return "not global" if parsed.version == 6 and parsed not in GLOBAL_IPV6 else None


def _may_use(port: int) -> bool:
    return port in LOW_PORTS or 1024 <= port <= 65535


def _forbidden_host(host: str, allowed: Networks) -> str | None:
    if host.startswith("["):
        return forbidden_address(host[1:-1], allowed)
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "host"
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # No name ends in a number, but the C library reads 2130706433, 0x7f.1 and 0177.1 as addresses.
        return forbidden_address(host, allowed)
    if labels[-1].lower() == "localhost" and not any(address in net for address in _LOOPBACK for net in allowed):
        return "loopback"
    return None
