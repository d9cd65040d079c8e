"""Search: one question over everything of a user, or of an app."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from perdure.errors import EmbedderError, InvalidError
from perdure.features.coverage import KIND as SUMMARIES
from perdure.features.coverage import reaches
from perdure.features.cursors import check_limit
from perdure.features.documents import KIND as DOCUMENTS
from perdure.features.drafts import shown_text
from perdure.features.fulltext import FEW, Found, candidates, tidy
from perdure.features.indexed_texts import APPROVALS, CLARIFICATIONS, TASKS
from perdure.features.indexing import EVENTS, SEARCH, TITLES, Scope, catch_up
from perdure.features.keeping import KIND as MEMORIES
from perdure.features.line import Run, holds, runs
from perdure.features.lookup import get, target
from perdure.features.meaning import Owner, embed, embed_lacking, model_of, near, showing
from perdure.features.memory_rows import MEMORY
from perdure.features.namespaces import decoded
from perdure.features.queries import check_query
from perdure.features.ranking import Candidate, Ranked, fuse, rank
from perdure.features.segmentation import TEXT_CHARACTERS, query_words
from perdure.features.snippets import snippet
from perdure.features.storing import KEYVALUES
from perdure.operation import Feature, Flow, M, Plan, Query, flow, run
from perdure.parts import Place, place
from perdure.records import ALL, AllType, SearchHit, SessionKey
from perdure.values import from_micros, maybe

#: What can be searched: each kind by its name, with the statement that shows its documents. To
#: add one: its statement in search.sql (or in the feature's own file), and a line here. The
#: feature indexes its documents under this name.
KINDS: Mapping[str, Query] = {
    EVENTS: SEARCH.events,
    TITLES: SEARCH.titles,
    SUMMARIES: SEARCH.summaries,
    MEMORIES: MEMORY.pick("memories", "now"),
    DOCUMENTS: KEYVALUES.documents,
    APPROVALS: SEARCH.approvals,
    CLARIFICATIONS: SEARCH.clarifications,
    TASKS: SEARCH.tasks,
}
#: The kinds whose keys are numbers, by which they stand next to each other.
_IN_ROWS = frozenset({EVENTS})

#: Of several that stand for the same thing only a few are looked at again.
_AGAIN = 3
_AT_ONCE = 8


class Asked(NamedTuple):
    """A checked search."""

    scope: Scope
    at: Place
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    session: SessionKey | None
    limit: int
    now: int
    meaning: float


class _Shown(NamedTuple):
    """A row of a statement of `KINDS`; the last ones are there for events and summaries."""

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
    covers: tuple[int, int | None] | None = None
    namespace: str | None = None


#: The columns that each statement has.
_COMMON = _Shown._fields[:7]


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
        meaning: float = 0.5,
        on_embedder_error: str = "raise",
    ) -> Flow[list[SearchHit]]:
        """What answers the query best, best first; at most ``limit``.

        Looks through all that is kept of the user, or, with ``user=ALL``, of every user of the
        app, which takes longer. ``kinds`` leaves some out, ``session`` looks in one alone. Every
        write that was acknowledged is seen. No character of the query is syntax: it is looked
        for as words. A turn is found by its neighbours in the conversation too.

        At most 2,000 documents with one of the words are compared: those indexed last.

        With an embedder, documents of the same meaning are found as well: to the score of the
        words, as a part of the best one's, ``meaning`` times the nearness from 0 to 1 is added
        (0: the embedder is not asked). If it fails that is an `EmbedderError`, or, with
        ``on_embedder_error="words"``, a search by words. With ``user=ALL`` words alone count.
        """
        asked = self._asked(app, user, query, kinds, session, limit, meaning)
        if on_embedder_error not in {"raise", "words"}:
            message = f"on_embedder_error is 'raise' or 'words', not {on_embedder_error!r}"
            raise InvalidError(message, "on_embedder_error")
        yield from catch_up(self._settings, asked.scope)
        try:
            vector = yield from self._vector(asked, query)
        except EmbedderError:
            if on_embedder_error == "raise":
                raise
            vector = None
        if not asked.words and vector is None:
            return []
        model = model_of(self._settings.embedder) if self._settings.embedder else ""
        meant = _Meant(model, vector)
        reading = self._reading("search", lambda _: _search(asked, meant, self._target))
        found, hits = yield from run(reading)
        yield from self._tidied(asked, found)
        return hits

    def _tidied(self, asked: Asked, found: Found) -> Flow[None]:
        """Have the next search go through fewer blocks; of a whole app only those of its tasks."""
        where = asked.at
        if asked.scope.name != "user":
            where = Place(asked.at.app_part, asked.at.app_part)
        for (kind, uid), small in found.small.items():
            if small >= FEW and (asked.scope.name == "user" or kind == TASKS):
                yield from run(tidy(where, kind, self._settings.ids(), uid=uid))

    def _vector(self, asked: Asked, query: str) -> Flow[array[float] | None]:
        """The query's vector, when all documents that it is compared with have theirs."""
        embedder = self._settings.embedder
        if embedder is None or not asked.meaning or asked.scope.name != "user":
            return None
        if not query.strip("\0 \n\t"):
            return None
        owner = Owner(asked.at.part, asked.kinds, None, asked.now)
        yield from embed_lacking(embedder, owner, KINDS)
        [vector] = yield from embed(embedder, [query])
        return vector

    @flow
    def index(self, app: str | AllType, user: str | AllType) -> Flow[int]:
        """Index what is not yet, so that the next search need not; how many documents.

        A search does that by itself for what it looks through: this is for workers.
        """
        return (yield from catch_up(self._settings, self._scope(app, user)))

    def _target(self, key: SessionKey, now: int) -> Any:
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
        meaning: float,
    ) -> Asked:
        if not isinstance(app, str):
            raise InvalidError(f"app is a text, not {app!r}", "app")
        scope = self._scope(app, user)
        now = self._settings.clock()
        if session is not None:
            session = self._target(session, now).key
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
            meaning=check_meaning(meaning),
        )


