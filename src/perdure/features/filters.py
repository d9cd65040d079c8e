"""Filters on JSON values: read once, checked, then asked of any number of values.

A filter maps keys of a value to what must hold there: a value that must be equal, or operators.
Equal is equal JSON, as everywhere: ``1`` equals ``1.0``, ``True`` does not, the order of keys
does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from perdure.errors import InvalidError
from perdure.records import JSON
from perdure.values import decode, encode

Condition: TypeAlias = Callable[[Any], bool]
"""Asked of what stands at a key, or of `MISSING`."""

MISSING = object()
"""Stands where a value has no such key."""


def condition_of(given: Mapping[str, JSON] | None, limit: int) -> Condition | None:
    """Whether a value matches, as a function; None where there is nothing to ask.

    `InvalidError` for what is no filter: an unknown operator, or an operand that makes no sense.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InvalidError(f"a filter maps keys to values, not {given!r}", "filter")
    # A copy in plain JSON: what the caller changes later changes nothing here.
    copy = decode(encode(dict(given), "filter", limit), "a filter")
    if not copy:
        return None
    if _operators(copy, "filter"):
        raise InvalidError("a filter names keys first: {'age': {'$gt': 9}}", "filter")
    return _keys(copy, "filter")


def _keys(given: Mapping[str, JSON], path: str) -> Condition:
    """What must hold at each of the keys; others do not count."""
    asked = [(key, _of(wanted, f"{path}.{key}")) for key, wanted in given.items()]

    def holds(value: Any) -> bool:
        found = value if isinstance(value, dict) else {}
        return all(condition(found.get(key, MISSING)) for key, condition in asked)

    return holds


def _of(wanted: JSON, path: str) -> Condition:
    if isinstance(wanted, dict) and wanted:
        if _operators(wanted, path):
            return _all([_OPERATORS[name](operand, path) for name, operand in wanted.items()])
        if _asks(wanted, path):
            return _keys(wanted, path)
    return _equal_to(wanted, path)


def _operators(given: Mapping[str, JSON], path: str) -> bool:
    """Whether the keys are operators, all of them."""
    named = [key for key in given if key.startswith("$")]
    unknown = [key for key in named if key not in _OPERATORS]
    if unknown:
        known = " ".join(_OPERATORS)
        message = f"{path} has {unknown[0]!r}: the operators are {known}, and $eq takes any value"
        raise InvalidError(message, path)
    if named and len(named) < len(given):
        other = next(key for key in given if key not in named)
        message = f"{path} mixes {named[0]!r} with the key {other!r}: put them in two objects"
        raise InvalidError(message, path)
    return bool(named)


def _asks(given: Mapping[str, JSON], path: str) -> bool:
    """Whether there are operators somewhere below, so that the keys are a way to them."""
    return any(
        isinstance(inner, dict) and (_operators(inner, f"{path}.{key}") or _asks(inner, path))
        for key, inner in given.items()
    )


def _all(conditions: Sequence[Condition]) -> Condition:
    return lambda found: all(condition(found) for condition in conditions)


# -- operators -------------------------------------------------------------------------------


def _equal_to(wanted: JSON, path: str) -> Condition:
    del path
    return lambda found: found is not MISSING and equal(found, wanted)


def _not_equal_to(wanted: JSON, path: str) -> Condition:
    del path
    return lambda found: found is MISSING or not equal(found, wanted)


def _in(wanted: JSON, path: str) -> Condition:
    if not isinstance(wanted, list):
        raise InvalidError(f"{path}: $in takes a list, not {wanted!r}", path)
    return lambda found: found is not MISSING and any(equal(found, one) for one in wanted)


def _exists(wanted: JSON, path: str) -> Condition:
    if not isinstance(wanted, bool):
        raise InvalidError(f"{path}: $exists takes true or false, not {wanted!r}", path)
    return lambda found: (found is not MISSING) is wanted


def _ordered(holds: Callable[[Any, Any], bool]) -> Callable[[JSON, str], Condition]:
    """An operator of what has an order: a number among numbers, a text among texts."""

    def operator(wanted: JSON, path: str) -> Condition:
        if not _is_number(wanted) and not isinstance(wanted, str):
            message = f"{path}: $gt, $gte, $lt and $lte take a number or a text, not {wanted!r}"
            raise InvalidError(message, path)
        return lambda found: _comparable(found, wanted) and holds(found, wanted)

    return operator


# Python compares texts by code points, which is the order of their bytes in UTF-8.
_OPERATORS: Mapping[str, Callable[[JSON, str], Condition]] = {
    "$eq": _equal_to,
    "$ne": _not_equal_to,
    "$gt": _ordered(lambda found, wanted: found > wanted),
    "$gte": _ordered(lambda found, wanted: found >= wanted),
    "$lt": _ordered(lambda found, wanted: found < wanted),
    "$lte": _ordered(lambda found, wanted: found <= wanted),
    "$in": _in,
    "$exists": _exists,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _comparable(one: Any, other: Any) -> bool:
    return (_is_number(one) and _is_number(other)) or (
        isinstance(one, str) and isinstance(other, str)
    )


def equal(one: Any, other: Any) -> bool:
    """Whether two values are equal JSON: Python alone would take True for 1."""
    if _comparable(one, other):
        return bool(one == other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)
