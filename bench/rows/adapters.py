"""The adapters, each beside the framework's own store."""

from __future__ import annotations

from collections.abc import Sequence

from bench.contest import Options, Row
from bench.rows import adk, langgraph, openai_agents, trpc_strands


def rows(options: Options) -> Sequence[Row]:
    """Of every framework."""
    return [
        *langgraph.rows(options),
        *adk.rows(options),
        *openai_agents.rows(options),
        *trpc_strands.rows(options),
    ]
