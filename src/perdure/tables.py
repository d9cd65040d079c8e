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
    ``heavy``: rows of up to a mebibyte, which nobody reads all at once. ``bytes`` columns, if
    there are any, hold bytes and no text.
    """

    name: str
    columns: tuple[str, ...]
    session: bool = True
    person: bool = True
    json: frozenset[str] = frozenset()
    passing: bool = False
    heavy: bool = False
    bytes: frozenset[str] = frozenset({"data"})

    @property
    def moment(self) -> str | None:
        """The column that says when a row was made, or at least written last."""
        return next((name for name in ("created_at", "updated_at") if name in self.columns), None)

    @property
    def size(self) -> str:
        """The length of a row ``t`` in SQL, in bytes: of texts, numbers in digits, and bytes."""
        lengths = [
            f"OCTET_LENGTH(t.{name})"
            if name in self.bytes
            else f"OCTET_LENGTH(CAST(t.{name} AS TEXT))"
            for name in self.columns
        ]
        return " + ".join(f"COALESCE({length}, 0)" for length in lengths)


_HANGING = ("part", "uid")

#: Those that hang on others first: rows are removed in this order.
TABLES: tuple[Table, ...] = (
    Table(
        "artifacts",
        (
            *_HANGING, "name", "version", "seq", "mime_type", "metadata", "sha256", "size",
            "created_at",
        ),
        json=frozenset({"metadata"}),
    ),
    Table("artifact_names", (*_HANGING, "name", "latest")),
    Table(
        "artifact_pieces",
        ("part", "sha256", "number", "data", "created_at"),
        session=False,
        heavy=True,
    ),
    Table("artifact_blobs", ("part", "sha256", "size", "created_at"), session=False),
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

#: Those whose bytes are somebody's, by name; and those of them that know when.
SIZED = {table.name: table.size for table in TABLES if not table.passing}
DATED = {
    table.name: f"{table.moment}, {table.size}"
    for table in TABLES
    if table.moment and not table.passing
}
