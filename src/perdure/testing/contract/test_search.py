"""Search: everything acknowledged is found, nothing of others, and nothing that is gone."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    InvalidError,
    NewEvent,
    NotFoundError,
    SearchHit,
    SessionKey,
    Store,
    TooLargeError,
)
from perdure.features.indexing import Scope, catch_up
from perdure.operation import Sleep
from perdure.parts import place
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, NewKey, OpenStore

TALK = [
    "Where is my parcel with the red shoes?",
    "It left the warehouse in Lyon on Monday.",
    "And the invoice?",
    "I have sent the invoice to your new address.",
]


async def keys_found(store: Store, query: str, **options: Any) -> list[str]:
    hits = await store.search("support", "ada", query, **options)
    return [hit.key for hit in hits]


async def test_a_search_finds_what_was_just_said(store: Store, key: SessionKey) -> None:
    for number, text in enumerate(TALK):
        await store.events.append(key, NewEvent(text, id=f"e{number}"))
        assert (await keys_found(store, text))[0] == f"e{number}"


async def test_a_hit_says_where_it_is_and_why(store: Store, key: SessionKey) -> None:
    await store.events.append(key, *TALK)

    [hit, *_] = await store.search("support", "ada", "warehouses?")

    event = (await store.events.read(key))[1]
    assert hit == SearchHit(
        kind="events",
        key=event.id,
        app="support",
        user="ada",
        session=key,
        seq=2,
        at=event.timestamp,
        snippet=TALK[1],
        marks=((12, 21),),
        score=hit.score,
        parts=hit.parts,
    )
    assert TALK[1][12:21] == "warehouse"
    assert hit.score == pytest.approx(sum(hit.parts.values()))
    assert hit.parts["words"] > 0


async def test_what_answers_better_comes_first(store: Store, new_key: NewKey) -> None:
    for number, text in enumerate(["red", "red parcel", "parcel in a long talk about a parcel"]):
        session = await new_key(f"s{number}")
        await store.events.append(session, NewEvent(text, id=f"e{number}"))

    assert await keys_found(store, "red parcel") == ["e1", "e0", "e2"]
    assert await keys_found(store, "red parcel", limit=1) == ["e1"]


async def test_a_turn_is_found_by_what_stands_around_it(store: Store, key: SessionKey) -> None:
    asked = "Which of the two flights to Lisbon?"
    await store.events.append(key, NewEvent(asked, id="q"), NewEvent("flights, morning", id="near"))
    for number in range(8):
        await store.events.append(key, f"something else {number}")
    await store.events.append(key, NewEvent("flights, evening", id="far"))

    hits = await store.search("support", "ada", "flights lisbon")

    found = {hit.key: hit for hit in hits}
    assert [hit.key for hit in hits][:2] == ["q", "near"]
    assert found["near"].parts["words"] == pytest.approx(found["far"].parts["words"])
    assert found["near"].parts["near"] > found["far"].parts["near"] == 0


async def test_titles_are_found_and_follow_their_changes(store: Store, new_key: NewKey) -> None:
    key = await new_key("trip", title="Journey to Lisbon")

    [hit] = await store.search("support", "ada", "lisbon journeys")
    assert (hit.kind, hit.key, hit.session, hit.seq) == ("titles", "trip", key, None)

    await store.sessions.update(key, title="Stay in Porto")
    assert await keys_found(store, "lisbon") == []
    assert await keys_found(store, "porto") == ["trip"]
    await store.sessions.update(key, title="")
    assert await keys_found(store, "porto") == []


async def test_kinds_and_a_session_narrow_the_search(store: Store, new_key: NewKey) -> None:
    first = await new_key("first", title="parcel")
    second = await new_key("second")
    for session, event_id in ((first, "e1"), (second, "e2")):
        await store.events.append(session, NewEvent("parcel", id=event_id))

    assert set(await keys_found(store, "parcel")) == {"first", "e1", "e2"}
    assert set(await keys_found(store, "parcel", kinds=["events"])) == {"e1", "e2"}
    assert await keys_found(store, "parcel", kinds=["titles"]) == ["first"]
    assert await keys_found(store, "parcel", kinds=[]) == []
    assert set(await keys_found(store, "parcel", session=first)) == {"first", "e1"}


async def test_nobody_finds_what_is_another_users(store: Store, open_store: OpenStore) -> None:
    other_tenant = await open_store(tenant="acme")
    places = [(store, "support", "bob"), (store, "sales", "ada"), (other_tenant, "support", "ada")]
    for there, app, user in places:
        key = (await there.sessions.create(app, user)).key
        await there.events.append(key, "parcel")
        assert len(await there.search(app, user, "parcel")) == 1

    assert await keys_found(store, "parcel") == []


async def test_of_an_app_all_users_are_found(store: Store) -> None:
    for user in ("ada", "bob"):
        key = (await store.sessions.create("support", user)).key
        await store.events.append(key, f"parcel of {user}")
    elsewhere = (await store.sessions.create("sales", "ada")).key
    await store.events.append(elsewhere, "parcel")

    hits = await store.search("support", ALL, "parcel")

    assert sorted((hit.app, hit.user) for hit in hits) == [("support", "ada"), ("support", "bob")]


async def test_an_append_writes_no_index(store: Store, key: SessionKey, dump: Dump) -> None:
    await store.events.append(key, *TALK)

    stored = await dump()
    assert stored["search_blocks"] == stored["search_marks"] == []


async def test_what_others_have_changes_no_score(store: Store, key: SessionKey) -> None:
    await store.events.append(key, *TALK)
    before = await store.search("support", "ada", "parcel invoice lyon")

    other = (await store.sessions.create("support", "bob", title="parcel")).key
    await store.events.append(other, *["parcel invoice lyon"] * 300)
    await store.search("support", "bob", "parcel")

    assert await store.search("support", "ada", "parcel invoice lyon") == before


async def test_an_index_made_at_once_or_bit_by_bit_gives_the_same(
    store: Store, new_key: NewKey
) -> None:
    rnd = random.Random(3)
    texts = [" ".join(rnd.choice("abcdefghij") * 3 for _ in range(9)) for _ in range(300)]
    events = [NewEvent(text, id=f"e{number}") for number, text in enumerate(texts)]
    whole = await new_key("whole")
    await store.events.append(whole, *events)
    bits = await new_key("bits")
    for start in range(0, 300, 7):
        await store.events.append(bits, *events[start : start + 7])
        await store.index("support", "ada")

    for query in ("aaa bbb", "ccc", "jjj iii hhh"):
        one = await store.search("support", "ada", query, session=whole, limit=50)
        two = await store.search("support", "ada", query, session=bits, limit=50)
        assert [(hit.key, hit.score) for hit in one] == [(hit.key, hit.score) for hit in two]
        assert one


async def test_what_is_deleted_is_not_found_and_leaves_no_words(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.events.append(key, *(NewEvent(f"zebra{n}", id=f"e{n}") for n in range(6)))
    assert await keys_found(store, "zebra3") == ["e3"]

    await store.events.delete(key, ["e3"])
    await store.events.prune(key, keep_last=3)

    assert await keys_found(store, "zebra3 zebra0") == []
    assert await keys_found(store, "zebra5") == ["e5"]
    kept = str(await dump())
    assert all((f"zebra{n}" in kept) == (n in {2, 4, 5}) for n in range(6))
    await store.events.clear(key)
    assert await keys_found(store, "zebra5") == []
    assert "zebra5" not in str((await dump())["search_blocks"])


async def test_what_is_redacted_leaves_no_word_and_its_new_text_is_found(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.events.append(key, NewEvent("my number is fourty2secret", id="e1"), "and more")
    fork = (await store.sessions.fork(key, id="fork")).key
    assert len(await keys_found(store, "fourty2secret")) == 2

    await store.events.redact(key, "e1", "withheld")

    assert "fourty2secret" not in str(await dump())
    assert await keys_found(store, "fourty2secret") == []
    assert await keys_found(store, "withheld", session=key) == ["e1"]
    assert await keys_found(store, "withheld", session=fork) == ["e1"]


async def test_a_line_that_was_left_is_hidden_until_it_is_taken_up_again(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, NewEvent("first", id="e1"), NewEvent("second parcel", id="e2"))
    assert await keys_found(store, "parcel") == ["e2"]

    await store.events.rewind(key, 1)
    assert await keys_found(store, "parcel") == []
    await store.events.append(key, NewEvent("third parcel", id="e3"))
    assert await keys_found(store, "parcel") == ["e3"]
    left = next(line for line in await store.events.branches(key) if not line.current)
    await store.events.switch(key, left.name)
    assert await keys_found(store, "parcel") == ["e2"]


async def test_a_session_that_is_gone_is_not_found(
    store: Store, new_key: NewKey, clock: FixedClock, dump: Dump
) -> None:
    gone = await new_key("gone", title="parcel")
    await new_key("brief", title="parcel", ttl=timedelta(minutes=1))
    assert len(await keys_found(store, "parcel")) == 2

    await store.sessions.delete(gone)
    clock.advance(timedelta(minutes=2))
    assert await keys_found(store, "parcel") == []
    await store.sessions.restore(gone)
    assert await keys_found(store, "parcel") == ["gone"]
    await store.sessions.delete(gone)
    clock.advance(timedelta(days=60))
    await store.sweep()
    assert (await dump())["search_blocks"] == []


async def test_nothing_is_left_of_who_is_erased(store: Store, key: SessionKey, dump: Dump) -> None:
    await store.events.append(key, "canary81")
    await keys_found(store, "canary81")

    receipt = await store.erase_user("support", "ada")

    assert receipt.removed["search_blocks"] == 1
    assert "canary81" not in str(await dump())


async def test_workers_index_before_anybody_searches(store: Store, new_key: NewKey) -> None:
    for number in range(60):
        session = await new_key(f"s{number}", title="a parcel")
        await store.events.append(session, *["one parcel"] * 5)

    assert await store.index() == 300
    assert await store.index() == 0
    assert len(await keys_found(store, "parcel", limit=1000)) == 360


async def test_two_that_index_at_the_same_moment_index_once(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.events.append(key, *(f"parcel {number}" for number in range(150)))

    found = await asyncio.gather(*(store.index("support") for _ in range(4)))

    assert max(found) == 150
    assert sum(row[7] for row in (await dump())["search_blocks"]) == 150
    assert len(await keys_found(store, "parcel", limit=1000)) == 150


async def test_a_frequent_word_is_compared_in_the_last_documents_only(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, NewEvent("rare parcel", id="old"))
    for _ in range(3):
        await store.events.append(key, *["parcel"] * 1000)

    assert len(await keys_found(store, "parcel", limit=5000)) == 2000
    assert await keys_found(store, "rare") == ["old"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("東京", ["jp"]),
        ("京", ["jp"]),
        ("都庁へ行く", ["jp"]),
        ("서울", ["kr"]),
        ("STRASSE", ["de"]),
        ("🎉", ["fun"]),
        ("ﬁle", ["file"]),
    ],
)
async def test_every_script_is_searched(
    store: Store, key: SessionKey, query: str, found: list[str]
) -> None:
    texts = {
        "jp": "東京都庁へ行く",
        "kr": "서울에서",
        "de": "die Straße",
        "fun": "well done🎉",
        "file": "file",
    }
    await store.events.append(key, *(NewEvent(text, id=name) for name, text in texts.items()))

    hits = await store.search("support", "ada", query)

    assert [hit.key for hit in hits] == found
    assert hits[0].marks


@pytest.mark.parametrize("query", ["", "  ", "\0", "?!", "\u200b"])
async def test_a_query_without_words_finds_nothing(
    store: Store, key: SessionKey, query: str
) -> None:
    await store.events.append(key, "hello ?!")

    assert await keys_found(store, query) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"query": 5}, InvalidError),
        ({"query": "\ud800"}, InvalidError),
        ({"query": "x" * 16_385}, TooLargeError),
        ({"kinds": ["event"]}, InvalidError),
        ({"kinds": "events"}, InvalidError),
        ({"limit": 0}, InvalidError),
        ({"limit": 10_001}, TooLargeError),
        ({"session": SessionKey("support", "bob", "chat")}, InvalidError),
        ({"session": SessionKey("support", "ada", "none")}, NotFoundError),
        ({"app": ALL}, InvalidError),
        ({"user": "b\0b"}, InvalidError),
    ],
)
async def test_what_cannot_be_asked_is_said(
    store: Store, options: dict[str, object], error: type[Exception]
) -> None:
    asked = {"app": "support", "user": "ada", "query": "x"} | options

    with pytest.raises(error):
        await store.search(**asked)  # type: ignore[arg-type]


_PIECES = [
    '"', "'", "`", "*", "%", "_", "NEAR(", "NEAR/3", " AND ", " OR ", " NOT ", "-", "--", "^",
    ":", "col:", "(", ")", "{", "}", "[", "]", "\\", "/", "&", "|", "!", "<->", ":*", "$1", "?1",
    ":part", ";", "\0", "\x01", "\n", "\t", "parcel", "🎉", "e\u0301", "東", "ｱ", "\u202e", "İ",
    "\U0010ffff", "ß", "\ufdfa", "1e999", "0x", "''", '""', "DROP TABLE events", "{text}",
    "x" * 300,
]  # fmt: skip


async def test_no_query_is_syntax_or_reaches_others(store: Store, key: SessionKey) -> None:
    rnd = random.Random(9)
    await store.events.append(key, *_PIECES[:-1])
    other = (await store.sessions.create("support", "bob")).key
    await store.events.append(other, *_PIECES[:-1])
    queries = ["".join(rnd.choices(_PIECES, k=rnd.randint(1, 12))) for _ in range(297)]
    queries += ["parcel " * 1400, "\0" * 10_000, "東京" * 1600]

    for query in queries:
        try:
            hits = await store.search("support", "ada", query)
        except InvalidError:
            continue
        assert all(hit.user == "ada" for hit in hits)


async def test_long_texts_are_taken_apart_with_pauses_for_the_event_loop(store: Store) -> None:
    key = (await store.sessions.create("support", "ada", "long")).key
    await store.events.append(key, *[f"w{number} " + "tea " * 25_000 for number in range(12)])
    part = place(store.tenant, "support", "ada", 512).part
    steps = catch_up(store._settings, Scope("user", part))

    assert await asyncio.to_thread(carried_out, store, steps) == (12, 4)


def carried_out(store: Store, steps: Any) -> tuple[int, int]:
    """What a flow returns, and how often it has paused."""
    result, pauses = None, 0
    while True:
        try:
            step = steps.send(result)
        except StopIteration as done:
            return done.value, pauses
        pauses += isinstance(step, Sleep)
        result = None if isinstance(step, Sleep) else store._engine.run(step)
