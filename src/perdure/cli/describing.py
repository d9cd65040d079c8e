"""Records as JSON documents: what ``--json`` prints."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from perdure.cli import when
from perdure.records import (
    DELETE,
    Annotation,
    Approval,
    ApprovalStep,
    Branch,
    Event,
    Hold,
    LeaseHolder,
    Memory,
    Opaque,
    Session,
    SessionKey,
)


def session_document(session: Session) -> dict[str, Any]:
    """A session with every field; times in UTC."""
    document: dict[str, Any] = {
        "id": session.key.id,
        "app": session.key.app,
        "user": session.key.user,
        "uid": session.uid,
        "title": session.title,
        "author": session.author,
        "agent_type": session.agent_type,
        "tags": list(session.tags),
        "metadata": session.metadata,
        "parent": session.parent and session.parent._asdict(),
        "origin": session.origin and {**session.origin.key._asdict(), "seq": session.origin.seq},
    }
    for name in ("created_at", "updated_at", "last_event_at", "expires_at", "deleted_at"):
        moment = getattr(session, name)
        document[name] = moment and when.iso(moment)
    for name in ("version", "event_count", "head_seq", "last_seq", "preview"):
        document[name] = getattr(session, name)
    return document


def event_document(event: Event) -> dict[str, Any]:
    """An event with every field it has; what is empty is left out."""
    fields = ("id", "seq", "prev", "version", "author", "role", "kind", "format", "run_id")
    document: dict[str, Any] = {name: getattr(event, name) for name in fields}
    document |= {name: getattr(event, name) for name in ("branch", "filter_key", "text")}
    document["timestamp"] = when.iso(event.timestamp)
    document["created_at"] = when.iso(event.created_at)
    document["calls"], document["results"] = list(event.calls), list(event.results)
    document["content"] = value_document(event.content)
    for name in ("usage", "metadata", "extra"):
        document[name] = getattr(event, name)
    if event.error is not None:
        document["error"] = {"code": event.error.code, "message": event.error.message}
    for key, value in (event.state_delta or {}).items():
        if value is DELETE:
            document.setdefault("state_removed", []).append(key)
        else:
            document.setdefault("state_delta", {})[key] = value_document(value)
    return {name: value for name, value in document.items() if value not in (None, "", [])}


def memory_document(memory: Memory) -> dict[str, Any]:
    """A memory with every field; times in UTC."""
    document: dict[str, Any] = {
        name: getattr(memory, name) for name in ("id", "app", "user", "content")
    }
    document["topics"] = list(memory.topics)
    for name in ("agent", "author", "session", "event_id", "metadata", "pinned", "superseded_by"):
        document[name] = getattr(memory, name)
    for name in ("timestamp", "valid_from", "valid_until", "expires_at"):
        moment = getattr(memory, name)
        document[name] = moment and when.iso(moment)
    document["created_at"] = when.iso(memory.created_at)
    document["updated_at"] = when.iso(memory.updated_at)
    document["version"] = memory.version
    return document


def annotation_document(note: Annotation) -> dict[str, Any]:
    """A note."""
    return {
        "name": note.name,
        "value": note.value,
        "by": note.by,
        "event_id": note.event_id,
        "created_at": when.iso(note.created_at),
    }


def branch_document(branch: Branch) -> dict[str, Any]:
    """A line of a session."""
    return {"name": branch.name, "head_seq": branch.head_seq, "current": branch.current}


def value_document(value: Any) -> Any:
    """A JSON value as it is, bytes as base64."""
    if isinstance(value, Opaque):
        return {"codec": value.codec, "base64": b64encode(value.data).decode()}
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    return value


def lease_document(lease: LeaseHolder) -> dict[str, Any]:
    """Which run has a session."""
    return {"run_id": lease.run_id, "until": when.iso(lease.until)}


def hold_document(hold: Hold) -> dict[str, Any]:
    """What holds a session, or all of its user."""
    return {
        "by": hold.by,
        "reason": hold.reason,
        "held_at": when.iso(hold.held_at),
        "whole_user": not isinstance(hold.of, SessionKey),
    }


def approval_document(approval: Approval) -> dict[str, Any]:
    """An approval with every field; times in UTC, what a framework resumes with as base64."""
    document: dict[str, Any] = {
        name: getattr(approval, name)
        for name in ("id", "status", "kind", "tool_name", "args", "edited_args", "app", "user")
    }
    document["session"] = approval.session and approval.session.id
    for name in ("thread_id", "run_id", "tool_call_id", "question", "sender_context", "payload"):
        document[name] = getattr(approval, name)
    document["resume"] = value_document(approval.resume)
    for name in ("created_by", "agent", "resolved_by", "feedback", "rule", "args_sha256"):
        document[name] = getattr(approval, name)
    for name in ("created_at", "expires_at", "resolved_at", "consumed_at"):
        moment = getattr(approval, name)
        document[name] = moment and when.iso(moment)
    return document


def step_document(step: ApprovalStep) -> dict[str, Any]:
    """A step of an approval."""
    return {
        "number": step.number,
        "at": when.iso(step.at),
        "by": step.by,
        "from": step.from_status,
        "to": step.to_status,
        "rule": step.rule,
    }
