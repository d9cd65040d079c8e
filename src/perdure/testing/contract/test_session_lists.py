"""Lists of sessions: every order, page after page, filtered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import ALL, InvalidError, NewEvent, Session, SessionKey, Store, TooLargeError
from perdure.features.cursors import pack
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import OpenStore

START = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = ["updated_at", "created_at", "last_event_at", "title", "id"]


async def ids(store: Store, *owner: Any, **options: Any) -> list[str]:
    return [session.id for session in await store.sessions.list(*owner, **options)]


async def all_pages(store: Store, limit: int, **options: Any) -> list[Session]:
    found: list[Session] = []
    cursor = None
    while True:
        page = await store.sessions.list(cursor=cursor, limit=limit, **options)
        found += page.items
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


async def seven_in_disorder(store: Store, clock: FixedClock) -> None:
    """Seven sessions whose five orders all differ, each with ties."""
    for n, session_id in enumerate(["d", "a", "g", "c", "f", "b", "e"]):
        clock.set(START + timedelta(seconds=n // 2))
        created = START - timedelta(days=n % 3)
        key = (
            await store.sessions.create(
                "support", "ada", session_id, title=f"t{n % 2}", created_at=created
            )
        ).key
        if n % 2:
            said = START + timedelta(days=10 - n // 3)
            clock.set(START + timedelta(minutes=5 - n // 4))
            await store.events.append(key, NewEvent("hi", timestamp=said))


@pytest.mark.parametrize("way", ["", "-"])
@pytest.mark.parametrize("field", ORDERS)
async def test_every_order_has_the_id_as_its_tie_break_both_ways(
    store: Store, clock: FixedClock, field: str, way: str
) -> None:
    await seven_in_disorder(store, clock)

    found = await store.sessions.list(order=way + field)

    def place(session: Session) -> tuple[Any, str]:
        value = getattr(session, field)
        return (session.created_at if value is None else value, session.id)

    assert len(found) == 7
    assert list(found.items) == sorted(found.items, key=place, reverse=bool(way))


@pytest.mark.parametrize("way", ["", "-"])
@pytest.mark.parametrize("field", ORDERS)
async def test_pages_give_each_session_once_in_the_order_of_one_page(
    store: Store, clock: FixedClock, field: str, way: str
) -> None:
    await seven_in_disorder(store, clock)
    whole = await store.sessions.list(order=way + field)

    paged = [await all_pages(store, limit, order=way + field) for limit in (1, 3, 7)]

    assert paged == [list(whole.items)] * 3


async def test_iter_gives_what_list_gives(store: Store, clock: FixedClock) -> None:
    await seven_in_disorder(store, clock)

    found = [session async for session in store.sessions.iter(order="title")]

    assert found == list((await store.sessions.list(order="title")).items)


async def test_iter_walks_more_than_one_of_its_pages(store: Store) -> None:
    async with store.turn() as turn:
        for n in range(205):
            turn.sessions.create("support", "ada", f"s{n:03}")

    found = [session.id async for session in store.sessions.iter(order="id")]

    assert found == [f"s{n:03}" for n in range(205)]


async def test_the_youngest_change_comes_first_unless_told(store: Store) -> None:
    for session_id in ("s1", "s2", "s3"):
        await store.sessions.create("support", "ada", session_id)
    await store.sessions.update(SessionKey("support", "ada", "s1"), title="x")

    assert await ids(store) == ["s1", "s3", "s2"]


async def test_a_cursor_stays_where_it_is_while_others_write(store: Store) -> None:
    for n in range(6):
        await store.sessions.create("support", "ada", f"s{n}")
    first = await store.sessions.list(order="id", limit=3)

    await store.sessions.create("support", "ada", "s0-new")
    await store.sessions.create("support", "ada", "s9-new")
    await store.sessions.delete(SessionKey("support", "ada", "s2"))
    await store.sessions.delete(SessionKey("support", "ada", "s4"))
    second = await store.sessions.list(order="id", limit=3, cursor=first.next_cursor)

    assert [session.id for session in second] == ["s3", "s5", "s9-new"]
    assert second.next_cursor is None


async def test_a_full_last_page_has_no_cursor(store: Store) -> None:
    for n in range(4):
        await store.sessions.create("support", "ada", f"s{n}")

    page = await store.sessions.list(limit=2)
    last = await store.sessions.list(limit=2, cursor=page.next_cursor)

    assert page.next_cursor is not None
    assert (len(last), last.next_cursor) == (2, None)


async def test_titles_are_ordered_bytewise(store: Store) -> None:
    for n, title in enumerate(["é", "a", "Z", "", "\U0001f600", "\uffff", "B"]):
        await store.sessions.create("support", "ada", f"s{n}", title=title)

    found = [session.title for session in await store.sessions.list(order="title")]

    assert found == ["", "B", "Z", "a", "é", "\uffff", "\U0001f600"]


async def test_a_list_is_of_a_user_of_an_app_or_of_the_tenant(store: Store) -> None:
    for app, user, session_id in [("x", "ada", "1"), ("x", "eve", "2"), ("y", "ada", "3")]:
        await store.sessions.create(app, user, session_id)

    assert await ids(store, "x", "ada") == ["1"]
    assert await ids(store, "x", order="id") == ["1", "2"]
    assert await ids(store, ALL, ALL, order="id") == ["1", "2", "3"]
    assert await store.sessions.count("x") == 2
    assert await store.sessions.count("x", "nobody") == 0


async def test_a_user_without_an_app_is_refused(store: Store) -> None:
    with pytest.raises(InvalidError, match="app"):
        await store.sessions.list(ALL, "ada")


async def test_a_blank_user_is_a_user_and_not_all_of_them(store: Store) -> None:
    await store.sessions.create("x", "", "nobody's")
    await store.sessions.create("x", "ada", "ada's")

    assert await ids(store, "x", "") == ["nobody's"]


async def test_a_list_stops_at_its_tenant(store: Store, open_store: OpenStore) -> None:
    other = await open_store(tenant="acme")
    await other.sessions.create("x", "ada", "theirs", title="needle", tags=["t"])
    await store.sessions.create("x", "ada", "ours")

    assert await ids(store) == ["ours"]
    assert await ids(store, "x", "ada", text="needle") == []
    assert await ids(store, "x", tags=["t"]) == []


async def test_text_is_literal_and_ascii_letters_match_in_either_case(store: Store) -> None:
    titles = {
        "percent": "100% sure",
        "underscore": "a_b",
        "bang": "hey!",
        "parcel": "The parcel OF Eve",
        "accent": "\u00c9tude",
        "talk": "",
    }
    for session_id, title in titles.items():
        await store.sessions.create("support", "ada", session_id, title=title)
    await store.events.append(SessionKey("support", "ada", "talk"), "what was SAID")
    wanted = {
        "100%": ["percent"],
        "%": ["percent"],
        "a_b": ["underscore"],
        "_": ["underscore"],
        "!": ["bang"],
        "PARCEL": ["parcel"],
        "Parcel of eve": ["parcel"],
        "\u00c9": ["accent"],
        "\u00e9": [],
        "said": ["talk"],
        "tal": ["talk"],
        "'; --": [],
        "": sorted(titles),
    }

    found = {text: await ids(store, text=text, order="id") for text in wanted}

    assert found == wanted
    for text, sessions in wanted.items():
        assert await store.sessions.count(text=text) == len(sessions)


async def test_text_must_occur_in_one_field_not_across_two(store: Store, key: SessionKey) -> None:
    await store.sessions.update(key, title="night")
    await store.events.append(key, "train")

    assert await ids(store, text="train") == ["chat"]
    assert await ids(store, text="night train") == []


async def test_metadata_is_matched_as_equal_json(store: Store) -> None:
    stored: dict[str, dict[str, Any]] = {
        "int": {"n": 1, "k": "v"},
        "float": {"n": 1.0},
        "true": {"n": True},
        "text": {"n": "1"},
        "null": {"n": None},
        "nested": {"n": {"a": [1, {"b": 2}], "c": None}},
    }
    for session_id, metadata in stored.items():
        await store.sessions.create("support", "ada", session_id, metadata=metadata)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"n": 1}, ["float", "int"]),
        ({"n": 1.0}, ["float", "int"]),
        ({"n": True}, ["true"]),
        ({"n": "1"}, ["text"]),
        ({"n": None}, ["null"]),
        ({"n": {"a": [1, {"b": 2}], "c": None}}, ["nested"]),
        ({"n": {"c": None, "a": [1.0, {"b": 2.0}]}}, ["nested"]),
        ({"n": {"a": [1, {"b": 2}]}}, []),
        ({"n": [1]}, []),
        ({"m": None}, []),
        ({"n": 1, "k": "v"}, ["int"]),
        ({"n": 2, "k": "v"}, []),
        ({}, sorted(stored)),
    ]

    found = [(wanted, await ids(store, metadata=wanted, order="id")) for wanted, _ in cases]

    assert found == cases
    for wanted, sessions in cases:
        assert await store.sessions.count(metadata=wanted) == len(sessions)


async def test_metadata_is_found_by_the_number_it_was_given_with(store: Store) -> None:
    numbers = [0, -0.0, 1e16, 10**16, 1e22, 10**22, 2**70, 1e308, 0.1, -1.5]
    for n, value in enumerate(numbers):
        await store.sessions.create("support", "ada", f"s{n}", metadata={f"n{n}": value})

    for n, value in enumerate(numbers):
        assert await ids(store, metadata={f"n{n}": value}) == [f"s{n}"]
        assert await ids(store, metadata={f"n{n}": float(value)}) == [f"s{n}"]
        assert await ids(store, metadata={f"n{n}": value * 0.5 + 1}) == []


async def test_all_tags_must_be_there_each_as_it_is(store: Store) -> None:
    await store.sessions.create("support", "ada", "ab", tags=["a", "b"])
    await store.sessions.create("support", "ada", "a", tags=["a"])
    await store.sessions.create("support", "ada", "upper", tags=["A"])

    assert await ids(store, tags=["a"], order="id") == ["a", "ab"]
    assert await ids(store, tags=["a", "b"]) == ["ab"]
    assert await ids(store, tags=["a", "a"], order="id") == ["a", "ab"]
    assert await ids(store, tags=["a", "c"]) == []


async def test_a_tag_is_no_metadata_and_keys_are_literal(store: Store) -> None:
    await store.sessions.create("support", "ada", "tag", tags=["n"])
    await store.sessions.create("support", "ada", "meta", metadata={"n": "n"})

    assert await ids(store, tags=["n"]) == ["tag"]
    assert await ids(store, metadata={"n": "n"}) == ["meta"]
    assert await ids(store, metadata={"k') = 'v' or 1=1 --": 1}) == []
    assert await ids(store, metadata={"%": "n"}) == []


async def test_filters_are_joined_by_and(store: Store) -> None:
    await store.sessions.create("support", "ada", "both", tags=["x"], metadata={"n": 1}, title="T")
    await store.sessions.create("support", "ada", "tag", tags=["x"], title="T")
    await store.sessions.create("support", "ada", "meta", metadata={"n": 1}, title="T")

    assert await ids(store, tags=["x"], metadata={"n": 1}, text="t") == ["both"]
    assert await ids(store, tags=["x"], metadata={"n": 1}, text="u") == []


async def test_parent_gives_the_sessions_that_one_opened(store: Store, key: SessionKey) -> None:
    await store.sessions.create("support", "ada", "child", parent=key)
    await store.sessions.create("support", "eve", "chat")
    await store.sessions.create(
        "support", "eve", "other", parent=SessionKey("support", "eve", "chat")
    )

    assert await ids(store, parent=key) == ["child"]
    assert await store.sessions.count(parent=SessionKey("support", "ada", "child")) == 0


async def test_updated_after_is_exclusive(store: Store, clock: FixedClock) -> None:
    clock.step = timedelta(0)
    for n in range(3):
        clock.set(START + timedelta(seconds=n))
        await store.sessions.create("support", "ada", f"s{n}")

    assert await ids(store, updated_after=START + timedelta(seconds=1)) == ["s2"]
    assert await store.sessions.count(updated_after=START - timedelta(microseconds=1)) == 3


async def test_with_state_brings_what_each_session_sees(store: Store) -> None:
    await store.sessions.create("x", "ada", "1", state={"own": 1, "user:name": "Ada", "app:k": 9})
    await store.sessions.create("x", "eve", "2", state={"own": 2})

    found = await store.sessions.list("x", order="id", with_state=True)

    assert [session.state for session in found] == [
        {"own": 1, "user:name": "Ada", "app:k": 9},
        {"own": 2, "app:k": 9},
    ]
    assert [session.state for session in await store.sessions.list("x")] == [None, None]


async def test_deleted_sessions_are_listed_only_when_asked_for(
    store: Store, key: SessionKey
) -> None:
    await store.sessions.create("support", "ada", "live")
    await store.sessions.delete(key)

    assert await ids(store) == ["live"]
    assert await ids(store, include_deleted=True, order="id") == ["chat", "live"]
    assert (await store.sessions.count(), await store.sessions.count(include_deleted=True)) == (
        1,
        2,
    )
    [deleted] = await store.sessions.list(include_deleted=True, text="chat")
    assert (deleted.deleted_at is not None, deleted.version) == (True, 2)


async def test_two_deaths_of_one_id_are_two_entries_over_any_pages(store: Store) -> None:
    for _ in range(3):
        created = await store.sessions.create("support", "ada", "again")
        await store.sessions.delete(created.key)

    found = await all_pages(store, 1, order="title", include_deleted=True)

    assert len({session.uid for session in found}) == len(found) == 3


async def test_what_is_no_cursor_is_refused(store: Store) -> None:
    own_making = [(2**70, "a", "b"), (1, "a"), (1, 2, "b"), (None, "a", "b")]
    cursors: list[Any] = [
        "", "x", "%%%", "\u00e9", "W10", "bnVsbA", "eyJhIjoxfQ", "a" * 1000, "\ud800", 7,
        *(pack("sessions -updated_at", *values) for values in own_making),  # type: ignore[arg-type]
    ]  # fmt: skip

    for cursor in cursors:
        with pytest.raises(InvalidError, match="cursor"):
            await store.sessions.list(cursor=cursor)


async def test_a_cursor_of_another_order_is_refused(store: Store) -> None:
    for n in range(3):
        await store.sessions.create("support", "ada", f"s{n}")
    page = await store.sessions.list(order="id", limit=1)

    with pytest.raises(InvalidError, match="cursor"):
        await store.sessions.list(order="-id", limit=1, cursor=page.next_cursor)
    with pytest.raises(InvalidError, match="cursor"):
        await store.sessions.list(order="title", limit=1, cursor=page.next_cursor)


async def test_an_unknown_order_is_refused(store: Store) -> None:
    orders: list[Any] = ["", "-", "version", "title; DROP TABLE", "--id", None, 3, ["id"]]

    for order in orders:
        with pytest.raises(InvalidError, match="order"):
            await store.sessions.list(order=order)


async def test_a_page_has_at_least_one_place(store: Store) -> None:
    limits: list[Any] = [0, -1, None, "5", 2.5]

    for limit in limits:
        with pytest.raises(InvalidError, match="limit"):
            await store.sessions.list(limit=limit)


async def test_a_page_has_a_most(store: Store) -> None:
    assert await ids(store, limit=10_000) == []
    with pytest.raises(TooLargeError) as refused:
        await store.sessions.list(limit=10_001)
    assert refused.value.limit == "records"
