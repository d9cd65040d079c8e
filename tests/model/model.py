"""What perdure promises of a store, in plain Python: sessions by key, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from perdure import (
    DELETE,
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    NewEvent,
    NotFoundError,
    Origin,
    SessionKey,
    StaleSessionError,
)
from tests.model.talk import PRUNED, Entry, Shown, State, Talk, changed, scope_part, session_part


class Model:
    """The store: live sessions by key, deleted ones, and the state that sessions share."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        show: Callable[[NewEvent], Shown],
        event_limit: int | None = None,
    ) -> None:
        self._now = clock
        self._show = show
        self._event_limit = event_limit
        self.live: dict[SessionKey, Talk] = {}
        self.deleted: list[Talk] = []
        self.shared: dict[tuple[str, ...], State] = {}

    def get(self, key: SessionKey) -> Talk:
        if key not in self.live:
            raise NotFoundError(f"no session {key}")
        return self.live[key]

    def merged(self, key: SessionKey) -> State:
        app, user = self.shared.get((key.app,), {}), self.shared.get((key.app, key.user), {})
        return {
            **self.live[key].state,
            **{f"app:{name}": value for name, value in app.items()},
            **{f"user:{name}": value for name, value in user.items()},
        }

    def _share(self, key: SessionKey, delta: Mapping[str, Any] | None) -> None:
        for prefix, owner in (("app:", (key.app,)), ("user:", (key.app, key.user))):
            part = scope_part(delta, prefix)
            self.shared[owner] = changed(self.shared.get(owner, {}), part)

    # -- sessions ----------------------------------------------------------------------------

    def create(self, key: SessionKey, *, state: Mapping[str, Any], title: str) -> Talk:
        if key in self.live:
            raise AlreadyExistsError(f"{key} exists")
        self._share(key, state)
        root = changed({}, session_part(state))
        now = self._now()
        talk = Talk(key, title, (), {}, None, now, now, root)
        self.live[key] = talk
        return talk

    def get_or_create(self, key: SessionKey, *, state: Mapping[str, Any], title: str) -> Talk:
        return self.live.get(key) or self.create(key, state=state, title=title)

    def update(
        self,
        key: SessionKey,
        *,
        title: str | None,
        tags: tuple[str, ...] | None,
        metadata: Mapping[str, Any],
        expected_version: int | None,
    ) -> Talk:
        talk = self.get(key)
        talk.claim(expected_version, self._now())
        talk.title = talk.title if title is None else title
        talk.tags = talk.tags if tags is None else tags
        talk.metadata = changed(talk.metadata, metadata)
        return talk

    def delete(self, key: SessionKey) -> bool:
        if key not in self.live:
            return False
        self.deleted.append(self.live.pop(key))
        self.deleted[-1].version += 1
        return True

    def restore(self, key: SessionKey) -> Talk:
        found = [talk for talk in self.deleted if talk.key == key]
        if not found:
            raise NotFoundError(f"no deleted {key}")
        if key in self.live:
            raise AlreadyExistsError(f"{key} is in use")
        self.deleted.remove(found[-1])
        found[-1].claim(None, self._now())
        self.live[key] = found[-1]
        return found[-1]

    def purge(self, key: SessionKey) -> bool:
        there = [talk for talk in [*self.deleted, *self.live.values()] if talk.key == key]
        self.deleted = [talk for talk in self.deleted if talk.key != key]
        self.live.pop(key, None)
        return bool(there)

    def fork(self, key: SessionKey, *, at: int | None, id: str) -> Talk:
        source = self.get(key)
        end = source.head if at is None else at
        if end and not source.holds(end):
            raise NotFoundError(f"{end} is not on the active line")
        new_key = key._replace(id=id)
        line = [entry for entry in source.line() if entry.seq <= end] if end else []
        if new_key in self.live:
            raise AlreadyExistsError(f"{new_key} exists")
        now = self._now()
        talk = replace(
            source, key=new_key, origin=Origin(key, end), created_at=now, updated_at=now,
            root=source.beginning, rootless=False, uid="", version=1,
            last_seq=len(line), head=len(line), entries={}, refs={}, notes=[],
        )  # fmt: skip
        for seq, entry in enumerate(line, 1):
            after, left = source.state_at(entry.seq), entry.left if seq > 1 else talk.root
            talk.entries[seq] = replace(
                entry, seq=seq, prev=seq - 1, version=1, left=left, after=after
            )
        self.live[new_key] = talk
        return talk

    # -- events ------------------------------------------------------------------------------

    def append(
        self,
        key: SessionKey,
        *events: NewEvent,
        expected_version: int | None = None,
        after: int | None = None,
        on_duplicate: str = "raise",
    ) -> list[Entry]:
        whole = [event for event in events if not event.partial]
        named = [event.id for event in whole if event.id is not None]
        if len(set(named)) < len(named):
            raise InvalidError("one id twice")
        talk = self.get(key)
        if not whole:
            return []
        there = [talk.find(event.id) for event in whole]
        if on_duplicate == "raise" and any(there):
            return _same(whole, there, after)
        if all(there):
            return [entry for entry in there if entry]
        self._claim(talk, expected_version)
        talk.required(after or 0)
        talk.claim(None, self._now())
        if after is not None and after != talk.head:
            talk.move(after)
        new = [event for event, entry in zip(whole, there, strict=True) if entry is None]
        placed = iter(talk.put(new, self._show))
        for event in new:
            self._share(key, event.state_delta)
        if self._event_limit is not None and len(talk.line()) > self._event_limit:
            talk.prune(self._event_limit, None, None, branches=True)
        return [entry or next(placed) for entry in there]

    def replace_suffix(
        self,
        key: SessionKey,
        after_seq: int,
        events: Sequence[NewEvent],
        *,
        expected_version: int | None,
    ) -> list[Entry]:
        if events:
            return self.append(key, *events, after=after_seq, expected_version=expected_version)
        self.rewind(key, after_seq, expected_version=expected_version)
        return []

    def rewind(self, key: SessionKey, to_seq: int, *, expected_version: int | None) -> Talk:
        talk = self.get(key)
        self._claim(talk, expected_version)
        talk.required(to_seq)
        if to_seq != talk.head:
            talk.claim(None, self._now())
            talk.move(to_seq)
        return talk

    def pop(self, key: SessionKey, n: int, *, expected_version: int | None) -> list[Entry]:
        talk = self.get(key)
        self._claim(talk, expected_version)
        line = talk.line()
        popped = line[max(len(line) - n, 0) :][::-1]
        if popped:
            talk.claim(None, self._now())
            talk.move(max(popped[-1].prev, 0))
        return popped

    def switch(self, key: SessionKey, name: str, *, expected_version: int | None) -> Talk:
        talk = self.get(key)
        self._claim(talk, expected_version)
        if name not in talk.refs:
            raise NotFoundError(f"no branch {name}")
        talk.claim(None, self._now())
        talk.move(talk.refs[name])
        return talk

    def drop_branch(self, key: SessionKey, name: str) -> bool:
        talk = self.get(key)
        if name not in talk.refs:
            return False
        talk.claim(None, self._now())
        del talk.refs[name]
        return True

    def clear(self, key: SessionKey, *, expected_version: int | None) -> int:
        talk = self.get(key)
        self._claim(talk, expected_version)
        if not talk.last_seq:
            return 0
        talk.claim(None, self._now())
        return talk.clear()

    def remove(self, key: SessionKey, seqs: set[int], *, expected_version: int | None) -> int:
        talk = self.get(key)
        self._claim(talk, expected_version)
        if not seqs:
            return 0
        talk.claim(None, self._now())
        return talk.remove(seqs)

    def redact(self, key: SessionKey, event_id: str, content: Any) -> Entry:
        """The content goes here and in the forks that copied it, deleted ones too."""
        talk = self.get(key)
        entry = talk.find(event_id)
        if entry is None:
            raise NotFoundError(f"no event {event_id}")
        for other in [*self.live.values(), *self.deleted]:
            copy = other.find(event_id) if other.key[:2] == key[:2] else None
            # An event that somebody appended to another session is none, however equal.
            if copy and copy.created_at == entry.created_at:
                copy.content = content
                # A bare text does not say who speaks: the event still does.
                copy.shown = replace(self._show(NewEvent(content)), role=copy.shown.role)
                other.claim(None, self._now())
        return entry

    def prune(
        self,
        key: SessionKey,
        *,
        keep_last: int | None,
        before_seq: int | None,
        older_than: datetime | None,
        branches: bool,
    ) -> int:
        return self.get(key).prune(keep_last, before_seq, older_than, branches=branches)

    def annotate(self, key: SessionKey, name: str, *, event_id: str | None) -> None:
        talk = self.get(key)
        if event_id is not None and talk.find(event_id) is None:
            raise NotFoundError(f"no event {event_id}")
        talk.notes.append((name, event_id))

    def set_state(self, key: SessionKey, delta: Mapping[str, Any]) -> int:
        if delta:
            talk = self.get(key)
            talk.claim(None, self._now())
            talk.change(delta)
        return len(delta)

    def delete_state(self, key: SessionKey, name: str) -> bool:
        talk = self.get(key)
        if name not in talk.state:
            return False
        talk.claim(None, self._now())
        talk.change({name: DELETE})
        return True

    def _claim(self, talk: Talk, expected: int | None) -> None:
        """Only the check of a claim: what else can fail comes before anything is changed."""
        if expected is not None and expected != talk.version:
            raise StaleSessionError("stale", talk.version)


def _same(
    given: Sequence[NewEvent], there: Sequence[Entry | None], after: int | None
) -> list[Entry]:
    """What is stored of a call that came again: all of it, equal, in order, at that place."""
    stored = [entry for entry in there if entry]
    equal = all(entry.given == event for entry, event in zip(there, given, strict=True) if entry)
    seqs = [entry.seq for entry in stored]
    if not equal or len(stored) < len(given) or seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        raise ConflictError("all or none")
    if after is not None and stored[0].prev not in {after, PRUNED}:
        raise ConflictError("stored at another place")
    return stored
