"""Holds: what nobody may remove for now, and who does it all the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    DeniedError,
    Hold,
    InvalidError,
    NewEvent,
    NotFoundError,
    RetentionConfig,
    SessionKey,
    Store,
    UserScope,
)
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore

ADA = UserScope("support", "ada")
LATER = timedelta(days=1000)

Removal = Callable[[Store, SessionKey], Awaitable[object]]


async def _turn(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        turn.events.append(key, "not stored either")
        turn.sessions.delete(key)


REMOVALS: dict[str, Removal] = {
    "delete": lambda store, key: store.sessions.delete(key),
    "purge": lambda store, key: store.sessions.purge(key),
    "in a turn": _turn,
    "prune": lambda store, key: store.events.prune(key, keep_last=1),
    "clear": lambda store, key: store.events.clear(key),
    "delete events": lambda store, key: store.events.delete(key, ["e1"]),
    "redact": lambda store, key: store.events.redact(key, "e1"),
    "erase": lambda store, key: store.erase_user(key.app, key.user),
}


@pytest.fixture
def talk(key: SessionKey) -> list[NewEvent]:
    del key
    return [NewEvent("one", id="e1"), NewEvent("two", id="e2"), NewEvent("three", id="e3")]


@pytest.mark.parametrize("whole", [False, True], ids=["session", "user"])
@pytest.mark.parametrize("removal", REMOVALS)
async def test_nothing_removes_what_is_held(
    store: Store, key: SessionKey, talk: list[NewEvent], dump: Dump, removal: str, whole: bool
) -> None:
    await store.events.append(key, *talk)
    await store.sessions.hold(ADA if whole else key, by="legal", reason="case 12")
    before = await dump()

    with pytest.raises(DeniedError, match=r"'legal' since .* \('case 12'\)"):
        await REMOVALS[removal](store, key)

    assert await dump() == before


@pytest.mark.parametrize("removal", REMOVALS)
async def test_what_was_released_can_be_removed(
    store: Store, key: SessionKey, talk: list[NewEvent], removal: str
) -> None:
    await store.events.append(key, *talk)
    await store.sessions.hold(key, by="legal", reason="case 12")
    assert await store.sessions.release(key, by="legal") is True

    await REMOVALS[removal](store, key)


async def test_a_session_that_others_hold_back_is_deleted_with_none_of_its_children(
    store: Store, key: SessionKey
) -> None:
    child = (await store.sessions.create("support", "ada", "child", parent=key)).key
    await store.sessions.hold(child, by="legal", reason="case 12")

    with pytest.raises(DeniedError, match="'child'"):
        await store.sessions.delete(key, children=True)
    assert await store.sessions.find(key) is not None


async def test_what_is_held_is_not_deleted_for_good(store: Store, key: SessionKey) -> None:
    await store.sessions.hold(key, by="legal", reason="case 12")

    with pytest.raises(DeniedError, match="'chat'"):
        await store.sessions.delete(key, soft=False)
    assert await store.sessions.find(key) is not None


async def test_redacting_does_not_reach_into_a_held_fork(
    store: Store, key: SessionKey, talk: list[NewEvent], dump: Dump
) -> None:
    await store.events.append(key, *talk)
    fork = (await store.sessions.fork(key, id="fork")).key
    await store.sessions.hold(fork, by="legal", reason="case 12")
    before = await dump()

    with pytest.raises(DeniedError, match="'fork'"):
        await store.events.redact(key, "e1")
    assert await dump() == before


async def test_a_held_session_goes_on(store: Store, key: SessionKey) -> None:
    await store.sessions.hold(key, by="legal", reason="case 12")

    await store.events.append(key, "still talking")
    await store.sessions.update(key, title="still changing")
    await store.events.append(key, NewEvent("another line"), expected_version=None)
    await store.events.rewind(key, 1)

    assert (await store.sessions.get(key)).title == "still changing"
    assert len(await store.events.read(key)) == 1


async def test_an_event_limit_deletes_nothing_of_a_held_session(
    open_store: OpenStore, key: SessionKey
) -> None:
    store = await open_store(event_limit=2)
    await store.sessions.hold(key, by="legal", reason="case 12")
    for n in range(5):
        await store.events.append(key, str(n))
    assert await store.events.count(key) == 5

    await store.sessions.release(key)
    await store.events.append(key, "5")

    assert await store.events.count(key) == 2


async def test_a_sweep_passes_what_is_held_and_says_how_much(
    store: Store, open_store: OpenStore, clock: FixedClock
) -> None:
    for name in ("expired", "idle", "deleted", "free"):
        ttl = timedelta(hours=1) if name == "expired" else None
        made = (await store.sessions.create("support", name, name, ttl=ttl)).key
        await store.events.append(made, NewEvent("x", timestamp=clock.now))
        if name == "deleted":
            await store.sessions.delete(made)
        if name != "free":
            await store.sessions.hold(UserScope("support", name), by="legal", reason="case 12")
    clock.advance(LATER)
    config = RetentionConfig(events=timedelta(days=1))
    keen = await open_store(retention=config)

    swept = await keen.sweep()

    assert (swept.expired, swept.idle, swept.deleted) == (0, 1, 0)
    assert swept.held == 3
    left = {session.id async for session in store.sessions.iter(include_deleted=True)}
    assert left == {"expired", "idle", "deleted"}


async def test_erasing_overrides_holds_only_when_told(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.sessions.hold(key, by="legal", reason="case 12")

    receipt = await store.erase_user("support", "ada", override_holds=True)

    assert receipt.removed["holds"] == 1
    assert (await dump())["holds"] == []


async def test_an_erasure_that_a_hold_forbids_leaves_no_tombstone(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.sessions.hold(key, by="legal", reason="case 12")

    with pytest.raises(DeniedError):
        await store.erase_user("support", "ada")

    assert (await dump())["erasures"] == []


async def test_a_hold_is_found_with_who_and_why(
    store: Store, key: SessionKey, clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    assert await store.sessions.find_hold(key) is None

    made = await store.sessions.hold(key, by="legal", reason="case 12")

    assert made == Hold(key, "legal", "case 12", clock.now)
    assert await store.sessions.find_hold(key) == made
    assert await store.sessions.find_hold(ADA) is None


async def test_a_hold_of_a_person_is_found_on_every_session(store: Store, key: SessionKey) -> None:
    made = await store.sessions.hold(ADA, by="legal", reason="case 12")

    assert await store.sessions.find_hold(key) == made
    assert made.of == ADA
    other = (await store.sessions.create("support", "ada", "later")).key
    assert await store.sessions.find_hold(other) == made


async def test_a_hold_on_what_is_held_takes_the_place_of_the_older_one(
    store: Store, key: SessionKey
) -> None:
    await store.sessions.hold(key, by="legal", reason="case 12")
    newer = await store.sessions.hold(key, by="audit", reason="2026")

    assert await store.sessions.find_hold(key) == newer
    assert await store.sessions.release(key) is True
    assert await store.sessions.release(key) is False


async def test_releasing_a_session_leaves_the_hold_of_its_person(
    store: Store, key: SessionKey
) -> None:
    await store.sessions.hold(key, by="legal", reason="case 12")
    await store.sessions.hold(ADA, by="audit", reason="2026")

    await store.sessions.release(key)

    with pytest.raises(DeniedError, match="'audit'"):
        await store.sessions.delete(key)


async def test_who_released_a_hold_stays_on_record(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    await store.sessions.hold(key, by="legal", reason="case 12")
    await store.sessions.release(key, by="judge")

    [row] = (await dump())["holds"]
    assert (row[2], row[3], row[6]) == ("legal", "case 12", "judge")


async def test_others_are_not_held(store: Store, key: SessionKey) -> None:
    await store.sessions.hold(ADA, by="legal", reason="case 12")
    eve = (await store.sessions.create("support", "eve", key.id)).key
    elsewhere = (await store.sessions.create("sales", "ada", key.id)).key

    assert await store.sessions.delete(eve) is True
    assert await store.sessions.delete(elsewhere) is True


async def test_an_unknown_session_cannot_be_held_and_an_unknown_person_can(store: Store) -> None:
    with pytest.raises(NotFoundError):
        await store.sessions.hold(SessionKey("support", "ada", "x"), by="legal", reason="r")
    with pytest.raises(NotFoundError):
        await store.sessions.release(SessionKey("support", "ada", "x"))
    assert await store.sessions.release(ADA) is False
    await store.sessions.hold(ADA, by="legal", reason="r")


async def test_a_hold_says_who_and_why_and_of_what(store: Store, key: SessionKey) -> None:
    for by, reason in [("", "r"), ("legal", " "), ("le\0gal", "r"), ("legal", "r" * 513)]:
        with pytest.raises(InvalidError):
            await store.sessions.hold(key, by=by, reason=reason)
    with pytest.raises(InvalidError, match="SessionKey or a UserScope"):
        await store.sessions.hold("chat", by="legal", reason="r")  # type: ignore[arg-type]


async def test_a_hold_can_be_part_of_a_turn(store: Store, key: SessionKey) -> None:
    async with store.turn() as turn:
        turn.sessions.hold(key, by="legal", reason="case 12")
        turn.sessions.create("support", "ada", "second")

    assert await store.sessions.find_hold(key) is not None


async def test_a_hold_ends_also_when_the_session_has_expired_under_it(
    store: Store, clock: FixedClock
) -> None:
    key = (await store.sessions.create("support", "ada", "s1", ttl=timedelta(days=1))).key
    made = await store.sessions.hold(key, by="legal", reason="a case")
    clock.advance(LATER)

    assert (await store.sweep()).held == 1
    assert await store.sessions.find_hold(key) == made
    await store.sessions.create("support", "ada", "s1")
    assert await store.sessions.find_hold(key) is None, "of the session that is there now"
    assert await store.sessions.release(key, by="legal")
    assert not await store.sessions.release(key, by="legal")
    swept = await store.sweep()
    assert (swept.held, swept.expired + swept.deleted) == (0, 1)


async def test_what_is_remembered_and_kept_of_a_held_person_is_not_deleted_either(
    store: Store, key: SessionKey
) -> None:
    app, user, _ = key
    await store.events.append(key, "one")
    await store.summaries.set(key, "told", covers_seq=1)
    await store.artifacts.save(key, "file", b"1")
    memory = await store.memory.add(app, user, "Likes tea.")
    await store.kv.set("n", "k", 1, app=app, user=user)

    def deletions() -> list[Any]:
        return [
            store.summaries.delete(key),
            store.artifacts.delete(key, "file"),
            store.memory.delete(app, user, memory.id),
            store.memory.clear(app, user),
            store.kv.delete("n", "k", app=app, user=user),
            store.kv.delete_many("n", ["k"], app=app, user=user),
        ]

    await store.sessions.hold(UserScope(app, user), by="legal", reason="a case")
    for deletion in deletions():
        with pytest.raises(DeniedError, match="a case"):
            await deletion
    await store.sessions.release(UserScope(app, user), by="legal")
    done = [await deletion for deletion in deletions()]

    assert done == [True, True, True, 0, True, 0]


async def test_what_hangs_on_a_held_session_is_not_deleted_either(
    store: Store, key: SessionKey
) -> None:
    await store.events.append(key, "one")
    await store.summaries.set(key, "told", covers_seq=1)
    await store.artifacts.save(key, "file", b"1")
    await store.sessions.hold(key, by="legal", reason="a case")

    for deletion in (store.summaries.delete(key), store.artifacts.delete(key, "file")):
        with pytest.raises(DeniedError, match="a case"):
            await deletion
