"""How many tokens a model call took, in whatever words its provider says it.

``input`` is all that the model read, what came from a cache included; ``cached`` is that part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from perdure.records import JSON

_INPUT = (
    "input_tokens", "prompt_tokens", "prompt_token_count", "promptTokenCount", "inputTokens",
)  # fmt: skip
_OUTPUT = (
    "output_tokens", "completion_tokens", "candidates_token_count", "candidatesTokenCount",
    "outputTokens",
)  # fmt: skip
_TOTAL = ("total_tokens", "total_token_count", "totalTokenCount", "totalTokens")
_CACHED = (
    "cached_tokens", "cache_read_input_tokens", "cached_content_token_count",
    "cachedContentTokenCount",
)  # fmt: skip
_CACHED_INSIDE = {
    "prompt_tokens_details": "cached_tokens",
    "input_tokens_details": "cached_tokens",
    "input_token_details": "cache_read",
}
#: Anthropic counts these beside the input, Gemini the others beside input and output.
_MORE_INPUT = ("cache_creation_input_tokens", "cache_read_input_tokens")
_TOOL_INPUT = ("tool_use_prompt_token_count", "toolUsePromptTokenCount")
_THOUGHTS = ("thoughts_token_count", "thoughtsTokenCount")
_MODEL = ("model", "model_name", "model_id", "model_version", "modelVersion")


class Tokens(NamedTuple):
    """Of one call, or the sum of several."""

    input: int = 0
    output: int = 0
    total: int = 0
    cached: int = 0

    def plus(self, other: Tokens) -> Tokens:
        """Both together."""
        return Tokens(*(one + more for one, more in zip(self, other, strict=True)))


def tokens_of(usage: JSON) -> Tokens:
    """The numbers of a usage; 0 for what it does not say, or says in words unknown here."""
    if not isinstance(usage, Mapping):
        return Tokens()
    read = _first(usage, _INPUT) + _sum(usage, _MORE_INPUT) + _first(usage, _TOOL_INPUT)
    written = _first(usage, _OUTPUT) + _first(usage, _THOUGHTS)
    return Tokens(read, written, _first(usage, _TOTAL) or read + written, _cached(usage))


def model_of(*places: JSON) -> str:
    """The first name of a model that stands in one of the objects, or ``""``."""
    for place in places:
        if isinstance(place, Mapping):
            for name in _MODEL:
                found = place.get(name)
                if isinstance(found, str) and found:
                    return found
    return ""


def _cached(usage: Mapping[str, Any]) -> int:
    for place, name in _CACHED_INSIDE.items():
        inside = usage.get(place)
        if isinstance(inside, Mapping) and name in inside:
            return _number(inside[name])
    return _first(usage, _CACHED)


def _first(usage: Mapping[str, Any], names: tuple[str, ...]) -> int:
    for name in names:
        if name in usage:
            return _number(usage[name])
    return 0


def _sum(usage: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return sum(_number(usage.get(name)) for name in names)


def _number(value: Any) -> int:
    """A count; 0 for what cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return 0
    return int(value)
