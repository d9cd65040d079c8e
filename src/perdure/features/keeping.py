"""Keeping memories: what is the same, what takes whose place, what has to go.

Every plan here wants the owner held: then nobody else changes its memories meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from perdure.errors import ConflictError, NotFoundError, TooLargeError
from perdure.features.fulltext import drop, index, reindex, unindex
from perdure.features.memory_rows import (
    LOGGED,
    MEMORY,
    MemoryRow,
    Owner,
    digest_of,
    document_of,
    memory_of,
    row_as_it_was,
    was_of,
)
from perdure.operation import Plan, Settings
from perdure.parts import Place
from perdure.records import Memory, Remembered
from perdure.values import decode, digest, encode_trusted

#: Of a memory that was superseded: it is the same as no other, and can be told anew.
PAST = "past"
#: What the full-text index knows memories as.
KIND = "memories"


def hold(owner: Owner) -> Plan[None]:
    """Have the owner's memories for the rest of the transaction."""
    yield MEMORY.hold(part=owner.part, tenant=owner.tenant, app=owner.app, user_id=owner.user)


def find(owner: Owner, id: str) -> Plan[MemoryRow | None]:
    """The memory that has not expired, or None."""
    rows = yield MEMORY.find(part=owner.part, id=id, now=owner.now)
    return MemoryRow._make(rows[0]) if rows else None


def get(owner: Owner, id: str) -> Plan[MemoryRow]:
    """The memory; `NotFoundError`."""
    row = yield from find(owner, id)
    if row is None:
        where = f"app {owner.app!r}, user {owner.user!r}"
        raise NotFoundError(f"no memory {id!r} in {where}: it was deleted, expired or another's")
    return row


def held(owner: Owner, id: str) -> Plan[MemoryRow]:
    """The memory, with its owner held; `NotFoundError` before anything is written."""
    yield from get(owner, id)
    yield from hold(owner)
    return (yield from get(owner, id))


# -- adding ----------------------------------------------------------------------------------------


class Kept(NamedTuple):
    """The row that is there now, and whether it is new; None: it had been deleted before.

    ``stale``: the full-text index does not know of its topics yet.
    """

    row: MemoryRow | None
    new: bool
    stale: bool = False


def keep(owner: Owner, new: MemoryRow, settings: Settings, *, revive: bool) -> Plan[Kept]:
    """Store a memory, or add what is new of it to the one that is the same; not yet indexed.

    Without ``revive`` what was deleted stays so, and for what was corrected there is what it was
    corrected to.
    """
    found = yield from same(owner, new.digest)
    if found is not None:
        merged = yield from _merge(found, new, settings)
        return Kept(merged, False, stale=merged.topics != found.topics)
    buried = yield MEMORY.buried(part=owner.part, digest=new.digest)
    if buried and not revive:
        return Kept((yield from find(owner, buried[0][0])), False)
    if buried:
        yield MEMORY.revive(part=owner.part, digest=new.digest)
    yield MEMORY.insert(**new._asdict())
    return Kept(new, True)


def keep_all(owner: Owner, drafts: Sequence[MemoryRow], settings: Settings) -> Plan[list[Kept]]:
    """The same for several, none of which is brought back; indexed."""
    kept: list[Kept] = []
    for one in drafts:
        done = yield from keep(owner, one, settings, revive=False)
        kept.append(done)
    yield from index_kept(owner, kept)
    return kept


def index_kept(owner: Owner, kept: Sequence[Kept]) -> Plan[None]:
    """Have a search find what was kept, all of it in one block."""
    there = {one.row.id: one.row for one in kept if one.row is not None}
    new = {one.row.id for one in kept if one.row is not None and one.new}
    stale = {one.row.id for one in kept if one.row is not None and one.stale} - new
    yield from unindex(owner.part, KIND, stale)
    docs = [document_of(row) for row in there.values() if row.id in new | stale]
    yield from index(Place(owner.part, owner.app_part), KIND, docs, block=owner.block)


def remembered(
    owner: Owner, drafts: Sequence[MemoryRow], settings: Settings, events: int = 0
) -> Plan[Remembered]:
    """Store several, and say what became of them."""
    kept = yield from keep_all(owner, drafts, settings)
    new = [one.row.id for one in kept if one.row is not None and one.new]
    gone = yield from make_room(owner, new[-1:], settings)
    # Of one that stands twice among them the later row has what both brought.
    there = {one.row.id: one.row for one in kept if one.row is not None}
    rows = [memory_of(owner, row) for row in there.values() if row.id not in gone]
    return Remembered(
        tuple(one for one in rows if one.id in new),
        tuple(one for one in rows if one.id not in new),
        sum(one.row is None for one in kept),
        events,
    )


