"""State by itself: the keys of an app, a user or a session, and what a session's once were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from perdure.errors import ConflictError, InvalidError, NotFoundError, StateKeyError
from perdure.features.changes import Change, changes, fold
from perdure.features.cursors import check_limit, pack, paged, unpack
from perdure.features.hooks import state_of
from perdure.features.line import first_of, holds, runs
from perdure.features.lookup import SessionRow, claim, get, hold, target
from perdure.features.reading import positive
from perdure.features.scopes import (
    APP_PREFIX,
    STATE,
    TEMP_PREFIX,
    USER_PREFIX,
    Entry,
    Value,
    entry,
    merge,
    rows,
)
from perdure.operation import (
    Bumps,
    Feature,
    M,
    Noted,
    Plan,
    Stream,
    Work,
    operation,
    reading,
    run,
    stream,
)
from perdure.parts import place
from perdure.records import (
    DELETE,
    JSON,
    AppScope,
    Page,
    Scope,
    SessionKey,
    StateChange,
    StateEntry,
    UserScope,
)
from perdure.values import check_text, encode_delta, from_micros, from_payload

_PREFIXES = (APP_PREFIX, USER_PREFIX, TEMP_PREFIX)


class _Owner(NamedTuple):
    """Where the rows of a scope are; of a session only its key is known before the plan."""

    part: str
    key: SessionKey | None
    now: int
    fence: int | None = None


class State(Feature[M]):
    """`store.state`: app, user and session state without an event.

    A scope is an `AppScope`, a `UserScope` or a `SessionKey`; names have no prefix there.
    """

    name = "state"

    # -- reading -----------------------------------------------------------------------------

    @reading
    def get(self, scope: Scope, name: str) -> Work[StateEntry]:
        """The entry of that name; `StateKeyError` if there is none."""
        owner = self._owner(scope)
        self._name(name)

        def work(_: Bumps) -> Plan[StateEntry]:
            found = yield from _find(owner, name, self._settings)
            if found is None:
                raise StateKeyError(f"no state {name!r} in {scope!r}")
            return found

        return work

    @reading
    def find(self, scope: Scope, name: str) -> Work[StateEntry | None]:
        """The entry of that name, or None."""
        owner = self._owner(scope)
        self._name(name)
        return lambda _: _find(owner, name, self._settings)

    @reading
    def list(
        self, scope: Scope, *, cursor: str | None = None, limit: int = 1000
    ) -> Work[Page[StateEntry]]:
        """A page of the scope's entries by name, bytewise; at most 10,000."""
        owner = self._owner(scope)
        size = check_limit(limit, self._settings.limits.records)
        after = "" if cursor is None else unpack(cursor, "state", str)[0]

        def work(_: Bumps) -> Plan[Page[StateEntry]]:
            uid = yield from _uid(owner, self._settings)
            found = yield STATE.list(part=owner.part, uid=uid, after=after, limit=size + 1)
            entries = [_entry(row) for row in found[:size]]
            more = pack("state", entries[-1].name) if len(found) > size else None
            return Page(entries, more)

        return work

    @stream
    def iter(self, scope: Scope) -> Stream[StateEntry]:
        """Every entry of the scope, page after page."""
        return paged(lambda cursor: run(State.list.of(self, scope, cursor=cursor)))

    @reading
    def merged(self, key: SessionKey) -> Work[dict[str, JSON]]:
        """What a session sees: its own keys, and those of its user and app with their prefix."""
        at = self._target(key)

        def work(_: Bumps) -> Plan[dict[str, JSON]]:
            row = yield from get(at)
            found = yield STATE.merged(part=row.part, app_part=row.app_part, uid=row.uid)
            return merge(found)

        return work

    # -- writing -----------------------------------------------------------------------------

    @operation
    def set(
        self,
        scope: Scope,
        values: Mapping[str, Value],
        *,
        expected_versions: Mapping[str, int] | None = None,
        fence: int | None = None,
    ) -> Work[int]:
        """Set several keys in one transaction, `DELETE` removes one; returns how many.

        ``expected_versions`` maps names to the version each entry must have (0: it must not
        be there), else `ConflictError` and nothing is changed. For a session it is a change
        of its own: the session gets a new version, and it stands in `history`. ``fence`` is
        that of a run lease on the session: `StaleSessionError` if another run has taken it since.
        """
        owner = self._owner(scope, fence)
        values = self._written(scope, values)
        entries = self._entries(values)
        expected = self._expected(expected_versions, values)
        text = encode_delta(dict(values), "values", self._settings.limits)

        def work(bumps: Bumps) -> Plan[int]:
            uid = ""
            if owner.key is not None and entries:
                uid = yield from self._note(owner, text, bumps)
            return (yield from _put(owner, uid, entries, expected))

        return Noted(work, tuple(values))

    @operation
    def delete(self, scope: Scope, name: str, *, fence: int | None = None) -> Work[bool]:
        """Remove a key, durably; whether it was there."""
        owner = self._owner(scope, fence)
        self._name(name)
        text = encode_delta({name: DELETE}, "values", self._settings.limits)

        def work(bumps: Bumps) -> Plan[bool]:
            uid = ""
            if owner.key is not None:
                held = yield from hold(self._at(owner), None, bumps)
                if not (yield STATE.find(part=owner.part, uid=held.uid, name=name)):
                    return False
                uid = yield from self._note(owner, text, bumps)
            return bool((yield STATE.remove(part=owner.part, uid=uid, name=name, now=owner.now)))

        return Noted(work, (name,))

    def _note(self, owner: _Owner, text: str, bumps: Bumps) -> Plan[str]:
        """A new version of the session with the change in its log; gives the uid."""
        row = yield from claim(self._at(owner), None, bumps)
        yield STATE.log(
            part=row.part,
            uid=row.uid,
            seq=row.head,
            version=row.version,
            delta=text,
            now=owner.now,
        )
        return row.uid

    def _at(self, owner: _Owner) -> Any:
        return self._target(cast("SessionKey", owner.key), owner.now)._replace(fence=owner.fence)

    # -- the past ----------------------------------------------------------------------------

    @reading
    def at(self, key: SessionKey, seq: int) -> Work[dict[str, JSON]]:
        """The session scope as of an event (0: as created), without app and user state.

        What was set without an event counts as of the event that stood last. Raises
        `NotFoundError` for what was pruned, naming the oldest seq that can be answered.
        """
        at = self._target(key)
        positive(seq, "seq")

        def work(_: Bumps) -> Plan[dict[str, JSON]]:
            row = yield from get(at)
            found = yield from _changes_to(row, seq)
            return fold(change for change in found if change.seq <= seq)

        return work

    @reading
    def history(self, key: SessionKey, name: str) -> Work[Sequence[StateChange]]:
        """Every change of a key of the session scope along the active line, oldest first."""
        at = self._target(key)
        self._name(name)

        def work(_: Bumps) -> Plan[Sequence[StateChange]]:
            row = yield from get(at)
            line = yield from runs(row.part, row.uid, row.head)
            found = yield from changes(row.part, row.uid, line)
            return [
                StateChange(change.seq, change.version, change.delta[name])
                for change in found
                if name in change.delta
            ]

        return work

    # -- checks ------------------------------------------------------------------------------

    def _target(self, key: SessionKey, now: int | None = None) -> Any:
        settings = self._settings
        moment = settings.clock() if now is None else now
        return target(settings.tenant, key, settings.limits.text, moment)

    def _owner(self, scope: Scope, fence: int | None = None) -> _Owner:
        settings = self._settings
        positive(fence, "fence")
        if fence is not None and isinstance(scope, AppScope | UserScope):
            raise InvalidError(f"a lease is on a session, and no fence is on {scope!r}", "fence")
        limit = settings.limits.text
        now = settings.clock()
        if isinstance(scope, AppScope):
            return _Owner(place(settings.tenant, scope.app, "", limit).app_part, None, now)
        if isinstance(scope, UserScope):
            return _Owner(place(settings.tenant, scope.app, scope.user, limit).part, None, now)
        at = self._target(scope, now)
        return _Owner(at.part, at.key, now, fence)

    def _name(self, name: str) -> str:
        text = check_text(name, "state key", self._settings.limits.text, blank=False)
        if text.startswith(_PREFIXES):
            message = f"state key {name!r} has the prefix of a scope: the scope is said beside it"
            raise InvalidError(message, "name")
        return text

    def _written(self, scope: Scope, values: Mapping[str, Value]) -> Mapping[str, Value]:
        # What is no mapping is refused with the rest, and not by the user's function.
        if not isinstance(values, Mapping):
            return values
        return state_of(scope, values, self._settings)

    def _entries(self, values: Mapping[str, Value]) -> Sequence[Entry]:
        if not isinstance(values, Mapping):
            raise InvalidError(f"values maps names to values, not {values!r}", "values")
        limits = self._settings.limits
        return [entry(self._name(name), value, limits, "values") for name, value in values.items()]

    def _expected(
        self, versions: Mapping[str, int] | None, values: Mapping[str, Value]
    ) -> dict[str, int]:
        checked = dict(versions or {})
        for name, version in checked.items():
            if name not in values:
                message = f"expected_versions has {name!r}, for which no value is given"
                raise InvalidError(message, "expected_versions")
            positive(version, f"expected_versions[{self._name(name)!r}]")
        return checked


