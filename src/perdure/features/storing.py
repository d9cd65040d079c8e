"""Key-values as rows: what is asked for, what is written, what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from perdure.errors import ConflictError, InvalidError, NotFoundError, PerdureError
from perdure.features import documents, paths
from perdure.features.describing import micros
from perdure.features.holds import refuse_if_held
from perdure.features.hooks import passed
from perdure.features.memory_rows import Owner
from perdure.features.namespaces import Place, check_room, decoded, encoded
from perdure.operation import Bumps, Plan, Settings, Work
from perdure.parts import place
from perdure.records import DELETE, KeyValue, Marker, Namespace, NewKeyValue, Opaque
from perdure.sql import load
from perdure.values import (
    Payload,
    check_text,
    from_micros,
    from_payload,
    maybe,
    payload,
    to_micros,
)

KEYVALUES = load("perdure.features", "keyvalues.sql")

#: The parameters of a statement for several keys.
_KEYS = tuple(f"key_{letter}" for letter in "abcdefghijklmnop")
#: The codec of bytes that were given as they are: an `Opaque` has to name one.
_BARE = ""


class At(NamedTuple):
    """A key that is asked for: its place, and the time of the call."""

    part: str
    namespace: str
    key: str
    now: int

    @property
    def columns(self) -> dict[str, Any]:
        """The parameters of what goes by the time as well."""
        return self._asdict()

    @property
    def columns_of_key(self) -> dict[str, Any]:
        """The parameters of what does not."""
        return {"part": self.part, "namespace": self.namespace, "key": self.key}

    @property
    def place(self) -> Place:
        """Where it stands in the order of keys."""
        return self.namespace, self.key

    def __str__(self) -> str:
        return f"key {self.key!r} in {decoded(self.namespace)!r}"


class New(NamedTuple):
    """What is to stand there, as columns."""

    value: str | None
    codec: str | None
    data: bytes | None
    text: str
    ttl: int | None
    expires_at: int | None


class KeyValueRow(NamedTuple):
    """A row, in the order of `columns` in keyvalues.sql."""

    namespace: str
    key: str
    value: str | None
    codec: str | None
    data: bytes | None
    version: int
    created_at: int
    updated_at: int
    ttl: int | None
    expires_at: int | None

    @property
    def place(self) -> Place:
        """Where it stands in the order of keys."""
        return self.namespace, self.key

    def renewed(self, now: int) -> KeyValueRow:
        """The same with its time to live begun again."""
        return self if self.ttl is None else self._replace(expires_at=now + self.ttl)

    @property
    def content(self) -> Any:
        """The value."""
        if self.codec == _BARE and self.data is not None:
            return self.data
        return from_payload(self.value, self.codec, self.data, f"the value of {self.key!r}")

    @property
    def record(self) -> KeyValue:
        """What the caller gets."""
        return KeyValue(
            namespace=decoded(self.namespace),
            key=self.key,
            value=self.content,
            version=self.version,
            created_at=from_micros(self.created_at),
            updated_at=from_micros(self.updated_at),
            expires_at=maybe(from_micros, self.expires_at),
        )


# -- checks ----------------------------------------------------------------------------------


def part_of(settings: Settings, app: str, user: str) -> str:
    """Where the key-values of a user are; without a user those of the app, which is nobody's."""
    where = place(settings.tenant, app, user, settings.limits.text)
    return where.part if user else where.app_part


def target(settings: Settings, namespace: Namespace, key: str, app: str, user: str, now: int) -> At:
    """The checked place of a key; `InvalidError`."""
    part = part_of(settings, app, user)
    stored = encoded(namespace, settings.limits.text)
    checked = check_text(key, "key", settings.limits.text)
    check_room(stored, checked)
    return At(part, stored, checked, now)


def new(settings: Settings, at: At, value: Any, ttl: timedelta | None, index: Sequence[str]) -> New:
    """The checked columns of a value, as `on_write` gives it; `InvalidError`."""
    lifetime = None if ttl is None else micros(ttl, "key")
    if settings.on_write is not None:
        value = passed(NewKeyValue(decoded(at.namespace), at.key, value), settings).value
    text, codec, data = _payload(value, settings.limits.event)
    words = ""
    wanted = paths.parsed(index, settings.limits.text)
    if wanted:
        if text is None:
            raise InvalidError("index names paths of JSON, and the value is bytes", "index")
        words = paths.text_at(value, wanted)
    expires_at = None if lifetime is None else at.now + lifetime
    return New(text, codec, data, words, lifetime, expires_at)


