"""The full-text index of an owner's documents: kept, cleaned, and asked for candidates.

Everything here is a plan or pure. What a document is belongs to the features: a kind is a name,
a key is a text that is unique within its kind (and session, if it has one).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from perdure.features.postings import Block, Doc, document, keys_of, look_up, pack, unpack
from perdure.features.ranking import Candidate, Corpus
from perdure.operation import Bumps, Operation, Plan
from perdure.parts import Place
from perdure.sql import load

FULLTEXT = load("perdure.features", "fulltext.sql")

#: A search looks no further back when it has found so many documents that hold one of its words.
MOST = 2_000
#: Blocks with fewer documents are small: they are put together when there are `FEW` of them.
SMALL = 128
FEW = 64
_PAGE = 64
_NEWEST = "~"
#: Blocks of long documents are small in number: together they have no more text than this.
_TEXT = 262_144


class Found(NamedTuple):
    """What `candidates` has found, and how many small blocks it went through."""

    candidates: list[Candidate]
    corpus: Corpus
    small: int


def index(place: Place, kind: str, docs: Sequence[Doc], *, block: str, uid: str = "") -> Plan[None]:
    """Add documents that are not indexed; ``block`` is a new id, made with the operation.

    ``uid``: of the session with which they go.
    """
    if docs:
        yield FULLTEXT.add(**_row(place, kind, uid, block, pack(docs)))


def unindex(part: str, kind: str, keys: Iterable[str], *, uid: str = "") -> Plan[None]:
    """Take documents out with every word of theirs; those that are not there are passed over."""
    for key in sorted(set(keys)):
        yield from cut(part, kind, key, key, uid=uid)


def reindex(place: Place, kind: str, doc: Doc, *, block: str, uid: str = "") -> Plan[None]:
    """Put a document in the place of the one that has its key."""
    yield from unindex(place.part, kind, [doc.key], uid=uid)
    yield from index(place, kind, [doc], block=block, uid=uid)


def cut(part: str, kind: str, low: str, high: str, *, uid: str = "") -> Plan[None]:
    """Take out every document with a key from low to high, with every word of theirs."""
    done: set[str] = set()
    again = True
    while again:
        again = False
        around = yield FULLTEXT.around(part=part, uid=uid, kind=kind, low_key=low, high_key=high)
        for block, docs in around:
            if block not in done and any(low <= key <= high for key, _ in keys_of(docs)):
                # If it is not there any more, somebody has put it together with others.
                taken = yield from _cut_block(part, block, low, high)
                again = again or not taken
            done.add(block)


def _cut_block(part: str, block: str, low: str, high: str) -> Plan[bool]:
    rows = yield FULLTEXT.take(part=part, block=block)
    for uid, kind, app_part, docs, words in rows:
        kept = [doc for doc in unpack(docs, words) if not low <= doc.key <= high]
        if kept:
            yield FULLTEXT.add(**_row(Place(part, app_part), kind, uid, block, pack(kept)))
    return bool(rows)


def drop(part: str, kind: str, *, uid: str = "") -> Plan[None]:
    """Take out all documents of a kind, of one session or of none."""
    yield FULLTEXT.drop(part=part, uid=uid, kind=kind)


def grow(place: Place, kind: str, docs: Sequence[Doc], *, block: str, uid: str = "") -> Plan[None]:
    """Add documents, together with all that stand in small blocks."""
    found = yield FULLTEXT.take_small(part=place.part, uid=uid, kind=kind, small=SMALL)
    gathered: list[Doc] = []
    for _, taken, words in sorted(found):
        gathered += unpack(taken, words)
    gathered += docs
    for number, some in enumerate(_chunks(gathered)):
        name = f"{block}.{number:04d}"
        yield FULLTEXT.add(**_row(place, kind, uid, name, pack(some)))


def tidy(place: Place, kind: str, block: str) -> Operation[None]:
    """Put the small blocks of a kind together: when a search went through `FEW` of them."""

    def work(_: Bumps) -> Plan[None]:
        yield from grow(place, kind, [], block=block)

    return Operation("search.tidy", (), {}, work)


def _chunks(docs: Sequence[Doc]) -> list[list[Doc]]:
    """Blocks that are not small, and the rest."""
    chunks: list[list[Doc]] = []
    size = _TEXT
    for doc in docs:
        if size >= _TEXT or len(chunks[-1]) >= SMALL:
            chunks.append([])
            size = 0
        chunks[-1].append(doc)
        size += 12 * len(doc.counts)
    return chunks


def _row(place: Place, kind: str, uid: str, block: str, packed: Block) -> dict[str, object]:
    return {
        "part": place.part, "app_part": place.app_part, "uid": uid, "kind": kind, "block": block,
        **packed._asdict(),
    }  # fmt: skip


def candidates(
    owner: str,
    kinds: Sequence[str],
    words: Sequence[str],
    *,
    scope: str = "user",
    uid: str | None = None,
    most: int = MOST,
    in_rows: frozenset[str] = frozenset(),
) -> Plan[Found]:
    """The documents that hold a word, with how often they hold each, and the owner's numbers.

    From the newest block on; when ``most`` have been found it looks no further back, and the
    numbers are those of what it has looked at. ``scope="app"``: of all users, and ``owner`` is
    the app's part. Keys of the kinds ``in_rows`` are numbers, by which documents are neighbours.
    """
    found: list[Candidate] = []
    documents = length = small = 0
    held = [0] * len(words)
    before = _NEWEST
    while len(found) < most and words:
        page = yield FULLTEXT.pick("newest", scope)(
            owner=owner, before=before, kinds=f" {' '.join(kinds)} ", uid=uid, limit=_PAGE
        )
        for part, _, block_uid, kind, many, block_length, docs, text in page:
            documents += many
            length += block_length
            small += many < SMALL
            hits = look_up(text, words, held)
            if hits:
                keys = keys_of(docs)
                rows = kind in in_rows
                for place in sorted(hits, reverse=True):
                    key, size = keys[place]
                    row = int(key) if rows else None
                    found.append(Candidate(part, block_uid, kind, key, size, hits[place], row))
        if len(page) < _PAGE:
            break
        before = page[-1][1]
    return Found(found, Corpus(documents, length, tuple(held)), small)


__all__ = [
    "FEW",
    "Doc",
    "Found",
    "candidates",
    "cut",
    "document",
    "drop",
    "grow",
    "index",
    "reindex",
    "tidy",
    "unindex",
]
