"""The directory in which PicoClaw keeps its sessions.

A session is a log, ``NAME.jsonl``, with a message a line, and ``NAME.meta.json`` with its key,
its summary, and how many lines of the log are truncated. Releases before 0.2.2 kept one
``NAME.json`` a session, which the next start renames to ``NAME.json.migrated``. A name is the
key with ``_`` for each ``:``, ``/`` and backslash, so a session is known by the key inside.

A log is read as PicoClaw reads it: a line that is damaged counts and says nothing. It is
reported, and so is one of more than 10 MiB, which PicoClaw would not read past. Nothing is
ever written to the directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from perdure.errors import InvalidError
from perdure.importers.chat import Reading, title_of
from perdure.importers.conversation import Conversation, Message, Remark, Skipped
from perdure.importers.moments import moment
from perdure.records import JSON
from perdure.values import canonical, encode, parse

NAME = "picoclaw"
"""The name in a session's metadata for what its importer notes."""
LONGEST_LINE = 10 * 2**20

_LOG, _META, _OLD, _MIGRATED = ".jsonl", ".meta.json", ".json", ".json.migrated"
_NO_LIMIT = 2**62
_TRIES = 5
_NO_TIME = "0001-01-01T00:00:00"
_OF_META = frozenset({"key", "summary", "skip", "count", "created_at", "updated_at"})
_OF_OLD = frozenset({"key", "summary", "messages", "created", "updated"})

Found: TypeAlias = Conversation | Skipped | Remark


def read_picoclaw(directory: str | os.PathLike[str]) -> Iterator[Found]:
    """The sessions of the directory, what could not be read, and what is worth knowing.

    Logs come first, by name, then sessions that have only a summary or an old file. Raises
    `OSError` at once if the directory cannot be listed; a file that cannot be read is skipped.
    """
    path = Path(directory)
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file())
    return _Directory(path, names).read()


def safe(key: str) -> str:
    """The name that PicoClaw gives the files of a key; several keys may have the same."""
    return key.replace(":", "_").replace("/", "_").replace("\\", "_")


# -- one file ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Session:
    """What a file says of a session beside its messages."""

    source: str
    size: int = 0
    key: str = ""
    summary: str = ""
    skip: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    kept: dict[str, JSON] = field(default_factory=dict)
    """What has no place in a session of ours."""
    problems: list[Found] = field(default_factory=list)

    def describe(
        self, record: Mapping[str, JSON], times: tuple[str, str], own: frozenset[str]
    ) -> None:
        """Take what the record says; what is of another type is a problem, and left out."""
        for name, kind in (("key", str), ("summary", str), ("skip", int)):
            value = record.get(name)
            if isinstance(value, kind) and not isinstance(value, bool):
                setattr(self, name, value)
            elif value is not None:
                reason = f"{name} is {str(value)[:40]!r}: left out"
                self.problems.append(Skipped(self.source, 1, reason))
        created, self.updated_at = (self._time(record, name) for name in times)
        self.created_at = created or self.updated_at
        if self.updated_at is not None:
            self.kept["updated_at"] = self.updated_at.isoformat()
        self.kept.update({name: value for name, value in record.items() if name not in own})

    def _time(self, record: Mapping[str, JSON], name: str) -> datetime | None:
        value = record.get(name)
        if value is None or _is_no_time(value):
            return None
        try:
            return moment(value)
        except InvalidError as error:
            self.problems.append(Skipped(self.source, 1, f"{name}: {error}: left out"))
            return None

    def conversation(self, key: str, messages: Sequence[Message], hidden: int) -> Conversation:
        """The session with these messages, of which so many are truncated."""
        times = [message.timestamp for message in messages[:1]]
        return Conversation(
            id=key,
            source=self.source,
            line=1,
            size=self.size,
            title=title_of(messages),
            created_at=self.created_at or next(iter(times), None),
            metadata={NAME: self.kept},
            messages=tuple(messages),
            summary=self.summary,
            hidden=hidden,
            noted=NAME,
            updated_at=self.updated_at,
        )


def _record(text: bytes | None) -> dict[str, JSON]:
    """An object; `InvalidError` if it is none, too long, or what no store can keep."""
    if text is None:
        raise InvalidError(f"the line is longer than {LONGEST_LINE:,} bytes")
    record = parse(text)
    if not isinstance(record, dict):
        raise InvalidError("it is no object")
    encode(record, "it", _NO_LIMIT)
    return record


def _is_no_time(value: JSON) -> bool:
    """Whether it is what Go writes for no time."""
    return isinstance(value, str) and value.startswith(_NO_TIME)


def _take(reading: Reading, message: JSON) -> None:
    if isinstance(message, dict) and _is_no_time(message.get("created_at")):
        message = {name: value for name, value in message.items() if name != "created_at"}
    reading.take(message, len(reading.messages) + 1)


