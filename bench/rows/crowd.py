"""Very many sessions of one user, copied in SQL from one that perdure has made."""

from __future__ import annotations

from pathlib import Path

from bench.peers.raw import open_like_perdure

_COPY = """
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
INSERT INTO sessions ({columns})
SELECT {values} FROM number, (SELECT * FROM sessions LIMIT 1) AS s
"""

_CHANGED = {
    "uid": "printf('%036d', n)",
    "id": "printf('session-%d', n)",
    # Not in the order of their ids: neighbours in the index are strangers in the table.
    "updated_at": "s.updated_at - (n * 7919) % 1000003 * 1000",
    "created_at": "s.created_at - n",
}


def crowd(folder: Path, sessions: int) -> None:
    """Add sessions to the file in the folder until the user has that many."""
    connection = open_like_perdure(folder)
    columns = [column[1] for column in connection.execute("PRAGMA table_info(sessions)")]
    values = [_CHANGED.get(column, f"s.{column}") for column in columns]
    text = _COPY.format(columns=", ".join(columns), values=", ".join(values))
    connection.execute(text, (sessions - 1,))
    connection.close()
