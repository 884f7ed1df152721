from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_scene import KEY, NOW, NUMBER, STRANGER_KEY, TEST_KEY, Scene, open_scene

from chappe.api import listing
from chappe.api import lists as api_lists
from chappe.core import lists
from chappe.core.ids import Kind, hex_id, read_hex_id
from chappe.core.lists import ListId
from chappe.flow import imports

LISTS = "/v2/lists"
OTHER_NUMBER = "+33687654321"
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


@pytest.fixture
async def list_(scene: Scene) -> str:
    """The address of a list."""
    return f"{LISTS}/{await made(scene, LISTS, name='Clients')}"


async def call(
    scene: Scene, method: str, path: str, key: str = KEY, headers: dict[str, str] | None = None, **more: Any
) -> httpx2.Response:
    headers = {"X-Primotexto-ApiKey": key} | (headers or {})
    return await scene.client.request(method, path, headers=headers, **more)


async def made(scene: Scene, path: str, /, key: str = KEY, **body: Any) -> str:
    """The id of what a POST has made."""
    answer = await call(scene, "POST", path, key, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"id"}
    assert re.fullmatch("[0-9a-f]{24}", answer.json()["id"])
    return str(answer.json()["id"])


async def shown(scene: Scene, path: str, key: str = KEY) -> Any:
    answer = await call(scene, "GET", path, key)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def done(scene: Scene, method: str, path: str) -> None:
    answer = await call(scene, method, path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers


async def refused(answer: httpx2.Response) -> tuple[int, int, str | None]:
    return answer.status_code, answer.json()["code"], answer.json().get("field")


async def numbers(scene: Scene, list_: str) -> list[str]:
    contacts = await shown(scene, f"{list_}/contacts")
    assert (await shown(scene, list_))["contacts"] == len(contacts)
    return [contact["identifier"] for contact in contacts]


async def imported(scene: Scene, list_: str, /, **body: Any) -> Any:
    answer = await call(scene, "POST", f"{list_}/import", **body)
    assert answer.status_code == 201, answer.text
    location = answer.headers["location"]
    assert location == f"/operations/{answer.json()['id']}"
    assert await shown(scene, f"/v2{location}") == answer.json()
    return answer.json()


def rows(count: int) -> list[list[str]]:
    return [["tel"], *([f"+336{n:08}"] for n in range(count))]


# --- lists -------------------------------------------------------------------------------------------


async def test_a_list_is_made_shown_emptied_and_deleted(scene: Scene) -> None:
    id_ = await made(scene, LISTS, name="  Clients du Léon ", snapshotId=None, type="x")
    whole = {"id": id_, "name": "Clients du Léon", "fields": [], "contacts": 0, "created": NOW}
    assert await shown(scene, f"{LISTS}/{id_}") == whole
    assert await shown(scene, LISTS) == [whole]
    await made(scene, f"{LISTS}/{id_}/contacts", identifier=NUMBER)
    await done(scene, "POST", f"{LISTS}/{id_}/empty")
    assert await shown(scene, f"{LISTS}/{id_}/contacts") == []
    await done(scene, "DELETE", f"{LISTS}//{id_}/")
    assert await shown(scene, LISTS) == []
    assert await refused(await call(scene, "GET", f"{LISTS}/{id_}")) == (404, 60, None)


async def test_lists_are_told_page_by_page_each_with_its_own_fields(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    ids = [await made(scene, LISTS, name=f"Liste {n}") for n in range(5)]
    fields = {id_: await made(scene, f"{LISTS}/{id_}/fields", name="prénom") for id_ in (ids[0], ids[3])}
    found = await shown(scene, LISTS)
    assert [one["id"] for one in found] == ids
    assert {one["id"]: one["fields"][0]["id"] for one in found if one["fields"]} == fields
    assert [one["id"] for one in await shown(scene, f"{LISTS}?after={ids[2]}")] == ids[3:]


@pytest.mark.parametrize("name", [None, "", " ", "x" * 101, "\0", 7, ["x"]])
async def test_a_list_needs_a_name(scene: Scene, name: Any) -> None:
    assert await refused(await call(scene, "POST", LISTS, json={"name": name})) == (400, 1001, "name")
    assert await shown(scene, LISTS) == []


# --- fields ------------------------------------------------------------------------------------------


async def test_fields_are_added_listed_and_removed(scene: Scene, list_: str) -> None:
    name = await made(scene, f"{list_}/fields", name="Prénom", type="STRING", format=None)
    age = await made(scene, f"{list_}/fields", name="âge", type="NUMBER")
    born = await made(scene, f"{list_}/fields", name="naissance", type="DATE", format="dd/MM")
    fields = [
        {"id": name, "name": "Prénom", "type": "STRING"},
        {"id": age, "name": "âge", "type": "NUMBER"},
        {"id": born, "name": "naissance", "type": "DATE", "format": "dd/MM"},
    ]
    assert await shown(scene, f"{list_}/fields") == fields
    assert (await shown(scene, list_))["fields"] == fields
    await done(scene, "DELETE", f"{list_}/fields/{age}")
    assert [field["id"] for field in await shown(scene, f"{list_}/fields")] == [name, born]
    assert await refused(await call(scene, "DELETE", f"{list_}/fields/{age}")) == (404, 1010, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "TEL"}, "name"),
        ({"name": "rich_message"}, "name"),
        ({"name": "a}b"}, "name"),
        ({"name": "PRÉNOM"}, "name"),
        ({"name": "x", "type": "TEXT"}, "type"),
        ({"name": "x", "type": 7}, "type"),
        ({"name": "x", "format": "dd/MM"}, "format"),
        ({"name": "x", "type": "DATE", "format": "yyyy"}, "format"),
    ],
)
async def test_a_field_that_cannot_be_is_not_added(scene: Scene, list_: str, body: dict[str, Any], field: str) -> None:
    await made(scene, f"{list_}/fields", name="prénom")
    assert await refused(await call(scene, "POST", f"{list_}/fields", json=body)) == (400, 1001, field)
    assert len(await shown(scene, f"{list_}/fields")) == 1


