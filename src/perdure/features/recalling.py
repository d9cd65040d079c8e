"""Finding memories by their words: candidates from the index, ranked, and then looked at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from string import ascii_lowercase
from typing import NamedTuple

from perdure.errors import BusyError, DeniedError, InvalidError, ReadOnlyError
from perdure.features.cursors import check_limit
from perdure.features.fulltext import FEW, candidates, grow
from perdure.features.keeping import KIND
from perdure.features.memory_changes import Wanted
from perdure.features.memory_rows import MEMORY, MemoryRow, Owner, memory_of
from perdure.features.ranking import Candidate, Corpus, Ranked, rank
from perdure.features.segmentation import query_words
from perdure.operation import Bumps, Flow, Operation, Plan, Settings, run
from perdure.parts import Place
from perdure.records import MemoryHit

#: How many rows `some` in memory.sql takes.
_SOME = 16
_IDS = [f"id_{letter}" for letter in ascii_lowercase[:_SOME]]


class Question(NamedTuple):
    """What is looked for: the words, among which memories, and how good they have to be."""

    words: list[str]
    wanted: Wanted
    limit: int
    min_score: float


class Answer(NamedTuple):
    """The hits, best first, and whether the index wants to be put in order."""

    hits: list[MemoryHit]
    untidy: bool


def question(
    settings: Settings, query: object, wanted: Wanted, limit: int, min_score: object
) -> Question:
    """The checked question; `InvalidError`."""
    if not isinstance(query, str):
        raise InvalidError(f"query must be text, not {query!r}", "query")
    if isinstance(min_score, bool) or not isinstance(min_score, int | float) or not min_score >= 0:
        raise InvalidError(f"min_score is a number, 0 or more, not {min_score!r}", "min_score")
    size = check_limit(limit, settings.limits.records)
    return Question(query_words(query), wanted, size, min_score)


def hits(owner: Owner, asked: Question, settings: Settings) -> Flow[Sequence[MemoryHit]]:
    """The answer, and the index put in order if that is due."""
    look = Operation("memory.search", (), {}, lambda _: search(owner, asked), reads=True)
    found = yield from run(look)
    if found.untidy:
        # The hits are there: that the store is busy, or cannot be written, is no matter.
        with suppress(BusyError, ReadOnlyError, DeniedError):
            yield from run(tidy(owner._replace(block=settings.ids())))
    return found.hits


def search(owner: Owner, asked: Question) -> Plan[Answer]:
    """The best memories; of equal ones the later first."""
    found = yield from candidates(owner.part, [KIND], asked.words)
    ranked = rank(found.candidates, found.corpus, max(len(found.candidates), 1))
    good = [one for one in ranked if one.score >= asked.min_score]
    hits: list[MemoryHit] = []
    for start in range(0, len(good), _SOME):
        if len(hits) >= asked.limit:
            break
        some = good[start : start + _SOME]
        rows = yield from _rows(owner, asked.wanted, some)
        hits += [
            MemoryHit(
                memory_of(owner, rows[one.candidate.key]),
                one.score,
                _parts(one, asked, found.corpus),
            )
            for one in some
            if one.candidate.key in rows
        ]
    return Answer(hits[: asked.limit], found.small >= FEW)


def _rows(owner: Owner, wanted: Wanted, ranked: Sequence[Ranked]) -> Plan[dict[str, MemoryRow]]:
    ids = [one.candidate.key for one in ranked]
    named = dict(zip(_IDS, [*ids, *[""] * (_SOME - len(ids))], strict=True))
    found = yield MEMORY.some(part=owner.part, now=owner.now, as_of=wanted.as_of, **named)
    rows = [MemoryRow._make(row) for row in found]
    return {row.id: row for row in rows if wanted.takes(row)}


def _parts(ranked: Ranked, asked: Question, corpus: Corpus) -> dict[str, float]:
    """What each word that it holds adds to the score."""
    parts = {}
    for place, word in enumerate(asked.words):
        if ranked.candidate.counts[place]:
            [alone] = rank([_with_one(ranked.candidate, place)], corpus, 1)
            parts[word] = alone.own
    return parts


def _with_one(candidate: Candidate, place: int) -> Candidate:
    counts = [count if at == place else 0 for at, count in enumerate(candidate.counts)]
    return candidate._replace(counts=counts)


def tidy(owner: Owner) -> Operation[None]:
    """Put the small blocks of the owner's memories together."""

    def work(_: Bumps) -> Plan[None]:
        # Held: nobody takes a memory out of a block that is just being moved.
        yield MEMORY.take_owner(part=owner.part)
        yield from grow(Place(owner.part, owner.app_part), KIND, [], block=owner.block)

    return Operation("memory.tidy", (), {}, work)
