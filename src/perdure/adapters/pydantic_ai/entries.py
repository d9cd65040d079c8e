"""Entries and records of pydantic-ai as events and metadata of a session, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelMessagesTypeAdapter

from perdure.adapters.packing import packed, unpacked
from perdure.formats import convert
from perdure.records import DELETE, JSON, Event, NewEvent, Session

FORMAT = "pydantic"
#: The keys of a session's metadata: the record with the place of its head, and the scope.
RECORD = "pydantic_ai"
SCOPE = "pydantic_ai_scope"

_records: TypeAdapter[Any] = TypeAdapter(list[ConversationRecord])


# -- entries -------------------------------------------------------------------------------------


def event_of(entry: ConversationEntry, *, pack: bool) -> NewEvent:
    """The event of an entry; ``pack`` once the store has refused one of them."""
    message = entry.message
    [content] = ModelMessagesTypeAdapter.dump_python([message], mode="json")
    responds = message.kind == "response"
    return NewEvent(
        packed(content) if pack else content,
        id=entry.id,
        author="assistant" if responds else "user",
        run_id=message.run_id or "",
        format=FORMAT,
        timestamp=message.timestamp,
        usage=_usage(content) if responds else None,
    )


def _usage(content: dict[str, JSON]) -> JSON:
    """What a response says it took, with its model, for `store.usage`."""
    spent = content.get("usage") or {}
    counted = {name: value for name, value in spent.items() if value and name != "details"}
    return {**counted, "model": content.get("model_name")} if counted else None


def copy_of(event: Event) -> NewEvent:
    """The event for a fork; what it took was spent once."""
    return NewEvent(
        event.content,
        id=event.id,
        author=event.author,
        run_id=event.run_id,
        branch=event.branch,
        filter_key=event.filter_key,
        format=event.format,
        error=event.error,
        metadata=event.metadata,
        timestamp=event.timestamp,
        extra=event.extra,
    )


def entries_of(events: Sequence[Event], parent_id: str | None) -> list[ConversationEntry]:
    """The entries of a line whose first event stands behind ``parent_id``.

    An event of another framework becomes the messages that its content says; where these are
    several, the last one has the event's id.
    """
    named: list[tuple[str, dict[str, JSON]]] = []
    tools: dict[str, str] = {}
    for event in events:
        content = unpacked(event.content)
        if event.format == FORMAT and isinstance(content, dict):
            said = [content]
        else:
            said = list(_converted(event, tools))
        tools.update(_calls(said))
        last = len(said) - 1
        named += [
            (event.id if place == last else f"{event.id}#{place}", one)
            for place, one in enumerate(said)
        ]
    messages = ModelMessagesTypeAdapter.validate_python([one for _, one in named])
    entries = []
    for (entry_id, _), message in zip(named, messages, strict=True):
        entries.append(ConversationEntry(id=entry_id, parent_id=parent_id, message=message))
        parent_id = entry_id
    return entries


def _calls(messages: Sequence[dict[str, JSON]]) -> Iterator[tuple[str, str]]:
    for message in messages:
        for part in message.get("parts") or ():
            if part.get("part_kind") == "tool-call":
                yield part.get("tool_call_id") or "", part.get("tool_name") or ""


def _converted(event: Event, tools: dict[str, str]) -> Iterator[dict[str, JSON]]:
    said, _ = convert([(event.format, event.content, event.author)], FORMAT)
    # The same each time it is read: pydantic-ai would put its own clock in.
    moment = event.timestamp.isoformat()
    for message in said:
        for part in message["parts"]:
            if message["kind"] == "request":
                part["timestamp"] = moment
            if part["part_kind"] == "tool-return" and not part["tool_name"]:
                part["tool_name"] = tools.get(part["tool_call_id"], "")
        yield {**message, "timestamp": moment, "run_id": event.run_id or None}


# -- records -------------------------------------------------------------------------------------


def metadata_of(record: ConversationRecord, head: int) -> dict[str, Any]:
    """The metadata of a session whose active line ends at seq ``head`` as the record says."""
    [told] = _records.dump_python([record], mode="json")
    return {RECORD: {"head": head, "record": told}, SCOPE: record.scope}


def changed(metadata: dict[str, Any]) -> dict[str, Any]:
    """The same as a change: no scope removes one."""
    return {**metadata, SCOPE: DELETE if metadata[SCOPE] is None else metadata[SCOPE]}


def record_of(session: Session, head_id: str | None) -> ConversationRecord:
    """The record of a session that another framework has made, or written to since.

    It has a revision of its own, so that nobody saves over what was written, and waits for no
    tool call.
    """
    kept = stored_record(session)
    revision = f"{session.uid}:{session.head_seq}:{session.last_seq}"
    told = {"head_id": head_id, "revision": revision, "updated_at": session.updated_at}
    if kept is None:
        return ConversationRecord(conversation_id=session.id, **told)
    return replace(kept, deferred_tool_requests=None, **told)


def stored_record(session: Session) -> ConversationRecord | None:
    """The record that was stored last, whatever has come since."""
    told = session.metadata.get(RECORD)
    if not isinstance(told, dict) or "record" not in told:
        return None
    [record] = _records.validate_python([told["record"]])
    return record


def is_current(session: Session) -> bool:
    """Whether the session ends where its record says."""
    told = session.metadata.get(RECORD)
    return isinstance(told, dict) and told.get("head") == session.head_seq
