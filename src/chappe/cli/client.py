"""`send` and `status`: clients of a server, over HTTP as any other."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import click

from chappe.cli.common import examples, json_option, options, print_json

if TYPE_CHECKING:
    from chappe.http_client import Answer
    from chappe.status_text import Language, Status

STATUS = "/v2/messages/status"


class _Moment(click.ParamType[int]):
    """A point in time as epoch milliseconds."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if re.fullmatch("[0-9]{13}", text):
            return int(text)
        try:
            return round(datetime.fromisoformat(text).timestamp() * 1000)
        except (ValueError, OverflowError, OSError):
            self.fail(f"{text!r} is not a date such as 2026-11-24T18:30, nor epoch milliseconds", param, ctx)


_client_options = options(
    click.option(
        "--url",
        envvar="CHAPPE_URL",
        default="http://127.0.0.1:8000",
        show_default=True,
        show_envvar=True,
        help="The server.",
    ),
    click.option("--key", envvar="CHAPPE_API_KEY", show_envvar=True, help="The API key."),
    click.option(
        "--cacert",
        envvar="CHAPPE_CACERT",
        show_envvar=True,
        metavar="FILE",
        help="PEM: whom to trust for https, instead of the system's.",
    ),
    json_option,
)


@click.command(
    short_help="Send a message.",
    epilog=examples(
        'chappe send 0600000000 "Bonjour"',
        'chappe send +33600000000 "Bonjour" --sender MyShop --category orders',
        'chappe send 0600000000 "A demain" --date 2026-11-24T18:30',
        "fortune | chappe send 0600000000 -",
    ),
)
@click.argument("number")
@click.argument("text")
@click.option("--sender", help="3 to 11 letters and digits; otherwise the account's.")
@click.option("--category", help="A tag for statistics and replies.")
@click.option("--marketing", is_flag=True, help="Promotional instead of transactional.")
@click.option("--date", type=_Moment(), help="When to send: local time, or with an offset; otherwise now.")
@click.option(
    "--track-links/--no-track-links", default=None, help="Whether links are tracked; otherwise the account's."
)
@_client_options
def send(
    number: str,
    text: str,
    sender: str | None,
    category: str | None,
    marketing: bool,
    date: int | None,
    track_links: bool | None,
    url: str,
    key: str | None,
    cacert: str | None,
    as_json: bool,
) -> None:
    """Send TEXT (- reads it from stdin) to NUMBER and print the message's id."""
    options = {"sender": sender, "category": category, "date": date, "trackLinks": track_links}
    body = {
        "number": number,
        "message": sys.stdin.read().rstrip("\n") if text == "-" else text,
        **{name: value for name, value in options.items() if value is not None},
    }
    family = "marketing" if marketing else "notification"
    call = _caller(url, key, cacert)
    with _refusals(as_json):
        answer = call("POST", f"/v2/{family}/messages/send", body)
    if as_json:
        print_json(answer)
        return
    from chappe.status_text import accepted

    click.echo(accepted(answer, _language(os.environ)))
    click.echo(f"chappe status --id {answer['snapshotId']} --watch", err=True)


@click.command(
    short_help="Say what became of a message.",
    epilog=examples(
        "chappe status 0600000000",
        "chappe status --id 386479 --json",
        "chappe status --id 386479 --watch",
    ),
)
@click.argument("number", required=False)
@click.option("--id", "message", type=click.IntRange(min=1), help="A message's id; by NUMBER it is the last one to it.")
@click.option("--watch", is_flag=True, help="Print each new state until the last; Ctrl-C ends.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often --watch asks.",
)
@_client_options
def status(
    number: str | None,
    message: int | None,
    watch: bool,
    every: float,
    url: str,
    key: str | None,
    cacert: str | None,
    as_json: bool,
) -> None:
    """Say what became of the last message to NUMBER, or of the message with this id."""
    if (number is None) == (message is None):
        raise click.UsageError("give a NUMBER or --id, one of the two")
    from chappe.status_text import describe, follow, news

    query = (
        f"snapshotId={message}"
        if message is not None
        else f"identifier={quote(number or '', safe='', errors='replace')}"
    )
    language = _language(os.environ)
    call = _caller(url, key, cacert)
    with _refusals(as_json):
        last: Status = call("GET", f"{STATUS}?{query}", None)
        if not {"id", "state", "stateDate"} <= last.keys():
            raise click.ClickException(f"{url} does not answer as Chappe does; check the address")
        if as_json:
            print_json(last)
        else:
            click.echo("\n".join(describe(last, language)))
        if not watch:
            return
        by_id = f"{STATUS}?snapshotId={last['id']}"  # the last message to a number may become another one
        ask = _through_restarts(lambda: call("GET", by_id, None), every)
        for answer in follow(last, ask, lambda: time.sleep(every)):
            if as_json:
                print_json(answer)
            else:
                for line in news(last, answer, language):
                    click.echo(line)
            last = answer


def _through_restarts(ask: Callable[[], Answer], every_seconds: float) -> Callable[[], Answer]:
    """`ask`, tried again while the server is away or busy, for about a minute."""
    from chappe.http_client import Declined, Unreachable

    def patiently() -> Answer:
        for _ in range(max(3, int(60 / every_seconds))):
            try:
                return ask()
            except Unreachable:
                pass
            except Declined as error:
                if error.status not in (429, 503):
                    raise
            time.sleep(every_seconds)
        return ask()

    return patiently


Call: TypeAlias = "Callable[[str, str, object], Answer]"
"""Method, path and body to the server's answer."""


def _caller(url: str, key: str | None, cacert: str | None) -> Call:
    from chappe.http_client import call

    if not re.fullmatch(r"https?://[^\s?#/]+[^\s?#]*", url):
        raise click.BadParameter("an address such as http://127.0.0.1:8000", param_hint="--url")
    key = key and key.strip()
    if not key:
        raise click.UsageError("no API key: give --key or set CHAPPE_API_KEY (`chappe keys create` makes one)")
    if not re.fullmatch("[0-9a-f]{32}", key):
        raise click.BadParameter("an API key is 32 hexadecimal characters in lower case", param_hint="--key")
    return lambda method, path, body: call(url, key, method, path, body, language=_language(os.environ), cacert=cacert)


@contextmanager
def _refusals(as_json: bool) -> Iterator[None]:
    """Ends the command when the server says no, in its own words or its own JSON, and when Ctrl-C is pressed."""
    from chappe.http_client import Declined

    try:
        yield
    except Declined as error:
        if as_json:
            click.echo(json.dumps(error.answer, ensure_ascii=False), err=True)
            sys.exit(1)
        raise
    except KeyboardInterrupt:
        sys.exit(130)


def _language(environ: Mapping[str, str]) -> Language:
    """The locale's language as POSIX finds it, if it is French; otherwise English."""
    locale = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "fr" if locale.lower().startswith("fr") else "en"
