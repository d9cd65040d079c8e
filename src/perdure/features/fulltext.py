"""The full-text index of an owner's documents: kept, cleaned, and asked for candidates.

Everything here is a plan or pure. What a document is belongs to the features: a kind is a name,
a key is a text that is unique within its kind (and session, if it has one).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from perdure.features.postings import Block, Doc, document, keys_of, look_up, pack, unpack
from perdure.features.ranking import Candidate, Corpus
from perdure.operation import Bumps, Operation, Plan
from perdure.parts import Place
from perdure.sql import load
from perdure.values import digest

FULLTEXT = load("perdure.features", "fulltext.sql")

#: A search looks no further back when it has found so many documents that hold one of its words.
MOST = 2_000
#: Blocks with fewer documents are small: they are put together when there are `FEW` of them, to
#: blocks that are not, so that a document is moved once. One that is made whole has `_FULL`.
SMALL = 64
FEW = 64
_FULL = 128
_PAGE = 64
_NEWEST = "~"
#: Blocks of long documents are small in number: together they have no more text than this.
_TEXT = 262_144


class Found(NamedTuple):
    """What `candidates` has found, and how many small blocks of a kind and session it went through.

    The session is '' for blocks of none.
    """

    candidates: list[Candidate]
    corpus: Corpus
    small: Counter[tuple[str, str]]


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
    """Put a document in the place of the one that has its key, or add it if there is none."""
    if not (yield from cut(place.part, kind, doc.key, doc.key, uid=uid, instead=doc)):
        yield from index(place, kind, [doc], block=block, uid=uid)


def reindex_alone(place: Place, kind: str, doc: Doc, *, block: str, uid: str = "") -> Plan[None]:
    """`reindex` of what was indexed by itself, in a block of that name, where it may be still."""
    if (yield from _cut_alone(place.part, kind, doc.key, block, uid, doc)):
        return
    yield from reindex(place, kind, doc, block=block, uid=uid)


def unindex_alone(part: str, kind: str, key: str, *, block: str, uid: str = "") -> Plan[None]:
    """`unindex` of what was indexed by itself, in a block of that name, where it may be still."""
    if not (yield from _cut_alone(part, kind, key, block, uid, None)):
        yield from unindex(part, kind, [key], uid=uid)


def _cut_alone(
    part: str, kind: str, key: str, block: str, uid: str, instead: Doc | None
) -> Plan[bool]:
    """By the block's name, so that it takes no longer the more there are; whether it was there."""
    yield FULLTEXT.drop_vector(part=part, uid=uid, kind=kind, digest=digest(key))
    return (yield from _cut_block(part, block, key, key, instead))


def cut(
    part: str, kind: str, low: str, high: str, *, uid: str = "", instead: Doc | None = None
) -> Plan[bool]:
    """Take out every document with a key from low to high, with every word of theirs.

    ``instead`` takes the place of one; whether there was any.
    """
    yield FULLTEXT.drop_vectors(part=part, uid=uid, kind=kind, low_key=low, high_key=high)
    done: set[str] = set()
    found, again = False, True
    while again:
        again = False
        around = yield FULLTEXT.around(part=part, uid=uid, kind=kind, low_key=low, high_key=high)
        for block, docs in sorted(around):
            if block not in done and any(low <= key <= high for key, _ in keys_of(docs)):
                # If it is not there any more, somebody has put it together with others.
                taken = yield from _cut_block(part, block, low, high, instead)
                found, again = found or taken, again or not taken
                if not taken:
                    continue
            done.add(block)
    return found


def _cut_block(part: str, block: str, low: str, high: str, instead: Doc | None) -> Plan[bool]:
    rows = yield FULLTEXT.take(part=part, block=block)
    for uid, kind, app_part, docs, words in rows:
        kept = [doc for doc in unpack(docs, words) if not low <= doc.key <= high]
        if instead is not None:
            kept.append(instead)
        if kept:
            yield FULLTEXT.add(**_row(Place(part, app_part), kind, uid, block, pack(kept)))
    return bool(rows)


def drop(part: str, kind: str, *, uid: str = "") -> Plan[None]:
    """Take out all documents of a kind, of one session or of none."""
    yield FULLTEXT.drop(part=part, uid=uid, kind=kind)
    yield FULLTEXT.drop_all_vectors(part=part, uid=uid, kind=kind)


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


def tidy(place: Place, kind: str, block: str, *, uid: str = "") -> Operation[None]:
    """Put the small blocks of a kind together: when a search went through `FEW` of them."""

    def work(_: Bumps) -> Plan[None]:
        if uid:
            yield FULLTEXT.hold_session(part=place.part, uid=uid)
        else:
            yield FULLTEXT.hold_owner(part=place.part)
        yield from grow(place, kind, [], block=block, uid=uid)

    return Operation("search.tidy", (), {}, work)


def _chunks(docs: Sequence[Doc]) -> list[list[Doc]]:
    """Blocks that are not small, and the rest."""
    chunks: list[list[Doc]] = []
    size = _TEXT
    for doc in docs:
        if size >= _TEXT or len(chunks[-1]) >= _FULL:
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
    among: Callable[[str], bool] | None = None,
) -> Plan[Found]:
    """The documents that hold a word, with how often they hold each, and the owner's numbers.

    From the newest block on; when ``most`` have been found it looks no further back, and the
    numbers are those of what it has looked at. ``scope="app"``: of all users, and ``owner`` is
    the app's part. Keys of the kinds ``in_rows`` are numbers, by which documents are neighbours.
    ``among`` says of which keys alone there may be candidates.
    """
    found: list[Candidate] = []
    looked = _Looked([0] * len(words))
    before = _NEWEST
    while len(found) < most and words:
        page = yield FULLTEXT.pick("newest", scope)(
            owner=owner, before=before, kinds=f" {' '.join(kinds)} ", uid=uid, limit=_PAGE
        )
        for row in page:
            hits = looked.into(row, words, row[3] in in_rows)
            found += hits if among is None else [hit for hit in hits if among(hit.key)]
            if len(found) >= most:
                break
        if len(page) < _PAGE:
            break
        before = page[-1][1]
    return Found(found[:most], looked.corpus(), looked.small)


class _Looked:
    """Counts what has been looked at."""

    def __init__(self, held: list[int]) -> None:
        self.small: Counter[tuple[str, str]] = Counter()
        self._held = held
        self._documents = self._length = 0

    def into(self, row: Sequence[Any], words: Sequence[str], in_rows: bool) -> list[Candidate]:
        """The candidates of a block, those that were added last first."""
        part, _, uid, kind, documents, length, docs, text = row
        self._documents += documents
        self._length += length
        self.small[kind, uid] += documents < SMALL
        hits = look_up(text, words, self._held)
        if not hits:
            return []
        keys = keys_of(docs)
        found = []
        for place in sorted(hits, reverse=True):
            key, size = keys[place]
            at = int(key) if in_rows else None
            found.append(Candidate(part, uid, kind, key, size, hits[place], at))
        return found

    def corpus(self) -> Corpus:
        """The numbers for the ranking."""
        return Corpus(self._documents, self._length, tuple(self._held))


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
    "reindex_alone",
    "tidy",
    "unindex",
    "unindex_alone",
]
