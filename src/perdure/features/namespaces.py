"""Namespaces as texts that sort, bytewise, as the namespaces do, and begin with their prefixes.

A tuple has its parts one behind the other, each with a terminator that no part can contain and
that sorts before every character of one: so a tuple stands before all that go on from it, and
what begins with the text of a prefix begins with its parts. A text has no terminator: it is
another namespace than the tuple of that text alone, and nothing lies below it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from perdure.errors import CorruptError, InvalidError, TooLargeError
from perdure.records import Namespace
from perdure.values import check_text

#: UTF-8 bytes of the stored text. With a key beside it, it has to fit into an index row of
#: PostgreSQL, of at most 2,704 bytes; `MOST_BYTES` is what the two may have together.
MOST_NAMESPACE = 1_024
MOST_BYTES = 2_500

_END = "!"
_ESCAPE = '"'
_SHIFT = 0x40
#: What would sort before the terminator, or be taken for one: shown as two, in the same order.
_ESCAPED = {code: f"{_ESCAPE}{chr(code + _SHIFT)}" for code in range(1, ord(_ESCAPE) + 1)}
_PAIR = re.compile(f"{_ESCAPE}(.)", re.DOTALL)
#: Sorts behind every namespace.
_LAST = "\U0010ffff" * (MOST_NAMESPACE // 4 + 1)

Place: TypeAlias = tuple[str, str]
"""A stored namespace and a key: the order of a list."""


class Bounds(NamedTuple):
    """What lies between two places, the first included; of those, keys that begin so."""

    low: Place
    high: Place
    key_from: str = ""
    key_to: str | None = None


def encoded(namespace: Namespace | Sequence[str], limit: int) -> str:
    """The stored text of a namespace; `InvalidError`."""
    if not isinstance(namespace, str) and not namespace:
        raise InvalidError("a namespace has at least one part, not ()", "namespace")
    return _stored(namespace, limit)


def _stored(namespace: Namespace | Sequence[str], limit: int) -> str:
    if isinstance(namespace, str):
        stored = check_text(namespace, "namespace", limit).translate(_ESCAPED)
    elif isinstance(namespace, tuple | list):
        parts = [check_text(part, "a part of a namespace", limit) for part in namespace]
        stored = "".join(part.translate(_ESCAPED) + _END for part in parts)
    else:
        message = f"a namespace is a text or a tuple of texts, not {namespace!r}"
        raise InvalidError(message, "namespace")
    size = len(stored.encode())
    if size > MOST_NAMESPACE:
        message = (
            f"the namespace takes {size} bytes, at most {MOST_NAMESPACE}: each part one more than "
            "its text, blanks, ! and quotation marks two each"
        )
        raise TooLargeError(message, "text", "namespace")
    return stored


def check_room(stored: str, key: str) -> None:
    """`TooLargeError` if namespace and key together are more than an index row can hold."""
    size = len(stored.encode()) + len(key.encode())
    if size > MOST_BYTES:
        message = f"namespace and key take {size} bytes together, at most {MOST_BYTES}"
        raise TooLargeError(message, "text", "key")


def decoded(stored: str) -> Namespace:
    """The namespace of a stored text; `CorruptError`."""
    *parts, last = stored.split(_END)
    if not parts:
        return _plain(last)
    if last:
        raise CorruptError(f"the stored namespace {stored!r} is damaged")
    return tuple(_plain(part) for part in parts)


def _plain(part: str) -> str:
    return _PAIR.sub(lambda pair: chr(ord(pair[1]) - _SHIFT), part)


def bounds(prefix: Namespace | Sequence[str], key_prefix: str, limit: int) -> Bounds:
    """Where to look for what is in a namespace or below it: ``()`` is everything."""
    start = check_text(key_prefix, "key_prefix", limit)
    end = following(start)
    stored = _stored(prefix, limit)
    if isinstance(prefix, str):
        # One namespace, so its keys lie in one piece.
        high = (stored + _END, "") if end is None else (stored, end)
        return Bounds((stored, start), high)
    high = (stored[:-1] + _ESCAPE, "") if stored else (_LAST, "")
    return Bounds((stored, ""), high, start, end)


def following(prefix: str) -> str | None:
    """The first text behind all that begin with a prefix; None if there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    code = ord(kept[-1]) + 1
    # Between the two lie the surrogates, which stand in no text.
    return kept[:-1] + chr(0xE000 if code == 0xD800 else code)  # noqa: PLR2004


def behind(place: Place) -> Place:
    """The first place behind one."""
    namespace, key = place
    return namespace, key + "\x01"


def behind_all(stored: str, *, below: bool) -> str:
    """The first namespace behind one, or behind that and all below it."""
    return stored[:-1] + _ESCAPE if below else stored + "\x01"


def beginning(namespace: Namespace, depth: int | None) -> Namespace:
    """The namespace, cut to so many parts; a text has one."""
    return namespace if isinstance(namespace, str) else namespace[:depth]


def ends_with(namespace: Namespace, suffix: Namespace | Sequence[str]) -> bool:
    """Whether its last parts are these; a text has no parts but itself."""
    if isinstance(suffix, str) or (suffix and isinstance(namespace, str)):
        return namespace == suffix
    return namespace[max(len(namespace) - len(suffix), 0) :] == tuple(suffix) or not suffix
