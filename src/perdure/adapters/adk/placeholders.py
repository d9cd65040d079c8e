"""Sessions that the store needs to hang artifacts on, before anybody has created them.

ADK keeps artifacts for any session id. In the store they belong to a session and go with it; for
one that is not there yet, or is kept by another session service, a session is made that is marked
and not shown. Who creates the session takes it over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.errors import AlreadyExistsError, NotFoundError, StaleSessionError
from perdure.records import DELETE, AppScope, Scope, Session, SessionKey, UserScope
from perdure.store import Store

_MARK = "adk.artifacts"


def is_placeholder(session: Session) -> bool:
    """Whether it is there for its artifacts alone."""
    return _MARK in session.metadata


async def hold_place(store: Store, key: SessionKey) -> None:
    """See to it that there is a session under that key."""
    await store.sessions.get_or_create(key.app, key.user, key.id, metadata={_MARK: True})


async def adopted(store: Store, key: SessionKey, state: Mapping[str, Any] | None) -> Session | None:
    """The placeholder under that key as a session with that state; None if it is no placeholder."""
    found = await store.sessions.find(key)
    if found is None or not is_placeholder(found):
        return None
    scopes: dict[str, Scope] = {
        "app:": AppScope(key.app),
        "user:": UserScope(key.app, key.user),
        "": key,
    }
    try:
        async with store.turn() as turn:
            made = turn.sessions.update(
                key, metadata={_MARK: DELETE}, expected_version=found.version
            )
            for scope, values in _by_scope(state or {}).items():
                turn.state.set(scopes[scope], values)
    except (StaleSessionError, NotFoundError) as error:
        raise AlreadyExistsError(f"session {key.id!r} was created by another caller") from error
    return made.value


def _by_scope(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        if not name.startswith("temp:"):
            scope = next((one for one in ("app:", "user:") if name.startswith(one)), "")
            found.setdefault(scope, {})[name.removeprefix(scope)] = value
    return found


__all__ = ["adopted", "hold_place", "is_placeholder"]
