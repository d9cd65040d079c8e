"""Numbered SQL, applied once each, in order, with a ledger of checksums.

A migration is a file ``NNNN_name.sql`` of statements, each ended by a semicolon at the end of
a line. Words in braces stand for what dialects spell differently; a line ``-- only: postgres``
stands before a statement that the others have no need of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import NamedTuple

from perdure.errors import CorruptError, PerdureError, SchemaTooNewError
from perdure.operation import Bumps, Operation, Plan, Query, Statement
from perdure.sql import load

LEDGER = load("perdure.migrations", "ledger.sql")
#: Less than what a connection gives one statement.
_QUEUE = "40s"

_SPELLINGS: Mapping[str, Mapping[str, str]] = {
    "sqlite": {"text": "TEXT", "bytes": "BLOB", "floats": "BLOB", "clustered": "WITHOUT ROWID"},
    "postgres": {"text": 'TEXT COLLATE "C"', "bytes": "BYTEA", "floats": "REAL[]", "clustered": ""},
}
_ONLY = "-- only: "
_NOTHING = "SELECT 1"


class Migration(NamedTuple):
    """One file: its number, its name, its text, the checksum of the text."""

    number: int
    name: str
    text: str
    checksum: str

    def statements(self, dialect: str) -> list[str]:
        """The statements in a dialect, in order."""
        return [step for step in self.steps(dialect) if step != _NOTHING]

    def steps(self, dialect: str) -> list[str]:
        """The same, as many for every dialect: one that does nothing where another one's stands."""
        text = self.text
        for word, spelling in _SPELLINGS[dialect].items():
            text = text.replace("{" + word + "}", spelling)
        return [step for part in text.split(";\n") if (step := _spoken(part, dialect))]


def _spoken(part: str, dialect: str) -> str:
    """A statement without its comments; one that does nothing, if it is another dialect's."""
    lines = part.splitlines()
    said = "\n".join(line for line in lines if not line.startswith("--")).strip()
    only = [line.removeprefix(_ONLY) for line in lines if line.startswith(_ONLY)]
    return _NOTHING if said and only and dialect not in only else said


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations of this version of perdure, in order."""
    found = []
    for file in files("perdure.migrations").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if file.name.endswith(".sql") and number.isdigit():
            text = file.read_text(encoding="utf-8")
            checksum = blake2b(text.encode(), digest_size=16).hexdigest()
            found.append(Migration(int(number), name, text, checksum))
    return tuple(sorted(found))


def migrate(now: int) -> Operation[list[str]]:
    """Apply what is missing, in one transaction; the names of what was applied."""
    return Operation("store.migrate", (), {}, lambda _: _apply(now))


def check() -> Operation[list[str]]:
    """The names of what is missing; `SchemaTooNewError` if a newer perdure was here."""
    return Operation("store.migrate", (), {}, lambda _: _missing_names(), reads=True)


def set_up(now: int, auto_migrate: bool) -> Operation[Operation[list[str]] | None]:
    """For an engine that opens: the operation that is needed first, if any."""

    def work(_: Bumps) -> Plan[Operation[list[str]] | None]:
        missing = yield from _missing()
        if missing and not auto_migrate:
            names = [migration.name for migration in missing]
            message = f"the schema lacks {names}: run `perdure migrate`, or open with auto_migrate"
            raise PerdureError(message)
        return migrate(now) if missing else None

    return Operation("store.open", (), {}, work, reads=True)


def nothing_to_set_up() -> Operation[Operation[list[str]] | None]:
    """For an engine that is opened to be migrated, or looked at."""

    def work(_: Bumps) -> Plan[Operation[list[str]] | None]:
        yield LEDGER.exists()
        return None

    return Operation("store.open", (), {}, work, reads=True)


def _apply(now: int) -> Plan[list[str]]:
    yield from queue()
    yield LEDGER.create()
    applied = []
    for migration in (yield from _missing()):
        texts = {dialect: migration.steps(dialect) for dialect in _SPELLINGS}
        for index in range(len(next(iter(texts.values())))):
            step = {dialect: statements[index] for dialect, statements in texts.items()}
            yield Statement(Query(f"{migration.name} {index + 1}", step, ()), ())
        yield LEDGER.note(
            number=migration.number, name=migration.name, checksum=migration.checksum, now=now
        )
        applied.append(migration.name)
    return applied


def queue() -> Plan[None]:
    """Wait for whoever changes the schema of this database; the transaction has time for its own.

    On a busy machine the first migration takes longer than anybody waits for a row.
    """
    yield LEDGER.take_time()
    [(patience,)] = yield LEDGER.patience()
    yield LEDGER.wait(patience=_QUEUE)
    yield LEDGER.lock()
    # A table that somebody reads is not waited for so long: all others would wait behind.
    yield LEDGER.wait(patience=patience)


def _missing_names() -> Plan[list[str]]:
    missing = yield from _missing()
    return [migration.name for migration in missing]


def _missing() -> Plan[Sequence[Migration]]:
    known = {migration.number: migration for migration in migrations()}
    if not (yield LEDGER.exists()):
        return list(known.values())
    for number, name, checksum in (yield LEDGER.applied()):
        migration = known.pop(number, None)
        if migration is None:
            raise SchemaTooNewError(
                f"this store has migration {number} ({name}), which this perdure does not know: "
                "update perdure"
            )
        if migration.checksum != checksum:
            raise CorruptError(
                f"migration {number} ({name}) was applied from another text than this perdure "
                "has: one of the two is not a released version"
            )
    return list(known.values())
