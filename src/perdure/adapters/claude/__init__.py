"""The session store of the Claude Agent SDK over a perdure store: see `PerdureSessionStore`."""

from __future__ import annotations

from perdure.adapters.extras import missing

try:
    import claude_agent_sdk  # noqa: F401 - it may be missing
except ImportError as error:
    raise missing(__name__, "claude", error) from error

from perdure.adapters.claude.store import PerdureSessionStore

__all__ = ["PerdureSessionStore"]
