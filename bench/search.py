"""``python -m bench.search``: how well search finds, and how fast it is however much others have.

**How well.** The conversations of a file (a line each: ``{"conversation": id, "messages": […]}``)
become sessions of one user. What a person says later in a conversation refers back to what was
said before. So every third turn of the user, from the second one on, is left out of the store,
and is a query; what it refers back to are the assistant's message that it answers and the user's
turn before that. This is done three times, so that each turn is left out once. Recall@10: how
much of that is among the first ten hits. The same queries are put to plain BM25 of single events,
with the same words, in the same run. The weights of the neighbours were chosen by
hand, of about seven settings, with a look at the whole file; every moderate one gained at least
0.06, on the conversations with an even number in the file and on the others. Both halves are told.

**How fast.** 1,000 users of one app (fewer for small sizes) have 1,000 memories each, of 30 words
from a vocabulary of 20,000 as uneven as language. Each query has four such words. Measured are
reading the candidates from the store and ranking them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from time import perf_counter, process_time
from typing import Any, NamedTuple

import perdure
from perdure.features.fulltext import candidates, grow
from perdure.features.indexing import EVENTS
from perdure.features.postings import Doc
from perdure.features.ranking import Ranked, rank
from perdure.features.segmentation import query_words
from perdure.ids import UuidV7
from perdure.operation import Bumps, Operation, Plan
from perdure.parts import Place, place

VARIABLE = "PERDURE_BENCH_CONVERSATIONS"
_DEFAULT = Path(__file__).resolve().parents[2] / "shared/data/airline-conversations.jsonl"
_FOLDS = 3
_TOP = 10
_FEWEST_WORDS = 2
_PLAIN: tuple[float, ...] = ()


class Query(NamedTuple):
    """A turn that was left out, and the events that it refers back to, by their ids."""

    text: str
    relevant: frozenset[str]
    even: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the arguments ask for."""
    given = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=given.dir)).resolve()
    try:
        if "quality" in given.rows:
            if not given.data.is_file():
                print(f"no conversations at {given.data}: give --data FILE, or set {VARIABLE}")
                return 2
            _quality(given.data)
        if "speed" in given.rows:
            _speed(given.sizes, given.engines, given.queries, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    data = Path(os.environ.get(VARIABLE) or _DEFAULT)
    parser.add_argument("--data", type=Path, default=data, help=f"conversations (or {VARIABLE})")
    parser.add_argument("--rows", type=_names, default=["quality", "speed"], metavar="A,B")
    parser.add_argument("--engines", type=_names, default=["sqlite", "postgres"], metavar="A,B")
    parser.add_argument("--sizes", type=_numbers, default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=1_000, help="of each size")
    parser.add_argument("--dir", type=Path, help="a folder on a real disk (default: this one's)")
    return parser


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(number.replace("_", "")) for number in text.split(",")]


# -- how well ------------------------------------------------------------------------------------


def _quality(data: Path) -> None:
    lines = data.read_text(encoding="utf-8").splitlines()
    found: dict[str, list[tuple[bool, float]]] = {"plain BM25": [], "perdure": []}
    for fold in range(_FOLDS):
        with perdure.open_sync("memory:") as store:
            queries = [
                query
                for number, line in enumerate(lines)
                for query in _store_some(store, json.loads(line), number, fold)
            ]
            store.index("bench", "one")
            for query in queries:
                found["plain BM25"].append((query.even, _recall(_plain(store, query.text), query)))
                hits = store.search("bench", "one", query.text, kinds=[EVENTS], limit=_TOP)
                found["perdure"].append((query.even, _recall([hit.key for hit in hits], query)))
    print(f"recall@{_TOP} of {len(found['perdure'])} queries      all    even    odd")
    for name, recalls in found.items():
        even, odd = ([r for is_even, r in recalls if is_even is half] for half in (True, False))
        print(f"{name:30} {fmean(even + odd):.3f}  {fmean(even):.3f}  {fmean(odd):.3f}")


def _store_some(
    store: perdure.SyncStore, talk: dict[str, Any], number: int, fold: int
) -> Iterator[Query]:
    """Store a conversation without some turns of the user, which are the queries."""
    messages = talk["messages"]
    turns = [at for at, message in enumerate(messages) if message["role"] == "user"]
    left_out = {at for n, at in enumerate(turns) if n and n % _FOLDS == fold}
    events = [
        perdure.NewEvent(message, id=f"{number}.{at}")
        for at, message in enumerate(messages)
        if at not in left_out
    ]
    key = store.sessions.create("bench", "one", str(number)).key
    store.events.append(key, *events)
    for at in sorted(left_out):
        text = str(messages[at]["content"]).replace("###STOP###", "")
        relevant = {f"{number}.{there}" for there in _refers_to(messages, at)} - {
            f"{number}.{out}" for out in left_out
        }
        if relevant and len(query_words(text)) >= _FEWEST_WORDS:
            yield Query(text, frozenset(relevant), number % 2 == 0)


def _refers_to(messages: Sequence[dict[str, Any]], at: int) -> Iterator[int]:
    """The assistant's last message with text before the turn, and the user's turn before that."""
    for role in ("assistant", "user"):
        while at > 0:
            at -= 1
            if messages[at]["role"] == role and messages[at].get("content"):
                yield at
                break


