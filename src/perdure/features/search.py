"""Search: one question over everything of a user, or of an app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from perdure.errors import InvalidError, TooLargeError
from perdure.features.cursors import check_limit
from perdure.features.fulltext import FEW, Found, candidates, tidy
from perdure.features.indexing import EVENTS, SEARCH, TITLES, Scope, catch_up
from perdure.features.line import Run, holds, runs
from perdure.features.lookup import get, target
from perdure.features.ranking import Ranked, rank
from perdure.features.segmentation import TEXT_CHARACTERS, query_words
from perdure.features.snippets import snippet
from perdure.operation import Feature, Flow, M, Plan, Query, flow, run
from perdure.parts import Place, place
from perdure.records import ALL, AllType, SearchHit, SessionKey
from perdure.values import from_micros

#: What can be searched: each kind by its name, with the statement that shows its documents. To
#: add one: its statement in search.sql (or in the feature's own file), and a line here. The
#: feature indexes its documents under this name.
KINDS: Mapping[str, Query] = {
    EVENTS: SEARCH.events,
    TITLES: SEARCH.titles,
}
#: The kinds whose keys are numbers, by which they stand next to each other.
_IN_ROWS = frozenset({EVENTS})

#: Of several that stand for the same thing only a few are looked at again.
_AGAIN = 3
_AT_ONCE = 8
_LETTERS = "abcdefgh"


class Asked(NamedTuple):
    """A checked search."""

    scope: Scope
    at: Place
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    session: SessionKey | None
    limit: int
    now: int


class _Shown(NamedTuple):
    """A row of a statement of `KINDS`; the last three are there for events."""

    place: int
    app: str
    user: str
    session_id: str | None
    key: str
    at: int
    text: str
    seq: int | None = None
    head: int = 0
    jumps: bool = False


class Search(Feature[M]):
    """What `Store` offers itself: `search` and `index`."""

    name = "search"

    @flow
    def search(
        self,
        app: str,
        user: str | AllType,
        query: str,
        *,
        kinds: Sequence[str] | None = None,
        session: SessionKey | None = None,
        limit: int = 10,
    ) -> Flow[list[SearchHit]]:
        """What answers the query best, best first; at most ``limit``.

        Looks through all that is kept of the user, or, with ``user=ALL``, of every user of the
        app, which takes longer. ``kinds`` leaves some out, ``session`` looks in one alone. Every
        write that was acknowledged is seen. No character of the query is syntax: it is looked
        for as words. A turn is found by its neighbours in the conversation too.

        At most 2,000 documents with one of the words are compared: those indexed last.
        """
        asked = self._asked(app, user, query, kinds, session, limit)
        if not asked.words:
            return []
        yield from catch_up(self._settings, asked.scope)
        found, hits = yield from run(self._reading("search", lambda _: _search(asked, self.target)))
        for kind, small in found.small.items():
            if small >= FEW and user is not ALL:
                yield from run(tidy(asked.at, kind, self._settings.ids()))
        return hits

    @flow
    def index(self, app: str | AllType, user: str | AllType) -> Flow[int]:
        """Index what is not yet, so that the next search need not; how many documents.

        A search does that by itself for what it looks through: this is for workers.
        """
        return (yield from catch_up(self._settings, self._scope(app, user)))

    def target(self, key: SessionKey, now: int) -> Any:
        """Where a session is."""
        return target(self._settings.tenant, key, self._settings.limits.text, now)

    def _scope(self, app: str | AllType, user: str | AllType) -> Scope:
        limit, tenant = self._settings.limits.text, self._settings.tenant
        if app is ALL:
            if user is not ALL:
                raise InvalidError("a user belongs to an app: name the app as well", "app")
            return Scope("tenant", tenant)
        if user is ALL:
            return Scope("app", place(tenant, app, "", limit).app_part)
        return Scope("user", place(tenant, app, user, limit).part)

    def _asked(
        self,
        app: str,
        user: str | AllType,
        query: str,
        kinds: Sequence[str] | None,
        session: SessionKey | None,
        limit: int,
    ) -> Asked:
        if not isinstance(app, str):
            raise InvalidError(f"app is a text, not {app!r}", "app")
        scope = self._scope(app, user)
        now = self._settings.clock()
        if session is not None:
            session = self.target(session, now).key
            if session.app != app or session.user != user:
                message = f"session {session!r} is not one of app {app!r}, user {user!r}"
                raise InvalidError(message, "session")
        owner = place(self._settings.tenant, app, "" if user is ALL else user, 512)
        return Asked(
            scope=scope,
            at=owner,
            words=tuple(query_words(check_query(query, self._settings.limits.title))),
            kinds=check_kinds(kinds),
            session=session,
            limit=check_limit(limit, self._settings.limits.records),
            now=now,
        )


def check_query(query: object, limit: int) -> str:
    """The query, if it is text of at most so many bytes; each character stands for itself."""
    if not isinstance(query, str):
        raise InvalidError(f"a query is text, not {query!r}", "query")
    try:
        size = len(query.encode())
    except UnicodeEncodeError:
        raise InvalidError(f"the query holds a lone surrogate: {query!r}", "query") from None
    if size > limit:
        message = f"the query is {size} bytes, the limit 'title' is {limit}"
        raise TooLargeError(message, "title", "query")
    return query


def check_kinds(kinds: Sequence[str] | None) -> tuple[str, ...]:
    """The kinds that are asked for; all of them for None."""
    if kinds is None:
        return tuple(KINDS)
    if isinstance(kinds, str) or not isinstance(kinds, Sequence):
        raise InvalidError(f"kinds is a list of {list(KINDS)}, not {kinds!r}", "kinds")
    for kind in kinds:
        if kind not in KINDS:
            message = f"there is no kind {kind!r} to search: there are {list(KINDS)}"
            raise InvalidError(message, "kinds")
    return tuple(dict.fromkeys(kinds))


def _search(asked: Asked, target_of: Any) -> Plan[tuple[Found, list[SearchHit]]]:
    uid = None
    if asked.session is not None:
        uid = (yield from get(target_of(asked.session, asked.now))).uid
    found = yield from candidates(
        asked.scope.owner,
        asked.kinds,
        asked.words,
        scope=asked.scope.name,
        uid=uid,
        in_rows=_IN_ROWS,
    )
    ranked = rank(found.candidates, found.corpus, asked.limit * _AGAIN + _AT_ONCE)
    return found, (yield from _show(ranked, asked))


def _show(ranked: Sequence[Ranked], asked: Asked) -> Plan[list[SearchHit]]:
    """The hits that are there: not of deleted sessions, nor on lines that were left."""
    hits: list[SearchHit] = []
    lines: dict[tuple[str, str], list[Run]] = {}
    start = 0
    while len(hits) < asked.limit and start < len(ranked):
        some = ranked[start : start + _AT_ONCE]
        shown = yield from _texts(some, asked.now)
        for number, one in enumerate(some):
            row = shown.get(number)
            if row is not None and (yield from _on_line(one, row, lines)):
                hits.append(_hit(one, row, asked.words))
        start += _AT_ONCE
    return hits[: asked.limit]


def _texts(some: Sequence[Ranked], now: int) -> Plan[dict[int, _Shown]]:
    """What is stored of the documents, by a statement for each kind and owner among them."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, one in enumerate(some):
        groups.setdefault((one.candidate.kind, one.candidate.part), []).append(number)
    found: dict[int, _Shown] = {}
    for (kind, part), members in groups.items():
        given: dict[str, Any] = dict.fromkeys(_PLACES)
        given |= {"part": part, "now": now, "characters": TEXT_CHARACTERS}
        for letter, number in zip(_LETTERS, members, strict=False):
            given[f"uid_{letter}"] = some[number].candidate.uid
            given[f"key_{letter}"] = some[number].candidate.key
        query = KINDS[kind]
        rows = yield query(**{name: given[name] for name in query.params})
        found |= {members[row[0]]: _Shown(*row) for row in rows}
    return found


_PLACES = [f"{name}_{letter}" for name in ("uid", "key") for letter in _LETTERS]


def _on_line(one: Ranked, row: _Shown, lines: dict[tuple[str, str], list[Run]]) -> Plan[bool]:
    """Whether the event is on the active line of its session: what is not is hidden."""
    if row.seq is None or not row.jumps:
        return row.seq is None or row.seq <= row.head
    at = (one.candidate.part, one.candidate.uid)
    if at not in lines:
        lines[at] = yield from runs(*at, row.head)
    return holds(lines[at], row.seq)


def _hit(one: Ranked, row: _Shown, words: Sequence[str]) -> SearchHit:
    piece = snippet(row.text, words)
    session = None if row.session_id is None else SessionKey(row.app, row.user, row.session_id)
    return SearchHit(
        kind=one.candidate.kind,
        key=row.key,
        app=row.app,
        user=row.user,
        session=session,
        seq=row.seq,
        at=from_micros(row.at),
        snippet=piece.text,
        marks=piece.marks,
        score=one.score,
        parts={"words": one.own, "near": one.near},
    )
