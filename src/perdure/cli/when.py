"""Times as people say them: shown, and read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from perdure.errors import InvalidError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGES = (
    ("minute", timedelta(minutes=1)),
    ("hour", timedelta(hours=1)),
    ("day", timedelta(days=1)),
    ("month", timedelta(days=30)),
    ("year", timedelta(days=365)),
)


def ago(moment: datetime, now: datetime) -> str:
    """``3 hours ago``, ``in 2 days``, ``just now``."""
    age = now - moment
    words = _length(abs(age))
    if not words:
        return "just now"
    return f"{words} ago" if age > timedelta(0) else f"in {words}"


def brief(moment: datetime, now: datetime) -> str:
    """The same where there is little room: ``3h ago``, ``in 2d``, ``now``."""
    age = now - moment
    words = ""
    for letter, unit in (("m", 60), ("h", 3600), ("d", 86400)):
        if abs(age).total_seconds() >= unit:
            words = f"{int(abs(age).total_seconds() // unit)}{letter}"
    if not words:
        return "now"
    return f"{words} ago" if age > timedelta(0) else f"in {words}"


def _length(span: timedelta) -> str:
    words = ""
    for name, unit in _AGES:
        if span >= unit:
            number = span // unit
            words = f"{number} {name}{'s' * (number != 1)}"
    return words


def iso(moment: datetime) -> str:
    """The time in UTC as programs read it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def day(moment: datetime, zone: tzinfo | None) -> str:
    """``Mon 20 May 2024`` in the zone (None: that of the machine)."""
    return f"{local(moment, zone):%a %d %b %Y}"


def minute(moment: datetime, zone: tzinfo | None) -> str:
    """``2024-05-20 14:02`` in the zone."""
    return f"{local(moment, zone):%Y-%m-%d %H:%M}"


def second(moment: datetime, zone: tzinfo | None) -> str:
    """``14:02:11`` in the zone."""
    return f"{local(moment, zone):%H:%M:%S}"


def exact(moment: datetime, zone: tzinfo | None) -> str:
    """``2024-05-20 14:02:11`` in the zone."""
    return f"{local(moment, zone):%Y-%m-%d %H:%M:%S}"


def of_zone(moment: datetime, zone: tzinfo, name: str) -> str:
    """``CEST Europe/Berlin``: which clock of the zone it is, for an hour may come twice."""
    clock = f"{local(moment, zone):%Z}"
    return name if clock == name else f"{clock} {name}"


def local(moment: datetime, zone: tzinfo | None) -> datetime:
    """The same moment by the clocks of the zone; unchanged where they do not reach."""
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError):
        return moment


def since(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    """The moment meant by ``2h``, ``3d``, ``today``, ``yesterday`` or an ISO time.

    A time without a zone is meant in the given one. Raises `InvalidError`.
    """
    word = text.strip().lower()
    if match := re.fullmatch(r"(\d{1,5})\s*([smhdw])", word):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    if word in {"today", "yesterday"}:
        midnight = local(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - timedelta(days=word == "yesterday")
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        message = f"{text!r} is no time: write 2h, 3d, yesterday or 2026-05-20T14:00"
        raise InvalidError(message) from error
    if found.tzinfo is not None:
        return found
    return found.replace(tzinfo=zone) if zone else found.astimezone()
