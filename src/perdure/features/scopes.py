"""The three stored scopes of state, told apart by the prefix of a key, and ``temp:``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from perdure.errors import InvalidError
from perdure.records import JSON, Marker, Opaque
from perdure.sql import load
from perdure.values import Limits, check_text, delta_columns, from_payload, join_delta

STATE = load("perdure.features", "state.sql")

APP_PREFIX = "app:"
USER_PREFIX = "user:"
TEMP_PREFIX = "temp:"
_SHARED = {APP_PREFIX, USER_PREFIX}
#: What `merged` in state.sql calls the app, the user and the session scope.
_PREFIXES = {1: APP_PREFIX, 2: USER_PREFIX, 3: ""}

Value = JSON | Opaque | Marker
#: name, value, codec, data
Entry = tuple[str, str | None, str | None, bytes | None]


class Scoped(NamedTuple):
    """A checked delta: its stored text (None: nothing to store) and its entries by scope."""

    text: str | None
    session: list[Entry]
    user: list[Entry]
    app: list[Entry]


NOTHING = Scoped(None, [], [], [])


def split(delta: Mapping[str, Value] | None, limits: Limits, path: str = "state_delta") -> Scoped:
    """A delta by scope, without ``temp:``; `InvalidError` for what cannot be stored."""
    if not delta:
        return NOTHING
    if not isinstance(delta, Mapping):
        raise InvalidError(f"{path} must map keys to values, not be {delta!r}", path)
    kept = {key: value for key, value in delta.items() if not _is_temp(key, limits, path)}
    if not kept:
        return NOTHING
    columns = {key: delta_columns(key, value, path, limits) for key, value in kept.items()}
    scoped = Scoped(join_delta(columns, path, limits), [], [], [])
    for key, payload in columns.items():
        if key.startswith(APP_PREFIX):
            scoped.app.append((key[len(APP_PREFIX) :], *payload))
        elif key.startswith(USER_PREFIX):
            scoped.user.append((key[len(USER_PREFIX) :], *payload))
        else:
            scoped.session.append((key, *payload))
    return scoped


def _is_temp(key: object, limits: Limits, path: str) -> bool:
    text = check_text(key, f"a key of {path}", limits.text, blank=False)
    if text in _SHARED or text == TEMP_PREFIX:
        raise InvalidError(f"{path} has the key {text!r}: a name must follow the prefix", path)
    return text.startswith(TEMP_PREFIX)


def entry(name: str, value: Value, limits: Limits, path: str) -> Entry:
    """The columns of one key; all but the name None for `DELETE`."""
    return name, *delta_columns(name, value, path, limits)


def rows(part: str, uid: str, entries: Iterable[Entry], now: int) -> list[tuple[Any, ...]]:
    """The rows that `put` in state.sql takes; of a key given twice the last one counts.

    By name, so that no two transactions lock the same keys crosswise.
    """
    last = {entry[0]: entry for entry in entries}
    return [(part, uid, *last[name], now) for name in sorted(last)]


def merge(found: Iterable[tuple[int, str, str | None, str | None, bytes | None]]) -> dict[str, Any]:
    """The merged state that rows of `merged` in state.sql give, keys with their prefixes."""
    return {
        _PREFIXES[scope] + name: from_payload(value, codec, data, f"state {name!r}")
        for scope, name, value, codec, data in found
    }
