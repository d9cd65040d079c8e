"""A piece of a text that shows why it was found."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from perdure.features.segmentation import WORD_CHARACTERS, query_words, stem

#: How long a snippet is at most, and how much of it stands before the first mark.
CHARACTERS = 240
_BEFORE = 40

_TOKEN = re.compile(r"[^\W_]+|[^\w\s]")
_PAIR = 2


class Snippet(NamedTuple):
    """A piece of a text as it is, and the ranges of it that were looked for."""

    text: str
    marks: tuple[tuple[int, int], ...]


def snippet(text: str, words: Sequence[str]) -> Snippet:
    """The piece with the most marks, the first of equal ones."""
    marks = _joined(_marks(text, frozenset(words)))
    start = _start(marks)
    if start:
        # Not in the middle of a word, if one ends soon.
        blank = text.find(" ", start - 1, start + _BEFORE)
        start = blank + 1 if blank >= 0 else start
    end = start + CHARACTERS
    inside = tuple((low - start, high - start) for low, high in marks if start <= low < high <= end)
    return Snippet(text[start:end], inside)


def _start(marks: Sequence[tuple[int, int]]) -> int:
    best, most = 0, 0
    lows = [low for low, _ in marks]
    for low in lows:
        start = max(low - _BEFORE, 0)
        inside = bisect_left(lows, start + CHARACTERS) - bisect_left(lows, start)
        if inside > most:
            best, most = start, inside
    return best if marks and marks[-1][1] > CHARACTERS else 0


def _marks(text: str, words: frozenset[str]) -> Iterator[tuple[int, int]]:
    for token in _TOKEN.finditer(text):
        shown = token.group()
        if shown.isascii():
            if stem(shown.lower()[:WORD_CHARACTERS]) in words:
                yield token.span()
        elif not words.isdisjoint(_inside(shown)):
            yield from _marks_inside(token.start(), shown, words)


def _inside(token: str) -> Iterable[str]:
    return {*query_words(token), *token}


def _marks_inside(low: int, token: str, words: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The whole of a token that is one word; of a run of characters without spaces the pairs."""
    if len(query_words(token)) == 1:
        yield low, low + len(token)
        return
    for size in (_PAIR, 1):
        for at in range(len(token) - size + 1):
            if not words.isdisjoint(query_words(token[at : at + size])):
                yield low + at, low + at + size


def _joined(marks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges in order, those that meet as one."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(marks):
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined
