"""Key-values and documents: JSON or bytes under a key of a namespace, for a while or for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from perdure.errors import BusyError, DeniedError, InvalidError, ReadOnlyError, TooLargeError
from perdure.features import browsing, document_search, documents, storing
from perdure.features.cursors import check_limit, paged
from perdure.features.filters import condition_of
from perdure.features.fulltext import tidy
from perdure.features.memory_rows import Owner
from perdure.features.namespaces import bounds
from perdure.features.queries import check_query
from perdure.features.reading import positive
from perdure.features.segmentation import query_words
from perdure.features.storing import KEYVALUES, At, KeyValueRow, part_of
from perdure.operation import (
    Bumps,
    Feature,
    Flow,
    M,
    Operation,
    Plan,
    Stream,
    Work,
    flow,
    operation,
    reading,
    renewing,
    run,
    stream,
)
from perdure.parts import Place
from perdure.records import JSON, KeyValue, KeyValueHit, Marker, Namespace, Page

_SWEPT = 100


class KeyValues(Feature[M]):
    """`store.kv`: values by (app, user, namespace, key).

    With a user they are the user's, and go when the user is erased; without one the app's, and
    nobody's. A namespace is a text, or a tuple of texts that has namespaces below it.
    """

    name = "kv"
    # A namespace of three parts is no key of a session.
    _of_sessions = False

    def _at(self, namespace: Namespace, key: str, app: str, user: str) -> At:
        now = self._settings.clock()
        return storing.target(self._settings, namespace, key, app, user, now)

    def _owner(self, app: str, user: str, now: int, values: Sequence[storing.New]) -> Owner:
        """Whose values, with a new id for the index where they are to be searched."""
        owner = documents.owner_of(self._settings, app, user, now)
        wanted = any(new.text for new in values)
        return owner._replace(block=self._settings.ids()) if wanted else owner

    def _each(self, namespace: Namespace, keys: Sequence[str], app: str, user: str) -> list[At]:
        """The places of several keys, each once, in the order in which all calls lock them."""
        if isinstance(keys, str | bytes):
            raise InvalidError(f"keys is a list of texts, not {keys!r}", "keys")
        now = self._settings.clock()
        found = {
            at.key: at
            for at in (
                storing.target(self._settings, namespace, key, app, user, now) for key in keys
            )
        }
        most = self._settings.limits.records
        if len(found) > most:
            message = f"{len(found)} keys in one call, the limit 'records' is {most}"
            raise TooLargeError(message, "records", "keys")
        return [found[key] for key in sorted(found)]

    # -- one -------------------------------------------------------------------------------------

    @operation
    def set(
        self,
        namespace: Namespace,
        key: str,
        value: JSON,
        *,
        app: str = "",
        user: str = "",
        ttl: timedelta | None = None,
        expected_version: int | None = None,
        index: Sequence[str] = (),
        beside: tuple[Namespace, JSON] | None = None,
    ) -> Work[KeyValue]:
        """Write a value (JSON, bytes or an `Opaque`), and its time to live, over what is there.

        Without a ``ttl`` it stays for good. ``expected_version`` is that of the value to be
        overwritten (0: there must be none), else `ConflictError`. ``index`` names paths
        (``title``, ``author.name``, ``tags[*]``, ``$`` for all) by whose texts it can be
        searched; without one it cannot. ``beside``, another namespace and a value, is written in
        the same transaction under the same key, with the same version, beginning and end: what was
        made of a value belongs to it as long as their versions are equal.
        """
        at = self._at(namespace, key, app, user)
        new = storing.new(self._settings, at, value, ttl, index)
        expected = positive(expected_version, "expected_version")
        owner = self._owner(app, user, at.now, [new])
        if beside is None:
            return lambda _: storing.put(at, new, expected, owner)
        other = storing.beside(self._settings, at, beside, ttl)
        return lambda _: storing.put_both(at, new, expected, owner, other)

    @operation
    def add(
        self,
        namespace: Namespace,
        key: str,
        value: JSON = None,
        *,
        app: str = "",
        user: str = "",
        ttl: timedelta | None = None,
        index: Sequence[str] = (),
    ) -> Work[KeyValue | None]:
        """Write a value if there is none: what was stored, or None if there is one already.

        A claim: of all that try at once, in whatever process, exactly one wins. One that has
        expired counts as none.
        """
        at = self._at(namespace, key, app, user)
        new = storing.new(self._settings, at, value, ttl, index)
        owner = self._owner(app, user, at.now, [new])
        return lambda _: storing.add(at, new, owner)

    @renewing
    def get(
        self,
        namespace: Namespace,
        key: str,
        *,
        app: str = "",
        user: str = "",
        refresh: bool = False,
    ) -> Work[KeyValue]:
        """What stands there; `NotFoundError` if there is nothing, or it has expired.

        ``refresh=True`` lets its time to live begin again, which is a write.
        """
        at = self._at(namespace, key, app, user)
        return lambda _: storing.get(at, refresh)

    @renewing
    def find(
        self,
        namespace: Namespace,
        key: str,
        *,
        app: str = "",
        user: str = "",
        refresh: bool = False,
    ) -> Work[KeyValue | None]:
        """The same, or None."""
        at = self._at(namespace, key, app, user)

        def work(_: Bumps) -> Plan[KeyValue | None]:
            row = yield from storing.find(at, refresh)
            return row.record if row else None

        return work

    @operation
    def touch(
        self,
        namespace: Namespace,
        key: str,
        *,
        app: str = "",
        user: str = "",
        ttl: timedelta | Marker | None = None,
        expected_version: int | None = None,
    ) -> Work[bool]:
        """Let its time to live begin again, or give it another; whether it was there.

        ``ttl=DELETE`` lets it stay for good. Value, version and ``updated_at`` stay as they
        are. Raises `ConflictError` if it is there at another version than the expected.
        """
        at = self._at(namespace, key, app, user)
        expected = positive(expected_version, "expected_version", least=1)
        return storing.touch(at, ttl, expected)

    @operation
    def delete(
        self,
        namespace: Namespace,
        key: str,
        *,
        app: str = "",
        user: str = "",
        expected_version: int | None = None,
    ) -> Work[bool]:
        """Remove it; whether it was there.

        Raises `ConflictError` if it is there at another version than the expected.
        """
        at = self._at(namespace, key, app, user)
        expected = positive(expected_version, "expected_version", least=1)
        return lambda _: storing.delete(at, expected)

    # -- several ---------------------------------------------------------------------------------

    @renewing
    def get_many(
        self,
        namespace: Namespace,
        keys: Sequence[str],
        *,
        app: str = "",
        user: str = "",
        refresh: bool = False,
    ) -> Work[dict[str, KeyValue]]:
        """Those of the keys that are there, by key, as of one moment; at most 10,000."""
        places = self._each(namespace, keys, app, user)

        def work(_: Bumps) -> Plan[dict[str, KeyValue]]:
            rows = yield from storing.find_many(places, refresh)
            return {row.key: row.record for row in sorted(rows, key=lambda row: row.key)}

        return work

    @operation
    def set_many(
        self,
        namespace: Namespace,
        values: Mapping[str, JSON],
        *,
        app: str = "",
        user: str = "",
        ttl: timedelta | None = None,
        index: Sequence[str] = (),
    ) -> Work[int]:
        """Write several values in one transaction; how many. At most 10,000."""
        if not isinstance(values, Mapping):
            raise InvalidError(f"values maps keys to values, not {values!r}", "values")
        places = self._each(namespace, list(values), app, user)
        rows = [(at, storing.new(self._settings, at, values[at.key], ttl, index)) for at in places]
        owner = self._owner(app, user, self._settings.clock(), [new for _, new in rows])
        return lambda _: storing.put_many(rows, owner)

    @operation
    def delete_many(
        self, namespace: Namespace, keys: Sequence[str], *, app: str = "", user: str = ""
    ) -> Work[int]:
        """Remove several in one transaction; how many were there. At most 10,000."""
        places = self._each(namespace, keys, app, user)

        return lambda _: storing.delete_many(places)

    # -- lists -----------------------------------------------------------------------------------

    @flow
    def list(
        self,
        namespace: Namespace = (),
        *,
        app: str = "",
        user: str = "",
        key_prefix: str = "",
        filter: Mapping[str, JSON] | None = None,
        order: str = "key",
        refresh: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Flow[Page[KeyValue]]:
        """A page of what is in a namespace and in those below it; ``()`` is all of them.

        ``order`` is key (namespace and key, bytewise), updated_at or created_at; a ``-`` before
        it turns it round. ``filter`` maps keys of a value to what must be equal there, or to
        operators: ``$eq $ne $gt $gte $lt $lte $in $exists``. ``key_prefix`` is a text, nothing
        in it is a wildcard. At most 10,000 a page.
        """
        wanted = (namespace, app, user, key_prefix, filter, order)
        return (yield from self._page(*wanted, refresh, cursor, limit))

    def _page(
        self,
        namespace: Namespace,
        app: str,
        user: str,
        key_prefix: str,
        filter: Mapping[str, JSON] | None,
        order: str,
        refresh: bool,
        cursor: str | None,
        limit: int,
    ) -> Flow[Page[KeyValue]]:
        settings = self._settings
        size = check_limit(limit, settings.limits.records)
        condition = condition_of(filter, settings.limits.state)
        where = bounds(namespace, key_prefix, settings.limits.text)
        scope = browsing.Scope(part_of(settings, app, user), settings.clock(), where)
        start = browsing.start_of(order, cursor)
        found = yield from browsing.page(self, scope, start, size, condition)
        if refresh:
            found = yield from self._refreshed(scope, found)
        return Page([row.record for row in found[:size]], browsing.cursor_of(start, found, size))

    def _refreshed(
        self, scope: browsing.Scope, found: Sequence[KeyValueRow]
    ) -> Flow[Sequence[KeyValueRow]]:
        """The rows with their time to live begun again, in one transaction."""
        lasting = {row.place for row in found if row.ttl is not None}
        if not lasting:
            return found
        rows = [(scope.now, scope.part, *place) for place in sorted(lasting)]

        def work(_: Bumps) -> Plan[None]:
            yield KEYVALUES.renew_many.many(rows)

        yield from run(Operation("kv.refresh", (), {}, work))
        return [row.renewed(scope.now) for row in found]

    @stream
    def iter(
        self,
        namespace: Namespace = (),
        *,
        app: str = "",
        user: str = "",
        key_prefix: str = "",
        filter: Mapping[str, JSON] | None = None,
        order: str = "key",
    ) -> Stream[KeyValue]:
        """Everything that `list` would give, page after page."""
        wanted = (namespace, app, user, key_prefix, filter, order)
        return paged(lambda cursor: self._page(*wanted, False, cursor, 200))

    @flow
    def search(
        self,
        query: str,
        *,
        namespace: Namespace = (),
        app: str = "",
        user: str = "",
        filter: Mapping[str, JSON] | None = None,
        limit: int = 10,
    ) -> Flow[Sequence[KeyValueHit]]:
        """What answers the query best of the values that were set with ``index``, best first.

        Of a namespace and those below it; ``()`` is all of them. ``filter`` as for `list`. By
        words: no character of the query is syntax. What was set before the call is found. At
        most 2,000 values with one of the words are compared: those indexed last.
        """
        settings = self._settings
        now = settings.clock()
        owner = documents.owner_of(settings, app, user, now)
        asked = document_search.Question(
            part=owner.part,
            now=now,
            words=query_words(check_query(query, settings.limits.title)),
            bounds=bounds(namespace, "", settings.limits.text),
            condition=condition_of(filter, settings.limits.state),
            limit=check_limit(limit, settings.limits.records),
        )
        if not asked.words:
            return []
        look = self._reading("search", lambda _: document_search.search(asked))
        found = yield from run(look)
        if found.untidy:
            # The hits are there: that the store is busy, or cannot be written, is no matter.
            with suppress(BusyError, ReadOnlyError, DeniedError):
                where = Place(owner.part, owner.app_part)
                yield from run(tidy(where, documents.KIND, settings.ids()))
        return found.hits

    @reading
    def count(
        self, namespace: Namespace = (), *, app: str = "", user: str = "", key_prefix: str = ""
    ) -> Work[int]:
        """How many `list` would give over all its pages."""
        settings = self._settings
        where = bounds(namespace, key_prefix, settings.limits.text)
        scope = browsing.Scope(part_of(settings, app, user), settings.clock(), where)
        return lambda _: browsing.count(scope)

    @flow
    def namespaces(
        self,
        prefix: Namespace = (),
        *,
        suffix: Namespace = (),
        max_depth: int | None = None,
        app: str = "",
        user: str = "",
        cursor: str | None = None,
        limit: int = 50,
    ) -> Flow[Page[Namespace]]:
        """A page of the namespaces that have a key, sorted bytewise; at most 10,000.

        Those that begin with the parts of ``prefix`` and end with those of ``suffix``.
        ``max_depth`` cuts them to so many parts, each once.
        """
        settings = self._settings
        size = check_limit(limit, settings.limits.records)
        depth = positive(max_depth, "max_depth", least=1)
        where = bounds(prefix, "", settings.limits.text)
        bounds(suffix, "", settings.limits.text)
        scope = browsing.Scope(part_of(settings, app, user), settings.clock(), where)
        shape = browsing.Shape(suffix, depth)
        return (yield from browsing.namespaces(self, scope, shape, cursor, size))

    # -- upkeep ----------------------------------------------------------------------------------

    @flow
    def cleanup(self, *, dry_run: bool = False) -> Flow[int]:
        """Remove what has expired, of every app and user of the whole store; how many.

        In small transactions. ``dry_run=True`` only counts. It costs space, and nothing else,
        not to do it: what has expired is never returned.
        """
        now = self._settings.clock()
        if dry_run:
            return (yield from run(self._reading("cleanup", lambda _: browsing.expired(now))))
        removed = 0
        while True:
            found, gone = yield from run(cleanup(now, _SWEPT))
            removed += gone
            if found < _SWEPT:
                return removed


def cleanup(now: int, limit: int) -> Operation[tuple[int, int]]:
    """Remove some of what has expired, about so many: how many were found, and removed.

    Of all tenants. Nothing more is to be removed once fewer were found than asked for.
    """

    def work(_: Bumps) -> Plan[tuple[int, int]]:
        found = yield KEYVALUES.expired(now=now, limit=limit)
        # The last one of each part: they come in the order of their end.
        until: dict[str, Any] = dict(found)
        removed = 0
        for part in sorted(until):
            gone = yield KEYVALUES.sweep(part=part, until=until[part])
            removed += len(gone)
            yield from documents.forget(part, [(space, key) for space, key, text in gone if text])
        return len(found), removed

    return Operation("kv.cleanup", (), {}, work)
