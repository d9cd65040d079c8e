"""What is kept beside conversations: key-values and artifacts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from perdure.records.basics import JSON, ArtifactScope

Namespace: TypeAlias = str | tuple[str, ...]
"""Where a key is: a text, or a tuple of texts, which has namespaces below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A value under a key of a namespace.

    ``value`` is JSON, bytes or an `Opaque`. ``version`` is another one after each change and
    never comes back, also when the key was deleted or has expired in between. ``created_at``
    stays when the value is overwritten. It is there as long as now is before ``expires_at``.
    """

    namespace: Namespace
    key: str
    value: JSON
    version: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewKeyValue:
    """A key-value that is about to be stored, as `on_write` sees it.

    Its namespace and its key are told, and cannot be changed.
    """

    namespace: Namespace
    key: str
    value: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A version of an artifact, without its bytes.

    ``version`` is 0, 1, 2 … for each name of a scope. ``seq`` is the event that stood last in
    the session when it was saved (0: none, or the scope is a user's). ``sha256`` is the digest
    of the bytes in hex, ``size`` their number.
    """

    scope: ArtifactScope
    name: str
    version: int
    seq: int
    mime_type: str
    metadata: dict[str, JSON]
    sha256: str
    size: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LoadedArtifact:
    """A version of an artifact with its bytes."""

    artifact: Artifact
    data: bytes
