"""Artifacts: named files of a session or a user, in versions that never change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from perdure.errors import CorruptError, InvalidError, NotFoundError, TooLargeError
from perdure.features.blobs import ARTIFACTS, PIECE, Blob, Checked, blob_of, drop, piece, put
from perdure.features.cursors import check_limit, pack, paged, unpack
from perdure.features.holds import refuse_if_held
from perdure.features.hooks import passed
from perdure.features.line import Run
from perdure.features.lookup import Target, get, hold, target
from perdure.features.reading import positive
from perdure.features.scopes import USER_PREFIX
from perdure.operation import (
    Bumps,
    Emit,
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
    JSON,
    Artifact,
    ArtifactScope,
    LoadedArtifact,
    NewArtifact,
    Page,
    SessionKey,
    UserScope,
)
from perdure.values import Limits, check_text, decode, encode, from_micros

_DRIVE = re.compile("[A-Za-z]:")


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Some bytes; none at the end."""


ArtifactInput = bytes | bytearray | memoryview | _Readable | Iterable[bytes]


class _Named(NamedTuple):
    """An artifact that is asked for; of a session only its key is known before the plan."""

    part: str
    scope: ArtifactScope
    at: Target | None
    name: str
    now: int

    @property
    def what(self) -> str:
        """How errors speak of it."""
        return f"artifact {self.name!r} in {self.scope!r}"


class _Uid(NamedTuple):
    """What the rows hang on, and the head of the session."""

    uid: str
    head: int


