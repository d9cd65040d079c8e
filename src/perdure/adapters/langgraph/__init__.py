"""LangGraph's checkpointer and its long-term memory over a perdure store.

See `PerdureSaver` and `PerdureStore`; `PerdureKeyValueStore` is LangChain's store of bytes.
"""

from __future__ import annotations

from perdure.adapters.extras import missing

try:
    import langgraph.checkpoint.base  # noqa: F401 - it may be missing
except ImportError as error:
    raise missing(__name__, "langgraph", error) from error

from perdure.adapters.langgraph.caches import PerdureKeyValueStore
from perdure.adapters.langgraph.longterm import PerdureStore
from perdure.adapters.langgraph.messages import (
    aadd_messages,
    add_messages,
    aload_messages,
    load_messages,
)
from perdure.adapters.langgraph.saver import PerdureSaver

__all__ = [
    "PerdureKeyValueStore",
    "PerdureSaver",
    "PerdureStore",
    "aadd_messages",
    "add_messages",
    "aload_messages",
    "load_messages",
]
