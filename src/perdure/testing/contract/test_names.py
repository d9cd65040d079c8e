"""Names and ids: every text of at most 512 bytes is one, and none is taken for another."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure import AppScope, InvalidError, NewEvent, SessionKey, Store, TooLargeError, UserScope
from perdure.records import Scope
from perdure.testing.databases import Dump, OpenStore, Reopen


def random_text(size: int) -> str:
    """Incompressible text of that many bytes: no index can shorten it."""
    chance = random.Random(size)
    text = ""
    while (left := size - len(text.encode())) > 0:
        text += chr(chance.choice([0x4E00, 0xAC00] if left > 2 else [0x21]) + chance.randrange(90))
    return text


APART = [
    "a",
    "A",
    "a ",
    " a",
    "a\t",
    "a\n",
    "..",
    "../a",
    "/etc/passwd",
    "C:\\a",
    "%",
    "a%",
    "_",
    "a_",
    "?",
    "*",
    "'",
    '"',
    "''; --",
    "`",
    "\\",
    ":",
    "a:b",
    "a|b",
    "a\x1fb",
    "\x01",
    "\x7f",
    "ß",
    "ss",
    "\u0130",
    "\u0131",
    "e\u0301",
    "\u00e9",
    "\u202eabc",
    "abc",
    "\u200babc",
    "\ufeffabc",
    "\U0001f600",
    "\uffff",
    "1",
    "01",
    "1.0",
    "null",
    "None",
    "true",
    "{folder}",
    "%s",
    "${HOME}",
    random_text(512),
    random_text(511) + "x",
]
REFUSED: list[Any] = ["a\0b", "\0", "a\ud800", 7, b"a", None, ("a",)]


def test_the_texts_are_what_they_seem() -> None:
    assert len(set(APART)) == len(APART)
    assert len(random_text(512).encode()) == 512
    assert unicodedata.normalize("NFC", "e\u0301") == "\u00e9"


async def test_every_text_is_a_session_id_of_its_own(store: Store, reopen: Reopen) -> None:
    for text in APART:
        key = (await store.sessions.create("support", "ada", text, title=f"T{text}")).key
        await store.events.append(key, NewEvent(text, state_delta={"mine": text}))

    store = await reopen()

    for text in APART:
        key = SessionKey("support", "ada", text)
        assert (await store.sessions.get(key)).title == f"T{text}"
        assert [event.content for event in await store.events.read(key)] == [text]
        assert await store.state.merged(key) == {"mine": text}
    assert await store.sessions.count() == len(APART)


async def test_every_text_is_an_app_and_a_user_of_its_own(store: Store) -> None:
    for text in APART:
        await store.sessions.create(text, "u", "s", state={"app:a": text})
        await store.sessions.create("a-p-p", text, "s", state={"user:u": text})

    for text in APART:
        assert await store.sessions.count(text) == 1
        assert await store.sessions.count("a-p-p", text) == 1
        assert (await store.state.get(AppScope(text), "a")).value == text
        assert (await store.state.get(UserScope("a-p-p", text), "u")).value == text


async def test_every_text_is_a_tenant_of_its_own(open_store: OpenStore) -> None:
    for text in APART:
        other = await open_store(tenant=text)
        await other.sessions.create("a", "u", "s", title=f"T{text}")

    other = await open_store(tenant=APART[-1])
    assert [session.title for session in await other.sessions.list()] == [f"T{APART[-1]}"]
    assert (await open_store(tenant=APART[0])).tenant == APART[0]


async def test_every_text_is_an_event_id_a_run_and_a_branch_of_its_own(
    store: Store, key: SessionKey
) -> None:
    for text in APART:
        await store.events.append(
            key,
            NewEvent(text, id=text, run_id=text, branch=text, author=text, filter_key=text),
        )

    for text in APART:
        event = await store.events.get(key, text)
        assert (event.content, event.author, event.filter_key) == (text, text, text)
        assert await store.events.read(key, run_id=text) == [event]
        assert await store.events.read(key, branch=text) == [event]
        assert await store.events.locate("support", text) == (key, event)


async def test_every_text_is_a_state_key_of_its_own(store: Store, key: SessionKey) -> None:
    scopes: list[Scope] = [AppScope("support"), UserScope("support", "ada"), key]
    texts = APART
    for scope in scopes:
        await store.state.set(scope, {text: f"V{text}" for text in texts})

    for scope in scopes:
        assert {entry.name: entry.value async for entry in store.state.iter(scope)} == {
            text: f"V{text}" for text in texts
        }
        assert await store.state.delete(scope, texts[0])
        assert (await store.state.get(scope, texts[1])).value == f"V{texts[1]}"


async def test_every_text_is_a_tag_and_a_key_of_metadata_of_its_own(store: Store) -> None:
    for n, text in enumerate(APART):
        metadata = {text: text}
        await store.sessions.create("support", "ada", f"s{n:02}", tags=[text], metadata=metadata)

    for n, text in enumerate(APART):
        assert [s.id for s in await store.sessions.list(tags=[text])] == [f"s{n:02}"]
        assert [s.id for s in await store.sessions.list(metadata={text: text})] == [f"s{n:02}"]


async def test_every_text_is_a_parent_an_origin_and_a_note(store: Store) -> None:
    for n, text in enumerate(APART):
        parent = SessionKey(text, text, text)
        made = await store.sessions.create("support", "ada", f"s{n}", parent=parent)
        await store.events.annotate(made.key, text, text, by=text)
        [child] = await store.sessions.list(parent=parent)
        [note] = await store.events.annotations(made.key)

        assert (child.id, child.parent) == (f"s{n}", parent)
        assert (note.name, note.value, note.by) == (text, text, text)


Use = Callable[[Store, SessionKey, Any], Awaitable[object]]
PLACES: dict[str, Use] = {
    "app": lambda store, _, text: store.sessions.create(text, "u", "s"),
    "user": lambda store, _, text: store.sessions.create("a", text, "s"),
    "session id": lambda store, _, text: store.sessions.get(SessionKey("a", "u", text)),
    "new session id": lambda store, _, text: store.sessions.create("a", "u", text),
    "fork's id": lambda store, key, text: store.sessions.fork(key, id=text),
    "event id": lambda store, key, text: store.events.append(key, NewEvent("x", id=text)),
    "author": lambda store, key, text: store.events.append(key, NewEvent("x", author=text)),
    "run_id": lambda store, key, text: store.events.append(key, NewEvent("x", run_id=text)),
    "branch": lambda store, key, text: store.events.append(key, NewEvent("x", branch=text)),
    "filter_key": lambda store, key, text: store.events.append(key, NewEvent("x", filter_key=text)),
    "state key": lambda store, key, text: store.state.set(key, {text: 1}),
    "key of a delta": lambda store, key, text: store.events.append(
        key, NewEvent("x", state_delta={text: 1})
    ),
    "state that is read": lambda store, key, text: store.state.get(key, text),
    "event that is read": lambda store, key, text: store.events.get(key, text),
    "key of metadata": lambda store, key, text: store.sessions.update(key, metadata={text: 1}),
    "tag": lambda store, key, text: store.sessions.update(key, tags=[text]),
    "name of a note": lambda store, key, text: store.events.annotate(key, text, 1),
    "author of a note": lambda store, key, text: store.events.annotate(key, "n", 1, by=text),
    "app of a parent": lambda store, _, text: store.sessions.create(
        "a", "u", "s", parent=SessionKey(text, "u", "p")
    ),
    "app that is erased": lambda store, _, text: store.erase_user(text, "u"),
    "user that is listed": lambda store, _, text: store.sessions.list("a", text),
}
MAKE_ONE = {"new session id", "fork's id", "event id"}


@pytest.mark.parametrize("place", PLACES)
async def test_what_is_no_name_is_refused_everywhere_and_nothing_is_written(
    store: Store, key: SessionKey, dump: Dump, place: str
) -> None:
    before = await dump()
    wrong = []
    for text in [*REFUSED, "x" * 513, random_text(513), "é" * 256 + "x"]:
        if text is None and place in MAKE_ONE:
            continue
        try:
            await PLACES[place](store, key, text)
        except TooLargeError:
            if not isinstance(text, str) or len(text) < 100:
                wrong.append(f"{text!r}: too large")
        except InvalidError:
            if isinstance(text, str) and len(text) > 100:
                wrong.append(f"{text!r}: not called too large")
        except Exception as error:  # noqa: BLE001 - any other error is what is looked for
            wrong.append(f"{text!r}: {type(error).__name__}")
        else:
            wrong.append(f"{text!r}: accepted")

    assert wrong == []
    assert await dump() == before


@pytest.mark.parametrize("part", ["app", "user", "id"])
async def test_a_list_is_no_part_of_a_key(store: Store, part: str) -> None:
    parts: dict[str, Any] = {"app": "support", "user": "ada", "id": "s", part: ["x"]}
    key = SessionKey(**parts)

    with pytest.raises(InvalidError, match=part):
        await store.sessions.get(key)


async def test_the_longest_name_is_counted_with_its_prefix(store: Store, key: SessionKey) -> None:
    longest = "user:" + random_text(507)

    await store.events.append(key, NewEvent("x", state_delta={longest: 1}))

    assert await store.state.merged(key) == {longest: 1}
    with pytest.raises(TooLargeError):
        await store.events.append(key, NewEvent("x", state_delta={longest + "x": 1}))