class Artifacts(Feature[M]):
    """`store.artifacts`: files that an agent made or was given, in versions from 0 on.

    A scope is a `SessionKey` or a `UserScope`. A name that begins with ``user:`` is that of the
    user in either. Artifacts of a session go with it; its version does not change by them.
    """

    name = "artifacts"

    # -- writing -----------------------------------------------------------------------------

    @operation
    def save(
        self,
        scope: ArtifactScope,
        name: str,
        data: ArtifactInput,
        *,
        mime_type: str = "application/octet-stream",
        metadata: Mapping[str, JSON] | None = None,
    ) -> Work[Artifact]:
        """Store the bytes as the next version of that name; its record, with its number.

        ``data`` may also be a binary file or an iterable of bytes, which is read to its end
        first. The number is given in the transaction: no two callers share one, and that of a
        deleted version is not given again. Bytes that the same person has already are not
        stored again. Raises `NotFoundError` for a session that is not there, `InvalidError` for
        a name that could leave a folder, `TooLargeError` over the limit ``artifact``.
        """
        limits = self._settings.limits
        named = self._named(scope, name)
        given = _bytes(data, limits.artifact)
        new = NewArtifact(named.scope, named.name, given, mime_type, metadata or {})
        new = passed(new, self._settings)
        mime = check_text(new.mime_type, "mime_type", limits.text, blank=False)
        described = _metadata(new.metadata, limits)
        blob = blob_of(_bytes(new.data, limits.artifact))

        def work(bumps: Bumps) -> Plan[Artifact]:
            of = yield from _held(named, bumps)
            return (yield from _save(named, of, blob, mime, described))

        return work

    @operation
    def delete(self, scope: ArtifactScope, name: str, *, version: int | None = None) -> Work[bool]:
        """Remove one version, or with None all of them; whether there was something.

        Bytes that nothing else of the person has go with them, in the same transaction. The
        numbers are never given again. Raises `NotFoundError` for an unknown session, `DeniedError`
        while it, or its user, is held.
        """
        named = self._named(scope, name)
        positive(version, "version")

        def work(bumps: Bumps) -> Plan[bool]:
            of = yield from _held(named, bumps)
            yield from refuse_if_held(named.part, of.uid, f"delete artifact {named.name!r}")
            where = {"part": named.part, "uid": of.uid, "name": named.name}
            if not (yield ARTIFACTS.hold_name(**where)):
                return False
            if version is None:
                gone = yield ARTIFACTS.remove_all(**where)
            else:
                gone = yield ARTIFACTS.remove_version(**where, version=version)
            yield from drop(named.part, [digest for (digest,) in gone])
            return bool(gone)

        return Noted(work, (named.scope, named.name, version))

    # -- reading -----------------------------------------------------------------------------

    @reading
    def load(
        self, scope: ArtifactScope, name: str, *, version: int | None = None
    ) -> Work[LoadedArtifact]:
        """The bytes of a version (None: the latest), and its record; `NotFoundError`.

        They are checked against their digest: `CorruptError` if they are not what was saved.
        """
        named = self._named(scope, name)
        positive(version, "version")

        def work(_: Bumps) -> Plan[LoadedArtifact]:
            found = yield from _get(named, version)
            checked = Checked(found.sha256, found.size, f"{named.what}, version {found.version}")
            pieces = list[bytes]()
            while not checked.complete:
                some = yield from piece(named.part, found.sha256, len(pieces))
                if some is None:
                    break
                pieces.append(checked.take(some))
            checked.end()
            return LoadedArtifact(found, b"".join(pieces))

        return work

    @stream
    def pieces(
        self, scope: ArtifactScope, name: str, *, version: int | None = None
    ) -> Stream[bytes]:
        """The bytes of a version (None: the latest), at most a mebibyte at a time.

        Each piece is read when it is asked for. Raises as `load` does: `CorruptError` at the
        end, `NotFoundError` also when the version is deleted while it is read.
        """
        named = self._named(scope, name)
        positive(version, "version")
        found = yield from run(self._reading("pieces", lambda _: _get(named, version)))
        checked = Checked(found.sha256, found.size, f"{named.what}, version {found.version}")
        number = 0
        while not checked.complete:
            read = _reader(named.part, found.sha256, number)
            some = yield from run(self._reading("pieces", read))
            if some is None:
                # Raises if it was deleted meanwhile; if it is still there it is damaged.
                last = _reget(named, found.version)
                yield from run(self._reading("pieces", last))
                break
            yield Emit(checked.take(some))
            number += 1
        checked.end()

    @reading
    def get_version(
        self, scope: ArtifactScope, name: str, version: int | None = None
    ) -> Work[Artifact]:
        """The record of a version (None: the latest), without its bytes; `NotFoundError`."""
        named = self._named(scope, name)
        positive(version, "version")
        return lambda _: _get(named, version)

    @reading
    def find_version(
        self, scope: ArtifactScope, name: str, version: int | None = None
    ) -> Work[Artifact | None]:
        """The same, or None if there is no such version of that name."""
        named = self._named(scope, name)
        positive(version, "version")
        return lambda _: _find(named, version)

    @reading
    def versions(
        self, scope: ArtifactScope, name: str, *, cursor: str | None = None, limit: int = 100
    ) -> Work[Page[Artifact]]:
        """A page of the versions of a name, oldest first; empty if there are none."""
        named = self._named(scope, name)
        size = check_limit(limit, self._settings.limits.records)
        after = -1 if cursor is None else unpack(cursor, "artifact-versions", int)[0]

        def work(_: Bumps) -> Plan[Page[Artifact]]:
            of = yield from _seen(named)
            rows = yield ARTIFACTS.versions(
                part=named.part, uid=of.uid, name=named.name, after_version=after, limit=size + 1
            )
            items = [_artifact(named.scope, row) for row in rows[:size]]
            more = pack("artifact-versions", items[-1].version) if len(rows) > size else None
            return Page(items, more)

        return work

    @reading
    def list(
        self, scope: ArtifactScope, *, cursor: str | None = None, limit: int = 100
    ) -> Work[Page[Artifact]]:
        """A page of the scope's artifacts, each at its latest version, by name, bytewise.

        Those of a session are without those of its user.
        """
        named = self._scoped(scope, "")
        size = check_limit(limit, self._settings.limits.records)
        after = "" if cursor is None else unpack(cursor, "artifacts", str)[0]

        def work(_: Bumps) -> Plan[Page[Artifact]]:
            of = yield from _seen(named)
            rows = yield ARTIFACTS.list(
                part=named.part, uid=of.uid, after_name=after, limit=size + 1
            )
            items = [_artifact(named.scope, row) for row in rows[:size]]
            more = pack("artifacts", items[-1].name) if len(rows) > size else None
            return Page(items, more)

        return work

    @stream
    def iter(self, scope: ArtifactScope) -> Stream[Artifact]:
        """Every artifact of the scope, at its latest version, page after page."""
        return paged(lambda cursor: run(Artifacts.list.of(self, scope, cursor=cursor)))

    # -- checks ------------------------------------------------------------------------------

    def _named(self, scope: ArtifactScope, name: str) -> _Named:
        text = check_text(name, "artifact name", self._settings.limits.text, blank=False)
        if text.startswith(USER_PREFIX):
            text = text[len(USER_PREFIX) :]
            if isinstance(scope, SessionKey):
                scope = UserScope(scope.app, scope.user)
        return self._scoped(scope, _checked_name(text, name))

    def _scoped(self, scope: ArtifactScope, name: str) -> _Named:
        settings = self._settings
        limit, now = settings.limits.text, settings.clock()
        if isinstance(scope, UserScope):
            part = place(settings.tenant, scope.app, scope.user, limit).part
            return _Named(part, scope, None, name, now)
        if not isinstance(scope, SessionKey):
            message = f"artifacts are of a SessionKey or a UserScope, not of {scope!r}"
            raise InvalidError(message, "scope")
        at = target(settings.tenant, scope, limit, now)
        return _Named(at.part, at.key, at, name, now)


def _checked_name(text: str, given: str) -> str:
    """The name, if it stays in the folder that it would be written to."""
    if "\\" in text:
        reason = "backslashes are separators on some systems"
    elif text.startswith("/") or _DRIVE.match(text):
        reason = "it must not be absolute"
    elif not text.strip() or not {"", ".", ".."}.isdisjoint(text.split("/")):
        reason = "no part of it may be empty, '.' or '..'"
    else:
        return text
    raise InvalidError(f"artifact name {given!r} could leave its folder: {reason}", "name")