async def test_a_field_beyond_the_last_is_one_too_many(scene: Scene, list_: str) -> None:
    await imported(scene, list_, json=[["tel", *(f"c{n}" for n in range(99))]])
    await made(scene, f"{list_}/fields", name="the last")
    assert await refused(await call(scene, "POST", f"{list_}/fields", json={"name": "x"})) == (400, 17, None)
    assert await refused(await call(scene, "POST", f"{list_}/import", json=[["tel", "x"]])) == (400, 17, None)


# --- contacts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/contacts"])
async def test_a_contact_is_added_in_both_spellings_and_has_exactly_these_members(
    scene: Scene, list_: str, path: str
) -> None:
    name = await made(scene, f"{list_}/fields", name="prénom")
    age = await made(scene, f"{list_}/fields", name="âge", type="NUMBER")
    attributes = {name: " Zoé ", age: 12.0}
    id_ = await made(scene, list_ + path, identifier="06 12 34 56 78", attributes=attributes, listId="x", request=None)
    contact = {"id": id_, "identifier": NUMBER, "attributes": {name: "Zoé", age: "12"}, "listId": list_[-24:]}
    assert await shown(scene, f"{list_}/contacts") == [contact]
    assert await shown(scene, f"{list_}/contacts?identifier=0612345678") == [contact]
    assert await shown(scene, f"{list_}/contacts?identifier=0687654321") == []


@pytest.mark.parametrize("attributes", [None, {}, []])
async def test_attributes_need_not_be(scene: Scene, list_: str, attributes: Any) -> None:
    await made(scene, f"{list_}/contacts", identifier=NUMBER, attributes=attributes)
    [contact] = await shown(scene, f"{list_}/contacts")
    assert contact["attributes"] == {}


async def test_a_number_is_once_on_a_list(scene: Scene, list_: str) -> None:
    await made(scene, f"{list_}/contacts", identifier=NUMBER)
    answer = await call(scene, "POST", f"{list_}/contacts", json={"identifier": "0612345678"})
    assert await refused(answer) == (409, 15, "identifier")


@pytest.mark.parametrize(
    ("identifier", "code"),
    [(None, 10), ("", 10), ("abc", 11), (-1, 11), ("0123456789", 19), ("+32470123456", 91), (True, 1001)],
)
async def test_a_number_that_cannot_be_written_to_is_not_added(
    scene: Scene, list_: str, identifier: Any, code: int
) -> None:
    answer = await call(scene, "POST", f"{list_}/contacts", json={"identifier": identifier})
    assert await refused(answer) == (400, code, "identifier")
    assert await numbers(scene, list_) == []


