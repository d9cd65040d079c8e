"""Filters with numbers that JSON does not have: they may be compared with, though not stored."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from math import isinf, isnan
from typing import Any

_LARGEST = sys.float_info.max
_INTEGERS = range(-(2**63), 2**64)
#: What every number is below, and above: the operators, and what to ask instead of infinity.
_BELOW = ("$lt", "$lte")
_ABOVE = ("$gt", "$gte")
_NEVER: Mapping[str, Any] = {"$in": []}


def readable(filter: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The filter as ``store.kv`` takes it."""
    if not filter:
        return None
    found: dict[str, Any] = {}
    for key, wanted in filter.items():
        asked = _operators(wanted) if _is_operators(wanted) else _plain(wanted)
        if asked != {} or wanted == {}:
            found[key] = asked
    return found or None


def _is_operators(wanted: Any) -> bool:
    return isinstance(wanted, Mapping) and any(str(name).startswith("$") for name in wanted)


def _plain(wanted: Any) -> Any:
    return dict(_NEVER) if _is_beyond(wanted) else _number(wanted)


def _operators(wanted: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, operand in wanted.items():
        found |= _operator(name, operand) if _is_beyond(operand) else {name: _number(operand)}
    return found


def _operator(name: str, operand: float) -> dict[str, Any]:
    """What a comparison with infinity, or with no number at all, comes to."""
    if name == "$ne":
        return {}
    all_ = (_BELOW if operand > 0 else _ABOVE) if isinf(operand) else ()
    if name not in all_:
        return dict(_NEVER)
    return {"$lte": _LARGEST} if operand > 0 else {"$gte": -_LARGEST}


def _is_beyond(value: Any) -> bool:
    return isinstance(value, float) and (isnan(value) or isinf(value))


def _number(value: Any) -> Any:
    """An integer that JSON text of perdure cannot hold, as the nearest number that it can."""
    if not isinstance(value, int) or value in _INTEGERS:
        return value
    try:
        return float(value)
    except OverflowError:
        return _LARGEST if value > 0 else -_LARGEST


__all__ = ["readable"]