def same(owner: Owner, digest: str) -> Plan[MemoryRow | None]:
    """The memory of that digest; one that has expired makes room."""
    rows = yield MEMORY.same(part=owner.part, digest=digest)
    if not rows:
        return None
    row = MemoryRow._make(rows[0])
    if row.expires_at is not None and row.expires_at <= owner.now:
        yield from remove(row)
        return None
    return row


def _merge(found: MemoryRow, new: MemoryRow, settings: Settings) -> Plan[MemoryRow]:
    """Topics and keys of metadata that it lacks; being pinned; the longer of two lives."""
    what = f"memory {found.id!r}"
    topics = decode(found.topics, what)
    metadata = decode(found.metadata, what)
    merged = found._replace(
        topics=encode_trusted(list(dict.fromkeys([*topics, *decode(new.topics, what)]))),
        metadata=encode_trusted(metadata | _lacking(metadata, decode(new.metadata, what))),
        pinned=max(found.pinned, new.pinned),
        expires_at=_later(found.expires_at, new.expires_at),
    )
    size = len(merged.metadata.encode())
    if size > settings.limits.state:
        message = f"metadata grows to {size} bytes of JSON, the limit is {settings.limits.state}"
        raise TooLargeError(message, "state", "metadata")
    return (yield from write(found, merged, new.updated_at))


def _lacking(there: dict[str, object], given: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in given.items() if key not in there}


