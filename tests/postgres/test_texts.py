"""Orders that do not hang on the database's language, and names as long as they may be."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

import perdure
from perdure import (
    AppScope,
    NewEvent,
    SessionKey,
    SyncStore,
    TooLargeError,
    UserScope,
)
from perdure.testing import FixedClock
from tests.postgres.servers import drop_database, fetch, fresh_database, server

#: Other languages put these elsewhere than their bytes do, or take some for equal.
NAMES = [
    "a", "A", "b", "B", "ab", "a b", "a-b", "a_b", "aB", "Ab", "ä", "a\u0308", "z", "Z", "é", "e",
    "E", "É", "ß", "ss", "SS", "\u0131", "i", "I", "İ", "1", "10", "2", "_", "-", "'", '"', "%",
    "\\", "~", "\u00ad", "co-op", "coop", "co\u00adop", "ﬁ", "fi", "\uff21", "日本", "\U0001f600",
    "\U0010ffff", "\uffff", "\ue000", "\u2126", "\u03a9", "a\u200b", " a", "a ", "\x01", "\x7f",
    "Æ", "ae", "AE", "ø", "ł",
]  # fmt: skip


@pytest.fixture(params=["en_US", "tr_TR"])
def foreign(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that sorts, and changes case, as people do."""
    url = fresh_database(server(), locale=request.param)
    yield url
    drop_database(url)


def test_lists_have_one_order_whatever_the_databases_language(foreign: str) -> None:
    assert fetch(foreign, "SELECT 'a' < 'B' COLLATE \"default\" AS people") == [(True,)]

    with perdure.open_sync(foreign) as store, perdure.open_sync("memory:") as memory:
        told, wanted = lists(store), lists(memory)

    for (what, listed), (_, by_bytes) in zip(told, wanted, strict=True):
        assert listed == by_bytes, what
    assert dict(told)["by id"] == sorted(NAMES, key=lambda name: name.encode())


def lists(store: SyncStore) -> list[tuple[str, Any]]:
    """Everything that is listed by a text, and what is found by one."""
    shuffled = random.Random(5).sample(NAMES, len(NAMES))
    for name in shuffled:
        key = store.sessions.create("app", "user", name, title=name[::-1], tags=[name]).key
        store.sessions.create("app", name, "of a user")
        store.state.set(UserScope("app", "user"), {name: 1})
        store.state.set(AppScope("app"), {name: 1})
    store.sessions.update(key, metadata=dict.fromkeys(shuffled, "x"), tags=shuffled)
    store.state.set(key, dict.fromkeys(shuffled, 1))
    found: list[tuple[str, Any]] = []
    for order in ("id", "-id", "title", "-title"):
        listed = [session.key.id for session in store.sessions.iter("app", "user", order=order)]
        found.append((f"by {order}", listed))
        found.append((f"by {order}, in pages", paged(store, order)))
        everywhere = store.sessions.list(order=order, limit=500, with_state=True)
        found.append((f"by {order}, of all", [tuple(session.key) for session in everywhere.items]))
    scopes = (key, UserScope("app", "user"), AppScope("app"))
    found += [(f"state of {at}", [entry.name for entry in store.state.iter(at)]) for at in scopes]
    found.append(("merged", list(store.state.merged(key))))
    session = store.sessions.get(key)
    found.append(("tags and metadata", (session.tags, list(session.metadata))))
    for text in NAMES:
        hits = store.sessions.iter("app", "user", text=text, order="id")
        found.append((f"with {text!r} in it", [session.key.id for session in hits]))
        tagged = store.sessions.iter("app", "user", tags=[text], order="id")
        found.append((f"tagged {text!r}", [session.key.id for session in tagged]))
        with_key = store.sessions.count("app", metadata={text: "x"})
        found.append((f"with {text!r} in its metadata", with_key))
    return found


def paged(store: SyncStore, order: str) -> list[str]:
    ids: list[str] = []
    page = store.sessions.list("app", "user", order=order, limit=7)
    while True:
        ids += [session.key.id for session in page.items]
        if page.next_cursor is None:
            return ids
        page = store.sessions.list("app", "user", order=order, limit=7, cursor=page.next_cursor)


# -- as long as they may be ----------------------------------------------------------------------


