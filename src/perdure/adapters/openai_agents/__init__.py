"""Sessions and paused runs of the OpenAI Agents SDK in a perdure store: see `PerdureSession`."""

from __future__ import annotations

from perdure.adapters.extras import missing

try:
    import agents.memory  # noqa: F401 - it may be missing
except ImportError as error:
    raise missing(__name__, "openai-agents", error) from error

from perdure.adapters.openai_agents.opened import SessionClosedError
from perdure.adapters.openai_agents.session import PerdureSession
from perdure.adapters.openai_agents.sessions import PerdureSessions

__all__ = ["PerdureSession", "PerdureSessions", "SessionClosedError"]