# -- a log ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Log:
    """The messages of a log, and how many of them are truncated."""

    reading: Reading
    hidden: int = 0
    problems: list[Skipped] = field(default_factory=list)

    def read(self, path: Path, source: str, skip: int) -> None:
        """Read the log whose first lines, so many, are truncated; damaged ones count."""
        lines = 0
        for number, text, ended in _lines(path):
            if text == b"":
                continue
            lines += 1
            try:
                _take(self.reading, _record(text))
                self.hidden += lines <= skip
            except InvalidError as error:
                reason = str(error) if ended else f"the last line is torn: {error}"
                self.problems.append(Skipped(source, number, reason))


def _lines(path: Path) -> Iterator[tuple[int, bytes | None, bool]]:
    """Number, text (None: too long) and whether the line has an end."""
    number = 0
    with path.open("rb") as file:
        while piece := file.readline(LONGEST_LINE + 1):
            number += 1
            rest, fits = piece, piece.endswith(b"\n") or len(piece) <= LONGEST_LINE
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(LONGEST_LINE)
            text = piece.removesuffix(b"\n").removesuffix(b"\r") if fits else None
            yield number, text, bool(rest)


def _splits_a_call(messages: Sequence[Message], hidden: int) -> bool:
    """Whether a result is shown whose call is truncated."""
    open_calls: set[JSON] = set()
    for message in messages[:hidden]:
        calls = message.content.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            name = call.get("id") if isinstance(call, dict) else None
            open_calls.update([name] if isinstance(name, str) else [])
    return any(message.content.get("tool_call_id") in open_calls for message in messages[hidden:])


# -- the directory -------------------------------------------------------------------------------