async def test_an_account_that_writes_abroad_has_contacts_there(scene: Scene, list_: str) -> None:
    await scene.save_settings(international=True)
    await made(scene, f"{list_}/contacts", identifier="+32470123456")


async def test_attributes_that_do_not_fit_are_named(scene: Scene, list_: str) -> None:
    born = await made(scene, f"{list_}/fields", name="né", type="DATE")
    other = f"{LISTS}/{await made(scene, LISTS, name='Autres')}"
    stranger = await made(scene, f"{other}/fields", name="né")
    wrong: list[tuple[object, str]] = [
        ({born: "hier"}, f"attributes.{born}"),
        ({born: {}}, f"attributes.{born}"),
        ({"né": "01/02/2003"}, "attributes"),
        ({stranger: "x"}, "attributes"),
        (["x"], "attributes"),
        ("x", "attributes"),
    ]
    for attributes, field in wrong:
        body = {"identifier": NUMBER, "attributes": attributes}
        assert await refused(await call(scene, "POST", f"{list_}/contacts", json=body)) == (400, 1001, field)
    assert await numbers(scene, list_) == []


async def test_a_contact_is_removed_by_its_id_or_its_number(scene: Scene, list_: str) -> None:
    id_ = await made(scene, f"{list_}/contacts", identifier=NUMBER)
    await made(scene, f"{list_}/contacts", identifier=OTHER_NUMBER)
    await done(scene, "DELETE", f"{list_}/contacts/{id_}?identifier={id_}")
    assert await numbers(scene, list_) == [OTHER_NUMBER]
    await done(scene, "DELETE", f"{list_}/contacts?identifier=+33687654321")
    assert await numbers(scene, list_) == []
    for which in (f"/{id_}", "?identifier=0687654321"):
        assert await refused(await call(scene, "DELETE", f"{list_}/contacts{which}")) == (404, 1010, None)


@pytest.mark.parametrize(
    ("which", "code", "field"),
    [
        ("", 1001, "identifier"),
        ("?identifier=1&identifier=2", 1001, "identifier"),
        ("?identifier=abc", 11, "identifier"),
        ("/1", 1001, "contact"),
        ("/%D9%A1", 1001, "contact"),
    ],
)
async def test_what_cannot_be_read_is_not_removed(scene: Scene, list_: str, which: str, code: int, field: str) -> None:
    assert await refused(await call(scene, "DELETE", f"{list_}/contacts{which}")) == (400, code, field)


async def test_contacts_are_told_page_by_page(scene: Scene, list_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    await imported(scene, list_, json=rows(5))
    contacts = await shown(scene, f"{list_}/contacts")
    assert [contact["identifier"] for contact in contacts] == [f"+3360000000{n}" for n in range(5)]
    assert await shown(scene, f"{list_}/contacts?after={contacts[2]['id']}") == contacts[3:]


# --- imports in JSON ---------------------------------------------------------------------------------


async def test_rows_are_imported_and_counted(scene: Scene, list_: str) -> None:
    name = await made(scene, f"{list_}/fields", name="prénom")
    await made(scene, f"{list_}/contacts", identifier=NUMBER, attributes={name: "Zoé"})
    body = [
        ["Prénom", "tel", "ville"],
        ["Zoë", NUMBER, "Brest"],
        [None, "06 87 65 43 21", "Brest"],
        ["Léo", "", ""],
        ["Léo", "0123456789", ""],
        "0612345678",
        ["", "", ""],
    ]
    operation = await imported(scene, list_, json=body)
    assert operation == {
        "id": operation["id"],
        "listId": list_[-24:],
        "state": "DONE",
        "percent": 100,
        "rows": 5,
        "imported": 1,
        "updated": 1,
        "refused": 3,
        "began": NOW,
        "ended": NOW,
    }
    [_, town] = [field["id"] for field in await shown(scene, f"{list_}/fields")]
    assert [(one["identifier"], one["attributes"]) for one in await shown(scene, f"{list_}/contacts")] == [
        (NUMBER, {name: "Zoë", town: "Brest"}),
        (OTHER_NUMBER, {town: "Brest"}),
    ]
    report = f"/v2/operations/{operation['id']}/refused"
    whole = [
        {"row": 4, "code": 10, "reason": "number", "column": "tel"},
        {"row": 5, "code": 19, "reason": "number", "column": "tel"},
        {"row": 6, "code": 1001, "reason": "notARow"},
    ]
    assert await shown(scene, report) == {"refused": whole}
    page = await shown(scene, f"{report}?limit=2")
    assert page == {"refused": whole[:2], "next": "2"}
    assert await shown(scene, f"{report}?after={page['next']}") == {"refused": whole[2:]}


async def test_an_empty_cell_leaves_the_value_that_is_there(scene: Scene, list_: str) -> None:
    name = await made(scene, f"{list_}/fields", name="prénom")
    await made(scene, f"{list_}/contacts", identifier=NUMBER, attributes={name: "Zoé"})
    await imported(scene, list_, json=[["tel", "prénom"], [NUMBER, ""]])
    [contact] = await shown(scene, f"{list_}/contacts")
    assert contact["attributes"] == {name: "Zoé"}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", 73, None),
        (b"{}", 73, None),
        (b"[", 73, None),
        (b"[" * 40 + b"]" * 40, 73, None),
        (b"[]", 75, "tel"),
        (b'["tel"]', 75, "tel"),
        (b"[[]]", 75, "tel"),
        (b'[["mobile"],["0612345678"]]', 75, "tel"),
        (json.dumps([["tel", *(str(n) for n in range(100))]]).encode(), 17, None),
        (b'[["tel","x","X"]]', 1001, "X"),
        (b'[["tel","a{b"]]', 1001, "a{b"),
        (b'[["tel","\\u0000"]]', 1001, "\0"),
    ],
)
async def test_rows_that_cannot_be_read_are_not_imported(
    scene: Scene, list_: str, body: bytes, code: int, field: str | None
) -> None:
    assert await refused(await call(scene, "POST", f"{list_}/import", content=body)) == (400, code, field)
    assert await shown(scene, f"{list_}/fields") == []


