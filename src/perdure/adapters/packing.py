"""Values of frameworks that are JSON to Python, and not quite JSON."""

from __future__ import annotations

import json

from perdure.errors import InvalidError, TooLargeError
from perdure.records import JSON, Opaque
from perdure.values import Limits, encode

#: The codec of a value that is kept as its text.
CODEC = "json"
_LARGEST = Limits().event


def packed(value: JSON) -> JSON | Opaque:
    """The value; or its text, where it holds what no store takes: half a surrogate pair, say.

    Only for what a store has refused: it costs as much as storing it.
    """
    try:
        encode(value, "value", _LARGEST)
    except TooLargeError:
        return value
    except InvalidError:
        return Opaque(CODEC, json.dumps(value).encode())
    return value


def unpacked(value: JSON) -> JSON:
    """What was packed, or the value as it is."""
    if isinstance(value, Opaque) and value.codec == CODEC:
        return json.loads(value.data)
    return value


__all__ = ["CODEC", "packed", "unpacked"]
