"""The life of a session: deleted, restored, purged, expired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    ALL,
    DELETE,
    AlreadyExistsError,
    AppScope,
    InvalidError,
    NewEvent,
    NotFoundError,
    SessionKey,
    StateKeyError,
    Store,
    UserScope,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, NewKey, OpenStore

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def full_session(store: Store, key: SessionKey) -> None:
    """A row in every table that hangs on a session."""
    said = await store.events.append(key, NewEvent("hi", id="e1"), NewEvent("there", id="e2"))
    await store.state.set(key, {"own": 1})
    await store.events.annotate(key, "score", 5, event_id=said.event.id)
    await store.sessions.update(key, tags=["t"], metadata={"m": 1})
    await store.events.append(key, "left behind")
    await store.events.rewind(key, 2)


async def test_delete_tells_whether_there_was_one(store: Store, key: SessionKey) -> None:
    assert await store.sessions.delete(key) is True
    assert await store.sessions.delete(key) is False
    assert await store.sessions.delete(SessionKey("support", "ada", "nowhere")) is False


CALLS: dict[str, Callable[[Store, SessionKey], Awaitable[object]]] = {
    "sessions.get": lambda store, key: store.sessions.get(key),
    "sessions.update": lambda store, key: store.sessions.update(key, title="x"),
    "sessions.fork": lambda store, key: store.sessions.fork(key),
    "events.append": lambda store, key: store.events.append(key, NewEvent("new", id="new")),
    "events.append nothing": lambda store, key: store.events.append(key),
    "events.append again": lambda store, key: store.events.append(key, NewEvent("hi", id="e1")),
    "events.get": lambda store, key: store.events.get(key, "e1"),
    "events.read": lambda store, key: store.events.read(key),
    "events.list": lambda store, key: store.events.list(key),
    "events.count": lambda store, key: store.events.count(key),
    "events.window": lambda store, key: store.events.window(key),
    "events.messages": lambda store, key: store.events.messages(key),
    "events.rewind": lambda store, key: store.events.rewind(key, 1),
    "events.pop": lambda store, key: store.events.pop(key),
    "events.replace_suffix": lambda store, key: store.events.replace_suffix(key, 1, ["x"]),
    "events.clear": lambda store, key: store.events.clear(key),
    "events.prune": lambda store, key: store.events.prune(key, keep_last=1),
    "events.delete": lambda store, key: store.events.delete(key, ids=["e1"]),
    "events.redact": lambda store, key: store.events.redact(key, "e1", "x"),
    "events.branches": lambda store, key: store.events.branches(key),
    "events.switch": lambda store, key: store.events.switch(key, "line-3"),
    "events.annotate": lambda store, key: store.events.annotate(key, "n", 1),
    "events.annotations": lambda store, key: store.events.annotations(key),
    "state.get": lambda store, key: store.state.get(key, "own"),
    "state.set": lambda store, key: store.state.set(key, {"own": 2}),
    "state.delete": lambda store, key: store.state.delete(key, "own"),
    "state.list": lambda store, key: store.state.list(key),
    "state.merged": lambda store, key: store.state.merged(key),
    "state.at": lambda store, key: store.state.at(key, 1),
    "state.history": lambda store, key: store.state.history(key, "own"),
}


async def _every_call_is_not_found(store: Store, key: SessionKey) -> list[str]:
    """The names of the calls that did anything else."""
    wrong = []
    for name, call in CALLS.items():
        try:
            await call(store, key)
        except StateKeyError:
            wrong.append(f"{name} looked for the key, not the session")
        except NotFoundError:
            continue
        wrong.append(name)
    return wrong


async def test_a_deleted_session_is_not_found_by_any_call(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await full_session(store, key)
    await store.sessions.delete(key)
    before = await dump()

    wrong = await _every_call_is_not_found(store, key)

    assert wrong == []
    assert await store.sessions.find(key) is None
    assert await store.events.find(key, "e1") is None
    assert await store.events.locate("support", "e1") is None
    assert await dump() == before


async def test_an_expired_session_is_not_found_by_any_call(
    store: Store, new_key: NewKey, clock: FixedClock, dump: Dump
) -> None:
    key = await new_key("brief", ttl=HOUR)
    await full_session(store, key)
    clock.advance(HOUR + timedelta(minutes=1))
    before = await dump()

    wrong = await _every_call_is_not_found(store, key)

    assert wrong == []
    assert await store.sessions.find(key) is None
    assert await store.events.find(key, "e1") is None
    assert await store.events.locate("support", "e1") is None
    assert await store.sessions.delete(key) is False
    assert await store.sessions.count() == 0
    assert await dump() == before


async def test_a_recreated_session_starts_empty(store: Store, key: SessionKey) -> None:
    await full_session(store, key)
    old = await store.sessions.get(key)
    await store.sessions.delete(key)

    new = await store.sessions.create(*key)

    assert new.uid != old.uid
    assert (new.version, new.last_seq, new.tags, new.metadata) == (1, 0, (), {})
    assert await store.events.read(key, all_lines=True) == []
    assert await store.state.merged(key) == {}
    assert await store.events.annotations(key) == []
    assert (await store.events.append(key, NewEvent("other", id="e1"))).event.seq == 1


async def test_app_and_user_state_outlive_every_session(store: Store, new_key: NewKey) -> None:
    key = await new_key("s1", state={"own": 1, "user:name": "Ada", "app:mode": "x"})
    await store.sessions.delete(key)
    await store.sessions.purge(key)

    assert (await store.state.get(UserScope("support", "ada"), "name")).value == "Ada"
    assert (await store.state.get(AppScope("support"), "mode")).value == "x"
    assert await store.state.merged(await new_key("s1")) == {"user:name": "Ada", "app:mode": "x"}


async def test_restore_brings_back_all_that_delete_took(store: Store, key: SessionKey) -> None:
    await full_session(store, key)
    before = await store.sessions.get(key)
    events = await store.events.read(key, all_lines=True)
    await store.sessions.delete(key)

    restored = await store.sessions.restore(key)

    assert restored == await store.sessions.get(key)
    assert (restored.uid, restored.tags, restored.metadata) == (before.uid, ("t",), {"m": 1})
    assert restored.deleted_at is None
    assert await store.events.read(key, all_lines=True) == events
    assert await store.state.merged(key) == {"own": 1}
    assert len(await store.events.annotations(key)) == 1
    assert [branch.name for branch in await store.events.branches(key) if not branch.current]
    assert await store.sessions.count(tags=["t"], metadata={"m": 1}) == 1


async def test_a_version_from_before_the_deletion_is_stale_after_the_restoration(
    store: Store, key: SessionKey
) -> None:
    before = await store.sessions.get(key)
    await store.sessions.delete(key)

    restored = await store.sessions.restore(key)

    assert restored.version > before.version


async def two_deaths(store: Store, key: SessionKey) -> tuple[str, str]:
    """The uids of an older and a younger deleted session of one id."""
    older = (await store.sessions.update(key, title="older")).uid
    await store.sessions.delete(key)
    younger = (await store.sessions.create(*key, title="younger")).uid
    await store.sessions.delete(key)
    return older, younger


async def test_restore_by_key_brings_back_the_one_deleted_last(
    store: Store, key: SessionKey
) -> None:
    _, younger = await two_deaths(store, key)

    assert (await store.sessions.restore(key)).uid == younger


async def test_restore_by_uid_brings_back_an_older_one(store: Store, key: SessionKey) -> None:
    older, younger = await two_deaths(store, key)

    restored = await store.sessions.restore(key, uid=older)
    await store.sessions.delete(key)

    assert (restored.uid, restored.title) == (older, "older")
    assert (await store.sessions.restore(key, uid=younger)).title == "younger"


async def test_of_two_deleted_in_one_instant_each_can_be_restored(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    uids = set(await two_deaths(store, key))

    first = (await store.sessions.restore(key)).uid
    await store.sessions.purge(key, uid=first)
    second = (await store.sessions.restore(key)).uid

    assert {first, second} == uids


async def test_restore_is_refused_while_the_id_is_in_use(store: Store, key: SessionKey) -> None:
    older, _ = await two_deaths(store, key)
    live = await store.sessions.create(*key)

    with pytest.raises(AlreadyExistsError, match="'chat'"):
        await store.sessions.restore(key)
    with pytest.raises(AlreadyExistsError, match="'chat'"):
        await store.sessions.restore(key, uid=older)
    assert await store.sessions.get(key) == live


async def test_what_was_not_deleted_cannot_be_restored(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    live = await store.sessions.get(key)
    other = await new_key("other")
    deleted = await store.sessions.get(other)
    await store.sessions.delete(other)

    for target, uid in [
        (SessionKey("support", "ada", "nowhere"), None),
        (key, live.uid),
        (key, "no-such-uid"),
        (key, deleted.uid),
        (SessionKey("support", "eve", "other"), deleted.uid),
    ]:
        with pytest.raises(NotFoundError):
            await store.sessions.restore(target, uid=uid)
    assert await store.sessions.get(key) == live


async def test_purge_removes_every_death_of_the_id_for_good(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await full_session(store, key)
    await two_deaths(store, key)
    await store.sessions.create(*key)

    assert await store.sessions.purge(key) is True
    assert await store.sessions.purge(key) is False
    with pytest.raises(NotFoundError):
        await store.sessions.restore(key)
    assert {name: rows for name, rows in (await dump()).items() if rows} == {}


async def test_purge_of_one_uid_leaves_the_others(store: Store, key: SessionKey) -> None:
    older, younger = await two_deaths(store, key)

    assert await store.sessions.purge(key, uid=younger) is True
    assert await store.sessions.purge(key, uid=younger) is False
    assert (await store.sessions.restore(key)).uid == older


async def test_purge_never_reaches_another_session_by_its_uid(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    other = await store.sessions.get(await new_key("other"))

    assert await store.sessions.purge(key, uid=other.uid) is False
    assert await store.sessions.get(other.key) == other


async def test_without_a_grace_delete_leaves_nothing(
    open_store: OpenStore, key: SessionKey, dump: Dump
) -> None:
    store = await open_store(deleted_grace=timedelta(0))
    await full_session(store, key)

    assert await store.sessions.delete(key)
    with pytest.raises(NotFoundError):
        await store.sessions.restore(key)
    assert {name: rows for name, rows in (await dump()).items() if rows} == {}


async def family(store: Store, key: SessionKey, new_key: NewKey) -> None:
    """A child, a grandchild, a stranger's child of the same name, a circle."""
    child = await new_key("child", parent=key)
    await new_key("grandchild", parent=child)
    await new_key("loop", parent=SessionKey(key.app, key.user, "loop"))
    await store.sessions.create("support", "eve", "child", parent=key)
    await store.sessions.create(
        "support", "ada", "other", parent=SessionKey("support", "x", "chat")
    )


