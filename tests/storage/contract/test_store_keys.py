"""Accounts and keys."""

from __future__ import annotations

from hashlib import sha256

from store_scene import NOW, OpenStore

from chappe.core.message import Account, Key, Settings
from chappe.core.ports import Store

DIGEST = sha256(b"0123456789abcdef0123456789abcdef").digest()
OTHER_DIGEST = sha256(b"fedcba9876543210fedcba9876543210").digest()


async def test_account_opened_first_is_active_with_ordinary_settings(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    assert account == Account(account.id, "acme", blocked=False, settings=Settings())


async def test_account_opened_again_is_the_same(store: Store) -> None:
    first = await store.open_account("acme", NOW)
    assert await store.open_account("acme", NOW + 1) == first


async def test_accounts_of_two_names_are_two(store: Store) -> None:
    acme = await store.open_account("acme", NOW)
    rival = await store.open_account("rival", NOW)
    assert acme.id != rival.id


async def test_account_is_found_by_name(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    assert await store.find_account("acme") == account


async def test_unknown_account_is_none(store: Store) -> None:
    await store.open_account("acme", NOW)
    assert await store.find_account("Acme") is None


async def test_settings_are_kept_whole(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    settings = Settings(
        track_links=True,
        notify_opted_out=True,
        default_sender="ACME",
        country="BE",
        policies={"été": "at_least_once"},
    )
    await store.save_settings(account.id, settings)
    assert await store.find_account("acme") == Account(account.id, "acme", blocked=False, settings=settings)


async def test_settings_of_another_account_stay(store: Store) -> None:
    acme = await store.open_account("acme", NOW)
    rival = await store.open_account("rival", NOW)
    await store.save_settings(acme.id, Settings(track_links=True))
    assert await store.find_account("rival") == rival


async def test_created_key_is_found_by_its_digest(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    key = await store.create_key(account.id, DIGEST, "0123", test=False, now=NOW)
    assert key == Key(key.id, account, test=False, hint="0123", created_at=NOW, revoked_at=None)
    assert await store.find_key(DIGEST) == key


async def test_test_key_says_so(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    key = await store.create_key(account.id, DIGEST, "0123", test=True, now=NOW)
    assert await store.find_key(DIGEST) == Key(key.id, account, test=True, hint="0123", created_at=NOW, revoked_at=None)


async def test_unknown_digest_is_none(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    await store.create_key(account.id, DIGEST, "0123", test=False, now=NOW)
    assert await store.find_key(OTHER_DIGEST) is None


async def test_key_leads_to_its_own_account(store: Store) -> None:
    acme = await store.open_account("acme", NOW)
    rival = await store.open_account("rival", NOW)
    await store.create_key(acme.id, DIGEST, "0123", test=False, now=NOW)
    await store.create_key(rival.id, OTHER_DIGEST, "fedc", test=False, now=NOW)
    keys = [await store.find_key(digest) for digest in (DIGEST, OTHER_DIGEST)]
    assert [key.account for key in keys if key is not None] == [acme, rival]


async def test_key_shows_its_account_s_settings_as_they_are_now(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    await store.create_key(account.id, DIGEST, "0123", test=False, now=NOW)
    assert await store.find_key(DIGEST) is not None
    await store.save_settings(account.id, Settings(default_sender="ACME"))
    key = await store.find_key(DIGEST)
    assert key is not None
    assert key.account.settings == Settings(default_sender="ACME")


async def test_revoked_key_is_none_at_once(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    key = await store.create_key(account.id, DIGEST, "0123", test=False, now=NOW)
    assert await store.find_key(DIGEST) == key
    assert await store.revoke_key(key.id, NOW + 1) is True
    assert await store.find_key(DIGEST) is None


async def test_key_revoked_elsewhere_is_none_at_once(open_store: OpenStore) -> None:
    server, command_line = await open_store(), await open_store()
    account = await server.open_account("acme", NOW)
    key = await server.create_key(account.id, DIGEST, "0123", test=False, now=NOW)
    assert await server.find_key(DIGEST) == key
    await command_line.revoke_key(key.id, NOW + 1)
    assert await server.find_key(DIGEST) is None


async def test_settings_saved_elsewhere_are_seen_at_once(open_store: OpenStore) -> None:
    server, command_line = await open_store(), await open_store()
    account = await server.open_account("acme", NOW)
    await server.create_key(account.id, DIGEST, "0123", test=False, now=NOW)
    assert await server.find_key(DIGEST) is not None
    await command_line.save_settings(account.id, Settings(country="BE"))
    key = await server.find_key(DIGEST)
    assert key is not None
    assert key.account.settings.country == "BE"


async def test_key_is_revoked_once(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    key = await store.create_key(account.id, DIGEST, "0123", test=False, now=NOW)
    await store.revoke_key(key.id, NOW + 1)
    assert await store.revoke_key(key.id, NOW + 2) is False


async def test_unknown_key_is_not_revoked(store: Store) -> None:
    assert await store.revoke_key(7, NOW) is False


async def test_list_shows_every_key_with_the_time_it_was_revoked(store: Store) -> None:
    account = await store.open_account("acme", NOW)
    live = await store.create_key(account.id, DIGEST, "0123", test=False, now=NOW)
    test = await store.create_key(account.id, OTHER_DIGEST, "fedc", test=True, now=NOW + 1)
    await store.revoke_key(live.id, NOW + 2)
    assert sorted(await store.list_keys(), key=lambda key: key.id) == [
        Key(live.id, account, test=False, hint="0123", created_at=NOW, revoked_at=NOW + 2),
        Key(test.id, account, test=True, hint="fedc", created_at=NOW + 1, revoked_at=None),
    ]


async def test_keys_outlive_a_restart(open_store: OpenStore) -> None:
    store = await open_store()
    account = await store.open_account("acme", NOW)
    key = await store.create_key(account.id, DIGEST, "0123", test=False, now=NOW)
    await store.close()
    assert await (await open_store()).find_key(DIGEST) == key