def beside(settings: Settings, at: At, given: Any, ttl: timedelta | None) -> tuple[At, New]:
    """The checked place and columns of what is written beside a key; `InvalidError`."""
    match given:
        case (namespace, value) if isinstance(given, tuple):
            stored = encoded(namespace, settings.limits.text)
        case _:
            raise InvalidError(f"beside is a namespace and a value, not {given!r}", "beside")
    check_room(stored, at.key)
    other = at._replace(namespace=stored)
    if other == at:
        raise InvalidError(f"beside names the namespace {namespace!r} of the value", "beside")
    return other, new(settings, other, value, ttl, ())


def _payload(value: Any, limit: int) -> Payload:
    if type(value) is not bytes:
        return payload(value, "value", limit)
    # Checked as an Opaque, which has to name a codec, and this has none.
    *_, data = payload(Opaque("bytes", value), "value", limit)
    return None, _BARE, data


# -- plans -----------------------------------------------------------------------------------


def find(at: At, refresh: bool = False) -> Plan[KeyValueRow | None]:
    """The live row, or None; its time to live begun again where that is asked for."""
    if refresh:
        rows = yield KEYVALUES.renew(**at.columns, expected=None)
    else:
        rows = yield KEYVALUES.find(**at.columns)
    return KeyValueRow._make(rows[0]) if rows else None


def find_many(places: Sequence[At], refresh: bool) -> Plan[list[KeyValueRow]]:
    """The live rows of several keys of one namespace."""
    found = []
    if refresh:
        for at in places:
            row = yield from find(at, refresh)
            found += [row] if row else []
        return found
    for some in _some(places):
        rows = yield KEYVALUES.find_some(**some, now=places[0].now)
        found += [KeyValueRow._make(row) for row in rows]
    return found


def delete_many(places: Sequence[At]) -> Plan[int]:
    """Remove several keys of one namespace; how many were there."""
    removed = 0
    if places:
        yield from refuse_if_held(places[0].part, "", f"delete key-values of {places[0].key!r}")
    for some in _some(places):
        rows = yield KEYVALUES.delete_some(**some)
        removed += sum(end is None or end > places[0].now for _, end, _ in rows)
        gone = [(some["namespace"], key) for key, _, text in rows if text]
        yield from documents.forget(some["part"], gone)
    return removed


def _some(places: Sequence[At]) -> Iterator[dict[str, str]]:
    """The parameters of statements for so many keys at a time."""
    for start in range(0, len(places), len(_KEYS)):
        keys = [at.key for at in places[start : start + len(_KEYS)]]
        keys += keys[-1:] * (len(_KEYS) - len(keys))
        where = {"part": places[0].part, "namespace": places[0].namespace}
        yield where | dict(zip(_KEYS, keys, strict=True))


def get(at: At, refresh: bool) -> Plan[KeyValue]:
    """The live record; `NotFoundError`."""
    row = yield from find(at, refresh)
    if row is None:
        raise NotFoundError(f"no {at}: it was never set, was deleted or has expired")
    return row.record


def touch(at: At, ttl: timedelta | Marker | None, expected: int | None) -> Work[bool]:
    """Another end, and nothing else; whether there is something."""
    if ttl is None:
        statement = KEYVALUES.renew(**at.columns, expected=expected)
    else:
        lifetime = None if ttl is DELETE else micros(ttl, "key")
        expires_at = None if lifetime is None else at.now + lifetime
        statement = KEYVALUES.retime(
            **at.columns, ttl=lifetime, expires_at=expires_at, expected=expected
        )

    def work(_: Bumps) -> Plan[bool]:
        return bool((yield statement)) or (yield from _absent(at, expected))

    return work


def delete(at: At, expected: int | None) -> Plan[bool]:
    """Remove it; whether there was something."""
    yield from refuse_if_held(at.part, "", f"delete key-value {at.key!r}")
    rows = yield KEYVALUES.delete(**at.columns_of_key, expected=expected)
    if not rows:
        return (yield from _absent(at, expected))
    [(expires_at, text)] = rows
    if text:
        yield from documents.forget(at.part, [at.place])
    return expires_at is None or expires_at > at.now


def _absent(at: At, expected: int | None) -> Plan[bool]:
    """False where there is nothing; `ConflictError` where it is at another version."""
    if expected is not None and (yield from find(at)) is not None:
        raise (yield from conflict(at, expected))
    return False


def put(at: At, value: New, expected: int | None, owner: Owner) -> Plan[KeyValue]:
    """Write the value; `ConflictError` if it must be at a version and is not."""
    if expected:
        columns = {name: part for name, part in value._asdict().items() if name != "text"}
        rows = yield KEYVALUES.put_expected(**at.columns, **columns, expected=expected)
    elif expected == 0:
        rows = yield KEYVALUES.add(**at.columns, **value._asdict(), version=_first(at))
    else:
        rows = yield from _put(at, value)
    if not rows:
        raise (yield from conflict(at, expected))
    return (yield from _indexed(at, value, rows[0], owner))


