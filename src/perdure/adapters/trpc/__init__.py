"""Sessions and memory of trpc-agent-py in a perdure store."""

from __future__ import annotations

from perdure.adapters.extras import missing

try:
    import trpc_agent_sdk  # noqa: F401 - it may be missing
except ImportError as error:
    raise missing(__name__, "trpc", error) from error

from perdure.adapters.trpc.memory import PerdureMemoryService
from perdure.adapters.trpc.sessions import PerdureSessionService

__all__ = ["PerdureMemoryService", "PerdureSessionService"]
