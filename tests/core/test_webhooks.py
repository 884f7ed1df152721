"""Webhooks: the body to the letter, signatures by another's verifier, the schedule's sums, what follows from what."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from chappe.core.message import MessageId, State
from chappe.core.webhooks import (
    HOUR,
    JITTER,
    LONGEST_RETRY_AFTER_MS,
    RETRY_DELAYS_MS,
    Answer,
    Delivery,
    DeliveryId,
    EndpointId,
    EventId,
    Fate,
    Notice,
    Outcome,
    Settled,
    Trouble,
    asked_pause,
    event_body,
    make_secret,
    meaning,
    next_try_at,
    read_retry_after,
    read_secret,
    settle,
    signed_lines,
)

NOW = 1_700_000_000_000
EVENT = EventId("evt_386479_3")
NUMBER = "+33600000000"
SECRET, OTHER = make_secret(bytes(range(24))), make_secret(bytes(range(64)))


def notice(state: State = State.DELIVERED, **changes: object) -> Notice:
    ordinary = Notice(
        message=MessageId(386479),
        sequence=3,
        state=state,
        at=NOW,
        number=NUMBER,
        category="codes",
        test=False,
    )
    return ordinary._replace(**changes)  # type: ignore[arg-type]  # fields by name, checked by the tests


def delivery(tries: int = 0) -> Delivery:
    url = "https://example.com/hook?key=k3y"
    return Delivery(
        DeliveryId(7),
        EndpointId(3),
        url,
        (SECRET,),
        tries,
        None,
        MessageId(386479),
        3,
        "sent",
        NOW,
        NUMBER,
        None,
        False,
    )


def outcome(status: int | None = 200, trouble: Trouble | None = None, retry_after_ms: int | None = None) -> Outcome:
    return Outcome(DeliveryId(7), status, trouble, "", retry_after_ms, took_ms=12)


# --- the body ----------------------------------------------------------------------------------------


def test_the_body_is_the_vendors_with_ours_behind() -> None:
    assert event_body(notice()) == (
        b'{"event": "delivered", "snapshotId": "386479", "contact": {"identifier": "+33600000000"}, '
        b'"date": 1700000000000, "category": "codes", "test": false, "id": "evt_386479_3", "sequence": 3}'
    )


def test_a_reply_says_what_was_replied() -> None:
    body = event_body(notice(State.REPLY, reply_text='Déjà "vu" €\n', category=None, test=True))
    assert body.startswith(
        '{"event": "reply", "snapshotId": "386479", "contact": {"identifier": "+33600000000"}, '
        '"replyMessage": "Déjà \\"vu\\" €\\n", "date"'.encode()
    )
    assert json.loads(body)["category"] is None


@pytest.mark.parametrize("state", State)
def test_each_state_is_named_as_in_the_status(state: State) -> None:
    assert json.loads(event_body(notice(state)))["event"] == state.public_name


@given(st.text(st.characters(codec=None)))
def test_any_reply_is_told_in_utf_8(text: str) -> None:
    told = json.loads(event_body(notice(State.REPLY, reply_text=text)))["replyMessage"]
    assert told == text.encode("utf-8", "replace").decode()


# --- the signature -----------------------------------------------------------------------------------


def signed_headers(event: EventId, body: bytes, secrets: Sequence[str], now: int) -> dict[str, str]:
    *lines, end = signed_lines(event, body, secrets, now).decode().split("\r\n")
    assert end == ""
    return dict(line.split(": ") for line in lines)


@given(st.binary(min_size=24, max_size=64), st.text(st.characters(codec="utf-8")))
def test_anothers_verifier_accepts_the_signature(chance: bytes, text: str) -> None:
    secret, body = make_secret(chance), text.encode()
    headers = signed_headers(EVENT, body, [secret], time.time_ns() // 1_000_000)
    Webhook(secret).verify(body, headers, json_parse=False)


def test_a_changed_body_id_or_time_is_not_accepted() -> None:
    headers = signed_headers(EVENT, b"{}", [SECRET], time.time_ns() // 1_000_000)
    later = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}
    for body, changed in ((b"[]", headers), (b"{}", {**headers, "webhook-id": "evt_386479_4"}), (b"{}", later)):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, changed)


def test_during_a_change_of_secret_both_verify() -> None:
    headers = signed_headers(EVENT, b"{}", [OTHER, SECRET], time.time_ns() // 1_000_000)
    first, second = headers["webhook-signature"].split(" ")
    assert first.startswith("v1,")
    assert second.startswith("v1,")
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret(bytes(32))).verify(b"{}", headers)


def test_without_a_secret_nothing_is_signed() -> None:
    assert signed_headers(EVENT, b"{}", [], NOW) == {"webhook-id": EVENT, "webhook-timestamp": "1700000000"}


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_!!!", SECRET[6:], SECRET + "*", "whsec_c2hvcnQ=", "WHSEC_" + SECRET[6:], SECRET[:-1], "é"],
)
def test_a_broken_secret_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^not a webhook secret: whsec_ and 24 to 64 bytes in base 64$"):
        read_secret(secret)


@pytest.mark.parametrize("length", [0, 23, 65])
def test_secrets_are_neither_short_nor_long(length: int) -> None:
    with pytest.raises(ValueError, match="24 to 64"):
        make_secret(bytes(length))


def test_a_delivery_shows_neither_secret_nor_number_nor_query() -> None:
    shown = repr(delivery())
    assert "id=7" in shown
    for hidden in (SECRET, "+336", "k3y"):
        assert hidden not in shown


# --- when to try again -------------------------------------------------------------------------------


def schedule(event: str) -> list[int]:
    """When each try is made, if each fails at once."""
    times, now = [NOW], NOW
    while (again := next_try_at(len(times), now, EventId(event))) is not None:
        now = again
        times.append(now)
    return times


@given(st.text(max_size=20))
def test_an_event_is_tried_at_least_ten_times_over_at_least_72_hours(event: str) -> None:
    times = schedule(event)
    assert len(times) >= 10
    assert 72 * HOUR <= times[-1] - times[0] <= 96 * HOUR
    for (earlier, later), delay in zip(pairwise(times), RETRY_DELAYS_MS, strict=True):
        assert delay <= later - earlier < delay * (1 + JITTER)


def test_delays_never_shrink() -> None:
    assert list(RETRY_DELAYS_MS) == sorted(RETRY_DELAYS_MS)


def test_the_jitter_is_the_same_for_an_event_and_spreads_events() -> None:
    assert schedule("a") == schedule("a")
    second_tries = {next_try_at(1, NOW, EventId(f"evt_{n}_1")) for n in range(1000)}
    assert len(second_tries) > 400
    assert min(second_tries, key=lambda at: at or 0) != max(second_tries, key=lambda at: at or 0)


def test_a_receiver_is_not_tried_before_it_asked_for() -> None:
    ordinary = next_try_at(1, NOW, EVENT)
    assert next_try_at(1, NOW, EVENT, 600_000) == NOW + 600_000
    assert next_try_at(1, NOW, EVENT, 1) == ordinary
    assert next_try_at(1, NOW, EVENT, 10**12) == NOW + LONGEST_RETRY_AFTER_MS
    assert next_try_at(len(RETRY_DELAYS_MS) + 1, NOW, EVENT, 600_000) is None


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        (None, None),
        ("120", 120_000),
        (" 0 ", 0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60_000),
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60_000),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60_000),
        ("Tue, 14 Nov 2023 22:12:20 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER_MS),
        ("999999999", LONGEST_RETRY_AFTER_MS),
        ("9999999999", None),
        ("-1", None),
        ("1.5", None),
        ("١٢", None),
        ("soon", None),
        ("", None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", LONGEST_RETRY_AFTER_MS),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
    ],
)
def test_retry_after_is_read_in_both_its_forms(header: str | None, asked: int | None) -> None:
    assert read_retry_after(header, NOW) == asked


@given(st.text(max_size=40))
def test_no_retry_after_is_a_crash(header: str) -> None:
    asked = read_retry_after(header, NOW)
    assert asked is None or 0 <= asked <= LONGEST_RETRY_AFTER_MS


# --- what follows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        *((outcome(status), Answer.TAKEN) for status in (200, 201, 202, 204, 299)),
        *((outcome(status), Answer.FAILED) for status in (100, 199, 301, 302, 307, 308, 400, 401, 404, 429, 500, 599)),
        (outcome(410), Answer.GONE),
        *(
            (outcome(None, trouble), Answer.NONE if trouble is Trouble.NOT_TRIED else Answer.FAILED)
            for trouble in Trouble
        ),
    ],
)
def test_each_answer_has_its_meaning(given: Outcome, answer: Answer) -> None:
    assert meaning(given) is answer


def test_a_taken_event_is_delivered() -> None:
    assert settle(delivery(2), outcome(204), NOW) == Settled(
        DeliveryId(7), EndpointId(3), Fate.DELIVERED, 2, 2, None, "204", 12
    )


def test_a_failed_try_is_counted_and_waits_for_the_next() -> None:
    again_at = next_try_at(1, NOW, EVENT, 30_000)
    assert settle(delivery(), outcome(503, retry_after_ms=30_000), NOW) == Settled(
        DeliveryId(7), EndpointId(3), Fate.WAITING, 1, 0, again_at, "503", 12
    )


def test_the_last_try_exhausts() -> None:
    last = len(RETRY_DELAYS_MS)
    assert settle(delivery(last - 1), outcome(None, Trouble.TIMEOUT), NOW).fate is Fate.WAITING
    assert settle(delivery(last), outcome(None, Trouble.TIMEOUT), NOW) == Settled(
        DeliveryId(7), EndpointId(3), Fate.EXHAUSTED, last + 1, last, None, "timeout", 12
    )


def test_gone_disables_the_endpoint() -> None:
    assert settle(delivery(), outcome(410), NOW).fate is Fate.DISABLED


def test_what_was_not_tried_costs_no_try() -> None:
    settled = settle(delivery(4), outcome(None, Trouble.NOT_TRIED), NOW)
    assert (settled.fate, settled.tries, settled.next_try_at) == (Fate.RELEASED, 4, None)


def test_only_429_and_503_ask_for_a_pause_of_the_whole_endpoint() -> None:
    asked = {status: asked_pause(outcome(status, retry_after_ms=9_000)) for status in (429, 503, 500, 404)}
    assert asked == {429: 9_000, 503: 9_000, 500: None, 404: None}
    assert asked_pause(outcome(503)) is None


def test_an_outcome_is_told_in_a_word() -> None:
    words = [
        outcome(404).word,
        outcome(None, Trouble.TLS).word,
        outcome(None, Trouble.FORBIDDEN)._replace(detail="private").word,
    ]
    assert words == ["404", "tls", "forbidden: private"]
