"""What a `PerdureStore` does for a batch, told once for both colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    PutOp,
    SearchOp,
    get_text_at_path,
    tokenize_path,
)

from perdure.adapters.langgraph import finding
from perdure.adapters.langgraph.plans import Call, call
from perdure.adapters.langgraph.steps import (
    Documents,
    Place,
    Plan,
    Rules,
    Writes,
    known,
    locked,
    refreshed,
)
from perdure.adapters.langgraph.vectors import Vector, beside, checked, packed
from perdure.errors import InvalidError
from perdure.records import KeyValue


def batched(ops: Iterable[Any], rules: Rules) -> Plan:
    """The results of the operations, in their order."""
    given = list(ops)
    for op in given:
        if not isinstance(op, GetOp | SearchOp | PutOp | ListNamespacesOp):
            raise InvalidError(f"an operation of langgraph.store.base, not {op!r}", "ops")
        _check_labels(op)
    results: list[Any] = [None] * len(given)
    for some in _rounds(list(enumerate(given)), in_order=rules.in_order):
        yield from _gets(some, rules, results)
        yield from finding.searches(some, rules, results)
        for place, op in some:
            if isinstance(op, ListNamespacesOp):
                results[place] = yield from finding.namespaces(op, rules)
        yield from _puts(some, rules)
    return results


def _check_labels(op: Any) -> None:
    """LangGraph's rule, which its older versions do not have for batches."""
    if isinstance(op, ListNamespacesOp):
        paths = [condition.path for condition in op.match_conditions or ()]
    else:
        paths = [op.namespace_prefix if isinstance(op, SearchOp) else op.namespace]
    for label in (label for path in paths for label in path):
        if not isinstance(label, str) or not label or "." in label or "\0" in label:
            message = f"{label!r} is no label of a namespace: a text, not empty, without . and NUL"
            raise InvalidNamespaceError(message)


def _rounds(given: list[tuple[int, Any]], *, in_order: bool) -> Iterator[list[tuple[int, Any]]]:
    """What is read before it is written: all at once, or each group of puts as it comes."""
    if not in_order:
        yield given
        return
    for _, some in groupby(given, lambda one: isinstance(one[1], PutOp)):
        yield list(some)


# -- getting -------------------------------------------------------------------------------------


def _gets(given: Sequence[tuple[int, Any]], rules: Rules, results: list[Any]) -> Plan:
    wanted = [(place, op) for place, op in given if isinstance(op, GetOp)]
    if not wanted:
        return
    keys: dict[tuple[str, ...], dict[str, None]] = {}
    for _, op in wanted:
        keys.setdefault(tuple(op.namespace), {})[str(op.key)] = None
    found = yield from known(keys, rules)
    renewed = {}
    for place, op in wanted:
        one = found.get((tuple(op.namespace), str(op.key)))
        results[place] = None if one is None else item_of(one)
        if one is not None and op.refresh_ttl:
            renewed[one.namespace, one.key] = one
    yield from refreshed(list(renewed.values()), rules)


def item_of(one: KeyValue) -> Item:
    """What LangGraph gets."""
    return Item(
        value=one.value,
        key=one.key,
        namespace=one.namespace,
        created_at=one.created_at,
        updated_at=one.updated_at,
    )


# -- putting -------------------------------------------------------------------------------------


def _puts(given: Sequence[tuple[int, Any]], rules: Rules) -> Plan:
    """The last put of each key, all in one transaction."""
    last: dict[Place, PutOp] = {
        (tuple(op.namespace), str(op.key)): op for _, op in given if isinstance(op, PutOp)
    }
    if not last:
        return
    vectors = (yield from _embedded(last, rules)) if rules.looks == "vectors" else {}
    calls: list[Call] = []
    for place, op in last.items():
        calls += _calls_of(place, op, vectors.get(place), rules)
    yield Writes(locked(calls))


def _calls_of(
    place: Place, op: PutOp, vectors: Sequence[Vector] | None, rules: Rules
) -> list[Call]:
    namespace, key = place
    if op.value is None:
        # The vectors too, whoever has made them: what is deleted is not to be found by anybody.
        return [
            call("delete", where, key, **rules.whose) for where in (namespace, beside(namespace))
        ]
    lasting = None if op.ttl is None else timedelta(minutes=op.ttl)
    words = _paths(op, rules) if rules.looks == "words" else ()
    value = dict(op.value)
    own = {"beside": (beside(namespace), packed(vectors))} if vectors else {}
    calls = [call("set", namespace, key, value, ttl=lasting, index=words, **own, **rules.whose)]
    if not vectors and rules.looks == "vectors":
        calls.append(call("delete", beside(namespace), key, **rules.whose))
    return calls


def _paths(op: PutOp, rules: Rules) -> Sequence[str]:
    if op.index is False:
        return ()
    return rules.fields if op.index is None else op.index


def _embedded(last: Mapping[Place, PutOp], rules: Rules) -> Plan:
    """The vectors of each item that is to be put."""
    texts: dict[Place, list[str]] = {}
    for place, op in last.items():
        if op.value is not None:
            texts[place] = [
                text
                for path in _paths(op, rules)
                for text in get_text_at_path(op.value, path if path == "$" else tokenize_path(path))
            ]
    every = list(dict.fromkeys(text for some in texts.values() for text in some))
    if not every:
        return {}
    made = checked((yield Documents(every)), len(every), rules.dims)
    of = dict(zip(every, made, strict=True))
    return {place: [of[text] for text in dict.fromkeys(some)] for place, some in texts.items()}


__all__ = ["batched"]
