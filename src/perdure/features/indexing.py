"""Bringing the full-text index up to date with the sessions: behind them, never in an append.

A session has a mark: all its events up to that seq are indexed, those of lines that were left
too, and the title as it stands there. What is removed or redacted leaves the index in the same
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from perdure.features.drafts import shown_text
from perdure.features.fulltext import cut, document, drop, grow, index
from perdure.features.postings import Doc
from perdure.features.segmentation import TEXT_CHARACTERS
from perdure.operation import Bumps, Flow, Operation, Plan, Settings, Sleep, run
from perdure.parts import Place
from perdure.sql import load

SEARCH = load("perdure.features", "search.sql")

EVENTS = "events"
TITLES = "titles"

#: Documents of one transaction: packing them takes less than 20 ms.
_DOCUMENTS = 200
_SESSIONS = 50
#: What is taken apart in one go: some 20 ms.
_CHARACTERS = 300_000
#: Events between two times that the small blocks of a session are put together.
_GATHERED = 16


class Scope(NamedTuple):
    """Whose sessions: ``name`` is a choice of the statements, ``owner`` a part or a tenant.

    ``recent``: those of an app that were written to ``since`` a moment.
    """

    name: str
    owner: str
    since: int = 0

    def lacking(self, now: int) -> Any:
        """The statement for the sessions that are not indexed to their end."""
        given: dict[str, Any] = {"owner": self.owner, "now": now, "limit": _SESSIONS}
        if self.name == "recent":
            return SEARCH.lacking_since(**given, since=self.since)
        return SEARCH.pick("lacking", self.name)(**given)


class _Lacking(NamedTuple):
    """A session that is not indexed to its end."""

    part: str
    app_part: str
    uid: str
    version: int
    last_seq: int
    title: str
    seq: int
    old_title: str
    updated_at: int = 0


class _Fresh(NamedTuple):
    """What is to be indexed of a session: events up to a seq, as they were read."""

    session: _Lacking
    texts: list[tuple[int, str]]
    upto: int


def event_key(seq: int) -> str:
    """The key of an event: as text in the order of seqs."""
    return f"{seq:019d}"


def always() -> Flow[bool]:
    """True: to go on."""
    return True
    yield


def catch_up(
    settings: Settings, scope: Scope, keep: Callable[[], Flow[bool]] = always
) -> Flow[int]:
    """Index what was acknowledged before the call and is not indexed; how many documents.

    ``keep`` is asked between two transactions whether to go on.
    """
    total, done = 0, False
    while not done and (yield from keep()):
        found, complete = yield from run(_reading(scope, settings.clock()))
        if not found:
            break
        docs = yield from _documents(found)
        write = _write(list(zip(found, docs, strict=True)), settings.ids())
        skipped = yield from run(write)
        total += sum(map(len, docs))
        done = complete and not skipped
        if not skipped:
            # Those before it are done: they need not be looked at once more.
            scope = scope._replace(since=found[-1].session.updated_at)
    return total


def _documents(found: Sequence[_Fresh]) -> Flow[list[list[Doc]]]:
    """The texts, taken apart.

    Here and not in a plan: a transaction does not wait for it. Nor does an event loop, for long.
    """
    docs: list[list[Doc]] = []
    characters = 0
    for some in found:
        docs.append([])
        for seq, text in some.texts:
            docs[-1].append(document(event_key(seq), text))
            characters += len(text)
            if characters >= _CHARACTERS:
                characters = 0
                yield Sleep(0)
    return docs


def _reading(scope: Scope, now: int) -> Operation[tuple[list[_Fresh], bool]]:
    return Operation("search.lacking", (), {}, lambda _: _read(scope, now), reads=True)


def _read(scope: Scope, now: int) -> Plan[tuple[list[_Fresh], bool]]:
    """What is lacking, as much as one transaction writes; and whether that is all."""
    rows = yield scope.lacking(now)
    complete = len(rows) < _SESSIONS
    left = _DOCUMENTS
    found: list[_Fresh] = []
    for row in rows:
        if left <= 0:
            return found, False
        session = _Lacking(*row)
        texts = yield SEARCH.fresh(
            part=session.part,
            uid=session.uid,
            after=session.seq,
            limit=left,
            characters=TEXT_CHARACTERS,
        )
        upto = max(session.seq, session.last_seq)
        if len(texts) == left:
            upto, complete = texts[-1][0], False
        left -= len(texts)
        shown = [(seq, shown_text(text, within)) for seq, text, within in texts]
        found.append(_Fresh(session, shown, upto))
    return found, complete


def _write(found: Sequence[tuple[_Fresh, list[Doc]]], block: str) -> Operation[int]:
    """Index what was read; how many sessions have changed meanwhile and were left alone."""

    def work(_: Bumps) -> Plan[int]:
        skipped = 0
        for number, (fresh, docs) in enumerate(found):
            if (yield from _still(fresh)):
                yield from _index(fresh, docs, f"{block}.{number:04d}")
            else:
                skipped += 1
        return skipped

    return Operation("search.index", (), {}, work)


def _still(fresh: _Fresh) -> Plan[bool]:
    """Hold the session; whether its events are those that were read."""
    session = fresh.session
    at = {"part": session.part, "uid": session.uid}
    if tuple(map(tuple, (yield SEARCH.hold_to_index(**at)))) != ((session.title,),):
        return False
    [found] = yield SEARCH.unchanged(
        **at, version=session.version, after=session.seq, high=fresh.upto
    )
    return tuple(found) == (session.seq, 0, len(fresh.texts))


def _index(fresh: _Fresh, docs: Sequence[Doc], block: str) -> Plan[None]:
    session = fresh.session
    place, uid = Place(session.part, session.app_part), session.uid
    said = [doc for doc in docs if doc.length]
    # Not each time: whoever searches after each turn would write all the small ones again.
    if fresh.upto // _GATHERED > session.seq // _GATHERED:
        yield from grow(place, EVENTS, said, block=block, uid=uid)
    else:
        yield from index(place, EVENTS, said, block=block, uid=uid)
    if session.title != session.old_title:
        yield from drop(place.part, TITLES, uid=uid)
        title = document("", session.title)
        yield from index(place, TITLES, [title], block=f"{block}.title", uid=uid)
    yield SEARCH.mark(part=place.part, uid=uid, seq=fresh.upto, title=session.title)


def forget(part: str, uid: str, low: int, high: int) -> Plan[None]:
    """Take these events out of the index; the session is held."""
    yield from cut(part, EVENTS, event_key(low), event_key(high), uid=uid)


def forget_all(part: str, uid: str) -> Plan[None]:
    """Take all events of a session out of the index; it is held."""
    yield from drop(part, EVENTS, uid=uid)


def replace_text(part: str, uid: str, seq: int, text: str) -> Plan[None]:
    """Index another text of an event, if it is indexed already; the session is held."""
    key = event_key(seq)
    yield from cut(part, EVENTS, key, key, uid=uid, instead=document(key, text))
