"""What the plans of a `PerdureStore` yield, and what all of them need.

A plan yields what is to be done, and gets what came of it: calls of ``store.kv``, writes that go
together, texts that need vectors.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from perdure.adapters.langgraph.plans import Call, call
from perdure.adapters.langgraph.vectors import ROOT, beside
from perdure.records import KeyValue

#: Keys of one call of the store.
_KEYS = 10_000

Place = tuple[tuple[str, ...], str]
"""A namespace and a key"""


class Calls(NamedTuple):
    """Calls of ``store.kv``, each by itself; their results."""

    calls: Sequence[Call]


class Writes(NamedTuple):
    """Calls of ``store.kv`` that write, in one transaction."""

    calls: Sequence[Call]


class Documents(NamedTuple):
    """Texts that are to be found; their vectors."""

    texts: Sequence[str]


class Questions(NamedTuple):
    """Texts that are looked for; their vectors."""

    texts: Sequence[str]


Step = Calls | Writes | Documents | Questions
Plan = Generator[Step, Any, Any]


class Rules(NamedTuple):
    """How a store does its work."""

    #: app and user of what is stored
    whose: Mapping[str, str]
    order: str
    #: Paths of values, by what is before them in the index config.
    fields: Sequence[str]
    #: ``words``, ``vectors`` or nothing: what a query looks at.
    looks: str
    dims: int | None
    distance: str
    in_order: bool


def known(keys: Mapping[tuple[str, ...], Iterable[str]], rules: Rules) -> Plan:
    """What of these keys is there, by namespace and key."""
    calls = []
    for namespace, some in keys.items():
        names = list(some)
        if len(names) == 1:
            calls.append(call("find", namespace, names[0], **rules.whose))
            continue
        for start in range(0, len(names), _KEYS):
            part = names[start : start + _KEYS]
            calls.append(call("get_many", namespace, part, **rules.whose))
    found: dict[Place, KeyValue] = {}
    for result in (yield Calls(calls)):
        several: Iterable[Any] = result.values() if isinstance(result, dict) else [result]
        found |= {(one.namespace, one.key): one for one in several if one and is_item(one)}
    return found


def refreshed(found: Sequence[KeyValue], rules: Rules) -> Plan:
    """Let the time to live of those that have one begin again, and that of their vectors."""
    calls = []
    for one in found:
        if one.expires_at is not None:
            calls.append(call("touch", one.namespace, one.key, **rules.whose))
            if rules.looks == "vectors":
                calls.append(call("touch", beside(one.namespace), one.key, **rules.whose))
    if calls:
        yield Writes(locked(calls))


def is_item(one: KeyValue) -> bool:
    """Whether LangGraph can have put it: others may keep values in the same store."""
    return (
        isinstance(one.value, dict)
        and isinstance(one.namespace, tuple)
        and not any("." in label for label in one.namespace)
    )


def locked(calls: Sequence[Call]) -> list[Call]:
    """In the order in which all batches lock rows; what is of one item stays in its own."""
    return sorted(calls, key=lambda one: (_item_of(one.args[0]), one.args[1]))


def _item_of(namespace: Sequence[str]) -> tuple[str, ...]:
    first, *rest = namespace
    return tuple(rest) if first == ROOT else (first, *rest)


__all__ = [
    "Calls",
    "Documents",
    "Place",
    "Plan",
    "Questions",
    "Rules",
    "Step",
    "Writes",
    "is_item",
    "known",
    "locked",
    "refreshed",
]
