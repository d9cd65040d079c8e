"""Events of trpc-agent as events of perdure, and back.

What one says is its content, in the format of ADK, of which trpc-agent is a dialect; so who reads
ADK's sessions reads these. All the rest stands in ``extra``, less what is as it is by default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import to_jsonable_python
from trpc_agent_sdk.events import Event

from perdure import records
from perdure.formats import adk, convert, role_of
from perdure.records import DELETE, EventError, NewEvent, Opaque
from perdure.values import EPOCH

#: Where the rest stands, in ``extra``.
KEY = "trpc"
APP, USER, TEMP = "app:", "user:", "temp:"
_APART = {"content": True, "actions": {"state_delta"}}


# -- there -----------------------------------------------------------------------------------


def new_event(event: Event, *, again: bool = False) -> NewEvent:
    """The event as it is stored; ``again``: beside another one of its id."""
    told = event.model_dump(mode="json", exclude_defaults=True, exclude=_APART)
    if not told.get("actions"):
        told.pop("actions", None)
    if not again:
        told.pop("id", None)
    content = None
    if event.content is not None:
        content = event.content.model_dump(mode="json", exclude_none=True)
    error = None
    if event.error_code or event.error_message:
        error = EventError(event.error_message or "", str(event.error_code or ""))
    return NewEvent(
        content,
        id=None if again else event.id,
        author=event.author,
        run_id=event.invocation_id,
        branch=event.branch or "",
        filter_key=event.filter_key or "",
        format=adk.NAME,
        error=error,
        state_delta=stored_delta(event),
        timestamp=moment(event.timestamp),
        extra={KEY: told},
    )


def stored_delta(event: Event) -> dict[str, Any] | None:
    """What the event changes of the state for good."""
    delta = event.actions.state_delta if event.actions else None
    return {key: value for key, value in delta.items() if not temporary(key)} if delta else None


def temporary(key: str) -> bool:
    """Whether a name of state is for one run alone."""
    return key.startswith(TEMP)


def shared(key: str) -> bool:
    """Whether a name of state is the app's or the user's."""
    return key.startswith((APP, USER))


def tamed(new: NewEvent) -> NewEvent:
    """The same with what JSON cannot hold as text, so that it can be stored."""
    return replace(
        new,
        content=tame(new.content),
        extra=tame(new.extra),
        state_delta=None if new.state_delta is None else tame(new.state_delta),
    )


def tame(value: Any) -> Any:
    """The value as JSON: what JSON cannot hold as text, whatever of it can be read."""
    try:
        plain = to_jsonable_python(value, serialize_unknown=True)
    except UnicodeDecodeError:
        # Bytes that are no text.
        plain = to_jsonable_python(value, serialize_unknown=True, bytes_mode="base64")
    return _held(plain)


def _held(value: Any) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if isinstance(value, dict):
        return {whole(key): _held(inner) for key, inner in value.items()}
    return [_held(inner) for inner in value] if isinstance(value, list) else value


def whole(text: str) -> str:
    """The text, with a sign in the place of half a surrogate pair: a stream may be cut in one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def moment(seconds: float) -> datetime | None:
    """The time, or None if there is no such."""
    try:
        return EPOCH + timedelta(microseconds=round(seconds * 1_000_000))
    except (OverflowError, ValueError):
        return None


# -- and back --------------------------------------------------------------------------------


def each(stored: Iterable[records.Event]) -> Iterator[tuple[int, list[Event]]]:
    """The seq of each event, in order, and what trpc-agent knows it as."""
    names: dict[str, str] = {}
    for one in stored:
        events = _events_of(one, names)
        for call in [call for event in events for call in event.get_function_calls()]:
            names[call.id or ""] = call.name or ""
        yield one.seq, events


def _events_of(stored: records.Event, names: Mapping[str, str]) -> list[Event]:
    """The event as trpc-agent knows it; what another framework says in one may be several.

    Where a result does not say of which tool it is, the call before it does: ``names``, by ids.
    """
    told = (stored.extra or {}).get(KEY)
    if isinstance(told, dict) and stored.format == adk.NAME:
        return [_made(stored, told, stored.content)]
    if stored.content is None or isinstance(stored.content, Opaque):
        return [_made(stored, _foreign(stored, stored.id), None)]
    contents, _ = convert([(stored.format, stored.content, stored.author)], adk.NAME)
    for part in [part for content in contents for part in content.get("parts") or ()]:
        response = part.get("function_response")
        if response and not response.get("name"):
            response["name"] = names.get(response.get("id") or "", "")
    # What the event changes of the state, it changes once.
    return [
        _made(replace(stored, state_delta=None), _foreign(stored, f"{stored.id}#{number}"), content)
        if number
        else _made(stored, _foreign(stored, stored.id), content)
        for number, content in enumerate(contents)
    ]


def _made(stored: records.Event, told: Mapping[str, Any], content: Any) -> Event:
    fields: dict[str, Any] = {"id": stored.id, **told}
    if content is not None:
        fields["content"] = content
    if stored.state_delta is not None:
        delta = {
            key: None if value is DELETE else value for key, value in stored.state_delta.items()
        }
        fields["actions"] = {**fields.get("actions", {}), "state_delta": delta}
    return Event.model_validate(fields)


def _foreign(stored: records.Event, id: str) -> dict[str, Any]:
    """What trpc-agent wants to know of an event that another framework has written."""
    by_user = stored.role in {"user", "system", "developer", ""}
    # What a tool answers is the agent's there, as the call was.
    author = stored.author if role_of(stored.author) == "assistant" else "assistant"
    fields: dict[str, Any] = {
        "id": id,
        "invocation_id": stored.run_id or stored.id,
        "author": "user" if by_user else author,
        "branch": stored.branch or None,
        "timestamp": stored.timestamp.timestamp(),
    }
    if stored.error is not None:
        fields |= {"error_code": stored.error.code, "error_message": stored.error.message}
    return fields


def same(one: Event, other: Event) -> bool:
    """Whether two say and mean the same, as far as it can be stored."""
    return bool(tame(one.model_dump()) == tame(other.model_dump()))


def split(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The names of the session, of its user and of its app, without their prefixes."""
    session = {k: v for k, v in state.items() if not shared(k) and not temporary(k)}
    user = {k.removeprefix(USER): v for k, v in state.items() if k.startswith(USER)}
    app = {k.removeprefix(APP): v for k, v in state.items() if k.startswith(APP)}
    return session, user, app


def numbers(stored: Sequence[records.Event]) -> dict[str, int]:
    """The seq of each event by the id it has there; of several of one id the last."""
    return {one.id: seq for seq, events in each(stored) for one in events}
