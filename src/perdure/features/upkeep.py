"""What goes through everything of a person: erasing and exporting."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from perdure.features import blobs, lineages
from perdure.features.checkpoint_exports import exported, linked_to
from perdure.features.holds import HOLDS, denied
from perdure.features.outbox import notes
from perdure.operation import (
    Bumps,
    Emit,
    Feature,
    Flow,
    M,
    Operation,
    Plan,
    Rows,
    Settle,
    Stream,
    flow,
    run,
    stream,
)
from perdure.parts import place
from perdure.records import ErasureReceipt
from perdure.sql import load
from perdure.tables import TABLES, Table
from perdure.values import decode, encode_trusted, from_micros

UPKEEP = load("perdure.features", "upkeep.sql")
SESSIONS = load("perdure.features", "sessions.sql")

[_PIECES] = [table for table in TABLES if table.heavy]


def purge(part: str, uid: str) -> Plan[None]:
    """Remove a session's rows from every table."""
    yield SESSIONS.hold_uid(part=part, uid=uid)
    kept_for_it = yield from blobs.blobs_of(part, uid)
    yield from lineages.remove_linked(part, uid, 0)
    for table in TABLES:
        if table.session:
            yield UPKEEP.pick("purge", table.name)(part=part, uid=uid)
    yield from blobs.drop(part, kept_for_it)


_UNSETTLED = "the engine was not asked to make it unreadable: erase_user(settle=True)"


class Upkeep(Feature[M]):
    """What `Store` offers itself: `erase_user`, `export_user`."""

    name = "store"

    @flow
    def erase_user(
        self,
        app: str,
        user: str,
        *,
        override_holds: bool = False,
        settle: bool | None = None,
    ) -> Flow[ErasureReceipt]:
        """Remove everything of a person in one transaction; a receipt with the rows by table.

        Sessions, deleted ones too, with their events, state and notes, and the user's state.
        A tombstone (a digest, no name), which stands before, keeps importers from bringing the
        person back. Nothing there is no error: the receipt says so. `DeniedError` while a
        session of theirs, or all of them, is held, unless ``override_holds=True``.

        Then the bytes: ``settle=True`` has the engine make them unreadable, whatever that
        costs (a file is written anew, and who writes waits), None if it is quick, False leaves it
        to a later erasure. The receipt's ``remains`` says what is left.
        """
        settings = self._settings
        part = place(settings.tenant, app, user, settings.limits.text).part
        now = settings.clock()
        if not override_holds:
            yield from run(self._reading("erase_user", lambda _: _refuse_if_held(part)))
        # By itself: imports that had begun are done when it is there, and later ones see it.
        yield from run(Operation("store.erase_user", (), {}, lambda _: _bury(part, now)))
        telling = notes(settings)

        def work(_: Bumps) -> Plan[dict[str, int]]:
            removed = yield from _erase(part, override_holds, now)
            yield from telling.tell(part, "user.erased", app=app, user=user)
            return removed

        removed = yield from run(Operation("store.erase_user", (app, user), {}, work))
        remains = [_UNSETTLED] if settle is False else (yield Settle(settle))
        return ErasureReceipt(settings.tenant, app, user, from_micros(now), removed, tuple(remains))

    @stream
    def export_user(self, app: str, user: str) -> Stream[str]:
        """Everything of a person as lines of JSON: ``{"table": …, "row": {…}}``.

        JSON columns stand inside as JSON, bytes as base64, times as microseconds since 1970.
        Session by session, each as it is when its turn comes; at the end the checkpoints of
        their lineages, whole, with the writes of tasks.
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

        for lineage in (yield from run(self._reading("export_user", lambda _: linked_to(part)))):
            cursor: str | None = ""
            while cursor is not None:
                lines, cursor = yield from run(self._checkpoints(lineage, cursor))
                for line in lines:
                    yield Emit(line)

    def _checkpoints(self, lineage: str, cursor: str) -> Operation[tuple[list[str], str | None]]:
        settings = self._settings
        return self._reading("export_user", lambda _: exported(settings, lineage, cursor))

    def _pieces(self, part: str, digest: str, number: int) -> Operation[Rows]:
        """The next of them: all would not fit into memory."""
        return self._reading("export_user", lambda _: blobs.pieces_after(part, digest, number))

    def _lines(self, part: str, uid: str) -> Operation[list[str]]:
        return self._reading("export_user", lambda _: _export(part, uid))


def _bury(part: str, now: int) -> Plan[None]:
    yield UPKEEP.add_tombstone(part=part, now=now)


def _refuse_if_held(part: str) -> Plan[None]:
    held = yield HOLDS.any(part=part)
    if held:
        raise denied(held[0], "erase this user, without override_holds=True")


def _erase(part: str, override_holds: bool, now: int) -> Plan[dict[str, int]]:
    # Who writes at the same moment comes before all of it, or after.
    yield UPKEEP.one_snapshot()
    yield SESSIONS.hold_all(part=part)
    if not override_holds:
        yield from _refuse_if_held(part)
    removed = yield from lineages.remove_linked(part, None, now, but=part)
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
