"""Artifacts: versions of bytes under a name, of a session or of a user."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    AppScope,
    Artifact,
    CorruptError,
    InvalidError,
    Limits,
    NotFoundError,
    SessionKey,
    Store,
    TooLargeError,
    UserScope,
)
from perdure.operation import Operation, Query, Statement
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, NewKey, OpenStore, Reopen

MIB = 2**20
START = datetime(2026, 1, 1, tzinfo=UTC)
USER = UserScope("support", "ada")
KEY = SessionKey("support", "ada", "chat")
every_scope = pytest.mark.parametrize("scope", [USER, KEY], ids=["user", "session"])


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def names(store: Store, scope: Any) -> list[str]:
    return [artifact.name async for artifact in store.artifacts.iter(scope)]


async def numbers(store: Store, scope: Any, name: str) -> list[int]:
    return [artifact.version for artifact in await store.artifacts.versions(scope, name)]


async def loaded(store: Store, scope: Any, name: str, version: int | None = None) -> bytes:
    return (await store.artifacts.load(scope, name, version=version)).data


async def joined(store: Store, scope: Any, name: str, version: int | None = None) -> bytes:
    return b"".join([p async for p in store.artifacts.pieces(scope, name, version=version)])


# -- saving and loading ----------------------------------------------------------------------


@every_scope
async def test_versions_are_numbered_from_zero_and_the_record_says_what_was_saved(
    store: Store, key: SessionKey, clock: FixedClock, scope: Any
) -> None:
    del key
    clock.step = timedelta(0)
    clock.set(START)
    first = await store.artifacts.save(
        scope, "plots/a b.png", b"one", mime_type="image/png", metadata={"dpi": [72, 2**70]}
    )
    second = await store.artifacts.save(scope, "plots/a b.png", b"two!")

    assert first == Artifact(
        scope=scope,
        name="plots/a b.png",
        version=0,
        seq=0,
        mime_type="image/png",
        metadata={"dpi": [72, 2**70]},
        sha256=hashlib.sha256(b"one").hexdigest(),
        size=3,
        created_at=START,
    )
    assert (second.version, second.size) == (1, 4)
    assert (second.mime_type, second.metadata) == ("application/octet-stream", {})
    found = await store.artifacts.load(scope, "plots/a b.png")
    assert (found.artifact, found.data) == (second, b"two!")
    found = await store.artifacts.load(scope, "plots/a b.png", version=0)
    assert (found.artifact, found.data) == (first, b"one")
    assert await store.artifacts.get_version(scope, "plots/a b.png") == second
    assert await store.artifacts.get_version(scope, "plots/a b.png", 0) == first
    assert await store.artifacts.find_version(scope, "plots/a b.png", 1) == second
    assert list(await store.artifacts.versions(scope, "plots/a b.png")) == [first, second]


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
async def test_bytes_come_back_equal_whatever_their_size(
    store: Store, dump: Dump, reopen: Reopen, size: int
) -> None:
    data = noise(size)
    saved = await store.artifacts.save(USER, "f", data)
    rows = (await dump())["artifact_pieces"]

    store = await reopen()

    assert saved.size == size
    assert await loaded(store, USER, "f") == data
    assert await joined(store, USER, "f") == data
    pieces = [piece async for piece in store.artifacts.pieces(USER, "f")]
    assert len(pieces) == len(rows) == -(-size // MIB)
    assert all(0 < len(piece) <= MIB for piece in pieces)
    assert all(len(row[3]) <= MIB for row in rows)


async def test_a_file_and_an_iterable_are_read_to_their_end(store: Store) -> None:
    data = noise(2 * MIB + 7)
    sources: dict[str, Any] = {
        "file": io.BytesIO(data),
        "list": [data[:5], b"", data[5:]],
        "generator": (data[at : at + 999_999] for at in range(0, len(data), 999_999)),
        "view": memoryview(data),
        "array": bytearray(data),
    }
    for name, given in sources.items():
        await store.artifacts.save(USER, name, given)
        assert await loaded(store, USER, name) == data, name


async def test_what_is_changed_after_the_call_changes_nothing(store: Store) -> None:
    data = bytearray(b"abc")
    async with store.turn() as turn:
        turn.artifacts.save(USER, "f", data)
        data[:] = b"xyz"

    assert await loaded(store, USER, "f") == b"abc"


async def test_what_is_no_bytes_is_refused(store: Store, dump: Dump) -> None:
    before = await dump()
    wrong: list[Any] = ["text", None, 3, ["text"], io.StringIO("text"), [1, 2]]

    for data in wrong:
        with pytest.raises(InvalidError, match="bytes"):
            await store.artifacts.save(USER, "f", data)
    assert await dump() == before


async def test_the_limit_counts_to_the_last_byte_and_ends_reading_early(
    open_store: OpenStore, dump: Dump
) -> None:
    store = await open_store(limits=Limits(artifact=10))
    before = await dump()
    endless = iter(lambda: b"xxxx", b"")

    for data in (b"x" * 11, memoryview(b"x" * 11), io.BytesIO(b"x" * 11), endless):
        with pytest.raises(TooLargeError, match="10") as refused:
            await store.artifacts.save(USER, "f", data)
        assert refused.value.limit == "artifact"
    assert await dump() == before
    assert (await store.artifacts.save(USER, "f", b"x" * 10)).size == 10


REFUSED: list[Any] = [
    "..", "../a", "a/../b", "a/..", "/etc/passwd", "/", "C:/x", "c:x", "a\\b", "\\\\host\\x",
    "a//b", "a/", "./a", "a/.", ".", "", "  ", "a\0b", "\ud800", "user:", "user:../a",
    "user:/a", "user: ", 7, None, b"a",
]  # fmt: skip


async def test_a_name_that_could_leave_a_folder_is_refused_before_anything_is_written(
    store: Store, key: SessionKey, dump: Dump
) -> None:
    before = await dump()

    for scope, name in [(scope, name) for scope in (USER, key) for name in REFUSED]:
        with pytest.raises(InvalidError, match="artifact name"):
            await store.artifacts.save(scope, name, b"x")
        for call in (
            store.artifacts.load,
            store.artifacts.get_version,
            store.artifacts.versions,
            store.artifacts.delete,
        ):
            with pytest.raises(InvalidError, match="artifact name"):
                await call(scope, name)
    assert await dump() == before


async def test_any_other_text_is_a_name(store: Store) -> None:
    given = ["...", "a..b", "..a", "a b", "%2e%2e", "\u00e9\U0001f600", "ab:c", "a\nb", "x" * 512]
    for name in given:
        await store.artifacts.save(USER, name, name.encode())

    assert await names(store, USER) == sorted(given, key=str.encode)
    for name in given:
        assert await loaded(store, USER, name) == name.encode()


async def test_names_and_types_have_a_limit_of_bytes(store: Store, dump: Dump) -> None:
    before = await dump()

    for name, mime_type in (("\u00e9" * 257, "a/b"), ("f", "x" * 513)):
        with pytest.raises(TooLargeError, match="512"):
            await store.artifacts.save(USER, name, b"x", mime_type=mime_type)
    with pytest.raises(InvalidError, match="mime_type"):
        await store.artifacts.save(USER, "f", b"x", mime_type="")
    metadata: Any = [1]
    with pytest.raises(InvalidError, match="metadata"):
        await store.artifacts.save(USER, "f", b"x", metadata=metadata)
    with pytest.raises(InvalidError, match=r"metadata\.a"):
        await store.artifacts.save(USER, "f", b"x", metadata={"a": float("nan")})
    assert await dump() == before


async def test_only_sessions_and_users_have_artifacts(store: Store) -> None:
    wrong: list[Any] = [AppScope("support"), "support", None, ("support", "ada")]

    for scope in wrong:
        with pytest.raises(InvalidError, match="SessionKey or a UserScope"):
            await store.artifacts.save(scope, "f", b"x")


async def test_a_name_with_the_prefix_of_the_user_is_the_users(
    store: Store, key: SessionKey
) -> None:
    saved = await store.artifacts.save(key, "user:cv.pdf", b"v0")
    again = await store.artifacts.save(USER, "cv.pdf", b"v1")
    third = await store.artifacts.save(USER, "user:cv.pdf", b"v2")

    assert (saved.scope, saved.name) == (USER, "cv.pdf")
    assert [saved.version, again.version, third.version] == [0, 1, 2]
    assert await loaded(store, key, "user:cv.pdf", 1) == b"v1"
    assert await names(store, key) == []
    assert await names(store, USER) == ["cv.pdf"]
    unknown = SessionKey("support", "ada", "no such session")
    assert await loaded(store, unknown, "user:cv.pdf") == b"v2"
    assert await store.artifacts.delete(key, "user:cv.pdf") is True
    assert await names(store, USER) == []


async def test_scopes_users_apps_and_tenants_have_their_own(
    store: Store, key: SessionKey, new_key: NewKey, open_store: OpenStore
) -> None:
    other_tenant = await open_store(tenant="acme")
    places: list[tuple[Store, Any]] = [
        (store, key),
        (store, await new_key("other")),
        (store, USER),
        (store, UserScope("support", "eve")),
        (store, UserScope("sales", "ada")),
        (other_tenant, USER),
    ]
    for number, (of, scope) in enumerate(places):
        await of.artifacts.save(scope, "f", b"%d" % number)

    for number, (of, scope) in enumerate(places):
        assert await loaded(of, scope, "f") == b"%d" % number
        assert await numbers(of, scope, "f") == [0]


async def test_what_is_not_there_is_not_found(store: Store, key: SessionKey) -> None:
    await store.artifacts.save(key, "f", b"x")

    for name, version in (("g", None), ("g", 0), ("f", 1)):
        with pytest.raises(NotFoundError, match=f"'{name}'"):
            await store.artifacts.load(key, name, version=version)
        with pytest.raises(NotFoundError, match=f"'{name}'"):
            await joined(store, key, name, version)
        with pytest.raises(NotFoundError, match=f"'{name}'"):
            await store.artifacts.get_version(key, name, version)
        assert await store.artifacts.find_version(key, name, version) is None
    assert await numbers(store, key, "g") == []
    with pytest.raises(InvalidError, match="version"):
        await store.artifacts.load(key, "f", version=-1)


async def test_a_session_that_is_not_there_has_no_artifacts_and_gets_none(
    store: Store, dump: Dump
) -> None:
    before = await dump()

    for call in (
        store.artifacts.save(KEY, "f", b"x"),
        store.artifacts.load(KEY, "f"),
        store.artifacts.find_version(KEY, "f"),
        store.artifacts.versions(KEY, "f"),
        store.artifacts.list(KEY),
        store.artifacts.delete(KEY, "f"),
    ):
        with pytest.raises(NotFoundError, match="'chat'"):
            await call
    assert await dump() == before


async def test_saving_leaves_the_version_of_the_session_as_it_is(store: Store) -> None:
    chat = await store.session("support", "ada", "chat")
    await store.events.append(chat.key, "Draw me a plot.")
    await chat.refresh()

    saved = await store.artifacts.save(chat.key, "plot.png", b"x")
    await store.artifacts.delete(chat.key, "plot.png")
    await chat.append("Here it is.")

    assert saved.seq == 1
    assert (await store.sessions.get(chat.key)).version == 3


# -- lists -----------------------------------------------------------------------------------


@every_scope
async def test_a_list_has_each_name_once_at_its_latest_version_in_bytewise_order(
    store: Store, key: SessionKey, scope: Any
) -> None:
    del key
    given = ["b", "a/z", "B", "a", "\u00e9", "a-b"]
    for name in given:
        await store.artifacts.save(scope, name, b"0")
    latest = await store.artifacts.save(scope, "b", b"1")

    assert await names(store, scope) == sorted(given, key=str.encode)
    found: list[Artifact] = []
    cursor = None
    while True:
        page = await store.artifacts.list(scope, limit=2, cursor=cursor)
        assert len(page) <= 2
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [artifact.name for artifact in found] == sorted(given, key=str.encode)
    assert latest in found


async def test_versions_come_in_pages_oldest_first(store: Store) -> None:
    for number in range(5):
        await store.artifacts.save(USER, "f", b"%d" % number)
    await store.artifacts.delete(USER, "f", version=2)

    first = await store.artifacts.versions(USER, "f", limit=2)
    second = await store.artifacts.versions(USER, "f", limit=2, cursor=first.next_cursor)

    assert [artifact.version for artifact in (*first, *second)] == [0, 1, 3, 4]
    assert second.next_cursor is None
    with pytest.raises(InvalidError, match="another list"):
        await store.artifacts.list(USER, cursor=first.next_cursor)
    with pytest.raises(InvalidError, match="limit"):
        await store.artifacts.versions(USER, "f", limit=0)


# -- deleting --------------------------------------------------------------------------------


@every_scope
async def test_a_deleted_number_is_never_given_again(
    store: Store, key: SessionKey, reopen: Reopen, scope: Any
) -> None:
    del key
    for number in range(3):
        await store.artifacts.save(scope, "f", b"%d" % number)

    assert await store.artifacts.delete(scope, "f", version=2) is True
    assert await store.artifacts.delete(scope, "f", version=2) is False
    assert await loaded(store, scope, "f") == b"1"
    assert (await store.artifacts.save(scope, "f", b"3")).version == 3
    assert await store.artifacts.delete(scope, "f") is True
    assert await store.artifacts.delete(scope, "f") is False
    assert await store.artifacts.delete(scope, "never") is False
    assert await names(store, scope) == []
    store = await reopen()
    assert (await store.artifacts.save(scope, "f", b"4")).version == 4
    assert await numbers(store, scope, "f") == [4]


async def test_the_same_bytes_of_a_person_are_kept_once_until_the_last_version_goes(
    store: Store, key: SessionKey, new_key: NewKey, dump: Dump
) -> None:
    data = noise(MIB + 1)
    other = await new_key("other")
    await store.artifacts.save(key, "f", data)
    await store.artifacts.save(key, "f", data)
    await store.artifacts.save(other, "g", data)
    await store.artifacts.save(USER, "h", data)
    stored = await dump()
    assert (len(stored["artifact_blobs"]), len(stored["artifact_pieces"])) == (1, 2)

    await store.artifacts.delete(key, "f", version=0)
    await store.artifacts.delete(other, "g")
    await store.artifacts.delete(USER, "h")
    assert await loaded(store, key, "f") == data
    await store.artifacts.delete(key, "f")

    stored = await dump()
    assert (stored["artifact_blobs"], stored["artifact_pieces"]) == ([], [])


async def test_the_bytes_of_one_person_are_never_those_of_another(store: Store, dump: Dump) -> None:
    eve = UserScope("support", "eve")
    await store.artifacts.save(USER, "f", b"same")
    await store.artifacts.save(eve, "f", b"same")
    assert len((await dump())["artifact_blobs"]) == 2

    await store.artifacts.delete(USER, "f")

    assert await loaded(store, eve, "f") == b"same"


async def test_a_stream_says_that_its_version_was_deleted_meanwhile(store: Store) -> None:
    await store.artifacts.save(USER, "f", noise(2 * MIB))

    async def read_and_delete() -> None:
        async for _ in store.artifacts.pieces(USER, "f"):
            await store.artifacts.delete(USER, "f")

    with pytest.raises(NotFoundError, match="'f'"):
        await read_and_delete()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE artifact_pieces SET data = X'00'",
        "DELETE FROM artifact_pieces WHERE number = 1",
        "DELETE FROM artifact_pieces",
    ],
)
async def test_damaged_bytes_are_never_given_as_good_ones(store: Store, damage: str) -> None:
    await store.artifacts.save(USER, "f", noise(2 * MIB))
    postgres = damage.replace("X'00'", "'\\x00'::BYTEA")

    def work(_: Any) -> Any:
        yield Statement(Query("damage", {"sqlite": damage, "postgres": postgres}, ()), ())

    await asyncio.to_thread(store._engine.run, Operation("damage", (), {}, work))

    with pytest.raises(CorruptError, match="'f'"):
        await store.artifacts.load(USER, "f")
    with pytest.raises(CorruptError, match="'f'"):
        await joined(store, USER, "f")
