"""Finding memories by their words: candidates from the index, ranked, and then looked at."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from contextlib import suppress
from string import ascii_lowercase
from typing import NamedTuple

from perdure.errors import (
    BusyError,
    DeniedError,
    EmbedderError,
    InvalidError,
    ReadOnlyError,
)
from perdure.features import meaning
from perdure.features.cursors import check_limit
from perdure.features.fulltext import FEW, candidates, grow
from perdure.features.keeping import KIND
from perdure.features.memory_changes import Wanted
from perdure.features.memory_rows import MEMORY, MemoryRow, Owner, memory_of
from perdure.features.queries import check_query
from perdure.features.ranking import Candidate, Corpus, Ranked, fuse, rank
from perdure.features.search import check_meaning
from perdure.features.segmentation import query_words
from perdure.operation import Bumps, Flow, Operation, Plan, Settings, run
from perdure.parts import Place
from perdure.records import MemoryHit

#: How many rows `some` in memory.sql takes.
_SOME = 16
_IDS = [f"id_{letter}" for letter in ascii_lowercase[:_SOME]]


class Question(NamedTuple):
    """What is looked for: the words, among which memories, and how good they have to be."""

    query: str
    words: list[str]
    wanted: Wanted
    limit: int
    min_score: float
    meaning: float


class Answer(NamedTuple):
    """The hits, best first, and whether the index wants to be put in order."""

    hits: list[MemoryHit]
    untidy: bool


def question(
    settings: Settings,
    query: object,
    wanted: Wanted,
    limit: int,
    min_score: object = 0,
    weight: object = 0.5,
) -> Question:
    """The checked question; `InvalidError`."""
    if isinstance(min_score, bool) or not isinstance(min_score, int | float) or not min_score >= 0:
        raise InvalidError(f"min_score is a number, 0 or more, not {min_score!r}", "min_score")
    text = check_query(query, settings.limits.title)
    size = check_limit(limit, settings.limits.records)
    return Question(text, query_words(text), wanted, size, min_score, check_meaning(weight))


def hits(
    owner: Owner, asked: Question, settings: Settings, on_embedder_error: str
) -> Flow[Sequence[MemoryHit]]:
    """The answer, and the index put in order if that is due."""
    if on_embedder_error not in {"raise", "words"}:
        message = f"on_embedder_error is 'raise' or 'words', not {on_embedder_error!r}"
        raise InvalidError(message, "on_embedder_error")
    try:
        meant = yield from _meant(owner, asked, settings)
    except EmbedderError:
        if on_embedder_error == "raise":
            raise
        meant = None
    if not asked.words and meant is None:
        return []
    look = Operation("memory.search", (), {}, lambda _: search(owner, asked, meant), reads=True)
    found = yield from run(look)
    if found.untidy:
        # The hits are there: that the store is busy, or cannot be written, is no matter.
        with suppress(BusyError, ReadOnlyError, DeniedError):
            yield from run(tidy(owner._replace(block=settings.ids())))
    return found.hits


class _Meant(NamedTuple):
    """The query's vector, and which model it is of."""

    model: str
    vector: array[float]


def _meant(owner: Owner, asked: Question, settings: Settings) -> Flow[_Meant | None]:
    """What the query means, when all memories have their vectors; None without an embedder."""
    embedder = settings.embedder
    if embedder is None or not asked.meaning or not asked.query.strip("\0 \n\t"):
        return None
    kinds = {KIND: MEMORY.pick("memories", "ever")}
    yield from meaning.embed_lacking(embedder, _documents(owner), kinds)
    [vector] = yield from meaning.embed(embedder, [asked.query])
    return _Meant(meaning.model_of(embedder), vector)


def _documents(owner: Owner) -> meaning.Owner:
    return meaning.Owner(owner.part, (KIND,), None, owner.now)


def search(owner: Owner, asked: Question, meant: _Meant | None) -> Plan[Answer]:
    """The best memories; of equal ones the later first."""
    found = yield from candidates(owner.part, [KIND], asked.words)
    ranked = rank(found.candidates, found.corpus, max(len(found.candidates), 1))
    if meant is not None:
        ranked = yield from _with_meaning(owner, asked, meant, ranked)
    good = [one for one in ranked if one.score > 0 and one.score >= asked.min_score]
    hits: list[MemoryHit] = []
    for start in range(0, len(good), _SOME):
        if len(hits) >= asked.limit:
            break
        some = good[start : start + _SOME]
        rows = yield from _rows(owner, asked.wanted, some)
        hits += [
            _hit(owner, rows[one.candidate.key], one, asked, found.corpus)
            for one in some
            if one.candidate.key in rows
        ]
    return Answer(hits[: asked.limit], found.small[KIND, ""] >= FEW)


def _with_meaning(
    owner: Owner, asked: Question, meant: _Meant, ranked: Sequence[Ranked]
) -> Plan[list[Ranked]]:
    found = yield from meaning.near(_documents(owner), meant.model, meant.vector)
    near = {
        Candidate(owner.part, uid, kind, key, 0, ()): score
        for (uid, kind, key), score in found.items()
    }
    return fuse(ranked, near, asked.meaning, len(ranked) + len(near))


def _hit(owner: Owner, row: MemoryRow, one: Ranked, asked: Question, corpus: Corpus) -> MemoryHit:
    words = _parts(one.candidate, asked.words, corpus)
    # With meaning, words count as a part of the best one's.
    scale = one.own / (sum(words.values()) or 1.0)
    parts = {word: score * scale for word, score in words.items()}
    return MemoryHit(memory_of(owner, row), one.score, parts, one.meaning)


def _rows(owner: Owner, wanted: Wanted, ranked: Sequence[Ranked]) -> Plan[dict[str, MemoryRow]]:
    ids = [one.candidate.key for one in ranked]
    named = dict(zip(_IDS, [*ids, *[""] * (_SOME - len(ids))], strict=True))
    found = yield MEMORY.some(part=owner.part, now=owner.now, as_of=wanted.as_of, **named)
    rows = [MemoryRow._make(row) for row in found]
    return {row.id: row for row in rows if wanted.takes(row)}


def _parts(candidate: Candidate, words: Sequence[str], corpus: Corpus) -> dict[str, float]:
    """What each word that it holds adds to the score."""
    parts = {}
    for place, count in enumerate(candidate.counts):
        if count:
            [alone] = rank([_with_one(candidate, place)], corpus, 1)
            parts[words[place]] = alone.own
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
