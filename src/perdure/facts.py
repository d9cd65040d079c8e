"""What a committed operation means to those who follow the store: facts, made of its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from perdure.operation import Composed, Noted, Operation
from perdure.records import (
    Approval,
    AppScope,
    Artifact,
    Clarification,
    CronRun,
    CronTask,
    Event,
    Fact,
    Scope,
    Session,
    SessionKey,
)

KINDS = (
    "session.created",
    "session.updated",
    "session.deleted",
    "session.restored",
    "session.purged",
    "session.rewritten",
    "event.appended",
    "event.redacted",
    "state.changed",
    "artifact.saved",
    "artifact.deleted",
    "user.erased",
    "clarification.asked",
    "clarification.answered",
    "clarification.expired",
    "clarification.cancelled",
    "approval.requested",
    "approval.resolved",
    "cron.task_changed",
    "cron.task_deleted",
    "cron.run_changed",
)

Operations: TypeAlias = Operation[Any]


def facts_of(op: Operations, value: Any) -> Iterator[Fact]:
    """The facts that an operation has made, of its result; none for what changed nothing."""
    if op.name == "store.turn":
        for one, result in zip(op.args, value, strict=True):
            yield from facts_of(one, result)
        return
    if isinstance(op.work, Composed):
        for one, result in op.work.done:
            yield from facts_of(one, result)
        return
    make = _FACTS.get(op.name)
    if make is not None:
        yield from make(op, value)


def _argument(op: Operations, index: int, name: str) -> Any:
    return op.args[index] if len(op.args) > index else op.kwargs.get(name)


def _key(op: Operations) -> SessionKey:
    return SessionKey(*_argument(op, 0, "key"))


def _of_key(kind: str, key: SessionKey, version: int | None = None, value: Any = None) -> Fact:
    return Fact(kind, key.app, key.user, key.id, version, value)


def _of_scope(kind: str, scope: Scope, value: Any) -> Fact:
    if isinstance(scope, SessionKey):
        return _of_key(kind, scope, None, value)
    user = "" if isinstance(scope, AppScope) else scope.user
    return Fact(kind, scope.app, user, value=value)


def _session(kind: str) -> Callable[[Operations, Any], Iterator[Fact]]:
    def make(_: Operations, session: Session) -> Iterator[Fact]:
        yield _of_key(kind, session.key, session.version, session)

    return make


def _got_or_created(op: Operations, session: Session) -> Iterator[Fact]:
    if isinstance(op.work, Noted) and op.work.note == session.uid:
        yield _of_key("session.created", session.key, session.version, session)


def _if_any(kind: str) -> Callable[[Operations, Any], Iterator[Fact]]:
    def make(op: Operations, something: Any) -> Iterator[Fact]:
        if something:
            yield _of_key(kind, _key(op))

    return make


def _appended(op: Operations, done: Any) -> Iterator[Fact]:
    if done.duplicate:
        return
    key = _key(op)
    for event in done.events:
        # Of another version: it was there before, and this call gave it back.
        if not event.partial and event.version == done.version:
            yield _of_key("event.appended", key, event.version, event)


def _replaced(op: Operations, done: Any) -> Iterator[Fact]:
    if not done.duplicate:
        yield _of_key("session.rewritten", _key(op), done.version)
    yield from _appended(op, done)


def _redacted(op: Operations, event: Event) -> Iterator[Fact]:
    yield _of_key("event.redacted", _key(op), None, event)


def _state(op: Operations, something: Any) -> Iterator[Fact]:
    if something and isinstance(op.work, Noted):
        yield _of_scope("state.changed", _argument(op, 0, "scope"), op.work.note)


def _saved(_: Operations, artifact: Artifact) -> Iterator[Fact]:
    yield _of_scope("artifact.saved", artifact.scope, artifact)


def _unsaved(op: Operations, something: bool) -> Iterator[Fact]:
    if something and isinstance(op.work, Noted):
        scope, *which = op.work.note
        yield _of_scope("artifact.deleted", scope, tuple(which))


def _requested(op: Operations, approval: Approval) -> Iterator[Fact]:
    # Another id than that of the call: it was there before.
    if isinstance(op.work, Noted) and op.work.note == approval.id:
        kind = "approval.requested" if approval.status == "pending" else "approval.resolved"
        yield _of_approval(kind, approval)


def _resolved(_: Operations, approval: Approval | None) -> Iterator[Fact]:
    if approval is not None:
        yield _of_approval("approval.resolved", approval)


def _of_approval(kind: str, approval: Approval) -> Fact:
    session = None if approval.session is None else approval.session.id
    return Fact(kind, approval.app, approval.user, session, None, approval)


def _erased(op: Operations, removed: Any) -> Iterator[Fact]:
    # The tombstone that is stored before is none yet.
    if removed is not None:
        app, user = op.args
        yield Fact("user.erased", app, user, value=removed)


def _clarification(kind: str, one: Clarification) -> Fact:
    session = None if one.session is None else one.session.id
    return Fact(kind, one.app, one.user, session, value=one)


def _asked(op: Operations, one: Clarification) -> Iterator[Fact]:
    # Another id: the same question was pending before.
    if isinstance(op.work, Noted) and op.work.note == one.id:
        yield _clarification("clarification.asked", one)


def _ended(kind: str) -> Callable[[Operations, Any], Iterator[Fact]]:
    def make(op: Operations, one: Clarification) -> Iterator[Fact]:
        # Another time: it had ended so before, and this call gave it back.
        if isinstance(op.work, Noted) and op.work.note == one.answered_at:
            yield _clarification(kind, one)

    return make


def _expired(_: Operations, ended: Sequence[Clarification]) -> Iterator[Fact]:
    for one in ended:
        yield _clarification("clarification.expired", one)


def _recovered(_: Operations, found: tuple[str, Clarification | None]) -> Iterator[Fact]:
    what, one = found
    if what == "expired" and one is not None:
        yield _clarification("clarification.expired", one)


def _task(_: Operations, task: CronTask) -> Iterator[Fact]:
    yield Fact("cron.task_changed", task.app, "", value=task)


def _task_deleted(op: Operations, there: bool) -> Iterator[Fact]:
    if there and isinstance(op.work, Noted):
        yield Fact("cron.task_deleted", "", "", value=op.work.note)


def _run(_: Operations, run: CronRun | None) -> Iterator[Fact]:
    if run is not None:
        yield Fact("cron.run_changed", run.app, "", value=run)


def _runs(op: Operations, runs: Sequence[CronRun]) -> Iterator[Fact]:
    for run in runs:
        yield from _run(op, run)


_FACTS: Mapping[str, Callable[[Operations, Any], Iterator[Fact]]] = {
    "cron.create": _task,
    "cron.update": _task,
    "cron.pause": _task,
    "cron.resume": _task,
    "cron.delete": _task_deleted,
    "cron.trigger": _run,
    "cron.claim": _runs,
    "cron.begin": _run,
    "cron.finish": _run,
    "cron.abandon": _run,
    "sessions.create": _session("session.created"),
    "sessions.get_or_create": _got_or_created,
    "sessions.fork": _session("session.created"),
    "sessions.update": _session("session.updated"),
    "sessions.delete": _if_any("session.deleted"),
    "sessions.restore": _session("session.restored"),
    "sessions.purge": _if_any("session.purged"),
    "events.append": _appended,
    "events.replace_suffix": _replaced,
    "events.rewind": _session("session.rewritten"),
    "events.switch": _session("session.rewritten"),
    "events.pop": _if_any("session.rewritten"),
    "events.clear": _if_any("session.rewritten"),
    "events.delete": _if_any("session.rewritten"),
    "events.redact": _redacted,
    "state.set": _state,
    "state.delete": _state,
    "artifacts.save": _saved,
    "artifacts.delete": _unsaved,
    "store.erase_user": _erased,
    "clarifications.ask": _asked,
    "clarifications.answer": _ended("clarification.answered"),
    "clarifications.cancel": _ended("clarification.cancelled"),
    "clarifications.expire": _expired,
    "clarifications.recover_pending": _recovered,
    "approvals.request": _requested,
    "approvals.resolve": _resolved,
    "approvals.cancel": _resolved,
    "approvals.expire": _resolved,
}
