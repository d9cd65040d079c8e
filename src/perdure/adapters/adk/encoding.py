"""Events of ADK as events of perdure, and back.

What every reader of a session asks for stands in the fields of the store's event: who, which run,
which branch, the content, errors, tokens, state. All the rest of ADK's event is kept beside it
under one key of ``extra``, less what is empty there by default.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from google.adk.events.event import Event
from pydantic_core import to_jsonable_python

from perdure import records
from perdure.formats import convert, role_of
from perdure.records import DELETE, EventError, NewEvent, Opaque
from perdure.values import EPOCH, Limits

logger = logging.getLogger(__name__)

FORMAT = "adk"
_TEMP = "temp:"
#: What is stored in a field of its own; a delta is stored as it was given, not as it is shown.
_APART = {"actions": {"state_delta"}}
#: What is stored of an event only where it says something.
_EMPTY = ("artifact_delta", "requested_auth_configs", "requested_tool_confirmations")
_NO_NODE = {"path": ""}
_MOST = Limits().text


# -- there -----------------------------------------------------------------------------------


def new_event(event: Event) -> NewEvent:
    """The event as it is stored, without what is only for its run."""
    told = event.model_dump(mode="json", exclude_none=True, exclude=_APART)
    _drop_defaults(told)
    author = _taken(told, "author", event.author, blank=False)
    error = None
    if event.error_code or event.error_message:
        error = EventError(event.error_message or "", event.error_code or "")
    return NewEvent(
        told.pop("content", None),
        id=told.pop("id"),
        author=author,
        run_id=_taken(told, "invocation_id", event.invocation_id),
        branch=event.branch if event.branch and fits(event.branch) else "",
        format=FORMAT,
        error=error,
        usage=told.pop("usage_metadata", None),
        state_delta=stored_delta(event),
        timestamp=moment(event.timestamp),
        extra={FORMAT: told},
    )


def stored_delta(event: Event) -> dict[str, Any] | None:
    """What the event changes of the state for good."""
    delta = event.actions.state_delta if event.actions else None
    if not delta:
        return None
    return {key: value for key, value in delta.items() if not key.startswith(_TEMP)}


def _drop_defaults(told: dict[str, Any]) -> None:
    actions = told.pop("actions", {})
    for name in _EMPTY:
        if actions.get(name) == {}:
            del actions[name]
    if actions:
        told["actions"] = actions
    if told.get("node_info") == _NO_NODE:
        del told["node_info"]


def _taken(told: dict[str, Any], name: str, value: str, *, blank: bool = True) -> str:
    """The text for a field of the store; left where it is if the field cannot hold it."""
    if not fits(value) or not (value or blank):
        return ""
    told.pop(name, None)
    return value


def fits(text: str) -> bool:
    """Whether it can be an id or a name in the store."""
    if "\0" in text or len(text) > _MOST:
        return False
    return len(text.encode("utf-8", "replace")) <= _MOST


def moment(seconds: float) -> datetime | None:
    """The time, to the microsecond; None for one in no year that there is."""
    try:
        return EPOCH + timedelta(microseconds=round(seconds * 1_000_000))
    except (OverflowError, ValueError):
        return None


# -- what is no JSON -------------------------------------------------------------------------


def tidied(new: NewEvent) -> NewEvent:
    """The same with what JSON cannot hold as text, so that it can be stored."""
    delta = None if new.state_delta is None else plain_state(new.state_delta)
    return replace(
        new,
        content=_tidy(new.content),
        usage=_tidy(new.usage),
        extra=_tidy(new.extra),
        state_delta=delta,
    )


def plain_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """State as JSON: times and models as ADK writes them, what has no such form as its text."""
    return {key: _plain(key, value) for key, value in state.items()}


def _plain(key: str, value: Any) -> Any:
    if value is DELETE or isinstance(value, Opaque):
        return value
    try:
        found = to_jsonable_python(value)
    except Exception as error:  # noqa: BLE001 - whatever it is, the event must not be lost
        logger.warning("state %r holds what is not JSON: its text is stored (%s)", key, error)
        found = to_jsonable_python(value, serialize_unknown=True)
    tidy = _tidy(found)
    if tidy != found:
        logger.warning("state %r holds a number or a text that is not JSON: stored as text", key)
    return tidy


def _tidy(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_tidy(key): _tidy(item) for key, item in value.items()}
    return [_tidy(item) for item in value] if isinstance(value, list | tuple) else value


# -- and back --------------------------------------------------------------------------------


def events_of(stored: Sequence[records.Event], agent: str | None) -> list[Event]:
    """The events as ADK knows them; those of other frameworks in its shape.

    One of another may say several things: each is an event then. ``agent`` is who is taken to have
    said what another framework's assistant has said; None: whoever the event names.
    """
    if all(map(_is_ours, stored)):
        return [_made(one, one.content) for one in stored]
    names: dict[str, str] = {}
    events: list[Event] = []
    for one in stored:
        contents = [one.content] if _is_ours(one) else _converted(one, names)
        names.update(_calls(contents))
        events += _each(one, contents, agent)
    return events


def _is_ours(one: records.Event) -> bool:
    return one.format == FORMAT and one.extra is not None and FORMAT in one.extra


def _converted(one: records.Event, names: Mapping[str, str]) -> list[Any]:
    if one.content is None or isinstance(one.content, Opaque):
        return []
    contents, _ = convert([(one.format, one.content, one.author)], FORMAT, numbers=[one.seq])
    for response in _inner(contents, "function_response"):
        response["name"] = response.get("name") or names.get(response.get("id", ""), "")
    return contents


def _calls(contents: Iterable[Any]) -> dict[str, str]:
    calls = _inner(contents, "function_call")
    return {one["id"]: one.get("name") or "" for one in calls if one.get("id")}


def _inner(contents: Iterable[Any], kind: str) -> Iterable[dict[str, Any]]:
    """What the parts of these contents hold of a kind: a ``function_call``, say."""
    for content in contents:
        for part in (content or {}).get("parts") or []:
            if isinstance(part, dict) and isinstance(part.get(kind), dict):
                yield part[kind]


def _each(one: records.Event, contents: Sequence[Any], agent: str | None) -> Iterable[Event]:
    if not contents:
        yield _made(one, None, agent)
        return
    for number, content in enumerate(contents, 1):
        yield _made(one, content, agent, number)


def _made(one: records.Event, content: Any, agent: str | None = None, number: int = 1) -> Event:
    told = (one.extra or {}).get(FORMAT)
    first = number == 1
    fields: dict[str, Any] = {
        "id": one.id if first else f"{one.id}#{number}",
        "invocation_id": one.run_id,
    }
    if told is None:
        fields |= _foreign(one, content, agent)
    else:
        fields |= {"author": one.author, **told}
        if one.usage is not None:
            fields["usage_metadata"] = one.usage
    if content is not None:
        fields["content"] = content
    if first and one.state_delta is not None:
        delta = {key: None if value is DELETE else value for key, value in one.state_delta.items()}
        fields["actions"] = {**fields.get("actions", {}), "state_delta": delta}
    return Event.model_validate(fields)


def _foreign(one: records.Event, content: Any, agent: str | None) -> dict[str, Any]:
    """What ADK wants to know of an event that another framework has written."""
    said_by_user = one.role in {"user", "system", "developer"} or not one.role
    author = "user" if said_by_user else agent or one.author
    if content is not None and not said_by_user and role_of(author) != "assistant":
        # Answers of tools are the agent's there: from the user they would be a client's.
        author = agent or "assistant"
    fields: dict[str, Any] = {
        "invocation_id": one.run_id or one.id,
        "author": author,
        "branch": one.branch or None,
        "timestamp": one.timestamp.timestamp(),
    }
    if one.error is not None:
        fields |= {"error_code": one.error.code or "ERROR", "error_message": one.error.message}
    return fields


__all__ = [
    "FORMAT",
    "events_of",
    "fits",
    "moment",
    "new_event",
    "plain_state",
    "stored_delta",
]
