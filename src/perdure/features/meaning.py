"""Search by meaning: vectors of documents, made by the store's embedder, compared exactly.

A vector belongs to a document of the full-text index and goes with it. They are made when a
search needs them, kept under the name of the model, and compared one by one: that takes as long
as the owner has documents. The database does it where it can (sqlite-vec, pgvector); else they
are read and compared here, faster if numpy is there.
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from math import isfinite, sqrt
from operator import mul
from typing import Any, NamedTuple

from perdure.errors import EmbedderError
from perdure.features.coverage import KIND as SUMMARIES
from perdure.features.documents import KIND as DOCUMENTS
from perdure.features.documents import key_of
from perdure.features.indexed_texts import APPROVALS, CLARIFICATIONS, TEXT_OF
from perdure.features.indexing import SEARCH
from perdure.features.memory_rows import MEMORY
from perdure.features.postings import keys_of
from perdure.operation import Bumps, Call, Flow, Operation, Plan, Query, run
from perdure.values import decode, digest

#: Texts of one call of the embedder; of each so many characters.
TEXTS = 64
CHARACTERS = 8_000
_AT_ONCE = 8
_LETTERS = "abcdefgh"
#: Of kinds that can change without their session or owner being held.
_HOLDING = {APPROVALS: SEARCH.hold_approval, CLARIFICATIONS: SEARCH.hold_clarification}
#: Where the text stands in a row that shows a document.
_TEXT = 6

Key = tuple[str, str, str]
"""uid, kind, and key of a document"""


class Owner(NamedTuple):
    """Whose documents: a part, of these kinds, of one session or all."""

    part: str
    kinds: tuple[str, ...]
    uid: str | None
    now: int

    @property
    def columns(self) -> dict[str, Any]:
        """The parameters that statements take."""
        return {"part": self.part, "kinds": f" {' '.join(self.kinds)} ", "uid": self.uid}


def model_of(embedder: Callable[..., Any]) -> str:
    """The name that vectors are kept under: the embedder's ``model``, else its own name."""
    named = getattr(embedder, "model", None) or getattr(embedder, "__qualname__", None)
    # In a file the numbers stand as this machine has them: one with the other order makes its own.
    order = "" if sys.byteorder == "little" else " (big-endian)"
    return str(named or type(embedder).__qualname__).replace("\0", "")[:256] + order


def embed(embedder: Callable[..., Any], texts: Sequence[str]) -> Flow[list[array[float]]]:
    """The vectors of the texts, each of length 1; `EmbedderError`."""
    try:
        given = yield Call(embedder, (list(texts),))
        vectors = [array("f", map(float, vector)) for vector in given]
    except Exception as error:
        raise EmbedderError(f"the embedder failed: {type(error).__name__}: {error}") from error
    sizes = {len(vector) for vector in vectors}
    if len(vectors) != len(texts) or len(sizes) != 1 or sizes == {0}:
        message = f"the embedder gave {len(vectors)} vectors of sizes {sorted(sizes)}"
        raise EmbedderError(f"{message} for {len(texts)} texts: one of the same size for each")
    return [_unit(vector) for vector in vectors]


def _unit(vector: array[float]) -> array[float]:
    length = sqrt(sum(map(mul, vector, vector)))
    if not isfinite(length):
        raise EmbedderError("the embedder gave a vector with numbers that are not finite")
    return array("f", [x / length for x in vector]) if length else vector


def embed_lacking(
    embedder: Callable[..., Any], owner: Owner, kinds: Mapping[str, Query]
) -> Flow[None]:
    """Make the vectors that the owner's documents lack."""
    model = model_of(embedder)
    lacking = yield from run(_reading(lambda: _lacking(owner, model)))
    for start in range(0, len(lacking), TEXTS):
        some = lacking[start : start + TEXTS]
        shown = yield from run(_reading(_texts_of, owner, some, kinds))
        if shown:
            vectors = yield from embed(embedder, [text for _, text in shown])
            made = dict(zip([key for key, _ in shown], vectors, strict=True))
            yield from run(_storing(owner, model, made, shown, kinds))


def _reading(plan: Callable[..., Plan[Any]], *args: Any) -> Operation[Any]:
    return Operation("search.meaning", (), {}, lambda _: plan(*args), reads=True)


def _lacking(owner: Owner, model: str) -> Plan[list[Key]]:
    """The documents without a vector, of sessions that are there."""
    live = {"", *(uid for (uid,) in (yield SEARCH.live_uids(part=owner.part, now=owner.now)))}
    there = yield SEARCH.pick("vectors", "keys")(**owner.columns, model=model)
    known = {tuple(row) for row in there}
    blocks = yield SEARCH.documents_of(**owner.columns)
    every = [(uid, kind, key) for uid, kind, docs in blocks for key, _ in keys_of(docs)]
    return [key for key in every if key not in known and key[0] in live]