async def test_contacts_beyond_the_most_are_refused_before_any_is_stored(
    scene: Scene, list_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MOST_ROWS", 3)
    assert await refused(await call(scene, "POST", f"{list_}/import", json=rows(4))) == (400, 74, None)
    assert await numbers(scene, list_) == []
    assert (await imported(scene, list_, json=rows(3)))["imported"] == 3


async def test_a_body_beyond_the_most_is_a_file_too_large(
    scene: Scene, list_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_lists, "MOST_JSON_BYTES", 100)
    assert await refused(await call(scene, "POST", f"{list_}/import", json=rows(10))) == (413, 18, None)


# --- imports of files --------------------------------------------------------------------------------


async def pieces(*texts: str) -> AsyncIterator[bytes]:
    for text in texts:
        yield text.encode("cp1252")


async def test_a_file_is_imported_with_the_words_of_its_reader(scene: Scene, list_: str) -> None:
    file = "Téléphone mobile;Prénom\n06 12 34 56 78;Zoé\n0123456789;Léo\n687654321;Léa\n"
    answer = await imported(scene, list_, content=file.encode("cp1252"), headers={"Content-Type": "Text/CSV; header=1"})
    assert (answer["rows"], answer["imported"], answer["refused"], answer["percent"]) == (3, 2, 1, 100)
    assert await shown(scene, f"/v2/operations/{answer['id']}/refused") == {
        "refused": [{"row": 3, "code": 19, "reason": "number", "column": "Téléphone mobile"}]
    }
    [field] = await shown(scene, f"{list_}/fields")
    assert [contact["attributes"][field["id"]] for contact in await shown(scene, f"{list_}/contacts")] == ["Zoé", "Léa"]


async def test_a_file_may_come_packed_and_in_pieces(scene: Scene, list_: str) -> None:
    packed = gzip.compress("\n".join(["tel", *(row[0] for row in rows(5_001)[1:])]).encode())

    async def by_hundreds() -> AsyncIterator[bytes]:
        for start in range(0, len(packed), 100):
            yield packed[start : start + 100]

    answer = await imported(scene, list_, content=by_hundreds(), headers=CSV | {"Content-Encoding": "gzip"})
    assert answer["imported"] == 5_000 + 1
    assert (await shown(scene, list_))["contacts"] == 5_001


@pytest.mark.parametrize(
    ("file", "code", "field"),
    [
        ("", 75, "tel"),
        ("\n\n", 75, "tel"),
        ("nom;prénom\n", 75, "tel"),
        ("tel;x;x\n", 1001, "x"),
        ("tel;rich_message\n", 1001, "rich_message"),
        ("tel;" + ";".join(str(n) for n in range(101)), 17, None),
    ],
)
async def test_a_file_without_a_good_header_is_not_imported(
    scene: Scene, list_: str, file: str, code: int, field: str | None
) -> None:
    answer = await call(scene, "POST", f"{list_}/import", headers=CSV, content=pieces(file))
    assert await refused(answer) == (400, code, field)
    assert await shown(scene, f"{list_}/fields") == []


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [(b"tel\n", "br", 1001), (b"tel\n", "gzip", 73), (gzip.compress(b"tel", mtime=0)[:-4], "gzip", 73)],
)
async def test_a_file_that_cannot_be_unpacked_is_not_imported(
    scene: Scene, list_: str, body: bytes, encoding: str, code: int
) -> None:
    headers = CSV | {"Content-Encoding": encoding}
    assert (await refused(await call(scene, "POST", f"{list_}/import", headers=headers, content=body)))[:2] == (
        400,
        code,
    )


