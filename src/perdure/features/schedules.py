"""When a task is due: pure functions of an expression, a zone and a moment.

Five fields as in Debian's cron, also on the nights when clocks change: what has a fixed hour runs
once, what begins with a ``*`` goes by the time that passes. Nothing twice, nothing lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from perdure.errors import InvalidError
from perdure.values import EPOCH, check_text, from_micros

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_SIX = len(_FIELDS) + 1
_LONGEST = 200
_MICRO = timedelta(microseconds=1)
#: Where a field of its own is tried, the others let everything pass.
_ANY = ["*"] * len(_FIELDS)


def check_expression(expression: object) -> str:
    """The expression, in one line with single spaces; `InvalidError` naming the field.

    One whose days never come, as 30 February, is none.
    """
    text = check_text(expression, "expression", _LONGEST)
    if not _comes(_checked(text)):
        raise InvalidError(f"expression {text!r}: that day never comes", "expression")
    return " ".join(text.split())


def zone_of(name: object) -> tzinfo:
    """The time zone of an IANA name; `InvalidError`."""
    text = check_text(name, "timezone", _LONGEST)
    try:
        return _zone(text)
    except (OSError, ValueError, KeyError) as error:
        message = f"timezone {text!r} is unknown: write one like Europe/Berlin, or UTC"
        raise InvalidError(message, "timezone") from error


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only where a zone is named

    return ZoneInfo(name)


def next_after(expression: str, timezone: str, now: int) -> int | None:
    """The first slot after a moment, in microseconds; None if there is none for fifty years."""
    return next(_slots(expression, timezone, now), None)


def upcoming(expression: str, timezone: str, now: int, count: int) -> list[int]:
    """The next so many slots."""
    slots = _slots(expression, timezone, now)
    return [at for at, _ in zip(slots, range(count), strict=False)]


def slots_until(
    expression: str, timezone: str, first: int, now: int, most: int
) -> tuple[list[int], int | None]:
    """The last so many slots from ``first``, which is one, to now, oldest first; and the next.

    However long ago the first one was, it takes no longer than ``most`` slots do.
    """
    zone = zone_of(timezone)
    # A slot of this very moment is one of them.
    start = from_micros(now + 1).astimezone(zone)
    oldest, count = first, 0
    for moment in _iterate(expression, start, reverse=True):
        at = _micros(moment)
        count += at <= now
        if at < first or count > most:
            break
        oldest = at
    # Backwards only to find where to begin: forwards is what counts.
    begin = oldest - 1 if count > most else first - 1
    found: list[int] = []
    for at in _slots(expression, timezone, begin):
        if at > now:
            return found[-most:], at
        found.append(at)
    return found[-most:], None


def _slots(expression: str, timezone: str, now: int) -> Iterator[int]:
    zone = zone_of(timezone)
    for moment in _iterate(expression, from_micros(now).astimezone(zone)):
        at = _micros(moment)
        # Begun in the middle of an hour that comes twice, the first one may be of before.
        if at > now:
            yield at


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // _MICRO


def _iterate(expression: str, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    from cronsim import CronSim  # noqa: PLC0415 - who has no tasks needs none

    return CronSim(_plain(expression), start, reverse=reverse)


def _plain(expression: str) -> str:
    return ALIASES.get(expression.strip().lower(), expression)


def _checked(text: str) -> list[str]:
    """The five fields."""
    if text.strip().startswith("@") and text.strip().lower() not in ALIASES:
        known = ", ".join(sorted(ALIASES))
        raise InvalidError(f"expression {text!r} is none of {known}", "expression")
    fields = _plain(text).split()
    if len(fields) == _SIX:
        message = (
            f"expression {text!r} has six fields: leave out the seconds, five are minute, hour, "
            "day of the month, month and day of the week"
        )
        raise InvalidError(message, "expression")
    if len(fields) != len(_FIELDS):
        plural = "" if len(fields) == 1 else "s"
        message = (
            f"expression {text!r} has {len(fields)} field{plural}: write minute, hour, day of the "
            "month, month and day of the week, such as '30 7 * * MON-FRI', or @daily"
        )
        raise InvalidError(message, "expression")
    for index, field in enumerate(fields):
        if not _parses([*_ANY[:index], field, *_ANY[index + 1 :]]):
            message = f"expression {text!r}: {field!r} is no {_FIELDS[index]}"
            raise InvalidError(message, "expression")
    return fields


def _parses(fields: list[str]) -> bool:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - who has no tasks needs none

    try:
        CronSim(" ".join(fields), EPOCH)
    except CronSimError:
        return False
    return True


def _comes(fields: list[str]) -> bool:
    """Whether fields that are right each ever meet."""
    from cronsim import CronSimError  # noqa: PLC0415 - who has no tasks needs none

    try:
        return next_after(" ".join(fields), "UTC", 0) is not None
    except CronSimError:
        return False
