"""The same call to the store and to its model, and everything that both then show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine

import perdure
from perdure import (
    Event,
    NotFoundError,
    PerdureError,
    SessionKey,
    StaleSessionError,
    SyncStore,
)
from perdure.testing import FixedClock
from tests.model.drawing import NOWHERE, START, shown
from tests.model.model import Model
from tests.model.talk import Entry, Talk

T = TypeVar("T")
R = TypeVar("R")


class Comparing(RuleBasedStateMachine):
    """A store, its model, and what of them must be equal after each step."""

    event_limit: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.clock = FixedClock()
        self.store = self.opened()
        self.model = Model(lambda: self.clock.now, shown, self.event_limit)
        self.steps = 0
        self.ids: set[str] = set()

    def opened(self) -> SyncStore:
        return perdure.open_sync(self.url(), clock=self.clock, event_limit=self.event_limit)

    def url(self) -> str:
        return "memory:"

    def teardown(self) -> None:
        self.store.close()

    # -- doing -------------------------------------------------------------------------------

    def both(self, promised: Callable[[], T], done: Callable[[], R]) -> tuple[T, R] | None:
        """What the model says and what the store does; None if both refuse for one reason."""
        self.steps += 1
        self.clock.advance(timedelta(seconds=1))
        try:
            wanted = promised()
        except PerdureError as refusal:
            self.refused(refusal, done)
            return None
        return wanted, done()

    def refused(self, refusal: PerdureError, done: Callable[[], object]) -> None:
        with pytest.raises(type(refusal)) as caught:
            done()
        assert type(caught.value) is type(refusal)
        if isinstance(caught.value, StaleSessionError) and isinstance(refusal, StaleSessionError):
            assert caught.value.current_version == refusal.current_version

    def same(
        self, name: str, key: SessionKey, *args: Any, **options: Any
    ) -> tuple[Any, Any] | None:
        """Call the method of that name of both; results that are plain values are equal."""
        feature, _, method = name.rpartition(".")
        return self.equal(
            key,
            lambda: getattr(self.model, method)(key, *args, **options),
            lambda: getattr(getattr(self.store, feature), method)(key, *args, **options),
        )

    def equal(
        self, key: SessionKey, promised: Callable[[], T], done: Callable[[], R]
    ) -> tuple[T, R] | None:
        results = self.both(promised, done)
        if results and isinstance(results[0], int):
            assert results[0] == results[1]
        self.check(key)
        return results

    def named(self, entries: Sequence[Entry], stored: Sequence[Event]) -> None:
        """Take over the ids that the store has made, each a new one."""
        for entry, event in zip(entries, stored, strict=True):
            if entry.id is None:
                assert event.id not in self.ids
                entry.id = event.id
                entry.given = replace(entry.given, id=event.id)
                self.ids.add(event.id)

    # -- choosing ----------------------------------------------------------------------------

    def entries(self, key: SessionKey) -> list[Entry]:
        talk = self.model.live.get(key)
        return [*talk.entries.values()] if talk else []

    def version(self, key: SessionKey, off: int | None) -> int | None:
        talk = self.model.live.get(key)
        return None if off is None else max((talk.version if talk else 1) + off, 0)

    def seq(self, key: SessionKey, n: int) -> int:
        """0, the seq of an entry, or one that is not there."""
        return _one_of([0, *(entry.seq for entry in self.entries(key))], n, 99)

    def event_id(self, key: SessionKey, n: int) -> str:
        """The id of an entry, or one that is not there."""
        return _one_of([str(entry.id) for entry in self.entries(key)], n, "unknown")

    def branch(self, key: SessionKey, n: int) -> str:
        """The name of a line that was left, or one that none has."""
        talk = self.model.live.get(key)
        return _one_of([*talk.refs] if talk else [], n, "none")

    # -- comparing ---------------------------------------------------------------------------

    def check(self, key: SessionKey) -> None:
        session, talk = self.store.sessions.find(key), self.model.live.get(key)
        assert (session is None) == (talk is None)
        if session is None or talk is None:
            return
        line = talk.line()
        assert (session.uid, session.version) == (talk.uid, talk.version)
        assert (session.event_count, session.head_seq) == (len(line), talk.head)
        assert session.last_seq == talk.last_seq
        assert (session.title, session.tags) == (talk.title, talk.tags)
        assert (session.metadata, session.origin) == (talk.metadata, talk.origin)
        assert (session.created_at, session.updated_at) == (talk.created_at, talk.updated_at)
        assert session.preview == talk.preview
        assert session.last_event_at == (line[-1].timestamp if line else None)
        self.check_events(talk)
        self.check_reading(talk, [str(entry.id) for entry in line])
        self.check_filters(talk, line)
        self.check_state(talk)

    def check_events(self, talk: Talk) -> None:
        events, key = self.store.events, talk.key
        every = events.read(key, all_lines=True)
        kept = [talk.entries[seq] for seq in sorted(talk.entries)]
        assert [seen(event) for event in every] == [promised(entry) for entry in kept]
        first, *others = events.branches(key)
        assert (first.current, first.head_seq) == (True, talk.head)
        assert not any(branch.current for branch in others)
        left = {branch.name: branch.head_seq for branch in others}
        assert sorted(left.values()) == sorted(talk.tips(talk.refs))
        # Their names are the store's to give.
        talk.refs = left
        noted = [(note.name, note.event_id) for note in events.annotations(key)]
        assert noted == talk.notes

    def check_reading(self, talk: Talk, ids: list[str]) -> None:
        """The same list, read in every way, with another number at each step."""
        events, key, n = self.store.events, talk.key, self.steps % 5
        assert [event.id for event in events.read(key)] == ids
        recent = [event.id for event in events.read(key, recent=n)]
        assert recent == ids[max(len(ids) - n, 0) :]
        assert self.paged(key, n + 1, newest_first=False) == ids
        assert self.paged(key, n + 1, newest_first=True) == ids[::-1]
        window = [event.id for event in events.window(key, n)]
        assert window == [entry.id for entry in talk.window(n)]

    def paged(self, key: SessionKey, size: int, *, newest_first: bool) -> list[str]:
        list_page = self.store.events.list
        page = list_page(key, limit=size, newest_first=newest_first)
        found = [event.id for event in page]
        while page.next_cursor is not None:
            assert len(page) == size
            page = list_page(key, limit=size, newest_first=newest_first, cursor=page.next_cursor)
            found += [event.id for event in page]
        return found

    def check_filters(self, talk: Talk, line: Sequence[Entry]) -> None:
        events, key, n = self.store.events, talk.key, self.steps % 5
        filters: list[dict[str, Any]] = [
            {"run_id": "r1"},
            {"branch": "main", "after_seq": n},
            {"after_time": START},
            {"before_seq": talk.head, "after_seq": n},
            {"run_id": "", "after_time": START + timedelta(days=1)},
        ]
        chosen = filters[n]
        wanted = [entry.id for entry in line if _passes(entry, chosen)]
        assert [event.id for event in events.read(key, **chosen)] == wanted
        assert [event.id for event in events.read(key, recent=2, **chosen)] == wanted[-2:]
        assert events.count(key, **chosen) == len(wanted)
        assert events.count(key, all_lines=True) == len(talk.entries)

    def check_state(self, talk: Talk) -> None:
        state, key = self.store.state, talk.key
        entries = {entry.name: entry.value for entry in state.iter(key)}
        assert entries == talk.state
        assert state.merged(key) == self.model.merged(key)
        for seq in (0, *talk.entries):
            try:
                following = talk.following(seq)
                if following and following.unsure:
                    following.left, following.unsure = state.at(key, seq), False
                wanted = talk.state_at(seq)
            except NotFoundError:
                with pytest.raises(NotFoundError, match=f"{talk.line()[0].seq}"):
                    state.at(key, seq)
            else:
                assert (seq, state.at(key, seq)) == (seq, wanted)


def _one_of(there: Sequence[T], n: int, missing: T) -> T:
    return missing if n == NOWHERE or not there else there[n % len(there)]


def _passes(entry: Entry, chosen: dict[str, Any]) -> bool:
    given = entry.given
    return (
        chosen.get("run_id") in {None, given.run_id}
        and chosen.get("branch") in {None, given.branch}
        and entry.timestamp >= chosen.get("after_time", entry.timestamp)
        and chosen.get("after_seq", 0) < entry.seq < chosen.get("before_seq", entry.seq + 1)
    )


def seen(event: Event) -> tuple[Any, ...]:
    """What the store says of an event, in the order of `promised`."""
    return (
        event.id, event.seq, event.prev, event.version, event.author, event.run_id, event.branch,
        event.content, event.timestamp, event.kind, event.role, event.text, event.calls,
        event.results, event.state_delta, event.extra,
    )  # fmt: skip


def promised(entry: Entry) -> tuple[Any, ...]:
    """What the model says of it."""
    given, show = entry.given, entry.shown
    delta = {k: v for k, v in (given.state_delta or {}).items() if not k.startswith("temp:")}
    return (
        entry.id, entry.seq, entry.prev, entry.version, entry.author, given.run_id, given.branch,
        entry.content, entry.timestamp, show.kind, show.role, show.text, show.calls,
        show.results, delta or None, given.extra,
    )  # fmt: skip