def _later(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


# -- changing --------------------------------------------------------------------------------------


def write(row: MemoryRow, changed: MemoryRow, now: int) -> Plan[MemoryRow]:
    """Store the changed row, and what it was; nothing if it is as it was."""
    if changed == row:
        return row
    changed = changed._replace(version=row.version + 1, updated_at=now)
    yield MEMORY.log(part=row.part, id=row.id, version=row.version, was=was_of(row))
    columns = {name: getattr(changed, name) for name in LOGGED}
    yield MEMORY.change(
        part=row.part,
        id=row.id,
        digest=changed.digest,
        same_by=changed.same_by,
        version=changed.version,
        **columns,
    )
    return changed


def change(owner: Owner, row: MemoryRow, changed: MemoryRow) -> Plan[MemoryRow]:
    """The row with a change by hand; `ConflictError` if another memory says the same."""
    # Not if nothing of it has changed: one that superseded another is known by what was added.
    if row.same_by == "content" and digest_of(changed) != digest_of(row):
        changed = changed._replace(digest=digest_of(changed))
    if changed.digest != row.digest:
        other = yield from same(owner, changed.digest)
        if other is not None:
            message = (
                f"memory {other.id!r} says the same already: delete {row.id!r}, or supersede it"
            )
            raise ConflictError(message)
        yield MEMORY.revive(part=owner.part, digest=changed.digest)
        # What was corrected is not to be learnt again from the same conversation.
        yield from bury(owner, row, heir=row.id)
    if (changed.text, changed.topics) != (row.text, row.topics):
        where = Place(owner.part, owner.app_part)
        yield from reindex(where, KIND, document_of(changed), block=owner.block)
    return (yield from write(row, changed, owner.now))


def supersede(owner: Owner, row: MemoryRow, by: MemoryRow, at: int | None) -> Plan[MemoryRow]:
    """Let one memory take the place of another, from a moment on."""
    _check_succession(row, by)
    moment = _succession(row, by, owner.now) if at is None else at
    if by.valid_from is None:
        # Its digest stays: it is known by what was said when it was added.
        yield from write(by, by._replace(valid_from=_before(moment, by.valid_until)), owner.now)
    until = moment if row.valid_until is None else min(moment, row.valid_until)
    if row.valid_from is not None:
        # What was to hold only later never does.
        until = max(until, row.valid_from)
    if row.same_by != PAST:
        yield from bury(owner, row, heir=row.id)
    past = row._replace(
        superseded_by=by.id,
        valid_until=until,
        same_by=PAST,
        digest=digest(PAST, row.id),
    )
    return (yield from write(row, past, owner.now))


def _succession(row: MemoryRow, by: MemoryRow, now: int) -> int:
    """When the other one begins to hold, if this one held before; else now."""
    if by.valid_from is None or (row.valid_from is not None and by.valid_from <= row.valid_from):
        return now
    return by.valid_from


def _before(moment: int, end: int | None) -> int | None:
    """From when the successor holds; None if its time is over by then."""
    return moment if end is None or moment < end else None


def _check_succession(row: MemoryRow, by: MemoryRow) -> None:
    if row.id == by.id:
        raise ConflictError(f"memory {row.id!r} cannot supersede itself")
    if by.superseded_by is not None:
        message = f"memory {by.id!r} was superseded by {by.superseded_by!r}: name that one"
        raise ConflictError(message)


# -- removing --------------------------------------------------------------------------------------


def bury(owner: Owner, row: MemoryRow, heir: str = "") -> Plan[None]:
    """Note that no ingestion is to bring this back, and which memory it lives on in."""
    yield MEMORY.bury(part=owner.part, digest=row.digest, heir=heir, now=owner.now)


def remove(row: MemoryRow) -> Plan[None]:
    """Remove a memory, with what it once was and all that it is found by."""
    yield MEMORY.remove(part=row.part, id=row.id)
    yield from unindex(row.part, KIND, [row.id])


def delete(owner: Owner, id: str) -> Plan[bool]:
    """Remove a memory for good; whether it was there."""
    if (yield from find(owner, id)) is None:
        return False
    yield from hold(owner)
    row = yield from find(owner, id)
    if row is None:
        return False
    if row.same_by != PAST:
        yield from bury(owner, row)
    yield from remove(row)
    return True


def clear(owner: Owner) -> Plan[int]:
    """Remove all memories for good; how many there were."""
    yield from hold(owner)
    rows = [MemoryRow._make(row) for row in (yield MEMORY.every(part=owner.part))]
    graves = [(owner.part, row.digest, "", owner.now) for row in rows if row.same_by != PAST]
    if graves:
        yield MEMORY.bury.many(sorted(graves))
    yield MEMORY.remove_all(part=owner.part)
    yield from drop(owner.part, KIND)
    return sum(row.expires_at is None or row.expires_at > owner.now for row in rows)


def replace(
    owner: Owner, session: str, drafts: Sequence[MemoryRow], settings: Settings
) -> Plan[list[Memory]]:
    """Make the memories of a session these: the same ones stay as they are, the others go."""
    yield from hold(owner)
    kept = yield from keep_all(owner, drafts, settings)
    there = {one.row.id: one.row for one in kept if one.row is not None}
    rows = yield MEMORY.of_session(part=owner.part, session_id=session, now=owner.now)
    for row in map(MemoryRow._make, rows):
        if row.id not in there:
            yield from remove(row)
    gone = yield from make_room(owner, list(there)[-1:], settings)
    return [memory_of(owner, row) for row in there.values() if row.id not in gone]


def make_room(owner: Owner, new: Sequence[str], settings: Settings) -> Plan[set[str]]:
    """What the limit of an owner takes away, never the new one if there is one: the ids."""
    limit = settings.memory_limit
    if not limit or not new:
        return set()
    for row in (yield MEMORY.expired_of(part=owner.part, now=owner.now)):
        yield from remove(MemoryRow._make(row))
    [(count,)] = yield MEMORY.count(part=owner.part, now=owner.now, as_of=None)
    if count <= limit:
        return set()
    gone = set()
    for found in (yield MEMORY.spare(part=owner.part, id=new[0], limit=count - limit)):
        row = MemoryRow._make(found)
        yield from remove(row)
        gone.add(row.id)
    return gone


# -- the past --------------------------------------------------------------------------------------


def history(owner: Owner, id: str) -> Plan[list[Memory]]:
    """Every version of a memory, oldest first; the last one is as it is now."""
    row = yield from get(owner, id)
    logged = yield MEMORY.logged(part=owner.part, id=id)
    past = [row_as_it_was(row, version, was) for version, was in logged]
    return [memory_of(owner, version) for version in [*past, row]]


def forget_event(part: str, session: str, event_id: str, now: int) -> Plan[None]:
    """Remove the memories that were made of an event, and let nobody make them again."""
    found = yield MEMORY.of_event(part=part, session_id=session, event_id=event_id)
    if not found:
        return
    yield MEMORY.take_owner(part=part)
    for columns in (yield MEMORY.of_event(part=part, session_id=session, event_id=event_id)):
        row = MemoryRow._make(columns)
        yield MEMORY.bury(part=part, digest=row.digest, heir="", now=now)
        yield from remove(row)


def remove_expired(now: int, limit: int) -> Plan[int]:
    """Remove some of those that have expired, whoever's they are; how many were looked at."""
    found = yield MEMORY.expired(now=now, limit=limit)
    for part, memory_id in sorted(found):
        yield from forget_expired(part, memory_id, now)
    return len(found)


def forget_expired(part: str, memory_id: str, now: int) -> Plan[None]:
    """Remove a memory if it has expired, with all that it is found by."""
    yield MEMORY.take_owner(part=part)
    if (yield MEMORY.remove_if_expired(part=part, id=memory_id, now=now)):
        yield from unindex(part, KIND, [memory_id])
