"""Lists, fields, contacts and imports, on every engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from store_scene import DAY, NOW, NUMBER, OTHER_NUMBER, SECOND, NewDatabase

from chappe.core.contacts import Batch, Column, ContactRow, RefusedRow, RowProblem
from chappe.core.lists import (
    MAX_FIELDS,
    OPERATION_LOST_MS,
    OPERATIONS_KEPT_MS,
    Contact,
    ContactId,
    ContactList,
    FieldId,
    ListField,
    ListId,
    Operation,
    OperationId,
    OperationState,
    Refusal,
)
from chappe.core.message import AccountId, NotAccepted
from chappe.core.numbers import PhoneNumber
from chappe.core.personalise import FieldType, ValueProblem
from chappe.core.ports import Store
from chappe.storage import lists, statements
from chappe.storage.postgres import PostgresStore
from chappe.storage.sqlite import SqliteStore

THIRD_NUMBER = "+33611111111"


@pytest.fixture(autouse=True)
def count_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    load = statements.load
    more = {"count_rows_of_contact": "SELECT count(*) FROM contact"}
    monkeypatch.setattr(statements, "load", lambda engine: load(engine) | more)


@pytest.fixture
async def account(store: Store) -> AccountId:
    return (await store.open_account("acme", NOW)).id


@pytest.fixture
async def rival(store: Store) -> AccountId:
    return (await store.open_account("rival", NOW)).id


@pytest.fixture
async def list_(store: Store, account: AccountId) -> ListId:
    return await store.create_list(account, "Clients", NOW)


async def add(store: Store, account: AccountId, list_: ListId, number: str, values: Mapping[FieldId, str] = {}) -> int:
    added = await store.add_contact(account, list_, number, values)
    assert not isinstance(added, NotAccepted)
    return added


async def add_field(store: Store, account: AccountId, list_: ListId, name: str = "prénom") -> FieldId:
    field = await store.add_field(account, list_, name, FieldType.STRING, None)
    assert not isinstance(field, NotAccepted)
    return field


async def contacts(store: Store, account: AccountId, list_: ListId) -> list[Contact]:
    found = await store.read_contacts(account, list_, after=0, limit=1_000)
    assert await store.count_contacts(account, list_) == len(found)
    return found


async def numbers(store: Store, account: AccountId, list_: ListId) -> list[str]:
    return [contact.number for contact in await contacts(store, account, list_)]


def rows(*numbers: str, values: Sequence[str] = ()) -> Batch:
    return Batch([ContactRow(line, PhoneNumber(number), [*values]) for line, number in enumerate(numbers, 2)])


async def begin(
    store: Store, account: AccountId, list_: ListId, *columns: str, now: int = NOW
) -> tuple[OperationId, list[FieldId]]:
    begun = await store.begin_import(account, list_, [Column(name) for name in columns], None, now)
    assert not isinstance(begun, NotAccepted)
    return begun[0].id, begun[1]


async def import_rows(store: Store, account: AccountId, list_: ListId, *batches: Batch) -> Operation:
    operation, fields = await begin(store, account, list_)
    for batch in batches:
        assert await store.import_contacts(account, operation, fields, batch, len(batch.accepted), NOW)
    ended = await store.end_import(account, operation, OperationState.DONE, NOW)
    assert ended is not None
    return ended


# --- lists and fields --------------------------------------------------------------------------------


async def test_lists_are_found_and_listed_page_by_page(store: Store, account: AccountId) -> None:
    ids = [await store.create_list(account, f"Liste {n}", NOW + n) for n in range(3)]
    made = [ContactList(id_, account, f"Liste {n}", NOW + n, 0) for n, id_ in enumerate(ids)]
    assert await store.list_lists(account, after=0, limit=2) == made[:2]
    assert await store.list_lists(account, after=ids[1], limit=2) == made[2:]
    assert await store.find_list(account, ids[2]) == made[2]


async def test_fields_are_listed_in_the_order_they_were_made(store: Store, account: AccountId, list_: ListId) -> None:
    name = await add_field(store, account, list_, "Prénom")
    born = await store.add_field(account, list_, "naissance", FieldType.DATE, "dd/MM")
    assert not isinstance(born, NotAccepted)
    fields = [
        ListField(name, list_, "Prénom", FieldType.STRING, None),
        ListField(born, list_, "naissance", FieldType.DATE, "dd/MM"),
    ]
    assert await store.list_fields(account, list_) == fields
    other = await store.create_list(account, "Autres", NOW)
    more = await add_field(store, account, other)
    assert [field.id for field in await store.list_fields(account, list_, other)] == [name, born, more]
    assert await store.remove_field(account, list_, name)
    assert not await store.remove_field(account, list_, name)
    assert await store.list_fields(account, list_) == fields[1:]


async def test_name_of_a_field_is_taken_once_however_it_is_written(
    store: Store, account: AccountId, list_: ListId
) -> None:
    await add_field(store, account, list_, "Prénom")
    assert await store.add_field(account, list_, " PRÉNOM ", FieldType.NUMBER, None) == NotAccepted(1001)
    await add_field(store, account, list_, "prenom")


async def test_list_has_so_many_fields_and_no_more(store: Store, account: AccountId, list_: ListId) -> None:
    await begin(store, account, list_, *(f"c{n}" for n in range(MAX_FIELDS)))
    assert await store.add_field(account, list_, "one more", FieldType.STRING, None) == NotAccepted(17)
    assert await store.begin_import(account, list_, [Column("one more")], None, NOW) == NotAccepted(17)
    await begin(store, account, list_, "c1", "C2")
    assert len(await store.list_fields(account, list_)) == MAX_FIELDS


async def test_values_of_a_removed_field_are_gone(store: Store, account: AccountId, list_: ListId) -> None:
    name, town = [await add_field(store, account, list_, name) for name in ("name", "town")]
    await add(store, account, list_, NUMBER, {name: "Zoé", town: "Brest"})
    await store.remove_field(account, list_, name)
    [contact] = await contacts(store, account, list_)
    assert contact.values == {town: "Brest"}
    assert await add_field(store, account, list_, "name") != name
    assert await contacts(store, account, list_) == [contact]


# --- contacts ----------------------------------------------------------------------------------------


async def test_contacts_are_walked_in_the_order_they_were_added(
    store: Store, account: AccountId, list_: ListId
) -> None:
    field = await add_field(store, account, list_)
    wanted = []
    for number in (THIRD_NUMBER, NUMBER, OTHER_NUMBER):
        id_ = await add(store, account, list_, number, {field: "\U0001f600 « Zoé »"})
        wanted.append(Contact(ContactId(id_), list_, number, {field: "\U0001f600 « Zoé »"}))
    assert await store.read_contacts(account, list_, after=0, limit=2) == wanted[:2]
    assert await store.read_contacts(account, list_, after=wanted[1].id, limit=2) == wanted[2:]
    assert await store.find_contact(account, list_, NUMBER) == wanted[1]
    assert await store.count_contacts(account, list_) == 3


async def test_number_is_once_on_a_list(store: Store, account: AccountId, list_: ListId) -> None:
    first = await add(store, account, list_, NUMBER)
    assert await store.add_contact(account, list_, NUMBER, {}) == NotAccepted(15)
    other = await store.create_list(account, "Autres", NOW)
    await add(store, account, other, NUMBER)
    assert [contact.id for contact in await contacts(store, account, list_)] == [first]


async def test_contact_is_removed_by_its_id_or_its_number_and_its_id_is_not_used_again(
    store: Store, account: AccountId, list_: ListId
) -> None:
    first, second = [await add(store, account, list_, number) for number in (NUMBER, OTHER_NUMBER)]
    assert await store.remove_contact(account, list_, ContactId(second))
    assert await store.remove_contact(account, list_, NUMBER)
    for gone in (ContactId(first), NUMBER):
        assert not await store.remove_contact(account, list_, gone)
    assert await contacts(store, account, list_) == []
    assert await add(store, account, list_, NUMBER) > second


async def test_what_another_account_asks_for_is_not_there(
    store: Store, account: AccountId, rival: AccountId, list_: ListId
) -> None:
    field = await add_field(store, account, list_)
    contact = ContactId(await add(store, account, list_, NUMBER))
    operation, fields = await begin(store, account, list_)
    await store.import_contacts(account, operation, fields, Batch(refused=[_refused(2)]), 1, NOW)
    theirs = await store.create_list(rival, "Rival", NOW)
    assert await store.list_lists(rival, after=0, limit=10) == [ContactList(theirs, rival, "Rival", NOW)]
    assert await store.find_list(rival, list_) is None
    assert await store.list_fields(rival, list_, theirs) == []
    assert await store.read_contacts(rival, list_, after=0, limit=10) == []
    assert await store.find_contact(rival, list_, NUMBER) is None
    assert await store.count_contacts(rival, list_) == 0
    assert await store.add_contact(rival, list_, OTHER_NUMBER, {}) == NotAccepted(60)
    assert await store.add_field(rival, list_, "x", FieldType.STRING, None) == NotAccepted(60)
    assert await store.begin_import(rival, list_, [], None, NOW) == NotAccepted(60)
    assert await store.import_contacts(rival, operation, fields, rows(OTHER_NUMBER), 1, NOW) is None
    assert await store.end_import(rival, operation, OperationState.DONE, NOW) is None
    assert await store.find_operation(rival, operation) is None
    assert await store.list_refused(rival, operation, after=0, limit=10) == []
    for of in (list_, theirs):
        assert not await store.remove_contact(rival, of, contact)
        assert not await store.remove_contact(rival, of, NUMBER)
        assert not await store.remove_field(rival, of, field)
    assert not await store.empty_list(rival, list_)
    assert not await store.delete_list(rival, list_)
    assert await numbers(store, account, list_) == [NUMBER]
    assert len(await store.list_fields(account, list_)) == 1


async def test_contact_is_not_removed_through_another_list(store: Store, account: AccountId, list_: ListId) -> None:
    contact = ContactId(await add(store, account, list_, NUMBER))
    other = await store.create_list(account, "Autres", NOW)
    assert not await store.remove_contact(account, other, contact)
    assert await numbers(store, account, list_) == [NUMBER]


# --- emptied and deleted -----------------------------------------------------------------------------


async def test_emptied_list_is_empty_at_once_and_takes_the_same_numbers(
    store: Store, account: AccountId, list_: ListId
) -> None:
    field = await add_field(store, account, list_)
    await import_rows(store, account, list_, rows(NUMBER, OTHER_NUMBER))
    assert await store.empty_list(account, list_)
    assert await contacts(store, account, list_) == []
    assert await store.find_contact(account, list_, NUMBER) is None
    await add(store, account, list_, NUMBER)
    assert await numbers(store, account, list_) == [NUMBER]
    assert [one.id for one in await store.list_fields(account, list_)] == [field]


async def test_contact_of_an_earlier_edition_is_not_there(store: Store, account: AccountId, list_: ListId) -> None:
    contact = ContactId(await add(store, account, list_, NUMBER))
    await store.empty_list(account, list_)
    assert not await store.remove_contact(account, list_, contact)
    assert await store.count_contacts(account, list_) == 0


async def test_deleted_list_is_gone_with_all_it_had(store: Store, account: AccountId, list_: ListId) -> None:
    await add_field(store, account, list_)
    await add(store, account, list_, NUMBER)
    assert await store.delete_list(account, list_)
    assert not await store.delete_list(account, list_)
    assert not await store.empty_list(account, list_)
    assert await store.find_list(account, list_) is None
    assert await store.list_lists(account, after=0, limit=10) == []
    assert await store.list_fields(account, list_) == []
    assert await contacts(store, account, list_) == []
    assert await store.add_contact(account, list_, NUMBER, {}) == NotAccepted(60)
    assert await store.create_list(account, "Clients", NOW) != list_


async def test_what_was_emptied_is_removed_bit_by_bit_and_nothing_else(
    store: Store, account: AccountId, list_: ListId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "DROPPED_AT_ONCE", 2)
    await import_rows(store, account, list_, rows(NUMBER, OTHER_NUMBER, THIRD_NUMBER))
    other = await store.create_list(account, "Autres", NOW)
    await add(store, account, other, NUMBER)
    await store.empty_list(account, list_)
    await add(store, account, list_, NUMBER)
    await store.delete_list(account, list_)
    left = []
    for _ in range(4):
        left.append(await _rows_of_contact(store))
        await store.sweep(NOW, 10)
    assert left == [5, 3, 2, 1]
    assert await numbers(store, account, other) == [NUMBER]


async def _rows_of_contact(store: Store) -> int:
    """In the table, whether or not anybody can see them."""
    assert isinstance(store, SqliteStore | PostgresStore)
    [(count,)] = await store._look_up("count_rows_of_contact", ())
    return int(count)


# --- imports -----------------------------------------------------------------------------------------


def _refused(line: int) -> RefusedRow:
    return RefusedRow(line, 11, RowProblem.NUMBER, "tel")


async def test_import_adds_and_updates_and_says_how_many(store: Store, account: AccountId, list_: ListId) -> None:
    name, town = [await add_field(store, account, list_, name) for name in ("name", "town")]
    first = await add(store, account, list_, NUMBER, {name: "Zoé", town: "Brest"})
    operation, fields = await begin(store, account, list_, "NAME", "age")
    [_, _, age] = [field.id for field in await store.list_fields(account, list_)]
    assert fields == [name, age]
    batch = Batch(
        [
            ContactRow(2, PhoneNumber(NUMBER), ["", "7"]),
            ContactRow(3, PhoneNumber(OTHER_NUMBER), ["Léa", ""]),
            ContactRow(4, PhoneNumber(OTHER_NUMBER), ["", "9"]),
        ]
    )
    running = await store.import_contacts(account, operation, fields, batch, 10, NOW + SECOND)
    wanted = Operation(operation, account, list_, OperationState.RUNNING, NOW, NOW + SECOND, None, 10, 1, 2, 0)
    assert running == wanted
    assert await store.find_operation(account, operation) == wanted
    assert [(contact.number, contact.values) for contact in await contacts(store, account, list_)] == [
        (NUMBER, {name: "Zoé", town: "Brest", age: "7"}),
        (OTHER_NUMBER, {name: "Léa", age: "9"}),
    ]
    assert (await contacts(store, account, list_))[0].id == first


async def test_refused_rows_can_be_read_again_in_their_order(
    store: Store, account: AccountId, list_: ListId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "REFUSED_KEPT", 4)
    operation, fields = await begin(store, account, list_)
    bad_value = RefusedRow(5, 1001, ValueProblem.NOT_A_DATE, "né le")
    for batch in ([_refused(3), bad_value], [_refused(9), RefusedRow(11, 1001, RowProblem.CELLS), _refused(12)]):
        running = await store.import_contacts(account, operation, fields, Batch(refused=batch), 1, NOW)
    assert running is not None
    assert running.refused == 5
    refused = [
        Refusal(1, 3, 11, "number", "tel"),
        Refusal(2, 5, 1001, "notADate", "né le"),
        Refusal(3, 9, 11, "number", "tel"),
        Refusal(4, 11, 1001, "cells", None),
    ]
    assert await store.list_refused(account, operation, after=0, limit=3) == refused[:3]
    assert await store.list_refused(account, operation, after=3, limit=3) == refused[3:]


async def test_ended_import_takes_no_more(store: Store, account: AccountId, list_: ListId) -> None:
    ended = await import_rows(store, account, list_, rows(NUMBER))
    assert (ended.state, ended.imported, ended.done) == (OperationState.DONE, 1, 1)
    assert await store.import_contacts(account, ended.id, [], rows(OTHER_NUMBER), 1, NOW) is None
    assert await store.end_import(account, ended.id, OperationState.INTERRUPTED, NOW + 1) == ended
    assert await numbers(store, account, list_) == [NUMBER]


async def test_import_into_a_list_that_is_deleted_meanwhile_stores_nothing(
    store: Store, account: AccountId, list_: ListId
) -> None:
    operation, fields = await begin(store, account, list_)
    await store.delete_list(account, list_)
    assert await store.import_contacts(account, operation, fields, rows(NUMBER), 1, NOW) is None
    assert await _rows_of_contact(store) == 0


async def test_import_goes_on_in_a_list_that_is_emptied_meanwhile(
    store: Store, account: AccountId, list_: ListId
) -> None:
    operation, fields = await begin(store, account, list_)
    await store.import_contacts(account, operation, fields, rows(NUMBER), 1, NOW)
    await store.empty_list(account, list_)
    await store.import_contacts(account, operation, fields, rows(OTHER_NUMBER), 1, NOW)
    assert await numbers(store, account, list_) == [OTHER_NUMBER]


async def test_import_that_nobody_carries_on_is_interrupted(store: Store, account: AccountId, list_: ListId) -> None:
    operation, fields = await begin(store, account, list_)
    await store.import_contacts(account, operation, fields, rows(NUMBER), 1, NOW + SECOND)
    await store.sweep(NOW + SECOND + OPERATION_LOST_MS, 10)
    found = await store.find_operation(account, operation)
    assert found is not None
    assert found.state is OperationState.RUNNING
    await store.sweep(NOW + SECOND + OPERATION_LOST_MS + 1, 10)
    found = await store.find_operation(account, operation)
    assert found is not None
    assert (found.state, found.imported) == (OperationState.INTERRUPTED, 1)
    assert await store.import_contacts(account, operation, fields, rows(OTHER_NUMBER), 1, NOW) is None


async def test_old_operations_are_dropped_with_their_refused_rows(
    store: Store, account: AccountId, list_: ListId
) -> None:
    old, fields = await begin(store, account, list_)
    await store.import_contacts(account, old, fields, Batch(refused=[_refused(2)]), 1, NOW)
    young, _ = await begin(store, account, list_, now=NOW + DAY)
    for _ in range(2):
        await store.sweep(NOW + OPERATIONS_KEPT_MS + SECOND, 10)
    assert await store.find_operation(account, old) is None
    assert await store.list_refused(account, old, after=0, limit=10) == []
    assert await store.find_operation(account, young) is not None


async def test_batch_of_many_rows_is_one_transaction(new_database: NewDatabase) -> None:
    store = await new_database()()
    account = (await store.open_account("acme", NOW)).id
    list_ = await store.create_list(account, "Clients", NOW)
    many = rows(*(f"+336{n:08}" for n in range(3_000)))
    assert (await import_rows(store, account, list_, many, many)).updated == 3_000
    assert await store.count_contacts(account, list_) == 3_000
    await store.close()
