"""The user's `on_write`: it sees what is to be stored, before it is checked and encoded."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isawaitable
from typing import Any, TypeVar

from perdure.errors import InvalidError
from perdure.operation import Settings
from perdure.records import (
    JSON,
    NewAnnotation,
    NewArtifact,
    NewCheckpoint,
    NewEvent,
    NewKeyValue,
    NewMemory,
    NewRunStep,
    NewSession,
    NewState,
    NewTaskWrites,
    Opaque,
    Scope,
)

R = TypeVar(
    "R",
    NewEvent,
    NewState,
    NewArtifact,
    NewSession,
    NewAnnotation,
    NewMemory,
    NewKeyValue,
    NewRunStep,
    NewCheckpoint,
    NewTaskWrites,
)


def event_of(event: NewEvent, settings: Settings) -> NewEvent:
    """The event as it is to be stored; a partial one is not stored, and is not looked at."""
    if settings.on_write is None or event.partial:
        return event
    written = _written(event, settings)
    if written.partial:
        raise InvalidError("on_write made an event partial: raise an error to refuse it", "partial")
    return written


def content_of(event_id: str, content: JSON | Opaque, settings: Settings) -> JSON | Opaque:
    """What is to stand in the place of an event's content."""
    if settings.on_write is None:
        return content
    return _written(NewEvent(content, id=event_id), settings).content


def state_of(scope: Scope, values: Mapping[str, JSON], settings: Settings) -> Mapping[str, JSON]:
    """The values of a scope as they are to be stored."""
    if settings.on_write is None:
        return values
    return _written(NewState(scope, values), settings).values


def passed(record: R, settings: Settings) -> R:
    """The record as it is to be stored."""
    return record if settings.on_write is None else _written(record, settings)


def _written(record: R, settings: Settings) -> R:
    hook: Any = settings.on_write
    written = hook(record)
    if isawaitable(written):
        close = getattr(written, "close", None)
        if close is not None:
            close()
        raise InvalidError("on_write is async: it must be a plain function", "on_write")
    if not isinstance(written, type(record)):
        message = (
            f"on_write returned {type(written).__qualname__}, not a {type(record).__name__}: "
            "return the record, changed or not, or raise an error to refuse it"
        )
        raise InvalidError(message, "on_write")
    return written
