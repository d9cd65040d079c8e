"""Processes that share the memories of one user, on whatever engine the URL names."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import perdure
from perdure import BusyError, ConflictError, Event, NotFoundError, SessionKey, SyncStore
from tests.effort import effort
from tests.engines.processes import meet, side_by_side

ADA = ("app", "ada")
KEY = SessionKey(*ADA, "chat")
WRITERS = 4


def check_one_memory_with_all_topics(url: str) -> None:
    """Many processes add the same memories at once, one by one and several in a call."""
    ids = side_by_side(_add, [(url, name, 40) for name in range(WRITERS)])

    with perdure.open_sync(url) as store:
        found = list(store.memory.iter(*ADA))
        assert sorted(memory.content for memory in found) == sorted(f"fact {n}" for n in range(40))
        assert {memory.id for memory in found} == {one for some in ids for one in some}
        for memory in found:
            assert sorted(memory.topics) == [f"{way}{n}" for way in "bh" for n in range(WRITERS)]
            assert [past.version for past in store.memory.history(*ADA, memory.id)] == list(
                range(1, 2 * WRITERS + 1)
            )
        hits = store.memory.search(*ADA, "fact", limit=1000)
        assert sorted(hit.memory.content for hit in hits) == sorted(m.content for m in found)


def _add(url: str, name: int, count: int) -> list[str]:
    """Each fact by hand, and all of them as found by a program, in any order."""
    chance = random.Random(name)
    facts = [f"fact {number}" for number in range(count)]
    ids: list[str] = []
    with perdure.open_sync(url, durability="normal") as store:
        meet()
        ids += [
            store.memory.add(*ADA, fact, [f"h{name}"]).id for fact in chance.sample(facts, count)
        ]
        entries = [
            {"content": fact, "topics": [f"b{name}"]} for fact in chance.sample(facts, count)
        ]
        done = store.memory.ingest(*ADA, entries)
        assert len(done.known) == count
    return ids


def check_index_and_rows_agree(url: str) -> None:
    """Processes add, correct, supersede, delete, replace and search in each other's way."""
    side_by_side(_live, [(url, name, effort(1.5, 3.0)) for name in range(WRITERS)])

    with perdure.open_sync(url) as store:
        known = {memory.id for memory in store.memory.iter(*ADA, as_of=perdure.ALL)}
        hits = store.memory.search(*ADA, "word", limit=10_000, as_of=perdure.ALL)
        assert len(known) > 5
        assert sorted(hit.memory.id for hit in hits) == sorted(known)
        for memory in store.memory.iter(*ADA, as_of=perdure.ALL):
            versions = [past.version for past in store.memory.history(*ADA, memory.id)]
            assert versions == list(range(1, memory.version + 1))


def _live(url: str, name: int, seconds: float) -> None:
    chance = random.Random(name)
    with perdure.open_sync(url, durability="normal", memory_limit_per_user=60) as store:
        meet()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Somebody else may have deleted it, or said the same.
            with suppress(NotFoundError, ConflictError):
                _one_change(store, chance)


def _one_change(store: SyncStore, chance: random.Random) -> None:
    text = f"word {chance.randrange(80)}"
    some = [memory.id for memory in store.memory.read(*ADA, limit=50)]
    match chance.randrange(7) if some else 0:
        case 0 | 1:
            store.memory.add(*ADA, text, [chance.choice("abc")])
        case 2:
            store.memory.update(*ADA, chance.choice(some), content=f"{text} corrected")
        case 3:
            store.memory.supersede(*ADA, chance.choice(some), chance.choice(some))
        case 4:
            store.memory.delete(*ADA, chance.choice(some))
        case 5:
            texts = [f"word {chance.randrange(80)}" for _ in range(5)]
            store.memory.replace_session(*ADA, "s", texts)
        case _:
            store.memory.search(*ADA, "word")


def check_an_erasure_takes_all_or_nothing(url: str) -> None:
    """One process erases the user again and again while others add and correct."""
    calls = [(url, name, effort(1.5, 3.0)) for name in range(WRITERS)]
    side_by_side(_live_or_erase, calls)

    with perdure.open_sync(url) as store:
        known = {memory.id for memory in store.memory.iter(*ADA, as_of=perdure.ALL)}
        hits = store.memory.search(*ADA, "word", limit=10_000, as_of=perdure.ALL)
        assert {hit.memory.id for hit in hits} == known
        store.erase_user(*ADA)
        assert list(store.export_user(*ADA)) == []


def _live_or_erase(url: str, name: int, seconds: float) -> None:
    if name:
        _live(url, name, seconds)
        return
    with perdure.open_sync(url, durability="normal") as store:
        meet()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            store.erase_user(*ADA)
            time.sleep(0.02)


def check_each_event_is_remembered_once(url: str, folder: Path) -> None:
    """Processes make memories of one session, while each of them appends."""
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
        store.events.append(KEY, *[f"before {n}" for n in range(250)])
    notes = str(folder / "given.txt")

    side_by_side(_remember, [(url, notes, name) for name in range(WRITERS)])

    with perdure.open_sync(url) as store:
        assert store.memory.remember(KEY).events == 0
        said = [event.text for event in store.events.iter(KEY)]
        known = [memory.content for memory in store.memory.iter(*ADA)]
    assert sorted(known) == sorted(f"<{text}>" for text in said)
    # Nobody ran in anybody's way: no event was given to two of those who lived.
    given = Path(notes).read_text(encoding="utf-8").splitlines()
    assert sorted(given) == sorted(said)


def _remember(url: str, notes: str, name: int) -> None:
    def extract(events: Sequence[Event]) -> list[str]:
        time.sleep(0.01)
        with Path(notes).open("a", encoding="utf-8") as file:
            file.write("".join(f"{event.text}\n" for event in events))
        return [f"<{event.text}>" for event in events]

    with perdure.open_sync(url, durability="normal") as store:
        meet()
        for number in range(5):
            store.events.append(KEY, f"of {name}: {number}")
            store.memory.remember(KEY, extractor=extract, wait=timedelta(seconds=60))


def check_a_killed_extractor_loses_and_doubles_nothing(url: str) -> None:
    """A process is killed between extracting and storing; another one does it all again."""
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
        store.events.append(KEY, "one", "two")

    with pytest.raises(AssertionError, match="died without a word"):
        side_by_side(_die, [(url,)])

    with perdure.open_sync(url) as store:
        assert store.memory.count(*ADA) == 0
        with pytest.raises(BusyError):
            store.memory.remember(KEY, wait=timedelta(0))
    with perdure.open_sync(url, clock=lambda: datetime.now(UTC) + timedelta(minutes=3)) as store:
        assert len(store.memory.remember(KEY, wait=timedelta(0))) == 2
        assert store.memory.remember(KEY).events == 0
        assert store.memory.count(*ADA) == 2


def _die(url: str) -> None:
    def extract(_: Sequence[Event]) -> list[str]:
        os._exit(9)

    with perdure.open_sync(url) as store:
        store.memory.remember(KEY, extractor=extract)
