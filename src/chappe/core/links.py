"""Which tracked links the kill switch means: by what name each of them can be switched off.

A destination's host is read as browsers read it, or a link could be written so that a ban on its host misses it.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from chappe.core.campaigns import read_public_id
from chappe.core.message import AccountId, Banned, MessageId

MOST_LABELS = 20
"""Of a host that somebody made up of a thousand labels only the last ones are looked at."""


def names_of(
    token: str, message: MessageId, url: str, account: AccountId | None, campaign: str | None
) -> list[tuple[Banned, str]]:
    """All that may be switched off to switch off this link."""
    names = [(Banned.TOKEN, token), (Banned.MESSAGE, str(message))]
    if account is not None and campaign is not None:
        names.append((Banned.CAMPAIGN, campaign_name(account, campaign)))
        # An id is of one account; a name each of them may have given.
        names += [(Banned.CAMPAIGN, campaign)] if read_public_id(campaign) else []
    labels = host_of(url).split(".")[-MOST_LABELS:]
    return names + [(Banned.HOST, ".".join(labels[place:])) for place in range(len(labels))]


def campaign_name(account: AccountId, campaign: str) -> str:
    return f"{account}/{campaign}"


def host_of(url: str) -> str:
    """The host in lower case and in ASCII; as it stands where it is no domain name."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return plain_host(host)


def plain_host(host: str) -> str:
    host = unquote(host).strip(".").lower()
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:  # a label of more than 63 characters, say
        return host
