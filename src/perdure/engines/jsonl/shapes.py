"""How the rows of the index become parts of lines, and lines become rows again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from perdure.engines.jsonl.statements import JSONL, run
from perdure.errors import CorruptError
from perdure.operation import Row
from perdure.tables import TABLES

if TYPE_CHECKING:
    import apsw

Values = tuple[Any, ...]
#: A table, its row before and its row after; None: there was none, there is none.
Change = tuple[str, "Values | None", "Values | None"]

_REGISTRY = {table.name: table for table in TABLES}
#: What this engine notes in the index for itself; SQLite's own begin as the second.
OWN = ("jsonl_", "sqlite_")
_encode = msgspec.json.Encoder().encode
_skip = msgspec.json.Decoder(msgspec.Raw).decode
#: Behind the name of a JSON column whose text is none, or has lines: it stands as a string.
_AS_TEXT = "!"
#: Where the columns `part` and `uid` are in the tables that hang on sessions.
_HANGING_AT = (0, 1)


class Step(NamedTuple):
    """One row of a line: ``put`` the whole row, ``set`` some of its columns, or ``del`` it."""

    verb: str
    table: str
    row: msgspec.Raw


class Shape:
    """One table of the index: its columns, and how each of them stands in a line.

    JSON columns stand as the JSON they are, bytes as base64, all others as strings and numbers.
    A column that is left out of a whole row is NULL. In a session's own file ``part`` and
    ``uid`` stand in the first line alone.
    """

    def __init__(self, name: str, columns: Sequence[Row]) -> None:
        self.name = name
        self.columns = tuple(column for column, _, _ in columns)
        self._places = range(len(columns))
        self._keys = [at for at, (_, _, key) in enumerate(columns) if key]
        self._key_places = frozenset(self._keys)
        fact = _REGISTRY.get(name)
        json = fact.json if fact else frozenset()
        #: Whether its rows hang on a session, and then in which columns.
        self.hanging = bool(fact and fact.session)
        self.names = fact.names if fact else ()
        self.found = bool(fact and fact.found)
        self.passing = bool(fact and fact.passing)
        self._json = {at for at, column in enumerate(self.columns) if column in json}
        self._decode = _decoder(name, columns, json)
        #: Whether a feature's; if not, it tells of the schema itself.
        self.registered = fact is not None
        whole = [(column, Any, None) for column in self.columns]
        self._whole = msgspec.defstruct(name, whole, omit_defaults=True, gc=False)
        self._short = msgspec.defstruct(name, whole[2:], omit_defaults=True, gc=False)
        self._statements(columns)

    def _statements(self, columns: Sequence[Row]) -> None:
        names = ", ".join(f'"{column}"' for column in self.columns)
        marks = ", ".join("?" * len(columns))
        keys = ", ".join(f'"{self.columns[at]}"' for at in self._keys)
        sets = ", ".join(f'"{column}" = excluded."{column}"' for column in self.columns)
        self._where = " AND ".join(f'"{self.columns[at]}" = ?' for at in self._keys)
        # Names of the schema itself; values are bound.
        table = f'"{self.name}"'
        self.upsert = f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT ({keys}) DO UPDATE SET {sets}"  # noqa: S608, E501
        self.delete = f"DELETE FROM {table} WHERE {self._where}"  # noqa: S608
        self.select = f"SELECT {names} FROM {table}"  # noqa: S608

    def key_of(self, row: Values | Mapping[int, Any]) -> Values:
        """The primary key of a row."""
        return tuple([row[at] for at in self._keys])

    # -- writing ---------------------------------------------------------------------------

    def steps(self, before: Values | None, after: Values | None, short: bool) -> Iterator[bytes]:
        """The change of one row; ``short``: in the file of its session."""
        if before is None:
            yield self.put(after or (), short)
        elif after is None:
            yield self._some("del", before, self._keys, short)
        else:
            changed = list(compress(self._places, map(ne, before, after)))
            if not self._key_places.isdisjoint(changed):
                yield self._some("del", before, self._keys, short)
                yield self.put(after, short)
            elif None in [after[at] for at in changed]:
                # In a part of a row nothing says NULL: null is JSON's own there.
                yield self.put(after, short)
            elif changed:
                yield self._some("set", after, [*self._keys, *changed], short)

    def put(self, row: Values, short: bool) -> bytes:
        """The whole row."""
        values = list(row)
        for at in self._json:
            if values[at] is not None:
                if not _is_json(values[at]):
                    there = [place for place in self._places if row[place] is not None]
                    return self._some("put", row, there, short)
                values[at] = msgspec.Raw(values[at])
        whole = self._short(*values[2:]) if short else self._whole(*values)
        return _encode(("put", self.name, whole))

    def _some(self, verb: str, row: Values, places: Sequence[int], short: bool) -> bytes:
        skipped = _HANGING_AT if short else ()
        found: dict[str, Any] = {}
        for at in places:
            name, value = self.columns[at], row[at]
            if at in skipped:
                continue
            if at not in self._json:
                found[name] = value
            elif _is_json(value):
                found[name] = msgspec.Raw(value)
            else:
                found[f"{name}{_AS_TEXT}"] = value
        return _encode((verb, self.name, found))

    # -- reading ---------------------------------------------------------------------------

    def read(self, step: Step, hangs_on: tuple[str, str] | None) -> dict[int, Any]:
        """The values of a step by their places in a row."""
        try:
            values = msgspec.structs.astuple(self._decode(step.row))
        except msgspec.ValidationError as error:
            raise CorruptError(f"a row of {self.name} is not one: {error}") from error
        row = {
            at: bytes(value).decode() if at in self._json else value
            for at, value in zip(self._places, values, strict=False)
            if value is not msgspec.UNSET
        }
        texts = zip(sorted(self._json), values[len(self.columns) :], strict=True)
        row.update((at, text) for at, text in texts if text is not msgspec.UNSET)
        if hangs_on is not None:
            row[0], row[1] = hangs_on
        return row

    def apply(
        self, connection: apsw.Connection, step: Step, hangs_on: tuple[str, str] | None
    ) -> None:
        """Do to the index what the step says."""
        row = self.read(step, hangs_on)
        if step.verb == "put":
            whole = tuple([row.get(at) for at in range(len(self.columns))])
            connection.execute(self.upsert, whole)
            return
        keys = [row.pop(at) for at in self._keys]
        if step.verb == "del":
            connection.execute(self.delete, keys)
            return
        sets = ", ".join(f'"{self.columns[at]}" = ?' for at in row)
        text = f'UPDATE "{self.name}" SET {sets} WHERE {self._where}'  # noqa: S608 - as above
        connection.execute(text, [*row.values(), *keys])


def _decoder(
    name: str, columns: Sequence[Row], json: frozenset[str]
) -> Callable[[msgspec.Raw], msgspec.Struct]:
    """Reads a row: its columns, and behind them what stands as text for its JSON columns."""
    fields = [
        (column, _type_of(kind, column in json), msgspec.UNSET) for column, kind, _ in columns
    ]
    renamed = {f"{column}_": f"{column}{_AS_TEXT}" for column, _, _ in columns if column in json}
    fields += [(name, str | msgspec.UnsetType, msgspec.UNSET) for name in renamed]
    kind = msgspec.defstruct(name, fields, rename=renamed, forbid_unknown_fields=True)
    return msgspec.json.Decoder(kind).decode


def _is_json(text: str) -> bool:
    """Whether a text may stand in a line as it is."""
    try:
        _skip(text)
    except msgspec.DecodeError:
        return False
    return "\n" not in text


def _type_of(kind: str, json: bool) -> Any:
    if json:
        return msgspec.Raw | msgspec.UnsetType
    return {"TEXT": str, "BLOB": bytes, "BIGINT": int}.get(kind, object)


def shapes_of(connection: apsw.Connection) -> Mapping[str, Shape]:
    """The tables that the index has, but for what this engine notes in it for itself."""
    found = {}
    for (name,) in run(connection, JSONL.tables()):
        if not name.startswith(OWN):
            found[name] = _shape(name, tuple(run(connection, JSONL.columns(table=name))))
    return found


@lru_cache(maxsize=256)
def _shape(name: str, columns: tuple[Row, ...]) -> Shape:
    """Made once: the classes of forty tables take longer than opening a directory does."""
    return Shape(name, columns)
