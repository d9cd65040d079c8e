"""What the session scope of state was: the changes along a line, and folding them.

A change stands at a seq: brought by that event, or made while it was the head. Changes made at
a seq after the line went on from it belong to another line; the versions tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from perdure.features.line import NO_SEQ, Run, first_of
from perdure.features.scopes import APP_PREFIX, STATE, USER_PREFIX, Value, entry, rows
from perdure.operation import Plan
from perdure.records import DELETE
from perdure.values import Limits, decode_delta, encode_delta

_ALREADY_CHECKED = Limits(state=NO_SEQ, event=NO_SEQ)


class Change(NamedTuple):
    """One change of session state; ``delta`` has no key of another scope."""

    seq: int
    version: int
    noted: bool
    """Whether it was made without an event: it follows what an event of its version brought."""
    delta: dict[str, Value]


def changes(part: str, uid: str, line: Sequence[Run]) -> Plan[list[Change]]:
    """The changes along a line, oldest first, with what stood at its beginning."""
    first, prev = yield from first_of(part, uid, line)
    found: list[Change] = []
    ceiling = NO_SEQ
    for run in line:
        found += yield from _changes_in(part, uid, run, ceiling)
        ceiling = yield from _version_at(part, uid, run.low)
    if prev == 0:
        # Not pruned: the line begins with what the session was created with.
        if first:
            ceiling = yield from _version_at(part, uid, first)
        found += yield from _changes_in(part, uid, Run(0, 0, 0), ceiling)
    return sorted(found, key=lambda change: change[:3])


def _changes_in(part: str, uid: str, run: Run, ceiling: int) -> Plan[list[Change]]:
    """Those of one run; what was set at its end counts if older than what followed."""
    brought = yield STATE.brought(part=part, uid=uid, low=run.low, high=run.high)
    found = [Change(seq, version, False, _session_only(text)) for seq, version, text in brought]
    logged = yield STATE.logged(part=part, uid=uid, low=run.low, high=run.high)
    for seq, version, text, following in logged:
        limit = ceiling if seq == run.high else following
        if limit is None or version <= limit:
            found.append(Change(seq, version, True, _session_only(text)))
    return [change for change in found if change.delta]


def _version_at(part: str, uid: str, seq: int) -> Plan[int]:
    found = yield STATE.event_version(part=part, uid=uid, seq=seq)
    return found[0][0] if found else NO_SEQ


def _session_only(text: str) -> dict[str, Value]:
    delta = decode_delta(text, "a state delta")
    return {k: v for k, v in delta.items() if not k.startswith((APP_PREFIX, USER_PREFIX))}


def fold(found: Iterable[Change]) -> dict[str, Value]:
    """The values that the changes leave, without removed keys."""
    state: dict[str, Value] = {}
    for change in found:
        state.update(change.delta)
    return {key: value for key, value in state.items() if value is not DELETE}


def same(one: Value, other: Value) -> bool:
    """Whether two values are stored alike: True is not 1 there."""
    return encode_delta({"": one}, "state", _ALREADY_CHECKED) == encode_delta(
        {"": other}, "state", _ALREADY_CHECKED
    )


def restore(
    part: str, uid: str, wanted: dict[str, Value], touched: Iterable[str], limits: Limits, now: int
) -> Plan[None]:
    """Make the touched keys of the session scope what the wanted state has for them."""
    entries = [entry(key, wanted.get(key, DELETE), limits, "state") for key in touched]
    if entries:
        yield STATE.put.many(rows(part, uid, entries, now))


def log(
    part: str, uid: str, seq: int, version: int, delta: dict[str, Value], now: int
) -> Plan[None]:
    """Note a change that no event brings."""
    text = encode_delta(delta, "state", _ALREADY_CHECKED)
    yield STATE.log(part=part, uid=uid, seq=seq, version=version, delta=text, now=now)
