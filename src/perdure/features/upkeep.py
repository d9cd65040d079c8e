"""What goes through everything: erasing and exporting a person, sweeping what has had its time."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from perdure.features import blobs
from perdure.operation import (
    Bumps,
    Emit,
    Feature,
    Flow,
    M,
    Operation,
    Plan,
    Rows,
    Stream,
    flow,
    run,
    stream,
)
from perdure.parts import place
from perdure.records import ErasureReceipt, Swept
from perdure.sql import load
from perdure.tables import TABLES, Table
from perdure.values import FIRST_MICROS, decode, encode_trusted, from_micros

UPKEEP = load("perdure.features", "upkeep.sql")
SESSIONS = load("perdure.features", "sessions.sql")

_BATCH = 20
[_PIECES] = [table for table in TABLES if table.heavy]


def purge(part: str, uid: str) -> Plan[None]:
    """Remove a session's rows from every table."""
    yield SESSIONS.hold_uid(part=part, uid=uid)
    kept_for_it = yield from blobs.blobs_of(part, uid)
    for table in TABLES:
        if table.session:
            yield UPKEEP.pick("purge", table.name)(part=part, uid=uid)
    yield from blobs.drop(part, kept_for_it)


class Upkeep(Feature[M]):
    """What `Store` offers itself: `erase_user`, `export_user`, `sweep`."""

    name = "store"

    @flow
    def erase_user(self, app: str, user: str) -> Flow[ErasureReceipt]:
        """Remove everything of a person in one transaction; a receipt with the rows by table.

        Sessions, deleted ones too, with their events, state and notes, and the user's state.
        A tombstone (a digest, no name), which stands before, keeps importers from bringing the
        person back. Nothing there is no error: the receipt says so.
        """
        settings = self._settings
        part = place(settings.tenant, app, user, settings.limits.text).part
        now = settings.clock()
        # By itself: imports that had begun are done when it is there, and later ones see it.
        yield from run(Operation("store.erase_user", (), {}, lambda _: _bury(part, now)))
        whose = (app, user)
        removed = yield from run(Operation("store.erase_user", whose, {}, lambda _: _erase(part)))
        return ErasureReceipt(settings.tenant, app, user, from_micros(now), removed)

    @stream
    def export_user(self, app: str, user: str) -> Stream[str]:
        """Everything of a person as lines of JSON: ``{"table": …, "row": {…}}``.

        JSON columns stand inside as JSON, bytes as base64, times as microseconds since 1970.
        Session by session, each as it is when its turn comes.
        """
        settings = self._settings
        part = place(settings.tenant, app, user, settings.limits.text).part
        uids = yield from run(self._reading("export_user", lambda _: _uids(part)))
        for uid in ["", *uids]:
            for line in (yield from run(self._lines(part, uid))):
                yield Emit(line)
        for line in (yield from run(self._reading("export_user", lambda _: _export_rest(part)))):
            yield Emit(line)
        after = ("", -1)
        while rows := (yield from run(self._pieces(part, *after))):
            for row in rows:
                yield Emit(_line(_PIECES, row))
            after = rows[-1][1:3]

    def _pieces(self, part: str, digest: str, number: int) -> Operation[Rows]:
        """The next of them: all would not fit into memory."""
        return self._reading("export_user", lambda _: blobs.pieces_after(part, digest, number))

    def _lines(self, part: str, uid: str) -> Operation[list[str]]:
        return self._reading("export_user", lambda _: _export(part, uid))

    @flow
    def sweep(self, *, dry_run: bool = False) -> Flow[Swept]:
        """Purge expired sessions, and deleted ones after ``deleted_grace``; how many of each.

        In small transactions. ``dry_run=True`` only counts.
        """
        counted = yield from run(self._reading("sweep", lambda _: self._count()))
        if not dry_run:
            while (yield from run(self._sweep_some())):
                continue
        return counted

    def _moments(self) -> dict[str, int]:
        now = self._settings.clock()
        deleted_before = max(now - self._settings.deleted_grace, FIRST_MICROS)
        return {"now": now, "deleted_before": deleted_before}

    def _count(self) -> Plan[Swept]:
        rows = yield UPKEEP.count_purgeable(**self._moments())
        found: dict[int, int] = dict(rows)
        return Swept(expired=found.get(0, 0), deleted=found.get(1, 0))

    def _sweep_some(self) -> Operation[int]:
        moments = self._moments()

        def work(_: Bumps) -> Plan[int]:
            found = yield UPKEEP.purgeable(**moments, limit=_BATCH)
            for part, uid, _deleted in found:
                if (yield SESSIONS.hold_purgeable(part=part, uid=uid, **moments)):
                    yield from purge(part, uid)
            return len(found)

        return Operation("store.sweep", (), {}, work)


def _bury(part: str, now: int) -> Plan[None]:
    yield UPKEEP.add_tombstone(part=part, now=now)


def _erase(part: str) -> Plan[dict[str, int]]:
    # Who writes at the same moment comes before all of it, or after.
    yield UPKEEP.one_snapshot()
    yield SESSIONS.hold_all(part=part)
    removed: dict[str, int] = {}
    for table in TABLES:
        if table.person:
            counted = yield UPKEEP.pick("rows_of", table.name)(part=part)
            removed[table.name] = counted[0][0]
            yield UPKEEP.pick("erase", table.name)(part=part)
    return removed


def _uids(part: str) -> Plan[Sequence[str]]:
    found = yield UPKEEP.uids(part=part)
    return [uid for (uid,) in found]


def _export(part: str, uid: str) -> Plan[list[str]]:
    lines = []
    for table in reversed(TABLES):
        if table.session and table.person:
            found = yield UPKEEP.pick("export", table.name)(part=part, uid=uid)
            lines += [_line(table, row) for row in found]
    return lines


def _export_rest(part: str) -> Plan[list[str]]:
    """What a person has outside of sessions."""
    lines = []
    for table in reversed(TABLES):
        if table.person and not table.session and not table.heavy:
            found = yield UPKEEP.pick("export_all", table.name)(part=part)
            lines += [_line(table, row) for row in found]
    return lines


def _line(table: Table, row: Sequence[Any]) -> str:
    values = dict(zip(table.columns, row, strict=True))
    for column, value in values.items():
        if isinstance(value, bytes):
            values[column] = b64encode(value).decode()
        elif value is not None and column in table.json:
            values[column] = decode(value, f"{table.name}.{column}")
    return encode_trusted({"table": table.name, "row": values})