def long_text(size: int, seed: int) -> str:
    """So many bytes of UTF-8 that nothing can be compressed in."""
    chance = random.Random(seed)
    text, left = [], size
    while left:
        code = chance.choice([chance.randrange(1, 0x80), chance.randrange(0x80, 0x110000)])
        if 0xD800 <= code < 0xE000 or len(chr(code).encode()) > left:
            continue
        text.append(chr(code))
        left -= len(chr(code).encode())
    return "".join(text)


def test_every_name_may_have_512_bytes_that_cannot_be_compressed(database: str) -> None:
    names = [long_text(512, seed) for seed in range(10)]
    app, user, session_id, event_id, state_key, run_id, branch, tag, metadata_key, call = names
    title, author = long_text(16_384, 98), long_text(512, 99)
    key = SessionKey(app, user, session_id)
    content = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": call, "type": "function", "function": {"name": tag, "arguments": "{}"}}
        ],
    }
    delta = {state_key: 1, f"user:{state_key[:60]}": 2, f"app:{state_key[:60]}": 3}
    event = NewEvent(
        content,
        id=event_id,
        author=author,
        run_id=run_id,
        branch=branch,
        filter_key=branch,
        state_delta=delta,
        metadata={metadata_key: metadata_key},
    )

    with perdure.open_sync(database, tenant=long_text(512, 100), clock=FixedClock()) as store:
        made = store.sessions.create(
            *key, title=title, tags=[tag], metadata={metadata_key: metadata_key}
        )
        first = store.events.append(key, event)
        store.events.append(
            key, NewEvent("x", id=long_text(512, 101)), NewEvent("y", run_id=run_id)
        )
        assert store.events.append(key, event).duplicate
        fork = store.sessions.fork(key, id=long_text(512, 102))

        found = store.sessions.get(key)
        assert (found.key, found.title, found.tags) == (key, title, (tag,))
        assert found.metadata == made.metadata == {metadata_key: metadata_key}
        stored = store.events.find(key, event_id)
        assert stored == first.event
        assert (stored.author, stored.run_id, stored.branch) == (author, run_id, branch)
        assert (stored.content, stored.calls) == (content, (call,))
        assert store.events.locate(app, event_id) is not None
        assert store.events.count(key, run_id=run_id) == 2
        assert [e.id for e in store.events.read(key, branch=branch)] == [event_id]
        assert store.state.merged(key) == delta
        assert store.state.get(key, state_key).version == 1
        assert [change.value for change in store.state.history(key, state_key)] == [1]
        store.events.annotate(key, tag, event_id=event_id)
        assert [note.name for note in store.events.annotations(key)] == [tag]
        for order in ("id", "title", "-updated_at"):
            page = store.sessions.list(app, user, order=order, limit=1)
            rest = store.sessions.list(app, order=order, limit=1, cursor=page.next_cursor)
            assert {session.key for session in [*page.items, *rest.items]} == {key, fork.key}
        pairs = {metadata_key: metadata_key}
        assert store.sessions.count(app, user, text=title[:60], tags=[tag], metadata=pairs) >= 1
        with store.turn() as turn:
            turn.events.append(key, "in a turn")
            turn.state.set(UserScope(app, user), {state_key: 1})
        assert len(store.events.pop(key)) == 1
        exported = list(store.export_user(app, user))
        assert json.loads(exported[0])
        store.sessions.delete(key)
        store.sessions.restore(key)
        store.erase_user(app, user)
        assert store.sessions.count(include_deleted=True) == 0
        assert list(store.state.iter(UserScope(app, user))) == []


def test_one_byte_more_is_refused_before_it_is_sent(database: str) -> None:
    long = long_text(512, 1) + "x"
    key = SessionKey("app", "user", "chat")

    with perdure.open_sync(database) as store:
        store.sessions.create(*key)
        for call in (
            lambda: store.sessions.create(long, "user"),
            lambda: store.sessions.create("app", long),
            lambda: store.sessions.create("app", "user", long),
            lambda: store.sessions.create("app", "user", tags=[long]),
            lambda: store.events.append(key, NewEvent("x", id=long)),
            lambda: store.events.append(key, NewEvent("x", run_id=long)),
            lambda: store.events.append(key, NewEvent("x", branch=long)),
            lambda: store.state.set(key, {long: 1}),
            lambda: store.sessions.update(key, title=long_text(16_384, 1) + "x"),
        ):
            with pytest.raises(TooLargeError):
                call()
