"""Searches of a `PerdureStore`, and its lists of namespaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from langgraph.store.base import ListNamespacesOp, MatchCondition, SearchItem, SearchOp

from perdure.adapters.langgraph.operands import readable
from perdure.adapters.langgraph.plans import call
from perdure.adapters.langgraph.steps import (
    Calls,
    Plan,
    Questions,
    Rules,
    is_item,
    known,
    refreshed,
)
from perdure.adapters.langgraph.vectors import Vector, beside, checked, scores, unpacked
from perdure.errors import InvalidError
from perdure.records import KeyValue, Namespace

#: Rows of one look; and those of everything, where those of vectors stand among them.
_PAGE = 1_000
_LEAST = 50
_ANY = "*"

Scored = list[tuple[KeyValue, float | None]]


class Ranked(NamedTuple):
    """What has vectors, without them: of all that are compared they would fill the memory."""

    namespace: tuple[str, ...]
    key: str
    version: int
    score: float


def searches(given: Sequence[tuple[int, Any]], rules: Rules, results: list[Any]) -> Plan:
    """What the searches of a batch find, at their places."""
    wanted = [(place, op) for place, op in given if isinstance(op, SearchOp)]
    queries = yield from _questions([op for _, op in wanted], rules)
    for place, op in wanted:
        _refuse_below_zero(op.offset, op.limit)
        found = yield from _search(op, queries.get(op.query or ""), rules)
        if op.refresh_ttl:
            yield from refreshed([one for one, _ in found], rules)
        results[place] = [_search_item(one, score) for one, score in found]


def _refuse_below_zero(offset: int, limit: int) -> None:
    if offset < 0 or limit < 0:
        raise InvalidError(f"offset {offset} and limit {limit} are at least 0", "offset")


def _questions(ops: Sequence[SearchOp], rules: Rules) -> Plan:
    """The vector of each query."""
    texts = list(dict.fromkeys(op.query for op in ops if op.query))
    if rules.looks != "vectors" or not texts:
        return {}
    made = checked((yield Questions(texts)), len(texts), rules.dims)
    return dict(zip(texts, made, strict=True))


def _search(op: SearchOp, query: Vector | None, rules: Rules) -> Plan:
    end = op.offset + op.limit
    found: Scored = []
    if op.limit == 0:
        return found
    if query is not None:
        found = yield from _near(op, query, end, rules)
    elif op.query and rules.looks == "words":
        found = yield from _by_words(op, end, rules)
    else:
        some = yield from _items(op, rules, end)
        found = [(one, None) for one in some]
    return found[op.offset : end]


def _search_item(one: KeyValue, score: float | None) -> SearchItem:
    return SearchItem(
        namespace=one.namespace,
        key=one.key,
        value=one.value,
        created_at=one.created_at,
        updated_at=one.updated_at,
        score=score,
    )


def _items(
    op: SearchOp,
    rules: Rules,
    most: int | None,
    wanted: Callable[[KeyValue], bool] = is_item,
) -> Plan:
    """The items that match, in their order, so many at most."""
    found: list[KeyValue] = []
    cursor = None
    while True:
        left = _PAGE if most is None else min(most - len(found), _PAGE)
        page = yield from _one(
            "list", tuple(op.namespace_prefix), filter=readable(op.filter), order=rules.order,
            limit=max(left, 1 if op.namespace_prefix else _LEAST), cursor=cursor, **rules.whose,
        )  # fmt: skip
        found += [one for one in page.items if wanted(one)]
        cursor = page.next_cursor
        if cursor is None or (most is not None and len(found) >= most):
            return found


def _one(method: str, *args: Any, **options: Any) -> Plan:
    [result] = yield Calls([call(method, *args, **options)])
    return result


def _by_words(op: SearchOp, end: int, rules: Rules) -> Plan:
    limit = end
    while True:
        hits = yield from _one(
            "search", op.query, namespace=tuple(op.namespace_prefix), filter=readable(op.filter),
            limit=limit, **rules.whose,
        )  # fmt: skip
        found = [(hit.item, hit.score) for hit in hits if is_item(hit.item)]
        if len(found) >= end or len(hits) < limit or limit >= _PAGE:
            return found
        # Values of others stood before some of the items.
        limit = min(limit * 2, _PAGE)


# -- by meaning ----------------------------------------------------------------------------------


def _near(op: SearchOp, query: Vector, end: int, rules: Rules) -> Plan:
    """The nearest items, all compared, and behind them those that have no vector."""
    ranked = yield from _ranked(op, query, rules)
    if op.filter:
        matching = yield from _items(op, rules, None)
        there = {(one.namespace, one.key): one for one in matching}
        found = _scored(ranked, there)
    else:
        found = yield from _fetched(ranked, end, rules)
    if len(found) >= end:
        return found
    near = {(one.namespace, one.key) for one, _ in found}
    if not op.filter:
        matching = yield from _items(
            op, rules, end - len(found),
            lambda one: is_item(one) and (one.namespace, one.key) not in near,
        )  # fmt: skip
    others = [one for one in matching if (one.namespace, one.key) not in near]
    return [*found, *((one, None) for one in others)]


def _ranked(op: SearchOp, query: Vector, rules: Rules) -> Plan:
    """What has vectors, with its score, the nearest first."""
    ranked: list[Ranked] = []
    cursor = None
    while True:
        page = yield from _one(
            "list", beside(op.namespace_prefix), limit=_PAGE, cursor=cursor, **rules.whose
        )
        ranked += _compared(page.items, query, rules)
        cursor = page.next_cursor
        if cursor is None:
            return sorted(ranked, key=lambda one: -one.score)


def _compared(rows: Iterable[KeyValue], query: Vector, rules: Rules) -> Iterator[Ranked]:
    pairs = [(row, unpacked(row, len(query))) for row in rows]
    some = [(row, vectors) for row, vectors in pairs if vectors]
    near = scores(query, [vectors for _, vectors in some], rules.distance) if some else []
    for (row, _), score in zip(some, near, strict=True):
        yield Ranked(_own(row.namespace), row.key, row.version, score)


def _fetched(ranked: Sequence[Ranked], end: int, rules: Rules) -> Plan:
    """The items of the nearest vectors, until there are enough."""
    found: Scored = []
    at = 0
    while len(found) < end and at < len(ranked):
        some = ranked[at : at + end - len(found)]
        at += len(some)
        keys: dict[tuple[str, ...], list[str]] = {}
        for one in some:
            keys.setdefault(one.namespace, []).append(one.key)
        found += _scored(some, (yield from known(keys, rules)))
    return found


def _scored(ranked: Sequence[Ranked], there: Any) -> Scored:
    """Those that are there, as they were when the vectors were made: at the same version."""
    found: Scored = []
    for near in ranked:
        one = there.get((near.namespace, near.key))
        # What was put by others since then has none of these vectors.
        if one is not None and one.version == near.version:
            found.append((one, near.score))
    return found


def _own(namespace: Namespace) -> tuple[str, ...]:
    return tuple(namespace[1:])


# -- namespaces ----------------------------------------------------------------------------------


def namespaces(op: ListNamespacesOp, rules: Rules) -> Plan:
    """The namespaces that were asked for, sorted."""
    _refuse_below_zero(op.offset, op.limit)
    conditions = list(op.match_conditions or ())
    for condition in conditions:
        if condition.match_type not in {"prefix", "suffix"}:
            message = f"match_type is 'prefix' or 'suffix', not {condition.match_type!r}"
            raise InvalidError(message, "match_type")
    found: dict[tuple[str, ...], None] = {}
    cursor = None
    end = op.offset + op.limit
    while len(found) < end:
        page = yield from _one(
            "namespaces", _common(conditions), limit=_PAGE, cursor=cursor, **rules.whose
        )
        for namespace in _matching(page.items, conditions):
            found[namespace if op.max_depth is None else namespace[: op.max_depth]] = None
        cursor = page.next_cursor
        if cursor is None:
            break
    return list(found)[op.offset : end]


def _common(conditions: Iterable[MatchCondition]) -> tuple[str, ...]:
    """The longest beginning that all of them have."""
    longest: tuple[str, ...] = ()
    for condition in conditions:
        if condition.match_type == "prefix":
            path = tuple(condition.path)
            known = path[: path.index(_ANY)] if _ANY in path else path
            longest = max(longest, known, key=len)
    return longest


def _matching(
    items: Iterable[Namespace], conditions: Sequence[MatchCondition]
) -> Iterator[tuple[str, ...]]:
    for namespace in items:
        own = isinstance(namespace, tuple) and not any("." in label for label in namespace)
        if own and all(_matches(namespace, condition) for condition in conditions):
            yield tuple(namespace)


def _matches(namespace: Sequence[str], condition: MatchCondition) -> bool:
    path = condition.path
    if len(path) > len(namespace):
        return False
    start = 0 if condition.match_type == "prefix" else len(namespace) - len(path)
    part = namespace[start : start + len(path)]
    return all(asked in (_ANY, label) for asked, label in zip(path, part, strict=True))


__all__ = ["namespaces", "searches"]