def _plain(store: perdure.SyncStore, text: str) -> list[str]:
    """The best events by their own words alone."""
    part = place("", "bench", "one", 512).part
    words = query_words(text)
    found = _run(store, lambda: candidates(part, [EVENTS], words, in_rows=frozenset({EVENTS})))
    ids = []
    for ranked in rank(found.candidates, found.corpus, _TOP, _PLAIN):
        where = (part, ranked.candidate.uid, int(ranked.candidate.key))
        ids.append(_event_id(store, *where))
    return ids


def _event_id(store: perdure.SyncStore, part: str, uid: str, seq: int) -> str:
    from perdure.features.line import EVENTS as SQL  # noqa: PLC0415 - here only

    def plan() -> Plan[str]:
        rows = yield SQL.tail(part=part, uid=uid, after=seq - 1, limit=1)
        return str(rows[0][3])

    return str(_run(store, plan))


def _recall(ids: Sequence[str], query: Query) -> float:
    return len(query.relevant.intersection(ids[:_TOP])) / len(query.relevant)


def _run(store: perdure.SyncStore, plan: Any, *, reads: bool = True) -> Any:
    def work(_: Bumps) -> Plan[Any]:
        return (yield from plan())

    return store._engine.run(Operation("bench.search", (), {}, work, reads=reads))


# -- how fast ------------------------------------------------------------------------------------

_EACH = 1_000
_WORDS = 30


class _Language:
    """Texts as lists of words, some of them frequent and most of them rare."""

    def __init__(self, seed: int) -> None:
        self._rnd = random.Random(seed)
        letters = "abcdefghijklmnopqrstuvwxyz"
        lengths = [self._rnd.randint(3, 9) for _ in range(20_000)]
        self._words = ["".join(self._rnd.choices(letters, k=length)) for length in lengths]
        self._up_to = list(accumulate(1 / (rank + 3) for rank in range(len(self._words))))

    def words(self, count: int) -> list[str]:
        top = self._up_to[-1]
        return [self._words[bisect(self._up_to, self._rnd.random() * top)] for _ in range(count)]

    def doc(self, key: str) -> Doc:
        counts: dict[str, int] = {}
        for word in self.words(_WORDS):
            counts[word] = counts.get(word, 0) + 1
        return Doc(key, _WORDS, counts)


def _speed(sizes: Sequence[int], engines: Sequence[str], queries: int, folder: Path) -> None:
    print("engine      memories   loading µs each   query ms: p50    p99   processor p50")
    for engine in engines:
        for size in sizes:
            with _database(engine, folder / f"{engine}-{size}") as url:
                _measure(engine, url, size, queries)


def _measure(engine: str, url: str, size: int, queries: int) -> None:
    language, ids = _Language(7), UuidV7()
    users = [place("", "bench", f"user{n}", 512) for n in range(max(size // _EACH, 1))]
    with perdure.open_sync(url) as store:
        before, probe = None, list(dict.fromkeys(language.words(4)))
        started = perf_counter()
        for user in users:
            _remember(store, user, language, ids, min(size, _EACH))
            if before is None:
                before = _ask(store, users[0], probe)
        each = (perf_counter() - started) / size
        # What all the others have stored changes nothing for the first one.
        if _ask(store, users[0], probe) != before:
            raise AssertionError("others' memories have changed a score")
        chooser = random.Random(3)
        wall, processor = [], []
        for _ in range(queries):
            words = list(dict.fromkeys(language.words(4)))
            user = chooser.choice(users)
            started, cpu = perf_counter(), process_time()
            _ask(store, user, words)
            wall.append(perf_counter() - started)
            processor.append(process_time() - cpu)
    middle, late = len(wall) // 2, len(wall) * 99 // 100
    ms = [1e3 * sorted(wall)[middle], 1e3 * sorted(wall)[late], 1e3 * sorted(processor)[middle]]
    print(
        f"{engine:10} {size:9,} {1e6 * each:17.0f} {ms[0]:15.2f} {ms[1]:6.2f} {ms[2]:15.2f}",
        flush=True,
    )


def _remember(
    store: perdure.SyncStore, user: Place, language: _Language, ids: UuidV7, count: int
) -> None:
    docs = [language.doc(ids()) for _ in range(count)]
    block = ids()
    _run(store, lambda: grow(user, "memories", docs, block=block), reads=False)


def _ask(store: perdure.SyncStore, user: Place, words: Sequence[str]) -> list[Ranked]:
    found = _run(store, lambda: candidates(user.part, ["memories"], words))
    return rank(found.candidates, found.corpus, _TOP)


class _database:  # noqa: N801 - used as a context
    """A new database of that kind: a file, or a server of our own."""

    def __init__(self, engine: str, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        self._server: Any = None

    def __enter__(self) -> str:
        if self._engine == "sqlite":
            self._folder.mkdir(parents=True)
            return f"sqlite:///{self._folder}/bench.db"
        self._server = perdure.EmbeddedPostgres().start()
        return str(self._server.url())

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stop()


if __name__ == "__main__":
    sys.exit(main())
