"""Branches by name, as `AdvancedSQLiteSession` has them, on the lines of a store's session.

The store names a line after its last event, which changes with each append. Here a name stands in
the session's metadata beside the event at which its branch was left; the branch that is the active
line needs none. Going to a branch is a rewind to that event;
one whose events were pruned, or cleared by others, is empty.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from perdure.adapters.openai_agents.items import is_user_message, items_of
from perdure.errors import InvalidError, NotFoundError, StaleSessionError
from perdure.records import JSON, Event, Session, SessionKey
from perdure.store import Store

MAIN = "main"
_METADATA = "openai_agents.branches"
_PREVIEW = 100


@dataclass(frozen=True, slots=True)
class Named:
    """The branches of a session: the active one, where the others end, and every name there was."""

    current: str = MAIN
    left: Mapping[str, int] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    used: Sequence[str] = (MAIN,)

    @property
    def metadata(self) -> dict[str, JSON]:
        """What is stored."""
        told = {
            "current": self.current,
            "left": dict(self.left),
            "made": dict(self.made),
            "used": list(self.used),
        }
        return {_METADATA: told}

    def head(self, name: str, session: Session) -> int:
        """Where a branch ends; `InvalidError` if there is none of that name."""
        if name == self.current:
            return session.head_seq
        if name not in self.left:
            raise InvalidError(f"branch {name!r} does not exist", "branch")
        return self.left[name]

    def going(self, name: str, session: Session) -> Named:
        """The same with another branch active."""
        left = {**self.left, self.current: session.head_seq}
        left.pop(name, None)
        return replace(self, current=name, left=left)


def named(session: Session) -> Named:
    """The branches of a session."""
    told = session.metadata.get(_METADATA)
    if not isinstance(told, dict):
        return Named()
    return Named(told["current"], told["left"], told["made"], told["used"])


def cleared(session: Session) -> dict[str, JSON] | None:
    """The metadata of a session without items; None if it has no branches."""
    if _METADATA not in session.metadata:
        return None
    return Named(used=named(session).used).metadata


class Seen(NamedTuple):
    """A session and all its events, of every line."""

    session: Session
    events: Mapping[int, Event]

    def line(self, head: int) -> list[Event]:
        """The events of the line that ends there, oldest first."""
        found = []
        while head in self.events:
            found.append(self.events[head])
            head = found[-1].prev
        return found[::-1]

    def of(self, branch: str | None) -> list[Event]:
        """The events of a branch, the active one if none is named."""
        known = named(self.session)
        return self.line(known.head(branch or known.current, self.session))


async def seen(store: Store, key: SessionKey) -> Seen | None:
    """The session with all its lines, or None."""
    session = await store.sessions.find(key)
    if session is None:
        return None
    try:
        events = await store.events.read(key, all_lines=True)
    except NotFoundError:
        return None
    return Seen(session, {event.seq: event for event in events})


async def _until_done(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """What came of a change that looks first, made again while others change the session."""
    while True:
        try:
            return await attempt()
        except StaleSessionError:
            continue


async def create(store: Store, key: SessionKey, turn: int, name: str | None, now: str) -> str:
    """A branch from before a turn of the active one, active now; its name."""
    if name is not None and not name.strip():
        raise InvalidError("a branch's name must not be blank", "branch_name")

    async def attempt() -> str:
        found = await seen(store, key)
        line = [] if found is None else found.of(None)
        asked = [event for event in line if is_user_message(event)]
        if found is None or not 1 <= turn <= len(asked):
            raise InvalidError(f"turn {turn} has no message of the user here", "turn_number")
        known = named(found.session)
        new = name or _free(known, turn)
        if new in known.used:
            message = f"branch {new!r} has been used in this session: take another name"
            raise InvalidError(message, "branch_name")
        going = known.going(new, found.session)
        going = replace(going, made={**known.made, new: now}, used=[*known.used, new])
        await _go(store, found.session, going, max(asked[turn - 1].prev, 0))
        return new

    made: str = await _until_done(attempt)
    return made


def _free(known: Named, turn: int) -> str:
    names = (f"branch_from_turn_{turn}_{n}" for n in range(1, len(known.used) + 2))
    return next(name for name in names if name not in known.used)


async def _go(store: Store, session: Session, going: Named, seq: int) -> None:
    """Make the branch active whose line ends there."""
    version = session.version
    async with store.turn() as turn:
        turn.sessions.update(session.key, metadata=going.metadata, expected_version=version)
        turn.events.rewind(session.key, seq, expected_version=version)


async def switch(store: Store, key: SessionKey, name: str) -> None:
    """Make a branch the active one."""

    async def attempt() -> None:
        session = await store.sessions.find(key)
        known = Named() if session is None else named(session)
        if session is None or name == known.current:
            if name != known.current:
                raise InvalidError(f"branch {name!r} does not exist", "branch")
            return
        head = await _end(store, key, known.head(name, session))
        await _go(store, session, known.going(name, session), head)

    await _until_done(attempt)


async def _end(store: Store, key: SessionKey, head: int) -> int:
    """Where a branch ends that was left there: at the beginning, if that event is gone."""
    if not head:
        return 0
    there = await store.events.read(key, after_seq=head - 1, before_seq=head + 1, all_lines=True)
    return head if there else 0


async def delete(store: Store, key: SessionKey, name: str, *, force: bool) -> None:
    """Remove a branch, and for good the events that belong to no other."""
    if not name or not name.strip():
        raise InvalidError("a branch's name must not be blank", "branch")
    if name == MAIN:
        raise InvalidError("the branch 'main' stays: clear_session() removes everything", "branch")

    async def attempt() -> None:
        found = await seen(store, key)
        if found is None:
            raise InvalidError(f"branch {name!r} does not exist", "branch")
        known = named(found.session)
        head = known.head(name, found.session)
        if name == known.current and not force:
            message = f"branch {name!r} is active: switch to another, or pass force=True"
            raise InvalidError(message, "branch")
        await _deleted(store, found, known, name, head)

    await _until_done(attempt)


async def _deleted(store: Store, found: Seen, known: Named, name: str, head: int) -> None:
    key, version = found.session.key, found.session.version
    left = known.going(MAIN, found.session) if name == known.current else known
    others = {one: seq for one, seq in left.left.items() if one != name}
    after = replace(left, left=others)
    active = known.head(MAIN, found.session) if name == known.current else found.session.head_seq
    active = active if active in found.events else 0
    async with store.turn() as turn:
        turn.sessions.update(key, metadata=after.metadata, expected_version=version)
        turn.events.rewind(key, active, expected_version=version)
        if not _needed(found, head, [active], others.values()):
            turn.events.drop_branch(key, f"line-{head}")
            turn.events.prune(key, before_seq=1)


def _needed(found: Seen, head: int, lines: Iterable[int], ends: Iterable[int]) -> bool:
    """Whether another branch ends inside of what only this one keeps."""
    kept = {event.seq for line in lines for event in found.line(line)}
    own = {event.seq for event in found.line(head)} - kept
    return any(end in own for end in ends)


async def listed(store: Store, key: SessionKey) -> list[dict[str, Any]]:
    """Every branch, the oldest first."""
    found = await seen(store, key)
    if found is None:
        return []
    known = named(found.session)
    made = {MAIN: found.session.created_at.isoformat(), **known.made}
    branches = []
    for name in sorted({known.current, *known.left}, key=list(known.used).index):
        line = found.of(name)
        told = {
            "branch_id": name,
            "message_count": sum(len(items_of(event)) for event in line),
            "user_turns": sum(map(is_user_message, line)),
            "is_current": name == known.current,
            "created_at": made[name],
        }
        branches.append(told)
    return branches


async def turns(store: Store, key: SessionKey, branch: str | None) -> list[dict[str, Any]]:
    """What the user has said on a branch, numbered from 1."""
    found = await seen(store, key)
    line = [] if found is None else found.of(branch)
    asked = [event for event in line if is_user_message(event)]
    return [_turn(number, event) for number, event in enumerate(asked, 1)]


def _turn(number: int, event: Event) -> dict[str, Any]:
    items = items_of(event)
    item = items[0] if items and isinstance(items[0], dict) else {}
    text = event.text
    return {
        "turn": number,
        "content": text if len(text) <= _PREVIEW else f"{text[:_PREVIEW]}...",
        "full_content": item.get("content", text),
        "timestamp": event.timestamp.isoformat(),
        "can_branch": True,
    }


async def finding(
    store: Store, key: SessionKey, text: str, branch: str | None
) -> list[dict[str, Any]]:
    """The turns in which the user said that; ASCII letters in either case."""
    found = await seen(store, key)
    line = [] if found is None else found.of(branch)
    asked = [event for event in line if is_user_message(event)]
    pattern = re.compile(re.escape(text), re.IGNORECASE | re.ASCII)
    return [
        _turn(number, event) for number, event in enumerate(asked, 1) if pattern.search(event.text)
    ]


__all__ = [
    "MAIN",
    "Seen",
    "cleared",
    "create",
    "delete",
    "finding",
    "listed",
    "named",
    "seen",
    "switch",
    "turns",
]
