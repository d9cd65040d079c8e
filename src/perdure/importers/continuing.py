"""Where a log whose old messages are removed from time to time goes on from what is stored."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perdure.errors import InvalidError
from perdure.importers.comparing import Call, as_given, equal
from perdure.importers.conversation import Conversation
from perdure.importers.moments import moment
from perdure.records import JSON, Event, SessionKey, Summary
from perdure.values import digest

_MANY = 2

REWRITTEN = "it does not go on from the messages that are stored: they are kept as stored"
UNCLEAR = (
    "where it goes on cannot be told, the same messages stand in it more than once: kept as stored"
)
CONTINUED = "newer here: it was continued in the store"
REMOVED = "newer here: its messages were removed from the store"
WRITTEN = "newer here: it was written in the store during the import"
GAP = "all that was imported before is removed there: messages between may be missing"
SHOWN_AGAIN = "shows messages again that it had truncated: they stay hidden here"
SUMMARY = "newer here: its summary was changed in the store and is kept"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the messages of a log stand in its session: so many positions after their own.

    ``fault`` says why that cannot be told, or what else is wrong; ``gap`` whether messages may be
    missing before them; ``ours`` are the ids of the events that were imported from the log, and
    ``last`` is the last position that ever was.
    """

    conversation: Conversation
    offset: int = 0
    fault: str = ""
    gap: bool = False
    ours: frozenset[str] = frozenset()
    last: int = 0


def placed(
    key: SessionKey, one: Conversation, events: Sequence[Event], metadata: Mapping[str, JSON]
) -> Generator[Call, Any, Place]:
    """The place of a log.

    One that only grew stands at the beginning. One whose first messages were removed since
    begins at a later one; it is moved there if there is exactly one place where all that is
    stored from there on is what the log says. One that has no message in common with what is
    stored, and was written later, goes on after the last.
    """
    stored, noted = _positions(one, events), noted_in(metadata, one)
    place = Place(
        one,
        ours=frozenset(event.id for event in stored.values()),
        last=max(_number(noted.get("messages")), *stored, 0),
    )
    if place.last and not stored:
        return place if _is_same(one, noted) else replace(place, fault=REMOVED)
    whole, last = len(one.messages), place.last
    if whole >= last and (yield from _fits(key, one, stored, 0)):
        return place
    found: list[int] = []
    for offset in range(last):
        if len(found) < _MANY and (yield from _fits(key, one, stored, offset)):
            found.append(offset)
    if len(found) == 1:
        return _at(place, found[0])
    if not found and _is_later(one, stored.values(), noted):
        return replace(_at(place, last), gap=True)
    return replace(place, fault=UNCLEAR if found else REWRITTEN)


def _at(place: Place, offset: int) -> Place:
    """The place so many positions after the beginning."""
    one, end = place.conversation, offset + len(place.conversation.messages)
    fault = f"it ends with message {end} of {place.last} that were imported: all stay as stored"
    fault = fault if end < place.last else ""
    return replace(place, conversation=_moved(one, offset), offset=offset, fault=fault)


def noted_in(metadata: Mapping[str, JSON], one: Conversation) -> Mapping[str, JSON]:
    """What the last import noted; nothing if there was none."""
    noted = metadata.get(one.noted)
    return noted if isinstance(noted, dict) else {}


def _number(value: JSON) -> int:
    return value if isinstance(value, int) else 0


def _is_same(one: Conversation, noted: Mapping[str, JSON]) -> bool:
    """Whether nobody wrote to the log since, as far as can be told without its events."""
    if one.updated_at is None or "updated_at" not in noted:
        return len(one.messages) == noted.get("messages")
    return bool(one.updated_at.isoformat() == noted["updated_at"])


def _is_later(one: Conversation, stored: Iterable[Event], noted: Mapping[str, JSON]) -> bool:
    """Whether all messages are others than those stored, and were written after them."""
    before = noted.get("updated_at")
    if not one.messages or one.updated_at is None or not isinstance(before, str):
        return False
    try:
        later = one.updated_at > moment(before)
    except InvalidError:
        return False
    there = list(stored)
    return later and not any(equal(message, event) for message in one.messages for event in there)


def _positions(one: Conversation, events: Sequence[Event]) -> dict[int, Event]:
    """The events that earlier imports of this conversation stored, by the messages' positions."""
    found, name = {}, one.short_id
    for event in events:
        beginning, _, position = event.id.rpartition("#")
        if beginning == name and position.isdecimal():
            found[int(position)] = event
    return found


def _fits(
    key: SessionKey, one: Conversation, stored: Mapping[int, Event], offset: int
) -> Generator[Call, Any, bool]:
    """Whether all that is stored of the positions the messages would have there is equal.

    What was redacted may be anything; but elsewhere than at the beginning one must be equal.
    """
    same = offset == 0 and bool(one.messages)
    doubtful = []
    for message in one.messages:
        event = stored.get(message.position + offset)
        if event is None:
            continue
        if equal(message, event):
            same = True
        elif offset and isinstance(event.content, dict):
            return False
        else:
            doubtful.append(message)
    if stored and not same:
        return False
    moved = _moved(one, offset)
    for message in doubtful:
        there = replace(message, position=message.position + offset)
        if not (yield from as_given(key, moved, there)):
            return False
    return True


def _moved(one: Conversation, offset: int) -> Conversation:
    if not offset:
        return one
    messages = [replace(message, position=message.position + offset) for message in one.messages]
    return replace(one, messages=tuple(messages))


@dataclass(slots=True)
class Notes:
    """What an import took of a conversation, as the session keeps it in its metadata."""

    before: Mapping[str, JSON]
    """What the last import noted; nothing at the first."""
    now: dict[str, JSON]

    @classmethod
    def of(cls, one: Conversation, offset: int, metadata: Mapping[str, JSON]) -> Notes:
        """The notes of this import, beside those in the metadata."""
        before, own = noted_in(metadata, one), one.metadata[one.noted]
        now = dict(own) if isinstance(own, dict) else {}
        now["messages"] = max(_number(before.get("messages")), offset + len(one.messages))
        now["hidden"] = offset + one.hidden
        # A summary that is gone in the file is kept here, and so is what is known of it.
        now["summary"] = summary_digest(one.summary) or before.get("summary", "")
        return cls(before, now)

    @property
    def changed(self) -> bool:
        """Whether the file hides or tells something else than at the last import."""
        return any(self.now[name] != (self.before.get(name) or nothing) for name, nothing in _TOLD)

    @property
    def shows_again(self) -> bool:
        """Whether the file hides less than it did."""
        before, now = self.before.get("hidden"), self.now["hidden"]
        return isinstance(before, int) and isinstance(now, int) and now < before

    def wants(self, one: Conversation, stored: Summary | None) -> tuple[bool, bool]:
        """Whether the summary is to be stored, and whether one was written here since."""
        wanted, here = summary_digest(one.summary), summary_digest(stored.text if stored else "")
        if not wanted or wanted == here or wanted == self.before.get("summary"):
            return False, False
        written_here = here != (self.before.get("summary") or "")
        return not written_here, written_here


_TOLD: tuple[tuple[str, JSON], ...] = (("hidden", 0), ("summary", ""))


def summary_digest(text: str) -> str:
    """What tells two summaries apart; "" for a blank one, which none is."""
    return digest("summary", text) if text.strip() else ""
