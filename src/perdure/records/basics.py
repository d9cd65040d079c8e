"""What every record stands on: JSON values, keys, scopes, pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

JSON: TypeAlias = Any
"""A JSON value: dict, list, str, int, float, bool or None, nested at most 200 deep."""


T = TypeVar("T")


class Marker(Enum):
    """The two words that stand where a value stands and are not one."""

    DELETE = "DELETE"
    ALL = "ALL"

    def __repr__(self) -> str:
        return f"perdure.{self.name}"


DELETE: Final = Marker.DELETE
"""In a state delta or metadata: remove this key, durably."""


ALL: Final = Marker.ALL
"""Where a list asks for an app or a user: every one of them, on purpose."""


AllType: TypeAlias = Literal[Marker.ALL]


@dataclass(frozen=True, slots=True)
class Opaque:
    """Bytes that are kept as they are and never parsed or searched.

    ``codec`` names how to read them (``msgpack``, ``pickle5-signed``, …); perdure only keeps
    the name. An `Opaque` may stand where a whole value is stored: the content of an event, the
    value of a state key.
    """

    codec: str
    data: bytes


class SessionKey(NamedTuple):
    """Whose session, and which: unique inside the store's tenant."""

    app: str
    user: str
    id: str


class UserScope(NamedTuple):
    """The state that all sessions of a user share."""

    app: str
    user: str


class AppScope(NamedTuple):
    """The state that all users of an app share."""

    app: str


Scope: TypeAlias = SessionKey | UserScope | AppScope


ArtifactScope: TypeAlias = SessionKey | UserScope


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_cursor`` is None on the last one."""

    items: Sequence[T]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
