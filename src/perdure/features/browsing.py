"""Lists of key-values and of their namespaces, page after page, a bounded look at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from perdure.errors import InvalidError
from perdure.features.cursors import pack, unpack
from perdure.features.filters import Condition
from perdure.features.namespaces import (
    MOST_BYTES,
    Bounds,
    Place,
    beginning,
    behind,
    behind_all,
    decoded,
    encoded,
    ends_with,
)
from perdure.features.storing import KEYVALUES, KeyValueRow
from perdure.operation import Bumps, Feature, Flow, Plan, Rows, Statement, Work, run
from perdure.records import Namespace, Page
from perdure.values import check_text

_ORDERS = ("key", "updated_at", "created_at")
#: Rows that one transaction looks at where a filter, or a depth, decides in Python.
_LOOKED_AT = 200


class Scope(NamedTuple):
    """Whose, when, and between which places."""

    part: str
    now: int
    bounds: Bounds


class Start(NamedTuple):
    """By what, which way, and behind which row (None: from the beginning)."""

    by: str
    way: str
    after: tuple[Any, str, str] | None

    @property
    def order(self) -> str:
        """What the caller wrote."""
        return f"-{self.by}" if self.way == "down" else self.by

    def behind(self, row: KeyValueRow) -> Start:
        """The same, behind a row."""
        value = "" if self.by == "key" else getattr(row, self.by)
        return self._replace(after=(value, *row.place))


def start_of(order: str, cursor: str | None) -> Start:
    """The checked order, behind the cursor; `InvalidError`."""
    by = order.removeprefix("-") if isinstance(order, str) else ""
    if by not in _ORDERS:
        raise InvalidError(f"order is one of {list(_ORDERS)}, not {order!r}", "order")
    way = "down" if order.startswith("-") else "up"
    if cursor is None:
        return Start(by, way, None)
    value, namespace, key = unpack(cursor, f"kv {order}", str if by == "key" else int, str, str)
    for text in (namespace, key):
        check_text(text, "cursor", MOST_BYTES)
    return Start(by, way, (value, namespace, key))


def cursor_of(start: Start, found: Sequence[KeyValueRow], size: int) -> str | None:
    """The cursor behind a full page; None if there was not one more."""
    if len(found) <= size:
        return None
    value, namespace, key = start.behind(found[size - 1]).after or ("", "", "")
    return pack(f"kv {start.order}", value, namespace, key)


def page(
    feature: Feature[Any], scope: Scope, start: Start, size: int, condition: Condition | None
) -> Flow[Sequence[KeyValueRow]]:
    """The rows of a page, and one more if there is one.

    Rows that the condition drops are not in it; each look is a transaction of its own, so that
    nobody waits for all of them.
    """
    kept: list[KeyValueRow] = []
    while True:
        wanted = size + 1 - len(kept)
        limit = wanted if condition is None else max(wanted, _LOOKED_AT)
        look = _look(scope, start, limit)
        rows = yield from run(feature._reading("list", _looking(look)))
        found = [KeyValueRow._make(row) for row in rows]
        kept += [row for row in found if condition is None or condition(row.content)]
        if len(kept) > size or len(found) < limit:
            return kept[: size + 1]
        start = start.behind(found[-1])


def _looking(statement: Statement) -> Work[Rows]:
    def work(_: Bumps) -> Plan[Rows]:
        return (yield statement)

    return work


def _look(scope: Scope, start: Start, limit: int) -> Statement:
    """The statement for the rows behind a place."""
    if start.by == "key":
        params = _params(scope, _moved(scope.bounds, start))
        return KEYVALUES.pick("list", start.way)(**params, limit=limit)
    params = _params(scope, scope.bounds)
    if start.after is None:
        query = KEYVALUES.pick("list_timed", start.by, start.way, "first")
        return query(**params, limit=limit)
    since, namespace, key = start.after
    query = KEYVALUES.pick("list_timed", start.by, start.way, "next")
    return query(**params, limit=limit, since=since, after_namespace=namespace, after_key=key)


def _moved(bounds: Bounds, start: Start) -> Bounds:
    """The bounds of what is still to come: one range of the index, however deep the page."""
    if start.after is None:
        return bounds
    place: Place = start.after[1:]
    if start.way == "up":
        return bounds._replace(low=max(bounds.low, behind(place)))
    return bounds._replace(high=min(bounds.high, place))


def _params(scope: Scope, bounds: Bounds) -> Mapping[str, Any]:
    return {
        "part": scope.part, "now": scope.now,
        "first_namespace": bounds.low[0], "first_key": bounds.low[1],
        "end_namespace": bounds.high[0], "end_key": bounds.high[1],
        "key_from": bounds.key_from, "key_to": bounds.key_to,
    }  # fmt: skip


def count(scope: Scope) -> Plan[int]:
    """How many there are."""
    found = yield KEYVALUES.count(**_params(scope, scope.bounds))
    number: int = found[0][0]
    return number


def expired(now: int) -> Plan[int]:
    """How many rows of all have expired."""
    found = yield KEYVALUES.count_expired(now=now)
    number: int = found[0][0]
    return number


# -- namespaces ------------------------------------------------------------------------------


class Shape(NamedTuple):
    """Which namespaces, and how much of them."""

    suffix: Namespace
    depth: int | None


def namespaces(
    feature: Feature[Any], scope: Scope, shape: Shape, cursor: str | None, size: int
) -> Flow[Page[Namespace]]:
    """A page of namespaces."""
    low, high = scope.bounds.low[0], scope.bounds.high[0]
    if cursor is not None:
        [after] = unpack(cursor, "kv namespaces", str)
        low = max(low, _past(check_text(after, "cursor", MOST_BYTES), shape.depth))
    kept: list[str] = []
    limit = max(size + 1, _LOOKED_AT) if shape != Shape((), None) else size + 1
    while True:
        look = KEYVALUES.namespaces(
            part=scope.part, now=scope.now, first_namespace=low, end_namespace=high, limit=limit
        )
        rows = yield from run(feature._reading("namespaces", _looking(look)))
        for stored in _shaped(rows, shape):
            if not kept or kept[-1] < stored:
                kept.append(stored)
        if len(kept) > size or len(rows) < limit:
            break
        low = _past(rows[-1][0], shape.depth)
    items = [decoded(stored) for stored in kept[:size]]
    return Page(items, pack("kv namespaces", kept[size - 1]) if len(kept) > size else None)


def _shaped(rows: Rows, shape: Shape) -> Iterator[str]:
    for (stored,) in rows:
        namespace = decoded(stored)
        if ends_with(namespace, shape.suffix):
            yield encoded(beginning(namespace, shape.depth), MOST_BYTES)


def _past(stored: str, depth: int | None) -> str:
    """Where to go on behind a namespace: past all that would be cut to the same."""
    namespace = decoded(stored)
    cut = isinstance(namespace, tuple) and depth is not None and len(namespace) >= depth
    if not cut:
        return behind_all(stored, below=False)
    return behind_all(encoded(beginning(namespace, depth), MOST_BYTES), below=True)
