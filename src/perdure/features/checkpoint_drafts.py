"""What is given to a put, checked and encoded before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from perdure.errors import InvalidError, TooLargeError
from perdure.features.checkpoint_bodies import Value, Version, named, namespace_key
from perdure.features.checkpoint_puts import Draft, Given, Late, WriteRow, Written
from perdure.features.hooks import passed
from perdure.features.lineages import Linked
from perdure.features.lookup import target
from perdure.operation import Settings
from perdure.parts import lineage_part, place
from perdure.records import (
    JSON,
    CheckpointKey,
    NewCheckpoint,
    NewTaskWrites,
    NewWrite,
    Opaque,
    SessionKey,
)
from perdure.values import check_text, digest, encode, encode_trusted, payload

#: What a checkpoint without metadata has.
METADATA: Mapping[str, JSON] = {"source": "update", "step": 0}
_MOST_INDEX = 2**63
_VERSION_DIGITS = 24
_DIGEST_DIGITS = 16
NOTHING_WRITTEN = Written("", "", (), replacing=False)

Parent = str | CheckpointKey | None


class Place:
    """A checked namespace of a lineage."""

    __slots__ = ("lineage", "namespace", "ns", "part", "settings")

    def __init__(self, settings: Settings, lineage: str, namespace: str) -> None:
        limits = settings.limits
        self.settings = settings
        self.part = lineage_part(settings.tenant, lineage, limits.text)
        self.lineage = lineage
        self.namespace = check_namespace(settings, namespace)
        self.ns = namespace_key(namespace)


def check_namespace(settings: Settings, namespace: str) -> str:
    """The namespace, if it can be one; any text of up to 1,024 bytes, also none."""
    limit = settings.limits.namespace
    text = check_text(namespace, "namespace", 2**62)
    if len(text.encode()) > limit:
        message = f"namespace is {len(text.encode())} bytes, the limit 'namespace' is {limit}"
        raise TooLargeError(message, "namespace", "namespace")
    return text


def check_id(settings: Settings, id: str) -> str:
    """The id of a checkpoint, if it can be one."""
    return check_text(id, "checkpoint id", settings.limits.text, blank=False)


def _fence(fence: bool | int) -> bool | int:
    if not isinstance(fence, int) or fence < 0:
        message = f"fence is True, False or that of a lease, not {fence!r}"
        raise InvalidError(message, "fence")
    return fence


def draft(
    at: Place,
    payload_: JSON | Opaque,
    id: str | None,
    *,
    parent: Parent,
    metadata: Mapping[str, JSON] | None,
    versions: Mapping[str, Version] | None,
    values: Mapping[str, JSON | Opaque] | None,
    deltas: Collection[str] = (),
    needs_parent: bool = False,
    written: Written = NOTHING_WRITTEN,
    owner: tuple[str, str] | None,
    session: SessionKey | None,
    fence: bool | int,
) -> Draft:
    """The checked put; `InvalidError`, `TooLargeError`."""
    settings = at.settings
    limit = settings.limits.checkpoint
    now = settings.clock()
    name = settings.ids() if id is None else check_id(settings, id)
    stored_metadata = METADATA if metadata is None else metadata
    _check_mapping("metadata", stored_metadata)
    _check_mapping("versions", versions or {})
    _check_mapping("values", values or {})
    if settings.on_write is not None:
        key = CheckpointKey(at.lineage, at.namespace, name)
        new = NewCheckpoint(key, payload_, dict(stored_metadata), dict(values or {}))
        new = passed(new, settings)
        payload_, stored_metadata, values = new.payload, new.metadata, new.values
    body = value_of(payload_, "payload", limit)
    given = _channels(at, dict(versions or {}), dict(values or {}), deltas, limit)
    text = encode(dict(stored_metadata), "metadata", settings.limits.state, "state")
    _check_size(body, given, written, limit)
    parent_ns, parent_id = _parent(at, parent)
    return Draft(
        part=at.part,
        ns=at.ns,
        namespace=at.namespace,
        tenant=settings.tenant,
        lineage=at.lineage,
        id=name,
        parent_ns=parent_ns,
        parent=parent_id,
        digest=_digest(text, body, given, parent_ns, parent_id),
        run=run_digest(settings.tenant, stored_metadata.get("run_id")),
        metadata=text,
        codec=body.codec,
        payload=body.data,
        channels=given,
        seed=settings.ids(),
        now=now,
        writes=written,
        fence=_fence(fence),
        linked=linked(settings, owner, session, now),
        needs_parent=needs_parent,
    )


def _check_mapping(what: str, given: object) -> None:
    # Most are dicts, and to ask an abstract class takes a microsecond.
    if type(given) is not dict and not isinstance(given, Mapping):
        raise InvalidError(f"{what} maps names to values, not {given!r}", what)


def value_of(value: JSON | Opaque, path: str, limit: int) -> Value:
    """The value as bytes."""
    text, codec, data = payload(value, path, limit, "checkpoint")
    if text is not None:
        return Value(None, text.encode())
    return Value(codec, data or b"")


def _channels(
    at: Place,
    versions: dict[str, Version],
    values: dict[str, JSON | Opaque],
    deltas: Collection[str],
    limit: int,
) -> dict[str, Given]:
    given = {}
    for name in {**versions, **values}:
        check_text(name, "channel", at.settings.limits.text)
        value = value_of(values[name], f"values[{name!r}]", limit) if name in values else None
        version = versions.get(name)
        if version is None:
            if value is None:
                raise InvalidError(
                    f"versions[{name!r}] is None, and there is no value: name a version", "versions"
                )
            version = digest("json" if value.codec is None else f"={value.codec}", value.data)
            version = version[:_VERSION_DIGITS]
        else:
            version = _version(version, name, at.settings.limits.text)
        given[name] = Given(version, named(at.ns, name, version), value)
    return _deltas(given, deltas) if deltas else given


def _deltas(given: dict[str, Given], deltas: Collection[str]) -> dict[str, Given]:
    unknown = [deltas] if isinstance(deltas, str) else set(deltas) - given.keys()
    if unknown:
        message = f"deltas has {unknown!r}: it is a list of channels that versions names"
        raise InvalidError(message, "deltas")
    return {**given, **{name: given[name]._replace(delta=True) for name in deltas}}


def _version(version: Any, name: str, limit: int) -> Version:
    if isinstance(version, str):
        return check_text(version, f"versions[{name!r}]", limit)
    if isinstance(version, bool) or not isinstance(version, int):
        message = f"versions[{name!r}] is {version!r}: a version is a text or a whole number"
        raise InvalidError(message, "versions")
    return int(version)


def _check_size(body: Value, given: Mapping[str, Given], written: Written, limit: int) -> None:
    size = len(body.data) + sum(len(one.value.data) for one in given.values() if one.value)
    size += writes_size(written)
    if size > limit:
        message = f"the checkpoint is {size} bytes, the limit 'checkpoint' is {limit}"
        raise TooLargeError(message, "checkpoint")


def writes_size(written: Written) -> int:
    """How many bytes the writes have."""
    return sum(
        len(data if data is not None else (text or "").encode())
        for text, _, data in (row.payload for row in written.rows)
    )


def _parent(at: Place, parent: Parent) -> tuple[str | None, str | None]:
    """Namespace (None: the same) and id of the parent."""
    if parent is None:
        return None, None
    if isinstance(parent, str):
        return None, check_id(at.settings, parent)
    if not isinstance(parent, CheckpointKey):
        raise InvalidError(f"parent is an id or a CheckpointKey, not {parent!r}", "parent")
    if parent.lineage != at.lineage:
        message = f"the parent {parent!r} is in another lineage: copy_lineage takes it over"
        raise InvalidError(message, "parent")
    namespace = check_namespace(at.settings, parent.namespace)
    other = None if namespace == at.namespace else namespace
    return other, check_id(at.settings, parent.id)


def _digest(
    metadata: str,
    body: Value,
    given: Mapping[str, Given],
    parent_ns: str | None,
    parent: str | None,
) -> str:
    """Of everything that was given: what tells a retry from another put."""
    texts: list[str | bytes] = [encode_trusted([metadata, body.codec, parent_ns, parent])]
    texts.append(body.data)
    for name, one in given.items():
        codec = one.value.codec if one.value else None
        texts.append(encode_trusted([name, str(one.version), type(one.version).__name__, codec]))
        empty = b"~" if one.delta else b"-"
        texts.append(empty if one.value is None else b"+" + one.value.data)
    return digest(*texts)[:_DIGEST_DIGITS]


def run_digest(tenant: str, run_id: JSON) -> str | None:
    """What a run is found by."""
    if not isinstance(run_id, str) or not run_id:
        return None
    return digest("run", tenant, run_id)[:_DIGEST_DIGITS]


def linked(
    settings: Settings, owner: tuple[str, str] | None, session: SessionKey | None, now: int
) -> Linked | None:
    """Whose the lineage is to be, checked."""
    if session is not None:
        at = target(settings.tenant, session, settings.limits.text, now)
        if owner is not None and tuple(owner) != (at.key.app, at.key.user):
            raise InvalidError(f"owner {owner!r} is not whose session {session!r} is", "owner")
        return Linked(at.part, at.key.app, at.key.user, at)
    if owner is None:
        return None
    if not isinstance(owner, tuple) or len(owner) != 2:  # noqa: PLR2004 - app and user
        raise InvalidError(f"owner is (app, user), not {owner!r}", "owner")
    app, user = owner
    where = place(settings.tenant, app, user, settings.limits.text)
    return Linked(where.part, app, user, None)


def written(
    settings: Settings,
    lineage: str,
    task: str,
    writes: Sequence[NewWrite | tuple[str, JSON | Opaque]],
    task_path: str,
    on_duplicate: str,
) -> Written:
    """The checked writes of a task; of two with one index the rule for retries says which stays."""
    if on_duplicate not in {"keep", "replace"}:
        message = f"on_duplicate is 'keep' or 'replace', not {on_duplicate!r}"
        raise InvalidError(message, "on_duplicate")
    limits = settings.limits
    check_text(task, "task", limits.text, blank=False)
    check_text(task_path, "task_path", limits.title)
    if len(writes) > limits.records:
        message = f"{len(writes)} writes in one call, the limit 'records' is {limits.records}"
        raise TooLargeError(message, "records", "writes")
    new: Sequence[NewWrite] = [_new(place_, one) for place_, one in enumerate(writes)]
    if settings.on_write is not None:
        new = passed(NewTaskWrites(lineage, task, new), settings).writes
    rows: dict[int, WriteRow] = {}
    for place_, one in enumerate(new):
        row = _write(settings, place_, one)
        if row.idx not in rows or row.idx < 0 or on_duplicate == "replace":
            rows[row.idx] = row
    return Written(task, task_path, list(rows.values()), on_duplicate == "replace")


def _new(place_: int, given: Any) -> NewWrite:
    if isinstance(given, NewWrite):
        return given
    if not isinstance(given, tuple | list) or len(given) != 2:  # noqa: PLR2004 - a pair
        message = f"writes[{place_}] is a NewWrite, or channel and value, not {given!r}"
        raise InvalidError(message, "writes")
    return NewWrite(*given)


def _write(settings: Settings, place_: int, one: NewWrite) -> WriteRow:
    idx = place_ if one.index is None else one.index
    if isinstance(idx, bool) or not isinstance(idx, int) or abs(idx) >= _MOST_INDEX:
        raise InvalidError(f"writes[{place_}].index is {idx!r}, not a whole number", "writes")
    limits = settings.limits
    channel = check_text(one.channel, f"writes[{place_}].channel", limits.text)
    return WriteRow(
        idx, channel, payload(one.value, f"writes[{place_}].value", limits.checkpoint, "checkpoint")
    )


def late(
    at: Place,
    id: str,
    of: Written,
    owner: tuple[str, str] | None,
    session: SessionKey | None,
    *,
    fence: bool | int,
) -> Late:
    """The checked writes for a checkpoint; `InvalidError`, `TooLargeError`."""
    settings = at.settings
    size, limit = writes_size(of), settings.limits.checkpoint
    if size > limit:
        message = f"the writes are {size} bytes, the limit 'checkpoint' is {limit}"
        raise TooLargeError(message, "checkpoint", "writes")
    now = settings.clock()
    return Late(
        part=at.part,
        ns=at.ns,
        namespace=at.namespace,
        tenant=settings.tenant,
        lineage=at.lineage,
        id=check_id(settings, id),
        seed=settings.ids(),
        now=now,
        writes=of,
        fence=_fence(fence),
        linked=linked(settings, owner, session, now),
    )