def check_meaning(meaning: object) -> float:
    """How much meaning counts."""
    number = meaning if isinstance(meaning, int | float) else -1.0
    if not 0 <= number <= 100:  # noqa: PLR2004 - a hundred times the words is meaning alone
        raise InvalidError(f"meaning is a number from 0 to 100, not {meaning!r}", "meaning")
    return float(number)


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


class _Meant(NamedTuple):
    """The query's vector, if there is one, and which model it is of."""

    model: str
    vector: array[float] | None


def _search(asked: Asked, meant: _Meant, target_of: Any) -> Plan[tuple[Found, list[SearchHit]]]:
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
    most = asked.limit * _AGAIN + _AT_ONCE
    ranked = rank(found.candidates, found.corpus, most)
    if meant.vector is not None:
        owner = Owner(asked.at.part, asked.kinds, uid, asked.now)
        ranked = yield from _with_meaning(asked, owner, meant, found)
    return found, (yield from _show(ranked, asked))


def _with_meaning(asked: Asked, owner: Owner, meant: _Meant, found: Found) -> Plan[list[Ranked]]:
    if meant.vector is None:
        return []
    found_near = yield from near(owner, meant.model, meant.vector)
    by_meaning = {
        Candidate(owner.part, uid, kind, key, 0, ()): score
        for (uid, kind, key), score in found_near.items()
    }
    ranked = rank(found.candidates, found.corpus, len(found.candidates))
    return fuse(ranked, by_meaning, asked.meaning, asked.limit * _AGAIN + _AT_ONCE)


def _show(ranked: Sequence[Ranked], asked: Asked) -> Plan[list[SearchHit]]:
    """The hits that are there: not of deleted sessions, nor on lines that were left."""
    found: list[tuple[Ranked, _Shown]] = []
    lines: dict[tuple[str, str], list[Run]] = {}
    start = 0
    while len(found) < asked.limit and start < len(ranked):
        some = ranked[start : start + _AT_ONCE]
        shown = yield from _texts(some, asked.now)
        for number, one in enumerate(some):
            row = shown.get(number)
            if row is not None and (yield from _on_line(one, row, lines)):
                found.append((one, row))
        start += _AT_ONCE
    return [_hit(one, row, asked.words) for one, row in found[: asked.limit]]


def _texts(some: Sequence[Ranked], now: int) -> Plan[dict[int, _Shown]]:
    """What is stored of the documents, by a statement for each kind and owner among them."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, one in enumerate(some):
        groups.setdefault((one.candidate.kind, one.candidate.part), []).append(number)
    found: dict[int, _Shown] = {}
    for (kind, part), members in groups.items():
        keys = [(one.uid, kind, one.key) for one in (some[n].candidate for n in members)]
        rows = yield from showing(KINDS[kind], part, keys, now, TEXT_CHARACTERS)
        found |= {members[row[0]]: _shown(kind, row) for row in rows}
    return found


def _shown(kind: str, row: Sequence[Any]) -> _Shown:
    if kind == EVENTS:
        shown = _Shown(*row[:-1])
        return shown._replace(text=shown_text(shown.text, row[-1]))
    if kind not in {SUMMARIES, DOCUMENTS}:
        return _Shown(*row)
    columns, rest = row[: len(_COMMON)], row[len(_COMMON) :]
    shown = _Shown(**dict(zip(_COMMON, columns, strict=True)))
    if kind == DOCUMENTS:
        return shown._replace(namespace=rest[0])
    head, covers_seq, anchor = rest
    return shown._replace(head=head, covers=(covers_seq, anchor))


def _on_line(one: Ranked, row: _Shown, lines: dict[tuple[str, str], list[Run]]) -> Plan[bool]:
    """Whether it is of the active line of its session: what is not is hidden."""
    if row.covers is None and (row.seq is None or not row.jumps):
        return row.seq is None or row.seq <= row.head
    at = (one.candidate.part, one.candidate.uid)
    if at not in lines:
        lines[at] = yield from runs(*at, row.head)
    if row.covers is not None:
        return reaches(lines[at], *row.covers)
    return row.seq is not None and holds(lines[at], row.seq)


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
        parts=_parts(one),
        namespace=maybe(decoded, row.namespace),
    )


def _parts(one: Ranked) -> dict[str, float]:
    parts = {"words": one.own, "near": one.near}
    return parts if one.meaning is None else parts | {"meaning": one.meaning}
