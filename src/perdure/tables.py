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
    """

    name: str
    columns: tuple[str, ...]
    session: bool = True
    person: bool = True
    json: frozenset[str] = frozenset()
    passing: bool = False


_HANGING = ("part", "uid")

#: Those that hang on others first: rows are removed in this order.
TABLES: tuple[Table, ...] = (
    Table(
        "annotations",
        (*_HANGING, "id", "event_id", "name", "value", "author", "created_at"),
        json=frozenset({"value"}),
    ),
    Table(
        "state_log",
        (*_HANGING, "seq", "version", "delta", "created_at"),
        json=frozenset({"delta"}),
    ),
    Table(
        "state",
        (*_HANGING, "name", "value", "codec", "data", "version", "updated_at"),
        json=frozenset({"value"}),
    ),
    Table(
        "search_blocks",
        (
            *_HANGING, "block", "kind", "app_part", "low_key", "high_key", "documents",
            "length", "docs", "words",
        ),
        json=frozenset({"docs"}),
    ),
    Table("search_marks", (*_HANGING, "seq", "title")),
    Table(
        "search_vectors",
        (*_HANGING, "kind", "digest", "doc", "model", "dimension", "vector"),
    ),
    Table("rewrites", (*_HANGING, "version", "from_seq")),
    Table("refs", (*_HANGING, "name", "head", "created_at")),
    Table("session_terms", (*_HANGING, "digest")),
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
    ),
    Table("leases", ("part", "name", "owner", "token", "until"), session=False),
    Table("erasures", ("part", "erased_at"), session=False, person=False),
    Table("outcomes", ("part", "token", "made_at"), session=False, person=False, passing=True),
)  # fmt: skip
