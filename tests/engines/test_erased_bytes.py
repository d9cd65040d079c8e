"""After an erasure no byte of the person is left in the files; where one may be, it is said."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from pathlib import Path

import pytest

import perdure
from perdure import NewEvent, SessionKey, SyncStore
from perdure.engines import sqlite_checkpointer, sqlite_settling
from tests.engines.processes import python

CANARY = "CANARY-5e55"
SIZES = (5, 30, 300, 1500, 9000)

READER = """
import sys, perdure, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN")
print(connection.execute("SELECT COUNT(*) FROM events").fetchall()[0][0], flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
connection.close()
print("done", flush=True)
sys.stdin.readline()
"""


def live(store: SyncStore, seed: int, count: int) -> None:
    """What several people do in turns, one of them with the canary in every text and name."""
    chance = random.Random(seed)

    def text(user: str, number: int) -> str:
        start = CANARY if user == "canary" else f"other-{user}"
        return f"{start}-{number}-" + "z" * chance.choice(SIZES)

    keys: list[SessionKey] = []
    for number in range(count):
        draw = chance.random()
        if draw < 0.25 or len(keys) < 4:
            user = chance.choice(["canary", "a", "b", "c", "d"])
            made = store.sessions.create(
                "app",
                user,
                text(user, number)[:200],
                title=text(user, number)[:400],
                tags=[text(user, number)[:100]],
                metadata={text(user, number)[:60]: text(user, number)},
                state={text(user, number)[:50]: "x", "user:k": text(user, number)},
            )
            keys.append(made.key)
            continue
        key = keys[chance.randrange(len(keys))]
        if draw < 0.8:
            said = NewEvent(
                text(key.user, number),
                id=text(key.user, number)[:80],
                state_delta={text(key.user, number)[:40]: text(key.user, number)},
                metadata={"m": text(key.user, number)},
            )
            store.events.append(key, said)
        elif draw < 0.92:
            store.events.annotate(key, text(key.user, number)[:50], text(key.user, number))
        elif draw < 0.96:
            store.sessions.purge(key)
            keys.remove(key)
        else:
            store.sessions.update(key, title=text(key.user, number)[:300])


def left(folder: Path) -> dict[str, int]:
    """How often the canary stands in each file."""
    files = {file.name: file.read_bytes().count(CANARY.encode()) for file in folder.iterdir()}
    return {name: count for name, count in files.items() if count}


def read_before_settling(url: str) -> SyncStore:
    return perdure.open_sync(url, durability="normal", deleted_grace=timedelta(days=1))


# All of them leave pieces in the unused space of pages: they fail if the file is not written anew.
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_no_byte_of_an_erased_person_is_left_in_any_file_while_the_store_is_open(
    tmp_path: Path, seed: int
) -> None:
    # Reading the files drops the locks that this process has on them: the store is not used after.
    store = read_before_settling(f"sqlite:///{tmp_path}/agent.db")
    live(store, seed, 3000 if seed == 1 else 800)

    receipt = store.erase_user("app", "canary")

    assert receipt.removed["sessions"] > 0
    assert (receipt.final, receipt.remains) == (True, ())
    assert left(tmp_path) == {}
    store.close()


def test_an_async_store_leaves_none_either(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    with read_before_settling(url) as store:
        live(store, 7, 200)

    async def erase() -> bool:
        async with perdure.open(url) as other:
            receipt = await other.erase_user("app", "canary")
            assert left(tmp_path) == {}
            return receipt.final

    assert asyncio.run(erase()) is True


def test_unsettled_bytes_are_there_and_the_receipt_says_so(tmp_path: Path) -> None:
    store = read_before_settling(f"sqlite:///{tmp_path}/agent.db")
    live(store, 1, 300)

    receipt = store.erase_user("app", "canary", settle=False)

    assert receipt.final is False
    assert left(tmp_path) != {}
    assert store.erase_user("app", "nobody").final is True
    assert left(tmp_path) == {}
    store.close()


def test_while_another_process_reads_an_older_state_the_receipt_is_not_final(
    tmp_path: Path,
) -> None:
    store = read_before_settling(f"sqlite:///{tmp_path}/agent.db")
    live(store, 1, 300)
    with python(READER, f"{tmp_path}/agent.db") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0

        receipt = store.erase_user("app", "canary")

        assert receipt.remains == (sqlite_settling.LOG,)
        assert left(tmp_path).keys() >= {"agent.db"}
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"done\n"
        assert store.erase_user("app", "canary").final is True
        assert left(tmp_path) == {}
    store.close()


def test_a_large_file_is_written_anew_only_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_settling, "QUICK_BYTES", 1)
    store = read_before_settling(f"sqlite:///{tmp_path}/agent.db")
    live(store, 1, 100)

    assert store.erase_user("app", "canary").remains == (sqlite_settling.PIECES,)
    assert store.erase_user("app", "canary", settle=True).final is True
    assert left(tmp_path) == {}
    store.close()


def test_a_log_that_was_long_once_does_not_make_a_small_file_a_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The checkpointer folds it later than it does by itself: so it is on a slow disk.
    monkeypatch.setattr(sqlite_checkpointer, "_PASSIVE_PAGES", 2**40)
    monkeypatch.setattr(sqlite_settling, "QUICK_BYTES", 2**22)
    store = read_before_settling(f"sqlite:///{tmp_path}/agent.db")
    live(store, 1, 400)
    assert (tmp_path / "agent.db-wal").stat().st_size > 2**22

    assert store.erase_user("app", "canary").final is True
    assert left(tmp_path) == {}
    store.close()


def test_others_have_everything_after_it(tmp_path: Path) -> None:
    with read_before_settling(f"sqlite:///{tmp_path}/agent.db") as store:
        live(store, 3, 500)
        before = {user: list(store.export_user("app", user)) for user in "abcd"}

        store.erase_user("app", "canary")

        assert {user: list(store.export_user("app", user)) for user in "abcd"} == before
