"""Bytes that a framework has written, read without it: as data, and nothing is made of them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from perdure.records import Opaque

#: What an extension of LangGraph's holds begins with: module, name, and what it is made of.
_NAMED = 3


def opaque_document(value: Opaque) -> dict[str, Any]:
    """Codec and base64; and what they spell, as ``value``, if the codec is known here."""
    document: dict[str, Any] = {
        "codec": value.codec,
        "base64": b64encode(value.data).decode(),
    }
    read = _READ.get(value.codec)
    if read is not None:
        try:
            document["value"] = _plain(read(value.data))
        except (ValueError, TypeError, RecursionError, msgspec.MsgspecError):
            # Another program may mean something else by the name: the bytes are told anyway.
            return document
    return document


def shown(value: Any) -> Any:
    """A value for people: what an `Opaque` spells; else its codec and base64."""
    if not isinstance(value, Opaque):
        return value
    document = opaque_document(value)
    return document.get("value", document)


def _extension(_code: int, data: memoryview) -> Any:
    """What LangGraph's serializer makes of an object: its class by name, and its content."""
    found = _msgpack(data)
    named = isinstance(found, list) and len(found) >= _NAMED
    if named and isinstance(found[0], str) and isinstance(found[1], str):
        return {f"{found[0]}.{found[1]}": found[2]}
    return found


def _msgpack(data: bytes | memoryview) -> Any:
    return msgspec.msgpack.decode(data, ext_hook=_extension)


def _plain(value: Any) -> Any:
    """The value with keys and leaves as JSON has them."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {_key(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case bytes():
            return {"base64": b64encode(value).decode()}
    return str(value)


def _key(name: Any) -> str:
    return name if isinstance(name, str) else str(name)


_READ: Mapping[str, Callable[[bytes], Any]] = {
    "json": json.loads,
    "msgpack": _msgpack,
    "null": lambda _: None,
}

__all__ = ["opaque_document", "shown"]
