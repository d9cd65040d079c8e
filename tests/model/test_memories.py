"""Whatever is done to the memories of a user, in any order: rows, index and history agree."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

import perdure
from perdure import ALL, ConflictError, Memory, NotFoundError, SyncStore

ADA = ("app", "ada")
STEPS = 80


class Life:
    """One user's memories, changed by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        limit = self.chance.choice([None, 8])
        self.store: SyncStore = perdure.open_sync(
            "memory:", clock=lambda: self.now, memory_limit_per_user=limit
        )

    def all(self) -> list[Memory]:
        """Every memory, whenever it holds."""
        return list(self.store.memory.iter(*ADA, as_of=ALL))

    def text(self) -> str:
        """One of few, so that they meet."""
        return f"word number{self.chance.randrange(8)}"

    def some(self) -> str:
        """The id of a memory; of none if there is none."""
        return self.chance.choice([memory.id for memory in self.all()] or ["mem_none"])

    def step(self) -> None:
        """One change; some time goes by."""
        self.now += timedelta(seconds=self.chance.choice([0, 1, 60]))
        topics = [self.chance.choice("abc")]
        memory = self.store.memory
        soon = self.chance.choice([None, self.now + timedelta(seconds=90)])
        match self.chance.randrange(9):
            case 0 | 1:
                memory.add(*ADA, self.text(), topics, expires_at=soon)
            case 2:
                memory.update(*ADA, self.some(), content=self.text())
            case 3:
                memory.update(*ADA, self.some(), topics=topics, pinned=self.chance.random() < 0.1)
            case 4:
                memory.supersede(*ADA, self.some(), self.some())
            case 5:
                memory.delete(*ADA, self.some())
            case 6:
                memory.ingest(*ADA, [self.text(), self.text()])
            case 7:
                texts = [self.text() for _ in range(self.chance.randrange(4))]
                memory.replace_session(*ADA, "s", texts)
            case _:
                memory.cleanup()

    def check(self) -> None:
        """What must hold after each step."""
        there = self.all()
        hits = self.store.memory.search(*ADA, "word", limit=1000, as_of=ALL)
        assert sorted(hit.memory.id for hit in hits) == sorted(memory.id for memory in there)
        now = [(m.content, m.valid_from, m.valid_until) for m in there if not m.superseded_by]
        assert len(set(now)) == len(now)
        for one in there:
            versions = self.store.memory.history(*ADA, one.id)
            assert [version.version for version in versions] == list(range(1, one.version + 1))
            assert versions[-1] == one


@pytest.mark.parametrize("seed", range(12))
def test_rows_index_and_history_agree_after_every_step(seed: int) -> None:
    life = Life(seed)

    for _ in range(STEPS):
        # The memory may have gone meanwhile, or another says the same.
        with suppress(NotFoundError, ConflictError):
            life.step()
        life.check()
    life.store.close()


@pytest.mark.parametrize("seed", range(100, 106))
def test_what_was_deleted_stays_so_until_somebody_adds_it_by_hand(seed: int) -> None:
    life = Life(seed)
    gone: set[str] = set()

    for _ in range(STEPS):
        with suppress(NotFoundError, ConflictError):
            life.step()
        gone -= {memory.content for memory in life.all()}
        for memory in life.all()[:1]:
            if memory.expires_at is None and not memory.superseded_by:
                life.store.memory.delete(*ADA, memory.id)
                gone.add(memory.content)
        done = life.store.memory.ingest(*ADA, sorted(gone))
        assert gone.isdisjoint(memory.content for memory in done)
    life.store.close()
