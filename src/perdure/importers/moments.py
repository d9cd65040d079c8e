"""Times as other programs write them."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from perdure.errors import InvalidError
from perdure.records import JSON
from perdure.values import EPOCH

_LAST_SECOND = 1e11  # the year 5138
_LAST_MILLISECOND = 1e14


def moment(value: JSON, zone: tzinfo | None = None) -> datetime:
    """The time of an ISO 8601 text, or of seconds or milliseconds since 1970 (UTC).

    A number below 10¹¹ counts seconds, one below 10¹⁴ milliseconds. A text without a zone is
    read in ``zone``, and refused without one: guessing would move it by hours. Raises
    `InvalidError`.
    """
    if isinstance(value, str):
        return _from_text(value, zone)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidError(f"the time {value!r} is neither ISO text nor a number")
    if abs(value) < _LAST_SECOND:
        return EPOCH + timedelta(seconds=value)
    if abs(value) < _LAST_MILLISECOND:
        return EPOCH + timedelta(milliseconds=value)
    raise InvalidError(f"the time {value!r} is neither seconds nor milliseconds since 1970")


def _from_text(text: str, zone: tzinfo | None) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidError(f"the time {text!r} is not ISO 8601") from error
    if found.utcoffset() is not None:
        return found
    if zone is None:
        raise InvalidError(f"the time {text!r} has no zone: say which one to read it in")
    return found.replace(tzinfo=zone)
