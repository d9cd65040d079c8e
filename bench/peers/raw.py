"""The bare driver doing the statements that perdure does, taken from perdure's own plans.

Nothing of perdure runs while it is measured: no checks, no JSON, no records, no threads.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers import durability
from bench.peers.ours import BlockingPerdure, event_of, key_of, url_of
from bench.workload import APP
from perdure.engines.sqlite_connection import connect
from perdure.features.events import Events
from perdure.features.sessions import Sessions
from perdure.operation import Many, Operation

if TYPE_CHECKING:
    import apsw

#: The operations themselves, which have no mode.
_APPEND: Any = Events.append
_READ: Any = Events.read
_PAGE: Any = Sessions.list

#: Folds the WAL in the writer itself; perdure's own connections leave that to a thread.
_WAL_PAGES = 4_000


@dataclass(frozen=True, slots=True)
class Ran:
    """A statement of a plan, the values it ran with, and how many rows came back."""

    text: str
    params: Sequence[str]
    args: Sequence[Any]
    rows: int


def statements(connection: apsw.Connection, op: Operation[Any]) -> list[Ran]:
    """What the operation asks of the database, in order; nothing of it is kept."""
    ran: list[Ran] = []
    rows: Any = None
    plan = op.plan()
    connection.execute("BEGIN IMMEDIATE")
    try:
        while True:
            step = plan.send(rows)
            text = step.query.texts["sqlite"]
            for args in step.rows if isinstance(step, Many) else [step.args]:
                rows = connection.execute(text, args).fetchall()
                ran.append(Ran(text, step.query.params, args, len(rows)))
    except StopIteration:
        return ran
    finally:
        connection.execute("ROLLBACK")


def open_like_perdure(folder: Path) -> apsw.Connection:
    """A connection as perdure's writer has it."""
    path = url_of(folder).removeprefix("sqlite:///")
    connection = connect(path, durability="full", busy_timeout=10)
    connection.wal_autocheckpoint(_WAL_PAGES)
    return connection


def durability_of(connection: apsw.Connection) -> str:
    """The two pragmas in words."""
    return durability(connection.pragma("journal_mode"), connection.pragma("synchronous"))


class RawAppends:
    """The statements of an append, with as many appends a commit as asked for."""

    def __init__(self, folder: Path, sessions: int, batch: int) -> None:
        self._batch = batch
        store = BlockingPerdure(url_of(folder))
        store.start(sessions)
        operation = _APPEND.of(store.store.events, key_of(0), event_of(0))
        store.stop()
        self._connection = open_like_perdure(folder)
        self.settings = durability_of(self._connection)
        claim, insert, put = statements(self._connection, operation)
        self._claim = _Changing(claim, "part", "id", "now")
        self._insert = _Changing(
            insert, "part", "uid", "id", "seq", "prev", "version", "timestamp", "created_at"
        )
        self._put = _Changing(put, "part", "uid", "now")
        found = self._connection.execute("SELECT part, uid, id FROM sessions").fetchall()
        self._sessions: list[Any] = found
        self._appended = 0

    def commit(self, _number: int) -> None:
        """One transaction."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for _ in range(self._batch):
            lap, session = divmod(self._appended, len(self._sessions))
            self._appended += 1
            part, uid, session_id = self._sessions[session]
            now = time.time_ns() // 1000
            event_id = f"{self._appended:036d}"
            execute(self._claim.text, self._claim(part, session_id, now)).fetchall()
            execute(
                self._insert.text,
                self._insert(part, uid, event_id, lap + 1, lap, lap + 2, now, now),
            ).fetchall()
            execute(self._put.text, self._put(part, uid, now)).fetchall()
        execute("COMMIT")

    def close(self) -> None:
        """Close."""
        self._connection.close()


class _Changing:
    """A statement whose named values change, and the others stay."""

    def __init__(self, ran: Ran, *names: str) -> None:
        self.text = ran.text
        self._args = list(ran.args)
        self._places = [ran.params.index(name) for name in names]

    def __call__(self, *values: object) -> list[Any]:
        args = self._args.copy()
        for place, value in zip(self._places, values, strict=True):
            args[place] = value
        return args


class RawSelect:
    """The one statement of a read that brings the rows; they are not looked at."""

    def __init__(self, folder: Path, op: Operation[Any]) -> None:
        self._connection = open_like_perdure(folder)
        self.settings = durability_of(self._connection)
        self._main = max(statements(self._connection, op), key=lambda ran: ran.rows)

    def __call__(self) -> int:
        return len(self._connection.execute(self._main.text, self._main.args).fetchall())

    def close(self) -> None:
        """Close."""
        self._connection.close()


def read_of(store: BlockingPerdure, session: int, recent: int | None) -> Operation[Any]:
    """perdure's own read of the last events of a session."""
    operation: Operation[Any] = _READ.of(store.store.events, key_of(session), recent=recent)
    return operation


def page_of(store: BlockingPerdure, user: str) -> Operation[Any]:
    """perdure's own page of a user's sessions."""
    operation: Operation[Any] = _PAGE.of(store.store.sessions, APP, user, limit=50)
    return operation