def _metadata(metadata: Mapping[str, JSON], limits: Limits) -> str:
    if not isinstance(metadata, Mapping):
        raise InvalidError(f"metadata must be a JSON object, not {metadata!r}", "metadata")
    return encode(dict(metadata), "metadata", limits.state, "state")


def _bytes(data: ArtifactInput, limit: int) -> bytes:
    """All of it, copied where the caller could still change it."""
    if isinstance(data, bytes | bytearray | memoryview):
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        _check_size(size, limit)
        return bytes(data)
    if isinstance(data, _Readable):
        return _joined(iter(lambda: data.read(PIECE), b""), limit)
    if isinstance(data, str) or not isinstance(data, Iterable):
        message = f"data must be bytes, a binary file or an iterable of bytes, not {_kind(data)}"
        raise InvalidError(message, "data")
    return _joined(data, limit)


def _joined(some: Iterable[Any], limit: int) -> bytes:
    joined = bytearray()
    for one in some:
        if not isinstance(one, bytes | bytearray | memoryview):
            message = f"data gave a {_kind(one)}, not bytes: open a file with mode 'rb'"
            raise InvalidError(message, "data")
        joined += one
        _check_size(len(joined), limit)
    return bytes(joined)


def _kind(value: object) -> str:
    return type(value).__qualname__


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        message = f"the artifact has {size} bytes or more, the limit 'artifact' is {limit}"
        raise TooLargeError(message, "artifact", "data")


def _held(named: _Named, bumps: Bumps) -> Plan[_Uid]:
    """The session, held until the end of the transaction."""
    if named.at is None:
        return _Uid("", 0)
    row = yield from hold(named.at, None, bumps)
    return _Uid(row.uid, row.head)


def _seen(named: _Named) -> Plan[_Uid]:
    if named.at is None:
        return _Uid("", 0)
    row = yield from get(named.at)
    return _Uid(row.uid, row.head)


def _save(named: _Named, of: _Uid, blob: Blob, mime_type: str, metadata: str) -> Plan[Artifact]:
    given = yield ARTIFACTS.next_version(part=named.part, uid=of.uid, name=named.name)
    version: int = given[0][0]
    yield from put(named.part, blob, named.now)
    size = len(blob.data)
    yield ARTIFACTS.add(
        part=named.part,
        uid=of.uid,
        name=named.name,
        version=version,
        seq=of.head,
        mime_type=mime_type,
        metadata=metadata,
        digest=blob.digest,
        size=size,
        now=named.now,
    )
    columns = (named.name, version, of.head, mime_type, metadata, blob.digest, size, named.now)
    return _artifact(named.scope, columns)


def _find(named: _Named, version: int | None) -> Plan[Artifact | None]:
    of = yield from _seen(named)
    where = {"part": named.part, "uid": of.uid, "name": named.name}
    if version is None:
        rows = yield ARTIFACTS.latest(**where)
    else:
        rows = yield ARTIFACTS.version(**where, version=version)
    return _artifact(named.scope, rows[0]) if rows else None


def _get(named: _Named, version: int | None) -> Plan[Artifact]:
    found = yield from _find(named, version)
    if found is None:
        which = "" if version is None else f" of version {version}"
        raise NotFoundError(f"no {named.what}{which}: `versions` gives those that there are")
    return found


def _reader(part: str, digest: str, number: int) -> Work[bytes | None]:
    return lambda _: piece(part, digest, number)


def _reget(named: _Named, version: int) -> Work[Artifact]:
    return lambda _: _get(named, version)


def _artifact(scope: ArtifactScope, row: Sequence[Any]) -> Artifact:
    name, version, seq, mime_type, metadata, digest, size, created_at = row
    what = f"artifact {name!r}, version {version}"
    described = decode(metadata, what)
    if not isinstance(described, dict):
        raise CorruptError(f"the stored metadata of {what} is damaged: no object")
    return Artifact(
        scope=scope,
        name=name,
        version=version,
        seq=seq,
        mime_type=mime_type,
        metadata=described,
        sha256=digest,
        size=size,
        created_at=from_micros(created_at),
    )


def copy(part: str, uid: str, new_uid: str, taken: Sequence[Run], pruned: int) -> Plan[None]:
    """Give a fork what had been saved as of its last event; the bytes are shared.

    ``taken`` are the runs of the line that are copied, latest first, ``pruned`` is the first
    event behind a prune (0: there was none). What was saved on another line stays there.
    """
    where = {"part": part, "uid": uid, "new_uid": new_uid}
    yield ARTIFACTS.copy_first(**where, high=max(pruned, 1))
    base = 1
    for some in reversed(taken):
        low = max(some.low, pruned)
        yield ARTIFACTS.copy(**where, base=base, low=low, high=some.high)
        base += some.high - low + 1
    yield ARTIFACTS.copy_names(part=part, new_uid=new_uid)
