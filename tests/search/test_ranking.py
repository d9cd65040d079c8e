"""What the score is: BM25 of the owner's numbers, and what neighbours add."""

from __future__ import annotations

from math import isclose, log

from perdure.features.ranking import Candidate, Corpus, rank


def candidate(key: str, *counts: int, length: int = 10, row: int | None = None) -> Candidate:
    return Candidate("p", "u", "event", key, length, counts, row)


def test_the_score_is_bm25() -> None:
    [best] = rank([candidate("a", 2, length=20)], Corpus(100, 1000, (10,)), 5)

    discount = 1.2 * (1 - 0.75 + 0.75 * 20 / 10)
    idf = log(1 + (100 - 10 + 0.5) / (10 + 0.5))
    assert isclose(best.score, idf * 2.2 * 2 / (2 + discount))
    assert (best.own, best.near) == (best.score, 0.0)


def test_a_rare_word_weighs_more() -> None:
    found = rank([candidate("often", 1, 0), candidate("rare", 0, 1)], Corpus(100, 1000, (50, 1)), 5)

    assert [ranked.candidate.key for ranked in found] == ["rare", "often"]


def test_equals_stand_by_their_keys_in_whatever_order_they_come() -> None:
    docs = [candidate(key, 1) for key in "bca"]

    for given in (docs, docs[::-1]):
        found = rank(given, Corpus(3, 30, (3,)), 5)
        assert [ranked.candidate.key for ranked in found] == ["c", "b", "a"]


def test_a_neighbour_adds_by_its_distance() -> None:
    docs = [candidate(str(row), 1, row=row) for row in (1, 2, 9)]

    first, second, alone = rank(docs, Corpus(9, 90, (3,)), 5, neighbours=(0.5,))

    assert isclose(first.near, 0.5 * second.own)
    assert isclose(second.near, 0.5 * first.own)
    assert (alone.candidate.key, alone.near) == ("9", 0.0)


def test_nothing_was_looked_at() -> None:
    assert rank([], Corpus(0, 0, (0,)), 5) == []


def test_only_the_best_come_and_of_equals_those_with_the_greatest_keys() -> None:
    docs = [candidate(key, 1) for key in "abcdef"]

    assert [ranked.candidate.key for ranked in rank(docs, Corpus(6, 60, (6,)), 2)] == ["f", "e"]
