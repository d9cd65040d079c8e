r"""Blocks of the full-text index: some documents, and where each of their words stands.

A block is two texts. ``docs``: JSON, ``[[key, length], …]``. ``words``: a line for each word,
in order, with the places of the documents that hold it once, and behind a semicolon those that
hold it more often, and how often: ``\nparcel 0 17;3:2 5:4\n``. To look a word up is to look for
its line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from perdure.features.segmentation import words as segment
from perdure.values import decode, encode_trusted

#: Once in the first document: nearly every line of a block of one.
_FIRST = "0;"


class Doc(NamedTuple):
    """A document as it is indexed: its key, its length in words, how often it holds each."""

    key: str
    length: int
    counts: Mapping[str, int]


def document(key: str, text: str) -> Doc:
    """A text under its key, to be indexed: pure, so that the caller's thread does it."""
    found = segment(text)
    counts: dict[str, int] = {}
    for word in found:
        counts[word] = counts.get(word, 0) + 1
    return Doc(key, len(found), counts)


class Block(NamedTuple):
    """What the columns of a block hold."""

    low_key: str
    high_key: str
    documents: int
    length: int
    docs: str
    words: str


def pack(docs: Sequence[Doc]) -> Block:
    """The block of these documents; there is at least one."""
    once: dict[str, list[str]] = {}
    often: dict[str, list[str]] = {}
    for place, doc in enumerate(docs):
        for word, count in doc.counts.items():
            if count == 1:
                once.setdefault(word, []).append(str(place))
            else:
                often.setdefault(word, []).append(f"{place}:{count}")
    keys = [doc.key for doc in docs]
    text = "\n".join(
        f"{word} {' '.join(once.get(word, ()))};{' '.join(often.get(word, ()))}"
        for word in sorted(once.keys() | often.keys())
    )
    return Block(
        min(keys),
        max(keys),
        len(docs),
        sum(doc.length for doc in docs),
        encode_trusted([[doc.key, doc.length] for doc in docs]),
        f"\n{text}\n" if text else "\n",
    )


def keys_of(docs: str) -> list[tuple[str, int]]:
    """Key and length of each document of a block."""
    return [(key, length) for key, length in decode(docs, "a block of the index")]


def unpack(docs: str, words: str) -> list[Doc]:
    """The documents that were packed."""
    found = keys_of(docs)
    counts: list[dict[str, int]] = [{} for _ in found]
    for line in words.split("\n"):
        word, _, postings = line.partition(" ")
        if postings == _FIRST:
            counts[0][word] = 1
        elif word:
            once, often = _places(postings)
            for place in once:
                counts[place][word] = 1
            for place, count in often:
                counts[place][word] = count
    return [Doc(key, length, held) for (key, length), held in zip(found, counts, strict=True)]


def look_up(words: str, wanted: Sequence[str], held: list[int]) -> dict[int, list[int]]:
    """The places of documents that hold a wanted word, with how often they hold each.

    Adds to ``held`` how many documents hold each word.
    """
    found: dict[int, list[int]] = {}
    for number, word in enumerate(wanted):
        start = words.find(f"\n{word} ")
        if start < 0:
            continue
        start += len(word) + 2
        once, often = _places(words[start : words.index("\n", start)])
        held[number] += len(once) + len(often)
        for place in once:
            counts = found.get(place)
            if counts is None:
                found[place] = counts = [0] * len(wanted)
            counts[number] = 1
        for place, count in often:
            found.setdefault(place, [0] * len(wanted))[number] = count
    return found


def _places(postings: str) -> tuple[list[int], list[tuple[int, int]]]:
    once, _, often = postings.partition(";")
    pairs = [posting.partition(":") for posting in often.split()]
    return list(map(int, once.split())), [(int(place), int(count)) for place, _, count in pairs]
