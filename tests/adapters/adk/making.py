"""Services, events and contents for the tests, and ADK's own services beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.adk.events import Event, EventActions
from google.adk.sessions import BaseSessionService, InMemorySessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.adk.sessions.database_session_service import DatabaseSessionService
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.genai import types

from perdure.adapters.adk import PerdureSessionService
from perdure.records import SessionKey

APP, USER, ID = "shop", "ada", "s1"
WHERE: dict[str, Any] = {"app_name": APP, "user_id": USER}
AT: dict[str, Any] = {**WHERE, "session_id": ID}
KEY = SessionKey(APP, USER, ID)


def content(text: str, role: str = "user") -> types.Content:
    return types.Content(role=role, parts=[types.Part(text=text)])


def event(text: str | None = "hi", author: str = "user", **fields: Any) -> Event:
    """An event that says something, with what it changes of the state as ``delta``."""
    delta = fields.pop("delta", None)
    if delta is not None:
        fields["actions"] = EventActions(state_delta=delta)
    if text is not None:
        fields["content"] = content(text, "user" if author == "user" else "model")
    return Event(author=author, invocation_id=fields.pop("invocation_id", "run-1"), **fields)


def texts(session: Session | None) -> list[str]:
    """What the events of a session say."""
    assert session is not None
    found = []
    for one in session.events:
        parts = [] if one.content is None else one.content.parts or []
        found.append(" ".join(part.text for part in parts if part.text))
    return found


def theirs(kind: str, folder: Path) -> BaseSessionService:
    """A session service of ADK's own."""
    if kind == "memory":
        return InMemorySessionService()
    if kind == "sqlite":
        return SqliteSessionService(str(folder / "theirs.db"))
    return DatabaseSessionService(f"sqlite+aiosqlite:///{folder / 'theirs-alchemy.db'}")


async def closed(service: Any) -> None:
    """End a service of either side."""
    if hasattr(service, "close"):
        await service.close()


async def filled(service: BaseSessionService, *said: str, **create: Any) -> Session:
    """A session with an event for each text."""
    session = await service.create_session(**AT, **create)
    for text in said:
        await service.append_event(session, event(text))
    return session


async def got(service: BaseSessionService, **config: Any) -> Session:
    """The session again, from the store."""
    found = await service.get_session(**AT, config=GetSessionConfig(**config) if config else None)
    assert found is not None
    return found


__all__ = [
    "APP", "AT", "ID", "KEY", "USER", "WHERE", "PerdureSessionService", "closed", "content",
    "event", "filled", "got", "texts", "theirs",
]  # fmt: skip