def _uid(owner: _Owner, settings: Any) -> Plan[str]:
    if owner.key is None:
        return ""
    row = yield from get(target(settings.tenant, owner.key, settings.limits.text, owner.now))
    return row.uid


def _find(owner: _Owner, name: str, settings: Any) -> Plan[StateEntry | None]:
    uid = yield from _uid(owner, settings)
    found = yield STATE.find(part=owner.part, uid=uid, name=name)
    return _entry(found[0]) if found else None


def _entry(row: Sequence[Any]) -> StateEntry:
    name, value, codec, data, version, updated_at = row
    payload = from_payload(value, codec, data, f"state {name!r}")
    return StateEntry(name, payload, version, from_micros(updated_at))


def _put(
    owner: _Owner, uid: str, entries: Sequence[Entry], expected: Mapping[str, int]
) -> Plan[int]:
    if not expected:
        if entries:
            yield STATE.put.many(rows(owner.part, uid, entries, owner.now))
        return len(entries)
    # By name, so that no two calls lock the same keys crosswise.
    for name, value, codec, data in sorted(entries, key=lambda one: one[0]):
        version = expected.get(name)
        if version is None:
            yield STATE.put.many([(owner.part, uid, name, value, codec, data, owner.now)])
            continue
        query = STATE.put_expected if version else STATE.put_absent
        columns = {
            "part": owner.part, "uid": uid, "name": name, "value": value, "codec": codec,
            "data": data, "now": owner.now,
        }  # fmt: skip
        found = yield query(**columns, **({"expected": version} if version else {}))
        if not found:
            raise ConflictError(f"state {name!r} is not at version {version} any more: read it")
    return len(entries)


def _changes_to(row: SessionRow, seq: int) -> Plan[Sequence[Change]]:
    """The changes along the active line if the event is on it, else along its own."""
    line = yield from runs(row.part, row.uid, row.head)
    if seq and not holds(line, seq):
        line = yield from runs(row.part, row.uid, seq)
    first, prev = yield from first_of(row.part, row.uid, line)
    exists = (yield STATE.event_version(part=row.part, uid=row.uid, seq=seq)) if seq else not prev
    if not exists:
        oldest = f"the oldest seq that can be answered is {first}" if prev else "see events.list"
        raise NotFoundError(f"session {row.id!r} has no event {seq}: {oldest}")
    return (yield from changes(row.part, row.uid, line))
