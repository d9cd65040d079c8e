"""LangGraph's checkpointer over a perdure store: see `PerdureSaver`."""

from __future__ import annotations

from perdure.errors import MissingExtraError

try:
    import langgraph.checkpoint.base  # noqa: F401 - it may be missing
except ImportError as error:
    message = f"perdure.adapters.langgraph needs {error.name}: pip install 'perdure[langgraph]'"
    raise MissingExtraError(message) from error

from perdure.adapters.langgraph.saver import PerdureSaver

__all__ = ["PerdureSaver"]