def put_both(
    at: At, value: New, expected: int | None, owner: Owner, other: tuple[At, New]
) -> Plan[KeyValue]:
    """Write the value, and the other one beside it at the version that it has got."""
    done = yield from put(at, value, expected, owner)
    where, made = other
    same = {"version": done.version, "created_at": to_micros(done.created_at, "created_at")}
    [row] = yield KEYVALUES.put_beside(**where.columns, **made._asdict(), **same)
    yield from _indexed(where, made, row, owner)
    return done


def _indexed(at: At, value: New, row: Sequence[Any], owner: Owner) -> Plan[KeyValue]:
    """The record of what was written, with the index brought to what it says."""
    *moments, text = row
    if text != value.text:
        yield KEYVALUES.set_text(**at.columns_of_key, text=value.text)
    if text or value.text:
        yield from documents.keep(owner, at.place, value.text)
    return stored(at, value, moments)


def _put(at: At, value: New) -> Plan[Any]:
    rows: Any = ()
    while not rows:
        # Either there is a live one or none, or an expired one: others may change which it is.
        for query in (KEYVALUES.put, KEYVALUES.add):
            rows = rows or (yield query(**at.columns, **value._asdict(), version=_first(at)))
    return rows


def put_many(values: Sequence[tuple[At, New]], owner: Owner) -> Plan[int]:
    """Write several values of one namespace; how many."""
    if not values:
        return 0
    yield KEYVALUES.drop_expired.many([tuple(at) for at, _ in values])
    yield from _put_rows(values)
    # The rows are held now: what of them is indexed was so before this looks.
    texts = [(at.place, new.text) for at, new in values if new.text]
    if texts or (yield KEYVALUES.any_indexed(part=owner.part, kind=documents.KIND)):
        known = yield from _settled(values)
        yield from documents.keep_all(owner, known, texts)
    return len(values)


def _put_rows(values: Sequence[tuple[At, New]]) -> Plan[None]:
    yield KEYVALUES.put_many.many(
        [
            (at.part, at.namespace, at.key, *new[:4], _first(at), at.now, *new[4:])
            for at, new in values
        ]
    )


def _settled(values: Sequence[tuple[At, New]]) -> Plan[list[Place]]:
    """Give the rows their new texts; those that had one, and may be in the index by it."""
    found: dict[str, str] = {}
    expired: set[str] = set()
    for some in _some([at for at, _ in values]):
        for key, text, end in (yield KEYVALUES.texts_of_some(**some)):
            found[key] = text
            expired |= {key} if end is not None and end <= values[0][0].now else set()
    again = [(at, new) for at, new in values if at.key in expired]
    if again:
        for at, _ in again:
            yield KEYVALUES.expire(**at.columns)
        yield from _put_rows(again)
    other = [
        (new.text, at.part, *at.place)
        for at, new in values
        if at.key not in expired and found.get(at.key, "") != new.text
    ]
    if other:
        yield KEYVALUES.set_text.many(other)
    return [at.place for at, _ in values if at.key in found]


def expire(part: str, namespace: str, key: str, now: int) -> Plan[None]:
    """Remove it if it has expired, also from the index."""
    gone = yield KEYVALUES.expire(part=part, namespace=namespace, key=key, now=now)
    if any(text for (text,) in gone):
        yield from documents.forget(part, [(namespace, key)])


def add(at: At, value: New, owner: Owner) -> Plan[KeyValue | None]:
    """Write the value where there is none; None where there is one."""
    rows = yield KEYVALUES.add(**at.columns, **value._asdict(), version=_first(at))
    return (yield from _indexed(at, value, rows[0], owner)) if rows else None


def _first(at: At) -> int:
    """The version of a new key: no earlier life of the key has come so far."""
    return max(at.now, 1)


def stored(at: At, value: New, row: Sequence[int]) -> KeyValue:
    """The record of what was written."""
    version, created_at = row
    columns = (at.namespace, at.key, value.value, value.codec, value.data)
    moments = (created_at, at.now, value.ttl, value.expires_at)
    return KeyValueRow(*columns, version, *moments).record


def conflict(at: At, expected: int | None) -> Plan[PerdureError]:
    """Why a key was not at the expected version."""
    row = yield from find(at)
    if row is None:
        return ConflictError(f"{at} is not there, version {expected} was expected: read it again")
    return ConflictError(
        f"{at} was changed by another writer: it is at version {row.version}, "
        f"{expected} was expected; read it again"
    )
