"""Cursors of lists: opaque to the caller, checked when they come back."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from typing import Any

import msgspec

from perdure.errors import InvalidError, TooLargeError
from perdure.operation import Emit, Flow, Stream, T
from perdure.records import Page
from perdure.values import encode_trusted

_MOST = 2**63


def pack(kind: str, *values: str | int) -> str:
    """The cursor that stands behind these values of a list of that kind."""
    return urlsafe_b64encode(encode_trusted([kind, *values]).encode()).decode().rstrip("=")


def unpack(cursor: str, kind: str, *types: type) -> list[Any]:
    """The values of a cursor; `InvalidError` if it is not of that kind."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found, *values = msgspec.json.decode(urlsafe_b64decode(padded.encode()))
        right: bool = found == kind and [type(value) for value in values] == list(types)
        right = right and all(type(v) is not int or abs(v) < _MOST for v in values)
    except (Base64Error, msgspec.DecodeError, UnicodeEncodeError, ValueError, TypeError) as error:
        raise InvalidError(f"{cursor!r} is not a cursor of this list", "cursor") from error
    except AttributeError as error:
        raise InvalidError(f"a cursor is text, not {cursor!r}", "cursor") from error
    if not right:
        raise InvalidError(f"{cursor!r} is a cursor of another list or order", "cursor")
    return list(values)


def check_limit(limit: int, most: int) -> int:
    """The limit of a page, if it is one."""
    if not isinstance(limit, int) or limit < 1:
        raise InvalidError(f"limit must be 1 or more, not {limit!r}", "limit")
    if limit > most:
        raise TooLargeError(f"limit is {limit}, a page has at most {most} items", "records")
    return limit


def paged(page_at: Callable[[str | None], Flow[Page[T]]]) -> Stream[T]:
    """Every item of a list, page after page: ``page_at`` gives the one behind a cursor."""
    cursor = None
    while True:
        page = yield from page_at(cursor)
        for item in page.items:
            yield Emit(item)
        cursor = page.next_cursor
        if cursor is None:
            return
