"""Sessions: made, found, described."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    ALL,
    DELETE,
    AlreadyExistsError,
    InvalidError,
    Limits,
    NotFoundError,
    SessionKey,
    StaleSessionError,
    Store,
    TooLargeError,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_created_session_has_what_was_given_and_defaults_for_the_rest(
    store: Store, clock: FixedClock
) -> None:
    clock.set(START)
    created = await store.sessions.create(
        "support", "ada", "s1", title="Parcel", author="ada", agent_type="desk", tags=["a", "b"],
        metadata={"channel": "web"},
    )  # fmt: skip

    assert created.key == SessionKey("support", "ada", "s1")
    assert (created.title, created.author, created.agent_type) == ("Parcel", "ada", "desk")
    assert (created.tags, created.metadata) == (("a", "b"), {"channel": "web"})
    assert created.created_at == created.updated_at == START
    assert (created.version, created.event_count, created.head_seq, created.last_seq) == (
        1,
        0,
        0,
        0,
    )
    assert created.last_event_at is created.expires_at is created.deleted_at is None
    assert (created.parent, created.origin, created.state) == (None, None, None)
    assert created.preview == ""


async def test_get_and_find_give_the_session_that_create_gave(store: Store) -> None:
    created = await store.sessions.create("support", "ada", "s1", tags=["x"], metadata={"n": [1]})

    assert await store.sessions.get(created.key) == created
    assert await store.sessions.find(created.key) == created


async def test_a_session_outlives_the_store_object(key: SessionKey, reopen: Reopen) -> None:
    store = await reopen()

    assert (await store.sessions.get(key)).key == key


async def test_get_of_an_unknown_session_names_it_and_find_gives_none(store: Store) -> None:
    with pytest.raises(NotFoundError, match="'nowhere'"):
        await store.sessions.get(SessionKey("support", "ada", "nowhere"))
    assert await store.sessions.find(SessionKey("support", "ada", "nowhere")) is None


@pytest.mark.parametrize("blank", [None, ""])
async def test_without_an_id_the_store_makes_one(store: Store, blank: str | None) -> None:
    first = await store.sessions.create("support", "ada", blank)
    second = await store.sessions.create("support", "ada", blank)

    assert first.id
    assert first.id != second.id


async def test_ids_come_from_the_generator_that_was_given(open_store: OpenStore) -> None:
    store = await open_store(ids=iter(["id-1", "id-2"]).__next__)

    assert (await store.sessions.create("support", "ada")).id == "id-1"


async def test_app_and_user_may_be_blank_but_not_the_id(store: Store) -> None:
    created = await store.sessions.create("", "", "s1")

    assert await store.sessions.get(SessionKey("", "", "s1")) == created
    with pytest.raises(InvalidError, match="session id"):
        await store.sessions.get(SessionKey("", "", ""))
    with pytest.raises(InvalidError, match="session id"):
        await store.sessions.create("", "", "  ")


async def test_a_second_create_is_refused_and_changes_nothing(store: Store) -> None:
    first = await store.sessions.create("support", "ada", "s1", title="first")

    with pytest.raises(AlreadyExistsError, match="'s1'"):
        await store.sessions.create("support", "ada", "s1", title="second", state={"app:x": 1})
    assert await store.sessions.get(first.key) == first
    assert await store.state.merged(first.key) == {}


async def test_of_concurrent_creates_exactly_one_wins(store: Store) -> None:
    creates = (store.sessions.create("support", "ada", "s1", title=f"{n}") for n in range(10))

    results = await asyncio.gather(*creates, return_exceptions=True)

    winners = [result for result in results if not isinstance(result, BaseException)]
    assert len(winners) == 1
    assert sum(isinstance(result, AlreadyExistsError) for result in results) == 9
    assert await store.sessions.get(winners[0].key) == winners[0]


async def test_get_or_create_gives_the_stored_session_as_it_is(store: Store) -> None:
    first = await store.sessions.get_or_create(
        "support", "ada", "s1", title="first", state={"a": 1}
    )
    second = await store.sessions.get_or_create("support", "ada", "s1", title="new", state={"a": 2})

    assert second == first
    assert await store.state.merged(first.key) == {"a": 1}


async def test_concurrent_get_or_create_give_one_session(store: Store) -> None:
    calls = (store.sessions.get_or_create("support", "ada", "s1") for _ in range(10))

    found = await asyncio.gather(*calls)

    assert len({session.uid for session in found}) == 1


async def test_the_same_id_under_another_user_or_app_is_another_session(store: Store) -> None:
    mine = await store.sessions.create("support", "ada", "s1")
    hers = await store.sessions.create("support", "eve", "s1")
    elsewhere = await store.sessions.create("sales", "ada", "s1")

    assert len({mine.uid, hers.uid, elsewhere.uid}) == 3
    assert (await store.sessions.get(hers.key)).uid == hers.uid


async def test_parts_of_a_key_are_never_joined(store: Store) -> None:
    await store.sessions.create("a", "b:c", "s1")

    assert await store.sessions.find(SessionKey("a:b", "c", "s1")) is None
    assert await store.sessions.find(SessionKey("ab", ":c", "s1")) is None


async def test_tenants_in_one_database_see_nothing_of_each_other(
    open_store: OpenStore, store: Store, key: SessionKey
) -> None:
    other = await open_store(tenant="acme")
    await other.sessions.create(*key, title="theirs", state={"user:name": "x", "app:y": 1})

    assert (await store.sessions.get(key)).title == ""
    assert (await other.sessions.get(key)).title == "theirs"
    assert await store.state.merged(key) == {}
    assert await store.sessions.count() == await other.sessions.count() == 1
    assert await other.sessions.delete(key)
    assert await store.sessions.find(key) is not None


async def test_created_at_is_the_importers_and_updated_at_the_clocks(
    store: Store, clock: FixedClock
) -> None:
    clock.set(START)
    created = await store.sessions.create(
        "support", "ada", created_at=datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    )

    assert created.created_at == datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert created.updated_at == START


async def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(InvalidError, match="created_at"):
        await store.sessions.create("support", "ada", created_at=datetime(2026, 1, 1))  # noqa: DTZ001


async def test_state_given_at_creation_is_split_by_scope(store: Store) -> None:
    state = {"step": 1, "user:name": "Ada", "app:mode": "x", "temp:scratch": 2}
    created = await store.sessions.create("support", "ada", "s1", state=state)
    sibling = await store.sessions.create("support", "ada", "s2")
    stranger = await store.sessions.create("support", "eve", "s3")

    assert await store.state.merged(created.key) == {
        "step": 1, "user:name": "Ada", "app:mode": "x",
    }  # fmt: skip
    assert await store.state.merged(sibling.key) == {"user:name": "Ada", "app:mode": "x"}
    assert await store.state.merged(stranger.key) == {"app:mode": "x"}


async def test_a_session_names_the_one_that_opened_it(store: Store, key: SessionKey) -> None:
    child = await store.sessions.create("support", "ada", "child", parent=key)

    assert (await store.sessions.get(child.key)).parent == key


async def test_what_is_returned_is_a_copy_and_what_was_given_stays_the_callers(
    store: Store,
) -> None:
    metadata = {"list": [1]}
    created = await store.sessions.create("support", "ada", "s1", metadata=metadata)

    metadata["list"].append(2)
    created.metadata["list"].append(3)

    assert (await store.sessions.get(created.key)).metadata == {"list": [1]}


async def test_update_changes_what_is_given_and_leaves_the_rest(
    store: Store, clock: FixedClock
) -> None:
    created = await store.sessions.create("support", "ada", "s1", title="old", tags=["x"])
    clock.set(START + timedelta(hours=1))

    updated = await store.sessions.update(created.key, title="new", author="eve")

    assert updated == await store.sessions.get(created.key)
    assert (updated.title, updated.author, updated.tags) == ("new", "eve", ("x",))
    assert updated.version == created.version + 1
    assert updated.updated_at == START + timedelta(hours=1)
    assert updated.created_at == created.created_at


async def test_update_can_make_a_field_empty_again(store: Store) -> None:
    created = await store.sessions.create("support", "ada", title="old", tags=["x"])

    updated = await store.sessions.update(created.key, title="", tags=[])

    assert (updated.title, updated.tags) == ("", ())
    assert await store.sessions.count(tags=["x"]) == 0


async def test_metadata_is_updated_by_key_and_delete_removes_one(store: Store) -> None:
    created = await store.sessions.create("support", "ada", metadata={"a": 1, "b": 2, "c": None})

    updated = await store.sessions.update(created.key, metadata={"a": None, "b": DELETE, "d": [4]})

    assert updated.metadata == {"a": None, "c": None, "d": [4]}
    assert await store.sessions.count(metadata={"b": 2}) == 0
    assert await store.sessions.count(metadata={"d": [4]}) == 1


async def test_removing_metadata_that_is_not_there_is_no_error(
    store: Store, key: SessionKey
) -> None:
    updated = await store.sessions.update(key, metadata={"nothing": DELETE})

    assert updated.metadata == {}


async def test_a_marker_other_than_delete_is_no_metadata(store: Store, key: SessionKey) -> None:
    with pytest.raises(InvalidError, match="metadata"):
        await store.sessions.update(key, metadata={"a": ALL})
    with pytest.raises(InvalidError, match="metadata"):
        await store.sessions.create("support", "ada", metadata={"a": DELETE})


async def test_update_with_an_old_version_is_refused_and_changes_nothing(
    store: Store, key: SessionKey
) -> None:
    current = await store.sessions.update(key, title="second")

    with pytest.raises(StaleSessionError) as stale:
        await store.sessions.update(key, title="third", expected_version=1)

    assert stale.value.current_version == current.version == 2
    assert await store.sessions.get(key) == current
    assert (await store.sessions.update(key, title="third", expected_version=2)).version == 3


async def test_update_of_an_unknown_or_deleted_session_is_not_found(
    store: Store, key: SessionKey
) -> None:
    await store.sessions.delete(key)

    with pytest.raises(NotFoundError):
        await store.sessions.update(key, title="back again")
    with pytest.raises(NotFoundError):
        await store.sessions.update(SessionKey("support", "ada", "nowhere"), expected_version=3)
    assert await store.sessions.find(key) is None


async def test_tags_are_kept_once_each_in_the_order_given(store: Store) -> None:
    created = await store.sessions.create("support", "ada", tags=["b", "a", "b"])

    assert created.tags == ("b", "a")


@pytest.mark.parametrize("tags", ["one", [""], [1], ["a\0b"], 7])
async def test_what_cannot_be_tags_is_refused(store: Store, tags: object) -> None:
    with pytest.raises(InvalidError, match="tag"):
        await store.sessions.create("support", "ada", tags=tags)  # type: ignore[arg-type]
    assert await store.sessions.count() == 0


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), 60])
async def test_a_time_to_live_is_above_zero(store: Store, ttl: object) -> None:
    with pytest.raises(InvalidError, match="ttl"):
        await store.sessions.create("support", "ada", ttl=ttl)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [("a", "b"), "a/b/c", None, ["a", "b", "c"], ("a", "b", 3)])
async def test_what_is_no_key_is_refused(store: Store, key: object) -> None:
    with pytest.raises(InvalidError):
        await store.sessions.get(key)  # type: ignore[arg-type]


async def test_a_plain_tuple_may_stand_for_a_key(store: Store, key: SessionKey) -> None:
    found = await store.sessions.get(("support", "ada", "chat"))  # type: ignore[arg-type]

    assert found.key == key


@pytest.mark.parametrize("field", ["title", "author", "agent_type"])
async def test_describing_texts_have_a_limit_in_bytes(store: Store, field: str) -> None:
    longest, longer = "é" * 8_192, "é" * 8_192 + "x"

    created = await store.sessions.create("support", "ada", **{field: longest})  # type: ignore[arg-type]

    assert getattr(await store.sessions.get(created.key), field) == longest
    with pytest.raises(TooLargeError, match=field):
        await store.sessions.update(created.key, **{field: longer})  # type: ignore[arg-type]


async def test_metadata_may_not_grow_past_its_limit_by_updates(open_store: OpenStore) -> None:
    store = await open_store(limits=Limits(state=100))
    created = await store.sessions.create("support", "ada", metadata={"a": "x" * 60})

    with pytest.raises(TooLargeError) as refused:
        await store.sessions.update(created.key, metadata={"b": "x" * 60})

    assert refused.value.limit == "state"
    assert (await store.sessions.get(created.key)).metadata == {"a": "x" * 60}


async def test_a_refused_create_leaves_nothing_in_any_table(store: Store, dump: Dump) -> None:
    before = await dump()

    with pytest.raises(InvalidError):
        await store.sessions.create(
            "support", "ada", state={"app:x": 1}, tags=["t"], metadata={"x": float("nan")}
        )
    assert await dump() == before