async def test_children_stay_unless_told(store: Store, key: SessionKey, new_key: NewKey) -> None:
    await family(store, key, new_key)

    await store.sessions.delete(key)

    assert await store.sessions.find(SessionKey("support", "ada", "child")) is not None


async def test_children_go_along_at_any_depth_of_the_same_user_only(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    await family(store, key, new_key)

    await store.sessions.delete(key, children=True)
    await store.sessions.delete(SessionKey("support", "ada", "loop"), children=True)

    left = {session.key async for session in store.sessions.iter()}
    assert left == {SessionKey("support", "eve", "child"), SessionKey("support", "ada", "other")}


async def test_a_delete_for_good_leaves_nothing_to_restore(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    await store.sessions.delete(key)
    await store.sessions.create(*key)
    await family(store, key, new_key)

    assert await store.sessions.delete(key, children=True, soft=False) is True
    assert await store.sessions.delete(key, soft=False) is False

    with pytest.raises(NotFoundError):
        await store.sessions.restore(SessionKey("support", "ada", "child"))
    # What was deleted before under the same id is another one.
    deleted = [one async for one in store.sessions.iter(include_deleted=True) if one.deleted_at]
    assert [one.key for one in deleted] == [key]
    assert (await store.sessions.restore(key)).uid == deleted[0].uid


async def test_a_child_that_was_deleted_before_keeps_the_time_of_its_death(
    store: Store, key: SessionKey, new_key: NewKey, clock: FixedClock
) -> None:
    child = await new_key("child", parent=key)
    clock.set(START + HOUR)
    await store.sessions.delete(child)
    clock.set(START + 2 * HOUR)

    await store.sessions.delete(key, children=True)

    deaths = {s.id: s.deleted_at async for s in store.sessions.iter(include_deleted=True)}
    assert deaths == {"child": START + HOUR, "chat": START + 2 * HOUR}


@pytest.mark.parametrize("write", ["update", "append", "state"])
async def test_a_ttl_starts_anew_with_each_write(
    store: Store, new_key: NewKey, clock: FixedClock, write: str
) -> None:
    clock.step = timedelta(0)
    clock.set(START)
    key = await new_key("brief", ttl=HOUR)
    created = await store.sessions.get(key)
    writes: dict[str, Any] = {
        "update": lambda: store.sessions.update(key, title="x"),
        "append": lambda: store.events.append(key, "hi"),
        "state": lambda: store.state.set(key, {"a": 1}),
    }

    clock.set(START + timedelta(minutes=50))
    await writes[write]()

    assert created.expires_at == START + HOUR
    assert (await store.sessions.get(key)).expires_at == START + timedelta(minutes=110)


async def test_a_session_lives_until_just_before_its_end(
    store: Store, new_key: NewKey, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    key = await new_key("brief", ttl=timedelta(microseconds=1500))

    clock.advance(timedelta(microseconds=1499))
    assert await store.sessions.find(key) is not None
    clock.advance(timedelta(microseconds=1))
    assert await store.sessions.find(key) is None


async def test_the_ttl_can_be_changed_and_taken_away(
    store: Store, new_key: NewKey, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    key = await new_key("brief", ttl=HOUR)

    longer = await store.sessions.update(key, ttl=2 * HOUR)
    untouched = await store.sessions.update(key, title="x")
    forever = await store.sessions.update(key, ttl=DELETE)

    assert longer.expires_at == untouched.expires_at == clock.now + 2 * HOUR
    assert forever.expires_at is None
    clock.advance(1000 * HOUR)
    assert await store.sessions.find(key) is not None


async def test_the_id_of_an_expired_session_is_free(
    store: Store, new_key: NewKey, clock: FixedClock
) -> None:
    key = await new_key("brief", ttl=HOUR)
    await full_session(store, key)
    clock.advance(2 * HOUR)

    again = await store.sessions.get_or_create(*key)

    assert (again.version, again.expires_at) == (1, None)
    assert await store.events.read(key, all_lines=True) == []


async def test_an_expired_session_whose_id_was_taken_died_when_it_expired(
    store: Store, new_key: NewKey, clock: FixedClock
) -> None:
    expired = await store.sessions.get(await new_key("brief", ttl=HOUR))
    clock.advance(10 * HOUR)
    await new_key("brief")

    found = [session async for session in store.sessions.iter(include_deleted=True)]

    assert {s.uid: s.deleted_at for s in found}[expired.uid] == expired.expires_at
    assert await store.sessions.count() == 1


async def test_a_restored_session_has_its_whole_time_to_live_before_it(
    store: Store, new_key: NewKey, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    key = await new_key("brief", ttl=HOUR)
    await store.sessions.delete(key)
    clock.advance(10 * HOUR)

    restored = await store.sessions.restore(key)

    assert restored.expires_at == clock.now + HOUR


@pytest.mark.parametrize("ttl", [timedelta.max, timedelta(days=365 * 9000)])
async def test_a_ttl_that_ends_after_the_last_year_there_is_is_refused(
    store: Store, key: SessionKey, dump: Dump, ttl: timedelta
) -> None:
    before = await dump()

    with pytest.raises(InvalidError, match="ttl"):
        await store.sessions.create("support", "ada", ttl=ttl)
    with pytest.raises(InvalidError, match="ttl"):
        await store.sessions.update(key, ttl=ttl)
    assert await dump() == before


async def test_only_delete_takes_a_ttl_away(store: Store, new_key: NewKey) -> None:
    key = await new_key("brief", ttl=HOUR)

    with pytest.raises(InvalidError, match="ttl"):
        await store.sessions.update(key, ttl=ALL)
    assert (await store.sessions.get(key)).expires_at is not None
