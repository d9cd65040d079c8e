"""Where a record lives: the digest that leads every key, and the check of names.

``part`` is 32 hex digits over (kind, tenant, app, user). Everything of one user, or of one
app, shares it, so a sharded database keeps it on one machine and no index row gets long.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from perdure.errors import InvalidError
from perdure.records import SessionKey
from perdure.values import check_text, digest


class Place(NamedTuple):
    """The parts of a session's user and of its app."""

    part: str
    app_part: str


def place(tenant: str, app: str, user: str, limit: int) -> Place:
    """Where the records of a user are; `InvalidError` for names that cannot be one."""
    try:
        return _place(tenant, app, user, limit)
    except TypeError:
        message = f"app and user are texts, not {app!r} and {user!r}"
        raise InvalidError(message, "key") from None


@lru_cache(maxsize=8192)
def _place(tenant: str, app: str, user: str, limit: int) -> Place:
    check_text(tenant, "tenant", limit)
    check_text(app, "app", limit)
    check_text(user, "user", limit)
    return Place(digest("user", tenant, app, user), app_part(tenant, app))


def app_part(tenant: str, app: str) -> str:
    """Where the records of an app are; the names are checked ones."""
    return digest("app", tenant, app)


def lineage_part(tenant: str, lineage: str, limit: int) -> str:
    """Where the checkpoints of a lineage are; `InvalidError` for what cannot be the id of one."""
    return _lineage_part(tenant, check_text(lineage, "lineage", limit, blank=False))


@lru_cache(maxsize=8192)
def _lineage_part(tenant: str, lineage: str) -> str:
    return digest("lineage", tenant, lineage)


def check_key(key: SessionKey | tuple[str, str, str], limit: int) -> SessionKey:
    """The key as a `SessionKey`; `InvalidError` if it cannot be one."""
    if type(key) is not SessionKey:
        if not isinstance(key, tuple) or len(key) != 3:  # noqa: PLR2004 - app, user, id
            raise InvalidError(f"a session key is SessionKey(app, user, id), not {key!r}", "key")
        key = SessionKey(*key)
    check_text(key.id, "session id", limit, blank=False)
    return key
