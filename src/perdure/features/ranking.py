"""How well a document answers a query: one pure function, for every engine and every kind.

BM25 with the numbers of the documents that were looked at, which are all of one owner. Where
documents stand in a row, as the events of a session do, one is found by its neighbours too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nlargest
from math import log
from operator import add
from typing import NamedTuple

#: How fast more of the same word stops to count, and how much a long document is discounted.
K1 = 1.2
B = 0.75
#: What a neighbour's own score adds, by its distance in the conversation.
NEIGHBOURS = (0.6, 0.6, 0.4, 0.4)
_EQUAL = 1e-8


class Candidate(NamedTuple):
    """A document that holds a word of the query: where it is, and how often each word stands there.

    ``row``: its place, from 1 on, among its neighbours of the same ``uid``; None has none.
    """

    part: str
    uid: str
    kind: str
    key: str
    length: int
    counts: Sequence[int]
    row: int | None = None


class Corpus(NamedTuple):
    """What was looked at: documents, words in them, and documents that hold each query word."""

    documents: int
    length: int
    frequencies: tuple[int, ...]


class Ranked(NamedTuple):
    """A document with its score: what its own words bring, and what its neighbours do."""

    candidate: Candidate
    score: float
    own: float
    near: float
    meaning: float | None = None


def rank(
    candidates: Sequence[Candidate],
    corpus: Corpus,
    limit: int,
    neighbours: Sequence[float] = NEIGHBOURS,
) -> list[Ranked]:
    """The best candidates, best first; of equal ones the greater key first."""
    own = _own_scores(candidates, corpus)
    near = _near_scores(candidates, own, neighbours)
    scores = list(map(add, own, near))
    # All that could be among the best: what is equal is put in order with the rest of the key.
    least = nlargest(limit, scores)[-1] - _EQUAL if scores else 0.0
    found = [
        Ranked(candidates[place], score, own[place], near[place])
        for place, score in enumerate(scores)
        if score >= least
    ]
    found.sort(key=_order, reverse=True)
    return found[:limit]


def fuse(
    ranked: Sequence[Ranked], meaning: Mapping[Candidate, float], weight: float, limit: int
) -> list[Ranked]:
    """The same with meaning added: words as a part of the best one's, nearness by its weight.

    ``meaning`` tells of documents, also of those without a word, how near they are, from 0 to 1.
    """
    best = max((one.score for one in ranked), default=0.0) or 1.0
    near = {(c.part, c.uid, c.kind, c.key): (c, score) for c, score in meaning.items()}
    found = []
    for one in ranked:
        c = one.candidate
        _, score = near.pop((c.part, c.uid, c.kind, c.key), (c, 0.0))
        own, around, meant = one.own / best, one.near / best, weight * score
        found.append(Ranked(c, own + around + meant, own, around, meant))
    # Without a word, and nothing near: that is no answer.
    found += [
        Ranked(c, weight * score, 0.0, 0.0, weight * score)
        for c, score in near.values()
        if score > 0
    ]
    found.sort(key=_order, reverse=True)
    return found[:limit]


def _order(ranked: Ranked) -> tuple[float, str, str, str, str]:
    # Rounded: the last digit must not decide between equals.
    candidate = ranked.candidate
    score = round(ranked.score, 9)
    return (score, candidate.key, candidate.uid, candidate.kind, candidate.part)


def _own_scores(candidates: Sequence[Candidate], corpus: Corpus) -> list[float]:
    """BM25, in a loop without calls: there may be some thousand candidates."""
    documents = max(corpus.documents, 1)
    average = max(corpus.length / documents, 1.0)
    weights = [
        (K1 + 1) * log(1 + (documents - held + 0.5) / (held + 0.5)) for held in corpus.frequencies
    ]
    steep = K1 * B / average
    scores = []
    for candidate in candidates:
        discount = K1 * (1 - B) + steep * candidate.length
        score = 0.0
        for count, weight in zip(candidate.counts, weights, strict=True):
            if count:
                score += weight * count / (count + discount)
        scores.append(score)
    return scores


def _near_scores(
    candidates: Sequence[Candidate], own: Sequence[float], neighbours: Sequence[float]
) -> list[float]:
    """What the documents before and behind each one bring it."""
    rows: dict[tuple[str, str], dict[int, float]] = {}
    for candidate, score in zip(candidates, own, strict=True):
        if candidate.row is not None:
            rows.setdefault((candidate.part, candidate.uid), {})[candidate.row] = score
    if not rows:
        return [0.0] * len(own)
    steps = [(sign * far, by) for far, by in enumerate(neighbours, 1) for sign in (-1, 1)]
    found = []
    for candidate in candidates:
        near = 0.0
        if candidate.row is not None:
            at, get = candidate.row, rows[candidate.part, candidate.uid].get
            for step, by in steps:
                near += by * get(at + step, 0.0)
        found.append(near)
    return found