class _Directory:
    """What is read of a directory, and which of its sessions are told of already."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path = path
        self._logs = [name.removesuffix(_LOG) for name in names if name.endswith(_LOG)]
        self._metas = [name.removesuffix(_META) for name in names if name.endswith(_META)]
        old = [name for name in names if name.endswith(_OLD) and not name.endswith(_META)]
        #: Old files that wait for their turn: those that nobody has renamed go first.
        self._old = old
        self._migrated = [name for name in names if name.endswith(_MIGRATED)]
        self._described: dict[str, _Session] = {}
        #: Which log a key belongs to, and which file has told of it.
        self._keys: dict[str, str] = {}
        self._named: dict[str, str] = {}

    def read(self) -> Iterator[Found]:
        if not (self._logs or self._metas or self._old or self._migrated):
            yield Remark(str(self._path), self._nothing())
        for name in self._metas:
            yield from self._describe(name)
        self._named = {name: self._name_by_old(name) for name in self._logs}
        yield from self._choose()
        for name in self._logs:
            yield from self._read_log(name)
        for name in [*sorted(self._old), *self._migrated]:
            yield from self._read_old(name)
        for name, session in self._described.items():
            key = session.key or name
            if key not in self._keys and name not in self._logs:
                self._keys[key] = name + _META
                yield session.conversation(key, (), 0)

    def _nothing(self) -> str:
        inner = self._path / "sessions"
        hint = f": did you mean {inner}?" if inner.is_dir() else ""
        return f"no sessions of PicoClaw here{hint}"

    def _source(self, name: str) -> str:
        return str(self._path / name)

    def _describe(self, name: str) -> Iterator[Found]:
        """Read a file of metadata; an old file of a key that ends in .meta only looks like one."""
        try:
            session = self._meta(name)
        except (InvalidError, OSError) as error:
            yield Skipped(self._source(name + _META), 1, _unread(error))
            return
        if session is None:
            self._old.append(name + _META)
            return
        yield from session.problems
        self._described[name] = session

    def _meta(self, name: str) -> _Session | None:
        session = _Session(self._source(name + _META))
        text = (self._path / (name + _META)).read_bytes()
        session.size = len(text)
        record = _record(text)
        if "messages" in record:
            return None
        session.describe(record, ("created_at", "updated_at"), _OF_META)
        session.skip = max(session.skip, 0)
        return session

    def _choose(self) -> Iterator[Found]:
        """Say which log a key belongs to: that of its name, if there are several."""
        for name in self._logs:
            key = self._key_of(name)
            other = self._keys.setdefault(key, name)
            if other != name and safe(key) == name:
                self._keys[key] = name
        for name in self._logs:
            key = self._key_of(name)
            if self._keys[key] != name:
                reason = f"its key is that of {self._keys[key]}{_LOG}, which is imported"
                yield Skipped(self._source(name + _LOG), 1, reason, key)
            elif safe(key) != name:
                reason = f"PicoClaw would call the file of this key {safe(key)}{_LOG}"
                yield Remark(self._source(name + _LOG), reason, key)

    def _key_of(self, name: str) -> str:
        session = self._described.get(name)
        return (session.key if session else "") or self._named[name]

    def _name_by_old(self, name: str) -> str:
        """The key of a log without metadata: that of the old file it was made from, if any."""
        session = self._described.get(name)
        for old in () if session and session.key else (name + _OLD, name + _MIGRATED):
            with suppress(InvalidError, OSError):
                key = _record((self._path / old).read_bytes()).get("key")
                if isinstance(key, str) and safe(key) == name:
                    return key
        return name

    # -- logs --------------------------------------------------------------------------------

    def _read_log(self, name: str) -> Iterator[Found]:
        key, source = self._key_of(name), self._source(name + _LOG)
        if self._keys[key] != name:
            return
        session = self._described.get(name) or _Session("")
        try:
            size = (self._path / (name + _LOG)).stat().st_size
            session, log = self._consistent(name, session)
        except OSError as error:
            yield Skipped(source, 1, _unread(error), key)
            return
        session.source = source
        session.size += size
        yield from log.problems
        messages = log.reading.messages
        if _splits_a_call(messages, log.hidden):
            yield Remark(
                source, "truncated between a tool call and its result: both are shown", key
            )
        yield session.conversation(key, messages, log.hidden)

    def _consistent(self, name: str, session: _Session) -> tuple[_Session, _Log]:
        """A log and metadata that were there at one time: PicoClaw may be compacting it."""
        for _ in range(_TRIES):
            log = _Log(Reading(None, session.created_at))
            log.read(self._path / (name + _LOG), self._source(name + _LOG), session.skip)
            try:
                now = self._meta(name)
            except (InvalidError, OSError):
                # There is none, or it was told of when it was first read.
                break
            if now is None or now.skip == session.skip:
                break
            session = now
        return session, log

    # -- old files ---------------------------------------------------------------------------

    def _read_old(self, name: str) -> Iterator[Found]:
        file, migrated = self._path / name, name.endswith(_MIGRATED)
        session, reading = _Session(str(file)), Reading(None, None)
        try:
            text = file.read_bytes()
            session.size = len(text)
            given = self._old_record(session, text)
        except (InvalidError, OSError) as error:
            yield Skipped(str(file), 1, _unread(error))
            return
        key = session.key or name.removesuffix(_MIGRATED).removesuffix(_OLD)
        yield from self._shared(key, file)
        if migrated and key in self._keys:
            return
        reading.now = session.created_at
        for position, message in enumerate(given, 1):
            try:
                _take(reading, message)
            except InvalidError as error:
                problem = Skipped(str(file), 1, f"message {position}: {error}", key)
                session.problems.append(problem)
        if key in self._keys:
            yield from self._beside(key, session, reading.messages)
            return
        self._keys[key] = name
        self._tell(session, key)
        yield from session.problems
        yield session.conversation(key, reading.messages, 0)

    def _old_record(self, session: _Session, text: bytes) -> list[JSON]:
        record = _record(text)
        messages = record.get("messages")
        if "messages" not in record or not isinstance(messages, list | None):
            raise InvalidError("no session of PicoClaw: it has no list of messages")
        session.describe({**record, "skip": None}, ("created", "updated"), _OF_OLD | {"skip"})
        return messages or []

    def _tell(self, session: _Session, key: str) -> None:
        """Add what metadata without a log say: the log was to be written next."""
        beside = self._described.get(safe(key))
        if beside is not None and (beside.key or key) == key and safe(key) not in self._logs:
            session.summary = beside.summary or session.summary

    def _shared(self, key: str, file: Path) -> Iterator[Found]:
        """A log that stood for that key and for another: whose its messages are nobody knows."""
        name = safe(key)
        if name in self._logs and self._key_of(name) != key:
            text = f"also the log of {key!r}, as {file.name} shows: all in it is taken for its own"
            yield Remark(self._source(name + _LOG), text, self._key_of(name))

    def _beside(self, key: str, session: _Session, messages: Sequence[Message]) -> Iterator[Found]:
        """An old file beside what is imported of its key: said if it has more than that."""
        name = self._keys[key]
        log = _Log(Reading(None, None))
        if name in self._logs:
            with suppress(OSError):
                log.read(self._path / (name + _LOG), "", 0)
        there = [canonical(message.content) for message in log.reading.messages]
        mine = [canonical(message.content) for message in messages]
        starts = range(len(there) - len(mine) + 1)
        if not any(there[start : start + len(mine)] == mine for start in starts):
            other = name + _LOG if name in self._logs else name
            reason = f"its session is imported from {other}, which has not all that this has"
            yield Skipped(session.source, 1, reason, key, session.size)


def _unread(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or error}"
    return str(error)
