"""What processes do with artifacts at the same moment: for tests of each engine."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import perdure
from perdure import Artifact, SessionKey, SyncStore, UserScope
from perdure.operation import Bumps, Operation, Plan, Query, Rows, Statement
from tests.engines.processes import meet, side_by_side

KEY = SessionKey("app", "user", "chat")
USER = UserScope("app", "user")
_BYTES = [b"a" * 100, b"b" * 2**20, b"c" * (2**20 + 1)]


def save_many(url: str, name: str, count: int) -> list[tuple[int, str]]:
    """Save under one name of a session and of its user; the numbers, with what they are of."""
    given = []
    with perdure.open_sync(url) as store:
        meet()
        for number in range(count):
            for scope in (KEY, USER):
                data = f"{name} {number} {scope!r}".encode()
                saved = store.artifacts.save(scope, "shared.txt", data)
                given.append((saved.version, hashlib.sha256(data).hexdigest()))
    return given


def no_number_is_shared(url: str, processes: int, count: int) -> None:
    """Several processes save under one name: each version is one call's, and none is missing."""
    calls = side_by_side(save_many, [(url, f"p{n}", count) for n in range(processes)])

    given = Counter(version for own in calls for version, _ in own)
    assert given == dict.fromkeys(range(processes * count), 2)
    told = sorted(one for own in calls for one in own)
    with perdure.open_sync(url) as store:
        stored = sorted(
            (found.version, found.sha256)
            for scope in (KEY, USER)
            for found in all_versions(store, scope)
        )
        assert stored == told
        for version in range(0, processes * count, 7):
            store.artifacts.load(KEY, "shared.txt", version=version)


def all_versions(store: SyncStore, scope: SessionKey | UserScope) -> list[Artifact]:
    return list(store.artifacts.versions(scope, "shared.txt", limit=10_000))


def save_and_delete(url: str, name: str, rounds: int) -> dict[str, bytes]:
    """Save and delete the bytes that all others have, too; what is left by name."""
    chance = random.Random(name)
    places: list[tuple[SessionKey | UserScope, str]] = [
        (KEY, f"user:{name}"),
        (KEY, name),
        (USER, f"{name}-u"),
    ]
    left = {}
    with perdure.open_sync(url) as store:
        meet()
        for _ in range(rounds):
            scope, own = chance.choice(places)
            data = chance.choice(_BYTES)
            store.artifacts.save(scope, own, data)
            assert store.artifacts.load(scope, own).data == data
            left[own] = data
            if chance.random() < 0.6:
                store.artifacts.delete(scope, own)
                del left[own]
            if chance.random() < 0.1:
                fork = store.sessions.fork(KEY).key
                list(store.artifacts.iter(fork))
                store.sessions.purge(fork)
    return left


def no_byte_is_lost_or_left(url: str, processes: int, rounds: int) -> None:
    """Several processes save and delete the same bytes: none is lost, none is left over."""
    calls = [(url, f"p{n}", rounds) for n in range(processes)]
    done = side_by_side(save_and_delete, calls)

    left = {name: data for own in done for name, data in own.items()}
    with perdure.open_sync(url) as store:
        for name, data in left.items():
            scope = USER if name.endswith("-u") else KEY
            assert store.artifacts.load(scope, name).data == data, name
        needed = {hashlib.sha256(data).hexdigest() for data in _needed(store)}
        assert {row[0] for row in _rows(store, "SELECT sha256 FROM artifact_blobs")} == needed
        pieces = _rows(store, "SELECT DISTINCT sha256 FROM artifact_pieces")
        assert {row[0] for row in pieces} == needed


def _needed(store: SyncStore) -> list[bytes]:
    return [data for scope in (KEY, USER) for data in _all_bytes(store, scope)]


def _all_bytes(store: SyncStore, scope: SessionKey | UserScope) -> list[bytes]:
    return [
        store.artifacts.load(scope, found.name, version=version.version).data
        for found in store.artifacts.iter(scope)
        for version in store.artifacts.versions(scope, found.name)
    ]


def _rows(store: SyncStore, text: str) -> Rows:
    def work(_: Bumps) -> Plan[Rows]:
        return (yield Statement(Query("of a test", {"sqlite": text, "postgres": text}, ()), ()))

    rows: Rows = store._engine.run(Operation("test.rows", (), {}, work, reads=True))
    return rows


def save_beside_erasures(url: str, name: str, rounds: int) -> None:
    """Save the same bytes as all others, while everything of the user is erased at times."""
    chance = random.Random(name)
    with perdure.open_sync(url) as store:
        meet()
        for number in range(rounds):
            if name == "p0" and number % 4 == 0:
                store.erase_user(USER.app, USER.user)
                continue
            store.artifacts.save(USER, f"{name}-{chance.randrange(3)}", chance.choice(_BYTES))


def an_erasure_leaves_whole_artifacts(url: str, processes: int, rounds: int) -> None:
    """What was saved beside erasures has its bytes afterwards, and no byte is left over."""
    side_by_side(save_beside_erasures, [(url, f"p{n}", rounds) for n in range(processes)])

    with perdure.open_sync(url) as store:
        needed = {hashlib.sha256(data).hexdigest() for data in _all_bytes(store, USER)}
        for table in ("artifact_blobs", "artifact_pieces"):
            found = _rows(store, f"SELECT DISTINCT sha256 FROM {table}")
            assert {row[0] for row in found} == needed, table
        store.erase_user(USER.app, USER.user)
        assert _rows(store, "SELECT 1 FROM artifact_blobs") == []
