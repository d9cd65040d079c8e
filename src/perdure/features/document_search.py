"""Finding key-values by the texts that they were indexed with."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from typing import NamedTuple

from perdure.features.documents import KIND, key_of
from perdure.features.filters import Condition
from perdure.features.fulltext import FEW, candidates
from perdure.features.namespaces import Bounds
from perdure.features.ranking import Ranked, rank
from perdure.features.snippets import snippet
from perdure.features.storing import KEYVALUES, KeyValueRow
from perdure.operation import Plan
from perdure.records import KeyValueHit

#: How many rows `indexed` in keyvalues.sql takes.
_SOME = 8


class Question(NamedTuple):
    """What is looked for: the words, whose, when, where, and what else must hold."""

    part: str
    now: int
    words: Sequence[str]
    bounds: Bounds
    condition: Condition | None
    limit: int

    def is_within(self, name: str) -> bool:
        """Whether a key of the index lies in the namespace."""
        return self.bounds.low <= key_of(name) < self.bounds.high


class Answer(NamedTuple):
    """The hits, best first, and whether the index wants to be put in order."""

    hits: list[KeyValueHit]
    untidy: bool


def search(asked: Question) -> Plan[Answer]:
    """The best of them; of equal ones the one that was indexed last comes first."""
    found = yield from candidates(asked.part, [KIND], asked.words, among=asked.is_within)
    ranked = rank(found.candidates, found.corpus, max(len(found.candidates), 1))
    hits: list[KeyValueHit] = []
    for start in range(0, len(ranked), _SOME):
        if len(hits) >= asked.limit:
            break
        hits += yield from _shown(asked, ranked[start : start + _SOME])
    return Answer(hits[: asked.limit], found.small[KIND, ""] >= FEW)


def _shown(asked: Question, ranked: Sequence[Ranked]) -> Plan[list[KeyValueHit]]:
    keys = [key_of(one.candidate.key) for one in ranked]
    keys += [("", "")] * (_SOME - len(keys))
    named = {}
    for letter, (namespace, key) in zip(ascii_lowercase, keys, strict=False):
        named[f"namespace_{letter}"], named[f"key_{letter}"] = namespace, key
    hits = {}
    for number, text, *columns in (
        yield KEYVALUES.indexed(part=asked.part, now=asked.now, **named)
    ):
        row = KeyValueRow._make(columns)
        if number < len(ranked) and (asked.condition is None or asked.condition(row.content)):
            piece = snippet(text, asked.words)
            hits[number] = KeyValueHit(row.record, ranked[number].score, piece.text, piece.marks)
    return [hits[number] for number in sorted(hits)]
