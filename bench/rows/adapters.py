"""The adapters, each beside the framework's own store."""

from __future__ import annotations

from collections.abc import Sequence

from bench.contest import Options, Row
from bench.rows import adk, langgraph, openai_agents


def rows(options: Options) -> Sequence[Row]:
    """Of every framework."""
    return [*langgraph.rows(options), *adk.rows(options), *openai_agents.rows(options)]
