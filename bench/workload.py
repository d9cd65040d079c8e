"""The work that every store is given: events of 900 bytes that change one key of the state."""

from __future__ import annotations

EVENT_BYTES = 900
APP = "bench"

_PROSE = (
    "The parcel left the depot this morning and is on its way. It should reach you before six; "
    "if nobody is at home the driver leaves it with a neighbour and sends a note. "
)


def text_of(number: int) -> str:
    """What the event of that number says; with it the event's JSON has 900 bytes."""
    beginning = f"{number}: "
    frame = len('{"role":"user","content":""}')
    return (beginning + _PROSE * 6)[: EVENT_BYTES - frame]


def message_of(number: int) -> dict[str, str]:
    """The event of that number as a chat message."""
    return {"role": "user", "content": text_of(number)}


def delta_of(number: int) -> dict[str, int]:
    """The state it changes: always the same key."""
    return {"turn": number}


def user_of(session: int) -> str:
    """The user of the session of that number: each has its own."""
    return f"user-{session}"


def id_of(session: int) -> str:
    """The id of the session of that number."""
    return f"session-{session}"
