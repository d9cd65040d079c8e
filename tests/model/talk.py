"""What perdure promises of one session, in plain Python.

Written from the documented meaning, not from the code: a session is a tree of events whose
edges are ``prev``, and each event remembers the session state before and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from perdure import DELETE, NewEvent, NotFoundError, Origin, SessionKey, StaleSessionError

State = dict[str, Any]
PRUNED = -1
"""The ``prev`` of an event whose predecessor was pruned."""


@dataclass(frozen=True)
class Shown:
    """What every reader needs of a content."""

    kind: str
    role: str
    text: str = ""
    calls: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


@dataclass
class Entry:
    """A stored event, with the session state around it.

    ``before`` is what this event found, ``left`` what is told of the event before it: the two
    differ once events between them were removed, for what those brought stays. ``after`` is
    what it is where this event is the head: with all that was set there.
    """

    id: str | None
    seq: int
    prev: int
    version: int
    given: NewEvent
    author: str
    shown: Shown
    timestamp: datetime
    created_at: datetime
    before: State
    left: State
    after: State
    content: Any = None
    unsure: bool = False
    """Whether ``left`` is to be taken over from the store when it is next asked for."""


@dataclass
class Talk:
    """A session: its entries of all lines by seq, and which of them is the head."""

    key: SessionKey
    title: str
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    origin: Origin | None
    created_at: datetime
    updated_at: datetime
    root: State
    """What it is before the first event; lost (``rootless``) once all lines are pruned."""
    uid: str = ""
    version: int = 1
    last_seq: int = 0
    head: int = 0
    rootless: bool = False
    entries: dict[int, Entry] = field(default_factory=dict)
    refs: dict[str, int] = field(default_factory=dict)
    notes: list[tuple[str, str | None]] = field(default_factory=list)

    # -- looking -----------------------------------------------------------------------------

    def line(self, tip: int | None = None) -> list[Entry]:
        """The entries from the first that is kept to the tip (None: the head)."""
        seq = self.head if tip is None else tip
        found = []
        while seq in self.entries:
            found.append(self.entries[seq])
            seq = found[-1].prev
        return found[::-1]

    def holds(self, seq: int) -> bool:
        return any(entry.seq == seq for entry in self.line())

    def find(self, event_id: str | None) -> Entry | None:
        if event_id is None:
            return None
        return next((entry for entry in self.entries.values() if entry.id == event_id), None)

    def tips(self, refs: Mapping[str, int]) -> set[int]:
        """Those that no other line goes through: after a delete a name may stand for less."""
        lines = [self.line(), *(self.line(tip)[:-1] for tip in refs.values())]
        return set(refs.values()) - {entry.seq for line in lines for entry in line}

    @property
    def state(self) -> State:
        return self._after(self.head)

    @property
    def beginning(self) -> State:
        """What the first event of the active line found, or what it would."""
        first = next(iter(self.line()), None)
        if first is None:
            return self.root
        return first.before if first.prev == PRUNED else first.left

    @property
    def preview(self) -> str:
        said = [e.shown.text for e in self.line() if e.shown.kind == "message" and e.shown.text]
        return said[-1][:200] if said else ""

    def state_at(self, seq: int) -> State:
        following = self.following(seq)
        return following.left if following else self._after(seq)

    def following(self, seq: int) -> Entry | None:
        """What follows seq on the active line, or on its own if that does not hold it."""
        line = self.line()
        if seq and not self.holds(seq):
            self.required(seq)
            line = self.line(seq)
        if seq == 0 and line and line[0].prev == PRUNED:
            raise NotFoundError(f"pruned: the oldest is {line[0].seq}")
        return next((entry for entry in line if entry.prev == seq), None)

    def required(self, seq: int) -> None:
        if seq and seq not in self.entries:
            raise NotFoundError(f"no event {seq}")

    def window(self, last: int) -> list[Entry]:
        line = self.line()
        if last == 0:
            return []
        starts = [
            index
            for index in range(len(line) - last + 1)
            if line[index].shown.kind == "message"
            and line[index].shown.role == "user"
            and not _splits(line, index)
        ]
        return line[max(starts, default=0) :]

    # -- changing ----------------------------------------------------------------------------

    def claim(self, expected: int | None, now: datetime) -> None:
        if expected is not None and expected != self.version:
            raise StaleSessionError("stale", self.version)
        self.version += 1
        self.updated_at = now

    def move(self, seq: int) -> None:
        """Make seq the head; the tip that is left keeps a name, a tip passed loses its own."""
        left, line = self.head, self.line()
        if seq == 0 and self.rootless:
            self.root, self.rootless = line[0].before, False
        self.head = seq
        if left and not self.holds(left) and not self.reached(left):
            self.refs[f"line-{left}"] = left
        self.refs = {name: tip for name, tip in self.refs.items() if not self.holds(tip)}

    def reached(self, seq: int) -> bool:
        """Whether a line that was left goes through seq: then it is no tip to be named."""
        return any(entry.seq == seq for tip in self.refs.values() for entry in self.line(tip))

    def put(self, events: Iterable[NewEvent], show: Callable[[NewEvent], Shown]) -> list[Entry]:
        placed = []
        for given in events:
            self.last_seq += 1
            shown = show(given)
            entry = Entry(
                id=given.id,
                seq=self.last_seq,
                prev=self.head,
                version=self.version,
                given=given,
                author=given.author or shown.role,
                shown=shown,
                timestamp=given.timestamp or self.updated_at,
                created_at=self.updated_at,
                before=self.state,
                left=self.state,
                after=changed(self.state, session_part(given.state_delta)),
                content=given.content,
            )
            self.entries[entry.seq] = entry
            self.head = entry.seq
            placed.append(entry)
        return placed

    def change(self, delta: Mapping[str, Any]) -> None:
        self.keep(changed(self.state, delta))

    def keep(self, state: State) -> None:
        """Make this the state where the head is."""
        if self.head:
            self.entries[self.head].after = state
        else:
            self.root, self.rootless = state, False

    def clear(self) -> int:
        count, state = len(self.entries), self.state
        self.entries, self.refs, self.head = {}, {}, 0
        self.keep(state)
        self.notes = [note for note in self.notes if note[1] is None]
        return count

    def remove(self, doomed: set[int]) -> int:
        """Take events out of their lines; what they brought to the state stays."""
        state = self.state
        gone = {seq: entry for seq, entry in self.entries.items() if seq in doomed}
        for entry in self.entries.values():
            if entry.prev in gone:
                self._close_up(entry, gone)
        self.forget(gone)
        if self.head in gone:
            self.head = self._kept(self.head, gone)
            self.keep(state)
        tips = {name: self._kept(tip, gone) for name, tip in self.refs.items()}
        self.refs = {name: tip for name, tip in tips.items() if tip}
        return len(gone)

    def _close_up(self, entry: Entry, gone: Mapping[int, Entry]) -> None:
        while entry.prev in gone:
            entry.left, entry.prev = gone[entry.prev].left, gone[entry.prev].prev
        if entry.prev != PRUNED and self._after(entry.prev) != entry.left:
            # What was set there since, on another line: whether it counts now is not said.
            entry.unsure = True

    def _after(self, seq: int) -> State:
        return self.entries[seq].after if seq else self.root

    def _kept(self, seq: int, gone: Mapping[int, Entry]) -> int:
        while seq in gone:
            seq = gone[seq].prev
        return max(seq, 0)

    def forget(self, seqs: Iterable[int]) -> None:
        ids = {self.entries.pop(seq).id for seq in list(seqs)}
        self.notes = [note for note in self.notes if note[1] is None or note[1] not in ids]

    def prune(
        self,
        keep_last: int | None,
        before_seq: int | None,
        since: datetime | None,
        *,
        branches: bool,
    ) -> int:
        if branches:
            self.refs = {}
        line, state = self.line(), self.state
        at = _cut(line, keep_last, before_seq, since)
        gone = {entry.seq for entry in line[:at]}
        self.refs = {name: tip for name, tip in self.refs.items() if tip not in gone}
        tips = [self.head, *self.refs.values()]
        kept = {entry.seq for tip in tips for entry in self.line(tip)} - gone
        doomed = self.entries.keys() - kept
        self.forget(doomed)
        for entry in self.entries.values():
            entry.prev = PRUNED if entry.prev in doomed else entry.prev
        if doomed:
            self.rootless = all(entry.prev for entry in self.entries.values())
        if at == len(line):
            self.head = 0
            self.keep(state)
        return len(doomed)


def session_part(delta: Mapping[str, Any] | None) -> State:
    """What of a delta is of the session's own scope."""
    return {k: v for k, v in (delta or {}).items() if ":" not in k}


