"""The one registry of tables: how every row of a person or a session is reached.

Whatever goes through all data (delete, erase, export, sweep) goes through this list. A test
holds it against the real schema, so a table cannot be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table and its columns, in the order of the schema.

    ``session``: its rows hang on a session by (part, uid) and go with it. ``person``: rows
    whose part is a user's belong to that user; only erasures, which outlive them, and outcomes,
    which are gone after a day, do not.
    ``json`` columns hold JSON text. ``passing``: what an engine notes for itself for a while.

    For sweeps: ``key`` is the primary key; ``expires`` the column with the moment from which on a
    row by itself is of no use (NULL: never), None if there is no such; ``weighed`` are the columns
    that its bytes are counted by, besides those of ``json``.
    """

    name: str
    columns: tuple[str, ...]
    session: bool = True
    person: bool = True
    json: frozenset[str] = frozenset()
    passing: bool = False
    key: tuple[str, ...] = ()
    expires: str | None = None
    weighed: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, str]:
        """What statements for each table of the registry are made with."""
        sizes = [f"COALESCE(OCTET_LENGTH({name}), 0)" for name in (*self.weighed, *self.json)]
        return {
            "table": self.name,
            "size": " + ".join(sorted(sizes)) or "0",
            "key": ", ".join(self.key),
            "matches": " AND ".join(f"{name} = :{name}" for name in self.key),
            "tail": ", ".join(self.key[2:]),
            "expires": self.expires or "",
        }


_HANGING = ("part", "uid")

#: Those that hang on others first: rows are removed in this order.
TABLES: tuple[Table, ...] = (
    Table(
        "annotations",
        (*_HANGING, "id", "event_id", "name", "value", "author", "created_at"),
        json=frozenset({"value"}),
        key=(*_HANGING, "id"),
        weighed=("name", "author"),
    ),
    Table(
        "state_log",
        (*_HANGING, "seq", "version", "delta", "created_at"),
        json=frozenset({"delta"}),
        key=(*_HANGING, "seq", "version"),
    ),
    Table(
        "state",
        (*_HANGING, "name", "value", "codec", "data", "version", "updated_at"),
        json=frozenset({"value"}),
        key=(*_HANGING, "name"),
        weighed=("name", "data"),
    ),
    Table("rewrites", (*_HANGING, "version", "from_seq"), key=(*_HANGING, "version")),
    Table(
        "refs",
        (*_HANGING, "name", "head", "created_at"),
        key=(*_HANGING, "name"),
        weighed=("name",),
    ),
    Table("session_terms", (*_HANGING, "digest"), key=(*_HANGING, "digest"), weighed=("digest",)),
    Table(
        "holds",
        (*_HANGING, "author", "reason", "held_at", "released_at", "released_by"),
        key=_HANGING,
        weighed=("author", "reason", "released_by"),
    ),
    Table(
        "events",
        (
            *_HANGING, "seq", "prev", "version", "id", "digest", "timestamp", "created_at",
            "author", "run_id", "branch", "filter_key", "kind", "role", "calls", "results",
            "format", "state_delta", "error", "usage", "metadata", "extra", "content", "codec",
            "data", "text",
        ),
        json=frozenset(
            {"calls", "results", "state_delta", "error", "usage", "metadata", "extra", "content"}
        ),
        key=(*_HANGING, "seq"),
        weighed=("data", "text"),
    ),
    Table(
        "sessions",
        (
            *_HANGING, "id", "tenant", "app", "user_id", "app_part", "version", "head",
            "left_head", "last_seq", "event_count", "created_at", "updated_at", "last_event_at",
            "ttl", "expires_at", "deleted_at", "title", "author", "agent_type", "tags",
            "metadata", "parent", "origin", "preview",
        ),
        json=frozenset({"tags", "metadata", "parent", "origin"}),
        key=_HANGING,
        weighed=("title", "author", "agent_type", "preview"),
    ),
    Table(
        "leases",
        ("part", "name", "owner", "token", "until"),
        session=False,
        key=("part", "name"),
        expires="until",
        weighed=("name", "owner"),
    ),
    Table(
        "outbox",
        (
            "part", "id", "hook", "kind", "tenant", "payload", "created_at", "attempts", "due_at",
            "expires_at", "failure",
        ),
        session=False,
        json=frozenset({"payload"}),
        key=("part", "id", "hook"),
        expires="expires_at",
        weighed=("failure",),
    ),
    Table("erasures", ("part", "erased_at"), session=False, person=False),
    Table("outcomes", ("part", "token", "made_at"), session=False, person=False, passing=True),
)  # fmt: skip
