"""The check of a query: the same for every search."""

from __future__ import annotations

from perdure.errors import InvalidError, TooLargeError


def check_query(query: object, limit: int) -> str:
    """The query, if it is text of at most so many bytes; each character stands for itself."""
    if not isinstance(query, str):
        raise InvalidError(f"a query is text, not {query!r}", "query")
    try:
        size = len(query.encode())
    except UnicodeEncodeError:
        raise InvalidError(f"the query holds a lone surrogate: {query!r}", "query") from None
    if size > limit:
        message = f"the query is {size} bytes, the limit 'title' is {limit}"
        raise TooLargeError(message, "title", "query")
    return query
