"""Tracked links: from the short address in a text to where it leads, and only there.

Only a stored destination is answered, and only if it is http or https: nothing that a caller writes into the address
changes where a link leads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chappe.api.services import Services
from chappe.core.errors import StoreUnavailable
from chappe.core.message import Gone

ROBOTS = (
    # What robots' User-Agent contains, as regular expressions. Messengers fetch a preview of what somebody pasted,
    # search engines what they find, mail filters what they distrust, programs what they are told: none of them is
    # the recipient reading. The browsers inside messengers are people, and so are telephones of the make CUBOT.
    "(?<!cu)bot",
    "crawl",
    "spider",
    "preview",
    "facebookexternalhit",  # Facebook and Messenger; iMessage says so too
    "facebookcatalog",
    "^whatsapp",
    "slack-imgproxy",
    "google-",  # Google-Read-Aloud, Google-Safety, Google-InspectionTool
    "embedly",
    "vkshare",
    "headlesschrome",
    "curl/",
    "wget/",
    "python",
    "go-http-client",
    "okhttp/",
    "java/",
    "libwww",
    "postmanruntime",
    "barracuda",
    "proofpoint",
    "mimecast",
    "urlscan",
)

_is_robot = re.compile("|".join(ROBOTS), re.IGNORECASE).search
_TOKEN = re.compile("[0-9A-Za-z]{10,64}")
_NOT_KEPT = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


class Page(Enum):
    """What a person is told who cannot be led on: status, title, and the text in French and in English."""

    UNKNOWN = (404, "Lien inconnu", "Ce lien n'existe pas ou n'existe plus.", "There is no such link, or not any more.")
    EXPIRED = (410, "Lien expiré", "Ce lien n'est plus valable.", "This link is no longer valid.")
    DISABLED = (410, "Lien désactivé", "Ce lien a été désactivé.", "This link has been disabled.")
    AWAY = (503, "Service indisponible", "Réessayez dans un instant.", "Try again in a moment.")


_GONE = {Gone.EXPIRED: Page.EXPIRED, Gone.DISABLED: Page.DISABLED}
_HTML = """<!doctype html>
<html lang="fr"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><body style="font-family:sans-serif;margin:3em auto;max-width:30em;padding:0 1em">
<h1>{title}</h1><p>{french}</p><p lang="en">{english}</p></body></html>
"""


def link_routes(services: Services) -> list[Route]:
    """`GET /l/{token}`; a person follows it, so what goes wrong is told as a page."""

    async def follow(request: Request) -> Response:
        token = request.path_params["token"]
        if not _TOKEN.fullmatch(token):
            return _page(Page.UNKNOWN)
        human = request.method == "GET" and is_human(request.headers)
        try:
            url = await services.store.open_link(token, human=human, now=services.now_ms())
        except StoreUnavailable:
            return _page(Page.AWAY, {"Retry-After": "5"})
        if url is None:
            return _page(Page.UNKNOWN)
        if isinstance(url, Gone):
            return _page(_GONE[url])
        if not url.lower().startswith(("http://", "https://")):
            return _page(Page.UNKNOWN)
        return Response(status_code=302, headers={"Location": quote(url, safe=_SAFE), **_NOT_KEPT})

    return [Route("/l/{token}", follow, methods=["GET"])]


def is_human(headers: Headers) -> bool:
    """Whether a person seems to be reading, not a program looking for somebody or in advance."""
    purposes = (
        f"{headers.get('purpose')} {headers.get('sec-purpose')} {headers.get('x-purpose')} {headers.get('x-moz')}"
    )
    if re.search("prefetch|prerender|preview", purposes, re.IGNORECASE):
        return False
    agent = headers.get("user-agent", "")
    return bool(agent) and not _is_robot(agent)


_SAFE = "%/:?#[]@!$&'()*+,;=~"
"""What is already part of an address stays (RFC 3986 §2); the rest, accents say, is escaped for the header."""


def _page(page: Page, headers: Mapping[str, str] | None = None) -> Response:
    status, title, french, english = page.value
    html = _HTML.format(title=title, french=french, english=english)
    return Response(html, status, {**_NOT_KEPT, **(headers or {})}, "text/html; charset=utf-8")
