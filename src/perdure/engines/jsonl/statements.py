"""The engine's own statements, and running them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.operation import Rows, Statement
from perdure.sql import load

if TYPE_CHECKING:
    import apsw

JSONL = load("perdure.engines.jsonl", "jsonl.sql")


def run(connection: apsw.Connection, statement: Statement) -> Rows:
    """The rows of one statement."""
    rows: Rows = connection.execute(statement.query.texts["sqlite"], statement.args).fetchall()
    return rows


def create(connection: apsw.Connection) -> None:
    """Make the engine's own tables."""
    for statement in (JSONL.create_state(), JSONL.create_files(), JSONL.create_files_of()):
        run(connection, statement)