async def test_a_file_that_turns_out_too_large_is_interrupted_with_what_is_stored(
    scene: Scene, list_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "tel\n" + "".join(f"+336{n:08}\n" for n in range(20_000))
    monkeypatch.setattr(api_lists, "MOST_FILE_BYTES", 200_000)
    monkeypatch.setattr(imports, "WINDOW", 5_000)
    answer = await call(scene, "POST", f"{list_}/import", headers=CSV, content=file.encode())
    assert await refused(answer) == (413, 18, None)
    assert await numbers(scene, list_) == []
    parts = pieces(*(file[start : start + 50_000] for start in range(0, len(file), 50_000)))
    answer = await call(scene, "POST", f"{list_}/import", headers=CSV, content=parts)
    assert await refused(answer) == (413, 18, None)
    operation = await shown(scene, f"/v2/operations/{hex_id(Kind.OPERATION, 1)}")
    assert operation["state"] == "INTERRUPTED"
    assert operation["imported"] == len(await numbers(scene, list_)) > 10_000


async def test_a_large_file_is_stored_by_the_order_of_numbers_and_later_rows_stay_the_later_ones(
    scene: Scene, list_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "WINDOW", 3)
    file = f"tel;nom\n{OTHER_NUMBER};a\n{NUMBER};a\n{OTHER_NUMBER};b\n{NUMBER};b\n"
    answer = await imported(scene, list_, content=file.encode(), headers=CSV)
    assert (answer["imported"], answer["updated"]) == (2, 2)
    found = await shown(scene, f"{list_}/contacts")
    assert [(one["identifier"], *one["attributes"].values()) for one in found] == [(NUMBER, "b"), (OTHER_NUMBER, "b")]


async def test_a_small_file_keeps_its_order(scene: Scene, list_: str) -> None:
    await imported(scene, list_, content=f"tel\n{OTHER_NUMBER}\n{NUMBER}\n".encode(), headers=CSV)
    assert await numbers(scene, list_) == [OTHER_NUMBER, NUMBER]


async def test_a_file_that_comes_slowly_is_stored_all_the_same(scene: Scene, list_: str) -> None:
    lines = [f"+336{n:08}\n".encode() for n in range(12_000)]
    counts = []

    async def file() -> AsyncIterator[bytes]:
        yield b"tel\n" + b"".join(lines[:6_000])
        counts.append((await shown(scene, list_))["contacts"])
        scene.now += imports.STORED_EVERY_MS
        yield b"".join(lines[6_000:])
        counts.append((await shown(scene, list_))["contacts"])

    answer = await imported(scene, list_, content=file(), headers=CSV)
    assert (counts[0], answer["imported"]) == (0, 12_000)
    assert counts[1] > 6_000


async def test_a_list_deleted_during_its_import_is_not_found(scene: Scene, list_: str) -> None:
    async def file() -> AsyncIterator[bytes]:
        yield ("tel\n" + "".join(f"+336{n:08}\n" for n in range(6_000))).encode()
        await done(scene, "DELETE", list_)
        yield b"0612345678\n"

    answer = await call(scene, "POST", f"{list_}/import", headers=CSV, content=file())
    assert await refused(answer) == (404, 60, None)


async def test_an_import_that_stood_still_too_long_is_asked_for_again(scene: Scene, list_: str) -> None:
    async def file() -> AsyncIterator[bytes]:
        yield ("tel\n" + "".join(f"+336{n:08}\n" for n in range(6_000))).encode()
        await scene.store.sweep(NOW + lists.OPERATION_LOST_MS + 1, 10)
        yield b"0612345678\n"

    answer = await call(scene, "POST", f"{list_}/import", headers=CSV, content=file())
    assert await refused(answer) == (503, 1007, None)
    operation = await shown(scene, f"/v2/operations/{hex_id(Kind.OPERATION, 1)}")
    assert (operation["state"], operation["imported"]) == ("INTERRUPTED", len(await numbers(scene, list_)))


# --- what is not there -------------------------------------------------------------------------------


async def test_what_another_account_has_answers_the_same_bytes_as_nothing(scene: Scene, list_: str) -> None:
    field = await made(scene, f"{list_}/fields", name="prénom")
    contact = await made(scene, f"{list_}/contacts", identifier=NUMBER)
    operation = (await imported(scene, list_, json=rows(1)))["id"]
    absent = f"{LISTS}/{hex_id(Kind.LIST, 999)}"
    of_another_kind = f"{LISTS}/{contact}"
    body = {"identifier": OTHER_NUMBER, "name": "x"}
    for method, path, more in (
        ("GET", "", {}),
        ("DELETE", "", {}),
        ("POST", "", {"json": body}),
        ("POST", "/empty", {}),
        ("POST", "/import", {"json": rows(1)}),
        ("POST", "/import", {"content": b"tel\n", "headers": CSV}),
        ("GET", "/fields", {}),
        ("POST", "/fields", {"json": body}),
        ("DELETE", f"/fields/{field}", {}),
        ("GET", "/contacts", {}),
        ("GET", "/contacts?identifier=0612345678", {}),
        ("POST", "/contacts", {"json": body}),
        ("DELETE", f"/contacts/{contact}", {}),
        ("DELETE", "/contacts?identifier=0612345678", {}),
    ):
        answers = [
            await call(scene, method, of + path, STRANGER_KEY, **more) for of in (list_, absent, of_another_kind)
        ]
        assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}, path
        assert answers[0].json()["code"] == 60
    for path in ("", "/refused"):
        theirs = await call(scene, "GET", f"/v2/operations/{operation}{path}", STRANGER_KEY)
        none = await call(scene, "GET", f"/v2/operations/{hex_id(Kind.OPERATION, 999)}{path}", STRANGER_KEY)
        assert (theirs.status_code, theirs.content) == (404, none.content)
        assert theirs.json()["code"] == 1010
    assert await shown(scene, LISTS, STRANGER_KEY) == []
    assert len(await numbers(scene, list_)) == 2


