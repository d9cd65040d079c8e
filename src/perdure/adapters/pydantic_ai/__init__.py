"""pydantic-ai over a perdure store: see `PerdureConversationStore` and `PerdureDurability`."""

from __future__ import annotations

from perdure.adapters.extras import missing

try:
    import pydantic_ai.conversation_store  # noqa: F401 - it may be missing
except ImportError as error:
    raise missing(__name__, "pydantic-ai", error) from error

from perdure.adapters.pydantic_ai.journal import PerdureDurability
from perdure.adapters.pydantic_ai.store import PerdureConversationStore

__all__ = ["PerdureConversationStore", "PerdureDurability"]
