"""The store against its model: whatever is done in whatever order, both show the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from perdure import NewEvent, SessionKey
from tests.effort import effort
from tests.model.comparing import Comparing, promised, seen
from tests.model.drawing import (
    START,
    A,
    B,
    deltas,
    events,
    keys,
    messages,
    mostly,
    names,
    offsets,
    places,
    settable,
)

# Making a failure small takes longer than finding it.
pytestmark = pytest.mark.timeout(900)

doubles = mostly("raise", "ignore")


class InMemory(Comparing):
    """What people do to sessions, with ids, seqs and versions that often are not there."""

    @initialize(
        state=deltas,
        given=st.lists(messages, min_size=1, max_size=5),
        other=st.lists(messages, max_size=3),
    )
    def begin(self, state: dict[str, Any], given: list[NewEvent], other: list[NewEvent]) -> None:
        self.create(A, state, "first", again=False)
        self.append_all(A, given)
        self.append_all(A, other, after=1)

    # -- events ------------------------------------------------------------------------------

    @rule(key=keys, given=st.lists(messages, min_size=1, max_size=3))
    def say(self, key: SessionKey, given: list[NewEvent]) -> None:
        self.append_all(key, given)

    @rule(key=keys, given=st.lists(messages, min_size=1, max_size=2), n=places)
    def branch_off(self, key: SessionKey, given: list[NewEvent], n: int) -> None:
        self.append_all(key, given, after=self.seq(key, n))

    @rule(
        key=keys,
        given=st.lists(events(), max_size=3),
        off=offsets,
        after=st.none() | places,
        doubles=doubles,
    )
    def append(
        self,
        key: SessionKey,
        given: list[NewEvent],
        off: int | None,
        after: int | None,
        doubles: str,
    ) -> None:
        whole = [event for event in given if not event.partial]
        self.append_all(
            key,
            given,
            after=None if after is None else self.seq(key, after),
            on_duplicate=doubles,
            expected_version=self.version(key, off) if whole else None,
        )

    @rule(
        key=keys,
        which=st.lists(places, min_size=1, max_size=2, unique=True),
        off=offsets,
        changed=mostly(False, True),
        doubles=doubles,
    )
    def retry(
        self, key: SessionKey, which: list[int], off: int | None, changed: bool, doubles: str
    ) -> None:
        there = self.entries(key)
        given = [there[n].given for n in which if n < len(there)]
        if given:
            given[-1] = replace(given[-1], metadata={"changed": True} if changed else None)
        off = off if given else None
        version = self.version(key, off)
        self.append_all(key, given, expected_version=version, on_duplicate=doubles)

    def append_all(self, key: SessionKey, given: Sequence[NewEvent], **options: Any) -> None:
        done = self.both(
            lambda: self.model.append(key, *given, **options),
            lambda: self.store.events.append(key, *given, **options),
        )
        if done:
            entries, appended = done
            stored = [event for event in appended if not event.partial]
            assert [event.partial for event in appended] == [event.partial for event in given]
            self.named(entries, stored)
            assert [seen(event) for event in stored] == [promised(entry) for entry in entries]
            assert appended.version == self.model.live[key].version
        self.check(key)

    @rule(key=keys, n=places, given=st.lists(messages, max_size=2), off=offsets)
    def replace_suffix(
        self, key: SessionKey, n: int, given: list[NewEvent], off: int | None
    ) -> None:
        seq, version = self.seq(key, n), self.version(key, off)
        done = self.both(
            lambda: self.model.replace_suffix(key, seq, given, expected_version=version),
            lambda: self.store.events.replace_suffix(key, seq, given, expected_version=version),
        )
        if done:
            self.named(done[0], done[1].events)
        self.check(key)

    # -- history -----------------------------------------------------------------------------

    @rule(key=keys, n=places, off=offsets)
    def rewind(self, key: SessionKey, n: int, off: int | None) -> None:
        version = self.version(key, off)
        self.same("events.rewind", key, self.seq(key, n), expected_version=version)

    @rule(key=keys, n=st.sampled_from([1, 2, 0, 9]), off=offsets)
    def pop(self, key: SessionKey, n: int, off: int | None) -> None:
        done = self.same("events.pop", key, n, expected_version=self.version(key, off))
        if done:
            assert [event.id for event in done[1]] == [entry.id for entry in done[0]]

    @rule(key=keys, n=places, off=offsets)
    def switch(self, key: SessionKey, n: int, off: int | None) -> None:
        version = self.version(key, off)
        self.same("events.switch", key, self.branch(key, n), expected_version=version)

    @rule(
        key=keys,
        keep_last=mostly(None, 0, 1, 2, 4),
        n=st.none() | places,
        days=mostly(None, -2, 0, 1),
        branches=mostly(False, True),
    )
    def prune(
        self,
        key: SessionKey,
        keep_last: int | None,
        n: int | None,
        days: int | None,
        branches: bool,
    ) -> None:
        before_seq = None if n is None else self.seq(key, n)
        older_than = None if days is None else START + timedelta(days=days)
        if keep_last is None and before_seq is None and older_than is None:
            keep_last = 3
        self.same(
            "events.prune",
            key,
            keep_last=keep_last,
            before_seq=before_seq,
            older_than=older_than,
            branches=branches,
        )

    @rule(key=keys, which=st.sets(places, max_size=3), off=offsets)
    def delete_ids(self, key: SessionKey, which: set[int], off: int | None) -> None:
        ids = [self.event_id(key, n) for n in which]
        self.delete(key, {e.seq for e in self.entries(key) if e.id in ids}, off, ids=ids)

    @rule(key=keys, n=places, size=st.integers(0, 2), run_id=mostly(None, "r1"), off=offsets)
    def delete_range(
        self, key: SessionKey, n: int, size: int, run_id: str | None, off: int | None
    ) -> None:
        low = self.seq(key, n)
        doomed = {
            entry.seq
            for entry in self.entries(key)
            if low <= entry.seq <= low + size and run_id in {None, entry.given.run_id}
        }
        self.delete(key, doomed, off, seqs=(low, low + size), run_id=run_id)

    def delete(self, key: SessionKey, doomed: set[int], off: int | None, **chosen: Any) -> None:
        version = self.version(key, off)
        self.equal(
            key,
            lambda: self.model.remove(key, doomed, expected_version=version),
            lambda: self.store.events.delete(key, expected_version=version, **chosen),
        )

    @rule(key=keys, n=places)
    def redact(self, key: SessionKey, n: int) -> None:
        done = self.same("events.redact", key, self.event_id(key, n), "[gone]")
        if done:
            assert seen(done[1]) == promised(done[0])
        for other in list(self.model.live):
            self.check(other)

    @rule(key=keys, n=st.none() | places)
    def annotate(self, key: SessionKey, n: int | None) -> None:
        event_id = None if n is None else self.event_id(key, n)
        self.same("events.annotate", key, "score", event_id=event_id)

    @rule(key=keys, how=mostly("drop_branch", "clear"), n=places, off=offsets)
    def forget(self, key: SessionKey, how: str, n: int, off: int | None) -> None:
        if how == "clear":
            self.same("events.clear", key, expected_version=self.version(key, off))
        else:
            self.same("events.drop_branch", key, self.branch(key, n))

    # -- state -------------------------------------------------------------------------------

    @rule(key=keys, delta=st.dictionaries(names, settable, max_size=2))
    def set_state(self, key: SessionKey, delta: dict[str, Any]) -> None:
        self.equal(
            key,
            lambda: self.model.set_state(key, delta),
            lambda: self.store.state.set(key, delta),
        )

    @rule(key=keys, name=names)
    def delete_state(self, key: SessionKey, name: str) -> None:
        self.equal(
            key,
            lambda: self.model.delete_state(key, name),
            lambda: self.store.state.delete(key, name),
        )

    # -- sessions ----------------------------------------------------------------------------

    @rule(key=keys, state=deltas, title=st.sampled_from(["", "a title"]), again=st.booleans())
    def create(self, key: SessionKey, state: dict[str, Any], title: str, *, again: bool) -> None:
        method = "get_or_create" if again else "create"
        done = self.both(
            lambda: getattr(self.model, method)(key, state=state, title=title),
            lambda: getattr(self.store.sessions, method)(*key, state=state, title=title),
        )
        if done:
            done[0].uid = done[0].uid or done[1].uid
        self.check(key)

    @rule(
        key=keys,
        title=mostly(None, "", "another"),
        tags=mostly(None, (), ("t1", "t2")),
        metadata=st.dictionaries(names, settable, max_size=2),
        off=offsets,
    )
    def update(self, key: SessionKey, off: int | None, **fields: Any) -> None:
        self.same("sessions.update", key, expected_version=self.version(key, off), **fields)

    @rule(key=keys, at=st.none() | places, new_id=mostly("s3", "s1", "s2"))
    def fork(self, key: SessionKey, at: int | None, new_id: str) -> None:
        seq = None if at is None else self.seq(key, at)
        done = self.both(
            lambda: self.model.fork(key, at=seq, id=new_id),
            lambda: self.store.sessions.fork(key, at=seq, id=new_id),
        )
        if done:
            done[0].uid = done[1].uid
        self.check(key)
        self.check(key._replace(id=new_id))

    @rule(
        key=st.sampled_from([A, B, A._replace(id="s3")]),
        how=st.sampled_from(["delete", "restore", "restore", "purge"]),
    )
    def live_and_die(self, key: SessionKey, how: str) -> None:
        self.same(f"sessions.{how}", key)


class OnFile(InMemory):
    """The same on a SQLite file."""

    def url(self) -> str:
        self.folder = TemporaryDirectory()
        return f"sqlite:///{self.folder.name}/agent.db"

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


class Limited(InMemory):
    """The same where every append prunes to the last four events."""

    event_limit = 4


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        derandomize="CI" in os.environ,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


TestInMemory = InMemory.TestCase
TestInMemory.settings = _settings(effort(45, 200))
TestOnFile = OnFile.TestCase
TestOnFile.settings = _settings(effort(10, 40))
TestWithEventLimit = Limited.TestCase
TestWithEventLimit.settings = _settings(effort(14, 60))