async def test_lists_are_the_same_for_a_test_key(scene: Scene, list_: str) -> None:
    assert await shown(scene, LISTS, TEST_KEY) == await shown(scene, LISTS)


@pytest.mark.parametrize("id_", ["1", "G" * 24, "0" * 23 + "%0A", "%D9%A1"])
async def test_what_is_no_id_is_named(scene: Scene, id_: str) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/empty"),
        ("POST", "/import"),
        ("GET", "/fields"),
        ("POST", "/contacts"),
        ("GET", "/contacts"),
    ):
        assert await refused(await call(scene, method, f"{LISTS}/{id_}{path}")) == (400, 1001, "id")
    assert await refused(await call(scene, "GET", f"/v2/operations/{id_}")) == (400, 1001, "id")


async def test_other_methods_are_refused(scene: Scene, list_: str) -> None:
    answer = await call(scene, "PUT", list_, json={})
    assert (answer.status_code, answer.json()["code"]) == (405, 1003)
    assert answer.headers["allow"] == "DELETE, GET, HEAD, POST"


async def test_nothing_is_shown_without_a_key(scene: Scene, list_: str) -> None:
    for path in (LISTS, list_, f"{list_}/contacts", f"{list_}/fields"):
        assert await refused(await call(scene, "GET", path, key="")) == (401, 72, None)
    assert await refused(await call(scene, "POST", f"{list_}/import", key="", json=rows(1))) == (401, 72, None)


async def test_ids_tell_what_they_are_of(scene: Scene, list_: str) -> None:
    assert read_hex_id(Kind.LIST, list_[-24:]) == ListId(1)
    assert (await imported(scene, list_, json=rows(1)))["id"].startswith("5c000008")
