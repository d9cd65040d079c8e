"""Google's ADK over a perdure store: sessions, memory, artifacts, and tool confirmations."""

from __future__ import annotations

from perdure.adapters.extras import missing

try:
    import google.adk.sessions  # noqa: F401 - it may be missing
except ImportError as error:
    raise missing(__name__, "adk", error) from error

from perdure.adapters.adk.approvals import ask, resume
from perdure.adapters.adk.artifacts import PerdureArtifactService
from perdure.adapters.adk.memory import PerdureMemoryService
from perdure.adapters.adk.registry import register
from perdure.adapters.adk.sessions import PerdureSessionService

__all__ = [
    "PerdureArtifactService",
    "PerdureMemoryService",
    "PerdureSessionService",
    "ask",
    "register",
    "resume",
]
