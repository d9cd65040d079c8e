"""Sessions and storage of strands-agents in a perdure store."""

from __future__ import annotations

from perdure.adapters.extras import missing

try:
    import strands  # noqa: F401 - it may be missing
except ImportError as error:
    raise missing(__name__, "strands", error) from error

from perdure.adapters.strands.manager import PerdureSessionManager
from perdure.adapters.strands.repository import PerdureSessionRepository
from perdure.adapters.strands.storage import PerdureStorage

__all__ = ["PerdureSessionManager", "PerdureSessionRepository", "PerdureStorage"]
