"""Customers of a whole server: clients that others wrote, and one that the server is killed under."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import smpp34
import smpplib.client  # type: ignore[import-untyped]  # it has no types
import smpplib.consts  # type: ignore[import-untyped]  # it has no types
import smpplib.exceptions  # type: ignore[import-untyped]  # it has no types
import smpplib.gsm  # type: ignore[import-untyped]  # it has no types

from chappe.app import CannotServe, Node
from chappe.cluster.nodes import ChildNode
from chappe.core.message import Family
from chappe.core.text import Alphabet, concatenation_header, encode, segment
from chappe.loopback import free_port
from chappe.settings import Settings
from chappe.simulator import Mood, Simulator
from chappe.smpp import aio, pdus
from chappe.smpp.pdus import EsmClass, MessageState, Status, Tag
from chappe.smpp.session import Limits
from tests.customers.customer_scene import DIGEST, PASSWORD, SALT, Application, a_submit

PATIENCE = 30.0
LONG = "Bonjour, votre colis est arrivé : il vous attend à l'accueil. " * 5
CERTIFICATES = Path(__file__).parents[1] / "api" / "certificates"


def settings(folder: Path, **changes: Any) -> Settings:
    ordinary = {"listen": "127.0.0.1:0", "smpp_listen": "127.0.0.1:0", "database": f"sqlite:///{folder / 'chappe.db'}"}
    return Settings(**{**ordinary, **changes})


async def let_in(node: Node) -> int:
    """Makes the customer and returns the port."""
    account = await node.store.open_account("shop", 1)
    await node.store.save_customer(account.id, "shop1", SALT, DIGEST, test=False, family=Family.NOTIFICATION, now=1)
    assert node.smpp_port is not None
    return node.smpp_port


def read(receipt: bytes) -> tuple[str, str, str]:
    """(id, stat, err)."""
    found = re.match(rb"id:(\S+) sub:001 .* stat:(\S+) err:(\d+) ", receipt)
    assert found is not None
    return found[1].decode(), found[2].decode(), found[3].decode()


def parts_of(text: str) -> list[bytes]:
    segmented = segment(text)
    assert segmented.alphabet is Alphabet.GSM7
    total = len(segmented.parts)
    return [
        concatenation_header(9, total, sequence) + encode(part, Alphabet.GSM7)
        for sequence, part in enumerate(segmented.parts, 1)
    ]


# --- python-smpplib: blocking, so in a thread ----------------------------------------------------------


class Smpplib:
    """A transceiver that keeps what it reads. It raises at a TLV that it does not know."""

    def __init__(self, port: int) -> None:
        self.client: Any = smpplib.client.Client("127.0.0.1", port, timeout=PATIENCE, allow_unknown_opt_params=False)
        self.answers: list[Any] = []
        self.delivered: list[Any] = []
        self.client.set_message_sent_handler(lambda pdu: self.answers.append(pdu))
        self.client.set_message_received_handler(lambda pdu: self.delivered.append(pdu))
        self.client.set_error_pdu_handler(lambda pdu: self.answers.append(pdu))

    @contextmanager
    def bound(self, password: str = PASSWORD.decode()) -> Iterator[Any]:
        self.client.connect()
        try:
            yield self.client.bind_transceiver(system_id="shop1", password=password)
            self.client.unbind()
        finally:
            self.client.disconnect()

    def submit(self, number: str, text: str = "Bonjour") -> None:
        """As the guide shows it."""
        parts, data_coding, esm_class = smpplib.gsm.make_parts(text)
        for part in parts:
            self.client.send_message(
                dest_addr_ton=smpplib.consts.SMPP_TON_INTL,
                destination_addr=number,
                source_addr_ton=smpplib.consts.SMPP_TON_ALNUM,
                source_addr="MyShop",
                short_message=part,
                data_coding=data_coding,
                esm_class=esm_class,
                registered_delivery=True,
            )

    def read_until(self, answers: int, delivered: int) -> None:
        """Each read ends with a PDU, or raises after PATIENCE."""
        while len(self.answers) < answers or len(self.delivered) < delivered:
            self.client.read_once(auto_send_enquire_link=False)


async def test_smpplib_submits_and_is_told(tmp_path: Path) -> None:
    async with Node(settings(tmp_path)) as node:
        port = await let_in(node)

        def converse() -> None:
            peer = Smpplib(port)
            with peer.bound() as bind:
                assert (bind.system_id, bind.sc_interface_version) == (b"chappe", 0x34)
                peer.submit("33600000001")
                peer.read_until(answers=1, delivered=1)
                peer.submit("33600000003", "Ça va ? 😀")
                peer.read_until(answers=2, delivered=3)
                peer.submit("1")
                peer.read_until(answers=3, delivered=3)
            ids = [answer.message_id.decode() for answer in peer.answers[:2]]
            assert [read(told.short_message) for told in peer.delivered[:2]] == [
                (ids[0], "UNDELIV", "001"),
                (ids[1], "DELIVRD", "000"),
            ]
            assert [told.receipted_message_id.decode() for told in peer.delivered[:2]] == ids
            reply = peer.delivered[2]
            assert (reply.source_addr, reply.destination_addr, reply.short_message) == (
                b"33600000003",
                b"MyShop",
                b"Merci",
            )
            assert peer.answers[2].status == Status.ESME_RINVDSTADR

        await asyncio.to_thread(converse)


async def test_smpplib_sends_a_long_message_and_comes_back_for_its_receipts(tmp_path: Path) -> None:
    async with Node(settings(tmp_path)) as node:
        port = await let_in(node)
        count = len(parts_of(LONG))

        def submit() -> list[str]:
            peer = Smpplib(port)
            with peer.bound():
                peer.submit("33600000000", LONG)
                peer.read_until(answers=count, delivered=0)
            return [answer.message_id.decode() for answer in peer.answers]

        def come_back(delivered: int) -> list[str]:
            peer = Smpplib(port)
            with peer.bound():
                peer.read_until(answers=0, delivered=delivered)
            return [read(told.short_message)[0] for told in peer.delivered]

        ids = await asyncio.to_thread(submit)
        account = await node.store.find_account("shop")
        assert account is not None
        [message] = await node.store.list_messages(account.id, test=True, before=None, limit=10)
        assert message.text == LONG
        # It may have been told of some before it unbound, without having read them: then they come again.
        assert set(await asyncio.to_thread(come_back, count)) == set(ids)


async def test_smpplib_is_not_bound_with_a_wrong_password(tmp_path: Path) -> None:
    async with Node(settings(tmp_path)) as node:
        port = await let_in(node)

        def converse() -> None:
            with Smpplib(port).bound(password="wrong"):
                pytest.fail("bound")

        with pytest.raises(smpplib.exceptions.PDUError, match=r"\(14\)"):
            await asyncio.to_thread(converse)


# --- smpp34: asyncio over a core in Rust --------------------------------------------------------------


async def test_smpp34_submits_a_long_message_and_is_told(tmp_path: Path) -> None:
    async with Node(settings(tmp_path)) as node:
        client = smpp34.Client("127.0.0.1", await let_in(node), "shop1", PASSWORD.decode(), bind_type="TRX")
        smsc = await asyncio.wait_for(client.connect(), PATIENCE)
        answers = [
            await asyncio.wait_for(
                smsc.submit_sm(
                    "33600000003",
                    part,
                    source_addr="MyShop",
                    source_addr_ton=5,
                    dest_addr_ton=1,
                    dest_addr_npi=1,
                    esm_class=EsmClass.UDHI,
                    registered_delivery=1,
                    tlvs=[smpp34.Tlv(Tag.USER_MESSAGE_REFERENCE, bytes((1, number)))],
                ),
                PATIENCE,
            )
            for number, part in enumerate(parts_of(LONG))
        ]
        assert all(answer.is_success for answer in answers)
        told: list[smpp34.DeliverSmEvent] = []
        for _ in range(len(answers) + 1):
            event = await asyncio.wait_for(smsc.next(), PATIENCE)
            assert isinstance(event, smpp34.DeliverSmEvent)
            told.append(event)
        receipts = [event for event in told if event.esm_class]
        assert {read(receipt.short_message) for receipt in receipts} == {
            (answer.message_id, "DELIVRD", "000") for answer in answers
        }
        tlvs = [tlv for receipt in receipts for tlv in receipt.tlvs]
        references = {tlv.value for tlv in tlvs if tlv.tag == Tag.USER_MESSAGE_REFERENCE}
        assert references == {bytes((1, number)) for number in range(len(answers))}
        assert [event.short_message for event in told if not event.esm_class] == [b"Merci"]
        await smsc.unbind()
        await client.stop()


# --- who may listen, and how ---------------------------------------------------------------------------


async def test_customers_are_let_in_by_tls_where_there_is_a_certificate(tmp_path: Path) -> None:
    certificate = {"tls_cert": str(CERTIFICATES / "first.pem"), "tls_key": str(CERTIFICATES / "first.key")}
    async with Node(settings(tmp_path, **certificate)) as node:
        port = await let_in(node)
        trusting = ssl.create_default_context(cafile=CERTIFICATES / "first.pem")
        application = Application()
        application.link = await aio.connect("127.0.0.1", port, application.on_events, tls=trusting)
        bind = await application.ask(pdus.BindTransceiver(system_id=b"shop1", password=PASSWORD))
        assert bind.command_status == 0
        assert (await application.submit())[0] == 0
        assert (await application.ask(pdus.Unbind())).command_status == 0
        plain = Application()
        plain.link = await aio.connect("127.0.0.1", port, plain.on_events)
        plain.request(pdus.BindTransceiver(system_id=b"shop1", password=PASSWORD))
        await asyncio.wait_for(plain.closed.wait(), PATIENCE)
    async with Node(settings(tmp_path, **certificate, smpp_plaintext=True)) as node:
        assert node.smpp_port is not None
        plain = Application()
        plain.link = await aio.connect("127.0.0.1", node.smpp_port, plain.on_events)
        bind = await plain.ask(pdus.BindTransceiver(system_id=b"shop1", password=PASSWORD))
        assert bind.command_status == 0
        plain.link.close()


async def test_passwords_do_not_cross_a_network_in_the_open_unless_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="without TLS"):
        async with Node(settings(tmp_path, smpp_listen="0.0.0.0:0")):
            pass
    async with Node(settings(tmp_path, smpp_listen="0.0.0.0:0", smpp_plaintext=True)) as node:
        assert node.smpp_port


async def test_port_for_customers_that_is_in_use_is_said(tmp_path: Path) -> None:
    async with Node(settings(tmp_path)) as node:
        taken = f"127.0.0.1:{node.smpp_port}"
        (tmp_path / "other").mkdir()
        with pytest.raises(CannotServe, match=f"cannot listen on {taken}: Address already in use"):
            async with Node(settings(tmp_path / "other", smpp_listen=taken)):
                pass


# --- killed under load ---------------------------------------------------------------------------------


async def bind(port: int, password: str) -> Application:
    application = Application()
    application.link = await aio.connect("127.0.0.1", port, application.on_events, limits=Limits(window=500))
    response = await application.ask(pdus.BindTransceiver(system_id=b"shop1", password=password.encode()))
    assert response.command_status == 0
    return application


async def is_told(application: Application, ids: set[bytes]) -> None:
    """Until it has the receipts of all of them; what else comes is read, too."""
    left = set(ids)
    while left:
        told = await application.next_told()
        receipted = (told.tlv(Tag.RECEIPTED_MESSAGE_ID) or b"").rstrip(b"\0")
        if receipted in left:
            assert told.tlv_int(Tag.MESSAGE_STATE) == MessageState.DELIVERED
            left.discard(receipted)


async def test_nothing_that_was_answered_or_was_to_be_told_is_lost_to_a_kill(tmp_path: Path) -> None:
    operator = Simulator(Mood(receipt_seconds=0, reply_seconds=0))
    config, smpp_port = tmp_path / "chappe.toml", free_port()
    config.write_text(f'[operators.op]\nhost = "127.0.0.1"\nport = {await operator.start()}\nretry_seconds = 0.2\n')
    node = ChildNode(
        tmp_path,
        "node",
        f"sqlite:///{tmp_path / 'chappe.db'}",
        config,
        {"CHAPPE_SMPP_LISTEN": f"127.0.0.1:{smpp_port}"},
    )
    try:
        await asyncio.to_thread(node.create_key, "shop")
        password = await asyncio.to_thread(node.command, "accounts", "smpp", "shop", "--system-id", "shop1", "--quiet")
        await asyncio.to_thread(node.start)
        application = await bind(smpp_port, password)
        application.says = None  # it is killed before it acknowledges anything
        # One-time codes: what is in doubt after the kill is sent again soon.
        long = [
            application.request(a_submit(esm_class=0x40, short_message=p, service_type=b"OTP")) for p in parts_of(LONG)
        ]
        answers = long + [
            application.request(a_submit(destination_addr=b"336123%05d" % number, service_type=b"OTP"))
            for number in range(300)
        ]
        await asyncio.wait_for(answers[100], PATIENCE)
        await asyncio.to_thread(node.kill)
        await asyncio.wait_for(application.closed.wait(), PATIENCE)
        done = [answer.result() for answer in answers if answer.done()]
        ids = {
            answer.message_id for answer in done if isinstance(answer, pdus.SubmitSmResp) and not answer.command_status
        }
        assert len(ids) == len(done) > 100

        await asyncio.to_thread(node.start)
        application = await bind(smpp_port, password)
        await asyncio.wait_for(is_told(application, ids), 60)

        # Away while its receipt and a reply come.
        status, id_ = await application.submit(destination_addr=b"33600000003", service_type=b"OTP")
        assert status == 0
        assert (await application.ask(pdus.Unbind())).command_status == 0
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start)
        application = await bind(smpp_port, password)
        texts = []
        while b"Merci" not in texts:
            texts.append((await application.next_told()).short_message)
        assert any(text.startswith(b"id:%b " % id_) for text in texts)

        assert await asyncio.to_thread(node.stop) == 0
        await asyncio.wait_for(application.closed.wait(), PATIENCE)
    finally:
        await asyncio.to_thread(node.stop)
        await operator.stop()
    assert operator.counts["submits"] >= len(ids)