def _texts_of(
    owner: Owner, keys: Sequence[Key], kinds: Mapping[str, Query]
) -> Plan[list[tuple[Key, str]]]:
    found = []
    for kind in sorted({kind for _, kind, _ in keys}):
        of_kind = [key for key in keys if key[1] == kind]
        for start in range(0, len(of_kind), _AT_ONCE):
            some = of_kind[start : start + _AT_ONCE]
            rows = yield from showing(kinds[kind], owner.part, some, owner.now, CHARACTERS)
            found += [(some[row[0]], row[_TEXT]) for row in rows if row[_TEXT].strip()]
    return found


def showing(
    query: Query, part: str, keys: Sequence[Key], now: int, characters: int
) -> Plan[Sequence[Sequence[Any]]]:
    """The rows that show these documents of one kind, at most eight."""
    given = defaultdict[str, Any](lambda: None, part=part, now=now, characters=characters)
    for letter, key in zip(_LETTERS, [*keys, *[(None, "", None)] * _AT_ONCE], strict=False):
        given[f"uid_{letter}"], given[f"key_{letter}"] = key[0], key[2]
        if keys[0][1] == DOCUMENTS and key[2] is not None:
            given[f"namespace_{letter}"], given[f"key_{letter}"] = key_of(key[2])
    rows = yield query.among(given)
    if keys[0][1] == SUMMARIES:
        return [_plain(row, characters) for row in rows]
    made = TEXT_OF.get(keys[0][1])
    if made is None:
        return rows
    return [[*row[:_TEXT], made(*row[_TEXT:])[:characters]] for row in rows]


def _plain(row: Sequence[Any], characters: int) -> list[Any]:
    """The row of a summary with its text, which is stored as JSON."""
    text = decode(row[_TEXT], f"a summary of session {row[3]!r}")[:characters]
    return [*row[:_TEXT], text, *row[_TEXT + 1 :]]


def _storing(
    owner: Owner,
    model: str,
    vectors: Mapping[Key, array[float]],
    shown: Sequence[tuple[Key, str]],
    kinds: Mapping[str, Query],
) -> Operation[None]:
    def work(_: Bumps) -> Plan[None]:
        still = yield from _unchanged(owner, shown, kinds)
        rows = [
            (owner.part, *key[:2], digest(key[2]), key[2], model, len(vector), vector)
            for key, vector in vectors.items()
            if key in still
        ]
        if rows:
            yield SEARCH.put_vector.many(sorted(rows))

    return Operation("search.meaning", (), {}, work)


def _unchanged(
    owner: Owner, shown: Sequence[tuple[Key, str]], kinds: Mapping[str, Query]
) -> Plan[set[Key]]:
    """Which documents are there and say what they said: held, so that they go on to.

    Sessions come before the memories, as for those who redact, and before what hangs on them.
    """
    uids = {key[0] for key, _ in shown}
    for uid in sorted(uids - {""}):
        yield SEARCH.hold_to_index(part=owner.part, uid=uid)
    if "" in uids:
        yield MEMORY.take_owner(part=owner.part)
    for kind, query in _HOLDING.items():
        held = [(owner.part, key[0], key[2]) for key, _ in shown if key[1] == kind]
        if held:
            yield query.many(sorted(held))
    now = dict((yield from _texts_of(owner, [key for key, _ in shown], kinds)))
    return {key for key, text in shown if now.get(key) == text}


def near(owner: Owner, model: str, query: array[float]) -> Plan[dict[Key, float]]:
    """How near each document is to the query, from 0 to 1: those of its dimension."""
    asked = {**owner.columns, "model": model, "dimension": len(query)}
    if (yield SEARCH.compares()):
        rows = yield SEARCH.compared(**asked, vector=query)
        scores = [row[3] for row in rows]
    else:
        rows = yield SEARCH.pick("vectors", "all")(**asked)
        scores = _compared(query, [_vector(row[3], len(query)) for row in rows])
    # Nothing is near a vector of zeros: that gives None or what is no number.
    return {
        (row[0], row[1], row[2]): score if score and score > 0 else 0.0
        for row, score in zip(rows, scores, strict=True)
    }


def _vector(data: bytes, dimension: int) -> array[float]:
    if len(data) == dimension * array("f").itemsize:
        return array("f", data)
    # PostgreSQL's form: a header, and before each number, big-endian, its length.
    pairs = array("f", data[-2 * dimension * array("f").itemsize :])
    if sys.byteorder == "little":
        pairs.byteswap()
    return pairs[1::2]


def _compared(query: array[float], vectors: Sequence[array[float]]) -> list[float]:
    try:
        np = import_module("numpy")
    except ImportError:
        return [sum(map(mul, query, vector)) for vector in vectors]
    matrix = np.frombuffer(b"".join(vectors), dtype="f4").reshape(len(vectors), len(query))
    scores: list[float] = (matrix @ np.array(query, dtype="f4")).tolist()
    return scores