def scope_part(delta: Mapping[str, Any] | None, prefix: str) -> State:
    """What of a delta is of that scope, without the prefix."""
    return {k[len(prefix) :]: v for k, v in (delta or {}).items() if k.startswith(prefix)}


def changed(state: State, delta: Mapping[str, Any]) -> State:
    """The state with the keys of the delta set, or removed."""
    return {key: value for key, value in {**state, **delta}.items() if value is not DELETE}


def _splits(line: Sequence[Entry], at: int) -> bool:
    """Whether a result from index ``at`` on belongs to a call before it."""
    for index in range(at, len(line)):
        for answered in line[index].shown.results:
            asked = [i for i in range(index) if answered in line[i].shown.calls]
            if asked and asked[-1] < at:
                return True
    return False


def _cut(
    line: Sequence[Entry], keep_last: int | None, before_seq: int | None, since: datetime | None
) -> int:
    """The index of the first entry to keep: the option that keeps most decides."""
    at = len(line)
    if keep_last is not None:
        at = max(len(line) - keep_last, 0)
    if before_seq is not None:
        at = min(at, sum(entry.seq < before_seq for entry in line))
    if since is not None:
        young = [index for index, entry in enumerate(line) if entry.timestamp >= since]
        at = min(at, *young) if young else at
    return next(index for index in range(at, -1, -1) if not _splits(line, index))
